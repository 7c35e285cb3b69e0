"""Do the images' fluxes fit the table's magnitudes? Finds a wrong unit, a wrong zero point and bands in another order.

Nothing in an npy file tells what its numbers are, or which band comes first; tables have the magnitudes of the same
galaxies.
"""

import itertools
import math

import numpy as np

from galaxycgan.catalogs.schema.columns import magnitude_columns
from galaxycgan.images.photometry import APERTURE_RADIUS, aperture_fluxes, geometry
from galaxycgan.images.pixel_units import PixelScheme, ab_magnitude

#: Galaxies that are looked at, and so many at least.
MOST, LEAST = 500, 20
#: Flux over the error of uncorrelated noise: fainter ones scatter too much.
BRIGHT = 20.0
#: Light beyond the aperture and other ways to measure make less than this, in magnitudes; a wrong unit makes more.
FAR_MAG = 1.0
#: Bands are taken for swapped where another order leaves less than this share of the colours' differences, and where
#: these are larger than so many magnitudes.
SWAPPED_SHARE, SWAPPED_MAG = 0.5, 0.15
#: What tables have where a magnitude is missing lies outside.
BELIEVABLE_MAG = (5.0, 35.0)
#: More bands have too many orders to try.
MOST_BANDS = 6


class FluxSample:
    """Magnitudes of some galaxies, measured on their images as these are converted.

    Parameters
    ----------
    n : int
        Number of images.

    Attributes
    ----------
    rows : int array [k]
        Those that are measured, evenly spread.
    """

    def __init__(self, n):
        self.rows = np.unique(np.linspace(0, n - 1, min(n, MOST)).astype(np.int64)) if n else np.zeros(0, np.int64)
        self._parts = []

    def see(self, start, images):
        """Measure those among images [m, band, y, x] from row `start` on that are needed, in flux units per pixel."""
        wanted = self.rows[(self.rows >= start) & (self.rows < start + len(images))] - start
        if len(wanted):
            self._parts.append(_magnitudes(images[wanted]))

    @property
    def magnitudes(self):
        """Of `rows` [k, band], as if fluxes were in nJy; NaN where a galaxy is faint."""
        return np.concatenate(self._parts)


def _magnitudes(images):
    """Return the magnitudes of images in the aperture [n, band]; NaN below `BRIGHT`."""
    n_pixels = geometry(images.shape[-1]).within(APERTURE_RADIUS).sum()
    with np.errstate(all="ignore"):  # pixels may be anything here; what isn't finite is told elsewhere
        measured, _ = aperture_fluxes(images)
        flux, error = measured["flux"], measured["sky_rms"] * math.sqrt(n_pixels)
        return np.where((flux > BRIGHT * error) & (flux > 0), ab_magnitude(flux), np.nan)


def check_fluxes(sample, table, rows, bands, pixels):
    """Compare magnitudes of images with those of the table.

    Parameters
    ----------
    sample : FluxSample
    table : SurveyTable
    rows : int array [n]
        Row of the table that belongs to each image, -1 for none.
    bands : sequence of str
    pixels : str
        What the images' numbers were taken for, as `--pixels` says it.

    Returns
    -------
    dict
        'pixels', as given; 'bands': list of {'band', 'column', 'n', 'median_mag' (image minus table), 'scatter_mag'
        (half of what lies between the quantiles 0.16 and 0.84)}; 'order': these bands in the order that fits better, or
        None. Bands whose magnitude the table does not have, or for too few galaxies, are left out.
    """
    columns = magnitude_columns(table.frame.select_dtypes("number").columns, bands)
    rows = rows[sample.rows]
    found, ours, theirs = [], [], []
    for k, band in enumerate(bands) if len(rows) else ():
        if band not in columns:
            continue
        values = np.where(rows >= 0, table.numbers(columns[band])[rows], np.nan)
        with np.errstate(invalid="ignore"):
            values[(values < BELIEVABLE_MAG[0]) | (values > BELIEVABLE_MAG[1])] = np.nan
        measured = sample.magnitudes[:, k]
        difference = (measured - values)[np.isfinite(measured - values)]
        if len(difference) < LEAST:
            continue
        low, middle, high = np.quantile(difference, (0.16, 0.5, 0.84))
        facts = {"n": len(difference), "median_mag": float(middle), "scatter_mag": float(high - low) / 2}
        found.append({"band": band, "column": columns[band]} | facts)
        ours.append(measured)
        theirs.append(values)
    return {"pixels": pixels, "bands": found, "order": _better_order([each["band"] for each in found], ours, theirs)}


def _better_order(bands, ours, theirs):
    """Return the bands in the order in which the images' colours fit the table's far better than as named, or None."""
    if not 2 <= len(bands) <= MOST_BANDS:
        return None
    ours, theirs = np.stack(ours, 1), np.stack(theirs, 1)
    good = np.isfinite(ours + theirs).all(1)
    if good.sum() < LEAST:
        return None
    # Brightness tells nothing of the order, and may be in any unit.
    ours, theirs = (each[good] - each[good].mean(1, keepdims=True) for each in (ours, theirs))

    def misfit(order):
        return float(np.median(np.abs(ours - theirs[:, list(order)]).mean(1)))

    as_named = tuple(range(len(bands)))
    best = min(itertools.permutations(as_named), key=misfit)
    swapped = best != as_named and misfit(as_named) > SWAPPED_MAG and misfit(best) < SWAPPED_SHARE * misfit(as_named)
    return [bands[k] for k in best] if swapped else None


def flux_words(found):
    """Say how fluxes and magnitudes fit.

    Parameters
    ----------
    found : dict
        Of `check_fluxes`.

    Returns
    -------
    list of str
        Lines, warnings last; empty where there is nothing to compare.
    """
    scheme, bands = PixelScheme.parse(found["pixels"]), found["bands"]
    if not bands:
        return []
    each = ", ".join(f"{facts['band']} {facts['median_mag']:+.2f} ({facts['column']})" for facts in bands)
    n = min(facts["n"] for facts in bands)
    lines = [f"magnitudes in the aperture less the table's, median of at least {n:,} galaxies: {each}"]
    points = [scheme.nominal_zero_point - facts["median_mag"] for facts in bands]
    # Of one and the same zero point: else the numbers aren't in proportion to flux.
    steady = max(points) - min(points) < 0.3 and all(facts["scatter_mag"] < 0.3 for facts in bands)
    fits = f"; counts:{np.mean(points):.2f} would fit" if steady and scheme.name != "hsc-asinh" else ""
    if scheme.name == "raw":
        lines[0] = f"pixels are raw: no magnitudes{fits}"
    elif max(abs(facts["median_mag"]) for facts in bands) > FAR_MAG:
        lines.append(
            f"warning: the images' fluxes don't fit the table's magnitudes: is --pixels {found['pixels']} right?{fits}"
        )
    if found["order"]:
        lines.append(
            f"warning: the images' colours fit the table's far better if their bands are {','.join(found['order'])}:"
            f" is --bands {','.join(facts['band'] for facts in bands)} right?"
        )
    return lines
