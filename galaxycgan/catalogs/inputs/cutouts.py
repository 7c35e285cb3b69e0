"""Where convert gets its images from, whatever the files look like: what a source tells and how it is read.

The sources are in `cutout_directories`, `cutout_hdf5` and `open_cutouts`, which chooses among them.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from galaxycgan.errors import UserError
from galaxycgan.files.atomic import file_record


@dataclass(frozen=True)
class SourceMetadata:
    """What files of cutouts tell of themselves; what they don't is None, empty or NaN.

    Attributes
    ----------
    ids : int64 array [n] or None
    ra, dec : float64 array [n] or None
        Degrees, ICRS; NaN where an image tells none.
    bands, filters : tuple of str
    pixels : str
        What the numbers are, as `--pixels` says it.
    pixel_scale : float
        arcsec per pixel.
    psf_fwhm : tuple of float [band]
        arcsec.
    has_table : bool
        Whether the file holds the survey table too.
    notes : tuple of str
        What else was found, such as files that were ignored.
    """

    ids: np.ndarray | None = None
    ra: np.ndarray | None = None
    dec: np.ndarray | None = None
    bands: tuple = ()
    filters: tuple = ()
    pixels: str = ""
    pixel_scale: float = math.nan
    psf_fwhm: tuple = ()
    has_table: bool = False
    notes: tuple = ()


class CutoutSource(ABC):
    """Base of the sources of images.

    Attributes
    ----------
    path : Path
        As the user gave it.
    n : int
        Number of images.
    shape : tuple of int
        (band, y, x) of each image, the smallest where they differ.
    dtype : numpy.dtype
    metadata : SourceMetadata
    """

    @abstractmethod
    def rows(self, index, bands, size):
        """Read images.

        Parameters
        ----------
        index : int array [k]
        bands : list of int
        size : int
            Side of the central square that is cut out, see `central`.

        Returns
        -------
        array [k, band, size, size]
        """

    def check_size(self, size):
        """Refuse a size that can't be cut out of every image; 0 is the images' own."""
        height, width = self.shape[1:]
        if height != width and not size:
            raise UserError(
                f"{self.path}: images must be square, these are {height}x{width} pixels; --size"
                f" {min(height, width)} cuts them about the centre"
            )
        if not 0 <= size <= min(height, width):
            raise UserError(f"--size {size}: {self.path} has images of {height}x{width} pixels")

    def incomplete(self, bands):
        """Return which images lack one of the bands, bool [n]."""
        return np.zeros(self.n, bool)

    def columns(self, bands, size):
        """Return what the source tells of each image beside its pixels: {column: (array [n], unit or None, text)}."""
        return {}

    def provenance(self):
        """Return what identifies the content: file name, bytes and sha256."""
        return file_record(self.path)


class Cutouts:
    """The images of a source in the bands and of the size that were asked for.

    Attributes
    ----------
    n, dtype
        As of a `CutoutSource`.
    shape : tuple of int
        (band, y, x).
    incomplete : bool array [n]
        Images that lack a band.
    """

    def __init__(self, source, bands, size):
        self.source, self._bands, self.size = source, list(bands), size
        self.n, self.dtype = source.n, source.dtype
        self.shape = (len(self._bands), size, size)
        self.incomplete = source.incomplete(self._bands)

    def rows(self, index):
        """Return images as an array [k, band, y, x]."""
        return self.source.rows(index, self._bands, self.size)

    def columns(self):
        """Return {column: (array [n], unit or None, text)}."""
        return self.source.columns(self._bands, self.size)


def central(length, size):
    """Return the slice of `size` pixels about the centre of an axis of `length` pixels.

    Pixel ``length // 2``, counted from 0, becomes pixel ``size // 2``. So the centre stays where both are even or both
    odd, and moves by half a pixel otherwise.
    """
    start = length // 2 - size // 2
    return slice(start, start + size)


def rows_of_array(array, index, bands, size):
    """Read rows of a `FileArray` [n, band, y, x] in some bands, cut about the centre."""
    _, n_bands, height, width = array.shape
    images = array.rows(index, (slice(None), central(height, size), central(width, size)))
    return images if bands == list(range(n_bands)) else images[:, bands]


def check_pixels(path, dtype):
    """Refuse pixels that are no real numbers."""
    if dtype.kind not in "fiu":
        raise UserError(f"{path}: pixels must be real numbers, these are {dtype}")
