"""What galaxies there are: redshift and stellar mass to colours, sizes and shapes.

`draw_population` draws (z, log M*) from a stellar mass function; `galaxy_properties` gives any (z, log M*) pairs the
rest. Cosmology: flat LambdaCDM, H0 = 70 km/s/Mpc, Omega_m = 0.3. Stellar masses: Chabrier IMF, as in the relations.
"""

import dataclasses
import functools
from pathlib import Path

import galsim
import numpy as np

from galaxycgan.images.bands import HSC_FILTERS

BANDS = tuple(HSC_FILTERS)
G, R, I = (BANDS.index(b) for b in "gri")  # noqa: E741 - the band
WAVELENGTH_NM = np.array([nm for _, nm in HSC_FILTERS.values()])
#: Faint limit of the populations, AB.
I_LIMIT = 23.2
#: The (z, log M*) grid that galaxies are drawn from: limits, and the size of a cell.
RANGES = (0.01, 2.0), (6.0, 12.3)
CELL = np.array([0.005, 0.05])
#: Templates of Coleman, Wu & Weedman (1980, ApJS 43, 393), as GalSim ships them, in the order of the type index 0..3.
TEMPLATES = ("CWW_E_ext", "CWW_Sbc_ext", "CWW_Scd_ext", "CWW_Im_ext")
SOLAR_I_MAG = 4.58


@dataclasses.dataclass(frozen=True)
class Galaxies:
    """Properties of n galaxies, one array [n] each.

    Attributes
    ----------
    redshift, log_mass : array
        True redshift; log10 of the stellar mass in solar masses.
    quiescent : array of bool
    sed_type : array
        Position in `TEMPLATES`: 0 elliptical to 3 irregular, between templates where fractional.
    ebv : array
        Dust reddening E(B-V) on top of the template's own.
    mags : array [n, 5]
        Total AB magnitudes in `BANDS`.
    r50_major_arcsec : array
        Half-light radius along the major axis; 0 for a star.
    sersic_n, q, pa_deg : array
        Sersic index; axis ratio; position angle, counter-clockwise from +x.
    knot_fraction : array [n, 5]
        Share of the light in star-forming knots, in `BANDS`.
    """

    redshift: np.ndarray
    log_mass: np.ndarray
    quiescent: np.ndarray
    sed_type: np.ndarray
    ebv: np.ndarray
    mags: np.ndarray
    r50_major_arcsec: np.ndarray
    sersic_n: np.ndarray
    q: np.ndarray
    pa_deg: np.ndarray
    knot_fraction: np.ndarray

    def __len__(self):
        return len(self.redshift)

    def take(self, index):
        """Return the galaxies at an index array or a mask; one galaxy, with scalars, at an integer."""
        return Galaxies(**{f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)})

    @classmethod
    def join(cls, parts):
        """Return several sets of galaxies as one."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(cls)})


@functools.cache
def _distances():
    """Return a redshift grid with distance modulus, volume per unit z (Mpc^3, full sky) and kpc per arcsec."""
    # Imported here: a process that renders needs no cosmology, and this takes a second.
    from astropy.cosmology import FlatLambdaCDM

    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    z = np.linspace(0.005, 2.5, 1000)
    volume = 4 * np.pi * cosmology.differential_comoving_volume(z).value
    return z, cosmology.distmod(z).value, volume, cosmology.kpc_proper_per_arcmin(z).value / 60


def _ab_mag(spectrum_nm, flux_lambda, filter_nm, throughput):
    """Return the AB magnitude, up to a constant, of a spectrum through a filter of a photon-counting detector."""
    flux = np.interp(filter_nm, spectrum_nm, flux_lambda, left=0.0)
    photons = np.trapezoid(flux * throughput * filter_nm, filter_nm)
    return -2.5 * np.log10(photons / np.trapezoid(throughput / filter_nm, filter_nm))


@functools.cache
def _template_table():
    """Compute the templates through the filters; LSST's stand in for HSC's, which GalSim does not ship.

    Returns
    -------
    magnitude : RegularGridInterpolator
        (z, type) to AB magnitudes [5] minus the rest-frame i magnitude, without the distance modulus.
    rest_g_i : array [4]
        Rest-frame g - i.
    """
    from scipy.interpolate import RegularGridInterpolator

    share = Path(galsim.meta_data.share_dir)
    filters = [np.loadtxt(share / f"bandpasses/LSST_{b}.dat", unpack=True) for b in BANDS]
    z_grid = np.linspace(0.0, 2.5, 251)
    table = np.empty((z_grid.size, len(TEMPLATES), len(BANDS)))
    rest_g_i = np.empty(len(TEMPLATES))
    for k, name in enumerate(TEMPLATES):
        angstrom, flux = np.loadtxt(share / f"SEDs/{name}.sed", unpack=True)
        nm = angstrom / 10
        rest_i = _ab_mag(nm, flux, *filters[I])
        rest_g_i[k] = _ab_mag(nm, flux, *filters[G]) - rest_i
        for j, z in enumerate(z_grid):
            table[j, k] = [_ab_mag(nm * (1 + z), flux / (1 + z), *one) - rest_i for one in filters]
    return RegularGridInterpolator((z_grid, np.arange(len(TEMPLATES))), table), rest_g_i


def template_mags(redshift, sed_type):
    """Return AB magnitudes [n, 5] minus the rest-frame i magnitude, without the distance modulus.

    Between templates they are linear in magnitude. Where the 4000 A break is in r the templates of nearby galaxies are
    too faint in r against g and i, the elliptical most: mended by galaxies of known redshift (COSMOS), the way photo-z
    codes mend theirs (Ilbert et al. 2006, A&A 457, 841, section 4).
    """
    redshift, sed_type = np.broadcast_arrays(redshift, sed_type)
    mags = _template_table()[0](np.stack([redshift, sed_type], axis=-1))
    mags[..., R] -= (0.05 + 0.17 * np.clip(1 - sed_type, 0, 1)) * np.exp(-0.5 * ((redshift - 0.6) / 0.12) ** 2)
    return mags


def attenuation(wavelength_nm):
    """Return A(lambda) / E(B-V) of star-forming galaxies (Calzetti et al. 2000, ApJ 533, 682, eq. 4)."""
    um = np.asarray(wavelength_nm) / 1000
    blue = 2.659 * (-2.156 + 1.509 / um - 0.198 / um**2 + 0.011 / um**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 / um) + 4.05
    return np.where(um < 0.63, blue, red)


def mass_function(redshift, log_mass):
    """Return how many star-forming and how many quiescent galaxies there are per Mpc^3 and dex.

    At z = 0 Baldry et al. 2012 (MNRAS 421, 621, section 5: blue and red galaxies); the decline with redshift, steeper
    for quiescent galaxies and steepest for the light ones, follows Muzzin et al. 2013 (ApJ 777, 18).
    """
    x = 10.0 ** (np.asarray(log_mass) - 10.72)
    a = 1 + np.asarray(redshift)

    def schechter(phi, alpha):
        return np.log(10) * phi * x ** (alpha + 1) * np.exp(-x)

    star_forming = schechter(0.71e-3, -1.45) * a**-1.0
    quiescent = schechter(3.25e-3, -0.45) * a**-3.2 + schechter(0.08e-3, -1.45) * a**-4.0
    return star_forming, quiescent


def _spectral_types(z, log_mass, quiescent, rng):
    """Draw the position in `TEMPLATES` [n] and E(B-V) [n].

    Star-forming galaxies are the bluer the lighter and the earlier they are; the coefficients are fitted to the colours
    of COSMOS galaxies (i < 22.5).
    """
    n = len(z)
    early = 0.15 + 0.25 * rng.standard_normal(n)
    late = 2.3 - 0.45 * (log_mass - 9.5) - 0.3 * np.clip(log_mass - 10.2, 0, 1) + np.minimum(z, 0.7) - 0.3
    late += 0.45 * rng.standard_normal(n)
    sed_type = np.clip(np.where(quiescent, early, late), np.where(quiescent, 0.0, 0.4), len(TEMPLATES) - 1)
    mean_ebv = np.where(quiescent, 0.01, np.clip(0.06 + 0.08 * (log_mass - 9.0), 0.02, 0.25))
    return sed_type, rng.gamma(2.0, mean_ebv / 2)


def _mean_log_m_to_l(z, log_mass, quiescent, rest_g_i):
    """Return the mean log10 of stellar mass to i-band light, solar units, given the rest-frame g - i, dust included.

    Nearby galaxies: Taylor et al. 2011 (MNRAS 418, 1587, eq. 7). Old stars fade by 0.36 dex per unit redshift in i
    (0.56 in B: van Dokkum & van der Marel 2007, ApJ 655, 30). Star-forming galaxies have the younger stars the lighter
    and the earlier they are. Coefficients are fitted to COSMOS, above all where i < 22.5 holds all galaxies of a mass.
    """
    earlier, lighter = np.minimum(z, 1.5), np.clip(10 - log_mass, -1, 1)
    younger = 0.12 * lighter + earlier * (0.3 + 0.1 * lighter)
    return -0.68 + 0.70 * rest_g_i + np.where(quiescent, 0.19 - 0.36 * earlier, 0.02 - younger)


def _magnitudes(z, log_mass, quiescent, sed_type, ebv, rng):
    """Return AB magnitudes [n, 5]: light from the mass with 0.1 dex scatter, colours from the dusty template."""
    dust_g, dust_i = attenuation(WAVELENGTH_NM[G]), attenuation(WAVELENGTH_NM[I])
    rest_g_i = np.interp(sed_type, np.arange(len(TEMPLATES)), _template_table()[1]) + ebv * (dust_g - dust_i)
    log_m_to_l = _mean_log_m_to_l(z, log_mass, quiescent, rest_g_i) + 0.1 * rng.standard_normal(len(z))
    absolute_i = SOLAR_I_MAG - 2.5 * (log_mass - log_m_to_l)

    grid, modulus, _, _ = _distances()
    mags = (absolute_i - ebv * dust_i + np.interp(z, grid, modulus))[:, None] + spectrum_mags(z, sed_type, ebv)
    return mags + 0.03 * rng.standard_normal(mags.shape)


def spectrum_mags(z, sed_type, ebv):
    """Return AB magnitudes [n, 5] of a template behind dust, minus the template's own rest-frame i magnitude."""
    z, ebv = np.asarray(z), np.asarray(ebv)
    return template_mags(z, sed_type) + ebv[..., None] * attenuation(WAVELENGTH_NM / (1 + z[..., None]))


def draw_shapes(z, log_mass, quiescent, rng):
    """Draw the half-light radius along the major axis (arcsec), Sersic index and axis ratio, [n] each.

    Sizes: van der Wel et al. 2014 (ApJ 788, 28, section 3 and table 1), late types steeper below log M* = 9.2 and early
    types flatter below 10.3 (Lange et al. 2015, MNRAS 447, 2603). Axis ratios: oblate spheroids in random directions.
    """
    n = len(z)
    scale = log_mass - np.log10(5e10)
    late = np.log10(8.9) - 0.75 * np.log10(1 + z) + 0.24 * scale - 0.12 * np.clip(9.2 - log_mass, 0, 1)
    early = np.log10(5.6) - 1.48 * np.log10(1 + z) + 0.75 * scale + 0.55 * np.maximum(10.3 - log_mass, 0)
    log_kpc = np.where(quiescent, early, late) + np.where(quiescent, 0.13, 0.18) * rng.standard_normal(n)
    grid, _, _, kpc_per_arcsec = _distances()

    bulge = np.clip(3.6 + (log_mass - 10.5), 1.2, 5.0)
    disc = 1.0 + 0.3 * np.clip(log_mass - 9.5, 0, 2)
    index = np.where(quiescent, bulge, disc) * 10.0 ** (0.18 * rng.standard_normal(n))

    thickness = np.where(quiescent, 0.5, np.clip(0.22 + 0.12 * (9.5 - log_mass), 0.15, 0.45))
    thickness = np.clip(thickness + 0.06 * rng.standard_normal(n), 0.1, 0.95)
    q = np.sqrt(thickness**2 + (1 - thickness**2) * rng.random(n) ** 2)
    return 10.0**log_kpc / np.interp(z, grid, kpc_per_arcsec), np.clip(index, 0.5, 6.0), q


def draw_knot_fraction(z, quiescent, sed_type, mags, rng):
    """Draw the share [n, 5] of light in star-forming knots; they have the colours of the bluest template."""
    share = np.where(quiescent, 0.0, rng.gamma(2.0, 0.04, len(z)) * np.clip(sed_type - 0.8, 0, 1.5))
    young = template_mags(z, len(TEMPLATES) - 1)
    bluer = (mags - mags[:, [I]]) - (young - young[:, [I]])
    return np.clip(share[:, None] * 10.0 ** (0.4 * np.maximum(bluer, 0)), 0, 0.5)


def galaxy_properties(redshift, log_mass, rng, i_limit=None):
    """Give galaxies of known redshift and stellar mass everything else, with the scatter of real ones.

    Parameters
    ----------
    redshift, log_mass : array [n]
        Redshift within 0.005 to 2.5; log10 of the stellar mass in solar masses.
    rng : numpy.random.Generator
    i_limit : float, optional
        AB limit of the flux-limited sample that the galaxies come from. Those drawn fainter are drawn again, 40
        times at most: at a given mass such a sample holds only the galaxies with enough light for their mass.

    Returns
    -------
    Galaxies
    """
    galaxies = _draw_properties(np.array(redshift, float), np.array(log_mass, float), rng)
    for _ in range(40 if i_limit is not None else 0):
        faint = np.flatnonzero(galaxies.mags[:, I] > i_limit)
        again = _draw_properties(galaxies.redshift[faint], galaxies.log_mass[faint], rng)
        for item in dataclasses.fields(Galaxies):
            getattr(galaxies, item.name)[faint] = getattr(again, item.name)
    return galaxies


def _draw_properties(z, log_mass, rng):
    """Draw everything once: see `galaxy_properties`."""
    star_forming, quiescent = mass_function(z, log_mass)
    quiescent = rng.random(len(z)) < quiescent / (star_forming + quiescent)
    sed_type, ebv = _spectral_types(z, log_mass, quiescent, rng)
    mags = _magnitudes(z, log_mass, quiescent, sed_type, ebv, rng)
    r50, index, q = draw_shapes(z, log_mass, quiescent, rng)
    knots = draw_knot_fraction(z, quiescent, sed_type, mags, rng)
    return Galaxies(z, log_mass, quiescent, sed_type, ebv, mags, r50, index, q, 180 * rng.random(len(z)), knots)


def dwarf_search_weight(galaxies):
    """Return the probability [n] that a search for nearby dwarf galaxies keeps a galaxy as a candidate.

    Blue in g - r and r - i, extended, not among the brightest; all such down to i = 21.4 and a fifth of the fainter
    ones. The edges are soft, since the photometry behind such a search is noisy.
    """

    def below(x, limit, width):
        return 1 / (1 + np.exp(np.clip((x - limit) / width, -50, 50)))

    g, r, i = galaxies.mags[:, [G, R, I]].T
    blue = below(g - r, 0.38, 0.11) * below(r - i, 0.44, 0.10) * below(r - g, -0.2, 0.05)
    extended = below(-np.log10(galaxies.r50_major_arcsec), -np.log10(0.45), 0.05)
    return blue * extended * (0.2 + 0.8 * below(i, 21.4, 0.3)) * below(-i, -18.0, 0.2)


@functools.cache
def _detectable_cells(i_limit):
    """Return centres [k, 2] of the (z, log M*) cells that may hold galaxies brighter than a limit; weights [k]."""
    z_grid, mass_grid = (np.arange(*span, step) + step / 2 for span, step in zip(RANGES, CELL, strict=True))
    z, mass = np.meshgrid(z_grid, mass_grid, indexing="ij")
    grid, modulus, volume, _ = _distances()
    weights = sum(mass_function(z, mass)) * np.interp(z, grid, volume)
    # A cell counts where even its bluest galaxies, of the least mass to light, with 0.6 dex to spare, can be seen.
    bluest = template_mags(z, float(len(TEMPLATES) - 1))[..., I]
    absolute_i = i_limit - np.interp(z, grid, modulus) - bluest
    log_m_to_l = _mean_log_m_to_l(z, mass, False, _template_table()[1][-1])
    keep = mass > -0.4 * (absolute_i - SOLAR_I_MAG) + log_m_to_l - 0.6
    return np.column_stack([z[keep], mass[keep]]), weights[keep] / weights[keep].sum()


def draw_population(n, population, rng, i_limit=I_LIMIT):
    """Draw galaxies brighter than `i_limit` from the stellar mass function times comoving volume.

    Parameters
    ----------
    n : int
    population : str
        'flux-limited', or 'dwarf-search': the same, thinned out by `dwarf_search_weight`.
    rng : numpy.random.Generator
    i_limit : float
        AB magnitude.

    Returns
    -------
    Galaxies
        Of length n.
    """
    cells, weights = _detectable_cells(i_limit)
    parts, found = [], 0
    while found < n:
        chosen = rng.choice(len(cells), size=max(4 * n, 20_000), p=weights)
        z, log_mass = (cells[chosen] + (rng.random((len(chosen), 2)) - 0.5) * CELL).T
        galaxies = galaxy_properties(z, log_mass, rng)
        keep = galaxies.mags[:, I] < i_limit
        if population == "dwarf-search":
            keep &= rng.random(len(keep)) < dwarf_search_weight(galaxies)
        parts.append(galaxies.take(keep))
        found += keep.sum()
    return Galaxies.join(parts).take(np.arange(n))


def draw_stars(n, rng):
    """Draw n stars of 18.5 < i < 24.5 in the guise of galaxies of no size.

    Counts rise by 0.1 dex a magnitude, as towards the Galactic pole; colours follow the stellar locus (Covey et al.
    2007, AJ 134, 2398, figure 3).
    """
    i = 18.5 + np.log10(1 + rng.random(n) * (10**0.6 - 1)) / 0.1
    g_i = rng.uniform(0.4, 3.2, n)
    g_r = np.minimum(0.72 * g_i, 1.4) + 0.05 * rng.standard_normal(n)
    r_i = g_i - np.minimum(0.72 * g_i, 1.4)
    mags = np.column_stack([i + r_i + g_r, i + r_i, i, i - 0.55 * r_i, i - 0.8 * r_i])
    zero, no = np.zeros(n), np.zeros(n, bool)
    return Galaxies(zero, zero, no, zero, zero, mags, zero, zero + 1.0, zero + 1.0, zero, np.zeros((n, len(BANDS))))
