"""What a job got of its machine: cores, devices, memory, and its place among several processes. Changes no machine."""

import os
import socket

from galaxycgan.errors import UserError
from galaxycgan.memory import granted_bytes

#: First port that ranks may meet at, and how many jobs of one node get different ones; from 32,768 on any program may
#: have been given one.
FIRST_PORT, PORTS = 20_000, 12_000

#: What torch.distributed reads of the environment.
RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def cores():
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def refuse_pinned(asked):
    """Raise `UserError` where this process is pinned to fewer cores than its profile asked for.

    A machine that has fewer at all is no pinning: it does what it can.

    Parameters
    ----------
    asked : int or None
        cpus_per_task.
    """
    got = len(cores())
    if asked and got < min(asked, os.cpu_count() or 1):
        raise UserError(
            f"{socket.gethostname()}: pinned to {got} of {os.cpu_count()} cores where cpus_per_task = {asked} were "
            'asked for; try srun_args = ["--cpu-bind=none"] in the profile, or ask for fewer'
        )


def devices():
    """Return the devices that Slurm gave to this process, as text; '' for none.

    Slurm sets the variables of all makers alike; one of them tells enough.
    """
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
    return next((f"{name}={os.environ[name]}" for name in names if os.environ.get(name)), "")


def memory_gib():
    """Return the memory that this process may use, in GiB."""
    return granted_bytes() / 2**30


def describe_machine():
    """Return what this process got, in words for a log."""
    numbers = cores()
    several = len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1))
    listed = f"{numbers[0]}-{numbers[-1]}" if several else ",".join(map(str, numbers))
    words = f"{len(numbers)} cores ({listed}), {memory_gib():.1f} GiB"
    return f"{words}, {devices() or 'no GPU'}"


def in_slurm():
    """Return whether this process is a job that submitit submitted to Slurm."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def rank():
    """Return the number of this process among those of its job; 0 where it is alone."""
    return int(os.environ.get("RANK", "0"))


def be_alone():
    """Forget what the environment says of several processes: it is of whoever submitted."""
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)


def join_ranks():
    """Export where this process stands among those of its Slurm job, as torch.distributed's ``env://`` needs it.

    `RANK_VARIABLES`, from submitit's environment; nothing where the job is one process. The port follows from the
    job's number, so that two jobs on one node don't meet.
    """
    from submitit import JobEnvironment

    be_alone()
    try:
        here = JobEnvironment()
    except RuntimeError:
        return
    if here.num_tasks < 2:
        return
    os.environ |= {
        "RANK": str(here.global_rank),
        "WORLD_SIZE": str(here.num_tasks),
        "LOCAL_RANK": str(here.local_rank),
        "LOCAL_WORLD_SIZE": str(here.num_tasks // here.num_nodes),
        "MASTER_ADDR": here.hostnames[0],
        "MASTER_PORT": str(FIRST_PORT + int(here.raw_job_id) % PORTS),
    }
