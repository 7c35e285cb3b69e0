"""The mock survey: the files look like a survey's, and what is in them is what the truth says."""

import dataclasses
import hashlib
from pathlib import Path

import galsim
import numpy as np
import pandas as pd
import pytest

from galaxycgan.config import Mock
from galaxycgan.context import Context
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.images.pixel_units import AB_ZERO_POINT_NJY, flux_njy, hsc_asinh_to_njy
from galaxycgan.mock.population import (
    BANDS,
    Galaxies,
    I,
    draw_population,
    draw_stars,
    galaxy_properties,
    mass_function,
    template_mags,
)
from galaxycgan.mock.render import (
    MOFFAT_BETA,
    PIXEL_SCALE_ARCSEC,
    FourierGrid,
    Sky,
    add_noise,
    correlated_noise,
    draw_light,
    draw_neighbours,
)
from galaxycgan.mock.survey import draw_objects, make_survey, measured

FILES = ("HSC_ids.npy", "images.small.npy", "2018_02_23-all_objects.csv", "truth.csv")
COLUMNS = "COSMOS_id,HSC_id,ra,dec,photo_z,log_mass,gcmodel_mag,rcmodel_mag,icmodel_mag,sep,selected"


def survey(out, **options):
    """Make a survey and return its directory."""
    make_survey(Mock(**{"out": str(out), "n": 60, "workers": 1, **options}), Context(created="2026-01-01T00:00:00Z"))
    return Path(out)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A survey of 200 objects."""
    return survey(tmp_path_factory.mktemp("mock"), n=200, seed=3)


@pytest.fixture(scope="module")
def table(made):
    return pd.read_csv(made / FILES[2])


@pytest.fixture(scope="module")
def flux_limited():
    return draw_population(20_000, "flux-limited", np.random.default_rng(1))


@pytest.fixture(scope="module")
def dwarf_search():
    return draw_population(4000, "dwarf-search", np.random.default_rng(2))


def checksums(directory):
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in FILES}


# The files


def test_files_have_the_format_of_the_real_survey(made):
    ids, images = np.load(made / FILES[0]), np.load(made / FILES[1])
    assert ids.dtype == np.int64 and ids.shape == (200,) and len(np.unique(ids)) == 200
    assert (ids > 4.3e16).all() and (ids < 4.4e16).all()
    assert images.dtype == np.float64 and images.shape == (200, 3, 50, 50) and np.isfinite(images).all()
    assert images.min() > -0.5 and images.max() < 1.5


def test_table_has_the_real_columns_and_ids_as_integer_text(made):
    lines = (made / FILES[2]).read_text().splitlines()
    assert lines[0] == COLUMNS
    for line in lines[1:]:
        cosmos_id, hsc_id, *_, selected = line.split(",")
        assert cosmos_id.isdigit() and hsc_id.isdigit() and len(hsc_id) == 17
        assert selected in ("True", "False")


def test_table_needs_real_matching(made, table):
    ids = np.load(made / FILES[0])
    assert table.COSMOS_id.is_unique
    assert not table.HSC_id.is_unique
    assert not table.HSC_id.isin(ids).all(), "there must be rows without an image"
    assert not np.isin(ids, table.HSC_id).all(), "there must be images without a row"
    chosen = table[table.selected]
    assert 0 < (~np.isin(ids, chosen.HSC_id) & np.isin(ids, table.HSC_id)).sum() < 10, "only rows that aren't selected"
    assert len(ids) * 0.97 < np.isin(ids, chosen.HSC_id).sum() < len(ids)
    assert not np.array_equal(np.sort(ids), ids), "a converter must sort"


def test_second_matches_are_farther_and_other_galaxies(table):
    pairs = table[table.duplicated("HSC_id", keep=False)].sort_values(["HSC_id", "sep"]).groupby("HSC_id")
    near, far = pairs.first(), pairs.last()
    assert len(near) == pytest.approx(0.05 * 220, abs=2)
    assert (far.sep > near.sep + 0.09).all()
    assert (np.abs(far.photo_z - near.photo_z) > 0.05).mean() > 0.5
    assert (table.photo_z > 0).all() and table.log_mass.between(3, 14).all()


def test_truth_has_one_row_for_every_object_and_explains_the_table(made, table):
    truth = pd.read_csv(made / "truth.csv").set_index("HSC_id")
    assert truth.index.is_unique and set(truth.index) >= set(table.HSC_id)
    assert list(truth.index[:200]) == list(np.load(made / FILES[0]))
    nearest = table.sort_values("sep").drop_duplicates("HSC_id").set_index("HSC_id")
    true = truth.loc[nearest.index]
    z_error = (nearest.photo_z - true.redshift) / (1 + true.redshift)
    assert 0.007 < z_error.std() < 0.02 and abs(z_error.mean()) < 0.003
    assert 0.08 < (nearest.log_mass - true.log_mass).std() < 0.25
    assert (nearest.icmodel_mag - true.mag_i).abs().median() < 0.05
    imaged = truth.iloc[:200]
    assert imaged.notna().all(axis=None) and imaged.psf_fwhm_i_arcsec.median() == pytest.approx(0.62, abs=0.03)


def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path):
    one, two = survey(tmp_path / "1", n=40, seed=9), survey(tmp_path / "2", n=40, seed=9, workers=2)
    assert checksums(one) == checksums(two)
    other = survey(tmp_path / "3", n=40, seed=10)
    assert all(checksums(one)[name] != digest for name, digest in checksums(other).items())


def test_galaxies_of_two_mocks_have_different_ids():
    """A classifier of one is tested on the other: ids that both have would count as seen."""
    ids = [draw_objects(Mock(n=10_000, seed=seed), None).hsc_id for seed in (0, 1, 2, 2**63 - 1)]
    assert len(np.unique(np.concatenate(ids))) == sum(map(len, ids))


def test_same_command_again_does_nothing_and_another_is_refused(tmp_path, capsys):
    out = survey(tmp_path, n=3)
    before = (out / FILES[1]).stat().st_mtime_ns
    survey(tmp_path, n=3)
    assert "done already" in capsys.readouterr().out
    assert (out / FILES[1]).stat().st_mtime_ns == before
    with pytest.raises(
        UserError, match=r"was made by another request \(n: 3 there, 4 asked\); give another --out, or --overwrite"
    ):
        survey(tmp_path, n=4)
    survey(tmp_path, n=4, overwrite=True)
    assert len(np.load(out / FILES[0])) == 4


def test_files_of_another_origin_are_never_replaced(tmp_path):
    (tmp_path / FILES[2]).write_text("mine")
    with pytest.raises(
        UserError,
        match="objects.csv: is there already and not of a finished mock survey; give another --out, or --overwrite",
    ):
        survey(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [FILES[2]]
    assert (tmp_path / FILES[2]).read_text() == "mine"


def test_interrupted_mock_leaves_nothing(tmp_path):
    context = Context()
    context.stop.set()
    with pytest.raises(Interrupted):
        make_survey(Mock(out=str(tmp_path), n=40, workers=1), context)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": -1}, "--n -1: must be at least 1, or 0"),
        ({"bands": "g,u"}, "no band 'u', choose among g,r,i,z,y"),
        ({"bands": "g,g"}, "a band comes twice"),
        ({"bands": ""}, "--bands is missing"),
        ({"population": "all"}, "--population all: must be one of dwarf-search, flux-limited"),
        ({"size": 31}, "--size 31: must be at least 32 and at most 128"),
        ({"size": 129}, "--size 129: must be at least 32"),
        ({"seed": -1}, "--seed -1: must be at least 0 and below 2.63"),
        ({"workers": -1}, "--workers -1: must be at least 1, or 0"),
    ],
)
def test_bad_options_are_one_clear_line(tmp_path, options, message):
    with pytest.raises(UserError, match=message) as caught:
        survey(tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_directory_that_is_a_file_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: can't make this directory"):
        survey(tmp_path / "file", n=1)


def test_one_galaxy_is_a_survey(tmp_path):
    assert np.load(survey(tmp_path, n=1) / FILES[1]).shape == (1, 3, 50, 50)


@pytest.mark.parametrize(("bands", "size"), [("y", 32), ("z,g", 33), ("g,r,i,z,y", 64), ("i", 128)])
def test_any_bands_and_sizes(tmp_path, bands, size):
    out = survey(tmp_path, n=4, bands=bands, size=size)
    assert np.load(out / FILES[1]).shape == (4, len(bands.split(",")), size, size)
    columns = list(pd.read_csv(out / FILES[2]))
    assert all(f"{band}cmodel_mag" in columns for band in ["g", "r", "i", *bands.split(",")])


# The population


def test_dwarf_search_population_has_the_figures_of_the_2018_sample(dwarf_search):
    photo_z, log_mass = measured(dwarf_search, np.random.default_rng(0))
    dwarf = (log_mass > 8) & (log_mass < 9) & (photo_z < 0.15)
    assert 0.22 < photo_z.mean() < 0.28
    assert 8.6 < log_mass.mean() < 8.8
    assert 0.26 < dwarf.mean() < 0.30
    assert dwarf_search.mags[:, I].max() < 23.2


def test_population_is_as_deep_as_the_limit():
    for limit in (21.0, 24.0):
        mags = draw_population(500, "flux-limited", np.random.default_rng(4), limit).mags[:, I]
        assert limit - 0.3 < mags.max() < limit


def test_dwarfs_cannot_be_told_apart_by_colour_and_magnitude_alone(dwarf_search):
    dwarf = (dwarf_search.log_mass > 8) & (dwarf_search.log_mass < 9) & (dwarf_search.redshift < 0.15)
    g, r, i = dwarf_search.mags[:, :3].T
    features = np.column_stack([g - r, r - i, i, np.log10(dwarf_search.r50_major_arcsec)])
    features = (features - features.mean(0)) / features.std(0)
    train, test = np.arange(0, len(g), 2), np.arange(1, len(g), 2)
    distance = ((features[test, None] - features[None, train]) ** 2).sum(-1)
    score = dwarf[train][np.argpartition(distance, 30)[:, :30]].mean(1)
    right = (score[dwarf[test]][:, None] > score[~dwarf[test]]).mean()
    assert 0.6 < right < 0.95, "ROC AUC of the 30 nearest neighbours"


def test_flux_limited_population_is_farther_heavier_and_partly_quiescent(flux_limited, dwarf_search):
    assert 0.45 < flux_limited.redshift.mean() < 0.65
    assert flux_limited.log_mass.mean() > dwarf_search.log_mass.mean() + 0.5
    assert 0.1 < flux_limited.quiescent.mean() < 0.35
    i = flux_limited.mags[:, I]
    assert i.max() < 23.2 and np.mean(i < 22.2) / np.mean(i < 21.2) == pytest.approx(10**0.35, rel=0.2)


def test_heavier_is_brighter_at_fixed_redshift():
    rng = np.random.default_rng(4)
    for z in (0.1, 0.3, 0.7):
        pairs = [(np.full(2000, z), np.full(2000, log_mass)) for log_mass in np.arange(7.5, 11, 0.5)]
        mags = [galaxy_properties(*pair, rng).mags[:, I].mean() for pair in pairs]
        assert np.all(np.diff(mags) < -0.35), f"at z = {z}"


def test_scatter_at_fixed_redshift_and_mass_is_real():
    galaxies = galaxy_properties(np.full(3000, 0.12), np.full(3000, 8.6), np.random.default_rng(5))
    assert 0.25 < galaxies.mags[:, I].std() < 0.8
    assert 0.08 < (galaxies.mags[:, 0] - galaxies.mags[:, 1]).std() < 0.3
    assert 0.12 < np.log10(galaxies.r50_major_arcsec).std() < 0.25
    assert galaxies.q.min() > 0.1 and galaxies.q.max() <= 1


def test_template_colours_agree_with_galsim():
    bandpass = {b: galsim.Bandpass(f"LSST_{b}.dat", "nm").withZeropoint("AB") for b in "gi"}
    sed = galsim.SED("CWW_Sbc_ext.sed", "Ang", "flambda").atRedshift(0.4)
    expected = sed.calculateMagnitude(bandpass["g"]) - sed.calculateMagnitude(bandpass["i"])
    ours = template_mags(0.4, 1.0).ravel()
    assert ours[0] - ours[I] == pytest.approx(expected, abs=0.01)


def test_mass_function_agrees_with_counts_of_baldry_2012():
    star_forming, quiescent = mass_function(0.0, np.array([8.0, 9.5, 10.5, 11.3]))
    # Table 1 there: number per Mpc^3 and dex, in 1e-3.
    assert (star_forming + quiescent) * 1e3 == pytest.approx([26.9, 8.3, 4.7, 0.55], rel=0.45)


def test_stars_are_points_on_the_stellar_locus():
    stars = draw_stars(2000, np.random.default_rng(6))
    assert (stars.r50_major_arcsec == 0).all()
    assert stars.mags[:, I].min() > 18.4 and stars.mags[:, I].max() < 24.6
    red = stars.mags[:, 1] - stars.mags[:, I] > 0.8
    assert (stars.mags[red, 0] - stars.mags[red, 1]).std() < 0.1, "M dwarfs have one g - r"


# The images


def one_galaxy(**changes):
    """A round exponential galaxy of i = 20 without knots, and a calm sky."""
    galaxy = galaxy_properties(np.array([0.1]), np.array([8.5]), np.random.default_rng(0)).take(0)
    plain = {"mags": np.full(5, 20.0), "r50_major_arcsec": 0.8, "sersic_n": 1.0, "q": 0.6, "pa_deg": 30.0}
    sky = Sky(np.full(5, 0.7), np.full(5, 0.96), np.full(5, 20.0), np.full(5, 1.5))
    return dataclasses.replace(galaxy, **plain, knot_fraction=np.zeros(5), **changes), sky


def no_neighbours():
    return draw_stars(0, np.random.default_rng(0))


def test_light_is_what_galsim_draws():
    galaxy, sky = one_galaxy()
    images, facts = draw_light(galaxy, sky, no_neighbours(), "r", FourierGrid(50), np.random.default_rng(1))
    profile = galsim.Sersic(1.0, half_light_radius=0.8 * 0.6**0.5).shear(q=0.6, beta=30 * galsim.degrees)
    profile = profile.shift(facts["dx_pixel"] * PIXEL_SCALE_ARCSEC, facts["dy_pixel"] * PIXEL_SCALE_ARCSEC)
    psf = galsim.Moffat(MOFFAT_BETA, fwhm=0.7).shear(q=0.96, beta=20 * galsim.degrees)
    scene = galsim.Convolve(profile, psf).withFlux(flux_njy(20.0))
    expected = scene.drawImage(nx=50, ny=50, scale=PIXEL_SCALE_ARCSEC, method="no_pixel", dtype=float).array
    assert np.abs(images[0] - expected).max() < 0.005 * expected.max()


def test_galaxy_is_in_the_middle_of_the_stamp():
    galaxy, sky = one_galaxy()
    for size in (50, 51):
        images, _ = draw_light(galaxy, sky, no_neighbours(), "i", FourierGrid(size), np.random.default_rng(2))
        y, x = np.mgrid[:size, :size] - (size - 1) / 2
        flux = images[0].sum()
        assert abs((x * images[0]).sum() / flux) < 0.3 and abs((y * images[0]).sum() / flux) < 0.3


def test_flux_in_the_images_is_the_true_magnitude(dwarf_search):
    galaxies = dwarf_search.take(dwarf_search.r50_major_arcsec < 1.2)
    _, sky = one_galaxy()
    for k in range(12):
        galaxy = galaxies.take(k)
        images, _ = draw_light(galaxy, sky, no_neighbours(), BANDS, FourierGrid(128), np.random.default_rng(k))
        mags = AB_ZERO_POINT_NJY - 2.5 * np.log10(images.sum(axis=(1, 2)))
        assert mags == pytest.approx(galaxy.mags, abs=0.03)


def test_knots_are_bluer_than_the_galaxy_and_only_in_late_types(flux_limited):
    late = flux_limited.knot_fraction[:, I] > 0.02
    assert 0.3 < late.mean() < 0.9 and not late[flux_limited.quiescent].any()
    assert (flux_limited.knot_fraction[late, 0] >= flux_limited.knot_fraction[late, I]).all()


def test_neighbours_are_as_many_as_on_the_real_sky(made):
    neighbours = pd.read_csv(made / "truth.csv").neighbours.dropna()
    # 46 x 10^(0.31 (i - 25)) galaxies a square arcmin (LSST Science Book, eq. 3.7),
    # which is 32 for i < 24.5, and 3 stars.
    expected = 35 * (50 * PIXEL_SCALE_ARCSEC / 60) ** 2
    assert neighbours.mean() == pytest.approx(expected, abs=3 * (expected / len(neighbours)) ** 0.5)


def test_no_neighbour_outshines_a_galaxy_from_its_centre(dwarf_search):
    pool = draw_population(500, "flux-limited", np.random.default_rng(0))
    faint = dataclasses.replace(dwarf_search.take(0), mags=np.full(5, 23.0))
    for k in range(100):
        index, offset = draw_neighbours(faint, pool, 50, np.random.default_rng(k))
        assert not ((np.hypot(*offset.T) < 1.5) & (pool.mags[index, I] < 23.0)).any()


def autocorrelation(noise, lag):
    return np.mean(noise[:, :-lag] * noise[:, lag:]) / np.mean(noise**2)


def test_sky_noise_is_correlated_as_in_real_coadds():
    noise = correlated_noise(1000, np.random.default_rng(8))
    for image in (noise, noise.T):
        assert 0.13 < autocorrelation(image, 1) < 0.22
        assert 0.0 <= autocorrelation(image, 2) < 0.09
    assert noise.std() == pytest.approx(1, abs=0.01)


def test_noise_in_the_files_is_the_true_sky_rms(made):
    truth = pd.read_csv(made / "truth.csv")[:200]
    corner = hsc_asinh_to_njy(np.load(made / FILES[1]))[:, :, :8, :8]
    for b, band in enumerate("gri"):
        # Robust, since some corners hold a neighbour.
        deviation = np.abs(corner[:, b] - np.median(corner[:, b], axis=(1, 2), keepdims=True))
        spread = 1.4826 * np.median(deviation, axis=(1, 2))
        assert np.median(spread / truth[f"sky_rms_{band}_njy"]) == pytest.approx(1.0, abs=0.12)


def test_bright_light_brings_its_own_noise():
    _, sky = one_galaxy()
    bright = np.full((1, 200, 200), 5000.0)
    noise = add_noise(bright, sky, "i", np.random.default_rng(3)) - bright
    assert noise.std() == pytest.approx(np.sqrt(1.5**2 + 5000 / 250), rel=0.02)
    assert abs(noise.mean()) < 0.1


def test_images_of_the_files_follow_the_truth(made):
    truth = pd.read_csv(made / "truth.csv")[:200]
    images = hsc_asinh_to_njy(np.load(made / FILES[1]))
    y, x = np.mgrid[:50, :50] - 24.5
    flux = images[:, 2, np.hypot(x, y) < 9].sum(axis=1)
    small = (truth.r50_major_arcsec < 0.8) & (truth.neighbours == 0)
    ratio = (flux / flux_njy(truth.mag_i))[small]
    assert 0.8 < np.median(ratio) < 1.05 and small.sum() > 20


def test_joined_galaxies_keep_their_order(dwarf_search):
    parts = [dwarf_search.take(slice(0, 3)), dwarf_search.take(slice(3, 5))]
    assert (Galaxies.join(parts).mags == dwarf_search.mags[:5]).all()
