"""In what two stores or two FITS files differ. Judges neither."""

import numpy as np
from astropy.io import fits

from galaxycgan.catalogs.formats.fits import list_hdus
from galaxycgan.catalogs.formats.hdf5 import chunks_of
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.errors import first_few


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
    for chunk in chunks_of(a):
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
