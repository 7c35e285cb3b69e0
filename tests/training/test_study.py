"""The study trains each GAN on exactly its classifiers' galaxies, goes on where it stopped, and says what is sure."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.catalogs.store.training_subset import training_subset
from galaxycgan.config import Study, Submit, TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.evaluation.classifiers.paired_bootstrap import (
    ClassifierPredictions,
    PairedBootstrap,
    summarise,
    verdict,
    widening,
)
from galaxycgan.evaluation.metrics.synthetic_training import train_on_synthetic_test_on_real
from galaxycgan.evaluation.reports.study_report import text_table
from galaxycgan.files.atomic import read_json
from galaxycgan.submit import submit
from galaxycgan.training import study as stage
from galaxycgan.training.study import study
from galaxycgan.training.train_gan import train_gan

TARGET = "log_mass < 9.3"
ARMS = ["cnn2018-standard", "cnn2018-standard+gan", "cnn2018-synthetic-alone", "cnn2018-none"]


def leave_predictions(config):
    """What a classifier that is done leaves for the table."""
    run = Path(config.run)
    run.mkdir(parents=True, exist_ok=True)
    (run / "predictions.npz").touch()


@pytest.fixture
def options(survey_store, other_store, tmp_path):
    return Study(
        store=str(survey_store), test=str(other_store), run=str(tmp_path / "study"), target=TARGET, seeds=1,
        fractions="0.5,1", gan_images=32, epochs=1, threads=1,
    )  # fmt: skip


def test_a_smoke_grid_submitted_in_two_parts_ends_in_a_table(options, survey_store, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(
        "galaxycgan.training.train_classifier.write_report", lambda *arguments: None
    )  # tested elsewhere
    context = Context()
    context.stop.set()
    with pytest.raises(Interrupted):
        study(options, context)
    array = Submit(cluster="debug", array=("part=0,1",))
    assert submit("study", dataclasses.replace(options, parts=2), array) == 0
    run = tmp_path / "study"
    assert "1 of 2 elements done" in capfd.readouterr().out
    assert submit("study", dataclasses.replace(options, parts=2), array) == 0
    assert "2 done already" in capfd.readouterr().out
    report = read_json(run / "study.json")
    assert [(row["fraction"], row["arm"]) for row in report["arms"]] == [(f, arm) for f in (0.5, 1.0) for arm in ARMS]
    assert report["n_test"] == 58 and report["pooled"] is None and "ratio" in report["synthetic_alone"]
    assert (run / "study.csv").read_text().count("\n") == 1 + 2 * len(ARMS)
    assert "data:image/png" in (run / "report.html").read_text()
    with GalaxyStore(survey_store) as store:
        for fraction in ("0.5", "1"):
            seen = np.load(run / f"fraction={fraction}/seed=0/gan/trained_on.npy")
            expected = store.ids[training_subset(store.ids, store.split, float(fraction), draw=0) == 0]
            assert np.array_equal(seen, np.sort(expected))
    other = TrainGan(options.store, str(run / "fraction=0.5/seed=0/gan"), preset="tiny", images=32, fraction=0.9)
    with pytest.raises(UserError, match=r"was made by another request \(fraction: 0.5 there, 0.9 asked"):
        train_gan(other, Context())
    before = {path: path.stat().st_mtime_ns for path in run.glob("fraction=*/seed=*/*/classifier.pt")}
    assert len(before) == 2 * len(ARMS)
    study(options, Context())
    assert before == {path: path.stat().st_mtime_ns for path in before}
    with pytest.raises(
        UserError, match="was made by another request .target: .* there, log_mass < 9 asked.*--overwrite"
    ):
        study(dataclasses.replace(options, target="log_mass < 9"), Context())


def test_a_part_that_starts_anew_leaves_the_other_parts_alone(options, tmp_path, monkeypatch, capsys):
    trained = []

    def note(config, context):
        trained.append(config.fraction)
        leave_predictions(config)

    monkeypatch.setattr(stage, "train_classifier", note)
    monkeypatch.setattr(stage, "_finish", lambda *arguments: trained.append("table"))
    options = dataclasses.replace(options, augment="none", parts=2, overwrite=True)
    for part in (0, 1):
        study(dataclasses.replace(options, part=part), Context())
    assert trained == [0.5] * 2 + [1.0] * 2 + ["table"]
    assert "1 of 2 elements done" in capsys.readouterr().out
    # Nothing of the old study is taken for the new one's, should this one be interrupted.
    left = tmp_path / "study/fraction=0.5/seed=0/cnn2018-none/old"
    left.touch()
    study(dataclasses.replace(options, part=0), Context())
    assert not left.exists() and trained[5:] == [0.5, 0.5, "table"]
    del trained[5:]
    # What lost its predictions is trained again.
    (left.parent / "predictions.npz").unlink()
    again = dataclasses.replace(options, part=0, overwrite=False)
    study(again, Context())
    assert trained[5:] == [0.5, 0.5, "table"]
    del trained[5:]
    # Of another study nothing counts, though it lies there, and its table does not outlive it.
    table = tmp_path / "study/report.html"
    table.touch()
    study(dataclasses.replace(options, part=0, epochs=2), Context())
    assert trained[5:] == [0.5] * 2 and "1 of 2 elements done" in capsys.readouterr().out and not table.exists()


def test_a_way_of_training_that_is_added_later_trains_only_what_is_missing(options, tmp_path, monkeypatch):
    trained = []

    def note(config, context):
        trained.append(config.run.rsplit("/", 1)[1])
        leave_predictions(config)

    monkeypatch.setattr(stage, "train_classifier", note)
    monkeypatch.setattr(stage, "train_gan", lambda config, context: None)
    monkeypatch.setattr(stage, "_finish", lambda *arguments: trained.append("table"))
    options = dataclasses.replace(options, seeds=1, fractions="1", augment="standard")
    study(options, Context())
    assert trained == ["cnn2018-standard", "cnn2018-none", "table"]
    study(options, Context())
    assert trained[3:] == ["table"]
    study(dataclasses.replace(options, augment="standard+gan"), Context())
    assert set(ARMS) <= set(trained[4:])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"test": ""}, "--test is missing"),
        ({"fractions": "0.1,half"}, "--fractions 0.1,half: give numbers"),
        ({"fractions": "0,1"}, "must be above 0 and at most 1"),
        ({"augment": "mixup"}, "--augment mixup: must be among none, standard"),
        ({"seeds": 0}, "--seeds 0"),
        ({"part": 2, "parts": 2}, "--part 2: of --parts 2 they are 0 to 1"),
        ({"synthetic_share": 1.0}, "--synthetic-share 1.0"),
        ({"store": "nowhere.h5"}, "nowhere.h5: no such file"),
        ({"target": "colour < 1"}, "no column 'colour'"),
        ({"target": "icmodel_mag < 22"}, "the GANs, conditioned on photo_z, log_mass: .*icmodel_mag"),
        ({"target": "photo_z < 0"}, "in the --test split 0 fulfil"),
        ({"fractions": "0.05,1"}, "in the (training|validation|test) split|a GAN needs at least 16"),
        ({"test": "THE STORE"}, "are in the training or validation split"),
    ],
)
def test_mistakes_are_told_in_one_line_before_anything_is_trained(options, tmp_path, change, message, monkeypatch):
    monkeypatch.setattr(stage, "train_gan", lambda *arguments: pytest.fail("trained"))
    change = {name: options.store if value == "THE STORE" else value for name, value in change.items()}
    with pytest.raises(UserError, match=message) as error:
        study(dataclasses.replace(options, **change), Context())
    assert "\n" not in str(error.value) and not (tmp_path / "study").exists()


def test_labels_that_a_later_gan_would_refuse_are_refused_before_the_first(options, survey_files, monkeypatch):
    monkeypatch.setattr(stage, "train_gan", lambda *arguments: pytest.fail("trained"))
    with GalaxyStore(survey_files.convert()) as store:
        later = store.ids[(store.split == 0) & (training_subset(store.ids, store.split, 0.5, draw=0) != 0)][0]
    survey_files.table.loc[survey_files.table["HSC_id"] == later, "photo_z"] = np.nan
    store = survey_files.write().convert(overwrite=True, labels="log_mass")
    with pytest.raises(UserError, match="column photo_z holds 1 values that can't be labels"):
        study(dataclasses.replace(options, store=str(store)), Context())
    assert not Path(options.run).exists()


def test_shares_that_share_a_directory_are_one(options):
    elements, _ = stage._plan(dataclasses.replace(options, fractions="0.4,0.4000001,1"))
    assert [element.fraction for element in elements] == [0.4, 1.0]


def judged(gain, seeds=5, n=3000, scatter=0.1):
    """Classifiers of three fractions; the arm 'gan' separates the kinds better by `gain` in units of the noise."""
    random = np.random.default_rng(12345)
    wanted = (random.random(n) < 0.3).astype(float)
    common = random.normal(size=n)
    rows = []
    for fraction in (0.1, 0.25, 1.0):
        for seed in range(seeds):
            for arm, more in (("standard", 0.0), ("gan", gain if fraction < 1 else 0.0), ("alone", -0.02)):
                signal = wanted * (1.5 + more) + common + scatter * random.normal(size=n)
                rows.append(ClassifierPredictions(fraction, seed, arm, 1 / (1 + np.exp(-signal))))
    return wanted, rows


def test_a_true_gain_is_found_and_none_is_not_invented():
    found = summarise(PairedBootstrap(*judged(0.4), draws=300), "standard", "gan", "alone")
    assert found["pooled"]["verdict"].startswith("gain") and found["pooled"]["difference"] > 0.03
    assert set(found["goals"].values()) == {"met"}
    assert all("difference" in row for row in found["arms"] if row["arm"] != "standard")
    same = summarise(PairedBootstrap(*judged(0.0), draws=300), "standard", "gan", "alone")
    low, high = same["pooled"]["interval"]
    assert low < 0 < high and same["pooled"]["verdict"] == "none"
    assert list(same["goals"].values())[0] == "missed"


def test_pairing_takes_away_what_both_sides_share():
    bootstrap = PairedBootstrap(*judged(0.0), draws=300)
    low, high = bootstrap.difference([1.0], "gan", "standard")["interval"]
    values, drawn = bootstrap.mean(1.0, "gan")
    assert high - low < 0.35 * np.ptp(np.quantile(drawn, (0.025, 0.975)))
    assert values == pytest.approx(drawn.mean(), abs=0.005)


def test_what_generated_galaxies_are_worth_is_read_off_the_curve_of_real_ones():
    random = np.random.default_rng(3)
    wanted = (random.random(4000) < 0.3).astype(float)
    noise = random.normal(size=4000)

    def rows(gain):
        """Real galaxies alone separate the kinds better with the logarithm of their share, the same step for each."""
        for fraction in (0.0625, 0.25, 1.0):
            for seed in range(5):
                for arm, more in (("standard", 0.0), ("gan", gain if fraction < 1 else 0.0)):
                    signal = wanted * (1.5 + 0.3 * np.log2(fraction) / 2 + more) + noise
                    yield ClassifierPredictions(fraction, seed, arm, signal + 0.02 * random.normal(size=4000))

    bootstrap, named = PairedBootstrap(wanted, list(rows(0.15)), draws=200), {"baseline": "standard"}
    found = bootstrap.worth(0.25, "gan", "standard")
    assert found["share"] == pytest.approx(0.5, rel=0.15)  # half a step up
    assert found["interval"][0] < found["share"] < found["interval"][1] < 1
    # Better than all real galaxies, worse than the fewest: not beyond what was measured.
    assert PairedBootstrap(wanted, list(rows(0.9)), draws=20).worth(0.25, "gan", "standard")["share"] == 1.0
    assert PairedBootstrap(wanted, list(rows(-0.9)), draws=20).worth(0.25, "gan", "standard")["share"] == 0.0625
    few = text_table(summarise(PairedBootstrap(wanted, list(rows(-0.9)), draws=20), "standard", "gan", "") | named)
    assert sum("as good as 6% or less of the real galaxies" in line for line in few) == 2
    report = summarise(bootstrap, "standard", "gan", "")
    assert [row["fraction"] for row in report["arms"] if "worth" in row] == [0.0625, 0.25]
    assert any("as good as 5" in line or "as good as 4" in line for line in text_table(report | named))


def test_intervals_of_few_seeds_hold_what_they_claim():
    """Differences that only seeds scatter, true value 0: an interval of 95% misses it about once in twenty."""
    random, missed = np.random.default_rng(7), 0
    for _ in range(200):
        bootstrap = PairedBootstrap.__new__(PairedBootstrap)
        bootstrap.seeds, bootstrap.widening = range(5), widening(5)
        bootstrap.value = {
            (1.0, seed, arm): random.normal() * (arm == "gan") for seed in range(5) for arm in ("gan", "")
        }
        bootstrap.drawn = {key: np.full(400, value) for key, value in bootstrap.value.items()}
        bootstrap.picks = random.integers(5, size=(400, 5))
        low, high = bootstrap.difference([1.0], "gan", "")["interval"]
        missed += not low < 0 < high
    assert missed <= 20, missed
    assert (
        PairedBootstrap(*judged(0.4, seeds=1), draws=50).difference([0.1], "gan", "standard")["verdict"] == "undecided"
    )


def test_the_scatter_between_seeds_is_that_of_a_sample():
    bootstrap = PairedBootstrap.__new__(PairedBootstrap)
    bootstrap.seeds, bootstrap.value = [0, 1, 2], {(0.5, seed, "gan"): 0.8 + 0.01 * seed for seed in range(3)}
    assert bootstrap.scatter(0.5, "gan") == pytest.approx(0.01)


def test_intervals_of_two_seeds_are_wide_and_possible():
    random = np.random.default_rng(5)
    wanted = (random.random(60) < 0.5).astype(float)
    rows = [ClassifierPredictions(0.25, 0, "", wanted), ClassifierPredictions(0.25, 1, "", random.random(60))]
    rows += [ClassifierPredictions(0.25, seed, "gan", random.random(60)) for seed in (0, 1)]
    bootstrap = PairedBootstrap(wanted, rows, draws=200)
    low, high = bootstrap.difference([0.25], "gan", "")["interval"]
    assert -1 <= low < high <= 1
    low, high = bootstrap.ratio(0.25, "gan", "")["interval"]
    assert 0 <= low < 1 < high < np.inf
    single = summarise(PairedBootstrap(*judged(0.4, seeds=1), draws=20), "standard", "gan", "alone")
    assert "nan" not in "\n".join(text_table(single | {"baseline": "standard"}))


@pytest.mark.parametrize(
    "interval, words",
    [
        ((0.02, 0.025), "gain"),
        ((0.02, 0.05), "gain, size undecided"),
        ((-0.009, -0.001), "loss"),
        ((-0.004, 0.004), "none"),
        ((-0.01, 0.02), "undecided"),
        ((np.nan, np.nan), "undecided"),
    ],
)
def test_verdicts(interval, words):
    assert verdict(interval) == words


def test_good_teachers_reach_the_real_ones_and_mislabelled_ones_do_not(monkeypatch):
    monkeypatch.setattr("galaxycgan.evaluation.metrics.synthetic_training.EPOCHS", 4)
    random = np.random.default_rng(1)

    def galaxies(n):
        wanted = random.random(n) < 0.5
        line = np.arange(32) - 15.5
        blob = np.exp(-(line[:, None] ** 2 + line**2) / 18)
        flux = np.where(wanted, 6.0, 3.0)[:, None, None, None] * blob + random.normal(0, 1, (n, 2, 32, 32))
        return flux.astype(np.float32), wanted.astype(float)

    real, alike, test = galaxies(200), galaxies(260), galaxies(200)
    state = torch.get_rng_state()
    good = train_on_synthetic_test_on_real(real, alike, test, np.full(2, 2.0), seeds=(0,))
    assert good["n"] == 200 and good["auc_real"] > 0.8 and good["value"] > 0.9
    assert good["interval"][0] <= good["value"] <= good["interval"][1]
    mislabelled = alike[0], 1 - alike[1]
    assert train_on_synthetic_test_on_real(real, mislabelled, test, np.full(2, 2.0), seeds=(0,))["value"] < 0.5
    assert torch.equal(state, torch.get_rng_state())  # nothing random of others is touched
