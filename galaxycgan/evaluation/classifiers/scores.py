"""How good a classifier is: scores with their intervals, the threshold, the curves, from kinds and probabilities alone.

A score's interval is where it lies in 95% of bootstrap draws of the galaxies (Efron 1979, Ann.
Statist. 7, 1). Draws of a few galaxies that are all right show no scatter: purity and completeness have the interval of
a share (Jeffreys's, Brown, Cai & DasGupta 2001, Stat. Sci. 16, 101), and so has the AUC where a kind is rare (Hanley &
McNeil 1982, Radiology 143, 29).
"""

import numpy as np

DRAWS = 500
INTERVAL = (0.025, 0.975)
#: Standard deviations from the mean that hold 95% of a normal distribution.
NORMAL_95 = 1.96
#: Of fewer galaxies of one class draws of them scatter less than an AUC does.
ENOUGH_TO_DRAW = 100
#: Bins of equal width of the reliability diagram and of the calibration error.
BINS = 10
#: Numbers in memory at a time: draws times galaxies.
LARGEST_PIECE = 2_000_000


def scores(wanted, probability, prior, threshold=0.5, draws=DRAWS, seed=0):
    """Score probabilities.

    Parameters
    ----------
    wanted : array [n]
        1 or 0.
    probability : array [n]
        Of being a target.
    prior : float
        Share of target galaxies in the training split; its log loss is what knowing nothing costs.
    threshold : float
        From this probability on a galaxy is classified as a target.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        n, n_wanted, prior, threshold; log_loss and log_loss_prior (nats), roc_auc, average_precision, brier, purity and
        completeness and f1 at the threshold, calibration_error (expected calibration error, Naeini et al. 2015, AAAI
        29, 2901; `BINS` bins) and calibration_error_of_perfect, what probabilities that are right would show of as
        many galaxies; ``intervals``: name -> [low, high] of the others. NaN where a class has no galaxy.
    """
    wanted, probability = _prepared(wanted, probability)
    n = len(wanted)
    values = {
        name: float(found[0]) for name, found in _measures(wanted, probability, np.ones((1, n)), threshold).items()
    }
    random = np.random.default_rng(seed)
    step = max(1, LARGEST_PIECE // n)
    parts = [
        _measures(wanted, probability, weights(random, min(step, draws - first), n), threshold)
        for first in range(0, draws, step)
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in values if name != "calibration_error"}
    intervals = {name: interval(column) for name, column in columns.items()}
    called, n_wanted = probability >= threshold, int(wanted.sum())
    right = int((wanted * called).sum())
    intervals["purity"], intervals["completeness"] = (share_interval(right, of) for of in (int(called.sum()), n_wanted))
    if min(n_wanted, n - n_wanted) < ENOUGH_TO_DRAW:
        intervals["roc_auc"] = auc_interval(values["roc_auc"], n_wanted, n - n_wanted)
    values["calibration_error_of_perfect"] = _calibration_error_of_perfect(probability, random, min(step, draws))
    values["log_loss_prior"] = float(-np.mean(np.log(np.where(wanted == 1, *np.clip([prior, 1 - prior], 1e-7, 1)))))
    about = {"n": n, "n_wanted": n_wanted, "prior": float(prior), "threshold": float(threshold)}
    return about | values | {"intervals": intervals}


def interval(draws):
    """Return the 95% interval [low, high] of draws; NaN ones do not count."""
    draws = np.asarray(draws)[np.isfinite(draws)]
    return [float(edge) for edge in np.quantile(draws, INTERVAL)] if len(draws) else [np.nan, np.nan]


def share_interval(k, n):
    """Return Jeffreys's 95% interval [low, high] of a share of which k of n are seen; NaN for n = 0."""
    from scipy.special import betaincinv

    if not n:
        return [np.nan, np.nan]
    low, high = (float(betaincinv(k + 0.5, n - k + 0.5, edge)) for edge in INTERVAL)
    return [low if k else 0.0, high if k < n else 1.0]


def auc_interval(auc, n, m):
    """Return Hanley & McNeil's 95% interval [low, high] of an AUC of n galaxies of one kind and m of the other.

    Symmetric in the logarithm of the odds, in which half a pair keeps 0 and 1 finite.
    """
    if not n * m:
        return [np.nan, np.nan]
    a = (auc * n * m + 0.5) / (n * m + 1)
    one, two = a / (2 - a) - a**2, 2 * a**2 / (1 + a) - a**2
    error = np.sqrt((a * (1 - a) + (n - 1) * one + (m - 1) * two) / (n * m)) / (a * (1 - a))
    return [float(1 / (1 + np.exp(-(np.log(a / (1 - a)) + side * NORMAL_95 * error)))) for side in (-1, 1)]


def _calibration_error_of_perfect(probability, random, draws):
    """Return the mean calibration error of galaxies whose kinds are drawn with their probabilities."""
    kinds = random.random((draws, len(probability))) < probability
    return float((np.abs((kinds - probability) @ _in_bins(probability)).sum(1) / len(probability)).mean())


def _in_bins(probability):
    """Return which galaxy is in which bin: bool [n, bin]."""
    return np.minimum((probability * BINS).astype(int), BINS - 1)[:, None] == np.arange(BINS)


def weights(random, draws, n):
    """Return how often each of n galaxies is in each bootstrap draw: float64 [draw, n]."""
    return random.multinomial(n, np.full(n, 1 / n), size=draws).astype(float)


def roc_auc(wanted, probability, weight):
    """Return the area under the ROC curve of weighted galaxies.

    Parameters
    ----------
    wanted, probability : array [n]
    weight : array [draw, n]

    Returns
    -------
    array [draw]
        Ties count half; NaN where a draw has galaxies of one kind only.
    """
    return _ranked(*_prepared(wanted, probability), weight)[0]


def _prepared(wanted, probability):
    return np.asarray(wanted, dtype=np.float64), np.clip(np.asarray(probability, dtype=np.float64), 1e-7, 1 - 1e-7)


def _ranked(wanted, probability, weight):
    """Return ROC AUC and average precision [draw] each."""
    order = np.argsort(-probability, kind="stable")
    last = np.flatnonzero(np.append(np.diff(probability[order]), 1.0))  # of galaxies of equal probability
    sorted_weight = weight[:, order]
    right = np.cumsum(sorted_weight * wanted[order], axis=1)[:, last]
    wrong = np.cumsum(sorted_weight * (1 - wanted[order]), axis=1)[:, last]
    new_right, new_wrong = (np.diff(each, axis=1, prepend=0.0) for each in (right, wrong))
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = (new_wrong * (right - new_right / 2)).sum(1) / (right[:, -1] * wrong[:, -1])
        precision = (new_right * np.nan_to_num(right / (right + wrong))).sum(1) / right[:, -1]
    return auc, precision


def _measures(wanted, probability, weight, threshold):
    """Return all scores of weighted galaxies: name -> [draw]."""
    total = weight.sum(1)
    called = probability >= threshold
    log_likelihood = np.where(wanted == 1, np.log(probability), np.log1p(-probability))
    right = weight @ (wanted * called)
    excess = weight @ ((wanted - probability)[:, None] * _in_bins(probability))
    auc, precision = _ranked(wanted, probability, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "log_loss": -(weight @ log_likelihood) / total,
            "roc_auc": auc,
            "average_precision": precision,
            "brier": weight @ np.square(wanted - probability) / total,
            "purity": right / (weight @ called),
            "completeness": right / (weight @ wanted),
            "f1": 2 * right / (weight @ called + weight @ wanted),
            "calibration_error": np.abs(excess).sum(1) / total,
        }


def curves(wanted, probability):
    """Return the curves of a classifier, one point for each probability that occurs, falling.

    Returns
    -------
    dict of arrays [k]
        threshold, purity, completeness (= true positive rate), false_positive_rate.
    """
    wanted, probability = _prepared(wanted, probability)
    order = np.argsort(-probability, kind="stable")
    last = np.flatnonzero(np.append(np.diff(probability[order]), 1.0))
    right = np.cumsum(wanted[order])[last]
    wrong = np.cumsum(1 - wanted[order])[last]
    return {
        "threshold": probability[order][last],
        "purity": right / (right + wrong),
        "completeness": right / max(right[-1], 1),
        "false_positive_rate": wrong / max(wrong[-1], 1),
    }


def choose_threshold(wanted, probability, purity=0.0):
    """Choose from which probability on a galaxy is classified as a target, on galaxies that were not learned from.

    Parameters
    ----------
    wanted, probability : array [n]
    purity : float
        Wanted share of true ones among those called; 0: the best F1, the harmonic mean of purity and completeness.

    Returns
    -------
    float, str
        The threshold, halfway to the next lower probability, and the rule in words.
    """
    found = curves(wanted, probability)
    middle = (found["threshold"] + np.append(found["threshold"][1:], 0.0)) / 2
    if purity:
        enough = np.flatnonzero(found["purity"] >= purity)
        if len(enough):
            return float(middle[enough[-1]]), f"the most complete with a validation purity of at least {purity:g}"
        best = np.flatnonzero(found["purity"] == found["purity"].max())[-1]
        return float(middle[best]), (
            f"the purest there is on validation, {found['purity'][best]:.3f}: {purity:g} is not reached"
        )
    both = found["purity"] + found["completeness"]
    f1 = 2 * found["purity"] * found["completeness"] / np.where(both > 0, both, 1)
    return float(middle[np.argmax(f1)]), "the best F1 on validation"


def reliability(wanted, probability):
    """Return the points of a reliability diagram, bin by bin, empty ones left out.

    Returns
    -------
    dict of arrays [k]
        probability (mean), share (of target galaxies), error (binomial, one standard deviation), n.
    """
    wanted, probability = _prepared(wanted, probability)
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    n = np.bincount(bins, minlength=BINS)
    full = n > 0
    mean, share = (np.bincount(bins, each, BINS)[full] / n[full] for each in (probability, wanted))
    # Laplace's rule keeps the error of a bin of one kind above zero.
    smooth = (share * n[full] + 1) / (n[full] + 2)
    return {"probability": mean, "share": share, "error": np.sqrt(smooth * (1 - smooth) / n[full]), "n": n[full]}
