"""How near generated galaxies are to real ones, each number beside its floor: what two real sets differ by. No plots.

Definitions follow the photometry of `galaxycgan.images.photometry`; all functions take measurements or images and
return plain floats.
"""

import itertools
import math

import numpy as np
from scipy.stats import rankdata, wasserstein_distance

from galaxycgan.images.bands import reference_band
from galaxycgan.images.photometry import geometry, measure, noise_products
from galaxycgan.images.pixel_units import asinh_magnitude

CELLS = 3
#: Of the polynomial in the labels that offsets are taken from: of many labels the degree is less.
MOST_TERMS = 60
#: Images transformed at a time.
PIECE = 256
#: What stands for the noise where there is none, over the flux.
NOISELESS = 1e-3


def properties(images, bands, softening_njy=None):
    """Measure the eight photometric properties that sets of galaxies are compared in.

    Parameters
    ----------
    images : array [n, band, y, x]
        Flux per pixel in nJy.
    bands : sequence of str
        Band names.
    softening_njy : float, optional
        Of the asinh magnitudes; the same for both sets. Default: `flux_softening` of these images.

    Returns
    -------
    dict of arrays [n]
        First and reference band magnitude, neighbouring colours, log10 r50, r80/r50, ellipticity, log10 sky noise.
    """
    m = measure(images, bands)
    softening = flux_softening(m, images.shape[-1]) if softening_njy is None else softening_njy
    mag = asinh_magnitude(m["flux"], softening)
    k = reference_band(bands)
    out = {bands[0]: mag[:, 0], bands[k]: mag[:, k]}
    out |= {f"{a}-{b}": mag[:, i] - mag[:, i + 1] for i, (a, b) in enumerate(zip(bands, bands[1:], strict=False))}
    out["log r50"] = np.log10(m["r50"])
    out["r80/r50"] = m["r80"] / m["r50"]
    out["ellipticity"] = m["ellipticity"]
    noise = m["sky_rms"][:, k]
    out["noise"] = np.log10(np.where(noise > 0, noise, np.nan))
    return out


def flux_softening(measured, size):
    """Return a softening for asinh magnitudes: the aperture's uncorrelated noise, median over set and bands.

    Of stamps without sky noise, such as segmented ones, a thousandth of the median flux.
    """
    n_pixels = geometry(size).within(9.0).sum()
    noise = np.median(measured["sky_rms"]) * np.sqrt(n_pixels)
    return float(noise or NOISELESS * np.median(np.abs(measured["flux"])) or 1.0)


def sky_noise(images, bands):
    """Return the median sky noise [band]; of stamps without any, a thousandth of their pixels' standard deviation."""
    noise = np.median(measure(images, bands)["sky_rms"], axis=0)
    return np.where(noise > 0, noise, np.maximum(NOISELESS * images.std(axis=(0, 2, 3)), 1e-12))


def w1_table(real, synthetic):
    """Wasserstein-1 distance over the real standard deviation, for each property of `properties`, their mean and worst.

    Galaxies whose property can't be measured (NaN) are left out of that property; properties that no real galaxy has,
    such as the noise of a sky that is 0, out of mean and worst. What real galaxies have and no generated one is at an
    infinite distance.
    """
    table, names = {}, shown(real)
    for name, values in real.items():
        a, b = (v[np.isfinite(v)] for v in (values, synthetic[name]))
        if name not in names:
            table[name] = np.nan
        else:
            table[name] = float(wasserstein_distance(a, b) / a.std()) if len(b) > 1 else np.inf
    found = [table[name] for name in names]
    mean, worst = (float(np.mean(found)), float(np.max(found))) if found else (np.nan, np.nan)
    return table | {"mean": mean, "worst": worst}


def shown(real):
    """Return the names of the properties that real galaxies scatter in: of others, no two sets can be compared."""
    finite = {name: values[np.isfinite(values)] for name, values in real.items()}
    return [name for name, values in finite.items() if len(values) > 1 and values.std() > 0]


def cell_edges(labels):
    """Return the edges of 3 x 3 quantile cells of two labels: (edges of the first, edges of the second in each)."""
    first = _quantile_edges(labels[:, 0])
    bins = np.searchsorted(first, labels[:, 0])
    return first, [_quantile_edges(labels[bins == k, 1]) for k in range(CELLS)]


def _quantile_edges(values):
    different = np.unique(values)
    if len(different) <= CELLS:  # a category, say: between its values
        return (different[1:] + different[:-1]) / 2
    return np.quantile(values, np.arange(1, CELLS) / CELLS)


def cell_labels(labels, numeric):
    """Return the two standardised labels [n, 2] that cells are made of: the first that are amounts, else categories.

    Parameters
    ----------
    labels : array [n, label]
    numeric : sequence of bool
        Which of them are amounts.
    """
    return labels[:, np.argsort(~np.asarray(numeric, dtype=bool), kind="stable")[:2]]


def cells_of(labels, edges):
    """Assign galaxies to the cells of `cell_edges`: int [n] in 0..8."""
    first = np.searchsorted(edges[0], labels[:, 0])
    second = np.empty(len(labels), dtype=int)
    for k in range(CELLS):
        second[first == k] = np.searchsorted(edges[1][k], labels[first == k, 1])
    return first * CELLS + second


def w1_conditional(real, synthetic, labels, synthetic_labels=None):
    """Mean over cells of the labels of the mean `w1_table`.

    Scatter is that of the whole real set, so that a narrow cell does not inflate the number.

    Parameters
    ----------
    real, synthetic : dict of arrays [n], [m]
        See `properties`.
    labels : array [n, label]
        Of the real galaxies; the first two count.
    synthetic_labels : array [m, label], optional
        Default: galaxy k of both sets carries ``labels[k]``.
    """
    edges = cell_edges(labels)
    cells = cells_of(labels, edges)
    theirs = cells if synthetic_labels is None else cells_of(synthetic_labels, edges)
    values = []
    for name in real:
        known = real[name][np.isfinite(real[name])]
        spread = known.std() if len(known) else 0.0
        for cell in np.unique(cells) if spread > 0 else ():
            a, b = real[name][cells == cell], synthetic[name][theirs == cell]
            a, b = a[np.isfinite(a)], b[np.isfinite(b)]
            if len(a) > 1 and len(b) > 1:
                values.append(wasserstein_distance(a, b) / spread)
    return float(np.mean(values)) if values else float("nan")


def offsets(real, synthetic, labels, synthetic_labels):
    """Median difference of each property between synthetic and real galaxies of equal labels, in its own unit.

    A polynomial of the labels, cubic where they are few, is fitted to the real galaxies; what counts are the medians of
    both sets' residuals from it. Scatter that the labels explain drops out: a flux scale that is wrong by a few percent
    shows here, and is lost in the width of the whole distribution.

    Parameters
    ----------
    real, synthetic : dict of arrays [n], [m]
    labels, synthetic_labels : arrays [n, label], [m, label]
        Standardised.

    Returns
    -------
    dict of float
    """
    ours, theirs = _polynomial(labels), _polynomial(synthetic_labels)
    out = {}
    for name, values in real.items():
        good, other = np.isfinite(values), np.isfinite(synthetic[name])
        if good.sum() <= ours.shape[1] or not other.any():
            out[name] = float("nan")
            continue
        fit = np.linalg.lstsq(ours[good], values[good], rcond=None)[0]
        rest, their_rest = (values - ours @ fit)[good], (synthetic[name] - theirs @ fit)[other]
        out[name] = float(np.median(their_rest) - np.median(rest))
    return out


def _polynomial(labels):
    """Return all products of up to three standardised labels, kept within three standard deviations: [n, term]."""
    columns = np.clip(np.asarray(labels, dtype=np.float64), -3, 3).T
    degrees = [n for n in range(4) if n < 2 or math.comb(len(columns) + n, n) <= MOST_TERMS]
    picks = itertools.chain.from_iterable(
        itertools.combinations_with_replacement(range(len(columns)), degree) for degree in degrees
    )
    return np.stack([np.prod(columns[list(pick)], axis=0) for pick in picks], 1)


def _design(table):
    """Columns of a property table as a finite matrix [n, k]."""
    matrix = np.stack(list(table.values()), 1)
    known = np.isfinite(matrix)
    # A column that nobody has, such as the noise of a sky that is 0, tells nothing.
    middle = [np.median(column[good]) if good.any() else 0.0 for column, good in zip(matrix.T, known.T, strict=True)]
    return np.where(known, matrix, middle)


def label_errors(train, train_labels, sets):
    """Squared errors of labels predicted from measurements by a regressor that learned from real training images.

    Parameters
    ----------
    train : dict of arrays [n]
        `properties` of the training images.
    train_labels : array [n, label]
        Standardised.
    sets : list of (dict of arrays [m], array [m, label])
        Properties and labels of the sets to predict.

    Returns
    -------
    list of arrays [m, label]
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    errors = [np.empty(labels.shape) for _, labels in sets]
    for k in range(train_labels.shape[1]):
        model = HistGradientBoostingRegressor(max_iter=120, learning_rate=0.08, max_leaf_nodes=12, random_state=0)
        model.fit(_design(train), train_labels[:, k])
        for squared, (table, labels) in zip(errors, sets, strict=True):
            squared[:, k] = (model.predict(_design(table)) - labels[:, k]) ** 2
    return errors


def label_rmse(errors, synthetic_errors):
    """RMSE of labels predicted from generated images over that from real test images, one for each label.

    1 is ideal; above: the labels are obeyed less than nature does; below 0.95: too little variety.

    Parameters
    ----------
    errors, synthetic_errors : arrays [n, label], [m, label]
        Of `label_errors`.
    """
    return [float(value) for value in np.sqrt(synthetic_errors.mean(0) / errors.mean(0))]


def power_spectra(images):
    """Azimuthally averaged power spectrum of each image: array [n, band, k], k in units of the fundamental."""
    n, n_bands, size, _ = images.shape
    window = np.hanning(size)[:, None] * np.hanning(size)
    frequency = np.fft.fftfreq(size) * size
    half = size // 2 + 1
    k = np.hypot(frequency[:, None], frequency[None, :half]).round().astype(int).ravel()
    # Half of the plane is stored: columns between the first and the last stand for two.
    times = np.where((np.arange(half) == 0) | (2 * np.arange(half) == size), 1.0, 2.0)
    average = np.zeros((len(k), half))
    average[np.arange(len(k))[k < half], k[k < half]] = np.tile(times, size)[k < half]
    average /= np.maximum(average.sum(0), 1)
    spectra = np.empty((n, n_bands, half))
    for start in range(0, n, PIECE):
        power = np.square(np.abs(np.fft.rfft2(images[start : start + PIECE] * window)))
        spectra[start : start + PIECE] = power.reshape(len(power), n_bands, -1) @ average
    return spectra


def power_difference(spectra, synthetic_spectra):
    """Mean and worst |log10 P_synthetic / P_real| over bands and wavenumbers, in dex, of `power_spectra`.

    P is the geometric mean over galaxies: in the arithmetic one a single bright galaxy outweighs all others.
    """
    difference = np.abs(np.log10(synthetic_spectra[:, :, 1:]).mean(0) - np.log10(spectra[:, :, 1:]).mean(0))
    return float(difference.mean()), float(difference.max())


def noise_pairs(images):
    """Products of neighbouring sky pixels of each image, and their number: two arrays [n, band, 3].

    Offsets of 0, 1 and 2 pixels along the axes; see `galaxycgan.images.photometry.noise_products`.
    """
    products, counts = noise_products(images, lags=2, along_axes=True)
    return tuple(
        np.stack([sums[:, :, 2 + lag, 2] + sums[:, :, 2, 2 + lag] for lag in range(3)], 2)
        for sums in (products, counts)
    )


def noise_lags(products, counts):
    """Mean autocorrelation of the sky noise at lags of 1 and 2 pixels along the axes, over bands, of `noise_pairs`."""
    mean = products.sum(0) / np.maximum(counts.sum(0), 1)
    variance = np.where(mean[:, :1] > 0, mean[:, :1], np.nan)  # of no noise there is no correlation
    return [float(value) for value in (mean[:, 1:] / variance).mean(0)]


def slope_beside(other, x, y):
    """Slope of y with x at fixed `other` [n] or [n, k]: the coefficient of x of the plane through (x, other, y)."""
    design = np.column_stack([x, other - np.mean(other, axis=0), np.ones(len(x))])
    return float(np.linalg.lstsq(design, y, rcond=None)[0][0])


def local_slope(other, x, y, at):
    """Slope of y with x at fixed `other` and its bootstrap error; NaN where there are fewer than 10 points."""
    if len(x) < 10 or np.ptp(x) == 0:
        return float("nan"), float("nan")
    random = np.random.default_rng(at)
    picks = random.integers(len(x), size=(200, len(x)))
    slopes = [slope_beside(other[pick], x[pick], y[pick]) for pick in picks]
    return slope_beside(other, x, y), float(np.std(slopes))


def spearman_with_steps(flux):
    """Spearman rank correlation of flux [step, latent] with the step number for each latent; 0 for constant flux."""
    ranks = rankdata(flux, axis=0)
    ranks -= ranks.mean(axis=0)
    steps = np.arange(len(flux)) - (len(flux) - 1) / 2
    spread = np.sqrt((ranks**2).sum(0) * (steps**2).sum())
    return np.divide((ranks * steps[:, None]).sum(0), spread, out=np.zeros(flux.shape[1]), where=spread > 0)
