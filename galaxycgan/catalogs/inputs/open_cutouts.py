"""Opens the images that convert is given, whatever the files look like."""

import os
from pathlib import Path

from galaxycgan.catalogs.formats.hdf5 import HDF5_MAGIC
from galaxycgan.catalogs.formats.npy import NpyFile, check_file
from galaxycgan.catalogs.inputs.cutout_directories import open_directory
from galaxycgan.catalogs.inputs.cutout_hdf5 import open_hdf5_cutouts
from galaxycgan.catalogs.inputs.cutouts import CutoutSource, SourceMetadata, check_pixels, rows_of_array
from galaxycgan.errors import UserError


class NpyCutouts(CutoutSource):
    """One npy file [n, band, y, x], memory-mapped. It tells nothing but its shape."""

    def __init__(self, path):
        self._array = NpyFile(path, "--images")
        self.path, self.dtype, shape = Path(path), self._array.dtype, self._array.shape
        check_pixels(path, self.dtype)
        if len(shape) != 4:
            raise UserError(f"{path}: images must be [n, band, y, x], these are {list(shape)}")
        self.n, self.shape, self.metadata = shape[0], shape[1:], SourceMetadata(pixels="hsc-asinh")

    def rows(self, index, bands, size):
        return rows_of_array(self._array, index, bands, size)


def open_source(path, *, calibrate, scratch, context):
    """Open a file or directory of cutouts of any known layout and check what can be told without reading all pixels.

    Parameters
    ----------
    path : str or Path
    calibrate : bool
        Whether the pixels shall be scaled by what each image's own header tells (FITS).
    scratch : Path
        Directory for a temporary file, where compressed HDF5 has to be unpacked.
    context : galaxycgan.context.Context

    Returns
    -------
    CutoutSource
    """
    if os.path.isdir(path):
        return open_directory(Path(path), calibrate, context)
    with open(check_file(path, "--images"), "rb") as file:
        start = file.read(len(HDF5_MAGIC))
    if start == HDF5_MAGIC:
        return open_hdf5_cutouts(Path(path), scratch)
    if start.startswith(b"SIMPLE"):
        raise UserError(f"{path}: one FITS file; --images takes a directory of <HSC_id>-cutout-<filter>-*.fits")
    return NpyCutouts(path)
