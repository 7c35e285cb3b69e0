"""Galaxies put into survey images are found again with the flux that the truth table says."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from galaxycgan.catalogs.check.fits_integrity import fits_problems
from galaxycgan.catalogs.schema.columns import describe_column
from galaxycgan.catalogs.store.store import GalaxyStore, StoreHeader
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.generation.frame import aperture_sum, place
from galaxycgan.generation.inject import prepare, taper
from galaxycgan.images.pixel_units import AB_ZERO_POINT_NJY

BANDS, SIZE, SCALE = ("g", "r", "i"), 50, 0.168


def light(flux, radius_px, sky=0.0):
    """Round exponential discs of total flux [n], behind a PSF of 0.6 arcsec: [n, y, x]."""
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    profile = np.exp(-np.sqrt(x**2 + y**2 + 0.5) / np.asarray(radius_px)[:, None, None])
    fx, fy = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE))
    transform = np.exp(-2 * np.pi**2 * (fx**2 + fy**2) * (0.6 / 2.355 / SCALE) ** 2)
    profile = np.fft.ifft2(np.fft.fft2(profile) * transform).real
    return np.asarray(flux)[:, None, None] * profile / profile.sum(axis=(1, 2), keepdims=True) + sky


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """A synthetic store of 40 galaxies with 18 < i < 21 on a noiseless sky that is not quite zero."""
    rng = np.random.default_rng(7)
    mag = rng.uniform(18.05, 20.95, 40)
    flux = 10 ** (0.4 * (AB_ZERO_POINT_NJY - mag))
    clean = light(flux, rng.uniform(1.2, 3.0, 40), sky=0.4)[:, None].repeat(3, 1).astype(np.float32)
    clean[:, 0] *= 0.3
    path = tmp_path_factory.mktemp("catalog") / "catalog.h5"
    table = QTable({"photo_z": rng.uniform(0.1, 0.5, 40)})
    table["log_mass"] = rng.uniform(9, 11, 40) * describe_column("log_mass").unit
    names = {"created": "2026-01-01T00:00:00Z", "id_column": "SYN_id", "synthetic": True, "bands": BANDS}
    header = StoreHeader(**names, filters=("HSC-G", "HSC-R2", "HSC-I2"), psf_fwhm_arcsec=(0.79, 0.75, 0.6))
    with StoreWriter(path, n=40, header=header, noiseless=True) as writer:
        writer.append(clean + rng.normal(0, 2, clean.shape).astype(np.float32), clean)
        writer.finish(ids=np.arange(40), catalog=table)
    return path


@pytest.fixture
def frame(tmp_path):
    """An empty frame of noise, with coordinates, zero point 27, gain and PSF."""
    wcs = WCS(naxis=2)
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.ctype = [200, 150], [150.1, 2.2], ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    header = wcs.to_header()
    header["FLUXMAG0"], header["FILTER"], header["GAIN"], header["PSFFWHM"] = 10 ** (0.4 * 27), "HSC-I2", 3.0, 0.61
    pixels = np.random.default_rng(1).normal(0, 0.05, (300, 420)).astype(np.float32)
    path = tmp_path / "frame.fits"
    fits.PrimaryHDU(pixels, header).writeto(path)
    return path


def read(frame, name="injected"):
    out = frame.with_name(f"frame-{name}.fits")
    return fits.getdata(out), Table.read(out.with_name(f"frame-{name}-truth.fits"), hdu=1)


def test_what_was_added_is_what_the_truth_says(command, catalog, frame):
    code, said, err = command("inject", catalog, frame, "--n", 12, "--separation", 9)
    assert code == 0 and "12 galaxies added in i" in said and "warning" not in said, err + said
    pixels, truth = read(frame)
    added = (pixels.astype(float) - fits.getdata(frame)) * 10 ** (0.4 * (AB_ZERO_POINT_NJY - 27))
    assert added.sum() == pytest.approx(truth["flux_stamp"].sum(), rel=1e-4)
    assert len(set(truth["SYN_id"])) == 12 and truth["mag_stamp"].min() > 18
    for row in truth:
        assert row["x"] % 1 == 0.5 and row["y"] % 1 == 0.5  # even stamps on whole pixels
        found = aperture_sum(added, row["x"] - 1, row["y"] - 1, 1.5 / SCALE)
        assert found == pytest.approx(row["flux_aper"] + row["flux_neighbour"], rel=1e-3)
        assert row["border"] == pytest.approx(0.4, abs=0.5)
        sky = WCS(fits.getheader(frame)).pixel_to_world(row["x"] - 1, row["y"] - 1)
        assert (sky.ra.deg, sky.dec.deg) == pytest.approx((row["ra"], row["dec"]), abs=1e-9)
    distance = np.hypot(*(truth[name][:, None] - truth[name] for name in "xy"))
    assert distance[distance > 0].min() * SCALE >= 9
    assert fits_problems(frame.with_name("frame-injected-truth.fits")) == []
    header = fits.getheader(frame.with_name("frame-injected.fits"))
    assert (header["NINJECT"], header["INJBAND"], header["CRVAL1"]) == (12, "i", 150.1)


def test_the_same_command_gives_the_same_bytes_and_another_seed_other_places(command, catalog, frame):
    for name in ("a", "b"):
        command("inject", catalog, frame, "--n", 5, "--out", frame.with_name(f"frame-{name}.fits"))
    command("inject", catalog, frame, "--n", 5, "--out", frame.with_name("frame-c.fits"), "--seed", 9)
    a, b, c = (read(frame, name) for name in "abc")
    assert np.array_equal(a[0], b[0]) and not np.array_equal(a[0], c[0])
    assert np.array_equal(a[1]["x"], b[1]["x"]) and not np.array_equal(a[1]["x"], c[1]["x"])


def test_galaxies_go_where_a_table_says_to_parts_of_a_pixel(command, catalog, frame, tmp_path):
    table = Table({"x": [100.3, 250.75, 5000.0], "y": [90.6, 180.2, 10.0], "SYN_id": [7, 3, 1]})
    table.write(tmp_path / "p.csv")
    code, said, err = command("inject", catalog, frame, "--positions", tmp_path / "p.csv")
    assert code == 0 and "1 of 3 positions lie outside the frame" in said, err
    pixels, truth = read(frame)
    added = pixels.astype(float) - fits.getdata(frame)
    assert truth["SYN_id"].tolist() == [7, 3]
    y, x = np.indices(added.shape) + 1
    for row in truth:
        near = np.hypot(x - row["x"], y - row["y"]) < 20
        for axis, name in ((x, "x"), (y, "y")):
            assert (added * axis)[near].sum() / added[near].sum() == pytest.approx(row[name], abs=0.02)


def test_galaxies_of_a_selection_keep_their_ids_and_all_that_is_told_of_them(command, catalog, frame, tmp_path):
    some = tmp_path / "some.h5"
    assert command("select", catalog, "--where", "SYN_id >= 7", "--out", some)[0] == 0
    Table({"x": [100, 250], "y": [90, 180], "SYN_id": [30, 25]}).write(tmp_path / "p.csv")
    for band in "gi":
        out = frame.with_name(f"frame-{band}.fits")
        words = ["inject", some, frame, "--positions", tmp_path / "p.csv", "--band", band, "--out", out]
        code, _, err = command(*words)
        assert code == 0, err
        truth = read(frame, band)[1]
        with GalaxyStore(catalog) as store:
            assert truth["SYN_id"].tolist() == [30, 25]
            assert truth["photo_z"].tolist() == store.column("photo_z")[[30, 25]].tolist()
            plane = store.noiseless([30, 25])[:, "gri".index(band)].astype(float)
        light = [prepare(each, taper(SIZE))[0].sum() for each in plane]
        assert truth["flux_stamp"] == pytest.approx(light, rel=1e-6)


def test_the_light_of_the_frame_is_told_in_njy(command, catalog, frame, tmp_path):
    pixels = np.full((300, 420), 2.0, np.float32)
    with fits.open(frame, mode="update") as hdus:
        hdus[0].data = pixels
    assert command("inject", catalog, frame, "--n", 1, "--aperture", 1.5)[0] == 0
    area = np.pi * (1.5 / SCALE) ** 2
    njy_per_count = 10 ** (0.4 * (AB_ZERO_POINT_NJY - 27))
    assert read(frame)[1]["flux_frame"][0] == pytest.approx(2 * area * njy_per_count, rel=0.01)


def test_sky_positions_of_a_table_and_ids_are_used(command, catalog, frame, tmp_path):
    sky = WCS(fits.getheader(frame)).pixel_to_world([60, 210.5], [70, 99.25])
    Table({"ra": sky.ra.deg, "dec": sky.dec.deg}).write(tmp_path / "p.fits")
    assert command("inject", catalog, frame, "--positions", tmp_path / "p.fits")[0] == 0
    truth = read(frame)[1]
    np.testing.assert_allclose(truth["x"], [61, 211.5], atol=1e-6)
    np.testing.assert_allclose(truth["y"], [71, 100.25], atol=1e-6)


def test_photon_noise_has_the_variance_of_the_added_light(command, catalog, frame):
    command("inject", catalog, frame, "--n", 30, "--out", frame.with_name("frame-a.fits"))
    command("inject", catalog, frame, "--n", 30, "--out", frame.with_name("frame-b.fits"), "--poisson")
    smooth, noisy = (read(frame, name)[0].astype(float) for name in "ab")
    counts = smooth - fits.getdata(frame)
    bright = counts > 5  # 3 electrons each
    ratio = (noisy - smooth)[bright] / np.sqrt(counts[bright] / 3)
    assert bright.sum() > 300 and ratio.std() == pytest.approx(1, abs=0.08) and abs(ratio.mean()) < 0.15


def test_a_stamp_fades_to_nothing_without_its_sky():
    stamp, border = prepare(np.full((SIZE, SIZE), 3.0), taper(SIZE))
    assert border == 3 and not stamp.any()
    weight = taper(SIZE)
    assert weight[25, 25] == 1 and (weight[0] < 0.05).all() and (weight[4:-4, 4:-4] == 1).all()


def test_a_stamp_over_the_rim_is_cut():
    canvas = np.zeros((30, 30))
    where, part = place(canvas, np.ones((10, 10)), 1.5, 28.5)
    assert where == (slice(24, 30), slice(0, 7)) and canvas.sum() == part.sum() == 6 * 7


def test_an_aperture_sums_its_area():
    assert aperture_sum(np.ones((60, 60)), 30.2, 29.7, 9.0) == pytest.approx(np.pi * 81, rel=2e-3)
    assert aperture_sum(np.ones((60, 60)), -30, 5, 9.0) == 0


@pytest.mark.parametrize(
    "remove, words, message",
    [
        (["FLUXMAG0"], [], "has no FLUXMAG0 or MAGZERO; give the AB magnitude of one count: --zeropoint 27.0"),
        ([], ["--zeropoint", "abc"], "--zeropoint abc: not a number"),
        (["FILTER"], [], "FILTER doesn't say the band; give one of them with --band: g, r, i"),
        ([], ["--band", "z"], "--band z is none of the catalog's"),
        (["GAIN"], ["--poisson"], "give electrons per count with --gain"),
        ([], ["--n", "41"], "--n 41: .* has 40 galaxies"),
        ([], ["--positions", "catalog"], "has no ra and dec"),
        ([], ["--positions", "P"], "has neither ra and dec"),
        ([], ["--hdu", "3"], "--hdu 3 is no 2-D image; it has 0 PRIMARY"),
        ([], ["--separation", "40"], r"only \d+ of 40 galaxies find a place; lower --n"),
        ([], ["--out", "FRAME"], "--out is the frame itself"),
        ([], ["--out", "z-injected.png"], "z-injected.png: the suffix decides the format; .fits"),
        ([], ["--out", "z-injected.fits.gz"], "z-injected.fits.gz: the suffix decides the format; .fits"),
        (["CTYPE1", "CTYPE2"], ["--positions", "S"], "has no sky coordinates"),
    ],
)
def test_mistakes_are_told_in_one_line_and_nothing_is_written(
    command, catalog, frame, tmp_path, remove, words, message
):
    with fits.open(frame, mode="update") as hdus:
        for name in remove:
            del hdus[0].header[name]
    (tmp_path / "p.csv").write_text("a,b\n1,2\n")
    (tmp_path / "s.csv").write_text("ra,dec\n150.1,2.2\n")
    names = {"P": tmp_path / "p.csv", "S": tmp_path / "s.csv", "FRAME": frame}
    code, _, err = command("inject", catalog, frame, *(names.get(word, word) for word in words))
    assert code == 2 and re.search(message, err) and err.count("\n") == 1, err
    assert not list(tmp_path.glob("*injected*"))


def test_a_header_that_is_no_fits_is_told_and_leaves_nothing(command, catalog, frame, tmp_path):
    data = frame.read_bytes()
    at = data.index(b"END     ")
    card = b"foo bar = 12".ljust(80)
    frame.write_bytes(data[:at] + card + b"END".ljust(80) + data[at + 160 :])
    code, _, err = command("inject", catalog, frame)
    assert code == 2 and "its header is no FITS" in err and err.count("\n") == 1, err
    assert not list(tmp_path.glob("*injected*"))


def test_a_catalog_of_any_name_and_a_frame_of_several_images_make_a_file_that_is_whole(
    command, catalog, frame, tmp_path
):
    other = tmp_path / "catálogo.h5"
    other.write_bytes(Path(catalog).read_bytes())
    with fits.open(frame, mode="append") as hdus:
        hdus.append(fits.ImageHDU(np.zeros((3, 3), np.int16), name="MASK"))
    code, said, err = command("inject", other, frame, "--n", 2)
    assert code == 0, err
    out = next(tmp_path.glob("*-injected.fits"))
    assert fits.getheader(out)["INJCAT"] == "cat?logo.h5"
    code, said, err = command("verify", out)
    assert code == 0, said + err


@pytest.mark.parametrize("kind", ["lookup", "broken"])
def test_coordinates_that_need_more_than_the_header_do_not_stop_it(command, catalog, frame, kind):
    with fits.open(frame, mode="update") as hdus:
        header = hdus[0].header
        if kind == "lookup":
            header["CPDIS1"] = "LOOKUP"
        else:
            header["CTYPE1"] = "RA---XYZ"
    code, said, err = command("inject", catalog, frame, "--n", 2)
    assert code == 0 and "no sky coordinates" in said + err, said + err


def rename_coordinates(header, key):
    """Make the coordinates of a header alternate ones."""
    for name in [name for name in header if re.fullmatch(r"WCSAXES|C(TYPE|RPIX|RVAL|DELT|UNIT)\d|L..POLE", name)]:
        header.rename_keyword(name, name + key)
    for name in ("MJDREF", "RADESYS"):
        del header[name]


@pytest.mark.parametrize("kind, known", [("LINEAR", False), ("", True)])
def test_alternate_coordinates_are_used_where_they_are_of_the_sky(command, catalog, frame, kind, known):
    with fits.open(frame, mode="update") as hdus:
        for name in ("CTYPE1", "CTYPE2") if kind else ():
            hdus[0].header[name] = kind
        rename_coordinates(hdus[0].header, "B")
    code, said, err = command("inject", catalog, frame, "--n", 2)
    assert code == 0 and ("no sky coordinates" in said) is not known, err
    dec = read(frame)[1]["dec"]
    assert np.allclose(dec, 2.2, atol=0.1) if known else np.ma.getmaskarray(dec).all()


def test_a_frame_of_integers_keeps_its_blank_pixels_as_nan(command, catalog, frame):
    pixels = np.random.default_rng(2).integers(-50, 50, (300, 420), np.int16)
    pixels[10:20, 30:50] = -32768
    header = fits.getheader(frame)
    header["BLANK"] = -32768
    fits.writeto(frame, pixels, header, overwrite=True)
    code, _, err = command("inject", catalog, frame, "--n", 3)
    assert code == 0, err
    out = frame.with_name("frame-injected.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(out) as hdus:
            assert hdus[0].header["BITPIX"] == -32 and "BLANK" not in hdus[0].header
            assert np.array_equal(np.isnan(hdus[0].data), pixels == -32768)


def test_a_frame_of_large_integers_is_not_changed_beside_the_galaxies(command, catalog, frame):
    pixels = 2**28 + np.random.default_rng(2).integers(-50, 50, (300, 420), np.int32)
    fits.writeto(frame, pixels, fits.getheader(frame), overwrite=True)
    code, _, err = command("inject", catalog, frame, "--n", 2)
    assert code == 0, err
    added = fits.getdata(frame.with_name("frame-injected.fits")) - pixels
    assert (added == 0).mean() > 0.9
    light = added.sum() * 10 ** (0.4 * (AB_ZERO_POINT_NJY - 27))
    assert light == pytest.approx(read(frame)[1]["flux_stamp"].sum(), rel=1e-3)


def test_frames_that_differ_from_the_catalog_are_warned_of_or_refused(command, catalog, frame):
    fits.setval(frame, "PSFFWHM", value=0.64)
    said = command("inject", catalog, frame, "--n", 2)[1]
    assert "warning: PSF FWHM 0.64 arcsec in the frame, 0.6 in the catalog's i" in said
    fits.setval(frame, "CDELT1", value=-0.2 / 3600)
    fits.setval(frame, "CDELT2", value=0.2 / 3600)
    code, _, err = command("inject", catalog, frame, "--n", 2, "--overwrite")
    assert code == 2 and "pixels of 0.2 arcsec, the catalog's have 0.168" in err


def test_catalogs_without_noiseless_images_are_refused(command, survey_store, frame):
    code, _, err = command("inject", survey_store, frame)
    assert code == 2 and "holds real galaxies" in err


def test_in_real_hsc_images_sep_recovers_the_flux(command, catalog, real_data, tmp_path):
    sep = pytest.importorskip("sep", reason="no sep: pip install sep")
    source = real_data / "hsc_linear/i-band.fits"
    pixels = np.ascontiguousarray(fits.getdata(source).astype(np.float32))
    background = sep.Background(pixels, bw=32, bh=32)
    segments = sep.extract(pixels - background, 1.5, err=background.globalrms, segmentation_map=True, minarea=5)[1]
    y, x = np.indices(pixels.shape)
    spots, taken = [], segments > 0
    for k in np.random.default_rng(3).permutation(pixels.size):
        at = (x.flat[k], y.flat[k])
        clear = 20 < at[0] < 445 and 20 < at[1] < 445
        if clear and not taken[at[1] - 11 : at[1] + 12, at[0] - 11 : at[0] + 12].any():
            spots.append(at)
            taken |= np.hypot(x - at[0], y - at[1]) < 20  # for the next one
        if len(spots) == 40:
            break
    assert len(spots) >= 30, "little empty sky"
    places = np.array(spots[:40]) + 1 + np.array([0.25, 0.5])
    Table({"x": places[:, 0], "y": places[:, 1]}).write(tmp_path / "p.csv")
    out = tmp_path / "out.fits"
    words = [
        "--band",
        "i",
        "--zeropoint",
        27,
        "--positions",
        tmp_path / "p.csv",
        "--poisson",
        "--gain",
        3,
        "--out",
        out,
    ]
    code, _, err = command("inject", catalog, source, *words)
    assert code == 0, err
    truth = Table.read(tmp_path / "out-truth.fits", hdu=1)
    image = np.ascontiguousarray(fits.getdata(out).astype(np.float32))
    measured = image - sep.Background(image, mask=segments > 0, bw=64, bh=64)
    found = sep.sum_circle(measured, truth["x"] - 1, truth["y"] - 1, 1.5 / SCALE, subpix=5)[0]
    ratio = found * 10 ** (0.4 * (AB_ZERO_POINT_NJY - 27)) / truth["flux_aper"]
    assert (truth["mag_stamp"] > 18).all() and (truth["mag_stamp"] < 21).all()
    print(f"{len(ratio)} galaxies: median recovered/true {np.median(ratio):.4f}, scatter {ratio.std():.4f}")
    assert abs(np.median(ratio) - 1) < 0.03


def test_a_real_image_without_sky_coordinates_takes_galaxies(command, catalog, real_data, tmp_path):
    Table({"x": [20.0], "y": [21.0]}).write(tmp_path / "p.csv")
    words = ["--positions", tmp_path / "p.csv", "--band", "r", "--zeropoint", 27, "--out", tmp_path / "out.fits"]
    code, said, err = command("inject", catalog, real_data / "hsc_linear/r-psf.fits", *words)
    assert code == 0 and "no sky coordinates" in said, err


def test_the_flux_scale_of_a_real_calexp_is_read_from_its_header(command, catalog, real_data, tmp_path):
    out = tmp_path / "r.fits"
    source = real_data / "hsc_linear/r-image-mask-variance.fits"
    code, said, err = command("inject", catalog, source, "--n", 3, "--out", out)
    assert code == 0 and "3 galaxies added in r" in said, err
    truth = Table.read(tmp_path / "r-truth.fits", hdu=1)
    with fits.open(out) as hdus, fits.open(source) as before:
        assert len(hdus) == 4
        assert np.array_equal(hdus[2].data, before[2].data) and np.array_equal(hdus[3].data, before[3].data)
        added = hdus[1].data.astype(float) - before[1].data
    assert added.sum() * 10 ** (0.4 * (31.4 - 27)) == pytest.approx(truth["flux_stamp"].sum(), rel=1e-3)
