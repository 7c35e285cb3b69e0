"""The sky noise of training images: where the noise layer starts from."""

import numpy as np

from galaxycgan.images.photometry import geometry, noise_autocorrelation


def noise_of(images):
    """Measure the sky noise of images.

    Parameters
    ----------
    images : array [n, band, y, x]
        Flux per pixel.

    Returns
    -------
    sky_rms : array [band]
        Median over images of the robust standard deviation at r > 22 px (scaled); never zero.
    correlation : array [band, 5, 5]
        Autocorrelation of the sky noise.
    """
    sky = images[:, :, geometry(images.shape[-1]).sky]
    middle = np.median(sky, axis=2, keepdims=True)
    robust = 1.4826 * np.median(np.median(np.abs(sky - middle), axis=2), axis=0)
    # Images that were clipped at zero can have a median deviation of zero: their faint half still has a spread.
    plain = np.median(np.std(np.minimum(sky, np.quantile(sky, 0.8, axis=2, keepdims=True)), axis=2), axis=0)
    floor = 1e-3 * images.std(axis=(0, 2, 3)) + 1e-12
    rms = np.maximum(np.where(robust > 0.3 * plain, robust, plain), floor)
    correlation = np.nan_to_num(noise_autocorrelation(images), nan=0.0)
    correlation[:, 2, 2] = 1.0
    return rms.astype(np.float64), np.clip(correlation, -0.3, 1.0)
