"""A survey image on disk: pixels, sky coordinates, zero point, seeing."""

import math
import string
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import NoOverlapError, overlap_slices
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, WcsError
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy.ndimage import fourier_shift

from galaxycgan.errors import UserError
from galaxycgan.files.atomic import atomic_path
from galaxycgan.images.pixel_units import njy_per_count

#: Header keywords that tell a PSF's FWHM in arcsec, a gain in electrons per count, a filter.
PSF_KEYWORDS, GAIN_KEYWORDS, FILTER_KEYWORDS = ("PSFFWHM", "PSF_FWHM", "SEEING"), ("GAIN", "EGAIN"), ("FILTER",)
#: A zero pad for a stamp that is shifted by parts of a pixel, so that nothing comes around.
PAD = 8


class Frame:
    """One image of a FITS file.

    Parameters
    ----------
    path : str or Path
    hdu : str
        Number or name; empty: the first 2-D image.

    Attributes
    ----------
    pixels : float array [y, x]
    wcs : astropy.wcs.WCS or None
        Celestial; None where the header has none, not even alternate ones.
    """

    def __init__(self, path, hdu=""):
        self.path = Path(path)
        try:
            self._hdus = fits.open(self.path, memmap=False)
        except (OSError, ValueError) as error:
            text = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise UserError(f"{self.path}: can't be read as FITS: {text}") from None
        self._at = self._find(hdu)
        self.header = self._hdus[self._at].header
        self.pixels = np.array(self._hdus[self._at].data, dtype=np.float64)
        self.wcs = _sky_coordinates(self.header, self._hdus)

    def _find(self, hdu):
        """Return the number of the HDU."""
        images = [k for k, one in enumerate(self._hdus) if getattr(one, "is_image", False) and one.header["NAXIS"] == 2]
        if not hdu:
            if not images:
                raise UserError(f"{self.path}: has no 2-D image")
            return images[0]
        names = {str(k): k for k in range(len(self._hdus))} | {one.name: k for k, one in enumerate(self._hdus)}
        at = names.get(hdu, names.get(hdu.upper()))
        if at not in images:
            known = ", ".join(f"{k} {self._hdus[k].name}".strip() for k in images)
            raise UserError(f"{self.path}: --hdu {hdu} is no 2-D image; it has {known or 'none'}")
        return at

    def keyword(self, *names):
        """Return the value of the first of some keywords that the image's or the primary header has; else None."""
        for header in (self.header, self._hdus[0].header):
            for name in names:
                if header.get(name) not in (None, ""):
                    return header[name]
        return None

    def _number(self, *names):
        value = self.keyword(*names)
        try:
            return float(value) if value is not None else math.nan
        except (TypeError, ValueError):
            return math.nan

    def counts_per_njy(self, zero_point=""):
        """Return the factor from nJy to the frame's counts.

        Parameters
        ----------
        zero_point : str
            AB magnitude of one count; empty: from FLUXMAG0 (counts of AB 0) or MAGZERO.
        """
        if zero_point:
            scale = njy_per_count(zero_point)
        elif not math.isfinite(scale := njy_per_count(fluxmag0=self.keyword("FLUXMAG0"))):
            scale = njy_per_count(self.keyword("MAGZERO"))
        if not math.isfinite(scale):
            what = f"--zeropoint {zero_point}: not a number" if zero_point else "the header has no FLUXMAG0 or MAGZERO"
            raise UserError(f"{self.path}: {what}; give the AB magnitude of one count: --zeropoint 27.0")
        return 1 / scale

    def gain(self, gain=0.0):
        """Return electrons per count, as given or of the header."""
        value = gain or self._number(*GAIN_KEYWORDS)
        if not 0 < value < math.inf:
            raise UserError(f"{self.path}: --poisson needs the gain: give electrons per count with --gain")
        return value

    def psf_fwhm(self, fwhm=0.0):
        """Return the PSF's FWHM in arcsec, as given or of the header; NaN where it is unknown."""
        return fwhm or self._number(*PSF_KEYWORDS)

    def band(self, bands):
        """Return which of some bands the header's FILTER means, '' where it doesn't say."""
        text = str(self.keyword(*FILTER_KEYWORDS) or "").strip().lower()
        last = text.replace("_", "-").split("-")[-1].rstrip("0123456789")  # HSC-I2, i, r2
        return last if last in bands else ""

    @property
    def pixel_scale(self):
        """Side of a pixel in arcsec, NaN without sky coordinates."""
        return float(np.mean(proj_plane_pixel_scales(self.wcs)) * 3600) if self.wcs is not None else math.nan

    def to_pixels(self, ra, dec):
        """Return x, y [n] of sky positions in degrees; the first pixel's centre is 0."""
        if self.wcs is None:
            raise UserError(f"{self.path}: has no sky coordinates in its header; give positions as x, y")
        return self.wcs.all_world2pix(ra, dec, 0, quiet=True)

    def to_sky(self, x, y):
        """Return ra, dec [n] in degrees, NaN without sky coordinates."""
        if self.wcs is None:
            return np.full(len(x), np.nan), np.full(len(x), np.nan)
        return self.wcs.all_pix2world(x, y, 0)

    def write(self, path, pixels, cards, created):
        """Write the file with other pixels in the image.

        Parameters
        ----------
        path : Path
        pixels : float array [y, x]
            Written as float32, as float64 where the frame is or has integers of 32 bits and more.
        cards : list of (keyword, value, comment)
            Added to the image's header.
        created : str
            Time for the comments of the checksums.
        """
        old = self._hdus[self._at]
        kind = fits.PrimaryHDU if self._at == 0 else fits.ImageHDU
        header = old.header.copy()
        # BLANK is for integers alone: where a pixel had that value it is NaN.
        for name in ("BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM"):
            header.remove(name, ignore_missing=True)
        wide = header["BITPIX"] in (-64, 32, 64)  # float32 holds integers up to 2^24 alone
        new = kind(pixels.astype(np.float64 if wide else np.float32), header=header)
        for keyword, value, comment in cards:
            new.header[keyword] = (value, comment)
        self._hdus[self._at] = new
        self._hdus.update_extend()  # writing does so too, after the checksum
        try:
            new.verify("silentfix")
            new.add_checksum(when=created)
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                self._hdus.writeto(file, output_verify="silentfix+exception")
        except fits.VerifyError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{self.path}: its header is no FITS and can't be mended: {reason}") from None


def _sky_coordinates(header, hdus):
    """Return a header's celestial WCS, the primary or else the first alternate one (key A to Z); None without one."""
    for key in (" ", *string.ascii_uppercase):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)  # a date or unit written otherwise, for each key
                wcs = WCS(header, fobj=hdus, key=key).celestial  # the file, as distortions may lie in other HDUs
        except (KeyError, ValueError, MemoryError, WcsError):  # none of this key, or a broken one
            continue
        if wcs.naxis == 2 and wcs.has_celestial:
            return wcs
    return None


def place(canvas, stamp, x, y):
    """Add a stamp to an image, its centre on a position; what lies outside is left out.

    Parameters
    ----------
    canvas : float array [y, x]
        Changed.
    stamp : float array [y, x]
        Fades to zero at its border.
    x, y : float
        In pixels, the first pixel's centre is 0. Parts of a pixel shift the stamp in Fourier space, which is exact for
        an image that the PSF limits in frequency.

    Returns
    -------
    tuple of slice, float array [y, x]
        Where the light went, and the light there.
    """
    size = stamp.shape[0]
    left, bottom = x - (size - 1) / 2, y - (size - 1) / 2
    column, row = round(left), round(bottom)
    if abs(left - column) > 1e-6 or abs(bottom - row) > 1e-6:
        spectrum = np.fft.fft2(np.pad(stamp, PAD))
        stamp = np.fft.ifft2(fourier_shift(spectrum, (bottom - row, left - column))).real
        column, row, size = column - PAD, row - PAD, size + 2 * PAD
    try:
        # It takes the pixel that holds the middle of the stamp.
        where, part = overlap_slices(canvas.shape, stamp.shape, (row + (size - 1) / 2, column + (size - 1) / 2))
    except NoOverlapError:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0))
    canvas[where] += stamp[part]
    return where, stamp[part]


def aperture_sum(image, x, y, radius, corner=(0, 0)):
    """Sum an image over a circle; pixels that the circle cuts are divided into 5 x 5.

    Parameters
    ----------
    image : array [y, x]
    x, y, radius : float
        In pixels, the first pixel's centre is 0.
    corner : (int, int)
        Row and column of the image's first pixel.
    """
    rows = np.arange(
        max(0, math.floor(y - radius) - corner[0]), min(image.shape[0], math.ceil(y + radius) + 1 - corner[0])
    )
    columns = np.arange(
        max(0, math.floor(x - radius) - corner[1]), min(image.shape[1], math.ceil(x + radius) + 1 - corner[1])
    )
    if not len(rows) or not len(columns):
        return 0.0
    fine = (np.arange(5) - 2) / 5
    dy = (rows[:, None] + corner[0] - y + fine).ravel()
    dx = (columns[:, None] + corner[1] - x + fine).ravel()
    inside = np.hypot(dx, dy[:, None]) <= radius
    share = inside.reshape(len(rows), 5, len(columns), 5).mean(axis=(1, 3))
    return float((image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] * share).sum())
