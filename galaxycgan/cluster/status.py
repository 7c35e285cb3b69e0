"""The commands that look after submitted jobs: ``galaxycgan status``, ``logs`` and ``cancel``."""

import datetime
import functools
import os

from galaxycgan.cluster import local, slurm
from galaxycgan.cluster.jobs import now
from galaxycgan.cluster.observe import ENDED, observe
from galaxycgan.cluster.rundir import find_job, find_jobs, result_of
from galaxycgan.errors import UserError

#: Bytes at the end of a log in which its last line is looked for.
TAIL_BYTES = 4096


def status(options, context):
    """Print where submitted jobs stand: one line each, and the last line of its log or the reason why it ended.

    Parameters
    ----------
    options : config.Status
    context : Context
    """
    jobs = [find_job(text) for text in options.runs] or find_jobs()
    if not jobs:
        context.say("nothing was submitted in runs/ or catalogs/ of this directory")
        return
    queue = functools.cache(slurm.queue)
    rows = [_row(job, observe(job, queue)) for job in jobs]
    heads = ("result", "stage", "state", "where", "since", "restarts")
    widths = [max(len(row[k]) for row in [heads, *(row for row, _ in rows)]) for k in range(len(heads))]
    context.say("  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip())
    for row, note in rows:
        context.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if note:
            context.say(f"    {note}")


def _row(job, seen):
    """Return a job's cells, and what to tell below them."""
    cells = (
        str(result_of(job)),
        job.submission()["stage"],
        seen.state,
        seen.where,
        _ago(seen.since),
        str(seen.restarts),
    )
    return cells, seen.reason or last_line(job)[:120]


def _ago(iso):
    """Return a time as the time that has passed since then."""
    then = datetime.datetime.fromisoformat(iso)
    seconds = int((datetime.datetime.now(datetime.UTC) - then).total_seconds())
    days, seconds = divmod(max(seconds, 0), 86400)
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02}:{seconds:02} ago"


def last_line(job):
    """Return the last line of a job's log that says something, '' for none."""
    if not job.log.exists():
        return ""
    with open(job.log, "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def logs(options, context):
    """Print what a submitted job wrote, of all its starts.

    Parameters
    ----------
    options : config.Logs
    context : Context
    """
    job = find_job(options.run)
    if not job.log.exists() or not job.log.stat().st_size:
        seen = observe(job)
        context.say(f"{result_of(job)}: nothing yet: {', '.join(word for word in (seen.state, seen.reason) if word)}")
        return
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
    for job in [find_job(text) for text in options.runs]:
        context.say(f"{result_of(job)}: {_cancel(job)}")


def _cancel(job):
    """Stop one job; return what happened, in words."""
    seen = observe(job)
    if seen.state in ENDED:
        return f"is {seen.state} already"
    with job.hold("submit", wait_s=30.0):
        submission = job.submission()
        job.write_submission(submission | {"cancelled": now()})
    if submission["cluster"] == "slurm":
        slurm.cancel(submission["job_id"])
        return f"Slurm job {submission['job_id']} cancelled; it goes on when submitted again"
    said = job.state()
    where = said if said.get("attempt") == submission["attempt"] else submission
    living = local.alive(where)
    if living is None:
        raise UserError(f"{result_of(job)}: runs on {where.get('host')}; give the command there")
    if not living or local.stop(where):
        return "stopped; it goes on when submitted again"
    return f"didn't stop within {local.KILL_AFTER_S:.0f} s and was killed; it goes on when submitted again"
