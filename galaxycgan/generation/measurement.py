"""What a catalog says of each galaxy beside its labels: photometry of a block of images."""

import math

import numpy as np
import torch

from galaxycgan.images.photometry import APERTURE_RADIUS, aperture_error, geometry, measure, median
from galaxycgan.images.pixel_units import ab_magnitude

#: Of the median under noise: after four steps from the plain median it stands still to a ten-thousandth of the noise.
NEWTON_STEPS = 4


def median_under_noise(values, sigma):
    """Return the median [...] of values [..., k] that Gaussian noise [...] is added to: half of the chances lie below.

    Found by Newton's method from their own median; a step is no longer than the noise, so none overshoots.
    """
    found, scale = median(values), sigma * math.sqrt(2)
    noisy = scale > 0
    width = np.where(noisy, scale, 1.0)[..., None]
    for _ in range(NEWTON_STEPS):
        distance = torch.from_numpy((found[..., None] - values) / width)
        excess, slope = torch.erf(distance).mean(-1).numpy(), torch.exp(-distance.square()).mean(-1).numpy()
        step = excess / np.maximum(2 / math.sqrt(math.pi) * slope, 1e-6)
        found = found - np.where(noisy, np.clip(step, -1, 1) * width[..., 0], 0.0)
    return found


class Measurement:
    """Measures blocks of images of one survey.

    Parameters
    ----------
    bands : tuple of str
    pixel_scale_arcsec : float
    size : int
        Side of the images in pixels.
    correlation : array [band, 9, 9]
        Autocorrelation of the noise.
    truth : bool
        Whether the generator tells a galaxy from its noise; else fluxes without it are unknown: NaN.
    """

    def __init__(self, bands, pixel_scale_arcsec, size, correlation, truth=True):
        self.bands, self.pixel_scale, self.truth = bands, pixel_scale_arcsec, truth
        shape = geometry(size)
        masks = shape.within(APERTURE_RADIUS), shape.sky
        self._inside, self._sky = (np.flatnonzero(mask) for mask in masks)
        # `aperture_error` squared is linear in the mean variances of aperture and sky: its factors [2, band].
        alone = [np.broadcast_to(mask.astype(float), (1, len(bands), size, size)) for mask in masks]
        self._factors = np.array([np.square(aperture_error(one, correlation)[0]) for one in alone])

    @property
    def names(self):
        """Names of the measured columns, in order."""
        stems = ("flux", "flux_err", "flux_true", "mag", "mag_true", "sky_rms")
        return (*(f"{stem}_{band}" for band in self.bands for stem in stems), "r50", "q", "pa", "conc")

    def columns(self, block, noisy):
        """Return the measured columns of a block.

        The block is measured whole, also where only its first rows are needed: sums round by the shape of the arrays.

        Parameters
        ----------
        block : galaxycgan.models.painter.Block
        noisy : bool
            Whether its images have noise.

        Returns
        -------
        dict of arrays [64]
        """
        seen = measure(block.images, self.bands)
        flux, true = seen["flux"], self.expected_flux(block.noiseless, block.sigma) if noisy else seen["flux"]
        true = true if self.truth else np.full_like(true, np.nan)
        error = self.errors(block.sigma) if noisy else np.zeros_like(flux)
        magnitude, magnitude_true = ab_magnitude(flux), ab_magnitude(true)
        by_band = (flux, error, true, magnitude, magnitude_true, seen["sky_rms"])
        values = [stem[:, k] for k in range(len(self.bands)) for stem in by_band]
        values += [seen["r50"] * self.pixel_scale, seen["q"], seen["pa"], seen["conc"]]
        return dict(zip(self.names, values, strict=True))

    def expected_flux(self, noiseless, sigma):
        """Return the sky-subtracted aperture flux that `photometry.measure` gives in the mean of many draws of noise.

        The light of neighbours skews the pixels of the sky, and noise moves the median of skewed pixels: towards their
        mean, by as much as 1.6 errors of the flux for HSC-like stamps.

        Parameters
        ----------
        noiseless, sigma : array [n, band, y, x]
            Images, and standard deviation of their noise per pixel.

        Returns
        -------
        float64 array [n, band]
        """
        flat, spread = (each.reshape(*each.shape[:2], -1) for each in (noiseless, sigma))
        sky = median_under_noise(flat[:, :, self._sky], spread[:, :, self._sky].mean(axis=2, dtype=np.float64))
        return (flat[:, :, self._inside] - sky[..., None]).sum(axis=2)

    def errors(self, sigma):
        """Return the standard deviation of the aperture flux as `photometry.aperture_error` does: float64 [n, band]."""
        variance = np.square(sigma.reshape(*sigma.shape[:2], -1))
        inside, sky = (variance[:, :, where].mean(axis=2, dtype=np.float64) for where in (self._inside, self._sky))
        return np.sqrt(inside * self._factors[0] + sky * self._factors[1])
