"""Catalogs in parts: shards that any number of jobs make, and the merge that takes whole ones of one request only."""

import contextlib
import functools
import os
import socket

import numpy as np

from galaxycgan.catalogs.store.checksums import CheckedImages
from galaxycgan.catalogs.store.integrity import table_problems
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.atomic import fsync, make_directory, read_json, write_json
from galaxycgan.generation.blocks import make_blocks
from galaxycgan.generation.catalog_writer import TABLE, CatalogWriter
from galaxycgan.generation.names import CATALOG, SHARD_FILES, SHARDS, shard_path
from galaxycgan.models.painter import BLOCK
from galaxycgan.resume import Decision, Found, existing_result, look

#: One file for each request that shards were made of: jobs of one that replace another's don't meet in a file.
REQUEST = "request-{}.json"
#: Galaxies of a shard that are copied at once.
ROWS_AT_ONCE = 1024


class Shards:
    """The shards of one catalog, ``OUT/shards/shard-3-of-8.h5`` and so on, numbered from 0.

    Shard k of K holds the blocks of 64 from ``k B // K`` to ``(k + 1) B // K`` of all B. Each is a store of its own
    with its galaxies' ids.

    Parameters
    ----------
    out : Path
        OUT.
    request : Request
    count : int
        K.
    """

    def __init__(self, out, request, count):
        self.out, self.folder, self.request, self.count = out, out / SHARDS, request, count
        blocks = -(-request.n // BLOCK)
        if not 1 <= count <= blocks:
            raise UserError(
                f"--shards {count}: must be from 1 to {blocks}: {request.n:,} galaxies are {blocks:,} blocks of {BLOCK}"
            )
        self.borders = [min(k * blocks // count * BLOCK, request.n) for k in range(count)] + [request.n]

    def path(self, k):
        """Path of shard k."""
        return shard_path(self.out, k, self.count)

    def paths(self):
        """Paths of all shards."""
        return [self.path(k) for k in range(self.count)]

    def created(self, context, overwrite):
        """Return the time of the request that the first of these shards noted, so that all tell the same.

        Raises
        ------
        UserError
            Where the folder holds the shards of another request.
        """
        make_directory(self.folder)
        path = self.folder / REQUEST.format(self.request.name)
        for other in set(self.folder.glob(REQUEST.format("*"))) - {path}:
            read = functools.partial(_noted, other)
            existing_result(self.folder, self.request.described_like, read, overwrite=overwrite)
            other.unlink(missing_ok=True)  # jobs that start together all try
        _write_first(path, {"request": self.request.described, "created": context.created})
        read, ways = functools.partial(_noted, path), "give the same --precision, or another --out"
        existing_result(self.folder, self.request.described_like, read, ways=ways)
        return read_json(path)["created"]

    def make(self, k, workers, created, context):
        """Make shard k, unless it is there, whole and of this request.

        Parameters
        ----------
        k : int
        workers : int
            CPU threads.
        created : str
            Time of the request.
        context : galaxycgan.context.Context
        """
        path, read = self.path(k), functools.partial(self._found, k)
        if existing_result(path, self._asked(k, created), read, replace=True, context=context) is Decision.MADE:
            return
        about = {"shard": [k, self.count]}
        write_catalog(path, self.request, *self.borders[k : k + 2], workers, created, context, about)

    def _asked(self, k, created):
        """Return what a shard must be, as `_found` describes it."""
        first, stop = self.borders[k], self.borders[k + 1]
        galaxies = {"galaxies": stop - first, "first galaxy": first, "last galaxy": stop - 1}
        return {"request": self.request.described, "shard": [k, self.count], "requested": created} | galaxies

    def _found(self, k):
        """Return the shard that is there; its pixels are not read."""
        if not self.path(k).exists():
            return None
        with GalaxyStore(self.path(k)) as store:
            made = {name: store.provenance.get(name) for name in ("request", "shard")}
            made |= {"requested": store.created, "galaxies": store.n}
            return Found(made | {"first galaxy": int(store.ids[0]), "last galaxy": int(store.ids[-1])})

    def _trouble(self, k, created):
        """Say what is wrong with a shard, '' where nothing is."""
        words = look(self.path(k), self._asked(k, created), functools.partial(self._found, k))[1]
        return words.removeprefix(f"{self.folder}/")

    def check(self, created):
        """Refuse to merge where a shard is missing, damaged or of another catalog; the message names each."""
        missing = [path.name for path in self.paths() if not path.exists()]
        if missing:
            others = sorted({int(path.stem.rpartition("-")[2]) for path in self.folder.glob(SHARD_FILES)})
            there = [str(count) for count in others if count != self.count]
            raise UserError(
                f"{self.folder}: {len(missing)} of {self.count} shards are missing: {first_few(missing)}; make them"
                " with the same command and --shard NUMBER instead of --merge"
                + (f"; there are some of --shards {' and '.join(there)}" if there else "")
            )
        bad = [words for k in range(self.count) if (words := self._trouble(k, created))]
        if bad:
            raise UserError(f"{self.folder}: can't be merged: {'; '.join(bad)}; remove it and make it again")

    def merge(self, created, context, ahead=None):
        """Write OUT's catalog of all shards: the bytes that it would have had without shards.

        Parameters
        ----------
        created : str
            Time of the request.
        context : galaxycgan.context.Context
        ahead : galaxycgan.catalogs.fits_ahead.FitsPixelWriter, optional
            Gets the images too.
        """
        self.check(created)
        request = self.request
        with (
            _writer(self.out / CATALOG, request, request.n, created, ahead) as writer,
            context.progress("merging", request.n, "galaxies") as progress,
        ):
            for path in self.paths():
                with GalaxyStore(path) as store:
                    _copy(store, request.dataset_names, writer, context, progress)
            writer.finish(request.provenance)

    def remove(self):
        """Remove the shards and what belongs to them."""
        # Of other numbers of shards, too, which an interrupted run may have left: the catalog is whole.
        for path in (*self.folder.glob(SHARD_FILES), *self.folder.glob(REQUEST.format("*"))):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else lies there
            self.folder.rmdir()


def write_catalog(path, request, first, stop, workers, created, context, about=None, ahead=None):
    """Make rows ``first .. stop - 1`` of a request as a store, whole or not at all.

    Parameters
    ----------
    path : Path
    request : Request
    first, stop : int
    workers : int
        CPU threads.
    created : str
        Time of the request.
    context : galaxycgan.context.Context
    about : dict, optional
        JSON values added to the provenance.
    ahead : galaxycgan.catalogs.fits_ahead.FitsPixelWriter, optional
        Gets the images too.
    """
    with (
        _writer(path, request, stop - first, created, ahead) as writer,
        context.progress("generating", stop - first, "galaxies") as progress,
        contextlib.closing(make_blocks(request, first, stop, workers)) as blocks,
    ):
        for made in blocks:
            context.check()
            writer.append_galaxies(made.rows, *made.stamps)
            progress.at(made.first - first + len(made.rows))
        writer.finish(request.provenance | (about or {}))


def write_example(path, request, created):
    """Write a store of one row of a request, all zero: what tells how a whole catalog will look."""
    nothing = np.zeros((1, len(request.bands), *2 * (request.painter.generator.shape.size,)), np.float32)
    with _writer(path, request, 1, created) as writer:
        writer.append_galaxies(np.zeros(1, request.row_format.dtype), *[nothing] * len(request.dataset_names))
        writer.finish(request.provenance)


def _writer(path, request, n, created, ahead=None):
    noiseless = "noiseless" in request.dataset_names
    header, row_format = request.header(created), request.row_format
    return CatalogWriter(path, n=n, header=header, row_format=row_format, noiseless=noiseless, ahead=ahead)


def _copy(store, names, writer, context, progress):
    """Append a shard's galaxies; one whose content is not what its checksums say is a `UserError`."""
    with contextlib.ExitStack() as stack:
        checked = [stack.enter_context(CheckedImages(store, name)) for name in names]
        file = stack.enter_context(store.open())
        for start in range(0, store.n, ROWS_AT_ONCE):
            context.check()
            stop = min(start + ROWS_AT_ONCE, store.n)
            rows = file[TABLE][start:stop]
            for parts in zip(*(one.read(stop) for one in checked), strict=True):
                at = parts[0][0] - start
                writer.append_galaxies(rows[at[0] : at[-1] + 1], *(images for _, images in parts))
            progress.at(int(rows[store.id_column][-1]) + 1)
        damaged = [f"{one.name}: wrong checksum" for one in checked if not one.is_intact()]
        damaged += table_problems(store, file)
    if damaged:
        raise UserError(f"{store.path}: damaged shard ({'; '.join(damaged)}); remove it and make it again")


def _noted(path):
    """Return the request that shards are made for, as a result that is not finished."""
    return Found(read_json(path).get("request"), finished=False)


def _write_first(path, value):
    """Write a JSON file unless there is one: of several jobs that start together one does."""
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    write_json(temporary, value)
    try:
        os.link(temporary, path)  # unlike a rename, fails where the file is there
        fsync(path.parent)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
