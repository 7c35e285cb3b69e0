"""The stage generate: a trained generator and a recipe in, a synthetic catalog as HDF5 and FITS out."""

import contextlib
from pathlib import Path

from galaxycgan.catalogs.export.export import write_fits
from galaxycgan.catalogs.export.fits_ahead import pixels_ahead
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.checks import check_part
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import hold_directory
from galaxycgan.generation.names import CATALOG, FITS
from galaxycgan.generation.request import Request
from galaxycgan.generation.shards import Shards, write_catalog, write_example
from galaxycgan.models.device import set_threads
from galaxycgan.resume import Decision, Found, existing_result


def output_directory(config):
    """Return where a request's catalog goes: --out, or catalogs/generated/ with the recipe's file name."""
    return Path(config.out) if config.out else Path("catalogs/generated") / Path(config.recipe).stem


def generate(config, context):
    """Make a synthetic catalog, one shard of it, or of its shards the catalog.

    Parameters
    ----------
    config : galaxycgan.config.Generate
        Options.
    context : galaxycgan.context.Context
        How it is run.

    Raises
    ------
    UserError
        Where the GAN, the recipe, the output directory or a shard can't be used.
    """
    _check_options(config)
    workers = set_threads(config.threads)
    request, out = Request(config), output_directory(config)
    shards = Shards(out, request, config.shards)
    if _is_made(out, request, config, context):
        return
    for note in request.population.about.get("notes", ()):
        context.say(f"{request.recipe.name}: {note}")
    if config.shard >= 0:
        request.judge(*shards.borders[config.shard : config.shard + 2], config.strict, context)
        shards.make(config.shard, workers, shards.created(context, config.overwrite), context)
        context.say(f"{shards.path(config.shard)}: shard {config.shard} of {config.shards} (numbered from 0)")
        return
    if config.shards > 1:
        created = _make_shards(shards, workers, config, context)
    else:
        request.judge(0, request.n, config.strict, context)
        created = context.created
    with hold_directory(out, "makes a catalog"):
        # Another one may have come first: the FITS file would hold its table and our pixels.
        if _is_made(out, request, config, context):
            return
        with _fits_ahead(out, request, created, config) as ahead:
            if config.shards > 1:
                shards.merge(created, context, ahead)
            else:
                write_catalog(out / CATALOG, request, 0, request.n, workers, created, context, ahead=ahead)
            _write_fits(out, config, ahead=ahead)
    if config.shards > 1 and not config.keep_shards:
        shards.remove()
    context.say(f"{out / CATALOG} and {out / FITS}: {request.n:,} galaxies in {', '.join(request.bands)}")
    if note := request.painter.card.get("note"):
        context.say(f"{config.gan}: {note}")


def _check_options(config):
    check_part(config, "shard")
    if config.images_per_file and config.images == "none":
        raise UserError(f"--images-per-file {config.images_per_file}: there are no images with --images none")
    if config.merge and (config.shard >= 0 or config.shards == 1):
        raise UserError("--merge: joins all shards; give --shards K as they were made, and no --shard")


def _make_shards(shards, workers, config, context):
    """Make the shards that are not there, unless they shall only be merged; return the time of the request."""
    if config.merge:
        if not shards.folder.is_dir():
            raise UserError(f"{shards.folder}: no such directory; make the shards first, with --shard NUMBER")
        return shards.created(context, overwrite=False)
    shards.request.judge(0, shards.request.n, config.strict, context)
    created = shards.created(context, config.overwrite)
    for k in range(shards.count):
        shards.make(k, workers, created, context)
    return created


def _fits_ahead(out, request, created, config):
    """Open the FITS file whose pixels are written with the store's, where it will have them and its size is known."""
    text = any(request.row_format.dtype[name].kind in "SO" for name in request.row_format.dtype.names)
    if request.images == "none" or config.images_per_file or text or not request.n:
        return contextlib.nullcontext()
    return pixels_ahead(out / FITS, lambda path: write_example(path, request, created), request.n)


def _is_made(out, request, config, context):
    """Return whether the catalog is there already; refuse to replace another one."""

    def read():
        if not (out / CATALOG).exists():
            return None
        with GalaxyStore(out / CATALOG) as store:
            return Found(store.provenance.get("request"))

    decision = existing_result(out / CATALOG, request.described_like, read, overwrite=config.overwrite, context=context)
    if decision is Decision.FRESH:
        return False
    # Whole in itself, but perhaps of an earlier catalog: a crash may have come between the two files.
    _write_fits(out, config, overwrite="others")
    return True


def _write_fits(out, config, overwrite=True, ahead=None):
    """Write the catalog as FITS, with all images in it or in files of their own beside it."""
    images = "files" if config.images_per_file else "cube"
    per_file = config.images_per_file
    write_fits(out / CATALOG, out / FITS, images=images, images_per_file=per_file, overwrite=overwrite, ahead=ahead)
