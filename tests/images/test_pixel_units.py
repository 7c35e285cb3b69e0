"""A pixel's unit is what the survey says it is: numbers worked out by hand, from the definitions of AB and of HSC."""

import numpy as np
import pytest

from galaxycgan.errors import UserError
from galaxycgan.images.pixel_units import (
    PixelScheme,
    ab_magnitude,
    asinh_magnitude,
    flux_njy,
    hsc_asinh_to_njy,
    njy_per_count,
    njy_to_hsc_asinh,
)


def test_ab_magnitudes_are_those_of_3631_jansky():
    # 3631 Jy is AB 0; HSC's zero point 27 makes one count 57.544 nJy; AB 19 is 91,201 nJy.
    assert flux_njy(0.0) == pytest.approx(3631e9, rel=1e-3)
    assert flux_njy(27.0) == pytest.approx(57.544, rel=1e-4)
    assert flux_njy(19.0) == pytest.approx(91_201, rel=1e-4)
    assert ab_magnitude(np.array([1.0, 100.0, 0.0, -1.0])) == pytest.approx([31.4, 26.4, np.nan, np.nan], nan_ok=True)


def test_bright_asinh_magnitudes_are_ab_magnitudes_and_negative_flux_has_one():
    assert asinh_magnitude(1e5, 1.0) == pytest.approx(ab_magnitude(1e5), abs=1e-6)
    assert np.isfinite(asinh_magnitude(-50.0, 10.0)) and asinh_magnitude(-50.0, 10.0) > asinh_magnitude(0.0, 10.0)


def test_a_count_is_what_its_zero_point_or_fluxmag0_says():
    assert njy_per_count(27.0) == pytest.approx(57.544, rel=1e-4)
    assert njy_per_count("27.0") == njy_per_count(27.0)
    # LSST's and HSC's FLUXMAG0 of zero point 27: 10^(0.4 * 27)
    assert njy_per_count(fluxmag0=63_095_734_448.0) == pytest.approx(57.544, rel=1e-4)


@pytest.mark.parametrize("wrong", [None, "", "x", np.nan, np.inf, -np.inf, 1e5])
def test_a_zero_point_that_means_nothing_is_not_a_number(wrong):
    assert np.isnan(njy_per_count(wrong))


@pytest.mark.parametrize("wrong", ["x", 0, -1.0, np.nan, np.inf])
def test_a_fluxmag0_that_means_nothing_is_not_a_number(wrong):
    assert np.isnan(njy_per_count(fluxmag0=wrong))


def test_the_display_stretch_is_hscs_and_is_inverted():
    # x(0) = 0.05 / (2/3 + 0.05); f s = 1, AB 19, lies at (1 + 0.05) / (2/3 + 0.05)
    assert njy_to_hsc_asinh(np.array([0.0, 91_201.0])) == pytest.approx([0.0697674, 1.4651163], rel=1e-5)
    flux = np.array([-300.0, -1.0, 0.0, 2.5, 1e4, 1e6])
    assert hsc_asinh_to_njy(njy_to_hsc_asinh(flux)) == pytest.approx(flux, rel=1e-9, abs=1e-9)


def test_the_option_wins_over_the_files_and_one_of_them_must_say_something():
    assert PixelScheme.choose("nJy", "counts:27.0", "a.fits").name == "nJy"
    assert PixelScheme.choose("", "counts:27.0", "a.fits") == PixelScheme("counts", 27.0)
    with pytest.raises(UserError, match="a.fits: .*--pixels"):
        PixelScheme.choose("", "", "a.fits")


def test_each_scheme_converts_to_its_unit_and_keeps_the_dtype():
    pixels = np.array([0.5, 1.0], dtype="f4")
    for text, expected, unit in (("nJy", pixels, "nJy"), ("counts:27", 57.544 * pixels, "nJy"), ("raw", pixels, "adu")):
        scheme = PixelScheme.parse(text)
        assert scheme.convert(pixels) == pytest.approx(expected, rel=1e-4) and scheme.unit == unit
        assert scheme.convert(pixels).dtype == np.float32
