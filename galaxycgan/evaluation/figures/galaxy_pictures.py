"""Pictures of galaxies: colour, galleries."""

import numpy as np

from galaxycgan.evaluation.figures.style import WIDTH_INCH, save_figure, style

SKY_RMS_AT_BLACK = 1.0


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


def gallery(path, rows, titles, column_titles=(), heading="", figure_width=WIDTH_INCH):
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
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    for k, (row, title) in enumerate(zip(rows, titles, strict=True)):
        for j, picture in enumerate(row):
            axes[k, j].imshow(picture, origin="lower", interpolation="nearest")
            if k == 0 and j < len(column_titles):
                axes[k, j].set_title(column_titles[j], fontsize=7)
        axes[k, 0].text(-0.12, 0.5, title, transform=axes[k, 0].transAxes, ha="right", va="center", fontsize=8)
    if heading:
        figure.suptitle(heading, fontsize=10)
    save_figure(figure, path)
