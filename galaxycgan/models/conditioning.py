"""Labels of galaxies to the numbers that the networks take, and how far a request lies from the training data."""

import dataclasses

import numpy as np

from galaxycgan.errors import UserError

NEIGHBOURS = 5
MOST_REFERENCE = 20_000
#: A request is flagged where fewer than one training galaxy in a hundred is as lonely.
FLAG_QUANTILE = 0.99
#: Each category is a number that the networks take, and is learned from its own galaxies: of more than some there must
#: be two for each.
SOME_CATEGORIES, MOST_CATEGORIES = 32, 256
#: Of the standard deviation: what scales differ by that are the same but for the rounding of a machine.
SAME_SCALE = 1e-9
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
        Of the transformed columns; 0 and 1 for categories.
    reference : array [n, n_conditions]
        Standardised labels of the training galaxies (20,000 at most): what "seen" means.
    categories : tuple of tuples of float
        For each column its values in ascending order, where it holds categories; () where it holds numbers.
    """

    columns: tuple
    logarithmic: tuple
    mean: tuple
    std: tuple
    reference: np.ndarray
    categories: tuple

    @property
    def names(self):
        """Return what each standardised number tells: the column, or ``column=value`` for each of its categories."""
        each = zip(self.columns, self.categories, strict=True)
        return tuple(n for column, values in each for n in ([f"{column}={v:g}" for v in values] or [column]))

    @property
    def numeric(self):
        """Return which standardised numbers are amounts, and not what tells a category: list of bool."""
        return [not values for values in self.categories for _ in values or [0]]

    @property
    def n_conditions(self):
        """Return the number of standardised numbers: one for a column of numbers, one for each category of others."""
        return len(self.names)

    @classmethod
    def fit(cls, columns, labels, where="the store", categorical=()):
        """Learn from training labels.

        Parameters
        ----------
        columns : sequence of str
            Names.
        labels : array [n, column]
            Values of the training split.
        where : str
            Named in errors.
        categorical : sequence of str
            Columns whose values are categories: numbers that mean a kind and not an amount.

        Raises
        ------
        UserError
            Where a column is not finite, not positive though logarithmic, constant, or of too many categories.
        """
        labels = np.asarray(labels, dtype=np.float64)
        logarithmic = _logarithmic(columns, categorical)
        bad = (~can_be_labels(columns, labels, categorical)).sum(0)
        for name, number in zip(columns, bad, strict=True):
            if number:
                positive = name in LOGARITHMIC and name not in categorical
                legal = f"{'0' if positive else '-1e99'} < {name} < 1e99"
                raise UserError(
                    f"{where}: column {name} holds {number} values that can't be labels (not finite"
                    f'{" or <= 0" if positive else ""}); galaxycgan select --where "{legal}" leaves them out'
                )
        transformed = _transform(labels, logarithmic)
        mean, std = transformed.mean(0), transformed.std(0)
        constant = std <= 1e-12 * np.abs(transformed).max(0)  # relative: fluxes in cgs units are tiny numbers
        if constant.any():
            name = columns[int(np.argmax(constant))]
            raise UserError(f"{where}: column {name} is the same for all training galaxies: it can't be a label")
        categories = tuple(
            tuple(np.unique(labels[:, k]).tolist()) if name in categorical else () for k, name in enumerate(columns)
        )
        for name, values in zip(columns, categories, strict=True):
            most = min(MOST_CATEGORIES, max(SOME_CATEGORIES, len(labels) // 2))
            if len(values) > most:
                raise UserError(
                    f"{where}: column {name} has {len(values)} categories, at most {most} of {len(labels)} galaxies:"
                    " is it a number?"
                )
        mean, std = (np.where([bool(v) for v in categories], *pair) for pair in ((0.0, mean), (1.0, std)))
        numbers = tuple(mean.tolist()), tuple(std.tolist())
        bare = cls(tuple(columns), logarithmic, *numbers, reference=np.empty(0), categories=categories)
        rows = evenly_spaced(len(labels), MOST_REFERENCE)
        return dataclasses.replace(bare, reference=bare.standardise(labels[rows]).astype(np.float64))

    def standardise(self, labels):
        """Map labels [n, column] to float32 [n, n_conditions].

        Numbers get about zero mean and unit scatter; a category becomes a 1 among zeros.

        Raises
        ------
        UserError
            Where a category was not among the training galaxies.
        """
        labels = np.asarray(labels, dtype=np.float64)
        scaled = (_transform(labels, self.logarithmic) - self.mean) / self.std
        if not any(self.categories):
            return scaled.astype(np.float32)
        parts = [
            self._one_of(k, labels[:, k]) if values else scaled[:, [k]] for k, values in enumerate(self.categories)
        ]
        return np.concatenate(parts, 1).astype(np.float32)

    def legal(self, labels):
        """Return which rows of labels [n, column] the networks can take: bool [n].

        Numbers must be finite, and positive where their logarithm is taken; categories those of training galaxies.
        """
        fits = _possible(labels, self.logarithmic)
        for k, values in enumerate(self.categories):
            if values:
                fits[:, k] = np.isin(np.asarray(labels)[:, k], values)
        return fits.all(1)

    def _one_of(self, column, labels):
        """Return a 1 among zeros for each label; NaN where there is none."""
        values = np.array(self.categories[column])
        missing = np.isnan(labels)
        strange = np.setdiff1d(labels[~missing], values)
        if len(strange):
            known = ", ".join(f"{value:g}" for value in values)
            raise UserError(
                f"{self.columns[column]} {strange[0]:g} is none of the training galaxies' categories: {known}"
            )
        return np.where(missing[:, None], np.nan, labels[:, None] == values)

    def restore(self, standardised):
        """Invert `standardise`; the largest of a category's numbers counts."""
        standardised = np.asarray(standardised, dtype=np.float64)
        widths = [max(len(values), 1) for values in self.categories]
        parts = np.split(standardised, np.cumsum(widths)[:-1], axis=1)
        columns = [
            np.array(values)[part.argmax(1)] if values else part[:, 0] * self.std[k] + self.mean[k]
            for k, (part, values) in enumerate(zip(parts, self.categories, strict=True))
        ]
        transformed = np.stack(columns, 1)
        return np.where(self.logarithmic, 10.0 ** np.where(self.logarithmic, transformed, 0), transformed)

    def typical(self, labels):
        """Return the median of each column [column], of categories the commonest."""
        middle = np.median(labels, axis=0)
        for k, values in enumerate(self.categories):
            if values:
                middle[k] = max(values, key=lambda value: (labels[:, k] == value).sum())
        return middle

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
        from scipy.spatial import cKDTree  # half a second that a training starts without

        tree = cKDTree(self.reference)
        k = min(NEIGHBOURS, len(self.reference))
        own = tree.query(self.reference, k=[min(k + 1, len(self.reference))])[0][:, 0]
        rim = max(float(np.quantile(own, FLAG_QUANTILE)), 1e-12)
        score = tree.query(self.standardise(labels), k=[k])[0][:, 0] / rim
        return score, score > 1

    @property
    def flags(self):
        """Names of the labels that are 1 for true and 0 for false."""
        pairs = zip(self.columns, self.categories, strict=True)
        return tuple(name for name, values in pairs if values == (0.0, 1.0))

    @property
    def dtypes(self):
        """Return the type in which a catalog holds each label: flags, other categories as integers, numbers."""
        flags = self.flags
        pairs = zip(self.columns, self.categories, strict=True)
        return tuple(np.dtype(bool if name in flags else np.int64 if values else np.float64) for name, values in pairs)

    def as_noted(self, noted):
        """Return this with the scales that `to_dict` noted elsewhere; itself where these are others.

        The last digit of a logarithm depends on the processor.
        """
        mine = self.to_dict()
        scales = [(np.array(each["mean"]), np.array(each["std"])) for each in (mine, noted)]
        other = any(mine[name] != noted[name] for name in mine if name not in ("mean", "std"))
        if other or any(np.any(np.abs(a - b) > SAME_SCALE * scales[0][1]) for a, b in zip(*scales, strict=True)):
            return self
        return dataclasses.replace(self, mean=tuple(noted["mean"]), std=tuple(noted["std"]))

    def to_dict(self):
        """Return plain values for JSON, without the reference labels."""
        return {
            "columns": list(self.columns),
            "logarithmic": list(self.logarithmic),
            "mean": list(self.mean),
            "std": list(self.std),
            "categories": [list(values) for values in self.categories],
        }

    @classmethod
    def from_dict(cls, values, reference):
        """Invert `to_dict`."""
        fields = {name: tuple(values[name]) for name in ("columns", "logarithmic", "mean", "std")}
        categories = tuple(map(tuple, values["categories"]))
        return cls(**fields, reference=np.asarray(reference, dtype=np.float64), categories=categories)


def can_be_labels(columns, labels, categorical=()):
    """Return which labels [n, column] are finite, and positive where their logarithm is taken: bool [n, column]."""
    return _possible(labels, _logarithmic(columns, categorical))


def _possible(labels, logarithmic):
    labels = np.asarray(labels, dtype=np.float64)
    return np.isfinite(labels) & ((labels > 0) | ~np.array(logarithmic, dtype=bool))


def _logarithmic(columns, categorical):
    return tuple(name in LOGARITHMIC and name not in categorical for name in columns)


def evenly_spaced(n, most):
    """Return at most `most` of the indices 0..n-1, evenly spread: int array."""
    return np.linspace(0, n - 1, min(n, most)).astype(int)


def _transform(labels, logarithmic):
    """Take the logarithm of the columns that need it."""
    out = labels.copy()
    for k, take in enumerate(logarithmic):
        if take:
            out[:, k] = np.log10(np.maximum(labels[:, k], 1e-6))
    return out
