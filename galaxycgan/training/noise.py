"""The sky noise of training images: where the noise layer starts from."""

import numpy as np

from galaxycgan.images.photometry import geometry, noise_autocorrelation

#: Edges of the brightness, in sky noise per pixel, at which photon noise is looked for, and the pixels that it takes.
BRIGHT_SIGMA = (8.0, 16.0, 32.0, 64.0)
FEWEST_PIXELS = 500
SMALLEST_GAIN = 1e-5
#: Of the median of squared normal deviates, relative, times the square root of their number; neighbours are correlated.
MEDIAN_ERROR = 3.0


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
    log_depth : array [band, band]
        Covariance of the logarithm of the sky noise between images.
    gain : array [band]
        Variance of the photon noise over the flux per pixel, in the unit of the images.
    """
    sky = images[:, :, geometry(images.shape[-1]).sky]
    middle = np.median(sky, axis=2, keepdims=True)
    robust = 1.4826 * np.median(np.median(np.abs(sky - middle), axis=2), axis=0)
    # Images that were clipped at zero can have a median deviation of zero: their faint half still has a spread.
    plain = np.median(np.std(np.minimum(sky, np.quantile(sky, 0.8, axis=2, keepdims=True)), axis=2), axis=0)
    spread = images.std(axis=(0, 2, 3))
    floor = np.where(spread > 0, 1e-3 * spread, 1e-12)
    rms = np.maximum(np.where(robust > 0.3 * plain, robust, plain), floor)
    with np.errstate(invalid="ignore"):
        correlation = np.nan_to_num(noise_autocorrelation(images), nan=0.0)
    correlation[:, 2, 2] = 1.0
    correlation, log_depth = np.clip(correlation, -0.3, 1.0), log_depth_covariance(images)
    if np.any(np.abs(np.median(middle, axis=0)[:, 0]) > rms):  # raw pixels on a sky that nobody has taken off
        images = images - middle[..., None]
    gain = photon_gain(images, rms)
    return rms.astype(np.float64), correlation, log_depth, gain


def photon_gain(images, rms):
    """Measure how the variance of the noise rises with the flux.

    Second differences along both axes see next to nothing of what a PSF has smoothed. Their squares are compared
    between bright and empty pixels; what they do see of the light only adds, so the smallest ratio of several
    brightnesses is taken, each with its error, lest the noisiest one be chosen.

    Parameters
    ----------
    images : array [n, band, y, x]
    rms : array [band]
        Sky noise per pixel.

    Returns
    -------
    array [band]
        In the unit of the images; nearly zero where no pixel is bright enough to tell.
    """
    gains = []
    for band, sigma in enumerate(rms):
        pixels = images[:, band] / sigma
        rough = np.square(_along_both_axes(pixels, (1, -2, 1)))
        level = _along_both_axes(pixels, (0.25, 0.5, 0.25))
        faint = rough[np.abs(level) < 1]
        empty = np.median(faint) if len(faint) else np.nan
        slopes = []
        for low, high in zip(BRIGHT_SIGMA, BRIGHT_SIGMA[1:], strict=False):
            here = (level >= low) & (level < high)
            if here.sum() >= FEWEST_PIXELS and np.isfinite(empty):
                rise = np.median(rough[here]) / max(empty, 1e-12) - 1 + MEDIAN_ERROR / np.sqrt(here.sum())
                slopes.append(rise / level[here].mean())
        gains.append(max(min(slopes, default=0.0), SMALLEST_GAIN) * sigma)
    return np.array(gains)


def _along_both_axes(images, weights):
    """Filter images [n, y, x] with three weights along x and along y; the rim of one pixel is lost."""
    for axis in (-1, -2):
        n = images.shape[axis] - 2
        images = sum(weight * np.moveaxis(images, axis, -1)[..., k : k + n] for k, weight in enumerate(weights))
        images = np.moveaxis(images, -1, axis)
    return images


def log_depth_covariance(images):
    """Measure how the depth varies from image to image.

    Differences of neighbouring sky pixels see little of the light of faint sources. They are measured in the left and
    in the right half of each image: what the halves have in common is depth, what they don't is sampling noise.

    Parameters
    ----------
    images : array [n, band, y, x]

    Returns
    -------
    array [band, band]
        Covariance of log sigma, symmetric, without negative eigenvalues.
    """
    size = images.shape[-1]
    sky = geometry(size).sky
    pairs = sky[:, 1:] & sky[:, :-1]
    difference = np.abs(np.diff(images, axis=-1))
    halves = []
    for half in (slice(0, size // 2), slice(size // 2, size - 1)):
        here = np.zeros_like(pairs)
        here[:, half] = pairs[:, half]
        median = np.median(difference[:, :, here], axis=2)
        halves.append(np.log(np.maximum(median, 1e-6 * median.mean(0) + 1e-30)))
    left, right = (half - half.mean(0) for half in halves)
    covariance = (left.T @ right + right.T @ left) / (2 * max(len(images) - 1, 1))
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.maximum(values, 0) @ vectors.T
