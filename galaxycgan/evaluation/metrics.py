"""How near generated galaxies are to real ones, each number beside its floor: what two real sets differ by. No plots.

Definitions follow the photometry of `galaxycgan.images.photometry`; all functions take measurements or images and
return plain floats.
"""

import numpy as np
from scipy.stats import rankdata, wasserstein_distance

from galaxycgan.images.bands import reference_band
from galaxycgan.images.photometry import asinh_magnitude, geometry, measure, noise_autocorrelation

CELLS = 3


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
    out["noise"] = np.log10(m["sky_rms"][:, k])
    return out


def flux_softening(measured, size):
    """Return a softening for asinh magnitudes: the aperture's uncorrelated noise, median over set and bands."""
    n_pixels = geometry(size).within(9.0).sum()
    return float(np.median(measured["sky_rms"]) * np.sqrt(n_pixels))


def w1_table(real, synthetic):
    """Wasserstein-1 distance over the real standard deviation, for each property of `properties`, their mean and worst.

    Galaxies whose property can't be measured (NaN) are left out of that property.
    """
    table = {}
    for name, values in real.items():
        a, b = (v[np.isfinite(v)] for v in (values, synthetic[name]))
        table[name] = (
            float(wasserstein_distance(a, b) / a.std()) if len(a) > 1 and len(b) > 1 and a.std() > 0 else np.nan
        )
    values = list(table.values())
    return table | {"mean": float(np.mean(values)), "worst": float(np.max(values))}


def cells_of(labels):
    """Assign galaxies to 3 x 3 quantile cells of two labels: int [n] in 0..8."""
    first = _quantile_bin(labels[:, 0])
    second = np.empty(len(labels), dtype=int)
    for k in range(CELLS):
        second[first == k] = _quantile_bin(labels[first == k, 1])
    return first * CELLS + second


def _quantile_bin(values):
    edges = np.quantile(values, np.arange(1, CELLS) / CELLS) if len(values) else []
    return np.searchsorted(edges, values)


def w1_conditional(real, synthetic, labels):
    """Mean over cells of the labels of the mean `w1_table`; galaxy k of both sets carries ``labels[k]``.

    Scatter is that of the whole real set, so that a narrow cell does not inflate the number.
    """
    cells = cells_of(labels)
    values = []
    for cell in np.unique(cells):
        here = cells == cell
        for name in real:
            a, b = (v[here][np.isfinite(v[here])] for v in (real[name], synthetic[name]))
            spread = np.nanstd(real[name])
            if len(a) > 1 and len(b) > 1 and spread > 0:
                values.append(wasserstein_distance(a, b) / spread)
    return float(np.mean(values)) if values else float("nan")


def _design(table):
    """Columns of a property table as a finite matrix [n, k]."""
    matrix = np.stack(list(table.values()), 1)
    return np.where(np.isfinite(matrix), matrix, np.nanmedian(matrix, axis=0))


def label_rmse(train, train_labels, real, real_labels, synthetic, synthetic_labels):
    """RMSE of labels predicted from generated images over that from real test images, one for each label.

    A gradient-boosted regressor learns (properties -> standardised label) on real training images. 1 is ideal; above:
    the labels are obeyed less than nature does; below 0.95: too little variety.

    Returns
    -------
    list of float
        Ratio for each column of the labels.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    ratios = []
    for k in range(train_labels.shape[1]):
        model = HistGradientBoostingRegressor(max_iter=120, learning_rate=0.08, max_leaf_nodes=12, random_state=0)
        model.fit(_design(train), train_labels[:, k])
        errors = [
            np.sqrt(np.mean((model.predict(_design(table)) - labels[:, k]) ** 2))
            for table, labels in ((real, real_labels), (synthetic, synthetic_labels))
        ]
        ratios.append(float(errors[1] / errors[0]))
    return ratios


def azimuthal_power(images):
    """Azimuthally averaged power spectrum, mean over images: array [band, k], k in units of the fundamental."""
    n, n_bands, size, _ = images.shape
    window = np.hanning(size)[:, None] * np.hanning(size)
    frequency = np.fft.fftfreq(size) * size
    k = np.hypot(frequency[:, None], frequency[None, : size // 2 + 1]).round().astype(int)
    total = np.zeros((n_bands, size // 2 + 1))
    counts = np.maximum(np.bincount(k.ravel(), minlength=size)[: size // 2 + 1], 1)
    for start in range(0, n, 256):
        power = np.square(np.abs(np.fft.rfft2(images[start : start + 256] * window))).mean(0)
        for band in range(n_bands):
            total[band] += np.bincount(k.ravel(), power[band].ravel(), minlength=size)[: size // 2 + 1] * len(
                images[start : start + 256]
            )
    return total / counts / n


def power_difference(real, synthetic):
    """Mean and worst |log10 P_synthetic / P_real| over bands and wavenumbers, in dex."""
    difference = np.abs(np.log10(azimuthal_power(synthetic)[:, 1:] / azimuthal_power(real)[:, 1:]))
    return float(difference.mean()), float(difference.max())


def noise_lags(images):
    """Mean autocorrelation of the sky noise at lags of 1 and 2 pixels along the axes, over bands."""
    rho = noise_autocorrelation(images, lags=2)
    return [float((rho[:, 2 + lag, 2] + rho[:, 2, 2 + lag]).mean() / 2) for lag in (1, 2)]


def local_slope(x, y, at):
    """Slope of a straight line through (x, y) and its bootstrap error; NaN where there are fewer than 10 points."""
    if len(x) < 10 or np.ptp(x) == 0:
        return float("nan"), float("nan")
    random = np.random.default_rng(at)
    picks = random.integers(len(x), size=(200, len(x)))
    slopes = [np.polyfit(x[pick], y[pick], 1)[0] for pick in picks]
    return float(np.polyfit(x, y, 1)[0]), float(np.std(slopes))


def spearman_with_steps(flux):
    """Spearman rank correlation of flux [step, latent] with the step number for each latent; 0 for constant flux."""
    ranks = rankdata(flux, axis=0)
    ranks -= ranks.mean(axis=0)
    steps = np.arange(len(flux)) - (len(flux) - 1) / 2
    spread = np.sqrt((ranks**2).sum(0) * (steps**2).sum())
    return np.divide((ranks * steps[:, None]).sum(0), spread, out=np.zeros(flux.shape[1]), where=spread > 0)
