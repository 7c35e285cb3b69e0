"""What keeps critics from learning a few training galaxies by heart: they see real and generated ones alike disturbed.

A critic that knows its galaxies one by one tells the generator nothing of what lies between them. What is done to both
sides in the same way can't teach the generator to make it: where disturbed galaxies have the same distribution, so
have the undisturbed ones (Karras et al. 2020, arXiv:2006.06676, section 2.2). Brightness, colour and size stay.
"""

import math

import torch

from galaxycgan.randomness import make_rng

#: Down to FEW training galaxies the critics need all of it, from ENOUGH on nothing.
FEW, ENOUGH = 150, 300
LARGEST_SHIFT_PX = 3
#: Largest noise of pixels and of measurements, each image having its own share of it, and noise of the labels, all in
#: standard deviations of the training galaxies'. Real and generated galaxies are compared at the same noisy labels:
#: labels to the last digit name a galaxy.
PIXELS, MEASUREMENTS, LABELS = 0.5, 0.3, 0.3
#: Deviates of an image that set its shares of the noise of pixels and of measurements.
SHARES = 2


def strength(n):
    """Return how much of it critics need that learn from n galaxies: 1 for few, 0 for enough."""
    return min(1.0, max(0.0, (ENOUGH - n) / (ENOUGH - FEW)))


def disturbed(seen, deviates, amount, shift):
    """Disturb what the critics see of galaxies, real or generated.

    Parameters
    ----------
    seen : pair of tensors [n, band, y, x] and [n, n_features]
        Standardised pixels and measurements.
    deviates : tensor [n, n_pixels + n_features + SHARES]
        Standard normal, others for real galaxies than for generated ones.
    amount : float
        0..1 of the largest noise.
    shift : (int, int) or int tensor [2]
        Pixels by which all images are moved around the torus, along y and x; the same for real and generated ones.

    Returns
    -------
    list of two tensors
        As `seen`.
    """
    pixels, features = seen
    noise, errors, shares = deviates.split([pixels[0].numel(), features.shape[1], SHARES], 1)
    # The distribution function of a normal deviate is uniform in 0..1.
    shares = amount * 0.5 * (1 + torch.erf(shares / math.sqrt(2)))
    moved = _rolled(pixels, shift)
    return [
        moved + PIXELS * shares[:, :1, None, None] * noise.view_as(pixels),
        features + MEASUREMENTS * shares[:, 1:] * errors,
    ]


def _rolled(pixels, shift):
    """As torch.roll along y and x, by amounts that a recorded step may read on the GPU."""
    size = pixels.shape[-1]
    rows, columns = ((torch.arange(size, device=pixels.device) - by) % size for by in shift)
    return pixels.index_select(-2, rows).index_select(-1, columns)


def deviates_of(n_pixels, n_features, n_conditions):
    """Return how many deviates `both_disturbed` takes for a galaxy and the generated one beside it, each."""
    return n_pixels + n_features + SHARES + n_conditions


def both_disturbed(real, fake, conditions, deviates, amount, shift):
    """Disturb what the critics see of real and generated galaxies, and the labels that come with both.

    Parameters
    ----------
    real, fake : pair of tensors
        As `disturbed` takes them.
    conditions : tensor [n, label]
        Standardised.
    deviates : tensor [2 n, `deviates_of`]
        Standard normal.
    amount, shift
        See `disturbed`.

    Returns
    -------
    real, fake, conditions
    """
    n, width = conditions.shape
    told = conditions + amount * LABELS * deviates[:n, -width:]
    sides = zip((real, fake), deviates[:, :-width].split(n), strict=True)
    return *(disturbed(seen, drawn, amount, shift) for seen, drawn in sides), told


def shift_of(seed, first, amount):
    """Return by how many pixels along y and x the batch that starts at a global image index is moved."""
    farthest = round(amount * LARGEST_SHIFT_PX)
    return tuple(int(step) for step in make_rng(seed, "shift", first).integers(-farthest, farthest + 1, size=2))
