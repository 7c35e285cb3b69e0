"""What each number of an evaluation means, which way is good, and what is good enough.

Goals are those of a run of 40 CPU minutes on 1,866 galaxies, judged on galaxies of another survey.
"""

import dataclasses
import math

#: A metric is off its floor where it lies so many standard deviations of the floor on its bad side. Distances can't be
#: negative and have a long tail upwards: one W1 in 200 of like sets is beyond, and one in 150 with `--quick`'s draws.
OFF_FLOOR = {"high": 4.5, "low": 3.5, "both": 3.5}


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a metric means.

    Attributes
    ----------
    title : str
        With its unit.
    words : str
        In plain words, and which way is good.
    side : str
        Which way is bad: 'high', 'low' or 'both'.
    goal : tuple (low, high) or None
        What is good enough; None: judged by its floor alone.
    """

    title: str
    words: str
    side: str = "high"
    goal: tuple | None = None


_W1 = "How far the distribution of this property lies from the real one, in standard deviations of the real one"
_SMALL = "Smaller is better."
MEANINGS = {
    "w1.mean": Meaning("Photometry, mean W1/σ", f"{_W1}; mean of eight properties. {_SMALL}", goal=(0, 0.08)),
    "w1.worst": Meaning("Photometry, worst W1/σ", f"The same of the worst of the eight. {_SMALL}", goal=(0, 0.15)),
    "w1_conditional": Meaning(
        "W1/σ at given labels",
        "The same within nine cells of the first two labels that are numbers, such as redshift and mass: are galaxies"
        f" right for their labels? {_SMALL}",
        goal=(0, 0.15),
    ),
    "label_rmse": Meaning(
        "label error, ratio",
        "Error of the label read off generated images, over that read off real ones. 1 is ideal; more: labels are not"
        " obeyed; less: galaxies of one label are too much alike.",
        "both",
        (0.95, 1.15),
    ),
    "power.mean": Meaning(
        "Power spectrum, mean [dex]",
        f"Is there the right amount of structure on every scale? {_SMALL}",
        goal=(0, 0.06),
    ),
    "power.worst": Meaning(
        "Power spectrum, worst scale [dex]", f"The same on the worst scale and band. {_SMALL}", goal=(0, 0.15)
    ),
    "noise_lag.1": Meaning(
        "Noise correlation at 1 px",
        "Difference of the correlation of neighbouring sky pixels, generated minus real. 0 is ideal.",
        "both",
        (-0.05, 0.05),
    ),
    "noise_lag.2": Meaning("Noise correlation at 2 px", "The same two pixels apart. 0 is ideal.", "both"),
    "density": Meaning(
        "Density",
        "Do generated galaxies lie where real ones do? 1 is ideal; less: some are unlike any real one.",
        "both",
        (0.8, 1.2),
    ),
    "coverage": Meaning(
        "Coverage",
        "Share of real galaxies that have a generated one near. More is better; little: kinds are missing.",
        "low",
        (0.8, 1),
    ),
    "two_sample_accuracy": Meaning(
        "Told from real ones", "How often a classifier tells generated from real. 0.5 is ideal: it guesses."
    ),
    "two_sample_photometry": Meaning(
        "Told from real ones by photometry",
        "The same from some 80 measurements in each band, all together: fluxes, sizes, shapes, noise, power spectrum.",
    ),
    "memorisation.ratio": Meaning(
        "Distance to training galaxies, ratio",
        "How far generated galaxies lie from the nearest training galaxy, over how far new real ones do. 1 is ideal;"
        " less: copies.",
        "both",
        (0.95, 1.05),
    ),
    "memorisation.near_share": Meaning(
        "Near-copies",
        "Share of generated galaxies nearer to a training galaxy than the nearest 1% of new real ones. 0.01 is ideal.",
    ),
    "train_on_synthetic_test_on_real": Meaning(
        "Taught by generated galaxies",
        "ROC AUC on real galaxies of a classifier that learned from generated ones, over that of one that learned from"
        " as many real ones. 1 is ideal; less: a generated galaxy is the poorer teacher.",
        "low",
        (0.99, math.inf),
    ),
    "mass_response.monotone": Meaning(
        "Brighter with mass",
        "Share of latents whose galaxy gets brighter all the way with mass, where real ones clearly do. 1 is ideal.",
        "low",
        (1, 1),
    ),
    "mass_response.slope": Meaning(
        "Slope with mass, beyond error",
        "Largest excess, of three redshifts, of |slope - real slope| over two standard errors or 5% of it, in mag/dex."
        " 0 is ideal; where the errors are larger than 5%, one perfect generator in six misses it by chance.",
        goal=(0, 0),
    ),
    "redshift_response.monotone": Meaning(
        "Fainter with redshift", "Share of latents whose galaxy gets fainter all the way. 1 is ideal.", "low"
    ),
    "redshift_response.slope": Meaning("Slope with redshift, beyond error", "As for mass. 0 is ideal."),
}
#: Metrics of one property or label each.
FAMILIES = {
    "w1": Meaning("W1/σ", f"{_W1}. {_SMALL}"),
    "offset": Meaning(
        "offset", "Median difference from real galaxies of the same labels, generated minus real. 0 is ideal.", "both"
    ),
    "label_rmse": MEANINGS["label_rmse"],
    "label_shift": Meaning(
        "label shift, W1/σ",
        "Do both sets have the same distribution of this label? Where not, other distances speak of the labels too.",
    ),
}
#: Ideal values of metrics that are bad on both sides, where that is not 0.
IDEAL = {"label_rmse": 1.0, "density": 1.0, "memorisation": 1.0}
UNITS = {"log r50": "dex", "noise": "dex", "r80/r50": "", "ellipticity": ""}


def meaning(name):
    """Return the `Meaning` of a metric of metrics.json."""
    if name in MEANINGS:
        return MEANINGS[name]
    family, _, of = name.partition(".")
    found = FAMILIES[family]
    unit = f" [{UNITS.get(of, 'mag')}]" if family == "offset" and UNITS.get(of, "mag") else ""
    return dataclasses.replace(found, title=f"{of}, {found.title}{unit}")


def excess(name, found):
    """Return how far a metric lies on the bad side of its floor, in standard deviations of the floor; NaN: unknown.

    Where both sides are bad it is the distance from the ideal, which is known better than the floor: that scatters too.

    Parameters
    ----------
    name : str
    found : dict
        Its record; see `galaxycgan.evaluation.metrics.resampling.record`.
    """
    value, floor, scatter = found["value"], found.get("floor"), found.get("floor_scatter")
    if value is None or floor is None or not scatter or math.isnan(value):
        return math.nan
    side = meaning(name).side
    if side == "both":
        return abs(value - IDEAL.get(name.partition(".")[0], 0.0)) / scatter
    return (value - floor) / scatter if side == "high" else (floor - value) / scatter


def off_floor(name, found):
    """Return whether a metric has left its floor."""
    return excess(name, found) > OFF_FLOOR[meaning(name).side]


def verdict(name, found):
    """Say how a metric did.

    Returns
    -------
    str
        With a goal 'met' or 'missed', or 'undecided' where even two real sets of this size are farther apart than the
        goal and these two hardly more; else 'at the floor' or 'off the floor'; '' where unknown.
    """
    goal, value = meaning(name).goal, found["value"]
    if value is None or math.isnan(value):
        return ""
    if goal and _within(value, goal):
        return "met"
    if goal:
        floor = found["floor"]
        return "missed" if floor is None or _within(floor, goal) or off_floor(name, found) else "undecided"
    beyond = excess(name, found)
    return "" if math.isnan(beyond) else "off the floor" if off_floor(name, found) else "at the floor"


def _within(value, goal):
    return goal[0] - 1e-9 <= value <= goal[1] + 1e-9


def badness(name, found):
    """Return how far a metric lies from what is ideal, the smaller the better: to say which of several runs is best."""
    value, about = found["value"], meaning(name)
    if about.side == "high":
        return value
    if about.side == "low":
        return -value
    ideal = IDEAL.get(name.split(".")[0], 0.0)
    return abs(value - ideal)
