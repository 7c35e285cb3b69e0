"""Morphology is statmorph's, only sooner, and what fails is counted."""

import concurrent.futures
import signal

import numpy as np
import pytest

from galaxycgan.errors import Interrupted, UserError
from galaxycgan.evaluation.metrics import morphology


def sersic(n_pixels=50, size=3.0, q=0.7, noise=1.0, seed=0, blob=0.0, flux=60.0):
    """An exponential disc with an off-centre blob, on white noise."""
    y, x = np.indices((n_pixels, n_pixels)) - (n_pixels - 1) / 2
    disc = flux * np.exp(-np.hypot(x, y / q) / size)
    knot = blob * np.exp(-0.5 * ((x - 4) ** 2 + (y - 1) ** 2))
    return disc + knot + np.random.default_rng(seed).normal(0, noise, (n_pixels, n_pixels))


def test_it_measures_what_stock_statmorph_measures():
    import statmorph

    quick = morphology._measurer()
    images = [sersic(seed=k, size=2 + k / 2, q=0.5 + k / 10, blob=20.0 * (k % 2)) for k in range(3)]
    ours = np.array([morphology.measure_one(image)[0] for image in images])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(morphology, "_measurer", lambda: statmorph.SourceMorphology)
        theirs = np.array([morphology.measure_one(image)[0] for image in images])
    assert quick is not statmorph.SourceMorphology
    # Galaxies of one kind scatter by 0.05, 0.3, 0.15 and 0.03
    assert (np.abs(ours - theirs).max(0) < [0.005, 0.02, 0.02, 0.005]).all()


def test_the_empty_square_is_the_first_one_and_is_halved_until_it_fits():
    segments, hidden = np.zeros((48, 48), int), np.zeros((48, 48), bool)
    assert morphology.empty_square(segments, hidden, 16) == (slice(0, 16), slice(0, 16))
    segments[10, :40] = 1
    assert morphology.empty_square(segments, hidden, 16) == (slice(11, 27), slice(0, 16))
    hidden[:, ::8] = True
    assert morphology.empty_square(segments, hidden, 16) == (slice(0, 4), slice(1, 5))
    hidden[:] = True
    assert morphology.empty_square(segments, hidden, 16) is None


def test_light_and_area_grow_as_those_of_an_ellipse():
    growth = morphology._Growth(np.full((50, 50), 3.0), np.ones((50, 50), bool), (24.3, 25.1), 2.0, 0.4)
    light, area = growth.within([-1.0, 4.0, 12.0])
    assert area == pytest.approx([0, np.pi * 4 * 2, np.pi * 12 * 6], rel=0.01)
    assert light == pytest.approx(3 * np.array(area))


def test_a_blob_makes_a_galaxy_less_symmetric():
    plain, blobbed = (morphology.measure_one(sersic(blob=blob))[0][2] for blob in (0.0, 60.0))
    assert blobbed > plain + 0.1


def test_an_empty_stamp_is_counted_as_not_detected_and_leaves_no_number():
    empty = np.random.default_rng(1).normal(size=(50, 50))
    images = np.stack(
        [np.stack([image] * 3) for image in (sersic(), np.zeros((50, 50)) + 1e-9 * empty, sersic(seed=2))]
    )
    images[1] = 0.0
    ((table, counts),) = morphology.morphology([images], ("g", "r", "i"), workers=1)
    assert counts == {"good": 2, "not detected": 1}
    assert np.isnan(table["Gini"][1]) and np.isfinite(table["Gini"][[0, 2]]).all()


def test_several_processes_give_the_numbers_of_one(monkeypatch):
    monkeypatch.setattr(morphology, "WORTH_A_PROCESS", 4)
    monkeypatch.setattr(morphology, "CHUNK", 3)
    images = np.stack([sersic(seed=k)[None] for k in range(8)])
    seen = []
    one = morphology.morphology([images[:5], images[5:]], ("i",), workers=1, advance=seen.append)
    two = morphology.morphology([images[:5], images[5:]], ("i",), workers=2)
    for (a, counts), (b, their_counts) in zip(one, two, strict=True):
        assert counts == their_counts
        assert all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)
    assert seen[-1] == 8


def test_workers_leave_the_warning_of_slurm_to_their_parent():
    numbers = (signal.SIGUSR2, signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        morphology._start_worker()
        assert [signal.getsignal(number) for number in numbers] == [signal.SIG_IGN, signal.SIG_IGN, signal.SIG_DFL]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("asked", [True, False])
def test_a_worker_that_dies_where_a_stop_was_asked_for_is_no_lack_of_memory(monkeypatch, asked):
    class Broken:
        def __init__(self, *about):
            pass

        def map(self, function, chunks):
            raise concurrent.futures.process.BrokenProcessPool

        def shutdown(self, cancel_futures):
            pass

    def check():
        if asked:
            raise Interrupted

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Broken)
    with pytest.raises(Interrupted if asked else UserError):
        list(morphology._mapped([1, 2], 2, check))
