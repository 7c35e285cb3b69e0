"""Writes a store in one pass, hashing as it goes; the file is there whole or not at all."""

import numpy as np
from astropy.units import Quantity

from galaxycgan.catalogs.store.hashed_file import HashedFile
from galaxycgan.catalogs.store.splits import NO_SPLIT, split_of


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
        self.n, self.header = n, header
        self.names = ("images", "noiseless") if noiseless else ("images",)
        self._store = HashedFile(path, n)

    def __enter__(self):
        self._store.__enter__()
        return self

    def __exit__(self, *error):
        return self._store.__exit__(*error)

    def append(self, images, noiseless=None):
        """Add the next rows.

        Parameters
        ----------
        images : float32 array [k, band, y, x]
            In `header.pixel_unit`.
        noiseless : float32 array [k, band, y, x], optional
            Given where the writer was opened with ``noiseless=True``.
        """
        append_images(self._store, self.header, dict(zip(self.names, (images, noiseless), strict=False)))

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
        appended = self._store.rows.get("images", 0)
        if not appended == self.n == len(ids) == len(catalog):
            raise ValueError(f"{self.n} rows declared, {appended} appended, {len(ids)} ids, {len(catalog)} in table")
        header = self.header
        if len(np.unique(ids)) != len(ids) or (header.id_column == "HSC_id" and np.any(np.diff(ids) < 0)):
            raise ValueError("ids must be unique, and HSC_ids sorted")
        if split is None:
            missing = np.full(len(ids), NO_SPLIT)
            split = missing if header.synthetic else split_of(ids, header.split_salt, header.split_fractions)
        file = self._store.file
        file[header.id_column] = ids
        file["split"] = np.asarray(split, dtype=np.int8)
        _write_table(file, "catalog", _with_ids_first(catalog, header.id_column, ids))
        if matches is not None:
            _write_table(file, "matches", matches)
        self._store.finish(header, provenance or {})


def append_images(store, header, images):
    """Append images [k, band, y, x] by dataset to a `HashedFile`, checking their shape."""
    for name, chunk in images.items():
        if np.ndim(chunk) != 4 or chunk.shape[1] != len(header.bands):
            raise ValueError(f"{name} must be [k, band, y, x] with {len(header.bands)} bands: {np.shape(chunk)}")
        store.append(name, np.ascontiguousarray(chunk, dtype="<f4"))


def _write_table(file, name, table):
    table = _with_shared_units(table)
    table.meta = {}
    table.write(file, format="hdf5", path=name, serialize_meta=True)


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
