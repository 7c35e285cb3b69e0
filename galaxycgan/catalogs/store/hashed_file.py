"""An HDF5 file written in one pass and hashed as it grows; it appears whole under its name, or not at all."""

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

from galaxycgan.catalogs.schema.columns import HDF5_VERSIONS, SCHEMA, SCHEMA_VERSION
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import atomic_path
from galaxycgan.files.streaming import Flusher


class HashedFile:
    """The file of a store while it is written: datasets, checksums, attributes. A context manager.

    Parameters
    ----------
    path : str or Path
    n : int
        Rows of the datasets that are appended to.

    Attributes
    ----------
    file : h5py.File
        For datasets that are written at once.
    rows : dict
        Dataset -> rows appended so far.
    """

    def __init__(self, path, n):
        self.path, self.n, self.rows = Path(path), n, {}
        self._digests, self._datasets = {}, {}
        self._finished = False

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            stack.enter_context(_plain_write_errors(self.path))
            self.file = stack.enter_context(_closing_once(h5py.File(temporary, "w", libver=HDF5_VERSIONS)))
            self._hasher = stack.enter_context(ThreadPoolExecutor(1))
            self._flusher = stack.enter_context(Flusher(self.file.id.get_vfd_handle()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind, error, trace):
        with self._stack as stack:
            if kind is None and not self._finished:
                raise RuntimeError(f"{self.path}: finish() was not called")
            return stack.pop_all().__exit__(kind, error, trace)

    def append(self, name, values):
        """Add the next rows of a dataset, which is made of n rows like these where it is new.

        Parameters
        ----------
        name : str
        values : array [k, ...]
        """
        if name not in self._datasets:
            made = self.file.create_dataset(name, shape=(self.n, *values.shape[1:]), dtype=values.dtype)
            # h5py takes as long to look up a dataset or its type as to write some rows.
            self._datasets[name], self._digests[name], self.rows[name] = (made, made.dtype), hashlib.sha256(), 0
        dataset, dtype = self._datasets[name]
        # As it will be read back, which is what `verify` hashes.
        values, start = np.ascontiguousarray(values, dtype=dtype), self.rows[name]
        # The digest runs beside the write, and both end here: the caller may use its buffer again.
        digest = self._hasher.submit(self._digests[name].update, values.reshape(-1).view("u1"))
        if len(values):
            dataset[start : start + len(values)] = values
        digest.result()
        self._flusher.wrote(values.nbytes)
        self.rows[name] = start + len(values)

    def finish(self, header, provenance):
        """Write the attributes: what holds for all galaxies, the checksums of all datasets, where they came from.

        Parameters
        ----------
        header : StoreHeader
        provenance : dict
            JSON values.
        """
        checksums = {}
        for name in self.file:
            digest = self._digests.get(name) or hashlib.sha256(np.ascontiguousarray(self.file[name][()]))
            checksums[name] = digest.hexdigest()
        attributes = self.file.attrs
        attributes["schema"] = SCHEMA
        attributes["schema_version"] = SCHEMA_VERSION
        for field in dataclasses.fields(header):
            value = getattr(header, field.name)
            attributes[field.name] = list(value) if isinstance(value, tuple) else value
        attributes["checksums"] = json.dumps(checksums, sort_keys=True)
        attributes["provenance"] = json.dumps(provenance, sort_keys=True)
        self._finished = True


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
