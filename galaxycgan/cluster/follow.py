"""Following jobs to their end: new lines of the log, then the exit code. Changes nothing."""

import dataclasses
import re
import sys
import time

from galaxycgan.cluster import slurm
from galaxycgan.cluster.jobs import mistake_line
from galaxycgan.cluster.observe import ENDED, observe, worst

#: Seconds between looks at the log, and between questions to Slurm.
LOOK_S, ASK_S = 0.2, 3.0

#: Seconds for which a network filesystem may hide the last word of a job that has left the queue.
HIDDEN_S = 30.0

#: Seconds between looks at many jobs.
GROUP_LOOK_S = 2.0

PROGRESS = re.compile(
    r"(?P<title>[^:]+): (?P<done>[\d,]+) of (?P<total>[\d,]+) [^,]*?(?:, (?P<left>\d+) s left)?(?:  (?P<note>.*))?"
)


def bar(share, width=20):
    """Return a bar of characters."""
    filled = round(width * min(max(share, 0), 1))
    return f"[{'#' * filled}{'-' * (width - filled)}]"


def share_of(progress):
    """Return the share that a match of `PROGRESS` tells."""
    return int(progress["done"].replace(",", "")) / max(int(progress["total"].replace(",", "")), 1)


class Tail:
    """Prints what is added to a log; on a terminal lines of progress become one bar.

    Parameters
    ----------
    path : Path
    offset : int
        Bytes that are old already.
    """

    def __init__(self, path, offset):
        self.path, self.offset = path, offset
        self.rest = b""
        self.bar = sys.stdout.isatty()
        self.on_bar = False

    def show(self, skip=None, last=False):
        """Print the new lines, except the line `skip`; with `last` an unfinished one too."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                new = file.read()
            self.offset += len(new)
            *lines, self.rest = (self.rest + new).split(b"\n")
            for line in lines:
                self._line(line.decode(errors="replace"), skip)
        if last and self.rest:
            self._line(self.rest.decode(errors="replace"), skip)
            self.rest = b""
        if last and self.on_bar:
            print()
        sys.stdout.flush()

    def _line(self, line, skip):
        if line == skip:
            return
        progress = PROGRESS.fullmatch(line) if self.bar else None
        if progress:
            print(f"\r\033[K{bar(share_of(progress))} {line}", end="")
        else:
            print(("\n" if self.on_bar else "") + line)
        self.on_bar = bool(progress)


def follow(directory, offset):
    """Follow the job of a directory until it ends.

    Parameters
    ----------
    directory : JobDirectory
    offset : int
        Bytes of the log that are not shown.

    Returns
    -------
    Observation
        How it ended.
    """
    tail, told, said, asked, gone_since = Tail(directory.log, offset), "", "", float("-inf"), None
    patience = HIDDEN_S if directory.submission()["cluster"] == "slurm" else 0.0
    while True:
        before, said = said, directory.state().get("state", "")
        if said != before or time.monotonic() - asked > ASK_S:
            now, asked = observe(directory), time.monotonic()
            if now.state == "pending" and now.reason not in ("", told):
                told = now.reason
                print(f"pending, {told}", flush=True)
            gone_since = (gone_since or asked) if now.state == "killed" else None
            if now.state in ENDED and not (gone_since and asked - gone_since < patience):
                tail.show(skip=mistake_line(now.reason), last=True)
                return now
        tail.show()
        time.sleep(LOOK_S)


def follow_group(jobs):
    """Follow the jobs of an array or a pipeline until all have ended: a line for each change, on a terminal a bar too.

    Parameters
    ----------
    jobs : list of (str, JobDirectory)

    Returns
    -------
    int
        Exit code: 0 where all are done, else that of the first that failed.
    """
    told, gone_since, terminal = {}, {}, sys.stdout.isatty()
    clear = "\r\033[K" if terminal else ""
    while True:
        view = slurm.View()
        seen = {name: _patiently(name, observe(directory, view), directory, gone_since) for name, directory in jobs}
        for name, now in seen.items():
            if told.get(name, "pending") != now.state:
                print(f"{clear}{name}: {now.state}{f' ({now.reason})' if now.reason else ''}", flush=True)
            told[name] = now.state
        done = sum(now.state == "done" for now in seen.values())
        if terminal:
            print(f"{clear}{bar(done / len(jobs))} {done} of {len(jobs)} done", end="", flush=True)
        if all(now.state in ENDED for now in seen.values()):
            print(("\n" if terminal else "") + f"{done} of {len(jobs)} done", flush=True)
            return worst(seen.values())
        time.sleep(GROUP_LOOK_S)


def _patiently(name, now, directory, gone_since):
    """Return a killed job of Slurm as running for a while, as its last word may be hidden yet."""
    if now.state != "killed" or directory.submission()["cluster"] != "slurm":
        gone_since.pop(name, None)
        return now
    since = gone_since.setdefault(name, time.monotonic())
    return dataclasses.replace(now, state="running", reason="") if time.monotonic() - since < HIDDEN_S else now
