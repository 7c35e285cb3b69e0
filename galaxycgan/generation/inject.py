"""The command ``inject``: galaxies of a synthetic catalog added to a survey image, and the table of what was added."""

import contextlib
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.export.export import ascii_text
from galaxycgan.catalogs.formats.hdf5 import is_hdf5
from galaxycgan.catalogs.formats.suffixes import check_suffix
from galaxycgan.catalogs.inputs.survey_table import SurveyTable
from galaxycgan.catalogs.schema.columns import illegal
from galaxycgan.catalogs.store.noise_recipe import has_noise
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.errors import UserError, first_few
from galaxycgan.generation.frame import Frame, aperture_sum, place
from galaxycgan.generation.truth import write_truth
from galaxycgan.randomness import make_rng
from galaxycgan.resume import refuse_existing

#: Pixels at a stamp's border: their median is subtracted, and over them the light fades to nothing.
BORDER = 4
#: PSF widths that differ by more than this share are warned of; pixel scales that do are refused.
PSF_TOLERANCE, SCALE_TOLERANCE = 0.05, 0.01
#: Draws of a position before a frame is taken for full.
MOST_DRAWS = 1000


def inject(config, context):
    """Add galaxies to a frame.

    Parameters
    ----------
    config : galaxycgan.config.Inject
    context : galaxycgan.context.Context

    Raises
    ------
    UserError
        Where catalog, frame or positions can't be used; nothing is written then.
    """
    out, truth_path = _outputs(config)
    frame = Frame(config.frame, config.hdu)
    factor = frame.counts_per_njy(config.zeropoint)
    gain = frame.gain(config.gain) if config.poisson else 0.0
    with _open_catalog(config.catalog) as catalog:
        band = _band(config, frame, catalog)
        _check_scale(frame, catalog, context)
        _check_psf(frame.psf_fwhm(config.psf_fwhm), catalog, band, context)
        rows, x, y = _positions(config, frame, catalog, context)
        light, facts = _paint(frame, catalog, catalog.bands.index(band), rows, x, y, config, context)
        counts = light * factor
        if config.poisson:
            electrons = np.maximum(counts, 0) * gain
            counts += (make_rng(config.seed, "noise").poisson(electrons) - electrons) / gain
        facts["flux_frame"] = np.array([aperture_sum(frame.pixels, *at) for at in facts.pop("apertures")]) / factor
        cards = [
            ("NINJECT", len(rows), "synthetic galaxies added by galaxycgan"),
            ("INJCAT", ascii_text(catalog.path.name), "catalog that they are from"),
            ("INJID", catalog.fingerprint[:32], "its STOREID, first half"),
            ("INJBAND", band, "band"),
            ("INJSEED", config.seed, "seed of positions and photon noise"),
        ]
        facts["ra"], facts["dec"] = frame.to_sky(x, y)
        # First what may fail: headers of frames hold all sorts of things.
        frame.write(out, frame.pixels + counts, cards, context.created)
        write_truth(truth_path, catalog, band, rows, facts, cards, context.created)
    context.say(f"{out}: {len(rows):,} galaxies added in {band}; what was added where: {truth_path}")


def _outputs(config):
    """Return the paths of image and truth table; refuse to replace what is there."""
    frame = Path(config.frame)
    out = Path(config.out) if config.out else frame.with_name(f"{frame.name.split('.fit')[0]}-injected.fits")
    check_suffix(out)
    truth = out.with_name(f"{out.stem}-truth.fits")
    for path in (out, truth):
        if path.exists() and frame.exists() and path.samefile(frame):
            raise UserError(f"{path}: --out is the frame itself; give another name")
        refuse_existing(path, config.overwrite)
    return out, truth


@contextlib.contextmanager
def _open_catalog(path):
    """Open a catalog that has noiseless images; give the store."""
    if not is_hdf5(path):
        raise UserError(f"{path}: a FITS catalog; give the catalog.h5 beside it")
    with GalaxyStore(path) as store:
        if not store.synthetic:
            raise UserError(f"{path}: holds real galaxies; injected are those of galaxycgan generate")
        request = store.provenance.get("request") or {}
        if store.pixel_unit != "nJy" or not store.size or (has_noise(request) and not store.has_noiseless):
            raise UserError(f"{path}: has no noiseless images in nJy; generate with --images both or noiseless")
        if store.size < 4 * BORDER:
            raise UserError(f"{path}: images of {store.size} pixels; a border of {BORDER} leaves too little of them")
        yield store


def _band(config, frame, catalog):
    """Return the band of the frame."""
    band = config.band or frame.band(catalog.bands)
    if band not in catalog.bands:
        said = f"--band {band} is none of the catalog's" if band else "the header's FILTER doesn't say the band"
        raise UserError(f"{frame.path}: {said}; give one of them with --band: {', '.join(catalog.bands)}")
    return band


def _check_scale(frame, catalog, context):
    scale = frame.pixel_scale
    if np.isnan(scale):
        context.say(f"warning: {frame.path}: no sky coordinates: its pixel scale is taken for {catalog.pixel_scale:g}")
    elif abs(scale / catalog.pixel_scale - 1) > SCALE_TOLERANCE:
        raise UserError(
            f"{frame.path}: pixels of {scale:.4g} arcsec, the catalog's have {catalog.pixel_scale:.4g}: stamps are not"
            " resampled; resample the frame, or train on images of its scale"
        )


def _check_psf(fwhm, catalog, band, context):
    """Warn where galaxies would be sharper or blurrier than what is around them."""
    theirs = float(catalog.psf_fwhm[catalog.bands.index(band)])
    if not (fwhm > 0 and theirs > 0):
        context.say("PSF: not compared: the width in frame or catalog is unknown (--psf-fwhm gives the frame's)")
    elif abs(fwhm / theirs - 1) > PSF_TOLERANCE:
        context.say(f"warning: PSF FWHM {fwhm:.3g} arcsec in the frame, {theirs:.3g} in the catalog's {band}")


def _positions(config, frame, catalog, context):
    """Return the catalog's rows to add, and where: int [k], x [k], y [k] (first pixel 0)."""
    if not config.positions:
        n = config.n or catalog.n
        if n > catalog.n:
            raise UserError(f"--n {n}: {catalog.path} has {catalog.n} galaxies")
        random = make_rng(config.seed, "select")
        rows = np.sort(random.permutation(catalog.n)[:n])
        return rows, *_random_places(random, n, frame, catalog.size, config.separation / catalog.pixel_scale)
    rows, x, y = _given_places(config, frame, catalog)
    height, width = frame.pixels.shape
    inside = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)  # NaN: nowhere on this frame
    if not inside.any():
        raise UserError(f"{frame.path}: none of the {len(x):,} positions lies on it")
    if not inside.all():
        context.say(f"{np.sum(~inside):,} of {len(x):,} positions lie outside the frame: left out")
    keep = np.flatnonzero(inside)[: config.n or None]
    return rows[keep], x[keep], y[keep]


def _random_places(random, n, frame, size, separation):
    """Return places where whole stamps fall on whole pixels: x [n], y [n]."""
    height, width = frame.pixels.shape
    if min(height, width) < size:
        raise UserError(f"{frame.path}: {width} x {height} pixels, smaller than the catalog's stamps ({size})")
    centre = (size - 1) / 2
    found = np.empty((n, 2))
    for k in range(n):
        for _ in range(MOST_DRAWS):
            found[k] = random.integers(0, (width - size + 1, height - size + 1)) + centre
            if not separation or k == 0 or np.hypot(*(found[:k] - found[k]).T).min() >= separation:
                break
        else:
            raise UserError(f"{frame.path}: only {k} of {n} galaxies find a place; lower --n or --separation")
    return found.T


def _given_places(config, frame, catalog):
    """Return the catalog's rows and their places: from its own ra and dec, or from a table."""
    if config.positions == "catalog":
        if not {"ra", "dec"} <= set(catalog.columns):
            raise UserError(f"{catalog.path}: has no ra and dec; give a table with --positions")
        return np.arange(catalog.n), *frame.to_pixels(catalog.column("ra"), catalog.column("dec"))
    path = Path(config.positions)
    table = SurveyTable.read(path, {}, option="--positions", keys=())
    pairs = [pair for pair in (("ra", "dec"), ("x", "y")) if set(pair) <= set(table.frame)]
    if not pairs:
        raise UserError(f"{path}: has neither ra and dec (deg) nor x and y (pixels, the first is 1)")
    values = [table.numbers(name) for name in pairs[0]]
    bad = np.flatnonzero(illegal("", values[0]) | illegal("", values[1]))
    if len(bad):
        raise UserError(f"{path}: columns {', '.join(pairs[0])}: not a number in row {first_few(bad + 1)} of the data")
    x, y = frame.to_pixels(*values) if pairs[0] == ("ra", "dec") else (one - 1 for one in values)
    if "SYN_id" in table:
        return catalog.rows_of(table.whole_numbers("SYN_id")), x, y
    if len(x) > catalog.n:
        raise UserError(
            f"{path}: {len(x):,} positions for {catalog.n:,} galaxies; a column SYN_id says which goes where"
        )
    return np.arange(len(x)), x, y


def _paint(frame, catalog, plane, rows, x, y, config, context):
    """Put the stamps on an empty frame.

    Returns
    -------
    float array [y, x], dict of arrays [k]
        Light in nJy per pixel, and the truth: centres, fluxes in nJy, and the apertures.
    """
    read = catalog.noiseless if catalog.has_noiseless else catalog.images
    weight = taper(catalog.size)
    radius = config.aperture / catalog.pixel_scale
    light = np.zeros(frame.pixels.shape)
    facts = {"x": x + 1, "y": y + 1, "flux_stamp": [], "flux_aper": [], "border": [], "apertures": []}
    with context.progress("injecting", len(rows), "galaxies") as progress:
        for k, row in enumerate(rows):
            context.check()
            stamp, border = prepare(read([row])[0, plane].astype(np.float64), weight)
            where, part = place(light, stamp, x[k], y[k])
            corner = (where[0].start, where[1].start)
            facts["flux_stamp"].append(stamp.sum())
            facts["flux_aper"].append(aperture_sum(part, x[k], y[k], radius, corner))
            facts["border"].append(border)
            facts["apertures"].append((x[k], y[k], radius))
            progress.at(k + 1)
    together = np.array([aperture_sum(light, *at) for at in facts["apertures"]])
    facts["flux_neighbour"] = together - np.array(facts["flux_aper"])
    return light, facts


def taper(size):
    """Return weights [y, x] that fall from 1 to 0 over the last pixels of a stamp, as a cosine."""
    edge = np.minimum(np.arange(size), np.arange(size)[::-1])
    line = 0.5 - 0.5 * np.cos(np.pi * np.clip((edge + 0.5) / BORDER, 0, 1))
    return line * line[:, None]


def prepare(stamp, weight):
    """Return a noiseless stamp that fades to nothing at its border, and the level that was subtracted (per pixel)."""
    rim = np.ones(stamp.shape, bool)
    rim[BORDER:-BORDER, BORDER:-BORDER] = False
    border = float(np.median(stamp[rim]))
    return (stamp - border) * weight, border
