"""Jobs on Slurm: whether it answers, submission through submitit, what its queue says. Knows nothing of stages."""

import contextlib
import io
import os
import re
import shutil
import subprocess

from galaxycgan.errors import UserError

#: Variables of a surrounding job that a submission may keep; all others of SLURM_* would leak into the new job.
KEPT_VARIABLES = {"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"}

#: Slurm's words for a job that is in the queue or on a node.
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}

#: Time limits and preemptions after which submitit gives a job up. Progress is saved each time, so many are fine.
MAX_REQUEUES = 1000


def answers(timeout_s=2.0):
    """Tell whether Slurm answers and has a partition, and if not, why: ``(True, '')`` or ``(False, words)``."""
    if not shutil.which("sinfo") or not shutil.which("sbatch"):
        return False, "no Slurm commands here"
    try:
        told = subprocess.run(["sinfo", "-h", "-o", "%R"], capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return False, f"sinfo gave no answer within {timeout_s:.0f} s"
    if told.returncode == 0 and told.stdout.strip():
        return True, ""
    return False, "sinfo names no partition"


def start(directory, submission, job, profile):
    """Submit a job.

    Parameters
    ----------
    directory : JobDirectory
    submission : dict
        Gives the stage and the profile's path.
    job : Job
        What submitit pickles.
    profile : Profile

    Returns
    -------
    dict
        The job's number, for submission.json.

    Raises
    ------
    UserError
        With sbatch's own words where it refuses.
    """
    if not shutil.which("sbatch") or not shutil.which("srun"):
        raise UserError("--cluster slurm: there is no sbatch and srun on this machine; use --cluster local")
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    folder = directory.path.absolute() / "slurm"
    with own_environment():
        executor = submitit.SlurmExecutor(folder=folder / "%j", max_num_timeout=MAX_REQUEUES, python=profile.python)
        executor.update_parameters(**parameters(profile, submission["stage"], directory.log.absolute()))
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises
                submitted = executor.submit(job)
        except (FailedJobError, FailedSubmissionError) as error:
            for path in folder.glob("*.pkl"):
                path.unlink()
            for path in folder.glob(".submission_file_*.sh"):
                path.unlink()
            hint = f" (profile {submission['profile']})" if submission["profile"] else ""
            raise UserError(f"Slurm refused the job: {plain_words(str(error))}{hint}") from None
    return {"job_id": submitted.job_id}


def parameters(profile, stage, log):
    """Return submitit's parameters for a profile.

    Since Slurm 22.05 srun doesn't take --cpus-per-task over from sbatch, so it is given to both. All output goes to one
    log, srun's and Slurm's own words included.
    """
    output = str(log).replace("%", "%%")
    srun_args = [f"--output={output}", f"--error={output}", "--open-mode=append", "--kill-on-bad-exit=1"]
    if profile.cpus_per_task:
        srun_args.append(f"--cpus-per-task={profile.cpus_per_task}")
    loads = [f"module load {name}" for name in profile.modules]
    chosen = {
        "partition": profile.partition, "account": profile.account, "qos": profile.qos,
        "constraint": profile.constraint, "nodes": profile.nodes, "ntasks_per_node": profile.tasks_per_node,
        "gpus_per_node": profile.gpus_per_node, "gres": profile.gres, "cpus_per_task": profile.cpus_per_task,
        "mem": f"{round(profile.mem_gb * 1024)}M" if profile.mem_gb else None,
    }  # fmt: skip
    return {
        **{key: value for key, value in chosen.items() if value is not None},
        "job_name": f"galaxycgan-{stage}",
        "time": profile.time_minutes,
        "signal_delay_s": profile.signal_delay_s,
        "array_parallelism": profile.array_parallelism,
        "wckey": None,  # submitit's default key is refused where keys are enforced
        "setup": [*loads, *profile.setup, "export SUBMITIT_LOG_LEVEL=ERROR"],
        "srun_args": [*srun_args, *profile.srun_args],
        "additional_parameters": {"output": output, "error": output, "requeue": True, **profile.additional},
    }


@contextlib.contextmanager
def own_environment():
    """Hide the variables of a Slurm job that this process may itself be part of."""
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("SLURM_", "SRUN_", "SUBMITIT_")) and name not in KEPT_VARIABLES
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def plain_words(text):
    """Return what a Slurm command complained of, in one line without its own prefixes."""
    lines = [re.sub(r"^\s*\w+: (error: |fatal: )?", "", line).strip() for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line)) or "no reason given"


def queue():
    """Ask Slurm for this user's jobs, those that ended a few minutes ago included.

    Returns
    -------
    dict or None
        Job number -> (Slurm's word for its state, reason, nodes); None where Slurm doesn't answer.
    """
    command = ["squeue", "-h", "-t", "all", "-u", str(os.geteuid()), "--array", "-o", "%i|%T|%r|%N"]
    told = _ask(command)
    if told is None:
        return None
    rows = (line.strip().split("|") for line in told.splitlines() if line.count("|") == 3)
    return {number: (state, reason, nodes) for number, state, reason, nodes in rows}


def accounted(job_id):
    """Return Slurm's last word for a job that has left the queue, '' on clusters without accounting."""
    told = _ask(["sacct", "-X", "-n", "-P", "-j", job_id, "-o", "State"]) or ""
    return (told.split() or [""])[0]


def preempted(job_id):
    """Tell whether a running job is in the grace time of its preemption."""
    told = _ask(["scontrol", "-o", "show", "job", job_id]) or ""
    return "JobState=RUNNING" in told and bool(re.search(r"\bPreemptTime=\d", told))


def cancel(job_id):
    """Take a job from the queue or end it: the stage is told to save, Slurm kills it after its KillWait."""
    told = subprocess.run(["scancel", job_id], capture_output=True, text=True)
    if told.returncode:
        raise UserError(f"scancel {job_id}: {plain_words(told.stderr)}")


def _ask(command, timeout_s=20.0):
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout if told.returncode == 0 else None
