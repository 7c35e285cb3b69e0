"""The command ``bench``: makes a place to work in, measures, prints a table and keeps the figures as JSON."""

import os
import platform
import shutil
import tempfile
from pathlib import Path

import numpy as np

from galaxycgan.bench.convert import bench_convert
from galaxycgan.bench.generate import bench_generate
from galaxycgan.bench.read import bench_read
from galaxycgan.bench.train import bench_train
from galaxycgan.files.atomic import make_directory, write_json
from galaxycgan.provenance import tool_stamp

BENCHES = {"convert": bench_convert, "read": bench_read, "train": bench_train, "generate": bench_generate}
#: What a row may tell, with its title and its format.
COLUMNS = {
    "seconds": ("seconds", ".3f"),
    "mb_per_s": ("MB/s", ",.0f"),
    "images_per_s": ("images/s", ",.1f"),
    "galaxies_per_s": ("galaxies/s", ",.0f"),
    "gflop_per_s": ("GFLOP/s", ",.0f"),
    "memory_mb": ("MB memory", ",.0f"),
}


def bench(config, context):
    """Measure one thing and say how it compares with the machine's own limit.

    Parameters
    ----------
    config : galaxycgan.config.Bench
    context : galaxycgan.context.Context
    """
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=make_directory(config.dir)))
    try:
        figures = BENCHES[config.what](config, context, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures |= {"machine": machine(), "tool": tool_stamp(), "created": context.created}
    if config.out:
        write_json(config.out, figures)
    for line in in_words(figures):
        context.say(line)


def machine():
    """Return what the figures depend on beside the code."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def in_words(figures):
    """Yield the lines of the table: what, how long, how fast, and the ratios."""
    rows = figures["rows"]
    columns = {name: column for name, column in COLUMNS.items() if any(name in row for row in rows)}
    yield f"{figures['what']}: {figures['input']}"
    yield f"  {'':<44}" + "".join(f"{title:>11}" for title, _ in columns.values())
    for row in rows:
        cells = (f"{row[name]:>11{style}}" if name in row else " " * 11 for name, (_, style) in columns.items())
        yield f"  {row['name']:<44}{''.join(cells)}".rstrip()
    for name, value in figures["ratios"].items():
        yield f"  {name}: {value:.2f}"
    host = figures["machine"]
    yield f"  {host['cpu']}, {host['cores']} cores, load {host['load']:.1f} before the figures were printed"
