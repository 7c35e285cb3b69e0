"""Helpers of the submission tests: a tiny survey, the command line, a Slurm of this machine."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

#: Seconds after which a test gives up: many, for a busy machine; they cost nothing where all goes well.
PATIENCE_S = 400

ROOT = Path(__file__).resolve().parents[2]


def write_survey(folder, n=60, names=("ids.npy", "images.npy", "table.csv")):
    """Write survey files of `n` galaxies of 32 px; return the options of convert that name them."""
    ids_file, images_file, table_file = (folder / name for name in names)
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(5)
    ids = 43_000_000_000_000_001 + 7 * np.arange(n)
    np.save(ids_file, ids)
    np.save(images_file, 0.1 + 0.02 * random.standard_normal((n, 3, 32, 32)))
    redshifts, masses = random.uniform(0.05, 0.6, n), random.uniform(8, 11, n)
    rows = [f"{k},{ids[k]},{redshifts[k]:.4f},{masses[k]:.3f},0.1" for k in range(n)]
    table_file.write_text("COSMOS_id,HSC_id,photo_z,log_mass,sep\n" + "\n".join(rows) + "\n")
    return ["--bands", "g,r,i", "--ids", str(ids_file), "--images", str(images_file), "--table", str(table_file)]


def run(module, *words, cwd, environment=None, timeout=PATIENCE_S):
    """Run ``python -m MODULE WORDS`` and return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
    )  # fmt: skip


def submit(*words, **settings):
    """Run ``python -m galaxycgan.submit WORDS``."""
    return run("galaxycgan.submit", *words, **settings)


def galaxycgan(*words, **settings):
    """Run ``galaxycgan WORDS``."""
    return run("galaxycgan", *words, **settings)


def until(question):
    """Wait until a question is answered with yes; return the answer."""
    end = time.monotonic() + PATIENCE_S
    while not (answer := question()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return answer


def ranks_of(number):
    """Return the processes of a submitted job that runs, rank -> pid."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (place / "cmdline").read_text().split("\0")
            said = dict(word.partition("=")[::2] for word in (place / "environ").read_text().split("\0"))
            if said.get("SLURM_JOB_ID") == number and "submitit.core._submit" in words and words[0] != "srun":
                found[int(said["SLURM_PROCID"])] = int(place.name)
    return found


def usr2_among(pid, *masks):
    """Tell whether SIGUSR2 is in one of a process's masks, such as SigBlk (held back) and SigPnd (waits)."""
    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return any(int(lines[mask], 16) >> (signal.SIGUSR2 - 1) & 1 for mask in masks)


def one_machine():
    """Return the module slurm/one_machine.py."""
    spec = importlib.util.spec_from_file_location("one_machine", ROOT / "slurm/one_machine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def slurm_missing(accounting=False):
    """Return why there can be no Slurm on this machine, and what would change it; '' where it can."""
    module = one_machine()
    needed = module.NEEDED + (module.ACCOUNTING_NEEDED if accounting else ())
    missing = [name for name in needed if not shutil.which(name, path=module.SEARCH)]
    how = f"{module.INSTALL}{' ' + module.ACCOUNTING_PACKAGES if accounting else ''}"
    return f"Slurm is not installed here ({', '.join(missing)}); to enable: {how}" if missing else ""


@contextlib.contextmanager
def running_cluster(**size):
    """Bring up a Slurm in a directory with a short name; take it down whatever happens."""
    with tempfile.TemporaryDirectory(prefix="one", dir="/tmp") as folder:
        Path(folder).chmod(0o755)  # munged wants its socket's path open to all
        cluster = one_machine().Cluster(Path(folder) / "c")
        cluster.up(**size)
        try:
            yield cluster
        finally:
            cluster.down()
