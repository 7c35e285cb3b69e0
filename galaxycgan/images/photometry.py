"""Photometry of cutouts: sky, aperture flux, radii, shape.

Definitions for a 50-pixel stamp, radii scaled with the size of other stamps: sky = median over r > 22 px; flux within
9 px of the centre; r20, r50, r80 from the curve of growth to 15 px in the reference band; shape from its second moments
within 12 px; noise = standard deviation over r > 22 px. The galaxy is centred on the geometric centre of the stamp.
"""

import dataclasses
import functools

import numpy as np

from galaxycgan.images.bands import reference_band

STANDARD_SIZE = 50
SKY_RADIUS, APERTURE_RADIUS, GROWTH_RADIUS, MOMENT_RADIUS = 22.0, 9.0, 15.0, 12.0
GROWTH_STEPS = 121
#: Galaxies measured at a time: keeps the working set in the processor's cache.
CHUNK = 256


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Pixel masks and coordinates of a stamp; radii in pixels."""

    size: int

    @functools.cached_property
    def scale(self):
        """Radii of this stamp over those of a 50-pixel stamp."""
        return self.size / STANDARD_SIZE

    @functools.cached_property
    def offsets(self):
        """Pixel offsets from the centre: x [y, x], y [y, x]."""
        line = np.arange(self.size) - (self.size - 1) / 2
        y, x = np.meshgrid(line, line, indexing="ij")
        return x, y

    @functools.cached_property
    def radius(self):
        """Distance from the centre [y, x]."""
        return np.hypot(*self.offsets)

    def within(self, radius_px):
        """Mask of pixels whose centre lies within a radius of a 50-pixel stamp, scaled."""
        return self.radius <= radius_px * self.scale

    @property
    def sky(self):
        """Mask of the sky pixels."""
        return self.radius > SKY_RADIUS * self.scale


geometry = functools.cache(Geometry)


def aperture_error(sigma, correlation):
    """Return the standard deviation of sky-subtracted aperture fluxes under correlated noise.

    Parameters
    ----------
    sigma : array [n, band, y, x]
        Noise per pixel.
    correlation : array [band, 2k + 1, 2k + 1]
        Autocorrelation of the noise at offsets -k..k in y and x, 1 in the centre.

    Returns
    -------
    array [n, band]
        Square root of ``sum_ij sigma_i sigma_j rho(i - j)`` over the aperture, sigma_i sigma_j taken as the mean
        variance, plus the variance of the subtracted median: of normal deviates that of their mean with arcsin(rho) in
        the place of rho, since their signs correlate as 2/pi arcsin(rho) (Van Vleck & Middleton 1966, Proc. IEEE 54,
        2); pi/2 of a mean's where they are independent.
    """
    shape = geometry(sigma.shape[-1])
    aperture, sky = shape.within(APERTURE_RADIUS), shape.sky
    variance = np.square(sigma)
    inside = variance[:, :, aperture].mean(axis=2) * [_pair_sum(aperture, rho) for rho in correlation]
    signs = np.arcsin(np.clip(correlation, -1, 1))
    level = variance[:, :, sky].mean(axis=2) * [_pair_sum(sky, rho) / sky.sum() ** 2 for rho in signs]
    return np.sqrt(inside + aperture.sum() ** 2 * level)


def _pair_sum(mask, correlation):
    """Sum rho(i - j) over all pairs of pixels of a mask."""
    half = correlation.shape[0] // 2
    padded = np.pad(mask.astype(float), half)
    n = mask.shape[0]
    shifts = (
        correlation[dy, dx] * (padded[dy : dy + n, dx : dx + n] * mask).sum()
        for dy in range(2 * half + 1)
        for dx in range(2 * half + 1)
    )
    return float(sum(shifts))


def measure(images, bands):
    """Measure cutouts.

    Parameters
    ----------
    images : array [n, band, y, x]
        Flux per pixel in nJy.
    bands : sequence of str
        Band names; shapes are measured in 'i', or in the middle band where there is no i.

    Returns
    -------
    dict of arrays
        ``sky``, ``sky_rms``, ``flux`` [n, band] in nJy (per pixel, per pixel, in the aperture); ``r20``, ``r50``,
        ``r80`` [n] in pixels; ``q`` (minor over major axis), ``pa`` (degrees from +x towards +y, -90..90),
        ``ellipticity`` = (1 - q^2)/(1 + q^2), ``conc`` = 5 log10(r80/r20) (Conselice 2003, ApJS 147, 1). NaN where the
        reference band holds no positive flux.
    """
    parts = [_measure_chunk(np.asarray(images[k : k + CHUNK]), bands) for k in range(0, len(images), CHUNK)]
    if not parts:
        parts = [_measure_chunk(np.zeros((0, len(bands), images.shape[2], images.shape[3])), bands)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def aperture_fluxes(images):
    """Measure the sky and the flux in the aperture, all that `measure` has of each band.

    Parameters
    ----------
    images : array [n, band, y, x]

    Returns
    -------
    dict of arrays [n, band]
        ``sky``, ``sky_rms``, ``flux``.
    images : float64 array [n, band, y, x]
        Without the sky.
    """
    shape = geometry(images.shape[-1])
    sky_pixels = images[:, :, shape.sky]
    sky = median(sky_pixels)  # [n, band]
    sky_pixels, images = sky_pixels.astype(np.float64), images.astype(np.float64)
    images -= sky[:, :, None, None]
    flux = images[:, :, shape.within(APERTURE_RADIUS)].sum(axis=2)
    return {"sky": sky, "sky_rms": sky_pixels.std(axis=2), "flux": flux}, images


def _measure_chunk(images, bands):
    shape = geometry(images.shape[-1])
    out, images = aperture_fluxes(images)
    reference = images[:, reference_band(bands)]
    out |= _radii(reference, shape)
    out |= _moments(reference, shape)
    return out


def median(values):
    """Return what `numpy.median` does along the last axis, as float64; it takes half as long.

    For an even number of values: the sky of a square stamp is a multiple of four pixels.
    """
    half = values.shape[-1] // 2
    halves = np.partition(values, half, axis=-1)  # NaN goes to the end
    middle = (halves[..., :half].max(axis=-1).astype(np.float64) + halves[..., half]) / 2
    return np.where(np.isnan(halves[..., half:]).any(axis=-1), np.nan, middle)


@functools.cache
def _growth_apertures(size):
    """Radii [k] in pixels from 0 to the growth radius, and the share of each pixel inside them [pixel, k].

    A pixel's share falls linearly over its width as the circle's edge crosses it: sums grow smoothly with the radius,
    where whole pixels would make steps of 10% in the radius of a small galaxy.
    """
    shape = geometry(size)
    radii = np.linspace(0, GROWTH_RADIUS * shape.scale, GROWTH_STEPS)
    near = shape.radius <= GROWTH_RADIUS * shape.scale + 1
    share = np.clip(radii - shape.radius[near][:, None] + 0.5, 0, 1)
    share[:, 0] = 0
    return near, radii, share


def _radii(image, shape):
    """Radii that hold 20, 50, 80% of the flux within the growth radius, by linear interpolation: pixels."""
    near, radii, share = _growth_apertures(shape.size)
    growth = image[:, near] @ share  # [n, radius]
    total = growth[:, -1:]
    rows = np.arange(len(image))
    out = {}
    for name, part in (("r20", 0.2), ("r50", 0.5), ("r80", 0.8)):
        target = part * total
        k = np.maximum(np.argmax(growth >= target, axis=1), 1)  # first radius at which the share is reached
        step = growth[rows, k] - growth[rows, k - 1]
        inside = np.divide(target[:, 0] - growth[rows, k - 1], step, out=np.ones(len(image)), where=step > 0)
        radius = radii[k - 1] + np.clip(inside, 0, 1) * (radii[k] - radii[k - 1])
        # Floor of a twentieth of a pixel: a single hot centre must not make a concentration infinite.
        out[name] = np.where(total[:, 0] > 0, np.maximum(radius, 0.05), np.nan)
    return out | {"conc": 5 * np.log10(out["r80"] / out["r20"])}


def _moments(image, shape):
    """Axis ratio, position angle and ellipticity from unweighted second moments about the stamp's centre."""
    inside = shape.within(MOMENT_RADIUS)
    x, y = (axis[inside] for axis in shape.offsets)
    pixels = image[:, inside]
    total = pixels.sum(axis=1)
    xx, yy, xy = (pixels @ (a * b) for a, b in ((x, x), (y, y), (x, y)))
    trace = xx + yy
    legal = (total > 0) & (trace > 0)
    stretch = np.hypot(xx - yy, 2 * xy)
    # Noise can make the minor moment negative: an ellipticity above 1 says no more than 1 does.
    ellipticity = np.clip(np.divide(stretch, trace, out=np.full(len(image), np.nan), where=legal), 0, 1)
    return {
        "ellipticity": ellipticity,
        "q": np.sqrt((1 - ellipticity) / (1 + ellipticity)),
        "pa": np.where(legal, np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)), np.nan),
    }


def noise_products(images, lags=2, clip=3.0, along_axes=False):
    """Sum the products of sky pixels at each offset, for each image.

    Parameters
    ----------
    images : array [n, band, y, x]
        Flux per pixel.
    lags : int
        Largest offset in pixels.
    clip : float
        Pixels further than this many robust standard deviations from their image's sky median are left out, with the
        objects they belong to.
    along_axes : bool
        Only offsets towards +x or +y, a third of the work; the others stay 0.

    Returns
    -------
    products, counts : arrays [n, band, 2 lags + 1, 2 lags + 1]
        Sum over pairs of pixels with r > 22 px (scaled) at each (y, x) offset, in units of the sky's robust variance,
        and the number of pairs.
    """
    shape = geometry(images.shape[-1])
    size = images.shape[-1]
    products = np.zeros((*images.shape[:2], 2 * lags + 1, 2 * lags + 1))
    counts = np.zeros_like(products)
    for k in range(0, len(images), CHUNK):
        part = slice(k, k + CHUNK)
        pixels = np.asarray(images[part], dtype=np.float64)
        sky = pixels[:, :, shape.sky]
        middle = np.median(sky, axis=2)[..., None, None]
        spread = 1.4826 * np.median(np.abs(sky - middle[..., 0]), axis=2)[..., None, None]
        scaled = (pixels - middle) / np.where(spread > 0, spread, 1)
        keep = shape.sky & (np.abs(scaled) < clip)
        scaled = np.where(keep, scaled, 0.0)
        # Remove the level that clipping leaves, else it counts as correlation at all lags.
        level = scaled.sum(axis=(2, 3)) / np.maximum(keep.sum(axis=(2, 3)), 1)
        scaled = np.where(keep, scaled - level[..., None, None], 0.0)
        for dy in range(lags + 1):
            for dx in range(-lags, lags + 1):
                if along_axes and (dx < 0 or (dx and dy)):
                    continue
                here = (..., slice(0, size - dy), slice(max(0, -dx), size - max(0, dx)))
                there = (..., slice(dy, size), slice(max(0, dx), size - max(0, -dx)))
                products[part, :, lags + dy, lags + dx] = (scaled[here] * scaled[there]).sum(axis=(2, 3))
                counts[part, :, lags + dy, lags + dx] = (keep[here] & keep[there]).sum(axis=(2, 3))
    for sums in (products, counts):
        sums[:, :, :lags] = sums[:, :, :lags:-1, ::-1]
    return products, counts


def noise_autocorrelation(images, lags=2, clip=3.0):
    """Measure the autocorrelation of the sky noise of a set of images.

    Parameters
    ----------
    images, lags, clip
        See `noise_products`.

    Returns
    -------
    array [band, 2 lags + 1, 2 lags + 1]
        Mean product of pixels at each (y, x) offset over their variance, from pixels with r > 22 px (scaled).
    """
    products, counts = (sums.sum(axis=0) for sums in noise_products(images, lags, clip))
    mean = products / np.maximum(counts, 1)
    return mean / mean[:, lags : lags + 1, lags : lags + 1]
