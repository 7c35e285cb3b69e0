"""The training of 2018 runs in the same house: its networks, its resumption, its catalogs."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from conftest import StopAfter
from safetensors.torch import load_file

from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.config import Generate, TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.generation.generate import generate
from galaxycgan.images.pixel_units import hsc_asinh_to_njy
from galaxycgan.models.baseline_2018 import AncestorCritic, AncestorGenerator, AncestorShape, to_display, to_njy
from galaxycgan.models.painter import Painter
from galaxycgan.training.train_gan import train_gan


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_networks_have_the_layers_of_2018():
    shape = AncestorShape(n_bands=3, size=50, n_conditions=2)
    dense = 102 * 1024 + 1024 + 2 * 1024 + 1024 * 128 * 16 * 16 + 3 * 128 * 16 * 16
    convolutions = 128 * 64 * 16 + 64 + 2 * 64 + 64 * 3 * 16 + 3
    assert parameters(AncestorGenerator(shape)) == dense + convolutions
    look = 3 * 64 * 16 + 64 + 64 * 128 * 16 + 128 + 2 * 128
    heads = 128 * 13 * 13 * 1024 + 3 * 1024 + 1024 * 2 + 2 + 128 * 13 * 13 * 128 * 5 + 128 + 1
    assert parameters(AncestorCritic(shape)) == look + heads


def test_display_units_are_those_of_the_survey_files():
    pixels = np.linspace(-0.4, 1.3, 200)
    flux = hsc_asinh_to_njy(pixels)
    np.testing.assert_allclose(to_njy(torch.from_numpy(pixels)), flux, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(to_display(torch.from_numpy(flux)), pixels, rtol=1e-6, atol=1e-9)


def test_a_batch_of_like_images_is_told_from_a_batch_of_many_kinds():
    torch.manual_seed(0)
    critic = AncestorCritic(AncestorShape(1, 32, 2)).eval()
    like, unlike = torch.randn(1, 1, 32, 32).expand(6, -1, -1, -1), torch.randn(6, 1, 32, 32)
    features = [critic(images)[1] for images in (like + 1e-4 * unlike, unlike)]
    assert features[0].std() < 0.01 * (features[0].mean() - features[1].mean()).abs()


@pytest.fixture
def options(survey_files, tmp_path):
    store = survey_files.convert(size=32)  # at 50 px a checkpoint of these networks has 800 MB
    return TrainGan(
        store=str(store), run=str(tmp_path / "run"), objective="predictor", images=24, batch=8, threads=1, seed=4
    )


def test_it_resumes_to_the_bit_and_its_generator_makes_galaxies(options, tmp_path):
    train_gan(options, Context())
    stopped = dataclasses.replace(options, run=str(tmp_path / "stopped"))
    with pytest.raises(Interrupted):
        train_gan(stopped, Context(stop=StopAfter(1)))
    train_gan(stopped, Context())
    one, other = (load_file(tmp_path / name / "generator.safetensors") for name in ("run", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    images = Painter(tmp_path / "run", torch.device("cpu")).sample(np.array([[0.3, 9.0], [0.6, 10.0]]), seed=1)
    assert images.shape == (2, 3, 32, 32) and np.isfinite(images).all()
    asked = Generate(gan=str(tmp_path / "run"), out=str(tmp_path / "c"), n=64, threads=1)
    with pytest.raises(UserError, match="noise sigma:1.5: .* draws its noise with the galaxy; use model"):
        generate(dataclasses.replace(asked, noise="sigma:1.5"), Context())
    with pytest.raises(UserError, match="--images noiseless: .* there are no images without it"):
        generate(dataclasses.replace(asked, images="noiseless"), Context())
    generate(asked, Context())
    with GalaxyStore(tmp_path / "c/catalog.h5") as catalog:  # what a galaxy is without its noise nobody knows
        assert not catalog.has_noiseless and np.isnan(catalog.column("flux_true_g")).all()
        assert np.isfinite(catalog.column("flux_g")).all()


def test_a_run_of_one_objective_is_not_continued_with_the_other(options, tmp_path):
    train_gan(dataclasses.replace(options, images=8), Context())
    card = json.loads((tmp_path / "run/generator.json").read_text())
    assert card["training"]["objective"] == "predictor" and card["training"]["lr"] == 4e-4
    with pytest.raises(UserError, match="another request .objective: "):
        train_gan(dataclasses.replace(options, images=8, objective="relativistic", preset="tiny"), Context())
