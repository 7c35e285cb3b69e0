"""Scores, thresholds, portions and calibration say what they should of classifiers whose truth is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from galaxycgan.catalogs.store.splits import split_of
from galaxycgan.catalogs.store.training_subset import training_subset
from galaxycgan.errors import UserError
from galaxycgan.evaluation.classifiers.scores import choose_threshold, curves, reliability, roc_auc, scores
from galaxycgan.evaluation.reports.classifier_report import confident_mistakes
from galaxycgan.models.classifier_learning import augmented, class_weight, learn_epoch, temperature_of

IDS = 43_150_000_000_000_001 + 7 * np.arange(20_000)
SPLIT = split_of(IDS)


def galaxies(n, seed=0, steps=None):
    """Classes that come true as often as the probabilities say."""
    random = np.random.default_rng(seed)
    probability = random.uniform(0.02, 0.98, n)
    probability = probability if steps is None else np.round(probability * steps) / steps
    return (random.random(n) < probability).astype(float), probability


def test_scores_of_a_perfect_and_of_an_ignorant_classifier():
    wanted = np.repeat([0.0, 1.0], [150, 50])
    perfect = scores(wanted, wanted * 0.98 + 0.01, 0.25)
    assert perfect["roc_auc"] == 1.0 and perfect["log_loss"] == pytest.approx(-np.log(0.99), rel=1e-6)
    assert perfect["purity"] == perfect["completeness"] == perfect["average_precision"] == 1.0
    ignorant = scores(wanted, np.full(200, 0.25), 0.25)
    assert ignorant["log_loss"] == pytest.approx(ignorant["log_loss_prior"])
    assert ignorant["roc_auc"] == pytest.approx(0.5) and ignorant["calibration_error"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("steps", [None, 7])  # 7: many ties
def test_scores_agree_with_scikit_learn(steps):
    wanted, probability = galaxies(700, steps=steps)
    found = scores(wanted, np.clip(probability, 0.01, 0.99), 0.4, draws=2)
    clipped = np.clip(probability, 0.01, 0.99)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(wanted, clipped))
    assert found["average_precision"] == pytest.approx(average_precision_score(wanted, clipped))
    assert found["brier"] == pytest.approx(brier_score_loss(wanted, clipped))
    assert found["log_loss"] == pytest.approx(log_loss(wanted, clipped))
    assert found["log_loss_prior"] == pytest.approx(log_loss(wanted, np.full(700, 0.4)))


def test_a_weight_is_as_good_as_a_repeated_galaxy():
    wanted, probability = galaxies(60, seed=3)
    weight = np.random.default_rng(1).integers(0, 4, 60)
    repeated = roc_auc_score(np.repeat(wanted, weight), np.repeat(probability, weight))
    assert roc_auc(wanted, probability, weight[None].astype(float))[0] == pytest.approx(repeated)


def test_intervals_hold_what_new_galaxies_give():
    found = scores(*galaxies(1500, seed=1), 0.5)
    again = [scores(*galaxies(1500, seed=k), 0.5, draws=2) for k in range(2, 42)]
    for name in ("roc_auc", "log_loss", "brier", "average_precision"):
        low, high = found["intervals"][name]
        scatter = np.std([each[name] for each in again])
        assert high - low == pytest.approx(2 * 1.96 * scatter, rel=0.45), name


def test_a_calibration_error_is_told_beside_that_of_perfect_probabilities():
    found = [scores(*galaxies(1000, seed=seed), 0.5, draws=100) for seed in range(20)]
    chance = np.mean([each["calibration_error_of_perfect"] for each in found])
    assert np.mean([each["calibration_error"] for each in found]) == pytest.approx(chance, rel=0.15) and chance > 0.02
    wanted, probability = galaxies(1000)
    bold = scores(wanted, np.clip(2 * probability - 0.5, 0.01, 0.99), 0.5, draws=100)
    assert bold["calibration_error"] > 3 * bold["calibration_error_of_perfect"]


@pytest.mark.parametrize("share, width, threshold", [(0.2, 2.0, 0.9), (0.05, 2.5, 0.5), (0.2, 3.0, 0.5)])
def test_intervals_of_few_galaxies_hold_the_truth(share, width, threshold):
    def survey(n, random):
        wanted = (random.random(n) < share).astype(float)
        x = random.normal(wanted * width)
        return wanted, 1 / (1 + (1 - share) / share * np.exp(width**2 / 2 - width * x))

    truth = scores(*survey(400_000, np.random.default_rng(99)), share, threshold, draws=1)
    inside = dict.fromkeys(("purity", "completeness", "roc_auc"), 0)
    for seed in range(100):
        found = scores(*survey(187, np.random.default_rng(seed)), share, threshold, draws=20)
        for name in inside:
            low, high = found["intervals"][name]
            inside[name] += low <= truth[name] <= high or np.isnan(low)
    assert min(inside.values()) >= 88, inside  # 95 expected, 2.2 standard errors and what a discrete count costs


def test_no_galaxy_called_has_no_purity():
    found = scores(np.repeat([0.0, 1.0], 10), np.full(20, 0.2), 0.5)
    assert np.isnan(found["intervals"]["purity"]).all() and found["intervals"]["completeness"][0] == 0.0


def test_one_kind_alone_gives_no_roc_curve_and_no_failure():
    found = scores(np.ones(5), np.linspace(0.2, 0.8, 5), 0.5)
    assert np.isnan(found["roc_auc"]) and np.isfinite(found["log_loss"])


def test_the_threshold_has_the_best_f1_or_the_asked_purity():
    wanted, probability = galaxies(2000, seed=5)
    best, _ = choose_threshold(wanted, probability)
    f1 = [scores(wanted, probability, 0.5, each, draws=1)["f1"] for each in (*np.linspace(0.05, 0.95, 60), best)]
    assert f1[-1] == max(f1)
    pure, rule = choose_threshold(wanted, probability, 0.9)
    found = scores(wanted, probability, 0.5, pure, draws=1)
    assert found["purity"] >= 0.9 and "at least 0.9" in rule
    line = curves(wanted, probability)
    assert found["completeness"] == pytest.approx(line["completeness"][line["purity"] >= 0.9].max())


def test_a_purity_that_is_never_reached_is_said():
    threshold, rule = choose_threshold(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.9, 0.8, 0.3, 0.2]), 0.9)
    assert "0.9 is not reached" in rule and 0 < threshold < 0.9


def test_a_temperature_makes_overconfident_logits_honest():
    wanted, probability = galaxies(20_000, seed=7)
    true_logit = np.log(probability / (1 - probability))
    assert temperature_of(2.5 * true_logit, wanted) == pytest.approx(2.5, rel=0.06)
    assert temperature_of(true_logit / 2, wanted) == pytest.approx(0.5, rel=0.06)
    points = reliability(wanted, probability)
    assert np.all(np.abs(points["share"] - points["probability"]) < 5 * points["error"])


def test_mistakes_are_told_worst_first():
    wanted = np.array([1, 0, 1, 0, 1, 0])
    missed, intruders = confident_mistakes(wanted, np.array([0.3, 0.7, 0.1, 0.9, 0.8, 0.2]), 0.5)
    assert missed.tolist() == [2, 0] and intruders.tolist() == [3, 1]


def test_the_weight_of_wanted_galaxies_makes_both_kinds_count_alike():
    assert class_weight(torch.tensor([1.0, 0.0, 0.0, 0.0])) == 3.0


@pytest.mark.parametrize("weight, moved", [(3.0, 0.0), (1.0, -0.25)])
def test_a_weighted_epoch_learns_from_both_kinds_alike(weight, moved):
    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logit = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            return self.logit.expand(len(images))

    network, wanted = Constant(), torch.tensor([1.0, 0.0, 0.0, 0.0])
    descent = torch.optim.SGD(network.parameters(), lr=1.0)
    images = torch.zeros(4, 1, 4, 4)
    learn_epoch(network, descent, images, wanted, np.random.default_rng(0), 4, augment=False, weight=weight)
    assert float(network.logit.detach()) == pytest.approx(moved, abs=1e-6)


def test_a_galaxy_at_the_threshold_is_called():
    found = scores(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.5, 0.4, 0.5, 0.1]), 0.5, 0.5, draws=2)
    assert found["purity"] == found["completeness"] == found["f1"] == 0.5


def test_a_weighted_epoch_tells_the_log_loss_of_what_the_weight_is_taken_off():
    torch.manual_seed(0)
    images, wanted = torch.randn(40, 2, 8, 8), (torch.arange(40) % 5 == 0).float()
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(128, 1), torch.nn.Flatten(0))
    still = torch.optim.SGD(network.parameters(), lr=0.0)
    told = learn_epoch(network, still, images, wanted, np.random.default_rng(0), 16, augment=False, weight=4.0)
    honest = F.binary_cross_entropy_with_logits(network(images) - np.log(4.0), wanted)
    assert told == pytest.approx(float(honest.detach()), rel=1e-5)


def test_each_image_is_moved_by_its_own_symmetry_and_shift():
    line = torch.arange(12) - 5.5
    blob = torch.exp(-((line[:, None] - 1.0) ** 2 + (line + 2.0) ** 2) / 2).repeat(400, 2, 1, 1)
    moved = augmented(blob, np.random.default_rng(0))
    assert moved.shape == blob.shape and torch.equal(moved[:, 0], moved[:, 1])
    speckled = torch.randn(12, 12, generator=torch.Generator().manual_seed(0)).expand(400, 1, 12, 12)
    kinds = {tuple(each.flatten().tolist()) for each in augmented(speckled, np.random.default_rng(0))}
    assert 150 < len(kinds) <= 200
    assert moved.amax((1, 2, 3)).min() == blob.max()
    # flips, turns and shifts by at most two pixels: the peak stays within 2 px of one of its eight places
    peak = moved[:, 0].flatten(1).argmax(1)
    y, x = peak // 12 - 5.5, peak % 12 - 5.5
    far, near = torch.maximum(y.abs(), x.abs()), torch.minimum(y.abs(), x.abs())
    assert far.max() <= 4.5 and near.max() <= 3.5


def test_smaller_fractions_lie_within_larger_ones_and_leave_the_other_splits_alone():
    parts = {share: training_subset(IDS, SPLIT, share) for share in (0.1, 0.25, 1.0)}
    assert np.array_equal(parts[1.0], SPLIT)
    n = (SPLIT == 0).sum()
    for share, part in parts.items():
        assert (part == 0).sum() == pytest.approx(share * n, abs=4 * np.sqrt(n * share))
        assert np.array_equal(part[SPLIT > 0], SPLIT[SPLIT > 0])
    assert not ((parts[0.1] == 0) & (parts[0.25] != 0)).any()
    some = np.arange(0, len(IDS), 3)  # stable: the same galaxies whatever else is in the store
    assert np.array_equal(training_subset(IDS[some], SPLIT[some], 0.25), parts[0.25][some])
    others = training_subset(IDS, SPLIT, 0.25, draw=1)
    both = np.count_nonzero((others == 0) & (parts[0.25] == 0)) / np.count_nonzero(others == 0)
    assert 0.2 < both < 0.3  # another draw: by chance a quarter is in both


def test_folds_cover_training_and_validation_once_and_never_touch_the_test_split():
    folds = [training_subset(IDS, SPLIT, 1.0, k, 4) for k in range(4)]
    tested = sum((fold == 2).astype(int) for fold in folds)
    assert np.array_equal(tested, np.isin(SPLIT, (0, 1)).astype(int))
    for fold in folds:
        assert (fold[SPLIT == 2] == -1).all()
        assert (fold == 1).sum() / (fold >= 0).sum() == pytest.approx(0.75 / 9, abs=0.01)
    halved = training_subset(IDS, SPLIT, 0.5, 1, 4)
    assert (halved == 0).sum() == pytest.approx((folds[1] == 0).sum() / 2, rel=0.05)
    assert np.array_equal(halved == 2, folds[1] == 2) and np.array_equal(halved == 1, folds[1] == 1)


@pytest.mark.parametrize("bad", [{"fraction": 0.0}, {"fraction": 1.1}, {"fold": 5}, {"fold": 0, "folds": 1}])
def test_a_portion_that_cannot_be_is_refused(bad):
    with pytest.raises(UserError, match="--f"):
        training_subset(IDS, SPLIT, **bad)
