"""Gini, M20, asymmetry and smoothness of single galaxies, through statmorph; counts what it can't measure. No sets.

Definitions: Lotz, Primack & Madau (2004, AJ 128, 163) and Conselice (2003, ApJS 147, 1) as in statmorph
(Rodriguez-Gomez et al. 2019, MNRAS 483, 4140). A galaxy costs stock statmorph half a CPU second, nearly all of it in
two places: making aperture objects, and a minimiser that finds the centre of asymmetry to a millionth of a pixel. Here
the same overlap functions of photutils are called without the objects, and a hundredth of a pixel is enough.
"""

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import warnings

import numpy as np
import scipy.ndimage
import scipy.optimize

from galaxycgan.errors import UserError
from galaxycgan.images.bands import reference_band
from galaxycgan.images.photometry import geometry

#: As statmorph names them; label of the property tables.
QUANTITIES = {"gini": "Gini", "m20": "M20", "asymmetry": "asymmetry", "smoothness": "smoothness"}
#: statmorph's own mark of a quantity that it could not measure, and the flag from which on a measurement is bad.
INVALID, BAD = -99.0, 2
#: The galaxy's pixels: smoothed by this (pixels), above so many standard deviations of the smoothed sky, and connected
#: to the brightest one within this distance (pixels of a 50-pixel stamp) of the centre.
SMOOTHING, THRESHOLD, CENTRE = 1.5, 1.5, 5.0
CENTRE_TOLERANCE = 0.01
#: A pixel on the rim of an ellipse is divided into so many squared; the exact overlap takes six times as long.
SUBPIXELS = 4
#: Side in pixels of the empty square that the sky's own asymmetry is taken from; halved where it doesn't fit.
SKY_BOX = 16
CHUNK = 25
#: Fewer galaxies are measured sooner in this process than another one starts.
WORTH_A_PROCESS = 100


@functools.cache
def _measurer():
    """Return statmorph's class with its apertures and its minimiser replaced by quick ones."""
    import statmorph
    from astropy.utils import lazyproperty
    from photutils.geometry import circular_overlap_grid, elliptical_overlap_grid

    def bounds(image, centre):
        ny, nx = image.shape
        return -0.5 - centre[0], nx - 0.5 - centre[0], -0.5 - centre[1], ny - 0.5 - centre[1], nx, ny

    def circle(image, centre, r):
        return circular_overlap_grid(*bounds(image, centre), r, 1, 1) if r > 0 else np.zeros(image.shape)

    def ellipse(image, centre, a, b, theta):
        if a <= 0:
            return np.zeros(image.shape)
        return elliptical_overlap_grid(*bounds(image, centre), a, b, theta, 0, SUBPIXELS)

    class QuickMorphology(statmorph.SourceMorphology):
        """Measures `QUANTITIES` alone."""

        def _calculate_morphology(self):
            for name in QUANTITIES:
                getattr(self, name)

        def _check_segmaps(self):
            """Do without the comparison with the segmentation of quantities that are not asked for."""

        def _mean(self, weight):
            area = (weight * ~self._mask_stamp).sum()
            return abs((weight * self._cutout_stamp_maskzeroed).sum() / area) if area else 0.0

        def _petrosian(self, inner, outer, whole):
            ring, mean = self._mean(outer - inner), self._mean(whole)
            if mean == 0:
                self.flag = BAD
                return float(ring != 0) - self._eta
            return ring / mean - self._eta

        def _petrosian_function_circ(self, r, center):
            half = 0.5 * self._annulus_width
            return self._petrosian(*(circle(self._cutout_stamp_maskzeroed, center, x) for x in (r - half, r + half, r)))

        def _petrosian_function_ellip(self, a, center, elongation, theta):
            half = 0.5 * self._annulus_width
            theta = getattr(theta, "value", theta)
            image = self._cutout_stamp_maskzeroed
            return self._petrosian(*(ellipse(image, center, x, x / elongation, theta) for x in (a - half, a + half, a)))

        def _asymmetry_function(self, center, image, kind):
            """Lotz et al. (2004), eq. 10; rotation by 180 degrees is a flip and a shift."""
            if not (0 <= center[0] < image.shape[1] and 0 <= center[1] < image.shape[0]):
                return 100.0  # keeps the minimiser inside
            shift = [2 * c - (n - 1) for c, n in zip(center[::-1], image.shape, strict=True)]
            turned = _shifted(image[::-1, ::-1], shift)
            masked = self._mask_stamp | (_shifted(self._mask_stamp[::-1, ::-1].astype(float), shift) >= 0.5)
            weight = circle(image, center, self._petro_extent_cas * self._rpetro_circ_centroid) * ~masked
            total = (weight * np.abs(image)).sum()
            if total == 0:
                return 100.0
            sky = 0.0 if self._sky_asymmetry == INVALID else weight.sum() * self._sky_asymmetry
            return ((weight * np.abs(turned - image)).sum() - sky) / total

        @lazyproperty
        def _asymmetry_center(self):
            """The centre that minimises the asymmetry, sought as statmorph does: twice, then the centroid is taken."""
            centroid = np.array([self._xc_stamp, self._yc_stamp])
            reach = self._petro_fraction_cas * self._rpetro_circ_centroid
            for start in (centroid, np.array([self._x_maxval_stamp, self._y_maxval_stamp], dtype=float)):
                found = self._least_asymmetric(start)
                if np.hypot(*(found - start)) <= reach:
                    return found
                self.flag = max(self.flag, 1)
            self.flag = BAD
            return centroid

        def _least_asymmetric(self, start):
            simplex = start + np.array([[0, 0], [0.5, 0], [0, 0.5]])
            options = {"xatol": CENTRE_TOLERANCE, "fatol": 1e-3, "initial_simplex": simplex}
            arguments = self._cutout_stamp_maskzeroed, "cas"
            return scipy.optimize.minimize(
                self._asymmetry_function, start, arguments, method="Nelder-Mead", options=options
            ).x

    return QuickMorphology


def _shifted(image, shift):
    """Shift an image by (y, x) pixels, bilinear, zeros from outside."""
    return scipy.ndimage.shift(image, shift, order=1, mode="constant", cval=0.0)


def segment(image, shape):
    """Find the pixels of the central galaxy and of its neighbours.

    Parameters
    ----------
    image : array [y, x]
        Sky-subtracted.
    shape : galaxycgan.images.photometry.Geometry

    Returns
    -------
    galaxy : int array [y, x] or None
        1 on the galaxy; None where nothing in the middle stands out of the noise.
    others : bool array [y, x]
        Neighbours.
    """
    smooth = scipy.ndimage.gaussian_filter(image, SMOOTHING)
    sky = smooth[shape.sky]
    level = np.median(sky)
    objects, _ = scipy.ndimage.label(smooth > level + THRESHOLD * 1.4826 * np.median(np.abs(sky - level)))
    own = objects.flat[np.argmax(np.where(shape.within(CENTRE), smooth, -np.inf))]
    return ((objects == own).astype(int) if own else None), (objects > 0) & (objects != own)


def measure_one(image):
    """Measure one galaxy.

    Parameters
    ----------
    image : array [y, x]
        One band; any unit.

    Returns
    -------
    values : list of float
        In the order of `QUANTITIES`; NaN where not measured.
    outcome : str
        'good', 'suspect' (measured, with a warning), or why it failed.
    """
    failed = [np.nan] * len(QUANTITIES)
    shape = geometry(image.shape[-1])
    image = np.asarray(image, dtype=np.float64)
    sky = image[shape.sky]
    image = image - np.median(sky)
    galaxy, others = segment(image, shape)
    if galaxy is None:
        return failed, "not detected"
    noise = np.full(image.shape, 1.4826 * np.median(np.abs(sky - np.median(sky))))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = _measurer()(image, galaxy, 1, mask=others, weightmap=noise, skybox_size=SKY_BOX)
        except (AssertionError, ValueError, IndexError, ZeroDivisionError, RuntimeError):
            return failed, "no measurement"
    values = [float(getattr(found, name)) for name in QUANTITIES]
    if found.flag >= BAD or INVALID in values or not np.all(np.isfinite(values)):
        return failed, "bad"
    return values, "suspect" if found.flag else "good"


def _measure_chunk(images):
    return [measure_one(image) for image in images]


def _start_worker():
    """Ctrl-C is for the parent to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def morphology(sets, bands, workers=0, check=lambda: None, advance=lambda done: None):
    """Measure the morphology of sets of galaxies, on several cores.

    Parameters
    ----------
    sets : list of arrays [n, band, y, x]
        Measured in the reference band.
    bands : sequence of str
    workers : int
        Processes; 0: one per core that this process may use.
    check : callable
        Called now and then; raises where the work shall stop.
    advance : callable
        Called with the number of galaxies measured so far.

    Returns
    -------
    list of (dict of arrays [n], dict of int)
        For each set the quantities by their names in property tables, NaN where not measured, and how many galaxies had
        which outcome.
    """
    planes = [images[:, reference_band(bands)] for images in sets]
    chunks = [plane[k : k + CHUNK] for plane in planes for k in range(0, len(plane), CHUNK)]
    total = sum(map(len, planes))
    workers = max(1, min(workers or len(os.sched_getaffinity(0)), total // WORTH_A_PROCESS))
    results, done = [], 0
    for part in _mapped(chunks, workers):
        check()
        results += part
        done += len(part)
        advance(done)
    out, start = [], 0
    for plane in planes:
        mine = results[start : start + len(plane)]
        start += len(plane)
        table = np.array([values for values, _ in mine], dtype=np.float64).reshape(len(mine), len(QUANTITIES))
        outcomes = [outcome for _, outcome in mine]
        counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        out.append((dict(zip(QUANTITIES.values(), table.T, strict=True)), counts))
    return out


def _mapped(chunks, workers):
    """Yield the results of the chunks in order, from `workers` processes."""
    if workers == 1:
        yield from map(_measure_chunk, chunks)
        return
    # Spawned, not forked: a fork would copy the locks of whatever threads there are.
    spawn = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(workers, spawn, _start_worker)
    try:
        yield from executor.map(_measure_chunk, chunks)
    except concurrent.futures.process.BrokenProcessPool:
        raise UserError("evaluate: a process was killed, most likely for memory; use fewer --threads") from None
    finally:
        executor.shutdown(cancel_futures=True)
