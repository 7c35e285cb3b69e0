"""The command ``regenerate``: one galaxy of a catalog made again from its row, and compared with the catalog's."""

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from astropy.table import QTable

from galaxycgan.catalogs.export.export import write_fits
from galaxycgan.catalogs.export.read import read_catalog, read_fits_images
from galaxycgan.catalogs.formats.hdf5 import is_hdf5
from galaxycgan.catalogs.formats.suffixes import check_suffix
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import sha256_file
from galaxycgan.generation.request import catalog_header, measure_of
from galaxycgan.models.device import choose_device, repeatable, set_threads
from galaxycgan.models.painter import BLOCK, Painter
from galaxycgan.models.release import WEIGHTS
from galaxycgan.populations.recipes import noise_sigma
from galaxycgan.resume import refuse_existing

#: Of the brightest pixel: what another processor or version of torch may change.
TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Row:
    """A galaxy of a catalog.

    Attributes
    ----------
    table : QTable [1]
    made : dict
        The catalog's provenance.
    created : str
    images : dict of float32 array [band, y, x]
        What the catalog holds of 'images' and 'noiseless'.
    """

    table: QTable
    made: dict
    created: str
    images: dict


def regenerate(config, context):
    """Make a galaxy again.

    Parameters
    ----------
    config : galaxycgan.config.Regenerate
    context : galaxycgan.context.Context

    Raises
    ------
    UserError
        Where the catalog or the generator can't be used, or the galaxy comes out another one.
    """
    if config.id < 0:
        raise UserError(f"--id {config.id}: must be at least 0")
    out = Path(config.out or f"galaxy-{config.id}.fits")
    check_suffix(out)
    refuse_existing(out, config.overwrite)
    row = read_row(Path(config.catalog), config.id)
    request = _request(config.catalog, row.made)
    set_threads(config.threads)
    torch.set_num_threads(1)  # as generate makes each block
    repeatable()
    painter = Painter(config.gan, choose_device(config.device), request.get("precision", "auto"))
    _check_generator(config, painter, request)
    recipe = request["recipe"]
    columns = painter.conditioning.columns
    labels = np.array([[row.table[name].value[0] for name in columns]], dtype=np.float64)
    place = config.id % BLOCK
    noisy, sigma = recipe["noise"] != "none", noise_sigma(recipe["noise"])
    sigma = None if sigma is None else np.broadcast_to(np.array(sigma), len(painter.card["bands"]))
    seed = int(row.table["seed"][0])
    # A block's rows don't touch each other, but its shape decides how sums round: the galaxy goes where it was.
    block = painter.paint_block(np.repeat(labels, place + 1, axis=0), seed, config.id - place, noisy, sigma)
    stamps = {"images": block.images[place], "noiseless": block.noiseless[place]}
    if request["images"] == "noiseless":
        stamps["images"] = stamps["noiseless"]
    verdict = _compare(config.catalog, config.id, row, stamps, measure_of(painter).columns(block, noisy), place)
    _write(out, row, painter, stamps if noisy else {"images": stamps["images"]})
    values = ", ".join(f"{name} {value:.4g}" for name, value in zip(columns, labels[0], strict=True))
    context.say(f"{out}: galaxy {config.id} ({values}) of {config.catalog}: {verdict}")


def read_row(path, number):
    """Read one galaxy of a synthetic catalog, HDF5 or FITS."""
    if is_hdf5(path):
        with GalaxyStore(path) as store:
            if not store.synthetic:
                raise UserError(f"{path}: holds real galaxies; only synthetic ones can be made again")
            at = store.rows_of([number])
            names = [name for name in ("images", "noiseless") if store.size and hasattr(store, name)]
            names = names if store.has_noiseless else names[:1]
            images = {name: getattr(store, name)(at)[0] for name in names}
            return Row(store.table[at], store.provenance, store.created, images)
    table = read_catalog(path)
    if not table.meta.get("SYNTH") or "SYN_id" not in table.colnames:
        raise UserError(f"{path}: not a synthetic catalog of galaxycgan")
    at = np.flatnonzero(np.asarray(table["SYN_id"]) == number)
    if not len(at):
        raise UserError(f"{path}: 1 ids are not in the catalog: {number}")
    images = {}
    if "STAMPS" not in table.meta:
        images["images"] = read_fits_images(path, at)[0]
    made = json.loads(table.meta.get("PROVENAN", "{}"))
    return Row(table[at], made, f"{table.meta['DATE']}Z", images)


def _request(path, made):
    """Return the request of a catalog, also of one that was selected from it."""
    while made.get("command") == "select":
        made = made["sources"]["store"]["provenance"]
    request = made.get("request")
    if not request or "images" not in request:
        raise UserError(f"{path}: does not say how its galaxies were made (merged with others, or by an older version)")
    return request


def _check_generator(config, painter, request):
    mine = sha256_file(painter.run / WEIGHTS)
    if mine != request["generator_sha256"]:
        raise UserError(
            f"{config.gan}: its generator has SHA-256 {mine[:12]}..., the one of {config.catalog}"
            f" {request['generator_sha256'][:12]}...: name the run directory that made it with --gan"
        )


def _compare(path, number, row, stamps, measured, place):
    """Say how the galaxy compares with the catalog's; one that is another galaxy is a `UserError`."""
    if row.images:
        pairs = [(image, stamps[name]) for name, image in row.images.items()]
        what = "images"
    else:
        names = [name for name in measured if name.startswith("flux_") and name in row.table.colnames]
        pairs = [(np.array([row.table[n].value[0] for n in names]), np.array([measured[n][place] for n in names]))]
        what = "fluxes"
    if all(np.array_equal(theirs, mine) for theirs, mine in pairs):
        return f"the catalog's {what} to the last bit"
    worst = max(float(np.abs(theirs - mine).max() / np.abs(theirs).max()) for theirs, mine in pairs)
    if worst > TOLERANCE:
        raise UserError(f"{path}: galaxy {number} comes out otherwise: {what} differ by {worst:.1e} of the brightest")
    return f"the catalog's {what} within {worst:.1e} of the brightest (another processor or version of torch)"


def _write(out, row, painter, stamps):
    """Write the galaxy as a FITS catalog of one row."""
    header = catalog_header(painter.card, row.created)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "galaxy.h5"
        with StoreWriter(store, n=1, header=header, noiseless="noiseless" in stamps) as writer:
            writer.append(*(image[None] for image in stamps.values()))
            ids = np.asarray(row.table["SYN_id"])
            writer.finish(ids=ids, catalog=row.table, provenance=row.made)
        write_fits(store, out, overwrite=True)
