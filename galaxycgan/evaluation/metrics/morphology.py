"""Gini, M20, asymmetry and smoothness of single galaxies, through statmorph; counts what it can't measure. No sets.

Definitions: Lotz, Primack & Madau (2004, AJ 128, 163) and Conselice (2003, ApJS 147, 1) as in statmorph
(Rodriguez-Gomez et al. 2019, MNRAS 483, 4140). A galaxy costs stock statmorph half a CPU second, nearly all of it in
few places: making aperture objects, a minimiser that finds the centre of asymmetry to a millionth of a pixel, and the
search for an empty square of sky. Here Petrosian radii come from one histogram of the light over the radius, the image
is turned by array slices where its aperture reaches, and a hundredth of a pixel is enough.

Ten private members of statmorph are overridden for that, which is why setup.py holds its version below 0.8. Worth it:
15 CPU ms a galaxy instead of 444 (24 stamps of 50 pixels, Intel Xeon at 2.8 GHz), so that the 6,000 galaxies of an
evaluation take a minute and a half instead of 44.
"""

import concurrent.futures
import functools
import math
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
#: Of curves of growth: parts of a pixel along each axis, and steps of the semi-major axis in a pixel.
PARTS, STEPS_PER_PIXEL = 4, 16
#: Side in pixels of the empty square that the sky's own asymmetry is taken from; halved where it doesn't fit.
SKY_BOX = 16
CHUNK = 25
#: Fewer galaxies are measured sooner in this process than another one starts.
WORTH_A_PROCESS = 100


@functools.cache
def _measurer():
    """Return statmorph's class with its apertures, its empty square and its minimiser replaced by quick ones."""
    import statmorph
    from astropy.utils import lazyproperty
    from photutils.geometry import circular_overlap_grid

    class QuickMorphology(statmorph.SourceMorphology):
        """Measures `QUANTITIES` alone."""

        def _calculate_morphology(self):
            for name in QUANTITIES:
                getattr(self, name)

        def _check_segmaps(self):
            """Do without the comparison with the segmentation of quantities that are not asked for."""

        def _petrosian(self, growth, a):
            half = 0.5 * self._annulus_width
            (inner, whole, outer), (few, area, most) = growth.within([a - half, a, a + half])
            mean = abs(whole / area) if area else 0.0
            ring = abs((outer - inner) / (most - few)) if most > few else 0.0
            if mean == 0:
                self.flag = BAD
                return float(ring != 0) - self._eta
            return ring / mean - self._eta

        def _rpetro_circ_generic(self, center):
            self._growth = _Growth(self._cutout_stamp_maskzeroed, ~self._mask_stamp, center)
            return super()._rpetro_circ_generic(center)

        def _rpetro_ellip_generic(self, center, elongation, theta):
            theta = getattr(theta, "value", theta)
            self._growth = _Growth(self._cutout_stamp_maskzeroed, ~self._mask_stamp, center, elongation, theta)
            return super()._rpetro_ellip_generic(center, elongation, theta)

        def _petrosian_function_circ(self, r, center):
            return self._petrosian(self._growth, r)

        def _petrosian_function_ellip(self, a, center, elongation, theta):
            return self._petrosian(self._growth, a)

        @lazyproperty
        def _slice_skybox(self):
            found = empty_square(self._segmap.data[self._slice_stamp], self._mask_stamp, self._skybox_size)
            if found is None:
                self.flag = BAD
                return slice(0, 0), slice(0, 0)
            return found

        @lazyproperty
        def _turned(self):
            """Image and mask turned by 180 degrees, with a frame of zeros as wide as they are; None: no mask."""
            masked = np.pad(self._mask_stamp[::-1, ::-1].astype(float), max(self._mask_stamp.shape))
            return (
                np.pad(self._cutout_stamp_maskzeroed[::-1, ::-1], max(self._mask_stamp.shape)),
                masked if self._mask_stamp.any() else None,
            )

        def _asymmetry_function(self, center, image, kind):
            """Lotz et al. (2004), eq. 10; rotation by 180 degrees is a flip and a shift."""
            ny, nx = image.shape
            x, y = center
            if not (0 <= x < nx and 0 <= y < ny):
                return 100.0  # keeps the minimiser inside
            radius = self._petro_extent_cas * self._rpetro_circ_centroid
            rows, columns = (_reached(c, radius, n) for c, n in ((y, ny), (x, nx)))
            edges = columns.start - 0.5 - x, columns.stop - 0.5 - x, rows.start - 0.5 - y, rows.stop - 0.5 - y
            size = columns.stop - columns.start, rows.stop - rows.start
            weight = circular_overlap_grid(*edges, *size, radius, 1, 1)
            box, shift = (rows, columns), (2 * y - (ny - 1), 2 * x - (nx - 1))
            turned, hidden = self._turned
            if hidden is not None:
                weight *= ~(self._mask_stamp[box] | (_shifted(hidden, shift, box, max(ny, nx)) >= 0.5))
            part = image[box]
            total = (weight * np.abs(part)).sum()
            if total == 0:
                return 100.0
            sky = 0.0 if self._sky_asymmetry == INVALID else weight.sum() * self._sky_asymmetry
            return ((weight * np.abs(_shifted(turned, shift, box, max(ny, nx)) - part)).sum() - sky) / total

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


class _Growth:
    """Light and area within concentric ellipses, from one histogram of parts of pixels over their distance.

    Parameters
    ----------
    image : array [y, x]
        Zero where pixels do not count.
    counted : bool array [y, x]
        Pixels that count.
    centre : array [2]
        x, y in pixels.
    elongation, theta : float
        Major over minor axis; position angle in radians from +x.
    """

    def __init__(self, image, counted, centre, elongation=1.0, theta=0.0):
        x, y = ((np.arange(n * PARTS) + 0.5) / PARTS - 0.5 - c for n, c in zip(image.shape[::-1], centre, strict=True))
        cos, sin = np.cos(theta), np.sin(theta)
        major = (cos * x) + (sin * y)[:, None]
        minor = (cos * elongation * y)[:, None] - (sin * elongation) * x
        step = np.sqrt(major * major + minor * minor) * STEPS_PER_PIXEL
        step = step.astype(np.int32).reshape(image.shape[0], PARTS, image.shape[1], PARTS)
        step = step.transpose(1, 3, 0, 2).reshape(PARTS * PARTS, -1)
        place, n = step.ravel(), int(step.max()) + 1
        sums = (np.bincount(place, np.tile(each.ravel(), PARTS * PARTS), n) for each in (image, counted))
        self._sums = [np.concatenate([[0.0], np.cumsum(each)]) / PARTS**2 for each in sums]
        self._edges = np.arange(n + 1) / STEPS_PER_PIXEL

    def within(self, axes):
        """Return light and pixels within ellipses of these semi-major axes (pixels), none where not positive."""
        return [np.interp(axes, self._edges, each) for each in self._sums]


def empty_square(segments, hidden, side):
    """Find the first square, in rows from below, without a galaxy and without a hidden pixel; halve it until one fits.

    Parameters
    ----------
    segments : int array [y, x]
        0: sky.
    hidden : bool array [y, x]
    side : int
        Pixels.

    Returns
    -------
    tuple of slice or None
        None where not even 2 x 2 pixels are empty.
    """
    total = np.pad(np.cumsum(np.cumsum((segments != 0) | hidden, axis=0), axis=1), ((1, 0), (1, 0)))
    while side >= 2:
        taken = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
        free = taken[:-1, :-1] == 0
        if free.any():
            y, x = np.unravel_index(np.argmax(free), free.shape)
            return slice(y, y + side), slice(x, x + side)
        side //= 2
    return None


def _reached(centre, radius, n):
    """Return the pixels along one axis that a circle reaches."""
    return slice(max(0, int(centre - radius)), min(n, int(centre + radius) + 2))


def _shifted(framed, shift, box, frame):
    """Return a box of an image that is shifted by (y, x) pixels, bilinear, zeros from outside.

    `framed` is the image in a frame of zeros of `frame` pixels; the box is in pixels of the image.
    """
    whole = [math.floor(each) for each in shift]
    (first, last), (left, right) = (
        (part.start + frame - step, part.stop + frame - step) for part, step in zip(box, whole, strict=True)
    )
    ty, tx = shift[0] - whole[0], shift[1] - whole[1]
    part = framed[first - 1 : last, left - 1 : right]
    part = (1 - ty) * part[1:] + ty * part[:-1]
    return (1 - tx) * part[:, 1:] + tx * part[:, :-1]


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
    """Ctrl-C, and the warning that Slurm sends to all processes of a job, are for the parent to answer.

    SIGTERM ends a worker as always: so does the executor with the others where one was killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
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
    for part in _mapped(chunks, workers, check):
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


def _mapped(chunks, workers, check):
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
        check()  # or of the signal that asks for a stop
        raise UserError("evaluate: a process was killed, most likely for memory; use fewer --threads") from None
    finally:
        executor.shutdown(cancel_futures=True)
