"""All metrics of one set of galaxies against real ones, from arrays: the heart of `evaluate`."""

import concurrent.futures
import dataclasses
import importlib.util
import os

import numpy as np

from galaxycgan.evaluation.metrics import distances as metrics
from galaxycgan.evaluation.metrics import features
from galaxycgan.evaluation.metrics.morphology import morphology
from galaxycgan.evaluation.metrics.resampling import DRAWS, compare, record, take
from galaxycgan.images.bands import reference_band
from galaxycgan.images.photometry import measure

#: Galaxies that set the softening of magnitudes.
FOR_SOFTENING = 500
#: Draws of metrics that need neighbours to be found again in each.
FEATURE_DRAWS = 12


@dataclasses.dataclass(frozen=True)
class Galaxies:
    """Images with their labels.

    Attributes
    ----------
    images : float32 array [n, band, y, x]
        nJy.
    labels : array [n, label]
        Standardised.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.images)

    def first(self, n):
        """Return the first n galaxies."""
        return Galaxies(self.images[:n], self.labels[:n])


@dataclasses.dataclass(frozen=True)
class Sets:
    """The sets of galaxies that a judgement needs.

    Attributes
    ----------
    real, synthetic : Galaxies
        What is compared.
    other : Galaxies
        More real ones, in none of the other sets: the floor.
    teachers : Galaxies or None
        Real ones that regressors learn from, in none of the sets before.
    training : Galaxies or None
        What the generator learned from; None: unknown.
    other_unseen : bool
        Whether the generator has seen none of `other`.
    columns : tuple of str
        Names of the labels.
    numeric : tuple of bool or None
        Which of them are amounts, and not what tells a category; None: all.
    """

    real: Galaxies
    synthetic: Galaxies
    other: Galaxies
    teachers: Galaxies | None
    training: Galaxies | None
    other_unseen: bool
    columns: tuple
    numeric: tuple | None = None

    @property
    def compared(self):
        """The three sets that are measured alike."""
        return {"real": self.real, "synthetic": self.synthetic, "other": self.other}


@dataclasses.dataclass
class Judgement:
    """Metrics and what they were made of.

    Attributes
    ----------
    metrics : dict of dict
        Name -> record; see `galaxycgan.evaluation.metrics.resampling.record`.
    left_out : dict of str
        Metric -> why there is none.
    morphology : dict of dict of int
        Set -> outcome of the measurement -> number of galaxies.
    measured : dict
        Set -> measurements: 'labels', 'properties', 'shape', 'spectra', 'products', 'counts'.
    neighbours : dict
        What the picture of nearest training galaxies needs.
    """

    metrics: dict = dataclasses.field(default_factory=dict)
    left_out: dict = dataclasses.field(default_factory=dict)
    morphology: dict = dataclasses.field(default_factory=dict)
    measured: dict = dataclasses.field(default_factory=dict)
    neighbours: dict = dataclasses.field(default_factory=dict)
    softening_njy: float = 0.0


def photometry(galaxies, bands, softening_njy, numeric=None):
    """Return the measurements that the quick metrics need of a set; `numeric`: as of `Sets`, by default all are."""
    products, counts = metrics.noise_pairs(galaxies.images)
    numeric = [True] * galaxies.labels.shape[1] if numeric is None else numeric
    return {
        "labels": galaxies.labels,
        "cells": metrics.cell_labels(galaxies.labels, numeric),
        "properties": metrics.properties(galaxies.images, bands, softening_njy),
        "spectra": metrics.power_spectra(galaxies.images),
        "products": products,
        "counts": counts,
    }


def distances(real, synthetic, columns=()):
    """Return the metrics of photometry, spectra and noise: dict of floats.

    Parameters
    ----------
    real, synthetic : dict
        Of `photometry`.
    columns : sequence of str
        Names of the labels: their own distance is added.
    """
    ours, theirs = real["properties"], synthetic["properties"]
    labels = real["labels"], synthetic["labels"]
    out = {f"w1.{name}": value for name, value in metrics.w1_table(ours, theirs).items()}
    if labels[0].shape[1] >= 2:
        out["w1_conditional"] = metrics.w1_conditional(ours, theirs, real["cells"], synthetic["cells"])
    out |= {f"offset.{name}": value for name, value in metrics.offsets(ours, theirs, *labels).items()}
    out["power.mean"], out["power.worst"] = metrics.power_difference(real["spectra"], synthetic["spectra"])
    lags, their_lags = (metrics.noise_lags(each["products"], each["counts"]) for each in (real, synthetic))
    out |= {f"noise_lag.{k + 1}": b - a for k, (a, b) in enumerate(zip(lags, their_lags, strict=True))}
    if columns:
        shifts = metrics.w1_table(*({name: each[:, k] for k, name in enumerate(columns)} for each in labels))
        out |= {f"label_shift.{name}": shifts[name] for name in columns}
    return out


def softening_of(images, bands):
    """Return the softening of magnitudes for sets that are compared with these real images."""
    return metrics.flux_softening(measure(images[:FOR_SOFTENING], bands), images.shape[-1])


def judge(
    sets,
    bands,
    flux_unit_njy,
    random,
    *,
    quick=False,
    shapes=True,
    workers=0,
    draws=DRAWS,
    check=lambda: None,
    step=lambda *_: None,
):
    """Compute all metrics that need no generator.

    Parameters
    ----------
    sets : Sets
    bands : sequence of str
    flux_unit_njy : array [band]
        Softening of the stretch of the network whose features are compared.
    random : numpy.random.Generator
        Of the draws.
    quick : bool
        Leave out morphology and features.
    shapes : bool
        Whether to measure the morphology where it isn't left out already.
    workers : int
        Processes for the morphology; 0: one per core.
    draws : int
        For intervals and floors.
    check : callable
        Raises where the work shall stop.
    step : callable
        Called with the name of a part that is done, or with the name and the share of it that is done.

    Returns
    -------
    Judgement
    """
    out = Judgement(softening_njy=softening_of(sets.real.images, bands))
    # Threads: numpy's sums, sorts and transforms let others run.
    with concurrent.futures.ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as executor:
        measured = executor.map(
            lambda each: photometry(each, bands, out.softening_njy, sets.numeric), sets.compared.values()
        )
        out.measured = dict(zip(sets.compared, measured, strict=True))
    check()
    real, synthetic, other = out.measured.values()
    # Labels that both sets share can't differ.
    columns = () if np.array_equal(real["labels"], synthetic["labels"]) else sets.columns
    out.metrics |= compare(lambda a, b: distances(a, b, columns), real, synthetic, other, random, draws, check)
    _judge_labels(out, sets, bands, random, draws, check)
    step("photometry")
    if quick:
        return out
    if shapes:
        _judge_shapes(out, sets, bands, random, workers, check, step)
        step("morphology")
    _judge_features(out, sets, flux_unit_njy, random, check)
    step("features")
    return out


def _judge_labels(out, sets, bands, random, draws, check):
    """Are the labels of a galaxy still to be read off its image?"""
    if sets.teachers is None:
        out.left_out["label_rmse"] = "too few other real galaxies to learn from"
        return
    taught = metrics.properties(sets.teachers.images, bands, out.softening_njy)
    measured = [(each["properties"], each["labels"]) for each in out.measured.values()]
    errors = metrics.label_errors(taught, sets.teachers.labels, measured)

    def ratios(a, b):
        return {f"label_rmse.{name}": v for name, v in zip(sets.columns, metrics.label_rmse(a, b), strict=True)}

    out.metrics |= compare(ratios, *errors, random, draws, check)


def _judge_shapes(out, sets, bands, random, workers, check, step):
    """Gini, M20, asymmetry, smoothness."""
    if importlib.util.find_spec("statmorph") is None:
        out.left_out["morphology"] = "statmorph is not installed: pip install 'galaxycgan[plots]'"
        return
    total = sum(map(len, sets.compared.values()))
    images = [galaxies.images for galaxies in sets.compared.values()]
    found = morphology(images, bands, workers, check, lambda done: step("morphology", done / total))
    for name, (table, counts) in zip(sets.compared, found, strict=True):
        out.morphology[name], out.measured[name]["shape"] = counts, table

    def shapes(a, b):
        return {f"w1.{name}": value for name, value in metrics.w1_table(a, b).items() if name in a}

    out.metrics |= compare(shapes, *(each["shape"] for each in out.measured.values()), random, check=check)


def _judge_features(out, sets, flux_unit_njy, random, check):
    """Density, coverage, memorisation and two-sample accuracies, in the features of a network of the real labels.

    The last of these in all that is measured on an image, too: how things go together, as a colour with the growth of
    the light, no distribution of one of them shows.
    """
    check()
    all_measured = [features.measured(galaxies.images, flux_unit_njy) for galaxies in sets.compared.values()]
    picked = _some(all_measured, features.COMPARED, random)
    out.metrics["two_sample_photometry"] = _told_apart(*picked, check)
    if sets.teachers is None:
        for name in ("density", "coverage", "two_sample_accuracy", "memorisation"):
            out.left_out[name] = "too few other real galaxies to learn from"
        return
    space = features.FeatureSpace(sets.teachers.images, sets.teachers.labels, flux_unit_njy, check)
    whole = {name: space(galaxies.images) for name, galaxies in sets.compared.items()}
    picked = real, synthetic, other = _some(whole.values(), features.PIECES * features.COMPARED, random)

    def spread(a, b):
        return dict(zip(("density", "coverage"), features.mean_density_and_coverage(a, b), strict=True))

    out.metrics |= compare(spread, real, synthetic, other, random, FEATURE_DRAWS, check)
    out.metrics["two_sample_accuracy"] = _told_apart(*(each[: features.COMPARED] for each in picked), check)
    if sets.training is None:
        out.left_out["memorisation"] = "the galaxies that the generator learned from are not at hand"
        return
    train = space(sets.training.images)
    near = {name: features.nearest(train, each) for name, each in whole.items()}
    away = {name: distance for name, (distance, _) in near.items()}
    # Galaxies that the generator has seen are no measure of what an unseen one looks like.
    second = away["other"] if sets.other_unseen else None
    found = compare(features.memorisation, away["real"], away["synthetic"], second, random, check=check)
    out.metrics |= {f"memorisation.{name}": each for name, each in found.items()}
    out.neighbours = {"distance": away, "nearest": near["synthetic"][1]}


def _some(whole, most, random):
    """Return as many features of each set, in no order; of sets as long as each other the same rows: equal labels."""
    n = min(most, *map(len, whole))
    picks = {size: random.permutation(size)[:n] for size in sorted(set(map(len, whole)))}
    return [each[picks[len(each)]] for each in whole]


def _told_apart(real, synthetic, other, check):
    """Record of the two-sample accuracy; its error is that of counting."""
    check()
    value = features.two_sample_accuracy(real, synthetic)
    found = record(value, np.zeros(0), np.zeros(0))
    error = float(np.sqrt(max(value * (1 - value), 0.01) / (len(real) + len(synthetic))))
    found["interval"] = [value - error, value + error]
    if len(other) > features.FOLDS:
        floor = features.two_sample_accuracy(real, other)
        scatter = float(np.sqrt(0.25 / (len(real) + len(other))))
        found |= {"floor": floor, "floor_interval": [floor - scatter, floor + scatter], "floor_scatter": scatter}
    return found


def reference_magnitude(judgement, bands):
    """Return the asinh magnitudes [n] of the real galaxies in the reference band."""
    return take(judgement.measured["real"]["properties"], slice(None))[bands[reference_band(bands)]]
