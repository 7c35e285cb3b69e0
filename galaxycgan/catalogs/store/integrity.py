"""What can be wrong with a store: checksums, rows that don't fit together, pixels that are no numbers."""

import hashlib

import numpy as np

from galaxycgan.catalogs.formats.hdf5 import chunks_of
from galaxycgan.catalogs.store.checksums import CheckedImages
from galaxycgan.catalogs.store.store import NO_SPLIT, GalaxyStore, split_of
from galaxycgan.errors import first_few


def store_problems(path):
    """Return what is wrong with a store, as a list of short sentences.

    Raises
    ------
    UserError
        Where it can't be opened as a store at all.
    """
    with GalaxyStore(path) as store, store.open() as file:
        images = [text for name in ("images", "noiseless") for text in _image_problems(store, file, name)]
        return images + table_problems(store, file)


def table_problems(store, file):
    """Return what is wrong with all of a store but its images.

    Parameters
    ----------
    store : GalaxyStore
    file : h5py.File
        The store, open.

    Returns
    -------
    list of str
    """
    needed = (store.id_column, "split", "catalog")
    problems = []
    for name in sorted((set(file) | set(store.checksums) | set(needed)) - {"images", "noiseless"}):
        if name not in file or name not in store.checksums:
            problems.append(f"{name}: {'dataset' if name not in file else 'checksum'} is missing")
        elif _sha256(file[name]) != store.checksums[name]:
            problems.append(f"{name}: wrong checksum")
    lengths = {name: len(file[name]) for name in needed if name in file}
    wrong = [f"{name} has {length:,}" for name, length in lengths.items() if length != store.n]
    if wrong:
        problems.append(f"{store.n:,} images, but {', '.join(wrong)} rows")
    return problems if wrong or len(lengths) < len(needed) else problems + _row_problems(store)


def _sha256(dataset):
    """Return the checksum of a dataset, read piece by piece: tables may be larger than memory."""
    digest = hashlib.sha256()
    for rows in chunks_of(dataset) if dataset.shape else [()]:
        digest.update(np.ascontiguousarray(dataset[rows]))
    return digest.hexdigest()


def _image_problems(store, file, name):
    """Check checksum and finiteness of a dataset of images, piece by piece."""
    if name not in file:
        return [f"{name}: dataset is missing"] if name in store.checksums else []
    if file[name].shape != (store.n, len(store.bands), store.size, store.size):
        return [f"{name}: shape {file[name].shape} does not fit {len(store.bands)} bands"]
    problems, bad = [], []
    with CheckedImages(store, name) as checked:
        for rows, images in checked.read(store.n):
            bad += rows[not_finite(images)].tolist()
        if bad:
            ids = file[store.id_column][()][bad] if len(file.get(store.id_column, ())) == store.n else ["unknown"]
            which = f"{store.id_column} {first_few(ids)}"
            problems.append(f"{name}: {len(bad):,} have pixels that are NaN or infinite: {which}")
        if not checked.is_intact():
            problems.append(f"{name}: wrong checksum")
    return problems


def not_finite(images):
    """Return which images have a pixel that is NaN or infinite: bool [k]."""
    flat = images.reshape(len(images), -1)
    with np.errstate(over="ignore", invalid="ignore"):
        bad = ~np.isfinite(flat.sum(axis=1))  # three times as fast as to ask each pixel, but huge ones overflow
    bad[bad] = ~np.isfinite(flat[bad]).all(axis=1)
    return bad


def _row_problems(store):
    """Check that ids, catalog, split and matches fit together."""
    problems, ids = [], store.ids
    unique, counts = np.unique(ids, return_counts=True)
    if np.any(counts > 1):
        problems.append(f"{store.id_column}: {np.sum(counts > 1)} come more than once: {first_few(unique[counts > 1])}")
    if store.id_column == "HSC_id" and np.any(np.diff(ids) < 0):
        row = int(np.argmax(np.diff(ids) < 0)) + 1
        problems.append(f"HSC_id: not sorted from row {row} on ({ids[row]})")
    if store.id_column not in store.columns:
        problems.append(f"catalog: has no column {store.id_column}")
    elif np.any(store.column(store.id_column) != ids):
        row = int(np.argmax(store.column(store.id_column) != ids))
        problems.append(f"catalog: misaligned with the ids from row {row} on ({store.id_column} {ids[row]})")
    if store.matches is not None and not np.isin(store.matches[store.id_column], ids).all():
        problems.append("matches: rows of ids that are not in the store")
    return problems + _split_problems(store)


def _split_problems(store):
    """Check the split against the hash of the ids: a galaxy in the wrong one lets a network see its own test."""
    if store.synthetic:
        return []
    problems, assigned = [], store.split != NO_SPLIT
    wrong = assigned & (store.split != split_of(store.ids, store.header.split_salt, store.header.split_fractions))
    if wrong.any():
        problems.append(f"split: {wrong.sum():,} are not what the hash of the id says: {first_few(store.ids[wrong])}")
    if "labelled" in store.columns:
        odd = assigned & ~store.column("labelled")
        if odd.any():
            problems.append(f"split: {odd.sum():,} without labels are in a split: {first_few(store.ids[odd])}")
    return problems
