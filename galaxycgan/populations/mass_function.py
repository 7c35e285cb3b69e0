"""Stellar mass function times comoving volume: how many galaxies a field holds."""

import numpy as np
from scipy.integrate import cumulative_trapezoid

from galaxycgan.errors import UserError

#: Redshift up to which a stellar mass function may be asked for.
LARGEST_REDSHIFT = 6.0
#: Points of the grids in redshift and mass.
STEPS = 401
#: Share of the training galaxies of a redshift that lie below the completeness curve.
COMPLETENESS_QUANTILE = 0.05
#: Training galaxies for each knot of that curve, and how many knots there are.
GALAXIES_PER_KNOT, FEWEST_KNOTS, MOST_KNOTS = 50, 4, 20


class MassFunction:
    """The galaxies of a field, ready to be drawn by two numbers between 0 and 1 each.

    Parameters
    ----------
    recipe : Recipe
        Of the kind 'mass_function'.
    conditioning : Conditioning
        Of the generator: one logarithmic column, the redshift, and one other, log10 of the stellar mass.

    Attributes
    ----------
    n : int
        Expected number of galaxies, rounded.
    about : dict
        JSON values: the expected number and the completeness curve.
    """

    def __init__(self, recipe, conditioning):
        options = recipe.options
        self._name_columns(recipe, conditioning)
        z_range, mass_range = (options["ranges"][conditioning.columns[k]] for k in (self.z_at, self.mass_at))
        if z_range[1] > LARGEST_REDSHIFT:
            raise UserError(
                f"recipe {recipe.name}: [population.ranges] {conditioning.columns[self.z_at]} = {z_range}; redshifts go"
                f" up to {LARGEST_REDSHIFT:g}"
            )
        self.z = np.linspace(*map(float, z_range), STEPS)
        lowest, curve = self._lowest_mass(mass_range[0], options, conditioning)
        # Masses from the lowest one to the highest of the recipe [z, mass]: no galaxy where the first is above.
        self.mass = np.linspace(lowest, np.maximum(lowest, mass_range[1]), STEPS, axis=1)
        density = schechter(options["schechter"], self.z[:, None], self.mass)
        per_volume = cumulative_trapezoid(density, self.mass, initial=0)  # per Mpc^3 [z, mass]
        per_redshift = per_volume[:, -1] * _volume(self.z, options) * options["area_deg2"]
        number = cumulative_trapezoid(per_redshift, self.z, initial=0)
        self.n = round(float(number[-1]))
        if not self.n:
            raise UserError(
                f"recipe {recipe.name}: {number[-1]:.2g} galaxies are expected in that area and range: widen them"
            )
        self.below_z = number / number[-1]
        with np.errstate(invalid="ignore"):
            self.below_mass = np.nan_to_num(per_volume / per_volume[:, -1:], nan=1.0)
        self.about = {"expected_galaxies": float(number[-1])} | ({"completeness": curve} if curve else {})

    def _name_columns(self, recipe, conditioning):
        """Find out which label is the redshift and which the mass."""
        logarithmic = list(conditioning.logarithmic)
        if len(logarithmic) != 2 or sum(logarithmic) != 1:
            raise UserError(
                f"recipe {recipe.name}: a mass function gives redshift and stellar mass; the GAN takes"
                f" {', '.join(conditioning.columns)}"
            )
        self.z_at = logarithmic.index(True)
        self.mass_at = 1 - self.z_at

    def _lowest_mass(self, floor, options, conditioning):
        """Return the lowest log mass at each redshift [z], and the completeness curve as JSON values."""
        if options.get("completeness", "training") == "none":
            return np.full(STEPS, float(floor)), None
        labels = conditioning.restore(conditioning.reference)
        redshift, lowest = completeness(labels[:, self.z_at], labels[:, self.mass_at])
        curve = {
            "quantile": COMPLETENESS_QUANTILE,
            conditioning.columns[self.z_at]: redshift.tolist(),
            conditioning.columns[self.mass_at]: lowest.tolist(),
        }
        return np.maximum(floor, np.interp(self.z, redshift, lowest)), curve

    def draw(self, uniform):
        """Turn numbers between 0 and 1, [k, 2], into labels [k, 2] in the columns' order."""
        z = np.interp(uniform[:, 0], self.below_z, self.z)
        place = np.interp(z, self.z, np.arange(STEPS))
        cell = np.minimum(place.astype(int), STEPS - 2)
        weight = (place - cell)[:, None]
        below, mass = (
            (1 - weight) * table[cell] + weight * table[cell + 1] for table in (self.below_mass, self.mass)
        )  # [k, mass]
        rows = np.arange(len(z))
        k = np.clip((below <= uniform[:, 1:]).sum(1), 1, STEPS - 1)
        step = below[rows, k] - below[rows, k - 1]
        inside = np.divide(uniform[:, 1] - below[rows, k - 1], step, out=np.zeros(len(z)), where=step > 0)
        labels = np.empty((len(z), 2))
        labels[:, self.z_at] = z
        labels[:, self.mass_at] = mass[rows, k - 1] + np.clip(inside, 0, 1) * (mass[rows, k] - mass[rows, k - 1])
        return labels


def schechter(nodes, redshift, log_mass):
    """Return galaxies per Mpc^3 and dex of stellar mass: a sum of Schechter functions (Schechter 1976, ApJ 203, 297).

    Parameters
    ----------
    nodes : list of dict
        For each of some redshifts, rising: redshift, log_m_star (log10 of solar masses), and alpha and phi (phi* in
        Mpc^-3) of each component. Between them the logarithm of the density is linear in redshift; beyond the first
        and the last it stays.
    redshift, log_mass : arrays that broadcast
    """
    logs = []
    for node in nodes:
        x = 10.0 ** (log_mass - node["log_m_star"])
        terms = sum(phi * x ** (alpha + 1) for alpha, phi in zip(node["alpha"], node["phi"], strict=True))
        logs.append(np.log(np.log(10) * terms) - x)
    if len(nodes) == 1:
        return np.exp(np.broadcast_to(logs[0], np.broadcast_shapes(np.shape(redshift), np.shape(log_mass))))
    place = np.interp(redshift, [node["redshift"] for node in nodes], np.arange(len(nodes)))
    weights = [np.maximum(0, 1 - np.abs(place - k)) for k in range(len(nodes))]
    return np.exp(sum(weight * log for weight, log in zip(weights, logs, strict=True)))


def completeness(redshift, log_mass):
    """Return the mass above which a sample is complete enough: its 5th percentile as a function of redshift.

    Parameters
    ----------
    redshift, log_mass : array [n]
        The sample's.

    Returns
    -------
    array [k], array [k]
        Median redshift and 5th percentile of the masses in k bins of equal numbers.
    """
    order = np.argsort(redshift, kind="stable")
    knots = int(np.clip(len(order) // GALAXIES_PER_KNOT, FEWEST_KNOTS, MOST_KNOTS))
    parts = [part for part in np.array_split(order, knots) if len(part)]
    middle = np.array([np.median(redshift[part]) for part in parts])
    lowest = np.array([np.quantile(log_mass[part], COMPLETENESS_QUANTILE) for part in parts])
    return middle, lowest


def _volume(redshift, options):
    """Return comoving Mpc^3 per unit redshift and square degree in a flat universe [z]."""
    # Imported here: it takes a second, and no other population needs a cosmology.
    from astropy.cosmology import FlatLambdaCDM

    cosmology = FlatLambdaCDM(H0=options.get("h0", 70.0), Om0=options.get("omega_m", 0.3))
    return cosmology.differential_comoving_volume(redshift).value * (np.pi / 180) ** 2
