"""How a classifier learns from images and kinds: augmentation, one epoch, calibration."""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from galaxycgan.models.device import autocast

LARGEST_SHIFT = 2
#: Images looked at together where nothing is learned.
CHUNK = 256
#: Temperatures that a calibration may take: a few dozen validation galaxies tell no more.
TEMPERATURES = (0.25, 4.0)


@functools.cache
def _views(size):
    """Return where each pixel of a moved stamp comes from: int64 [8 symmetries x 25 shifts, y x].

    Pixels from beyond the edge repeat it.
    """
    line = torch.arange(size)
    steps = range(-LARGEST_SHIFT, LARGEST_SHIFT + 1)
    moved = []
    for y_step in steps:
        for x_step in steps:
            y, x = (line + y_step).clamp(0, size - 1), (line + x_step).clamp(0, size - 1)
            place = y[:, None] * size + x
            for turned in (place, place.T):
                moved += [turned, turned.flip(0), turned.flip(1), turned.flip(0, 1)]
    return torch.stack(moved).flatten(1)


def augmented(images, random):
    """Move each image by its own symmetry of the square and its own shift of up to two pixels.

    Parameters
    ----------
    images : tensor [n, band, y, x]
        On the CPU.
    random : numpy.random.Generator

    Returns
    -------
    tensor [n, band, y, x]
    """
    views = _views(images.shape[-1])
    which = views[torch.from_numpy(random.integers(len(views), size=len(images)))]
    flat = images.flatten(2)
    return flat.gather(2, which[:, None].expand_as(flat)).view_as(images)


def learn_epoch(
    network, optimiser, images, wanted, random, batch, augment, weight=1.0, dtype=torch.float32, after_step=None
):
    """Show each image once.

    Parameters
    ----------
    network : torch.nn.Module
        Images to logits; changed.
    optimiser : torch.optim.Optimizer
    images : tensor [n, band, y, x], or what is indexed like one
        nJy, on the CPU.
    wanted : tensor [n]
        1 or 0.
    random : numpy.random.Generator
        Sets order, augmentation and, through torch's own seed, dropout.
    batch : int
    augment : bool
        Whether images are moved; see `augmented`.
    weight : float
        Of target galaxies in the loss.
    dtype : torch.dtype
        Of the convolutions.
    after_step : callable, optional
        Called when the optimiser has changed the network.

    Returns
    -------
    float
        Mean log loss [nats], what the weight puts on the logits taken off.
    """
    device = next(network.parameters()).device
    torch.manual_seed(int(random.integers(2**62)))
    factor = torch.tensor(float(weight), device=device)
    network.train()
    total = 0.0
    for pick in torch.from_numpy(random.permutation(len(images))).split(batch):
        shown = augmented(images[pick], random) if augment else images[pick]
        with autocast(device, dtype):
            score = network(shown.to(device))
        loss = F.binary_cross_entropy_with_logits(score.float(), wanted[pick].to(device), pos_weight=factor)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if after_step:
            after_step()
        if weight != 1:
            loss = F.binary_cross_entropy_with_logits(score.detach().float() - factor.log(), wanted[pick].to(device))
        total += float(loss.detach()) * len(pick)
    return total / len(images)


@torch.no_grad()
def logits(network, images, shift=0.0, dtype=torch.float32):
    """Logits [n] of images [n, band, y, x] in nJy, on the CPU; `shift` is taken off."""
    network.eval()
    device = next(network.parameters()).device
    with autocast(device, dtype):
        parts = [network(chunk.to(device)).float().cpu() for chunk in images.split(CHUNK)]
    return torch.cat(parts) - shift


def class_weight(wanted):
    """Return the weight of target galaxies that makes both kinds count alike: others over targets."""
    positive = float(wanted.sum())
    return (len(wanted) - positive) / positive


def temperature_of(scores, wanted):
    """Return the temperature that makes logits honest (Guo et al. 2017, arXiv:1706.04599, section 4.2).

    Parameters
    ----------
    scores : array [n]
        Logits of galaxies that were not learned from.
    wanted : array [n]
        1 or 0.

    Returns
    -------
    float
        Divide logits by it: the log loss on these galaxies is least.
    """
    scores, wanted = (np.asarray(each, dtype=np.float64) for each in (scores, wanted))

    def loss(log_temperature):
        x = scores / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, x) - wanted * x))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))
