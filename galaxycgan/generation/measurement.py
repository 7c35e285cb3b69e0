"""What a catalog says of each galaxy beside its labels: photometry of a block of images. Knows no file."""

import numpy as np

from galaxycgan.images.photometry import APERTURE_RADIUS, ab_magnitude, aperture_error, geometry, measure, median


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
    """

    def __init__(self, bands, pixel_scale_arcsec, size, correlation):
        self.bands, self.pixel_scale = bands, pixel_scale_arcsec
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

        The block is measured whole, also where only its first rows are wanted: sums round by the shape of the arrays.

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
        flux, true = seen["flux"], self.flux(block.noiseless) if noisy else seen["flux"]
        error = self.errors(block.sigma) if noisy else np.zeros_like(flux)
        magnitude, magnitude_true = ab_magnitude(flux), ab_magnitude(true)
        by_band = (flux, error, true, magnitude, magnitude_true, seen["sky_rms"])
        values = [stem[:, k] for k in range(len(self.bands)) for stem in by_band]
        values += [seen["r50"] * self.pixel_scale, seen["q"], seen["pa"], seen["conc"]]
        return dict(zip(self.names, values, strict=True))

    def flux(self, images):
        """Return the sky-subtracted aperture flux as `photometry.measure` does, and nothing else: float64 [n, band]."""
        flat = images.reshape(*images.shape[:2], -1)
        sky = median(flat[:, :, self._sky])
        return (flat[:, :, self._inside] - sky[..., None]).sum(axis=2)

    def errors(self, sigma):
        """Return the standard deviation of the aperture flux as `photometry.aperture_error` does: float64 [n, band]."""
        variance = np.square(sigma.reshape(*sigma.shape[:2], -1))
        inside, sky = (variance[:, :, where].mean(axis=2, dtype=np.float64) for where in (self._inside, self._sky))
        return np.sqrt(inside * self._factors[0] + sky * self._factors[1])
