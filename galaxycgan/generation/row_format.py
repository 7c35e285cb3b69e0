"""How a row of a synthetic catalog lies in the store: types, units and order of columns."""

import numpy as np
from astropy.table import QTable

from galaxycgan.catalogs.export.fits_table import PLACES
from galaxycgan.catalogs.formats.fits import MOST_COLUMNS
from galaxycgan.catalogs.schema.columns import describe_column
from galaxycgan.catalogs.store.table_width import file_in_memory
from galaxycgan.errors import UserError


class RowFormat:
    """Turns labels, measurements and columns that ride along into rows of the store's table.

    Every piece of a catalog has the same row format, whatever its own rows hold: missing values have their mask, text
    its greatest length.

    Parameters
    ----------
    labels : dict of {str: numpy.dtype}
        Columns that galaxies are asked for by, in order.
    measured : tuple of str
        Names of the columns of measurements, in order.
    bands : tuple of str
    extra : QTable [n] or None
        Columns that ride along, of the whole request.

    Attributes
    ----------
    dtype : numpy.dtype
        Of a row, the id first.
    meta : array of bytes
        Lines of YAML with units and descriptions, as astropy keeps them beside the table.
    """

    def __init__(self, labels, measured, bands, extra=None):
        self.extra, self._parts = extra, None
        few = [] if extra is None else _telling_rows(extra)
        table = QTable({"SYN_id": np.zeros(max(len(few), 1), np.int64)})
        numbers = dict.fromkeys((*measured, "ood"), np.dtype(np.float64))
        for name, dtype in (labels | numbers).items():
            unit, values = describe_column(name, bands).unit, np.zeros(len(table), dtype)
            table[name] = values if unit is None else values * unit
        table["ood_flag"] = np.zeros(len(table), bool)
        table["seed"] = np.zeros(len(table), np.int64)
        for name in [] if extra is None else extra.colnames:
            table[name] = extra[name][few]
        most = MOST_COLUMNS - len(PLACES)
        if len(table.colnames) > most:
            raise UserError(
                f"--table: with its {len(extra.colnames):,} other columns the catalog would have"
                f" {len(table.colnames):,}, but FITS has room for {most}; leave out those that you don't need"
            )
        self._dtype, self.meta = _serialised(table)[1:]
        if extra is not None:
            self._parts = _serialised(extra)[0]
        self.dtype = np.dtype([(name, self._dtype_of(name)) for name in self._dtype.names])

    def _dtype_of(self, name):
        if self._parts is not None and name in self._parts.dtype.names:
            return self._parts.dtype[name]
        return self._dtype[name]

    def rows(self, first, columns):
        """Return rows ``first ..`` of the request's table.

        Parameters
        ----------
        first : int
            Row number of the request.
        columns : dict of arrays [k]
            All columns but the id and those that ride along.

        Returns
        -------
        structured array [k]
        """
        count = len(columns["seed"])
        rows = np.empty(count, self.dtype)
        rows["SYN_id"] = np.arange(first, first + count)
        for name, values in columns.items():
            rows[name] = values
        for name in () if self._parts is None else self._parts.dtype.names:
            rows[name] = self._parts[name][first : first + count]
        return rows


def _telling_rows(extra):
    """Return some row numbers of a table among which each column with missing values has one."""
    masks = [np.asarray(extra[name].mask) for name in extra.colnames if hasattr(extra[name], "mask")]
    return sorted({0, *(int(np.argmax(mask)) for mask in masks)})


def _serialised(table):
    """Return a table as the store keeps it: structured array [n], its dtype, and the lines of its description."""
    with file_in_memory("--table") as file:
        table.write(file, format="hdf5", path="table", serialize_meta=True)
        return file["table"][()], file["table"].dtype, file["table.__table_column_meta__"][()]
