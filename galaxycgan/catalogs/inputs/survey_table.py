"""Gives survey tables the training names, exact ids and units."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.table import MaskedColumn, QTable

from galaxycgan.catalogs.inputs.raw_tables import read_raw
from galaxycgan.catalogs.schema.columns import LEGAL_LABELS, MASK, describe_column, free_name
from galaxycgan.catalogs.schema.values import EXACT_IN_FLOAT
from galaxycgan.errors import UserError, first_few

#: What convert makes itself, and what conditions call the store's split; a table's own column of that name is renamed.
RESERVED = ("labelled", "kept", "split")
ID_COLUMNS = ("HSC_id", "COSMOS_id")
#: Columns that have to be legal in every row where they mean something: ids, and which rows may be used.
KEYS = (*ID_COLUMNS, "selected")
#: Columns that are of no use in another unit than the schema's.
NEED_UNIT = ("ra", "dec", "sep", "log_mass")
WORDS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True}
WORDS |= {"false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}


@dataclass(frozen=True)
class SurveyTable:
    """A survey table under the training names.

    Attributes
    ----------
    path : Path
    frame : pandas.DataFrame
        Nullable dtypes; HSC_id (and COSMOS_id where there is one) int64; ``selected`` bool; columns that the schema
        knows in its units.
    units, descriptions : dict
        {column: astropy unit} and {column: text} where the file tells what the schema doesn't.
    columns : dict
        {training name: name in the file}, whether asked for or implied by the file's layout.
    notes : tuple of str
        What was converted or left out.
    """

    path: Path
    frame: pd.DataFrame
    units: dict
    descriptions: dict
    columns: dict
    notes: tuple

    def take(self, rows, bands):
        """Take rows as a QTable with units.

        Parameters
        ----------
        rows : int array [k]
            Row numbers; -1: a row of missing values (NaN, masked, or '').
        bands : iterable of str

        Returns
        -------
        QTable [k]
        """
        table = QTable()
        for name in self.frame.columns:
            about = describe_column(name, bands, measured=False)
            unit = self.units.get(name, about.unit)
            values = _column(self.frame[name], rows)
            table[name] = values if unit is None or values.dtype.kind != "f" else values * unit
            table[name].info.description = self.descriptions.get(name, about.description)
        return table


def parse_columns(text):
    """Read ``photo_z=specz_redshift,HSC_id=object_id`` into {training name: name in the table}."""
    mapping = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, source = (word.strip() for word in part.partition("="))
        if not (name and equals and source):
            raise UserError(f"--columns {part}: must be NAME=NAME_IN_TABLE, such as photo_z=specz_redshift")
        if name in mapping:
            raise UserError(f"--columns: '{name}' comes twice")
        mapping[name] = source
    return mapping


def read_table(path, mapping, *, option="--table", bands=(), keys=KEYS, all_matches=False):
    """Read a table of any known format under the training names.

    Keys must be legal in every row; blank cells of other columns are missing values, and integers stay integers beside
    them.

    Parameters
    ----------
    path : str or Path
    mapping : dict
        {training name: name in the table}.
    option : str
        The option that names the file, for messages.
    bands : iterable of str
        Bands of the store, which some column names end with.
    keys : iterable of str
        Which of `KEYS` are that here; the others are columns as any.
    all_matches : bool
        As of `read_raw`.

    Returns
    -------
    SurveyTable
    """
    ids = [name for name in ID_COLUMNS if name in keys]
    raw = read_raw(path, option, [mapping.get(name, name) for name in ids], all_matches)
    mapping = {name: source for name, source in raw.columns.items() if source not in mapping.values()} | mapping
    new, notes = _training_names(raw.frame, mapping, path)
    frame = raw.frame.set_axis(list(new.values()), axis=1)
    for name in ids:
        if name in frame:
            frame[name] = whole_numbers(frame[name], path, name)
    if "selected" in frame and "selected" in keys:
        frame["selected"] = _flags(frame["selected"], path, "selected")
    units = {new[name]: unit for name, unit in raw.units.items()}
    notes += [f"column {name} has several values in a row: left out" for name in raw.left_out]
    for name in [name for name in frame if name in units or name in NEED_UNIT]:
        notes += _to_float(frame, name, units, path)
    for name in list(units):
        notes += _to_schema_unit(frame, name, units, bands, path)
    descriptions = {new[name]: text for name, text in raw.descriptions.items()}
    known = {name for name in descriptions if describe_column(name, bands, measured=False).ucd != "meta"}
    descriptions = {name: text for name, text in descriptions.items() if name not in known}
    for name in frame.select_dtypes(["object", "string"]):
        if not all(value.isascii() for value in frame[name] if isinstance(value, str)):
            notes.append(f"column {name}: characters that are not ASCII become ? in FITS files")
    return SurveyTable(Path(path), frame, units, descriptions, mapping, tuple(notes))


def _training_names(frame, mapping, path):
    """Return {name in the file: training name}, and notes; a name that is taken gets ``_original`` appended."""
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise UserError(f"{path}: column '{repeated[0]}' comes twice")
    to_training = {source: name for name, source in mapping.items()}
    require(frame, to_training, path)
    wanted = {*mapping, *RESERVED}
    taken, names, notes = wanted.union(map(str, frame.columns)), {}, []
    for source in map(str, frame.columns):
        name = to_training.get(source) or (free_name(source, taken) if source in wanted else source)
        if name.endswith(MASK):
            name = free_name(f"{name.removesuffix(MASK)}_mask", taken)
            notes.append(f"column {source} is called {name}: names with {MASK} at the end tell what is missing")
        names[source] = name
        taken.add(name)
    return names, notes


def require(frame, names, path, way_out=""):
    """Refuse a table that lacks columns; of a dict, {name in the table: training name}, --columns gave the names."""
    missing = [name for name in names if name not in frame]
    if missing:
        wanted = names[missing[0]] if isinstance(names, dict) else missing[0]
        raise UserError(
            f"{path}: no column {', '.join(missing)}; it has {first_few(frame.columns, 30)}"
            f" (--columns {wanted}=NAME_IN_TABLE maps names{way_out})"
        )


def whole_numbers(series, path, name):
    """Turn a column of integers or text into int64, or name the first row that isn't a whole number.

    Floats are refused even where they look whole: float64 can't hold ids above 2^53.
    """
    if pd.api.types.is_integer_dtype(series.dtype):
        bad = np.flatnonzero(series.isna())
        if not len(bad):
            values = series.to_numpy()
            _check_64_bits(values.dtype.kind == "u" and values.max() > np.iinfo(np.int64).max, path, name)
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
            f"{path}: column {name}, row {bad[0] + 1} of the data: {what} ({len(bad)} such rows{kind}); ids are whole"
            " numbers written in full: remove the rows or write the ids as integers"
        )
    try:
        return texts.to_numpy(dtype=str).astype(np.int64)
    except OverflowError:
        _check_64_bits(True, path, name)


def _check_64_bits(too_large, path, name):
    if too_large:
        raise UserError(f"{path}: column {name} has numbers that do not fit 64 bits")


def _flags(values, path, name):
    """Turn a column of true/false words or numbers into bool."""
    words = values.astype(str).str.strip().str.lower()
    flags = words.map(WORDS)
    bad = np.flatnonzero(flags.isna())
    if len(bad):
        raise UserError(
            f"{path}: column {name}, row {bad[0] + 1} of the data: '{values.iloc[bad[0]]}' is neither true nor"
            f" false ({len(bad)} such rows)"
        )
    return flags.to_numpy(dtype=bool)


def numbers(frame, name, path):
    """Return a column as float64 [n], blanks NaN; text that isn't a number is an error that names its row."""
    column = frame[name]
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = pd.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(values.isna() & column.notna() & (column.astype(str).str.strip() != ""))
    if len(bad):
        raise UserError(
            f"{path}: column {name}, row {bad[0] + 1} of the data: '{column.iloc[bad[0]]}' is not a number"
            f" ({len(bad)} such rows)"
        )
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _to_float(frame, name, units, path):
    """Turn integers that have a unit into floats, as Astropy has all quantities; return notes on those that can't be.

    Ids have no unit, whatever the file says.
    """
    column = frame[name]
    if name in ID_COLUMNS or not pd.api.types.is_integer_dtype(column):
        return []
    if ((column > EXACT_IN_FLOAT) | (column < -EXACT_IN_FLOAT)).any():
        unit = units.pop(name, None)
        return [f"column {name} has integers beyond 2^53: kept as they are, without the unit {unit}"] if unit else []
    frame[name] = numbers(frame, name, path)
    return []


def _to_schema_unit(frame, name, units, bands, path):
    """Convert a column to the unit that the schema has for it; return notes on what was done.

    Other columns keep the file's unit. Magnitudes are AB. Masses in solar masses whose numbers are legal logarithms
    are taken for those: many catalogs give log10(M*) the unit of the mass.
    """
    unit, target = units[name], describe_column(name, bands, measured=False).unit
    if target is None or not pd.api.types.is_numeric_dtype(frame[name]):
        return []
    del units[name]
    if unit == target or unit in (u.mag, u.dimensionless_unscaled, u.dex):
        return []
    if name == "ra" and unit == u.hour:
        unit = u.hourangle
    values = numbers(frame, name, path)
    if unit == u.solMass and np.nanmax(np.where(np.isfinite(values), values, -np.inf)) < LEGAL_LABELS["log_mass"][1]:
        return [f"column {name} has the unit {unit}: its numbers were taken for log10 of that"]
    try:
        with np.errstate(invalid="ignore", divide="ignore"):
            frame[name] = (values * unit).to_value(target)
    except u.UnitConversionError:
        if name in NEED_UNIT:
            raise UserError(f"{path}: column {name} has the unit {unit}, which is no {target}") from None
        units[name] = unit
        return []
    return [f"column {name} was converted from {unit} to {target}"]


def _column(series, rows):
    """Return a column's values at `rows` in the plainest type that holds them."""
    absent = rows < 0
    kind = series.dtype.kind if hasattr(series.dtype, "kind") else "O"
    if kind == "f":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)[rows]
        values[absent] = np.nan
        return values
    if kind == "u" and (series.dropna() <= np.iinfo(np.int64).max).all():
        kind = "i"
    if kind in "ib":
        target = np.int64 if kind == "i" else bool
        mask = absent | series.isna().to_numpy()[rows]
        values = series.to_numpy(dtype=target, na_value=0)[rows]
        return MaskedColumn(values, mask=mask) if mask.any() else values
    values = series.astype(object).where(series.notna(), "").to_numpy(dtype=object)[rows]
    values[absent] = ""
    return values.astype(str)
