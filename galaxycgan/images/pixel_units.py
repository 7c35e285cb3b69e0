"""Decide the unit of an image's pixels and convert them to nJy; convert AB magnitudes to nJy and back.

HSC "asinh" display units: ``x = (arcsinh(a f s) / arcsinh(a) - u_min) / (u_max - u_min)`` with ``a = e^10``, ``u_min =
-0.05``, ``u_max = 2/3``, and ``f s = 1`` at AB 19.0, which is 91,201 nJy. The zero point of the counts cancels.
"""

import dataclasses
import math

import numpy as np

from galaxycgan.errors import UserError, first_few

#: AB magnitude of 1 nJy: -2.5 log10(1e-9 Jy / 3631 Jy) = 31.4.
AB_ZERO_POINT_NJY = 31.4
#: Counts of HSC coadds: AB magnitude of one count is 27.0 (Aihara et al. 2018, PASJ 70, S8).
HSC_COUNTS = "counts:27.0"
#: Display units lie near 0 to 1. Larger numbers than this are something else.
ASINH_LIMIT = 3.0

SOFTENING = math.exp(10.0)
U_MIN, U_MAX = -0.05, 2.0 / 3.0


def flux_njy(mag):
    """Convert AB magnitudes to nJy (Oke & Gunn 1983): of a zero point, the flux of one count."""
    return 10.0 ** (0.4 * (AB_ZERO_POINT_NJY - mag))


def ab_magnitude(flux_njy):
    """Return AB magnitudes of fluxes in nJy (Oke & Gunn 1983); NaN where the flux is not positive."""
    flux = np.asarray(flux_njy, dtype=np.float64)
    return AB_ZERO_POINT_NJY - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))


def asinh_magnitude(flux_njy, softening_njy):
    """Return asinh magnitudes (Lupton, Gunn & Szalay 1999, AJ 118, 1406): defined for negative flux too.

    Parameters
    ----------
    flux_njy : array
        Flux in nJy.
    softening_njy : float or array
        Flux scale b of the linear part, about the noise of the flux: at ``flux >> b`` this is the AB magnitude.
    """
    ratio = np.asarray(flux_njy) / (2 * softening_njy)
    return AB_ZERO_POINT_NJY - 2.5 / np.log(10) * (np.arcsinh(ratio) + np.log(softening_njy))


def njy_per_count(zero_point=None, fluxmag0=None):
    """Return nJy per count; NaN where the value is not a usable number.

    Parameters
    ----------
    zero_point : float or str
        AB magnitude of one count (header keyword MAGZERO).
    fluxmag0 : float or str
        Counts of AB magnitude 0, which wins over `zero_point` (header keyword FLUXMAG0).
    """
    try:
        scale = flux_njy(0.0) / float(fluxmag0) if fluxmag0 is not None else flux_njy(float(zero_point))
    except (TypeError, ValueError, ArithmeticError):
        return math.nan
    return scale if 0 < scale < math.inf else math.nan


FLUX_AT_AB19_NJY = flux_njy(19.0)


def hsc_asinh_to_njy(pixels):
    """Invert the HSC asinh display stretch.

    Parameters
    ----------
    pixels : array, any shape
        Display units.

    Returns
    -------
    array, same shape and dtype
        Flux per pixel in nJy.
    """
    scaled = np.multiply(pixels, math.asinh(SOFTENING) * (U_MAX - U_MIN))
    scaled += math.asinh(SOFTENING) * U_MIN
    np.sinh(scaled, out=scaled)
    scaled *= FLUX_AT_AB19_NJY / SOFTENING
    return scaled


def njy_to_hsc_asinh(flux):
    """Apply the HSC asinh display stretch to flux in nJy: the inverse of `hsc_asinh_to_njy`."""
    u = np.arcsinh(np.multiply(flux, SOFTENING / FLUX_AT_AB19_NJY)) / math.asinh(SOFTENING)
    return (u - U_MIN) / (U_MAX - U_MIN)


@dataclasses.dataclass(frozen=True)
class PixelScheme:
    """What the numbers in an input image are.

    Attributes
    ----------
    name : str
        'hsc-asinh', 'nJy', 'counts' or 'raw'.
    zero_point : float
        AB magnitude of one count, for 'counts'.
    """

    name: str
    zero_point: float = math.nan

    @classmethod
    def parse(cls, text):
        """Read ``hsc-asinh``, ``nJy``, ``counts:27.0`` or ``raw``."""
        name, _, value = text.partition(":")
        if name in ("hsc-asinh", "nJy", "raw") and not value:
            return cls(name)
        if name == "counts":
            try:
                zero_point = float(value)
            except ValueError:
                zero_point = math.nan
            if math.isfinite(zero_point):
                return cls(name, zero_point)
        raise UserError(f"--pixels {text}: must be one of hsc-asinh, nJy, counts:ZP (such as counts:27.0), raw")

    @classmethod
    def choose(cls, option, found, path):
        """Return the scheme that the user's option names, else the one that the image files name.

        Parameters
        ----------
        option : str
            Of `--pixels`; empty where it was not given.
        found : str
            What the files say, in the same words; empty where they say nothing.
        path : str or Path
            Of the files, for the message.

        Raises
        ------
        UserError
            Where neither says anything, or the words mean nothing.
        """
        if not option and not found:
            raise UserError(f"{path}: the files don't say what the pixels are; give --pixels, such as counts:27.0")
        return cls.parse(option or found)

    @property
    def unit(self):
        """Unit of the converted pixels: 'nJy', or 'adu' where nothing is known."""
        return "adu" if self.name == "raw" else "nJy"

    @property
    def nominal_zero_point(self):
        """AB magnitude of 1 in the converted pixels' scale: of one count, or of 1 nJy for all other schemes."""
        return self.zero_point if self.name == "counts" else AB_ZERO_POINT_NJY

    def check_type(self, dtype, path):
        """Refuse numbers of a type that this scheme never has: display units are fractions."""
        if self.name == "hsc-asinh" and dtype.kind != "f":
            raise UserError(f"{path}: {dtype} pixels can't be hsc-asinh display units; see --pixels")

    def check_range(self, pixels, ids, path):
        """Refuse numbers that can't be display units: the wrong --pixels would give fluxes beyond any star.

        Parameters
        ----------
        pixels : array [n, band, y, x]
        ids : array [n]
            For the message.
        path : str or Path
            For the message.
        """
        # Two quick passes for the usual case; NaN fails them and is looked at below.
        if self.name != "hsc-asinh" or (pixels.min() >= -ASINH_LIMIT and pixels.max() <= ASINH_LIMIT):
            return
        size = np.abs(pixels)
        wrong = ((size > ASINH_LIMIT) & np.isfinite(size)).any(axis=(1, 2, 3))
        if wrong.any():
            raise UserError(
                f"{path}: pixels as large as {size[wrong][np.isfinite(size[wrong])].max():.4g} (HSC_id"
                f" {first_few(ids[wrong])}) are not hsc-asinh display units, which lie near 0 to 1; see --pixels"
            )

    def convert(self, pixels):
        """Convert pixels of this scheme to `unit`; the dtype stays."""
        if self.name == "hsc-asinh":
            return hsc_asinh_to_njy(pixels)
        if self.name == "counts":
            return pixels * np.asarray(flux_njy(self.zero_point), dtype=pixels.dtype)
        return pixels
