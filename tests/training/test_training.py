"""Training resumes to the bit, and refuses what it can't learn from."""

import dataclasses
import errno
import functools
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits
from conftest import StopAfter, assert_same_weights, held_by_another, train_with_stops

from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.config import TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.files.atomic import read_records
from galaxycgan.images.noise_measurement import noise_of
from galaxycgan.models import device
from galaxycgan.models.conditioning import Conditioning
from galaxycgan.models.generator import NetworkShape
from galaxycgan.models.release import load_generator
from galaxycgan.training.adversarial import Settings
from galaxycgan.training.checkpoint import load_checkpoint
from galaxycgan.training.distributed import ALONE
from galaxycgan.training.loop import Loop
from galaxycgan.training.threads import fastest_threads
from galaxycgan.training.train_gan import OBJECTIVES, RECIPES, _prepare, train_gan

CPU = torch.device("cpu")
SMALL = {"preset": "tiny", "images": 160, "batch": 16, "threads": 1, "seed": 4}


@pytest.fixture
def options(survey_store, tmp_path):
    return TrainGan(store=str(survey_store), run=str(tmp_path / "run"), **SMALL)


def test_a_run_stopped_and_resumed_ends_in_the_same_weights(options, tmp_path, capsys):
    train_gan(options, Context())
    stopped = dataclasses.replace(options, run=str(tmp_path / "stopped"))
    train_with_stops(stopped, (3, 2))
    assert "going on at image" in capsys.readouterr().out
    assert_same_weights(tmp_path / "run", tmp_path / "stopped")


def test_a_run_goes_on_in_its_precision_on_a_machine_of_another_kind(options, tmp_path, monkeypatch, capsys):
    train_gan(options, Context())
    stopped = dataclasses.replace(options, run=str(tmp_path / "stopped"))
    with pytest.raises(Interrupted):
        train_gan(stopped, Context(stop=StopAfter(3)))
    here = device.cpu_has_bfloat16()
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: not here)
    train_gan(stopped, Context())
    assert "(as its checkpoint)" in capsys.readouterr().out
    assert_same_weights(tmp_path / "run", tmp_path / "stopped")


@pytest.fixture
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("cores, seconds, fastest", [(8, (8, 4, 6, 1), 2), (6, (8, 5, 4, 2), 6), (2, (8, 9), 1)])
def test_a_training_takes_the_number_of_threads_that_makes_it_fastest(cores, seconds, fastest, threads_as_before):
    tried = []

    class Slow:
        generator = types.SimpleNamespace(shape=NetworkShape.preset("tiny", 1, 32, 1))
        settings = Settings(2, 1e-3, 1.0, 0)

        def step(self, flux, conditions, progress):
            threads = torch.get_num_threads()
            if threads not in tried:
                tried.append(threads)
            time.sleep(0.004 * seconds[tried.index(threads)])

    assert fastest_threads(Slow(), cores, lambda: None) == fastest == torch.get_num_threads()
    # Where more were slower, still more are not tried.
    assert tried == {8: [1, 2, 4], 6: [1, 2, 4, 6], 2: [1, 2]}[cores]


def test_a_run_goes_on_with_the_number_of_threads_that_was_chosen_for_it(
    options, tmp_path, monkeypatch, threads_as_before, capsys
):
    # As many cores as there are or not: the choice is of the first part alone.
    monkeypatch.setattr("galaxycgan.training.train_gan.WORTH_IMAGES", 1)
    monkeypatch.setattr("galaxycgan.training.train_gan.fastest_threads", lambda *_: torch.set_num_threads(1) or 1)
    left_to_us = dataclasses.replace(options, threads=0)
    with pytest.raises(Interrupted):
        train_gan(left_to_us, Context(stop=StopAfter(3)))
    monkeypatch.delattr("galaxycgan.training.train_gan.fastest_threads")
    train_gan(left_to_us, Context())
    assert capsys.readouterr().out.count("cpu, 1 threads") == 2
    train_gan(dataclasses.replace(options, run=str(tmp_path / "one")), Context())
    assert_same_weights(tmp_path / "run", tmp_path / "one")


def test_scales_that_another_processor_rounds_otherwise_are_the_same(options, tmp_path, monkeypatch, capsys):
    with pytest.raises(Interrupted):
        train_gan(options, Context(stop=StopAfter(3)))
    noted = load_checkpoint(tmp_path / "run/checkpoint.pt")["identity"]["conditioning"]
    fit = Conditioning.fit

    def rounded(*arguments, change=1 + 4e-16):
        found = fit(*arguments)
        return dataclasses.replace(found, std=tuple(change * value for value in found.std))

    monkeypatch.setattr(Conditioning, "fit", functools.partial(rounded, change=1.001))
    with pytest.raises(UserError, match="another request .conditioning.std.0: .* there, .* asked") as error:
        train_gan(options, Context())
    assert "mean" not in str(error.value)
    monkeypatch.setattr(Conditioning, "fit", rounded)
    train_gan(options, Context())
    assert load_generator(tmp_path / "run")[1].to_dict() == noted


def test_a_finished_run_is_finished_on_every_machine(options, tmp_path, monkeypatch, capsys):
    train_gan(options, Context())
    path = tmp_path / "run/checkpoint.pt"
    state = load_checkpoint(path)
    state["identity"] |= {"device": "cuda", "precision": "bfloat16"}
    torch.save(state, path)
    train_gan(options, Context())
    assert "done already" in capsys.readouterr().out
    torch.save(state | {"finished": False}, path)
    with pytest.raises(UserError, match="another request .*device: cuda there, cpu asked"):
        train_gan(options, Context())


def test_a_run_killed_and_resumed_ends_in_the_same_weights(options, tmp_path):
    train_gan(options, Context())
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "galaxycgan", "train_gan", "--store", options.store, "--run", str(killed)]
    command += ["--checkpoint-every", "0"] + [f"--{k}={v}" for k, v in SMALL.items()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (killed / "checkpoint.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline, "no checkpoint before the run ended"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "generator.safetensors").exists(), "the run was finished before it could be killed"
    assert 0 < load_checkpoint(killed / "checkpoint.pt")["trainer"]["images"] < options.images
    train_gan(dataclasses.replace(options, run=str(killed)), Context())
    assert_same_weights(tmp_path / "run", killed)
    assert not list(killed.glob(".*part"))


def test_a_finished_run_says_so_and_does_nothing(options, tmp_path, capsys):
    train_gan(options, Context())
    before = (tmp_path / "run/generator.safetensors").stat().st_mtime_ns
    train_gan(options, Context())
    assert "done already" in capsys.readouterr().out
    assert (tmp_path / "run/generator.safetensors").stat().st_mtime_ns == before


def test_other_options_in_the_same_run_are_refused(options):
    train_gan(options, Context())
    with pytest.raises(
        UserError, match="another request .lr: .* there, 0.001 asked.; give another --run, or --overwrite"
    ):
        train_gan(dataclasses.replace(options, lr=1e-3), Context())
    train_gan(dataclasses.replace(options, lr=1e-3, overwrite=True), Context())


def test_a_run_goes_on_by_its_own_recipe_alone_but_stays_finished(options, monkeypatch, capsys):
    with pytest.raises(Interrupted):
        train_gan(options, Context(stop=StopAfter(3)))
    with monkeypatch.context() as later:
        later.setitem(RECIPES, "relativistic", RECIPES["relativistic"] + 1)
        with pytest.raises(UserError, match="another request .recipe: .*--overwrite"):
            train_gan(options, Context())
    train_gan(options, Context())
    monkeypatch.setitem(RECIPES, "relativistic", RECIPES["relativistic"] + 1)
    capsys.readouterr()
    train_gan(options, Context())
    assert "done already" in capsys.readouterr().out


def test_the_run_directory_holds_what_a_user_needs(options, tmp_path, survey_store):
    train_gan(options, Context(created="2026-01-02T03:04:05Z"))
    run = tmp_path / "run"
    generator, conditioning, card = load_generator(run)
    assert card["created"] == "2026-01-02T03:04:05Z" and card["bands"] == ["g", "r", "i"]
    assert conditioning.columns == ("photo_z", "log_mass")
    with GalaxyStore(survey_store) as store:
        train = store.split == 0
        assert np.array_equal(np.load(run / "trained_on.npy"), np.sort(store.ids[train]))
        # transform learned on the training split only
        assert conditioning.mean[1] == pytest.approx(store.column("log_mass")[train].mean())
    records = read_records(run / "metrics.jsonl")
    assert records[-1]["images"] == options.images and np.isfinite(records[-1]["critic_loss"])


def test_a_training_starts_from_the_noise_of_its_images_in_units_of_twice_the_sky_noise(survey_store):
    given = []
    trainer = types.SimpleNamespace(device=CPU, start_from=lambda *each: given.append(each))
    with GalaxyStore(survey_store) as store:
        rows = np.flatnonzero(store.split == 0)
        images = store.images(rows)
        prepared = _prepare(trainer, store, rows, torch.zeros(len(rows), 2), [True, True], None)
    rms, correlation, log_depth, gain = noise_of(images)
    ((flux, _, _, unit, sky, *shape, told_gain),) = given
    assert unit == pytest.approx(2 * rms, rel=1e-6) and sky == pytest.approx([0.5] * 3, rel=1e-6)
    assert all(np.array_equal(*pair) for pair in zip(shape, (correlation, log_depth), strict=True))
    assert told_gain * unit == pytest.approx(gain, rel=1e-6)  # variance over flux has the unit of the flux
    np.testing.assert_allclose(flux.numpy() * unit[:, None, None], images, rtol=1e-5)
    assert torch.equal(prepared.batch(np.arange(len(rows))), flux)


def test_a_trainer_gets_the_options_and_as_much_disturbance_as_few_galaxies_need(options, survey_store, monkeypatch):
    class Enough(Exception):
        pass

    def noted(shape, settings, *others):
        raise Enough(settings)

    monkeypatch.setitem(OBJECTIVES, "relativistic", (noted, OBJECTIVES["relativistic"][1]))
    with pytest.raises(Enough) as caught:
        train_gan(dataclasses.replace(options, lr=2e-4, gamma=0.7, batch=20), Context())
    assert caught.value.args[0] == Settings(batch=20, lr=2e-4, gamma=0.7, seed=4, disturbance=1.0)


def test_raw_pixels_teach_a_gan_and_are_told_to_make_no_catalog(survey_files, tmp_path, capsys):
    store = survey_files.convert(pixels="raw")
    train_gan(TrainGan(store=str(store), run=str(tmp_path / "run"), **SMALL | {"images": 16}), Context())
    assert "holds raw pixels (adu): no catalog can be made" in capsys.readouterr().out


def test_a_category_is_a_label_like_any_other(survey_files, tmp_path, command):
    """Kinds 3 and 7, true and false: from the survey's table to a catalog that asks for all and is selected by them."""
    survey_files.table["kind"] = np.where(survey_files.table["HSC_id"] % 4 < 2, 3, 7)
    survey_files.table["red"] = survey_files.table["HSC_id"] % 3 == 0
    store = survey_files.write().convert()
    run, out = tmp_path / "run", tmp_path / "catalog"
    options = TrainGan(store=str(store), run=str(run), **SMALL, labels="log_mass,kind,red", categories="kind")
    train_gan(options, Context())
    recipe = tmp_path / "box.toml"
    recipe.write_text("[population]\nkind = 'uniform'\nn = 70\n[population.ranges]\nlog_mass = [8.0, 11.0]\n")
    told = command("generate", "--gan", run, "--recipe", recipe, "--out", out, "--threads", 1)
    assert told[0] == 0, told
    with GalaxyStore(out / "catalog.h5") as catalog:
        kind, red = catalog.column("kind"), catalog.column("red")
    assert set(kind) == {3, 7} and kind.dtype == np.int64
    assert set(red) == {True, False} and red.dtype == bool
    with fits.open(out / "catalog.fits") as hdus:
        columns = hdus[1].columns
        assert (columns["kind"].format, columns["red"].format) == ("K", "L")
    chosen = ("--where", "red and kind == 7", "--out", tmp_path / "some.h5")
    told = command("select", out / "catalog.h5", *chosen)
    assert told[0] == 0, told
    with GalaxyStore(tmp_path / "some.h5") as some:
        assert len(some) == (red & (kind == 7)).sum() > 0
    told = command("evaluate", "--real", store, "--gan", run, "--quick", "--out", tmp_path / "judged")
    assert told[0] == 0, told


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": "photo_z,colour"}, "no column 'colour' .*photo_z"),
        ({"labels": ""}, "--labels is empty"),
        ({"batch": 1}, "--batch 1: must be at least 2"),
        ({"preset": "huge"}, "--preset huge: must be one of tiny, base, large$"),
        ({"device": "cuda:77"}, "--device cuda:77"),
        ({"device": "abacus"}, "--device abacus: must be"),
        ({"store": "nowhere.h5"}, "nowhere.h5"),
        ({"labels": "photo_z,ra,HSC_id,r50"}, "no column 'r50'"),
        ({"threads": -3}, "--threads -3"),
        ({"categories": "ra"}, "--categories ra: is none of the --labels photo_z, log_mass"),
        ({"categories": "log_mass", "labels": "log_mass,ra"}, "log_mass holds .*: categories are whole numbers"),
        ({"categories": "COSMOS_id", "labels": "log_mass,COSMOS_id"}, "COSMOS_id has .* categories"),
        ({"labels": "photo_z,ra,photo_z"}, "--labels photo_z,ra,photo_z: photo_z comes twice"),
        ({"seed": 2**64}, "--seed 18446744073709551616: must be at least 0 and below"),
        ({"lr": float("nan")}, "--lr nan"),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_no_run(options, tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        train_gan(dataclasses.replace(options, **change), Context())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run/checkpoint.pt").exists()


def test_a_trained_generator_is_not_thrown_away_with_its_checkpoint_gone(options, tmp_path):
    train_gan(options, Context())
    (tmp_path / "run/checkpoint.pt").unlink()
    with pytest.raises(UserError, match="without its checkpoint.*--overwrite"):
        train_gan(options, Context())
    assert (tmp_path / "run/generator.safetensors").exists()


def test_a_run_that_another_process_trains_is_left_alone(options, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with held_by_another(run / ".lock"), pytest.raises(UserError, match="run: another process trains here"):
        train_gan(dataclasses.replace(options, overwrite=True), Context())
    assert [path.name for path in run.iterdir()] == [".lock"]
    train_gan(options, Context())


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_files_of_something_else_are_not_written_over(options, tmp_path, name):
    run = tmp_path / "run"
    run.mkdir()
    (run / name).write_text('{"mine": 1}\n')
    with pytest.raises(UserError, match=f"holds a {name} that is not of a training.*--overwrite"):
        train_gan(options, Context())
    assert (run / name).read_text() == '{"mine": 1}\n'


@pytest.mark.parametrize("level, side", [(-50, "below"), (1000, "above")])
def test_a_sky_that_nobody_took_off_is_refused(survey_files, options, level, side):
    survey_files.flux = survey_files.flux + level
    store = str(survey_files.write().convert(pixels="raw"))
    with pytest.raises(UserError, match=f"the sky of band g lies .* times its noise {side} 0: take it off"):
        train_gan(dataclasses.replace(options, store=store), Context())
    assert not Path(options.run).exists()


def test_a_full_disk_is_told_in_one_line(options, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(UserError, match="checkpoint.pt: can't be written: No space left on device"):
        train_gan(options, Context())
    assert not list((tmp_path / "run").glob(".*.part"))


def test_a_damaged_checkpoint_is_told_not_executed(options, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoint.pt").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        train_gan(options, Context())
    assert not os.path.exists("pwned")


def test_divergence_stops_with_a_message(options):
    with pytest.raises(UserError, match="diverged"):
        train_gan(dataclasses.replace(options, lr=1e6), Context())


def test_weights_that_are_no_numbers_are_never_saved_though_the_losses_before_were_fine(options, tmp_path):
    with pytest.raises(UserError, match="training diverged at image 16"):
        train_gan(dataclasses.replace(options, lr=1e30, checkpoint_every=0.0), Context())
    assert not (tmp_path / "run/checkpoint.pt").exists()


def test_each_step_shows_the_galaxies_that_come_next_with_their_own_labels(options, tmp_path):
    """Images and labels are the numbers of their galaxies here; a resumed run goes on in the same order."""
    shown, galaxies = [], torch.arange(50.0)
    trainer = types.SimpleNamespace(images=0, device=torch.device("cpu"), team=ALONE)
    images = types.SimpleNamespace(
        batch=lambda index, following: (torch.from_numpy(index), torch.from_numpy(following))
    )

    def step(pair, conditions, share):
        shown.append((*pair, conditions))
        trainer.images += len(conditions)
        return {}

    trainer.step = step
    config = dataclasses.replace(options, batch=8)
    loop = Loop(trainer, images, galaxies, tmp_path, {}, config, None, None)
    for _ in range(12):
        loop._step(0.0)
    assert all(torch.equal(index.float(), conditions) for index, _, conditions in shown)
    assert all(torch.equal(following, index) for (_, following, _), (index, *_) in zip(shown, shown[1:], strict=False))
    order = torch.cat([index for index, *_ in shown])
    assert sorted(order[:50].tolist()) == list(range(50)) and order[50:].tolist() != order[:46].tolist()
    trainer.images = 40
    loop._step(0.0)
    assert torch.equal(shown[-1][0], order[40:48])
