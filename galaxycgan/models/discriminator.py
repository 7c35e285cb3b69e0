"""The critics: image and labels to scores, higher for images that belong to the data and to these labels."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from galaxycgan.models.blocks import Block, activation, arcsinh, as_float32
from galaxycgan.models.photometer import Photometer

FEATURES = 128
MEASURED = 64


class Projection(nn.Module):
    """Score of features with labels: a linear part, and their product with an embedding of the labels.

    Projection discriminator of Miyato & Koyama (2018, arXiv:1802.05637): the label enters the adversarial score itself,
    so that an image too faint for its mass is as wrong as one that looks like no galaxy.
    """

    def __init__(self, n_features, n_conditions):
        super().__init__()
        # Without a constant: it would cancel in the difference of two scores, and wander.
        self.judge = nn.Linear(n_features, 1, bias=False)
        self.embed = nn.Sequential(nn.Linear(n_conditions, 64), nn.LeakyReLU(0.2), nn.Linear(64, n_features))

    def forward(self, features, conditions):
        """Score features [n, n_features] with standardised labels [n, n_conditions]: float32 [n]."""
        projected = (features * self.embed(conditions)).sum(1) / math.sqrt(features.shape[1])
        return as_float32(self.judge(features)[:, 0] + projected)


class ImageCritic(nn.Module):
    """Residual critic of stretched pixels, on space-to-depth input."""

    def __init__(self, shape):
        super().__init__()
        k, levels = shape.width, shape.plan.levels
        channels = [min(2 + 2 * level, 6) * k for level in range(levels)]
        self.enter = nn.Conv2d(4 * shape.n_bands, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(channels[max(level - 1, 0)], channels[level]) for level in range(levels))
        side = -(-shape.size // 2) // 2 ** (levels - 1)
        self.look = nn.Linear(channels[-1] * side * side, FEATURES)
        self.score = Projection(FEATURES, shape.n_conditions)

    def forward(self, stretched, conditions):
        """Score images [n, band, y, x] with their labels: float32 [n]."""
        if stretched.shape[-1] % 2:
            stretched = F.pad(stretched, (0, 1, 0, 1))
        x = self.enter(F.pixel_unshuffle(stretched, 2).contiguous(memory_format=torch.channels_last))
        for level, block in enumerate(self.blocks):
            if level:
                x = F.avg_pool2d(x, 2)
            x = block(x)
        return self.score(activation(self.look(activation(x).flatten(1))), conditions)


class PhotometricCritic(nn.Module):
    """Critic of what `Photometer` measures."""

    def __init__(self, n_features, n_conditions):
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(n_features, 2 * MEASURED), nn.LeakyReLU(0.2), nn.Linear(2 * MEASURED, MEASURED), nn.LeakyReLU(0.2)
        )
        self.score = Projection(MEASURED, n_conditions)

    def forward(self, measured, conditions):
        """Score measurements [n, n_features] with their labels: float32 [n]."""
        with torch.autocast(measured.device.type, enabled=False):
            return self.score(self.weigh(measured), conditions)


class Discriminator(nn.Module):
    """Two critics with a loss each: one looks at the pixels, one at the photometry.

    In one network, sharing one score, photometry drowned the pixels: fluxes were right soon, but galaxies came out
    round and without neighbours.

    Parameters
    ----------
    shape : NetworkShape
        Sizes.
    """

    def __init__(self, shape):
        super().__init__()
        self.image = ImageCritic(shape)
        self.photometer = Photometer(shape.n_bands, shape.size)
        self.photometric = PhotometricCritic(self.photometer.n_features, shape.n_conditions)
        self.register_buffer("pixel_mean", torch.zeros(shape.n_bands, 1, 1))
        self.register_buffer("pixel_scale", torch.ones(shape.n_bands, 1, 1))

    @torch.no_grad()
    def standardise_on(self, flux):
        """Take the scales of pixels and measurements from real images [n, band, y, x] in flux units."""
        stretched = arcsinh(flux)
        self.pixel_mean.copy_(stretched.mean((0, 2, 3))[:, None, None])
        self.pixel_scale.copy_(stretched.std((0, 2, 3)).clamp_min(1e-6)[:, None, None])
        self.photometer.standardise_on(flux)

    def observe(self, flux):
        """Return what the critics see of linear flux [n, band, y, x]: stretched pixels, and measurements [n, k]."""
        return self.stretched(flux), self.photometer(flux)

    def stretched(self, flux):
        """Return what the image critic sees of linear flux [n, band, y, x]."""
        return (arcsinh(flux) - self.pixel_mean) / self.pixel_scale

    def forward(self, stretched, measured, conditions):
        """Score what `observe` gives with standardised labels [n, n_conditions]: float32 [2, n]."""
        return torch.stack([self.image(stretched, conditions), self.photometric(measured, conditions)])
