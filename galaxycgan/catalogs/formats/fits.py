"""FITS files in pieces: headers, data that need not fit in memory, checksums.

Checksums follow the FITS standard 4.0, section 4.4.2.7 and appendix J: a ones' complement sum of 32-bit words, which
adds up over pieces, so data are summed while they are written or read.
"""

import os
import re
import warnings

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from galaxycgan.errors import UserError
from galaxycgan.files.streaming import BLOCK_BYTES, Flusher, ahead

BLOCK = 2880
#: FITS standard 4.0, section 7.3.1.
MOST_COLUMNS = 999
#: A column's name has a card of 68 characters; what makes it unique needs some.
LONGEST_NAME = 60
#: A logical value that is neither true nor false (section 7.3.3.1).
NO_FLAG = b"\0"
#: Characters that an encoded checksum avoids: the punctuation between digits and letters.
_EXCLUDED = frozenset(range(0x3A, 0x41)) | frozenset(range(0x5B, 0x61))


def ones_sum(data, total=0):
    """Add data to a ones' complement sum.

    Parameters
    ----------
    data : bytes-like
        A whole number of 4-byte words.
    total : int
        Sum so far.

    Returns
    -------
    int
        32 bits.
    """
    total += int(np.frombuffer(data, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def encode_checksum(total):
    """Write the complement of a 32-bit sum as 16 ASCII characters (appendix J.2)."""
    columns = []
    for byte in (~total & 0xFFFFFFFF).to_bytes(4, "big"):
        quarters = [byte // 4 + 0x30] * 4
        quarters[0] += byte % 4
        while _EXCLUDED.intersection(quarters):
            for k in (0, 2):
                if _EXCLUDED.intersection(quarters[k : k + 2]):
                    quarters[k] += 1
                    quarters[k + 1] -= 1
        columns.append(quarters)
    text = "".join(chr(columns[j][k]) for k in range(4) for j in range(4))
    return text[-1] + text[:-1]


def write_hdu(file, header, chunks, when, written=None):
    """Write one HDU, its data piece by piece, with CHECKSUM and DATASUM.

    Parameters
    ----------
    file : binary file on disk, open for writing
    header : astropy.io.fits.Header
        Complete but for the checksums, which are added.
    chunks : iterable of bytes or memoryview of bytes
        The data; every piece but the last a multiple of 4 bytes.
    when : str
        Time for the comments of the checksums.
    written : tuple of int, optional
        Offset, length and ones' complement sum of data that are there already; `chunks` are not used then.
    """
    header["CHECKSUM"] = ("0" * 16, f"HDU checksum of {when}")
    header["DATASUM"] = ("0", f"data checksum of {when}")
    start = file.tell()
    file.write(_header_bytes(header))
    if written and written[0] != file.tell():
        raise ValueError(f"data of {header['EXTNAME']} at {written[0]}, the end of their header at {file.tell()}")
    length, datasum = written[1:] if written else _write_data(file, chunks)
    if written:
        file.seek(length, os.SEEK_CUR)
    file.write(bytes(-length % BLOCK))
    end = file.tell()
    header["DATASUM"] = str(datasum)
    header["CHECKSUM"] = encode_checksum(ones_sum(_header_bytes(header), datasum))
    file.seek(start)
    file.write(_header_bytes(header))
    file.seek(end)


def _write_data(file, chunks):
    """Write data piece by piece; return its length and its sum."""
    length, datasum = 0, 0
    with Flusher(file.fileno()) as flusher:
        for chunk, total in ahead(_summed(chunks)):
            length, datasum = length + len(chunk), total
            file.write(chunk)
            flusher.wrote(len(chunk))
    return length, datasum


def _summed(chunks):
    """Yield chunks, each with the sum of all data up to its end."""
    total = 0
    for chunk in chunks:
        total = ones_sum(bytes(chunk) + bytes(-len(chunk) % 4) if len(chunk) % 4 else chunk, total)
        yield chunk, total


def _header_bytes(header):
    return header.tostring().encode("ascii")


def primary_header(cards):
    """Return the header of a primary HDU without data; `cards` are (keyword, value, comment), None values left out."""
    header = fits.Header([("SIMPLE", True, "FITS standard"), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    header["LONGSTRN"] = ("OGIP 1.0", "long strings go on in CONTINUE cards")
    return add_cards(header, cards)


def image_header(name, shape, cards):
    """Return the header of a float32 image extension of this shape (numpy order)."""
    header = fits.Header([("XTENSION", "IMAGE", "image extension"), ("BITPIX", -32), ("NAXIS", len(shape))])
    for k, length in enumerate(reversed(shape), start=1):
        header[f"NAXIS{k}"] = length
    header["PCOUNT"], header["GCOUNT"], header["EXTNAME"] = 0, 1, name
    return add_cards(header, cards)


def table_header(name, n, row_bytes, columns):
    """Return the header of a binary table.

    Parameters
    ----------
    name : str
        EXTNAME.
    n, row_bytes : int
        Number of rows; length of one.
    columns : list of dict
        For each column TTYPE and TFORM, and where they apply TNULL, TUNIT, TCOMM and TUCD.
    """
    header = fits.Header([("XTENSION", "BINTABLE", "binary table"), ("BITPIX", 8), ("NAXIS", 2)])
    header["NAXIS1"], header["NAXIS2"], header["PCOUNT"], header["GCOUNT"] = row_bytes, n, 0, 1
    header["TFIELDS"] = len(columns)
    header["EXTNAME"] = name
    header["LONGSTRN"] = ("OGIP 1.0", "long strings go on in CONTINUE cards")
    for k, column in enumerate(columns, start=1):
        for keyword, value in column.items():
            header[f"{keyword}{k}"] = value
    return header


def add_cards(header, cards):
    """Add (keyword, value, comment) to a header, None values left out; return it."""
    for keyword, value, comment in cards:
        if value is not None:
            # A comment has no room beside a long string.
            header[keyword] = (value, "" if len(str(value)) + len(comment) > 60 else comment)
    return header


def column_names(names):
    """Return the names as FITS requires them: letters, digits, underscores, on one card, unique but for their case."""
    taken, result = set(), []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)[:LONGEST_NAME] or "column"
        title, k = plain, 1
        while title.lower() in taken:
            k += 1
            title = f"{plain}_{k}"
        taken.add(title.lower())
        result.append(title)
    return result


def pack_column(values):
    """Return a column as it lies in a binary table, and its TFORM.

    Flags become T and F, integers signed 64-bit (readers turn unsigned ones into text), text printable ASCII.

    Parameters
    ----------
    values : array [n]

    Returns
    -------
    array [n], str
    """
    kind = values.dtype.kind
    if kind == "b":
        return np.where(values, b"T", b"F"), "L"
    if kind in "iu":
        return values.astype(">i8"), "K"
    if kind == "f":
        return (values.astype(">f8"), "D") if values.dtype.itemsize > 4 else (values.astype(">f4"), "E")
    text = np.array([re.sub(r"[^ -~]", "?", str(value)).encode() for value in values], dtype="S")
    return text, f"{text.dtype.itemsize}A"


def table_bytes(columns, n):
    """Yield the rows of a binary table in pieces of whole rows and whole 4-byte words.

    Parameters
    ----------
    columns : list of array [n]
        As `pack_column` returns them.
    n : int
    """
    rows = np.empty(n, dtype=[(f"f{k}", column.dtype) for k, column in enumerate(columns)])
    for k, column in enumerate(columns):
        rows[f"f{k}"] = column
    step = 4 * max(1, BLOCK_BYTES // (4 * rows.dtype.itemsize))
    for start in range(0, n, step):
        yield rows[start : start + step].tobytes()


class HduBytes:
    """Where an HDU of a file lies, and its bytes.

    Attributes
    ----------
    name : str
        EXTNAME, 'PRIMARY' for the first.
    header : astropy.io.fits.Header
    start, data_start, end : int
        Offsets in bytes.
    size : int
        Bytes of data, without what fills their last block.
    """

    def __init__(self, path, hdu):
        place = hdu.fileinfo()
        self.path, self.header = path, hdu.header
        self.name = hdu.name or "PRIMARY"
        self.start, self.data_start = place["hdrLoc"], place["datLoc"]
        self.end, self.size = place["datLoc"] + place["datSpan"], hdu.size

    def pieces(self, start, end):
        """Yield the bytes from `start` to `end` of the file."""
        with open(self.path, "rb") as file:
            file.seek(start)
            while start < end:
                piece = file.read(min(BLOCK_BYTES, end - start))
                if not piece:
                    return
                start += len(piece)
                yield piece

    def sums(self):
        """Return the ones' complement sums of the data and of the whole HDU."""
        data = whole = 0
        for piece in self.pieces(self.data_start, self.end):
            data = ones_sum(piece, data)
        for piece in self.pieces(self.start, self.data_start):
            whole = ones_sum(piece, whole)
        return data, ones_sum(data.to_bytes(4, "big"), whole)


def list_hdus(path):
    """Return the HDUs of a file as `HduBytes`; a file that isn't FITS or is truncated is a `UserError`."""
    try:
        size = path.stat().st_size
        with warnings.catch_warnings(), fits.open(path, memmap=True) as hdus:
            warnings.simplefilter("ignore", AstropyWarning)  # of a truncated file, which is an error below
            found = [HduBytes(path, hdu) for hdu in hdus]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: not a readable FITS file ({str(error).splitlines()[0]})") from None
    if not found or found[-1].end != size:
        raise UserError(f"{path}: truncated or with a tail: {size:,} bytes, its headers promise {found[-1].end:,}")
    return found
