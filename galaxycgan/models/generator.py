"""The generator: labels and latent numbers to a noiseless galaxy image in linear flux, then noise on top."""

import dataclasses
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from galaxycgan.models.blocks import NOTHING, Block, Resolutions, activation, as_float32, limited
from galaxycgan.models.neighbours import Neighbours, latent_neighbours
from galaxycgan.models.noise import HALF, CorrelatedNoise
from galaxycgan.models.profile import Profile

#: Rises when layers change: weights of another layout are refused by name, not by a failing load.
LAYOUT = 8
#: width: channels per 16; preset sizes hold for a 50-pixel stamp with 3 bands.
PRESETS = {
    "tiny": {"width": 8, "style": 96},  # 0.3 M + 0.3 M parameters
    "base": {"width": 16, "style": 128},  # 1.0 M + 0.7 M
    "large": {"width": 40, "style": 256},  # 5.5 M + 4.4 M
}
LATENT_GLOBAL = 64
LATENT_LOCAL = 4
#: How many of the global ones choose between kinds of galaxies, how sharply, and the range of their thresholds at
#: first: from even odds to one in fifteen.
KINDS, SHARPNESS, FIRST_THRESHOLD = 16, 4.0, 1.5
#: Standard deviation in pixels of the filter that a generator starts with: that of a PSF 2.7 pixels wide.
FILTER_PX = 1.15
#: Standard deviation of the logarithm of its width between images at first; the largest difference: a factor of two.
FILTER_SCATTER, LARGEST_LOG_FILTER = 0.1, 0.7
#: Largest arcsinh-flux that the network can ask for: e^12 softening units are far above any detector's range.
LARGEST_STRETCHED = 12.0


@dataclasses.dataclass(frozen=True)
class NetworkShape:
    """All that is needed to build the networks again."""

    n_bands: int
    size: int
    n_conditions: int
    width: int
    style: int

    @classmethod
    def preset(cls, name, n_bands, size, n_conditions):
        """Shape of a named preset for some data."""
        return cls(n_bands=n_bands, size=size, n_conditions=n_conditions, **PRESETS[name])

    @property
    def plan(self):
        """The resolutions that the network passes through."""
        return Resolutions.for_size(self.size)

    @property
    def latent_size(self):
        """Numbers that make one image: global ones, a coarse map, objects around, seeing and depth by band."""
        return LATENT_GLOBAL + LATENT_LOCAL * self.plan.base**2 + latent_neighbours(self.size) + 2 * self.n_bands

    @property
    def white_shape(self):
        """White noise that one image takes: [band, y, x] with the rim of the noise filter."""
        return (self.n_bands, self.size + 2 * HALF, self.size + 2 * HALF)


def _spline(size, coefficients):
    """Return the weights [size, coefficients] of a cubic B-spline with a knot at every second pixel of a stamp."""
    knots = 2.0 * (np.arange(coefficients) - (coefficients - 1) / 2)
    distance = np.abs((np.arange(size) - (size - 1) / 2)[:, None] - knots) / 2
    near, far = 2 / 3 - distance**2 * (1 - distance / 2), np.maximum(2 - distance, 0) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    # At the stamp's edge the outermost knot is missing.
    return torch.tensor(weights / weights.sum(1, keepdims=True)).to(torch.get_default_dtype())


class GalaxyTypes(nn.Module):
    """Latent numbers that say which of two kinds a galaxy is of, at odds that depend on the labels.

    At a given redshift and mass galaxies are red or blue, few in between, and some kinds are rare. Out of normal
    deviates alone, which have one mode, a network takes long to make two.

    Parameters
    ----------
    n_conditions : int
    """

    def __init__(self, n_conditions):
        super().__init__()
        self.thresholds = nn.Linear(n_conditions, KINDS)
        with torch.no_grad():
            self.thresholds.weight.zero_()
            self.thresholds.bias.copy_(torch.linspace(-FIRST_THRESHOLD, FIRST_THRESHOLD, KINDS))

    def forward(self, latent, conditions):
        """Return numbers between -1 and 1, most of them near either [n, KINDS], for normal deviates [n, KINDS]."""
        return torch.tanh(SHARPNESS * (latent - self.thresholds(conditions)))


class Generator(nn.Module):
    """Image from labels and latent numbers.

    The network draws ``arcsinh(flux / flux_unit)`` at half resolution, which a spline brings to full size and to which
    `Profile` adds the galaxy's smooth part; ``sinh`` makes it linear flux, so that a factor in brightness is a step in
    the network's output. `Neighbours` adds the objects around it. What comes last is a Gaussian filter, narrower than
    the PSF and as wide in each band as it learns to be: no detail is left that no telescope would show. Its width
    differs from image to image, as the seeing does over a survey, by latent numbers of its own, whatever galaxy it is.
    Noise is not drawn by the network: `CorrelatedNoise` adds it to the linear flux.

    Parameters
    ----------
    shape : NetworkShape
        Sizes.

    Attributes
    ----------
    flux_unit_njy : tensor [band]
        One unit of the network's linear flux in nJy: twice the sky noise of the training images.
    """

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        plan, k = shape.plan, shape.width
        channels = [max(6 - 2 * level, 2) * k for level in range(plan.levels)]
        self.kinds = GalaxyTypes(shape.n_conditions)
        self.map = nn.Sequential(
            nn.Linear(LATENT_GLOBAL + shape.n_conditions, shape.style),
            nn.LeakyReLU(0.2),
            nn.Linear(shape.style, shape.style),
            nn.LeakyReLU(0.2),
        )
        self.start = nn.Linear(shape.style, channels[0] * plan.base**2)
        self.surroundings = nn.Conv2d(LATENT_LOCAL, channels[0], 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(
            Block(channels[max(level - 1, 0)], channels[level], style=shape.style) for level in range(plan.levels)
        )
        self.paint = nn.Conv2d(channels[-1], shape.n_bands, 3, padding=1)
        knots = plan.base * 2 ** (plan.levels - 1)
        self.profile = Profile(shape.style, shape.n_bands, shape.size)
        self.neighbours = Neighbours(shape.n_bands, shape.size)
        self.log_filter_px = nn.Parameter(torch.full((shape.n_bands,), math.log(FILTER_PX)))
        # Bands that were observed in the same nights vary together: a matrix on standard normal deviates.
        self.seeing = nn.Parameter(FILTER_SCATTER * torch.eye(shape.n_bands))
        self.register_buffer("spline", _spline(shape.size, knots), persistent=False)
        self.register_buffer("brightest", torch.full((shape.n_bands, 1, 1), LARGEST_STRETCHED))
        self.noise = CorrelatedNoise(shape.n_bands)
        self.register_buffer("flux_unit_njy", torch.ones(shape.n_bands))

    def forward(self, latent, conditions, return_surroundings=False):
        """Return the noiseless image and the numbers that its depth derives from.

        Parameters
        ----------
        latent : tensor [n, latent_size]
            Standard normal deviates.
        conditions : tensor [n, n_conditions]
            Standardised labels.
        return_surroundings : bool
            Whether to tell what of the image is not the galaxy's.

        Returns
        -------
        flux : float32 tensor [n, band, y, x]
            In units of `flux_unit_njy`.
        depth : float32 tensor [n, band]
            Standard normal deviates: how deep the survey is there, whatever galaxy it is.
        surroundings : float32 tensor [n, band, y, x]
            Where asked for: the part of `flux` that is the light of objects around the galaxy.
        """
        base = self.shape.plan.base
        sizes = KINDS, LATENT_GLOBAL - KINDS, LATENT_LOCAL * base**2, latent_neighbours(self.shape.size)
        chosen, others, local, around, seeing, depth = latent.split([*sizes, *2 * [self.shape.n_bands]], 1)
        style = self.map(torch.cat([self.kinds(chosen, conditions), others, conditions], 1))
        local = local.reshape(-1, LATENT_LOCAL, base, base)
        x = self.start(style).view(len(latent), -1, base, base) + self.surroundings(local)
        x = x.contiguous(memory_format=torch.channels_last)
        for level, block in enumerate(self.blocks):
            if level:
                x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = block(x, style)
        # The last convolution in float32: bfloat16 would leave steps of 3% in bright pixels.
        with torch.autocast(x.device.type, enabled=False):
            stretched = self.spline @ self.paint(activation(as_float32(x))) @ self.spline.T
            stretched = stretched + self.profile(as_float32(style))
            stretched = torch.minimum(stretched.clamp_min(-LARGEST_STRETCHED), self.brightest)
            blur = self._filter(as_float32(seeing))
            around = self.neighbours(as_float32(around))
            flux = blur @ (torch.sinh(stretched) + around) @ blur.mT
            return (
                (flux, as_float32(depth), blur @ around @ blur.mT) if return_surroundings else (flux, as_float32(depth))
            )

    def _filter(self, seeing):
        """Return the weights [n, band, size, size] of each image's filter along an axis, for deviates [n, band]."""
        pixel = torch.arange(self.shape.size, device=seeing.device)
        log_px = self.log_filter_px + limited(seeing @ self.seeing.T, LARGEST_LOG_FILTER)
        distance = (pixel[:, None] - pixel) / log_px.exp()[..., None, None]
        return torch.softmax(-(distance.square() / 2).clamp_max(NOTHING), -1)

    def observe(self, flux, depth, white):
        """Add noise to a noiseless image; see `CorrelatedNoise.forward`."""
        with torch.autocast(flux.device.type, enabled=False):
            return self.noise(flux, depth, white)
