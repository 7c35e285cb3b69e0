"""The stage generate: a trained generator and a recipe in, a synthetic catalog as HDF5 and FITS out."""

from pathlib import Path

import numpy as np
from astropy.table import QTable

from galaxycgan.catalogs.export import write_fits
from galaxycgan.catalogs.populations import draw_labels, read_recipe
from galaxycgan.catalogs.schema import describe
from galaxycgan.catalogs.store import GalaxyStore, StoreHeader, StoreWriter
from galaxycgan.config import check_at_least
from galaxycgan.errors import UserError
from galaxycgan.files import sha256_file
from galaxycgan.images.photometry import ab_magnitude, aperture_error, measure
from galaxycgan.models.device import choose_device, set_threads
from galaxycgan.models.painter import BLOCK, Painter
from galaxycgan.models.release import WEIGHTS
from galaxycgan.provenance import tool_stamp
from galaxycgan.resources import find

CATALOG, FITS = "catalog.h5", "catalog.fits"


def output_directory(config):
    """Return where a request's catalog goes: --out, or catalogs/generated/ with the recipe's file name."""
    return Path(config.out) if config.out else Path("catalogs/generated") / Path(config.recipe).stem


def generate(config, context):
    """Make a synthetic catalog.

    Parameters
    ----------
    config : galaxycgan.config.Generate
        Options.
    context : galaxycgan.context.Context
        How it is run.

    Raises
    ------
    UserError
        Where the GAN, the recipe or the output directory can't be used.
    """
    set_threads(config.threads)
    check_at_least(config, n=0, seed=-1)
    recipe = read_recipe(find("recipe", config.recipe), config.n, config.seed)
    painter = Painter(config.gan, choose_device(config.device))
    if painter.card["pixel_unit"] != "nJy":
        raise UserError(f"{config.gan}: was trained on raw pixels: its galaxies have no magnitudes and make no catalog")
    labels = draw_labels(recipe, painter.conditioning)
    out = output_directory(config)
    request = _request(recipe, painter)
    if _is_done(out, request, config, context):
        return
    score, flag = painter.conditioning.novelty(labels)
    if flag.any():
        context.say(f"warning: {flag.sum():,} of {recipe.n:,} galaxies lie outside what the GAN has seen (ood_flag)")
    header = _header(painter.card, context)
    # What training cost differs between runs that end in the same weights: it is in the run directory.
    card = {name: value for name, value in painter.card.items() if name != "cost"}
    noisy = recipe.noise == "model"
    columns = []
    with StoreWriter(out / CATALOG, n=recipe.n, header=header, noiseless=noisy) as writer:
        with context.progress("generating", recipe.n, "galaxies") as progress:
            for first in range(0, recipe.n, BLOCK):
                context.check()
                count = min(BLOCK, recipe.n - first)
                block = painter.paint(labels, recipe.seed, first, noisy)
                images = (block.images[:count],) + ((block.noiseless[:count],) if noisy else ())
                writer.append(*images)
                columns.append(_photometry(block, count, header, noisy))
                progress.at(first + count)
        table = _table(labels, columns, painter.conditioning.columns, header)
        _add(table, "ood", score, header)
        _add(table, "ood_flag", flag, header)
        _add(table, "seed", np.full(recipe.n, recipe.seed, dtype=np.int64), header)
        writer.finish(
            ids=np.arange(recipe.n, dtype=np.int64),
            catalog=table,
            split=np.full(recipe.n, -1, dtype=np.int8),
            provenance={"request": request, "tool": tool_stamp(), "generator": card},
        )
    write_fits(out / CATALOG, out / FITS, overwrite=True)
    context.say(f"{out / CATALOG} and {out / FITS}: {recipe.n:,} galaxies in {', '.join(header.bands)}")


def _request(recipe, painter):
    """What decides the catalog's content."""
    return {"recipe": recipe.to_dict(), "generator_sha256": sha256_file(painter.run / WEIGHTS)}


def _is_done(out, request, config, context):
    """Tell whether the catalog is there already; refuse to replace another one."""
    catalog = out / CATALOG
    if not catalog.exists() or config.overwrite:
        return False
    with GalaxyStore(catalog) as store:
        same = store.provenance.get("request") == request
    if not same:
        raise UserError(
            f"{catalog}: was made from another recipe, seed or generator; choose another --out, or --overwrite"
        )
    # Whole in itself, but perhaps of an earlier catalog: a crash may have come between the two files.
    write_fits(catalog, out / FITS, overwrite=True)
    context.say(f"{out}: is done; --overwrite makes it again")
    return True


def _header(card, context):
    return StoreHeader(
        id_column="SYN_id",
        bands=tuple(card["bands"]),
        filters=tuple(card["filters"]),
        pixel_scale_arcsec=card["pixel_scale_arcsec"],
        pixel_unit=card["pixel_unit"],
        stretch="none",
        psf_fwhm_arcsec=tuple(float("nan") if v is None else v for v in card["psf_fwhm_arcsec"]),
        mass_convention=card["mass_convention"],
        synthetic=True,
        created=context.created,
    )


def _photometry(block, count, header, noisy):
    """Measure one block: the catalog's columns as plain arrays.

    The block is measured whole, also where only its first rows are wanted: sums round by the shape of the arrays.
    """
    bands = header.bands
    seen = measure(block.images, bands)
    true = measure(block.noiseless, bands)
    error = aperture_error(block.sigma, block.correlation) if noisy else np.zeros_like(seen["flux"])
    columns = {}
    for k, band in enumerate(bands):
        columns[f"flux_{band}"] = seen["flux"][:, k]
        columns[f"flux_err_{band}"] = error[:, k]
        columns[f"flux_true_{band}"] = true["flux"][:, k]
        columns[f"mag_{band}"] = ab_magnitude(seen["flux"][:, k])
        columns[f"mag_true_{band}"] = ab_magnitude(true["flux"][:, k])
        columns[f"sky_rms_{band}"] = seen["sky_rms"][:, k]
    columns["r50"] = seen["r50"] * header.pixel_scale_arcsec
    columns |= {name: seen[name] for name in ("q", "pa", "conc")}
    return {name: values[:count] for name, values in columns.items()}


def _table(labels, columns, label_names, header):
    """Join labels and the blocks' columns to one table with units."""
    table = QTable()
    for k, name in enumerate(label_names):
        _add(table, name, labels[:, k], header)
    for name in columns[0]:
        _add(table, name, np.concatenate([block[name] for block in columns]), header)
    return table


def _add(table, name, values, header):
    """Add a column with the unit of the schema."""
    unit = describe(name, header.bands).unit
    table[name] = values if unit is None else values * unit
