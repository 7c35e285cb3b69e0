"""The commands and Python lines of README and guides work as they stand, `make demo` too: in smoke size, in empty
directories. What the guides name is there. (The commands of slurm/README.md: `test_slurm_guide`.)"""

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
from test_house import ROOMS

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


#: All texts for users.
GUIDES = [
    "README.md", "CHANGES.md", "data/README.md", "slurm/README.md", "catalogs/README.md", "catalogs/STUDY.md",
    "galaxycgan/models/README.md", "galaxycgan/training/EXPERIMENTS.md",
]  # fmt: skip
#: The sections with commands, each run by a test below.
COMMANDS = [
    ("README.md", "Two commands"), ("README.md", "Your own survey"), ("README.md", "On a cluster"),
    ("data/README.md", "Make a store"), ("data/README.md", "Train, generate, evaluate"),
    ("data/README.md", "Example: another survey"), ("data/README.md", "Stores, mocks, speed"),
    ("catalogs/README.md", ""), ("catalogs/README.md", "Open it"), ("catalogs/README.md", "Which galaxies"),
    ("catalogs/STUDY.md", "Try it on your survey"), ("catalogs/STUDY.md", "Cross-validation"),
]  # fmt: skip


def sections(file):
    """Text of each section of a guide by its title; what stands before the first has the title ''."""
    first, *others = re.split(r"^## ", (ROOT / file).read_text(), flags=re.MULTILINE)
    return {"": first} | {title: text for title, _, text in (section.partition("\n") for section in others)}


def blocks(text, language):
    """The code blocks of some language in a text."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(file, title):
    """The shell commands of a guide's section, as lists of words."""
    lines = "".join(blocks(sections(file)[title], "sh")).replace("\\\n", " ").splitlines()
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
    for words in commands("README.md", "Your own survey"):
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
    for words in commands("data/README.md", "Stores, mocks, speed"):
        run(words, tmp_path)
    for name in ("data/near.h5", "data/both.h5", "near.vot", "data/cosmos/images.small.npy"):
        assert (tmp_path / name).stat().st_size > 0, name


def test_the_commands_that_ask_whether_generated_galaxies_help(tmp_path, survey_store, other_store):
    for store, place in ((survey_store, "catalogs/survey.h5"), (other_store, "data/field2.h5")):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).symlink_to(store)
    gan, classifier, study = commands("catalogs/STUDY.md", "Try it on your survey")
    # One of the five
    fold_gan, loop, fold_classifier, done = (
        [word.replace("$k", "0") for word in words] for words in commands("catalogs/STUDY.md", "Cross-validation")
    )
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
    for title in ("", "Open it", "Which galaxies"):
        for words in commands("catalogs/README.md", title):
            run(words, workplace)
    for name in (
        "catalogs/generated/lightcone/catalog.fits", "catalogs/generated/field/catalog.h5", "frame-injected.fits",
        "frame-injected-truth.fits", "report/report.html", "compare.html", "demo.vot",
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
    for title in ("Make a store", "Train, generate, evaluate", "Example: another survey"):
        for words in commands("data/README.md", title):
            run(words, workplace)
    assert "g (DECam-g), r (DECam-r), z (DECam-z)" in run(["galaxycgan", "info", "catalogs/desi.h5"], workplace)
    assert (workplace / "survey.fits").stat().st_size > 0
    (workplace / "catalogs/desi.h5").unlink()  # commands that are given no store want one there


@pytest.mark.parametrize(
    "file, check",
    [
        (
            "README.md",
            "len(table) == 64 and galaxy.shape == (1, 3, 50, 50) and images.shape == (64, 3, 50, 50)"
            " and labels.shape == (64, 2)",
        ),
        ("catalogs/README.md", "len(table) == len(frame) == 64 and images.shape[1:] == (3, 50, 50)"),
        ("data/README.md", "images.shape[1:] == (3, 50, 50) and len(rows) == len(images)"),
    ],
)
def test_the_python_lines(workplace, file, check):
    code = "\n".join(blocks((ROOT / file).read_text(), "python")) + f"\nassert {check}"
    done = subprocess.run([sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_commands_for_a_cluster_say_what_they_would_do(workplace):
    lines = commands("README.md", "On a cluster")
    output = run(lines[0], workplace)
    assert "train_gan" in output and "runs/train_gan" in output
    assert not {"status", "logs", "cancel"} - {words[1] for words in lines[2:]}
    for words in lines[2:]:
        run(words, workplace)


def test_every_command_and_python_line_of_the_guides_has_its_test():
    guides = [file for file in GUIDES if file != "slurm/README.md"]
    assert [
        (file, title) for file in guides for title, text in sections(file).items() if blocks(text, "sh")
    ] == COMMANDS
    assert [file for file in GUIDES if blocks((ROOT / file).read_text(), "python")] == [
        "README.md", "data/README.md", "catalogs/README.md"
    ]  # fmt: skip
    assert commands("README.md", "Two commands") == [["make", "demo"], ["make", "test"]]


def test_code_without_a_language_is_only_where_commands_change_the_machine():
    """Only blocks of sh and python are run: a block that names neither would go untested."""
    opened = {file: re.findall(r"^```(.*)$", (ROOT / file).read_text(), flags=re.MULTILINE)[::2] for file in GUIDES}
    assert [file for file in GUIDES if set(opened[file]) - {"sh", "python"}] == ["slurm/README.md"]
    assert opened["slurm/README.md"].count("") == 1


@pytest.mark.parametrize("file, most", [("README.md", 120), ("CHANGES.md", 60)])
def test_a_text_that_everybody_reads_is_short(file, most):
    assert len((ROOT / file).read_text().splitlines()) <= most


@pytest.mark.parametrize("file", GUIDES)
def test_what_a_guide_links_to_is_there(file):
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / file).read_text())
    places = {target.partition("#")[0] for target in targets if "://" not in target}
    assert not sorted(place for place in places if not ((ROOT / file).parent / place).exists())


@pytest.mark.parametrize("file", GUIDES)
def test_files_and_modules_that_a_guide_names_are_there(file):
    text = re.sub(r"\]\([^)]+\)|https?://\S+", "", (ROOT / file).read_text())
    paths = re.findall(r"(?<![\w./-])((?:galaxycgan|slurm|tests)/[\w./-]*|catalogs/[\w-]+\.(?:toml|md|png))", text)
    assert not sorted(path for path in set(paths) if not (ROOT / path.rstrip(".")).exists())
    assert not sorted(
        name for name in set(re.findall(r"(?<![\w/])galaxycgan(?:\.[A-Za-z]\w*)+", text)) if not known(name)
    )


def known(name):
    """Tell whether a dotted name is a module or a package, or a class or function of one."""
    path = ROOT / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module = path.parent.with_suffix(".py")
    return module.exists() and re.search(rf"^(?:class|def) {path.name}\b", module.read_text(), re.MULTILINE)


def test_the_table_of_rooms_has_all_rooms_in_the_order_of_their_imports():
    rooms = re.findall(r"^\| `(\w+)(?:\.py)?` \|", sections("README.md")["Rooms"], flags=re.MULTILINE)
    order = list(dict.fromkeys(room.partition(".")[0] for room in ROOMS))
    assert rooms == [room for room in order if room in rooms]
    assert {path.parent.name for path in (ROOT / "galaxycgan").glob("*/__init__.py")} <= set(rooms)


def test_each_experiment_has_a_date_and_a_result():
    first, *entries = sections("galaxycgan/training/EXPERIMENTS.md").items()
    dates = [title[:10] for title, _ in entries]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d: \S.*", title) for title, _ in entries)
    assert dates == sorted(dates, reverse=True)
    without = [title for title, text in entries if not text.strip().split("\n\n")[-1].startswith("**Result**: ")]
    assert not without


@pytest.mark.slow
def test_make_demo_runs_to_its_end_and_says_that_it_is_done_when_run_again(tmp_path):
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
