"""Wall clock, memory of a child process, and writing at disk speed."""

import subprocess
import sys
import time

from galaxycgan.errors import UserError
from galaxycgan.files.atomic import fsync


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
    peak_mb = 0.0
    # A process that waits for its children would be told a peak that counts in what it held itself when it forked.
    while child.poll() is None:
        peak_mb = max(peak_mb, _peak_mb(child.pid))
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    if child.returncode:
        raise UserError(f"bench: galaxycgan {words[0]} failed: {child.stderr.read().strip()}")
    return seconds, peak_mb


def _peak_mb(pid):
    """Return the peak of a process's resident memory so far, 0 where the system does not say."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM")), 0.0)
    except OSError:
        return 0.0


def copy_to_disk(source, target):
    """Copy a file as ``cp`` does and flush it to disk."""
    subprocess.run(["cp", "--reflink=never", source, target], check=True)
    fsync(target)


def write_to_disk(array, target):
    """Write an array as one plain file and flush it to disk."""
    with open(target, "wb") as file:
        array.tofile(file)
    fsync(target)
