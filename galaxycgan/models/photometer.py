"""Differentiable photometry: what an astronomer would measure on an image, handed to the critic as numbers.

A convolutional critic takes long to notice that fluxes are 5% off or colours a little too narrow, because each pixel is
noisy. Aperture sums average the noise away, so the critic sees it at once. All are linear in flux before a compression.
"""

import math

import torch
from torch import nn

from galaxycgan.images.photometry import STANDARD_SIZE, geometry

APERTURES = (1.5, 3.0, 5.0, 7.0, 9.0, 12.0, 16.0)
MOMENT_WIDTHS = (2.0, 4.0)
SKY_RADIUS = 18.0


def _templates(size):
    """Return weights [n_templates, y, x] and the variance that unit white noise gives to each."""
    shape = geometry(size)
    scale = size / STANDARD_SIZE
    radius = torch.tensor(shape.radius, dtype=torch.float32) / scale
    x, y = (torch.tensor(axis, dtype=torch.float32) / scale for axis in shape.offsets)
    # soft edges: half a pixel wide, so that the sum changes smoothly with the radius
    weights = [torch.sigmoid((aperture - radius) * 4) for aperture in APERTURES]
    for width in MOMENT_WIDTHS:
        bell = torch.exp(-0.5 * (radius / width) ** 2)
        weights += [
            bell,
            bell * (x * x + y * y) / width**2,
            bell * (x * x - y * y) / width**2,
            bell * 2 * x * y / width**2,
        ]
        weights += [bell * x / width, bell * y / width]
    weights = torch.stack(weights)
    return weights


class Photometer(nn.Module):
    """Measure images [n, band, y, x] in units of twice the sky noise; return [n, n_features], compressed by arcsinh.

    Features of each band: seven aperture sums, second and first moments under two Gaussian weights, all in units of
    their own noise; sky level and log of the sky scatter outside r = 18 px.
    """

    def __init__(self, n_bands, size):
        super().__init__()
        weights = _templates(size)
        noise = 0.5 * weights.square().sum((1, 2)).sqrt() * 2  # sky noise is 0.5 units; correlation about doubles it
        self.register_buffer("weights", (weights / noise[:, None, None]).flatten(1).T.contiguous(), persistent=False)
        outside = torch.tensor(geometry(size).radius > SKY_RADIUS * size / STANDARD_SIZE).flatten()
        self.register_buffer("sky", outside.nonzero()[:, 0], persistent=False)
        self.n_features = n_bands * (weights.shape[0] + 2)
        self.register_buffer("mean", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))

    def raw(self, flux):
        """Features before standardisation."""
        pixels = flux.flatten(2).float()
        sums = torch.asinh(pixels @ self.weights)  # [n, band, template]
        sky = torch.tanh(pixels[..., self.sky] / 4) * 4  # neighbours count, but do not drown the noise
        level = sky.mean(-1, keepdim=True)
        scatter = torch.log((sky - level).square().mean(-1, keepdim=True) + 1e-4)
        return torch.cat([sums, level * math.sqrt(len(self.sky)) / 2, scatter], -1).flatten(1)

    @torch.no_grad()
    def standardise_on(self, flux):
        """Take mean and scale of the features from real images."""
        features = self.raw(flux)
        self.mean.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp_min(1e-3))

    def forward(self, flux):
        """Standardised features [n, n_features]."""
        with torch.autocast(flux.device.type, enabled=False):
            return (self.raw(flux.float()) - self.mean) / self.scale
