"""Recipes: TOML files that say which galaxies to make. Reads and checks them; draws nothing."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.schema.columns import illegal, legal_range
from galaxycgan.errors import UserError

KINDS = {
    "training": {"n", "smoothing"},
    "uniform": {"n", "ranges"},
    "grid": {"ranges", "steps", "repeat"},
    "mass_function": {"area_deg2", "ranges", "completeness", "schechter", "h0", "omega_m"},
    "table": {"file", "columns"},
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
        'model': noise as in the training images; 'none'; 'sigma:S' or 'sigma:S1,S2,...': so much in nJy per pixel.
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

    def to_dict(self):
        """Plain values for provenance."""
        return dataclasses.asdict(self)


def read_recipe(path, *, n=0, seed=-1, noise="", table="", columns=None):
    """Read a recipe file.

    Parameters
    ----------
    path : Path
        TOML file.
    n, seed, noise, table, columns
        Override the recipe's where positive (n), not negative (seed) or not empty. `table` and `columns` ({training
        name: name in the table}) are for recipes of the kind 'table'.

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
    recipe = Recipe(
        name=str(values.get("name", path.stem)),
        seed=seed if seed >= 0 else values.get("seed", 0),
        noise=noise or values.get("noise", "model"),
        kind=kind,
        options=options | _overrides(path, kind, n, table, columns or {}),
    )
    _check(path, recipe)
    return recipe


def _overrides(path, kind, n, table, columns):
    """Return the options of a population that the command line sets."""
    if n > 0 and "n" not in KINDS[kind]:
        why = {"grid": "its steps", "mass_function": "its area of sky", "table": "the rows of its table"}[kind]
        raise UserError(f"--n {n}: the number of galaxies of {path} follows from {why}")
    if (table or columns) and kind != "table":
        raise UserError(f"--table, --columns: are for recipes of the kind table, as --recipe lightcone; {path} is none")
    return ({"n": n} if n > 0 else {}) | ({"file": table} if table else {}) | ({"columns": columns} if columns else {})


def _refuse_unknown(path, values, legal, where=""):
    unknown = sorted(set(values) - legal)
    if unknown:
        raise UserError(f"{path}: {where}unknown key {', '.join(unknown)}; there are: {', '.join(sorted(legal))}")


def _check(path, recipe):
    if not isinstance(recipe.noise, str):
        raise UserError(f"{path}: noise = {recipe.noise!r}; must be model, none or sigma:S in nJy per pixel")
    noise_sigma(recipe.noise)
    if not is_whole(recipe.seed, 0) or recipe.seed >= 2**63:
        raise UserError(f"{path}: seed = {recipe.seed!r}; must be a whole number from 0 to 2^63 - 1")
    options = recipe.options
    for name in ("n", "repeat"):
        if name in KINDS[recipe.kind] and (name == "n" or name in options) and not is_whole(options.get(name), 1):
            raise UserError(
                f"{path}: [population] {name} = {options.get(name)!r}; must be a whole number of at least 1"
            )
    if "ranges" in KINDS[recipe.kind]:
        _check_ranges(path, options.get("ranges"))
    further = {"training": _check_smoothing, "grid": _check_steps, "mass_function": _check_mass_function}
    further.get(recipe.kind, _check_table if recipe.kind == "table" else lambda *_: None)(path, options)


def _check_smoothing(path, options):
    smoothing = options.get("smoothing", 0.1)
    if not is_number(smoothing) or not 0 <= smoothing <= 1:
        raise UserError(f"{path}: [population] smoothing = {smoothing!r}; must lie between 0 and 1")


def _check_steps(path, options):
    steps = options.get("steps")
    known = isinstance(steps, dict) and set(steps) == set(options["ranges"])
    if not known or not all(is_whole(k, 1) for k in steps.values()):
        raise UserError(f"{path}: [population.steps] needs a whole number of steps for each column of ranges")


def _check_ranges(path, ranges):
    if not isinstance(ranges, dict) or not ranges:
        raise UserError(f"{path}: [population.ranges] needs column = [low, high] for each label")
    for name, limits in ranges.items():
        pair = isinstance(limits, list) and len(limits) == 2 and all(map(is_number, limits))
        if not pair or limits[0] > limits[1]:
            raise UserError(f"{path}: [population.ranges] {name} = {limits!r}; must be [low, high]")
        if illegal(name, np.array(limits, dtype=float)).any():
            raise UserError(f"{path}: [population.ranges] {name} = {limits}; legal is {legal_range(name)}")


def _check_mass_function(path, options):
    for name, default, low, high in (("area_deg2", None, 0, 41253), ("h0", 70.0, 20, 200), ("omega_m", 0.3, 0, 1)):
        value = options.get(name, default)
        if not is_number(value) or not low < value <= high:
            raise UserError(f"{path}: [population] {name} = {value!r}; must lie above {low} and up to {high}")
    for name, limits in options["ranges"].items():
        if limits[0] == limits[1]:
            raise UserError(f"{path}: [population.ranges] {name} = {limits}; needs two different values")
    completeness = options.get("completeness", "training")
    if completeness not in ("training", "none"):
        raise UserError(f"{path}: [population] completeness = {completeness!r}; must be training or none")
    nodes = options.get("schechter")
    if not isinstance(nodes, list) or not nodes:
        raise UserError(f"{path}: [[population.schechter]] is missing: one for each redshift of the mass function")
    for k, node in enumerate(nodes, start=1):
        _check_schechter(f"{path}: [[population.schechter]] number {k}", node)
    redshifts = [node["redshift"] for node in nodes]
    if sorted(set(redshifts)) != redshifts:
        raise UserError(f"{path}: [[population.schechter]] redshift: must rise from one to the next, not {redshifts}")


def _check_schechter(where, node):
    known = {"redshift", "log_m_star", "alpha", "phi"}
    if not isinstance(node, dict) or set(node) != known:
        raise UserError(f"{where}: needs {', '.join(sorted(known))} and nothing else")
    pairs = [node["alpha"], node["phi"]]
    lists = all(isinstance(pair, list) and pair and all(map(is_number, pair)) for pair in pairs)
    if not lists or len(node["alpha"]) != len(node["phi"]) or min(node["phi"]) <= 0:
        raise UserError(f"{where}: alpha and phi (positive, phi* in Mpc^-3) need a number for each component")
    if not is_number(node["redshift"]) or node["redshift"] < 0 or not is_number(node["log_m_star"]):
        raise UserError(f"{where}: redshift (not negative) and log_m_star must be numbers")


def _check_table(path, options):
    if not isinstance(options.get("file"), str) or not options["file"]:
        raise UserError(f"{path}: names no table; give one with --table FILE, or [population] file = 'FILE'")
    columns = options.get("columns", {})
    if not isinstance(columns, dict) or not all(isinstance(name, str) for name in columns.values()):
        raise UserError(f"{path}: [population.columns] needs photo_z = 'NAME_IN_TABLE' and so on")


def is_whole(value, smallest):
    """Return whether a value of a TOML file is a whole number of at least `smallest`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= smallest


def is_number(value):
    """Return whether a value of a TOML file is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))


def noise_sigma(text):
    """Return the sky noise that a request names: nJy per pixel, tuple with one value for each band or one for all.

    Parameters
    ----------
    text : str
        'model', 'none', 'sigma:S' or 'sigma:S1,S2,...'.

    Returns
    -------
    tuple of float or None
        None for 'model' and 'none'.
    """
    if text in ("model", "none"):
        return None
    kind, _, values = text.partition(":")
    try:
        sigma = tuple(float(value) for value in values.split(","))
    except ValueError:
        sigma = ()
    if kind != "sigma" or not sigma or not all(0 < value < np.inf for value in sigma):
        raise UserError(f"noise = {text!r}: must be model, none, sigma:S or sigma:S1,S2,... (nJy per pixel, by band)")
    return sigma
