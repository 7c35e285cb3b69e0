"""Survey files become one store: the right image, the right labels, every id to the last digit."""

import gzip
import hashlib
import json
import os
import signal
import sys

import layouts
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import QTable
from conftest import CREATED, make_survey

from galaxycgan.catalogs.convert.convert import convert
from galaxycgan.catalogs.store.store import GalaxyStore, split_of
from galaxycgan.context import Context
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.images.pixel_units import njy_to_hsc_asinh


def values_of(store, survey, image, name):
    """Return a catalog value of the image with this index in the survey's files."""
    return store.column(name)[store.rows_of(survey.ids[[image]])[0]]


def test_every_id_keeps_its_image_and_its_labels(survey_files):
    store = GalaxyStore(survey_files.convert())
    assert np.array_equal(store.ids, np.sort(survey_files.ids))
    order = np.argsort(survey_files.ids)
    np.testing.assert_allclose(store.images(), survey_files.flux[order], rtol=1e-5, atol=1e-4)
    table = survey_files.table
    for image in range(9, 60):
        row = table[(table.HSC_id == survey_files.ids[image]) & (table.COSMOS_id < 600_000)].iloc[0]
        assert values_of(store, survey_files, image, "photo_z") == row.photo_z
        assert values_of(store, survey_files, image, "COSMOS_id") == row.COSMOS_id


def test_ids_above_2_to_53_come_out_exactly_as_they_went_in(survey_files):
    assert not np.array_equal(survey_files.ids.astype(float).astype(np.int64), survey_files.ids)
    store = GalaxyStore(survey_files.convert())
    assert set(store.ids) == set(survey_files.ids)
    assert set(store.matches["HSC_id"]) == set(survey_files.table.HSC_id) & set(survey_files.ids)
    assert store.table["HSC_id"].dtype == np.int64


@pytest.mark.parametrize(
    ("rule", "expected"), [("nearest", 500_000), ("massive", 600_000), ("first", 600_000)], ids=lambda v: str(v)
)
def test_the_rule_decides_which_of_several_matches_is_kept(survey_files, rule, expected):
    store = GalaxyStore(survey_files.convert(duplicates=rule))
    for image in range(5):
        assert values_of(store, survey_files, image, "COSMOS_id") == expected + image


@pytest.mark.parametrize(
    ("rule", "without", "others"),
    [
        ("nearest", ["sep"], "massive or first"),
        ("nearest", ["sep", "log_mass"], "first"),
        ("massive", ["log_mass"], "nearest or first"),
        ("massive", ["sep", "log_mass"], "first"),
        ("error", [], "nearest, massive or first"),
        ("error", ["sep"], "massive or first"),
        ("error", ["log_mass"], "nearest or first"),
        ("error", ["sep", "log_mass"], "first"),
    ],
    ids=str,
)
def test_a_rule_that_fails_names_only_rules_that_work_on_this_table(survey_files, rule, without, others):
    survey_files.table = survey_files.table.drop(columns=without)
    survey_files.write()
    with pytest.raises(UserError, match="objects.csv: ") as caught:
        survey_files.convert(duplicates=rule, labels="photo_z")
    text = str(caught.value)
    assert text.endswith(f"--duplicates {others}")
    column = {"nearest": "sep", "massive": "log_mass"}.get(rule)
    reason = f"--duplicates {rule} needs the column {column}" if column else "6 HSC_ids have several selected rows: "
    assert reason in text and (column is None or f"--columns {column}=NAME_IN_TABLE" in text)
    for other in others.replace(" or ", ", ").split(", "):
        out = survey_files.directory / f"{other}.h5"
        assert GalaxyStore(survey_files.convert(duplicates=other, labels="photo_z", out=str(out))).n == 60


@pytest.mark.parametrize("column", [["heavy"] * 70, [None] * 70], ids=["text", "blank"])
def test_a_rule_whose_column_holds_no_numbers_is_not_advised(survey_files, column):
    survey_files.table = survey_files.table.drop(columns="sep").assign(log_mass=column)
    with pytest.raises(UserError, match="--duplicates first$"):
        survey_files.write().convert(labels="photo_z")


def test_a_tie_goes_to_the_smallest_cosmos_id(survey_files):
    assert values_of(GalaxyStore(survey_files.convert()), survey_files, 8, "COSMOS_id") == 400_008


def test_a_row_that_is_not_selected_is_never_kept_however_near(survey_files):
    assert values_of(GalaxyStore(survey_files.convert()), survey_files, 5, "COSMOS_id") == 500_005


@pytest.mark.parametrize("image", [6, 7], ids=["only unselected rows", "no row"])
def test_an_image_without_a_usable_row_is_stored_without_labels_and_in_no_split(survey_files, image):
    store = GalaxyStore(survey_files.convert())
    assert not values_of(store, survey_files, image, "labelled")
    assert np.isnan(values_of(store, survey_files, image, "photo_z"))
    assert store.split[store.rows_of(survey_files.ids[[image]])] == -1
    assert store.column("labelled").sum() == 58
    assert np.all((store.split >= 0) == store.column("labelled"))


def test_no_row_of_a_stored_object_is_thrown_away(survey_files):
    store = GalaxyStore(survey_files.convert())
    matches, table = store.matches, survey_files.table
    assert set(matches["COSMOS_id"]) == set(table.COSMOS_id[table.HSC_id.isin(survey_files.ids)])
    kept = matches[matches["kept"]]
    assert len(kept) == 58 and len(set(kept["HSC_id"])) == 58
    labelled = store.table[store.table["labelled"]]
    assert np.array_equal(kept["COSMOS_id"], labelled["COSMOS_id"])


def test_the_report_accounts_for_every_row_and_every_image(survey_files, command):
    code, out, _ = command(*survey_files.arguments())
    report = GalaxyStore(survey_files.directory / "store.h5").provenance["report"]
    rows, images = dict(report["rows"]), dict(report["images"])
    assert rows.pop("in table") == sum(rows.values()) == 70
    assert (rows["kept"], rows["another match"], rows["not selected"], rows["no image"]) == (58, 6, 2, 4)
    assert images.pop("stored") == 60
    assert images.pop("in file") == sum(images.values()) == 60
    assert report["HSC_ids"]["no row"] == [survey_files.ids[7]]
    assert code == 0 and "58 have labels" in out and f"HSC_id {survey_files.ids[7]}: no row" in out


def test_columns_have_units_that_astropy_shows(survey_store):
    table = QTable.read(survey_store, path="catalog")
    units = {"ra": u.deg, "sep": u.arcsec, "log_mass": u.dex(u.solMass), "icmodel_mag": u.mag(u.AB)}
    assert {name: table[name].unit for name in units} == units
    assert table["log_mass"].physical.unit == u.solMass
    assert table["icmodel_mag"].to(u.nJy).unit == u.nJy


def test_the_split_is_a_hash_of_the_id_that_stays_when_data_are_added(survey_files):
    whole = GalaxyStore(survey_files.convert())
    half = GalaxyStore(write_half(survey_files).convert(out=str(survey_files.directory / "half.h5")))
    assert np.array_equal(half.split, whole.split[whole.rows_of(half.ids)])
    digest = hashlib.blake2b(b"galaxycgan-1" + int(whole.ids[3]).to_bytes(8, "little"), digest_size=8).digest()
    uniform = int.from_bytes(digest, "little") / 2**64
    assert split_of(whole.ids)[3] == (0 if uniform < 0.8 else 1 if uniform < 0.9 else 2)
    many = np.bincount(split_of(np.arange(20_000))) / 20_000
    np.testing.assert_allclose(many, [0.8, 0.1, 0.1], atol=0.01)


def write_half(survey):
    """Write only every second image of a survey."""
    np.save(survey.paths["ids"], survey.ids[::2])
    np.save(survey.paths["images"], njy_to_hsc_asinh(survey.flux[::2]))
    return survey


def spoil_nothing(survey, how):
    """Write the same survey in another way that readers must not mind."""
    paths, images = survey.paths, njy_to_hsc_asinh(survey.flux)
    text = paths["table"].read_text()
    header, rest = text.split("\n", 1)
    {
        "big-endian": lambda: np.save(paths["images"], images.astype(">f8")),
        "Fortran order": lambda: np.save(paths["images"], np.asfortranarray(images)),
        "float32": lambda: np.save(paths["images"], images.astype(np.float32)),
        "float16": lambda: np.save(paths["images"], images.astype(np.float16)),
        "big-endian ids": lambda: np.save(paths["ids"], survey.ids.astype(">i8")),
        "unsigned ids": lambda: np.save(paths["ids"], survey.ids.astype(np.uint64)),
        "gzip": lambda: paths["table"].write_bytes(gzip.compress(text.encode())),
        "spaces in the header": lambda: paths["table"].write_text(header.replace(",", " , ") + "\n" + rest),
        "byte order mark": lambda: paths["table"].write_bytes(b"\xef\xbb\xbf" + text.encode()),
        "Windows line ends": lambda: paths["table"].write_bytes(text.replace("\n", "\r\n").encode()),
        "selected as 0 and 1": lambda: survey.table.astype({"selected": int}).to_csv(paths["table"], index=False),
    }[how]()


@pytest.mark.parametrize(
    "how",
    ["big-endian", "Fortran order", "float32", "float16", "big-endian ids", "unsigned ids", "gzip"]
    + ["spaces in the header", "byte order mark", "Windows line ends", "selected as 0 and 1"],
)
def test_another_way_to_write_the_same_numbers_gives_the_same_store(survey_files, survey_store, how):
    spoil_nothing(survey_files, how)
    store, reference = GalaxyStore(survey_files.convert()), GalaxyStore(survey_store)
    tolerance = {"float16": {"rtol": 0.05, "atol": 1}, "float32": {"rtol": 1e-4, "atol": 1e-4}}.get(how, {"rtol": 0})
    np.testing.assert_allclose(store.images(), reference.images(), **tolerance)
    for name in ("HSC_id", "catalog", "split", "matches"):
        assert store.checksums[name] == reference.checksums[name], name


def test_ids_of_another_width_are_read(survey_files):
    small = np.arange(60, dtype=np.int16) * 7
    survey_files.table["HSC_id"] = (
        survey_files.table["HSC_id"].map(dict(zip(survey_files.ids, small, strict=True))).fillna(999).astype(int)
    )
    survey_files.ids = small
    assert np.array_equal(GalaxyStore(survey_files.write().convert()).ids, small)


def test_columns_of_another_survey_are_mapped_and_a_shadowed_one_keeps_its_values(survey_files):
    table = survey_files.table
    survey_files.table = table.rename(columns={"HSC_id": "object_id"}).assign(specz_redshift=table.photo_z + 0.001)
    mapping = "photo_z=specz_redshift,HSC_id=object_id"
    store = GalaxyStore(survey_files.write().convert(columns=mapping))
    rows = store.column("labelled")
    np.testing.assert_allclose(store.column("photo_z")[rows], store.column("photo_z_original")[rows] + 0.001)
    assert store.provenance["columns"] == {"photo_z": "specz_redshift", "HSC_id": "object_id"}


def test_a_column_keeps_its_values_where_its_name_with_original_is_taken_too(survey_files):
    table = survey_files.table
    own = {"zspec": table.photo_z + 0.001, "photo_z_original": 7.0, "labelled": 3, "labelled_original": 4}
    survey_files.table = table.assign(**own)
    store = GalaxyStore(survey_files.write().convert(columns="photo_z=zspec"))
    rows = store.column("labelled")
    assert rows.dtype == bool and np.all(store.column("photo_z_original")[rows] == 7)
    assert set(store.column("labelled_original_original")[rows]) == {3}
    np.testing.assert_allclose(store.column("photo_z_original_original")[rows], store.column("photo_z")[rows] - 0.001)


def test_the_table_of_a_store_is_converted_again_and_again(survey_files, command):
    for k in range(3):
        store = survey_files.convert(out=str(survey_files.directory / f"s{k}.h5"), bad_rows="drop")
        assert command("export", store, "--to", survey_files.directory / f"t{k}.csv")[0] == 0
        table = pd.read_csv(survey_files.directory / f"t{k}.csv", dtype_backend="numpy_nullable")
        survey_files.table = table[table.labelled]
        survey_files.write()
    last = GalaxyStore(store)
    assert "labelled_original_original" in last.columns and last.column("labelled").sum() == 58


@pytest.mark.parametrize("blank", [False, True])
def test_a_name_that_a_store_needs_for_what_is_missing_is_changed_with_a_word(survey_files, blank):
    values = pd.array([None if blank else 1, *[1] * 69], dtype="Int64")
    survey_files.table = survey_files.table.assign(**{"dark": values, "dark.mask": 7, "dark_mask": 8})
    store = GalaxyStore(survey_files.write().convert(duplicates="first"))
    rows = store.column("labelled")
    assert np.all(store.column("dark_mask_original")[rows] == 7) and np.all(store.column("dark_mask")[rows] == 8)
    assert np.sum(~np.isin(store.column("dark")[rows], 1)) == blank
    assert "column dark.mask is called dark_mask_original" in store.provenance["report"]["text"]


def test_more_columns_than_a_store_holds_are_refused_before_the_images_are_converted(survey_files, monkeypatch):
    wide = pd.DataFrame({f"UltraVISTA_Ks_MAG_AUTO_{k:04d}": np.zeros(70) for k in range(1500)})
    survey_files.table = pd.concat([survey_files.table, wide.iloc[:, :1000]], axis=1)
    assert len(GalaxyStore(survey_files.write().convert()).columns) > 1000
    survey_files.table = pd.concat([survey_files.table, wide.iloc[:, 1000:]], axis=1)
    monkeypatch.setattr("galaxycgan.catalogs.convert.convert._append_images", None)
    with pytest.raises(UserError, match="objects.csv: more columns than a store's table has room for") as error:
        survey_files.write().convert(overwrite=True)
    assert "\n" not in str(error.value)


def test_other_labels_may_be_asked_for(survey_files):
    survey_files.table = survey_files.table.drop(columns="log_mass").assign(sfr=1.5)
    store = GalaxyStore(survey_files.write().convert(labels="photo_z,sfr"))
    assert np.nanmax(store.column("sfr")) == 1.5


def test_filters_of_another_camera_are_named(survey_files):
    store = GalaxyStore(survey_files.convert(filters="DECam-g, DECam-r,DECam-i", mass_convention="Chabrier"))
    assert store.filters == ("DECam-g", "DECam-r", "DECam-i") and store.header.mass_convention == "Chabrier"


def test_without_a_column_selected_all_rows_may_be_kept(survey_files):
    survey_files.table = survey_files.table.drop(columns="selected")
    store = GalaxyStore(survey_files.write().convert())
    assert values_of(store, survey_files, 5, "COSMOS_id") == 600_005
    assert store.column("labelled").sum() == 59


def test_without_a_choice_to_make_no_separation_is_needed(survey_files):
    survey_files.table = survey_files.table.drop_duplicates("HSC_id").drop(columns="sep")
    assert GalaxyStore(survey_files.write().convert()).n == 60


@pytest.mark.parametrize(
    ("pixels", "factor", "unit"), [("nJy", 1, "nJy"), ("counts:27", 57.544, "nJy"), ("raw", 1, "adu")]
)
def test_pixels_of_other_schemes_become_nanojansky_or_stay_raw(survey_files, pixels, factor, unit):
    np.save(survey_files.paths["images"], survey_files.flux)
    store = GalaxyStore(survey_files.convert(pixels=pixels))
    expected = survey_files.flux[np.argsort(survey_files.ids)] * factor
    np.testing.assert_allclose(store.images(), expected, rtol=2e-5, atol=1e-4)
    assert store.pixel_unit == unit


def test_rows_with_illegal_labels_are_dropped_on_request_and_listed(survey_files):
    bad = survey_files.table.HSC_id.isin(survey_files.ids[[20, 21]])
    survey_files.table.loc[bad, "photo_z"] = -99.0
    store = GalaxyStore(survey_files.write().convert(bad_rows="drop"))
    assert store.n == 60 and store.column("labelled").sum() == 56
    assert store.provenance["report"]["HSC_ids"]["illegal labels"] == sorted(survey_files.ids[[20, 21]])
    assert not np.any(store.column("photo_z") < 0)


def test_no_farther_match_takes_the_place_of_a_row_with_illegal_labels(survey_files):
    survey_files.table.loc[survey_files.table.COSMOS_id == 500_000, "log_mass"] = 99.0
    store = GalaxyStore(survey_files.write().convert(bad_rows="drop"))
    assert not values_of(store, survey_files, 0, "labelled")


def test_images_with_bad_pixels_are_left_out_on_request_and_the_others_stay_whole(survey_files):
    survey_files.flux[30, 1, 7, 7] = np.nan
    survey_files.flux[31, 2, 0, 0] = np.inf
    store = GalaxyStore(survey_files.write().convert(bad_pixels="drop"))
    report = store.provenance["report"]
    assert store.n == 58 and report["rows"]["image left out"] == 2
    assert report["HSC_ids"]["bad pixels"] == sorted(survey_files.ids[[30, 31]])
    order = np.argsort(np.delete(survey_files.ids, [30, 31]))
    np.testing.assert_allclose(store.images(), np.delete(survey_files.flux, [30, 31], 0)[order], rtol=1e-5, atol=1e-4)
    assert not np.isin(store.matches["HSC_id"], survey_files.ids[[30, 31]]).any()


def test_integers_with_blanks_beside_them_stay_exact(survey_files):
    survey_files.table["flag"] = pd.array([2**53 + 1, None] * 35, dtype="Int64")
    store = GalaxyStore(survey_files.write().convert())
    flags = store.table["flag"]
    assert set(flags.compressed()) == {2**53 + 1} and 0 < flags.mask.sum() < 60


def test_the_same_command_again_does_nothing(survey_files, command):
    command(*survey_files.arguments())
    path = survey_files.directory / "store.h5"
    before = path.read_bytes(), path.stat().st_mtime_ns
    code, out, _ = command(*survey_files.arguments())
    assert code == 0 and "done already" in out
    assert before == (path.read_bytes(), path.stat().st_mtime_ns)


def test_a_store_of_other_input_or_options_is_replaced_only_on_request(survey_files, command):
    command(*survey_files.arguments())
    code, _, err = command(*survey_files.arguments("--duplicates", "massive"))
    assert (
        code == 2
        and "another request (duplicates: " in err
        and " there, massive asked)" in err
        and "--overwrite" in err
    )
    survey_files.table = survey_files.table.iloc[:-1]
    survey_files.write()
    code, _, err = command(*survey_files.arguments())
    assert code == 2 and "objects.csv: SHA-256" in err
    code, _, _ = command(*survey_files.arguments("--overwrite"))
    assert code == 0 and GalaxyStore(survey_files.directory / "store.h5").provenance["report"]["rows"]["in table"] == 69


def test_a_store_of_other_kinds_of_files_is_not_taken_for_the_same(survey_files, command):
    survey_files.table = survey_files.table.drop(columns=["ra", "dec"])
    survey_files.write()
    positions = pd.DataFrame({"HSC_id": survey_files.ids, "ra": 150.0, "dec": 2.0})
    positions.to_csv(survey_files.directory / "list.csv", index=False)
    words = ["convert", "--bands", "g,r,i", "--images", layouts.npy_directory(survey_files)]
    words += ["--table", survey_files.paths["table"], "--out", survey_files.directory / "s.h5"]
    listed = ["--ids", survey_files.directory / "list.csv"]
    assert command(*words, *listed)[0] == 0
    code, _, err = command(*words)
    assert code == 2 and "(input files: --ids, --images, --table there, --images, --table asked); give" in err
    assert "done already" in command(*words, *listed)[1]
    assert command(*words, "--overwrite")[0] == 0 and command(*words, *listed)[0] == 2


def test_equal_input_gives_equal_datasets_and_the_sources_are_named_by_their_hash(survey_files):
    first = GalaxyStore(survey_files.convert())
    second = GalaxyStore(survey_files.convert(out=str(survey_files.directory / "second.h5")))
    assert first.fingerprint == second.fingerprint
    assert json.dumps(first.provenance) == json.dumps(second.provenance)
    for name, path in survey_files.paths.items():
        assert first.provenance["sources"][name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_stop_during_conversion_leaves_nothing_behind(survey_files):
    context = Context()
    context.stop.set()
    before = sorted(survey_files.directory.iterdir())
    with pytest.raises(Interrupted):
        convert(survey_files.options(), context)
    assert sorted(survey_files.directory.iterdir()) == before


def calls_of_a_conversion(options, kill_at=None):
    """Convert in a child process; return how many calls of functions it made, or kill it without warning at one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def profile(frame, event, argument):
            nonlocal count
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.setprofile(profile)
            convert(options, Context(created=CREATED))
            sys.setprofile(None)
            os.write(writer, str(count).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    assert (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL) or text
    return int(text) if text else None


@pytest.mark.parametrize(("source", "moments"), [("npy", 12), ("compressed HDF5", 4)])
def test_a_conversion_that_is_killed_leaves_no_store_and_nothing_that_a_rerun_trips_over(
    tmp_path, monkeypatch, command, source, moments
):
    """The moments are spread over the whole conversion."""
    survey = make_survey(tmp_path, 20, 16)
    monkeypatch.setattr("galaxycgan.catalogs.convert.convert.BLOCK_BYTES", 3 * 3 * 16 * 16 * 8)
    changes = {"out": str(tmp_path / "out/store.h5")}
    if source == "compressed HDF5":
        path = layouts.galaxiesml(survey, 16, chunks=(4, 5, 16, 16), compression="gzip")
        changes |= {"images": str(path), "ids": "", "table": ""}
    undisturbed = survey.convert(**changes | {"out": str(tmp_path / "undisturbed.h5")})
    options, store = survey.options(**changes), tmp_path / "out/store.h5"
    total = calls_of_a_conversion(options)
    store.unlink()
    while_writing = 0
    for moment in np.linspace(0.02, 0.98, moments):
        assert calls_of_a_conversion(options, kill_at=int(moment * total)) is None
        while_writing += any(store.parent.glob(".*.part"))
        if store.exists():  # killed after the last step, moving the finished file into place
            assert command("verify", store)[0] == 0
            store.unlink()
    convert(options, Context(created=CREATED))
    code, out, err = command("verify", "--same", store, undisturbed)
    assert while_writing >= moments / 2 and code == 0, err
    assert [path.name for path in store.parent.iterdir()] == ["store.h5"]


def test_the_conversion_of_several_chunks_is_the_same_as_of_one(survey_files, survey_store, monkeypatch):
    monkeypatch.setattr("galaxycgan.catalogs.convert.convert.BLOCK_BYTES", 7 * 3 * 50 * 50 * 8)
    assert GalaxyStore(survey_files.convert()).checksums["images"] == GalaxyStore(survey_store).checksums["images"]


def test_the_output_may_not_be_one_of_the_input_files(survey_files):
    table = survey_files.paths["table"].rename(survey_files.directory / "objects.txt")
    with pytest.raises(UserError, match="--out is an input file"):
        survey_files.convert(table=str(table), out=str(table), overwrite=True)


def test_real_galaxies_convert(real_data, tmp_path, command):
    source = real_data / "hsc_real"
    files = ["--ids", source / "HSC_ids.npy", "--images", source / "images.small.npy"]
    table = source / "2018_02_23-all_objects.csv"
    code, out, err = command("convert", "--bands", "g,r,i", *files, "--table", table, "--out", tmp_path / "real.h5")
    assert code == 0, err
    store = GalaxyStore(tmp_path / "real.h5")
    rows = pd.read_csv(table, dtype={"HSC_id": str})
    rows = rows[rows.selected].sort_values(["sep", "COSMOS_id"]).drop_duplicates("HSC_id").set_index("HSC_id")
    assert store.n == 135 and store.column("labelled").all()
    np.testing.assert_array_equal(store.column("photo_z"), rows.loc[store.ids.astype(str), "photo_z"])
    assert store.images().min() > -1e-2  # negative sky was clipped to 0 in these pictures
