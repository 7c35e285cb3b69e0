"""Jobs on Slurm: whether it answers, submission through submitit, what its queue says."""

import contextlib
import functools
import io
import os
import re
import shlex
import shutil
import subprocess
import sys

from galaxycgan.errors import UserError

#: Variables of a surrounding job that a submission may keep; all others of SLURM_* would leak into the new job.
KEPT_VARIABLES = {"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"}

#: Slurm's words for a job that is in the queue or on a node.
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}

#: Exit code by which a job asks its batch script to queue it again, where it has no scontrol itself: in a container.
EXIT_REQUEUE = 85
REQUEUE = f'code=$?; [ $code -eq {EXIT_REQUEUE} ] && scontrol requeue "$SLURM_JOB_ID"; exit $code'

#: Time limits and preemptions after which submitit gives a job up. Progress is saved each time, so many are fine.
MAX_REQUEUES = 1000


def clusters_of(profile):
    """Return to which of several Slurm clusters a profile's jobs go, as ``--clusters`` names them; '' for the own."""
    return profile.clusters or os.environ.get("SBATCH_CLUSTERS") or os.environ.get("SLURM_CLUSTERS") or ""


def _run(command, clusters, timeout_s=None):
    """Run one of Slurm's commands, about other clusters than their own where they are named."""
    words = [command[0], *([f"--clusters={clusters}"] if clusters else []), *command[1:]]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout_s)


def answers(timeout_s=2.0, clusters=""):
    """Return whether Slurm answers and has a partition, and if not, why: ``(True, '')`` or ``(False, words)``."""
    if not shutil.which("sinfo") or not shutil.which("sbatch"):
        return False, "no Slurm commands here"
    try:
        told = _run(["sinfo", "-h", "-o", "%R"], clusters, timeout_s)
    except subprocess.TimeoutExpired:
        return False, f"sinfo gave no answer within {timeout_s:.0f} s"
    if told.returncode == 0 and told.stdout.strip():
        return True, ""
    return False, "sinfo names no partition"


def start(jobs, folder, name, profile, parents=(), throttle=0, behind=()):
    """Submit jobs: one as itself, several as job arrays.

    Parameters
    ----------
    jobs : list of (JobDirectory, Job)
        What submitit pickles, and where each writes.
    folder : Path
        For the script and the pickles; closed to others.
    name : str
        Of the job in the queue.
    profile : Profile
    parents : sequence of str
        Numbers of jobs that must end well before; where one doesn't, Slurm cancels these.
    throttle : int
        Elements that run at once; 0: as the profile says.
    behind : sequence of str
        Numbers of jobs that must have ended before, well or not.

    Returns
    -------
    list of str
        The jobs' numbers.

    Raises
    ------
    UserError
        With sbatch's own words where it refuses; then none of the jobs stays in the queue.
    """
    if not shutil.which("sbatch") or not shutil.which("srun"):
        raise UserError("--cluster slurm: there is no sbatch and srun on this machine; use --cluster local")
    if "%" in str(folder):
        raise UserError(f"{folder}: Slurm and submitit replace % in paths; name a directory without it")
    clusters = clusters_of(profile)
    chunks = split(jobs, most_elements(clusters) if len(jobs) > 1 else 1)
    throttles, turns = shares(throttle or profile.array_parallelism, len(chunks))
    numbers, arrays = [], []
    try:
        for k, chunk in enumerate(chunks):
            # more arrays than elements may run at once: each waits until an earlier one has ended
            ended = [*behind, *([arrays[k - turns]] if k >= turns else [])]
            waits = {kind: some for kind, some in (("afterok", list(parents)), ("afterany", ended)) if some}
            numbers += _submit(chunk, folder, name, profile, waits, throttles[k])
            arrays.append(numbers[-1].partition("_")[0])
    except BaseException:  # Ctrl-C, too
        cancel(*arrays, clusters=clusters)
        raise
    return numbers


def _submit(chunk, folder, name, profile, waits, throttle):
    """Submit one job or one array; return the numbers."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if len(chunk) == 1:
        log = chunk[0][0].log.absolute()
    else:  # links with the elements' numbers: what Slurm itself says goes to each one's own log, too
        links = folder / f"logs-{os.urandom(4).hex()}"
        links.mkdir(parents=True)
        for number, (directory, _) in enumerate(chunk):
            (links / f"{number}.txt").symlink_to(directory.log.absolute())
        log = links / "%a.txt"
    asked = parameters(profile, name, log, waits) | {"array_parallelism": throttle}
    with own_environment():
        python = f"{profile.command() or shlex.quote(sys.executable)} -u -m galaxycgan.cluster.ready"
        executor = submitit.SlurmExecutor(folder=folder / "%j", max_num_timeout=MAX_REQUEUES, python=python)
        executor.update_parameters(**asked)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises
                with executor.batch():
                    submitted = [executor.submit(job) for _, job in chunk]
                return [job.job_id for job in submitted]
        except (FailedJobError, FailedSubmissionError) as error:
            for pattern in ("*.pkl", ".submission_file_*.sh"):
                for path in folder.glob(pattern):
                    path.unlink()
            raise UserError(f"Slurm refused the job: {plain_words(str(error))}") from None


def split(jobs, most):
    """Return jobs in chunks of at most `most`, as equal as can be."""
    count = -(-len(jobs) // most)
    return [jobs[k * len(jobs) // count : (k + 1) * len(jobs) // count] for k in range(count)]


def shares(throttle, arrays):
    """Share a throttle out to several arrays.

    Returns
    -------
    list of int, int
        Elements of each that run at once, and how many of the arrays may run at the same time.
    """
    if arrays <= throttle:
        return [throttle // arrays + (k < throttle % arrays) for k in range(arrays)], arrays
    return [1] * arrays, throttle


def most_elements(clusters=""):
    """Return how many elements an array of this cluster may have: MaxArraySize; 1,000 where Slurm doesn't say."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", ask(["scontrol", "show", "config"], clusters) or "", re.MULTILINE)
    return max(int(found[1]), 1) if found else 1000


def parameters(profile, name, log, waits=None):
    """Return submitit's parameters for a profile.

    Since Slurm 22.05 srun doesn't take --cpus-per-task over from sbatch, so it is given to both. All output goes to one
    log, srun's and Slurm's own words included.

    Parameters
    ----------
    profile : Profile
    name : str
        Of the job.
    log : Path
        Its file name may be ``%a.txt``: the element's number.
    waits : dict of str to list of str
        Kind of dependency -> job numbers.
    """
    output = str(log.parent).replace("%", "%%") + f"/{log.name}"
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
    # submitit takes the signal from SUBMITIT_PREEMPT_SIGNAL, here and on the node; jobs listen to this one
    further = {"output": output, "error": output, "requeue": True, "signal": f"USR2@{profile.signal_delay_s}"}
    if profile.clusters:
        further["clusters"] = profile.clusters
    if waits:
        further["dependency"] = ",".join(":".join([kind, *numbers]) for kind, numbers in waits.items())
        # without it a job whose parent failed waits for ever
        further["kill-on-invalid-dep"] = "yes"
    return {
        **{key: value for key, value in chosen.items() if value is not None},
        "job_name": f"galaxycgan-{name}",
        "time": profile.time_minutes,
        "signal_delay_s": profile.signal_delay_s,
        "wckey": None,  # submitit's default key is refused where keys are enforced
        "setup": [*loads, *profile.setup, "export SUBMITIT_LOG_LEVEL=ERROR SUBMITIT_PREEMPT_SIGNAL=USR2"],
        "teardown": [REQUEUE],
        "srun_args": [*srun_args, *profile.srun_args],
        "additional_parameters": _additional(further, profile.additional),
    }


def _additional(own, wanted):
    """Return further options of sbatch, the user's before our own; false is an option that is not given."""
    if any(value is True and name.replace("_", "-") == "no-requeue" for name, value in wanted.items()):
        own = own | {"requeue": False}  # sbatch would obey whichever comes last
    return {name: value for name, value in (own | wanted).items() if value is not False}


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


class View:
    """What Slurm says of this user's jobs; each question is asked once, of each cluster."""

    @functools.cache  # noqa: B019 (a view lives for one look)
    def queue(self, clusters=""):
        """Return job number -> (Slurm's word for its state, reason, nodes); None where Slurm doesn't answer.

        Jobs that ended a few minutes ago are in it.
        """
        told = ask(["squeue", "-h", "-t", "all", "-u", str(os.geteuid()), "--array", "-o", "%i|%T|%r|%N"], clusters)
        if told is None:
            return None
        rows = (line.strip().split("|") for line in told.splitlines() if line.count("|") == 3)
        return {number: (state, reason, nodes) for number, state, reason, nodes in rows}

    def accounted(self, job_id, clusters=""):
        """Return Slurm's last word for a job that has left the queue, '' on clusters without accounting."""
        return self._accounted(job_id.partition("_")[0], clusters).get(job_id, "")

    @functools.cache  # noqa: B019
    def _accounted(self, array, clusters):
        told = ask(["sacct", "-X", "-n", "-P", "-j", array, "-o", "JobID,State"], clusters) or ""
        rows = (line.split("|") for line in told.splitlines() if line.count("|") == 1)
        return {number: (word.split() or [""])[0] for number, word in rows}


def preempted(job_id):
    """Return whether a running job is in the grace time of its preemption."""
    told = ask(["scontrol", "-o", "show", "job", job_id]) or ""
    return "JobState=RUNNING" in told and bool(re.search(r"\bPreemptTime=\d", told))


def cancel(*numbers, clusters=""):
    """Take jobs from the queue or end them: the stage is signalled to save, Slurm kills it after its KillWait."""
    for some in split(list(numbers), 200) if numbers else []:
        told = _run(["scancel", *some], clusters)
        if told.returncode:
            raise UserError(f"scancel {' '.join(some[:3])}: {plain_words(told.stderr)}")


def ask(command, clusters="", timeout_s=20.0):
    """Return what one of Slurm's commands prints; None where it fails."""
    try:
        told = _run(command, clusters, timeout_s)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout if told.returncode == 0 else None
