"""How fast ``generate`` is end to end, beside the network alone and beside plain writing of the same bytes."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from galaxycgan.bench.timing import run_command, timed
from galaxycgan.files.streaming import BLOCK_BYTES
from galaxycgan.models.conditioning import Conditioning
from galaxycgan.models.device import autocast, choose_device, set_threads
from galaxycgan.models.generator import Generator, NetworkShape
from galaxycgan.models.painter import BLOCK, Painter
from galaxycgan.models.release import save_generator

GOAL = 0.85
RECIPE = 'name = "bench"\nseed = {seed}\n[population]\nkind = "training"\nn = {n}\n'


def bench_generate(config, context, folder):
    """Generate a catalog several times, each time beside its two limits: the forward pass, and the disk.

    Parameters
    ----------
    config : galaxycgan.config.Bench
    context : galaxycgan.context.Context
    folder : Path
        Empty, on the disk that is to be measured.

    Returns
    -------
    dict
        'what', 'input', 'rows' and 'ratios'.
    """
    run = Path(config.gan) if config.gan else untrained_generator(folder / "run", config)
    workers, painter = set_threads(config.threads), Painter(run, choose_device(config.device))
    recipe, out = folder / "bench.toml", folder / "out"
    recipe.write_text(RECIPE.format(seed=config.seed, n=config.n))
    words = ["generate", "--gan", run, "--recipe", recipe, "--images", config.images]
    words += ["--threads", workers, "--device", config.device, "--overwrite", "--out"]
    forwards, wholes, writes, starts, memory = [], [], [], [], []
    for k in range(config.repeat):
        context.check()
        forwards.append(forward_seconds(painter, config.n, workers))
        starts.append(run_command([*words, folder / "few", "--n", BLOCK])[0])
        seconds, peak_mb = run_command([*words, out])
        wholes.append(seconds)
        memory.append(peak_mb)
        size = sum(path.stat().st_size for path in out.iterdir())
        writes.append(timed(lambda size=size: _write_plain(size, folder / "plain.bin")))
        (folder / "plain.bin").unlink()
        context.say(f"round {k + 1}: forward {forwards[-1]:.2f} s, write {writes[-1]:.2f} s, generate {seconds:.2f} s")
    return _figures(config, painter, size, memory, [min(one) for one in (forwards, writes, wholes, starts)])


def _figures(config, painter, size, memory, seconds):
    """Put the best of each into rows and ratios."""
    forward, write, whole, start = seconds
    limit = max(forward, write)
    rows = [
        {"name": "forward pass alone", "seconds": forward, "galaxies_per_s": config.n / forward},
        {"name": "same bytes, tofile and fsync", "seconds": write, "galaxies_per_s": config.n / write}
        | {"mb_per_s": size / write / 1e6},
        {"name": "generate, the whole command", "seconds": whole, "galaxies_per_s": config.n / whole}
        | {"mb_per_s": size / whole / 1e6, "memory_mb": max(memory)},
        {"name": f"generate, {BLOCK} galaxies: the start", "seconds": start},
    ]
    # Of a small catalog nothing is left beyond the start but the scatter of both.
    beyond = {"the same less the start of the process": limit / (whole - start)} if whole > 2 * start else {}
    return {
        "what": "generate",
        "input": f"{config.n:,} galaxies, images {config.images}, {size / 1e9:.2f} GB, {painter.device}"
        f" ({painter.precision}), best of {config.repeat};"
        f" {config.n / whole:,.0f} galaxies/s end to end, limits {config.n / forward:,.0f} (forward) and"
        f" {config.n / write:,.0f} (disk)",
        "rows": rows,
        "ratios": {f"galaxies/s over the smaller limit (goal {GOAL} or more)": limit / whole} | beyond,
    }


def forward_seconds(painter, n, workers):
    """Return the seconds that the network alone takes for n galaxies: generator and noise layer, inputs at hand.

    In blocks of 64 and with as many workers of one thread as `generate` has: faster than several threads in one block.

    Parameters
    ----------
    painter : Painter
    n, workers : int
    """
    shape, device = painter.generator.shape, painter.device
    sizes = ((shape.latent_size,), (shape.n_conditions,), shape.white_shape)
    latent, conditions, white = (torch.randn(BLOCK, *size, device=device) for size in sizes)

    @torch.no_grad()
    def block(_):
        with autocast(device, painter.dtype):
            flux, depth = painter.generator(latent, conditions)
        painter.generator.observe(flux, depth, white)

    def work():
        list(pool.map(block, range(-(-n // BLOCK))))
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        list(pool.map(block, range(2 * workers)))  # the first time libraries plan their work
        return timed(work)


def _write_plain(size, path):
    """Write so many bytes as plain files are written, and flush them to disk."""
    chunk = np.frombuffer(np.random.default_rng(0).bytes(BLOCK_BYTES), "u1")
    with open(path, "wb") as file:
        for start in range(0, size, BLOCK_BYTES):
            chunk[: size - start].tofile(file)
        file.flush()
        os.fsync(file.fileno())


def untrained_generator(run, config):
    """Write a generator that was never trained: as fast as any other of its preset.

    Returns
    -------
    Path
        Its run directory.
    """
    bands = config.bands.split(",")
    run.mkdir()
    rng = np.random.default_rng(config.seed)
    labels = np.stack([rng.uniform(0.05, 1, 2000), rng.uniform(8, 11, 2000)], -1)
    torch.manual_seed(config.seed)
    generator = Generator(NetworkShape.preset(config.preset, len(bands), config.size, 2))
    card = {"bands": bands, "filters": bands, "pixel_unit": "nJy", "pixel_scale_arcsec": 0.168, "mass_convention": ""}
    card |= {"psf_fwhm_arcsec": [None] * len(bands)}
    save_generator(run, generator, Conditioning.fit(("photo_z", "log_mass"), labels), card)
    return run
