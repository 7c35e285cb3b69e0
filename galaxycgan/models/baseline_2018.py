"""The networks of 2018 that this package is measured against: labels in, noisy pixels out.

A generator of 100 latent numbers and the labels, through two dense layers to a 16 x 16 map and by bilinear resizing and
two convolutions to the stamp, in display units. A critic that *predicts the labels* of an image in one head and tells
real from generated in another, by minibatch discrimination (Salimans et al. 2016, arXiv:1606.03498, section 3.2).
"""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn

from galaxycgan.images.pixel_units import FLUX_AT_AB19_NJY, SOFTENING, U_MAX, U_MIN
from galaxycgan.models.blocks import activation, arcsinh, as_float32, same_padded
from galaxycgan.models.noise import HALF

LATENT = 100
KERNELS, KERNEL_SIZE = 128, 5
#: The map's side is this share of the stamp's, on the way half as large again.
START, BETWEEN = 16 / 50, 32 / 50


@dataclasses.dataclass(frozen=True)
class AncestorShape:
    """All that is needed to build the networks again; has the interface of `generator.NetworkShape`."""

    n_bands: int
    size: int
    n_conditions: int

    latent_size = LATENT
    #: No white noise is asked for: the least that can be drawn.
    white_shape = (1, 1, 1)

    @classmethod
    def preset(cls, name, n_bands, size, n_conditions):
        """Shape for some data; there is one size of these networks, whatever the preset."""
        return cls(n_bands, size, n_conditions)


class DrawnNoise(nn.Module):
    """Stands where a noise layer does: this network draws the noise itself, as strong as in the training images."""

    separate = False

    def __init__(self, n_bands):
        super().__init__()
        self.n_bands = n_bands

    def forward(self, flux, depth, white):
        """Return `flux` as it is."""
        return flux

    def sigma(self, flux, depth):
        """Return half a flux unit: the sky noise of the training images."""
        return torch.full_like(flux, 0.5)

    def correlation(self):
        """Return that of white noise [band, 9, 9]."""
        side = 4 * HALF + 1
        delta = torch.zeros(self.n_bands, side, side, dtype=torch.float64)
        delta[:, side // 2, side // 2] = 1.0
        return delta


class AncestorGenerator(nn.Module):
    """Image with its noise from labels and latent numbers; has the interface of `generator.Generator`.

    Parameters
    ----------
    shape : AncestorShape
    """

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        side = self.side = round(START * shape.size)
        self.dense = nn.Sequential(
            nn.Linear(LATENT + shape.n_conditions, 1024),
            nn.BatchNorm1d(1024),
            nn.ReLU(),
            nn.Linear(1024, 128 * side * side),
            nn.BatchNorm1d(128 * side * side),
            nn.ReLU(),
        )
        self.widen = nn.Sequential(nn.Conv2d(128, 64, 4), nn.BatchNorm2d(64), nn.ReLU())
        self.paint = nn.Conv2d(64, shape.n_bands, 4)
        self.noise = DrawnNoise(shape.n_bands)
        self.register_buffer("flux_unit_njy", torch.ones(shape.n_bands))

    def pixels(self, latent, conditions):
        """Return images in HSC asinh display units [n, band, y, x]."""
        x = self.dense(torch.cat([latent, conditions], 1)).view(len(latent), 128, self.side, self.side)
        x = self.widen(_enlarged(x, round(BETWEEN * self.shape.size)))
        return as_float32(self.paint(_enlarged(x, self.shape.size)))

    def forward(self, latent, conditions):
        """Return the image in units of `flux_unit_njy`, noise and all, and no depth [n, 0]."""
        flux = to_njy(self.pixels(latent, conditions)) / self.flux_unit_njy[:, None, None]
        return flux, latent[:, :0]

    def observe(self, flux, depth, white):
        """Return `flux`: the noise is in it already."""
        return self.noise(flux, depth, white)


class AncestorCritic(nn.Module):
    """Labels of images, and how real they look beside the others of their batch."""

    def __init__(self, shape):
        super().__init__()
        side = (shape.size + 3) // 4  # halved twice, rounded up
        self.look = nn.ModuleList([nn.Conv2d(shape.n_bands, 64, 4, stride=2), nn.Conv2d(64, 128, 4, stride=2)])
        self.normalise = nn.BatchNorm2d(128)
        self.dense = nn.Sequential(nn.Linear(128 * side * side, 1024), nn.BatchNorm1d(1024), nn.LeakyReLU(0.2))
        self.labels = nn.Linear(1024, shape.n_conditions)
        self.kernels = nn.Linear(128 * side * side, KERNELS * KERNEL_SIZE, bias=False)
        self.judge = nn.Linear(KERNELS, 1)

    def forward(self, pixels):
        """Return predicted labels [n, n_conditions] and the logit that an image is real [n]."""
        x = activation(self.look[0](_same(pixels)))
        x = activation(self.normalise(self.look[1](_same(x)))).flatten(1)
        kernels = as_float32(self.kernels(x)).view(len(x), KERNELS, KERNEL_SIZE)
        distance = (kernels[:, None] - kernels[None]).abs().sum(-1)  # [n, n, kernel]
        alike = torch.exp(-distance).sum(1) - 1  # an image is not counted as its own neighbour
        return as_float32(self.labels(self.dense(x))), as_float32(self.judge(alike)[:, 0])


def _enlarged(x, size):
    """Interpolate to so many pixels a side, and pad for a convolution of 4 that keeps them."""
    return same_padded(F.interpolate(x, size=size, mode="bilinear"), 4)


def _same(x):
    """Pad for a convolution of 4 pixels and stride 2, so that half the side, rounded up, comes out."""
    total = 2 * (-(-x.shape[-1] // 2) - 1) + 4 - x.shape[-1]
    return F.pad(x, (total // 2, total - total // 2) * 2)


def to_njy(pixels):
    """Invert the display stretch, see `images.pixel_units`; display units beyond any star's are cut off."""
    scaled = (pixels.clamp(-1, 3) * (U_MAX - U_MIN) + U_MIN) * math.asinh(SOFTENING)
    return torch.sinh(scaled) * (FLUX_AT_AB19_NJY / SOFTENING)


def to_display(flux_njy):
    """Apply the display stretch: the inverse of `to_njy`."""
    return (arcsinh(flux_njy * (SOFTENING / FLUX_AT_AB19_NJY)) / math.asinh(SOFTENING) - U_MIN) / (U_MAX - U_MIN)
