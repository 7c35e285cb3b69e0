"""What a step of the training does: penalties and rates at their times, flips and turns, noise of its own."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
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


def test_generated_galaxies_have_the_labels_of_the_real_ones_beside_them():
    trainer, (flux, conditions), asked, judged = tiny_trainer(), tiny_batch(), [], []
    trainer.generator.register_forward_pre_hook(lambda network, inputs: asked.append(inputs[1]))
    trainer.critic.register_forward_pre_hook(lambda network, inputs: judged.append(inputs[2]))
    trainer.step(flux, conditions, 0.0)
    trainer.step(flux, conditions, 0.0)  # the first takes the penalty, without hooks
    assert all(torch.equal(each, conditions.repeat(GALAXIES_PER_LABEL, 1)) for each in asked) and asked
    # In the critics' own step real and generated galaxies, in the generator's the generated ones.
    both = torch.cat([conditions, conditions])
    assert torch.equal(judged[-2], both) and torch.equal(judged[-1], conditions)


def test_both_critics_compare_pairs_of_one_label_and_both_teach():
    random = torch.Generator().manual_seed(0)
    real, fake = ([torch.randn(6, 1, generator=random) for _ in range(2)] for _ in range(2))
    conditions = torch.randn(6, 1, generator=random)

    def critic(pixels, measurements, conditions):
        return torch.stack([pixels[:, 0] * conditions[:, 0], measurements[:, 0] * conditions[:, 0]])

    loss, real_scores, _ = gan_losses.critic_objective(critic, real, fake, conditions, None, contextlib.nullcontext)
    gaps = torch.stack([(r - f)[:, 0] * conditions[:, 0] for r, f in zip(real, fake, strict=True)])
    assert float(loss) == pytest.approx(float(F.softplus(-gaps).mean(1).sum()), rel=1e-5)
    loss, _ = gan_losses.generator_objective(critic, real_scores, fake, conditions, 0.1, contextlib.nullcontext)
    image, photometry = F.softplus(gaps).mean(1).tolist()
    assert float(loss) == pytest.approx(image + 0.1 * photometry, rel=1e-5)


def test_each_label_is_moved_in_its_turn_and_never_in_a_step_with_the_penalty():
    trainer = tiny_trainer()
    trainer.columns = [0, 1]
    kinds = []
    for turn in range(4 * PENALTY_EVERY):
        trainer.images = turn * trainer.settings.batch
        kinds.append(trainer._step_kind())
    assert [penalised for penalised, _ in kinds] == 4 * [True, *[False] * (PENALTY_EVERY - 1)]
    assert sorted(column for _, column in kinds if column >= 0) == [0, 0, 1, 1]
    assert not any(penalised and column >= 0 for penalised, column in kinds)


def test_a_label_alone_is_moved_and_the_answer_weighs_as_often_as_it_is_asked():
    asked = []

    class Answer:
        def penalty(self, noiseless, other, column):
            asked.append((noiseless, other, column))
            return torch.tensor(1.0)

    def generator(latent, conditions):
        return conditions, None

    conditions = torch.zeros(3, 2)
    found = gan_losses.label_response_penalty(
        generator, Answer(), None, conditions, conditions, 1, contextlib.nullcontext
    )
    assert float(found) == gan_losses.RESPONSE_WEIGHT * PENALTY_EVERY > 0
    ((_, moved, column),) = asked
    assert column == 1 and moved.tolist() == [[0, gan_losses.STEP]] * 3 and not conditions.any()
