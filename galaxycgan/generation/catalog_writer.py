"""Writes a synthetic catalog in one pass, its table too: memory stays the same however many galaxies there are."""

import hashlib

import numpy as np

from galaxycgan.catalogs.store.splits import NO_SPLIT
from galaxycgan.catalogs.store.writer import StoreWriter

TABLE, TABLE_META = "catalog", "catalog.__table_column_meta__"


class CatalogWriter(StoreWriter):
    """A `StoreWriter` whose table comes row by row with the images.

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
    ahead : galaxycgan.catalogs.fits_ahead.FitsPixelWriter, optional
        Gets the images too.
    """

    def __init__(self, path, *, n, header, row_format, noiseless=False, ahead=None):
        super().__init__(path, n=n, header=header, noiseless=noiseless)
        self._format, self._ahead, self._at, self._dtypes = row_format, ahead, 0, {}
        self._table_digests = {name: hashlib.sha256() for name in (header.id_column, "split", TABLE)}

    def append_galaxies(self, rows, images, noiseless=None):
        """Add the next galaxies.

        Parameters
        ----------
        rows : structured array [k]
            Of `RowFormat.dtype`.
        images, noiseless : float32 array [k, band, y, x]
            As `StoreWriter.append` takes them; 0 pixels a side where a catalog has no images.
        """
        elsewhere = self._ahead and self._ahead.append(*(images, noiseless)[: len(self._names)])
        self.append(images, noiseless)
        columns = {
            self.header.id_column: rows[self.header.id_column].astype("<i8"),
            "split": np.full(len(rows), NO_SPLIT, np.int8),
            TABLE: rows,
        }
        for name, values in columns.items():
            dataset = self._dataset(name, values)
            # As it will be read back, which is what `verify` hashes.
            values = np.ascontiguousarray(values, dtype=self._dtypes.setdefault(name, dataset.dtype))
            dataset[self._at : self._at + len(rows)] = values
            self._table_digests[name].update(values.view("u1"))
        self._at += len(rows)
        if elsewhere:
            elsewhere.result()

    def finish(self, provenance):
        """Write what is left, the checksums and where the catalog came from (dict of JSON values)."""
        if not self._at == self._rows == self.n:
            raise ValueError(f"{self.n} rows declared, {self._rows} images and {self._at} rows appended")
        self._file[TABLE_META] = self._format.meta
        self._checksums = {name: digest.hexdigest() for name, digest in (self._digests | self._table_digests).items()}
        self._checksums[TABLE_META] = hashlib.sha256(np.ascontiguousarray(self._file[TABLE_META][()])).hexdigest()
        self._write_attributes(provenance)
        self._finished = True
