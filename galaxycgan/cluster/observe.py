"""How a job really stands: its own word, checked against the process or the queue. Changes nothing."""

import dataclasses

from galaxycgan.cluster import local, slurm
from galaxycgan.cluster.rundir import JobDirectory

#: States after which nothing happens without a new submission.
ENDED = {"done", "failed", "stopped", "killed"}


@dataclasses.dataclass(frozen=True)
class Observation:
    """How a job stands.

    Attributes
    ----------
    state : str
        pending, running, done, failed, stopped (asked to, state saved), killed (gone without a word); '' where nothing
        was submitted.
    reason : str
        Why it waits, failed or ended.
    where : str
        Cluster, job or process number, host.
    since : str
        ISO time at which it was submitted, started or ended.
    restarts : int
    exit_code : int
        Of a submission that waits for it; 0 while the job has not ended.
    """

    state: str
    reason: str = ""
    where: str = ""
    since: str = ""
    restarts: int = 0
    exit_code: int = 0


def observe(directory, view=None):
    """Return how the job of a directory stands.

    Parameters
    ----------
    directory : JobDirectory
    view : slurm.View, optional
        What Slurm said already; give one to look at many jobs with few questions.
    """
    view = view or slurm.View()
    if not directory.exists():
        return Observation("")
    submission, said = directory.submission(), directory.state()
    started = said.get("attempt") == submission["attempt"]
    state, reason = said.get("state", "pending"), said.get("reason", "")
    host = said.get("host", "") if started else ""
    if not started or state not in ("done", "failed"):
        if submission["cluster"] == "slurm":
            state, reason, host = _ask_slurm(submission, started, state, reason, host, view)
        elif state in ("pending", "running"):
            state, reason = _ask_process(said if started else submission, state)
    if state == "failed" and submission["cluster"] == "slurm" and _waits_again(submission, view):
        state, reason = "pending", "queued again by Slurm"
    if not started and state in ("stopped", "killed", "pending") and not submission.get("cancelled"):
        state, reason = _parents_word(submission, state, reason)
    if state == "killed" and submission.get("cancelled"):
        state, reason = "stopped", "cancelled"
    exit_code = said.get("exit_code") if started and state == said.get("state") else None
    return Observation(
        state=state,
        reason=reason,
        where=_where(submission, said if started else {}, host),
        since=(started and (said.get("finished") or said.get("started"))) or submission["submitted"],
        restarts=max(said.get("starts", 0) - 1, 0),
        exit_code={"failed": 1, "killed": 1, "stopped": 75}.get(state, 0) if exit_code is None else exit_code,
    )


def _ask_process(where, state):
    """Check the word of a job that is a process of some machine."""
    if "pid" not in where:
        return "killed", "it was never started"
    living = local.alive(where)
    if living is None:
        return state, f"on {where['host']}, can't be checked from here"
    if living:
        return state, "waits for its turn" if where.get("driver") else ""
    return "killed", f"process {where['pid']} is gone without a word (killed, out of memory, or the machine restarted)"


def _parents_word(submission, state, reason):
    """Say what became of a job that never started because of the earlier stages that it needs."""
    for parent in submission.get("after", ()):
        job = JobDirectory(parent["job"])
        said = job.state()
        if said.get("state") in ("failed", "stopped") and state != "pending":
            why = f": {said['reason']}" if said.get("reason") else ""
            return "stopped", f"cancelled, for {parent['name']} is {said['state']}{why}"
        if said.get("state") != "done" and state != "pending":
            if submission["cluster"] != "slurm" and said.get("state") in ("pending", "running"):
                return state, reason  # whatever ended this one, its parent did not
            return "stopped", f"cancelled, for {parent['name']} did not end well"
        if said.get("state") != "done" and reason in ("", "waits: Dependency", "waits for its turn"):
            return state, f"waits for {parent['name']}"
    return state, reason


def _ask_slurm(submission, started, state, reason, host, view):
    """Check the word of a job against Slurm's; return state, reason and nodes."""
    job_id = submission.get("job_id")
    if not job_id:
        return "killed", "it was never queued", host
    clusters = submission.get("clusters", "")
    rows = view.queue(clusters)
    if rows is None:
        return state, "Slurm gives no answer", host
    word, why, nodes = rows.get(job_id) or (view.accounted(job_id, clusters), "", "")
    if word in slurm.WAITING:
        return "pending", (reason if started and state == "pending" else "") or _waits(why), ""
    if word in slurm.RUNNING:
        return "running", "", nodes or host
    if state == "stopped" and started:
        return state, reason, host
    if word.startswith("CANCELLED"):
        return "stopped", "cancelled", host
    words = {
        "": "Slurm no longer lists the job",
        "TIMEOUT": "reached its time limit before it could save",
        "OUT_OF_MEMORY": "used more memory than the profile's mem_gb",
        "NODE_FAIL": "its node failed",
        "COMPLETED": "ended without saying how; see the log",
    }
    return "killed", words.get(word, f"Slurm says {word}"), host


def _waits_again(submission, view):
    """Return whether a job waits in the queue: Slurm has put it there when it lost a node, and its processes failed."""
    rows = view.queue(submission.get("clusters", "")) or {}
    return rows.get(submission.get("job_id"), ("",))[0] in slurm.WAITING


def _waits(why):
    return "" if why in ("", "None") else f"waits: {why}"


def _where(submission, said, host):
    number = submission.get("job_id") or said.get("pid") or submission.get("pid") or ""
    return " ".join(str(word) for word in (submission["cluster"], number, host or submission.get("host", "")) if word)


def worst(observations):
    """Return the exit code that stands for many jobs: 0 where all are done, else that of the first that failed."""
    codes = [seen.exit_code for seen in observations]
    failed = [code for code in codes if code not in (0, 75)]
    return (failed or [code for code in codes if code] or [0])[0]
