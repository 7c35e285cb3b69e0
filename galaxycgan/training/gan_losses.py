"""What critics and generator minimise, and where a label enters it.

With the default objective a galaxy's labels (photo_z, log_mass, ...) enter the loss in three places (that of
`--objective predictor` is in `predictor.py`):

1. *The scores* (`critic_objective`, `generator_objective`). A real and a generated image *with the same labels*
   are scored together with these labels, by projection (`galaxycgan.models.discriminator`).
2. *The energy score* (`scatter_objective`). The photometry of a real galaxy is compared with that of two generated ones
   with its labels.
3. *The response to a label* (`label_response_penalty`). The label is moved for the same latent numbers, and the light
   must follow, as it does in real galaxies.
"""

import torch
import torch.nn.functional as F

from galaxycgan.models.blocks import as_float32
from galaxycgan.models.response import STEP

#: Gradient penalties cost as much as two further steps, so they are taken every fourth one, four times as heavy (lazy
#: regularisation, Karras et al. 2020, arXiv:1912.04958).
PENALTY_EVERY = 4
#: Weight of the photometric critic's loss beside the image critic's in what the generator minimises. It is full up to
#: so many images shown, then it falls as one over their number: later in training it makes galaxies too much alike.
PHOTOMETRIC_WEIGHT, FULL_WEIGHT_IMAGES = 0.1, 100_000
#: Weight of the photometry's energy score in the same sum. It takes a second galaxy with each label, so a step takes
#: 1.5 times as long. At half this weight the critics have the upper hand: galaxies scatter too little at fixed labels.
SCORE_WEIGHT = 5.0
GALAXIES_PER_LABEL = 2
#: Weight of galaxies that don't follow their labels; looked for as often as the gradient penalty, in another step.
RESPONSE_WEIGHT = 5.0


def photometric_weight(images):
    """Return the weight of the photometric critic's loss after so many images."""
    return PHOTOMETRIC_WEIGHT * min(1.0, FULL_WEIGHT_IMAGES / max(images, 1))


def critic_objective(critic, real, fake, conditions, gamma, cast):
    """Return what the critics minimise in a step.

    Parameters
    ----------
    critic : callable
        (stretched pixels, measurements, conditions) -> scores [critic, n]: of the image critic and the photometric one.
    real, fake : list of tensors
        Stretched pixels and measurements of n real and n generated galaxies with the same labels, pair by pair.
    conditions : tensor [n, n_conditions]
        These labels, standardised.
    gamma : float or None
        Weight of the gradient penalties; None: none are taken in this step.
    cast : callable
        Returns the context in which networks are called.

    Returns
    -------
    loss : tensor
    real_scores : tensor [critic, n]
        Without gradients.
    report : dict of tensors
    """
    if gamma is not None:
        for seen in (*real, *fake):
            seen.requires_grad_(True)
    both = [torch.cat(pair) for pair in zip(real, fake, strict=True)]
    with cast():
        scores = critic(*both, torch.cat([conditions, conditions]))
    real_scores, fake_scores = scores.chunk(2, dim=1)
    losses = critic_loss(real_scores, fake_scores)
    gaps = (real_scores - fake_scores).mean(1).detach()
    report = {"critic_loss": losses[0].detach(), "score_gap": gaps[0], "photometric_gap": gaps[1]}
    loss = losses[0] + losses[1]
    if gamma is not None:
        # Each critic is kept smooth in what it sees: pixels, and measurements.
        penalties = [gradient_penalty(scores[k], real[k], fake[k]) for k in range(2)]
        loss = loss + PENALTY_EVERY / 2 * gamma * (penalties[0] + penalties[1])
        report["penalty"] = penalties[0].detach()
    return loss, real_scores.detach(), report


def generator_objective(critic, real_scores, fake, conditions, weight, cast):
    """Return what the critics tell the generator to minimise, and a report.

    Parameters
    ----------
    critic, fake, conditions, cast
        As for `critic_objective`.
    real_scores : tensor [critic, n]
        Of the real galaxies with these labels.
    weight : float or tensor
        Of the photometric critic; see `photometric_weight`.
    """
    with cast():
        scores = critic(*fake, conditions)
    losses = generator_loss(real_scores, scores)
    return losses[0] + weight * losses[1], {"generator_loss": losses[0].detach()}


def scatter_objective(measured, generated):
    """Return the weighted energy score of two generated galaxies for each real one, and a report.

    Parameters
    ----------
    measured : tensor [n, k]
        Of real galaxies.
    generated : tensor [2 n, k]
        First of n galaxies with their labels, then of n others.
    """
    energy = energy_score(measured.detach(), *generated.chunk(GALAXIES_PER_LABEL))
    return SCORE_WEIGHT * energy, {"energy_score": energy.detach()}


def label_response_penalty(generator, response, latent, conditions, noiseless, column, cast):
    """Return, weighted, by how much too little galaxies follow a label.

    Parameters
    ----------
    generator : callable
        (latent, conditions) -> (noiseless images, ...).
    response : galaxycgan.models.response.Response
    latent, conditions : tensor [n, latent], [n, n_conditions]
    noiseless : tensor [n, band, y, x]
        What the generator makes of these.
    column : int
        The label that is moved by `STEP` standard deviations.
    cast : callable
        Returns the context in which networks are called.
    """
    moved = conditions.clone()
    moved[:, column] += STEP
    with cast():
        other, _ = generator(latent, moved)
    return RESPONSE_WEIGHT * PENALTY_EVERY * response.penalty(noiseless, other, column)


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
