"""Marks that tell whether something changed: the package's code, versions, and the files that a stage reads.

Cheap enough for a login node: small files by their content, large ones by size and time.
"""

import contextlib
import functools
import hashlib
import platform
from pathlib import Path

import galaxycgan
from galaxycgan.files import sha256_file
from galaxycgan.provenance import tool_stamp

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
    files = sorted(p for p in path.glob("*") if p.is_file()) if path.is_dir() else []
    marks = [(file.name, (status := file.stat()).st_size, status.st_mtime_ns) for file in files]
    return hashlib.sha256(repr(marks).encode()).hexdigest() if marks else ""


def input_records(paths, earlier):
    """Return what a run's record says of its input: size, time and SHA-256 of files, the mark of directories.

    Parameters
    ----------
    paths : dict of str to Path
    earlier : dict
        What was recorded before: a file of the same size and time isn't hashed again.
    """
    return {name: _record(path, earlier.get(name, {})) for name, path in paths.items()}


def _record(path, earlier):
    if not path.is_file():
        return {"path": str(path), "mark": stamp(path)}
    status = path.stat()
    record = {"path": str(path), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    if all(earlier.get(key) == value for key, value in record.items()):
        return earlier
    return record | {"sha256": sha256_file(path) if status.st_size <= HASHED_BYTES else None}
