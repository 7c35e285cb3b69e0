"""From the pixels of survey files to nJy and back. Knows no catalog.

HSC "asinh" display units: ``x = (arcsinh(a f s) / arcsinh(a) - u_min) / (u_max - u_min)`` with ``a = e^10``, ``u_min =
-0.05``, ``u_max = 2/3``, and ``f s = 1`` at AB 19.0, which is 91,201 nJy. The zero point of the counts cancels.
"""

import dataclasses
import math

import numpy as np

from galaxycgan.errors import UserError
from galaxycgan.images.bands import AB_ZERO_POINT_NJY

SOFTENING = math.exp(10.0)
U_MIN, U_MAX = -0.05, 2.0 / 3.0
FLUX_AT_AB19_NJY = 10.0 ** (0.4 * (AB_ZERO_POINT_NJY - 19.0))


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

    @property
    def unit(self):
        """Unit of the converted pixels: 'nJy', or 'adu' where nothing is known."""
        return "adu" if self.name == "raw" else "nJy"

    def convert(self, pixels):
        """Convert pixels of this scheme to `unit`; the dtype stays."""
        if self.name == "hsc-asinh":
            return hsc_asinh_to_njy(pixels)
        if self.name == "counts":
            return pixels * np.asarray(10.0 ** (0.4 * (AB_ZERO_POINT_NJY - self.zero_point)), dtype=pixels.dtype)
        return pixels
