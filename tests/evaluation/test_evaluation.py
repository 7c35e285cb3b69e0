"""Metrics sit at their floor for like sets, and the right one leaves it for spoiled ones."""

import dataclasses
import re
import shutil
import types

import numpy as np
import pytest
import torch
from astropy.io import fits

from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.catalogs.store.training_subset import training_subset
from galaxycgan.config import Evaluate, Generate, TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import UserError
from galaxycgan.evaluation import evaluate as stage
from galaxycgan.evaluation.comparison_sets import Samples
from galaxycgan.evaluation.evaluate import evaluate
from galaxycgan.evaluation.figures import galaxy_pictures
from galaxycgan.evaluation.metrics import distances, features, goals
from galaxycgan.evaluation.metrics.judge import Galaxies, Judgement, Sets, _some
from galaxycgan.evaluation.metrics.label_response import responses
from galaxycgan.evaluation.metrics.quick import QuickMetrics, quick_metrics
from galaxycgan.evaluation.subject import GeneratorSubject
from galaxycgan.files.atomic import read_json
from galaxycgan.generation.generate import generate
from galaxycgan.images.photometry import measure
from galaxycgan.models.conditioning import Conditioning
from galaxycgan.models.release import CARD, TRAINED_ON
from galaxycgan.training.train_gan import train_gan

BANDS = ("g", "r", "i")


def galaxies(n, seed, brighter=1.0, noise=2.0, blur=1.0, labels=None):
    """Round galaxies of random size and flux on white noise: [n, 3, 50, 50] and labels [n, 2]."""
    random = np.random.default_rng(seed)
    drawn = np.column_stack([random.uniform(0.1, 0.5, n), random.uniform(8, 10, n)])
    labels = drawn if labels is None else labels
    flux = 500 * 10 ** (0.5 * (labels[:, 1] - 9)) * brighter
    sigma = blur * random.uniform(1.5, 3, n)[:, None, None]
    y, x = np.indices((50, 50)) - 24.5
    profile = np.exp(-0.5 * (x**2 + y**2) / sigma**2) / (2 * np.pi * sigma**2)
    images = (flux[:, None, None] * profile)[:, None] * np.array([0.5, 0.8, 1.0])[:, None, None]
    return (images + random.normal(0, noise, images.shape)).astype(np.float32), labels


def table(*arguments, **options):
    return distances.properties(galaxies(*arguments, **options)[0], BANDS, softening_njy=50.0)


def test_like_sets_are_at_the_floor_and_equal_ones_at_zero():
    real = table(500, 1)
    assert distances.w1_table(real, real)["mean"] == 0
    assert distances.w1_table(real, table(500, 2))["mean"] < 0.12


@pytest.mark.parametrize(
    "spoil, name", [({"brighter": 1.5}, "i"), ({"noise": 2.6}, "noise"), ({"blur": 1.3}, "log r50")]
)
def test_the_right_property_leaves_the_floor(spoil, name):
    real = table(500, 1)
    floor, spoiled = distances.w1_table(real, table(500, 2)), distances.w1_table(real, table(500, 2, **spoil))
    assert spoiled[name] > 3 * floor[name] and spoiled[name] > 0.2


def test_conditional_distance_sees_shuffled_labels_that_the_plain_one_misses():
    real, labels = galaxies(600, 1)
    a = distances.properties(real, BANDS, 50.0)
    shuffled = {name: values[::-1] for name, values in a.items()}
    assert distances.w1_table(a, shuffled)["mean"] == pytest.approx(0, abs=1e-12)
    assert distances.w1_conditional(a, shuffled, labels) > distances.w1_conditional(a, table(600, 1), labels) + 0.1


def test_conditional_distance_is_made_of_numbers_before_categories():
    kind = np.arange(600) % 2
    images, labels = galaxies(600, 0)
    one_hot = np.column_stack([kind, 1 - kind, labels])
    shuffled = np.column_stack([one_hot[:, :2], labels[np.random.default_rng(1).permutation(600)]])
    found = {}
    for name, numeric in (("told", [False, False, True, True]), ("not told", None)):
        quick = QuickMetrics(images, one_hot, BANDS, numeric)
        found[name] = quick(galaxies(600, 2, labels=shuffled[:, 2:])[0], one_hot)["w1_conditional"]
    assert found["told"] > 0.4 > found["not told"]
    # One label that is a number: cells are of it and of the kinds.
    cells = distances.cell_labels(one_hot[:, :3], [False, False, True])
    assert np.array_equal(cells, one_hot[:, [2, 0]])
    assert len(np.unique(distances.cells_of(cells, distances.cell_edges(cells)))) == 6


def test_galaxies_on_an_empty_sky_have_magnitudes_and_distances():
    """As segmented cutouts, whose sky is exactly 0."""
    images, labels = galaxies(300, 0)
    y, x = np.indices((50, 50)) - 24.5
    cut = np.where(np.hypot(x, y) < 18, images, 0)
    softening = distances.flux_softening(measure(cut, BANDS), 50)
    found = distances.properties(cut, BANDS)
    assert 0 < softening < 5 and not np.isfinite(found["noise"]).any()
    assert all(np.isfinite(values).mean() > 0.8 for name, values in found.items() if name != "noise")
    brighter = quick_metrics(cut, 1.5 * cut, labels, BANDS)
    assert brighter["w1.i"] > 0.3 and np.isnan(brighter["w1.noise"]) and brighter["w1.worst"] > brighter["w1.mean"] > 0
    errors = distances.label_errors(found, labels, [(found, labels)])
    assert np.isfinite(errors[0]).all()


def test_label_rmse_is_one_for_real_and_larger_for_shuffled_labels():
    train, train_labels = galaxies(800, 1)
    (real, labels), (second, theirs) = (galaxies(400, seed) for seed in (2, 3))
    learned = distances.properties(train, BANDS, 50.0)
    tables = [distances.properties(images, BANDS, 50.0) for images in (real, second)]
    sets = [(tables[0], labels), (tables[1], theirs), (tables[1], theirs[::-1])]
    errors, alike, shuffled = distances.label_errors(learned, train_labels, sets)
    assert distances.label_rmse(errors, alike)[1] == pytest.approx(1, abs=0.2)
    assert distances.label_rmse(errors, shuffled)[1] > 2


def test_an_offset_at_equal_labels_is_found_to_a_few_percent():
    real, labels = galaxies(800, 1)
    brighter, theirs = galaxies(800, 2, brighter=1.1)
    a, b = (distances.properties(images, BANDS, 50.0) for images in (real, brighter))
    scaled, their_scaled = ((each - [0.3, 9.0]) / [0.12, 0.6] for each in (labels, theirs))
    assert distances.offsets(a, b, scaled, their_scaled)["i"] == pytest.approx(-2.5 * np.log10(1.1), abs=0.03)
    assert distances.offsets(a, a, scaled, scaled)["i"] == 0


def test_power_and_noise_correlation_tell_white_from_correlated_noise():
    random = np.random.default_rng(0)
    white = random.normal(size=(200, 1, 50, 51)).astype(np.float32)
    smooth = (white[..., :-1] + 0.3 * white[..., 1:]) / np.hypot(1, 0.3)
    white = white[..., :-1]
    assert distances.noise_lags(*distances.noise_pairs(white))[0] == pytest.approx(0, abs=0.02)
    assert distances.noise_lags(*distances.noise_pairs(smooth))[0] > 0.1
    spectra = [distances.power_spectra(images) for images in (white, smooth)]
    assert distances.power_difference(spectra[0], spectra[0]) == (0, 0)
    assert distances.power_difference(*spectra)[1] > 0.1


def test_power_is_averaged_over_all_directions():
    white = np.random.default_rng(0).normal(size=(20, 1, 50, 51))
    streaks = white[..., :-1] + white[..., 1:]
    ours, theirs = distances.power_spectra(streaks), distances.power_spectra(streaks.swapaxes(2, 3))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_power_is_that_of_parseval():
    images = np.random.default_rng(0).normal(size=(3, 2, 32, 32)).astype(np.float32)
    window = np.hanning(32)[:, None] * np.hanning(32)
    flat = distances.power_spectra(images)[:, :, 1:].mean()
    assert flat == pytest.approx((window**2).sum(), rel=0.1)  # white noise of unit variance


def test_a_single_bright_galaxy_does_not_carry_the_power_spectrum():
    images = galaxies(100, 1)[0]
    other = images.copy()
    other[0] *= 100
    assert distances.power_difference(*(distances.power_spectra(each) for each in (images, other)))[0] < 0.1


def test_monotone_latents_are_counted():
    rising, falling = np.arange(11.0), -np.arange(11.0)
    flat = np.zeros(11)
    assert distances.spearman_with_steps(np.stack([rising, falling, flat], 1)) == pytest.approx([1, -1, 0])


def test_slopes_come_with_their_error():
    random = np.random.default_rng(0)
    x = random.uniform(8, 10, 200)
    other = 0.3 * x + random.normal(0, 0.1, 200)
    slope, error = distances.local_slope(other, x, -2 * x + 5 * other + random.normal(0, 0.1, 200), at=1)
    assert abs(slope + 2) < 3 * error and 0.01 < error < 0.1
    assert np.isnan(distances.local_slope(x[:3], x[:3], x[:3], at=1)[0])


@pytest.fixture(scope="module")
def space():
    """Features of a network taught by 400 galaxies, for few steps."""
    images, labels = galaxies(400, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "STEPS", 80)
        return features.FeatureSpace(images, labels - labels.mean(0), np.full(3, 4.0), check=lambda: None)


def test_features_learn_on_one_thread_and_give_the_others_back():
    """Stopped in between, too."""
    seen, before = [], torch.get_num_threads()

    def check():
        seen.append(torch.get_num_threads())
        if len(seen) == 3:
            raise KeyboardInterrupt

    images, labels = galaxies(100, 1)
    torch.set_num_threads(3)
    try:
        with pytest.raises(KeyboardInterrupt):
            features.FeatureSpace(images, labels, np.full(3, 4.0), check)
        assert seen == [1, 1, 1] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_features_of_like_sets_are_dense_covered_and_not_told_apart(space):
    real, other = (space(galaxies(400, seed)[0]) for seed in (2, 3))
    density, coverage = features.density_and_coverage(real, other)
    assert density == pytest.approx(1, abs=0.15) and coverage > 0.9
    assert features.two_sample_accuracy(real, other) == pytest.approx(0.5, abs=0.07)
    train = space(galaxies(400, 1)[0])
    away = [features.nearest(train, each)[0] for each in (real, other)]
    assert features.memorisation(*away)["ratio"] == pytest.approx(1, abs=0.1)


def test_density_of_larger_sets_is_the_mean_over_their_thousands():
    random = np.random.default_rng(0)
    real, other = (random.normal(size=(2400, 4)) for _ in range(2))
    whole, one = features.mean_density_and_coverage, features.density_and_coverage
    assert whole(real[:1999], other[:1500]) == one(real[:1000], other[:1000])
    assert whole(real[:900], other[:800]) == one(real[:900], other[:800])
    halves = [[each[:1000], each[1000:2000]] for each in (real, other)]
    assert whole(real, other) == pytest.approx(np.mean([one(a, b) for a in halves[0] for b in halves[1]], axis=0))


def test_bands_of_different_galaxies_are_told_apart_by_what_is_measured_together():
    """Each measurement on its own is distributed as in the real galaxies."""
    real, other = (galaxies(400, seed)[0] for seed in (2, 3))
    mixed = other.copy()
    mixed[:, 1] = np.roll(mixed[:, 1], 1, axis=0)
    ours, theirs, shuffled = (features.measured(each, np.full(3, 4.0)) for each in (real, other, mixed))
    assert ours.shape[0] == 400 and np.isfinite(ours).all()
    assert features.two_sample_accuracy(ours, theirs) == pytest.approx(0.5, abs=0.07)
    assert features.two_sample_accuracy(ours, shuffled) > 0.75


def test_copies_a_missing_mode_and_a_wrong_kind_each_leave_their_floor(space):
    train, real, other = (space(galaxies(400, seed)[0]) for seed in (1, 2, 3))
    copies = train + np.random.default_rng(0).normal(0, 0.01, train.shape)
    away = [features.nearest(train, each)[0] for each in (real, copies)]
    assert features.memorisation(*away)["ratio"] < 0.3
    assert features.memorisation(*away)["near_share"] > 0.5
    half = other[other[:, 0] < np.median(other[:, 0])]
    assert features.density_and_coverage(real, half)[1] < features.density_and_coverage(real, other)[1] - 0.15
    brighter = space(galaxies(400, 3, brighter=4.0)[0])
    assert features.two_sample_accuracy(real, brighter) > 0.65
    assert features.density_and_coverage(real, brighter)[0] < 0.8


@pytest.fixture(scope="module")
def gan(survey_store, tmp_path_factory):
    run = tmp_path_factory.mktemp("gan") / "run"
    train_gan(TrainGan(store=str(survey_store), run=str(run), preset="tiny", images=32, batch=16), Context())
    return run


def test_evaluate_writes_metrics_and_pictures(gan, survey_store, tmp_path):
    evaluate(Evaluate(real=str(survey_store), gan=str(gan), out=str(tmp_path / "e")), Context())
    report = read_json(tmp_path / "e/metrics.json")
    assert not report["judged"] and report["n"] <= 12  # only what the GAN never saw
    assert {"w1.mean", "w1.Gini", "power.mean", "noise_lag.1", "mass_response.monotone"} <= set(report["metrics"]) | {
        "mass_response.monotone"  # needs galaxies enough about one redshift
    }
    assert "density" in report["left_out"]  # a dozen galaxies: too few to learn from
    for name in ("real_and_generated", "grid", "distributions", "training", "power", "planes", "relations"):
        assert (tmp_path / f"e/{name}.png").read_bytes().startswith(b"\x89PNG"), name
    assert (tmp_path / "e/report.html").read_text().startswith("<!DOCTYPE html>")


def test_metrics_json_keeps_its_documented_schema(gan, survey_store, tmp_path):
    evaluate(Evaluate(real=str(survey_store), gan=str(gan), out=str(tmp_path), quick=True, overwrite=True), Context())
    report = read_json(tmp_path / "metrics.json")
    documented = re.findall(r"^    ([a-z_, ]+?)  +\S", stage.__doc__, flags=re.MULTILINE)
    keys = {name for line in documented for name in line.split(", ")}
    assert set(report) == keys
    assert (report["schema"], report["schema_version"]) == ("galaxycgan-evaluation", 2)
    for name, found in report["metrics"].items():
        assert set(found) == {"value", "interval", "floor", "floor_interval", "floor_scatter"}, name
        assert goals.meaning(name).words.endswith("."), name
    assert set(report["goals"].values()) <= {"met", "missed", "undecided", "at the floor", "off the floor"}
    assert not (tmp_path / "report.html").exists()


def test_the_same_evaluation_is_done_already_and_another_is_refused(gan, survey_store, tmp_path, command):
    words = ["evaluate", "--real", survey_store, "--gan", gan, "--out", tmp_path / "e", "--quick"]
    assert command(*words)[0] == 0
    before = (tmp_path / "e/metrics.json").read_bytes()
    code, said, _ = command(*words)
    assert code == 0 and "done already" in said and (tmp_path / "e/metrics.json").read_bytes() == before
    code, _, error = command(*words, "--n", "9")
    assert code == 2 and "was made by another request (" in error and "--overwrite" in error


@pytest.fixture(scope="module")
def catalog(gan, tmp_path_factory):
    """Directory of a synthetic catalog that the GAN made."""
    directory = tmp_path_factory.mktemp("catalog")
    (directory / "r.toml").write_text("[population]\nkind = 'training'\nn = 40\n")
    generate(Generate(gan=str(gan), recipe=str(directory / "r.toml"), out=str(directory / "c")), Context())
    return directory / "c"


def test_a_catalog_is_judged_without_its_generator_and_says_what_it_leaves_out(
    catalog, survey_store, tmp_path, command
):
    words = ["evaluate", "--real", survey_store, "--synthetic", catalog / "catalog.h5", "--gan", tmp_path / "no"]
    code, said, error = command(*words, "--out", tmp_path / "e")
    assert code == 0, error
    assert "holds no generator" in said and "need the generator that made the catalog" in said
    report = read_json(tmp_path / "e/metrics.json")
    assert report["gan"] is None and report["n_synthetic"] >= 8 and "label_shift.photo_z" in report["metrics"]
    assert not (tmp_path / "e/grid.png").exists() and (tmp_path / "e/real_and_generated.png").exists()


def test_galaxies_alone_are_told_from_noisy_images(catalog, gan, survey_store, tmp_path, command):
    out = tmp_path / "alone"
    options = Generate(gan=str(gan), recipe=str(catalog.parent / "r.toml"), out=str(out), images="noiseless")
    generate(options, Context())
    for directory, told in ((out, True), (catalog, False)):
        for file in ("catalog.h5", "catalog.fits"):
            words = ["evaluate", "--real", survey_store, "--synthetic", directory / file, "--gan", tmp_path, "--quick"]
            code, said, error = command(*words, "--out", tmp_path / f"{told}-{file}")
            assert code == 0 and ("its images hold no noise, as real ones do" in said) == told, said + error


def test_what_no_generated_galaxy_has_is_infinitely_far_and_misses_its_goal():
    random = np.random.default_rng(3)
    real = {name: random.normal(size=50) for name in ("i", "noise")}
    found = distances.w1_table(real, real | {"noise": np.full(50, np.nan)})
    assert found["i"] == 0 and found["noise"] == found["mean"] == found["worst"] == np.inf
    assert goals.verdict("w1.worst", {"value": np.inf, "floor": 0.06, "floor_scatter": 0.01}) == "missed"
    assert goals.verdict("w1.worst", {"value": np.inf, "floor": 0.2, "floor_scatter": 0.01}) == "missed"


def test_a_fits_catalog_that_was_changed_is_another_one(catalog, survey_store, tmp_path, command):
    changed = tmp_path / "changed.fits"
    shutil.copy(catalog / "catalog.fits", changed)
    words = [
        "evaluate",
        "--real",
        survey_store,
        "--synthetic",
        changed,
        "--out",
        tmp_path / "e",
        "--quick",
        "--gan",
        "-",
    ]
    assert command(*words)[0] == 0
    assert "done already" in command(*words)[1]
    with fits.open(changed, mode="update") as hdus:
        hdus["IMAGES"].data *= 3
    code, _, error = command(*words)
    assert code == 2 and "was made by another request (" in error and "--overwrite" in error


def test_store_and_fits_of_one_catalog_give_the_same_numbers(catalog, survey_store, tmp_path):
    found = []
    for file in ("catalog.h5", "catalog.fits"):
        out = tmp_path / file
        evaluate(
            Evaluate(real=str(survey_store), synthetic=str(catalog / file), gan="", out=str(out), quick=True), Context()
        )
        found.append(read_json(out / "metrics.json")["metrics"])
    assert found[0] == found[1]


def test_it_says_why_fewer_galaxies_are_compared_than_are_there(survey_store):
    with GalaxyStore(survey_store) as store:
        labelled = int((store.split >= 0).sum())

        def chosen(n, **card):
            return Samples.of_catalog(store, store.split >= 0, card, n, np.random.default_rng(0), "catalog.h5")

        shared = chosen(labelled)
        assert len(shared.rows) == labelled // 3
        assert f"{labelled // 3:,} galaxies are compared, not {labelled:,}: " in shared.remark
        # Asked for as many as there are, or for more than the survey has: nothing is held back.
        assert "not 8" not in chosen(8).remark and "learned from is unknown" in chosen(8).remark
        of_this = {"store": {"fingerprint": store.fingerprint}}
        assert not chosen(10 * labelled, **of_this).remark
        # Those that it learned from are left out, whichever they were.
        fold = {"fraction": 1.0, "fold": 1, "folds": 3}
        compared = chosen(labelled, **of_this, training=fold | {"seed": 1}).rows
        assert set(compared) == set(np.flatnonzero(training_subset(store.ids, store.split, **fold) > 0)) | set(
            np.flatnonzero(store.split == 2)
        )


def test_both_sets_are_as_large_and_share_no_galaxy_with_the_teachers(survey_store, tmp_path):
    np.save(tmp_path / TRAINED_ON, np.zeros(0, np.int64))
    (tmp_path / CARD).write_text("{}")
    with GalaxyStore(survey_store) as store:
        labelled = int((store.split >= 0).sum())
        for asked in (10, labelled - 3, 10 * labelled):
            of_run = Samples.of_run(store, store.split >= 0, tmp_path, asked, np.random.default_rng(0))
            assert len(of_run.rows) == len(of_run.others) == min(asked, labelled // 2)
            assert not set(of_run.rows) & set(of_run.others)
            assert ("are shared with the second set" in of_run.remark) == (asked > labelled // 2)
        useless = (store.split >= 0) & (np.cumsum(store.split >= 0) > 20)
        left = Samples.of_run(store, useless, tmp_path, 10, np.random.default_rng(0))
        assert "20 galaxies of" in left.remark and not set(left.rows) & set(np.flatnonzero(~useless))
        with pytest.raises(UserError, match="two sets of at least 8"):
            Samples.of_run(store, np.cumsum(store.split >= 0) < 16, tmp_path, 10, np.random.default_rng(0))


def test_galaxies_without_labels_are_left_out_and_a_small_survey_is_judged(gan, survey_files, tmp_path, command):
    # A survey of other galaxies, fewer than are asked for, some with a redshift that no network takes.
    survey_files.table.loc[survey_files.table.index[::7], "log_mass"] = np.nan
    survey_files.ids += 10**6
    survey_files.table["HSC_id"] += 10**6
    survey_files.write()
    other = survey_files.convert(labels="photo_z", out=str(tmp_path / "other.h5"))
    code, said, error = command("evaluate", "--real", other, "--gan", gan, "--out", tmp_path / "e", "--quick")
    assert code == 0, error
    report = read_json(tmp_path / "e/metrics.json")
    assert "galaxies of" in report["remark"] and "are left out: labels that are missing" in report["remark"]
    assert report["n"] == report["n_floor"] == report["n_synthetic"] < 30
    assert "beyond goals: " in said and "goals missed" not in said


def test_a_catalog_with_its_images_elsewhere_is_refused_with_the_way_out(catalog, survey_store, tmp_path, command):
    from galaxycgan.catalogs.export.export import write_fits

    for images, where in (("files", "FILES OF 32"), ("none", "NONE")):
        fits_file = tmp_path / f"{images}.fits"
        write_fits(catalog / "catalog.h5", fits_file, images=images, images_per_file=32)
        code, _, error = command("evaluate", "--real", survey_store, "--synthetic", fits_file, "--gan", tmp_path)
        assert code == 2 and f"(STAMPS = {where}); give the catalog.h5 beside it" in error


def test_a_catalog_smaller_than_the_survey_meets_as_many_real_galaxies(catalog, survey_store, tmp_path, command):
    few = tmp_path / "few.h5"
    assert command("select", catalog / "catalog.h5", "--sample", "9", "--out", few)[0] == 0
    code, _, error = command(
        "evaluate", "--real", survey_store, "--synthetic", few, "--gan", tmp_path, "--out", tmp_path / "e", "--quick"
    )
    assert code == 0, error
    report = read_json(tmp_path / "e/metrics.json")
    assert report["n"] == report["n_floor"] == report["n_synthetic"] == 9


def test_the_order_of_a_catalog_is_nothing_that_tells_it_from_real_galaxies():
    random = np.random.default_rng(0)
    real, same, other = (random.normal(size=(400, 4)) for _ in range(3))
    ordered = same[np.argsort(same[:, 0])]
    short = random.normal(size=(150, 4))
    picked = _some((real, ordered, other), 1000, np.random.default_rng(1))
    assert [len(each) for each in picked] == [400] * 3
    few = _some((real, short, ordered), 1000, np.random.default_rng(1))
    assert [len(each) for each in few] == [150] * 3
    assert np.mean(few[2][:, 0]) == pytest.approx(0, abs=0.2)  # not the 150 with the least
    assert features.two_sample_accuracy(few[0], few[2]) < 0.65


def test_a_catalog_with_its_generator_has_the_responses_too(catalog, gan, survey_store, tmp_path, command):
    words = ["evaluate", "--real", survey_store, "--synthetic", catalog / "catalog.h5", "--gan", gan, "--quick"]
    code, said, error = command(*words, "--out", tmp_path / "e")
    assert code == 0, error
    assert read_json(tmp_path / "e/metrics.json")["gan"] == str(gan)
    assert "left out: mass_response" not in said


def test_a_catalog_of_other_images_or_without_images_is_refused_in_one_line(
    survey_files, catalog, survey_store, tmp_path, command
):
    from galaxycgan.catalogs.export.export import write_fits

    other = survey_files.convert(pixel_scale="0.2")
    code, _, error = command(
        "evaluate", "--real", other, "--synthetic", catalog / "catalog.h5", "--out", tmp_path / "e"
    )
    assert code == 2 and "of another kind" in error and error.count("\n") == 1
    write_fits(catalog / "catalog.h5", tmp_path / "table.fits", images="none")
    code, _, error = command(
        "evaluate", "--real", survey_store, "--synthetic", tmp_path / "table.fits", "--out", tmp_path / "e"
    )
    assert code == 2 and "STAMPS = NONE" in error and error.count("\n") == 1


def test_classifiers_are_compared_where_both_kinds_are_there(gan, survey_store, tmp_path, monkeypatch):
    def answer(*roles, check):
        """Stand in for the training, which has a test of its own (test_study): 0.8 over 1, the roles in order."""
        (_, taught), (_, generated), (_, compared), unit = roles
        assert taught.sum() == generated.sum() == compared.sum() == 40 and (unit == 4).all()
        return {"value": 0.8, "interval": [0.8 - 0.196, 0.8 + 0.098], "auc_real": 1.0, "auc_synthetic": 0.8, "n": 80}

    def judged(target, teachers=True):
        options = Evaluate(real=str(survey_store), gan=str(gan), out=str(tmp_path), classifier=True, target=target)
        with GalaxyStore(survey_store) as store:
            subject = GeneratorSubject(str(gan), torch.device("cpu"))
            evaluation = stage.Evaluation(options, Context(), subject, store, 1)
        # On the target's edge, where labels that went through float32 would fall to the wrong side.
        labels = np.column_stack([np.full(80, 0.3), np.tile([9.0, np.nextafter(9, 10)], 40)])
        evaluation.labels = evaluation.asked = labels
        source = types.SimpleNamespace(labels=lambda columns: labels)
        evaluation.samples = dataclasses.replace(evaluation.samples, teachers=(source, np.arange(80)))
        galaxies = Galaxies(np.zeros((80, 3, 50, 50), np.float32), subject.conditioning.standardise(labels))
        evaluation.sets = Sets(*[galaxies] * 3, galaxies if teachers else None, None, True, subject.columns)
        evaluation.sky_rms, evaluation.judgement = np.full(3, 2.0), Judgement()
        return evaluation._teach(), evaluation.judgement

    name = "train_on_synthetic_test_on_real"
    monkeypatch.setattr(stage, name, answer)
    found, judgement = judged("log_mass > 9")
    assert found == {"target": "log_mass > 9", "auc_real": 1.0, "auc_synthetic": 0.8, "n": 80}
    record = judgement.metrics[name]
    assert record["interval"] == pytest.approx([0.7, 0.85])
    assert goals.verdict(name, record) == "missed" and goals.verdict(name, record | {"value": 1.02}) == "met"
    assert "too few" in judged("log_mass > 9", teachers=False)[1].left_out[name]
    found, judgement = judged("log_mass > 20")
    assert found is None and "one kind has 0" in judgement.left_out[name]


def test_a_hopeless_generator_is_no_open_question_though_real_sets_miss_the_goal_too():
    record = {"value": 0.11, "floor": 0.093, "floor_scatter": 0.016}
    assert goals.verdict("w1.mean", record) == "undecided"
    assert goals.verdict("w1.mean", record | {"value": 1.07}) == "missed"


def test_offsets_are_told_at_many_labels():
    real, labels = galaxies(200, 1)
    many = np.column_stack([labels, np.random.default_rng(0).normal(size=(200, 22))])
    a = distances.properties(real, BANDS, 50.0)
    found = distances.offsets(a, {name: values + 1 for name, values in a.items()}, many, many)
    assert found["i"] == pytest.approx(1)


def test_a_metric_that_is_bad_on_both_sides_is_told_from_its_ideal_and_others_from_their_floor():
    record = {"value": 0.96, "floor": 0.98, "floor_scatter": 0.01}
    assert goals.excess("label_rmse.log_mass", record) == pytest.approx(4.0)
    assert goals.excess("w1.i", record) == pytest.approx(-2.0)
    assert goals.excess("coverage", record) == pytest.approx(2.0)
    assert goals.excess("offset.i", record | {"value": -0.05}) == pytest.approx(5.0)


def test_a_target_that_galaxies_are_not_made_for_is_refused_in_one_line(gan, survey_store, tmp_path, command):
    words = ["evaluate", "--real", survey_store, "--gan", gan, "--out", tmp_path / "e", "--classifier"]
    code, _, error = command(*words, "--target", "icmodel_mag < 20")
    assert code == 2 and "no column 'icmodel_mag'" in error and error.count("\n") == 1
    assert not (tmp_path / "e").exists()


def test_quick_metrics_rank_a_good_set_before_a_bad_one():
    images, labels = galaxies(300, 1)
    good, bad = galaxies(300, 2, labels=labels)[0], galaxies(300, 2, labels=labels, brighter=2.0)[0]
    scaled = (labels - [0.3, 9.0]) / [0.12, 0.6]
    before = images.copy()
    meter = QuickMetrics(images, scaled, BANDS)
    assert meter(good)["score"] < 0.5 * meter(bad)["score"]
    assert quick_metrics(images, good, scaled, BANDS) == meter(good)
    assert all(np.isfinite(value) for value in meter(good).values())
    assert np.array_equal(images, before)


def test_compare_puts_runs_side_by_side_and_marks_the_best(gan, survey_store, tmp_path, command):
    for name, seed in (("a", 0), ("b", 1)):
        out = tmp_path / name / "evaluation"
        evaluate(Evaluate(real=str(survey_store), gan=str(gan), out=str(out), quick=True, seed=seed), Context())
    code, said, error = command(
        "compare", tmp_path / "a", tmp_path / "b/evaluation/metrics.json", "--out", tmp_path / "c.html"
    )
    assert code == 0, error
    assert re.search(r"^w1.mean +\d\.\d+.+(met|missed|undecided)", said, flags=re.MULTILINE) and "*" in said
    # Without pictures of their own the page has the plot alone; with them they stand below each other, named.
    assert (tmp_path / "c.html").read_text().count("data:image/png") == 1
    galaxy_pictures.gallery(
        tmp_path / "b/evaluation/grid.png", [np.zeros((2, 8, 8, 3), np.uint8)], ["z = 0.1"], ["8", "9"]
    )
    code, _, error = command("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c.html", "--overwrite")
    page = (tmp_path / "c.html").read_text()
    assert code == 0 and page.count("data:image/png") == 2 and "<h3>b</h3>" in page and "<h3>a</h3>" not in page, error
    code, _, error = command("compare", tmp_path / "a", tmp_path / "nowhere")
    assert code == 2 and "no metrics.json there" in error
    (tmp_path / "old.json").write_text('{"w1": {}}')
    code, _, error = command("compare", tmp_path / "old.json")
    assert code == 2 and "not the metrics of galaxycgan evaluate" in error


class Painted:
    """Stands in for a trained generator: Gaussian galaxies whose flux rises with mass as in `galaxies`."""

    conditioning = Conditioning.fit(("photo_z", "log_mass"), galaxies(100, 0)[1])

    class generator:
        class shape:
            size = 50

    def sample(self, labels, seed, noisy=True):
        return galaxies(len(labels), seed, noise=0.0, labels=labels)[0]


def test_the_mass_response_finds_the_slope_that_real_galaxies_have():
    images, labels = galaxies(600, 1, noise=0.5)
    magnitude = distances.properties(images, BANDS, 5.0)["i"]
    parts = responses(Painted(), labels, magnitude, BANDS, 5.0, seed=3, latents=32)["mass_response"]
    assert len(parts) == 3
    for part in parts:
        assert part["monotone"] == 1 and part["required"]
        assert part["slope_generated"] == pytest.approx(-1.25, abs=0.02)  # flux as mass to the 1/2
        assert abs(part["slope_generated"] - part["slope_real"]) < 4 * part["slope_real_error"] + 0.02


def curved(images, labels):
    """Brighten galaxies by a quarter of a magnitude for the square of each dex of mass from 8."""
    return images * 10 ** (0.1 * (labels[:, 1, None, None, None] - 8) ** 2)


class PaintedCurved(Painted):
    """Stands in for a generator that knows a relation whose slope changes with mass, without any error."""

    def sample(self, labels, seed, noisy=True):
        return curved(super().sample(labels, seed, noisy), labels)


def test_slopes_of_a_curved_relation_agree_whatever_masses_there_are():
    images, labels = galaxies(3000, 1, noise=0.5)
    light = labels[:, 1] < np.quantile(labels[:, 1], 0.7)
    keep = light | (np.arange(3000) % 10 == 0)  # most of them light, with a tail of heavy ones
    images, labels = curved(images, labels)[keep], labels[keep]
    magnitude = distances.properties(images, BANDS, 5.0)["i"]
    parts = responses(PaintedCurved(), labels, magnitude, BANDS, 5.0, seed=3, latents=32)["mass_response"]
    assert len(parts) == 3
    for part in parts:
        assert part["slope_generated"] == pytest.approx(part["slope_real"], abs=3 * part["slope_real_error"])


@pytest.mark.parametrize("n, judged", [(11, 0), (12, 3), (22, 3)])
def test_a_window_with_too_few_galaxies_for_a_slope_is_left_out(n, judged):
    images, labels = galaxies(3 * n, 1)
    labels[:, 0] = np.repeat([0.1, 0.2, 0.4], n)
    magnitude = distances.properties(images, BANDS, 5.0)["i"]
    parts = responses(Painted(), labels, magnitude, BANDS, 5.0, seed=3, latents=4)["mass_response"]
    assert len(parts) == judged
    assert all(np.isfinite([part["slope_real"], part["slope_generated"]]).all() for part in parts)


class PaintedFainterFarther(Painted):
    """Stands in for a generator whose galaxies get fainter with the square of the redshift."""

    def sample(self, labels, seed, noisy=True):
        images, _ = galaxies(len(labels), seed, noise=0.0, labels=labels)
        return images * (0.3 / labels[:, 0, None, None, None]) ** 2


def test_slopes_agree_where_heavier_galaxies_are_farther_ones():
    """As in a flux-limited survey: within a window of redshift, too, mass and redshift rise together."""
    images, labels = galaxies(3000, 1, noise=0.5)
    heavier = np.argsort(np.argsort(labels[:, 1] + np.random.default_rng(2).normal(0, 0.3, 3000)))
    labels[:, 0] = np.sort(labels[:, 0])[heavier]
    images = images * (0.3 / labels[:, 0, None, None, None]) ** 2
    magnitude = distances.properties(images, BANDS, 5.0)["i"]
    parts = responses(PaintedFainterFarther(), labels, magnitude, BANDS, 5.0, seed=3, latents=32)["mass_response"]
    assert len(parts) == 3
    for part in parts:
        assert part["slope_generated"] == pytest.approx(part["slope_real"], abs=3 * part["slope_real_error"])


@pytest.mark.parametrize("categorical", [(), ("kind",)])
def test_slopes_agree_where_a_further_label_goes_along_with_mass(categorical):
    """Galaxies of another kind are fainter, and commoner among heavy ones; generated ones are all of one kind."""
    images, labels = galaxies(3000, 1, noise=0.5)
    kind = np.random.default_rng(3).random(3000) < (labels[:, 1] - 8) / 2
    labels = np.column_stack([labels, kind])

    class PaintedOfAKind(Painted):
        conditioning = Conditioning.fit(("photo_z", "log_mass", "kind"), labels, categorical=categorical)

        def sample(self, labels, seed, noisy=True):
            return super().sample(labels, seed, noisy) * np.where(labels[:, 2], 0.5, 1.0)[:, None, None, None]

    magnitude = distances.properties(images * np.where(kind, 0.5, 1.0)[:, None, None, None], BANDS, 5.0)["i"]
    parts = responses(PaintedOfAKind(), labels, magnitude, BANDS, 5.0, seed=3, latents=32)["mass_response"]
    assert len(parts) == 3
    for part in parts:
        assert part["slope_generated"] == pytest.approx(-1.25, abs=0.02)
        assert part["slope_real"] == pytest.approx(-1.25, abs=3 * part["slope_real_error"])


def test_the_redshift_response_tells_who_dims_with_distance_from_who_does_not():
    images, labels = galaxies(2000, 1, noise=0.5)
    images = images * (0.3 / labels[:, 0, None, None, None]) ** 2
    magnitude = distances.properties(images, BANDS, 5.0)["i"]
    obeys = responses(PaintedFainterFarther(), labels, magnitude, BANDS, 5.0, seed=3, latents=32)["redshift_response"]
    ignores = responses(Painted(), labels, magnitude, BANDS, 5.0, seed=3, latents=32)["redshift_response"]
    assert len(obeys) == len(ignores) == 3
    for good, bad in zip(obeys, ignores, strict=True):
        assert good["required"] and good["monotone"] == 1
        assert good["slope_generated"] == pytest.approx(5, abs=0.1)  # 2.5 x 2 mag per dex of redshift
        assert good["slope_generated"] == pytest.approx(good["slope_real"], abs=4 * good["slope_real_error"] + 0.05)
        assert bad["monotone"] == 0 and abs(bad["slope_generated"]) < 0.1


def test_a_generator_without_its_list_of_ids_is_refused(gan, survey_store, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(gan, copy)
    (copy / "trained_on.npy").write_bytes(b"junk")
    with pytest.raises(UserError, match="which galaxies the GAN has seen is unknown"):
        evaluate(Evaluate(real=str(survey_store), gan=str(copy)), Context())


def test_evaluate_refuses_synthetic_galaxies_as_real_ones(gan, catalog):
    with pytest.raises(UserError, match="holds synthetic galaxies"):
        evaluate(Evaluate(real=str(catalog / "catalog.h5"), gan=str(gan)), Context())
