"""Populations ask for the galaxies that they say, row by row, and tell what they can't ask for."""

import json

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from galaxycgan.errors import UserError
from galaxycgan.generation.row_format import RowFormat
from galaxycgan.models.conditioning import Conditioning
from galaxycgan.populations.mass_function import completeness, schechter
from galaxycgan.populations.populations import population
from galaxycgan.populations.recipes import noise_sigma, read_recipe
from galaxycgan.resources import shipped_folder

COLUMNS, BANDS = ("photo_z", "log_mass"), ("g", "r", "i")
LABELS = dict.fromkeys(COLUMNS, np.dtype(float))
FIELD = """
name = "field"
seed = 3
[population]
kind = "mass_function"
area_deg2 = {area}
completeness = "{completeness}"
{more}
[population.ranges]
photo_z = [0.1, 0.6]
log_mass = [8.0, 11.5]
[[population.schechter]]
redshift = 0.03
log_m_star = 10.66
alpha = [-0.35, -1.47]
phi = [3.96e-3, 0.79e-3]
"""


@pytest.fixture(scope="module")
def conditioning():
    """Of a flux-limited sample: light galaxies are nearby ones only."""
    rng = np.random.default_rng(4)
    z = rng.uniform(0.05, 0.9, 3000)
    mass = 9 + 1.5 * np.log10(z / 0.3) + np.abs(rng.normal(0, 1, z.size))
    return Conditioning.fit(COLUMNS, np.stack([z, mass], -1))


def ask(tmp_path, text, conditioning, **options):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return population(read_recipe(path, **options), conditioning, BANDS)


def field(tmp_path, conditioning, area=2.0, completeness="training", more=""):
    return ask(tmp_path, FIELD.format(area=area, completeness=completeness, more=more), conditioning)


def test_smoothed_labels_keep_the_mean_and_the_covariance_of_the_training_galaxies(tmp_path, conditioning):
    text = "[population]\nkind = 'training'\nn = 20000\nsmoothing = 1.0"
    drawn = conditioning.standardise(ask(tmp_path, text, conditioning).labels(0, 20_000))
    np.testing.assert_allclose(drawn.mean(0), conditioning.reference.mean(0), atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(conditioning.reference.T), atol=0.04)


def test_categories_are_drawn_as_the_training_galaxies_have_them_or_evenly(tmp_path):
    rng = np.random.default_rng(5)
    labels = np.column_stack([rng.uniform(8, 11, 2000), rng.choice([1.0, 4.0], 2000, p=[0.9, 0.1])])
    kinds = Conditioning.fit(("log_mass", "kind"), labels, categorical=("kind",))
    alike = ask(tmp_path, "[population]\nkind = 'training'\nn = 3000", kinds).labels(0, 3000)
    assert set(alike[:, 1]) == {1.0, 4.0} and (alike[:, 1] == 4).mean() == pytest.approx(0.1, abs=0.03)
    box = "[population]\nkind = 'uniform'\nn = 3000\n[population.ranges]\nlog_mass = [8.0, 9.0]"
    drawn = ask(tmp_path, box, kinds).labels(0, 3000)
    assert (drawn[:, 1] == 4).mean() == pytest.approx(0.5, abs=0.04)
    assert 8 <= drawn[:, 0].min() <= drawn[:, 0].max() <= 9
    grid = box.replace("uniform", "grid").replace("n = 3000\n", "") + "\n[population.steps]\nlog_mass = 3"
    assert ask(tmp_path, grid, kinds).labels(0, 6).tolist() == [[m, k] for m in (8, 8.5, 9) for k in (1, 4)]


@pytest.mark.parametrize("name", ["demo", "dwarfs", "grid", "field"])
def test_shipped_recipes_draw_any_stretch_of_rows_by_itself(name, conditioning):
    asked = population(read_recipe(shipped_folder("recipe") / f"{name}.toml"), conditioning, BANDS)
    whole = asked.labels(0, asked.n)
    assert len(whole) == asked.n > 100 and np.isfinite(whole).all()
    assert np.array_equal(asked.labels(37, 101), whole[37:101])


def test_a_field_holds_the_galaxies_that_the_mass_function_promises(tmp_path, conditioning):
    from astropy.cosmology import FlatLambdaCDM

    asked = field(tmp_path, conditioning, completeness="none")
    volume = np.diff(FlatLambdaCDM(H0=70, Om0=0.3).comoving_volume([0.1, 0.6]).value)[0] * 2.0 / (4 * np.pi)
    volume *= (np.pi / 180) ** 2
    mass = np.linspace(8, 11.5, 20001)
    # Written out again: Baldry et al. 2012, eq. 6.
    x = 10 ** (mass - 10.66)
    density = np.log(10) * np.exp(-x) * (3.96e-3 * x**0.65 + 0.79e-3 * x**-0.47)
    assert asked.n == pytest.approx(volume * np.trapezoid(density, mass), rel=2e-3)
    labels = asked.labels(0, asked.n)
    cells = np.arange(8, 11.6, 0.5)
    counts = np.histogram(labels[:, 1], cells)[0]
    for k, count in enumerate(counts):
        inside = (mass >= cells[k]) & (mass <= cells[k + 1])
        expected = volume * np.trapezoid(density[inside], mass[inside])
        assert abs(count - expected) < 5 * np.sqrt(expected), cells[k]
    shells = np.histogram(labels[:, 0], [0.1, 0.3, 0.5, 0.6])[0]
    shares = np.diff(FlatLambdaCDM(H0=70, Om0=0.3).comoving_volume([0.1, 0.3, 0.5, 0.6]).value)
    np.testing.assert_allclose(shells / shells.sum(), shares / shares.sum(), rtol=0.02)


def test_twice_the_area_holds_twice_the_galaxies(tmp_path, conditioning):
    one, two = (field(tmp_path, conditioning, area=area).n for area in (1.0, 2.0))
    assert two == pytest.approx(2 * one, abs=1)


def test_the_completeness_curve_keeps_a_field_within_what_was_seen(tmp_path, conditioning):
    cut, all_ = (field(tmp_path, conditioning, completeness=kind) for kind in ("training", "none"))
    shares = [conditioning.novelty(asked.labels(0, 4000))[1].mean() for asked in (cut, all_)]
    assert cut.n < 0.6 * all_.n and shares[0] < 0.02 < 0.1 < shares[1]
    curve = cut.about["completeness"]
    labels = cut.labels(0, cut.n)
    lowest = np.interp(labels[:, 0], curve["photo_z"], curve["log_mass"])
    assert (labels[:, 1] > np.maximum(lowest, 8.0) - 0.02).all() and json.dumps(cut.about)


def test_completeness_is_the_fifth_percentile():
    rng = np.random.default_rng(0)
    z = rng.uniform(0, 1, 4000)
    knots, lowest = completeness(z, 8 + z + rng.uniform(0, 1, z.size))
    np.testing.assert_allclose(lowest, 8.05 + knots, atol=0.06)


def test_density_between_two_redshifts_lies_between_theirs():
    nodes = [
        {"redshift": z, "log_m_star": 10.7, "alpha": [-1.4], "phi": [phi]} for z, phi in ((0.2, 1e-3), (0.6, 4e-4))
    ]
    values = schechter(nodes, np.array([0.1, 0.2, 0.4, 0.6, 0.9]), 10.0)
    assert values[0] == values[1] and values[3] == values[4]
    assert values[2] == pytest.approx(np.sqrt(values[1] * values[3]))


def lightcone_table():
    rng = np.random.default_rng(5)
    table = QTable()
    table["z_obs"] = rng.uniform(0.1, 0.8, 150)
    table["lmstar"] = rng.uniform(8.5, 11, 150)
    table["ra"], table["dec"] = rng.uniform(150, 151, 150) * u.deg, rng.uniform(2, 3, 150) * u.deg
    table["halo_id"] = 2**60 + np.arange(150)
    table["r50"] = rng.uniform(1, 9, 150) * u.kpc
    return table


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "parquet", "hdf5", "csv"])
def test_own_tables_of_every_format_give_labels_and_all_their_columns(tmp_path, conditioning, suffix):
    table = lightcone_table()
    path = tmp_path / f"t.{suffix}"
    if suffix in ("parquet", "csv"):
        plain = pd.DataFrame({name: np.asarray(getattr(table[name], "value", table[name])) for name in table.colnames})
        plain.to_parquet(path) if suffix == "parquet" else plain.to_csv(path, index=False)
    else:
        settings = {"hdf5": {"path": "t", "serialize_meta": True}, "ecsv": {"format": "ascii.ecsv"}}
        table.write(path, **settings.get(suffix, {}))
    text = f'[population]\nkind = "table"\nfile = "{path}"\ncolumns = {{photo_z = "z_obs", log_mass = "lmstar"}}\n'
    asked = ask(tmp_path, text, conditioning)
    labels = asked.labels(0, asked.n)
    np.testing.assert_array_equal(labels, np.stack([table["z_obs"], table["lmstar"]], -1))
    assert asked.extra.colnames == ["ra", "dec", "halo_id", "r50_original"]
    assert np.array_equal(asked.extra["halo_id"], table["halo_id"]) and asked.extra["ra"].unit == u.deg
    assert asked.about["table"]["file"] == path.name and len(asked.about["table"]["sha256"]) == 64


def test_own_columns_have_no_unit_but_their_own(tmp_path, conditioning):
    rng = np.random.default_rng(6)
    names = ("photo_z", "log_mass", "flux_g", "r50", "magnification")
    pd.DataFrame(rng.uniform(5, 10, (9, 5)), columns=names).to_csv(tmp_path / "t.csv")
    extra = ask(tmp_path, f"{TABLE}file = '{tmp_path / 't.csv'}'", conditioning).extra
    assert not any(extra[name].unit for name in ("flux_g_original", "r50_original", "magnification"))


def test_what_a_survey_table_would_be_held_to_rides_along(tmp_path, conditioning):
    table = {"photo_z": [0.2, 0.3], "log_mass": [9.0, 9.5], "HSC_id": [7, None], "selected": [0.56, 0.1]}
    pd.DataFrame(table).astype({"HSC_id": "Int64"}).to_csv(tmp_path / "t.csv", index=False)
    extra = ask(tmp_path, f"{TABLE}file = '{tmp_path / 't.csv'}'", conditioning).extra
    assert extra["HSC_id"].tolist() == [7, None] and extra["selected"].tolist() == [0.56, 0.1]


def test_a_table_of_labels_alone_has_no_columns_that_ride_along(tmp_path, conditioning):
    pd.DataFrame({"photo_z": [0.2, 0.3], "log_mass": [9.0, 9.5]}).to_csv(tmp_path / "t.csv", index=False)
    asked = ask(tmp_path, f"{TABLE}file = '{tmp_path / 't.csv'}'", conditioning)
    assert asked.extra is None and asked.n == 2
    rows = RowFormat(LABELS, ("r50",), BANDS, asked.extra).rows(0, {"seed": np.arange(2), "r50": np.ones(2)})
    assert rows.dtype.names == ("SYN_id", *COLUMNS, "r50", "ood", "ood_flag", "seed")


def test_own_columns_with_names_that_are_taken_stay_under_free_ones(tmp_path, conditioning):
    table = {"photo_z": 0.2, "log_mass": 9.0, "r50": 1, "r50_original": 2, "dark.mask": 3, "dark_mask": 4}
    pd.DataFrame([table]).to_csv(tmp_path / "t.csv", index=False)
    asked = ask(tmp_path, f"{TABLE}file = '{tmp_path / 't.csv'}'", conditioning)
    values = {name: asked.extra[name][0] for name in asked.extra.colnames}
    assert values == {"r50_original_original": 1, "r50_original": 2, "dark_mask_original": 3, "dark_mask": 4}
    assert asked.about["notes"] == [
        "column dark.mask is called dark_mask_original: names with .mask at the end tell what is missing"
    ]


def test_own_integers_keep_their_unit(tmp_path, conditioning):
    table = Table({"photo_z": [0.2, 0.3], "log_mass": [9.0, 9.5], "halo_mass": [10**12, 3], "halo": [2**60 + 1, 3]})
    table["halo_mass"].unit = table["halo"].unit = "solMass"
    table.write(tmp_path / "t.fits")
    asked = ask(tmp_path, f"{TABLE}file = '{tmp_path / 't.fits'}'", conditioning)
    assert asked.extra["halo_mass"].unit == u.solMass and asked.extra["halo_mass"].value.tolist() == [1e12, 3]
    assert asked.extra["halo"].tolist() == [2**60 + 1, 3] and "halo has integers beyond 2^53" in asked.about["notes"][0]


def test_a_row_has_room_for_as_many_columns_as_fits_has_and_more_are_refused():
    wide = QTable({f"UltraVISTA_Ks_MAG_AUTO_{k:04d}": np.zeros(3) for k in range(900)})
    assert len(RowFormat(LABELS, (), BANDS, wide).dtype.names) == 906
    for k in range(100):
        wide[f"more_{k}"] = np.zeros(3)
    with pytest.raises(UserError, match="--table: with its 1,000 other columns the catalog would have 1,006, but"):
        RowFormat(LABELS, (), BANDS, wide)


def test_a_category_that_was_not_learned_is_named_with_file_and_row(tmp_path):
    kinds = Conditioning.fit(("log_mass", "kind"), np.array([[8.0, 0], [9, 1], [10, 3]]), categorical=("kind",))
    path = tmp_path / "t.csv"
    for values, fault in (([3, 0, 2, 1, 2], "2 rows"), ([3, 0, 1, 1, ""], "1 rows")):
        pd.DataFrame({"log_mass": 9.5, "kind": values}).to_csv(path)
        with pytest.raises(UserError, match="t.csv: column kind: " + fault) as error:
            ask(tmp_path, f"{TABLE}file = '{path}'", kinds)
        row = "3, 5" if "2" in fault else "5"
        assert f"(the training galaxies' categories are 0, 1, 3): row {row} of the data" in str(error.value)


def test_the_command_line_names_table_and_columns(tmp_path, conditioning):
    lightcone_table().write(tmp_path / "t.fits")
    recipe = read_recipe(
        shipped_folder("recipe") / "lightcone.toml",
        table=str(tmp_path / "t.fits"),
        columns={"photo_z": "z_obs", "log_mass": "lmstar"},
        noise="sigma:2.5",
    )
    assert population(recipe, conditioning, BANDS).n == 150 and recipe.noise == "sigma:2.5"


TABLE = "[population]\nkind = 'table'\n"
SCHECHTER = "[[population.schechter]]\nredshift = 0.1\nlog_m_star = 10.6\nalpha = [-1]\nphi = [1e-3]\n"
NO_NODES = FIELD[: FIELD.index("[[")]


@pytest.mark.parametrize(
    "text, message",
    [
        (TABLE, "names no table; give one with --table FILE"),
        (TABLE + "file = 'nowhere.csv'", "nowhere.csv: no such file; name it with --table"),
        (TABLE + "file = 'T'", "no column photo_z, log_mass; it has z_obs"),
        (
            TABLE + "file = 'T'\ncolumns = {photo_z = 'z_obs', log_mass = 'halo_id'}",
            "150 rows can't be labels .*row 1,",
        ),
        (TABLE + "file = 'T'\ncolumns = {photo_z = 3}", r"\[population.columns\] needs"),
        (NO_NODES.format(area=1, completeness="none", more=""), r"\[\[population.schechter\]\] is missing"),
        (FIELD.format(area=-1, completeness="none", more=""), "area_deg2 = -1; must lie above 0"),
        (FIELD.format(area=1, completeness="some", more=""), "completeness = 'some'; must be training or none"),
        (FIELD.format(area=1e-9, completeness="none", more=""), "galaxies are expected in that area"),
        (FIELD.format(area=1, completeness="none", more="omega_m = 3"), "omega_m = 3"),
        (FIELD.format(area=1, completeness="none", more="") + SCHECHTER + SCHECHTER, "must rise from one to the next"),
        (FIELD.format(area=1, completeness="none", more="") + "mean = 3\n", "number 1: needs alpha"),
    ],
)
def test_impossible_populations_are_told_in_one_line(tmp_path, conditioning, text, message):
    lightcone_table().write(tmp_path / "t.fits")
    with pytest.raises(UserError, match=message) as error:
        ask(tmp_path, text.replace("'T'", f"'{tmp_path / 't.fits'}'"), conditioning)
    assert "\n" not in str(error.value)


def test_a_number_that_follows_from_something_else_is_refused(tmp_path, conditioning):
    with pytest.raises(UserError, match="--n 5: .* follows from its area of sky"):
        ask(tmp_path, FIELD.format(area=1, completeness="none", more=""), conditioning, n=5)
    with pytest.raises(UserError, match="--table, --columns: are for recipes of the kind table"):
        ask(tmp_path, FIELD.format(area=1, completeness="none", more=""), conditioning, table="t.fits")


def test_a_generator_of_other_labels_has_no_mass_function(tmp_path):
    rng = np.random.default_rng(0)
    other = Conditioning.fit(("photo_z", "log_mass", "sfr"), rng.uniform(1, 2, (100, 3)))
    with pytest.raises(UserError, match="the GAN takes photo_z, log_mass, sfr"):
        field(tmp_path, other)


def test_noise_is_read_from_a_few_words():
    assert noise_sigma("model") is None and noise_sigma("sigma:2") == (2.0,) and noise_sigma("sigma:1,2") == (1.0, 2.0)
    for text in ("sigma:", "sigma:-1", "sigma:a", "loud", "sigma:nan"):
        with pytest.raises(UserError, match="must be model, none, sigma"):
            noise_sigma(text)
