"""One column of a catalog as plain values, whatever Astropy class it has, and back."""

import dataclasses

import astropy.units as u
import numpy as np
from astropy.table import Column, MaskedColumn

from galaxycgan.catalogs.schema.columns import AB_COMMENT, AB_MAGNITUDE, DEX_MASS_COMMENT, DEX_SOLAR_MASS

#: Integers up to here are whole in a float64.
EXACT_IN_FLOAT = 2**53


@dataclasses.dataclass(frozen=True)
class PlainColumn:
    """Values of a column and what belongs to them.

    Attributes
    ----------
    values : array [n]
        bool, int64, float32, float64 or text. A missing float is NaN, missing text ''.
    missing : bool array [n]
        Where an integer or a flag has no value; False elsewhere.
    unit : astropy unit or None
    description : str
    """

    values: np.ndarray
    missing: np.ndarray
    unit: object = None
    description: str = ""

    @classmethod
    def of(cls, column):
        """Take a column of a Table or QTable."""
        plain = getattr(column, "unmasked", column)
        plain = np.asarray(plain.value if isinstance(plain, (u.Quantity, u.FunctionQuantity)) else plain)
        missing = np.array(np.broadcast_to(getattr(column, "mask", False), plain.shape))
        if plain.dtype.kind in "iu":
            plain = plain.astype(np.int64)
        elif plain.dtype.kind == "f" and missing.any():
            plain = np.where(missing, plain.dtype.type(np.nan), plain)
        elif plain.dtype.kind in "SO":
            plain = np.array([_text(value) for value in plain.tolist()], dtype=str)
        if plain.dtype.kind not in "bi":
            if plain.dtype.kind == "U":
                plain = np.where(missing, "", plain)
            missing = np.zeros(plain.shape, bool)
        return cls(plain, missing, getattr(column, "unit", None), column.info.description or "")

    def to_astropy(self):
        """Return the column for a QTable."""
        if self.unit is not None and self.values.dtype.kind == "f":
            column = self.values * self.unit
        elif self.missing.any():
            column = MaskedColumn(self.values, mask=self.missing, unit=self.unit)
        else:
            column = Column(self.values, unit=self.unit)
        column.info.description = self.description or None
        return column

    def take(self, rows):
        """Return the column's values at some rows."""
        return dataclasses.replace(self, values=self.values[rows], missing=self.missing[rows])


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else "" if value is None else str(value)


def stack(parts, lengths):
    """Put columns of one name under each other.

    Parameters
    ----------
    parts : list of PlainColumn or None
        None: this table has no such column; its rows are missing values.
    lengths : list of int
        Rows of each table.

    Returns
    -------
    PlainColumn
        In the unit and with the description of the first that is there.

    Raises
    ------
    ValueError
        Where types or units can't be reconciled; the message says in what they differ.
    """
    first = next(part for part in parts if part is not None)
    kind = _common_kind([part for part in parts if part is not None])
    values, missing = [], []
    for part, n in zip(parts, lengths, strict=True):
        part = _nothing(n, kind) if part is None else _as_kind(_in_unit(part, first.unit), kind)
        values.append(part.values)
        missing.append(part.missing)
    return PlainColumn(np.concatenate(values), np.concatenate(missing), first.unit, first.description)


def _common_kind(parts):
    """Return the dtype kind that holds all parts: integers may join floats where none changes."""
    kinds = {part.values.dtype.kind for part in parts}
    if len(kinds) == 1:
        return kinds.pop()
    if kinds != {"i", "f"}:
        names = {"b": "flags", "i": "integers", "f": "floats", "U": "text"}
        raise ValueError(" and ".join(sorted(names[kind] for kind in kinds)))
    for part in parts:
        known = part.values[~part.missing]
        if part.values.dtype.kind == "i" and np.any((known > EXACT_IN_FLOAT) | (known < -EXACT_IN_FLOAT)):
            raise ValueError("floats and integers beyond 2^53, which a float can't hold")
    return "f"


def _as_kind(part, kind):
    if part.values.dtype.kind == kind:
        return part
    return PlainColumn(np.where(part.missing, np.nan, part.values), np.zeros(len(part.values), bool))


def _nothing(n, kind):
    """Return a column of missing values."""
    if kind in "bi":
        return PlainColumn(np.zeros(n, bool if kind == "b" else np.int64), np.ones(n, bool))
    return PlainColumn(np.full(n, "" if kind == "U" else np.float32("nan")), np.zeros(n, bool))


def _in_unit(part, unit):
    """Return a column in another unit of the same kind."""
    if part.unit == unit:
        return part
    logarithmic = any(isinstance(one, u.function.FunctionUnitBase) for one in (part.unit, unit))
    if part.unit is None or unit is None or logarithmic or not part.unit.is_equivalent(unit):
        raise ValueError(f"units {unit or 'none'} and {part.unit or 'none'}")
    return dataclasses.replace(part, values=part.values.astype(np.float64) * part.unit.to(unit), unit=unit)


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a column is, in words that every table format has.

    Attributes
    ----------
    unit : str
        '' for none.
    description, ucd : str
    """

    unit: str
    description: str
    ucd: str


def meaning(unit, description, about, unit_format):
    """Say what a column is in a format that has no word for AB or dex: there the description says it.

    Parameters
    ----------
    unit : astropy unit or None
    description : str
    about : galaxycgan.catalogs.schema.Column
    unit_format : str
        'fits' or 'vounit'.

    Returns
    -------
    Meaning
    """
    description = description or about.description
    if unit == DEX_SOLAR_MASS:
        return Meaning("", DEX_MASS_COMMENT, about.ucd)
    if unit == AB_MAGNITUDE:
        return Meaning("mag", AB_COMMENT, about.ucd)
    if unit is None or unit == u.dimensionless_unscaled:
        return Meaning("", description, about.ucd)
    try:
        return Meaning(unit.to_string(unit_format), description, about.ucd)
    except (ValueError, AttributeError):  # no such unit there
        return Meaning("", f"{description} [{unit}]", about.ucd)


def unit_meant(text, description, unit_format):
    """Return the unit that a format's unit and description mean together: the way back from `meaning`."""
    if description == DEX_MASS_COMMENT:
        return DEX_SOLAR_MASS
    if text == "mag" and description == AB_COMMENT:
        return AB_MAGNITUDE
    return u.Unit(text, format=unit_format, parse_strict="silent") if text else None
