"""Every command of slurm/README.md works as it stands, in smoke size, on a Slurm that this test brings up."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_cluster import PATIENCE_S, ROOT, galaxycgan, running_cluster, slurm_missing, write_survey

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_missing()), reason=slurm_missing() or "Slurm is installed"),
]

#: stage -> what makes it small.
SMALL = {
    "train_gan": ["--images", "64", "--preset", "tiny", "--threads", "1"],
    "generate": ["--threads", "1"],
    "pipeline": [],
}

#: Words of the guide that ask for more jobs than a test needs.
FEWER = {"seed=0,1": "seed=1", "4": "2", "shard=0..3": "shard=0..1"}

#: Four jobs fit on a node of the test cluster.
PROFILE = "cpus_per_task = 1\nmem_gb = 1\ntime_minutes = 30\n"


def commands():
    """The shell commands of the guide, in order, as lists of words."""
    text = (ROOT / "slurm/README.md").read_text()
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)).splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def small(words):
    """Return a command in smoke size, by this Python."""
    if words[0] == "galaxycgan":
        words = ["python", "-m", *words]
    words = [FEWER.get(word, word) for word in words]
    if words[0] == "python":
        stage = next((word for word in words if word in SMALL), None)
        return [sys.executable, *words[1:], *(SMALL.get(stage, []) if "galaxycgan.submit" in words else [])]
    further = SMALL["train_gan"] if "train_gan_array" in " ".join(words) else []
    return [words[0], "--mem=1G", "--cpus-per-task=1", *words[1:], *further]


@pytest.fixture
def place(tmp_path):
    """A directory with a survey, its store, the scripts, and recipes and a pipeline that are quick."""
    write_survey(tmp_path / "data", n=120, names=("HSC_ids.npy", "images.small.npy", "2018_02_23-all_objects.csv"))
    assert galaxycgan("convert", "--bands", "g,r,i", cwd=tmp_path).returncode == 0
    for name, slow, quick in (("demo", "n = 1000", "n = 64"), ("grid", "repeat = 8", "repeat = 1")):
        recipe = (ROOT / f"catalogs/{name}.toml").read_text()
        assert slow in recipe
        (tmp_path / f"catalogs/{name}.toml").write_text(recipe.replace(slow, quick))
    (tmp_path / "slurm/profiles").mkdir(parents=True)
    (tmp_path / "slurm/pipelines").mkdir()
    (tmp_path / "slurm/profiles/small-cpu.toml").write_text(PROFILE)
    for script in (ROOT / "slurm").glob("*.sbatch"):
        (tmp_path / "slurm" / script.name).write_text(script.read_text())
    recipe = (ROOT / "slurm/pipelines/demo.toml").read_text()
    for slow, quick in (
        ("images = 40000\n", 'images = 64\npreset = "tiny"\nthreads = 1\n'),
        ('recipe = "demo"\n', 'recipe = "demo"\nthreads = 1\n'),
        ('gan = "@train_gan"\n\n', 'gan = "@train_gan"\nquick = true\nn = 8\nthreads = 1\n\n'),
        ("epochs = 15\n", 'epochs = 1\ntarget = "log_mass < 8.8"\nthreads = 1\n'),
        ("[0, 1, 2]", "[0]"),
    ):
        assert slow in recipe
        recipe = recipe.replace(slow, quick)
    (tmp_path / "slurm/pipelines/demo.toml").write_text(recipe)
    return tmp_path


def test_the_guides_commands(place):
    with running_cluster(nodes=2, cpus=4, gpus=0) as cluster:
        environment = os.environ | {"SLURM_CONF": str(cluster.conf), "OMP_NUM_THREADS": "1", "PYTHON": sys.executable}
        for words in commands():
            told = subprocess.run(
                small(words), cwd=place, capture_output=True, text=True, timeout=PATIENCE_S, env=environment
            )
            print(f"$ {shlex.join(words)}\n{told.stdout}")
            assert told.returncode == 0, told.stderr
            if words[-1] == "--watch":
                assert "done" in told.stdout.splitlines()[-1]
    for name in (
        "runs/train_gan/generator.safetensors", "runs/sweep/seed=1,lr=0.0004/generator.safetensors",
        "catalogs/generated/big/catalog.fits", "runs/demo/classify.fits", "runs/seeds/1/generator.safetensors",
        "catalogs/generated/grid/catalog.fits",
    ):  # fmt: skip
        assert Path(place, name).stat().st_size > 0, name
