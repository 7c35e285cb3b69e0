"""The command ``export``: a store becomes a FITS catalog or a plain table, and our own reader gives its units back.

The scalar table and the images are HDUs of their own: TOPCAT shows the table cleanly, and DS9 the images as a cube (one
HDU per object opens 50 times slower).
"""

import contextlib
import functools
import json
from pathlib import Path

import numpy as np
from astropy.io import fits

from galaxycgan import __version__
from galaxycgan.catalogs.export.fits_table import ascii_text, catalog_hdu
from galaxycgan.catalogs.export.tables import without_reports, write_table
from galaxycgan.catalogs.formats.fits import image_header, primary_header, table_bytes, table_header, write_hdu
from galaxycgan.catalogs.formats.suffixes import FITS_SUFFIXES, TABLE_SUFFIXES, check_suffix
from galaxycgan.catalogs.store.checksums import CheckedImages
from galaxycgan.catalogs.store.derived import open_verified
from galaxycgan.catalogs.store.store import GalaxyStore, find_store
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import atomic_path
from galaxycgan.images.pixel_units import AB_ZERO_POINT_NJY
from galaxycgan.resume import Decision, Found, check_output_file, existing_result

#: Values of a store's provenance, by their place in it, that get a keyword of their own.
PROVENANCE_KEYWORDS = {
    "request.recipe.name": ("RECIPE", "recipe of the catalog"),
    "request.recipe.seed": ("SEED", "seed of labels, latent numbers and noise"),
    "request.generator_sha256": ("GANHASH", "SHA-256 of the generator"),
    "tool.git": ("GITREV", "git revision that made the store"),
}

#: A vector column is read with its whole row: beyond this the images are better in a cube of their own.
MOST_STAMPS = 10_000


def export(config, context):
    """Write a store as a FITS catalog, or its table in another format.

    Parameters
    ----------
    config : galaxycgan.config.Export
    context : galaxycgan.context.Context
    """
    store, out = find_store(config.store), config.to
    if not out:
        raise UserError("--to is missing: name the file to write, such as --to catalog.fits")
    check_suffix(out, (*FITS_SUFFIXES, *TABLE_SUFFIXES), "--to")
    suffix = Path(out).suffix.lower()
    if config.table_only and config.stamps:
        raise UserError("--table-only and --stamps: choose one")
    check_output_file(Path(out), [store], "to")
    if suffix in TABLE_SUFFIXES and config.stamps:
        raise UserError(f"--stamps: {TABLE_SUFFIXES[suffix]} holds the table only; images go to FITS")
    with open_verified(store):  # what is written has checksums that look as good as new
        pass
    if suffix in TABLE_SUFFIXES:
        written = write_table(store, out, overwrite=config.overwrite, context=context)
    else:
        images = "none" if config.table_only else "stamps" if config.stamps else "cube"
        written = write_fits(store, out, images=images, overwrite=config.overwrite, context=context)
    if written:
        context.say(f"{out}: written from {store}")


def write_fits(store_path, out_path, *, images="cube", images_per_file=0, overwrite=False, ahead=None, context=None):
    """Write a store as a FITS catalog: CATALOG, IMAGES and, where the store has them, NOISELESS.

    Table and images stream through; equal stores give equal bytes, since every date is the store's `created`.

    Parameters
    ----------
    store_path, out_path : str or Path
    images : str
        'cube': HDUs IMAGES and NOISELESS; 'stamps': columns `stamp` and `stamp_noiseless` of CATALOG instead, for
        small catalogs; 'files': HDUs of files of their own beside it, ``NAME-images-1.fits`` and so on, whose number
        and plane stand in CATALOG; 'none': the table only.
    images_per_file : int
        Galaxies in each of those files.
    overwrite : bool or 'others'
        Replace what is there; 'others': unless it was made from the same store.
    ahead : galaxycgan.catalogs.fits_ahead.FitsPixelWriter, optional
        Of the same file: its images are there already.
    context : galaxycgan.context.Context, optional
        Says where the file was there already.

    Returns
    -------
    bool
        False where the file was there already, made from the same store.
    """
    out = Path(out_path)
    with GalaxyStore(store_path) as store:
        if images == "stamps" and store.n > MOST_STAMPS:
            raise UserError(
                f"{store_path}: {store.n:,} galaxies; --stamps is for {MOST_STAMPS:,} at most: every program would read"
                " the images with the table; leave it out, or select some"
            )
        if images == "stamps" and not store.size:
            raise UserError(f"{store_path}: a table without images; leave out --stamps")
        names = ["images", "noiseless"] if store.has_noiseless else ["images"]
        if not store.size:  # a catalog without images
            images, names = "none", []
        primary = _primary(store, images, images_per_file)
        read, others = functools.partial(_found, out), overwrite == "others"
        decision = existing_result(
            out, _origin(primary), read, option="to", overwrite=overwrite is True, replace=others, context=context
        )
        if decision is Decision.MADE:
            return False
        if images == "files":
            _write_image_files(store, out, names, images_per_file)
        for name in names if images == "stamps" else []:
            with CheckedImages(store, name) as checked:
                checked.require_intact()
        with contextlib.nullcontext(ahead.file) if ahead else _new_file(out) as file:
            file.seek(0)
            write_hdu(file, primary, [], store.created)
            stamps, per_file = names if images == "stamps" else [], images_per_file if images == "files" else 0
            write_hdu(file, *catalog_hdu(store, stamps, per_file), store.created)
            for name in names if images == "cube" else []:
                _write_images(file, store, name, written=ahead and ahead.written[name.upper()])
    return True


@contextlib.contextmanager
def _new_file(out):
    with atomic_path(out) as temporary, open(temporary, "wb") as file:
        yield file


def _write_images(file, store, name, rows=None, written=None):
    """Write one dataset of images as an HDU, all of it or a slice of rows, or its header where the data are there."""
    n, first = (store.n, 0) if rows is None else (rows.stop - rows.start, rows.start)
    header = _image_header(store, name.upper(), n, first)
    with CheckedImages(store, name) as checked:
        pieces = checked.read(store.n) if rows is None else store.pieces(name, rows)
        pixels = (piece.astype(">f4") for _, piece in pieces)
        write_hdu(file, header, (piece.data.cast("B") for piece in pixels), store.created, written)
        if rows is None and not written:
            checked.require_intact()


def image_file(out, number):
    """Return the path of a catalog's image file by its number, from 1."""
    return out.with_name(f"{out.stem}-images-{number}.fits")


def _write_image_files(store, out, names, per_file):
    """Write images in files of their own, each with the ids of its galaxies."""
    for number, start in enumerate(range(0, store.n, per_file), start=1):
        rows = slice(start, min(start + per_file, store.n))
        ids = store.ids[rows].astype(">i8")
        column = {"TTYPE": store.id_column, "TFORM": "K", "TCOMM": "galaxy on each plane", "TUCD": "meta.id;meta.main"}
        with atomic_path(image_file(out, number)) as temporary, open(temporary, "wb") as file:
            primary = _primary(store, "files", per_file)
            primary["IMGFILE"] = (number, "number of this image file")
            primary["CATFILE"] = (ascii_text(out.name), "file with the table")
            write_hdu(file, primary, [], store.created)
            for name in names:
                _write_images(file, store, name, rows)
            write_hdu(file, table_header("IDS", len(ids), 8, [column]), table_bytes([ids], len(ids)), store.created)
    while (stale := image_file(out, number := number + 1)).exists():  # of an earlier catalog
        stale.unlink()


def _found(out):
    """Return the FITS file that is there, with the store and the kind of images that it was made from."""
    if not out.exists():
        return None
    try:
        header = fits.getheader(out, 0)
    except OSError as error:
        raise UserError(f"{out}: can't be opened as FITS ({error})") from None
    return Found(_origin(header) if header.get("STOREID") else None)


def _origin(header):
    """Return what decides the content of a FITS file, from its primary header."""
    # Without STAMPS the images are in an HDU of their own.
    return {"store": header.get("STOREID"), "store made": header.get("DATE"), "images": header.get("STAMPS") or "HDU"}


def _primary(store, images, images_per_file=0):
    """Return the primary header: what holds for all galaxies, and where they came from."""
    made = without_reports(store.provenance)
    places = {"stamps": "COLUMN", "files": f"FILES OF {images_per_file}", "none": "NONE"}
    per_band = []
    for k, (band, name, fwhm) in enumerate(zip(store.bands, store.filters, store.psf_fwhm, strict=True), start=1):
        per_band += [
            (f"BAND{k}", ascii_text(band), f"band of plane {k}"),
            (f"FILTER{k}", ascii_text(name), f"filter of plane {k}"),
            (f"PSFFWHM{k}", float(fwhm) if np.isfinite(fwhm) else None, f"[arcsec] PSF FWHM of plane {k}"),
        ]
    cards = [
        ("DATE", store.created.rstrip("Z"), "UTC of the request that made the catalog"),
        ("ORIGIN", "galaxycgan", "conditional GANs for galaxy images"),
        ("CREATOR", f"galaxycgan {__version__}", "what wrote this file"),
        ("STOREVER", store.header.tool_version, "galaxycgan that made the store"),
        ("SYNTH", store.synthetic, "T: synthetic galaxies, F: real ones"),
        ("NGAL", store.n, "number of galaxies of the catalog"),
        ("IDCOL", store.id_column, "column with the ids"),
        ("PIXSCALE", store.pixel_scale, "[arcsec] side of a pixel"),
        ("PIXUNIT", store.pixel_unit, "unit of the pixels"),
        ("ABZP", AB_ZERO_POINT_NJY if store.pixel_unit == "nJy" else None, "[mag] AB magnitude of 1 nJy"),
        ("NBAND", len(store.bands), "number of bands"),
        ("STAMPS", places.get(images), "where the images are"),
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


def _image_header(store, name, n, first=0):
    """Return the header of an image HDU [n, band, y, x] of a catalog's rows from `first` on.

    Its coordinates are offsets in arcsec from the centre, no sky position; the number of the band; the number of the
    row, from 1.
    """
    shape = (n, len(store.bands), store.size, store.size)
    centre = (store.size + 1) / 2
    axes = [
        ("XOFFSET", "arcsec", centre, 0.0, store.pixel_scale),
        ("YOFFSET", "arcsec", centre, 0.0, store.pixel_scale),
    ]
    axes += [("BAND", None, 1.0, 1.0, 1.0), ("GALAXY", None, 1.0, 1.0 + first, 1.0)]
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
    cards += [(f"BAND{k}", ascii_text(band), f"band of plane {k}") for k, band in enumerate(store.bands, start=1)]
    return image_header(name, shape, cards)
