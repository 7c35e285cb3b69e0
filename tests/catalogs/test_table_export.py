"""The table alone goes to VOTable, ECSV, Parquet and CSV, and every reader finds the same numbers there."""

import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.io import votable
from astropy.table import MaskedColumn, QTable, Table

from galaxycgan.catalogs.export.read import read_catalog
from galaxycgan.catalogs.export.tables import write_table
from galaxycgan.catalogs.schema.columns import AB_MAGNITUDE, DEX_SOLAR_MASS
from galaxycgan.catalogs.schema.values import PlainColumn
from galaxycgan.catalogs.store.store import GalaxyStore, StoreHeader, split_of
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.errors import UserError

FIRST_ID = 43_150_000_000_000_001
FORMATS = (".vot", ".ecsv", ".parquet", ".csv")
WITH_UNITS = FORMATS[:3]


def needs_pyarrow():
    """Skip where pyarrow is missing."""
    return pytest.importorskip("pyarrow", reason="no pyarrow: pip install 'galaxycgan[parquet]'")


def write(path, n=300, created="2026-01-02T03:04:05Z"):
    """Write a store with a column of every kind, with missing values in each that can have them."""
    rng = np.random.default_rng(3)
    header = StoreHeader(
        bands=("g", "r"),
        filters=("HSC-G", "HSC-R2"),
        created=created,
        psf_fwhm_arcsec=(0.79, float("nan")),
        mass_convention='Chabrier & "others" <2003>',
    )
    third = np.arange(n) % 3 == 0
    blank = np.where(third, np.nan, rng.uniform(18, 25, n))
    table = QTable(
        {
            "COSMOS_id": MaskedColumn(2**60 + np.arange(n), mask=third),
            "photo_z": rng.uniform(0, 1, n),
            "log_mass": rng.uniform(8, 11, n) * DEX_SOLAR_MASS,
            "icmodel_mag": blank * AB_MAGNITUDE,
            "flux_g": rng.normal(0, 1e-3, n) * u.nJy,
            "size": rng.uniform(0, 1, n).astype(np.float32) * u.arcsec,
            "labelled": ~third,
            "star": MaskedColumn(third, mask=np.arange(n) % 5 == 0),
            "field": np.array(["W01", "", 'a, "b" <c>&'])[np.arange(n) % 3],
            "name": np.array(["naïve", "Ω", "x"])[np.arange(n) % 3],
            "counts": np.full(n, -np.inf),
        }
    )
    with StoreWriter(path, n=n, header=header) as writer:
        writer.append(np.zeros((n, 2, 4, 4), np.float32))
        ids, made = FIRST_ID + np.arange(n), {"command": "test", "report": {"long": 1}}
        split = np.where(third, -1, split_of(ids)).astype(np.int8)
        writer.finish(ids=ids, catalog=table, split=split, provenance=made)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store to read only."""
    return GalaxyStore(write(tmp_path_factory.mktemp("tables") / "s.h5"))


@pytest.fixture(scope="module")
def exported(store):
    """Paths of the store's table by suffix."""
    paths = {suffix: store.path.with_suffix(suffix) for suffix in FORMATS}
    for suffix, path in paths.items():
        if suffix != ".parquet" or _has_pyarrow():
            write_table(store.path, path)
    return paths


def _has_pyarrow():
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("suffix", WITH_UNITS)
def test_our_reader_gives_every_value_unit_and_description_back(store, exported, suffix):
    if suffix == ".parquet":
        needs_pyarrow()
    table = read_catalog(exported[suffix])
    assert table.colnames == store.columns
    for name in store.columns:
        got, expected = PlainColumn.of(table[name]), PlainColumn.of(store.table[name])
        assert got.unit == expected.unit and got.values.dtype.kind == expected.values.dtype.kind, name
        np.testing.assert_array_equal(got.missing, expected.missing, err_msg=name)
        there = ~expected.missing
        np.testing.assert_array_equal(got.values[there], expected.values[there], err_msg=name)
    assert table["size"].dtype == np.float32 and table["labelled"].dtype == bool
    assert table["icmodel_mag"].unit == AB_MAGNITUDE and table["log_mass"].unit == DEX_SOLAR_MASS
    assert table["photo_z"].info.description == "redshift"
    assert table.meta["mass_convention"] == 'Chabrier & "others" <2003>' and "report" not in table.meta["provenance"]
    assert json.loads(table.meta["provenance"])["command"] == "test"


def test_astropy_reads_the_votable_without_a_warning(store, exported):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = votable.parse(exported[".vot"], verify="exception")
        table = Table.read(exported[".vot"])
    assert file.version == "1.4"
    assert table["HSC_id"].dtype == np.int64 and np.array_equal(table["HSC_id"], store.ids)
    fields = {field.name: field for field in file.get_first_table().fields}
    assert fields["icmodel_mag"].unit == u.mag and fields["icmodel_mag"].description == "AB"
    assert fields["log_mass"].unit is None and fields["log_mass"].description == "log10(M*/solMass)"
    assert fields["HSC_id"].ucd == "meta.id;meta.main" and fields["flux_g"].unit == u.nJy


needs_stilts = pytest.mark.skipif(not shutil.which("stilts"), reason="no stilts: apt-get install stilts")


@needs_stilts
def test_votlint_has_nothing_to_say(exported):
    done = subprocess.run(["stilts", "votlint", exported[".vot"]], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_stilts
def test_stilts_reads_ids_text_and_blanks_of_the_votable(store, exported):
    words = ["stilts", "tpipe", f"in={exported['.vot']}", "cmd=keepcols 'HSC_id COSMOS_id star name'", "ofmt=csv"]
    done = subprocess.run(words, capture_output=True, text=True)
    rows = [line.split(",") for line in done.stdout.splitlines()[1:]]
    assert [int(row[0]) for row in rows] == store.ids.tolist(), done.stderr
    assert [row[1] for row in rows[:3]] == ["", str(2**60 + 1), str(2**60 + 2)]
    assert [row[2] for row in rows[:3]] == ["", "false", "false"] and [row[3] for row in rows[:3]] == [
        "naïve",
        "Ω",
        "x",
    ]


def test_astropy_reads_ecsv_with_units(store, exported):
    table = QTable.read(exported[".ecsv"])
    assert np.array_equal(table["HSC_id"], store.ids) and table["HSC_id"].dtype == np.int64
    assert table["icmodel_mag"].unit == AB_MAGNITUDE and table["log_mass"].unit == DEX_SOLAR_MASS
    assert table["COSMOS_id"].mask.sum() == 100 and table.meta["psf_fwhm_arcsec"] == [0.79, None]
    assert table.meta["bands"] == ["g", "r"]


def test_pandas_reads_parquet_with_whole_ids_beside_blanks(store, exported):
    pa = needs_pyarrow()
    frame = pd.read_parquet(exported[".parquet"])
    assert frame["HSC_id"].dtype == np.int64 and frame["HSC_id"].tolist() == store.ids.tolist()
    assert str(frame["COSMOS_id"].dtype) == "Int64" and frame["COSMOS_id"].iloc[1] == 2**60 + 1
    assert frame["COSMOS_id"].isna().sum() == 100 and str(frame["star"].dtype) == "boolean"
    np.testing.assert_array_equal(frame["icmodel_mag"], store.column("icmodel_mag"))
    schema = pa.parquet.read_schema(exported[".parquet"])
    assert schema.field("flux_g").metadata[b"unit"] == b"nJy"
    assert schema.field("HSC_id").metadata[b"ucd"] == b"meta.id;meta.main"


def test_astropy_finds_the_votable_header_in_parquet(exported):
    pa = needs_pyarrow()
    content = pa.parquet.read_schema(exported[".parquet"]).metadata[b"IVOA.VOTable-Parquet.content"]
    assert b"<DATA>" not in content
    header = exported[".parquet"].with_suffix(".header.vot")
    header.write_bytes(content)
    table = votable.parse(header, verify="exception").get_first_table()
    assert [field.name for field in table.fields] == list(pd.read_parquet(exported[".parquet"]).columns)


def test_csv_keeps_digits_and_leaves_blanks(store, exported):
    frame = pd.read_csv(exported[".csv"], dtype_backend="numpy_nullable", keep_default_na=False, na_values=[""])
    assert frame["HSC_id"].tolist() == store.ids.tolist() and frame["COSMOS_id"].iloc[2] == 2**60 + 2
    assert frame["COSMOS_id"].isna().sum() == 100 and frame["star"].isna().sum() == 60
    np.testing.assert_array_equal(frame["photo_z"].to_numpy(float), store.column("photo_z"))
    assert np.float32(frame["size"].iloc[0]) == store.column("size")[0]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_second_export_does_nothing_and_another_store_is_refused(store, tmp_path, command, suffix):
    if suffix == ".parquet":
        needs_pyarrow()
    out = tmp_path / f"t{suffix}"
    assert command("export", store.path, "--to", out)[0] == 0
    before = out.read_bytes()
    code, text, err = command("export", store.path, "--to", out)
    if suffix == ".csv":  # has no place for its origin
        assert code == 2 and "--overwrite" in err
    else:
        assert code == 0 and "done already" in text
    later = write(tmp_path / "later.h5", created="2027-01-01T00:00:00Z")
    code, _, err = command("export", later, "--to", out)
    assert code == 2 and err.count("\n") == 1 and out.read_bytes() == before
    if suffix == ".csv":
        assert "is there already and doesn't say which request made it; give another --to, or --overwrite" in err
    else:
        assert (
            "another request (store made: " in err and " there, 2027-01-01T00:00:00Z asked); give another --to" in err
        )
    assert command("export", later, "--to", out, "--overwrite")[0] == 0
    assert command("export", store.path, "--to", out, "--overwrite")[0] == 0
    assert out.read_bytes() == before


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_failed_export_leaves_the_file_that_was_there(store, tmp_path, monkeypatch, suffix):
    out = tmp_path / f"t{suffix}"
    out.write_text("before")

    def fail(*words, **more):
        raise OSError(28, "No space left on device")

    for name in ("binary2", "_text_rows", "_frame"):
        monkeypatch.setattr(f"galaxycgan.catalogs.export.tables.{name}", fail)
    if suffix == ".parquet":
        needs_pyarrow()
    with pytest.raises(UserError, match="No space left on device"):
        write_table(store.path, out, overwrite=True)
    assert out.read_text() == "before" and list(tmp_path.iterdir()) == [out]


def test_mistakes_of_an_export_are_told_in_one_line(store, tmp_path, command):
    (tmp_path / "bad.vot").write_text("<VOTABLE")
    for words, message in [
        (["--to", tmp_path / "t.xlsx"], "the suffix decides the format; .fits"),
        ([], "--to is missing"),
        (["--to", tmp_path / "t.vot", "--stamps"], "--stamps: VOTable holds the table only"),
        (["--to", tmp_path / "t.fits", "--stamps", "--table-only"], "choose one"),
        (["--to", tmp_path / "bad.vot"], "is there already"),
    ]:
        code, _, err = command("export", store.path, *words)
        assert code == 2 and err.count("\n") == 1 and message in err, err
    with pytest.raises(UserError, match="bad.vot: can't be read as VOTable"):
        read_catalog(tmp_path / "bad.vot")
    with pytest.raises(UserError, match="tables with units are"):
        read_catalog(tmp_path / "t.csv")


def test_without_pyarrow_parquet_says_what_to_install(store, tmp_path, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = command("export", store.path, "--to", tmp_path / "t.parquet")
    assert code == 2 and "pip install 'galaxycgan[parquet]'" in err and not list(tmp_path.iterdir())
