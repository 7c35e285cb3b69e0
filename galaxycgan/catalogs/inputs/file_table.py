"""A table and the file that it is from: columns become typed values, and every message names the file."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from galaxycgan.errors import UserError, first_few

WORDS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True}
WORDS |= {"false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}


@dataclass(frozen=True, eq=False)
class FileTable:
    """A table and the file that it is from.

    Columns are parsed when they are asked for, and numbers only once; what nobody asks for stays as the file has it.

    Attributes
    ----------
    path : Path
        The file, which every message names.
    frame : pandas.DataFrame
        Nullable dtypes: integers stay integers beside blank cells.
    units, descriptions : dict
        {column: astropy unit} and {column: text}, where the file gives one.
    columns : dict
        {training name: name in the file}, whether asked for or implied by the file's layout.
    """

    path: Path
    frame: pd.DataFrame
    units: dict = field(default_factory=dict)
    descriptions: dict = field(default_factory=dict)
    columns: dict = field(default_factory=dict)
    _parsed: dict = field(default_factory=dict, init=False, repr=False)

    def __len__(self):
        return len(self.frame)

    def __contains__(self, name):
        """Return whether there is a column of this name."""
        return name in self.frame

    def require(self, names, way_out=""):
        """Refuse a table that lacks columns.

        Parameters
        ----------
        names : iterable of str, or dict
            Columns; of a dict, {name in the table: training name}, whose names `--columns` gave.
        way_out : str
            What else the user can do, appended to the message.
        """
        missing = [name for name in names if name not in self]
        if missing:
            training_name = names[missing[0]] if isinstance(names, dict) else missing[0]
            raise UserError(
                f"{self.path}: no column {', '.join(missing)}; it has {first_few(self.frame.columns, 30)}"
                f" (--columns {training_name}=NAME_IN_TABLE maps names{way_out})"
            )

    def numbers(self, name):
        """Return a column as float64 [m], blanks NaN; text that isn't a number is an error that names its row.

        The array is shared by all who ask and can't be written to.
        """
        if name not in self._parsed:
            values = self._parse_numbers(name)
            values.flags.writeable = False
            self._parsed[name] = values
        return self._parsed[name]

    def _parse_numbers(self, name):
        column = self.frame[name]
        if pd.api.types.is_numeric_dtype(column):
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        values = pd.to_numeric(column, errors="coerce")
        bad = np.flatnonzero(values.isna() & column.notna() & (column.astype(str).str.strip() != ""))
        if len(bad):
            raise UserError(
                f"{self.path}: column {name}, row {bad[0] + 1} of the data: '{column.iloc[bad[0]]}' is not a number"
                f" ({len(bad)} such rows)"
            )
        return values.to_numpy(dtype=np.float64, na_value=np.nan)

    def whole_numbers(self, name):
        """Return a column of integers or text as int64 [m]; the first row that isn't a whole number is an error.

        Floats are refused even where they look whole: float64 can't hold ids above 2^53.
        """
        series = self.frame[name]
        if pd.api.types.is_integer_dtype(series.dtype):
            bad = np.flatnonzero(series.isna())
            if not len(bad):
                values = series.to_numpy()
                if values.dtype.kind == "u" and values.max() > np.iinfo(np.int64).max:
                    raise self._too_large(name)
                return values.astype(np.int64)
            texts = series.astype("string").fillna("")
        else:
            texts = series.astype("string").fillna("").str.strip()
            bad = np.flatnonzero(~texts.str.fullmatch(r"[+-]?\d{1,19}").to_numpy(dtype=bool))
        if len(bad):
            value = texts.iloc[bad[0]]
            what = f"'{value}' is not a whole number" if value else "blank"
            kind = f"; the column is {series.dtype}" if pd.api.types.is_float_dtype(series.dtype) else ""
            raise UserError(
                f"{self.path}: column {name}, row {bad[0] + 1} of the data: {what} ({len(bad)} such rows{kind}); ids"
                " are whole numbers written in full: remove the rows or write the ids as integers"
            )
        try:
            return texts.to_numpy(dtype=str).astype(np.int64)
        except OverflowError:
            raise self._too_large(name) from None

    def _too_large(self, name):
        return UserError(f"{self.path}: column {name} has numbers that do not fit 64 bits")

    def unique_ids(self, name):
        """Return a column of ids as int64 [m]; one that comes twice is an error."""
        return unique_ids(self.whole_numbers(name), self.path)

    def flags(self, name):
        """Return a column of true/false words or numbers as bool [m]."""
        values = self.frame[name]
        words = values.astype(str).str.strip().str.lower()
        flags = words.map(WORDS)
        bad = np.flatnonzero(flags.isna())
        if len(bad):
            raise UserError(
                f"{self.path}: column {name}, row {bad[0] + 1} of the data: '{values.iloc[bad[0]]}' is neither true nor"
                f" false ({len(bad)} such rows)"
            )
        return flags.to_numpy(dtype=bool)


def unique_ids(ids, path):
    """Return the ids of images; one that comes twice is an error."""
    values, counts = np.unique(ids, return_counts=True)
    repeated = values[counts > 1]
    if len(repeated):
        raise UserError(
            f"{path}: {len(repeated)} ids come more than once: {first_few(repeated)}; keep one image of each"
        )
    return ids


def check_positions(ra, dec, path):
    """Refuse positions that can't be degrees; blank ones (NaN) are no mistake here."""
    with np.errstate(invalid="ignore"):
        wrong = (np.abs(dec) > 90) | (ra < -180) | (ra > 360) | np.isinf(ra) | np.isinf(dec)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{path}: columns ra, dec, row {row + 1} of the data: {ra[row]:g}, {dec[row]:g} is no position in degrees"
            f" ({wrong.sum()} such rows)"
        )
