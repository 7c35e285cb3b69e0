"""Runs a module with Slurm's signals held back until the job listens.

``python -m galaxycgan.cluster.ready -m MODULE ...`` is ``python -m MODULE ...``, only that a warning which comes while
Python still imports does not end it: it waits for `release`.
"""

import runpy
import signal
import sys

#: What Slurm sends before a time limit or a preemption, and to end a job.
HELD = (signal.SIGUSR2, signal.SIGTERM)


def release():
    """Deliver what was held back, and from now on all."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def main(arguments):
    """Run the module that is named behind ``-m``; flags before it are Python's own and have taken effect already."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    at = arguments.index("-m") + 1
    sys.argv = arguments[at:]
    runpy.run_module(arguments[at], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
