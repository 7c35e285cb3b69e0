"""Which process a number means: numbers are used again, start times are not."""

import subprocess
from pathlib import Path


def process_start(pid):
    """Return when a process started, as a text that tells it from a later one of the same number; None: it is gone."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = _boot()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else f"{boot}-{fields[19]}"
    words = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True).stdout.split()
    return None if not words or words[0].startswith("Z") else "-".join(words[1:])


def same_boot(start):
    """Return whether what `process_start` returned is of this machine, and since it was switched on."""
    return Path("/proc/self/stat").exists() and (start or "").startswith(f"{_boot()}-")


def _boot():
    return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
