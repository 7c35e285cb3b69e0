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
from galaxycgan.config import check_at_least
from galaxycgan.files import make_directory, write_json
from galaxycgan.provenance import tool_stamp

BENCHES = {"convert": bench_convert, "read": bench_read, "generate": bench_generate}


def bench(config, context):
    """Measure one thing and say how it compares with the machine's own limit.

    Parameters
    ----------
    config : galaxycgan.config.Bench
    context : galaxycgan.context.Context
    """
    check_at_least(config, n=1, size=1, repeat=1, batch=1, seed=0)
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
    yield f"{figures['what']}: {figures['input']}"
    yield f"  {'':<44}{'seconds':>10}{'MB/s':>10}{'MB memory':>11}"
    for row in figures["rows"]:
        memory = f"{row['memory_mb']:>11,.0f}" if "memory_mb" in row else ""
        rate = f"{row['mb_per_s']:>10,.0f}" if "mb_per_s" in row else f"{'':>10}"
        yield f"  {row['name']:<44}{row['seconds']:>10.3f}{rate}{memory}".rstrip()
    for name, value in figures["ratios"].items():
        yield f"  {name}: {value:.2f}"
    host = figures["machine"]
    yield f"  {host['cpu']}, {host['cores']} cores, load {host['load']:.1f} before the figures were printed"
