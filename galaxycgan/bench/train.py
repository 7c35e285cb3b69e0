"""How fast the GAN trains, beside the convolutions that the device can do at best and beside the networks of 2018."""

import contextlib

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from galaxycgan.bench.timing import timed
from galaxycgan.images.bands import parse_bands
from galaxycgan.models.baseline_2018 import AncestorShape
from galaxycgan.models.device import (
    autocast,
    choose_device,
    choose_precision,
    precision_name,
    reuse_memory,
    set_threads,
)
from galaxycgan.models.generator import NetworkShape
from galaxycgan.training.adversarial import Settings, Trainer
from galaxycgan.training.gan_losses import PENALTY_EVERY
from galaxycgan.training.predictor import PredictorTrainer

#: Share of the peak that a step shall reach on a CPU.
GOAL = 0.6
#: Batches that are measured on a GPU beside the one that is asked for.
GPU_BATCHES = (256, 1024)
ANCESTOR_BATCH, ANCESTOR_RATE = 64, 4e-4
#: Channels and side of the maps that the peak is looked for with; images in such a batch.
PEAK_SHAPES = ((64, 32), (128, 16), (256, 16))
PEAK_BATCH = 64
REPEATS = 3
#: Steps after which all comes again: with a gradient penalty, and looking at one label and the other.
CYCLE = 2 * PENALTY_EVERY


def bench_train(config, context, folder):
    """Time steps of training on random images: a whole cycle of them; on a GPU recorded as CUDA graphs, and as written.

    Parameters
    ----------
    config : galaxycgan.config.Bench
    context : galaxycgan.context.Context
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    dict
        'what', 'input', 'rows' and 'ratios'.
    """
    threads, device = set_threads(config.threads), choose_device(config.device)
    reuse_memory()
    dtype, reason = choose_precision("auto", device)
    bands = len(parse_bands(config.bands))
    shape = NetworkShape.preset(config.preset, bands, config.size, 2)
    peak = peak_flops(device, dtype, context.check)
    rows = [{"name": "convolutions alone, the best of several", "gflop_per_s": peak / 1e9}]
    batches = (config.batch, *GPU_BATCHES) if device.type == "cuda" else (config.batch,)
    for batch in batches:
        context.check()
        trainer = Trainer(shape, Settings(batch, 6e-4, 1.0, config.seed), device, dtype)
        trainer.response.slope.fill_(1.0)  # as of labels that galaxies follow
        name = f"train_gan --preset {config.preset}, batch {batch}"
        row, trainer.recorder = _row(name, trainer, batch, device, config.repeat), None
        rows.append(row)
        if device.type == "cuda":
            rows.append(_row(f"{name}, as written", trainer, batch, device, config.repeat))
    trainer = PredictorTrainer(
        AncestorShape.preset("", bands, config.size, 2), Settings(ANCESTOR_BATCH, ANCESTOR_RATE, 0.0, 0), device, dtype
    )
    rows.append(_row(f"the networks of 2018, batch {ANCESTOR_BATCH}", trainer, ANCESTOR_BATCH, device, config.repeat))
    ours, theirs = max(rows[1:-1], key=lambda row: row["images_per_s"]), rows[-1]
    return {
        "what": "train",
        "input": f"{','.join(parse_bands(config.bands))}, {config.size} px, {device.type}, {threads} threads,"
        f" {precision_name(dtype)} ({reason}), best of {config.repeat}",
        "rows": rows,
        "ratios": {
            f"share of the peak (goal {GOAL} on a CPU)": ours["gflop_per_s"] * 1e9 / peak,
            "images/s over those of the networks of 2018": ours["images_per_s"] / theirs["images_per_s"],
        },
    }


def _row(name, trainer, batch, device, repeat):
    """Time one network's steps and count what they compute."""
    shape = trainer.generator.shape
    flux = torch.randn(batch, shape.n_bands, shape.size, shape.size, device=device)
    conditions = torch.randn(batch, shape.n_conditions, device=device)

    def cycle(times=1):
        for _ in range(CYCLE * times):
            trainer.step(flux, conditions, 0.0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    recorder, trainer.recorder = trainer.recorder, None
    cycle()  # the first time libraries plan their work
    with FlopCounterMode(display=False) as counter:  # sees nothing of what is replayed
        cycle()
    trainer.recorder = recorder
    if recorder:
        cycle(2)  # for each kind of step one as written, then one that is recorded
        if recorder.failure:
            name += f" (not recorded: {recorder.failure})"
    seconds = min(timed(cycle) for _ in range(repeat))
    images = CYCLE * batch
    rates = {"images_per_s": images / seconds, "gflop_per_s": counter.get_total_flops() / seconds / 1e9}
    return {"name": name, "seconds": seconds / CYCLE} | rates


def peak_flops(device, dtype, check):
    """Return the most floating-point operations a second that 3 x 3 convolutions reach on a device, forward.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype
        Of the convolutions.
    check : callable
        Called between measurements; may raise.
    """
    best = 0.0
    for channels, side in PEAK_SHAPES:
        check()
        x = torch.randn(PEAK_BATCH, channels, side, side, device=device, dtype=dtype)
        weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        x, weight = (each.contiguous(memory_format=torch.channels_last) for each in (x, weight))
        # Enough for a tenth of a second and more on a CPU, for the GPU's clock to be read.
        times = 200 if device.type == "cuda" else 8

        def work(x=x, weight=weight, times=times):
            with torch.no_grad(), contextlib.nullcontext() if device.type == "cuda" else autocast(device, dtype):
                for _ in range(times):
                    F.conv2d(x, weight, padding=1)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        work()
        operations = 2 * 9 * channels**2 * side**2 * PEAK_BATCH * times
        best = max(best, operations / min(timed(work) for _ in range(REPEATS)))
    return best
