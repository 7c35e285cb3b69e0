"""Plots of measurements, real galaxies beside generated ones."""

import numpy as np

from galaxycgan.evaluation.figures.style import (
    OTHER,
    REAL,
    SERIES,
    SHORT,
    SYNTHETIC,
    WIDTH_INCH,
    axis_label,
    save_figure,
    style,
)

#: Quantiles beyond which an axis need not reach.
SHOWN = (0.003, 0.997)
#: Latents drawn of each response.
LINES = 40
#: Of running medians: bins of the other label, steps along x, and galaxies in a step at least.
BINS, STEPS, FEWEST = 3, 8, 8
#: Ticks of a logarithmic axis, as far as it reaches.
REDSHIFT_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5)


def _limits(*values):
    """Return the range that an axis shows of finite values."""
    both = np.concatenate([each[np.isfinite(each)] for each in values])
    return np.quantile(both, SHOWN) if len(both) else (0.0, 1.0)


def _inside(value, limits):
    return limits[0] <= value <= limits[1]


def distributions(path, real, synthetic, records):
    """Draw histograms of each property, real and generated, with their distance and its floor.

    Parameters
    ----------
    path : Path
    real, synthetic : dict of arrays [n]
        Properties.
    records : dict of dict
        Metrics by name.
    """
    plt = style()
    columns = 4
    rows = -(-len(real) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH_INCH, 2.3 * rows), squeeze=False)
    for axis in axes.flat[len(real) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, real, strict=False):
        a, b = (values[np.isfinite(values)] for values in (real[name], synthetic[name]))
        low, high = _limits(a, b)
        bins = np.linspace(low, high if high > low else low + 1, 36)
        weights = (np.full(len(each), 100 / max(len(each), 1)) for each in (a, b))
        axis.hist(a, bins, weights=next(weights), histtype="stepfilled", alpha=0.35, color=REAL, label="real")
        axis.hist(b, bins, weights=next(weights), histtype="step", lw=1.6, color=SYNTHETIC, label="generated")
        axis.set_xlabel(axis_label(name))
        found = records.get(f"w1.{name}")
        if found and found["value"] is not None:
            floor = "" if found["floor"] is None else f" (floor {found['floor']:.3f})"
            axis.set_title(f"W1/σ {found['value']:.3f}{floor}", fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("galaxies [%]")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.03))
    figure.tight_layout()
    save_figure(figure, path)


def planes(path, pairs, real, synthetic):
    """Draw planes of two properties each: points are generated galaxies, contours hold 30, 60, 90% of the real ones.

    Parameters
    ----------
    path : Path
    pairs : list of (str, str)
        Names of the properties along x and y.
    real, synthetic : dict of arrays [n]
    """
    plt = style()
    figure, axes = plt.subplots(1, len(pairs), figsize=(WIDTH_INCH, 3.5), squeeze=False)
    for axis, (x, y) in zip(axes[0], pairs, strict=True):
        ranges = [_limits(real[name], synthetic[name]) for name in (x, y)]
        axis.plot(synthetic[x], synthetic[y], ".", color=SYNTHETIC, ms=2.5, alpha=0.5, rasterized=True)
        _contours(axis, real[x], real[y], ranges)
        axis.set(xlabel=axis_label(x), ylabel=axis_label(y), xlim=ranges[0], ylim=ranges[1])
    handles = [
        plt.Line2D([], [], color=REAL, label="real: 30, 60, 90% lie inside"),
        plt.Line2D([], [], color=SYNTHETIC, marker=".", ls="", label="generated"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.06))
    figure.tight_layout()
    save_figure(figure, path)


def counts_and_relations(path, real, synthetic, band, colour, relation):
    """Draw number counts, a colour-magnitude plane, and magnitude against mass in bins of redshift.

    Parameters
    ----------
    path : Path
    real, synthetic : dict of arrays [n]
        Properties and labels.
    band, colour : str
        Names of the magnitude and of the colour.
    relation : tuple (str, str) or None
        Labels of the last panel: along x, and the one that is binned. None: no such panel.
    """
    plt = style()
    figure, axes = plt.subplots(1, 3 if relation else 2, figsize=(WIDTH_INCH, 3.7))
    counts, plane = axes[:2]
    _number_counts(counts, real[band], synthetic[band], band)
    ranges = [_limits(real[name], synthetic[name]) for name in (band, colour)]
    plane.plot(synthetic[band], synthetic[colour], ".", color=SYNTHETIC, ms=2.5, alpha=0.5, rasterized=True)
    _contours(plane, real[band], real[colour], ranges)
    plane.set(xlabel=axis_label(band), ylabel=axis_label(colour), xlim=ranges[0], ylim=ranges[1])
    plane.set_title("Colour-magnitude")
    if relation:
        _medians_in_bins(axes[2], real, synthetic, band, *relation)
    figure.tight_layout()
    save_figure(figure, path)


def _number_counts(axis, real, synthetic, band):
    """Draw galaxies per half magnitude, with the Poisson error of the real ones."""
    a, b = (values[np.isfinite(values)] for values in (real, synthetic))
    low, high = _limits(a, b)
    bins = np.arange(np.floor(2 * low), np.ceil(2 * high) + 1) / 2
    middle = (bins[1:] + bins[:-1]) / 2
    ours, theirs = (np.histogram(values, bins)[0] for values in (a, b))
    theirs = theirs * (len(a) / max(len(b), 1))
    axis.errorbar(middle, ours, np.sqrt(ours), fmt="o", color=REAL, ms=4, capsize=2, label="real, Poisson error")
    axis.stairs(theirs, bins, color=SYNTHETIC, lw=1.6, label="generated, as many")
    axis.set(
        yscale="log", ylim=(0.7, None), xlabel=axis_label(band), ylabel="galaxies per 0.5 mag", title="Number counts"
    )
    axis.legend(loc="lower center")


def _medians_in_bins(axis, real, synthetic, band, x, binned):
    """Draw median magnitude against one label in three bins of the other; bars hold 68% of the real galaxies."""
    edges, drawn = np.quantile(real[binned], np.linspace(0, 1, BINS + 1)), 0
    edges[[0, -1]] = -np.inf, np.inf
    for k in range(BINS):
        ours, theirs = (
            _running_median(*(each[name][_between(each[binned], edges[k : k + 2])] for name in (x, band)))
            for each in (real, synthetic)
        )
        colour = SERIES[k]
        low, high = (f"{edge:.2f}" for edge in edges[k : k + 2])
        name = SHORT.get(binned, binned)
        words = f"{name} < {high}" if k == 0 else f"{name} > {low}" if k == BINS - 1 else f"{low} < {name} < {high}"
        places, middle, down, up = ours
        axis.errorbar(places, middle, (middle - down, up - middle), fmt="o", color=colour, ms=4, lw=1, label=words)
        axis.plot(theirs[0], theirs[1], color=colour)
        drawn += len(places) + len(theirs[0])
    if not drawn:
        axis.text(0.5, 0.5, f"fewer than {FEWEST} galaxies\nin each bin", ha="center", transform=axis.transAxes)
    axis.set(xlabel=axis_label(x), ylabel=axis_label(band), title="Medians: points real (bars: 68%), lines generated")
    axis.title.set_fontsize(8)
    axis.invert_yaxis()
    axis.legend(fontsize=7)


def _between(values, edges):
    return (values >= edges[0]) & (values < edges[1])


def _running_median(x, y):
    """Return places, medians, 16% and 84% quantiles [4, bin] of y in bins of x that hold enough."""
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if len(x) < FEWEST:
        return np.empty((4, 0))
    edges = np.linspace(*np.quantile(x, (0.02, 0.98)), STEPS + 1)
    rows = [y[_between(x, pair)] for pair in zip(edges, edges[1:], strict=False)]
    kept = [
        (middle, each) for middle, each in zip((edges[1:] + edges[:-1]) / 2, rows, strict=True) if len(each) >= FEWEST
    ]
    return np.array([[place, *np.quantile(each, (0.5, 0.16, 0.84))] for place, each in kept]).reshape(-1, 4).T


def _contours(axis, x, y, ranges):
    """Draw the contours that hold 30, 60 and 90% of points."""
    import scipy.ndimage

    good = np.isfinite(x) & np.isfinite(y)
    if good.sum() < 30 or any(low >= high for low, high in ranges):
        axis.plot(x, y, ".", color=REAL, ms=2.5)
        return
    counts, x_edges, y_edges = np.histogram2d(x[good], y[good], bins=40, range=ranges)
    smooth = scipy.ndimage.gaussian_filter(counts, 1.5, mode="constant")
    ordered = np.sort(smooth.ravel())[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    levels = np.unique([ordered[np.searchsorted(held, share)] for share in (0.9, 0.6, 0.3)])
    centres = ((edges[:-1] + edges[1:]) / 2 for edges in (x_edges, y_edges))
    axis.contour(*centres, smooth.T, levels=levels, colors=REAL, linewidths=1.3)


def power(path, real, synthetic, bands, pixel_scale):
    """Draw power spectra, their ratio and the correlation of the noise.

    Parameters
    ----------
    path : Path
    real, synthetic : dict
        'spectra' [n, band, k] and 'lags' [2].
    bands : sequence of str
    pixel_scale : float
        arcsec.
    """
    plt = style()
    figure, (spectra, ratio, lags) = plt.subplots(1, 3, figsize=(WIDTH_INCH, 3.3))
    size = 2 * (real["spectra"].shape[2] - 1)
    wavenumber = np.arange(1, real["spectra"].shape[2]) / (size * pixel_scale)
    for k, band in enumerate(bands):
        ours, theirs = (np.log10(each["spectra"][:, k, 1:]).mean(0) for each in (real, synthetic))
        colour = SERIES[k % len(SERIES)]
        spectra.plot(wavenumber, ours, color=colour, label=f"{band}, real")
        spectra.plot(wavenumber, theirs, color=colour, ls="--", label=f"{band}, generated")
        ratio.plot(wavenumber, theirs - ours, color=colour, label=band)
    spectra.set(xlabel="wavenumber [1/arcsec]", ylabel=axis_label("power"), title="Geometric mean over galaxies")
    spectra.legend(fontsize=7, ncols=2 if len(bands) > 2 else 1)
    ratio.axhspan(-0.06, 0.06, color="0.9", zorder=0)
    ratio.axhline(0, color="0.5", lw=0.8)
    ratio.set(xlabel="wavenumber [1/arcsec]", ylabel="generated / real [dex]", title="Grey: the goal for the mean")
    ratio.legend()
    places = np.arange(2)
    lags.bar(places - 0.18, real["lags"], 0.34, color=REAL, alpha=0.6, label="real")
    lags.bar(places + 0.18, synthetic["lags"], 0.34, color=SYNTHETIC, alpha=0.85, label="generated")
    lags.set(xticks=places, xticklabels=["1", "2"], xlabel="lag [px]", ylabel="correlation of the sky noise")
    lags.set_title("Neighbouring pixels")
    lags.legend()
    figure.tight_layout()
    save_figure(figure, path)


def response(path, parts, real_label, real_mag, band, moved, still):
    """Draw noiseless magnitude against one label while the other stands still, a line for each latent, over real ones.

    Parameters
    ----------
    path : Path
    parts : list of dict
        One panel each; see `response.responses`.
    real_label, real_mag : array [n]
        Moved label and magnitude of the real galaxies.
    band, moved, still : str
        Names.
    """
    plt = style()
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH_INCH, 3.4), sharey=True, squeeze=False)
    for axis, part in zip(axes[0], parts, strict=True):
        near = part["window"]
        lines = axis.plot(part["moved"], part["mag"][:, :LINES], color=SYNTHETIC, lw=0.6, alpha=0.5)
        lines[0].set_label("generated, one latent each")
        axis.plot(real_label[near], real_mag[near], ".", color=REAL, ms=4, alpha=0.7, label="real, measured")
        if moved == "photo_z":
            axis.set_xscale("log")
            axis.set_xticks([tick for tick in REDSHIFT_TICKS if _inside(tick, axis.get_xlim())])
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter("")
        title = f"{axis_label(still)} = {part['at']:.2f}\n{part['monotone']:.0%} of latents monotone"
        axis.set(xlabel=axis_label(moved), title=title)
    axes[0, 0].set_ylabel(axis_label(band))
    axes[0, 0].invert_yaxis()
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    save_figure(figure, path)


def training_curves(path, records):
    """Draw losses, score gap and validation of a GAN against the images shown."""
    plt = style()
    figure, (losses, gap, held) = plt.subplots(1, 3, figsize=(WIDTH_INCH, 3.2))
    images = [record["images"] for record in records]
    for name in sorted({key for record in records for key in record if key.endswith("_loss") or key == "energy_score"}):
        losses.plot(images, [record.get(name, np.nan) for record in records], ".-", label=name.replace("_", " "))
    losses.set(xlabel="images shown", ylabel="loss")
    losses.legend()
    for name in sorted({key for record in records for key in record if key.endswith("_gap")}):
        gap.plot(images, [record.get(name, np.nan) for record in records], ".-", label=name.replace("_", " "))
    gap.set(xlabel="images shown", ylabel="mean score, real minus generated")
    gap.legend()
    looks = [record for record in records if "validation" in record]
    for name, label in (("validation", "energy score"), ("validation_w1", "mean W1 over sigma")):
        held.plot([each["images"] for each in looks], [each[name] for each in looks], ".-", label=label)
    held.set(xlabel="images shown", ylabel="validation galaxies: lower is better", ylim=(0, None))
    held.legend()
    figure.tight_layout()
    save_figure(figure, path)


def distances(path, away):
    """Draw how far galaxies lie from the nearest training galaxy.

    Parameters
    ----------
    path : Path
    away : dict of arrays [n]
        'real' (held out) and 'synthetic'.
    """
    plt = style()
    figure, axis = plt.subplots(figsize=(WIDTH_INCH / 2, 3.0))
    bins = np.linspace(0, np.quantile(np.concatenate([away["real"], away["synthetic"]]), 0.995), 40)
    for name, colour, label, filled in (
        ("real", REAL, "real, never seen", "stepfilled"), ("synthetic", SYNTHETIC, "generated", "step"),
    ):  # fmt: skip
        weights = np.full(len(away[name]), 100 / len(away[name]))
        style_of = {"alpha": 0.35} if filled == "stepfilled" else {"lw": 1.6}
        axis.hist(away[name], bins, weights=weights, histtype=filled, color=colour, label=label, **style_of)
    axis.set(xlabel="distance to the nearest training galaxy [features of unit variance]", ylabel="galaxies [%]")
    axis.legend()
    figure.tight_layout()
    save_figure(figure, path)


def bars(path, names, values, titles):
    """Draw a metric of several runs as points with their intervals over the floor, a panel for each metric.

    Parameters
    ----------
    path : Path
    names : list of str
        Runs.
    values : list of list of dict
        Record of each run, for each metric; None where a run has none.
    titles : list of str
        Of the metrics.
    """
    plt = style()
    columns = min(3, len(titles))
    rows = -(-len(titles) // columns)
    height = rows * (0.8 + 0.28 * len(names))
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH_INCH, height), sharey=True, squeeze=False)
    for axis in axes.flat[len(titles) :]:
        axis.axis("off")
    for axis, records, title in zip(axes.flat, values, titles, strict=False):
        for k, found in enumerate(records):
            if not found or found["value"] is None:
                continue
            if found.get("floor_interval"):
                axis.barh(k, np.ptp(found["floor_interval"]), 0.7, found["floor_interval"][0], color=OTHER, alpha=0.25)
            low, high = found["interval"] or [found["value"]] * 2
            axis.plot([low, high], [k, k], color=SYNTHETIC)
            axis.plot(found["value"], k, "o", color=SYNTHETIC, ms=5)
        axis.set(title=title, yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    figure.tight_layout()
    save_figure(figure, path)
