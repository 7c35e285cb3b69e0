"""Adversarial losses: scores to the numbers that the networks minimise."""

import torch
import torch.nn.functional as F

from galaxycgan.models.blocks import as_float32


def critic_loss(real_scores, fake_scores):
    """Relativistic pairing loss of the critic (Jolicoeur-Martineau 2018, arXiv:1807.00734; Huang et al. 2024, R3GAN).

    Parameters
    ----------
    real_scores, fake_scores : tensor [..., n]
        Scores of a real and a generated image *with the same labels*, pair by pair. The mean over pairs is returned.
    """
    return F.softplus(fake_scores - real_scores).mean(-1)


def generator_loss(real_scores, fake_scores):
    """Relativistic pairing loss of the generator; see `critic_loss`."""
    return F.softplus(real_scores - fake_scores).mean(-1)


def energy_score(real, first, second):
    """Return how far generated measurements are from real ones, as a proper scoring rule (Gneiting & Raftery 2007, JASA
    102, 359, eqs. 21 and 22).

    The mean of ``(|first - real| + |second - real| - |first - second|) / 2`` is smallest where generated galaxies
    scatter at fixed labels exactly as real ones do: neither too much nor too little. It is taken of each measurement by
    itself (the continuous ranked probability score), and of all together over the square root of their number.

    Parameters
    ----------
    real : tensor [n, k]
        Measurements of real galaxies.
    first, second : tensor [n, k]
        Of two generated galaxies with the labels of each.
    """
    parts = (first - real, second - real, first - second)
    each = [part.abs().mean() for part in parts]
    # The square root has no derivative at zero.
    together = [(part.square().mean(1) + 1e-8).sqrt().mean() for part in parts]
    return sum(0.5 * (one[0] + one[1] - one[2]) for one in (each, together))


def gradient_penalty(scores, *inputs):
    """Sum of mean squared gradients of the scores, one term for each tensor of inputs [n, ...].

    With real and generated images these are R1 and R2 (Mescheder et al. 2018, arXiv:1801.04406): they keep the critic
    smooth where the data are and where the generator is, without which the pairing loss does not converge.
    """
    gradients = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    return sum(as_float32(gradient).square().flatten(1).sum(1).mean() for gradient in gradients)
