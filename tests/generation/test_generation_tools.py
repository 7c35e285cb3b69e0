"""A generated catalog opens in the tools that astronomers use, with the numbers that are in it."""

import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table

from galaxycgan.bench.generate import untrained_generator
from galaxycgan.catalogs.export.read import read_catalog
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.config import Bench, Generate, TrainGan
from galaxycgan.context import Context
from galaxycgan.generation.generate import generate
from galaxycgan.training.train_gan import train_gan

N = 70


def needs(*programs, package):
    """Skip a test where Debian programs are missing."""
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)}: apt-get install {package}")


@pytest.fixture(scope="module")
def place(tmp_path_factory, survey_store):
    """Directory of a catalog with ra, dec, halo ids and missing values, its images in it; `split/` has them outside."""
    directory = tmp_path_factory.mktemp("tools")
    options = TrainGan(store=str(survey_store), run=str(directory / "run"), preset="tiny", images=64, batch=16)
    train_gan(options, Context())
    rng = np.random.default_rng(2)
    table = Table({"photo_z": rng.uniform(0.1, 0.9, N), "log_mass": rng.uniform(8, 10.5, N)})
    table["ra"], table["dec"] = rng.uniform(150, 151, N), rng.uniform(2, 3, N)
    table["halo"] = np.ma.masked_equal(2**50 + np.arange(N), 2**50 + 5)
    table.write(directory / "t.ecsv")
    settings = {"gan": str(directory / "run"), "recipe": "lightcone", "table": str(directory / "t.ecsv"), "threads": 1}
    for name, per_file in (("whole", 0), ("split", 40)):
        generate(Generate(**settings, out=str(directory / name), images_per_file=per_file), Context())
    return directory


def run(*words, **settings):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, **settings)


@needs("fitsverify", package="fitsverify")
def test_fitsverify_finds_nothing_in_any_of_the_files(place):
    paths = sorted(place.glob("*/*.fits"))
    done = run("fitsverify", *paths)
    assert len(paths) == 4 and done.stdout.count("found 0 warning(s) and 0 error(s)") == 4, done.stdout


@needs("stilts", package="stilts")
@pytest.mark.parametrize("kind", ["fits", "vot"])
def test_stilts_reads_the_table_and_counts_as_we_do(place, command, kind):
    path = place / "whole/catalog.fits"
    if kind == "vot":
        path = place / "t.vot"
        command("export", place / "whole/catalog.h5", "--to", path)
        done = run("stilts", "votlint", path)
        assert done.returncode == 0 and not done.stdout + done.stderr
    done = run("stilts", "tpipe", f"in={path}", "cmd=stats name ngood minimum maximum", "ofmt=csv")
    found = {line.split(",")[0]: line.split(",")[1:] for line in done.stdout.splitlines()[1:]}
    with GalaxyStore(place / "whole/catalog.h5") as store:
        assert list(found) == store.columns
        assert found["halo"] == [str(N - 1), str(2**50), str(2**50 + N - 1)]
        for name in ("flux_i", "mag_true_g", "r50", "ood"):
            values = store.column(name)
            assert [float(value) for value in found[name][1:]] == pytest.approx(
                [np.nanmin(values), np.nanmax(values)], rel=1e-6
            )


def test_fitsio_and_astropy_read_the_same_numbers(place):
    fitsio = pytest.importorskip("fitsio", reason="no fitsio: pip install fitsio")
    path = place / "whole/catalog.fits"
    ours, table = fitsio.read(str(path), ext="CATALOG"), QTable.read(path, hdu="CATALOG")
    for name in ours.dtype.names:
        theirs = getattr(table[name], "unmasked", table[name])
        assert np.array_equal(ours[name], getattr(theirs, "value", theirs), equal_nan=ours[name].dtype.kind == "f"), (
            name
        )
    with fitsio.FITS(str(path)) as file:
        assert np.array_equal(file["NOISELESS"][3:5, :, :, :], fits.getdata(path, "NOISELESS")[3:5])


def test_galsim_takes_a_noiseless_stamp_as_a_galaxy_of_its_flux(place):
    galsim = pytest.importorskip("galsim", reason="no galsim: pip install galsim")
    path = place / "whole/catalog.fits"
    header = fits.getheader(path, 0)
    with fits.open(path) as hdus:
        stamp = hdus["NOISELESS"].data[0, 2].astype(np.float64)
    galaxy = galsim.InterpolatedImage(galsim.Image(stamp, scale=header["PIXSCALE"]))
    assert galaxy.flux == pytest.approx(stamp.sum(), rel=1e-6)
    again = galaxy.drawImage(nx=stamp.shape[1], ny=stamp.shape[0], scale=header["PIXSCALE"], method="no_pixel").array
    assert np.abs(again - stamp)[5:-5, 5:-5].max() < 0.01 * np.abs(stamp).max()


@needs("ds9", "Xvfb", "xpaget", package="saods9 xvfb xpa-tools")
def test_ds9_shows_the_images_with_a_slider_for_bands_and_one_for_galaxies(place, tmp_path):
    path = place / "whole/catalog.fits"
    reader, writer = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1000x800x24"], pass_fds=[writer], stderr=subprocess.DEVNULL
    )
    os.close(writer)
    try:
        display = os.read(reader, 20).decode().strip()
        environment = os.environ | {"DISPLAY": f":{display}", "XPA_METHOD": "local", "XPA_TMPDIR": str(tmp_path)}
        ds9 = subprocess.Popen(
            ["ds9", "-title", "test", f"{path}[NOISELESS]"], env=environment, stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(240):
                if run("xpaget", "test", "fits", "depth", env=environment).stdout.split() == ["3"]:
                    break
                time.sleep(0.25)
            assert run("xpaget", "test", "fits", "size", env=environment).stdout.split() == ["50", "50"]
            shown = run("xpaget", "test", "data", "image", "20", "31", "1", "1", "yes", env=environment).stdout
            assert float(shown) == pytest.approx(fits.getdata(path, "NOISELESS")[0, 0, 30, 19], rel=1e-4)
            assert run("xpaset", "-p", "test", "cube", "2", env=environment).returncode == 0
            assert run("xpaget", "test", "cube", env=environment).stdout.split() == ["2"]
        finally:
            ds9.kill()
            ds9.wait()
    finally:
        screen.kill()
        screen.wait()
        os.close(reader)


def test_a_table_of_labels_alone_becomes_a_catalog(tmp_path, command):
    run = untrained_generator(tmp_path / "run", Bench(preset="tiny", size=16))
    Table({"photo_z": [0.2, 0.3, 0.4], "log_mass": [9.0, 9.5, 10.0]}).write(tmp_path / "t.csv")
    out = tmp_path / "out"
    words = ["generate", "--gan", run, "--recipe", "lightcone", "--table", tmp_path / "t.csv", "--out", out]
    code, _, err = command(*words)
    assert code == 0, err
    with GalaxyStore(out / "catalog.h5") as store:
        assert store.column("photo_z").tolist() == [0.2, 0.3, 0.4] and store.columns[-1] == "seed"
        assert read_catalog(out / "catalog.fits").colnames == store.columns
    assert command("verify", out / "catalog.h5", out / "catalog.fits")[0] == 0


def test_columns_of_a_lightcone_that_do_not_ride_along_are_named(tmp_path, command):
    run = untrained_generator(tmp_path / "run", Bench(preset="tiny", size=16))
    table = Table({"photo_z": [0.2, 0.3], "log_mass": [9.0, 9.5], "velocity": np.ones((2, 3))})
    table.write(tmp_path / "t.fits")
    words = ["generate", "--gan", run, "--recipe", "lightcone", "--table", tmp_path / "t.fits", "--out", tmp_path / "o"]
    code, said, err = command(*words)
    assert code == 0 and "velocity" in said, said + err
