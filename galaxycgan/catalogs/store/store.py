"""The store: one HDF5 file of galaxies, real or synthetic, written once and read many times.

Images lie contiguous and uncompressed, so a batch is read without HDF5 in between, and any number of processes may read
through the same object after fork or spawn. HDF5's file locking is off for reading: a store is never changed in place,
and Lustre and NFS mounts often refuse the lock.

The layout was measured (``galaxycgan bench read``: 100 random batches of 64 from 20,000 galaxies of 3 x 50 x 50 pixels,
warm cache, 2 cores of an AMD EPYC)::

    np.memmap of a plain file                    2,150 MB/s
    this class                                   2,010
    HDF5 contiguous, through h5py                  550
    HDF5, a chunk per image                         30
    HDF5, a chunk per image, lzf                    30    1.00 of the size
    HDF5, a chunk per image, shuffle and gzip 1     25    0.89 of the size

Noisy pixels do not compress, and what little they do costs eighty times the time.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
from pathlib import Path

import h5py
import numpy as np

from galaxycgan.catalogs.schema.columns import MASK, MISSING_INT, SCHEMA, SCHEMA_VERSION
from galaxycgan.catalogs.store.header import StoreHeader
from galaxycgan.catalogs.store.splits import NO_SPLIT, SPLITS, split_of
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.rows import read_rows
from galaxycgan.files.streaming import BLOCK_BYTES

__all__ = ["NO_SPLIT", "SPLITS", "GalaxyStore", "StoreHeader", "find_store", "split_of"]


class GalaxyStore:
    """Read a store.

    Cheap to make and to pickle; safe to use in forked and spawned workers. Files are opened when something is read.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    UserError
        Where the file is missing, truncated, or not a store of this schema version.

    Attributes
    ----------
    n, size : int
        Number of galaxies; side of the images in pixels.
    bands, filters : tuple of str
    header : StoreHeader
    attrs, provenance, checksums : dict
        All attributes; the two that are JSON, parsed.
    has_noiseless, has_matches : bool
    """

    def __init__(self, path):
        self.path = Path(path)
        self._descriptor, self._maps = None, {}
        with self.open() as file:
            try:
                self._read_header(file)
            except (KeyError, ValueError, TypeError, OSError, RuntimeError) as error:
                raise UserError(f"{self.path}: damaged store: {str(error).splitlines()[0]}") from None

    def _read_header(self, file):
        attributes = {key: _native(value) for key, value in file.attrs.items()}
        if attributes.get("schema") != SCHEMA:
            raise UserError(f"{self.path}: an HDF5 file, but not a galaxycgan store (make one with galaxycgan convert)")
        if attributes.get("schema_version") != SCHEMA_VERSION:
            raise UserError(
                f"{self.path}: store of schema version {attributes.get('schema_version')}, this galaxycgan reads"
                f" {SCHEMA_VERSION}: convert the survey files again, or use the galaxycgan that made it"
            )
        self.attrs = attributes
        self.header = StoreHeader(**{field.name: attributes[field.name] for field in dataclasses.fields(StoreHeader)})
        self.checksums = json.loads(attributes["checksums"])
        self.provenance = json.loads(attributes["provenance"])
        self.n, _, self.size, _ = file["images"].shape
        if missing := [name for name in (self.id_column, "split", "catalog") if name not in file]:
            raise ValueError(f"{missing[0]}: dataset is missing")
        self._layout = {name: _layout(file[name]) for name in ("images", "noiseless") if name in file}
        self.has_matches = "matches" in file

    bands = property(lambda self: self.header.bands)
    filters = property(lambda self: self.header.filters)
    pixel_scale = property(lambda self: self.header.pixel_scale_arcsec, doc="arcsec per pixel")
    pixel_unit = property(lambda self: self.header.pixel_unit)
    psf_fwhm = property(lambda self: np.array(self.header.psf_fwhm_arcsec), doc="arcsec, float [band], NaN: unknown")
    id_column = property(lambda self: self.header.id_column)
    synthetic = property(lambda self: self.header.synthetic)
    created = property(lambda self: self.header.created)
    has_noiseless = property(lambda self: "noiseless" in self._layout)

    @functools.cached_property
    def fingerprint(self):
        """SHA-256 over the sorted checksums of the datasets: equal content, equal fingerprint."""
        lines = "\n".join(f"{name} {value}" for name, value in sorted(self.checksums.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    @functools.cached_property
    def ids(self):
        """int64 [n]."""
        return self._dataset(self.id_column).astype(np.int64, copy=False)

    @functools.cached_property
    def split(self):
        """int8 [n]: 0 train, 1 validation, 2 test, -1 none."""
        return self._dataset("split")

    @functools.cached_property
    def table(self):
        """QTable [n] with units, the id column first."""
        return self._table("catalog")

    @functools.cached_property
    def matches(self):
        """QTable of every survey row that points at an id of the store, or None; `kept` marks those used."""
        return self._table("matches") if self.has_matches else None

    @functools.cached_property
    def columns(self):
        """Names of the catalog's columns."""
        with self.open() as file:
            return [name for name in file["catalog"].dtype.names if not name.endswith(MASK)]

    def column(self, name):
        """Return one catalog column as a plain array [n], without unit.

        Missing values are NaN in floats, `schema.MISSING_INT` in integers, '' in text. A flag that has any comes as a
        masked array, False below the mask.
        """
        if name not in self.columns:
            raise UserError(f"{self.path}: no column '{name}' in the catalog; it has {', '.join(self.columns)}")
        with self.open() as file:
            catalog = file["catalog"]
            values = catalog[name]
            if values.dtype.kind in "iu":
                values = values.astype(np.int64)
            if name + MASK in catalog.dtype.names:
                mask = catalog[name + MASK]
                values[mask] = MISSING_INT if values.dtype.kind == "i" else False
                if values.dtype.kind == "b" and mask.any():
                    return np.ma.MaskedArray(values, mask)
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values

    def labels(self, names):
        """Return numeric columns as float64 [n, name]; a missing integer or flag is NaN."""
        columns = []
        for name in names:
            column = self.column(name)
            values = np.ma.filled(column.astype(np.float64), np.nan)
            columns.append(np.where(column == MISSING_INT, np.nan, values) if column.dtype.kind == "i" else values)
        return np.stack(columns, 1)

    def rows_of(self, ids):
        """Return the row of each id.

        Parameters
        ----------
        ids : int64 array [k]

        Returns
        -------
        int64 array [k]
        """
        ids = np.asarray(ids, dtype=np.int64)
        order = np.argsort(self.ids, kind="stable")
        places = np.searchsorted(self.ids, ids, sorter=order)
        rows = order[np.minimum(places, self.n - 1)] if self.n else np.zeros(0, np.int64)
        missing = ids[self.ids[rows] != ids] if self.n else ids
        if len(missing):
            raise UserError(f"{self.path}: {len(missing)} ids are not in the store: {first_few(missing)}")
        return rows

    def images(self, rows=None):
        """Read images.

        Parameters
        ----------
        rows : None, slice, int array or bool mask
            None: all.

        Returns
        -------
        float32 array [k, band, y, x]
            In `pixel_unit`, in the order of `rows`.
        """
        return self._read("images", rows)

    def noiseless(self, rows=None):
        """Read the noiseless images of a synthetic store; as `images`."""
        if not self.has_noiseless:
            raise UserError(f"{self.path}: has no noiseless images (real galaxies have none)")
        return self._read("noiseless", rows)

    def pieces(self, name="images", rows=None):
        """Read images piece by piece, so that memory stays small however many there are; one image at least.

        Parameters
        ----------
        name : str
            'images' or 'noiseless'.
        rows : None, slice, int array or bool mask
            None: all.

        Yields
        ------
        int64 array [k], float32 array [k, band, y, x]
            Row numbers and their images.
        """
        rows = _row_numbers(rows, self.n)
        step = max(1, BLOCK_BYTES // max(1, 4 * len(self.bands) * self.size**2))  # 0 pixels: a catalog without images
        for start in range(0, len(rows), step):
            yield rows[start : start + step], getattr(self, name)(rows[start : start + step])

    def _read(self, name, rows):
        rows = _row_numbers(rows, self.n)
        if len(rows) and rows[-1] - rows[0] != len(rows) - 1:
            return self._mapped(name)[rows]
        # What is read in order is not mapped: all that was mapped counts as memory of the process.
        offset, shape = self._layout[name]
        out = np.empty((len(rows), *shape), dtype="<f4")
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            read_rows(self._descriptor, rows, out, offset)
        except EOFError:
            raise UserError(f"{self.path}: truncated while it was read") from None
        return out

    def _mapped(self, name):
        """Return a dataset as it lies in the file: random rows of it are copied without a system call each."""
        if name not in self._maps:
            offset, shape = self._layout[name]
            self._maps[name] = np.asarray(np.memmap(self.path, "<f4", "r", offset, (self.n, *shape)))
        return self._maps[name]

    def _dataset(self, name):
        with self.open() as file:
            return file[name][()]

    def _table(self, name):
        from astropy.table import QTable  # what reads images and labels only starts without it

        with self.open() as file:
            return QTable.read(file, format="hdf5", path=name, character_as_bytes=False)

    @contextlib.contextmanager
    def open(self):
        """Open the file with h5py for as long as a ``with`` block lasts."""
        if self.path.is_dir():
            raise UserError(f"{self.path}: a directory, not a store")
        try:
            try:
                file = h5py.File(self.path, "r", locking=False)
            except OSError as error:
                # This process has the file open already, with locking: HDF5 requires the same way again.
                if "locking flag values" not in str(error):
                    raise
                file = h5py.File(self.path, "r")
        except OSError as error:
            raise UserError(f"{self.path}: {_reason(error)}") from None
        with file:
            yield file

    def close(self):
        """Give the file descriptor back; the next read opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._maps = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __del__(self):
        if getattr(self, "_descriptor", None) is not None:
            self.close()

    def __getstate__(self):
        return {"path": self.path}

    def __setstate__(self, state):
        self.__init__(state["path"])

    def __len__(self):
        return self.n


def _reason(error):
    """Say why HDF5 can't open a file."""
    text = str(error)
    if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM):
        return os.strerror(error.errno).lower()
    if "truncated file" in text:
        return "truncated: the end of the file is missing; convert or copy it again"
    if "signature not found" in text:
        return "not a store (not an HDF5 file)"
    return f"can't be opened as HDF5: {text}"


def _layout(dataset):
    """Return a contiguous dataset's place in the file and the shape of a row."""
    if dataset.ndim != 4 or dataset.dtype != np.dtype("<f4"):
        raise ValueError(f"{dataset.name} is not float32 [n, band, y, x]")
    offset = dataset.id.get_offset()
    if offset is None and dataset.size:
        raise ValueError(f"{dataset.name} is not contiguous (h5repack -l CONTI undoes a repacking)")
    return offset or 0, dataset.shape[1:]


def _native(value):
    """Turn an HDF5 attribute into plain Python."""
    if isinstance(value, np.ndarray):
        return tuple(_native(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def _row_numbers(rows, n):
    """Turn any selection of rows into their numbers, int64 [k]."""
    if rows is None:
        return np.arange(n)
    if isinstance(rows, slice):
        return np.arange(n)[rows]
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (n,):
            raise IndexError(f"mask of shape {rows.shape} for {n} rows")
        return np.flatnonzero(rows)
    rows = rows.astype(np.int64, casting="same_kind" if rows.size else "unsafe").reshape(-1)
    if rows.size and (rows.min() < -n or rows.max() >= n):
        raise IndexError(f"row numbers must lie within {n} rows")
    return np.where(rows < 0, rows + n, rows) if rows.size and rows.min() < 0 else rows


def find_store(text="", option="--store"):
    """Return the path of the store that a command shall use.

    Parameters
    ----------
    text : str
        Path given by the user; empty: the one store in ``catalogs/`` of the current directory that is not synthetic.
    option : str
        How the user gives it; named in the message.

    Raises
    ------
    UserError
        Where there is none or several; the message lists the candidates.
    """
    if text:
        return Path(text)
    candidates = []
    for path in sorted(Path("catalogs").glob("*.h5")):
        with contextlib.suppress(UserError):
            if not GalaxyStore(path).synthetic:
                candidates.append(path)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise UserError(
            f"catalogs/: no store of real galaxies there; make one with galaxycgan convert, or give {option}"
        )
    raise UserError(f"catalogs/: several stores, give one with {option}: {first_few(candidates, 10)}")
