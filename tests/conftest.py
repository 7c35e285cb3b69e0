"""Small survey files made by hand, and the command line called in this process."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from galaxycgan import cli, config
from galaxycgan.context import Context
from galaxycgan.errors import Interrupted
from galaxycgan.images.pixel_units import njy_to_hsc_asinh

CREATED = "2026-01-02T03:04:05Z"


def pytest_collection_modifyitems(items):
    """The README's commands, which take longest and one after the other, start first."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


class StopAfter:
    """Stands in for the event that asks a job to stop: set after a number of looks."""

    def __init__(self, looks):
        self.looks = looks

    def is_set(self):
        self.looks -= 1
        return self.looks < 0


def tiny_batch():
    """Return a batch of eight noise images [8, 3, 32, 32] in flux units, and standardised labels [8, 2]."""
    import torch

    random = torch.Generator().manual_seed(1)
    return torch.randn(8, 3, 32, 32, generator=random), torch.randn(8, 2, generator=random)


def tiny_trainer(disturbance=0.0, gain=0.01):
    """Return a trainer of the smallest networks, its scales taken from `tiny_batch`, photon noise of this gain."""
    import torch

    from galaxycgan.models.generator import NetworkShape
    from galaxycgan.training.adversarial import Settings, Trainer

    settings = Settings(batch=8, lr=6e-4, gamma=0.3, seed=5, disturbance=disturbance)
    trainer = Trainer(NetworkShape.preset("tiny", 3, 32, 2), settings, torch.device("cpu"), torch.float32)
    flux, conditions = tiny_batch()
    unit, point = np.ones(3, dtype=np.float32), np.eye(5, dtype=np.float32)[2]
    correlation = np.stack([point[:, None] * point] * 3)
    trainer.start_from(flux, conditions, [True, True], unit, 0.5 * unit, correlation, 1e-4 * np.eye(3), gain * unit)
    return trainer


def train_with_stops(options, looks):
    """Train a GAN, stopped after so many looks each time and started again, to its end."""
    from galaxycgan.training.train_gan import train_gan

    for each in looks:
        with pytest.raises(Interrupted):
            train_gan(options, Context(stop=StopAfter(each)))
    train_gan(options, Context())


def assert_same_weights(run, other_run):
    """Compare the released generators of two run directories bit by bit."""
    import torch
    from safetensors.torch import load_file

    one, other = (load_file(each / "generator.safetensors") for each in (run, other_run))
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@dataclasses.dataclass
class Survey:
    """Survey files with known truth, in a directory of their own.

    Attributes
    ----------
    directory : Path
    ids : int64 array [n]
        In file order, which is not sorted; all above 2^53, so that float64 would change them.
    flux : float64 array [n, band, y, x]
        nJy.
    table : pandas.DataFrame
        What the CSV holds. Of the images, by index: 0 to 4 have a second match, farther, heavier and earlier in the
        table; 5 has a nearer match that is not selected; 6 only rows that are not selected; 7 no row; 8 two matches at
        the same distance. The last four rows belong to no image.
    """

    directory: Path
    ids: np.ndarray
    flux: np.ndarray
    table: pd.DataFrame

    @property
    def paths(self):
        """Paths of the three files, by option."""
        names = {"ids": "HSC_ids.npy", "images": "images.small.npy", "table": "objects.csv"}
        return {option: self.directory / name for option, name in names.items()}

    def write(self):
        """Write the three files."""
        np.save(self.paths["ids"], self.ids)
        np.save(self.paths["images"], njy_to_hsc_asinh(self.flux))
        self.table.to_csv(self.paths["table"], index=False)
        return self

    def options(self, **changes):
        """Return `config.Convert` for these files, the store going beside them."""
        paths = {option: str(path) for option, path in self.paths.items()}
        return config.Convert(**({"bands": "g,r,i", "out": str(self.directory / "store.h5")} | paths | changes))

    def convert(self, **changes):
        """Convert the files; return the store's path."""
        from galaxycgan.catalogs.convert.convert import convert

        options = self.options(**changes)
        convert(options, Context(created=CREATED))
        return Path(options.out)

    def arguments(self, *more):
        """Return the command line of ``galaxycgan convert`` for these files."""
        files = [word for option, path in self.paths.items() for word in (f"--{option}", str(path))]
        return ["convert", "--bands", "g,r,i", *files, "--out", str(self.directory / "store.h5"), *more]


@contextlib.contextmanager
def held_by_another(path):
    """Let another process hold a lock file while the block runs."""
    hold = "import sys; from pathlib import Path\nfrom galaxycgan.files.atomic import hold\n"
    hold += "with hold(Path(sys.argv[1]), ''):"
    script = [sys.executable, "-c", f"{hold}\n print('held', flush=True); sys.stdin.read()", str(path)]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        yield
        other.communicate("")


def make_survey(directory, n=60, size=50):
    """Make a `Survey` of round galaxies on a noisy sky."""
    rng = np.random.default_rng(2018)
    ids = rng.permutation(43_150_000_000_000_001 + 2 * rng.choice(10**9, n, replace=False))
    y, x = np.indices((size, size)) - (size - 1) / 2
    profile = np.exp(-0.5 * (x**2 + y**2) / rng.uniform(2, 5, (n, 1, 1, 1)) ** 2)
    flux = rng.uniform(5, 300, (n, 3, 1, 1)) * profile + rng.normal(0, 2, (n, 3, size, size))
    return Survey(directory, ids, flux, make_table(ids, rng)).write()


def make_table(ids, rng):
    """Make the table of a `Survey`."""
    n = len(ids)
    main = pd.DataFrame(
        {
            "COSMOS_id": 500_000 + np.arange(n),
            "HSC_id": ids,
            "ra": rng.uniform(149.5, 150.5, n),
            "dec": rng.uniform(1.7, 2.7, n),
            "photo_z": rng.uniform(0.05, 1.2, n).round(4),
            "log_mass": rng.uniform(7.5, 11, n).round(4),
            "icmodel_mag": np.where(np.arange(n) % 9 == 0, np.nan, rng.uniform(18, 24, n).round(3)),
            "sep": rng.uniform(0.2, 0.5, n).round(3),
            "selected": True,
        }
    )
    second = main.iloc[:5].assign(COSMOS_id=600_000 + np.arange(5), log_mass=11.5, photo_z=0.9, sep=0.9)
    nearer = main.iloc[5:6].assign(COSMOS_id=600_005, sep=0.01, selected=False)
    tied = main.iloc[8:9].assign(COSMOS_id=400_008, photo_z=0.77)
    elsewhere = main.iloc[10:14].assign(COSMOS_id=600_010 + np.arange(4), HSC_id=ids.max() + 2 + np.arange(4))
    main.loc[6, "selected"] = False
    return pd.concat([second, main.drop(index=7), nearer, tied, elsewhere], ignore_index=True)


@pytest.fixture
def survey_files(tmp_path):
    """A `Survey` of 60 galaxies that a test may change and damage."""
    return make_survey(tmp_path)


@pytest.fixture(scope="session")
def survey_store(tmp_path_factory):
    """Path of a store of the same 60 galaxies, to read only."""
    return make_survey(tmp_path_factory.mktemp("survey")).convert(psf_fwhm="0.79,0.75,0.62")


@pytest.fixture(scope="session")
def other_store(tmp_path_factory):
    """A store of other galaxies: those of the survey with ids of their own."""
    survey = make_survey(tmp_path_factory.mktemp("other"))
    survey.table["HSC_id"] += 1
    survey.ids += 1
    return survey.write().convert()


@contextlib.contextmanager
def signals_kept():
    """Give signals back the handlers that they had: commands set their own."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.fixture
def command(capsys):
    """Call ``galaxycgan`` in this process: ``command(*words)`` gives exit code, output and errors."""

    def call(*words):
        capsys.readouterr()
        with signals_kept():
            code = cli.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def real_data():
    """Directory of real survey data."""
    directory = os.environ.get("GALAXYCGAN_TEST_DATA")
    if not directory or not Path(directory, "hsc_real").is_dir():
        pytest.skip("no real data: set GALAXYCGAN_TEST_DATA to a directory with hsc_real/")
    return Path(directory)


def flip_byte(path, name):
    """Change one byte of a dataset in the file, behind HDF5's back."""
    with h5py.File(path) as file:
        place = file[name].id.get_offset() + file[name].nbytes // 2
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
