"""Writes a store in one pass, hashing as it goes; the file is there whole or not at all."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
from astropy.units import Quantity

from galaxycgan.catalogs.schema.columns import HDF5_VERSIONS, SCHEMA, SCHEMA_VERSION
from galaxycgan.catalogs.store.splits import NO_SPLIT, split_of
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import atomic_path
from galaxycgan.files.streaming import Flusher


class StoreWriter:
    """Write a store in one pass; the file appears under its name when the block ends well, or not at all.

    Parameters
    ----------
    path : str or Path
    n : int
        Number of galaxies that will be appended.
    header : StoreHeader
    noiseless : bool
        Whether noiseless images come with the images.

    Examples
    --------
    >>> with StoreWriter(path, n=len(ids), header=header) as writer:
    ...     for chunk in chunks:
    ...         writer.append(chunk)
    ...     writer.finish(ids=ids, catalog=table)
    """

    def __init__(self, path, *, n, header, noiseless=False):
        self.path, self.n, self.header = Path(path), n, header
        self._names = ("images", "noiseless") if noiseless else ("images",)
        self._digests = {name: hashlib.sha256() for name in self._names}
        self._checksums, self._datasets = {}, {}
        self._rows = 0
        self._finished = False

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            stack.enter_context(_plain_write_errors(self.path))
            self._file = stack.enter_context(_closing_once(h5py.File(temporary, "w", libver=HDF5_VERSIONS)))
            self._hasher = stack.enter_context(ThreadPoolExecutor(1))
            self._flusher = stack.enter_context(Flusher(self._file.id.get_vfd_handle()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind, error, trace):
        with self._stack as stack:
            if kind is None and not self._finished:
                raise RuntimeError("StoreWriter.finish() was not called")
            return stack.pop_all().__exit__(kind, error, trace)

    def append(self, images, noiseless=None):
        """Add the next rows.

        Parameters
        ----------
        images : float32 array [k, band, y, x]
            In `header.pixel_unit`.
        noiseless : float32 array [k, band, y, x], optional
            Given where the writer was opened with ``noiseless=True``.
        """
        chunks = dict(zip(self._names, (images, noiseless), strict=False))
        for name, chunk in chunks.items():
            chunk = np.ascontiguousarray(chunk, dtype="<f4")
            if chunk.ndim != 4 or chunk.shape[1] != len(self.header.bands):
                raise ValueError(f"{name} must be [k, band, y, x] with {len(self.header.bands)} bands: {chunk.shape}")
            dataset = self._dataset(name, chunk)
            # The digest runs beside the write, and both end here: the caller may use its buffer again.
            digest = self._hasher.submit(self._digests[name].update, chunk.reshape(-1).view("u1"))
            if len(chunk):
                dataset[self._rows : self._rows + len(chunk)] = chunk
            digest.result()
            self._flusher.wrote(chunk.nbytes)
        self._rows += len(images)

    def _dataset(self, name, chunk):
        """Return a dataset of n rows like those of a chunk; h5py takes as long to look it up as to write some rows."""
        if name not in self._datasets:
            shape = (self.n, *chunk.shape[1:])
            self._datasets[name] = self._file.create_dataset(name, shape=shape, dtype=chunk.dtype)
        return self._datasets[name]

    def finish(self, *, ids, catalog, split=None, matches=None, provenance=None):
        """Write everything but the images.

        Parameters
        ----------
        ids : int64 array [n]
            Unique; sorted where they are HSC_ids.
        catalog : QTable
            One row per id, in their order; the id column is put in front.
        split : int8 array [n], optional
            Without it, `split_of` the ids; -1 for synthetic galaxies.
        matches : QTable, optional
            Every row of the survey table that points at one of the ids.
        provenance : dict, optional
            JSON values: where the store came from.
        """
        ids = np.asarray(ids, dtype="<i8")
        if not self._rows == self.n == len(ids) == len(catalog):
            raise ValueError(f"{self.n} rows declared, {self._rows} appended, {len(ids)} ids, {len(catalog)} in table")
        header = self.header
        if len(np.unique(ids)) != len(ids) or (header.id_column == "HSC_id" and np.any(np.diff(ids) < 0)):
            raise ValueError("ids must be unique, and HSC_ids sorted")
        if split is None:
            missing = np.full(len(ids), NO_SPLIT)
            split = missing if header.synthetic else split_of(ids, header.split_salt, header.split_fractions)
        self._file[header.id_column] = ids
        self._file["split"] = np.asarray(split, dtype=np.int8)
        self._write_table("catalog", _with_ids_first(catalog, header.id_column, ids))
        if matches is not None:
            self._write_table("matches", matches)
        for name in self._file:
            digest = self._digests.get(name) or hashlib.sha256(np.ascontiguousarray(self._file[name][()]))
            self._checksums[name] = digest.hexdigest()
        self._write_attributes(provenance or {})
        self._finished = True

    def _write_table(self, name, table):
        table = _with_shared_units(table)
        table.meta = {}
        table.write(self._file, format="hdf5", path=name, serialize_meta=True)

    def _write_attributes(self, provenance):
        attributes = self._file.attrs
        attributes["schema"] = SCHEMA
        attributes["schema_version"] = SCHEMA_VERSION
        for field in dataclasses.fields(self.header):
            value = getattr(self.header, field.name)
            attributes[field.name] = list(value) if isinstance(value, tuple) else value
        attributes["checksums"] = json.dumps(self._checksums, sort_keys=True)
        attributes["provenance"] = json.dumps(provenance, sort_keys=True)


def _with_ids_first(catalog, id_column, ids):
    """Return the table with the ids as its first column."""
    from astropy.table import QTable  # not at the top: who only reads a store imports this module, too

    table = QTable(catalog, copy=False)
    if id_column in table.colnames:
        if not np.array_equal(table[id_column], ids):
            raise ValueError(f"the table's {id_column} are not the ids")
        table.remove_column(id_column)
    table.add_column(ids, index=0, name=id_column)
    return table


def _with_shared_units(table):
    """Return the table with one object for each unit: YAML writes an object that comes again as a reference.

    Equal tables are equal bytes then, however their units were made.
    """
    from astropy.table import QTable

    table, units = QTable(table, copy=False), {}
    for name in table.colnames:
        values = table[name]
        if isinstance(values, Quantity):
            info = values.info.description
            table[name] = type(values)(values.value, units.setdefault(str(values.unit), values.unit), copy=False)
            table[name].info.description = info
    return table


@contextlib.contextmanager
def _closing_once(file):
    """Close an HDF5 file, of which nothing is needed any more after a failed write."""
    try:
        yield file
    except BaseException:
        with contextlib.suppress(OSError, RuntimeError):
            # On a full disk HDF5 can't write what it still holds, and crashes with the interpreter's end.
            os.ftruncate(file.id.get_vfd_handle(), 0)
            file.close()
        raise
    file.close()


@contextlib.contextmanager
def _plain_write_errors(path):
    """Turn what HDF5 says of a full disk into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None) or re.search(r"errno = (\d+)", str(error))
        if not number or getattr(error, "filename", None):
            raise
        number = number if isinstance(number, int) else int(number[1])
        raise UserError(f"{path}: can't be written: {os.strerror(number)}") from error
