"""The pictures of an evaluation: which galaxies are shown, in what order. `evaluation.figures` draws them."""

import dataclasses

import numpy as np

from galaxycgan.evaluation.figures import galaxy_pictures, plots_of_measurements
from galaxycgan.evaluation.figures.style import SHORT
from galaxycgan.evaluation.metrics import distances
from galaxycgan.evaluation.metrics.judge import Judgement, Sets
from galaxycgan.evaluation.metrics.label_response import MASS, REDSHIFT
from galaxycgan.images.bands import reference_band

#: Files that others look for, too.
GALLERY, GRID = "real_and_generated.png", "grid.png"
#: Grey level of cells of the grid that lie outside the training sample.
UNSEEN = 235
COLUMNS = 10
GRID_REDSHIFTS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the report: file name, title, caption, whether it needs width to be seen."""

    file: str
    title: str
    caption: str
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Scene:
    """What the pictures are made of.

    Attributes
    ----------
    subject : GeneratorSubject or CatalogSubject
    sets : Sets
    labels : array [n, label]
        Of the real galaxies.
    judgement : Judgement
    answers : dict
        Of `response.responses`.
    bands : tuple of str
    pixel_scale : float
        arcsec.
    sky_rms : array [band]
        nJy; sets the stretch of colour pictures.
    seed : int
    training_log : list of dict or None
        Records of the training.
    """

    subject: object
    sets: Sets
    labels: np.ndarray
    judgement: Judgement
    answers: dict
    bands: tuple
    pixel_scale: float
    sky_rms: np.ndarray
    seed: int
    training_log: list | None

    def colour(self, images):
        """Return colour pictures with the one stretch of all."""
        return galaxy_pictures.colour(images, self.sky_rms)


def draw(out, scene, check=lambda: None):
    """Write the pictures of an evaluation.

    Parameters
    ----------
    out : Path
        Directory.
    scene : Scene
    check : callable
        Called before each; raises where the work shall stop.

    Returns
    -------
    list of Picture
        In the order of the report.
    """
    shown = []
    parts = _gallery, _grid, _responses, _distributions, _relations, _planes, _power, _neighbours, _training
    for part in parts:
        check()
        shown += part(out, scene)
    return shown


def _gallery(out, scene):
    """Real galaxies, generated ones of the same labels, and those without noise."""
    order = np.argsort(scene.labels[:, 0], kind="stable")
    ends = np.array([0.02, 0.98]) * (len(order) - 1)
    show = order[np.linspace(*ends, min(COLUMNS, len(order))).astype(int)]
    asked = scene.labels[show]
    generated, clean, theirs = scene.subject.alike(asked, scene.seed)
    more, _, _ = scene.subject.alike(asked, scene.seed + 1)
    rows = [("real", scene.sets.real.images[show]), ("generated", generated)]
    rows += [("the same,\nnoiseless", clean)] if clean is not None else []
    rows += [("generated,\nanother", more)]
    titles = ["\n".join(_words(scene.subject.columns, row)) for row in asked]
    galaxy_pictures.gallery(
        out / GALLERY, [scene.colour(images) for _, images in rows], [name for name, _ in rows], titles
    )
    same = "of the same labels" if np.array_equal(theirs, asked) else "of the nearest labels in the catalog"
    return [
        Picture(
            GALLERY,
            "Real and generated galaxies",
            f"Top: real galaxies, ordered by redshift. Below: generated ones {same}, the same without noise, and others"
            " of those labels. All pictures have one stretch (Lupton et al. 2004), so faint galaxies look faint.",
            True,
        )
    ]


def _words(columns, values):
    return [f"{SHORT.get(name, name)} {value:.2f}" for name, value in zip(columns, values, strict=True)]


def _grid(out, scene):
    """Galaxies of one latent over redshift and stellar mass, inside and outside what the GAN has seen."""
    painter, columns = scene.subject.painter, scene.subject.columns
    if painter is None or not {REDSHIFT, MASS} <= set(columns):
        return []
    z_at, mass_at = columns.index(REDSHIFT), columns.index(MASS)
    redshifts = np.quantile(scene.labels[:, z_at], GRID_REDSHIFTS)
    masses = np.linspace(*np.quantile(scene.labels[:, mass_at], (0.02, 0.98)), COLUMNS)
    rows = []
    for z in redshifts:
        request = np.tile(painter.conditioning.typical(scene.labels), (len(masses), 1))
        request[:, z_at], request[:, mass_at] = z, masses
        # Each in a block of its own, row 0: the same latent numbers for all.
        blocks = [painter.paint(request[k : k + 1], scene.seed, 0).images[:1] for k in range(len(masses))]
        row = scene.colour(np.concatenate(blocks))
        row[painter.conditioning.novelty(request)[1]] = UNSEEN
        rows.append(row)
    names = [f"z = {z:.2f}" for z in redshifts[::-1]], [f"log M* {mass:.1f}" for mass in masses]
    galaxy_pictures.gallery(out / GRID, rows[::-1], *names)
    return [
        Picture(
            GRID,
            "One galaxy over mass and redshift",
            "The same latent numbers at other labels: more massive to the right, farther up. From left to right it must"
            " get brighter. Blank: labels unlike any training galaxy.",
            True,
        )
    ]


def _responses(out, scene):
    """Flux against one label at fixed other."""
    columns, band = scene.subject.columns, scene.bands[reference_band(scene.bands)]
    magnitude = scene.judgement.measured["real"]["properties"][band]
    shown = []
    for moved, still, name, words in (
        (MASS, REDSHIFT, "mass_response", "stellar mass at fixed redshift"),
        (REDSHIFT, MASS, "redshift_response", "redshift at fixed stellar mass"),
    ):
        parts = scene.answers[name]
        if not parts:
            continue
        label = scene.labels[:, columns.index(moved)]
        plots_of_measurements.response(out / f"{name}.png", parts, label, magnitude, band, moved, still)
        caption = (
            "Each line is one latent, without noise; points are real galaxies near the label that is fixed. Slopes: "
        )
        caption += "; ".join(
            f"{p['slope_generated']:.2f} (real {p['slope_real']:.2f} ± {p['slope_real_error']:.2f})" for p in parts
        )
        shown.append(Picture(f"{name}.png", f"Flux against {words}", caption + " mag/dex.", True))
    return shown


def _distributions(out, scene):
    """Histograms of all measured properties."""
    real, synthetic = (_properties(scene, name) for name in ("real", "synthetic"))
    plots_of_measurements.distributions(out / "distributions.png", real, synthetic, scene.judgement.metrics)
    caption = (
        "Grey: real galaxies; orange: generated ones. W1/σ is the distance between the two, in standard deviations of"
        " the real distribution; the floor is that between two sets of real galaxies."
    )
    return [Picture("distributions.png", "Distributions of measured properties", caption, True)]


def _properties(scene, name):
    """Return the measured properties of a set as they are plotted: radii in arcsec."""
    measured = scene.judgement.measured[name]
    found = measured["properties"] | measured.get("shape", {})
    return found | {"log r50": found["log r50"] + np.log10(scene.pixel_scale)}


def _properties_and_labels(scene, name):
    labels = scene.subject.conditioning.restore(scene.judgement.measured[name]["labels"])
    return _properties(scene, name) | dict(zip(scene.subject.columns, labels.T, strict=True))


def _relations(out, scene):
    """Number counts, colour-magnitude, magnitude by mass and redshift."""
    if len(scene.bands) < 2:
        return []
    real, synthetic = (_properties_and_labels(scene, name) for name in ("real", "synthetic"))
    k = reference_band(scene.bands)
    colour = "-".join(scene.bands[:2])
    relation = (MASS, REDSHIFT) if {MASS, REDSHIFT} <= set(scene.subject.columns) else None
    plots_of_measurements.counts_and_relations(out / "relations.png", real, synthetic, scene.bands[k], colour, relation)
    caption = (
        "Left: how many galaxies there are of each magnitude, within 9 px of the centre. Middle: generated (points)"
        " should fill the contours that hold 30, 60 and 90% of the real ones."
    )
    caption += " Right: lines of generated galaxies should run through the points of real ones." if relation else ""
    return [Picture("relations.png", "Number counts, colour-magnitude, flux by mass and redshift", caption, True)]


def _planes(out, scene):
    """Colour-colour, colour-magnitude and size planes."""
    real, synthetic = (_properties_and_labels(scene, name) for name in ("real", "synthetic"))
    colours = [f"{a}-{b}" for a, b in zip(scene.bands, scene.bands[1:], strict=False)]
    band = scene.bands[reference_band(scene.bands)]
    pairs = [(colours[0], colours[1])] if len(colours) > 1 else [(band, colours[0])] if colours else []
    pairs += [(MASS, "log r50"), (MASS, colours[0])] if MASS in real and colours else [(band, "log r50")]
    plots_of_measurements.planes(out / "planes.png", pairs, real, synthetic)
    caption = (
        "Colours, sizes and stellar mass together: generated galaxies (points) should fill the contours of real ones."
    )
    return [Picture("planes.png", "Colours, sizes and mass", caption, True)]


def _power(out, scene):
    """Power spectra and noise."""
    sets = []
    for name in ("real", "synthetic"):
        found = scene.judgement.measured[name]
        sets.append({"spectra": found["spectra"], "lags": distances.noise_lags(found["products"], found["counts"])})
    plots_of_measurements.power(out / "power.png", *sets, scene.bands, scene.pixel_scale)
    caption = (
        "Left: structure by scale, small scales to the right. Middle: generated over real; a line at 0 is ideal. Right:"
        " how alike neighbouring sky pixels are, as warped exposures make them."
    )
    return [Picture("power.png", "Power spectra and noise correlation", caption, True)]


def _neighbours(out, scene):
    """Generated galaxies nearest to a training galaxy, beside that."""
    found = scene.judgement.neighbours
    if not found:
        return []
    closest = np.argsort(found["distance"]["synthetic"])[:COLUMNS]
    pictures = scene.sets.synthetic.images[closest], scene.sets.training.images[found["nearest"][closest]]
    galaxy_pictures.gallery(
        out / "neighbours.png", [scene.colour(each) for each in pictures], ["generated", "its nearest\nin training"]
    )
    plots_of_measurements.distances(out / "distances.png", found["distance"])
    return [
        Picture(
            "neighbours.png",
            "Is it copying? The most suspicious galaxies",
            "The generated galaxies nearest to a training galaxy, and that one. Like kind is fine; the same is not.",
            True,
        ),
        Picture(
            "distances.png",
            "Distance to the nearest training galaxy",
            "A generator that copies has its distances (orange) left of those of new real galaxies (grey).",
        ),
    ]  # fmt: skip


def _training(out, scene):
    """Learning curves."""
    if not scene.training_log:
        return []
    plots_of_measurements.training_curves(out / "training.png", scene.training_log)
    caption = "Losses, and how much higher the critics score real images than generated ones: near 0 they can't tell."
    return [Picture("training.png", "Learning curves", caption, True)]
