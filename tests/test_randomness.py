"""Random numbers belong to an index: the same galaxy gets the same ones in any batch."""

import numpy as np
import pytest
from scipy.stats import kstest

from galaxycgan.randomness import STREAMS, make_rng, normals, shuffled_order
from galaxycgan.training.sampler import Sampler


@pytest.mark.parametrize("size", [1, 7, 8, 260])
def test_rows_do_not_depend_on_the_batch_they_are_drawn_in(size):
    whole = normals(5, "latent", 0, 100, size)
    parts = np.concatenate([normals(5, "latent", k, 10, size) for k in range(0, 100, 10)])
    assert np.array_equal(whole, parts)


def test_deviates_are_standard_normal_and_streams_differ():
    draws = normals(1, "noise", 10, 200, 501)
    assert kstest(draws.ravel(), "norm").pvalue > 1e-3
    assert np.isfinite(draws).all()
    other = normals(1, "latent", 10, 200, 501)
    assert abs(np.corrcoef(draws.ravel(), other.ravel())[0, 1]) < 0.01
    assert not np.array_equal(draws, normals(2, "noise", 10, 200, 501))


def test_neighbouring_rows_are_independent():
    draws = normals(1, "noise", 0, 2000, 64)
    assert abs((draws[:-1] * draws[1:]).mean()) < 0.01


def test_an_epoch_shows_each_galaxy_once_whatever_the_batch():
    sampler = Sampler(10, seed=3)
    shown = np.concatenate([sampler.rows(first, 4) for first in range(0, 40, 4)])
    for epoch in range(4):
        assert sorted(shown[epoch * 10 : epoch * 10 + 10]) == list(range(10))
    assert np.array_equal(Sampler(10, seed=3).rows(17, 9), shown[17:26])
    assert not np.array_equal(shuffled_order(3, 0, 10), shuffled_order(3, 1, 10))
    assert not np.array_equal(shuffled_order(3, 0, 10), shuffled_order(4, 0, 10))


def test_no_two_uses_seeds_or_indices_share_numbers():
    assert len(set(STREAMS.values())) == len(STREAMS)
    keys = [(5, "order", 0), (5, "order", 1), (5, "order", 2), (6, "order", 0), (5, "augment", 0)]
    drawn = [make_rng(*key).random(1000) for key in keys]
    assert len(np.unique(drawn)) == 1000 * len(keys)  # not even shifted against each other


def test_the_numbers_of_a_seed_stay_what_they_were():
    """A catalog tells its seed so that its galaxies can be made again by later versions, too."""
    assert make_rng(7, "request", 3).integers(2**62, size=2).tolist() == [1634926278531230641, 872295424612886546]
    expected = [[0.2625585, -2.1421175, -0.1790073], [0.1464390, 0.2058115, 0.1589727]]
    assert normals(7, "latent", 5, 2, 3) == pytest.approx(np.array(expected), abs=1e-6)
