"""Jobs as detached processes of this machine: starting, watching, stopping. ``python -m galaxycgan.cluster.local DIR``
is such a process. Knows no order of jobs: that is `galaxycgan.cluster.driver`'s."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

from galaxycgan.cluster import machine
from galaxycgan.cluster.process import process_start, same_boot
from galaxycgan.cluster.rundir import JobDirectory

#: Seconds between asking a process to save and stop, and killing it.
KILL_AFTER_S = 30.0


def start(directory, cwd):
    """Start the job of a directory as a process of its own that outlives this one.

    Parameters
    ----------
    directory : JobDirectory
        Its submission is already written.
    cwd : str
        Where it runs.

    Returns
    -------
    subprocess.Popen
    """
    return detached("galaxycgan.cluster.local", [directory.path.absolute()], directory.log, cwd)


def detached(module, arguments, log, cwd):
    """Start ``python -m MODULE ARGUMENTS`` in a session of its own, its output going to a log."""
    command = [sys.executable, "-u", "-m", module, *map(str, arguments)]
    with open(log, "ab") as file:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=cwd, start_new_session=True
        )


def address(process):
    """Return the entries of submission.json by which a process is found again."""
    return {"pid": process.pid, "pid_start": process_start(process.pid), "host": socket.gethostname()}


def alive(where):
    """Return whether a process still runs.

    Parameters
    ----------
    where : dict
        Its host, pid and pid_start.

    Returns
    -------
    bool or None
        None where it runs, or ran, on another host.
    """
    if where.get("host") != socket.gethostname() and not same_boot(where.get("pid_start")):
        return None  # but a machine may have got another name meanwhile
    return bool(where.get("pid_start")) and process_start(where["pid"]) == where["pid_start"]


def stop(where, patience_s=KILL_AFTER_S):
    """Ask a process to save and stop; kill it and all of its session when it doesn't.

    Returns
    -------
    bool
        False where it had to be killed.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(where["pid"], signal.SIGTERM)
    end = time.monotonic() + patience_s
    while alive(where):
        if time.monotonic() > end:
            _kill(where["pid"])
            return False
        time.sleep(0.05)
    return True


def _kill(pid):
    """Kill a process with its session, or alone where it leads none: a job that runs in a shell's process."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main(arguments):
    """Run the job of the directory that is the one argument; return the exit code."""
    from galaxycgan.cluster.jobs import Job

    machine.be_alone()
    return Job.of(JobDirectory(arguments[0])).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
