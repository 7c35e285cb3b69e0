"""Differentiable photometry: what an astronomer would measure on an image, handed to the critic as numbers.

A convolutional critic takes long to notice that fluxes are 5% off or that colours scatter too little, because every
pixel is noisy. Aperture sums average the noise away, and colours and shapes stand out where brightness is divided out.
"""

import torch
from torch import nn

from galaxycgan.images.photometry import STANDARD_SIZE, geometry
from galaxycgan.models.blocks import arcsinh, as_float32, limited

APERTURES_PX = (1.5, 3.0, 5.0, 7.0, 9.0, 12.0, 16.0)
WIDTHS_PX = (2.0, 4.0, 8.0)
#: Under each Gaussian weight: flux, size, two components of the shape, two of the centroid.
MOMENTS = 6
#: Sums over the sectors of these rings: the galaxies around.
RINGS_PX = ((9.0, 15.0), (15.0, 22.0))
SECTORS = 8
#: The three kinds of sums, in this order.
KINDS = (len(APERTURES_PX), len(WIDTHS_PX) * MOMENTS, len(RINGS_PX) * SECTORS)
SKY_RADIUS_PX = 18.0
#: Edges of the bins of the power spectrum, in cycles per pixel.
FREQUENCIES = (0.02, 0.04, 0.06, 0.09, 0.13, 0.18, 0.24, 0.34, 0.5)
#: Added to a ratio's denominator, in units of its noise: the ratio of two noises is no shape.
FAINT = 4.0
#: Shapes much rounder than this are alike: their modulus stays differentiable.
ROUND = 0.02
#: Weights below this are none: far out they would be too small for float32's full precision, at which CPUs are slow.
NO_WEIGHT = 1e-30
#: Variance of the sky noise in a pixel: the unit of flux is twice its standard deviation.
SKY_VARIANCE = 0.25


def _templates(size):
    """Return weights [template, y, x] of the sums, kind by kind as in `KINDS`."""
    shape = geometry(size)
    scale = size / STANDARD_SIZE
    radius, x, y = (torch.tensor(each) / scale for each in (shape.radius, *shape.offsets))
    # Soft edges, half a pixel wide, so that the sums change smoothly.
    weights = [torch.sigmoid((aperture - radius) * 4) for aperture in APERTURES_PX]
    for width in WIDTHS_PX:
        bell = torch.exp(-0.5 * (radius / width) ** 2)
        u, v = x / width, y / width
        weights += [bell * part for part in (torch.ones_like(u), u * u + v * v, u * u - v * v, 2 * u * v, u, v)]
    sector = (torch.atan2(y, x) / (2 * torch.pi) * SECTORS).floor() % SECTORS
    for inner, outer in RINGS_PX:
        ring = torch.sigmoid((radius - inner) * 2) * torch.sigmoid((outer - radius) * 2)
        weights += [ring * (sector == k) for k in range(SECTORS)]
    weights = torch.stack(weights)
    return weights.where(weights.abs() > NO_WEIGHT, 0.0).to(torch.get_default_dtype())


def _power_bins(size, window):
    """Return weights [y * (size // 2 + 1), bin] that average a power spectrum, in units of the sky noise's."""
    y, x = torch.meshgrid(torch.fft.fftfreq(size), torch.fft.rfftfreq(size), indexing="ij")
    frequency = torch.hypot(y, x)
    # A real image's spectrum is stored by half: columns that stand for two count twice.
    times = torch.where((x == 0) | (x == 0.5), 1.0, 2.0)
    bins = [times * ((frequency >= a) & (frequency < b)) for a, b in zip(FREQUENCIES, FREQUENCIES[1:], strict=False)]
    weights = torch.stack([each.flatten() / each.sum().clamp_min(1.0) for each in bins], 1)
    return weights.to(window) / (SKY_VARIANCE * window.square().sum())


class Photometer(nn.Module):
    """Measure images [n, band, y, x] in units of twice the sky noise; return standardised features [n, n_features].

    For each band: aperture sums and Gaussian-weighted moments in units of their own noise, compressed by arcsinh; their
    growth from aperture to aperture; sizes, shapes and centroids; the sums around the galaxy, sorted; level and log
    scatter of the sky; the power spectrum. Between neighbouring bands: the colour in each aperture.
    """

    def __init__(self, n_bands, size):
        super().__init__()
        weights = _templates(size)
        # Its correlation about doubles the noise of a sum.
        noise = 2 * SKY_VARIANCE**0.5 * weights.square().sum((1, 2), keepdim=True).sqrt()
        self.register_buffer("weights", (weights / noise).flatten(1).T.contiguous(), persistent=False)
        outside = torch.tensor(geometry(size).radius > SKY_RADIUS_PX * size / STANDARD_SIZE).flatten()
        self.register_buffer("sky", outside.nonzero()[:, 0], persistent=False)
        line = torch.hann_window(size, periodic=False, dtype=weights.dtype)
        self.register_buffer("window", line[:, None] * line, persistent=False)
        self.register_buffer("power_bins", _power_bins(size, self.window), persistent=False)
        with torch.no_grad():
            self.n_features = self.raw(torch.zeros(1, n_bands, size, size, dtype=weights.dtype)).shape[1]
        self.register_buffer("mean", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))

    def raw(self, flux):
        """Features before standardisation: [n, n_features]."""
        flux = as_float32(flux)
        sums = flux.flatten(2) @ self.weights  # [n, band, template]
        compressed = arcsinh(sums)
        apertures, moments, around = compressed.split(KINDS, -1)
        # Where around the galaxy its neighbours are does not matter, how bright they are does.
        around = around.unflatten(-1, (len(RINGS_PX), SECTORS)).sort(-1).values.flatten(2)
        parts = [apertures, moments, around, apertures.diff(dim=-1), _shapes(sums.split(KINDS, -1)[1])]
        parts += [*self._sky(flux), self._log_power(flux)]
        return torch.cat([torch.cat(parts, -1).flatten(1), apertures.diff(dim=1).flatten(1)], 1)

    def _sky(self, flux):
        """Level of the sky and log of its variance, without and with the light of neighbours: [n, band, 1] each."""
        sky = flux.flatten(2)[..., self.sky]
        calm = limited(sky, 4)  # neighbours count, but do not drown the noise
        level = calm.mean(-1, keepdim=True)
        variances = ((calm - level).square(), sky.square())
        return [level, *(torch.log(each.mean(-1, keepdim=True) + 1e-4) for each in variances)]

    def _log_power(self, flux):
        """Log of the azimuthal power spectrum in units of that of the sky noise [n, band, bin]."""
        spectrum = torch.fft.rfft2(flux * self.window)
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.log(power.flatten(2) @ self.power_bins + 0.1)

    @torch.no_grad()
    def standardise_on(self, flux):
        """Take mean and scale of the features from real images."""
        features = self.raw(flux)
        self.mean.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp_min(1e-3))

    def forward(self, flux):
        """Standardised features [n, n_features], within 8 standard deviations."""
        with torch.autocast(flux.device.type, enabled=False):
            return limited((self.raw(flux) - self.mean) / self.scale, 8)


def _shapes(moments):
    """Size, two components of the shape, its modulus and two of the centroid under each Gaussian weight: [n, band, k].

    How elongated galaxies are is a distribution of the modulus: of isotropic components alone a critic learns it late.
    """
    moments = moments.unflatten(-1, (len(WIDTHS_PX), MOMENTS))
    total, size = moments[..., :1], moments[..., 1:2]
    shape = moments[..., 2:4] / (size.abs() + FAINT)
    modulus = (shape.square().sum(-1, keepdim=True) + ROUND**2).sqrt()
    ratios = (size / (total.abs() + FAINT), shape, modulus, moments[..., 4:] / (total.abs() + FAINT))
    return torch.cat(ratios, -1).flatten(2)
