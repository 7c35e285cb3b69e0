"""Writes a synthetic catalog in one pass, its table too: memory stays the same however many galaxies there are."""

import numpy as np

from galaxycgan.catalogs.store.hashed_file import HashedFile
from galaxycgan.catalogs.store.splits import NO_SPLIT
from galaxycgan.catalogs.store.table_width import TABLE, TABLE_META
from galaxycgan.catalogs.store.writer import append_images


class CatalogWriter:
    """Write a catalog's store whose table comes row by row with the images; a context manager.

    The file is what `StoreWriter` makes of the same content, and `GalaxyStore` reads it.

    Parameters
    ----------
    path : str or Path
    n : int
        Number of galaxies that will be appended.
    header : StoreHeader
    row_format : RowFormat
    noiseless : bool
        Whether noiseless images come with the images.
    ahead : galaxycgan.catalogs.export.fits_ahead.FitsPixelWriter, optional
        Gets the images too.
    """

    def __init__(self, path, *, n, header, row_format, noiseless=False, ahead=None):
        self.n, self.header, self._format, self._ahead = n, header, row_format, ahead
        self._names = ("images", "noiseless") if noiseless else ("images",)
        self._store = HashedFile(path, n)

    def __enter__(self):
        self._store.__enter__()
        return self

    def __exit__(self, *error):
        return self._store.__exit__(*error)

    def append_galaxies(self, rows, images, noiseless=None):
        """Add the next galaxies.

        Parameters
        ----------
        rows : structured array [k]
            Of `RowFormat.dtype`.
        images, noiseless : float32 array [k, band, y, x]
            As `StoreWriter.append` takes them; 0 pixels a side where a catalog has no images.
        """
        parts = dict(zip(self._names, (images, noiseless), strict=False))
        elsewhere = self._ahead and self._ahead.append(*parts.values())
        append_images(self._store, self.header, parts)
        self._store.append(self.header.id_column, rows[self.header.id_column].astype("<i8"))
        self._store.append("split", np.full(len(rows), NO_SPLIT, np.int8))
        self._store.append(TABLE, rows)
        if elsewhere:
            elsewhere.result()

    def finish(self, provenance):
        """Write what is left, the checksums and where the catalog came from (dict of JSON values)."""
        appended = self._store.rows
        if set(appended.values()) != {self.n}:
            raise ValueError(f"{self.n} rows declared, appended were {appended}")
        self._store.file[TABLE_META] = self._format.meta
        self._store.finish(self.header, provenance)
