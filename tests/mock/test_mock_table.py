"""The mock of a real table: what the table says is drawn, what it lacks fits to it, and bad tables are told apart."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from scipy.stats import wasserstein_distance

from galaxycgan.config import Mock
from galaxycgan.context import Context
from galaxycgan.errors import UserError
from galaxycgan.images.pixel_units import hsc_asinh_to_njy
from galaxycgan.mock.population import BANDS, I_LIMIT, I, galaxy_properties, spectrum_mags
from galaxycgan.mock.survey import make_survey
from galaxycgan.mock.table import NAMES, complete, find_columns, fit_spectra, read_galaxies

N = 40


def some_table(n=N):
    """A table in the manner of COSMOS: ids, redshift, mass, g, r, i, shape."""
    rng = np.random.default_rng(1)
    z, log_mass = rng.uniform(0.1, 0.8, n), rng.uniform(9, 11, n)
    galaxies = galaxy_properties(z, log_mass, rng)
    return pd.DataFrame(
        {
            "COSMOS_id": 1000 + np.arange(n),
            "z": z.round(4),
            "log_mass": log_mass.round(4),
            "subaru_g": galaxies.mags[:, 0].round(3),
            "subaru_r": galaxies.mags[:, 1].round(3),
            "subaru_i": galaxies.mags[:, 2].round(3),
            "sersic_n": galaxies.sersic_n.round(3),
            "re_major_arcsec": galaxies.r50_major_arcsec.round(4),
            "b_a": galaxies.q.round(4),
            "pa_deg": galaxies.pa_deg.round(2),
        }
    )


def written(folder, frame, name="real.csv"):
    frame.to_csv(folder / name, index=False)
    return folder / name


def completed(path, columns="", seed=0, i_limit=23.2):
    """The galaxies of a table."""
    return complete(read_galaxies(path, columns), np.random.default_rng(seed), i_limit)


def survey(out, table, **options):
    """Make a survey of a table and return its directory."""
    options = {"out": str(out), "table": str(table), "workers": 1, **options}
    make_survey(Mock(**options), Context(created="2026-01-01T00:00:00Z"))
    return Path(out)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A survey of all rows of a table, and the table."""
    folder = tmp_path_factory.mktemp("table")
    frame = some_table()
    return survey(folder / "out", written(folder, frame), seed=3), frame


# The survey


def test_every_row_of_the_table_is_drawn_once_and_in_order(made):
    out, frame = made
    truth = pd.read_csv(out / "truth.csv")
    ids, images = np.load(out / "HSC_ids.npy"), np.load(out / "images.small.npy")
    assert images.shape == (N, 3, 50, 50) and len(ids) == N and np.isfinite(images).all()
    assert truth.table_row[:N].tolist() == list(range(N)) and truth.table_row[N:].isna().all()
    assert truth.HSC_id[:N].tolist() == ids.tolist()


def test_truth_is_what_the_table_says(made):
    out, frame = made
    truth = pd.read_csv(out / "truth.csv")[:N]
    pairs = {"redshift": "z", "mag_g": "subaru_g", "mag_i": "subaru_i", "sersic_n": "sersic_n", "q": "b_a"}
    pairs |= {"log_mass": "log_mass", "r50_major_arcsec": "re_major_arcsec", "pa_deg": "pa_deg"}
    for name, source in pairs.items():
        assert truth[name].to_numpy() == pytest.approx(frame[source].to_numpy(), abs=1e-5), name


def test_labels_of_the_survey_are_the_tables_own_without_another_error(made):
    out, frame = made
    truth = pd.read_csv(out / "truth.csv")[:N].set_index("HSC_id")
    table = pd.read_csv(out / "2018_02_23-all_objects.csv").sort_values("sep").drop_duplicates("HSC_id")
    table = table[table.HSC_id.isin(truth.index)]
    row = truth.table_row.loc[table.HSC_id].astype(int)
    assert len(table) >= N - 2
    assert table.photo_z.to_numpy() == pytest.approx(frame.z.to_numpy()[row], abs=1e-9)
    assert table.log_mass.to_numpy() == pytest.approx(frame.log_mass.to_numpy()[row], abs=1e-9)


def test_images_have_the_tables_magnitudes(made):
    out, frame = made
    flux = hsc_asinh_to_njy(np.load(out / "images.small.npy"))
    y, x = np.mgrid[:50, :50] - 24.5
    truth = pd.read_csv(out / "truth.csv")[:N]
    plain = ((truth.neighbours == 0) & (frame.subaru_i < 22)).to_numpy()
    mags = 31.4 - 2.5 * np.log10(flux[plain][:, :, np.hypot(x, y) < 20].sum(axis=-1))
    assert plain.sum() > 8
    off = np.median(mags - frame[["subaru_g", "subaru_r", "subaru_i"]][plain], axis=0)
    assert np.abs(off).max() < 0.08


def test_some_rows_are_drawn_by_the_seed_and_none_twice(tmp_path):
    path = written(tmp_path, some_table())
    rows = {}
    for seed in (1, 2):
        out = survey(tmp_path / str(seed), path, n=12, seed=seed)
        rows[seed] = pd.read_csv(out / "truth.csv").table_row[:12].astype(int).tolist()
        assert rows[seed] == sorted(set(rows[seed]))
    assert rows[1] != rows[2]
    with pytest.raises(UserError, match=r"--n 41: .*real.csv has 40 rows that can be drawn, and none is drawn twice"):
        survey(tmp_path / "3", path, n=41)


def test_survey_of_a_changed_table_is_another_survey(tmp_path, capsys):
    frame = some_table(4)
    out = survey(tmp_path / "out", written(tmp_path, frame))
    digest = hashlib.sha256((out / "images.small.npy").read_bytes()).hexdigest()
    survey(out, tmp_path / "real.csv")
    assert "done already" in capsys.readouterr().out
    with pytest.raises(
        UserError,
        match=r"another request .table: .*real.csv \(sha256 \w+\.\.\.\) there, .*real.csv \(sha256 \w+\.\.\.\) asked",
    ):
        survey(out, written(tmp_path, frame.assign(z=0.5)))
    assert hashlib.sha256((out / "images.small.npy").read_bytes()).hexdigest() == digest


def test_truth_of_a_mock_can_be_drawn_again(made, tmp_path):
    truth = pd.read_csv(made[0] / "truth.csv")
    again = completed(made[0] / "truth.csv")
    assert again.mags == pytest.approx(truth[[f"mag_{band}" for band in BANDS]].to_numpy(), abs=1e-9)
    assert again.pa_deg == pytest.approx(truth.pa_deg, abs=1e-5)


def test_command_line_says_what_it_read_and_one_line_where_it_cannot(tmp_path, command):
    path = written(tmp_path, some_table(3).rename(columns={"z": "zpdf"}))
    words = ["mock", "--table", path, "--out", tmp_path / "out", "--workers", 1]
    code, _, errors = command(*words)
    assert code == 2 and errors.count("\n") == 1 and "--columns redshift=NAME_IN_TABLE" in errors
    assert not (tmp_path / "out").exists()
    code, output, errors = command(*words, "--columns", "redshift=zpdf")
    assert code == 0, errors
    assert "redshift=zpdf" in output and "mag_i=subaru_i" in output and "3 images" in output


# What a table lacks


def test_redshift_and_mass_alone_give_the_mocks_relations_brighter_than_the_limit(tmp_path):
    path = written(tmp_path, some_table()[["z", "log_mass"]])
    galaxies = completed(path, i_limit=22.0)
    assert np.isfinite(galaxies.mags).all() and (galaxies.r50_major_arcsec > 0).all()
    free = galaxy_properties(galaxies.redshift, galaxies.log_mass, np.random.default_rng(0))
    assert (galaxies.mags[:, I] < 22.0).mean() > 0.8 > (free.mags[:, I] < 22.0).mean()


def test_bands_that_the_table_lacks_follow_the_spectrum_of_those_it_has(tmp_path):
    rng = np.random.default_rng(2)
    frame = some_table(300)
    dusty = spectrum_mags(frame.z.to_numpy(), rng.uniform(0, 3, 300), rng.uniform(0, 0.3, 300)) + 21
    columns = dict(zip(["subaru_g", "subaru_r", "subaru_i"], dusty[:, :3].T, strict=True))
    galaxies = completed(written(tmp_path, frame.assign(**columns)))
    assert galaxies.mags[:, :3] == pytest.approx(dusty[:, :3], abs=1e-9)
    assert (galaxies.mags[:, 3:] - dusty[:, 3:]).std(axis=0).max() < 0.12
    drawn = completed(written(tmp_path, frame[["z", "log_mass"]].assign(subaru_i=dusty[:, 2])))
    assert drawn.mags[:, I] == pytest.approx(dusty[:, 2], abs=1e-9)
    assert (drawn.mags[:, 3] - dusty[:, 3]).std() > 0.12, "one magnitude tells no colour"


def test_spectrum_behind_magnitudes_is_found():
    z = np.full(5, 0.4)
    truth = np.array([0.0, 0.7, 1.5, 2.3, 3.0])
    sed_type, ebv = fit_spectra(z, spectrum_mags(z, truth, np.zeros(5)) + 20)
    assert sed_type == pytest.approx(truth, abs=0.2) and (ebv <= 0.1).all()


def test_colours_of_a_table_tell_which_galaxies_are_quiescent_and_have_no_knots(tmp_path):
    frame = some_table(50).assign(z=0.3, log_mass=10.5, subaru_g=21.5, subaru_r=20.0, subaru_i=19.45)
    red = completed(written(tmp_path, frame))
    assert red.quiescent.all() and not red.knot_fraction.any()
    blue = completed(written(tmp_path, frame.assign(subaru_g=20.6, subaru_i=19.8)))
    assert not blue.quiescent.any() and (blue.knot_fraction[:, 0] > 0).all()


def test_a_blank_cell_is_drawn_and_its_row_kept(tmp_path):
    frame = some_table()
    frame.loc[3, ["sersic_n", "re_major_arcsec", "b_a", "pa_deg", "subaru_r"]] = np.nan
    frame.loc[4, "subaru_g"] = -99.0
    frame.loc[5, "subaru_g"] = 99.0
    galaxies = completed(written(tmp_path, frame))
    assert len(galaxies) == N
    for values in (galaxies.sersic_n, galaxies.r50_major_arcsec, galaxies.q, galaxies.pa_deg, *galaxies.mags.T):
        assert np.isfinite(values).all()
    assert abs(galaxies.mags[3, 1] - some_table().subaru_r[3]) < 0.3, "r follows g and i"
    assert (galaxies.mags[4:6, 0] < 30).all() and (galaxies.mags[4:6, 0] > galaxies.mags[4:6, 2] - 0.5).all()


def test_f814w_stands_in_for_a_missing_i(tmp_path):
    frame = some_table().assign(F814W_mag_auto=21.0)
    assert completed(written(tmp_path, frame)).mags[:, I] == pytest.approx(frame.subaru_i, abs=1e-9)
    alone = completed(written(tmp_path, frame.drop(columns="subaru_i")))
    assert (alone.mags[:, I] == 21.0).all()


def test_a_circularised_radius_becomes_the_major_axis(tmp_path):
    frame = some_table().rename(columns={"re_major_arcsec": "r50_circ"})
    galaxies = completed(written(tmp_path, frame))
    assert galaxies.r50_major_arcsec == pytest.approx(frame.r50_circ / np.sqrt(frame.b_a))


def test_position_angle_from_north_is_turned_to_the_image_axes(tmp_path):
    frame = some_table().rename(columns={"pa_deg": "pa_north"}).assign(pa_north=30.0)
    assert completed(written(tmp_path, frame)).pa_deg == pytest.approx(np.full(N, 120.0))


def test_limit_leaves_out_fainter_rows_of_the_table(tmp_path):
    frame = some_table().sort_values("subaru_i")
    limit = frame.subaru_i.iloc[20] + 1e-4
    table = read_galaxies(written(tmp_path, frame)).brighter(limit)
    assert len(table) == 21 and f"19 rows fainter than i = {limit:g} left out" in table.notes


# The file


@pytest.mark.parametrize("name", ["real.fits", "real.ecsv", "real.vot", "real.parquet"])
def test_every_format_gives_the_same_galaxies(tmp_path, name):
    frame = some_table()
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow; enable: pip install pyarrow")
        frame.to_parquet(tmp_path / name)
    else:
        kind = {"fits": "fits", "ecsv": "ascii.ecsv", "vot": "votable"}[name.split(".")[1]]
        Table.from_pandas(frame).write(tmp_path / name, format=kind)
    ours, theirs = read_galaxies(tmp_path / name), read_galaxies(written(tmp_path, frame))
    assert ours.values.keys() == theirs.values.keys()
    assert all((ours.values[key] == theirs.values[key]).all() for key in ours.values)
    assert (ours.mags[:, :3] == theirs.mags[:, :3]).all()


def test_units_of_a_file_are_heeded(tmp_path):
    table = Table.from_pandas(some_table())
    table["re_major_arcsec"] = table["re_major_arcsec"] / 60
    table["re_major_arcsec"].unit = "arcmin"
    table.write(tmp_path / "real.fits")
    read = read_galaxies(tmp_path / "real.fits").values["r50_major_arcsec"]
    assert read == pytest.approx(some_table().re_major_arcsec, rel=1e-6)
    table["re_major_arcsec"].unit = "kpc"
    table.write(tmp_path / "real.fits", overwrite=True)
    with pytest.raises(UserError, match="column re_major_arcsec is in kpc, but r50_major_arcsec must be an angle"):
        read_galaxies(tmp_path / "real.fits")


def test_usual_names_are_known_and_no_name_means_two_things():
    names = [name for known in NAMES.values() for name in known]
    assert len(names) == len(set(names))
    columns = ["Z_SPEC", "LMASS", "gmag", "mag_r", "icmodel_mag", "n", "BA", "position_angle"]
    assert find_columns(columns, "", "x.csv") == {
        "redshift": "Z_SPEC", "log_mass": "LMASS", "mag_g": "gmag", "mag_r": "mag_r", "mag_i": "icmodel_mag",
        "sersic_n": "n", "q": "BA", "pa_deg": "position_angle",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "option", "message"),
    [
        (["z"], "", r"x.csv: no column for log_mass; it has z \(--columns log_mass=NAME_IN_TABLE\)"),
        (
            ["z", "photo_z", "log_mass"],
            "",
            r"columns z, photo_z could all be redshift; say which, such as --columns red",
        ),
        (["z", "log_mass", "re"], "", r"column re does not say which half-light radius .* r50_circular_arcsec=re"),
        (["z", "log_mass"], "metallicity=z", r"no use for 'metallicity'; it knows redshift, log_mass"),
        (["z", "log_mass"], "redshift=zz", r"x.csv: no column zz \(--columns\); it has z, log_mass"),
        (["z", "log_mass"], "redshift", r"--columns redshift: must be NAME=NAME_IN_TABLE"),
    ],
)
def test_columns_that_are_missing_or_unclear_are_one_clear_line(columns, option, message):
    with pytest.raises(UserError, match=message) as caught:
        find_columns(columns, option, "x.csv")
    assert "\n" not in str(caught.value)


def test_a_mapped_column_settles_what_is_unclear():
    found = find_columns(["z", "photo_z", "log_mass", "re"], "photo_z=z,r50_major=re", "x.csv")
    assert found == {"redshift": "z", "log_mass": "log_mass", "r50_major_arcsec": "re"}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("z", np.nan, r"column z, row 6 of the data: blank; the mock draws redshift from 0.005 to 2.5"),
        ("z", -1.0, r"column z, row 6 of the data: -1;"),
        ("z", 3.1, r"row 6 .* 3.1; .*\(1 such rows\); --bad-rows drop leaves them out"),
        ("log_mass", np.nan, r"column log_mass, row 6 of the data: blank"),
        ("log_mass", 3e10, r"column log_mass, row 6 of the data: 3e\+10; the mock draws log_mass from 3 to 14"),
        ("log_mass", np.inf, r"column log_mass, row 6 of the data: inf"),
        ("re_major_arcsec", 0.0, r"column re_major_arcsec, row 6 of the data: 0; the mock draws r50_major_arcsec"),
        ("re_major_arcsec", -99.0, r"row 6 of the data: -99;"),
        ("b_a", 1.4, r"column b_a, row 6 of the data: 1.4; the mock draws q from 0.01 to 1 "),
        ("sersic_n", -1.0, r"column sersic_n, row 6 of the data: -1"),
    ],
)
def test_rows_that_cannot_be_drawn_are_named_or_dropped(tmp_path, column, value, message):
    frame = some_table()
    frame.loc[5, column] = value
    path = written(tmp_path, frame)
    with pytest.raises(UserError, match=message) as caught:
        read_galaxies(path)
    assert "\n" not in str(caught.value) and "real.csv" in str(caught.value)
    table = read_galaxies(path, bad_rows="drop")
    assert table.row.tolist() == [k for k in range(N) if k != 5] and "1 bad rows dropped" in table.notes


def test_text_for_a_number_is_named(tmp_path):
    path = written(tmp_path, some_table().astype({"z": object}).assign(z="unknown"))
    with pytest.raises(UserError, match=r"column z, row 1 of the data: 'unknown' is not a number"):
        read_galaxies(path)


def test_a_table_without_one_good_row_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="none of its 40 rows can be drawn as a galaxy"):
        read_galaxies(written(tmp_path, some_table().assign(z=-9)), bad_rows="drop")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "absent.csv"}, "absent.csv: no such file; name it with --table"),
        ({"table": "", "columns": "redshift=z"}, "--columns: says how to read a --table; none is named"),
        ({"table": "", "bad_rows": "drop"}, "--bad-rows: says how to read a --table; none is named"),
        ({"limit": 12.0}, "--limit 12.0: must be at least 20 and at most 27"),
        ({"limit": 20.0}, "no row is brighter than --limit 20; choose a fainter limit"),
    ],
)
def test_bad_options_are_one_clear_line(tmp_path, options, message):
    path = written(tmp_path, some_table().assign(subaru_i=21.0))
    with pytest.raises(UserError, match=message):
        survey(tmp_path / "out", **{"table": path, **options})
    assert not (tmp_path / "out").exists()


# Real galaxies


@pytest.fixture(scope="module")
def cosmos():
    """Path of a table of real COSMOS galaxies."""
    path = Path(os.environ.get("GALAXYCGAN_TEST_DATA") or "", "cosmos_table/cosmos_joint.csv")
    if not path.is_absolute() or not path.exists():
        pytest.skip("no real galaxies to compare with; enable: GALAXYCGAN_TEST_DATA=<folder with cosmos_table/> pytest")
    return path


def departures(cosmos, i_limit):
    """W1 over sigma and ratio of the scatter, for the mock of COSMOS galaxies' own redshifts and masses."""
    real = pd.read_csv(cosmos).dropna()
    real = real[real.F814W_mag_auto < 22.5]
    ours = galaxy_properties(real.z, real.log_mass, np.random.default_rng(7), i_limit)
    g, r, i = ours.mags[:, :3].T
    pairs = {
        "i": (real.subaru_i, i),
        "g - r": (real.subaru_g - real.subaru_r, g - r),
        "r - i": (real.subaru_r - real.subaru_i, r - i),
        "log size": (np.log10(real.re_major_arcsec), np.log10(ours.r50_major_arcsec)),
    }
    return {
        name: (wasserstein_distance(theirs, mine) / theirs.std(), np.std(mine) / theirs.std())
        for name, (theirs, mine) in pairs.items()
    }


def test_relations_agree_with_real_galaxies_down_to_their_limit(cosmos):
    for name, (distance, scatter) in departures(cosmos, 22.5).items():
        assert distance < 0.15 and 0.8 < scatter < 1.25, f"{name}: {distance:.2f}, {scatter:.2f}"


def test_relations_agree_with_real_galaxies_at_the_default_limit(cosmos):
    for name, (distance, scatter) in departures(cosmos, I_LIMIT).items():
        assert distance < 0.3 and 0.8 < scatter < 1.35, f"{name}: {distance:.2f}, {scatter:.2f}"


def test_colours_and_sizes_agree_with_real_galaxies_even_without_a_limit(cosmos):
    # Without it a quarter is fainter than any of the real ones: i itself can't agree.
    for name, (distance, _) in departures(cosmos, None).items():
        assert distance < (0.6 if name == "i" else 0.3), f"{name}: {distance:.2f}"


def test_images_of_real_galaxies_have_their_magnitudes(cosmos, tmp_path):
    out = survey(tmp_path, cosmos, n=250, seed=4, limit=22.0, size=64)
    truth = pd.read_csv(out / "truth.csv")[:250]
    real = pd.read_csv(cosmos).iloc[truth.table_row]
    flux = hsc_asinh_to_njy(np.load(out / "images.small.npy"))
    y, x = np.mgrid[:64, :64] - 31.5
    mags = 31.4 - 2.5 * np.log10(flux[..., np.hypot(x, y) < 24].sum(axis=-1))
    bright = (truth.neighbours == 0).to_numpy() & (real.subaru_i < 21).to_numpy()
    off = np.nanmedian((mags - real[["subaru_g", "subaru_r", "subaru_i"]].to_numpy())[bright], axis=0)
    assert bright.sum() > 20 and np.abs(off).max() < 0.05
