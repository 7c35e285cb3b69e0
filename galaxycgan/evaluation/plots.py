"""Pictures of galaxies and of their measurements, in one style. Reads no files; writes PNG."""

import numpy as np

from galaxycgan.files import atomic_path

SKY_RMS_AT_BLACK = 1.0
REAL, SYNTHETIC = "#333333", "#d55e00"  # dark grey and vermilion: told apart by all kinds of colour vision


def style():
    """Return pyplot on a backend without a screen, in the house style."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {"figure.dpi": 110, "axes.grid": True, "grid.alpha": 0.25, "legend.frameon": False, "font.size": 9}
    )
    return plt


def save_figure(figure, path):
    """Write a figure as PNG, atomically and without a date."""
    import matplotlib.pyplot as plt

    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def colour(images, sky_rms):
    """Make colour pictures (Lupton et al. 2004, PASP 116, 133).

    Parameters
    ----------
    images : array [n, band, y, x]
        Flux in nJy; the first three bands become blue, green, red, fewer bands grey.
    sky_rms : array [band]
        Sky noise per pixel: the same for all pictures that are compared.

    Returns
    -------
    uint8 array [n, y, x, 3]
        Row 0 at the bottom (origin='lower').
    """
    from astropy.visualization import make_lupton_rgb

    scale = float(np.mean(sky_rms[:3]))
    planes = (2, 1, 0) if images.shape[1] >= 3 else (0, 0, 0)
    return np.stack(
        [
            make_lupton_rgb(*(image[k] for k in planes), minimum=-SKY_RMS_AT_BLACK * scale, stretch=15 * scale, Q=8)
            for image in images
        ]
    )


def gallery(path, rows, titles, column_titles=(), heading="", figure_width=13.0):
    """Draw rows of pictures with a name each.

    Parameters
    ----------
    path : Path
        PNG to write.
    rows : list of arrays [column, y, x, 3]
        Pictures.
    titles : list of str
        Name of each row.
    column_titles : list of str
        Over each column.
    heading : str
        Over all.
    """
    plt = style()
    n_columns = max(len(row) for row in rows)
    cell = figure_width / (n_columns + 1)
    figure, axes = plt.subplots(len(rows), n_columns, figsize=(figure_width, cell * len(rows) + 0.5), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for k, (row, title) in enumerate(zip(rows, titles, strict=True)):
        for j, picture in enumerate(row):
            axes[k, j].imshow(picture, origin="lower", interpolation="nearest")
            if k == 0 and j < len(column_titles):
                axes[k, j].set_title(column_titles[j], fontsize=7)
        axes[k, 0].text(-0.12, 0.5, title, transform=axes[k, 0].transAxes, ha="right", va="center", fontsize=8)
    figure.suptitle(heading, fontsize=10)
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    save_figure(figure, path)


def distributions(path, real, synthetic, table, floor):
    """Draw histograms of each property, real and synthetic, with their distance and its floor."""
    plt = style()
    figure, axes = plt.subplots(2, -(-len(real) // 2), figsize=(13, 5.5), squeeze=False)
    for axis in axes.flat[len(real) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, real, strict=False):
        a, b = (values[np.isfinite(values)] for values in (real[name], synthetic[name]))
        bins = np.linspace(*np.quantile(np.concatenate([a, b]), (0.003, 0.997)), 40)
        axis.hist(a, bins, density=True, histtype="stepfilled", alpha=0.35, color=REAL, label="real")
        axis.hist(b, bins, density=True, histtype="step", lw=1.6, color=SYNTHETIC, label="generated")
        axis.set_xlabel(PROPERTY_UNITS.get(name, f"{name} [mag]"))
        axis.set_title(f"W1/sigma {table[name]:.3f} (floor {floor[name]:.3f})", fontsize=8)
        axis.set_yticks([])
    axes.flat[0].legend()
    figure.tight_layout()
    save_figure(figure, path)


PROPERTY_UNITS = {
    "log r50": "log10 r50 [px]",
    "r80/r50": "r80/r50",
    "ellipticity": "ellipticity",
    "noise": "log10 sky noise [nJy/px]",
}


LABEL_UNITS = {"photo_z": "redshift", "log_mass": "log10 stellar mass [M_sun]"}


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
    figure, axes = plt.subplots(1, len(parts), figsize=(4.3 * len(parts), 3.8), sharey=True, squeeze=False)
    for axis, part in zip(axes[0], parts, strict=True):
        near = part["window"]
        axis.plot(real_label[near], real_mag[near], ".", color=REAL, ms=3, alpha=0.5, label="real, measured")
        lines = axis.plot(part["moved"], part["mag"][:, :40], color=SYNTHETIC, lw=0.6, alpha=0.5)
        lines[0].set_label("generated, one latent each")
        if moved == "photo_z":
            axis.set_xscale("log")
        title = f"{LABEL_UNITS[still]} = {part['at']:.2f}: {part['monotone']:.0%} monotone"
        axis.set(xlabel=LABEL_UNITS[moved], title=title)
    axes[0, 0].set_ylabel(f"{band} [AB mag]")
    axes[0, 0].invert_yaxis()
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    save_figure(figure, path)


def training_curves(path, records):
    """Draw losses and score gap of a GAN against the images shown."""
    plt = style()
    figure, (losses, gap) = plt.subplots(1, 2, figsize=(10, 3.4))
    images = [record["images"] for record in records]
    for name in ("critic_loss", "generator_loss"):
        losses.plot(images, [record[name] for record in records], label=name.replace("_", " "))
    losses.set(xlabel="images shown", ylabel="loss")
    losses.legend()
    gap.plot(images, [record["score_gap"] for record in records])
    gap.set(xlabel="images shown", ylabel="mean score, real minus generated")
    figure.tight_layout()
    save_figure(figure, path)
