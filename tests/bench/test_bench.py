"""Measurements of speed run to the end, clean up, and compare with a limit of the same run."""

import json

import pytest

SMALL = ["--n", "40", "--size", "16", "--repeat", "1"]


@pytest.mark.parametrize("what, limit", [("convert", "cp and fsync of the images"), ("read", "np.memmap")])
def test_a_bench_reports_its_limit_beside_the_figure_and_leaves_nothing(command, tmp_path, what, limit):
    words = [*SMALL, "--dir", tmp_path / "work", "--out", tmp_path / "figures.json"]
    code, out, err = command("bench", what, *words)
    assert code == 0, err
    figures = json.loads((tmp_path / "figures.json").read_text())
    seconds = {row["name"]: row["seconds"] for row in figures["rows"]}
    assert seconds[limit] > 0 and len(seconds) > 1 and limit in out
    (ratio,) = figures["ratios"].values()
    assert ratio > 0 and f"{ratio:.2f}" in out
    assert not any((tmp_path / "work").iterdir())


def test_convert_is_charged_with_its_own_memory_only(command, tmp_path):
    ballast = bytearray(b"x") * (600 << 20)  # memory of the process that measures
    command("bench", "convert", *SMALL, "--dir", tmp_path, "--out", tmp_path / "f")
    peaks = [row["memory_mb"] for row in json.loads((tmp_path / "f").read_text())["rows"] if "memory_mb" in row]
    assert len(ballast) and len(peaks) == 1 and 20 < peaks[0] < 500


def test_a_bench_that_fails_says_what_went_wrong_in_one_line(command, tmp_path):
    code, _, err = command("bench", "convert", "--n", "0", "--dir", tmp_path)
    assert code == 2 and err.count("\n") == 1 and "--n 0: must be at least 1" in err
