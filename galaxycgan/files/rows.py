"""Reads rows of a fixed length out of a file."""

import os

import numpy as np

#: The system reads no more at once.
READ_BYTES = 1 << 30


def read_rows(descriptor, rows, out, offset=0):
    """Read rows of a fixed length from a file, without moving its position: threads and forked processes may share it.

    Unlike a mapped file, what was read does not stay in the memory of the process.

    Parameters
    ----------
    descriptor : int
        Of the open file.
    rows : int array [k]
        Row numbers, in any order; runs of consecutive ones are read in one piece.
    out : array [k, ...]
        Contiguous; its rows are what the file's rows are.
    offset : int
        Where row 0 starts, in bytes.

    Raises
    ------
    EOFError
        Where the file ends before a row does.
    """
    if not len(rows):
        return
    row_bytes = out[0].nbytes
    flat = memoryview(out.reshape(-1).view("u1"))
    first = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    positions = (offset + np.asarray(rows)[first[:-1]] * row_bytes).tolist()
    for start, stop, position in zip(first, first[1:], positions, strict=False):
        buffer = flat[start * row_bytes : stop * row_bytes]
        while buffer:
            count = os.preadv(descriptor, [buffer[:READ_BYTES]], position)
            if count == 0:
                raise EOFError
            buffer, position = buffer[count:], position + count
