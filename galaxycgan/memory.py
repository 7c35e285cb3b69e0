"""How much memory this process may use. Standard library only."""

import contextlib
import os
from pathlib import Path

#: Where control groups tell their limit, by their version: mount point and file.
CGROUPS = {2: ("/sys/fs/cgroup", "memory.max"), 1: ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")}


def granted_bytes(own_groups="/proc/self/cgroup"):
    """Return the memory in bytes that this process may use: the smallest of the machine's, Slurm's and its cgroups'.

    Slurm kills a job that takes more than it asked for, whether it confines it by a control group or looks at it.
    """
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_of_slurm(), *_of_cgroups(own_groups)])


def _number(name):
    """Return a number that Slurm has put into the environment; 0 where it has not."""
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else 0


def _of_slurm():
    """Yield what the job asked for on this node, in bytes."""
    limits = _number("SLURM_MEM_PER_NODE"), _number("SLURM_MEM_PER_CPU") * _number("SLURM_CPUS_ON_NODE")
    yield from (megabytes << 20 for megabytes in limits if megabytes)


def _of_cgroups(own_groups):
    """Yield the limits in bytes of the control groups that this process is in, up to their root."""
    with contextlib.suppress(OSError):
        for line in Path(own_groups).read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            version = 2 if not controllers else 1 if "memory" in controllers.split(",") else 0
            if version:
                mount, file = CGROUPS[version]
                group = Path(mount + place)
                for directory in (group, *group.parents):
                    with contextlib.suppress(OSError, ValueError):  # the root has none, and "max" is no number
                        yield int((directory / file).read_text())
                    if directory == Path(mount):
                        break
