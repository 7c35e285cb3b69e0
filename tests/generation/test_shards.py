"""A catalog in shards is the catalog made in one go, to the byte; what is not whole and of it is refused by name."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from galaxycgan.catalogs.store.integrity import store_problems
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.config import Generate, TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import UserError
from galaxycgan.generation.generate import generate
from galaxycgan.generation.shards import Shards
from galaxycgan.models import device
from galaxycgan.training.train_gan import train_gan

CREATED = "2026-01-01T00:00:00Z"
N = 64 * 4 + 9
RECIPE = """
name = "shards"
seed = 7
[population]
kind = "table"
file = "{table}"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, survey_store):
    """Directory with a trained GAN (run), a recipe (r.toml) and the catalog made in one go (whole)."""
    directory = tmp_path_factory.mktemp("shards")
    options = TrainGan(store=str(survey_store), run=str(directory / "run"), preset="tiny", images=64, batch=16)
    train_gan(options, Context())
    rng = np.random.default_rng(1)
    lines = ["photo_z,log_mass,halo,note"]
    for k in range(N):
        halo = "" if k == 70 else 10**18 + k
        lines.append(f"{rng.uniform(0.1, 1):.5f},{rng.uniform(8, 10.5):.5f},{halo},{'long text' if k == 200 else 'x'}")
    (directory / "t.csv").write_text("\n".join(lines) + "\n")
    (directory / "r.toml").write_text(RECIPE.format(table=directory / "t.csv"))
    make(directory, "whole")
    return directory


def make(place, out, created=CREATED, **options):
    settings = {"gan": str(place / "run"), "recipe": str(place / "r.toml"), "out": str(place / out), "threads": 1}
    generate(Generate(**settings | options), Context(created=created))
    return place / out


def same_bytes(place, out, names=("catalog.h5", "catalog.fits")):
    return all((place / out / name).read_bytes() == (place / "whole" / name).read_bytes() for name in names)


@pytest.mark.parametrize("count", [2, 5])
def test_shards_made_one_by_one_in_any_order_merge_to_the_same_bytes(place, count):
    out = f"k{count}"
    for k in reversed(range(count)):
        make(place, out, shards=count, shard=k, created=f"2026-01-01T00:00:0{k}Z" if k < count - 1 else CREATED)
    assert not (place / out / "catalog.h5").exists()
    make(place, out, shards=count, merge=True, created="2026-05-05T00:00:00Z")
    assert same_bytes(place, out) and not (place / out / "shards").exists()
    assert store_problems(place / out / "catalog.h5") == []


def test_the_number_of_threads_changes_no_byte(place):
    make(place, "threads", threads=2, shards=3)
    assert same_bytes(place, "threads")


def test_parts_made_on_machines_of_several_kinds_are_of_one_precision(place, monkeypatch, capsys):
    make(place, "kinds", shards=2, shard=0)
    here = device.cpu_has_bfloat16()
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: not here)
    make(place, "kinds", shards=2, shard=1)
    make(place, "kinds", shards=2, merge=True)
    assert same_bytes(place, "kinds")
    make(place, "kinds")  # the catalog as a whole is known here, too
    assert "done already" in capsys.readouterr().out
    make(place, "asked", shards=2, shard=0, precision="float32")
    words = "shards: was made by another request .precision: float32 there, bfloat16 asked.; give the same --precision"
    with pytest.raises(UserError, match=words):
        make(place, "asked", shards=2, shard=1, precision="bfloat16")


def _replace(out, wait, answers):
    shards = Shards(out, _request("new"), 2)
    wait.wait()
    try:
        answers.put(shards.created(Context(created=f"by {os.getpid()}"), overwrite=True))
    except BaseException as error:
        answers.put(repr(error))


def _request(name):
    asked = {"asked": name, "precision": "float32"}
    return types.SimpleNamespace(n=128, name=name, described=asked, described_like=lambda noted: asked)


def test_jobs_that_start_together_and_replace_an_older_request_agree(tmp_path):
    forked = multiprocessing.get_context("fork")
    for k in range(10):
        out = tmp_path / str(k)
        Shards(out, _request("old"), 2).created(Context(created="before"), overwrite=False)
        wait, answers = forked.Barrier(4), forked.Queue()
        jobs = [forked.Process(target=_replace, args=(out, wait, answers)) for _ in range(4)]
        for job in jobs:
            job.start()
        said = {answers.get(timeout=60) for _ in jobs}
        for job in jobs:
            job.join()
        assert len(said) == 1 and said.pop().startswith("by ")
        with pytest.raises(UserError, match="another request .asked: new there, third asked.*--overwrite"):
            Shards(out, _request("third"), 2).created(Context(), overwrite=False)


def test_columns_of_the_table_ride_along_with_ids_missing_values_and_text(place):
    with GalaxyStore(place / "whole/catalog.h5") as store:
        halo, note = store.column("halo"), store.column("note")
        assert halo[3] == 10**18 + 3 and halo[70] == np.iinfo(np.int64).min
        assert note[200] == "long text" and note[0] == "x" and store.table["halo"].mask.sum() == 1


def test_a_missing_shard_is_named(place):
    for k in (0, 2):
        make(place, "missing", shards=3, shard=k)
    with pytest.raises(UserError, match="1 of 3 shards are missing: shard-1-of-3.h5"):
        make(place, "missing", shards=3, merge=True)
    assert not (place / "missing/catalog.h5").exists()


def test_a_merge_of_another_number_of_shards_says_which_there_are(place):
    make(place, "number", shards=3, shard=0)
    with pytest.raises(UserError, match="2 of 2 shards are missing: .*; there are some of --shards 3"):
        make(place, "number", shards=2, merge=True)


@pytest.mark.parametrize("n, count, images", [(128, 2, "none"), (65, 2, "noisy"), (192, 1, "noiseless")])
def test_borders_of_blocks_and_catalogs_without_images_are_no_special_cases(place, n, count, images):
    (place / "like.toml").write_text("[population]\nkind = 'training'\nn = 1\n")
    settings = {"recipe": str(place / "like.toml"), "images": images}
    one = make(place, f"one-{n}", n=n, **settings)
    for k in range(count):
        make(place, f"parts-{n}", n=n, shards=count, shard=k, **settings)
    parts = make(place, f"parts-{n}", n=n, shards=count, merge=count > 1, **settings)
    # Of more galaxies the first are the same.
    make(place, f"more-{n}", n=n + 1, **settings)
    with GalaxyStore(one / "catalog.h5") as few, GalaxyStore(place / f"more-{n}/catalog.h5") as more:
        assert (few.table == more.table[:n]).all() and np.array_equal(few.images(), more.images(np.arange(n)))
    for name in ("catalog.h5", "catalog.fits"):
        assert (parts / name).read_bytes() == (one / name).read_bytes()


def test_shards_that_an_interrupted_run_left_go_when_the_catalog_is_whole(place):
    make(place, "left", shards=5, shard=1)
    make(place, "left", shards=2)
    assert same_bytes(place, "left") and not (place / "left/shards").exists()


def test_a_truncated_shard_is_named_at_the_merge_and_made_again_by_its_job(place, capsys):
    for k in range(2):
        make(place, "cut", shards=2, shard=k)
    path = place / "cut/shards/shard-1-of-2.h5"
    os.truncate(path, path.stat().st_size - 1000)
    with pytest.raises(UserError, match="shard-1-of-2.h5: truncated"):
        make(place, "cut", shards=2, merge=True)
    make(place, "cut", shards=2, shard=1)
    assert "made again" in capsys.readouterr().out
    make(place, "cut", shards=2, merge=True)
    assert same_bytes(place, "cut")


def test_a_shard_with_changed_pixels_is_named_and_nothing_is_written(place):
    for k in range(2):
        make(place, "bits", shards=2, shard=k)
    path = place / "bits/shards/shard-0-of-2.h5"
    with GalaxyStore(path) as store:
        offset = store._layout["noiseless"][0] + 12345
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\x01\x02\x03\x04")
    with pytest.raises(UserError, match=r"shard-0-of-2.h5: damaged shard \(noiseless: wrong checksum\)"):
        make(place, "bits", shards=2, merge=True)
    assert not (place / "bits/catalog.h5").exists()


def test_a_changed_table_of_a_shard_is_named(place):
    for k in range(2):
        make(place, "row", shards=2, shard=k)
    import h5py

    with h5py.File(place / "row/shards/shard-1-of-2.h5", "r+") as file:
        row = file["catalog"][5]
        row["log_mass"] += 1
        file["catalog"][5] = row
    with pytest.raises(UserError, match="shard-1-of-2.h5: damaged shard .*catalog"):
        make(place, "row", shards=2, merge=True)


def test_a_shard_of_another_catalog_is_refused(place):
    make(place, "foreign", shards=2, shard=0)
    make(place, "other", shards=2, shard=1, seed=8)
    os.replace(place / "other/shards/shard-1-of-2.h5", place / "foreign/shards/shard-1-of-2.h5")
    with pytest.raises(
        UserError, match=r"shard-1-of-2.h5: was made by another request \(request.recipe.seed: 8 there, \d+ asked"
    ):
        make(place, "foreign", shards=2, merge=True)
    with pytest.raises(UserError, match=r"another request \(recipe.seed: \d+ there, 8 asked.*--overwrite"):
        make(place, "foreign", shards=2, shard=0, seed=8)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shards": 6}, "must be from 1 to 5: 265 galaxies are 5 blocks"),
        ({"shards": 2, "shard": 2}, "--shard 2: of --shards 2"),
        ({"merge": True}, "--merge: joins all shards"),
        ({"shards": 2, "merge": True}, "make the shards first"),
        ({"shards": 0}, "--shards 0: must be at least 1"),
    ],
)
def test_impossible_shards_are_told_in_one_line(place, options, message):
    with pytest.raises(UserError, match=message) as error:
        make(place, "impossible", **options)
    assert "\n" not in str(error.value) and not (place / "impossible").exists()


@pytest.mark.parametrize("moment", ["second shard", "merge"])
def test_killed_and_given_again_it_ends_in_the_same_bytes(place, moment, capsys):
    out = f"killed-{moment.replace(' ', '-')}"
    words = ["generate", "--gan", place / "run", "--recipe", place / "r.toml", "--out", place / out, "--shards", 4]
    words = [sys.executable, "-m", "galaxycgan", *map(str, words), "--threads", "1"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1767225600"}
    child = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    last = {"second shard": "shards/shard-0-of-4.h5", "merge": "shards/shard-3-of-4.h5"}[moment]
    deadline = time.monotonic() + 120
    while not (place / out / last).exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    # Another time of the request: what the first run noted holds.
    make(place, out, shards=4, created="2027-01-01T00:00:00Z")
    assert "shard-0-of-4.h5: done already" in capsys.readouterr().out
    assert same_bytes(place, out)
    assert sorted(path.name for path in (place / out).iterdir()) == ["catalog.fits", "catalog.h5"]
