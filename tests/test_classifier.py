"""The classifier learns, resumes to the bit, and never takes a GAN that has seen its test galaxies."""

import dataclasses

import numpy as np
import pytest
import torch
from astropy.table import Table

from galaxycgan.catalogs.expression import evaluate
from galaxycgan.catalogs.store import GalaxyStore
from galaxycgan.config import Classify, TrainClassifier, TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.evaluation.classification import scores
from galaxycgan.files import read_json
from galaxycgan.generation.classify import classify
from galaxycgan.training.checkpoint import load_checkpoint
from galaxycgan.training.classifier import SyntheticImages, _Trainer, read_splits, train_classifier
from galaxycgan.training.gan import train_gan

TARGET = "photo_z < 0.4"


@pytest.fixture
def options(survey_store, tmp_path):
    return TrainClassifier(
        store=str(survey_store), run=str(tmp_path / "run"), target=TARGET, augment="standard", epochs=4, threads=1
    )


@pytest.fixture(scope="module")
def gan(survey_store, tmp_path_factory):
    run = tmp_path_factory.mktemp("gan") / "run"
    train_gan(TrainGan(store=str(survey_store), run=str(run), preset="tiny", images=32, batch=16), Context())
    return run


def test_a_run_leaves_scores_curves_and_a_model_that_classifies(options, tmp_path, survey_store):
    train_classifier(options, Context())
    results = read_json(tmp_path / "run/metrics.json")
    assert set(results["test"]) >= {"log_loss", "log_loss_prior", "roc_auc", "average_precision", "brier"}
    assert (tmp_path / "run/classifier.png").read_bytes().startswith(b"\x89PNG")
    out = tmp_path / "p.fits"
    classify(Classify(model=options.run, store=str(survey_store), out=str(out)), Context())
    table = Table.read(out)
    with GalaxyStore(survey_store) as store:
        assert np.array_equal(table["HSC_id"], store.ids)
    assert ((table["probability"] > 0) & (table["probability"] < 1)).all()
    before = out.stat().st_mtime_ns
    classify(Classify(model=options.run, store=str(survey_store), out=str(out)), Context())
    assert out.stat().st_mtime_ns == before
    out.write_text("mine")
    with pytest.raises(UserError, match="holds something else.*--overwrite"):
        classify(Classify(model=options.run, store=str(survey_store), out=str(out)), Context())


def test_a_run_stopped_after_any_epoch_ends_in_the_same_weights(options, tmp_path, capsys):
    train_classifier(options, Context())
    stopped = dataclasses.replace(options, run=str(tmp_path / "stopped"))
    context = Context()
    context.stop.set()
    for _ in range(2):
        with pytest.raises(Interrupted):
            train_classifier(stopped, context)
    train_classifier(stopped, Context())
    assert "going on at epoch 2" in capsys.readouterr().out
    one, other = (load_checkpoint(tmp_path / name / "classifier.pt")["network"] for name in ("run", "stopped"))
    assert all((one[name] == other[name]).all() for name in one)
    train_classifier(stopped, Context())
    assert "is finished" in capsys.readouterr().out


def test_generated_galaxies_join_the_training_set(options, gan, capsys):
    train_classifier(dataclasses.replace(options, augment="gan", gan=str(gan)), Context())
    assert "ROC AUC" in capsys.readouterr().out
    with GalaxyStore(options.store) as store:
        splits = read_splits(store, TARGET)
        synthetic = SyntheticImages(gan, store, TARGET, 0, torch.device("cpu"))
    images, wanted = synthetic.epoch(0, 40)
    assert images.shape == (40, 3, 50, 50) and 0 < wanted.mean() < 1
    assert not torch.equal(images, synthetic.epoch(1, 40)[0])  # fresh ones every epoch
    trainer = _Trainer(dataclasses.replace(options, augment="gan"), store, splits, synthetic, torch.device("cpu"), {})
    assert len(trainer._training_set(0)[0]) == 2 * len(splits[0].images)


def test_a_gan_that_saw_test_galaxies_is_refused_by_their_ids(options, gan, survey_store, tmp_path):
    with GalaxyStore(survey_store) as store:
        leaked = store.ids[store.split == 2][0]
    seen = np.load(gan / "trained_on.npy")
    try:
        np.save(gan / "trained_on.npy", np.sort(np.append(seen, leaked)))
        with pytest.raises(UserError, match=f"trained on 1 validation or test galaxies .*{leaked}"):
            train_classifier(dataclasses.replace(options, augment="gan", gan=str(gan)), Context())
    finally:
        np.save(gan / "trained_on.npy", seen)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"target": "photo_z < 0"}, "of the .* galaxies in the training split 0 fulfil"),
        ({"target": "colour < 1"}, "no column 'colour'; there are"),
        ({"target": "__import__('os').system('true')"}, "is not understood"),
        ({"epochs": 0}, "--epochs 0"),
        ({"lr": -1.0}, "--lr -1.0"),
        ({"augment": "gan", "gan": "nowhere"}, "nowhere: holds no trained generator"),
    ],
)
def test_mistakes_are_told_in_one_line(options, tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        train_classifier(dataclasses.replace(options, **change), Context())
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_scores_of_a_perfect_and_of_an_ignorant_classifier():
    wanted = np.repeat([0.0, 1.0], [150, 50])
    perfect = scores(wanted, wanted * 0.98 + 0.01, 0.25)
    assert perfect["roc_auc"] == 1.0 and perfect["log_loss"] == pytest.approx(-np.log(0.99), rel=1e-6)
    ignorant = scores(wanted, np.full(200, 0.25), 0.25)
    assert ignorant["log_loss"] == pytest.approx(ignorant["log_loss_prior"])
    assert ignorant["roc_auc"] == pytest.approx(0.5)


COLUMNS = {"a": np.array([1.0, 2.0, 3.0, np.nan]), "flag": np.array([True, False, True, True])}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a > 1.5", [0, 1, 1, 0]),
        ("1 < a < 3", [0, 1, 0, 0]),
        ("a ** 2 + 1 >= 5 and flag", [0, 0, 1, 0]),
        ("not flag or a == 1", [1, 1, 0, 0]),
        ("-a < -2.5", [0, 0, 1, 0]),
        ("flag", [1, 0, 1, 1]),
        ("a != 1", [0, 1, 1, 0]),
        ("a > 1 / 0", [0, 0, 0, 0]),
    ],
)
def test_expressions(text, expected):
    assert evaluate(text, COLUMNS.__getitem__, list(COLUMNS), 4).tolist() == [bool(v) for v in expected]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a +",
        "a.sum() > 1",
        "a[0] > 1",
        "[a > 1]",
        "(lambda: 1)() > 0",
        "'x' < a",
        "a < b",
        "a & flag",
        "9" * 2000,
    ],
)
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(UserError, match="--target"):
        evaluate(text, COLUMNS.__getitem__, list(COLUMNS), 4)
