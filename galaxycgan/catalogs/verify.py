"""The command ``verify``: whether a store or a FITS catalog is sound, and in what two of them differ."""

import hashlib
from pathlib import Path

import numpy as np
from astropy.io import fits

from galaxycgan.catalogs.checked import CheckedImages
from galaxycgan.catalogs.fits import list_hdus
from galaxycgan.catalogs.hdf5 import HDF5_MAGIC
from galaxycgan.catalogs.store import NO_SPLIT, GalaxyStore, find_store, split_of
from galaxycgan.errors import UserError, first_few

CHUNK_BYTES = 8 << 20


def verify(config, context):
    """Check files for damage, or with ``--same`` two files for equality.

    Parameters
    ----------
    config : galaxycgan.config.Verify
    context : galaxycgan.context.Context

    Raises
    ------
    UserError
        One line for each file with problems.
    """
    paths = [Path(path) for path in config.files or [find_store()]]
    if config.same:
        _verify_same(paths, context)
        return
    damaged = []
    for path in paths:
        context.check()
        try:
            found = store_problems(path) if is_hdf5(path) else fits_problems(path)
        except UserError as error:
            found = [str(error).removeprefix(f"{path}: ")]
        except Exception as error:  # whatever a damaged file makes a library say is a finding
            found = [f"damaged: {type(error).__name__}: {str(error).strip().splitlines()[0]}"]
        if found:
            damaged.append(f"{path}: {'; '.join(found)}")
        else:
            context.say(f"{path}: OK")
    if damaged:
        raise UserError("\n".join(damaged))


def is_hdf5(path):
    """Tell HDF5 from FITS by the first bytes; what is neither is a `UserError`."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(HDF5_MAGIC))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror.lower()}") from None
    if start != HDF5_MAGIC and start[:6] != b"SIMPLE":
        raise UserError(f"{path}: neither a store (HDF5) nor FITS")
    return start == HDF5_MAGIC


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
    for rows in _chunks(dataset) if dataset.shape else [()]:
        digest.update(np.ascontiguousarray(dataset[rows]))
    return digest.hexdigest()


def _chunks(dataset):
    """Return slices of a dataset's rows, `CHUNK_BYTES` each; one row at least."""
    step = max(1, CHUNK_BYTES // max(1, dataset.nbytes // max(1, len(dataset))))
    return [slice(start, start + step) for start in range(0, len(dataset), step)]


def _image_problems(store, file, name):
    """Check checksum and finiteness of a dataset of images, piece by piece."""
    if name not in file:
        return [f"{name}: dataset is missing"] if name in store.checksums else []
    if file[name].shape != (store.n, len(store.bands), store.size, store.size):
        return [f"{name}: shape {file[name].shape} does not fit {len(store.bands)} bands"]
    problems, bad = [], []
    with CheckedImages(store, name) as checked:
        for rows, images in checked.read(store.n):
            bad += rows[_not_finite(images)].tolist()
        if bad:
            ids = file[store.id_column][()][bad] if len(file.get(store.id_column, ())) == store.n else ["unknown"]
            which = f"{store.id_column} {first_few(ids)}"
            problems.append(f"{name}: {len(bad):,} have pixels that are NaN or infinite: {which}")
        if not checked.is_intact():
            problems.append(f"{name}: wrong checksum")
    return problems


def _not_finite(images):
    """Tell which images have a pixel that is NaN or infinite: bool [k]."""
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


def fits_problems(path):
    """Return what is wrong with a FITS file, as a list of short sentences; one that can't be read is a `UserError`."""
    problems = []
    hdus = list_hdus(path)
    bare = [hdu for hdu in hdus if "DATASUM" not in hdu.header or "CHECKSUM" not in hdu.header]
    # In a survey's frame that galaxies were injected into, only the image has sums, and that is as it should be.
    needed = len(bare) == len(hdus) or any(hdu.name == "CATALOG" for hdu in hdus)
    for hdu in hdus:
        data, whole = hdu.sums()
        if hdu in bare:
            problems += [f"{hdu.name}: has no CHECKSUM and DATASUM"] if needed else []
        elif data != int(hdu.header["DATASUM"]):
            problems.append(f"{hdu.name}: wrong DATASUM (data changed)")
        elif whole not in (0, 0xFFFFFFFF):
            problems.append(f"{hdu.name}: wrong CHECKSUM (header changed)")
    names = [hdu.name for hdu in hdus]
    if not problems and "CATALOG" in names and "IMAGES" in names:
        problems += _fits_row_problems(path, [name for name in names if name in ("IMAGES", "NOISELESS")])
    return problems


def _fits_row_problems(path, images):
    """Check that table and images of a FITS catalog fit together and that pixels are finite."""
    problems = []
    with fits.open(path, memmap=True) as hdus:
        table = hdus["CATALOG"].data
        id_column = hdus[0].header.get("IDCOL", table.columns.names[0])
        ids = np.array(table[id_column])
        if len(np.unique(ids)) != len(ids):
            problems.append(f"CATALOG: ids in {id_column} come more than once")
        for name in images:
            data = hdus[name].data
            if len(data) != len(table):
                problems.append(f"{name}: {len(data):,} images, but {len(table):,} rows in CATALOG")
                continue
            step = max(1, CHUNK_BYTES // data[0].nbytes)
            good = [np.isfinite(data[k : k + step]).all(axis=(1, 2, 3)) for k in range(0, len(data), step)]
            bad = ids[~np.concatenate(good)]
            if len(bad):
                problems.append(
                    f"{name}: {len(bad)} have pixels that are NaN or infinite: {id_column} {first_few(bad)}"
                )
    return problems


def _verify_same(paths, context):
    if len(paths) != 2:
        raise UserError(f"--same compares two files, {len(paths)} are given")
    kinds = [is_hdf5(path) for path in paths]
    if kinds[0] != kinds[1]:
        raise UserError(f"{paths[0]} and {paths[1]}: one is HDF5, the other FITS; nothing to compare byte for byte")
    differences = (store_differences if kinds[0] else fits_differences)(*paths)
    if differences:
        raise UserError(f"{paths[0]} and {paths[1]} differ: {'; '.join(differences)}")
    context.say(f"{paths[0]} and {paths[1]}: the same")


def store_differences(path_a, path_b):
    """Return in what two stores differ: attributes and datasets, not the bytes of the files."""
    a, b = GalaxyStore(path_a), GalaxyStore(path_b)
    differences = []
    for name in sorted((set(a.attrs) | set(b.attrs)) - {"checksums", "provenance"}):
        if repr(a.attrs.get(name)) != repr(b.attrs.get(name)):
            differences.append(f"attribute {name}: {a.attrs.get(name)} and {b.attrs.get(name)}")
    places = _json_differences(a.provenance, b.provenance)
    differences += [f"provenance in {first_few(places)}"] if places else []
    with a.open() as file_a, b.open() as file_b:
        for name in sorted(set(file_a) | set(file_b)):
            if name not in file_a or name not in file_b:
                differences.append(f"dataset {name}: only in {path_a if name in file_a else path_b}")
            else:
                differences += _dataset_differences(name, file_a[name], file_b[name])
    return differences


def _json_differences(a, b, place=""):
    """Return the places at which two JSON values differ, with dots between."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(set(a) | set(b))
        return [text for key in keys for text in _json_differences(a.get(key), b.get(key), f"{place}.{key}".strip("."))]
    return [] if a == b else [place]


def _dataset_differences(name, a, b):
    """Compare two datasets byte by byte, piece by piece."""
    if a.dtype.names and b.dtype.names and a.dtype != b.dtype:
        columns = sorted(set(a.dtype.descr) ^ set(b.dtype.descr))
        return [f"dataset {name}: columns {first_few(dict(columns))} are not in both, or of another type"]
    if a.shape != b.shape:
        return [f"dataset {name}: shape {a.shape} and {b.shape}"]
    if a.dtype != b.dtype:
        return [f"dataset {name}: type {a.dtype} and {b.dtype}"]
    rows = []
    for chunk in _chunks(a):
        one, two = (np.ascontiguousarray(data[chunk]) for data in (a, b))
        bytes_one, bytes_two = (piece.reshape(len(piece), -1).view("u1") for piece in (one, two))
        rows.append(chunk.start + np.flatnonzero((bytes_one != bytes_two).any(axis=1)))
    rows = np.concatenate(rows) if rows else np.zeros(0, int)
    return [f"dataset {name}: {len(rows):,} of {len(a):,} rows, first {rows[0]}"] if len(rows) else []


def fits_differences(path_a, path_b):
    """Return in what two FITS files differ, HDU by HDU."""
    a, b = list_hdus(path_a), list_hdus(path_b)
    if [hdu.name for hdu in a] != [hdu.name for hdu in b]:
        return [f"HDUs {', '.join(hdu.name for hdu in a)} and {', '.join(hdu.name for hdu in b)}"]
    differences = []
    for one, two in zip(a, b, strict=True):
        keywords = sorted(fits.HeaderDiff(one.header, two.header).diff_keyword_values)
        if _bytes_differ(one, two, "start", "data_start"):
            differences.append(f"header of {one.name}: {', '.join(keywords) or 'comments or order'}")
        if _bytes_differ(one, two, "data_start", "end"):
            differences.append(f"data of {one.name}")
    return differences


def _bytes_differ(one, two, first, last):
    places = [(getattr(hdu, first), getattr(hdu, last)) for hdu in (one, two)]
    if np.ptp(places[0]) != np.ptp(places[1]):
        return True
    pairs = zip(one.pieces(*places[0]), two.pieces(*places[1]), strict=True)
    return any(piece_one != piece_two for piece_one, piece_two in pairs)
