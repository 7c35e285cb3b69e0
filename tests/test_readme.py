"""The commands of README and guide work as they stand, `make demo` too: in smoke size, in empty directories."""

import contextlib
import gzip
import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from conftest import signals_kept

from galaxycgan import cli, submit

ROOT = Path(__file__).resolve().parent.parent
#: Smoke size: 64 galaxies, 6 steps of 32 images.
SMALL = {
    "mock": ["--workers", "1"],
    "train_gan": ["--images", "192", "--preset", "tiny"],
    "generate": ["--n", "64"],
    "train_classifier": ["--epochs", "2", "--target", "log_mass < 8.8"],
    "evaluate": ["--n", "16"],
    "bench": ["--n", "64", "--repeat", "1"],
}


def commands(title):
    """The shell commands of the README's section, as lists of words."""
    section = (ROOT / "README.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    lines = "".join(re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def run(words, directory):
    """Run one command in smoke size, in this process, as starting Python would take longest; return its output."""
    door, words = (cli.main, words[1:]) if words[0] == "galaxycgan" else (submit.main, words[3:])
    stage = next((word for word in words if word in SMALL), None)
    # A table and an area of sky say themselves how many galaxies they hold.
    small = [] if {"lightcone", "field"} & set(words) else SMALL.get(stage, [])
    said, complained = io.StringIO(), io.StringIO()
    with signals_kept(), contextlib.chdir(directory), redirect_stdout(said), redirect_stderr(complained):
        status = door(words + small)
    assert status == 0, f"{shlex.join(words)}\n{said.getvalue()}\n{complained.getvalue()}"
    return said.getvalue()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """An empty directory with the repository's recipes and a mock survey in data/."""
    directory = tmp_path_factory.mktemp("readme")
    (directory / "catalogs").symlink_to(tmp_path_factory.mktemp("catalogs"))
    for recipe in (ROOT / "catalogs").glob("*.toml"):
        (directory / "catalogs" / recipe.name).write_text(recipe.read_text())
    run(["galaxycgan", "mock", "--n", "64", "--seed", "1"], directory)
    return directory


def test_the_commands_for_your_own_survey(workplace):
    for words in commands("Your own survey"):
        run(words, workplace)
    for name in (
        "catalogs/survey.h5", "catalogs/generated/demo/catalog.fits", "catalogs/generated/demo/catalog.h5",
        "catalogs/classified.fits", "runs/train_gan/evaluation/real_and_generated.png",
        "runs/train_gan/evaluation/report.html", "runs/train_classifier/classifier.png",
    ):  # fmt: skip
        assert (workplace / name).stat().st_size > 0, name


def test_the_commands_for_stores_mocks_and_speed(tmp_path):
    (tmp_path / "catalogs").mkdir()
    for seed, store in ((1, "catalogs/survey.h5"), (2, "data/field2.h5")):
        files = f"data/{seed}"
        run(["galaxycgan", "mock", "--n", "64", "--seed", str(seed), "--out", files], tmp_path)
        names = {"ids": "HSC_ids.npy", "images": "images.small.npy", "table": "2018_02_23-all_objects.csv"}
        options = [word for option, name in names.items() for word in (f"--{option}", f"{files}/{name}")]
        run(["galaxycgan", "convert", "--bands", "g,r,i", *options, "--out", store], tmp_path)
    (tmp_path / "cosmos.csv").write_text("z,log_mass,mag_i\n0.1,8.5,21.0\n0.2,9.5,20.5\n")
    for words in commands("Stores, mocks, speed"):
        run(words, tmp_path)
    for name in ("data/near.h5", "data/both.h5", "near.vot", "data/cosmos/images.small.npy"):
        assert (tmp_path / name).stat().st_size > 0, name


def test_the_commands_that_ask_whether_generated_galaxies_help(tmp_path, survey_store, other_store):
    for store, place in ((survey_store, "catalogs/survey.h5"), (other_store, "data/field2.h5")):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).symlink_to(store)
    gan, classifier, study, *folds = commands("Do generated galaxies help a classifier?")
    # One of the five
    fold_gan, loop, fold_classifier, done = ([word.replace("$k", "0") for word in words] for words in folds)
    assert (loop[:3], done) == (["for", "k", "in"], ["done"])
    fold_gan = ["fold=0" if word == "fold=0..4" else word for word in fold_gan]
    for words in (gan, classifier, fold_gan, fold_classifier):
        run(["0.5" if word == "0.25" else word for word in words], tmp_path)  # a quarter of 60 galaxies is too few
    told = run([*study, "--dry-run"], tmp_path)
    assert told.count("runs/study: would be started") == 15 and "part=14 " in told
    for name in ("classifier25", "train_classifier/fold=0"):
        assert (tmp_path / f"runs/{name}/report.html").stat().st_size > 0


def test_the_commands_for_catalogs_of_your_own(workplace):
    rng = np.random.default_rng(0)
    fits.PrimaryHDU(rng.normal(0, 0.03, (200, 200)).astype("f4")).writeto(workplace / "frame.fits")
    requests = {"halo": np.arange(70), "z_obs": rng.uniform(0.1, 0.6, 70), "lmstar": rng.uniform(8.5, 10, 70)}
    Table(requests).write(workplace / "sim.fits")
    (workplace / "runs/a").symlink_to(workplace / "runs/train_gan")
    (workplace / "runs/b").symlink_to(workplace / "runs/train_gan")
    # A thousandth of the sky area, else as the recipe is.
    recipe = workplace / "catalogs/field.toml"
    recipe.write_text(recipe.read_text().replace("area_deg2 = 0.1", "area_deg2 = 0.001"))
    for words in commands("Which galaxies, and how many"):
        run(words, workplace)
    for name in (
        "catalogs/generated/lightcone/catalog.fits", "catalogs/generated/field/catalog.h5", "frame-injected.fits",
        "frame-injected-truth.fits", "report/report.html", "compare.html",
    ):  # fmt: skip
        assert (workplace / name).stat().st_size > 0, name


def test_the_commands_of_the_guide_to_your_own_data(workplace):
    """In the directory of the survey above: what is done already says so, the example of another survey is new."""
    rng = np.random.default_rng(3)
    ids, z = 39_000_000_000_000_001 + 2 * np.arange(40), rng.uniform(0.1, 0.9, 40)
    np.save(workplace / "ids.npy", ids)
    np.save(workplace / "cutouts.npy", rng.normal(0.5, 0.1, (40, 3, 64, 64)).astype("f4"))
    table = Table({"object_id": ids, "specz_redshift": z, "logmstar": 9 + z})
    with gzip.open(workplace / "desi.csv.gz", "wt") as file:
        table.write(file, format="ascii.csv")
    blocks = re.findall(r"```\n(.*?)```", (ROOT / "data/README.md").read_text(), flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    assert [words[1] for words in map(shlex.split, lines)] == [
        "convert", "info", "verify", "export", "train_gan", "generate", "evaluate", "convert"
    ]  # fmt: skip
    for line in lines:
        run(shlex.split(line, comments=True), workplace)
    assert "g (DECam-g), r (DECam-r), z (DECam-z)" in run(["galaxycgan", "info", "catalogs/desi.h5"], workplace)
    assert (workplace / "survey.fits").stat().st_size > 0
    (workplace / "catalogs/desi.h5").unlink()  # commands that are given no store want one there


def test_the_python_lines(workplace):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)[1]
    code += "\nassert len(table) == 64 and images.shape[1:] == (3, 50, 50) and galaxy.shape == (1, 3, 50, 50)"
    done = subprocess.run([sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_commands_for_a_cluster_say_what_they_would_do(workplace):
    lines = commands("On a cluster")
    output = run(lines[0], workplace)
    assert "train_gan" in output and "runs/train_gan" in output
    assert not {"status", "logs", "cancel"} - {words[1] for words in lines[2:]}
    for words in lines[2:]:
        run(words, workplace)


@pytest.mark.slow
def test_make_demo_runs_to_its_end_and_says_that_it_is_done_when_typed_again(tmp_path):
    for name in ("galaxycgan", "Makefile", "setup.py", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "data").mkdir()
    (tmp_path / "catalogs").mkdir()
    (tmp_path / "catalogs/demo.toml").write_text((ROOT / "catalogs/demo.toml").read_text())
    # This environment stands in for the one that the demo makes.
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (environment / "bin/python").chmod(0o755)
    for stamp in (".torch", ".demo"):
        (environment / stamp).touch()
    small = ["MOCK_N=64", "GAN_IMAGES=192", "GALAXIES=64", "EPOCHS=2", "TARGET=log_mass < 8.8", "CLUSTER=local"]
    command = ["make", "--silent", "demo", *small]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=variables, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        named = re.findall(r"^  (\S+)", done.stdout.split("Open these:")[1], flags=re.MULTILINE)
        assert len(named) == 7 and all((tmp_path / name).exists() for name in named)
    assert done.stdout.count("done") >= 4
