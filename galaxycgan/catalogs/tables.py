"""Reads survey tables with ids kept to the last digit, and gives them units. Knows no image."""

import gzip
import warnings
import zlib

import numpy as np
import pandas as pd
from astropy.table import MaskedColumn, QTable

from galaxycgan.catalogs.readers import check_file
from galaxycgan.catalogs.schema import describe
from galaxycgan.errors import UserError, first_few

#: Columns that convert makes itself; a table's own column of that name is renamed.
RESERVED = ("labelled", "kept")
ID_COLUMNS = ("HSC_id", "COSMOS_id")
WORDS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True}
WORDS |= {"false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}


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


def read_csv(path, mapping):
    """Read a CSV, gzipped or not, under the training names.

    Ids are read as text and must be whole numbers; blank cells of other columns are missing values, and integers stay
    integers beside them.

    Parameters
    ----------
    path : str or Path
    mapping : dict
        {training name: name in the table}.

    Returns
    -------
    pandas.DataFrame
        Nullable dtypes; HSC_id (and COSMOS_id where there is one) int64; ``selected`` bool.
    """
    path = check_file(path, "--table")
    with open(path, "rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    settings = {"compression": "gzip" if gzipped else None, "encoding": "utf-8-sig", "skipinitialspace": True}
    try:
        header = pd.read_csv(path, nrows=0, index_col=False, **settings)
        names = {column.strip(): column for column in header.columns}
        ids = {names[source]: str for source in (mapping.get(name, name) for name in ID_COLUMNS) if source in names}
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, dtype=ids, dtype_backend="numpy_nullable", index_col=False, **settings)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UserError(f"{path}: damaged gzip file") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV: {str(error).strip().splitlines()[0]}") from None
    frame.columns = [column.strip() for column in frame.columns]
    frame = _rename(frame, mapping, path)
    if not len(frame):
        raise UserError(f"{path}: a table without rows")
    for name in ID_COLUMNS:
        if name in frame:
            frame[name] = _whole_numbers(frame[name], path, name)
    if "selected" in frame:
        frame["selected"] = _flags(frame["selected"], path, "selected")
    return frame


def _rename(frame, mapping, path):
    """Give the columns their training names; a column whose name is taken gets ``_original`` appended."""
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise UserError(f"{path}: column '{repeated[0]}' comes twice")
    missing = [source for source in mapping.values() if source not in frame]
    require(frame, missing, path)
    taken = set(mapping) | set(RESERVED)
    to_training = {source: name for name, source in mapping.items()}
    new = [to_training.get(name) or (f"{name}_original" if name in taken else name) for name in frame.columns]
    return frame.set_axis(new, axis=1)


def require(frame, names, path):
    """Refuse a table that lacks columns."""
    missing = [name for name in names if name not in frame]
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; it has {first_few(frame.columns, 30)}"
            f" (--columns {missing[0]}=NAME_IN_TABLE maps names)"
        )


def _whole_numbers(texts, path, name):
    """Turn a column of text into int64, or name the first row that isn't a whole number."""
    texts = texts.fillna("").str.strip()
    bad = np.flatnonzero(~texts.str.fullmatch(r"[+-]?\d{1,19}").to_numpy(dtype=bool))
    if len(bad):
        value = texts.iloc[bad[0]]
        what = f"'{value}' is not a whole number" if value else "blank"
        raise UserError(
            f"{path}: column {name}, row {bad[0] + 1} after the header: {what} ({len(bad)} such rows); ids are whole"
            " numbers written in full: remove the rows or write the ids as integers"
        )
    try:
        return texts.to_numpy(dtype=str).astype(np.int64)
    except OverflowError:
        raise UserError(f"{path}: column {name} has numbers that do not fit 64 bits") from None


def _flags(values, path, name):
    """Turn a column of true/false words or numbers into bool."""
    words = values.astype(str).str.strip().str.lower()
    flags = words.map(WORDS)
    bad = np.flatnonzero(flags.isna())
    if len(bad):
        raise UserError(
            f"{path}: column {name}, row {bad[0] + 1} after the header: '{values.iloc[bad[0]]}' is neither true nor"
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
            f"{path}: column {name}, row {bad[0] + 1} after the header: '{column.iloc[bad[0]]}' is not a number"
            f" ({len(bad)} such rows)"
        )
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def to_qtable(frame, rows, bands):
    """Take rows of a survey table as a QTable with units.

    Parameters
    ----------
    frame : pandas.DataFrame
    rows : int array [k]
        Row numbers; -1: a row of missing values (NaN, masked, or '').
    bands : iterable of str

    Returns
    -------
    QTable [k]
    """
    table = QTable()
    for name in frame.columns:
        about = describe(name, bands)
        values = _column(frame[name], rows)
        table[name] = values if about.unit is None or values.dtype.kind != "f" else values * about.unit
        table[name].info.description = about.description
    return table


def _column(series, rows):
    """Return a column's values at `rows` in the plainest type that holds them."""
    absent = rows < 0
    kind = series.dtype.kind if hasattr(series.dtype, "kind") else "O"
    if kind == "f":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)[rows]
        values[absent] = np.nan
        return values
    if kind in "ib":
        target = np.int64 if kind == "i" else bool
        mask = absent | series.isna().to_numpy()[rows]
        values = series.to_numpy(dtype=target, na_value=0)[rows]
        return MaskedColumn(values, mask=mask) if mask.any() else values
    values = series.astype(object).where(series.notna(), "").to_numpy(dtype=object)[rows]
    values[absent] = ""
    return values.astype(str)
