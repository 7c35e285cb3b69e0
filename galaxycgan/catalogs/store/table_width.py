"""How many columns the table of a store has room for."""

import contextlib
import io

import h5py
import numpy as np
from astropy.table import QTable

from galaxycgan.catalogs.schema.columns import HDF5_VERSIONS, MASK
from galaxycgan.errors import UserError

TABLE, TABLE_META = "catalog", "catalog.__table_column_meta__"


@contextlib.contextmanager
def file_in_memory(path):
    """Open an HDF5 file in memory for a table, of the version that a store has: older ones have less room for columns.

    Parameters
    ----------
    path : str or Path
        Of the table, for the message where its columns are too many.
    """
    with h5py.File(io.BytesIO(), "w", libver=HDF5_VERSIONS) as file:
        try:
            yield file
        except ValueError as error:
            if "object header message is too large" not in str(error):
                raise
            raise UserError(
                f"{path}: more columns than a store's table has room for: HDF5 gives names and types 64 kB, which is"
                " 1,000 to 2,000 columns by the length of the names; leave out those that you don't need"
            ) from None


def check_width(table, path):
    """Refuse a table with more columns than a store holds, before its images are written, which takes long.

    Parameters
    ----------
    table : QTable [n]
    path : str or Path
        For the message.
    """
    fields = []
    for name in table.colnames:
        column = table[name]
        fields.append((name, "S1" if column.dtype.kind == "U" else column.dtype))
        if np.any(getattr(column, "mask", False)):
            fields.append((name + MASK, bool))
    with file_in_memory(path) as file:
        file.create_dataset(TABLE, (1,), np.dtype(fields))


def one_row(store):
    """Return the first row of a store's table, for units and descriptions: QTable [1]."""
    with store.open() as source, file_in_memory(store.path) as copy:
        copy[TABLE] = source[TABLE][:1]
        if TABLE_META in source:
            copy[TABLE_META] = source[TABLE_META][()]
        return QTable.read(copy, format="hdf5", path=TABLE, character_as_bytes=False)
