"""Any survey's files become the same store: images, tables and positions in every layout."""

import gzip
import re
from pathlib import Path

import h5py
import layouts
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from conftest import make_survey

from galaxycgan.catalogs.convert.matching import nearest_image
from galaxycgan.catalogs.inputs.cutout_directories import _centre
from galaxycgan.catalogs.inputs.cutouts import central
from galaxycgan.catalogs.inputs.raw_tables import read_raw
from galaxycgan.catalogs.inputs.survey_table import SurveyTable
from galaxycgan.catalogs.schema.columns import describe_column
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.errors import UserError

FIT = {"rtol": 2e-5, "atol": 2e-4}


N = 16
SECOND = 600_000 + np.arange(5)  # COSMOS_ids of second matches


@pytest.fixture
def survey(tmp_path):
    """A survey of 16 galaxies that a test may change."""
    return make_survey(tmp_path, N)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The store of the same survey from its npy files and CSV."""
    return GalaxyStore(make_survey(tmp_path_factory.mktemp("reference"), N).convert())


def convert(survey, **changes):
    """Convert other images and tables of a survey; return the store."""
    changes = {name: str(value) if isinstance(value, Path) else value for name, value in changes.items()}
    return GalaxyStore(survey.convert(**({"ids": "", "bands": ""} | changes)))


def expected(survey, size=50):
    """The survey's images in the store's order, cut to `size`."""
    cut = central(survey.flux.shape[-1], size)
    return survey.flux[np.argsort(survey.ids)][..., cut, cut]


# Images


def test_a_directory_of_npy_cutouts_is_read_by_the_ids_in_the_names(survey, reference):
    store = convert(survey, images=layouts.npy_directory(survey), bands="g,r,i")
    assert store.checksums == reference.checksums
    assert "1 other files" not in store.provenance["report"]["text"]
    assert "2 other files in the directory of images were ignored" in store.provenance["report"]["text"]
    assert store.provenance["sources"]["images"]["files"] == N


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_fits_cutouts_are_scaled_by_their_own_zero_point_and_cut_about_the_centre(survey, suffix):
    path = layouts.fits_directory(survey)
    for file in path.iterdir() if suffix else []:
        file.with_name(file.name + suffix).write_bytes(gzip.compress(file.read_bytes(), 1))
        file.unlink()
    store = convert(survey, images=path, size=50)
    np.testing.assert_allclose(store.images(), expected(survey), **FIT)
    assert (store.bands, store.filters) == (("g", "r", "i"), ("HSC-G", "HSC-R2", "HSC-I"))
    assert store.pixel_scale == pytest.approx(0.168) and store.pixel_unit == "nJy"
    ra, dec = (values[np.argsort(survey.ids)] for values in layouts.positions(N))
    np.testing.assert_allclose(store.column("ra_image"), ra, atol=1e-7)
    np.testing.assert_allclose(store.column("dec_image"), dec, atol=1e-7)
    assert store.provenance["decided"]["pixel_scale"] == [0.168, "files"]


def test_the_zero_point_that_is_asked_for_wins_over_the_one_in_the_files(survey):
    store = convert(survey, images=layouts.fits_directory(survey), size=20, pixels="counts:27.0", bands="i,g")
    factor = np.array([10 ** (0.4 * 3), 1.0])[:, None, None]
    np.testing.assert_allclose(store.images(), expected(survey, 20)[:, [2, 0]] * factor, rtol=2e-5, atol=2e-3)
    assert store.bands == ("i", "g") and store.provenance["decided"]["pixels"] == ["counts:27.0", "option"]


def test_fits_cutouts_of_slightly_different_sizes_are_cut_each_about_its_own_centre(survey, command):
    path = layouts.fits_directory(survey)
    for file in path.glob(f"{survey.ids[5]}-*"):
        file.unlink()
    layouts.fits_directory(survey, 57, images=[5])
    np.testing.assert_allclose(convert(survey, images=path, size=50).images(), expected(survey), **FIT)
    code, _, err = command(
        "convert", "--images", path, "--table", survey.paths["table"], "--out", survey.directory / "x.h5"
    )
    assert code == 2 and "1 of 16 objects have cutouts that are not 61x61" in err and "--size 57" in err


def test_objects_that_lack_a_band_are_left_out_on_request(survey):
    path = layouts.fits_directory(survey)
    next(path.glob(f"{survey.ids[11]}-cutout-HSC-R2-*")).unlink()
    with pytest.raises(UserError, match=f"1 of 16 objects lack .*{survey.ids[11]}.*--bad-pixels drop"):
        convert(survey, images=path, size=50)
    store = convert(survey, images=path, size=50, bad_pixels="drop")
    assert store.n == N - 1 and store.provenance["report"]["HSC_ids"]["lacks a band"] == [survey.ids[11]]
    assert convert(survey, images=path, size=50, bands="g,i", out=survey.directory / "gi.h5").n == N


@pytest.mark.parametrize(
    "storage", [{}, {"chunks": (7, 2, 20, 64), "compression": "gzip"}, {"chunks": (16, 5, 64, 64)}], ids=str
)
def test_a_galaxiesml_file_is_images_and_table_in_one(survey, storage):
    path = layouts.galaxiesml(survey, **storage)
    store = convert(survey, images=path, table="", bands="g,r,i", size=50)
    np.testing.assert_allclose(store.images(), expected(survey), **FIT)
    table = layouts.one_row_each(survey).loc[store.ids]
    assert np.array_equal(store.column("photo_z"), table.photo_z.fillna(0.5))
    assert store.provenance["columns"] == {"HSC_id": "object_id", "photo_z": "specz_redshift"}
    assert store.table["i_cmodel_mag"].unit == u.mag(u.AB) and store.column("specz_name")[0].startswith("zCOSMOS")
    assert store.header.stretch == "counts:27.0" and store.column("labelled").all()


def test_without_a_stellar_mass_the_message_tells_what_to_do(survey):
    path = layouts.galaxiesml(survey, mass=False)
    with pytest.raises(UserError, match="no column log_mass.*--labels photo_z does without"):
        convert(survey, images=path, table="")
    store = convert(survey, images=path, table="", labels="photo_z")
    assert store.bands == ("g", "r", "i", "z", "y") and store.size == 64


@pytest.mark.parametrize("storage", [{}, {"chunks": True, "compression": "gzip"}], ids=str)
@pytest.mark.parametrize("as_text", [False, True], ids=["integer ids", "text ids"])
def test_a_multimodal_universe_file_tells_bands_psf_and_mask(survey, storage, as_text):
    ids = survey.ids.astype("S") if as_text else None
    path = layouts.multimodal_universe(survey, ids=ids, **storage)
    store = convert(survey, images=path, bands="i,g", size=50)
    np.testing.assert_allclose(store.images(), expected(survey)[:, [2, 0]], **FIT)
    np.testing.assert_allclose(store.psf_fwhm, [0.6, 0.8], atol=1e-5)
    order = np.argsort(survey.ids)
    psf = store.table["psf_fwhm_g"]
    np.testing.assert_allclose(psf.to_value(u.arcsec), (0.8 + np.linspace(-0.05, 0.05, N))[order], rtol=1e-6)
    masked = np.zeros(N)
    masked[3] = 10 / (2 * 50 * 50)
    np.testing.assert_allclose(store.column("masked_fraction"), masked[order], atol=1e-12)
    assert "image_ivar is not stored" in store.provenance["report"]["notes"]
    np.testing.assert_allclose(store.column("ra_image"), layouts.positions(N)[0][order])


def test_a_file_in_chunks_is_unpacked_though_the_directory_of_the_store_is_not_there_yet(survey):
    path = layouts.multimodal_universe(survey, size=50, chunks=True, compression="gzip")
    store = convert(survey, images=path, bands="g", out=survey.directory / "new/place/s.h5")
    assert store.n == N


def test_fits_cutouts_of_several_pixel_scales_are_refused(survey):
    path = layouts.fits_directory(survey)
    odd = sorted(path.glob("*.fits"))[-3:]
    for name in odd:
        with fits.open(name, mode="update") as hdus:
            for key in [key for key in hdus[1].header if key.startswith(("CD1_", "CD2_", "CDELT"))]:
                hdus[1].header[key] *= 2
    with pytest.raises(UserError, match=f"pixels of 0.336 arcsec in {odd[0].name}, of 0.168 in .* .1 of 16 objects"):
        convert(survey, images=path, size=50)


def test_a_gzipped_cutout_with_a_flipped_bit_is_refused(survey):
    path = layouts.fits_directory(survey)
    for name in path.glob("*.fits"):
        packed = bytearray(gzip.compress(name.read_bytes(), compresslevel=0))
        packed[-4000] ^= 1
        name.with_name(name.name + ".gz").write_bytes(packed)
        name.unlink()
    with pytest.raises(UserError, match="not a readable FITS cutout: CRC check failed"):
        convert(survey, images=path, size=50)


def test_a_position_of_another_equinox_is_brought_to_icrs():
    header = layouts.celestial(150.0, 2.0, 50)
    header["NAXIS1"] = header["NAXIS2"] = 50
    header["RADESYS"], header["EQUINOX"] = "FK5", 1950.0
    _, (ra, dec) = _centre(header)
    assert (ra, dec) == pytest.approx((150.645, 1.758), abs=1e-3)
    header["EQUINOX"] = 2000.0
    assert _centre(header)[1] == pytest.approx((150.0, 2.0), abs=1e-4)


@pytest.mark.parametrize("size", [50, 51])
def test_the_position_of_a_cutout_is_that_of_its_centre_to_a_hundredth_of_a_pixel(size):
    header = fits.Header()
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, size, size + 4
    for axis, (name, value, step) in enumerate((("RA---TAN", 150.0, -0.168), ("DEC--TAN", 0.0, 0.168)), start=1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CUNIT{axis}"] = name, value, "deg"
        header[f"CDELT{axis}"] = step / 3600
    # The pixel in the middle, counted from 1, is the reference point but for some whole pixels.
    header["CRPIX1"], header["CRPIX2"], header["RADESYS"] = (size + 1) / 2 - 7, (size + 5) / 2 + 3, "ICRS"
    scale, (ra, dec) = _centre(header)
    assert scale == pytest.approx(0.168)
    assert ((ra - 150) * 3600 / 0.168, dec * 3600 / 0.168) == pytest.approx((-7, -3), abs=0.01)


def test_a_link_to_a_cutout_that_is_gone_is_no_other_file(survey):
    path = layouts.npy_directory(survey)
    (path / "77-cutout.npy").symlink_to("gone.npy")
    with pytest.raises(UserError, match="77-cutout.npy: no such file"):
        convert(survey, images=path, bands="g,r,i")


def test_images_without_a_table_of_positions_bring_their_own(survey):
    survey.table = survey.table.drop(columns=["ra", "dec"])
    store = convert(survey.write(), images=layouts.multimodal_universe(survey, size=50))
    np.testing.assert_allclose(store.table["dec"].to_value(u.deg), layouts.positions(N)[1][np.argsort(survey.ids)])


@pytest.mark.parametrize(
    ("length", "size", "start"), [(64, 50, 7), (239, 239, 0), (239, 51, 94), (239, 50, 94), (64, 51, 7), (5, 1, 2)]
)
def test_the_central_pixel_of_the_image_is_the_central_pixel_of_the_stamp(length, size, start):
    cut = central(length, size)
    assert (cut.start, cut.stop - cut.start) == (start, size)
    assert np.arange(length)[cut][size // 2] == length // 2


def test_an_npy_file_is_cut_to_the_asked_size(survey):
    store = convert(survey, ids=survey.paths["ids"], bands="g,r,i", size=33)
    np.testing.assert_allclose(store.images(), expected(survey, 33), rtol=1e-5, atol=1e-4)
    assert store.provenance["decided"]["size"] == [33, "option"]


def test_options_win_over_what_the_files_tell(survey):
    path = layouts.multimodal_universe(survey, size=50)
    store = convert(survey, images=path, bands="g,r", psf_fwhm="1,2", pixel_scale="0.2", pixels="raw", filters="A,B")
    assert tuple(store.psf_fwhm) == (1, 2) and store.pixel_scale == 0.2 and store.pixel_unit == "adu"
    assert store.filters == ("A", "B")
    assert {how for _, how in store.provenance["decided"].values()} == {"option", "files"}


# Ids


@pytest.mark.parametrize("kind", ["npy", "npy directory", "FITS directory", "GalaxiesML", "MultimodalUniverse"])
def test_ids_above_2_to_53_survive_every_source_of_images(survey, kind):
    assert not np.array_equal(survey.ids.astype(float).astype(np.int64), survey.ids)
    if kind == "npy":
        words = {"ids": survey.paths["ids"], "bands": "g,r,i"}
    else:
        make = {
            "npy directory": layouts.npy_directory,
            "FITS directory": layouts.fits_directory,
            "GalaxiesML": layouts.galaxiesml,
            "MultimodalUniverse": lambda s: layouts.multimodal_universe(s, size=50),
        }[kind]
        words = {"images": make(survey), "bands": "g,r,i", "size": 50}
    store = convert(survey, **words)
    assert np.array_equal(store.ids, np.sort(survey.ids)) and store.table["HSC_id"].dtype == np.int64
    assert store.column("labelled").sum() == N - 2


@pytest.mark.parametrize("kind", layouts.TABLE_KINDS)
def test_ids_above_2_to_53_survive_every_format_of_table(survey, reference, kind):
    store = convert(survey, ids=survey.paths["ids"], table=layouts.write_table(survey, kind), bands="g,r,i")
    for name in ("HSC_id", "COSMOS_id", "photo_z", "ra", "icmodel_mag", "sep"):
        np.testing.assert_array_equal(store.column(name), reference.column(name), err_msg=name)
        assert store.table[name].unit == reference.table[name].unit
    assert set(store.matches["COSMOS_id"]) == set(reference.matches["COSMOS_id"])
    assert store.matches["HSC_id"].dtype == np.int64


@pytest.mark.parametrize("kind", layouts.TABLE_KINDS)
def test_ids_written_as_text_are_read_exactly(survey, reference, kind):
    survey.table["HSC_id"] = survey.table["HSC_id"].astype(str)
    store = convert(survey, ids=survey.paths["ids"], table=layouts.write_table(survey, kind), bands="g,r,i")
    assert np.array_equal(store.matches["HSC_id"], reference.matches["HSC_id"])


@pytest.mark.parametrize("kind", layouts.TABLE_KINDS)
def test_a_blank_id_is_an_error_that_names_the_row(survey, kind):
    survey.table = layouts.blank(survey.table, 12, "HSC_id")
    with pytest.raises(UserError, match="column HSC_id, row 13 of the data: blank"):
        convert(survey, ids=survey.paths["ids"], table=layouts.write_table(survey, kind), bands="g,r,i")


@pytest.mark.parametrize("kind", layouts.TABLE_KINDS)
def test_ids_stored_as_floats_are_an_error_in_every_format(survey, kind):
    survey.table = survey.table.astype({"HSC_id": float})
    with pytest.raises(UserError, match="column HSC_id, row 1 of the data: .* is not a whole number"):
        convert(survey, ids=survey.paths["ids"], table=layouts.write_table(survey, kind), bands="g,r,i")


@pytest.mark.parametrize("kind", ["CSV", "FITS", "Parquet"])
def test_the_ids_of_the_images_may_be_a_table(survey, reference, kind):
    images = survey.ids
    listed = survey.__class__(survey.directory / "list", images, survey.flux, None)
    listed.directory.mkdir()
    listed.table = survey.table.iloc[: len(images)][["COSMOS_id"]].assign(HSC_id=images, ra=150.0, dec=2.0)
    store = convert(survey, ids=layouts.write_table(listed, kind), bands="g,r,i")
    assert store.checksums["images"] == reference.checksums["images"]
    assert np.all(store.column("ra_image") == 150.0)


def rewrite(path, change):
    """Save every cutout of a directory after a change to the array."""
    for file in path.glob("[0-9]*.npy"):
        np.save(file, change(np.load(file)))
    return path


def retyped(path, name, dtype):
    """Give a dataset of an HDF5 file another type."""
    with h5py.File(path, "r+") as file:
        values = file[name][()].astype(dtype)
        del file[name]
        file[name] = values
    return path


#: other ways to write the same numbers -> (how, what is wrong by at most, in nJy)
VARIANTS = {
    "big-endian cutouts": (lambda s: rewrite(layouts.npy_directory(s), lambda a: a.astype(">f8")), 2e-4),
    "float32 cutouts": (lambda s: rewrite(layouts.npy_directory(s), lambda a: a.astype("f4")), 1e-2),
    "float16 cutouts": (lambda s: rewrite(layouts.npy_directory(s), lambda a: a.astype("f2")), 5),
    "cutouts in Fortran order": (lambda s: rewrite(layouts.npy_directory(s), np.asfortranarray), 2e-4),
    "big-endian HDF5 images": (lambda s: retyped(layouts.galaxiesml(s), "image", ">f8"), 2e-4),
    "float16 HDF5 images": (lambda s: retyped(layouts.galaxiesml(s), "image", "f2"), 1),
    "unsigned HDF5 ids": (lambda s: retyped(layouts.galaxiesml(s), "object_id", "u8"), 2e-4),
    "HDF5 ids as text": (lambda s: retyped(layouts.galaxiesml(s), "object_id", "S19"), 2e-4),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_way_to_write_the_same_images_gives_the_same_store(survey, variant):
    write, tolerance = VARIANTS[variant]
    store = convert(survey, images=write(survey), bands="g,r,i", size=50)
    np.testing.assert_allclose(store.images(), expected(survey), rtol=2e-5, atol=tolerance)
    assert np.array_equal(store.ids, np.sort(survey.ids)) and store.column("labelled").sum() == N - 2


@pytest.mark.parametrize(("kind", "dtype"), [("FITS", "i4"), ("FITS", "u8"), ("Parquet", "u8"), ("HDF5", ">i2")])
def test_ids_of_another_width_are_read_from_tables(survey, kind, dtype):
    small = np.arange(N) * 7
    renamed = dict(zip(survey.ids, small, strict=True))
    survey.table["HSC_id"] = survey.table["HSC_id"].map(renamed).fillna(999).astype(np.dtype(dtype).newbyteorder("="))
    survey.ids = small
    table = layouts.write_table(survey.write(), kind)
    store = convert(survey, ids=survey.paths["ids"], table=table, bands="g,r,i")
    assert np.array_equal(store.ids, small) and store.column("labelled").sum() == N - 2


def test_a_list_of_ids_may_have_the_names_that_the_table_has(survey):
    survey.table = survey.table.rename(columns={"HSC_id": "object_id"})
    Table({"object_id": survey.ids}).write(survey.directory / "list.ecsv")
    words = {"ids": survey.directory / "list.ecsv", "columns": "HSC_id=object_id", "bands": "g,r,i"}
    assert np.array_equal(convert(survey.write(), **words).ids, np.sort(survey.ids))


# Tables


def test_units_of_the_file_become_those_of_the_schema(survey, reference):
    table = layouts.as_qtable(survey)
    table["dec"] = table["dec"].to(u.rad)
    table["sep"] = (table["sep"] * u.arcsec).to(u.arcmin)
    table["log_mass"] = (10 ** np.asarray(table["log_mass"])) * u.solMass
    table["age"] = np.arange(len(table), dtype=float) * u.Gyr
    table["age"].info.description = "age of the stars"
    degrees = survey.table["ra"].to_numpy() * u.deg
    hours = degrees.to_value(u.hourangle)
    for name, ra in (("t.fits", degrees.to(u.rad)), ("t.vot", hours * u.hour), ("t.ecsv", hours * u.hourangle)):
        table["ra"] = ra
        format = {"t.vot": "votable", "t.ecsv": "ascii.ecsv"}.get(name)
        table.write(survey.directory / name, format=format)
        store = convert(survey, ids=survey.paths["ids"], table=survey.directory / name, bands="g,r,i", overwrite=True)
        for column in ("ra", "dec", "sep", "log_mass"):
            np.testing.assert_allclose(store.column(column), reference.column(column), rtol=1e-9)
            assert store.table[column].unit == reference.table[column].unit
        assert store.table["age"].unit == u.Gyr
        assert any("ra was converted from" in note for note in store.provenance["report"]["notes"])


@pytest.mark.parametrize("kind", ["FITS", "VOTable", "ECSV", "HDF5", "Parquet"])
def test_integers_keep_the_unit_of_the_file_and_merge(survey, kind, command):
    paths = []
    for first, whole in ((0, True), (1, False)):
        survey.table["HSC_id"] += first
        survey.ids += first
        survey.table["exptime"] = 600 + np.arange(len(survey.table)) + (0 if whole else 0.5)
        survey.table["n"] = 5
        table = write_with_unit(survey, kind, "exptime", u.s)
        out = survey.directory / f"{first}.h5"
        store = convert(survey.write(), ids=survey.paths["ids"], table=table, bands="g,r,i", out=out)
        values = store.table["exptime"]
        kept = store.matches[store.matches["kept"]]["exptime"]
        assert values.unit == kept.unit == u.s and np.array_equal(values[store.column("labelled")], kept)
        assert store.table["n"].dtype == np.int64
        paths.append(out)
    assert command("merge", *paths, "--out", survey.directory / "all.h5")[0] == 0
    assert GalaxyStore(survey.directory / "all.h5").table["exptime"].unit == u.s


def write_with_unit(survey, kind, name, unit):
    """Write the survey's table with a column that has a unit and keeps its type; return its path."""
    table = Table(layouts.as_qtable(survey))
    table[name].unit = unit
    path = survey.directory / layouts.TABLE_NAMES[kind]
    if kind == "Parquet":
        pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow: pip install 'galaxycgan[parquet]'")
        plain = pa.Table.from_pandas(survey.table)
        fields = [one.with_metadata({"unit": str(unit)}) if one.name == name else one for one in plain.schema]
        pa.parquet.write_table(plain.cast(pa.schema(fields)), path)
        return path
    settings = {"VOTable": {"format": "votable"}, "ECSV": {"format": "ascii.ecsv"}}
    settings["HDF5"] = {"path": "objects", "serialize_meta": True}
    table.write(path, overwrite=True, **settings.get(kind, {}))
    return path


def test_text_that_fits_files_cannot_hold_is_told(survey):
    table = Table(layouts.as_qtable(survey))
    table["name"] = ["NGC é" if k == 3 else "plain" for k in range(len(table))]
    table["plain"] = "plain"
    table.write(survey.directory / "t.ecsv", format="ascii.ecsv")
    store = convert(survey, ids=survey.paths["ids"], table=survey.directory / "t.ecsv", bands="g,r,i")
    notes = [note for note in store.provenance["report"]["notes"] if "ASCII" in note]
    assert notes == ["column name: characters that are not ASCII become ? in FITS files"]


def test_integers_beyond_those_that_floats_hold_stay_exact_without_a_unit(survey):
    table = Table(layouts.as_qtable(survey))
    table["long"] = MaskedColumn(2**60 + 1 + np.arange(len(table)), mask=np.arange(len(table)) < 2, unit="m")
    table["some"] = MaskedColumn(np.full(len(table), 7, "u1"), mask=np.arange(len(table)) % 2 == 0, unit="m")
    table.write(survey.directory / "t.ecsv", format="ascii.ecsv")
    store = convert(survey, ids=survey.paths["ids"], table=survey.directory / "t.ecsv", bands="g,r,i")
    assert store.table["long"].dtype == np.int64 and store.table["long"].max() > 2**60
    note = "column long has integers beyond 2^53: kept as they are, without the unit m"
    assert note in store.provenance["report"]["notes"]
    some = store.table["some"]
    assert some.unit == u.m and np.nanmax(some.value) == 7 and 2 < np.isnan(some.value).sum() < len(some)


@pytest.mark.parametrize(
    "name", ["mag_i", "imag", "MAG_AUTO", "F814W_mag_auto", "i_cmodel_mag", "psfMag_r", "magnitude", "mag2", "absmag"]
)
def test_columns_with_the_word_mag_in_their_name_are_ab_magnitudes(name):
    assert describe_column(name, "gri", measured=False).unit == u.mag(u.AB)


@pytest.mark.parametrize(
    "name", ["i_cmodel_magerr", "petroMagErr_g", "mag_i_sigma", "MAGERR_AUTO", "i_cmodel_magsigma"]
)
def test_errors_of_magnitudes_are_differences_of_magnitudes(name):
    assert describe_column(name, "gri", measured=False).unit == u.mag


@pytest.mark.parametrize("name", ["image_quality", "magnification", "MAGPHYS_mass", "n_images", "Magellan", "damage"])
def test_other_words_with_the_letters_mag_mean_no_magnitude(name):
    assert describe_column(name, "gri").unit is None


def test_columns_of_the_table_have_no_unit_but_the_file_s(survey):
    table, values = layouts.as_qtable(survey), np.linspace(1, 2, len(survey.table))
    for name in ("flux_i", "flux_err_i", "sky_rms_g", "r50", "magnification", "mag_i"):
        table[name] = values
    table["flux_g"], table["pa"] = values * u.uJy, values * u.rad
    table["flux_g"].info.description = "model flux"
    table.write(survey.directory / "t.ecsv", format="ascii.ecsv")
    store = convert(survey, ids=survey.paths["ids"], table=survey.directory / "t.ecsv", bands="g,r,i").table
    assert not any(getattr(store[name], "unit", None) for name in ("flux_i", "flux_err_i", "sky_rms_g", "r50"))
    assert store["flux_i"].info.description == "flux_i of the survey table"
    assert (store["mag_i"].unit, store["pa"].unit) == (u.mag(u.AB), u.rad)
    assert store["flux_g"].unit == u.uJy and store["flux_g"].info.description == "model flux"
    assert np.nanmax(store["flux_g"].value) <= 2


def test_a_logarithm_that_the_file_calls_solar_masses_stays_a_logarithm(survey, reference):
    table = layouts.as_qtable(survey)
    table["log_mass"] = np.asarray(table["log_mass"]) * u.solMass
    table.write(survey.directory / "t.fits")
    store = convert(survey, ids=survey.paths["ids"], table=survey.directory / "t.fits", bands="g,r,i")
    np.testing.assert_array_equal(store.column("log_mass"), reference.column("log_mass"))


def test_columns_with_several_values_in_a_row_are_left_out_and_named(survey):
    table = layouts.as_qtable(survey)
    table["pdf"] = np.zeros((len(table), 5))
    table.write(survey.directory / "t.fits")
    store = convert(survey, ids=survey.paths["ids"], table=survey.directory / "t.fits", bands="g,r,i")
    assert "pdf" not in store.columns and "column pdf has several values" in store.provenance["report"]["text"]


@pytest.mark.parametrize("kind", ["FITS", "VOTable", "ECSV"])
def test_gzipped_tables_are_read(survey, reference, kind):
    path = layouts.write_table(survey, kind)
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    store = convert(survey, ids=survey.paths["ids"], table=packed, bands="g,r,i")
    assert np.array_equal(store.column("photo_z"), reference.column("photo_z"), equal_nan=True)


def test_a_damaged_gzip_file_is_not_read_and_one_of_hdf5_is_to_be_unpacked(survey):
    path = layouts.write_table(survey, "FITS")
    packed = bytearray(gzip.compress(path.read_bytes(), compresslevel=0))
    packed[len(packed) // 2] ^= 1
    damaged, hdf5 = path.with_name("damaged.fits.gz"), path.with_name("t.hdf5.gz")
    damaged.write_bytes(packed)
    with pytest.raises(UserError, match="damaged.fits.gz: damaged gzip file"):
        convert(survey, ids=survey.paths["ids"], table=damaged, bands="g,r,i")
    hdf5.write_bytes(gzip.compress(layouts.write_table(survey, "HDF5").read_bytes()))
    with pytest.raises(UserError, match="HDF5 in gzip; gunzip it first"):
        convert(survey, ids=survey.paths["ids"], table=hdf5, bands="g,r,i")


def test_columns_of_a_votable_have_their_names_not_their_xml_ids(survey, reference):
    path = layouts.write_table(survey, "VOTable")
    text = path.read_text()
    for k, name in enumerate(re.findall(r'<FIELD[^>]* name="(\w+)"', text)):
        text = text.replace(f'ID="{name}"', f'ID="col{k}"')
    path.write_text(text)
    assert 'ID="col0"' in text
    store = convert(survey, ids=survey.paths["ids"], table=path, bands="g,r,i")
    assert np.array_equal(store.column("photo_z"), reference.column("photo_z"), equal_nan=True)


def test_a_flag_of_a_fits_table_may_be_neither_true_nor_false(survey):
    path = layouts.write_table(survey, "FITS")
    table = Table.read(path)
    table["star"] = np.arange(len(table)) % 2 == 0
    table.write(path, overwrite=True)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data.view(np.ndarray)["star"][::3] = 0
    frame = read_raw(path, "--table").frame
    assert frame["star"].isna().tolist() == [k % 3 == 0 for k in range(len(frame))]
    assert frame["star"].dropna().tolist() == [k % 2 == 0 for k in range(len(frame)) if k % 3]


def test_unsigned_integers_that_are_blank_throughout_are_missing_values(survey):
    path = survey.directory / "t.parquet"
    survey.table.assign(none=pd.array([None] * len(survey.table), dtype="UInt64")).to_parquet(path)
    store = convert(survey, ids=survey.paths["ids"], table=path, bands="g,r,i")
    assert np.all(store.table["none"].mask)


def test_parquet_columns_without_a_name_are_left_out_and_repeated_ones_refused(survey):
    pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow: pip install 'galaxycgan[parquet]'")
    path, values = survey.directory / "t.parquet", [pa.array([1.0, 2.0])] * 3
    pa.parquet.write_table(pa.table(values, names=["photo_z", "log_mass", ""]), path)
    raw = read_raw(path, "--table")
    assert list(raw.frame) == ["photo_z", "log_mass"] and raw.left_out == ["(no name)"]
    pa.parquet.write_table(pa.table(values, names=["photo_z", "x", "x"]), path)
    with pytest.raises(UserError, match="column 'x' comes twice"):
        read_raw(path, "--table")


def test_a_column_split_of_the_table_is_not_the_stores_own(survey):
    survey.table["split"] = 7
    store = convert(survey.write(), ids=survey.paths["ids"], bands="g,r,i")
    assert "split" not in store.columns and 7 in store.column("split_original")


def test_a_store_can_serve_as_the_table(survey, reference):
    store = convert(survey, ids=survey.paths["ids"], table=reference.path, bands="g,r,i", bad_rows="drop")
    assert np.array_equal(store.column("photo_z"), reference.column("photo_z"), equal_nan=True)


# Matching on the sky


def sky_survey(survey):
    """Drop the shared ids: rows lie 0.3 arcsec from their object, second matches 0.8, others far away."""
    ra, dec = layouts.positions(len(survey.ids))
    image = {id: k for k, id in enumerate(survey.ids)}
    places = survey.table.HSC_id.map(image)
    offset = np.where(survey.table.COSMOS_id.between(600_000, 600_004), 0.8, 0.3) / 3600
    survey.table["ra"] = np.where(places.isna(), 10.0, ra[places.fillna(0).astype(int)])
    survey.table["dec"] = np.where(places.isna(), 10.0, dec[places.fillna(0).astype(int)] + offset)
    survey.truth = survey.table.HSC_id.copy()
    survey.table = survey.table.drop(columns=["HSC_id", "sep"])
    listed = Table({"HSC_id": survey.ids, "ra": ra, "dec": dec})
    listed.write(survey.directory / "list.fits")
    return survey.write()


def test_rows_are_matched_on_the_sky_and_every_match_within_the_radius_is_kept(survey):
    truth = survey.table.set_index("COSMOS_id").HSC_id
    store = convert(sky_survey(survey), ids=survey.directory / "list.fits", bands="g,r,i", match_radius=1.0)
    matches = store.matches
    assert len(matches) == N + 6
    assert np.array_equal(matches["HSC_id"], truth.loc[matches["COSMOS_id"]])
    second = np.isin(matches["COSMOS_id"], SECOND)
    np.testing.assert_allclose(matches["sep"][second].to_value(u.arcsec), 0.8, atol=1e-4)
    np.testing.assert_allclose(matches["sep"][~second].to_value(u.arcsec), 0.3, atol=1e-4)
    assert not matches["kept"][second].any() and store.column("labelled").sum() == N - 2
    assert "matched by position, within 1 arcsec" in store.provenance["report"]["text"]
    own = {"HSC_id": 5, "HSC_id_original": 6, "ra_image": 7.0}
    survey.table = survey.table.assign(**own)
    again = survey.directory / "again.h5"
    store = convert(survey.write(), ids=survey.directory / "list.fits", bands="g,r,i", match_radius=1.0, out=again)
    assert set(store.matches["HSC_id_original"]) == {6} and set(store.matches["HSC_id_original_original"]) == {5}
    labelled = store.column("labelled")
    assert set(store.column("ra_image")[labelled]) == {7.0} and np.all(store.column("ra_image_image") > 10)
    narrow = convert(
        survey, ids=survey.directory / "list.fits", bands="g,r,i", match_radius=0.5, out=survey.directory / "n.h5"
    )
    assert len(narrow.matches) == N + 1


@pytest.mark.parametrize("kind", ["FITS directory", "MultimodalUniverse"])
def test_images_that_tell_their_position_need_no_list(survey, kind):
    make = layouts.fits_directory if kind == "FITS directory" else layouts.multimodal_universe
    store = convert(sky_survey(survey), images=make(survey), bands="g,r,i", size=50, match_radius=1.0)
    assert len(store.matches) == N + 6 and store.column("labelled").sum() == N - 2


def test_a_position_that_cannot_be_is_told_in_one_line_and_ids_of_the_table_do_not_matter(survey):
    path = layouts.multimodal_universe(sky_survey(survey), size=50)
    survey.table["HSC_id"] = ["", "x"] * (len(survey.table) // 2) + [""] * (len(survey.table) % 2)
    store = convert(survey.write(), images=path, bands="g", match_radius=1.0)
    assert store.column("labelled").sum() == N - 2
    with h5py.File(path, "r+") as file:
        file["dec"][3] = -999.0
    with pytest.raises(UserError, match="row 4 of the data: .* is no position in degrees") as error:
        convert(survey, images=path, bands="g", match_radius=1.0, out=survey.directory / "b.h5")
    assert "\n" not in str(error.value)


def test_a_directory_takes_positions_from_a_list_in_any_order(survey):
    sky_survey(survey)
    store = convert(
        survey, images=layouts.npy_directory(survey), ids=survey.directory / "list.fits", bands="g,r,i", match_radius=1
    )
    assert store.column("labelled").sum() == N - 2


def test_a_survey_table_parses_what_is_asked_for_once_and_leaves_the_rest(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("HSC_id,photo_z,note,sep\n43150000000000001,0.5,x,1\n43150000000000002,,7,2\n")
    table = SurveyTable.read(path, {})
    assert table.ids.dtype == np.int64 and table.ids.tolist() == [43150000000000001, 43150000000000002]
    assert table.selected.all() and len(table) == 2 and "photo_z" in table and "log_mass" not in table
    redshifts = table.numbers("photo_z")
    assert redshifts is table.numbers("photo_z") and redshifts.dtype == np.float64 and not redshifts.flags.writeable
    np.testing.assert_array_equal(redshifts, [0.5, np.nan])
    assert table.frame["note"].tolist() == ["x", "7"]
    with pytest.raises(UserError, match=r"t.csv: column note, row 1 of the data: 'x' is not a number \(1 such rows\)"):
        table.numbers("note")
    with pytest.raises(UserError, match=r"t.csv: no column log_mass; it has .*--columns log_mass=NAME_IN_TABLE.*; so"):
        table.require(["photo_z", "log_mass"], "; so")


def test_positions_of_a_list_of_ids_are_converted_from_their_own_unit_by_any_name(survey):
    listed = Table.read(sky_survey(survey).directory / "list.fits")
    listed["RA2000"] = listed["ra"] / 15 * u.hour
    listed["OBJ"] = listed["HSC_id"]
    listed.remove_columns(["ra", "HSC_id"])
    listed.write(survey.directory / "hours.fits")
    survey.table = survey.table.rename(columns={"ra": "RA2000"}).assign(OBJ=1)
    settings = {"bands": "g,r,i", "match_radius": 1, "columns": "ra=RA2000,HSC_id=OBJ"}
    store = convert(survey.write(), ids=survey.directory / "hours.fits", **settings)
    assert np.array_equal(store.ids, np.sort(survey.ids)) and store.column("labelled").sum() == N - 2


def test_the_sky_is_round_at_zero_hours_and_at_the_poles():
    ra, dec = np.array([359.9999, 0.0001, 12.0, 180.0]), np.array([0.0, 0.0, 89.99999, -89.99999])
    frame = pd.DataFrame({"ra": [0.00005, -0.0001, 192.0, 200.0], "dec": [0.0, 0.0, 89.99999, -89.99999]})
    image, sep = nearest_image(SurveyTable(Path("t.csv"), frame), ra, dec, 1.0)
    assert image.tolist() == [1, 0, 2, 3]
    np.testing.assert_allclose(sep[:3], [0.18, 0, 0.072], atol=1e-5)


def test_a_row_near_two_objects_belongs_to_the_nearer_and_one_without_position_to_none():
    frame = pd.DataFrame({"ra": [150.0002, None, 20.0], "dec": [2.0, 2.0, 2.0]})
    table = SurveyTable(Path("t.csv"), frame)
    image, sep = nearest_image(table, np.array([150.0, 150.0003]), np.array([2.0, 2.0]), 1.0)
    assert image.tolist() == [1, -2, -1]
    assert np.isnan(sep[1:]).all() and sep[0] == pytest.approx(0.36, abs=0.01)


def test_rows_without_position_are_counted_in_the_report(survey):
    sky_survey(survey)
    survey.table.loc[20, "ra"] = np.nan
    store = convert(survey.write(), ids=survey.directory / "list.fits", bands="g,r,i", match_radius=1)
    assert store.provenance["report"]["rows"]["no position"] == 1
    assert "1 have no position" in store.provenance["report"]["text"]


# The report


def test_the_report_says_how_alike_the_splits_are(survey_store):
    store = GalaxyStore(survey_store)
    report = store.provenance["report"]
    labelled = store.column("labelled")
    for value, name in enumerate(("train", "val", "test")):
        z = store.column("photo_z")[labelled & (store.split == value)]
        assert report["splits"][name]["n"] == len(z)
        np.testing.assert_allclose(report["splits"][name]["photo_z"]["quantiles"], np.quantile(z, [0.05, 0.5, 0.95]))
    assert report["splits"]["train"]["photo_z"]["ks_p"] is None
    assert 0 < report["splits"]["val"]["log_mass"]["ks_p"] <= 1
    assert "kept matches lie" in report["text"] and "Kolmogorov" in report["text"]
    with h5py.File(survey_store) as file:
        assert "NaN" not in file.attrs["provenance"]


def test_catalog_columns_of_a_store_from_fits_export_to_fits(survey, command):
    path = layouts.multimodal_universe(survey, size=50)
    store = convert(survey, images=path, bands="g,r,i")
    code, _, err = command("export", store.path, "--to", survey.directory / "out.fits")
    assert code == 0, err
    assert QTable.read(survey.directory / "out.fits", hdu="CATALOG")["psf_fwhm_g"].unit == u.arcsec
