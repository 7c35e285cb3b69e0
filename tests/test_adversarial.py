"""Who teaches what: the image critic the galaxy, photometry what stands around it as well."""

import numpy as np
import pytest
import torch

from galaxycgan.models.generator import NetworkShape
from galaxycgan.training import adversarial
from galaxycgan.training.adversarial import Settings, Trainer

BATCH = 8


def trainer_of(n_bands=3, size=32):
    shape = NetworkShape.preset("tiny", n_bands, size, 2)
    return Trainer(shape, Settings(BATCH, 6e-4, 0.3, 5), torch.device("cpu"), torch.float32)


def batch():
    random = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, 3, 32, 32, generator=random), torch.randn(BATCH, 2, generator=random)


def largest_gradients(monkeypatch, score_weight, photometric_weight=0.0, images=0):
    """Return the largest gradients of the neighbours and of the galaxy after a step."""
    monkeypatch.setattr(adversarial, "PHOTOMETRIC_WEIGHT", photometric_weight)
    monkeypatch.setattr(adversarial, "SCORE_WEIGHT", score_weight)
    trainer, (flux, conditions) = trainer_of(), batch()
    trainer.images = images
    unit, point = np.ones(3, dtype=np.float32), np.eye(5, dtype=np.float32)[2]
    correlation = np.stack([point[:, None] * point] * 3)
    trainer.start_from(flux, conditions, [True, True], unit, 0.5 * unit, correlation, 1e-4 * np.eye(3), 1e-12 * unit)
    trainer.step(flux, conditions, 0.0)
    parts = trainer.generator.neighbours, trainer.generator.start
    return [max(float(weight.grad.abs().max()) for weight in part.parameters()) for part in parts]


def test_the_image_critic_does_not_teach_what_stands_around_a_galaxy(monkeypatch):
    around, galaxy = largest_gradients(monkeypatch, 0.0)
    assert galaxy > 0
    assert around < 1e-4 * galaxy  # rounding


def test_the_energy_score_does(monkeypatch):
    around, _ = largest_gradients(monkeypatch, 5.0)
    alone, _ = largest_gradients(monkeypatch, 0.0)
    assert around > 1e3 * alone


@pytest.mark.parametrize("size", [32, 50])
def test_the_surroundings_are_a_part_of_the_image(size):
    generator, random = trainer_of(2, size).generator, torch.Generator().manual_seed(2)
    latent = torch.randn(BATCH, generator.shape.latent_size, generator=random)
    conditions = torch.randn(BATCH, 2, generator=random)
    with torch.no_grad():
        flux, depth, around = generator(latent, conditions, apart=True)
        assert torch.equal(flux, generator(latent, conditions)[0])
        generator.neighbours.peak.fill_(-30.0)
        alone, same = generator(latent, conditions)
    assert around.min() >= 0 and around.max() > 0.01
    assert torch.allclose(flux - around, alone, atol=1e-5)
    assert torch.equal(depth, same)


def test_the_photometric_critic_counts_less_the_longer_it_has_looked():
    trainer, full = trainer_of(), adversarial.PHOTOMETRIC_WEIGHT
    for images, share in ((0, 1.0), (adversarial.FULL_WEIGHT_IMAGES, 1.0), (4 * adversarial.FULL_WEIGHT_IMAGES, 0.25)):
        trainer.images = images
        trainer.step(*batch(), 0.5)
        assert trainer.photometric_weight == pytest.approx(share * full)


def test_so_it_teaches_less(monkeypatch):
    first, _ = largest_gradients(monkeypatch, 0.0, 0.1)
    late, _ = largest_gradients(monkeypatch, 0.0, 0.1, 1000 * adversarial.FULL_WEIGHT_IMAGES)
    assert 0 < late < 0.1 * first
