"""Reading ahead and flushing behind: order, errors and the disk's refusals arrive as without them."""

import errno
import threading

import numpy as np
import pytest

from galaxycgan.bench.generate import untrained_generator
from galaxycgan.catalogs import streaming
from galaxycgan.config import Bench, Generate
from galaxycgan.context import Context
from galaxycgan.errors import UserError
from galaxycgan.generation.job import generate
from galaxycgan.generation.measurement import Measurement
from galaxycgan.images.photometry import measure


def test_the_next_item_is_made_while_one_is_used_and_all_come_in_order():
    made = [threading.Event() for _ in range(5)]

    def items():
        for k, event in enumerate(made):
            event.set()
            yield k

    seen = []
    for k in streaming.ahead(items()):
        assert k == 4 or made[k + 1].wait(10), "the next item was not begun"
        seen.append(k)
    assert seen == [0, 1, 2, 3, 4]


def test_an_error_of_making_arrives_after_the_items_before_it():
    def items():
        yield 1
        raise UserError("second")

    found = []
    with pytest.raises(UserError, match="second"):
        for k in streaming.ahead(items()):
            found.append(k)
    assert found == [1]


def test_a_disk_that_fails_beside_the_work_is_told_in_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    asked = []

    def refuse(descriptor):
        asked.append(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    run = untrained_generator(tmp_path / "run", Bench(preset="tiny", size=16))
    (tmp_path / "r.toml").write_text("[population]\nkind = 'training'\nn = 130\n")
    options = Generate(gan=str(run), recipe=str(tmp_path / "r.toml"), out=str(tmp_path / "out"), threads=1)
    monkeypatch.setattr(streaming, "FLUSH_BYTES", 1000)
    monkeypatch.setattr("os.fdatasync", refuse)
    with pytest.raises(UserError, match="catalog.h5: can't be written: No space left on device"):
        generate(options, Context())
    assert asked and not any((tmp_path / "out").iterdir())
    monkeypatch.setattr("os.fdatasync", lambda descriptor: asked.append(None))
    generate(options, Context())
    assert None in asked and sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "catalog.fits",
        "catalog.h5",
    ]


@pytest.mark.parametrize("size", [16, 33, 50])
def test_true_fluxes_are_measured_as_all_others_are(size):
    images = np.random.default_rng(size).normal(3, 2, (64, 3, size, size)).astype(np.float32)
    measurement = Measurement(("g", "r", "i"), 0.168, size, np.ones((3, 1, 1)))
    assert np.array_equal(measurement.flux(images), measure(images, "gri")["flux"])
