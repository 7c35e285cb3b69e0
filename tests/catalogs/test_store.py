"""A store reads back what was written, from anywhere and in any order, and shows any damage."""

import dataclasses
import fcntl
import hashlib
import json
import multiprocessing
import pickle
import shutil

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from conftest import flip_byte

from galaxycgan.catalogs.formats import hdf5
from galaxycgan.catalogs.store.integrity import store_problems
from galaxycgan.catalogs.store.store import GalaxyStore, StoreHeader, find_store, split_of
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.errors import UserError

HEADER = StoreHeader(
    bands=("g", "r"),
    filters=("HSC-G", "HSC-R2"),
    created="2026-01-02T03:04:05Z",
    id_column="SYN_id",
    synthetic=True,
    psf_fwhm_arcsec=(0.79, float("nan")),
)


def images_of(n, seed=0):
    """Return random images [n, 2, 8, 8]."""
    return np.random.default_rng(seed).normal(size=(n, 2, 8, 8)).astype(np.float32)


def write(path, n=10, header=HEADER, noiseless=True, **more):
    """Write a small synthetic store in two pieces."""
    images, smooth = images_of(n), images_of(n, 1)
    table = QTable({"photo_z": np.linspace(0.1, 0.5, n), "flux_g": np.arange(n) * u.nJy})
    with StoreWriter(path, n=n, header=header, noiseless=noiseless) as writer:
        for part in (slice(0, 4), slice(4, n)):
            writer.append(images[part], *([smooth[part]] if noiseless else []))
        writer.finish(**({"ids": np.arange(n), "catalog": table, "provenance": {"seed": 7}} | more))
    return path


def test_a_store_reads_back_what_was_written(tmp_path):
    with GalaxyStore(write(tmp_path / "s.h5")) as store:
        assert (store.n, len(store), store.size, store.bands, store.filters) == (
            10,
            10,
            8,
            HEADER.bands,
            HEADER.filters,
        )
        np.testing.assert_equal(dataclasses.asdict(store.header), dataclasses.asdict(HEADER))
        np.testing.assert_array_equal(store.images(), images_of(10))
        np.testing.assert_array_equal(store.noiseless(), images_of(10, 1))
        np.testing.assert_array_equal(store.ids, np.arange(10))
        assert store.columns == ["SYN_id", "photo_z", "flux_g"]
        assert store.table["flux_g"].unit == u.nJy and store.synthetic and store.provenance == {"seed": 7}
        assert np.all(store.split == -1) and store.matches is None


@pytest.mark.parametrize(
    "rows",
    [None, slice(2, 7), slice(None, None, -3), [3], [9, 0, 0, 1, 2, 5], np.array([-1, 4]), np.arange(10) % 3 == 0]
    + [np.zeros(10, bool), [], np.array([7, 8, 9, 2, 3], np.uint8)],
    ids=str,
)
def test_images_come_in_the_order_that_is_asked_for(tmp_path, rows):
    store = GalaxyStore(write(tmp_path / "s.h5"))
    index = np.asarray(rows, dtype=np.int64) if isinstance(rows, list) else rows
    expected = images_of(10) if rows is None else images_of(10)[index]
    np.testing.assert_array_equal(store.images(rows), expected)


@pytest.mark.parametrize("rows", [[10], [-11], np.ones(9, bool), [0.5]], ids=str)
def test_rows_that_are_not_there_are_refused(tmp_path, rows):
    with pytest.raises((IndexError, TypeError)):
        GalaxyStore(write(tmp_path / "s.h5")).images(rows)


def test_ids_lead_to_rows(survey_store):
    store = GalaxyStore(survey_store)
    rows = np.random.default_rng(0).permutation(store.n)
    np.testing.assert_array_equal(store.rows_of(store.ids[rows]), rows)
    with pytest.raises(UserError, match="1 ids are not in the store: 42"):
        store.rows_of([store.ids[0], 42])


def test_a_column_comes_as_a_plain_array_and_an_unknown_one_names_those_there(survey_store):
    store = GalaxyStore(survey_store)
    values = store.column("log_mass")
    assert type(values) is np.ndarray and values.dtype == np.float64
    np.testing.assert_array_equal(values, store.table["log_mass"].value)
    assert store.column("COSMOS_id").dtype == np.int64
    with pytest.raises(UserError, match="no column 'mass'.*log_mass"):
        store.column("mass")


def read_in_worker(store):
    """Return the sum of some images, as a worker process sees it."""
    return float(store.images([3, 1, 2]).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_through_the_same_object(survey_store, method):
    store = GalaxyStore(survey_store)
    expected = read_in_worker(store)  # opens the file before the workers start
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(read_in_worker, [store] * 4) == [expected] * 4
    assert read_in_worker(pickle.loads(pickle.dumps(store))) == expected


def test_a_store_is_read_past_the_lock_of_another_program(survey_store):
    with open(survey_store, "rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError):
            h5py.File(survey_store, "r", locking=True)
        assert GalaxyStore(survey_store).images([0]).shape == (1, 3, 50, 50)


def test_a_store_that_this_program_has_open_already_is_read(survey_store):
    with h5py.File(survey_store, "r"):
        assert len(GalaxyStore(survey_store).ids) == 60


def test_images_lie_contiguous_and_uncompressed(survey_store):
    with h5py.File(survey_store) as file:
        assert file["images"].chunks is None and file["images"].compression is None
        assert file["images"].dtype == np.dtype("<f4")
        assert file.attrs["schema"] == "galaxycgan-store" and file.attrs["schema_version"] == 1
        assert json.loads(file.attrs["checksums"]).keys() == set(file)


def test_a_long_provenance_fits(tmp_path):
    path = write(tmp_path / "s.h5", provenance={"ids": list(range(50_000))})
    assert GalaxyStore(path).provenance["ids"][-1] == 49_999


def test_equal_content_has_an_equal_fingerprint(tmp_path):
    one, two = GalaxyStore(write(tmp_path / "1.h5")), GalaxyStore(write(tmp_path / "2.h5"))
    other = GalaxyStore(write(tmp_path / "3.h5", split=np.ones(10, np.int8)))
    assert one.fingerprint == two.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "more",
    [{"ids": np.arange(9)}, {"ids": np.zeros(10, int)}, {"catalog": QTable({"SYN_id": np.arange(10) + 1})}],
    ids=["too few ids", "repeated ids", "misaligned catalog"],
)
def test_a_writer_refuses_what_does_not_fit_and_leaves_nothing(tmp_path, more):
    with pytest.raises(ValueError):
        write(tmp_path / "s.h5", **more)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_fails_or_never_finishes_leaves_the_old_store(tmp_path):
    path = write(tmp_path / "s.h5")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), StoreWriter(path, n=10, header=HEADER) as writer:
        writer.append(images_of(3))
        _ = 1 / 0
    with pytest.raises(RuntimeError, match="finish"), StoreWriter(path, n=3, header=HEADER) as writer:
        writer.append(images_of(3))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_buffer_may_be_used_again_after_append(tmp_path):
    buffer, path = np.empty((5, 2, 8, 8), np.float32), tmp_path / "s.h5"
    with StoreWriter(path, n=10, header=HEADER) as writer:
        for k in range(2):
            buffer[:] = images_of(10)[5 * k : 5 * k + 5]
            writer.append(buffer)
        buffer[:] = 0
        writer.finish(ids=np.arange(10), catalog=QTable({"a": np.arange(10)}))
    assert store_problems(path) == []


def test_the_one_real_store_in_catalogs_is_found(tmp_path, survey_store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_store("elsewhere.h5").name == "elsewhere.h5"
    with pytest.raises(UserError, match="no store of real galaxies there"):
        find_store("")
    (tmp_path / "catalogs").mkdir()
    write(tmp_path / "catalogs/synthetic.h5")
    (tmp_path / "catalogs/broken.h5").write_text("no")
    shutil.copy(survey_store, tmp_path / "catalogs/survey.h5")
    assert str(find_store("")) == "catalogs/survey.h5"
    shutil.copy(survey_store, tmp_path / "catalogs/other.h5")
    with pytest.raises(UserError, match="several stores.*catalogs/other.h5, catalogs/survey.h5"):
        find_store("")


def truncate(path, share=None):
    """Keep a share of a file's bytes; without one, all but the last 100."""
    content = path.read_bytes()
    path.write_bytes(content[:-100] if share is None else content[: int(share * len(content))])


def sign(path, name):
    """Give a changed dataset the checksum that fits, as a program does that doesn't know what it writes."""
    with h5py.File(path, "r+") as file:
        checksums = json.loads(file.attrs["checksums"])
        checksums[name] = hashlib.sha256(np.ascontiguousarray(file[name][()])).hexdigest()
        file.attrs["checksums"] = json.dumps(checksums)


def change_and_sign(path, name, change):
    """Change a dataset, and its checksum with it."""
    dataset(path, name, change)
    sign(path, name)


def shorten(path, name):
    """Drop the last row of a dataset."""
    with h5py.File(path, "r+") as file:
        values = file[name][:-1]
        del file[name]
        file[name] = values
    sign(path, name)


def spoil_pixels(values):
    """Put pixels that are no numbers into three images, and one that is merely huge into a fourth."""
    values[7, 1, 3, 3], values[9, 0, 0, 0], values[30, 2, 49, 49] = np.nan, np.inf, -np.inf
    values[11, 0, :2, :2] = 3e38


def dataset(path, name, change):
    """Change a dataset of a store in place."""
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        change(values)
        file[name][...] = values


def attribute(path, name, value):
    """Change an attribute of a store."""
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value


def remove(path, name):
    """Remove a dataset from a store."""
    with h5py.File(path, "r+") as file:
        del file[name]


def misalign(values):
    """Shift the rows of a catalog."""
    values[:] = np.roll(values, 1)


def flip_pixel(values):
    """Change one pixel a little."""
    values[7, 1, 3, 3] += 0.001


DAMAGE = {
    "truncated file": (truncate, "truncated: the end of the file is missing"),
    "a pixel changed": (lambda p: dataset(p, "images", flip_pixel), "images: wrong checksum"),
    "a pixel not finite": (
        lambda p: dataset(p, "images", lambda v: v.__setitem__((7, 1, 3, 3), np.nan)),
        "images: 1 have pixels that are NaN or infinite: HSC_id 4315",
    ),
    "a redshift changed": (
        lambda p: dataset(p, "catalog", lambda v: v["photo_z"].__setitem__(3, 1.0)),
        "catalog: wrong checksum",
    ),
    "catalog rows shifted": (lambda p: dataset(p, "catalog", misalign), "catalog: misaligned with the ids from row 0"),
    "ids not sorted": (
        lambda p: dataset(p, "HSC_id", lambda v: v[[3, 4]].sort() or misalign(v)),
        "not sorted from row 1",
    ),
    "an id twice": (lambda p: dataset(p, "HSC_id", lambda v: v.__setitem__(5, v[4])), "1 come more than once: 4315"),
    "a split changed": (
        lambda p: dataset(p, "split", lambda v: v.__setitem__(v == 2, 0)),
        "are not what the hash of the id says",
    ),
    "no split": (lambda p: remove(p, "split"), "split: dataset is missing"),
    "no ids": (lambda p: remove(p, "HSC_id"), "HSC_id: dataset is missing"),
    "no catalog": (lambda p: remove(p, "catalog"), "catalog: dataset is missing"),
    "no checksums": (lambda p: attribute(p, "checksums", "{}"), "images: wrong checksum"),
    "checksums that are no JSON": (lambda p: attribute(p, "checksums", "{"), "damaged store"),
    **{
        f"truncated to {share:.0%}": (lambda p, share=share: truncate(p, share), "truncated")
        for share in (0.02, 0.1, 0.5, 0.9, 0.999)
    },
    **{
        f"one bit of {name} changed": (lambda p, name=name: flip_byte(p, name), f"{name}: wrong checksum")
        for name in ("images", "HSC_id", "split", "catalog", "matches", "catalog.__table_column_meta__")
    },
    "pixels not finite, signed": (
        lambda p: change_and_sign(p, "images", spoil_pixels),
        "images: 3 have pixels that are NaN or infinite: HSC_id 4315",
    ),
    "ids not sorted, signed": (lambda p: change_and_sign(p, "HSC_id", misalign), "HSC_id: not sorted from row 1"),
    "catalog shifted, signed": (lambda p: change_and_sign(p, "catalog", misalign), "catalog: misaligned with the ids"),
    "split changed, signed": (
        lambda p: change_and_sign(p, "split", lambda v: v.__setitem__(v == 2, 0)),
        "are not what the hash of the id says",
    ),
    "unlabelled in a split, signed": (
        lambda p: change_and_sign(p, "catalog", lambda v: v["labelled"].__setitem__(slice(0, 9), False)),
        "without labels are in a split",
    ),
    "matches of a stranger, signed": (
        lambda p: change_and_sign(p, "matches", lambda v: v["HSC_id"].__setitem__(0, 42)),
        "matches: rows of ids that are not in the store",
    ),
    "a split too short": (lambda p: shorten(p, "split"), "60 images, but split has 59 rows"),
    "a catalog too short": (lambda p: shorten(p, "catalog"), "60 images, but catalog has 59 rows"),
    "no matches": (lambda p: remove(p, "matches"), "matches: dataset is missing"),
    "no images": (lambda p: remove(p, "images"), "damaged store"),
    "another schema version": (lambda p: attribute(p, "schema_version", 99), "schema version 99"),
    "another schema": (lambda p: attribute(p, "schema", "other"), "not a galaxycgan store"),
    "no store": (lambda p: p.write_text("text"), "neither a store (HDF5) nor FITS"),
    "an empty file": (lambda p: p.write_bytes(b""), "neither a store (HDF5) nor FITS"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_verify_finds_damage(survey_store, tmp_path, command, damage, monkeypatch):
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", 1000)  # some rows of the table
    spoil, finding = DAMAGE[damage]
    path = tmp_path / "s.h5"
    shutil.copy(survey_store, path)
    assert command("verify", path) == (0, f"{path}: OK\n", "")
    spoil(path)
    code, out, err = command("verify", path)
    assert code == 2 and out == "" and err.count("\n") == 1, err
    assert f"{path}: " in err and finding in err, err


def test_verify_never_stumbles_over_flipped_bytes(tmp_path, command):
    rng = np.random.default_rng(5)
    path = write(tmp_path / "s.h5")
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    found = 0
    for _ in range(40):
        spoiled = whole.copy()
        spoiled[rng.integers(len(whole), size=3)] ^= rng.integers(1, 256, size=3).astype(np.uint8)
        path.write_bytes(spoiled.tobytes())
        code, out, err = command("verify", path)
        assert code in (0, 2) and (out + err).count("\n") == 1 and "Traceback" not in err, err
        found += code == 2
    assert found > 20  # the others hit unused space


def test_verify_tells_pixels_that_are_huge_from_those_that_are_no_numbers(survey_store, tmp_path, command):
    path = tmp_path / "s.h5"
    shutil.copy(survey_store, path)
    change_and_sign(path, "images", spoil_pixels)
    bad = ", ".join(str(GalaxyStore(path).ids[row]) for row in (7, 9, 30))
    assert command("verify", path)[2].rstrip().endswith(f"images: 3 have pixels that are NaN or infinite: HSC_id {bad}")


def test_verify_checks_noiseless_images_too(tmp_path, command):
    path = write(tmp_path / "s.h5")
    flip_byte(path, "noiseless")
    assert command("verify", path)[2].endswith("s.h5: noiseless: wrong checksum\n")


def test_verify_names_each_damaged_file_on_a_line_of_its_own(survey_store, tmp_path, command):
    for name in ("a.h5", "b.h5"):
        (tmp_path / name).write_text("no")
    code, out, err = command("verify", tmp_path / "a.h5", survey_store, tmp_path / "b.h5")
    assert code == 2 and f"{survey_store}: OK" in out
    assert [line.split(": ")[-1] for line in err.splitlines()] == ["neither a store (HDF5) nor FITS"] * 2


def test_verify_same_compares_content_and_names_what_differs(survey_files, survey_store, tmp_path, command):
    twin = survey_files.convert(psf_fwhm="0.79,0.75,0.62")
    code, out, _ = command("verify", "--same", survey_store, twin)
    assert code == 0 and "the same" in out
    other = survey_files.convert(duplicates="massive", out=str(tmp_path / "other.h5"), psf_fwhm="0.79,0.75,0.62")
    code, _, err = command("verify", "--same", survey_store, other)
    assert code == 2 and "provenance in config.duplicates" in err and "dataset catalog: 5 of 60 rows" in err
    assert "dataset images" not in err and "attribute" not in err


def test_info_shows_units_ranges_and_origin(survey_store, command):
    code, out, _ = command("info", survey_store)
    store = GalaxyStore(survey_store)
    assert code == 0
    for text in (
        "60 real galaxies",
        "50x50 pixels of 0.168 arcsec, nJy",
        "g (HSC-G)",
        "0.79, 0.75, 0.62",
        "dex(solMass)",
    ):
        assert text in out
    assert str(store.ids.min()) in out and f"{np.nanmax(store.column('photo_z')):.6g}" in out
    assert store.provenance["sources"]["images"]["sha256"] in out
    assert "2 of" not in out and "58 true of 60" in out


def test_info_shows_whether_the_splits_are_alike_where_the_report_tells(tmp_path, command):
    splits = {"train": {"n": 1234, "photo_z": {"quantiles": [0.1, 0.4, 0.9], "ks_p": None}}}
    splits |= {"val": {"n": 5, "photo_z": {"quantiles": [0.1, 0.5, 0.8], "ks_p": 0.37}}}
    splits |= {"test": {"n": 0, "photo_z": {"quantiles": None, "ks_p": None}}}
    code, out, _ = command("info", write(tmp_path / "s.h5", provenance={"report": {"splits": splits}}))
    rows = [line.split() for line in out.splitlines()]
    assert code == 0 and ["train", "1,234", "photo_z", "0.1", "0.4", "0.9", "-"] in rows
    assert ["val", "5", "photo_z", "0.1", "0.5", "0.8", "0.37"] in rows
    assert ["test", "0", "photo_z", "-", "-", "-", "-"] in rows
    assert "like train" not in command("info", write(tmp_path / "none.h5", provenance={"report": {}}))[1]


def test_the_split_does_not_depend_on_order_or_neighbours():
    ids = np.array([43_159_009_666_035_549, 7, -3])
    np.testing.assert_array_equal(split_of(ids)[::-1], split_of(ids[::-1]))
    assert not np.array_equal(split_of(np.arange(100)), split_of(np.arange(100), salt="other"))
    assert np.all(split_of(ids, fractions=(0.0, 0.0, 1.0)) == 2)


def test_a_store_behind_a_link_is_replaced_and_the_link_stays(survey_files, tmp_path):
    (tmp_path / "scratch").mkdir()
    link, target = tmp_path / "link.h5", tmp_path / "scratch/survey.h5"
    link.symlink_to(target)
    survey_files.convert(out=str(link))
    assert link.is_symlink() and not target.is_symlink()
    with GalaxyStore(target) as store:
        assert store.n == len(survey_files.ids)
    assert not list(tmp_path.glob(".*part"))
