"""The noise layer: correlated sky noise and photon noise in linear flux.

Warping single exposures onto a coadd's grid correlates neighbouring pixels; the layer filters white noise with a small
kernel of the symmetry of the square. The noise is added in nJy, so the mean of many draws is the noiseless image.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HALF = 2
#: Index of each kernel element in the list of distinct ones under flips and transposes.
_ORBITS = {tuple(sorted((abs(y), abs(x)))) for y in range(-HALF, HALF + 1) for x in range(-HALF, HALF + 1)}
_ORBIT_INDEX = {orbit: k for k, orbit in enumerate(sorted(_ORBITS))}
_KERNEL_INDEX = torch.tensor(
    [[_ORBIT_INDEX[tuple(sorted((abs(y), abs(x))))] for x in range(-HALF, HALF + 1)] for y in range(-HALF, HALF + 1)]
)


class CorrelatedNoise(nn.Module):
    """Add sky noise of variance ``sky^2`` and photon noise of variance ``gain * flux``, correlated between pixels.

    Parameters
    ----------
    n_bands : int
        Number of bands.
    """

    #: Whether the noise can be another one than the training images'.
    separate = True

    def __init__(self, n_bands):
        super().__init__()
        self.log_sky = nn.Parameter(torch.zeros(n_bands))
        self.log_gain = nn.Parameter(torch.full((n_bands,), -3.0))
        # Measured, not learned: where it makes no difference to the critics it would drift away.
        elements = torch.zeros(n_bands, len(_ORBIT_INDEX))
        elements[:, 0] = 1.0
        self.register_buffer("kernel_elements", elements)
        # Depth varies over a survey, and bands vary together: a matrix on standard normal deviates.
        self.log_depth = nn.Parameter(torch.zeros(n_bands, n_bands))
        # Where the layer is: a step that copied them to a GPU would wait for it.
        self.register_buffer("index", _KERNEL_INDEX, persistent=False)
        self.register_buffer("times", torch.bincount(_KERNEL_INDEX.flatten()).to(elements), persistent=False)

    def kernel(self):
        """Return the filter [band, 1, y, x], normalised to keep the variance of white noise."""
        return self.elements()[:, self.index][:, None]

    def elements(self):
        """Return the distinct elements of the normalised filter [band, k]."""
        return self.kernel_elements / (self.times * self.kernel_elements.square()).sum(1, keepdim=True).sqrt()

    def correlation(self):
        """Return the autocorrelation of the noise [band, 4 HALF + 1, 4 HALF + 1], offsets centred."""
        kernel = self.kernel().double()
        pad = 2 * HALF
        padded = F.pad(kernel, (pad, pad, pad, pad)).transpose(0, 1)
        return F.conv2d(padded, kernel, groups=len(kernel))[0]

    def sigma(self, flux, depth):
        """Return the standard deviation per pixel, in the unit of `flux` [n, band, y, x]."""
        sky = self.sky_sigma(depth)[..., None, None]
        return (sky.square() + self.log_gain.exp()[:, None, None] * flux.clamp_min(0)).sqrt()

    def sky_sigma(self, depth):
        """Return the standard deviation of the sky noise per pixel [n, band]."""
        return (self.log_sky + (depth @ self.log_depth.T).clamp(-2, 2)).exp()

    def forward(self, flux, depth, white):
        """Return `flux` with noise.

        Parameters
        ----------
        flux : tensor [n, band, y, x]
            Noiseless image in units of the layer (see `Generator.flux_unit_njy`).
        depth : tensor [n, band]
            Standard normal deviates.
        white : tensor [n, band, y + 4, x + 4]
            Standard normal deviates; the rim of `HALF` pixels on each side feeds the filter.
        """
        return flux + self.sigma(flux, depth) * self._filter(white)

    def _filter(self, white):
        """Filter white noise [n, band, y, x] without its rim.

        Every plane is a channel with a filter of its own: a convolution that libraries have a fast way for.
        """
        planes = white.flatten(0, 1)[None]
        with torch.autocast(white.device.type, enabled=False):
            filtered = F.conv2d(planes, self.kernel().repeat(len(white), 1, 1, 1), groups=planes.shape[1])
        return filtered.view(*white.shape[:2], *filtered.shape[-2:])

    @torch.no_grad()
    def start_at(self, sky_rms, correlation, log_depth, gain):
        """Start from the noise of the training images; its correlation stays as it is.

        Parameters
        ----------
        sky_rms : array [band]
            Standard deviation per pixel in units of the layer.
        correlation : array [band, 5, 5]
            Measured autocorrelation; its zero-phase square root is the filter.
        log_depth : array [band, band]
            Covariance of the logarithm of the sky noise between images; its square root is the matrix.
        gain : array [band]
            Variance of the photon noise over the flux, in units of the layer.
        """
        self.log_gain.copy_(torch.as_tensor(np.log(gain), dtype=torch.float32))
        values, vectors = np.linalg.eigh(log_depth)
        root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
        self.log_depth.copy_(torch.as_tensor(root, dtype=torch.float32))
        self.log_sky.copy_(torch.as_tensor(np.log(sky_rms), dtype=torch.float32))
        for band, measured in enumerate(correlation):
            power = np.fft.fft2(np.fft.ifftshift(_on_grid(measured, 32))).real
            kernel = np.fft.fftshift(np.fft.ifft2(np.sqrt(np.maximum(power, 1e-3))).real)
            centre = 16
            kernel = kernel[centre - HALF : centre + HALF + 1, centre - HALF : centre + HALF + 1]
            for k in _ORBIT_INDEX.values():
                same = _KERNEL_INDEX.numpy() == k
                self.kernel_elements[band, k] = float(kernel[same].mean() / kernel[HALF, HALF])


def _on_grid(small, size):
    """Put a small centred map into the centre of a larger one."""
    grid = np.zeros((size, size))
    half = small.shape[0] // 2
    grid[size // 2 - half : size // 2 + half + 1, size // 2 - half : size // 2 + half + 1] = small
    return grid
