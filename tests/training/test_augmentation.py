"""What critics of few galaxies see: disturbed alike on both sides, never in brightness, colour or size."""

import pytest
import torch
from conftest import tiny_batch, tiny_trainer

from galaxycgan.training import critic_disturbance


def test_few_galaxies_need_it_and_enough_do_not():
    assert [critic_disturbance.strength(n) for n in (16, 150, 225, 300, 100_000)] == [1, 1, 0.5, 0, 0]


def test_both_sides_are_disturbed_alike_with_noise_of_their_own():
    random = torch.Generator().manual_seed(0)
    pixels, features = torch.randn(500, 3, 32, 32, generator=random), torch.randn(500, 40, generator=random)
    sides = [torch.randn(500, 3 * 32 * 32 + 40 + 2, generator=random) for _ in range(2)]
    one, other = (critic_disturbance.disturbed((pixels, features), drawn, 1.0, (2, -1)) for drawn in sides)
    moved = torch.roll(pixels, (2, -1), (-2, -1))
    for k, (before, most) in enumerate(
        ((moved, critic_disturbance.PIXELS), (features, critic_disturbance.MEASUREMENTS))
    ):
        added = [side[k] - before for side in (one, other)]
        assert not torch.equal(*added)
        for each in added:
            scatter = each.flatten(1).std(1)  # of each image: a uniform share of the largest
            assert scatter.max() < 1.5 * most and scatter.min() < 0.1 * most
            # A uniform share squared is a third in the mean.
            assert each.square().mean().sqrt() == pytest.approx(most / 3**0.5, rel=0.1)
            assert abs(float(each.mean())) < 0.01  # no brightness
    half = critic_disturbance.disturbed((pixels, features), sides[0], 0.5, (2, -1))
    assert torch.allclose(half[1] - features, 0.5 * (one[1] - features), atol=1e-6)


def test_shifts_reach_three_pixels_both_ways_and_belong_to_the_batch():
    shifts = [critic_disturbance.shift_of(0, first, 1.0) for first in range(0, 32 * 400, 32)]
    assert {step for pair in shifts for step in pair} == set(range(-3, 4))
    assert critic_disturbance.shift_of(0, 64, 1.0) == shifts[2]
    assert {critic_disturbance.shift_of(0, first, 0.1) for first in range(50)} == {(0, 0)}


def test_critics_alone_are_told_of_it_and_the_energy_score_is_of_the_galaxies_as_they_are(monkeypatch):
    seen = {}
    for amount in (0.0, 1.0):
        trainer = tiny_trainer(amount)
        critic = trainer.critic.forward
        told = []
        monkeypatch.setattr(
            trainer.critic, "forward", lambda *parts, critic=critic, told=told: told.append(parts) or critic(*parts)
        )
        report = trainer.step(*tiny_batch(), 0.0)
        seen[amount] = told, float(report["energy_score"])
    flux, conditions = tiny_batch()
    assert seen[0.0][1] == seen[1.0][1]
    (plain, *_), (disturbed, *_) = (seen[amount][0] for amount in (0.0, 1.0))
    assert torch.equal(plain[2], torch.cat([conditions, conditions]))
    real, fake = disturbed[2].chunk(2)
    assert torch.equal(real, fake) and 0.15 < float((real - conditions).std()) < 0.6
    assert not torch.equal(disturbed[0], plain[0]) and not torch.equal(disturbed[1], plain[1])


def test_a_step_that_is_disturbed_teaches_both_networks():
    trainer = tiny_trainer(1.0)
    before = {name: [p.clone() for p in getattr(trainer, name).parameters()] for name in ("generator", "critic")}
    trainer.step(*tiny_batch(), 0.0)
    for name, old in before.items():
        assert any(not torch.equal(p, q) for p, q in zip(getattr(trainer, name).parameters(), old, strict=True))
