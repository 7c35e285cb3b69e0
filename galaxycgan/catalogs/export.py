"""The command ``export``: a store becomes a FITS catalog, and our own reader gives it back with its units.

The scalar table and the images are HDUs of their own: TOPCAT shows the table cleanly, and DS9 the images as a cube (one
HDU per object opens 50 times slower).
"""

import json
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, QTable

from galaxycgan import __version__
from galaxycgan.catalogs.fits import (
    column_names,
    image_header,
    pack_column,
    primary_header,
    table_bytes,
    table_header,
    write_hdu,
)
from galaxycgan.catalogs.schema import (
    AB_COMMENT,
    AB_MAGNITUDE,
    DEX_MASS_COMMENT,
    DEX_SOLAR_MASS,
    MISSING_INT,
    describe,
)
from galaxycgan.catalogs.store import GalaxyStore, find_store
from galaxycgan.errors import UserError
from galaxycgan.files import atomic_path
from galaxycgan.images.bands import AB_ZERO_POINT_NJY

CHUNK_BYTES = 8 << 20
FITS_SUFFIXES = (".fits", ".fit", ".fts")
#: Values of a store's provenance, by their place in it, that get a keyword of their own.
PROVENANCE_KEYWORDS = {
    "request.recipe.name": ("RECIPE", "recipe of the catalog"),
    "request.recipe.seed": ("SEED", "seed of labels, latent numbers and noise"),
    "request.generator_sha256": ("GANHASH", "SHA-256 of the generator"),
    "tool.git": ("GITREV", "git revision that made the store"),
}


def export(config, context):
    """Write a store as a FITS catalog.

    Parameters
    ----------
    config : galaxycgan.config.Export
    context : galaxycgan.context.Context
    """
    store, out = find_store(config.store), config.to
    if not out:
        raise UserError("--to is missing: name the file to write, such as --to catalog.fits")
    if Path(out).suffix.lower() not in FITS_SUFFIXES:
        raise UserError(f"--to {out}: the suffix tells the format; {', '.join(FITS_SUFFIXES)} are known")
    if write_fits(store, out, overwrite=config.overwrite):
        context.say(f"{out}: written from {store}")
    else:
        context.say(f"{out}: done already, from the same store")


def write_fits(store_path, out_path, *, overwrite=False):
    """Write a store as a FITS catalog: CATALOG, IMAGES and, where the store has them, NOISELESS.

    Images stream through; equal stores give equal bytes, since every date is the store's `created`.

    Parameters
    ----------
    store_path, out_path : str or Path
    overwrite : bool
        Replace a file made from another store.

    Returns
    -------
    bool
        False where the file was there already, made from the same store.
    """
    out = Path(out_path)
    with GalaxyStore(store_path) as store:
        primary = _primary(store)
        if out.exists() and not overwrite:
            if _same_source(out, primary):
                return False
            raise UserError(f"{out}: is there already; give another name, or --overwrite")
        with atomic_path(out) as temporary, open(temporary, "wb") as file:
            write_hdu(file, primary, [], store.created)
            write_hdu(file, *_table(store), store.created)
            write_hdu(file, _image_header(store, "IMAGES"), _chunks(store.images, store), store.created)
            if store.has_noiseless:
                write_hdu(file, _image_header(store, "NOISELESS"), _chunks(store.noiseless, store), store.created)
    return True


def _same_source(out, primary):
    """Tell whether a FITS file was made from the store that `primary` describes."""
    try:
        header = fits.getheader(out, 0)
    except OSError as error:
        raise UserError(f"{out}: can't be opened as FITS ({error}); --overwrite replaces it") from None
    return all(header.get(keyword) == primary[keyword] for keyword in ("STOREID", "DATE"))


def _primary(store):
    """Return the primary header: what holds for all galaxies, and where they came from."""
    made = {key: value for key, value in store.provenance.items() if key != "report"}
    per_band = []
    for k, (band, name, fwhm) in enumerate(zip(store.bands, store.filters, store.psf_fwhm, strict=True), start=1):
        per_band += [
            (f"BAND{k}", band, f"band of plane {k}"),
            (f"FILTER{k}", ascii_text(name), f"filter of plane {k}"),
            (f"PSFFWHM{k}", float(fwhm) if np.isfinite(fwhm) else None, f"[arcsec] PSF FWHM of plane {k}"),
        ]
    cards = [
        ("DATE", store.created.rstrip("Z"), "UTC of the request that made the catalog"),
        ("ORIGIN", "galaxycgan", "conditional GANs for galaxy images"),
        ("CREATOR", f"galaxycgan {__version__}", "what wrote this file"),
        ("STOREVER", store.header.tool_version, "galaxycgan that made the store"),
        ("SYNTH", store.synthetic, "T: synthetic galaxies, F: real ones"),
        ("NGAL", store.n, "number of galaxies"),
        ("IDCOL", store.id_column, "column with the ids"),
        ("PIXSCALE", store.pixel_scale, "[arcsec] side of a pixel"),
        ("PIXUNIT", store.pixel_unit, "unit of the pixels"),
        ("ABZP", AB_ZERO_POINT_NJY if store.pixel_unit == "nJy" else None, "[mag] AB magnitude of 1 nJy"),
        ("NBAND", len(store.bands), "number of bands"),
        *per_band,
        ("MASSCONV", ascii_text(store.header.mass_convention) or None, "stellar masses"),
        ("STOREID", store.fingerprint, "SHA-256 of the store's content"),
        *[
            (keyword, ascii_text(_lookup(made, place)), comment)
            for place, (keyword, comment) in PROVENANCE_KEYWORDS.items()
        ],
        ("PROVENAN", json.dumps(made, sort_keys=True), "JSON"),
    ]
    return primary_header(cards)


def _lookup(values, place):
    """Return what lies at ``a.b.c`` of nested dicts, None where there is nothing."""
    for key in place.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def ascii_text(value):
    """Return text as a FITS header can hold it; what is no text stays as it is."""
    return value.encode("ascii", "replace").decode() if isinstance(value, str) else value


def _table(store):
    """Return the header of the CATALOG table and its bytes."""
    packed, columns = [], []
    for name, title in zip(store.columns, column_names(store.columns), strict=True):
        values, form = pack_column(store.column(name))
        column = {"TTYPE": title, "TFORM": form}
        if form == "K":
            column["TNULL"] = MISSING_INT
        packed.append(values)
        columns.append(column | _meaning(store.table[name], describe(name, store.bands)))
    row_bytes = sum(values.dtype.itemsize for values in packed)
    return table_header("CATALOG", store.n, row_bytes, columns), table_bytes(packed, store.n)


def _meaning(values, about):
    """Return unit, comment and UCD of a column; FITS has no word for AB or dex, so there the comment says it."""
    unit = getattr(values, "unit", None)
    comment = values.info.description or about.description
    if unit == DEX_SOLAR_MASS:
        return {"TCOMM": DEX_MASS_COMMENT, "TUCD": about.ucd}
    if unit == AB_MAGNITUDE:
        return {"TUNIT": "mag", "TCOMM": AB_COMMENT, "TUCD": about.ucd}
    meaning = {"TCOMM": ascii_text(comment), "TUCD": about.ucd}
    return {"TUNIT": unit.to_string("fits"), **meaning} if unit else meaning


def _image_header(store, name):
    """Return the header of an image HDU [n, band, y, x]: offsets in arcsec from the centre, no sky position."""
    shape = (store.n, len(store.bands), store.size, store.size)
    centre = (store.size + 1) / 2
    axes = [
        ("XOFFSET", "arcsec", centre, 0.0, store.pixel_scale),
        ("YOFFSET", "arcsec", centre, 0.0, store.pixel_scale),
    ]
    axes += [("BAND", None, 1.0, 1.0, 1.0), ("GALAXY", None, 1.0, 1.0, 1.0)]
    cards = [
        ("BUNIT", store.pixel_unit, "unit of the pixels"),
        ("WCSAXES", 4, "linear offsets"),
        ("WCSNAME", "OFFSET", ""),
    ]
    for k, (kind, unit, pixel, value, step) in enumerate(axes, start=1):
        cards += [
            (
                f"CTYPE{k}",
                kind,
                "linear" if unit else "plane; row of CATALOG" if kind == "GALAXY" else "number of the band",
            ),
            (f"CUNIT{k}", unit, ""),
            (f"CRPIX{k}", pixel, ""),
            (f"CRVAL{k}", value, ""),
            (f"CDELT{k}", step, ""),
        ]
    cards += [(f"BAND{k}", band, f"band of plane {k}") for k, band in enumerate(store.bands, start=1)]
    return image_header(name, shape, cards)


def _chunks(read, store):
    """Yield images as big-endian bytes."""
    step = max(1, CHUNK_BYTES // (4 * len(store.bands) * store.size**2))
    for start in range(0, store.n, step):
        yield read(slice(start, start + step)).astype(">f4").tobytes()


def read_catalog(path):
    """Read the table of a FITS catalog with all its units: AB magnitudes and dex(solMass) too.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    QTable [n]
        Missing integers are masked. `meta` has the primary header's keywords.
    """
    with _open(path) as hdus:
        hdu = _hdu(hdus, "CATALOG", path)
        table = QTable(
            meta={key: value for key, value in hdus[0].header.items() if key not in ("COMMENT", "HISTORY", "")}
        )
        for k, name in enumerate(hdu.columns.names, start=1):
            values = np.array(hdu.data[name])
            values = values.astype(values.dtype.newbyteorder("="))
            comment, null = hdu.header.get(f"TCOMM{k}", ""), hdu.header.get(f"TNULL{k}")
            unit = _unit(hdu.header.get(f"TUNIT{k}"), comment)
            if null is not None and np.any(values == null):
                values = MaskedColumn(values, mask=values == null)
            table[name] = values if unit is None else values * unit
            table[name].info.description = comment
    return table


def _unit(text, comment):
    """Return the unit that TUNIT and TCOMM mean together."""
    if comment == DEX_MASS_COMMENT:
        return DEX_SOLAR_MASS
    if text == "mag" and comment == AB_COMMENT:
        return AB_MAGNITUDE
    return u.Unit(text, format="fits") if text else None


def read_fits_images(path, rows=None, name="IMAGES"):
    """Read images of a FITS catalog.

    Parameters
    ----------
    path : str or Path
    rows : slice, int array, bool mask, optional
    name : str
        'IMAGES' or 'NOISELESS'.

    Returns
    -------
    float32 array [k, band, y, x]
    """
    with _open(path) as hdus:
        data = _hdu(hdus, name, path).data
        return np.array(data if rows is None else data[rows], dtype=np.float32)


def _open(path):
    try:
        return fits.open(path, memmap=True)
    except OSError as error:
        raise UserError(f"{path}: can't be opened as FITS ({error})") from None


def _hdu(hdus, name, path):
    if name not in hdus:
        raise UserError(f"{path}: no HDU {name}; it has {', '.join(hdu.name for hdu in hdus)}")
    return hdus[name]
