"""Following a job to its end: new lines of its log, then its exit code. Changes nothing."""

import re
import sys
import time

from galaxycgan.cluster.jobs import mistake_line
from galaxycgan.cluster.observe import ENDED, observe

#: Seconds between looks at the log, and between questions to Slurm.
LOOK_S, ASK_S = 0.2, 3.0

#: Seconds for which a network filesystem may hide the last word of a job that has left the queue.
HIDDEN_S = 30.0

PROGRESS = re.compile(r"(?P<title>[^:]+): (?P<done>[\d,]+) of (?P<total>[\d,]+) .*")


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
            share = int(progress["done"].replace(",", "")) / max(int(progress["total"].replace(",", "")), 1)
            filled = round(20 * min(share, 1))
            print(f"\r\033[K[{'#' * filled}{'-' * (20 - filled)}] {line}", end="")
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
