"""How fast ``convert`` is beside ``cp`` and fsync of its input, which no conversion can beat by much."""

import numpy as np

from galaxycgan.bench.survey import convert_words, write_survey
from galaxycgan.bench.timing import copy_to_disk, run_command, timed, write_to_disk
from galaxycgan.images.bands import parse_bands

#: A conversion writes half of what it reads, but hashes both and inverts the stretch.
GOAL = 0.7
#: Galaxies of a survey that takes no time but that of starting.
FEW = 64


def bench_convert(config, context, folder):
    """Convert a survey several times, each time beside a plain copy of the same file.

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
    bands = parse_bands(config.bands)
    paths = write_survey(folder, config.n, bands, config.size, config.seed)
    bytes_in = sum(path.stat().st_size for path in paths.values())
    pixels = np.zeros((config.n, len(bands), config.size, config.size), "<f4")
    store = folder / "store.h5"
    words = convert_words(paths, bands, store)
    few = _few(config, bands, folder / "few")
    start = min(run_command(few)[0] for _ in range(2))
    copies, conversions, writes, memory = [], [], [], []
    copy_to_disk(paths["images"], folder / "copy.npy")  # the first time is slower: memory is found for the cache
    for k in range(config.repeat):
        context.check()
        copies.append(timed(lambda: copy_to_disk(paths["images"], folder / "copy.npy")))
        (folder / "copy.npy").unlink()
        seconds, peak_mb = run_command(words)
        conversions.append(seconds)
        memory.append(peak_mb)
        store.unlink()
        writes.append(timed(lambda: write_to_disk(pixels, folder / "plain.bin")))
        (folder / "plain.bin").unlink()
        context.say(f"round {k + 1}: cp and fsync {copies[-1]:.2f} s, convert {seconds:.2f} s, {peak_mb:.0f} MB")
    # What else the machine does only adds to the seconds.
    copy, conversion, write = min(copies), min(conversions), min(writes)
    rows = [
        {"name": "cp and fsync of the images", "seconds": copy, "mb_per_s": bytes_in / copy / 1e6},
        {"name": "convert, the whole command", "seconds": conversion, "mb_per_s": bytes_in / conversion / 1e6}
        | {"memory_mb": max(memory)},
        {"name": f"convert, of it to start (with {FEW} galaxies)", "seconds": start},
        {"name": "the store's pixels, tofile and fsync", "seconds": write, "mb_per_s": pixels.nbytes / write / 1e6},
    ]
    # Of a small survey nothing is left beyond the start but the scatter of both, however large that happens to be.
    worth = config.n > FEW and conversion > 1.5 * start
    beyond = {"cp over convert less its start": copy / (conversion - start)} if worth else {}
    return {
        "what": "convert",
        "input": f"{config.n:,} galaxies, {bytes_in / 1e9:.2f} GB, warm cache, best of {config.repeat}",
        "rows": rows,
        "ratios": {f"cp over convert (goal {GOAL} or more, with 10 GB)": copy / conversion} | beyond,
    }


def _few(config, bands, folder):
    """Write a survey of few galaxies and return the words that convert it."""
    folder.mkdir()
    return convert_words(write_survey(folder, FEW, bands, config.size, config.seed), bands, folder / "store.h5")
