"""Labels of galaxies to the numbers that the networks take, and how far a request lies from the training data."""

import dataclasses

import numpy as np
from scipy.spatial import cKDTree

from galaxycgan.errors import UserError

NEIGHBOURS = 5
MOST_REFERENCE = 20_000
#: A request is flagged where fewer than one training galaxy in a hundred is as lonely.
FLAG_QUANTILE = 0.99
#: Columns that are positive and skewed: the networks take their logarithm.
LOGARITHMIC = ("photo_z", "redshift", "specz_redshift", "z")


@dataclasses.dataclass(frozen=True)
class Conditioning:
    """Transform and standardisation of label columns, learned on the training split only.

    Attributes
    ----------
    columns : tuple of str
        Names in the store's catalog, in order.
    logarithmic : tuple of bool
        Whether log10 of the column is taken first.
    mean, std : tuple of float
        Of the transformed columns.
    reference : array [n, column]
        Standardised labels of the training galaxies (20,000 at most): what "seen" means.
    """

    columns: tuple
    logarithmic: tuple
    mean: tuple
    std: tuple
    reference: np.ndarray

    @classmethod
    def fit(cls, columns, labels, where="the store"):
        """Learn from training labels.

        Parameters
        ----------
        columns : sequence of str
            Names.
        labels : array [n, column]
            Values of the training split.
        where : str
            Named in errors.

        Raises
        ------
        UserError
            Where a column is not finite, not positive though logarithmic, or constant.
        """
        labels = np.asarray(labels, dtype=np.float64)
        logarithmic = tuple(name in LOGARITHMIC for name in columns)
        for k, name in enumerate(columns):
            bad = ~np.isfinite(labels[:, k]) | (logarithmic[k] & (labels[:, k] <= 0))
            if bad.any():
                raise UserError(
                    f"{where}: column {name} holds {bad.sum()} values that can't be labels (not finite or <= 0)"
                )
        transformed = _transform(labels, logarithmic)
        mean, std = transformed.mean(0), transformed.std(0)
        if (std < 1e-9).any():
            name = columns[int(np.argmin(std))]
            raise UserError(f"{where}: column {name} is the same for all training galaxies: it can't be a label")
        reference = ((transformed - mean) / std)[spread(len(labels), MOST_REFERENCE)]
        return cls(tuple(columns), logarithmic, tuple(mean.tolist()), tuple(std.tolist()), reference)

    def standardise(self, labels):
        """Map labels [n, column] to float32 [n, column] of about zero mean and unit scatter."""
        labels = np.asarray(labels, dtype=np.float64)
        return ((_transform(labels, self.logarithmic) - self.mean) / self.std).astype(np.float32)

    def restore(self, standardised):
        """Invert `standardise`."""
        transformed = np.asarray(standardised, dtype=np.float64) * self.std + self.mean
        return np.where(self.logarithmic, 10.0**transformed, transformed)

    def novelty(self, labels):
        """Score how far requests lie from the training galaxies.

        Returns
        -------
        score : array [n]
            Distance to the fifth nearest training galaxy in standardised labels, over the distance that 99% of the
            training galaxies have to theirs. 1 is the rim of the known.
        flag : bool array [n]
            Score above 1.
        """
        tree = cKDTree(self.reference)
        k = min(NEIGHBOURS, len(self.reference))
        own = tree.query(self.reference, k=[min(k + 1, len(self.reference))])[0][:, 0]
        rim = max(float(np.quantile(own, FLAG_QUANTILE)), 1e-12)
        score = tree.query(self.standardise(labels), k=[k])[0][:, 0] / rim
        return score, score > 1

    def to_dict(self):
        """Return plain values for JSON, without the reference labels."""
        return {
            "columns": list(self.columns),
            "logarithmic": list(self.logarithmic),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, values, reference):
        """Invert `to_dict`."""
        fields = {name: tuple(values[name]) for name in ("columns", "logarithmic", "mean", "std")}
        return cls(**fields, reference=np.asarray(reference, dtype=np.float64))


def spread(n, most):
    """Return at most `most` of the indices 0..n-1, evenly spread: int array."""
    return np.linspace(0, n - 1, min(n, most)).astype(int)


def _transform(labels, logarithmic):
    """Take the logarithm of the columns that want it."""
    out = labels.copy()
    for k, take in enumerate(logarithmic):
        if take:
            out[:, k] = np.log10(np.maximum(labels[:, k], 1e-6))
    return out
