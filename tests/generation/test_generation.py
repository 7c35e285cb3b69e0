"""Synthetic catalogs: every galaxy its own, photometry that holds, recipes that are checked."""

import numpy as np
import pytest
from conftest import held_by_another

from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.config import Generate, TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import UserError
from galaxycgan.generation.generate import generate
from galaxycgan.models import device
from galaxycgan.training.train_gan import train_gan

RECIPE = """
name = "{kind}"
seed = 7
[population]
kind = "{kind}"
"""


@pytest.fixture(scope="module")
def gan(tmp_path_factory, survey_store):
    directory = tmp_path_factory.mktemp("gan")
    train_gan(
        TrainGan(store=str(survey_store), run=str(directory / "run"), preset="tiny", images=64, batch=16), Context()
    )
    return directory / "run"


def test_a_directory_that_another_process_writes_is_left_alone(gan, tmp_path):
    config = Generate(gan=str(gan), recipe=str(recipe(tmp_path)), out=str(tmp_path / "c"))
    (tmp_path / "c").mkdir()
    with (
        held_by_another(tmp_path / "c/.lock"),
        pytest.raises(UserError, match="c: another process makes a catalog here"),
    ):
        generate(config, Context())
    assert [path.name for path in (tmp_path / "c").iterdir()] == [".lock"]
    generate(config, Context())
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["catalog.fits", "catalog.h5"]


def recipe(tmp_path, kind="training", more="n = 70"):
    path = tmp_path / f"{kind}.toml"
    path.write_text(RECIPE.format(kind=kind) + more)
    return path


def make(gan, tmp_path, name="out", **options):
    if "recipe" not in options:
        options["recipe"] = str(recipe(tmp_path))
    generate(
        Generate(gan=str(gan), out=str(tmp_path / name), threads=1, **options), Context(created="2026-01-01T00:00:00Z")
    )
    return GalaxyStore(tmp_path / name / "catalog.h5")


def test_a_galaxy_is_the_same_whatever_the_number_asked_for(gan, tmp_path):
    with make(gan, tmp_path, "few") as few, make(gan, tmp_path, "many", n=150) as many:
        assert np.array_equal(few.images(), many.images(slice(0, 70)))
        for name in few.columns:
            assert np.array_equal(few.column(name), many.column(name)[:70], equal_nan=True), name


def test_another_seed_makes_other_galaxies(gan, tmp_path):
    with make(gan, tmp_path, "a") as a, make(gan, tmp_path, "b", seed=8) as b:
        assert not np.isclose(a.images(), b.images()).all(axis=(1, 2, 3)).any()


def test_the_columns_of_the_design_are_there_and_errors_hold(gan, tmp_path):
    with make(gan, tmp_path, n=640) as catalog:
        assert catalog.synthetic and catalog.id_column == "SYN_id" and np.array_equal(catalog.ids, np.arange(640))
        stems = ("flux", "flux_err", "flux_true", "mag", "mag_true", "sky_rms")
        wanted = {f"{stem}_{band}" for stem in stems for band in "gri"}
        wanted |= {"photo_z", "log_mass", "r50", "q", "pa", "conc", "ood", "ood_flag", "seed"}
        assert wanted <= set(catalog.columns)
        for band in "gri":
            pull = (catalog.column(f"flux_{band}") - catalog.column(f"flux_true_{band}")) / catalog.column(
                f"flux_err_{band}"
            )
            assert 0.88 < pull.std() < 1.12 and abs(pull.mean()) < 0.2
        difference = catalog.images() - catalog.noiseless()
        assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(640 * 500)


@pytest.mark.parametrize("noise", ["model", "sigma:1.5"])
def test_true_fluxes_are_what_noisy_ones_scatter_about(tmp_path, noise):
    """Of trained galaxies, whose neighbours skew the sky: noise moves the median of it."""
    with make("pretrained", tmp_path, n=320, noise=noise) as catalog:
        for band in "gri":
            flux, true, error = (catalog.column(f"{name}_{band}") for name in ("flux", "flux_true", "flux_err"))
            pull = (flux - true) / error
            assert abs(pull.mean()) < 0.25 and 0.85 < pull.std() < 1.2


def test_the_median_under_noise_is_that_of_many_draws():
    from galaxycgan.generation.measurement import median_under_noise

    random = np.random.default_rng(0)
    light = random.gamma(0.3, 2.0, (4, 2, 600)).astype(np.float32)
    sigma = np.array([0.0, 1.5])
    found = median_under_noise(light, np.broadcast_to(sigma, (4, 2)))
    assert np.allclose(found[:, 0], np.median(light[:, 0], axis=1))
    draws = np.median(light[:, 1, None] + 1.5 * random.normal(size=(4, 2000, 600)), axis=2).mean(1)
    assert found[:, 1] == pytest.approx(draws, abs=0.01) and (draws - found[:, 0] > 0.1).all()


def test_no_noise_on_request(gan, tmp_path):
    path = tmp_path / "clean.toml"
    path.write_text('noise = "none"\n' + recipe(tmp_path).read_text())
    with (
        make(gan, tmp_path, "clean", recipe=str(path)) as clean,
        make(gan, tmp_path, "noisy", recipe=str(recipe(tmp_path))) as noisy,
    ):
        assert not clean.has_noiseless
        assert np.array_equal(clean.images(), noisy.noiseless())


def test_grid_and_uniform_recipes_ask_for_what_they_say(gan, tmp_path):
    ranges = "[population.ranges]\nphoto_z = [0.1, 0.3]\nlog_mass = [8.0, 10.0]\n"
    grid = recipe(tmp_path, "grid", "repeat = 2\n" + ranges + "[population.steps]\nphoto_z = 3\nlog_mass = 5\n")
    with make(gan, tmp_path, "grid", recipe=str(grid)) as catalog:
        assert catalog.n == 30 and sorted(set(catalog.column("photo_z").round(6))) == [0.1, 0.2, 0.3]
    uniform = recipe(tmp_path, "uniform", "n = 200\n" + ranges)
    with make(gan, tmp_path, "uniform", recipe=str(uniform)) as catalog:
        mass = catalog.column("log_mass")
        assert mass.min() > 8 and mass.max() < 10 and mass.std() == pytest.approx(2 / np.sqrt(12), rel=0.1)


def test_a_finished_catalog_is_left_alone_and_another_request_is_refused(gan, tmp_path, capsys):
    make(gan, tmp_path).close()
    make(gan, tmp_path).close()
    assert "done already" in capsys.readouterr().out
    with pytest.raises(
        UserError, match=r"catalog.h5: was made by another request \(recipe.seed: \d+ there, 9 asked.*--overwrite"
    ):
        make(gan, tmp_path, seed=9)
    with make(gan, tmp_path, seed=9, overwrite=True) as catalog:
        assert (catalog.column("seed") == 9).all()


def test_an_interrupted_catalog_leaves_nothing_and_comes_out_the_same(gan, tmp_path):
    from galaxycgan.errors import Interrupted

    context = Context(created="2026-01-01T00:00:00Z")
    context.stop.set()
    options = Generate(gan=str(gan), recipe=str(recipe(tmp_path)), out=str(tmp_path / "x"), threads=1)
    with pytest.raises(Interrupted):
        generate(options, context)
    assert not list((tmp_path / "x").glob("*")) and not list((tmp_path / "x").glob(".*"))


@pytest.mark.parametrize(
    "text, message",
    [
        ("[population]\nkind = 'martian'", "kind = one of"),
        ("[population]\nkind = 'training'\nn = 0", "n = 0; must be a whole number"),
        ("[population]\nkind = 'training'\nn = 5\nsmoothing = 2", "smoothing"),
        ("[population]\nkind = 'training'\nn = 5\ncolour = 1", "unknown key colour; there are: n, smoothing"),
        ("sed = 1\n[population]\nkind = 'training'\nn = 5", "unknown key sed"),
        ("noise = 'loud'\n[population]\nkind = 'training'\nn = 5", "noise = 'loud'"),
        ("[population]\nkind = 'uniform'\nn = 5", "ranges"),
        ("[population]\nkind = 'uniform'\nn = 5\nranges = {photo_z = [0.1, 0.2]}", "the GAN takes photo_z, log_mass"),
        ("this is no toml", "not a TOML file"),
        ("[population]\nkind = ['x']", "kind = one of"),
        ("seed = 9223372036854775808\n[population]\nkind = 'training'\nn = 5", "seed = "),
        ("[population]\nkind = 'training'\nn = 5\nsmoothing = 'a'", "smoothing = 'a'"),
        ("[population]\nkind = 'uniform'\nn = 5\nranges = {photo_z = [0.1, inf]}", r"must be \[low, high\]"),
        ("[population]\nkind = 'uniform'\nn = 5\nranges = {photo_z = [-1, 1]}", "legal is 0 < photo_z < 20"),
        ("[population]\nkind = 'grid'\nranges = {photo_z = [1, 2]}\nsteps = {photo_z = 2.5}", "whole number of steps"),
    ],
)
def test_recipes_with_mistakes_are_told_in_one_line(gan, tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        generate(Generate(gan=str(gan), recipe=str(path), out=str(tmp_path / "bad"), threads=1), Context())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "bad").exists()


def test_a_missing_gan_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no trained generator"):
        generate(Generate(gan=str(tmp_path), recipe=str(recipe(tmp_path)), out=str(tmp_path / "o")), Context())


def test_requests_outside_the_training_sample_are_flagged(gan, tmp_path, capsys):
    ranges = "n = 64\n[population.ranges]\nphoto_z = [5.0, 6.0]\nlog_mass = [8.0, 10.0]\n"
    with make(gan, tmp_path, recipe=str(recipe(tmp_path, "uniform", ranges))) as catalog:
        assert catalog.column("ood_flag").all()
    assert "64 of 64 galaxies lie outside" in capsys.readouterr().out


def test_a_crash_between_the_two_files_is_mended(gan, tmp_path):
    from galaxycgan.catalogs.export.read import read_catalog

    make(gan, tmp_path, "other", seed=9).close()
    make(gan, tmp_path).close()
    (tmp_path / "other/catalog.fits").replace(tmp_path / "out/catalog.fits")
    make(gan, tmp_path).close()
    assert set(read_catalog(tmp_path / "out/catalog.fits")["seed"]) == {7}


@pytest.mark.parametrize("number", [5, 69])
@pytest.mark.parametrize("kind", ["h5", "fits"])
def test_a_galaxy_made_again_from_its_row_is_the_same_to_the_last_bit(gan, tmp_path, command, number, kind):
    from galaxycgan.catalogs.export.read import read_catalog, read_fits_images

    with make(gan, tmp_path, noise="sigma:3") as catalog:
        out = tmp_path / "one.fits"
        words = ["regenerate", tmp_path / f"out/catalog.{kind}", "--id", number, "--gan", gan, "--out", out]
        code, said, err = command(*words)
        assert code == 0 and "to the last bit" in said, err
        assert np.array_equal(read_fits_images(out)[0], catalog.images([number])[0])
        assert np.array_equal(read_fits_images(out, name="NOISELESS")[0], catalog.noiseless([number])[0])
        assert read_catalog(out)["SYN_id"][0] == number


def test_a_galaxy_is_made_again_in_its_catalogs_precision(gan, tmp_path, command, monkeypatch):
    make(gan, tmp_path).close()
    here = device.cpu_has_bfloat16()
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: not here)
    words = ["regenerate", tmp_path / "out/catalog.h5", "--id", 5, "--gan", gan, "--out", tmp_path / "one.fits"]
    code, said, err = command(*words)
    assert code == 0 and "to the last bit" in said, err


def test_a_galaxy_of_a_selection_or_of_a_bare_table_is_made_again_too(gan, tmp_path, command):
    make(gan, tmp_path, images="none").close()
    few = tmp_path / "few.h5"
    make(gan, tmp_path, "full").close()
    assert command("select", tmp_path / "full/catalog.h5", "--where", "SYN_id > 60", "--out", few)[0] == 0
    for path, what in ((tmp_path / "out/catalog.h5", "fluxes"), (few, "images")):
        code, said, err = command("regenerate", path, "--id", 65, "--gan", gan, "--out", tmp_path / f"{what}.fits")
        assert code == 0 and f"the catalog's {what} to the last bit" in said, err


def test_galaxies_that_cannot_be_made_again_are_told_in_one_line(gan, tmp_path, command, survey_store):
    make(gan, tmp_path).close()
    catalog, other = tmp_path / "out/catalog.h5", tmp_path / "other"
    other.mkdir()
    for path in gan.glob("generator.*"):
        (other / path.name).write_bytes(path.read_bytes())
    weights = bytearray((other / "generator.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "generator.safetensors").write_bytes(weights)
    for words, message in (
        ([catalog, "--id", 99, "--gan", gan], "1 ids are not in the store: 99"),
        ([catalog, "--gan", gan], "--id -1: must be at least 0"),
        ([catalog, "--id", 1, "--gan", other], "its generator has SHA-256"),
        ([survey_store, "--id", 1, "--gan", gan], "holds real galaxies"),
        ([catalog, "--id", 1, "--gan", gan, "--out", tmp_path / "x.png"], "the suffix decides the format"),
    ):
        code, _, err = command("regenerate", "--out", tmp_path / "x.fits", *words)
        assert code == 2 and message in err and err.count("\n") == 1, err
    assert not (tmp_path / "x.fits").exists()


def test_own_depth_has_that_depth_with_the_correlation_of_the_survey_and_true_errors(gan, tmp_path):
    from galaxycgan.images.photometry import noise_autocorrelation

    with make(gan, tmp_path, "own", n=640, noise="sigma:2,4,8") as own, make(gan, tmp_path, "model", n=640) as model:
        noise = own.images() - own.noiseless()
        assert noise.std(axis=(0, 2, 3)) == pytest.approx([2, 4, 8], rel=0.01)
        theirs = noise_autocorrelation(model.images() - model.noiseless())
        np.testing.assert_allclose(noise_autocorrelation(noise), theirs, atol=0.02)
        assert np.array_equal(own.noiseless(), model.noiseless())
        for band in "gri":
            pull = (own.column(f"flux_{band}") - own.column(f"flux_true_{band}")) / own.column(f"flux_err_{band}")
            assert 0.9 < pull.std() < 1.1


@pytest.mark.parametrize("noise", ["model", "sigma:4"])
def test_pulls_on_empty_sky_have_the_width_that_the_errors_promise(gan, noise):
    import torch

    from galaxycgan.generation.request import measure_of
    from galaxycgan.images.photometry import measure
    from galaxycgan.models.painter import Painter
    from galaxycgan.models.profile import COMPONENTS

    painter = Painter(gan, torch.device("cpu"))
    with torch.no_grad():  # no galaxy: the last layer paints nothing
        for parameter in painter.generator.paint.parameters():
            parameter.zero_()
        describe = painter.generator.profile.describe
        describe.weight.zero_()
        describe.bias.view(COMPONENTS, -1)[:, 5:] = -200.0  # no light, in any band
        painter.generator.neighbours.peak.fill_(-np.inf)
    labels = np.tile([[0.3, 9.0]], (1920, 1))
    pulls = []
    for first in range(0, len(labels), 64):
        sigma = None if noise == "model" else np.full(3, 4.0)
        block = painter.paint_block(labels[first : first + 64], 3, first, True, sigma)
        assert abs(block.noiseless).max() == 0
        pulls.append(measure(block.images, "gri")["flux"] / measure_of(painter).errors(block.sigma))
    assert (np.abs(np.std(np.concatenate(pulls), axis=0) - 1) < 0.1).all()


@pytest.mark.parametrize(
    "images, datasets",
    [("both", ("noisy", "clean")), ("noisy", ("noisy",)), ("noiseless", ("clean",)), ("none", ())],
)
def test_images_are_kept_as_asked_and_the_table_is_the_same(gan, tmp_path, images, datasets):
    from galaxycgan.catalogs.check.fits_integrity import fits_problems
    from galaxycgan.catalogs.check.info import summary
    from galaxycgan.catalogs.export.export import write_fits
    from galaxycgan.catalogs.export.read import read_catalog, read_fits_images
    from galaxycgan.catalogs.store.integrity import store_problems

    with make(gan, tmp_path, "all") as full, make(gan, tmp_path, "some", images=images) as some:
        kinds = {"noisy": full.images(), "clean": full.noiseless()}
        for name in full.columns:
            assert np.array_equal(full.column(name), some.column(name), equal_nan=True), name
        assert some.n == 70 and some.has_noiseless == (len(datasets) == 2) and some.size == (50 if datasets else 0)
        for kind, read, name in zip(datasets, (some.images, some.noiseless), ("IMAGES", "NOISELESS"), strict=False):
            assert np.array_equal(read(), kinds[kind])
            assert np.array_equal(read_fits_images(tmp_path / "some/catalog.fits", name=name), kinds[kind])
        assert store_problems(some.path) == fits_problems(tmp_path / "some/catalog.fits") == []
        assert len(read_catalog(tmp_path / "some/catalog.fits")) == 70
        if not datasets:
            with pytest.raises(UserError, match="a table without images; leave out --stamps"):
                write_fits(some.path, tmp_path / "stamps.fits", images="stamps")
        assert ("50x50 pixels" if datasets else "images   none, the table alone") in summary(some)


def test_strict_refuses_labels_that_the_gan_has_not_seen_and_names_the_first(gan, tmp_path):
    ranges = "n = 64\n[population.ranges]\nphoto_z = [5.0, 6.0]\nlog_mass = [8.0, 10.0]\n"
    with pytest.raises(UserError, match=r"64 of 64 galaxies lie outside .* \(row 0: photo_z 5.*; narrow its ranges"):
        make(gan, tmp_path, recipe=str(recipe(tmp_path, "uniform", ranges)), strict=True)
    assert not (tmp_path / "out").exists()


def test_images_in_files_of_their_own_are_found_through_the_table(gan, tmp_path):
    from astropy.io import fits

    from galaxycgan.catalogs.check.fits_integrity import fits_problems
    from galaxycgan.catalogs.export.export import image_file
    from galaxycgan.catalogs.export.read import read_catalog, read_fits_images

    with make(gan, tmp_path, images_per_file=32) as catalog:
        main = tmp_path / "out/catalog.fits"
        table = read_catalog(main)
        assert [hdu[1] for hdu in fits.info(main, output=False)] == ["PRIMARY", "CATALOG"]
        for row in (0, 31, 32, 69):
            path = image_file(main, table["image_file"][row])
            plane = table["image_plane"][row] - 1
            assert np.array_equal(read_fits_images(path, [plane])[0], catalog.images([row])[0])
            assert np.array_equal(read_fits_images(path, [plane], "NOISELESS")[0], catalog.noiseless([row])[0])
            assert fits.getdata(path, "IDS")["SYN_id"][plane] == row
            assert fits_problems(path) == []
        assert not image_file(main, 4).exists()


def test_verify_looks_into_the_image_files_of_a_catalog(gan, tmp_path, command):
    from galaxycgan.catalogs.check.fits_integrity import fits_problems
    from galaxycgan.catalogs.export.export import image_file

    make(gan, tmp_path, images_per_file=32, n=70).close()
    main = tmp_path / "out/catalog.fits"
    first, second, third = (image_file(main, number) for number in (1, 2, 3))
    assert fits_problems(main) == [] and command("verify", main)[0] == 0
    whole = first.read_bytes()
    changed = bytearray(whole)
    changed[len(changed) // 4] ^= 1
    first.write_bytes(changed)
    assert fits_problems(main) == ["catalog-images-1.fits: IMAGES: wrong DATASUM (data changed)"]
    first.write_bytes(second.read_bytes())
    assert fits_problems(main) == ["catalog-images-1.fits: its IDS are not those of its rows in CATALOG"]
    first.write_bytes(whole)
    third.unlink()
    code, _, err = command("verify", main)
    assert code == 2 and err.endswith("catalog.fits: catalog-images-3.fits: no such file\n")


@pytest.mark.parametrize(
    "noise, message", [("loud", "must be model, none, sigma"), ("sigma:1,2", "2 values for 3 bands")]
)
def test_impossible_noise_is_told(gan, tmp_path, noise, message):
    with pytest.raises(UserError, match=message):
        make(gan, tmp_path, noise=noise)


def test_files_of_images_that_nobody_wants_are_refused(gan, tmp_path):
    with pytest.raises(UserError, match="--images-per-file 10: there are no images with --images none"):
        make(gan, tmp_path, images="none", images_per_file=10)
