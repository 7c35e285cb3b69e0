"""The generator that comes with the package makes galaxies seconds after an install, and says what it is."""

import json

import numpy as np
import pytest

from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.models.release import load_trained_on
from galaxycgan.resources import PRETRAINED_FOLDER, gan_directory


def test_it_is_small_and_its_card_says_what_it_learned_from():
    assert sum(path.stat().st_size for path in PRETRAINED_FOLDER.iterdir()) < 8e6
    card = json.loads((PRETRAINED_FOLDER / "generator.json").read_text())
    assert "mock" in card["note"] and card["store"]["training_galaxies"] == len(load_trained_on("pretrained")) > 20_000
    metrics = json.loads((PRETRAINED_FOLDER / "metrics.json").read_text())
    assert metrics["judged"] and metrics["metrics"]["w1.mean"]["value"] < 0.08
    assert metrics["request"]["generator_sha256"]


def test_it_makes_a_catalog_of_galaxies_that_brighten_with_mass(command, tmp_path):
    (tmp_path / "grid.toml").write_text(
        'name = "masses"\nseed = 3\n[population]\nkind = "grid"\nrepeat = 16\n'
        "[population.ranges]\nphoto_z = [0.15, 0.16]\nlog_mass = [8.0, 9.5]\n"
        "[population.steps]\nphoto_z = 1\nlog_mass = 4\n"
    )
    code, out, err = command(
        "generate", "--gan", "pretrained", "--recipe", tmp_path / "grid.toml", "--out", tmp_path / "o"
    )
    assert code == 0, err
    assert "learned from" in out and "mock" in out
    with GalaxyStore(tmp_path / "o/catalog.h5") as store:
        mass, mag = store.column("log_mass"), store.column("mag_true_i")
        middle = [np.median(mag[mass == value]) for value in np.unique(mass)]
    assert len(middle) == 4 and (np.diff(middle) < 0).all()
    assert -2.2 < (middle[-1] - middle[0]) / 1.5 < -1.1  # mag per dex


def test_a_directory_of_that_name_is_reached_by_its_path(tmp_path):
    assert gan_directory("pretrained") == PRETRAINED_FOLDER
    assert gan_directory(str(tmp_path / "pretrained")) == tmp_path / "pretrained"
    assert gan_directory("./pretrained") != PRETRAINED_FOLDER


@pytest.mark.parametrize("name", ["generator.safetensors", "generator.json", "trained_on.npy", "metrics.json"])
def test_what_make_pretrained_copies_is_there(name):
    assert (PRETRAINED_FOLDER / name).stat().st_size > 0
