"""The FITS catalog is clean FITS that every reader opens, and gives units and ids back."""

import shutil
import subprocess
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable, Table
from astropy.wcs import WCS

from galaxycgan.catalogs.check.info import summary
from galaxycgan.catalogs.export.export import write_fits
from galaxycgan.catalogs.export.read import read_catalog, read_fits_images
from galaxycgan.catalogs.schema.columns import MISSING_INT, describe_column
from galaxycgan.catalogs.store.store import GalaxyStore, StoreHeader
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.errors import UserError


def needs(program, package):
    """Skip a test where a Debian program is missing."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"no {program}: apt-get install {package}")


@pytest.fixture(scope="module")
def real(survey_store, tmp_path_factory):
    """Path of the FITS catalog of the survey's store."""
    path = tmp_path_factory.mktemp("fits") / "real.fits"
    write_fits(survey_store, path)
    return path


def write_synthetic(path, n=300, recipe="demo", first_pixel=0.0):
    """Write a synthetic store with every column that a generated catalog has, and names and text that FITS dislikes."""
    rng = np.random.default_rng(1)
    bands = ("g", "r", "i")
    names = ["photo_z", "log_mass", "r50", "q", "pa", "conc", "ood"]
    kinds = ("flux", "flux_err", "flux_true", "mag", "mag_true", "sky_rms")
    names += [f"{kind}_{band}" for kind in kinds for band in bands]
    table = QTable()
    for name in names:
        unit = describe_column(name, bands).unit
        values = rng.uniform(1, 10, n)
        values[3] = np.nan
        table[name] = values if unit is None else values * unit
    table["ood_flag"] = rng.random(n) < 0.1
    table["seed"] = np.full(n, 2**60 + 1)
    table["odd name/é"] = np.float32(1.5) * np.ones(n, np.float32)
    table["Odd_name__"] = np.array(["naïve", ""] * (n // 2))
    header = StoreHeader(
        bands=bands,
        filters=("HSC-G", "HSC-R2", "HSC-I2"),
        created="2026-01-02T03:04:05Z",
        id_column="SYN_id",
        synthetic=True,
        psf_fwhm_arcsec=(0.79, 0.75, float("nan")),
        mass_convention="Chabrier IMF, " * 8,
    )
    images = rng.normal(size=(2, n, 3, 20, 20)).astype(np.float32)
    images[0, 0, 0, 0, 0] = first_pixel
    request = {"recipe": {"name": recipe, "seed": 3}, "generator_sha256": "ab" * 32}
    with StoreWriter(path, n=n, header=header, noiseless=True) as writer:
        writer.append(*images)
        writer.finish(ids=np.arange(n), catalog=table, provenance={"request": request, "note": "it's & more " * 20})
    return path


@pytest.fixture(scope="module")
def synthetic_store(tmp_path_factory):
    """Path of a synthetic store."""
    return write_synthetic(tmp_path_factory.mktemp("synthetic") / "catalog.h5")


@pytest.fixture(scope="module")
def synthetic(synthetic_store):
    """Path of the FITS catalog of a synthetic store."""
    path = synthetic_store.with_suffix(".fits")
    write_fits(synthetic_store, path)
    return path


@needs("fitsverify", "ftools-fitsverify or fitsverify")
@pytest.mark.parametrize("catalog", ["real", "synthetic"])
def test_fitsverify_has_nothing_to_say(catalog, request):
    path = request.getfixturevalue(catalog)
    done = subprocess.run(["fitsverify", path], capture_output=True, text=True)
    assert "found 0 warning(s) and 0 error(s)" in done.stdout, done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("catalog", ["real", "synthetic"])
def test_astropy_opens_it_without_a_warning_and_confirms_the_checksums(catalog, request):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(request.getfixturevalue(catalog), checksum=True) as hdus:
            hdus.verify("exception")
            assert [hdu.name for hdu in hdus][:3] == ["PRIMARY", "CATALOG", "IMAGES"]
            assert all(hdu.verify_checksum() == hdu.verify_datasum() == 1 for hdu in hdus)
            wcs = WCS(hdus["IMAGES"].header)
    size = hdus["IMAGES"].header["NAXIS1"]
    offset = wcs.wcs_pix2world([[(size + 1) / 2 + 10, (size + 1) / 2, 1, 1]], 1)[0]
    np.testing.assert_allclose(offset, [1.68, 0, 1, 1])


def test_our_reader_gives_back_units_ids_and_missing_values(real, survey_store):
    table, store = read_catalog(real), GalaxyStore(survey_store)
    assert table.colnames == store.columns and table.colnames[0] == "HSC_id"
    assert np.array_equal(table["HSC_id"], store.ids) and table["HSC_id"].dtype == np.int64
    for name in store.columns:
        assert getattr(table[name], "unit", None) == getattr(store.table[name], "unit", None), name
    assert table["log_mass"].unit == u.dex(u.solMass) and table["icmodel_mag"].unit == u.mag(u.AB)
    np.testing.assert_array_equal(table["log_mass"].value, store.column("log_mass"))
    assert table["COSMOS_id"].mask.sum() == 2 and MISSING_INT not in table["COSMOS_id"].compressed()
    np.testing.assert_array_equal(read_fits_images(real), store.images())
    np.testing.assert_array_equal(read_fits_images(real, [4, 2]), store.images([4, 2]))


def test_a_synthetic_catalog_comes_back_whole(synthetic, synthetic_store):
    table, store = read_catalog(synthetic), GalaxyStore(synthetic_store)
    assert table["flux_g"].unit == u.nJy and table["r50"].unit == u.arcsec and table["mag_true_r"].unit == u.mag(u.AB)
    assert table["ood_flag"].dtype == bool and table["seed"][0] == 2**60 + 1
    np.testing.assert_array_equal(read_fits_images(synthetic, name="NOISELESS"), store.noiseless())
    assert table.colnames[-2:] == ["odd_name__", "Odd_name___2"] and table["Odd_name___2"][0] == "na?ve"
    assert np.isnan(table["conc"][3])


def test_the_headers_say_what_the_numbers_are_and_where_they_came_from(synthetic, synthetic_store):
    with fits.open(synthetic) as hdus:
        first, table, images = hdus[0].header, hdus["CATALOG"].header, hdus["IMAGES"].header
    assert (first["RECIPE"], first["SEED"], first["GANHASH"]) == ("demo", 3, "ab" * 32)
    assert (first["PSFFWHM1"], first["FILTER2"], first["SYNTH"]) == (0.79, "HSC-R2", True) and "PSFFWHM3" not in first
    assert first["STOREID"] == GalaxyStore(synthetic_store).fingerprint and first["DATE"] == "2026-01-02T03:04:05"
    assert first["MASSCONV"] == ("Chabrier IMF, " * 8).rstrip() and "it's & more" in first["PROVENAN"]
    assert images["BUNIT"] == "nJy" and (images["CRPIX1"], images["CUNIT1"]) == (10.5, "arcsec")
    number = {table[f"TTYPE{k}"]: k for k in range(1, table["TFIELDS"] + 1)}
    assert all(f"TCOMM{k}" in table and f"TUCD{k}" in table for k in number.values())
    k = number["log_mass"]
    assert (table[f"TCOMM{k}"], table[f"TUCD{k}"]) == ("log10(M*/solMass)", "phys.mass") and f"TUNIT{k}" not in table
    k = number["mag_i"]
    assert (table[f"TUNIT{k}"], table[f"TCOMM{k}"]) == ("mag", "AB")
    assert table[f"TFORM{number['SYN_id']}"] == "K" and table[f"TNULL{number['seed']}"] == MISSING_INT
    assert not any(key.startswith(("TZERO", "TSCAL")) for key in table)


def test_every_ucd_is_one_of_the_controlled_vocabulary(synthetic, real):
    for path in (synthetic, real):
        header = fits.getheader(path, "CATALOG")
        for k in range(1, header["TFIELDS"] + 1):
            assert check_ucd(header[f"TUCD{k}"], check_controlled_vocabulary=True), header[f"TUCD{k}"]


def test_fitsio_reads_ids_table_and_images(real, survey_store):
    fitsio = pytest.importorskip("fitsio", reason="no fitsio: pip install fitsio")
    store = GalaxyStore(survey_store)
    with fitsio.FITS(str(real)) as file:
        table = file["CATALOG"].read()
        np.testing.assert_array_equal(table["HSC_id"], store.ids)
        np.testing.assert_array_equal(table["photo_z"], store.column("photo_z"))
        np.testing.assert_array_equal(table["labelled"], store.column("labelled"))
        np.testing.assert_array_equal(file["IMAGES"][7:9, :, :, :], store.images([7, 8]))


@needs("stilts", "stilts")
def test_stilts_reads_the_table_with_units_descriptions_and_whole_ids(real, survey_store):
    def pipe(*commands):
        words = [word for text in commands for word in ("cmd=" + text,)]
        done = subprocess.run(["stilts", "tpipe", f"in={real}", *words, "ofmt=csv"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [line.split(",") for line in done.stdout.split()]

    rows = pipe("keepcols 'HSC_id COSMOS_id'")
    store = GalaxyStore(survey_store)
    assert [int(row[0]) for row in rows[1:]] == store.ids.tolist()
    assert sum(row[1] == "" for row in rows[1:]) == 2
    meta = {row[0]: row[1:] for row in pipe("meta name class units ucd")[1:]}
    assert meta["HSC_id"] == ["Long", "", "meta.id;meta.main"]
    assert meta["icmodel_mag"] == ["Double", "mag", "phot.mag;em.opt.I"]
    assert meta["sep"][1] == "arcsec" and meta["labelled"][0] == "Boolean"


def test_plain_astropy_tables_read_it(real):
    table = QTable.read(real, hdu="CATALOG")
    assert table["sep"].unit == u.arcsec and len(table) == 60


def test_equal_stores_give_equal_bytes_and_a_second_export_does_nothing(synthetic_store, tmp_path, command):
    twin = write_synthetic(tmp_path / "twin.h5")
    one, two = tmp_path / "one.fits", tmp_path / "two.fits"
    assert command("export", synthetic_store, "--to", one)[0] == 0
    assert command("export", twin, "--to", two)[0] == 0
    assert one.read_bytes() == two.read_bytes()
    code, out, _ = command("export", twin, "--to", one)
    assert code == 0 and "done already" in out
    assert "the same" in command("verify", "--same", one, two)[1]


def test_another_file_is_replaced_only_on_request(survey_store, synthetic_store, tmp_path, command):
    out = tmp_path / "c.fits"
    write_fits(synthetic_store, out)
    code, _, err = command("export", survey_store, "--to", out)
    assert code == 2 and "--overwrite" in err
    assert command("export", survey_store, "--to", out, "--overwrite")[0] == 0
    assert fits.getval(out, "SYNTH") is False


@pytest.fixture(scope="module")
def stamps(synthetic_store):
    """Path of a FITS catalog whose images are columns of the table."""
    path = synthetic_store.with_name("stamps.fits")
    write_fits(synthetic_store, path, images="stamps")
    return path


def test_stamps_are_columns_of_the_table(stamps, synthetic_store):
    store = GalaxyStore(synthetic_store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(stamps, checksum=True) as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "CATALOG"]
            np.testing.assert_array_equal(hdus["CATALOG"].data["stamp"], store.images())
            np.testing.assert_array_equal(hdus["CATALOG"].data["stamp_noiseless"], store.noiseless())
            assert hdus["CATALOG"].columns["stamp"].dim == "(20,20,3)"
            assert all(hdu.verify_checksum() == hdu.verify_datasum() == 1 for hdu in hdus)
    table = read_catalog(stamps)
    assert table["stamp"].unit == u.nJy and table["stamp"].shape == (300, 3, 20, 20)
    np.testing.assert_array_equal(table["SYN_id"], store.ids)


@needs("fitsverify", "ftools-fitsverify or fitsverify")
def test_fitsverify_has_nothing_to_say_of_stamps_and_of_a_bare_table(stamps, synthetic_store, tmp_path):
    bare = tmp_path / "bare.fits"
    write_fits(synthetic_store, bare, images="none")
    done = subprocess.run(["fitsverify", stamps, bare], capture_output=True, text=True)
    assert done.stdout.count("found 0 warning(s) and 0 error(s)") == 2, done.stdout


@needs("stilts", "stilts")
def test_stilts_shows_stamps_as_arrays_beside_whole_ids(stamps):
    words = ["stilts", "tpipe", f"in={stamps}", "cmd=meta name class shape", "ofmt=csv"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0 and '"(20, 20, 3)"' in done.stdout and "float[]" in done.stdout, (
        done.stdout + done.stderr
    )


def test_a_table_without_images_is_written_on_request(survey_store, tmp_path, command):
    out = tmp_path / "t.fits"
    assert command("export", survey_store, "--to", out, "--table-only")[0] == 0
    assert [hdu[1] for hdu in fits.info(out, output=False)] == ["PRIMARY", "CATALOG"]
    np.testing.assert_array_equal(read_catalog(out)["HSC_id"], GalaxyStore(survey_store).ids)
    assert "done already" in command("export", survey_store, "--to", out, "--table-only")[1]
    code, _, err = command("export", survey_store, "--to", out)
    assert code == 2 and "another request (images: NONE there, HDU asked); give another --to, or --overwrite" in err
    assert command("verify", out)[0] == 0


def test_stamps_of_many_galaxies_are_refused(survey_store, tmp_path, command, monkeypatch):
    monkeypatch.setattr("galaxycgan.catalogs.export.export.MOST_STAMPS", 59)
    code, _, err = command("export", survey_store, "--to", tmp_path / "t.fits", "--stamps")
    assert code == 2 and "60 galaxies; --stamps is for 59 at most" in err and err.count("\n") == 1


def test_images_stream_in_pieces_with_the_same_result(synthetic_store, synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr("galaxycgan.catalogs.store.store.BLOCK_BYTES", 4 * 3 * 20 * 20 * 7)
    monkeypatch.setattr("galaxycgan.catalogs.formats.fits.BLOCK_BYTES", 4096)
    write_fits(synthetic_store, tmp_path / "c.fits")
    assert (tmp_path / "c.fits").read_bytes() == synthetic.read_bytes()


@pytest.mark.parametrize(
    ("where", "finding"),
    [("header", "CATALOG: wrong CHECKSUM"), ("data", "IMAGES: wrong DATASUM"), ("tail", "truncated"), ("none", "OK")],
)
def test_verify_finds_damage_in_fits(synthetic, tmp_path, command, where, finding):
    path = tmp_path / "c.fits"
    content = bytearray(synthetic.read_bytes())
    if where == "header":
        content[content.index(b"'phys.mass")] = ord('"')
        content = content.replace(b'"phys.mass', b"'phys.mess")
    elif where == "data":
        content[len(content) // 3] ^= 1
    elif where == "tail":
        del content[-2880:]
    path.write_bytes(content)
    code, out, err = command("verify", path)
    assert code == (0 if where == "none" else 2) and finding in out + err and "Traceback" not in err


def test_verify_same_names_the_part_of_a_fits_file_that_differs(synthetic, tmp_path, command):
    changed = tmp_path / "c.fits"
    write_fits(write_synthetic(tmp_path / "c.h5", recipe="other", first_pixel=1.0), changed)
    code, _, err = command("verify", "--same", synthetic, changed)
    assert code == 2 and "RECIPE" in err and "data of IMAGES" in err
    assert "data of CATALOG" not in err and "data of NOISELESS" not in err


def test_a_file_without_images_is_said_to_have_none(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "bare.fits")
    with pytest.raises(UserError, match="no HDU CATALOG; it has PRIMARY"):
        read_catalog(tmp_path / "bare.fits")


def test_raw_pixels_have_no_magnitude_zero_point(survey_files):
    np.save(survey_files.paths["images"], survey_files.flux)
    out = survey_files.directory / "raw.fits"
    write_fits(survey_files.convert(pixels="raw"), out)
    assert "ABZP" not in fits.getheader(out) and fits.getheader(out, "IMAGES")["BUNIT"] == "adu"


def write_table(path, table, header=None):
    """Write a store of a table and tiny images."""
    header = header or StoreHeader(bands=("g",), filters=("HSC-G",), created="2026-01-02T03:04:05Z")
    with StoreWriter(path, n=len(table), header=header) as writer:
        writer.append(np.zeros((len(table), len(header.bands), 2, 2), np.float32))
        writer.finish(ids=np.arange(len(table)), catalog=table)
    return path


def test_a_flag_without_a_value_stays_without_one_and_is_counted(tmp_path):
    flags = MaskedColumn(np.arange(30) % 2 == 0, mask=np.arange(30) < 3)
    store = write_table(tmp_path / "s.h5", QTable({"agn": flags, "sound": np.ones(30, bool)}))
    write_fits(store, tmp_path / "s.fits")
    table = read_catalog(tmp_path / "s.fits")
    assert table["agn"].mask.tolist() == flags.mask.tolist() and np.array_equal(table["agn"][3:], flags[3:])
    assert table["sound"].all() and not hasattr(table["sound"], "mask")
    assert fits.getdata(tmp_path / "s.fits", "CATALOG").view(np.ndarray)["agn"][:4].tobytes() == b"\0\0\0F"
    words = {line.split()[0]: line.split()[1:] for line in summary(GalaxyStore(store)).splitlines()}
    assert words["agn"] == ["flag", "13", "true", "of", "30", "3"]
    assert words["sound"] == ["flag", "30", "true", "of", "30", "0"]


@needs("fitsverify", "ftools-fitsverify or fitsverify")
def test_fitsverify_has_nothing_to_say_of_flags_without_a_value(tmp_path):
    flags = MaskedColumn([True, False, True], mask=[True, False, False])
    write_fits(write_table(tmp_path / "s.h5", QTable({"agn": flags})), tmp_path / "s.fits")
    done = subprocess.run(["fitsverify", tmp_path / "s.fits"], capture_output=True, text=True)
    assert "found 0 warning(s) and 0 error(s)" in done.stdout, done.stdout


def test_words_that_a_fits_header_cannot_hold_are_written_as_well_as_it_can(tmp_path):
    table = QTable({"vel": np.ones(3)})
    table["vel"].info.description = "velocity\n of the\tgas,\x7f in Å"
    header = StoreHeader(bands=("é",), filters=("naïve\n1",), created="2026-01-02T03:04:05Z", mass_convention="a\nb")
    out = tmp_path / "catálogo.fits"
    write_fits(write_table(tmp_path / "s.h5", table, header), out, images="files", images_per_file=2)
    with fits.open(tmp_path / "catálogo-images-2.fits") as hdus:
        primary = hdus[0].header
        assert (primary["CATFILE"], primary["BAND1"], primary["FILTER1"]) == ("cat?logo.fits", "?", "na?ve 1")
        assert primary["MASSCONV"] == "a b" and hdus["IMAGES"].header["BAND1"] == "?"
        # Its first plane is the third row of the table
        assert (hdus["IMAGES"].header["CRVAL4"], primary["NGAL"]) == (3, 3)
    assert read_catalog(out)["vel"].info.description == "velocity of the gas,? in ?"


def test_columns_with_long_names_are_exported_under_shorter_ones(tmp_path):
    long = "UltraVISTA_" + "x" * 70
    table = QTable({long: np.arange(3.0), f"{long}y": np.arange(3.0) + 1})
    write_fits(write_table(tmp_path / "s.h5", table), tmp_path / "s.fits")
    names = read_catalog(tmp_path / "s.fits").colnames[-2:]
    assert names == [long[:60], f"{long[:60]}_2"]
    assert np.array_equal(Table.read(tmp_path / "s.fits", hdu=1)[names[1]], [1.0, 2.0, 3.0])


def test_wide_tables_are_exported_up_to_the_number_of_columns_that_fits_has(tmp_path, command):
    wide = QTable({f"UltraVISTA_Ks_MAG_AUTO_{k:04d}": np.arange(3.0) for k in range(998)})
    write_fits(write_table(tmp_path / "s.h5", wide), tmp_path / "s.fits")
    assert len(read_catalog(tmp_path / "s.fits").colnames) == 999
    wide["one_more"] = np.zeros(3)
    store = write_table(tmp_path / "t.h5", wide)
    code, _, err = command("export", store, "--to", tmp_path / "t.fits")
    assert code == 2 and err.count("\n") == 1 and f"{store}: 1,000 columns, but a FITS table has 999 at most" in err
    assert f"galaxycgan export {store} --to NAME.vot" in err and not (tmp_path / "t.fits").exists()
    assert command("export", store, "--to", tmp_path / "t.vot")[0] == 0
