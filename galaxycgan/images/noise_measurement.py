"""The sky noise of training images: where the noise layer starts from."""

import numpy as np
from scipy.optimize import least_squares

from galaxycgan.images.photometry import CHUNK, geometry, noise_autocorrelation

#: Edges of the brightness, in sky noise per pixel, at which photon noise is looked for, and the pixels that it takes.
BRIGHT_SIGMA = (8.0, 16.0, 32.0, 64.0)
FEWEST_PIXELS = 500
SMALLEST_GAIN = 1e-5
#: Median of squared second differences below which there is no noise, in its variance; of white noise it is 16.
LEAST_ROUGH = 1e-3
#: Sky noises below and above zero at which the sky lies in images of which nobody has taken it off: light of large
#: galaxies reaches their stamps' corners, nothing is darker than no light.
DEEPEST_SKY, HIGHEST_SKY = -5.0, 20.0
#: Of the median of squared normal deviates, relative, times the square root of their number; neighbours are correlated.
MEDIAN_ERROR = 3.0
#: Frequency in cycles per pixel beyond which a PSF leaves no light, and the radius within which the galaxy is left out.
NOISE_ALONE, HOLE_PX = 0.35, 9.0
#: Quantile over images of the power at a frequency: few objects reach so low. Power of noise is distributed as exp(-x).
QUANTILE = 0.2
#: Where the two are wider apart than this the noise is none of a few pixels' correlation, and the pixels are believed.
RMS_BY_SPECTRUM = (0.5, 1.1)


def noise_of(images):
    """Measure the sky noise of images.

    Parameters
    ----------
    images : array [n, band, y, x]
        Flux per pixel.

    Returns
    -------
    sky_rms : array [band]
        Standard deviation per pixel; never zero.
    correlation : array [band, 5, 5]
        Autocorrelation of the sky noise.
    log_depth : array [band, band]
        Covariance of the logarithm of the sky noise between images.
    gain : array [band]
        Variance of the photon noise over the flux per pixel, in the unit of the images.

    Notes
    -----
    The first two are `noise_spectrum`'s where it makes sense, else (of images clipped at zero, say) those of the pixels
    at r > 22 px (scaled): the median over images of the robust standard deviation, and products of neighbours. These
    hold the light of objects too faint to be seen, which is smooth: of HSC-like images they tell a noise a tenth too
    strong, and 0.15 of correlation at two pixels where there is none.
    """
    level, rms = _sky(images)
    log_depth = log_depth_covariance(images)
    if np.any(np.abs(np.median(level, axis=0)) > rms):  # raw pixels on a sky that nobody has taken off
        images = images - level[..., None, None]
    correlation = np.empty((len(rms), 5, 5))
    for band, pixels in enumerate(np.swapaxes(images, 0, 1)):
        found, lag1, lag2 = noise_spectrum(pixels / rms[band])
        if RMS_BY_SPECTRUM[0] < found < RMS_BY_SPECTRUM[1]:
            line = np.array([lag2, lag1, 1.0, lag1, lag2])
            rms[band], correlation[band] = found * rms[band], line[:, None] * line
        else:
            correlation[band] = _pixel_correlation(pixels)
    gain = photon_gain(images, rms)
    return rms.astype(np.float64), correlation, log_depth, gain


def _sky(images):
    """Return the level of the sky in each image [n, band], and its standard deviation per pixel [band], never 0."""
    sky = images[:, :, geometry(images.shape[-1]).sky]
    middle = np.median(sky, axis=2, keepdims=True)
    robust = 1.4826 * np.median(np.median(np.abs(sky - middle), axis=2), axis=0)
    # Images that were clipped at zero can have a median deviation of zero: their faint half still has a spread.
    plain = np.median(np.std(np.minimum(sky, np.quantile(sky, 0.8, axis=2, keepdims=True)), axis=2), axis=0)
    spread = images.std(axis=(0, 2, 3))
    floor = np.where(spread > 0, 1e-3 * spread, 1e-12)
    return middle[..., 0], np.maximum(np.where(robust > 0.3 * plain, robust, plain), floor)


def sky_left(images):
    """Return at how many sky noises the sky of images [n, band, y, x] lies, 0 where it was taken off: array [band]."""
    level, rms = _sky(images)
    low, middle, high = np.quantile(level / rms, (0.1, 0.5, 0.9), axis=0)
    return np.where((low > HIGHEST_SKY) | (high < DEEPEST_SKY), middle, 0.0)


def _pixel_correlation(images):
    """Return the autocorrelation [5, 5] of the sky pixels of images [n, y, x], all numbers finite."""
    with np.errstate(invalid="ignore"):
        correlation = np.nan_to_num(noise_autocorrelation(images[:, None])[0], nan=0.0)
    correlation[2, 2] = 1.0
    return np.clip(correlation, -0.3, 1.0)


def noise_spectrum(images):
    """Measure the sky noise where nothing else is: at the high end of the power spectrum.

    Parameters
    ----------
    images : array [n, y, x]
        One band, the sky near zero.

    Returns
    -------
    rms, lag1, lag2 : float
        Standard deviation per pixel, and autocorrelation at one and two pixels along an axis. The correlation is taken
        for the product of one along x and the same along y, as interpolation by a separable kernel leaves it. NaN where
        nothing of that kind is found.
    """
    size = images.shape[-1]
    radius = geometry(size).radius / geometry(size).scale
    line = np.hanning(size + 2)[1:-1]
    window = line[:, None] * line * -np.expm1(-((radius / HOLE_PX) ** 4))
    y, x = np.abs(np.fft.fftfreq(size))[:, None], np.fft.rfftfreq(size)
    # Where both are 0 or the highest, the amplitude is real, and its square distributed otherwise.
    used = (np.hypot(y, x) > NOISE_ALONE) & ~(np.isin(y, (0, 0.5)) & np.isin(x, (0, 0.5)))
    power = np.concatenate(
        [np.abs(np.fft.rfft2(images[k : k + CHUNK] * window)[:, used]) ** 2 for k in range(0, len(images), CHUNK)]
    )
    level = np.quantile(power, QUANTILE, axis=0) / (-np.log1p(-QUANTILE) * np.square(window).sum())
    if not (level > 0).all():
        return np.nan, np.nan, np.nan
    waves = [[2 * np.cos(2 * np.pi * lag * np.broadcast_to(f, used.shape)[used]) for lag in (1, 2)] for f in (y, x)]

    def model(parameters):
        log_variance, *lags = parameters
        factors = [1 + sum(lag * wave for lag, wave in zip(lags, along, strict=True)) for along in waves]
        return log_variance + sum(np.log(np.maximum(factor, 1e-3)) for factor in factors)

    error = np.sqrt(QUANTILE / (1 - QUANTILE) / len(images)) / -np.log1p(-QUANTILE)
    start = [np.log(np.median(level)), 0.0, 0.0]
    fit = least_squares(lambda p: model(p) - np.log(level), start, loss="soft_l1", f_scale=2 * error)
    return float(np.exp(fit.x[0] / 2)), *(float(lag) for lag in np.clip(fit.x[1:], -0.3, 0.5))


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
            # Sky pixels that are all alike, such as 0 below a threshold, say nothing of the noise.
            if here.sum() >= FEWEST_PIXELS and empty > LEAST_ROUGH:
                rise = np.median(rough[here]) / empty - 1 + MEDIAN_ERROR / np.sqrt(here.sum())
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
