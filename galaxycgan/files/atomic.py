"""Files that are there whole or not at all."""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import socket
import time
from pathlib import Path

from galaxycgan.errors import UserError
from galaxycgan.files.streaming import BLOCK_BYTES

#: What a lock says where a filesystem has none (Lustre without -o flock): then there is none to be had.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


@contextlib.contextmanager
def atomic_path(path):
    """Give a temporary path beside `path`; move it there when the block ends well, remove it when it does not.

    The file and its directory are flushed to disk before and after the move, so a crash at any moment leaves the old
    file or the new one. Temporary files of dead processes of this host are cleared away first.

    Parameters
    ----------
    path : str or Path
        Where the finished file shall lie. Its directory is made if missing.

    Yields
    ------
    Path
        The temporary path to write to.
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()  # the link stays, what it points to is replaced
    make_directory(path.parent)
    _clear_stale(path)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers make private files
        fsync(temporary)
        os.replace(temporary, path)
        fsync(path.parent)
    except OSError as error:
        if error.filename in (str(temporary), str(path), None) and error.errno:
            raise UserError(f"{path}: can't be written: {os.strerror(error.errno)}") from error
        raise
    finally:
        with contextlib.suppress(OSError):  # on a disk that became read-only nothing was written
            temporary.unlink(missing_ok=True)


def _umask():
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _clear_stale(path):
    """Remove what processes of this host left of `path` when they were killed."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.{re.escape(socket.gethostname())}\.(\d+)\.part")
    for name in os.listdir(path.parent):
        match = pattern.fullmatch(name)
        if match and not process_alive(int(match[1])):
            (path.parent / name).unlink(missing_ok=True)


def process_alive(pid):
    """Return whether a process with this number runs on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def hold(path, refusal, wait_s=0.0, fleeting=False):
    """Hold a lock file while the block runs; free when the process ends, however it ends.

    Parameters
    ----------
    path : Path
        Of the lock file.
    refusal : str
        What is said where another process holds it.
    wait_s : float
        How long to wait for that one to let go.
    fleeting : bool
        Remove the file in the end; else it stays.

    Raises
    ------
    UserError
        Where it did not.
    """
    try:
        file = open(path, "w")  # noqa: SIM115 (what fails later is another mistake)
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror}") from None
    with file:
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    break
                if time.monotonic() > end:
                    raise UserError(refusal) from None
            time.sleep(0.05)
        if fleeting and not (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
            raise UserError(refusal)  # the one before removed it between our opening and our locking it
        try:
            yield
        finally:
            if fleeting:
                path.unlink(missing_ok=True)


def hold_directory(path, doing):
    """Make a directory, and hold it while a block runs; refuse it where another process is `doing` the same in it."""
    return hold(make_directory(path) / ".lock", f"{path}: another process {doing} here", fleeting=True)


def make_directory(path):
    """Make a directory where it is missing; return it as Path."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: can't make this directory: {error.strerror}") from None
    return path


def fsync(path):
    """Flush a file or a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path, text):
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write a JSON file atomically, keys sorted, so that equal values are equal bytes; NaN and inf become null."""
    write_text(path, json.dumps(_finite(value), indent=1, sort_keys=True, allow_nan=False) + "\n")


def _finite(value):
    """Return a JSON value with null for numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path):
    """Read a JSON file; a damaged one raises `UserError`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def sha256_file(path):
    """Return the hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(BLOCK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def file_record(path):
    """Return what provenance says of a file: name, size and SHA-256."""
    path = Path(path)
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def append_record(path, record):
    """Append one line of JSON to a log; what a full disk or a lost node cut short stays on a line of its own."""
    with open(path, "a+b") as file:
        file.seek(max(file.tell() - 1, 0))
        torn = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * torn + json.dumps(record).encode() + b"\n")


def keep_records(path, key, limit):
    """Drop the lines of a log whose `key` lies beyond `limit`: a resumed run writes them again."""
    if not path.exists():
        return
    lines = [line for line, record in _whole_lines(path) if record[key] <= limit]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def read_records(path):
    """Return the lines of a log as dicts, without those that were cut short."""
    return [record for _, record in _whole_lines(path)]


def _whole_lines(path):
    """Yield each line of a log that is whole, and the dict in it."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                if line.endswith("\n") and isinstance(record := json.loads(line), dict):
                    yield line, record
