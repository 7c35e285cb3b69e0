"""Conversion tells where the images' fluxes and the table's magnitudes can't both be right."""

import itertools

import numpy as np
import pytest
from conftest import make_survey

from galaxycgan.catalogs.check.info import summary
from galaxycgan.catalogs.schema.columns import magnitude_columns
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.images.pixel_units import ab_magnitude


@pytest.fixture
def survey(tmp_path):
    """A survey whose table has the magnitudes of its galaxies, 0.1 brighter: light beyond any aperture."""
    made = make_survey(tmp_path)
    row = {id_: k for k, id_ in enumerate(made.ids)}
    total = ab_magnitude(np.maximum(made.flux.sum((2, 3)), 1.0)) - 0.1
    for k, band in enumerate("gri"):
        made.table[f"{band}cmodel_mag"] = [total[row[each], k] if each in row else np.nan for each in made.table.HSC_id]
        made.table[f"{band}psf_mag"] = 12.0
    made.table["g_mag_quality"] = "good"
    return made


def said(survey, capsys, **options):
    """Convert; return what was said of the fluxes."""
    survey.write().convert(**options)
    lines = capsys.readouterr().out.splitlines()
    return "\n".join(line for line in lines if "magnitudes" in line or "warning" in line)


def test_fluxes_that_fit_are_told_without_a_warning(survey, capsys):
    words = said(survey, capsys)
    assert "g +0.1" in words and "(icmodel_mag)" in words and "warning" not in words
    report = GalaxyStore(survey.directory / "store.h5").provenance["report"]["fluxes"]
    assert [facts["band"] for facts in report["bands"]] == list("gri") and report["order"] is None
    assert report["bands"][1]["median_mag"] == pytest.approx(0.1, abs=0.1)


@pytest.mark.parametrize("order", [order for order in itertools.permutations("gri") if order != tuple("gri")])
def test_bands_in_another_order_are_told_with_the_right_one(survey, capsys, order):
    words = said(survey, capsys, bands=",".join(order))
    assert f"better if their bands are g,r,i: is --bands {','.join(order)} right?" in words
    assert words.splitlines()[-1] in summary(GalaxyStore(survey.directory / "store.h5"))


def test_pixels_in_another_unit_are_told(survey, capsys):
    # Display units taken for nJy are not in proportion to flux: no zero point fits.
    words = said(survey, capsys, pixels="nJy", overwrite=True)
    assert "is --pixels nJy right?" in words and "counts" not in words


def test_a_wrong_zero_point_is_told_with_the_one_that_fits(survey, capsys):
    counts = survey.flux / 10 ** (0.4 * (31.4 - 27.0))
    survey.write()
    np.save(survey.paths["images"], counts)
    survey.convert(pixels="counts:22.5")
    words = capsys.readouterr().out
    assert "is --pixels counts:22.5 right?; counts:26." in words
    survey.convert(pixels="raw", overwrite=True)
    words = capsys.readouterr().out
    assert "pixels are raw: no magnitudes; counts:26." in words and "warning" not in words


def test_a_table_without_magnitudes_says_nothing(survey, capsys):
    survey.table = survey.table[[name for name in survey.table if "mag" not in name]]
    assert said(survey, capsys) == ""


def test_pixels_that_are_no_numbers_are_refused_as_ever(survey, command):
    survey.flux[3, 1, 0, 0] = np.inf
    code, _, error = command(*survey.write().arguments())
    assert code == 2 and "NaN or infinite" in error and "Warning" not in error


def test_the_best_of_several_magnitudes_is_taken():
    names = ["gmag", "g_kron_mag", "gcmodel_mag", "g_cmodel_magerr", "r_psfflux_mag", "mag_auto_i", "ra", "zmagnetic"]
    assert magnitude_columns(names, "griz") == {"g": "gcmodel_mag", "i": "mag_auto_i"}
