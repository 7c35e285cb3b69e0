"""How a mock galaxy looks through HSC: PSF, neighbours and noise, in nJy."""

import dataclasses
import functools
import signal

import galsim
import numpy as np
import scipy.fft

from galaxycgan.images.pixel_units import flux_njy, njy_to_hsc_asinh
from galaxycgan.mock.population import BANDS, Galaxies, I, draw_population, draw_stars
from galaxycgan.randomness import make_rng

PIXEL_SCALE_ARCSEC = 0.168
#: Patches of the survey on a side, each with its own sky.
PATCHES = 7
#: By `BANDS`, as in the Deep layer's COSMOS field (Aihara et al. 2019, PASJ 71, 114): median seeing (FWHM, arcsec); sky
#: noise (nJy per pixel); photo-electrons per nJy over all exposures, for the noise of the sources' own light.
SEEING_ARCSEC = np.array([0.79, 0.75, 0.62, 0.63, 0.68])
SKY_RMS_NJY = np.array([1.2, 1.5, 2.0, 3.0, 5.0])
ELECTRONS_PER_NJY = np.array([200.0, 200.0, 250.0, 150.0, 80.0])
MOFFAT_BETA = 3.2
#: Added to a stamp so that light that leaves the periodic cell on one side is faint when it enters on the other.
MARGIN_PIXEL = 75
#: Separable kernel that stands for the warping of exposures: noise autocorrelation 0.15 at lag 1, 0.01 at lag 2.
NOISE_KERNEL = np.array([0.075, 1.0, 0.075])
#: Per square arcmin, galaxies to i = 26.5, from i = 23 on within 15% of 46 x 10^(0.31 (i - 25)) (LSST Science Book,
#: arXiv:0912.0201, eq. 3.7; a third fewer to i = 21), and stars to i = 24.5.
NEIGHBOUR_LIMIT = 26.5
GALAXIES_PER_ARCMIN2, STARS_PER_ARCMIN2 = 120.0, 3.0
POOL_SIZE = 4000
#: A neighbour this close that is not clearly fainter would have been the catalogued object itself.
CLASH_ARCSEC, CLASH_MAG = 1.5, 0.5


@dataclasses.dataclass(frozen=True)
class Sky:
    """Observing conditions of one patch of the survey, arrays [5] in `BANDS`.

    Attributes
    ----------
    psf_fwhm_arcsec, psf_q, psf_pa_deg : array
        Moffat PSF: FWHM of the circle of the same area, axis ratio, position angle.
    sky_rms_njy : array
    """

    psf_fwhm_arcsec: np.ndarray
    psf_q: np.ndarray
    psf_pa_deg: np.ndarray
    sky_rms_njy: np.ndarray

    @classmethod
    def draw(cls, rng):
        """Draw the conditions of a patch: seeing varies by 6%, noise by 5%, PSF ellipticity is about 2%."""
        fwhm = SEEING_ARCSEC * np.exp(0.06 * rng.standard_normal(5))
        q = 1 - np.minimum(np.abs(0.03 * rng.standard_normal(5)), 0.1)
        return cls(fwhm, q, 180 * rng.random(5), SKY_RMS_NJY * np.exp(0.05 * rng.standard_normal(5)))


class RadialTransform:
    """The Fourier transform of a round profile of unit flux and size, as a table over log k."""

    LOG_MIN, LOG_MAX, COUNT = np.log(1e-2), np.log(1e3), 600

    def __init__(self, gsobject):
        k = np.exp(np.linspace(self.LOG_MIN, self.LOG_MAX, self.COUNT))
        self.values = np.array([gsobject.kValue(one, 0.0).real for one in k])
        self.steps = np.diff(self.values)

    def __call__(self, k_squared):
        """Return the transform at k, given k squared: linear in log k; the even grid needs no search."""
        place = np.log(np.clip(k_squared, 1e-4, 999.0**2))
        place -= 2 * self.LOG_MIN
        place *= 0.5 * (self.COUNT - 1) / (self.LOG_MAX - self.LOG_MIN)
        low = place.astype(np.int32)
        place -= low
        place *= self.steps[low]
        place += self.values[low]
        return place


@functools.cache
def sersic_transform(n):
    """Return the transform of a Sersic profile of half-light radius 1."""
    # The accuracy is hidden by noise; GalSim's default takes 1.5 s for n = 6.
    accuracy = galsim.GSParams(kvalue_accuracy=1e-3, folding_threshold=2e-2, maxk_threshold=1e-2)
    return RadialTransform(galsim.Sersic(n=n, half_light_radius=1.0, gsparams=accuracy))


@functools.cache
def psf_transform():
    """Return the transform of a Moffat profile of FWHM 1."""
    return RadialTransform(galsim.Moffat(beta=MOFFAT_BETA, fwhm=1.0))


class FourierGrid:
    """The wave numbers of a periodic cell around a stamp, so much wider that nothing bright comes round.

    Profiles are summed here: one transform of a galaxy serves all bands, and a point source is a phase. A PSF of more
    than 3 pixels FWHM is band-limited, so that sampling at pixel centres loses nothing.

    Parameters
    ----------
    size : int
        Side of the stamp in pixels.
    """

    def __init__(self, size):
        self.size = size
        self.cell = scipy.fft.next_fast_len(size + MARGIN_PIXEL, real=True)
        self.kx = 2 * np.pi * np.fft.rfftfreq(self.cell, PIXEL_SCALE_ARCSEC)
        self.ky = 2 * np.pi * np.fft.fftfreq(self.cell, PIXEL_SCALE_ARCSEC)

    def elliptical(self, transform, major, q, pa_deg):
        """Return the transform [cell, cell//2 + 1] of a profile at the origin; size `major` in arcsec."""
        c, s = np.cos(np.deg2rad(pa_deg)), np.sin(np.deg2rad(pa_deg))
        # (kx c + ky s)^2 + q^2 (ky c - kx s)^2, multiplied out: one plane instead of two.
        k_squared = np.multiply.outer(self.ky * (2 * c * s * (1 - q**2) * major**2), self.kx)
        k_squared += (self.ky**2 * ((s**2 + (q * c) ** 2) * major**2))[:, None]
        k_squared += self.kx**2 * ((c**2 + (q * s) ** 2) * major**2)
        return transform(k_squared)

    def points(self, offset_arcsec, flux):
        """Return the transform [cell, cell//2 + 1] of points at offsets [k, 2] (x, y) from the stamp's centre."""
        at = np.atleast_2d(offset_arcsec) + (self.size - 1) / 2 * PIXEL_SCALE_ARCSEC
        along_x, along_y = np.exp(-1j * np.outer(at[:, 0], self.kx)), np.exp(-1j * np.outer(at[:, 1], self.ky))
        return (along_y * np.atleast_1d(flux)[:, None]).T @ along_x

    def galaxy(self, galaxy, offset_arcsec):
        """Return the transform of a Sersic profile of unit flux, its index rounded to 1/4; a star is a point."""
        transform = sersic_transform(min(max(round(4 * float(galaxy.sersic_n)) / 4, 0.5), 6.0))
        shape = self.elliptical(transform, galaxy.r50_major_arcsec, galaxy.q, galaxy.pa_deg)
        return shape * self.points(offset_arcsec, 1.0)

    def psf(self, sky, band_index):
        """Return the PSF's transform. The pixel's own blur is in it, as in the PSF models of coadds."""
        q = sky.psf_q[band_index]
        major = sky.psf_fwhm_arcsec[band_index] / np.sqrt(q)
        return self.elliptical(psf_transform(), major, q, sky.psf_pa_deg[band_index])

    def image(self, transform):
        """Return the stamp [y, x] of a transform."""
        return scipy.fft.irfft2(transform, s=(self.cell, self.cell))[: self.size, : self.size]


def correlated_noise(size, rng):
    """Return Gaussian noise [y, x] of unit variance with the pixel correlation of warped coadds."""
    kernel = NOISE_KERNEL / np.linalg.norm(NOISE_KERNEL)
    noise = rng.standard_normal((size + len(kernel) - 1,) * 2)
    noise = sum(k * noise[i : i + size] for i, k in enumerate(kernel))
    return sum(k * noise[:, i : i + size] for i, k in enumerate(kernel))


def draw_knots(galaxy, rng):
    """Draw offsets [k, 2] (arcsec) and shares [k] of the knots of one galaxy, in an exponential disc."""
    count = 3 + rng.poisson(4)
    radius = np.minimum(rng.gamma(2.0, 1 / 1.68, count), 2.5) * galaxy.r50_major_arcsec
    angle = 2 * np.pi * rng.random(count)
    x, y = radius * np.cos(angle), radius * np.sin(angle) * galaxy.q
    c, s = np.cos(np.deg2rad(galaxy.pa_deg)), np.sin(np.deg2rad(galaxy.pa_deg))
    share = 0.3 + rng.pareto(2.0, count)
    return np.column_stack([x * c - y * s, x * s + y * c]), share / share.sum()


def draw_neighbours(galaxy, pool, size, rng):
    """Draw which objects [k] of `pool` lie in or near a stamp and their offsets [k, 2] (arcsec) from its centre."""
    side = size * PIXEL_SCALE_ARCSEC + 3.0
    count = rng.poisson((GALAXIES_PER_ARCMIN2 + STARS_PER_ARCMIN2) * (side / 60) ** 2) if len(pool) else 0
    index = rng.integers(max(len(pool), 1), size=count)
    offset = side * (rng.random((count, 2)) - 0.5)
    clash = (np.hypot(*offset.T) < CLASH_ARCSEC) & (pool.mags[index, I] < galaxy.mags[I] + CLASH_MAG)
    return index[~clash], offset[~clash]


def draw_light(galaxy, sky, pool, bands, grid, rng):
    """Make the noiseless images of one galaxy and its neighbours.

    Parameters
    ----------
    galaxy : Galaxies
        One, as `Galaxies.take` returns at an integer.
    sky : Sky
    pool : Galaxies
        What neighbours are drawn from: galaxies brighter than `NEIGHBOUR_LIMIT` and stars. Empty: no neighbours.
    bands : sequence of str
        Among `BANDS`.
    grid : FourierGrid
        Of the size of the images.
    rng : numpy.random.Generator
        Belongs to this galaxy alone.

    Returns
    -------
    images : array [band, y, x]
        nJy per pixel. The galaxy's centre is within 0.2 pixels of the stamp's, (size - 1) / 2.
    facts : dict
        Offset of the centre (pixels) and the number of neighbours of i < 24.5 inside the stamp.
    """
    jitter = np.clip(0.1 * rng.standard_normal(2), -0.2, 0.2)
    centre = jitter * PIXEL_SCALE_ARCSEC
    knot_offset, knot_share = draw_knots(galaxy, rng)
    index, offset = draw_neighbours(galaxy, pool, grid.size, rng)
    body = grid.galaxy(galaxy, centre)
    knots = grid.points(centre + knot_offset, knot_share)
    others = [grid.galaxy(pool.take(k), at) for k, at in zip(index, offset, strict=True)]

    in_bands = [BANDS.index(band) for band in bands]
    flux, in_knots = flux_njy(galaxy.mags[in_bands]), galaxy.knot_fraction[in_bands]
    fluxes = np.vstack([flux * (1 - in_knots), flux * in_knots, flux_njy(pool.mags[index][:, in_bands])])
    parts = np.array([body, knots, *others])  # [part, ky, kx]
    # einsum, since the sums of a matrix product may depend on the number of threads.
    scenes = np.einsum("pb,pk->bk", fluxes, parts.view(float).reshape(len(parts), -1)).view(complex)
    scenes = scenes.reshape(len(bands), *body.shape)
    images = np.array([grid.image(scene * grid.psf(sky, b)) for scene, b in zip(scenes, in_bands, strict=True)])
    seen = (np.abs(offset) < grid.size / 2 * PIXEL_SCALE_ARCSEC).all(axis=1) & (pool.mags[index, I] < 24.5)
    return images, {"dx_pixel": jitter[0], "dy_pixel": jitter[1], "neighbours": int(seen.sum())}


def add_noise(images, sky, bands, rng):
    """Return images [band, y, x] (nJy) with the noise of the sky and of the light itself."""
    noisy = np.empty_like(images)
    for k, band in enumerate(bands):
        b = BANDS.index(band)
        variance = sky.sky_rms_njy[b] ** 2 + np.maximum(images[k], 0) / ELECTRONS_PER_NJY[b]
        noisy[k] = images[k] + np.sqrt(variance) * correlated_noise(images.shape[-1], rng)
    return noisy


def draw_pool(seed):
    """Draw the galaxies and stars that neighbours are taken from, in their true proportion."""
    rng = make_rng(seed, "mock-pool")
    stars = draw_stars(round(POOL_SIZE * STARS_PER_ARCMIN2 / GALAXIES_PER_ARCMIN2), rng)
    return Galaxies.join([draw_population(POOL_SIZE, "flux-limited", rng, NEIGHBOUR_LIMIT), stars])


class Renderer:
    """Renders the objects of a survey; there is one in each process.

    Parameters
    ----------
    seed : int
    bands : sequence of str
    size : int
        Side of the images in pixels.
    galaxies : Galaxies
    patch : array of int
        Patch of the survey that each galaxy lies in.
    pool : Galaxies
        What neighbours are drawn from.
    """

    def __init__(self, seed, bands, size, galaxies, patch, pool):
        self.seed, self.bands, self.galaxies, self.patch, self.pool = seed, bands, galaxies, patch, pool
        self.grid = FourierGrid(size)
        rng = make_rng(seed, "mock-patches")
        self.skies = [Sky.draw(rng) for _ in range(PATCHES**2)]

    def __call__(self, chunk):
        """Return display pixels [k, band, y, x] and facts of the objects start to stop."""
        images, facts = zip(*map(self.one, range(*chunk)), strict=True)
        return njy_to_hsc_asinh(np.array(images)), facts

    def one(self, k):
        """Return the images [band, y, x] (nJy) of object k and what is true of them."""
        rng, sky = make_rng(self.seed, "mock-render", k), self.skies[self.patch[k]]
        light, facts = draw_light(self.galaxies.take(k), sky, self.pool, self.bands, self.grid, rng)
        for band in self.bands:
            facts[f"sky_rms_{band}_njy"] = sky.sky_rms_njy[BANDS.index(band)]
            facts[f"psf_fwhm_{band}_arcsec"] = sky.psf_fwhm_arcsec[BANDS.index(band)]
        return add_noise(light, sky, self.bands, rng), facts


_renderer = None


def start_worker(*arguments):
    """Make the renderer of a worker process; Ctrl-C is for the parent to answer."""
    global _renderer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _renderer = Renderer(*arguments)


def render_in_worker(chunk):
    """Return what the worker's `Renderer` returns."""
    return _renderer(chunk)
