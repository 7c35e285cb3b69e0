"""Differentiable photometry: what an astronomer would measure on an image, handed to the critic as numbers.

A convolutional critic takes long to notice that fluxes are 5% off or that colours scatter too little, because every
pixel is noisy. Aperture sums average the noise away, and colours and shapes stand out where brightness is divided out.
"""

import torch
from torch import nn

from galaxycgan.images.photometry import STANDARD_SIZE, geometry

APERTURES_PX = (1.5, 3.0, 5.0, 7.0, 9.0, 12.0, 16.0)
WIDTHS_PX = (2.0, 4.0)
SKY_RADIUS_PX = 18.0
#: Under each Gaussian weight: flux, size, two components of the shape, two of the centroid.
MOMENTS = 6
#: Added to a ratio's denominator, in units of its noise: the ratio of two noises is no shape.
FAINT = 4.0


def _templates(size):
    """Return weights [template, y, x] of the sums: apertures, then `MOMENTS` for each Gaussian weight."""
    shape = geometry(size)
    scale = size / STANDARD_SIZE
    radius = torch.tensor(shape.radius, dtype=torch.float32) / scale
    x, y = (torch.tensor(axis, dtype=torch.float32) / scale for axis in shape.offsets)
    # Soft edges, half a pixel wide, so that the sums change smoothly.
    weights = [torch.sigmoid((aperture - radius) * 4) for aperture in APERTURES_PX]
    for width in WIDTHS_PX:
        bell = torch.exp(-0.5 * (radius / width) ** 2)
        u, v = x / width, y / width
        weights += [bell * part for part in (torch.ones_like(u), u * u + v * v, u * u - v * v, 2 * u * v, u, v)]
    return torch.stack(weights)


class Photometer(nn.Module):
    """Measure images [n, band, y, x] in units of twice the sky noise; return standardised features [n, n_features].

    For each band: aperture sums and Gaussian-weighted moments in units of their own noise, compressed by arcsinh; their
    growth from aperture to aperture; sizes, shapes and centroids; level and log scatter of the sky. Between
    neighbouring bands: the colour in each aperture.
    """

    def __init__(self, n_bands, size):
        super().__init__()
        weights = _templates(size)
        # Sky noise is 0.5 units a pixel; its correlation about doubles the noise of a sum.
        noise = weights.square().sum((1, 2), keepdim=True).sqrt()
        self.register_buffer("weights", (weights / noise).flatten(1).T.contiguous(), persistent=False)
        outside = torch.tensor(geometry(size).radius > SKY_RADIUS_PX * size / STANDARD_SIZE).flatten()
        self.register_buffer("sky", outside.nonzero()[:, 0], persistent=False)
        with torch.no_grad():
            self.n_features = self.raw(torch.zeros(1, n_bands, size, size)).shape[1]
        self.register_buffer("mean", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))

    def raw(self, flux):
        """Features before standardisation: [n, n_features]."""
        pixels = flux.flatten(2).float()
        sums = pixels @ self.weights  # [n, band, template]
        compressed = torch.asinh(sums)
        apertures = compressed[..., : len(APERTURES_PX)]
        moments = sums[..., len(APERTURES_PX) :].unflatten(-1, (len(WIDTHS_PX), MOMENTS))
        total, size = moments[..., :1], moments[..., 1:2]
        ratios = [size / (total.abs() + FAINT), moments[..., 2:4] / (size.abs() + FAINT)]
        ratios.append(moments[..., 4:] / (total.abs() + FAINT))
        sky = torch.tanh(pixels[..., self.sky] / 4) * 4  # neighbours count, but do not drown the noise
        level = sky.mean(-1, keepdim=True)
        scatter = torch.log((sky - level).square().mean(-1, keepdim=True) + 1e-4)
        parts = [compressed, apertures.diff(dim=-1), torch.cat(ratios, -1).flatten(2), level, scatter]
        colours = apertures.diff(dim=1).flatten(1)
        return torch.cat([torch.cat(parts, -1).flatten(1), colours], 1)

    @torch.no_grad()
    def standardise_on(self, flux):
        """Take mean and scale of the features from real images."""
        features = self.raw(flux)
        self.mean.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp_min(1e-3))

    def forward(self, flux):
        """Standardised features [n, n_features], within 8 standard deviations."""
        with torch.autocast(flux.device.type, enabled=False):
            return 8 * torch.tanh((self.raw(flux.float()) - self.mean) / self.scale / 8)
