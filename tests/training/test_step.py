"""What a step of the training does: penalties and rates at their times, flips and turns, noise of its own."""

import contextlib

import pytest
import torch
from conftest import tiny_batch, tiny_trainer

from galaxycgan.training import adversarial, gan_losses
from galaxycgan.training.adversarial import LONGEST_AVERAGE_IMAGES, rate_factor
from galaxycgan.training.gan_losses import GALAXIES_PER_LABEL, PENALTY_EVERY
from galaxycgan.training.sampler import dihedral, symmetry


def test_every_fourth_step_takes_the_gradient_penalty():
    trainer = tiny_trainer()
    reports = [trainer.step(*tiny_batch(), 0.0) for _ in range(PENALTY_EVERY + 1)]
    assert ["penalty" in report for report in reports] == [True, *[False] * (PENALTY_EVERY - 1), True]
    assert all(report["penalty"] > 0 for report in reports[::PENALTY_EVERY])


def test_the_penalty_is_a_part_of_what_the_critics_minimise():
    """Of two linear critics, whose gradients are their weights."""
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 4, 4, generator=random), torch.randn(7, generator=random)
    conditions, gamma = torch.zeros(5, 2), 0.3

    def critic(pixels, measurements, conditions):
        return torch.stack([(pixels * weights[0]).sum((1, 2, 3)), (measurements * weights[1]).sum(1)])

    def loss_of(gamma):
        sides = [[torch.full((5, *each.shape), value) for each in weights] for value in (0.3, -0.2)]
        return gan_losses.critic_objective(critic, *sides, conditions, gamma, contextlib.nullcontext)

    (with_it, _, report), (without, _, bare) = loss_of(gamma), loss_of(None)
    # Of real and of generated images the same, halved, and PENALTY_EVERY times as heavy.
    expected = gamma * PENALTY_EVERY * sum(float(each.square().sum()) for each in weights)
    assert float((with_it - without).detach()) == pytest.approx(expected, rel=1e-4)
    assert (
        float(report["penalty"]) == pytest.approx(2 * float(weights[0].square().sum()), rel=1e-5)
        and "penalty" not in bare
    )


def test_the_learning_rate_falls_over_the_last_third():
    shares = (0.0, 0.3, 2 / 3, 0.75, 5 / 6, 0.9, 1.0)
    assert [rate_factor(share) for share in shares] == pytest.approx([1, 1, 1, 0.75, 0.5, 0.3, 0.05])
    trainer = tiny_trainer()
    for share in shares:
        trainer.step(*tiny_batch(), share)
        groups = trainer.generator_optimiser.param_groups + trainer.critic_optimiser.param_groups
        assert {group["lr"] for group in groups} == {trainer.settings.lr * rate_factor(share)}


@pytest.fixture
def inputs(monkeypatch):
    """What 24 steps of a trainer are made of: a list of [flux, conditions, latent, white]. Nothing is learned."""
    trainer, taken = tiny_trainer(), []
    monkeypatch.setattr(trainer, "_learn", lambda kind, *inputs: taken.append(inputs) or {})
    for _ in range(24):
        trainer.step(*tiny_batch(), 0.0)
    return taken


def test_networks_see_each_batch_flipped_and_turned_in_its_own_way(inputs):
    versions = [dihedral(tiny_batch()[0], which) for which in range(8)]
    shown = [next(k for k, each in enumerate(versions) if torch.equal(each, flux)) for flux, *_ in inputs]
    assert shown == [symmetry(5, 8 * k) for k in range(24)]
    assert set(shown) == set(range(8))


def test_no_galaxy_of_a_training_shares_its_random_numbers_with_another(inputs):
    for drawn in zip(*(each[2:] for each in inputs), strict=True):
        rows = torch.cat(drawn).flatten(1)
        assert len(rows) == 24 * 8 * GALAXIES_PER_LABEL == len(rows.unique(dim=0))


def test_the_average_spans_a_tenth_of_the_images_shown_up_to_a_longest_one(monkeypatch):
    trainer, weights = tiny_trainer(), []
    monkeypatch.setattr(adversarial, "move_average", lambda averaged, network, weight: weights.append(weight))
    for images in (8, 800, 10 * LONGEST_AVERAGE_IMAGES, 100 * LONGEST_AVERAGE_IMAGES):
        trainer.images = images
        trainer._average()
    assert weights == pytest.approx([1, 0.1, 8 / LONGEST_AVERAGE_IMAGES, 8 / LONGEST_AVERAGE_IMAGES])
