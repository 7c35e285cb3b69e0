"""A trained generator on disk: weights as safetensors, the rest as JSON."""

import dataclasses

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from galaxycgan.errors import UserError
from galaxycgan.files.atomic import atomic_path, read_json, write_json
from galaxycgan.models.baseline_2018 import AncestorGenerator, AncestorShape
from galaxycgan.models.conditioning import Conditioning
from galaxycgan.models.generator import LAYOUT, Generator, NetworkShape
from galaxycgan.resources import gan_directory

WEIGHTS = "generator.safetensors"
CARD = "generator.json"
#: Beside them in a run directory: the training log, and the ids that the generator has seen.
METRICS = "metrics.jsonl"
TRAINED_ON = "trained_on.npy"
CARD_SCHEMA = "galaxycgan-generator"
#: The networks of each objective of the training.
NETWORKS = {"relativistic": (NetworkShape, Generator), "predictor": (AncestorShape, AncestorGenerator)}


def save_generator(run, generator, conditioning, card):
    """Write a generator into a run directory.

    Parameters
    ----------
    run : Path
        Directory.
    generator : Generator
        With its averaged weights.
    conditioning : Conditioning
        What its labels mean.
    card : dict
        What a user needs to know: data, bands, pixel scale, training.
    """
    tensors = {name: tensor.contiguous().cpu() for name, tensor in generator.state_dict().items()}
    tensors["conditioning.reference"] = torch.from_numpy(conditioning.reference.astype(np.float32))
    with atomic_path(run / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors))
    shape = dataclasses.asdict(generator.shape)
    write_json(
        run / CARD,
        {
            "schema": CARD_SCHEMA,
            "schema_version": 1,
            "layout": LAYOUT,
            "network": shape,
            "conditioning": conditioning.to_dict(),
        }
        | card,
    )


def load_trained_on(run):
    """Return the sorted ids that a run's generator has seen: int64 [n].

    Raises
    ------
    UserError
        Where they are missing or damaged: which galaxies the generator never saw is then unknown.
    """
    path = gan_directory(run) / TRAINED_ON
    try:
        return np.load(path, allow_pickle=False).astype(np.int64, casting="safe")
    except (OSError, ValueError, TypeError, EOFError):
        raise UserError(f"{path}: can't be read: which galaxies the GAN has seen is unknown") from None


def check_images(what, card, size, store):
    """Refuse a store whose images are of another kind than a network's or another store's, or that has none.

    Parameters
    ----------
    what : str or Path
        Run directory or store, named in the message.
    card : dict
        Has bands, pixel_unit, pixel_scale_arcsec.
    size : int
        Side of its stamps in pixels.
    store : GalaxyStore
        Where the images are.
    """
    for path, pixels in ((what, size), (store.path, store.size)):
        if not pixels:
            raise UserError(f"{path}: has no images, only a table; generate with --images both, noisy or noiseless")
    theirs = (tuple(card["bands"]), size, card["pixel_unit"], card["pixel_scale_arcsec"])
    if theirs != (store.bands, store.size, store.pixel_unit, store.pixel_scale):
        words = (
            f"{','.join(bands)}, {pixels} px, {unit}, {scale} arcsec/px"
            for bands, pixels, unit, scale in (theirs, (store.bands, store.size, store.pixel_unit, store.pixel_scale))
        )
        raise UserError(
            f"{what}: is for images of another kind ({next(words)}) than {store.path} holds ({next(words)})"
        )


def load_generator(run, device="cpu"):
    """Read a generator that `save_generator` wrote.

    Returns
    -------
    generator : Generator
        In evaluation mode on `device`.
    conditioning : Conditioning
        What its labels mean.
    card : dict
        The rest of its card.
    """
    if not (run / CARD).exists():
        raise UserError(f"{run}: holds no trained generator ({CARD}); train one: galaxycgan train_gan --run {run}")
    card = read_json(run / CARD)
    if card.get("schema") != CARD_SCHEMA:
        raise UserError(f"{run / CARD}: not the card of a generator (schema '{card.get('schema')}')")
    if card.get("layout") != LAYOUT:
        raise UserError(
            f"{run}: made by another version of galaxycgan (network layout {card.get('layout')}); train again"
        )
    try:
        tensors = load_file(run / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{run / WEIGHTS}: can't be read ({error})") from None
    try:
        reference = tensors.pop("conditioning.reference").numpy()
        shape, network = NETWORKS[card.get("training", {}).get("objective", "relativistic")]
        generator = network(shape(**card["network"]))
        generator.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{run}: card and weights don't belong together ({str(error).splitlines()[0]})") from None
    generator.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    return generator, Conditioning.from_dict(card["conditioning"], reference), card
