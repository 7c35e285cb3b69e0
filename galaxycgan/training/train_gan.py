"""The stage train_gan: a store in, a run directory with a trained generator out; resumes to the bit."""

import contextlib
import dataclasses
import functools
import math
from pathlib import Path

import numpy as np
import torch

from galaxycgan.catalogs.store.store import GalaxyStore, find_store
from galaxycgan.catalogs.store.training_subset import use_portion
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import atomic_path, hold_directory, keep_records, make_directory, read_json, write_json
from galaxycgan.images.noise_measurement import noise_of
from galaxycgan.models.device import (
    choose_device,
    choose_precision,
    deterministic,
    precision_name,
    reuse_memory,
    set_threads,
)
from galaxycgan.models.generator import LAYOUT
from galaxycgan.models.release import CARD, METRICS, NETWORKS, TRAINED_ON, WEIGHTS, save_generator
from galaxycgan.provenance import tool_stamp
from galaxycgan.resume import Decision, Found, existing_result
from galaxycgan.training.adversarial import Settings, Trainer
from galaxycgan.training.checkpoint import load_checkpoint
from galaxycgan.training.critic_disturbance import strength
from galaxycgan.training.dataset import RealImages, resident_bytes
from galaxycgan.training.distributed import device_of, team_of
from galaxycgan.training.gan_data import check_images, measured, training_labels
from galaxycgan.training.loop import Loop
from galaxycgan.training.names import CHECKPOINT
from galaxycgan.training.predictor import PredictorTrainer
from galaxycgan.training.threads import WORTH_IMAGES, fastest_threads
from galaxycgan.training.validation import ValidationTicks

CONFIG = "config.json"
#: How each objective trains: networks and steps, and what its options are where they are not given.
OBJECTIVES = {
    # With more, large networks diverge within 40,000 images.
    "relativistic": (Trainer, {"images": 150_000, "batch": 32, "lr": {"tiny": 6e-4, "base": 6e-4, "large": 2e-4}}),
    "predictor": (PredictorTrainer, {"images": 835_200, "batch": 64, "lr": 4e-4}),
}
#: How equal options train, a number that rises when they come to train otherwise: no run resumes by another recipe.
RECIPES = {"relativistic": 4, "predictor": 2}
#: Options that change the result: the same in a run and its resumption.
IDENTITY = (
    "labels", "objective", "preset", "images", "batch", "lr", "gamma", "fraction", "draw", "fold", "folds", "seed",
)  # fmt: skip


def _identity(config, store, conditioning, shape, device, dtype):
    """What a run must share with its checkpoint."""
    # These first: a checkpoint of another objective or layout differs in more, but they say why.
    first = {"objective": config.objective, "network": dataclasses.asdict(shape) | {"layout": LAYOUT}}
    first["recipe"] = RECIPES[config.objective]
    return first | {
        **{name: getattr(config, name) for name in IDENTITY},
        "store": store.fingerprint,
        "conditioning": conditioning.to_dict(),
        "device": device.type,
        "precision": precision_name(dtype),
    }


def _open_run(config, identity, conditioning, context, team):
    """Return what to do in the run directory, and the state to resume from or None.

    `identity` becomes that of the state.
    """
    run = make_directory(config.run)
    checkpoint, state = run / CHECKPOINT, {}
    # The first process decides for all: others may see the directory a moment earlier or later.
    fresh = bool(team.largest(float(team.is_main and (config.overwrite or not checkpoint.exists())))[0])

    def read():
        if fresh:
            _refuse_without_checkpoint(run)
            return None
        state.update(load_checkpoint(checkpoint))
        done = _is_finished(run, state)
        made = {"recipe": 1} | state["identity"]
        images = f"{state['trainer']['images']:,}"
        progress = f"{images} images" if done else f"image {images} of {config.images:,}"
        return Found({name: made.get(name) for name in identity}, done, progress)

    def like(made):
        if config.precision == "auto" or _is_finished(run, state):
            # Left to the machine, which may be another one than the run began on.
            identity["precision"] = made["precision"] or identity["precision"]
        if _is_finished(run, state):
            identity["device"] = made["device"] or identity["device"]
            identity["recipe"] = made["recipe"]
        if made["conditioning"]:
            identity["conditioning"] = conditioning.as_noted(made["conditioning"]).to_dict()
        return identity

    decision = existing_result(run, like, read, option="run", overwrite=config.overwrite, context=context)
    if decision is Decision.FRESH:
        for name in (CHECKPOINT, METRICS, CARD, WEIGHTS) if team.is_main else ():
            (run / name).unlink(missing_ok=True)
        team.wait()
        return decision, None
    keep_records(run / METRICS, "images", state["trainer"]["images"])
    return decision, state


def _is_finished(run, state):
    return state["finished"] and (run / CARD).exists()


def _refuse_without_checkpoint(run):
    """Raise `UserError` where a directory without a checkpoint holds files that a new run would replace."""
    if (run / CARD).exists():
        raise UserError(f"{run}: holds a trained generator without its checkpoint")
    ours = (run / CONFIG).exists() and "store_fingerprint" in read_json(run / CONFIG)
    if not ours and (strange := [name for name in (CONFIG, METRICS) if (run / name).exists()]):
        raise UserError(f"{run}: holds a {strange[0]} that is not of a training")


def _with_defaults(config):
    """Fill in the objective's own numbers."""
    own = OBJECTIVES[config.objective][1]
    own = {name: value[config.preset] if isinstance(value, dict) else value for name, value in own.items()}
    return dataclasses.replace(config, **{name: getattr(config, name) or value for name, value in own.items()})


def train_gan(config, context):
    """Train a conditional GAN on the training split of a store.

    Parameters
    ----------
    config : galaxycgan.config.TrainGan
        Options.
    context : galaxycgan.context.Context
        How it is run.

    Raises
    ------
    UserError
        Where the store or an option can't be used, or training diverges.
    Interrupted
        When asked to stop; the state is saved.
    """
    threads = set_threads(config.threads)
    reuse_memory()
    device = choose_device(device_of(config.device))
    if config.deterministic:
        deterministic(device)
    dtype, reason = choose_precision(config.precision, device)
    config = _with_defaults(config)
    with (
        team_of(device, config.batch) as team,
        GalaxyStore(find_store(config.store)) as store,
        contextlib.ExitStack() as held,
    ):
        if not team.is_main:
            context = context.muted()
        use_portion(store, config)
        rows, labels, conditioning = training_labels(config, store)
        width = conditioning.n_conditions
        shape = NETWORKS[config.objective][0].preset(config.preset, len(store.bands), store.size, width)
        identity = _identity(config, store, conditioning, shape, device, dtype)
        if config.overwrite or not (Path(config.run) / CHECKPOINT).exists():
            check_images(store, rows)
        if team.is_main:
            held.enter_context(hold_directory(config.run, "trains"))
        run = Path(config.run)
        decision, state = _open_run(config, identity, conditioning, context, team)
        if decision is Decision.MADE:
            return
        conditioning = conditioning.as_noted(identity["conditioning"])
        if identity["precision"] != precision_name(dtype):
            dtype, reason = getattr(torch, identity["precision"]), "as its checkpoint"
        settings = Settings(config.batch, config.lr, config.gamma, config.seed, strength(len(rows)))
        make_trainer = functools.partial(OBJECTIVES[config.objective][0], shape, settings, device, dtype, team)
        if not config.threads:
            threads = _threads(threads, config, device, team, state, make_trainer, context)
        context.say(
            f"{store.path}: {len(rows):,} training galaxies, bands {','.join(store.bands)}, {store.size} px; "
            f"{device.type}, {_processes(team)}{threads} threads, {precision_name(dtype)} ({reason})"
        )
        if store.pixel_unit != "nJy":
            context.say(
                f"warning: {store.path} holds raw pixels ({store.pixel_unit}): no catalog can be made of this GAN's"
                " galaxies, which would have no magnitudes"
            )
        if team.is_main:
            _save_inputs(run, config, store, rows)
        trainer = make_trainer()
        conditions = torch.from_numpy(conditioning.standardise(labels)).to(device)
        images = _prepare(trainer, store, rows, conditions, conditioning.numeric, state)
        if state:
            trainer.restore(state["trainer"])
        look = ValidationTicks.of(store, conditioning, trainer, run) if team.is_main else None
        loop = Loop(trainer, images, conditions, run, identity, config, state, look)
        loop.run(context)
        if not team.is_main:
            return
        seconds = loop.seconds()
        card = _card(config, context, store, rows, trainer, identity, seconds)
        if loop.best:
            card["training"]["released_at_image"] = loop.best["images"]
        save_generator(run, loop.released(), conditioning, card)
    if loop.doubtful():
        context.say(
            f"warning: {run}: its galaxies fit the validation galaxies far worse than real ones of other labels do; see"
            " samples/ and training.png"
        )
    context.say(
        f"{run}: done, {trainer.images:,} images in {seconds['wall'] / 60:.1f} minutes "
        f"({seconds['cpu'] / 60:.1f} CPU minutes)"
    )


def _threads(cores, config, device, team, state, make_trainer, context):
    """Set and return the number of CPU threads where it is left to us: the checkpoint's, or the fastest."""
    if device.type != "cpu" or team.size > 1 or cores == 1:
        return cores
    if state:
        return set_threads(min(state.get("threads", cores), cores))
    return fastest_threads(make_trainer(), cores, context.check) if config.images >= WORTH_IMAGES else cores


def _processes(team):
    return f"{team.size} processes of " if team.size > 1 else ""


def _save_inputs(run, config, store, rows):
    """Write down what the run learns from; the ids let a classifier refuse a GAN that saw its test galaxies."""
    write_json(
        run / CONFIG, dataclasses.asdict(config) | {"store": str(store.path), "store_fingerprint": store.fingerprint}
    )
    with atomic_path(run / TRAINED_ON) as temporary, open(temporary, "wb") as file:
        np.save(file, np.sort(store.ids[rows]))


def _prepare(trainer, store, rows, conditions, numeric, state):
    """Give the trainer its scales, measured on the training images, and return those."""
    some = measured(rows)
    sample = store.images(rows[some])
    sky_rms, correlation, log_depth, gain = noise_of(sample)
    unit = (2 * sky_rms).astype(np.float32)
    if state is None:
        flux = torch.from_numpy(sample).to(trainer.device) / torch.from_numpy(unit).to(trainer.device)[:, None, None]
        trainer.start_from(flux, conditions[some], numeric, unit, sky_rms / unit, correlation, log_depth, gain / unit)
    return RealImages(store, rows, torch.from_numpy(unit), trainer.device, resident_bytes(trainer.device))


def _card(config, context, store, rows, trainer, identity, seconds):
    """What a user needs to know."""
    return {
        "created": context.created,
        "tool": tool_stamp(),
        "bands": list(store.bands),
        "filters": list(store.filters),
        "pixel_scale_arcsec": store.pixel_scale,
        "pixel_unit": store.pixel_unit,
        "psf_fwhm_arcsec": [None if math.isnan(v) else v for v in np.asarray(store.psf_fwhm, dtype=float).tolist()],
        "mass_convention": store.attrs.get("mass_convention", ""),
        "note": config.note,
        "store": {"path": str(store.path), "fingerprint": store.fingerprint, "training_galaxies": len(rows)},
        "training": {name: identity[name] for name in (*IDENTITY, "device", "precision")}
        | {"images_shown": trainer.images, "max_minutes": config.max_minutes, "torch": torch.__version__}
        | {"parameters_generator": sum(p.numel() for p in trainer.generator.parameters())}
        | {"parameters_critic": sum(p.numel() for p in trainer.critic.parameters())},
        "cost": {name: round(value, 1) for name, value in seconds.items()},
    }
