"""How fast random batches come out of a store, beside random rows of np.memmap and other layouts of HDF5."""

import h5py
import numpy as np

from galaxycgan.bench.survey import convert_words, write_survey
from galaxycgan.bench.timing import run_command, timed
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.images.bands import parse_bands

GOAL = 0.8
BATCHES = 100
#: Layouts that the store's was chosen from, and their options of h5py's create_dataset; True stands for
#: a chunk of one image.
LAYOUTS = {
    "HDF5 contiguous, through h5py": {},
    "HDF5 a chunk per image": {"chunks": True},
    "HDF5 a chunk per image, lzf": {"chunks": True, "compression": "lzf"},
    "HDF5 a chunk per image, shuffle and gzip 1": {"chunks": True, "compression": 1, "shuffle": True},
}


def bench_read(config, context, folder):
    """Read the same random batches through the store, np.memmap and h5py, all from a warm cache.

    Parameters
    ----------
    config : galaxycgan.config.Bench
    context : galaxycgan.context.Context
    folder : Path
        Empty, on the disk that is to be measured.

    Returns
    -------
    dict
        'what', 'input', 'rows' and 'ratios'.
    """
    bands = parse_bands(config.bands)
    paths = write_survey(folder, config.n, bands, config.size, config.seed)
    run_command(convert_words(paths, bands, folder / "store.h5"))
    paths["images"].unlink()
    store = GalaxyStore(folder / "store.h5")
    rng = np.random.default_rng(config.seed)
    batches = [rng.choice(store.n, min(config.batch, store.n), replace=False) for _ in range(BATCHES)]
    readers = {"np.memmap": _memmap(store, folder), "GalaxyStore.images": store.images}
    sizes = {}
    for name, options in LAYOUTS.items():
        context.check()
        if options:
            options = options | {"chunks": (1, len(bands), config.size, config.size)}
        readers[name], sizes[name] = _hdf5(store, folder, name, options)
    seconds = {name: [] for name in readers}
    for _ in range(config.repeat):
        for name, read in readers.items():
            seconds[name].append(timed(lambda read=read: [read(batch) for batch in batches]))
    bytes_read = BATCHES * store.images(batches[0]).nbytes
    times = {name: min(values) for name, values in seconds.items()}
    plain = store.n * store.images([0]).nbytes
    notes = {name: f", {size / plain:.2f} of the size" for name, size in sizes.items()}
    ratio = times["np.memmap"] / times["GalaxyStore.images"]
    return {
        "what": "read",
        "input": f"{BATCHES} random batches of {len(batches[0])} from {store.n:,} galaxies, warm cache, best of"
        f" {config.repeat}",
        "rows": [
            {"name": name + notes.get(name, ""), "seconds": value, "mb_per_s": bytes_read / value / 1e6}
            for name, value in times.items()
        ],
        "ratios": {f"np.memmap over GalaxyStore, in seconds (goal {GOAL} or more)": ratio},
    }


def _memmap(store, folder):
    """Write the store's pixels as one plain file; return a function that reads rows of it."""
    np.save(folder / "plain.npy", store.images())
    mapped = np.load(folder / "plain.npy", mmap_mode="r")
    return lambda rows: np.array(mapped[rows])


def _hdf5(store, folder, name, options):
    """Write the store's pixels in another layout; return a function that reads rows of it, and the bytes it takes."""
    path = folder / f"{name}.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=store.images(), **options)
    dataset = h5py.File(path, "r")["images"]

    def read(rows):
        # h5py requires rows in rising order; the batch's own order is restored.
        order = np.argsort(rows)
        return dataset[rows[order]][np.argsort(order)]

    return read, path.stat().st_size
