"""The critic: image and labels to one number, higher for images that belong to the data and to these labels."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from galaxycgan.models.blocks import Block, activation
from galaxycgan.models.photometer import Photometer

FEATURES = 128
MEASURED = 64


class Discriminator(nn.Module):
    """Residual critic with label projection (Miyato & Koyama 2018, arXiv:1802.05637).

    The label enters the adversarial score itself: an image that is too faint for its mass is as wrong as one that looks
    like no galaxy. Pixels come as ``arcsinh(flux / flux_unit)``, standardised, space-to-depth; beside them comes what
    `Photometer` measures on the linear flux.

    Parameters
    ----------
    shape : NetworkShape
        Sizes.
    """

    def __init__(self, shape):
        super().__init__()
        k, levels = shape.width, shape.plan.levels
        channels = [min(2 + 2 * level, 6) * k for level in range(levels)]
        self.enter = nn.Conv2d(4 * shape.n_bands, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(channels[max(level - 1, 0)], channels[level]) for level in range(levels))
        side = -(-shape.size // 2)
        for _ in range(levels - 1):
            side //= 2
        self.look = nn.Linear(channels[-1] * side * side, FEATURES)
        self.photometer = Photometer(shape.n_bands, shape.size)
        self.weigh = nn.Sequential(
            nn.Linear(self.photometer.n_features, 2 * MEASURED),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * MEASURED, MEASURED),
            nn.LeakyReLU(0.2),
        )
        self.embed = nn.Sequential(
            nn.Linear(shape.n_conditions, MEASURED), nn.LeakyReLU(0.2), nn.Linear(MEASURED, FEATURES + MEASURED)
        )
        self.judge = nn.Linear(FEATURES + MEASURED, 1)
        self.register_buffer("pixel_mean", torch.zeros(shape.n_bands, 1, 1))
        self.register_buffer("pixel_scale", torch.ones(shape.n_bands, 1, 1))

    @torch.no_grad()
    def standardise_on(self, flux):
        """Take the scales of pixels and measurements from real images [n, band, y, x] in flux units."""
        stretched = torch.asinh(flux)
        self.pixel_mean.copy_(stretched.mean((0, 2, 3))[:, None, None])
        self.pixel_scale.copy_(stretched.std((0, 2, 3))[:, None, None])
        self.photometer.standardise_on(flux)

    def stretch(self, flux):
        """Return what the critic sees of linear flux: the stretched, standardised pixels."""
        return (torch.asinh(flux) - self.pixel_mean) / self.pixel_scale

    def forward(self, stretched, conditions):
        """Score stretched images [n, band, y, x] with their standardised labels [n, n_conditions]: float32 [n]."""
        measured = self.photometer(torch.sinh(stretched.float() * self.pixel_scale + self.pixel_mean))
        if stretched.shape[-1] % 2:
            stretched = F.pad(stretched, (0, 1, 0, 1))
        x = self.enter(F.pixel_unshuffle(stretched, 2).contiguous(memory_format=torch.channels_last))
        for level, block in enumerate(self.blocks):
            if level:
                x = F.avg_pool2d(x, 2)
            x = block(x)
        features = torch.cat([activation(self.look(activation(x).flatten(1))), self.weigh(measured)], 1)
        projected = (features * self.embed(conditions)).sum(1) / math.sqrt(FEATURES + MEASURED)
        return (self.judge(features)[:, 0] + projected).float()
