"""The speed of generating is told beside its two limits, and memory does not grow with the number of galaxies."""

import json
import tracemalloc

from galaxycgan.bench.generate import untrained_generator
from galaxycgan.catalogs.export.export import write_fits
from galaxycgan.config import Bench, Generate
from galaxycgan.context import Context
from galaxycgan.generation.request import Request
from galaxycgan.generation.shards import write_catalog

SMALL = ["--preset", "tiny", "--size", "16"]


def test_generate_is_measured_beside_the_network_and_the_disk_and_leaves_nothing(command, tmp_path):
    words = ["--n", "130", "--repeat", "1", "--threads", "1", "--dir", tmp_path / "work", "--out", tmp_path / "f.json"]
    code, out, err = command("bench", "generate", *SMALL, *words)
    assert code == 0, err
    figures = json.loads((tmp_path / "f.json").read_text())
    speed = {row["name"]: row.get("galaxies_per_s") for row in figures["rows"]}
    limits = speed["forward pass alone"], speed["same bytes, tofile and fsync"]
    ratio = figures["ratios"]["galaxies/s over the smaller limit (goal 0.85 or more)"]
    assert abs(ratio * min(limits) / speed["generate, the whole command"] - 1) < 1e-6
    assert f"{ratio:.2f}" in out and not any((tmp_path / "work").iterdir())


def test_six_times_the_galaxies_take_no_more_memory(tmp_path, monkeypatch):
    run = untrained_generator(tmp_path / "run", Bench(preset="tiny", size=16))
    (tmp_path / "r.toml").write_text("[population]\nkind = 'training'\nn = 1\n")
    monkeypatch.setattr("galaxycgan.generation.request.PIECE", 128)
    monkeypatch.setattr("galaxycgan.catalogs.export.fits_table.PIECE_BYTES", 1 << 16)

    def peak(n):
        request = Request(Generate(gan=str(run), recipe=str(tmp_path / "r.toml"), n=n, images="none"))
        tracemalloc.start()
        write_catalog(tmp_path / "c.h5", request, 0, n, 1, "2026-01-01T00:00:00Z", Context())
        write_fits(tmp_path / "c.h5", tmp_path / "c.fits", overwrite=True)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found / 1e6

    peak(64)  # modules that are imported on the way
    few, many = peak(640), peak(3_840)
    table_mb = (3_840 - 640) * 200 / 1e6
    assert many < few + 0.4 * table_mb, f"{few:.2f} MB for 640 galaxies, {many:.2f} MB for 3,840"
