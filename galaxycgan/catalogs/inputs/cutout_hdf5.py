"""HDF5 files of cutouts in layouts that others publish: GalaxiesML and MultimodalUniverse."""

import os
import tempfile

import numpy as np
import pandas as pd
from astropy import units as u

from galaxycgan.catalogs.formats.hdf5 import datasets, describe_contents, open_hdf5
from galaxycgan.catalogs.formats.npy import FileArray
from galaxycgan.catalogs.inputs.cutouts import CutoutSource, SourceMetadata, check_pixels, rows_of_array
from galaxycgan.catalogs.inputs.file_table import FileTable
from galaxycgan.catalogs.inputs.raw_tables import to_series
from galaxycgan.catalogs.schema.columns import SCHEMA
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.streaming import BLOCK_BYTES
from galaxycgan.images.bands import HSC_FILTERS
from galaxycgan.images.pixel_units import HSC_COUNTS

UNPACK_BYTES = 64 << 20
#: HSC's coadds: AB magnitude of one count, and arcsec per pixel.
HSC_PIXEL_SCALE = 0.168


class Hdf5Array:
    """A dataset [n, ...] of an HDF5 file, read row by row in any order.

    One that lies in one piece is mapped. One in chunks, which may be compressed, is unpacked once to a temporary file
    without a name: rows in the order of ids would unpack each chunk many times over.

    Parameters
    ----------
    path : Path
    dataset : h5py.Dataset
        Of the open file; not kept.
    scratch : Path
        Directory for the temporary file; where there is none, its nearest parent.
    """

    def __init__(self, path, dataset, scratch):
        self.path, self.name, self.scratch = path, dataset.name, scratch
        self.dtype, self.shape = dataset.dtype, dataset.shape
        offset = dataset.id.get_offset()
        self._mapped = None if offset is None else FileArray(path, dataset.dtype, dataset.shape, offset)

    def rows(self, index, cut=()):
        """Return a copy of some rows, as `FileArray.rows` does."""
        if self._mapped is None:
            self._mapped = self._unpack()
        return self._mapped.rows(index, cut)

    def _unpack(self):
        """Copy the dataset, chunk by chunk, to a file that is gone as soon as nobody has it open."""
        size = self.dtype.itemsize * int(np.prod(self.shape))
        # Where it isn't made yet, its parent lies on the same disk.
        scratch = next(place for place in (self.scratch, *self.scratch.absolute().parents) if place.is_dir())
        try:
            file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 (open as long as it is mapped)
            # All room is taken first: a disk that is full under a mapped file kills the process.
            os.posix_fallocate(file.fileno(), 0, max(1, size))
        except OSError as error:
            raise UserError(
                f"{self.path}: {self.name} is stored in chunks and {scratch} has no room to unpack it"
                f" ({size / 1e9:.1f} GB): {os.strerror(error.errno)}"
            ) from None
        with open_hdf5(self.path) as source:
            _copy_chunks(source[self.name], file)
        return FileArray(file, self.dtype, self.shape)


def _copy_chunks(dataset, file):
    """Write a dataset to a file as one piece, reading each chunk once."""
    row_bytes = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    blocks = dataset.iter_chunks() if dataset.chunks else ((slice(k, k + step),) for k in range(0, len(dataset), step))
    mapped, written = None, 0
    for block in blocks:
        if mapped is None or written > UNPACK_BYTES:  # pages that were written count as memory until they are let go
            mapped, written = np.memmap(file, dataset.dtype, "r+", shape=dataset.shape), 0
        piece = dataset[block]
        mapped[block] = piece
        written += piece.nbytes


def open_hdf5_cutouts(path, scratch):
    """Open an HDF5 file of cutouts of a known layout.

    Parameters
    ----------
    path : Path
    scratch : Path
        As of `Hdf5Array`.

    Returns
    -------
    CutoutSource
    """
    with open_hdf5(path) as file:
        for layout in (GalaxiesML, MultimodalUniverse):
            if set(layout.needs) <= set(datasets(file)):
                return layout(path, file, scratch)
        if file.attrs.get("schema") == SCHEMA:
            raise UserError(f"{path}: a galaxycgan store already; galaxycgan info shows what is in it")
        raise UserError(
            f"{path}: an HDF5 file of unknown layout: it has {describe_contents(file)}; known are GalaxiesML"
            f" ({', '.join(GalaxiesML.needs)}) and MultimodalUniverse ({', '.join(MultimodalUniverse.needs)})"
        )


class Hdf5Cutouts(CutoutSource):
    """What both layouts share: images [n, band, y, x], `object_id` [n], and 1-D datasets that are the table."""

    needs = ()

    def __init__(self, path, file, scratch):
        self.path = path
        self._images = Hdf5Array(path, file[self.needs[0]], scratch)
        check_pixels(path, self._images.dtype)
        if len(self._images.shape) != 4 or not self._images.shape[0]:
            raise UserError(f"{path}: {self.needs[0]} must be [n, band, y, x], it is {list(self._images.shape)}")
        self.n, self.dtype, self.shape = self._images.shape[0], self._images.dtype, self._images.shape[1:]

    def _column(self, file, name):
        """Return a 1-D dataset that has a value for each image, or None."""
        dataset = file.get(name)
        if getattr(dataset, "shape", None) == (self.n,):
            return dataset[()]
        if name == "object_id":
            raise UserError(f"{self.path}: object_id has {len(dataset)} values for {self.n} images")
        return None

    def _metadata(self, file, **more):
        """Return `SourceMetadata` with ids and positions from the file."""
        ids = pd.DataFrame({"object_id": to_series(np.ma.asarray(self._column(file, "object_id")))})
        ra, dec = self._column(file, "ra"), self._column(file, "dec")
        known = ra is not None and dec is not None and ra.dtype.kind == dec.dtype.kind == "f"
        positions = {"ra": ra.astype(np.float64), "dec": dec.astype(np.float64)} if known else {}
        return SourceMetadata(
            ids=FileTable(self.path, ids).unique_ids("object_id"), has_table=True, **positions, **more
        )

    def rows(self, index, bands, size):
        return rows_of_array(self._images, index, bands, size)


class GalaxiesML(Hdf5Cutouts):
    """HSC PDR2 cutouts of galaxies with spectroscopic redshifts (Do et al. 2024): g,r,i,z,y in counts."""

    needs = ("image", "object_id")

    def __init__(self, path, file, scratch):
        super().__init__(path, file, scratch)
        bands = tuple(HSC_FILTERS) if self.shape[0] == len(HSC_FILTERS) else ()
        self.metadata = self._metadata(file, bands=bands, pixels=HSC_COUNTS, pixel_scale=HSC_PIXEL_SCALE)


class MultimodalUniverse(Hdf5Cutouts):
    """Cutouts as the Multimodal Universe lays them out, with mask, inverse variance and PSF of each image.

    The inverse variance isn't stored. The mask (true: clean) becomes the column ``masked_fraction``, the PSF of each
    image the columns ``psf_fwhm_<band>``.
    """

    needs = ("image_array", "image_band", "object_id")

    def __init__(self, path, file, scratch):
        super().__init__(path, file, scratch)
        self._ids = to_series(np.ma.asarray(file["object_id"][()]))
        names = self._band_names(file)
        hsc = all(name.startswith("hsc-") for name in names)
        bands = tuple(name.rpartition("-")[2] for name in names)
        self._bands = bands if len(set(bands)) == len(bands) else tuple(name.replace("-", "_") for name in names)
        self._psf = self._per_band(file, "image_psf_fwhm")
        scales = self._per_band(file, "image_scale")
        known = scales[np.isfinite(scales)]
        if len(known) and np.ptp(known) > 1e-5:
            raise UserError(f"{path}: images of several pixel scales (image_scale): convert each to a store of its own")
        self._mask = None
        if getattr(file.get("image_mask"), "shape", None) == self._images.shape:
            self._mask = Hdf5Array(path, file["image_mask"], scratch)
        ivar = "image_ivar" in file
        self.metadata = self._metadata(
            file,
            bands=self._bands,
            pixels=HSC_COUNTS if hsc else "",
            pixel_scale=_median(known),
            psf_fwhm=tuple(_median(values) for values in self._psf.T),
            notes=("image_ivar is not stored",) if ivar else (),
        )

    def _band_names(self, file):
        """Return the names of the bands, which have to be the same for all images."""
        names = np.array([[_text(item) for item in row] for row in np.atleast_2d(file["image_band"][()])])
        if names.shape[1] != self.shape[0]:
            raise UserError(f"{self.path}: image_band has {names.shape[1]} names, the images {self.shape[0]} bands")
        different = np.flatnonzero((names != names[0]).any(axis=1))
        if len(different):
            raise UserError(
                f"{self.path}: {len(different)} images have other bands or another order than the first"
                f" ({', '.join(names[0])}): object_id {first_few(self._ids[different])}"
            )
        return [str(name).lower() for name in names[0]]

    def _per_band(self, file, name):
        """Return a dataset [n, band], [band] or [n] as float64 [n, band]; NaN where it isn't there."""
        values = np.asarray(file[name][()], np.float64) if name in file else np.array(np.nan)
        if values.shape == (self.n,) != (self.shape[0],):
            values = values[:, None]
        try:
            return np.broadcast_to(values, (self.n, self.shape[0]))
        except ValueError:
            raise UserError(f"{self.path}: {name} is {list(values.shape)}, not [n, band]") from None

    def columns(self, bands, size):
        """Return the PSF of each image, and the share of its pixels that the mask doesn't call clean."""
        found = {
            f"psf_fwhm_{self._bands[band]}": (self._psf[:, band], u.arcsec, "PSF FWHM at this object")
            for band in bands
            if np.isfinite(self._psf[:, band]).any()
        }
        if self._mask is not None:
            share = np.empty(self.n)
            step = max(1, BLOCK_BYTES // int(np.prod(self.shape)))
            for start in range(0, self.n, step):
                index = np.arange(start, min(start + step, self.n))
                clean = rows_of_array(self._mask, index, bands, size).astype(bool)
                share[index] = 1 - clean.mean(axis=(1, 2, 3))
            found["masked_fraction"] = (share, None, "share of the image's pixels that are not clean")
        return found


def _text(item):
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)


def _median(values):
    """Return the median of the positive values, NaN where there are none."""
    good = values[np.isfinite(values) & (values > 0)]
    return round(float(np.median(good)), 6) if len(good) else float("nan")
