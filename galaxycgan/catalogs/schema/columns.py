"""What a catalog's columns are called and mean: units, descriptions, UCDs, legal values."""

import dataclasses
import re

import astropy.units as u
import numpy as np

SCHEMA = "galaxycgan-store"
SCHEMA_VERSION = 1

#: Versions of HDF5's file format that a store is written in: the older one limits an attribute, such as provenance, and
#: the description of all columns to 64 kB.
HDF5_VERSIONS = ("v108", "v110")
#: What stands for "no value" in integer columns where a file format or a plain array has no mask.
MISSING_INT = np.iinfo(np.int64).min
#: End of the name of the column that tells of another one, in a store, where it has no value.
MASK = ".mask"

#: Open intervals in which a label is believable; other labels have to be finite.
LEGAL_LABELS = {"photo_z": (0.0, 20.0), "log_mass": (3.0, 14.0)}

AB_MAGNITUDE = u.mag(u.AB)
DEX_SOLAR_MASS = u.dex(u.solMass)

#: Column comments from which `read_catalog` restores units that FITS has no word for.
AB_COMMENT = "AB"
DEX_MASS_COMMENT = "log10(M*/solMass)"


@dataclasses.dataclass(frozen=True)
class Column:
    """What one column is.

    Attributes
    ----------
    unit : astropy unit or None
        None for numbers without a unit, ids, flags and text.
    description : str
        A few words for people; TCOMM in FITS.
    ucd : str
        Unified Content Descriptor (IVOA UCD1+); TUCD in FITS.
    """

    unit: object
    description: str
    ucd: str


_COLUMNS = {
    "HSC_id": Column(None, "HSC object id", "meta.id;meta.main"),
    "SYN_id": Column(None, "row number in the request", "meta.id;meta.main"),
    "COSMOS_id": Column(None, "id of the matched row of the survey table", "meta.id.cross"),
    "photo_z": Column(None, "redshift", "src.redshift.phot"),
    "log_mass": Column(DEX_SOLAR_MASS, DEX_MASS_COMMENT, "phys.mass"),
    "ra": Column(u.deg, "right ascension, ICRS", "pos.eq.ra"),
    "dec": Column(u.deg, "declination, ICRS", "pos.eq.dec"),
    "sep": Column(u.arcsec, "distance between the object and the matched row", "pos.angDistance"),
    "selected": Column(None, "the row may be used", "meta.code"),
    "labelled": Column(None, "the object has a matched row with legal labels", "meta.code"),
    "kept": Column(None, "this row gave the object its labels", "meta.code"),
    "r50": Column(u.arcsec, "half-light radius, curve of growth", "phys.angSize"),
    "q": Column(None, "axis ratio from second moments", "phys.size.axisRatio"),
    "pa": Column(u.deg, "position angle, from +x towards +y", "pos.posAng"),
    "conc": Column(None, "concentration 5 log10(r80/r20)", "phys.angSize;arith.ratio"),
    "ood": Column(None, "distance of the labels from the training sample", "stat.value"),
    "ood_flag": Column(None, "labels lie outside the training sample", "meta.code"),
    "seed": Column(None, "seed of the run that drew this galaxy", "meta.number"),
}

#: prefix -> unit, description, UCD stem; the band follows the prefix in the column's name.
_BAND_COLUMNS = {
    "flux": Column(u.nJy, "flux in the aperture", "phot.flux.density"),
    "flux_err": Column(u.nJy, "flux error, noise covariance included", "stat.error;phot.flux.density"),
    "flux_true": Column(u.nJy, "flux in the same aperture, mean of many draws of the noise", "phot.flux.density"),
    "mag": Column(AB_MAGNITUDE, AB_COMMENT, "phot.mag"),
    "mag_true": Column(AB_MAGNITUDE, AB_COMMENT, "phot.mag"),
    "sky_rms": Column(u.nJy, "standard deviation of sky pixels", "instr.skyLevel;stat.stdev"),
}

#: Columns of a synthetic catalog that are neither asked for nor of one band.
MEASURED = ("SYN_id", "r50", "q", "pa", "conc", "ood", "ood_flag", "seed")

#: A word of a column's name that means a magnitude, such as mag, imag, magerr and magnitude; not image, magnification.
_MAGNITUDE = re.compile("[a-z]*mag(s|nitudes?|err(or)?s?|sigma|unc|ab)?")

#: Words of names of magnitudes of all of a galaxy's light, the best first, and of those that are not such.
_TOTAL = ("cmodel", "kron", "auto", "petro", "model")
_NOT_TOTAL = "err|sigma|unc|psf|aper|fib|true|abs"

#: UCD words for the spectral range of HSC's bands.
_BAND_UCDS = {"g": "em.opt.B", "r": "em.opt.R", "i": "em.opt.I", "z": "em.opt.I", "y": "em.IR.NIR"}


def describe_column(name, bands=(), *, measured=True):
    """Return what a column is.

    Parameters
    ----------
    name : str
        Column name in a store.
    bands : iterable of str
        Bands of the store; per-band columns are called ``flux_<band>`` and so on. Others with the word ``mag`` in their
        name are taken for AB magnitudes that ride along from the survey table.
    measured : bool
        False for a table of the user's: what galaxycgan measures in its own catalogs may be anything there, such as
        fluxes in Jy, and a unit made up from the name would be wrong.

    Returns
    -------
    Column
    """
    if measured or not is_measured(name, bands):
        if name in _COLUMNS:
            return _COLUMNS[name]
        prefix, _, band = name.rpartition("_")
        if prefix in _BAND_COLUMNS and band in bands:
            column = _BAND_COLUMNS[prefix]
            return dataclasses.replace(column, ucd=_with_band(column.ucd, band))
    if _is_magnitude(name):
        band = _band_of_magnitude(name, bands)
        if re.search("err|sigma|unc", name.lower()):
            return Column(u.mag, "magnitude error", _with_band("stat.error;phot.mag", band))
        return Column(AB_MAGNITUDE, AB_COMMENT, _with_band("phot.mag", band))
    return Column(None, f"{name} of the survey table", "meta")


def is_measured(name, bands):
    """Return whether a synthetic catalog has a measured column of this name."""
    prefix, _, band = name.rpartition("_")
    return name in MEASURED or (prefix in _BAND_COLUMNS and band in bands)


def free_name(name, taken, suffix="_original"):
    """Return a name with a suffix, again and again where it takes that, that is none of those taken."""
    while name in taken:
        name += suffix
    return name


def _is_magnitude(name):
    """Return whether a word of a name means a magnitude; digits, underscores and new capitals (psfMag) end words."""
    words = re.findall("[A-Z]*[a-z]+|[A-Z]+", name)
    return any(_MAGNITUDE.fullmatch(word.lower()) for word in words)


def magnitude_columns(names, bands):
    """Find the columns with the galaxies' total magnitudes.

    Parameters
    ----------
    names : iterable of str
        Of the columns of a table.
    bands : sequence of str

    Returns
    -------
    dict of str
        Band -> name; of several the one that comes first in `_TOTAL`. Bands that have none are left out.
    """
    found = {}
    for name in filter(_is_magnitude, names):
        band, words = _band_of_magnitude(name, bands), name.lower()
        if band and not re.search(_NOT_TOTAL, words):
            rank = next((k for k, word in enumerate(_TOTAL) if word in words), len(_TOTAL))
            found.setdefault(band, []).append((rank, name))
    return {band: min(found[band])[1] for band in bands if band in found}


def _with_band(ucd, band):
    return f"{ucd};{_BAND_UCDS[band]}" if band in _BAND_UCDS else ucd


def _band_of_magnitude(name, bands):
    """Find the band in names such as ``gcmodel_mag``, ``g_psfflux_mag``, ``gmag`` and ``mag_g``."""
    for band in bands:
        if re.match(rf"{band}(cmodel|kron|psf|mag|_)", name) or name.endswith(f"_{band}"):
            return band
    return ""


def illegal(name, values):
    """Return which values a label can't have.

    Parameters
    ----------
    name : str
        Column name; `LEGAL_LABELS` has the ranges.
    values : float array [n]

    Returns
    -------
    bool array [n]
    """
    low, high = LEGAL_LABELS.get(name, (-np.inf, np.inf))
    with np.errstate(invalid="ignore"):
        return ~((values > low) & (values < high) & np.isfinite(values))


def legal_range(name):
    """Say in words what a label's legal values are."""
    if name in LEGAL_LABELS:
        low, high = LEGAL_LABELS[name]
        return f"{low:g} < {name} < {high:g}"
    return f"{name} finite"
