"""Reads arrays of numpy files without trusting them, row by row."""

import contextlib
from pathlib import Path

import numpy as np

from galaxycgan.errors import UserError
from galaxycgan.files.rows import read_rows

MAGIC = b"\x93NUMPY"


def check_file(path, option):
    """Return the path of an input file that is there and can be read.

    Parameters
    ----------
    path : str or Path
    option : str
        The option that names it, for the message.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name it with {option}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a directory; {option} takes a file") from None
    except PermissionError:
        raise UserError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    if empty:
        raise UserError(f"{path}: empty file")
    return path


class FileArray:
    """An array that lies in one piece in a file, read row by row; memory stays small however large the file.

    Parameters
    ----------
    file : Path or binary file
    dtype, shape, offset, order
        As `numpy.memmap` takes them.
    """

    def __init__(self, file, dtype, shape, offset=0, order="C"):
        self.file, self.dtype, self.shape = file, np.dtype(dtype), tuple(shape)
        self.offset, self.order = offset, order

    def rows(self, index, cut=()):
        """Return a copy of some rows.

        Parameters
        ----------
        index : int array [k]
        cut : tuple of slices
            What is taken of each row.

        Returns
        -------
        array [k, ...]
        """
        if self.order == "F":
            return self._mapped(index, cut)
        out = np.empty((len(index), *self.shape[1:]), self.dtype)
        with contextlib.ExitStack() as stack:
            file = self.file if hasattr(self.file, "fileno") else stack.enter_context(open(self.file, "rb"))
            try:
                read_rows(file.fileno(), index, out, self.offset)
            except EOFError:
                raise UserError(f"{self.file}: truncated while it was read") from None
        return np.ascontiguousarray(out[(slice(None), *cut)])

    def _mapped(self, index, cut):
        """Return a copy of rows whose elements lie far apart in the file."""
        mapped = np.memmap(self.file, self.dtype, "r", shape=self.shape, offset=self.offset, order=self.order)
        return np.array(mapped[(slice(None), *cut)][index], order="C")


class NpyFile(FileArray):
    """An array in an npy file of any byte order and memory order.

    Parameters
    ----------
    path : str or Path
    option : str
        The option that names it, for messages.

    Attributes
    ----------
    path : Path
    shape : tuple of int
    dtype : numpy.dtype
    """

    def __init__(self, path, option):
        self.path = check_file(path, option)
        with open(self.path, "rb") as file:
            start = file.read(len(MAGIC))
        if start != MAGIC:
            what = "an npz archive" if start[:2] == b"PK" else "a pickle or something else"
            raise UserError(f"{self.path}: not an npy file but {what}; write it with numpy.save")
        try:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, SyntaxError) as error:
            raise UserError(f"{self.path}: {_reason(error)}") from None
        if not array.size:
            raise UserError(f"{self.path}: an array without elements, shape {list(array.shape)}")
        order = "C" if array.flags.c_contiguous else "F"
        super().__init__(self.path, array.dtype, array.shape, array.offset, order)


def _reason(error):
    """Say why numpy refuses a file."""
    text = str(error)
    if "objects" in text.lower():
        return "holds Python objects, which are not read (they can run code); save an array of numbers"
    if "greater than file size" in text:
        return "truncated: shorter than its header says; copy it again"
    return f"damaged npy file ({text.splitlines()[0]})"
