"""Floors are of real galaxies that share none, intervals of half-samples without repeats."""

import numpy as np
import pytest

from galaxycgan.evaluation.metrics.resampling import compare, record

REAL, OTHER, SYNTHETIC = np.arange(100), 100 + np.arange(100), 200 + np.arange(80)


@pytest.fixture
def asked():
    """The pairs of sets that a comparison takes its metric of: draws and floors in turn, the whole sets last."""
    pairs = []

    def metric(first, second):
        pairs.append((first["id"], second["id"]))
        return {"difference": second["id"].mean() - first["id"].mean()}

    sets = [{"id": each} for each in (REAL, SYNTHETIC, OTHER)]
    found = compare(metric, *sets, np.random.default_rng(0), draws=30)["difference"]
    assert found["value"] == SYNTHETIC.mean() - REAL.mean()
    assert found["interval"][0] < found["value"] < found["interval"][1]
    return pairs


def test_a_floor_is_of_all_real_galaxies_none_twice(asked):
    for first, second in asked[1:-1:2]:
        assert len(first) == len(second) == 100 == len(REAL)  # as many as are compared
        assert len(np.unique(np.concatenate([first, second]))) == 200
        assert 20 < (first >= 100).sum() < 80
    assert len(asked[1:-1:2]) == 30


def test_an_interval_is_of_halves_of_both_sets_none_twice(asked):
    for first, second in asked[:-1:2]:
        assert np.isin(first, REAL).all() and len(np.unique(first)) == len(first) == 50
        assert np.isin(second, SYNTHETIC).all() and len(np.unique(second)) == len(second) == 40
    assert len({tuple(first) for first, _ in asked[:-1:2]}) == 30


def test_an_interval_holds_what_draws_scatter_about_the_value():
    draws = np.append(np.linspace(-1, 1, 1001), np.nan)
    found = record(7.0, 5 + draws, 2 + 3 * draws)
    assert found["interval"] == pytest.approx([7 - 0.68, 7 + 0.68], abs=0.01)
    assert found["floor"] == pytest.approx(2) and found["floor_interval"] == pytest.approx([-0.04, 4.04], abs=0.01)
    assert found["floor_scatter"] == pytest.approx(3 / np.sqrt(3), rel=0.01)
