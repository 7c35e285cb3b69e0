"""Photometry gives what a Gaussian of known flux, size and shape has."""

import numpy as np
import pytest

from galaxycgan.images import bands, pixel_units
from galaxycgan.images.photometry import (
    STANDARD_SIZE,
    aperture_error,
    aperture_fluxes,
    geometry,
    measure,
    noise_autocorrelation,
)
from galaxycgan.images.pixel_units import ab_magnitude, asinh_magnitude

SIZE = 50


def gaussian(flux=1000.0, sigma=3.0, q=1.0, pa_deg=0.0, size=SIZE):
    """One galaxy [1, 3, y, x] of known total flux; sigma along the major axis in pixels."""
    x, y = geometry(size).offsets
    angle = np.radians(pa_deg)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    image = np.exp(-0.5 * ((along / sigma) ** 2 + (across / (q * sigma)) ** 2)) / (2 * np.pi * sigma**2 * q)
    return np.repeat(flux * image[None, None], 3, axis=1)


def test_flux_and_radii_of_a_gaussian():
    m = measure(gaussian(sigma=2.0), ("g", "r", "i"))
    assert m["flux"] == pytest.approx(1000, rel=1e-3)
    # 2-D Gaussian: r_f = sigma sqrt(-2 ln(1 - f))
    assert m["r50"][0] == pytest.approx(2 * 1.1774, rel=0.05)
    assert m["r80"][0] == pytest.approx(2 * 1.7941, rel=0.05)
    assert m["conc"][0] == pytest.approx(5 * np.log10(1.7941 / 0.6680), abs=0.3)


@pytest.mark.parametrize("q, pa", [(0.5, 30.0), (0.7, -60.0), (0.9, 85.0)])
def test_axis_ratio_and_position_angle(q, pa):
    m = measure(gaussian(sigma=3.0, q=q, pa_deg=pa), ("g", "r", "i"))
    assert m["q"][0] == pytest.approx(q, abs=0.02)
    assert m["pa"][0] == pytest.approx(pa, abs=1)


def test_a_sky_level_changes_nothing():
    clean = measure(gaussian(), ("g", "r", "i"))
    raised = measure(gaussian() + 7.0, ("g", "r", "i"))
    assert raised["flux"] == pytest.approx(clean["flux"], rel=1e-6)
    assert raised["sky"] == pytest.approx(7.0, abs=0.01)


def single_pixels(size, value=1.0):
    """Return images [k, 1, y, x] with one lit pixel each, from the centre to the right, and their radii [k] in pixels
    of a 50-pixel stamp."""
    columns = np.arange(size // 2, size)
    images = np.zeros((len(columns), 1, size, size))
    images[np.arange(len(columns)), 0, size // 2, columns] = value
    return images, geometry(size).radius[size // 2, columns] * STANDARD_SIZE / size


@pytest.mark.parametrize("size", [32, 50, 100])
def test_the_radii_are_those_that_the_definitions_tell(size):
    """Sky beyond 22 px, flux within 9, growth to 15, moments within 12, of a 50-pixel stamp, and in proportion."""
    images, radius = single_pixels(size)
    m = measure(images, ("i",))
    assert np.array_equal(m["flux"][:, 0] > 0, radius <= 9)
    assert np.array_equal(m["sky_rms"][:, 0] > 0, radius > 22)
    # Beside a round source of the same light in the centre the pixel is noticed as far as a measurement reaches.
    middle = slice((size - 2) // 2, (size + 2) // 2)
    images[:, :, middle, middle] += 0.25
    m = measure(images, ("i",))
    assert np.array_equal(m["ellipticity"][1:] > 0.1, radius[1:] <= 12)
    reached = m["r80"] > 3 * m["r80"][0]
    edge = 0.5 * STANDARD_SIZE / size  # of a pixel
    assert reached[(radius > 5) & (radius < 15 - edge)].all() and not reached[radius > 15 + edge].any()


def test_each_radius_holds_its_share_and_the_sky_noise_is_a_standard_deviation():
    images = gaussian(sigma=6.0, size=100)
    noise = np.random.default_rng(0).normal(0, 3.0, images.shape)
    m = measure(images, ("g", "r", "i"))
    for share in (20, 50, 80):
        assert m[f"r{share}"][0] == pytest.approx(6 * np.sqrt(-2 * np.log(1 - share / 100)), rel=0.02)
    assert measure(noise, ("g", "r", "i"))["sky_rms"] == pytest.approx(3.0, rel=0.05)


def test_radii_scale_with_the_stamp():
    assert geometry(100).within(9).sum() == pytest.approx(4 * geometry(50).within(9).sum(), rel=0.05)


def test_empty_and_negative_images_are_nan_not_errors():
    m = measure(np.full((2, 3, SIZE, SIZE), -1.0), ("g", "r", "i"))
    assert np.isnan(m["r50"]).all() and np.isnan(m["q"]).all()
    assert np.isfinite(m["flux"]).all()
    assert len(measure(np.zeros((0, 3, SIZE, SIZE)), ("g", "r", "i"))["flux"]) == 0


def test_aperture_errors_hold_on_empty_sky_with_correlated_noise():
    random = np.random.default_rng(1)
    kernel = np.array([0.09, 1.0, 0.09]) / np.sqrt(1 + 2 * 0.09**2)
    white = random.normal(size=(1500, 1, SIZE + 2, SIZE + 2))
    noise = sum(k * white[:, :, j : j + SIZE] for j, k in enumerate(kernel))
    noise = 2.0 * sum(k * noise[..., j : j + SIZE] for j, k in enumerate(kernel))
    rho = noise_autocorrelation(noise)
    expected = np.convolve(kernel, kernel)[3]
    assert rho[0, 2, 3] == pytest.approx(expected, abs=0.01) and rho[0, 3, 2] == pytest.approx(expected, abs=0.01)
    error = aperture_error(np.full((1, 1, SIZE, SIZE), 2.0), rho)[0, 0]
    assert measure(noise, ("i",))["flux"].std() / error == pytest.approx(1, abs=0.08)
    white_error = aperture_error(np.full((1, 1, SIZE, SIZE), 2.0), np.ones((1, 1, 1)))[0, 0]
    assert error > 1.15 * white_error  # forgetting the correlation would make errors too small


@pytest.mark.parametrize("neighbour", [0.0, 0.3])
def test_aperture_errors_hold_to_a_percent(neighbour):
    random = np.random.default_rng(2)
    kernel = np.array([neighbour, 1.0, neighbour]) / np.sqrt(1 + 2 * neighbour**2)
    flux = []
    for _ in range(8):  # a few thousand at a time fit into memory
        white = random.normal(size=(2500, 1, SIZE + 2, SIZE + 2)).astype(np.float32)
        noise = sum(np.float32(k) * white[:, :, j : j + SIZE] for j, k in enumerate(kernel))
        noise = sum(np.float32(k) * noise[..., j : j + SIZE] for j, k in enumerate(kernel))
        flux.append(aperture_fluxes(noise)[0]["flux"])
    line = np.convolve(kernel, kernel)
    error = aperture_error(np.ones((1, 1, SIZE, SIZE)), (line[:, None] * line)[None])[0, 0]
    # The scatter of 20,000 is known to half a percent.
    assert np.concatenate(flux).std() / error == pytest.approx(1, abs=0.015)


def test_magnitudes():
    assert ab_magnitude(10 ** (0.4 * (31.4 - 22.0))) == pytest.approx(22.0)
    assert np.isnan(ab_magnitude(-1.0))
    assert asinh_magnitude(1e6, 50.0) == pytest.approx(ab_magnitude(1e6), abs=1e-6)
    assert np.isfinite(asinh_magnitude(-100.0, 50.0))


def test_the_hsc_stretch_is_inverted_and_anchored_at_ab_19():
    flux = np.array([-5.0, 0.0, 4.0, 1e3, 1e6])
    assert pixel_units.hsc_asinh_to_njy(pixel_units.njy_to_hsc_asinh(flux)) == pytest.approx(flux, rel=1e-9, abs=1e-9)
    assert pytest.approx(91_201, rel=1e-5) == pixel_units.FLUX_AT_AB19_NJY
    assert pixel_units.njy_to_hsc_asinh(pixel_units.FLUX_AT_AB19_NJY) == pytest.approx(
        (1 + 0.05) / (2 / 3 + 0.05), rel=1e-9
    )
    assert pixel_units.PixelScheme.parse("counts:27").convert(np.ones(1))[0] == pytest.approx(57.544, rel=1e-4)


def test_the_reference_band_is_i_or_the_middle_one():
    assert bands.reference_band(("g", "r", "i", "z", "y")) == 2
    assert bands.reference_band(("u", "g", "r")) == 1
