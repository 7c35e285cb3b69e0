"""The classifier learns, resumes to the bit, says how sure it is, and never takes a GAN that saw its test galaxies."""

import contextlib
import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from astropy.io import fits
from astropy.table import Table
from conftest import StopAfter, make_survey

from galaxycgan.catalogs.check.fits_integrity import fits_problems
from galaxycgan.catalogs.store.conditions import evaluate, incomplete
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.catalogs.store.training_subset import training_subset
from galaxycgan.config import Classify, Generate, TrainClassifier, TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.evaluation.classifiers.scores import choose_threshold
from galaxycgan.files.atomic import read_json
from galaxycgan.generation.classify import classify
from galaxycgan.generation.generate import generate
from galaxycgan.models import device
from galaxycgan.models.classifier_learning import logits, temperature_of
from galaxycgan.training import classifier_loop
from galaxycgan.training.checkpoint import load_checkpoint, save_checkpoint
from galaxycgan.training.classifier_data import Split, SyntheticImages, check_survey, read_split, read_splits
from galaxycgan.training.classifier_loop import ClassifierTrainer
from galaxycgan.training.classifier_model import probabilities
from galaxycgan.training.train_classifier import _Job, train_classifier
from galaxycgan.training.train_gan import train_gan

TARGET = "photo_z < 0.4"
CPU = torch.device("cpu")


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


def networks(*runs):
    return [load_checkpoint(run / "classifier.pt")["network"] for run in runs]


def flat(network):
    return torch.cat([values.detach().flatten() for values in network.parameters()])


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_leaves_scores_a_report_and_a_model_that_classifies(options, tmp_path, survey_store, other_store):
    train_classifier(dataclasses.replace(options, test=str(other_store)), Context())
    run = tmp_path / "run"
    results = read_json(run / "metrics.json")
    for name, n in (("validation", None), ("test", None), ("survey", 58)):
        found = results[name]
        assert n in (None, found["n"])
        for score in ("log_loss", "roc_auc", "average_precision", "brier", "purity", "completeness"):
            assert score in found and len(found["intervals"][score]) == 2
    page = (run / "report.html").read_text()
    assert "most confident mistakes" in page and page.count("data:image/png;base64,") == 3
    assert (run / "classifier.png").read_bytes().startswith(b"\x89PNG")
    predictions = np.load(run / "predictions.npz", allow_pickle=False)
    out = tmp_path / "p.fits"
    classify(Classify(model=options.run, store=str(survey_store), out=str(out)), Context())
    table, header = Table.read(out), fits.getheader(out, "CLASSIFIED")
    assert fits_problems(out) == []
    with GalaxyStore(survey_store) as store:
        assert np.array_equal(table["HSC_id"], store.ids)
    assert ((table["probability"] > 0) & (table["probability"] < 1)).all()
    assert header["THRESH"] == results["calibration"]["threshold"]
    assert np.array_equal(table["is_target"], np.array(table["probability"]) >= header["THRESH"])
    tested = dict(zip(table["HSC_id"], table["probability"], strict=True))
    assert [tested[each] for each in predictions["test_ids"]] == pytest.approx(
        predictions["test_probability"], abs=1e-5
    )


def test_a_table_of_probabilities_tells_which_scores_are_clean(options, gan, tmp_path, survey_store, other_store):
    options, fold = dataclasses.replace(options, target="log_mass < 9.3"), {"fold": 2, "folds": 3, "epochs": 1}
    for changes in (fold, {"epochs": 1, "augment": "gan", "gan": str(gan)}):
        train_classifier(dataclasses.replace(options, overwrite=True, **changes), Context())
        out = tmp_path / "p.fits"
        classify(Classify(model=options.run, store=str(survey_store), out=str(out), overwrite=True), Context())
        table = Table.read(out)
        with GalaxyStore(survey_store) as store:
            own = {name: changes[name] for name in ("fold", "folds") if name in changes}
            split = training_subset(store.ids, store.split, **own)
        assert np.array_equal(table["split"], np.where(split < 0, 2, split))
    classify(Classify(model=options.run, store=str(other_store), out=str(out), overwrite=True), Context())
    assert set(Table.read(out)["split"]) == {2}


def test_a_survey_in_another_unit_is_judged_and_classified_with_a_warning(options, tmp_path, other_store, capsys):
    faint = make_survey(tmp_path)
    faint.flux, faint.ids = faint.flux / 500, faint.ids + 1
    faint.table["HSC_id"] += 1
    store = str(faint.write().convert())
    capsys.readouterr()
    train_classifier(dataclasses.replace(options, epochs=1, test=str(other_store)), Context())
    assert "warning" not in capsys.readouterr().out
    train_classifier(dataclasses.replace(options, epochs=1, test=store), Context())
    said = re.search(r"is (\S+) times that of the galaxies learned from", capsys.readouterr().out)
    assert float(said[1]) == pytest.approx(0.002, rel=0.05)
    for name, warned in (("faint", store), ("alike", str(other_store))):
        classify(Classify(model=options.run, store=warned, out=str(tmp_path / f"{name}.fits")), Context())
        assert ("warning" in capsys.readouterr().out) == (name == "faint")


def test_classify_says_when_it_is_done_and_replaces_nothing_else(options, tmp_path, survey_store, capsys):
    train_classifier(dataclasses.replace(options, epochs=1), Context())
    out = tmp_path / "p.fits"
    request = Classify(model=options.run, store=str(survey_store), out=str(out))
    classify(request, Context())
    before = out.stat().st_mtime_ns
    classify(request, Context())
    assert out.stat().st_mtime_ns == before and "done already" in capsys.readouterr().out
    out.write_text("mine")
    with pytest.raises(UserError, match="p.fits: .* doesn't say which request made it; .*--overwrite"):
        classify(request, Context())


@pytest.fixture
def trainer(options):
    with GalaxyStore(options.store) as store:
        splits = read_splits(store, TARGET)
    return ClassifierTrainer(options, splits, None, np.ones(3), CPU, {})


def test_validation_galaxies_judge_each_epoch_and_calibrate(trainer, options):
    learned, held, _ = trainer.splits
    trainer._epoch(0)
    scores = logits(trainer.averaged, held.images, trainer.shift, trainer.dtype)
    loss = F.binary_cross_entropy_with_logits(scores, held.wanted)
    assert trainer.history[0]["val_loss"] == pytest.approx(float(loss), rel=1e-5)
    job = _Job.__new__(_Job)
    job.config, job.trainer, job.splits, job.synthetic = options, trainer, trainer.splits, None
    with GalaxyStore(options.store) as job.store:
        about = job._calibrate()
    raw = logits(trainer.network, held.images, trainer.shift)
    assert about["temperature"] == pytest.approx(temperature_of(raw.numpy(), held.wanted.numpy()), rel=1e-5)
    probability = probabilities(trainer.network, about, held.images).numpy()
    assert about["threshold"] == pytest.approx(choose_threshold(held.wanted.numpy(), probability)[0], rel=1e-5)
    assert np.array_equal(about["learned_from"], learned.ids) and np.array_equal(about["validated_on"], held.ids)


def test_each_epoch_has_an_order_of_its_own(trainer, monkeypatch):
    orders = []

    def noted(network, optimiser, images, wanted, random, *others):
        orders.append(tuple(random.permutation(len(images))))
        return 0.0

    monkeypatch.setattr(classifier_loop, "learn_epoch", noted)
    for number in (0, 1, 2, 1):
        trainer._epoch(number)
    assert len(set(orders)) == 3 and orders[1] == orders[3]


@pytest.mark.parametrize("split, refused", [(0, False), (1, True), (2, True), (-1, False)])
def test_a_gan_that_saw_one_held_out_galaxy_is_refused(gan, survey_store, split, refused):
    with GalaxyStore(survey_store) as store:
        store.split = store.split.copy()
        store.split[np.flatnonzero(store.split == 0)[3]] = split
        with pytest.raises(UserError, match="was trained on 1 ") if refused else contextlib.nullcontext():
            SyntheticImages(gan, store, TARGET, 0, CPU)


@pytest.mark.parametrize("split, refused", [(0, True), (1, True), (2, False), (-1, False)])
def test_a_survey_that_shares_galaxies_with_training_or_validation_is_refused(survey_store, split, refused):
    with GalaxyStore(survey_store) as survey, GalaxyStore(survey_store) as store:
        store.split = np.full(store.n, split, np.int8)
        with (
            pytest.raises(UserError, match="are in the training or validation") if refused else contextlib.nullcontext()
        ):
            check_survey(survey, store, TARGET)


@pytest.mark.parametrize("augment", ["standard", "standard+gan"])
def test_images_that_do_not_fit_into_memory_are_read_as_they_are_wanted(options, gan, tmp_path, monkeypatch, augment):
    options = dataclasses.replace(options, augment=augment, gan=str(gan), epochs=2)
    train_classifier(options, Context())
    monkeypatch.setattr("galaxycgan.training.classifier_data.resident_bytes", lambda device: 0)
    train_classifier(dataclasses.replace(options, run=str(tmp_path / "lazy")), Context())
    assert same(*networks(tmp_path / "run", tmp_path / "lazy"))
    one, other = (np.load(tmp_path / name / "predictions.npz")["test_probability"] for name in ("run", "lazy"))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("preset", ["cnn2018", "base"])
def test_a_run_stopped_after_any_epoch_ends_in_the_same_weights(options, tmp_path, capsys, preset):
    options = dataclasses.replace(options, preset=preset)
    train_classifier(options, Context())
    stopped = dataclasses.replace(options, run=str(tmp_path / "stopped"))
    for looks in (0, 1, 2):  # within the first epoch, after it, within the second
        with pytest.raises(Interrupted):
            train_classifier(stopped, Context(stop=StopAfter(looks)))
    train_classifier(stopped, Context())
    told = capsys.readouterr().out
    assert told.count("going on at epoch 1") == told.count("going on at epoch 2") == 1
    assert same(*networks(tmp_path / "run", tmp_path / "stopped"))
    train_classifier(stopped, Context())
    assert "done already" in capsys.readouterr().out
    with pytest.raises(UserError, match="was made by another request .epochs: .* there, 5 asked"):
        train_classifier(dataclasses.replace(stopped, epochs=5), Context())


def test_a_run_goes_on_in_its_precision_on_a_machine_of_another_kind(options, tmp_path, monkeypatch):
    train_classifier(options, Context())
    stopped = dataclasses.replace(options, run=str(tmp_path / "stopped"))
    with pytest.raises(Interrupted):
        train_classifier(stopped, Context(stop=StopAfter(1)))
    here = device.cpu_has_bfloat16()
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: not here)
    train_classifier(stopped, Context())
    assert same(*networks(tmp_path / "run", tmp_path / "stopped"))


def test_a_finished_classifier_is_not_replaced_unasked_though_its_checkpoint_is_gone(options, tmp_path):
    options = dataclasses.replace(options, epochs=1)
    train_classifier(options, Context())
    (tmp_path / "run/checkpoint.pt").unlink()
    before = (tmp_path / "run/classifier.pt").read_bytes()
    train_classifier(options, Context())
    with pytest.raises(UserError, match="was made by another request .lr: .* there, 0.01 asked.*--overwrite"):
        train_classifier(dataclasses.replace(options, lr=0.01), Context())
    assert (tmp_path / "run/classifier.pt").read_bytes() == before


def test_a_stop_is_heard_within_an_epoch_of_many_generated_galaxies(options, gan, tmp_path):
    options = dataclasses.replace(options, augment="gan", gan=str(gan), synthetic_share=0.9)
    stop = StopAfter(1)
    with pytest.raises(Interrupted):
        train_classifier(options, Context(stop=stop))
    assert stop.looks == -1  # blocks of 64 galaxies were asked about, each


def test_the_learning_rate_falls_to_nothing_along_a_line(options, tmp_path):
    train_classifier(options, Context())
    learning = read_json(tmp_path / "run/metrics.json")["learning"]
    assert [entry["lr"] for entry in learning] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


@pytest.mark.parametrize(
    "losses, patience, shown, best",
    [([0.5, 0.4, 0.45, 0.42, 0.3, 0.1], 2, 4, 1), ([0.5, 0.4, 0.45, 0.42, 0.3, 0.1], 3, 6, 5),
     ([0.5, 0.4, 0.7, 0.8, 0.8, 0.8], 0, 6, 1)],
)  # fmt: skip
def test_training_ends_where_validation_gets_no_better_with_the_best_weights(
    trainer, tmp_path, monkeypatch, losses, patience, shown, best
):
    one = next(name for name, values in trainer.network.state_dict().items() if values.numel() > 100)

    def epoch(number):
        with torch.no_grad():
            trainer.averaged.state_dict()[one].fill_(number)
        trainer.history.append({"epoch": number, "train_loss": 1.0, "val_loss": losses[number], "lr": 1e-3})

    monkeypatch.setattr(trainer, "_epoch", epoch)
    trainer.config = dataclasses.replace(trainer.config, epochs=6, patience=patience)
    trainer.fit(tmp_path, Context())
    assert len(trainer.history) == shown
    assert float(trainer.network.state_dict()[one].mean()) == best


def test_what_is_judged_is_an_average_over_a_tenth_of_the_steps(trainer, monkeypatch):
    monkeypatch.setattr("galaxycgan.training.classifier_loop.LONGEST_AVERAGE_EPOCHS", 2)
    trainer.config = dataclasses.replace(trainer.config, batch=2)
    expected, weights = None, []
    for number in range(2):
        step = trainer._average

        def look(step=step):
            step()
            weights.append(flat(trainer.network))

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "_average", look)
            trainer._epoch(number)
    for steps, each in enumerate(weights, 1):
        span = max(1, min(steps / 10, 2 * trainer.steps_per_epoch))
        expected = each if expected is None else expected + (each - expected) / span
    assert len(weights) == 2 * trainer.steps_per_epoch > 20
    averaged = flat(trainer.averaged)
    torch.testing.assert_close(averaged, expected, rtol=1e-4, atol=1e-6)
    assert not torch.equal(averaged, weights[-1])


def test_few_real_galaxies_get_more_generated_ones_each_than_many(options, trainer):
    trainer.config, trainer.synthetic = dataclasses.replace(options, synthetic_share=0.0), True
    shown = {}
    for n in (10, 140, 400, 600, 50_000):
        trainer.splits = [Split(torch.zeros(n, 1, 1, 1), torch.zeros(n), np.arange(n), np.arange(n))]
        shown[n] = trainer.n_synthetic
    assert shown == {10: 90, 140: 1200, 400: 1600, 600: 2000, 50_000: 2000}


def test_epochs_are_fewer_where_they_are_long(options, trainer):
    asked = []
    for n in (100, 2000, 100_000):
        trainer.config = dataclasses.replace(options, epochs=0)
        trainer.splits = [Split(torch.zeros(n, 1, 1, 1), torch.zeros(n), np.arange(n), np.arange(n))]
        asked.append(trainer.epochs)
    assert asked == [150, 90, 40]
    # Generated galaxies are new in each epoch: there is more to learn.
    trainer.config, trainer.synthetic = dataclasses.replace(options, synthetic_share=0.5, epochs=0), True
    trainer.splits = [Split(torch.zeros(2000, 1, 1, 1), torch.zeros(2000), np.arange(2000), np.arange(2000))]
    assert trainer.epochs == 70


def test_a_finished_run_is_judged_anew_where_another_survey_or_purity_is_asked_for(options, tmp_path, other_store):
    train_classifier(options, Context())
    before = networks(tmp_path / "run")[0]
    train_classifier(dataclasses.replace(options, test=str(other_store), purity=0.5), Context())
    results = read_json(tmp_path / "run/metrics.json")
    assert results["survey"]["n"] == 58 and "purity" in results["calibration"]["rule"] and results["epochs"] == 4
    assert same(before, networks(tmp_path / "run")[0])


@pytest.mark.parametrize("share, shown", [(0.5, 2.0), (0.2, 1.25), (1.0, 1.0)])
def test_generated_galaxies_make_up_their_share_of_an_epoch(options, gan, survey_store, share, shown):
    with GalaxyStore(options.store) as store:
        splits = read_splits(store, TARGET)
        synthetic = SyntheticImages(gan, store, TARGET, 0, CPU)
    trainer = ClassifierTrainer(
        dataclasses.replace(options, augment="gan", synthetic_share=share), splits, synthetic, np.ones(3), CPU, {}
    )
    images, wanted = trainer.training_set(0)
    n = len(splits[0].images)
    assert len(images) == len(wanted) == pytest.approx(shown * n, abs=1)
    assert torch.equal(images[torch.arange(n)], splits[0].images) == (share < 1)
    assert 0 < wanted[-trainer.n_synthetic :].mean() < 1
    last = torch.tensor([len(images) - 1])
    assert not torch.equal(images[last], trainer.training_set(1)[0][last])  # fresh ones every epoch
    every = torch.arange(len(images))
    assert torch.equal(images[every], trainer.training_set(0)[0][every])  # and the same again for the same epoch


def test_a_classifier_learns_from_real_and_generated_galaxies(options, gan, tmp_path, capsys):
    train_classifier(dataclasses.replace(options, augment="standard+gan", gan=str(gan), epochs=2), Context())
    assert "ROC AUC" in capsys.readouterr().out
    results = read_json(tmp_path / "run/metrics.json")
    assert results["synthetic_per_epoch"] == 9 * results["galaxies"]["training"]


def test_the_filter_leaves_out_the_galaxies_that_obey_least(gan, survey_store, monkeypatch):
    monkeypatch.setattr("galaxycgan.evaluation.metrics.features.STEPS", 5)
    with GalaxyStore(survey_store) as store:
        training = read_splits(store, TARGET)[0]
        plain, sieve = (SyntheticImages(gan, store, TARGET, 0, CPU) for _ in range(2))
        sieve.filter_by(store, training, np.ones(3), 0.5, lambda: None)
    kept, _ = sieve.epoch(0, 32)
    everything, _ = plain.epoch(0, 64)
    places = [int((everything == each).flatten(1).all(1).nonzero()[0, 0]) for each in kept]
    assert len(kept) == 32 and places == sorted(set(places))
    network, variance = sieve.filter[1:]
    names = sieve.painter.conditioning.columns
    assert names == ("photo_z", "log_mass") and (variance > 0).all()
    with torch.no_grad():
        assert network(kept).shape == (32, 2)


def test_the_filter_learns_from_galaxies_that_have_labels_alone(gan, survey_store, monkeypatch):
    monkeypatch.setattr("galaxycgan.evaluation.metrics.features.STEPS", 5)
    with GalaxyStore(survey_store) as store:
        training = read_splits(store, TARGET)[0]
        labels = store.labels(("photo_z", "log_mass"))
        labels[training.rows[:9], 1] = np.nan
        monkeypatch.setattr(store, "labels", lambda names: labels)
        sieve = SyntheticImages(gan, store, TARGET, 0, CPU)
        sieve.filter_by(store, training, np.ones(3), 0.5, lambda: None)
        assert torch.isfinite(sieve.filter[2]).all()
        labels[training.rows[:30]] = np.nan
        with pytest.raises(UserError, match="18 training galaxies have labels of the GAN .photo_z, log_mass.; .* 30"):
            sieve.filter_by(store, training, np.ones(3), 0.5, lambda: None)


def test_a_flag_is_a_target_of_real_and_of_generated_galaxies(options, survey_files, tmp_path):
    survey_files.table["dwarf"] = survey_files.table["log_mass"] < 9.2
    store = str(survey_files.write().convert())
    gan = TrainGan(store=store, run=str(tmp_path / "gan"), labels="photo_z,dwarf", preset="tiny", images=32, batch=16)
    train_gan(gan, Context())
    options = dataclasses.replace(options, store=store, target="dwarf", augment="standard+gan", gan=gan.run, epochs=1)
    train_classifier(options, Context())
    with GalaxyStore(store) as opened:
        images, wanted = SyntheticImages(tmp_path / "gan", opened, "not dwarf", 0, CPU).epoch(0, 64)
    assert len(images) == 64 and 0 < wanted.sum() < 64


def test_a_gan_that_saw_test_galaxies_is_refused_by_their_ids(options, gan, survey_store, other_store, tmp_path):
    with GalaxyStore(survey_store) as store, GalaxyStore(other_store) as other:
        leaked, theirs = store.ids[store.split == 2][0], other.ids[other.split >= 0][3]
    seen = np.load(gan / "trained_on.npy")
    options = dataclasses.replace(options, augment="gan", gan=str(gan), test=str(other_store))
    try:
        for bad, words in ((leaked, "validation or test galaxies"), (theirs, "galaxies of .*store.h5")):
            np.save(gan / "trained_on.npy", np.sort(np.append(seen, bad)))
            with pytest.raises(UserError, match=f"trained on 1 {words} .*{bad}"):
                train_classifier(options, Context())
    finally:
        np.save(gan / "trained_on.npy", seen)
    assert not (tmp_path / "run").exists()


def test_at_a_fraction_the_gan_must_have_learned_from_exactly_its_galaxies(options, gan, survey_store, tmp_path):
    options = dataclasses.replace(options, augment="standard+gan", gan=str(gan), fraction=0.5, epochs=1)
    with GalaxyStore(survey_store) as store:
        ids, split = store.ids, training_subset(store.ids, store.split, 0.5)
    missing = np.setdiff1d(np.load(gan / "trained_on.npy"), ids[split == 0])
    with pytest.raises(UserError, match=f"exactly; {len(missing)} differ .*{missing[0]}"):
        train_classifier(options, Context())
    seen = np.load(gan / "trained_on.npy")
    try:
        np.save(gan / "trained_on.npy", ids[split == 0])
        train_classifier(options, Context())
    finally:
        np.save(gan / "trained_on.npy", seen)
    assert read_json(tmp_path / "run/metrics.json")["galaxies"]["training"] == (split == 0).sum()


def test_galaxies_that_lack_what_the_target_asks_for_are_left_out_and_counted(options, survey_files, tmp_path, capsys):
    with GalaxyStore(survey_files.convert()) as store:
        some = np.isin(survey_files.table["HSC_id"], store.ids[(store.split == 0) & (store.ids % 3 == 0)])
    survey_files.table["sfr"] = np.where(some, np.nan, survey_files.table["photo_z"])
    with GalaxyStore(survey_files.write().convert(overwrite=True)) as store:
        missing = np.isnan(store.column("sfr"))
        assert missing.any()
        for text in ("sfr < 0.4", "not (sfr < 0.4)"):
            split = read_split(store, text, np.flatnonzero(store.split == 0), "training")
            assert not missing[split.rows].any() and split.incomplete == np.count_nonzero(missing & (store.split == 0))
            assert np.array_equal(split.wanted.numpy() == 1, (store.column("sfr")[split.rows] < 0.4) ^ ("not" in text))
    options = dataclasses.replace(options, store=str(store.path), target="sfr < 0.4", epochs=1)
    train_classifier(options, Context())
    assert "more lack a value that the target asks for: left out" in capsys.readouterr().out


def test_a_text_is_a_target_and_is_told_of_mistakes(options, survey_files, tmp_path, capsys):
    z = survey_files.table["photo_z"]
    survey_files.table["kind"] = np.select([z < 0.4, z < 0.9], ["near & dim", "far"], "")
    store = str(survey_files.write().convert())
    train_classifier(dataclasses.replace(options, store=store, target="kind != 'far'", epochs=1), Context())
    page = (tmp_path / "run/report.html").read_text()
    assert '<td class="number">near &amp; dim</td>' in page or '<td class="number">far</td>' in page
    assert "more lack a value that the target asks for: left out" in capsys.readouterr().out
    with GalaxyStore(store) as opened:
        split = read_split(opened, "kind != 'far'", np.arange(opened.n), "all")
        kinds = opened.column("kind")
    assert split.incomplete == (kinds == "").sum() > 0
    assert np.array_equal(split.wanted.numpy() == 1, kinds[split.rows] == "near & dim")


def test_a_lost_result_is_made_again_and_an_old_picture_goes(options, tmp_path, other_store, capsys):
    options, run = dataclasses.replace(options, epochs=1), tmp_path / "run"
    train_classifier(dataclasses.replace(options, test=str(other_store)), Context())
    assert (run / "classifier_survey.png").exists()
    train_classifier(options, Context())
    assert not (run / "classifier_survey.png").exists()
    (run / "predictions.npz").unlink()
    capsys.readouterr()
    train_classifier(dataclasses.replace(options, synthetic_filter=0.3, gan="some"), Context())
    assert (run / "predictions.npz").exists()
    assert "warning: --gan some: --augment standard shows none of its galaxies" in capsys.readouterr().out


def test_learning_curves_are_those_of_the_validation_galaxies(options, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "galaxycgan.evaluation.reports.classifier_report._draw_learning", lambda *found: drawn.append(found)
    )
    train_classifier(dataclasses.replace(options, epochs=2), Context())
    results = read_json(tmp_path / "run/metrics.json")
    _, history, prior = drawn[0]
    assert prior == results["validation"]["log_loss_prior"] != results["test"]["log_loss_prior"]
    assert len(history) == 2


def test_generated_galaxies_are_no_test(options, gan, tmp_path):
    (tmp_path / "r.toml").write_text("[population]\nkind = 'training'\nn = 9\n")
    generate(Generate(gan=str(gan), recipe=str(tmp_path / "r.toml"), out=str(tmp_path / "c")), Context())
    made = str(tmp_path / "c/catalog.h5")
    with pytest.raises(UserError, match="holds synthetic galaxies; --test needs real ones"):
        train_classifier(dataclasses.replace(options, test=made), Context())
    with pytest.raises(UserError, match="holds synthetic galaxies; a classifier's own are real"):
        train_classifier(dataclasses.replace(options, store=made), Context())
    # Their ids are rows of the request, not those of galaxies.
    train_classifier(dataclasses.replace(options, epochs=1), Context())
    state = load_checkpoint(tmp_path / "run/classifier.pt")
    state["learned_from"] = torch.arange(9)
    save_checkpoint(tmp_path / "run/classifier.pt", state)
    classify(Classify(model=options.run, store=made, out=str(tmp_path / "p.fits")), Context())
    assert set(Table.read(tmp_path / "p.fits")["split"]) == {2}


def test_a_survey_that_shares_training_galaxies_is_no_test(options, survey_store, tmp_path):
    with pytest.raises(UserError, match="its galaxies are in the training or validation split .*never saw"):
        train_classifier(dataclasses.replace(options, test=str(survey_store)), Context())
    assert not (tmp_path / "run").exists()


def test_a_fold_is_what_the_classifier_is_tested_on(options, tmp_path, survey_store):
    train_classifier(dataclasses.replace(options, target="log_mass < 9.3", fold=2, folds=3, epochs=1), Context())
    tested = np.load(tmp_path / "run/predictions.npz")["test_ids"]
    with GalaxyStore(survey_store) as store:
        expected = store.ids[training_subset(store.ids, store.split, 1.0, 2, 3) == 2]
    assert np.array_equal(np.sort(tested), np.sort(expected))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"target": "photo_z < 0"}, "of the .* galaxies in the training split 0 fulfil"),
        ({"target": "colour < 1"}, "store.h5: --target 'colour < 1': no column 'colour'; there are"),
        ({"target": "__import__('os').system('true')"}, "is not understood"),
        ({"epochs": -1}, "--epochs -1"),
        ({"lr": -1.0}, "--lr -1.0"),
        ({"augment": "gan", "gan": "nowhere"}, "nowhere: holds no trained generator"),
        ({"augment": "gan", "gan": "pretrained", "fraction": 0.5}, "models/pretrained: with --fraction or --fold"),
        ({"synthetic_share": 1.1}, "--synthetic-share 1.1: must be at least 0 and at most 1"),
        ({"synthetic_filter": 1.0}, "--synthetic-filter 1.0"),
        ({"fraction": 1.5}, "--fraction 1.5: must be above 0 and at most 1"),
        ({"fold": 5}, "--fold 5: of --folds 5 they are 0 to 4"),
        ({"purity": 2.0}, "--purity 2.0"),
        ({"test": "nowhere.h5"}, "nowhere.h5: no such file"),
    ],
)
def test_mistakes_are_told_in_one_line(options, tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        train_classifier(dataclasses.replace(options, **change), Context())
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


COLUMNS = {
    "a": np.array([1.0, 2.0, 3.0, np.nan]),
    "flag": np.array([True, False, True, True]),
    "some": np.ma.MaskedArray([True, False, False, True], [False, False, True, True]),
    "text": np.array(["x", "", "y", "x"]),
}


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
        ("some", [1, 0, 0, 0]),
        ("text != 'x'", [0, 0, 1, 0]),
        ("not text == 'x'", [0, 1, 1, 0]),
        ("not some", [0, 1, 0, 0]),
        ("some == 0", [0, 1, 0, 0]),
        ("some != 1", [0, 1, 0, 0]),
        ("some < 0.5", [0, 1, 0, 0]),
        ("some or flag", [1, 0, 1, 1]),
        ("not some or a == 3", [0, 1, 1, 0]),
    ],
)
def test_expressions(text, expected):
    assert evaluate(text, COLUMNS.__getitem__, list(COLUMNS), 4).tolist() == [bool(v) for v in expected]


def test_a_flag_that_is_missing_is_neither_true_nor_false(survey_files):
    survey_files.table["agn"] = pd.array([True, False, pd.NA] * (len(survey_files.table) // 3 + 1), "boolean")[
        : len(survey_files.table)
    ]
    store = GalaxyStore(survey_files.write().convert())
    missing = np.isnan(store.labels(["agn"])[:, 0])
    assert 0 < missing.sum() < store.n
    assert np.array_equal(incomplete("agn == 0", store.column, store.n), missing)
    for text in ("agn", "not agn", "agn == 0", "agn != 1"):
        assert not evaluate(text, store.column, store.columns, store.n)[missing].any(), text
    with pytest.raises(UserError, match="agn holds .* can't be labels"):
        train_gan(TrainGan(store=str(store.path), run=str(store.path.parent / "run"), labels="agn"), Context())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a < 1" + "0" * 400,
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
