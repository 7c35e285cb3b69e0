"""A catalog's columns are measured on the images that they are named for, in the units that it tells."""

import numpy as np
import pytest

from galaxycgan.generation.measurement import Measurement
from galaxycgan.images.photometry import geometry
from galaxycgan.images.pixel_units import ab_magnitude
from galaxycgan.models.painter import Block

BANDS, SCALE, SIGMA = ("g", "r", "i"), 0.2, 3.0
FLUX = np.array([4000.0, 8000.0, 16000.0])


@pytest.fixture(scope="module")
def block():
    """Sixty-four times one round galaxy, with white noise."""
    profile = np.exp(-0.5 * (geometry(50).radius / 2) ** 2) / (2 * np.pi * 2**2)
    clean = np.tile((FLUX[:, None, None] * profile).astype(np.float32), (64, 1, 1, 1))
    noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape).astype(np.float32)
    white = np.zeros((3, 9, 9))
    white[:, 4, 4] = 1
    return Block(clean + noise, clean, np.full_like(clean, SIGMA), white)


def columns(block, noisy=True, truth=True):
    return Measurement(BANDS, SCALE, 50, block.correlation, truth).columns(block, noisy)


def test_each_column_is_of_its_band_and_image(block):
    found = columns(block)
    for band, flux in zip(BANDS, FLUX, strict=True):
        own = {
            stem: found[f"{stem}_{band}"] for stem in ("flux", "flux_err", "flux_true", "mag", "mag_true", "sky_rms")
        }
        assert own["flux_true"] == pytest.approx(flux, rel=1e-3) and np.ptp(own["flux_true"]) < 1e-3 * flux
        assert own["flux"].std() == pytest.approx(own["flux_err"][0], rel=0.3)
        assert own["flux"].mean() == pytest.approx(flux, abs=0.5 * own["flux_err"][0])
        assert np.array_equal(own["mag"], ab_magnitude(own["flux"]))
        assert np.array_equal(own["mag_true"], ab_magnitude(own["flux_true"]))
        assert own["sky_rms"] == pytest.approx(SIGMA, rel=0.1)
    assert np.median(found["r50"]) == pytest.approx(2 * 1.1774 * SCALE, rel=0.05)  # arcsec


def test_without_noise_the_flux_is_the_true_one_and_has_no_error(block):
    clean = Block(block.noiseless, block.noiseless, np.zeros_like(block.sigma), block.correlation)
    found = columns(clean, noisy=False)
    for band in BANDS:
        assert np.array_equal(found[f"flux_{band}"], found[f"flux_true_{band}"])
        assert not found[f"flux_err_{band}"].any()


def test_what_a_generator_cannot_tell_is_unknown(block):
    found = columns(block, truth=False)
    assert all(np.isnan(found[f"{stem}_{band}"]).all() for stem in ("flux_true", "mag_true") for band in BANDS)
    assert all(np.isfinite(found[f"flux_{band}"]).all() for band in BANDS)
