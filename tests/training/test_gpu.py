"""What only a GPU can show: recorded steps, the same bits after a resumption, the same galaxies as on a CPU."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import assert_same_weights, train_with_stops

from galaxycgan.config import TrainGan
from galaxycgan.context import Context
from galaxycgan.models.device import deterministic
from galaxycgan.models.generator import NetworkShape
from galaxycgan.models.painter import Painter
from galaxycgan.training import adversarial
from galaxycgan.training.adversarial import Settings, Trainer
from galaxycgan.training.train_gan import train_gan

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.fixture
def repeatable():
    """The GPU gives the same bits each time, in this test alone."""
    gpu, cudnn = torch.device("cuda"), torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32
    deterministic(gpu)
    yield gpu
    torch.use_deterministic_algorithms(False)
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = before


@pytest.mark.parametrize("disturbance", [0.0, 1.0])
def test_recorded_steps_make_the_same_weights_as_steps_as_written(repeatable, disturbance, monkeypatch):
    monkeypatch.setattr(adversarial, "FULL_WEIGHT_IMAGES", 64)  # a weight that changes from step to step
    batch, states = 16, []
    for recorded in (True, False):
        settings = Settings(batch, 6e-4, 0.3, 1, disturbance)
        trainer = Trainer(NetworkShape.preset("tiny", 3, 50, 2), settings, repeatable, torch.float32)
        trainer.response.slope.fill_(1.0)
        random = torch.Generator(repeatable).manual_seed(5)
        if not recorded:
            trainer.recorder = None
        for k in range(24):
            flux = torch.randn(batch, 3, 50, 50, generator=random, device=repeatable)
            conditions = torch.randn(batch, 2, generator=random, device=repeatable)
            report = trainer.step(flux, conditions, k / 24)
        if recorded:
            assert not trainer.recorder.failure
            assert len(trainer.recorder.graphs) == 4
        states.append({**trainer.averaged.state_dict(), **trainer.critic.state_dict(), **report})
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_a_run_stopped_and_resumed_ends_in_the_same_weights(survey_store, tmp_path, repeatable):
    options = TrainGan(
        store=str(survey_store),
        run=str(tmp_path / "run"),
        preset="tiny",
        images=640,
        batch=16,
        seed=4,
        deterministic=True,
    )
    train_gan(options, Context())
    train_with_stops(dataclasses.replace(options, run=str(tmp_path / "stopped")), (13, 12))
    assert_same_weights(tmp_path / "run", tmp_path / "stopped")


def test_a_gpu_makes_the_galaxies_that_a_cpu_makes():
    labels = np.random.default_rng(3).uniform((0.1, 8.5), (0.5, 10.0), (64, 2))
    cpu, gpu = (Painter("pretrained", torch.device(name), "float32").paint(labels, 7, 0) for name in ("cpu", "cuda"))
    for part in ("noiseless", "images", "sigma"):
        expected = getattr(cpu, part)
        brightest = np.abs(expected).max((2, 3), keepdims=True)
        assert np.max(np.abs(getattr(gpu, part) - expected) / brightest) < 1e-3, part
