"""A trained classifier on disk: the network, what it was trained for, how its logits become probabilities."""

from pathlib import Path

import torch

from galaxycgan.errors import UserError
from galaxycgan.models.classifier import Classifier
from galaxycgan.models.classifier_learning import logits
from galaxycgan.training.checkpoint import load_checkpoint, save_checkpoint

MODEL = "classifier.pt"
#: What is known of a classifier beside its network.
NEEDED = ("shift", "temperature", "threshold", "target", "learned_from", "validated_on")


def save_classifier(run, network, about):
    """Write a classifier into a run directory.

    Parameters
    ----------
    run : Path
    network : dict
        Weights.
    about : dict
        preset, size, bands, pixel_unit, pixel_scale_arcsec, target; shift and temperature of the logits; threshold;
        learned_from and validated_on: ids of galaxies.
    """
    save_checkpoint(run / MODEL, {"network": network} | about)


def load_classifier(run, device):
    """Read a trained classifier.

    Returns
    -------
    network : Classifier
        In evaluation mode.
    state : dict
        What `save_classifier` was given.
    """
    path = Path(run) / MODEL
    if not path.exists():
        raise UserError(
            f"{run}: holds no trained classifier ({MODEL}); train one: galaxycgan train_classifier --run {run}"
        )
    try:
        state = load_checkpoint(path)
    except UserError as error:
        raise UserError(f"{error}; train again") from None
    try:
        network = Classifier(state["preset"], len(state["bands"]), state["size"])
        network.load_state_dict(state["network"])
        _ = [state[name] for name in NEEDED]
    except (KeyError, TypeError, RuntimeError):
        raise UserError(f"{path}: not a classifier of this version of galaxycgan; train again") from None
    return network.to(device).eval(), state


def probabilities(network, state, images):
    """Return calibrated probabilities [n] of images [n, band, y, x] in nJy.

    Parameters
    ----------
    network : Classifier
    state : dict
        With its `shift` and `temperature`.
    images : tensor [n, band, y, x]
    """
    return torch.sigmoid(logits(network, images, state["shift"]) / state["temperature"])
