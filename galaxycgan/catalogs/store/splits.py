"""Which split a galaxy is in, and how alike the splits are."""

import hashlib

import numpy as np
from scipy.special import kolmogorov

SPLITS = {"train": 0, "val": 1, "test": 2}
NO_SPLIT = -1
QUANTILES = (0.05, 0.5, 0.95)


def split_of(ids, salt="galaxycgan-1", fractions=(0.8, 0.1, 0.1)):
    """Return the split of each id: a hash of the id alone, so that it stays when data are added.

    Parameters
    ----------
    ids : int64 array [n]
    salt : str
        Another salt gives another, independent split.
    fractions : tuple of float
        Shares of train, validation and test.

    Returns
    -------
    int8 array [n]
        0 train, 1 validation, 2 test.
    """
    words = np.ascontiguousarray(ids, dtype="<i8").tobytes()
    base = hashlib.blake2b(salt.encode(), digest_size=8)
    digests = bytearray(len(words))
    for start in range(0, len(words), 8):
        one = base.copy()
        one.update(words[start : start + 8])
        digests[start : start + 8] = one.digest()
    uniform = np.frombuffer(digests, "<u8") / 2.0**64
    edges = [fractions[0], fractions[0] + fractions[1]]
    return np.searchsorted(edges, uniform, side="right").astype(np.int8)


def split_report(split, labels):
    """Say how alike the splits are: quantiles of each label, and a Kolmogorov-Smirnov test against train.

    Parameters
    ----------
    split : int8 array [n]
    labels : dict
        {name: float64 array [n]}.

    Returns
    -------
    dict
        {split: {'n', label: {'quantiles': [5%, 50%, 95%], 'ks_p': p-value or None}}}; a p-value below 0.001 or so says
        that the split is not a fair sample (or that its galaxies are not independent, as in clusters).
    """
    members = {name: split == value for name, value in SPLITS.items()}
    found = {name: {"n": int(which.sum())} for name, which in members.items()}
    for label, values in labels.items():
        good = {name: values[which & np.isfinite(values)] for name, which in members.items()}
        for name, some in good.items():
            quantiles = [float(value) for value in np.quantile(some, QUANTILES)] if len(some) else None
            p_value = None if name == "train" else _ks_p(good["train"], some)
            found[name][label] = {"quantiles": quantiles, "ks_p": p_value}
    return found


def _ks_p(a, b):
    """Return the p-value of the two-sample Kolmogorov-Smirnov test, in the limit of many; None for fewer than 2.

    scipy.stats has the same and takes longer to import than a survey of 10,000 galaxies to convert.
    """
    if min(len(a), len(b)) < 2:
        return None
    both = np.concatenate([a, b])
    shares = [np.searchsorted(np.sort(one), both, side="right") / len(one) for one in (a, b)]
    distance = np.abs(shares[0] - shares[1]).max()
    return float(kolmogorov(distance * np.sqrt(len(a) * len(b) / len(both))))


def split_lines(splits):
    """Return a line for each split and label: are the split's galaxies like those it is trained on?

    Parameters
    ----------
    splits : dict or None
        As `split_report` returns it; None where no galaxy is in a split.

    Returns
    -------
    list of str
    """
    lines = [f"  {'split':<8}{'n':>10}  {'label':<16}{'5%':>12}{'median':>12}{'95%':>12}{'p, like train':>15}"]
    for split in SPLITS:
        facts = (splits or {}).get(split, {})
        for label, values in facts.items():
            if label != "n":
                numbers = "".join(f"{_number(value, '.5g'):>12}" for value in values["quantiles"] or [None] * 3)
                head = f"  {split:<8}{facts['n']:>10,}  {label:<16}"
                lines.append(f"{head}{numbers}{_number(values['ks_p'], '.2g'):>15}")
    return lines if len(lines) > 1 else []


def _number(value, style):
    """Write a number that may be missing."""
    return "-" if value is None else format(value, style)
