"""Adversarial losses: scores to the numbers that the networks minimise."""

import torch
import torch.nn.functional as F


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


def gradient_penalty(scores, *inputs):
    """Sum of mean squared gradients of the scores, one term for each tensor of inputs [n, ...].

    With real and generated images these are R1 and R2 (Mescheder et al. 2018, arXiv:1801.04406): they keep the critic
    smooth where the data are and where the generator is, without which the pairing loss does not converge.
    """
    gradients = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    return sum(gradient.float().square().flatten(1).sum(1).mean() for gradient in gradients)
