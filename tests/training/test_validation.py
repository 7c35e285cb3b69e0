"""What a training run shows of itself while it goes on, and which of its generators it releases."""

import dataclasses
import json
import types

import numpy as np
import pytest
import torch
from conftest import StopAfter
from safetensors.torch import load_file

from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.config import TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.files.atomic import append_record, keep_records, read_records
from galaxycgan.models.generator import Generator, NetworkShape
from galaxycgan.models.photometer import Photometer
from galaxycgan.training import loop, train_gan, validation
from galaxycgan.training.validation import Validation


@pytest.fixture
def options(survey_store, tmp_path):
    return TrainGan(
        store=str(survey_store), run=str(tmp_path / "run"), preset="tiny", images=320, batch=16, threads=1, seed=4
    )


@pytest.fixture
def scored(monkeypatch):
    """Let a look at the generator return scripted scores by image number, and a record be made at each step."""
    scores = {}

    def look(generator, images):
        energy, w1 = np.broadcast_to(scores.get(images, 1.0), 2).tolist()
        return {"validation": energy, "validation_w1": w1}

    monkeypatch.setattr(loop, "RECORD_EVERY_IMAGES", 16)
    look.curves = lambda: None
    monkeypatch.setattr(train_gan.ValidationTicks, "of", lambda *given: look)
    return scores


def released(run):
    return load_file(run / "generator.safetensors"), json.loads((run / "generator.json").read_text())["training"]


def test_the_generator_that_the_validation_liked_best_is_released(options, tmp_path, scored):
    scored.update({64: 0.1, 240: 0.4, 320: 0.5})  # the first lies in the half in which pictures still grow
    train_gan.train_gan(options, Context())
    weights, training = released(tmp_path / "run")
    assert training["released_at_image"] == 240 and training["images_shown"] == 320
    scored[240] = 0.9
    train_gan.train_gan(dataclasses.replace(options, run=str(tmp_path / "last")), Context())
    last, training = released(tmp_path / "last")
    assert training["released_at_image"] == 320
    assert not torch.equal(weights["paint.weight"], last["paint.weight"])


def test_labels_and_distributions_choose_it_together(options, tmp_path, scored):
    scored.update({240: (0.90, 0.3), 256: (0.91, 0.2), 320: (1.0, 0.15)})
    train_gan.train_gan(options, Context())
    assert released(tmp_path / "run")[1]["released_at_image"] == 256


def test_of_scores_that_are_alike_the_latest_counts_but_they_do_not_wander(options, tmp_path, scored):
    scored.update({224: (0.5, 0.5), 240: (0.502, 0.502), 256: (0.504, 0.504), 320: (0.506, 0.506)})
    train_gan.train_gan(options, Context())
    assert released(tmp_path / "run")[1]["released_at_image"] == 240


def test_a_generator_that_makes_nothing_real_any_more_ends_its_run(options, tmp_path, monkeypatch):
    """A network at too high a rate has finite losses for ever."""
    scores = dict.fromkeys((64, 160, 240, 256), 6.0)  # a score that comes back is none

    def look(generator, images):
        return {"validation": scores.get(images, 1.0), "validation_blind": 1.2, "validation_w1": 1.0}

    monkeypatch.setattr(loop, "RECORD_EVERY_IMAGES", 16)
    monkeypatch.setattr(loop, "LOST_IMAGES", 100)
    look.curves = lambda: None
    monkeypatch.setattr(train_gan.ValidationTicks, "of", lambda *given: look)
    with pytest.raises(UserError, match="diverged at image 272; try a smaller --lr"):
        train_gan.train_gan(options, Context())
    assert not (tmp_path / "run/generator.safetensors").exists()
    train_gan.train_gan(dataclasses.replace(options, objective="predictor", overwrite=True), Context())


def test_lost_ticks_are_counted_through_a_stop_and_a_lost_generator_is_told(options, tmp_path, monkeypatch, capsys):
    def look(generator, images):
        return {"validation": 6.0 if images > since[0] else 1.0, "validation_blind": 1.2, "validation_w1": 1.0}

    look.curves = lambda: None
    monkeypatch.setattr(loop, "RECORD_EVERY_IMAGES", 16)
    monkeypatch.setattr(train_gan.ValidationTicks, "of", lambda *given: look)
    since = [0]
    for since[0], told in ((200, False), (0, True)):  # of the first the one that is released is from before
        train_gan.train_gan(dataclasses.replace(options, overwrite=True), Context())
        assert ("far worse than real ones of other labels" in capsys.readouterr().out) == told
    monkeypatch.setattr(loop, "LOST_IMAGES", 200)
    stopped = dataclasses.replace(options, run=str(tmp_path / "stopped"))
    with pytest.raises(Interrupted):
        train_gan.train_gan(stopped, Context(stop=StopAfter(13)))
    with pytest.raises(UserError, match="diverged at image 240; the checkpoint before it is kept"):
        train_gan.train_gan(stopped, Context())


def test_a_resumed_run_remembers_the_best(options, tmp_path, scored):
    scored[208] = 0.2
    train_gan.train_gan(options, Context())
    stopped = dataclasses.replace(options, run=str(tmp_path / "stopped"))
    with pytest.raises(Interrupted):
        train_gan.train_gan(stopped, Context(stop=StopAfter(15)))
    del scored[208]
    train_gan.train_gan(stopped, Context())
    one, other = released(tmp_path / "run"), released(tmp_path / "stopped")
    assert one[1]["released_at_image"] == other[1]["released_at_image"] == 208
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])


def test_a_run_leaves_a_grid_of_samples_at_every_tick_and_its_curves(options, tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib.image")
    monkeypatch.setattr(loop, "RECORD_EVERY_IMAGES", 160)
    drawn = []
    draw = validation.curves.training_curves
    monkeypatch.setattr(
        validation.curves, "training_curves", lambda path, records: drawn.append(len(records)) or draw(path, records)
    )
    train_gan.train_gan(options, Context())
    assert drawn == [1, 2]  # the last one, too
    pictures = sorted((tmp_path / "run/samples").glob("*.png"))
    assert [picture.name for picture in pictures] == ["00000160.png", "00000320.png"]
    picture = matplotlib.imread(pictures[-1])
    assert picture.shape[:2] == (5 * 100, 12 * 100) and picture[:100].std() > 0.01  # a row of real ones, four generated
    assert (tmp_path / "run/training.png").stat().st_size > 0
    assert len(read_records(tmp_path / "run/metrics.jsonl")) == 2


def test_it_looks_at_validation_galaxies_with_all_labels_and_at_no_others(tmp_path):
    n = 400
    store = types.SimpleNamespace(
        split=np.arange(n) % 10 - 1,
        bands=("i",),
        labels=lambda columns: np.arange(n, dtype=float)[:, None],
        images=lambda rows: np.full((len(rows), 1, 2, 2), np.asarray(rows, np.float32)[:, None, None, None]),
    )
    conditioning = types.SimpleNamespace(
        columns=("row",), legal=lambda labels: labels[:, 0] != 2, standardise=lambda labels: labels.astype(np.float32)
    )
    generator = types.SimpleNamespace(flux_unit_njy=torch.ones(1))
    trainer = types.SimpleNamespace(
        generator=generator, device=torch.device("cpu"), dtype=torch.float32, photometer=lambda flux: flux.flatten(1)
    )
    found = validation.ValidationTicks.of(store, conditioning, trainer, tmp_path)
    rows = found.validation.flux[:, 0, 0, 0].tolist()
    assert rows == found.validation.conditions[:, 0].tolist() == [k for k in range(n) if k % 10 == 2 and k != 2]
    assert set(found.shown.flux[:, 0, 0, 0].tolist()) <= set(rows)


def test_each_galaxy_that_is_drawn_for_a_score_is_another_and_the_same_at_each_tick():
    class Plain:
        shape = types.SimpleNamespace(latent_size=4, white_shape=(1, 2, 2))

        def __call__(self, latent, conditions):
            return latent.view(-1, 1, 2, 2), None

        def observe(self, noiseless, depth, white):
            return torch.cat([noiseless, white], 1)

    flux, labels = torch.zeros(100, 1, 2, 2), torch.zeros(100, 1)
    looked = Validation(flux, labels, lambda flux: flux.flatten(1), torch.ones(1, 1, 1), ("i",), torch.float32)
    draws = torch.cat([looked.draw(Plain(), k) for k in range(validation.DRAWS)])
    for part in (draws[:, 0], draws[:, 1]):
        assert len(part.flatten(1).unique(dim=0)) == 100 * validation.DRAWS
    assert torch.equal(looked.draw(Plain(), 1), draws[100:200])


def test_the_score_sees_what_is_wrong_with_a_generator():
    torch.manual_seed(0)
    shape = NetworkShape.preset("tiny", 3, 50, 2)
    right = Generator(shape).eval()
    labels = torch.randn(200, 2)
    with torch.no_grad():
        flux, depth = right(torch.randn(200, shape.latent_size), labels)
        real = right.observe(flux, depth, torch.randn(200, *shape.white_shape))
    photometer = Photometer(3, 50)
    photometer.standardise_on(real)
    score = Validation(real, labels, photometer, torch.ones(3, 1, 1), ("g", "r", "i"), torch.float32)
    best = score(right)
    assert best == score(right) and np.isfinite(list(best.values())).all()
    with torch.no_grad():
        right.noise.log_sky += 0.2
    noisier = score(right)
    assert noisier["validation"] > best["validation"] and noisier["validation_w1"] > best["validation_w1"]


def test_a_validation_galaxy_that_lacks_a_label_is_not_compared(survey_files, tmp_path):
    """Labels beside redshift and mass are nobody's promise: some validation galaxies have none, or an unknown kind."""
    with GalaxyStore(survey_files.convert()) as store:
        held = np.isin(survey_files.table["HSC_id"], store.ids[store.split == 1])
    survey_files.table["sfr"] = np.where(held & (np.arange(len(held)) % 2 == 0), np.nan, np.arange(len(held)))
    survey_files.table["kind"] = np.where(held, 1 + np.arange(len(held)) % 2, 1 + 2 * (np.arange(len(held)) % 2))
    store = survey_files.write().convert(overwrite=True)
    options = TrainGan(
        store=str(store), run=str(tmp_path / "run"), preset="tiny", images=32, batch=16, threads=1,
        labels="log_mass,sfr,kind", categories="kind",
    )  # fmt: skip
    train_gan.train_gan(options, Context())
    assert (tmp_path / "run/generator.safetensors").exists()


def test_a_line_of_a_log_that_was_cut_short_spoils_no_other(tmp_path):
    log = tmp_path / "log.jsonl"
    for number in (1, 2):
        append_record(log, {"images": number})
    log.write_bytes(log.read_bytes()[:-7])
    for number in (3, 4):
        append_record(log, {"images": number})
    assert [record["images"] for record in read_records(log)] == [1, 3, 4]
    keep_records(log, "images", 3)
    assert log.read_text() == '{"images": 1}\n{"images": 3}\n'


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_property_that_real_galaxies_do_not_show_leaves_the_others_to_choose():
    shape, random = NetworkShape.preset("tiny", 2, 32, 2), torch.Generator().manual_seed(3)
    real = torch.zeros(20, 2, 32, 32)
    real[:, :, 12:20, 12:20] = 5 + torch.rand(20, 2, 8, 8, generator=random)  # on a sky without noise
    photometer = Photometer(2, 32)
    photometer.standardise_on(real)
    score = Validation(real, torch.randn(20, 2), photometer, torch.ones(2, 1, 1), ("g", "i"), torch.float32)
    with torch.no_grad():
        assert np.isfinite(list(score(Generator(shape)).values())).all()
