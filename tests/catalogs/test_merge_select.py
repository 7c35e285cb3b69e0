"""Stores grow by merging and shrink by selection; ids, splits, pixels and origin stay what they were."""

import dataclasses
import gzip
import json
import shutil

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from conftest import flip_byte

from galaxycgan.catalogs.derive.select import read_id_list
from galaxycgan.catalogs.schema.columns import AB_MAGNITUDE, MISSING_INT
from galaxycgan.catalogs.store.conditions import evaluate
from galaxycgan.catalogs.store.integrity import store_problems
from galaxycgan.catalogs.store.store import GalaxyStore, StoreHeader, split_of
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.errors import UserError

FIRST_ID = 2**53
REAL = StoreHeader(
    bands=("g", "r"), filters=("HSC-G", "HSC-R2"), created="2026-01-02T03:04:05Z", psf_fwhm_arcsec=(0.8, 0.7)
)
SYNTHETIC = dataclasses.replace(REAL, id_column="SYN_id", synthetic=True)


def image_of(ids, kind=0):
    """Return images [n, 2, 4, 4] that tell the id: each galaxy has its own."""
    ids = np.asarray(ids)
    return ((ids % 9973)[:, None, None, None] + kind / 4 + np.arange(32).reshape(2, 4, 4) / 1024).astype(np.float32)


def write(
    path, ids, header=REAL, columns=(), matches=None, labelled=None, provenance=None, noiseless=False, kind=0, size=4
):
    """Write a store in which every value of a galaxy follows from its id."""
    ids = np.asarray(ids, dtype=np.int64)
    labelled = np.ones(len(ids), bool) if labelled is None else labelled
    table = QTable({"photo_z": (ids % 97) / 97, "labelled": labelled, "seed": ids % 7})
    for name, values in dict(columns).items():
        table[name] = values
    split = np.where(labelled & (not header.synthetic), split_of(ids), -1)
    path.parent.mkdir(exist_ok=True)
    with StoreWriter(path, n=len(ids), header=header, noiseless=noiseless) as writer:
        images = [image_of(ids, kind)[..., :size, :size], image_of(ids, kind + 1)[..., :size, :size]]
        writer.append(*images[: 1 + noiseless])
        writer.finish(ids=ids, catalog=table, split=split, matches=matches, provenance=provenance or {})
    return path


def match_table(ids):
    """Return a table of matches, two for each id, the first of them kept."""
    return QTable(
        {"HSC_id": np.repeat(ids, 2), "sep": np.ones(2 * len(ids)) * u.arcsec, "kept": [True, False] * len(ids)}
    )


@pytest.fixture
def pair(tmp_path):
    """Two stores whose ids interleave: 25 even and 24 odd ones."""
    even, odd = FIRST_ID + 2 * np.arange(25), FIRST_ID + 1 + 2 * np.arange(24)
    labelled = np.arange(25) != 3
    one = write(tmp_path / "one.h5", even, matches=match_table(even), labelled=labelled, provenance={"note": 1})
    return one, write(tmp_path / "two.h5", odd, matches=match_table(odd))


@pytest.fixture
def small_pieces(monkeypatch):
    """Let pieces be of 7 images, so that few galaxies need several."""
    monkeypatch.setattr("galaxycgan.catalogs.derive.merge.BLOCK_BYTES", 7 * 128)
    monkeypatch.setattr(GalaxyStore.pieces, "__defaults__", ("images", None, 5 * 128))


def test_a_merged_store_holds_every_galaxy_sorted_with_its_own_image(pair, tmp_path, command, small_pieces):
    out = tmp_path / "all.h5"
    code, text, err = command("merge", *pair, "--out", out)
    assert code == 0 and "49 galaxies of 2 stores" in text, err
    with GalaxyStore(out) as store:
        np.testing.assert_array_equal(store.ids, FIRST_ID + np.arange(49))
        np.testing.assert_array_equal(store.images(), image_of(store.ids))
        np.testing.assert_array_equal(store.column("photo_z"), (store.ids % 97) / 97)
        assert len(store.matches) == 98 and np.all(np.diff(store.matches["HSC_id"]) >= 0)
        assert store.matches["kept"].sum() == 49 and store.matches["sep"].unit == u.arcsec
    assert store_problems(out) == []


def test_splits_stay_put_in_a_merge_and_unlabelled_galaxies_stay_in_none(pair, tmp_path, command):
    command("merge", *pair, "--out", tmp_path / "all.h5")
    merged = GalaxyStore(tmp_path / "all.h5")
    for path in pair:
        store = GalaxyStore(path)
        np.testing.assert_array_equal(merged.split[merged.rows_of(store.ids)], store.split)
    assert np.sum(merged.split == -1) == 1
    told = merged.provenance["report"]["splits"]
    assert [told[name]["n"] for name in ("train", "val", "test")] == [np.sum(merged.split == k) for k in range(3)]
    assert told["train"]["photo_z"]["quantiles"][1] == np.median(merged.column("photo_z")[merged.split == 0])


def test_a_merged_store_tells_its_sources(pair, tmp_path, command):
    command("merge", *pair, "--out", tmp_path / "all.h5")
    made = GalaxyStore(tmp_path / "all.h5").provenance
    one = made["sources"]["1"]
    assert made["command"] == "merge" and [s["n"] for s in made["sources"].values()] == [25, 24]
    assert one["file"] == "one.h5" and one["provenance"] == {"note": 1}
    assert one["fingerprint"] == GalaxyStore(pair[0]).fingerprint
    assert f"source   one.h5, store of 25, content {one['fingerprint']}" in command("info", tmp_path / "all.h5")[1]


def test_the_same_merge_again_does_nothing_and_another_is_refused(pair, tmp_path, command):
    out = tmp_path / "all.h5"
    command("merge", *pair, "--out", out)
    before = out.stat().st_mtime_ns
    code, text, _ = command("merge", *pair, "--out", out)
    assert code == 0 and "done already" in text and out.stat().st_mtime_ns == before
    code, _, err = command("merge", *pair[::-1], "--out", out)
    assert code == 2 and "another request" in err and "--overwrite" in err
    assert command("merge", *pair[::-1], "--out", out, "--overwrite")[0] == 0
    code, _, err = command("merge", *pair, "--out", pair[0], "--overwrite")
    assert code == 2 and "--out is an input file" in err


def test_the_order_in_which_stores_are_named_does_not_matter(pair, tmp_path, command):
    command("merge", *pair, "--out", tmp_path / "12.h5")
    command("merge", *pair[::-1], "--out", tmp_path / "21.h5")
    assert GalaxyStore(tmp_path / "12.h5").fingerprint == GalaxyStore(tmp_path / "21.h5").fingerprint


def test_a_galaxy_of_two_stores_is_refused_or_taken_from_the_first(tmp_path, command, small_pieces):
    ids = FIRST_ID + np.arange(40)
    one = write(tmp_path / "one.h5", ids[:30], matches=match_table(ids[:30]))
    two = write(tmp_path / "two.h5", ids[10:], matches=match_table(ids[10:]), kind=2)
    out = tmp_path / "all.h5"
    code, _, err = command("merge", one, two, "--out", out)
    assert code == 2 and err.count("\n") == 1 and f"20 galaxies are in several of the stores: HSC_id {ids[10]}" in err
    assert "--duplicates first" in err and not out.exists()
    code, text, _ = command("merge", one, two, "--out", out, "--duplicates", "first")
    assert code == 0 and "20 galaxies" in text
    store = GalaxyStore(out)
    np.testing.assert_array_equal(store.images(), np.concatenate([image_of(ids[:30]), image_of(ids[30:], 2)]))
    assert len(store.matches) == 120 and store.matches["kept"].sum() == 40 and store_problems(out) == []


DIFFERENT = {
    "bands": ({"bands": ("r", "g")}, "bands r,g, but"),
    "filters": ({"filters": ("DECam-g", "DECam-r")}, "filters DECam-g,DECam-r, but"),
    "pixel scale": ({"pixel_scale_arcsec": 0.2}, "pixel scale in arcsec 0.2, but"),
    "unit": ({"pixel_unit": "adu"}, "pixel unit adu, but"),
    "kind": ({"synthetic": True, "id_column": "SYN_id"}, "synthetic True, but"),
    "salt": ({"split_salt": "other"}, "split salt other, but"),
    "fractions": ({"split_fractions": (0.7, 0.2, 0.1)}, "split fractions 0.7,0.2,0.1, but"),
    "masses": ({"mass_convention": "Salpeter"}, "mass convention 'Salpeter', but"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_stores_that_do_not_fit_together_are_refused(tmp_path, command, what):
    changes, message = DIFFERENT[what]
    one = write(tmp_path / "one.h5", FIRST_ID + np.arange(5))
    header = dataclasses.replace(REAL, **changes)
    ids = FIRST_ID + 5 + np.arange(5)
    with StoreWriter(tmp_path / "two.h5", n=5, header=header) as writer:
        writer.append(image_of(ids))
        writer.finish(ids=ids, catalog=QTable({"a": ids}))
    code, _, err = command("merge", one, tmp_path / "two.h5", "--out", tmp_path / "all.h5")
    assert code == 2 and err.count("\n") == 1 and f"two.h5: {message}" in err and ";" in err, err
    assert not (tmp_path / "all.h5").exists()


def test_one_text_may_stand_for_differing_mass_conventions(tmp_path, command):
    one = write(tmp_path / "one.h5", [1, 2], dataclasses.replace(REAL, mass_convention="Chabrier"))
    two = write(tmp_path / "two.h5", [3], dataclasses.replace(REAL, mass_convention="Chabrier 2003"))
    out = tmp_path / "all.h5"
    assert command("merge", one, two, "--out", out)[0] == 2
    assert command("merge", one, two, "--out", out, "--mass-convention", "Chabrier (2003)")[0] == 0
    assert GalaxyStore(out).header.mass_convention == "Chabrier (2003)"


def test_a_differing_psf_becomes_the_mean_over_galaxies_and_an_unknown_one_stays_unknown(tmp_path, command):
    one = write(tmp_path / "one.h5", np.arange(1, 4))
    two = write(tmp_path / "two.h5", [9], dataclasses.replace(REAL, psf_fwhm_arcsec=(0.4, float("nan"))))
    code, text, _ = command("merge", one, two, "--out", tmp_path / "all.h5")
    assert code == 0 and "PSF FWHM differs (0.8, 0.7; 0.4, nan arcsec)" in text
    np.testing.assert_allclose(GalaxyStore(tmp_path / "all.h5").psf_fwhm, [0.7, np.nan])


def test_columns_of_one_store_are_missing_values_for_the_others(tmp_path, command):
    big = FIRST_ID + 2
    columns = {
        "halo": np.array([big, big + 1]), "mag_g": [20.0, 21.0] * AB_MAGNITUDE, "star": [True, False],
        "field": ["W01", "W02"], "r50": [1.0, 2.0] * u.arcsec,
    }  # fmt: skip
    other = {"halo": MaskedColumn([7, 8], mask=[True, False]), "r50": [1.0, 2.0] * u.arcmin, "x": np.float32([3, 4])}
    one, two = write(tmp_path / "one.h5", [1, 3], columns=columns), write(tmp_path / "two.h5", [2, 4], columns=other)
    code, text, err = command("merge", one, two, "--out", tmp_path / "all.h5")
    assert code == 0 and f"column mag_g: missing values for the galaxies of {two}" in text, err
    store = GalaxyStore(tmp_path / "all.h5")
    assert store.column("halo").tolist() == [big, MISSING_INT, big + 1, 8]
    assert store.table["mag_g"].unit == AB_MAGNITUDE and store.table["star"].mask.tolist() == [False, True] * 2
    np.testing.assert_array_equal(store.table["mag_g"].value, [20, np.nan, 21, np.nan])
    np.testing.assert_array_equal(store.table["r50"].to_value("arcsec"), [1, 60, 2, 120])
    assert store.column("field").tolist() == ["W01", "", "W02", ""] and store.column("x").dtype == np.float32


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (["a"], [1.0], "floats and text"),
        ([2**53 + 1], [1.0], "floats and integers beyond 2\\^53"),
        ([1.0] * u.nJy, [1.0] * u.arcsec, "units nJy and arcsec"),
        ([1.0] * u.nJy, [1.0], "units nJy and none"),
        ([20.0] * AB_MAGNITUDE, [20.0] * u.mag, r"units mag\(AB\) and mag"),
    ],
    ids=["text and number", "large integers and floats", "units", "no unit", "AB and Vega"],
)
def test_columns_that_mean_different_things_are_refused(tmp_path, command, first, second, message):
    one, two = (
        write(tmp_path / "one.h5", [1], columns={"x": first}),
        write(tmp_path / "two.h5", [2], columns={"x": second}),
    )
    code, _, err = command("merge", one, two, "--out", tmp_path / "all.h5")
    assert code == 2 and err.count("\n") == 1, err
    with pytest.raises(AssertionError, match=f"column x of the catalog: {message}"):
        raise AssertionError(err)


@pytest.mark.parametrize("name", ["images", "noiseless", "catalog", "split"])
def test_damage_does_not_pass_into_a_merged_store(tmp_path, command, name):
    one = write(tmp_path / "one.h5", np.arange(9), noiseless=True)
    two = write(tmp_path / "two.h5", np.arange(9) + 20, noiseless=True)
    flip_byte(two, name)
    code, _, err = command("merge", one, two, "--out", tmp_path / "all.h5")
    assert code == 2 and f"{two}: damaged store ({name}: wrong checksum" in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.h5", "two.h5"]


def catalog_of(path, n, seed=1, gan="ab", start=0, kind=0, **more):
    """Write a synthetic catalog as `generate` does: the first rows don't depend on how many there are."""
    request = {"recipe": {"name": "demo", "n": n, "seed": seed}, "generator_sha256": gan}
    settings = {"provenance": {"request": request}, "noiseless": True, "kind": kind} | more
    return write(path, start + np.arange(n), SYNTHETIC, **settings)


def test_synthetic_catalogs_are_numbered_anew_and_remember_their_rows(tmp_path, command, small_pieces):
    one, two = catalog_of(tmp_path / "a/c.h5", 10), catalog_of(tmp_path / "b/c.h5", 12, seed=2, kind=2)
    code, text, err = command("merge", one, two, "--out", tmp_path / "all.h5")
    assert code == 0 and "numbered anew" in text and "not independent" not in text, err
    store = GalaxyStore(tmp_path / "all.h5")
    assert store.ids.tolist() == list(range(22)) and np.all(store.split == -1)
    assert store.column("source").tolist() == [1] * 10 + [2] * 12
    assert store.column("source_SYN_id").tolist() == [*range(10), *range(12)]
    np.testing.assert_array_equal(store.images(), np.concatenate([image_of(range(10)), image_of(range(12), 2)]))
    np.testing.assert_array_equal(store.noiseless(), np.concatenate([image_of(range(10), 1), image_of(range(12), 3)]))
    assert store_problems(store.path) == []


def test_catalogs_without_images_merge(tmp_path, command):
    settings = {"size": 0, "noiseless": False}
    one, two = (catalog_of(tmp_path / f"{k}/c.h5", 10 + k, seed=k, **settings) for k in (1, 2))
    code, _, err = command("merge", one, two, "--out", tmp_path / "all.h5")
    assert code == 0, err
    store = GalaxyStore(tmp_path / "all.h5")
    assert (store.n, store.size) == (23, 0) and store.column("source").tolist() == [1] * 11 + [2] * 12
    assert store_problems(store.path) == []


def test_columns_with_the_names_that_a_merge_gives_are_kept_under_others(tmp_path, command):
    one, two = (
        catalog_of(tmp_path / f"{k}/c.h5", 3, seed=k, columns={"source": np.full(3, 40 + k)}, kind=k) for k in (1, 2)
    )
    code, text, _ = command("merge", one, two, "--out", tmp_path / "all.h5")
    assert code == 0 and "column source of the stores is called source_original" in text
    three, out = catalog_of(tmp_path / "3/c.h5", 2, seed=3), tmp_path / "more.h5"
    code, text, _ = command("merge", tmp_path / "all.h5", three, "--out", out)
    assert code == 0 and f"column source_original_original: missing values for the galaxies of {three}" in text
    store = GalaxyStore(out)
    assert store.column("source").tolist() == [1] * 6 + [2] * 2
    assert store.column("source_original").tolist() == [41] * 3 + [42] * 3 + [MISSING_INT] * 2
    assert store.column("source_original_original").tolist() == [1] * 3 + [2] * 3 + [MISSING_INT] * 2
    assert store.column("source_SYN_id_original").tolist() == [0, 1, 2] * 2 + [MISSING_INT] * 2
    assert store_problems(out) == []


def test_more_columns_together_than_a_store_holds_are_refused_before_the_images_are_merged(tmp_path, command):
    paths = [
        write(tmp_path / f"{k}.h5", [k], columns={f"UltraVISTA_Ks_MAG_AUTO_{k}{j:03d}": [1.0] for j in range(800)})
        for k in (1, 2)
    ]
    code, text, err = command("merge", *paths, "--out", tmp_path / "all.h5")
    assert code == 2 and err.count("\n") == 1 and "all.h5: more columns than a store's table has room for" in err
    assert "images" not in text


def test_catalogs_that_share_galaxies_or_latent_numbers_are_told(tmp_path, command):
    short, long = catalog_of(tmp_path / "a/c.h5", 10), catalog_of(tmp_path / "b/c.h5", 12)
    code, _, err = command("merge", short, long, "--out", tmp_path / "all.h5")
    assert code == 2 and "10 galaxies are in several of the stores: SYN_id 0, 1" in err
    other = catalog_of(tmp_path / "c/c.h5", 5)
    with h5py.File(other, "r+") as file:
        file.attrs["provenance"] = json.dumps(
            {"request": {"recipe": {"name": "dwarfs", "seed": 1}, "generator_sha256": "ab"}}
        )
    code, text, _ = command("merge", short, other, "--out", tmp_path / "all.h5")
    assert code == 0 and "not independent" in text


@pytest.mark.parametrize("clean", [{"images": "noiseless"}, {"recipe": {"name": "demo", "seed": 2, "noise": "none"}}])
def test_images_without_noise_are_not_merged_with_noisy_ones(tmp_path, command, clean):
    request = {"recipe": {"name": "demo", "seed": 2, "noise": "model"}, "images": "both", "generator_sha256": "ab"}
    noisy = catalog_of(tmp_path / "a/c.h5", 10)
    settings = {"provenance": {"request": request | clean}, "noiseless": False}
    galaxies_alone = catalog_of(tmp_path / "b/c.h5", 12, **settings)
    assert command("select", galaxies_alone, "--where", "SYN_id < 4", "--out", tmp_path / "few.h5")[0] == 0
    for other in (galaxies_alone, tmp_path / "few.h5"):
        code, _, err = command("merge", other, noisy, "--out", tmp_path / "all.h5")
        assert code == 2 and f"{other}: its images hold no noise, but those of {noisy} do" in err
        assert not (tmp_path / "all.h5").exists()
    more = catalog_of(tmp_path / "d/c.h5", 5, **settings | {"provenance": {"request": request | clean | {"n": 1}}})
    assert command("merge", galaxies_alone, more, "--out", tmp_path / "all.h5")[0] == 0


def test_a_galaxy_that_was_merged_once_is_not_merged_again_under_another_number(tmp_path, command):
    one, two = catalog_of(tmp_path / "a/c.h5", 10), catalog_of(tmp_path / "b/c.h5", 12, seed=2)
    assert command("select", one, "--where", "SYN_id < 4", "--out", tmp_path / "low.h5")[0] == 0
    assert command("merge", tmp_path / "low.h5", two, "--out", tmp_path / "all.h5")[0] == 0
    code, _, err = command("merge", tmp_path / "all.h5", one, "--out", tmp_path / "more.h5")
    assert code == 2 and "both have galaxies of one catalog, but a merge numbered some anew" in err
    # parts of one merge have its numbers, and those of one catalog its own, however often they were merged
    for name, condition in (("first", "SYN_id < 9"), ("last", "SYN_id >= 7")):
        assert command("select", tmp_path / "all.h5", "--where", condition, "--out", tmp_path / f"{name}.h5")[0] == 0
    words = ["merge", tmp_path / "first.h5", tmp_path / "last.h5", "--out", tmp_path / "again.h5"]
    code, _, err = command(*words)
    assert code == 2 and "2 galaxies are in several of the stores: SYN_id 7, 8" in err
    assert command(*words, "--duplicates", "first")[0] == 0 and GalaxyStore(tmp_path / "again.h5").n == 16
    assert command("select", one, "--where", "SYN_id >= 4", "--out", tmp_path / "high.h5")[0] == 0
    assert command("merge", tmp_path / "high.h5", tmp_path / "low.h5", "--out", tmp_path / "one.h5")[0] == 0
    code, _, err = command("merge", tmp_path / "one.h5", one, "--out", tmp_path / "x.h5")
    assert code == 2 and "10 galaxies are in several of the stores" in err


def test_a_column_that_holds_text_where_a_label_would_be_rides_along(pair, tmp_path, command):
    store = write(tmp_path / "text.h5", np.arange(9), columns={"log_mass": np.array(["9.1", "--", "9.3"] * 3)})
    assert command("select", store, "--where", "seed > 1", "--out", tmp_path / "out.h5")[0] == 0
    assert "log_mass" not in GalaxyStore(tmp_path / "out.h5").provenance["report"]["splits"]["train"]


def test_parts_of_one_synthetic_catalog_join_to_the_whole_again(tmp_path, command):
    whole = catalog_of(tmp_path / "c.h5", 20)
    for name, condition in (("low", "photo_z < 0.1"), ("high", "photo_z >= 0.1")):
        assert command("select", whole, "--where", condition, "--out", tmp_path / f"{name}.h5")[0] == 0
    assert command("merge", tmp_path / "high.h5", tmp_path / "low.h5", "--out", tmp_path / "all.h5")[0] == 0
    assert GalaxyStore(tmp_path / "all.h5").fingerprint == GalaxyStore(whole).fingerprint


def test_mistakes_of_a_merge_are_told_in_one_line(pair, tmp_path, command):
    (tmp_path / "no.h5").write_text("no")
    for words, message in [
        (["merge", *pair], "--out is missing"),
        (["merge", pair[0], "--out", tmp_path / "x.h5"], "two stores or more, 1 given"),
        (["merge", pair[0], tmp_path / "no.h5", "--out", tmp_path / "x.h5"], "no.h5: not a store"),
        (["merge", *pair, "--out", tmp_path], "a directory"),
        (["merge", *pair, "--out", tmp_path / "no.h5"], "not a store (not an HDF5 file); give another --out"),
    ]:
        code, _, err = command(*words)
        assert code == 2 and err.count("\n") == 1 and message in err, err


def test_a_selection_is_a_store_of_the_rows_that_fulfil_the_condition(survey_store, tmp_path, command):
    out = tmp_path / "near.h5"
    code, text, err = command("select", survey_store, "--where", "photo_z < 0.6 or not labelled", "--out", out)
    assert code == 0, err
    whole, part = GalaxyStore(survey_store), GalaxyStore(out)
    wanted = (whole.column("photo_z") < 0.6) | ~whole.column("labelled")
    np.testing.assert_array_equal(part.ids, whole.ids[wanted])
    np.testing.assert_array_equal(part.images(), whole.images(wanted))
    np.testing.assert_array_equal(part.split, whole.split[wanted])
    assert np.sum(part.split == -1) == 2
    np.testing.assert_array_equal(part.psf_fwhm, whole.psf_fwhm)
    assert set(part.matches["HSC_id"]) <= set(part.ids) and 0 < len(part.matches) < len(whole.matches)
    assert part.table["log_mass"].unit == whole.table["log_mass"].unit
    made = part.provenance
    assert made["config"]["where"] == "photo_z < 0.6 or not labelled"
    assert made["sources"]["store"]["fingerprint"] == whole.fingerprint
    assert made["sources"]["store"]["provenance"]["command"] == "convert"
    assert store_problems(out) == [] and f"{wanted.sum()} of 60 galaxies" in text


def test_selections_by_split_and_at_random_go_together(survey_store, tmp_path, command):
    whole = GalaxyStore(survey_store)
    command("select", survey_store, "--split", "train", "--out", tmp_path / "train.h5")
    assert np.all(GalaxyStore(tmp_path / "train.h5").split == 0)
    command("select", survey_store, "--where", "split == 2", "--out", tmp_path / "test.h5")
    np.testing.assert_array_equal(GalaxyStore(tmp_path / "test.h5").ids, whole.ids[whole.split == 2])
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        words = ["--split", "train", "--sample", 9, "--seed", seed, "--out", tmp_path / f"{name}.h5"]
        assert command("select", survey_store, *words)[0] == 0
        drawn.append(GalaxyStore(tmp_path / f"{name}.h5").ids.tolist())
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0] == sorted(drawn[0]) and len(drawn[0]) == 9
    assert set(drawn[2]) <= set(whole.ids[whole.split == 0].tolist())


def id_files(directory, ids):
    """Write the same ids in every way that is read."""
    lines = [str(value) for value in ids]
    np.save(directory / "ids.npy", ids)
    (directory / "ids.txt").write_text("# chosen by eye\n\n" + "\n".join(lines) + "  # last\n")
    (directory / "one.csv").write_text("object\n" + "\n".join(lines) + "\n")
    (directory / "two.csv").write_text("name, HSC_id\n" + "\n".join(f"x, {line}" for line in lines) + "\n")
    Table({"HSC_id": ids, "z": np.ones(len(ids))}).write(directory / "ids.fits")
    Table({"HSC_id": ids}).write(directory / "ids.vot", format="votable")
    (directory / "ids.txt.gz").write_bytes(gzip.compress((directory / "ids.txt").read_bytes()))
    (directory / "quoted.txt").write_text("\n".join(f'"{line}"' for line in lines))
    write(directory / "ids.h5", np.sort(ids), labelled=np.arange(len(ids)) > 0, matches=match_table(ids[:1]))
    names = ["ids.npy", "ids.txt", "one.csv", "two.csv", "ids.fits", "ids.vot", "ids.txt.gz", "quoted.txt", "ids.h5"]
    return [directory / name for name in names]


def test_a_list_of_ids_selects_them_to_the_last_digit(survey_store, tmp_path, command):
    ids = GalaxyStore(survey_store).ids[[40, 3, 17]]
    for path in id_files(tmp_path, ids):
        assert sorted(read_id_list(path).tolist()) == sorted(ids.tolist()), path
        out = tmp_path / f"{path.name}.h5"
        assert command("select", survey_store, "--ids", path, "--out", out)[0] == 0
        assert GalaxyStore(out).ids.tolist() == sorted(ids.tolist())


def test_ids_that_are_not_there_are_refused_or_left_out(survey_store, tmp_path, command):
    ids = GalaxyStore(survey_store).ids[:3]
    (tmp_path / "ids.txt").write_text("\n".join(str(value) for value in [*ids, 42, 42, 43]))
    words = ["select", survey_store, "--ids", tmp_path / "ids.txt", "--out", tmp_path / "x.h5"]
    code, _, err = command(*words)
    assert code == 2 and "2 of 5 ids are not in" in err and "42, 43; --missing-ids drop" in err
    assert command(*words, "--missing-ids", "drop")[0] == 0 and GalaxyStore(tmp_path / "x.h5").n == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "43150000000000001\n4.3e16\n", "line 2: '4.3e16' is not a whole number"),
        ("a.txt", "1.5\n", "line 1: '1.5' is not a whole number"),
        ("a.txt", "1\n\n99999999999999999999\n", "line 3: '99999999999999999999' is not a whole number of 64 bits"),
        ("a.csv", "name,id\nx,1\n", "no column HSC_id; it has name, id"),
        ("a.csv", "HSC_id,x\n1,2\n,3\n", "column HSC_id, row 2 of the data: blank"),
        ("a.npy", "text", "not an npy file"),
        ("a.txt", "", "empty file"),
    ],
)
def test_lists_that_hold_no_ids_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as error:
        read_id_list(tmp_path / name)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_float_ids_are_refused(tmp_path):
    np.save(tmp_path / "ids.npy", np.array([4.3e16]))
    with pytest.raises(UserError, match="must be a list of integers, these are float64"):
        read_id_list(tmp_path / "ids.npy")


def test_the_same_selection_again_does_nothing_and_a_changed_source_is_noticed(pair, tmp_path, command):
    source = tmp_path / "source.h5"
    shutil.copy(pair[0], source)
    words = ["select", source, "--where", "photo_z < 0.5", "--out", tmp_path / "x.h5"]
    assert command(*words)[0] == 0
    code, text, _ = command(*words)
    assert code == 0 and "done already" in text
    shutil.copy(pair[1], source)
    code, _, err = command(*words)
    assert code == 2 and "another request (sources.store." in err and "config" not in err
    code, _, err = command(*words[:3], "photo_z < 0.6", *words[4:])
    assert (
        code == 2 and "another request (config.where: photo_z < 0.5 there, photo_z < 0.6 asked, sources.store." in err
    )


def test_mistakes_of_a_selection_are_told_in_one_line_and_leave_nothing(pair, tmp_path, command):
    out = tmp_path / "x.h5"
    for words, message in [
        (["--out", out], "no condition"),
        (["--where", "photo_z < 0.5"], "--out is missing"),
        (["--where", "photo_z < -1", "--out", out], "no galaxy is left"),
        (["--where", "redshift < 1", "--out", out], "no column 'redshift'; there are: HSC_id, photo_z"),
        (["--where", "photo_z <", "--out", out], "--where 'photo_z <'"),
        (["--sample", 99, "--out", out], "only 25 are left"),
        (["--sample", -1, "--out", out], "--sample -1"),
        (["--ids", tmp_path / "none.txt", "--out", out], "no such file"),
        (["--split", "test", "--where", "split == 0", "--out", out], "no galaxy is left"),
        (["--split", "train", "--out", pair[0], "--overwrite"], "--out is an input file"),
    ]:
        code, _, err = command("select", pair[0], *words)
        assert code == 2 and err.count("\n") == 1 and message in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.h5", "two.h5"]


def test_a_selection_from_a_damaged_store_is_refused(pair, tmp_path, command):
    flip_byte(pair[0], "catalog")
    code, _, err = command("select", pair[0], "--split", "train", "--out", tmp_path / "x.h5")
    assert code == 2 and "catalog: wrong checksum" in err and not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize(
    "name, to",
    [
        ("images", ["x.fits"]),
        ("noiseless", ["x.fits"]),
        ("noiseless", ["x.fits", "--stamps"]),
        ("catalog", ["x.fits", "--table-only"]),
        ("catalog", ["x.csv"]),
    ],
)
def test_damage_does_not_pass_into_an_exported_file(tmp_path, command, name, to):
    store = write(tmp_path / "store.h5", np.arange(9), noiseless=True)
    assert command("export", store, "--to", tmp_path / to[0], *to[1:])[0] == 0
    flip_byte(store, name)
    code, _, err = command("export", store, "--to", tmp_path / f"new-{to[0]}", *to[1:])
    assert code == 2 and f"{store}: damaged store ({name}: wrong checksum" in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.h5", to[0]]


COLUMNS = {
    "id": np.array([FIRST_ID, FIRST_ID + 1, MISSING_INT, 5]),
    "z": np.array([0.1, np.nan, 0.3, 0.4]),
    "name": np.array(["W01", "W02", "", "W01"]),
    "flag": np.array([True, True, False, False]),
    "maybe": np.ma.MaskedArray([True, False, False, False], [False, False, True, True]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"id == {FIRST_ID}", [1, 0, 0, 0]),
        (f"id != {FIRST_ID}", [0, 1, 0, 1]),
        (f"{FIRST_ID} < id <= {FIRST_ID + 1}", [0, 1, 0, 0]),
        ("id < 5.5", [0, 0, 0, 1]),
        ("id - 5 == 0", [0, 0, 0, 1]),
        ("-id < 0", [1, 1, 0, 1]),
        ("name == 'W01' and z < 0.2", [1, 0, 0, 0]),
        ("name != 'W01'", [0, 1, 0, 0]),
        ("flag == 0 or not z > 0", [0, 1, 1, 1]),
        ("9 ** 9 ** 9 ** 9 > z", [1, 0, 1, 1]),
        ("'a' < 'b'", [1, 1, 1, 1]),
        ("maybe", [1, 0, 0, 0]),
        ("not maybe", [0, 1, 0, 0]),
        ("not (maybe and flag)", [0, 1, 1, 1]),
        ("not (maybe or flag)", [0, 0, 0, 0]),
        ("not not maybe or z > 0.35", [1, 0, 0, 1]),
        ("not (flag and not maybe)", [1, 0, 1, 1]),
    ],
)
def test_conditions_compare_ids_to_the_last_digit_and_skip_missing_values(text, expected):
    assert evaluate(text, COLUMNS.__getitem__, list(COLUMNS), 4).tolist() == [bool(value) for value in expected]


@pytest.mark.parametrize("text", ["name < 3", "name + 1 > 0", "z and flag", "not z", "id", "name == z", "-name == 'a'"])
def test_what_makes_no_sense_as_a_condition_is_refused(text):
    with pytest.raises(UserError, match="--where"):
        evaluate(text, COLUMNS.__getitem__, list(COLUMNS), 4, "--where")
