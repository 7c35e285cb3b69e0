"""Marks that tell whether something changed: the package's code, versions, and the files that a stage reads.

Cheap enough for a login node: small files by their content, large ones by size and time.
"""

import contextlib
import functools
import hashlib
import platform
from pathlib import Path
from stat import S_ISREG

import galaxycgan
from galaxycgan.files.atomic import sha256_file
from galaxycgan.provenance import tool_stamp
from galaxycgan.training.names import CHECKPOINT

#: Packages whose version is noted with a submission.
NOTED_PACKAGES = ("torch", "numpy", "astropy", "h5py", "submitit")

#: Files up to this size are marked by their content, so that a copy of the same bytes is no change.
SMALL_BYTES = 16 << 20

#: Inputs up to this size have their SHA-256 noted when a job starts; hashing more would cost minutes.
HASHED_BYTES = 8 << 30


def versions():
    """Return the versions of Python, of the packages that matter (without importing them), and of this one."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in NOTED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found | tool_stamp()


@functools.cache
def code_mark():
    """Return the SHA-256 of all source files of the package: tells changes that no version and no commit tells."""
    root = Path(galaxycgan.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stamps(paths):
    """Return a mark of each path that changes when what lies there does.

    Parameters
    ----------
    paths : dict of str to Path
    """
    return {name: stamp(path) for name, path in paths.items()}


def stamp(path):
    """Return the mark of a file, or of the files directly in a directory; '' where there is nothing."""
    path = Path(path)
    if path.is_file():
        status = path.stat()
        if status.st_size <= SMALL_BYTES:
            return sha256_file(path)
        return hashlib.sha256(repr((path.name, status.st_size, status.st_mtime_ns)).encode()).hexdigest()
    marks = [(name, *mark) for name, mark in _files(path, ("*",)).items()]
    return hashlib.sha256(repr(marks).encode()).hexdigest() if marks else ""


def _files(path, patterns):
    """Return size and time of the files below a directory that match, by their names in it.

    Hidden ones (.part, .nfs0001) belong to whoever writes or holds them just now; what only an unfinished run needs
    may go when it is finished.
    """
    found = {}
    for file in sorted({file for pattern in patterns for file in path.glob(pattern)}):
        mark = _size_and_time(file)
        if mark and not file.name.startswith(".") and file.name != CHECKPOINT:
            found[str(file.relative_to(path))] = mark
    return found


def _size_and_time(file):
    """Return a file's size in bytes and its time in ns; None where no file is, or is no longer."""
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns] if S_ISREG(status.st_mode) else None


def result_marks(path, patterns=("*",), shared=False):
    """Return what `changed` needs to tell whether a result is still there and the same.

    Parameters
    ----------
    path : Path
        A file or a directory.
    patterns : sequence of str
        Of the files in the directory that count.
    shared : bool
        Whether other jobs write these files, too: then it counts only that they are there.

    Returns
    -------
    dict
        Name in the directory, '' for the file itself -> its mark.
    """
    found = {"": stamp(path)} if path.is_file() else _files(path, patterns)
    return dict.fromkeys(found) if shared else found


def changed(path, noted):
    """Return a file of a result that is gone or another than `result_marks` noted; None where all are as they were.

    Files that were put beside them since are no change.
    """
    if isinstance(noted, str):  # of an earlier version: one mark of all
        return None if noted in ("", stamp(path)) else path
    for name, mark in noted.items():
        file = path / name
        there = _size_and_time(file) if name else stamp(file)
        if not there or mark not in (None, there):
            return file
    return None


def input_records(paths, earlier):
    """Return what a run's record says of its input: marks that `changed` compares, size, time and SHA-256 of files.

    Parameters
    ----------
    paths : dict of str to Path
    earlier : dict
        What was recorded before: a file of the same size and time isn't hashed again.
    """
    return {name: _record(path, earlier.get(name, {})) for name, path in paths.items()}


def _record(path, earlier):
    record = {"path": str(path), "marks": result_marks(path)}
    if not path.is_file():
        return record
    status = path.stat()
    record |= {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    if all(earlier.get(key) == value for key, value in record.items()):
        return earlier
    return record | {"sha256": sha256_file(path) if status.st_size <= HASHED_BYTES else None}
