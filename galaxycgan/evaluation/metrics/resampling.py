"""How sure a number is, and what two real sets differ by: intervals and floors of any metric.

A set of measurements is an array [n, ...] or a dict of such, nested as one likes; row k belongs to galaxy k.
"""

import numpy as np

#: Draws for an interval, and for a floor.
DRAWS, FEW_DRAWS = 40, 20
#: The interval that is given: one standard deviation of a normal distribution.
QUANTILES = (0.16, 0.84)


def take(measured, rows):
    """Return some rows of a set of measurements."""
    if isinstance(measured, dict):
        return {name: take(values, rows) for name, values in measured.items()}
    return measured[rows]


def join(first, second):
    """Return two sets of measurements as one."""
    if isinstance(first, dict):
        return {name: join(values, second[name]) for name, values in first.items()}
    return np.concatenate([first, second])


def count(measured):
    """Return the number of galaxies of a set of measurements."""
    return count(next(iter(measured.values()))) if isinstance(measured, dict) else len(measured)


def compare(metric, real, synthetic, other, random, draws=DRAWS, check=lambda: None):
    """Compute metrics of two sets, each with an interval, beside the floor: what two real sets differ by.

    The interval is the scatter of the metric between half-samples (delete-half jackknife, Shao & Wu 1989, Ann. Statist.
    17, 1176): drawn without repeats, since repeats would count as a difference of their own. The floor is the metric
    between two random halves of all real galaxies, many times over.

    Parameters
    ----------
    metric : callable
        (real, synthetic) -> dict of floats.
    real, synthetic : set of measurements
    other : set of measurements or None
        Real galaxies, disjoint from `real`. None: the floor is made of `real` alone, of half the size.
    random : numpy.random.Generator
    draws : int
    check : callable
        Called at every draw; raises where the work shall stop.

    Returns
    -------
    dict of dict
        For each metric ``value``, ``interval`` [low, high], ``floor``, ``floor_interval`` [low, high] and
        ``floor_scatter`` (standard deviation).
    """
    pool = real if other is None else join(real, other)
    half = min(count(pool) // 2, count(real))
    shifts, floors = [], []
    for _ in range(draws):
        check()
        pair = (take(each, random.permutation(count(each))[: max(2, count(each) // 2)]) for each in (real, synthetic))
        shifts.append(metric(*pair))
        order = random.permutation(count(pool))
        floors.append(metric(take(pool, order[:half]), take(pool, order[half : 2 * half])))
    values = metric(real, synthetic)
    return {name: record(value, _column(shifts, name), _column(floors, name)) for name, value in values.items()}


def _column(draws, name):
    return np.array([draw[name] for draw in draws], dtype=float)


def record(value, shifts, floors):
    """Return what is reported of a metric.

    Parameters
    ----------
    value : float
    shifts : array [draw]
        The metric of draws whose scatter is the value's.
    floors : array [draw]
        The metric between real sets; empty: unknown. Draws of so few galaxies that there is no number do not count.
    """
    shifts, floors = (np.asarray(draws)[np.isfinite(draws)] for draws in (shifts, floors))
    spread = np.quantile(shifts, QUANTILES) - shifts.mean() if len(shifts) else None
    known = len(floors) > 0
    return {
        "value": float(value),
        "interval": None if spread is None else [float(value + step) for step in spread],
        "floor": float(floors.mean()) if known else None,
        "floor_interval": [float(edge) for edge in np.quantile(floors, QUANTILES)] if known else None,
        "floor_scatter": float(floors.std()) if known else None,
    }
