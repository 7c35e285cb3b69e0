"""Galaxies of a real table for the mock: what its columns mean, and what it lacks drawn or fitted."""

import dataclasses
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.inputs.raw_tables import read_raw
from galaxycgan.catalogs.inputs.survey_table import parse_columns
from galaxycgan.errors import UserError, first_few
from galaxycgan.mock.population import (
    BANDS,
    TEMPLATES,
    WAVELENGTH_NM,
    Galaxies,
    I,
    draw_knot_fraction,
    draw_shapes,
    galaxy_properties,
    spectrum_mags,
)

#: quantity: the names, in lower case, that tables give it. `--columns` maps others.
NAMES = {
    "redshift": (
        "redshift",
        "z",
        "photo_z",
        "photoz",
        "zphot",
        "z_phot",
        "specz_redshift",
        "z_spec",
        "zspec",
        "z_best",
    ),
    "log_mass": ("log_mass", "logmass", "lmass", "log_mstar", "logmstar", "logm", "mass_med", "lp_mass_med"),
    "sersic_n": ("sersic_n", "n", "n_sersic", "sersic", "sersic_index"),
    "r50_major_arcsec": ("r50_major_arcsec", "r50_major", "re_major_arcsec", "re_major"),
    "r50_circular_arcsec": ("r50_circular_arcsec", "r50_circular", "r50_circ", "re_circular_arcsec", "re_circ"),
    "q": ("q", "axis_ratio", "b_a", "ba", "b/a"),
    "pa_deg": ("pa_deg", "pa", "position_angle"),
    "pa_north_deg": ("pa_north_deg", "pa_north"),
}
MAG_NAMES = ("mag_{}", "{}mag", "{}_mag", "{}cmodel_mag", "{}_cmodel_mag", "mag_auto_{}", "hsc_{}", "subaru_{}")
NAMES |= {f"mag_{band}": tuple(name.format(band) for name in MAG_NAMES) for band in BANDS}
#: Close enough to i (0.04 mag in the median of COSMOS galaxies) to stand in where a table has no i.
NAMES["mag_f814w"] = ("mag_f814w", "f814w", "f814w_mag", "f814w_mag_auto")
#: Names of a radius that do not say along what.
UNCLEAR_RADIUS = ("r50", "re", "r_e", "r50_arcsec", "re_arcsec", "reff", "r_eff", "hlr", "half_light_radius")
#: What a galaxy can be drawn with: smallest and largest value. A blank is illegal in the first two only.
LEGAL = {
    "redshift": (0.005, 2.5),
    "log_mass": (3.0, 14.0),
    "r50_major_arcsec": (0.001, 30.0),
    "r50_circular_arcsec": (0.001, 30.0),
    "sersic_n": (0.01, 20.0),
    "q": (0.01, 1.0),
    "pa_deg": (-360.0, 360.0),
    "pa_north_deg": (-360.0, 360.0),
}
NEEDED = ("redshift", "log_mass")
#: Magnitudes beyond these are marks of no detection, such as 99 and -99.
MAG_RANGE = (5.0, 35.0)
SERSIC_RANGE = (0.5, 6.0)
#: The spectra that magnitudes are compared with; an error that covers the templates' coarseness; a usual E(B-V).
TYPE_GRID = np.arange(0, len(TEMPLATES) - 0.99, 0.1)
EBV_GRID = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5])
MAG_ERROR, USUAL_EBV = 0.06, 0.25
#: Fitted types below this count as quiescent: between the elliptical and the first spiral.
QUIESCENT_TYPE = 0.6


@dataclasses.dataclass(frozen=True)
class GalaxyTable:
    """Rows of a table that can be drawn as galaxies.

    Attributes
    ----------
    path : Path
    row : int array [n]
        Row number in the file, from 0.
    values : dict
        {quantity: float64 [n]}, for the quantities of `LEGAL` that the table has; NaN: blank.
    mags : float64 array [n, 5]
        AB magnitudes in `BANDS`; NaN: unknown.
    notes : tuple of str
        What was read as what, and what was left out.
    """

    path: Path
    row: np.ndarray
    values: dict
    mags: np.ndarray
    notes: tuple

    def __len__(self):
        return len(self.row)

    def take(self, index, *notes):
        """Return some of the rows, with further notes."""
        values = {name: column[index] for name, column in self.values.items()}
        return dataclasses.replace(
            self, row=self.row[index], values=values, mags=self.mags[index], notes=self.notes + notes
        )

    def brighter(self, i_limit):
        """Leave out rows whose i magnitude, where the table gives one, is fainter than a limit (AB)."""
        faint = self.mags[:, I] > i_limit
        if faint.all():
            raise UserError(f"{self.path}: no row is brighter than --limit {i_limit:g}; choose a fainter limit")
        note = f"{faint.sum():,} rows fainter than i = {i_limit:g} left out"
        return self.take(~faint, *([note] if faint.any() else []))

    def draw(self, n, rng):
        """Draw n of the rows, none twice, in the table's order; all where n is 0."""
        if n > len(self):
            raise UserError(
                f"--n {n}: {self.path} has {len(self):,} rows that can be drawn, and none is drawn twice; ask for at"
                f" most {len(self)}, or leave --n out for all"
            )
        return self.take(np.sort(rng.permutation(len(self))[:n])) if n else self


def read_galaxies(path, columns="", bad_rows="refuse"):
    """Read a table of galaxies.

    Parameters
    ----------
    path : str or Path
        CSV, FITS, VOTable, ECSV, Parquet or HDF5.
    columns : str
        Names that `NAMES` does not have, such as ``redshift=zpdf,mag_i=i_kron``.
    bad_rows : str
        What happens to rows without a legal redshift or mass, and to impossible shapes: 'refuse' or 'drop'.

    Returns
    -------
    GalaxyTable

    Raises
    ------
    UserError
        For files that can't be read, columns that are missing or ambiguous, and bad rows.
    """
    raw = read_raw(path, "--table")
    found = find_columns(raw.frame.columns, columns, path)
    given = {name: _quantity(raw, name, source) for name, source in found.items()}
    notes = ["columns " + ", ".join(f"{name}={source}" for name, source in found.items())]
    mags = np.full((len(raw), len(BANDS)), np.nan)
    for name in [name for name in given if name.startswith("mag_")]:
        band = I if name == "mag_f814w" else BANDS.index(name[-1])
        values = given.pop(name)
        mags[:, band] = np.where((values > MAG_RANGE[0]) & (values < MAG_RANGE[1]), values, np.nan)
    table = GalaxyTable(raw.path, np.arange(len(mags)), given, mags, tuple(notes))
    bad = _bad_rows(table, found, bad_rows)
    if bad.all():
        raise UserError(f"{path}: none of its {len(bad):,} rows can be drawn as a galaxy")
    return table.take(~bad, f"{bad.sum():,} bad rows dropped") if bad.any() else table


def find_columns(names, columns, path):
    """Return {quantity: column} for the columns of a table that mean something here.

    Parameters
    ----------
    names : iterable of str
        The table's columns.
    columns : str
        The option `--columns`.
    path : str or Path
        For messages.
    """
    names = [str(name) for name in names]
    found = _mapped(names, columns, path)
    taken = set(found.values())
    for quantity, known in NAMES.items():
        if quantity in found:
            continue
        matches = [name for name in names if name.strip().lower() in known and name not in taken]
        if len(matches) > 1:
            raise UserError(
                f"{path}: columns {first_few(matches)} could all be {quantity}; say which, such as"
                f" --columns {quantity}={matches[0]}"
            )
        if matches:
            found[quantity] = matches[0]
    for quantity in NEEDED:
        if quantity not in found:
            raise UserError(
                f"{path}: no column for {quantity}; it has {first_few(names, 30)} (--columns {quantity}=NAME_IN_TABLE)"
            )
    unclear = [name for name in names if name.strip().lower() in UNCLEAR_RADIUS and name not in taken]
    if unclear and not {"r50_major_arcsec", "r50_circular_arcsec"} & set(found):
        raise UserError(
            f"{path}: column {unclear[0]} does not say which half-light radius it is: --columns"
            f" r50_major_arcsec={unclear[0]} (along the major axis) or r50_circular_arcsec={unclear[0]} (circularised)"
        )
    for better, other in (
        ("mag_i", "mag_f814w"),
        ("r50_major_arcsec", "r50_circular_arcsec"),
        ("pa_deg", "pa_north_deg"),
    ):
        if better in found:
            found.pop(other, None)
    return found


def _mapped(names, columns, path):
    """Return {quantity: column} of the option `--columns`; quantities go by any of their names."""
    quantity_of = {name: quantity for quantity, known in NAMES.items() for name in known}
    found = {}
    for name, source in parse_columns(columns).items():
        quantity = quantity_of.get(name.lower())
        if quantity is None:
            raise UserError(f"--columns {name}={source}: the mock has no use for '{name}'; it knows {', '.join(NAMES)}")
        if source not in names:
            raise UserError(f"{path}: no column {source} (--columns); it has {first_few(names, 30)}")
        found[quantity] = source
    return found


def _quantity(raw, name, source):
    """Return a column of a `RawTable` in the quantity's unit, arcsec or degrees, where the file gives the column's."""
    from astropy import units as u

    values, theirs = raw.numbers(source), raw.units.get(source)
    unit = u.arcsec if name.endswith("_arcsec") else u.deg if name.endswith("_deg") else None
    if unit is None or theirs is None or theirs == unit:
        return values
    if not theirs.is_equivalent(unit):
        raise UserError(f"{raw.path}: column {source} is in {theirs}, but {name} must be an angle")
    return values * theirs.to(unit)


def _bad_rows(table, found, bad_rows):
    """Return which rows [n] can't be drawn; raise `UserError` for the first unless they may be dropped."""
    bad = np.zeros(len(table), bool)
    for name, (low, high) in LEGAL.items():
        if name not in table.values:
            continue
        values = table.values[name]
        wrong = ~((values >= low) & (values <= high)) & (np.isfinite(values) | np.isinf(values) | (name in NEEDED))
        if wrong.any() and bad_rows != "drop":
            first = np.flatnonzero(wrong)[0]
            value = "blank" if np.isnan(values[first]) else f"{values[first]:g}"
            raise UserError(
                f"{table.path}: column {found[name]}, row {first + 1} of the data: {value}; the mock draws {name}"
                f" from {low:g} to {high:g} ({wrong.sum():,} such rows); --bad-rows drop leaves them out"
            )
        bad |= wrong
    return bad


def complete(table, rng, i_limit):
    """Make galaxies of a table's rows: what it gives as it is, the rest from the mock's relations.

    Magnitudes in bands that a row lacks follow the spectrum fitted to its others, anchored at the nearest. A row with
    one magnitude gets drawn colours; one with none gets magnitudes brighter than `i_limit` where its redshift and mass
    allow. What else is blank is drawn given redshift, mass and spectral type.

    Parameters
    ----------
    table : GalaxyTable
    rng : numpy.random.Generator
    i_limit : float
        AB magnitude.

    Returns
    -------
    Galaxies
    """
    z, log_mass = table.values["redshift"], table.values["log_mass"]
    measured = np.isfinite(table.mags).sum(axis=1)
    drawn = galaxy_properties(z, log_mass, rng, i_limit if (measured == 0).any() else None)
    sed_type, ebv, quiescent, model = drawn.sed_type, drawn.ebv, drawn.quiescent, drawn.mags
    fitted = np.flatnonzero(measured >= 2)
    sed_type[fitted], ebv[fitted] = fit_spectra(z[fitted], table.mags[fitted])
    quiescent[fitted] = sed_type[fitted] < QUIESCENT_TYPE
    model[fitted] = spectrum_mags(z[fitted], sed_type[fitted], ebv[fitted])
    mags = _fill(table.mags, model)

    def given_or(name, values):
        column = table.values.get(name, np.full(len(table), np.nan))
        return np.where(np.isnan(column), values, column)

    r50, index, q = draw_shapes(z, log_mass, quiescent, rng)
    q = given_or("q", q)
    r50 = given_or("r50_major_arcsec", given_or("r50_circular_arcsec", r50 * np.sqrt(q)) / np.sqrt(q))
    pa = given_or("pa_deg", given_or("pa_north_deg", drawn.pa_deg - 90) + 90) % 180
    knots = draw_knot_fraction(z, quiescent, sed_type, mags, rng)
    index = np.clip(given_or("sersic_n", index), *SERSIC_RANGE)
    return Galaxies(z, log_mass, quiescent, sed_type, ebv, mags, r50, index, q, pa, knots)


def fit_spectra(redshift, mags):
    """Return the spectral type [n] and E(B-V) [n] that come closest to two or more magnitudes of each galaxy.

    Parameters
    ----------
    redshift : array [n]
    mags : array [n, 5]
        AB magnitudes in `BANDS`; NaN: unknown.
    """
    known = np.isfinite(mags)
    best, sed_type, ebv = (np.full(len(redshift), start) for start in (np.inf, 0.0, 0.0))
    for one_type in TYPE_GRID:
        for one_ebv in EBV_GRID:
            off = np.where(known, mags - spectrum_mags(redshift, one_type, np.full(len(redshift), one_ebv)), 0.0)
            off -= (off.sum(axis=1) / known.sum(axis=1))[:, None]
            chi2 = (np.where(known, off, 0.0) ** 2).sum(axis=1) / MAG_ERROR**2 + (one_ebv / USUAL_EBV) ** 2
            better = chi2 < best
            best[better], sed_type[better], ebv[better] = chi2[better], one_type, one_ebv
    return sed_type, ebv


def _fill(mags, model):
    """Return magnitudes [n, 5] with the unknown ones from a model, shifted to meet the nearest known band."""
    distance = np.abs(np.subtract.outer(WAVELENGTH_NM, WAVELENGTH_NM))
    known = np.isfinite(mags)
    nearest = np.where(known[:, None, :], distance, np.inf).argmin(axis=2)  # [n, band]
    shift = np.where(known.any(axis=1)[:, None], np.take_along_axis(mags - model, nearest, axis=1), 0.0)
    return np.where(known, mags, model + shift)
