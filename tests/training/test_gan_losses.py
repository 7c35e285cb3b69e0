"""Who teaches what: the image critic the galaxy, photometry what stands around it as well."""

import pytest
import torch
from conftest import tiny_batch, tiny_trainer

from galaxycgan.models.generator import Generator, NetworkShape
from galaxycgan.training import gan_losses


def largest_gradients(monkeypatch, score_weight, photometric_weight=0.0, images=0):
    """Return the largest gradients of the neighbours and of the galaxy after a step."""
    monkeypatch.setattr(gan_losses, "PHOTOMETRIC_WEIGHT", photometric_weight)
    monkeypatch.setattr(gan_losses, "SCORE_WEIGHT", score_weight)
    trainer = tiny_trainer(gain=1e-12)  # photon noise passes a little on
    trainer.images = images
    trainer.step(*tiny_batch(), 0.0)
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
    generator, random = Generator(NetworkShape.preset("tiny", 2, size, 2)), torch.Generator().manual_seed(2)
    latent = torch.randn(8, generator.shape.latent_size, generator=random)
    conditions = torch.randn(8, 2, generator=random)
    with torch.no_grad():
        flux, depth, around = generator(latent, conditions, return_surroundings=True)
        assert torch.equal(flux, generator(latent, conditions)[0])
        generator.neighbours.peak.fill_(-30.0)
        alone, same = generator(latent, conditions)
    assert around.min() >= 0 and around.max() > 0.01
    assert torch.allclose(flux - around, alone, atol=1e-5)
    assert torch.equal(depth, same)


def test_the_photometric_critic_counts_less_the_longer_it_has_looked():
    trainer, full = tiny_trainer(), gan_losses.PHOTOMETRIC_WEIGHT
    for images, share in ((0, 1.0), (gan_losses.FULL_WEIGHT_IMAGES, 1.0), (4 * gan_losses.FULL_WEIGHT_IMAGES, 0.25)):
        trainer.images = images
        trainer.step(*tiny_batch(), 0.5)
        assert trainer.photometric_weight == pytest.approx(share * full)


def test_so_it_teaches_less(monkeypatch):
    first, _ = largest_gradients(monkeypatch, 0.0, 0.1)
    late, _ = largest_gradients(monkeypatch, 0.0, 0.1, 1000 * gan_losses.FULL_WEIGHT_IMAGES)
    assert 0 < late < 0.1 * first
