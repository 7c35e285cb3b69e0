"""Whether one way of training classifiers beats another: paired differences over fractions and seeds. Trains nothing.

All classifiers judge the same test galaxies, so a bootstrap draw takes the same galaxies for all of them, and the same
seeds for both sides of a difference: what is common to both sides cancels. A bootstrap of a few seeds scatters too
little; that part of it is widened to Student's t interval of as many. What is a matter of chance in one classifier on
these galaxies scatters both with the galaxies and with the seeds, and counts twice: intervals err on the wide side.
"""

import dataclasses

import numpy as np
from scipy.special import stdtrit

from galaxycgan.evaluation.classifiers.scores import INTERVAL, LARGEST_PIECE, NORMAL_95, interval, roc_auc, weights

DRAWS = 1000
#: An interval that holds 0 and is wider than this leaves it open which way is better.
WIDEST = 0.01
#: Training shares up to which the pooled gain is taken.
SMALL = 0.25


@dataclasses.dataclass(frozen=True)
class ClassifierPredictions:
    """What a trained classifier says of the test galaxies.

    Attributes
    ----------
    fraction : float
        Of the training split that it learned from.
    seed : int
    arm : str
        Way of training.
    probability : array [n]
    """

    fraction: float
    seed: int
    arm: str
    probability: np.ndarray


class PairedBootstrap:
    """ROC AUC of all classifiers in the same bootstrap draws of test galaxies and seeds.

    Parameters
    ----------
    wanted : array [n]
        Classes of the test galaxies, 1 or 0.
    judged : list of ClassifierPredictions
        All arms at all fractions and seeds.
    draws, seed : int
    """

    def __init__(self, wanted, judged, draws=DRAWS, seed=0):
        self.random, self.draws = np.random.default_rng(seed), draws
        self.fractions = sorted({each.fraction for each in judged})
        self.seeds = sorted({each.seed for each in judged})
        self.arms = list(dict.fromkeys(each.arm for each in judged))
        n = len(wanted)
        one = np.ones((1, n))
        self.value = {_key(each): roc_auc(wanted, each.probability, one)[0] for each in judged}
        parts, step = {_key(each): [] for each in judged}, max(1, LARGEST_PIECE // n)
        for first in range(0, draws, step):
            weight = weights(self.random, min(step, draws - first), n)
            for each in judged:
                parts[_key(each)].append(roc_auc(wanted, each.probability, weight))
        self.drawn = {key: np.concatenate(found) for key, found in parts.items()}
        # [draw, seed]: which seeds a draw takes, the same at all fractions, as a seed's galaxies lie within each other
        self.picks = self.random.integers(len(self.seeds), size=(draws, len(self.seeds)))
        self.widening = widening(len(self.seeds))

    def mean(self, fraction, arm):
        """Return the mean AUC over the seeds, and of each draw: float, array [draw]; NaN where there is one seed."""
        middle, picked = self._drawn(fraction, arm)
        return self._value(fraction, arm), middle + self.widening * (picked - middle)

    def _value(self, fraction, arm):
        return float(np.mean([self.value[fraction, seed, arm] for seed in self.seeds]))

    def _drawn(self, fraction, arm):
        """Return each draw's mean AUC over all seeds, and over those that it takes: two arrays [draw]."""
        drawn = np.stack([self.drawn[fraction, seed, arm] for seed in self.seeds], 1)
        return drawn.mean(1), np.take_along_axis(drawn, self.picks, 1).mean(1)

    def scatter(self, fraction, arm):
        """Return the standard deviation of the AUC between seeds; NaN for one seed."""
        values = [self.value[fraction, seed, arm] for seed in self.seeds]
        return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan

    def difference(self, fractions, arm, against):
        """Return by how much an arm's mean AUC, averaged over some fractions, is above another's.

        Returns
        -------
        dict
            difference, interval [low, high] (95%), verdict; see `verdict`.
        """
        pairs = [(self.mean(fraction, arm), self.mean(fraction, against)) for fraction in fractions]
        value = float(np.mean([ours[0] - theirs[0] for ours, theirs in pairs]))
        low_high = interval(np.clip(np.mean([ours[1] - theirs[1] for ours, theirs in pairs], axis=0), -1, 1))
        return {"difference": value, "interval": low_high, "verdict": verdict(low_high)}

    def ratio(self, fraction, arm, against):
        """Return an arm's mean AUC over another's: dict of ratio and interval."""
        pairs = zip(self._drawn(fraction, arm), self._drawn(fraction, against), strict=True)
        middle, picked = (np.log(ours / theirs) for ours, theirs in pairs)  # widened as logarithms: never below 0
        drawn = np.exp(middle + self.widening * (picked - middle))
        return {"ratio": self._value(fraction, arm) / self._value(fraction, against), "interval": interval(drawn)}

    def worth(self, fraction, arm, against):
        """Return with which share of the real galaxies another arm does as well as this one at a fraction.

        Read off the other arm's mean AUC between the fractions, against the logarithm of the share.

        Returns
        -------
        dict
            share and its interval [low, high] (95%): the smallest fraction stands for all below it, the largest for
            all above.
        """
        curve = [self.mean(each, against) for each in self.fractions]
        value, drawn = self.mean(fraction, arm)
        share = _share(value, [point for point, _ in curve], self.fractions)
        shares = [_share(*draw, self.fractions) for draw in zip(drawn, np.stack([d for _, d in curve], 1), strict=True)]
        return {"share": share, "interval": interval(shares)}


def _share(auc, curve, fractions):
    """Return the fraction at which a curve, which may only rise, reaches an AUC; NaN where that is unknown."""
    if not np.isfinite([auc, *curve]).all():
        return np.nan
    return float(np.exp(np.interp(auc, np.maximum.accumulate(curve), np.log(fractions))))


def widening(n):
    """Return by how much the bootstrap's scatter of a mean of n is too small for a 95% interval; NaN for n = 1.

    It misses sqrt((n - 1) / n) of the scatter, and Student's t quantile over the normal one.
    """
    return float(np.sqrt(n / (n - 1)) * stdtrit(n - 1, INTERVAL[1]) / NORMAL_95) if n > 1 else np.nan


def _key(judged):
    return judged.fraction, judged.seed, judged.arm


def verdict(low_high):
    """Say in words what an interval of a difference means."""
    low, high = low_high
    if not (np.isfinite(low) and np.isfinite(high)):
        return "undecided"
    wide = ", size undecided" if high - low > WIDEST else ""
    if low > 0:
        return f"gain{wide}"
    if high < 0:
        return f"loss{wide}"
    return "undecided" if wide else "none"


def summarise(bootstrap, baseline, helped, alone):
    """Return the study's numbers.

    Parameters
    ----------
    bootstrap : PairedBootstrap
    baseline : str
        The arm that others are compared with: standard augmentation.
    helped, alone : str
        The arm with generated galaxies beside real ones, and that with generated ones alone; '' where there is none.

    Returns
    -------
    dict
        arms: list of fraction, arm, roc_auc, interval, scatter, and difference, difference_interval, verdict against
        the baseline, of the helped arm at shares below the largest `worth`, see `PairedBootstrap.worth`; pooled: the
        gain at fractions up to `SMALL`; synthetic_alone: AUC ratio at the largest fraction;
        goals: name -> met, missed, undecided.
    """
    rows = []
    for fraction in bootstrap.fractions:
        for arm in bootstrap.arms:
            value, drawn = bootstrap.mean(fraction, arm)
            row = {"fraction": fraction, "arm": arm, "roc_auc": value, "interval": interval(np.clip(drawn, 0, 1))}
            row["scatter"] = bootstrap.scatter(fraction, arm)
            if arm != baseline:
                found = bootstrap.difference([fraction], arm, baseline)
                row |= {"difference": found["difference"], "difference_interval": found["interval"]}
                row["verdict"] = found["verdict"]
            if arm == helped and fraction < bootstrap.fractions[-1]:
                row["worth"] = bootstrap.worth(fraction, arm, baseline)
            rows.append(row)
    small = [fraction for fraction in bootstrap.fractions if fraction <= SMALL]
    most = bootstrap.fractions[-1]
    pooled = bootstrap.difference(small, helped, baseline) if small and helped else None
    full = bootstrap.difference([most], helped, baseline) if most == 1 and helped else None
    ratio = bootstrap.ratio(most, alone, baseline) if alone else None
    return {
        "arms": rows,
        "pooled": pooled,
        "synthetic_alone": ratio,
        "goals": _goals(pooled, full, ratio if most == 1 else None),
    }


def _goals(pooled, full, ratio):
    """Return which of the study's goals are met; those without numbers are left out."""
    goals = {}
    if pooled:
        low, high = pooled["interval"]
        met = pooled["difference"] >= 0.03 and low > 0
        goals["pooled gain at 25% and below of 0.03 or more, interval above 0"] = (
            "met" if met else "missed" if high < 0.03 or low > 0 else "undecided"
        )
    if full:
        low, high = full["interval"]
        goals["no loss of 0.005 or more at 100%"] = (
            "met" if low > -0.005 else "missed" if high < -0.005 else "undecided"
        )
    if ratio:
        low, high = ratio["interval"]
        met = ratio["ratio"] >= 0.99 and high - low <= 2 * WIDEST
        goals["generated galaxies alone reach 0.99 of the AUC of real ones"] = (
            "met" if met else "missed" if high < 0.99 else "undecided"
        )
    return goals
