"""Populations: the labels of the galaxies that a recipe asks for.

Any stretch of rows can be drawn by itself, so that memory doesn't grow with the number of galaxies and a shard draws
only its own.
"""

import abc

import numpy as np
from scipy.special import ndtr

from galaxycgan.errors import UserError
from galaxycgan.populations.mass_function import MassFunction
from galaxycgan.populations.recipes import Recipe
from galaxycgan.randomness import normals

__all__ = ["Population", "Recipe", "draw_labels", "population"]


class Population(abc.ABC):
    """Galaxies that are drawn by row number.

    Parameters
    ----------
    recipe : Recipe
    conditioning : Conditioning
        Columns of the generator and its training labels.

    Attributes
    ----------
    n : int
        Number of galaxies.
    extra : QTable [n] or None
        Columns that ride along.
    about : dict
        JSON values for provenance: what was found out while drawing.
    """

    extra = None

    def __init__(self, recipe, conditioning):
        self.recipe, self.conditioning, self.about = recipe, conditioning, {}
        ranges = recipe.options.get("ranges")
        each = zip(conditioning.columns, conditioning.categories, strict=True)
        numbers = [name for name, values in each if not values]
        if ranges is not None and set(ranges) != set(numbers):
            raise UserError(f"recipe {recipe.name}: ranges of {', '.join(ranges)}; the GAN takes {', '.join(numbers)}")
        self.n = recipe.options.get("n", 0)

    @abc.abstractmethod
    def labels(self, first, stop):
        """Return the labels of rows ``first .. stop - 1`` in the columns' units: float64 [k, column].

        A function of the recipe and the row number alone: a row does not depend on n.
        """

    def _uniform(self, first, stop, size):
        """Draw numbers between 0 and 1 for rows: float64 [k, size]."""
        return ndtr(normals(self.recipe.seed, "request", first, stop - first, size).astype(float))


class LikeTraining(Population):
    """Smoothed bootstrap of the training labels, shrunk to keep their covariance (Silverman 1986, section 6.4.1)."""

    def labels(self, first, stop):
        """See `Population.labels`."""
        reference = self.conditioning.reference
        width = float(self.recipe.options.get("smoothing", 0.1))
        deviates = normals(self.recipe.seed, "request", first, stop - first, reference.shape[1] + 1).astype(float)
        pick = np.minimum((ndtr(deviates[:, 0]) * len(reference)).astype(int), len(reference) - 1)
        mean = reference.mean(0)
        covariance = np.atleast_2d(np.cov(reference, rowvar=False)) + 1e-12 * np.eye(reference.shape[1])
        # Summed column by column: a matrix product may round by the number of rows.
        root = np.linalg.cholesky(covariance)
        scatter = sum(deviates[:, k + 1, None] * root[:, k] for k in range(reference.shape[1]))
        return self.conditioning.restore(mean + (reference[pick] - mean + width * scatter) / np.sqrt(1 + width**2))


class Uniform(Population):
    """Labels that fill a box evenly, of categories each as often as any other."""

    def labels(self, first, stop):
        """See `Population.labels`."""
        ranges, conditioning = self.recipe.options["ranges"], self.conditioning
        uniform = self._uniform(first, stop, len(conditioning.columns))
        for k, (name, values) in enumerate(zip(conditioning.columns, conditioning.categories, strict=True)):
            if values:
                uniform[:, k] = np.array(values)[np.minimum(uniform[:, k] * len(values), len(values) - 1).astype(int)]
            else:
                low, high = map(float, ranges[name])
                uniform[:, k] = low + (high - low) * uniform[:, k]
        return uniform


class Grid(Population):
    """Labels on a grid, all categories included, each point some times in a row."""

    def __init__(self, recipe, conditioning):
        super().__init__(recipe, conditioning)
        options = recipe.options
        self.axes = [
            np.array(values) if values else np.linspace(*map(float, options["ranges"][name]), options["steps"][name])
            for name, values in zip(conditioning.columns, conditioning.categories, strict=True)
        ]
        self.repeat = options.get("repeat", 1)
        self.n = int(np.prod([len(axis) for axis in self.axes])) * self.repeat

    def labels(self, first, stop):
        """See `Population.labels`."""
        points = np.unravel_index(np.arange(first, stop) // self.repeat, [len(axis) for axis in self.axes])
        return np.stack([axis[k] for axis, k in zip(self.axes, points, strict=True)], -1)


class FieldOfSky(Population):
    """Galaxies of a stellar mass function in the comoving volume under an area of sky."""

    def __init__(self, recipe, conditioning):
        super().__init__(recipe, conditioning)
        self.field = MassFunction(recipe, conditioning)
        self.n, self.about = self.field.n, self.field.about

    def labels(self, first, stop):
        """See `Population.labels`."""
        return self.field.draw(self._uniform(first, stop, 2))


class OwnTable(Population):
    """Galaxies of the user's own table, in its order."""

    def __init__(self, recipe, conditioning, bands):
        super().__init__(recipe, conditioning)
        from galaxycgan.populations.user_table import Lightcone  # brings pandas along, which no other population needs

        lightcone = Lightcone(recipe, conditioning.columns, conditioning.categories, bands)
        self.n, self.extra, self.about = len(lightcone.labels), lightcone.extra, lightcone.about
        self._labels = lightcone.labels

    def labels(self, first, stop):
        """See `Population.labels`."""
        return self._labels[first:stop]


def population(recipe, conditioning, bands):
    """Return the galaxies that a recipe asks for.

    Parameters
    ----------
    recipe : Recipe
    conditioning : Conditioning
        Of the generator.
    bands : tuple of str
        Of the generator: a table's own columns that would be taken for measured ones get another name.

    Returns
    -------
    Population
    """
    if recipe.kind == "table":
        return OwnTable(recipe, conditioning, bands)
    kinds = {"training": LikeTraining, "uniform": Uniform, "grid": Grid, "mass_function": FieldOfSky}
    return kinds[recipe.kind](recipe, conditioning)


def draw_labels(recipe, conditioning):
    """Return the labels of all galaxies that a recipe asks for at once: float64 [n, column].

    For recipes that need no bands; see `population`.
    """
    asked = population(recipe, conditioning, ())
    return asked.labels(0, asked.n)
