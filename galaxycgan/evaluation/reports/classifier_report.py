"""The report of a classifier: curves, its most confident mistakes with their pictures, one page. Scores nothing."""

import re
import statistics

import numpy as np

from galaxycgan.catalogs.schema.columns import MISSING_INT
from galaxycgan.evaluation.classifiers.scores import BINS, curves, reliability
from galaxycgan.evaluation.figures import galaxy_pictures
from galaxycgan.evaluation.figures.style import OTHER, REAL, SYNTHETIC, WIDTH_INCH, save_figure, style
from galaxycgan.evaluation.reports.html_page import as_json, embedded, limits, number, write_page

OVERVIEW, OVERVIEW_SURVEY, MISTAKES, REPORT = "classifier.png", "classifier_survey.png", "mistakes.png", "report.html"
#: What a run's report may leave beside it.
PICTURES = (OVERVIEW, OVERVIEW_SURVEY, MISTAKES)
#: Mistakes of each kind that are shown.
SHOWN = 8
#: Test galaxies of a class below which a reader is warned.
ENOUGH = 100
#: The sets that a classifier is judged on, what they are called, and the words for them; the last that is there leads.
SETS = {
    "validation": "validation galaxies, which chose the epoch, the temperature and the threshold",
    "test": "test galaxies of the store",
    "survey": "galaxies of another survey",
}
#: Score -> what it means.
ROWS = {
    "roc_auc": ("ROC AUC", "how often a target galaxy gets a higher probability than another; 0.5 is guessing"),
    "average_precision": (
        "average precision",
        "mean purity over all completenesses; guessing gives the share of targets",
    ),
    "log_loss": ("log loss [nats]", "surprise at the truth; to compare with that of the prior"),
    "brier": ("Brier score", "mean squared error of the probabilities"),
    "calibration_error": (
        "calibration error",
        f"mean distance from the diagonal below, {BINS} bins; so few galaxies of perfect probabilities would show some",
    ),
    "purity": ("purity", "share of true targets among galaxies classified as targets, at the threshold"),
    "completeness": ("completeness", "share of the targets that are classified as such, at the threshold"),
    "f1": ("F1", "harmonic mean of the two"),
}


def write_report(run, metrics, results, stores, sky_rms):
    """Write pictures and report.html into a run directory.

    Parameters
    ----------
    run : Path
    metrics : dict
        What metrics.json will hold.
    results : dict
        Set -> (ids [n], wanted [n], probability [n]).
    stores : dict
        Set -> GalaxyStore.
    sky_rms : array [band]
        nJy; sets the stretch of the pictures.
    """
    for name in PICTURES:  # of an earlier report, which may have had other sets
        (run / name).unlink(missing_ok=True)
    overviews = []
    for name in reversed(list(results)):
        if name == "validation":
            continue
        picture = run / (OVERVIEW if name == "test" else OVERVIEW_SURVEY)
        _, wanted, probability = results[name]
        prior = metrics["validation"]["log_loss_prior"]
        overview(picture, wanted, probability, metrics[name], metrics["learning"], prior)
        overviews.append({"name": picture.stem, "title": f"Curves: {SETS[name]}", "data": embedded(picture)})
    name = list(results)[-1]
    found = metrics[name]
    write_page(
        run / REPORT,
        "classifier.html",
        title=f"Classifier: {metrics['target']}",
        metrics=metrics,
        learned=_learned(metrics),
        leading=found,
        few=min(found["n_wanted"], found["n"] - found["n_wanted"]) < ENOUGH,
        enough=ENOUGH,
        sets=list(results),
        set_words=SETS,
        scores=[_score(metrics, results, key) for key in ROWS],
        overviews=overviews,
        mistakes=_mistakes(run, name, metrics, results[name], stores[name], sky_rms),
        facts=as_json(
            {name: metrics[name] for name in ("tool", "created", "request", "store", "test_store", "calibration")}
        ),
    )


def _learned(metrics):
    """Say what the classifier learned from."""
    real = f"{metrics['galaxies']['training']:,} real galaxies of {metrics['store']}"
    if not metrics["synthetic_per_epoch"]:
        return real
    generated = f"{metrics['synthetic_per_epoch']:,} generated galaxies an epoch"
    return generated if metrics["request"]["synthetic_share"] == 1 else f"{generated} and {real}"


def _score(metrics, results, key):
    """Return a row of the table: a score of each set, and beside it its interval or what to compare it with."""

    def beside(found):
        if key in found["intervals"]:
            return limits(found["intervals"][key])
        return f"perfect ones: {number(found[f'{key}_of_perfect'])}"

    title, words = ROWS[key]
    return {
        "title": title,
        "words": words,
        "cells": [(name, metrics[name][key], beside(metrics[name])) for name in results],
    }


def overview(path, wanted, probability, found, history, prior):
    """Draw learning curves, ROC, purity against completeness, histogram and reliability diagram into one picture.

    Parameters
    ----------
    path : Path
        PNG to write.
    wanted, probability : array [n]
    found : dict
        Of `galaxycgan.evaluation.classifiers.scores.scores`.
    history : list of dict
        train_loss, val_loss by epoch.
    prior : float
        Log loss [nats] of the prior alone on the validation galaxies.
    """
    plt = style()
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH_INCH, 6.4))
    (learning, roc, recall), (histogram, honest, cut) = axes
    _draw_learning(learning, history, prior)
    line = curves(wanted, probability)
    at = np.searchsorted(-line["threshold"], -found["threshold"], side="right") - 1
    roc.plot(np.append(0, line["false_positive_rate"]), np.append(0, line["completeness"]), color=OTHER)
    roc.plot([0, 1], [0, 1], color="0.5", ls=":")
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, AUC = {found['roc_auc']:.3f}")
    recall.plot(line["completeness"], line["purity"], color=OTHER)
    recall.axhline(np.mean(wanted), color="0.5", ls=":")
    title = f"Average precision = {found['average_precision']:.3f}"
    recall.set(xlabel="completeness", ylabel="purity", xlim=(0, 1.02), ylim=(0, 1.02), title=title)
    if at >= 0:
        roc.plot(line["false_positive_rate"][at], line["completeness"][at], "o", color=SYNTHETIC)
        recall.plot(line["completeness"][at], line["purity"][at], "o", color=SYNTHETIC)
    edges = np.linspace(0, 1, 2 * BINS + 1)
    histogram.hist(probability[wanted == 0], edges, alpha=0.5, color=REAL, label="no target")
    histogram.hist(probability[wanted == 1], edges, alpha=0.5, color=SYNTHETIC, label="target")
    histogram.set(xlabel="probability", ylabel="galaxies", xlim=(0, 1), title=f"{len(wanted):,} galaxies")
    histogram.legend()
    points = reliability(wanted, probability)
    honest.plot([0, 1], [0, 1], color="0.5", ls=":")
    honest.errorbar(points["probability"], points["share"], points["error"], fmt="o-", color=OTHER, ms=4)
    honest.set(xlabel="probability", ylabel="share of target galaxies", xlim=(0, 1), ylim=(0, 1))
    honest.set_title(f"Reliability, error {found['calibration_error']:.3f}")
    cut.plot(line["threshold"], line["purity"], color=OTHER, label="purity")
    cut.plot(line["threshold"], line["completeness"], color=SYNTHETIC, label="completeness")
    cut.axvline(found["threshold"], color="0.5", ls=":", label="threshold")
    cut.set(xlabel="threshold", title="What a threshold gives", xlim=(0, 1), ylim=(0, 1.02))
    cut.legend()
    figure.tight_layout()
    save_figure(figure, path)


def _draw_learning(axis, history, prior):
    axis.plot([entry["train_loss"] for entry in history], color=REAL, label="training")
    axis.plot([entry["val_loss"] for entry in history], color=OTHER, label="validation")
    axis.axhline(prior, color="0.5", ls=":", label="prior alone, validation")
    axis.set(xlabel="epoch", ylabel="log loss [nats]", title="Learning curves")
    axis.legend()


def confident_mistakes(wanted, probability, threshold, shown=SHOWN):
    """Return which galaxies are most confidently wrong: int arrays, at most `shown` each.

    Returns
    -------
    missed, intruders : int array
        Targets of the lowest probability; other galaxies of the highest.
    """
    missed = np.flatnonzero((wanted == 1) & (probability < threshold))
    intruders = np.flatnonzero((wanted == 0) & (probability >= threshold))
    lowest = missed[np.argsort(probability[missed], kind="stable")][:shown]
    return lowest, intruders[np.argsort(-probability[intruders], kind="stable")][:shown]


def _cell(value):
    """Return a value of a catalog's column as text, a dash where it is missing."""
    if np.ma.is_masked(value) or value.dtype.kind in "iU" and value in (MISSING_INT, ""):
        return number(None)
    return number(value) if value.dtype.kind == "f" else str(value)


def _mistakes(run, name, metrics, result, store, sky_rms):
    """Draw the most confident mistakes; return what the page shows of them, None where there are none."""
    ids, wanted, probability = result
    threshold = metrics["calibration"]["threshold"]
    missed, intruders = confident_mistakes(wanted, probability, threshold)
    groups = [("target,\nmissed", missed), ("no target,\nclassified as one", intruders)]
    groups = [(title, which) for title, which in groups if len(which)]
    if not groups:
        return None
    picture, rows = run / MISTAKES, store.rows_of(ids)
    names = [column for column in store.columns if re.search(rf"\b{re.escape(column)}\b", metrics["target"])]
    names += [column for column in ("photo_z", "log_mass") if column in store.columns and column not in names]
    columns = {column: store.column(column)[rows] for column in names if column != store.id_column}
    pictures = [galaxy_pictures.colour(store.images(rows[which]), sky_rms) for _, which in groups]
    titles = [f"p = {p:.2f}" for p in probability[groups[0][1]]] if len(groups) == 1 else ()
    # One lone mistake is drawn no larger than a row of them
    width = WIDTH_INCH * (1 + max(map(len, pictures))) / (1 + SHOWN)
    galaxy_pictures.gallery(picture, pictures, [title for title, _ in groups], titles, figure_width=width)
    share = statistics.fmean((probability >= threshold) != (wanted == 1))
    return {
        "caption": f"{share:.1%} of the {name} galaxies are on the wrong side of the threshold; these most of all, in"
        " order.",
        "data": embedded(picture),
        "id_column": store.id_column,
        "columns": ["probability", *columns],
        "rows": [
            {
                "id": ids[k],
                "group": title,
                "cells": [_cell(value) for value in (probability[k], *(each[k] for each in columns.values()))],
            }
            for title, which in groups
            for k in which
        ],
    }
