"""The pictures of an evaluation: which galaxies are shown, and in what order. How they are drawn is in `plots`."""

import numpy as np

from galaxycgan.evaluation import plots
from galaxycgan.evaluation.response import MASS, REDSHIFT
from galaxycgan.images.bands import reference_band

#: Grey level of cells of the grid that lie outside the training sample.
UNSEEN = 235
COLUMNS = 12
#: Names of labels over pictures, where there is little room.
SHORT = {REDSHIFT: "z", MASS: "log M*"}


def draw(out, painter, images, labels, real, fake, report, responses, seed):
    """Write the pictures of an evaluation.

    Parameters
    ----------
    out : Path
        Directory.
    painter : Painter
    images : array [n, band, y, x]
        Real galaxies, nJy.
    labels : array [n, column]
        Theirs.
    real, fake : dict of arrays [n]
        `metrics.properties` of real and generated galaxies.
    report : dict
        Metrics.
    responses : dict
        Of `response.responses`.
    seed : int
    """
    columns, bands = painter.conditioning.columns, painter.card["bands"]
    sky_rms = 0.5 * painter.generator.flux_unit_njy.cpu().numpy()
    show = np.argsort(labels[:, 0], kind="stable")[np.linspace(0, len(labels) - 1, COLUMNS).astype(int)]
    asked = labels[show]
    generated, clean = (painter.sample(asked, seed, noisy) for noisy in (True, False))
    more = painter.sample(asked, seed + 1)
    plots.gallery(
        out / "real_and_generated.png",
        [plots.colour(each, sky_rms) for each in (images[show], generated, clean, more)],
        ["real", "generated", "the same,\nnoiseless", "generated,\nanother latent"],
        [
            "\n".join(f"{SHORT.get(name, name)} {value:.2f}" for name, value in zip(columns, row, strict=True))
            for row in asked
        ],
        f"Real galaxies and generated ones with the same {' and '.join(columns)}",
    )
    plots.distributions(out / "distributions.png", real, fake, report["w1"], report["w1_floor"])
    if {REDSHIFT, MASS} <= set(columns):
        _draw_grid(out, painter, labels, columns.index(REDSHIFT), columns.index(MASS), sky_rms, seed)
    band = bands[reference_band(bands)]
    for moved, still in ((MASS, REDSHIFT), (REDSHIFT, MASS)):
        name = "mass_response" if moved == MASS else "redshift_response"
        if responses[name]:
            plots.response(
                out / f"{name}.png", responses[name], labels[:, columns.index(moved)], real[band], band, moved, still
            )


def _draw_grid(out, painter, labels, z_at, mass_at, sky_rms, seed):
    """Galaxies of one latent over redshift and stellar mass, inside and outside what the GAN has seen."""
    redshifts = np.quantile(labels[:, z_at], (0.1, 0.3, 0.5, 0.7, 0.9))
    masses = np.linspace(*np.quantile(labels[:, mass_at], (0.02, 0.98)), 10)
    rows = []
    for z in redshifts:
        request = np.tile(np.median(labels, axis=0), (len(masses), 1))
        request[:, z_at], request[:, mass_at] = z, masses
        # Each in a block of its own, row 0: the same latent numbers for all.
        pictures = np.concatenate([painter.paint(request[k : k + 1], seed, 0).images[:1] for k in range(len(masses))])
        pictures = plots.colour(pictures, sky_rms)
        pictures[painter.conditioning.novelty(request)[1]] = UNSEEN
        rows.append(pictures)
    plots.gallery(
        out / "grid.png",
        rows[::-1],
        [f"z = {z:.2f}" for z in redshifts[::-1]],
        [f"log M* {mass:.1f}" for mass in masses],
        "Generated galaxies, one latent: heavier to the right, farther up; blank where the GAN has seen none such",
    )
