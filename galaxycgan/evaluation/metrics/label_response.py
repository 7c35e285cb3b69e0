"""Does a heavier galaxy come out brighter, and a farther one fainter, by as much as real ones do?"""

import numpy as np

from galaxycgan.evaluation.metrics import distances
from galaxycgan.evaluation.metrics.resampling import record
from galaxycgan.images.bands import reference_band
from galaxycgan.images.photometry import APERTURE_RADIUS, geometry, measure
from galaxycgan.images.pixel_units import asinh_magnitude

LATENTS, FEW_LATENTS, STEPS = 256, 64, 11
WINDOW_DEX = 0.05
#: Where real galaxies change by less (mag/dex), a single latent need not follow.
STEEP = 1.0
#: Of so many galaxies ten lie within `RANGE`, as many as `local_slope` needs.
SMALLEST_WINDOW = 12
#: So many more for each further label whose effect is told from that of the moved one.
ENOUGH_FOR_EACH = 5
#: A slope may be wrong by this share of it.
SLOPE_SHARE = 0.05
QUANTILES = (0.2, 0.5, 0.8)
#: Quantiles of the real galaxies between which the label is moved.
RANGE = (0.05, 0.95)
REDSHIFT, MASS = "photo_z", "log_mass"


def _dex(name, values):
    """Return a label in dex: stellar masses are stored so."""
    return np.log10(values) if name == REDSHIFT else np.asarray(values)


def responses(painter, labels, magnitude, bands, softening_njy, seed, latents=LATENTS):
    """Move one label while the other stands still, for the same latents, and compare with real galaxies.

    Parameters
    ----------
    painter : Painter
        The generator; conditioned on photo_z and log_mass, or the result is empty.
    labels : array [n, column]
        Of real galaxies.
    magnitude : array [n]
        Of the same, asinh AB magnitudes in the reference band.
    bands : sequence of str
    softening_njy : float
        Of the magnitudes.
    seed : int
        Of the latents.
    latents : int
        How many of them.

    Returns
    -------
    dict of lists of dict
        'mass_response', 'redshift_response': for each value of the label that stands still 'at' which value, 'n_real'
        galaxies near it, 'range' of the moved label, 'monotone' share of the latents, whether that is 'required',
        'slope_generated', 'slope_real' and 'slope_real_error' in mag/dex at fixed other labels, of planes through
        points at the labels of these galaxies; and for plots 'moved', 'mag', 'window'.
    """
    columns = painter.conditioning.columns
    if not {REDSHIFT, MASS} <= set(columns):
        return {"mass_response": [], "redshift_response": []}
    arguments = painter, labels, magnitude, bands, softening_njy, seed, latents
    return {
        "mass_response": _response(MASS, REDSHIFT, *arguments),
        "redshift_response": _response(REDSHIFT, MASS, *arguments),
    }


def _response(moved, still, painter, labels, magnitude, bands, softening, seed, latents):
    columns = painter.conditioning.columns
    x, fixed = (_dex(name, labels[:, columns.index(name)]) for name in (moved, still))
    # Galaxies are generated at typical further labels, which may go along with the moved one: at fixed ones, too.
    names = painter.conditioning.names
    further = painter.conditioning.standardise(labels)[:, [name not in (moved, still) for name in names]]
    beside = np.column_stack([fixed, further])
    parts = []
    for quantile in QUANTILES:
        centre = float(np.quantile(fixed, quantile))
        window = np.abs(fixed - centre) < WINDOW_DEX
        if window.sum() < SMALLEST_WINDOW + ENOUGH_FOR_EACH * further.shape[1]:
            continue
        steps = np.linspace(*np.quantile(x[window], RANGE), STEPS)
        # The relations are curved: a slope depends on where its points lie, so both are fitted at the same labels.
        near = window & (x >= steps[0]) & (x <= steps[-1])
        request = np.tile(painter.conditioning.typical(labels), (latents, 1))
        request[:, columns.index(still)] = 10**centre if still == REDSHIFT else centre
        values = 10**steps if moved == REDSHIFT else steps
        light, mag = _walk(painter, request, columns.index(moved), values, bands, softening, seed)
        # In a flux-limited survey the galaxies of a window are the more massive the farther they are: at its fixed
        # centre, where galaxies are generated, mass has another slope than it seems to have.
        slope, error = distances.local_slope(beside[near], x[near], magnitude[near], int(quantile * 10))
        seen = np.interp(x[near], steps, mag.mean(1))
        direction = 1 if moved == MASS else -1
        parts.append(
            {
                "at": float(request[0, columns.index(still)]),
                "n_real": int(near.sum()),
                "range": [float(values[0]), float(values[-1])],
                "monotone": float((direction * distances.spearman_with_steps(light) > 0.9).mean()),
                "required": bool(-direction * slope > STEEP),
                "slope_generated": distances.slope_beside(beside[near], x[near], seen),
                "slope_real": slope,
                "slope_real_error": error,
                "moved": values,
                "mag": mag,
                "window": window,
            }
        )
    return parts


def _walk(painter, request, column, values, bands, softening, seed):
    """Return light in the aperture and magnitude [step, latent] of noiseless galaxies as one label moves.

    Rising or falling is told by the light itself; the slope by magnitudes measured as on real galaxies, where the
    outskirts of large ones count as sky.
    """
    k = reference_band(bands)
    aperture = geometry(painter.generator.shape.size).within(APERTURE_RADIUS)
    light, seen = [], []
    for value in values:
        request[:, column] = value
        clean = painter.sample(request, seed, noisy=False)
        light.append(clean[:, k, aperture].sum(1))
        seen.append(measure(clean[:, k : k + 1], bands[k : k + 1])["flux"][:, 0])
    return np.array(light), asinh_magnitude(np.array(seen), softening)


def summary(family, parts):
    """Return the metrics of a response: the worst of its parts.

    Parameters
    ----------
    family : str
        'mass_response' or 'redshift_response'.
    parts : list of dict
        Of `responses`.

    Returns
    -------
    dict of dict
        ``<family>.monotone``: smallest share of monotone latents where real galaxies require it. ``<family>.slope``:
        largest excess of the slope's error over two standard errors or 5% of the real slope, in mag/dex.
    """
    none = np.zeros(0)
    out = {}
    required = [part["monotone"] for part in parts if part["required"]]
    if required:
        out[f"{family}.monotone"] = record(min(required), none, none)
    beyond = []
    for part in parts:
        allowed = max(2 * part["slope_real_error"], SLOPE_SHARE * abs(part["slope_real"]))
        beyond.append(abs(part["slope_generated"] - part["slope_real"]) - allowed)
    if beyond:
        out[f"{family}.slope"] = record(max(0.0, *beyond), none, none)
    return out
