"""The commands that look after submitted jobs: ``galaxycgan status``, ``logs`` and ``cancel``."""

import collections
import datetime
import sys
from pathlib import Path

from galaxycgan.cluster import local, slurm
from galaxycgan.cluster.follow import PROGRESS, bar, share_of
from galaxycgan.cluster.group import find_group, find_groups
from galaxycgan.cluster.jobs import mistake_line, now
from galaxycgan.cluster.observe import ENDED, observe
from galaxycgan.cluster.rundir import find_job, find_jobs, last_lines, result_of
from galaxycgan.cluster.tree import branches, table
from galaxycgan.errors import UserError

HEADS = ["result", "stage", "state", "where", "progress", "left", "since", "restarts", "note"]

#: Lines of the log that are shown of a job that failed or was killed, and by `logs` of each job of many.
FAILED_LINES, GROUP_LINES = 3, 10

#: Words of Slurm for why a job waits, and what they mean where nothing but the user or an administrator ends it.
STUCK = {
    "PartitionTimeLimit": "the profile's time_minutes is over the partition's limit: waits for ever",
    "PartitionNodeLimit": "more nodes than the partition allows: waits for ever",
    "DependencyNeverSatisfied": "what it needs did not end well: waits for ever",
    "BadConstraints": "no node has what the profile asks for: waits for ever",
    "JobHeldUser": "held: scontrol release",
    "JobHeldAdmin": "held by an administrator",
}


def status(options, context):
    """Print where submitted jobs stand: a line each, arrays and pipelines as a tree, and why a job waits or ended.

    Parameters
    ----------
    options : config.Status
    context : Context

    Raises
    ------
    UserError
        Where nothing was submitted for a directory that is named.
    """
    while True:
        lines, open_jobs = _look(options.runs)
        if options.watch and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        context.say("\n".join(lines))
        if not options.watch or not open_jobs or context.stop.wait(options.every):
            return
        context.say(now() if not sys.stdout.isatty() else "")


def _look(texts):
    """Return the lines that tell where jobs stand, and whether some have not ended."""
    groups, singles = _chosen(texts)
    if not groups and not singles:
        return ["nothing was submitted in runs/ or catalogs/ of this directory"], False
    listing = _Listing()
    for group in groups:
        listing.add_group(group)
    for job in singles:
        listing.add_job(str(result_of(job)), job, observe(job, listing.view))
    return listing.lines(), listing.some_open


def _chosen(texts):
    """Return the groups and the single jobs that are meant."""
    if not texts:
        groups = find_groups()
        inside = {member["job"].path.resolve() for group in groups for member in group.members()}
        return groups, [job for job in find_jobs() if job.path.resolve() not in inside]
    groups, singles = [], []
    for text in texts:
        group, job = find_group(text), find_job(text)
        if group is None and job is None:
            raise _unknown(text)
        groups += [group] if group else []
        singles += [job] if job else []
    return groups, singles


def _unknown(text):
    there = "" if Path(text).exists() else "no such file or directory, and "
    return UserError(f"{text}: {there}nothing was submitted for it; galaxycgan status lists what was")


class _Listing:
    """The rows of the table, and the notes below each."""

    def __init__(self):
        self.view, self.rows, self.notes, self.some_open = slurm.View(), [], [], False

    def add_group(self, group):
        """Add an array or a pipeline: a head that counts, then its jobs."""
        members, kind = group.members(), group.record()["kind"]
        seen = {member["name"]: observe(member["job"], self.view) for member in members}
        counts = collections.Counter(one.state or "not submitted" for one in seen.values())
        counted = ", ".join(f"{count} {state}" for state, count in counts.items())
        self._add([str(group.place), kind, counted, "", bar(counts["done"] / len(members), 10), "", "", ""], [])
        nodes = list({member["batch"]: (member["batch"], member["after"]) for member in members}.values())
        for name, line in branches(nodes):
            own = [member for member in members if member["batch"] == name]
            if kind == "pipeline" and len(own) == 1:
                self.add_job("  " + line, own[0]["job"], seen[own[0]["name"]])
                continue
            if kind == "pipeline":
                self._add(["  " + line, f"{len(own)} jobs", "", "", "", "", "", ""], [])
            indent = " " * (len(line) - len(line.lstrip("│├└─ ")) + 4) if kind == "pipeline" else "  "
            for member in own:
                words = member["name"].removeprefix(f"{name}/")
                self.add_job(indent + words, member["job"], seen[member["name"]])

    def add_job(self, words, job, seen):
        """Add one job."""
        if not job.exists():
            return self._add([words, "", "not submitted", "", "", "", "", ""], [])
        self.some_open |= seen.state not in ENDED
        progress, left, last = progress_of(job) if seen.state != "pending" else ("", "", "")
        left = left if seen.state == "running" else ""
        stage = job.submission()["stage"]
        cells = [words, stage, seen.state, seen.where, progress, left, _ago(seen.since), str(seen.restarts)]
        return self._add(cells, _notes(job, seen, last))

    def _add(self, cells, notes):
        self.rows.append([*cells, *(notes[:1] or [""])])
        self.notes.append(notes[1:])

    def lines(self):
        """Return the table with its notes."""
        head, *drawn = table(HEADS, self.rows)
        pairs = zip(drawn, self.notes, strict=True)
        return [head, *(line for row, notes in pairs for line in (row, *(f"    {note}" for note in notes)))]


def _notes(job, seen, last):
    """Return what to tell below a job: its last words while it runs, why it waits, why and with what words it ended."""
    if seen.state in ("running", "done") and not seen.reason:
        return [last[:120]] if last else []
    notes = [_plainly(seen.reason)] if seen.reason else []
    if seen.state in ("failed", "killed"):
        told = {mistake_line(seen.reason), *notes}
        notes += [f"| {line[:160]}" for line in last_lines(job, FAILED_LINES) if line not in told]
    return notes


def _plainly(reason):
    meaning = STUCK.get(reason.removeprefix("waits: "))
    return f"{reason} ({meaning})" if meaning else reason


def progress_of(job):
    """Return how far a job is by its log: progress and time left as words, and the last it said (loss and all)."""
    lines = last_lines(job, 40)
    for line in reversed(lines):
        if found := PROGRESS.fullmatch(line):
            left = str(datetime.timedelta(seconds=int(found["left"]))) if found["left"] else ""
            note = found["note"] or line
            return f"{bar(share_of(found), 10)} {share_of(found):.0%}", left, note if line == lines[-1] else lines[-1]
    return "", "", lines[-1] if lines else ""


def _ago(iso):
    """Return a time as the time that has passed since then."""
    then = datetime.datetime.fromisoformat(iso)
    seconds = int((datetime.datetime.now(datetime.UTC) - then).total_seconds())
    days, seconds = divmod(max(seconds, 0), 86400)
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02}:{seconds:02} ago"


def logs(options, context):
    """Print what submitted jobs wrote, of all their starts.

    Parameters
    ----------
    options : config.Logs
    context : Context
    """
    job, group = find_job(options.run), find_group(options.run)
    if job:
        return _log(job, options.lines, context)
    if not group:
        raise _unknown(options.run)
    for member in group.members():
        context.say(f"==> {member['name']} ({member['job'].log}) <==")
        _log(member["job"], options.lines or GROUP_LINES, context)
    return None


def _log(job, lines, context):
    """Print a job's log, or its last lines."""
    if not job.log.exists() or not job.log.stat().st_size:
        seen = observe(job)
        words = ", ".join(word for word in (seen.state or "not submitted", seen.reason) if word)
        context.say(f"{result_of(job)}: nothing yet: {words}")
    elif lines:
        context.say("\n".join(last_lines(job, lines)))
    else:
        with open(job.log, encoding="utf-8", errors="replace") as file:
            for line in file:
                print(line, end="")


def cancel(options, context):
    """Stop submitted jobs: each is asked to save, and goes on when it is submitted again.

    Parameters
    ----------
    options : config.Cancel
    context : Context
    """
    if not options.runs:
        raise UserError("name the run directories whose jobs shall stop; galaxycgan status lists them")
    for text in options.runs:
        job, group = find_job(text), find_group(text)
        if not job and not group:
            raise _unknown(text)
        if job:
            context.say(f"{result_of(job)}: {_cancel(job)}")
        if group:
            context.say(f"{group.place}: {_cancel_group(group)}")


def _cancel(job):
    """Stop one job; return what happened, in words."""
    seen = observe(job)
    if seen.state in ENDED:
        return f"is {seen.state} already"
    submission = _mark_cancelled(job)
    if submission["cluster"] == "slurm":
        slurm.cancel(submission["job_id"], clusters=submission.get("clusters", ""))
        return f"Slurm job {submission['job_id']} cancelled; submit it again to resume"
    said = job.state()
    started = said.get("attempt") == submission["attempt"]
    if submission.get("driver") and not started:
        return "will not be started; submit it again to resume"
    return _stop(said if started else submission, result_of(job))


def _mark_cancelled(job):
    """Note in submission.json that the user wants a job to end; return it."""
    with job.hold("submit", wait_s=30.0):
        submission = job.submission() | {"cancelled": now()}
        job.write_submission(submission)
    return submission


def _stop(where, name):
    """Stop a process of this machine; return what happened, in words."""
    living = local.alive(where)
    if living is None:
        raise UserError(f"{name}: runs on {where.get('host')}; give the command there")
    if not living or local.stop(where, local.KILL_AFTER_S + 10 * bool(where.get("driver"))):
        return "stopped; submit it again to resume"
    return f"didn't stop within {local.KILL_AFTER_S:.0f} s and was killed; submit it again to resume"


def _cancel_group(group):
    """Stop all jobs of an array or a pipeline; return what happened, in words."""
    view = slurm.View()
    members = [m for m in group.members() if m["job"].exists() and observe(m["job"], view).state not in ENDED]
    if not members:
        return "all of its jobs have ended already"
    submissions = [_mark_cancelled(member["job"]) for member in members]
    queued = [submission for submission in submissions if submission["cluster"] == "slurm"]
    for clusters in {submission.get("clusters", "") for submission in queued}:
        numbers = [submission["job_id"] for submission in queued if submission.get("clusters", "") == clusters]
        slurm.cancel(*numbers, clusters=clusters)
    driver = group.record().get("driver")
    if driver and local.alive(driver):
        _stop(driver, group.place)
    for member in members:  # those of an earlier driver, or of one that was killed
        said = member["job"].state()
        if member["job"].submission()["cluster"] != "slurm" and said.get("state") == "running" and local.alive(said):
            _stop(said, result_of(member["job"]))
    return f"{len(members)} jobs cancelled; submit them again to resume"
