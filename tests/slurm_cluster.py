"""Helpers of the submission tests: a tiny survey, the command line, a Slurm of this machine."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def write_survey(folder, n=60):
    """Write survey files of `n` galaxies of 32 px; return the options of convert that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(5)
    ids = 43_000_000_000_000_001 + 7 * np.arange(n)
    np.save(folder / "ids.npy", ids)
    np.save(folder / "images.npy", 0.1 + 0.02 * random.standard_normal((n, 3, 32, 32)))
    redshifts, masses = random.uniform(0.05, 0.6, n), random.uniform(8, 11, n)
    rows = [f"{k},{ids[k]},{redshifts[k]:.4f},{masses[k]:.3f},0.1" for k in range(n)]
    (folder / "table.csv").write_text("COSMOS_id,HSC_id,photo_z,log_mass,sep\n" + "\n".join(rows) + "\n")
    files = {"ids": "ids.npy", "images": "images.npy", "table": "table.csv"}
    return ["--bands", "g,r,i", *(word for key, name in files.items() for word in (f"--{key}", str(folder / name)))]


def run(module, *words, cwd, environment=None, timeout=90):
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


def until(question, patience_s=90):
    """Wait until a question is answered with yes; return the answer."""
    end = time.monotonic() + patience_s
    while not (answer := question()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return answer


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
