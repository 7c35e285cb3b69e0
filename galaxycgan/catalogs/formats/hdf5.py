"""Opens HDF5 files that others made and tells what is in them."""

import contextlib

import h5py

from galaxycgan.errors import UserError, first_few
from galaxycgan.files.streaming import BLOCK_BYTES

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
#: So many datasets and groups of an unknown file are named.
MOST_NAMES = 12


def is_hdf5(path):
    """Distinguish HDF5 from FITS by the first bytes; what is neither is a `UserError`."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(HDF5_MAGIC))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror.lower()}") from None
    if start != HDF5_MAGIC and start[:6] != b"SIMPLE":
        raise UserError(f"{path}: neither a store (HDF5) nor FITS")
    return start == HDF5_MAGIC


@contextlib.contextmanager
def open_hdf5(path):
    """Open an HDF5 file for reading; one that can't be, or turns out to be damaged, raises `UserError`.

    File locking is off: nothing is written, and Lustre and NFS mounts often refuse the lock.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        text = str(error)
        if "truncated" in text:
            raise UserError(f"{path}: truncated: the end of the file is missing; copy it again") from None
        raise UserError(f"{path}: can't be opened as HDF5: {text.splitlines()[0]}") from None
    with file:
        try:
            yield file
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # what h5py raises for broken content
            raise UserError(f"{path}: damaged HDF5 file: {first_line(error)}") from None


def chunks_of(dataset):
    """Return slices of a dataset's rows, `BLOCK_BYTES` each; one row at least."""
    step = max(1, BLOCK_BYTES // max(1, dataset.nbytes // max(1, len(dataset))))
    return [slice(start, start + step) for start in range(0, len(dataset), step)]


def datasets(file):
    """Return {name: dataset} of the root group; links to elsewhere are not followed."""
    names = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
    return {name: file[name] for name in names if isinstance(file[name], h5py.Dataset)}


def describe_contents(file):
    """Name the datasets and groups of a file, datasets with their shapes."""
    found = datasets(file)
    texts = [f"{name} {list(found[name].shape)}" if name in found else f"{name}/" for name in file]
    return first_few(texts, MOST_NAMES) or "nothing"


def first_line(error):
    """Return what an error says, in one line of bounded length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
