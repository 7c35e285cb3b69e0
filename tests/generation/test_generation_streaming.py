"""Reading ahead, flushing behind, pixels before their headers: the same bytes, and the disk's refusals arrive."""

import errno
import threading

import numpy as np
import pytest
from astropy.table import Table

from galaxycgan.bench.generate import untrained_generator
from galaxycgan.catalogs.export import fits_ahead
from galaxycgan.catalogs.export.export import export
from galaxycgan.catalogs.export.read import read_fits_images
from galaxycgan.config import Bench, Export, Generate
from galaxycgan.context import Context
from galaxycgan.errors import UserError
from galaxycgan.files import streaming
from galaxycgan.generation import generate as stage
from galaxycgan.generation.generate import generate
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
    monkeypatch.setattr(streaming, "FLUSH_BYTES", 10_000)
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
def test_true_fluxes_are_measured_as_all_others_are_where_there_is_no_noise(size):
    images = np.random.default_rng(size).normal(3, 2, (64, 3, size, size)).astype(np.float32)
    measurement = Measurement(("g", "r", "i"), 0.168, size, np.ones((3, 1, 1)))
    true = measurement.expected_flux(images, np.zeros_like(images))
    assert np.array_equal(true, measure(images, "gri")["flux"])


@pytest.mark.parametrize("images", ["both", "noisy", "noiseless", "none"])
@pytest.mark.parametrize("shards", [1, 2])
def test_a_fits_catalog_whose_pixels_came_first_is_the_one_that_export_writes(tmp_path, monkeypatch, images, shards):
    first = []
    monkeypatch.setattr(stage, "pixels_ahead", lambda *known: first.append(known) or fits_ahead.pixels_ahead(*known))
    run = untrained_generator(tmp_path / "run", Bench(preset="tiny", size=16))
    (tmp_path / "r.toml").write_text("[population]\nkind = 'training'\nn = 130\n")
    out = tmp_path / "out"
    options = Generate(
        gan=str(run), recipe=str(tmp_path / "r.toml"), out=str(out), images=images, shards=shards, threads=1
    )
    generate(options, Context())
    assert len(first) == (images != "none")
    export(Export(store=str(out / "catalog.h5"), to=str(tmp_path / "again.fits")), Context())
    assert (out / "catalog.fits").read_bytes() == (tmp_path / "again.fits").read_bytes()
    assert sorted(path.name for path in out.iterdir()) == ["catalog.fits", "catalog.h5"]


def test_a_catalog_with_text_that_rides_along_has_its_fits_file_too(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "pixels_ahead", None)  # the width of the table shows at the end
    run = untrained_generator(tmp_path / "run", Bench(preset="tiny", size=16))
    table = Table({"photo_z": [0.1, 0.2, 0.3], "log_mass": [8.5, 9.0, 9.5], "field": ["a", "COSMOS", "ELAIS N1"]})
    table.write(tmp_path / "mine.csv")
    (tmp_path / "r.toml").write_text(f"[population]\nkind = 'table'\nfile = '{tmp_path / 'mine.csv'}'\n")
    generate(Generate(gan=str(run), recipe=str(tmp_path / "r.toml"), out=str(tmp_path / "out"), threads=1), Context())
    assert list(Table.read(tmp_path / "out/catalog.fits", "CATALOG")["field"]) == ["a", "COSMOS", "ELAIS N1"]
    assert read_fits_images(tmp_path / "out/catalog.fits").shape == (3, 3, 16, 16)
