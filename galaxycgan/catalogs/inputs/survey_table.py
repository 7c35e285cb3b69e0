"""Survey tables under the training names, with exact ids and the schema's units."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.table import MaskedColumn, QTable

from galaxycgan.catalogs.inputs.file_table import FileTable, check_positions
from galaxycgan.catalogs.inputs.raw_tables import read_raw
from galaxycgan.catalogs.schema.columns import LEGAL_LABELS, MASK, describe_column, free_name
from galaxycgan.catalogs.schema.values import EXACT_IN_FLOAT
from galaxycgan.errors import UserError

#: What convert makes itself, and what conditions call the store's split; a table's own column of that name is renamed.
RESERVED = ("labelled", "kept", "split")
ID_COLUMNS = ("HSC_id", "COSMOS_id")
#: Columns that have to be legal in every row where they mean something: ids, and which rows may be used.
KEYS = (*ID_COLUMNS, "selected")
#: Columns that are of no use in another unit than the schema's.
NEED_UNIT = ("ra", "dec", "sep", "log_mass")


@dataclass(frozen=True, eq=False)
class SurveyTable(FileTable):
    """A survey table under the training names, parsed once.

    HSC_id (and COSMOS_id where there is one) are int64, ``selected`` is bool, floats are float64 with NaN where blank,
    columns that the schema has are in its units. Other columns stay as the file has them.

    Attributes
    ----------
    units, descriptions : dict
        {column: astropy unit} and {column: text} where the file tells what the schema doesn't.
    notes : tuple of str
        What was converted or left out.
    """

    notes: tuple = ()

    @classmethod
    def read(cls, path, mapping, *, option="--table", bands=(), keys=KEYS, all_matches=False, where_needed=False):
        """Read a table of any known format under the training names.

        Keys must be legal in every row; blank cells of other columns are missing values, and integers stay integers
        beside them.

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
        where_needed : bool
            Of the mapping, take only columns that are there, for training names that the table lacks.

        Returns
        -------
        SurveyTable
        """
        ids = [name for name in ID_COLUMNS if name in keys]
        as_text = {mapping.get(name, name) for name in ids} | set(ids if where_needed else ())
        raw = read_raw(path, option, as_text, all_matches)
        if where_needed:
            there = {*raw.frame.columns, *raw.columns}
            mapping = {name: source for name, source in mapping.items() if source in raw and name not in there}
        mapping = {name: source for name, source in raw.columns.items() if source not in mapping.values()} | mapping
        new, notes = _training_names(raw, mapping)
        units = {new[name]: unit for name, unit in raw.units.items()}
        table = cls(raw.path, raw.frame.set_axis(list(new.values()), axis=1), columns=mapping)
        frame = table.frame.copy(deep=False)
        for name in ids:
            if name in frame:
                frame[name] = table.whole_numbers(name)
        if "selected" in frame and "selected" in keys:
            frame["selected"] = table.flags("selected")
        notes += [f"column {name} has several values in a row: left out" for name in raw.left_out]
        for name in [name for name in frame if name in units or name in NEED_UNIT]:
            notes += _to_float(frame, name, units, table)
        for name in list(units):
            notes += _to_schema_unit(frame, name, units, bands, table)
        for name in [name for name in frame if isinstance(frame[name].dtype, pd.Float64Dtype)]:
            frame[name] = table.numbers(name)
        descriptions = {new[name]: text for name, text in raw.descriptions.items()}
        known = {name for name in descriptions if describe_column(name, bands, measured=False).ucd != "meta"}
        descriptions = {name: text for name, text in descriptions.items() if name not in known}
        for name in frame.select_dtypes(["object", "string"]):
            if not all(value.isascii() for value in frame[name] if isinstance(value, str)):
                notes.append(f"column {name}: characters that are not ASCII become ? in FITS files")
        return cls(raw.path, frame, units, descriptions, mapping, tuple(notes))

    @property
    def ids(self):
        """HSC_id of each row, int64 [m], exact."""
        return self.frame["HSC_id"].to_numpy()

    @property
    def selected(self):
        """Which rows may be used, bool [m]: all where the table has no such column."""
        return self.frame["selected"].to_numpy() if "selected" in self else np.ones(len(self), bool)

    def ra_dec(self):
        """Return ra and dec in degrees, ICRS, float64 [m] each, NaN where blank; what can't be degrees is an error."""
        ra, dec = self.numbers("ra"), self.numbers("dec")
        check_positions(ra, dec, self.path)
        return ra, dec

    def with_numbers(self, names):
        """Return the table with these columns as float64, blanks NaN."""
        return replace(self, frame=self.frame.assign(**{name: self.numbers(name) for name in names}))

    def take(self, rows, bands, leave_out=()):
        """Take rows as a QTable with units.

        Parameters
        ----------
        rows : int array [k]
            Row numbers; -1: a row of missing values (NaN, masked, or '').
        bands : iterable of str
        leave_out : iterable of str
            Columns that are not taken.

        Returns
        -------
        QTable [k]
        """
        table = QTable()
        for name in (name for name in self.frame.columns if name not in leave_out):
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


def _training_names(raw, mapping):
    """Return {name in the file: training name}, and notes; a name that is taken gets ``_original`` appended."""
    frame = raw.frame
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise UserError(f"{raw.path}: column '{repeated[0]}' comes twice")
    to_training = {source: name for name, source in mapping.items()}
    raw.require(to_training)
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


def _to_float(frame, name, units, table):
    """Turn integers that have a unit into floats, as Astropy has all quantities; return notes on those that can't be.

    Ids have no unit, whatever the file says.
    """
    column = frame[name]
    if name in ID_COLUMNS or not pd.api.types.is_integer_dtype(column):
        return []
    if ((column > EXACT_IN_FLOAT) | (column < -EXACT_IN_FLOAT)).any():
        unit = units.pop(name, None)
        return [f"column {name} has integers beyond 2^53: kept as they are, without the unit {unit}"] if unit else []
    frame[name] = table.numbers(name)
    return []


def _to_schema_unit(frame, name, units, bands, table):
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
    values = table.numbers(name)
    if unit == u.solMass and np.nanmax(np.where(np.isfinite(values), values, -np.inf)) < LEGAL_LABELS["log_mass"][1]:
        return [f"column {name} has the unit {unit}: its numbers were taken for log10 of that"]
    try:
        with np.errstate(invalid="ignore", divide="ignore"):
            frame[name] = (values * unit).to_value(target)
    except u.UnitConversionError:
        if name in NEED_UNIT:
            raise UserError(f"{table.path}: column {name} has the unit {unit}, which is no {target}") from None
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
