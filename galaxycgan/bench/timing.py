"""Wall clock, memory of a child process, and writing at disk speed. Knows nothing of what is measured."""

import os
import subprocess
import sys
import time

from galaxycgan.errors import UserError
from galaxycgan.files import fsync


def timed(action):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run_command(words):
    """Run ``galaxycgan WORDS`` in a process of its own.

    Parameters
    ----------
    words : list of str

    Returns
    -------
    float, float
        Seconds from start to end, and the peak of its resident memory in MB.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "galaxycgan", *map(str, words)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise UserError(f"bench: galaxycgan {words[0]} failed: {said.strip()}")
    return seconds, usage.ru_maxrss / 1024


def copy_to_disk(source, target):
    """Copy a file as ``cp`` does and flush it to disk."""
    subprocess.run(["cp", "--reflink=never", source, target], check=True)
    fsync(target)


def write_to_disk(array, target):
    """Write an array as one plain file and flush it to disk."""
    with open(target, "wb") as file:
        array.tofile(file)
    fsync(target)


def median(values):
    """Return the middle of several measurements (the lower one of an even number)."""
    return sorted(values)[(len(values) - 1) // 2]
