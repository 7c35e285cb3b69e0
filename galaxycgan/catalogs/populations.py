"""Which galaxies to make: recipes, and the labels that they ask for. Knows no network and no image."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from galaxycgan.catalogs.schema import illegal, legal_range
from galaxycgan.errors import UserError
from galaxycgan.randomness import normals

KINDS = {
    "training": {"n", "smoothing"},
    "uniform": {"n", "ranges"},
    "grid": {"ranges", "steps", "repeat"},
}
_TOP = {"name", "seed", "noise", "population"}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A request for galaxies.

    Attributes
    ----------
    name : str
        Names the catalog.
    seed : int
        Of labels, latent numbers and noise.
    noise : str
        'model': noise as in the training images; 'none': noiseless images only.
    kind : str
        One of `KINDS`.
    options : dict
        Of the kind.
    """

    name: str
    seed: int
    noise: str
    kind: str
    options: dict

    @property
    def n(self):
        """Number of galaxies."""
        if self.kind == "grid":
            return int(np.prod(list(self.options["steps"].values()))) * self.options.get("repeat", 1)
        return self.options["n"]

    def to_dict(self):
        """Plain values for provenance."""
        return dataclasses.asdict(self)


def read_recipe(path, n=0, seed=-1):
    """Read a recipe file.

    Parameters
    ----------
    path : Path
        TOML file.
    n, seed : int
        Override the recipe's where positive (n) or not negative (seed).

    Raises
    ------
    UserError
        Where it is not TOML, or a key is unknown, missing or of the wrong type.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a TOML file: {error}") from None
    _refuse_unknown(path, values, _TOP)
    options = values.get("population")
    if not isinstance(options, dict) or options.get("kind") not in list(KINDS):
        raise UserError(f"{path}: [population] needs kind = one of {', '.join(KINDS)}")
    options = dict(options)
    kind = options.pop("kind")
    _refuse_unknown(path, options, KINDS[kind], "[population] ")
    if n > 0:
        if kind == "grid":
            raise UserError(f"--n {n}: a grid's number follows from its steps in {path}")
        options["n"] = n
    recipe = Recipe(
        name=str(values.get("name", path.stem)),
        seed=seed if seed >= 0 else values.get("seed", 0),
        noise=values.get("noise", "model"),
        kind=kind,
        options=options,
    )
    _check(path, recipe)
    return recipe


def _refuse_unknown(path, values, legal, where=""):
    unknown = sorted(set(values) - legal)
    if unknown:
        raise UserError(f"{path}: {where}unknown key {', '.join(unknown)}; there are: {', '.join(sorted(legal))}")


def _check(path, recipe):
    options = recipe.options
    if recipe.noise not in ("model", "none"):
        raise UserError(f"{path}: noise = {recipe.noise!r}; must be model or none")
    if not _is_whole(recipe.seed, 0) or recipe.seed >= 2**63:
        raise UserError(f"{path}: seed = {recipe.seed!r}; must be a whole number from 0 to 2^63 - 1")
    for name in ("n", "repeat"):
        if name in KINDS[recipe.kind] and (name == "n" or name in options) and not _is_whole(options.get(name), 1):
            raise UserError(
                f"{path}: [population] {name} = {options.get(name)!r}; must be a whole number of at least 1"
            )
    smoothing = options.get("smoothing", 0.1)
    if not _is_number(smoothing) or not 0 <= smoothing <= 1:
        raise UserError(f"{path}: [population] smoothing = {smoothing!r}; must lie between 0 and 1")
    if "ranges" in KINDS[recipe.kind]:
        _check_ranges(path, options.get("ranges"))
    if recipe.kind == "grid":
        steps = options.get("steps")
        if (
            not isinstance(steps, dict)
            or set(steps) != set(options["ranges"])
            or not all(_is_whole(k, 1) for k in steps.values())
        ):
            raise UserError(f"{path}: [population.steps] needs a whole number of steps for each column of ranges")


def _check_ranges(path, ranges):
    if not isinstance(ranges, dict) or not ranges:
        raise UserError(f"{path}: [population.ranges] needs column = [low, high] for each label")
    for name, limits in ranges.items():
        if (
            not isinstance(limits, list)
            or len(limits) != 2
            or not all(map(_is_number, limits))
            or limits[0] > limits[1]
        ):
            raise UserError(f"{path}: [population.ranges] {name} = {limits!r}; must be [low, high]")
        if illegal(name, np.array(limits, dtype=float)).any():
            raise UserError(f"{path}: [population.ranges] {name} = {limits}; legal is {legal_range(name)}")


def _is_whole(value, smallest):
    return isinstance(value, int) and not isinstance(value, bool) and value >= smallest


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


def draw_labels(recipe, conditioning):
    """Draw the labels of all galaxies of a recipe.

    Parameters
    ----------
    recipe : Recipe
        What is asked.
    conditioning : Conditioning
        Columns of the generator and its training labels.

    Returns
    -------
    float64 array [n, column]
        In the columns' units, a function of the recipe alone: row i does not depend on n.
    """
    columns = conditioning.columns
    if recipe.kind == "training":
        return _like_training(recipe, conditioning)
    ranges = recipe.options["ranges"]
    if set(ranges) != set(columns):
        raise UserError(f"recipe {recipe.name}: ranges of {', '.join(ranges)}; the GAN takes {', '.join(columns)}")
    if recipe.kind == "uniform":
        low, high = np.array([ranges[name] for name in columns], dtype=float).T
        return low + (high - low) * ndtr(normals(recipe.seed, "request", 0, recipe.n, len(columns)).astype(float))
    axes = [np.linspace(*map(float, ranges[name]), recipe.options["steps"][name]) for name in columns]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(columns))
    return np.repeat(grid, recipe.options.get("repeat", 1), axis=0)


def _like_training(recipe, conditioning):
    """Smoothed bootstrap of the training labels, shrunk to keep their covariance (Silverman 1986, section 6.4.1)."""
    reference = conditioning.reference
    width = float(recipe.options.get("smoothing", 0.1))
    deviates = normals(recipe.seed, "request", 0, recipe.n, reference.shape[1] + 1).astype(float)
    pick = np.minimum((ndtr(deviates[:, 0]) * len(reference)).astype(int), len(reference) - 1)
    mean = reference.mean(0)
    covariance = np.atleast_2d(np.cov(reference, rowvar=False)) + 1e-12 * np.eye(reference.shape[1])
    scatter = deviates[:, 1:] @ np.linalg.cholesky(covariance).T
    return conditioning.restore(mean + (reference[pick] - mean + width * scatter) / np.sqrt(1 + width**2))
