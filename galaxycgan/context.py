"""How a stage is run: the time of the request, whether to stop, where progress shows."""

import dataclasses
import signal
import sys
import threading
import time

from galaxycgan.errors import Interrupted
from galaxycgan.provenance import created_now


@dataclasses.dataclass
class Context:
    """Handed to every stage as its second argument.

    Attributes
    ----------
    created : str
        ISO time of the request. Goes into the files instead of the clock, so that the same request made again after a
        crash ends in the same bytes.
    stop : threading.Event
        Set when the job shall save its state and end.
    quiet : bool
        Whether nothing is said.
    """

    created: str = dataclasses.field(default_factory=created_now)
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    quiet: bool = False

    def muted(self):
        """Return a context that says nothing: one of several processes that do one job speaks."""
        return dataclasses.replace(self, quiet=True)

    def listen(self):
        """Let SIGTERM and SIGINT ask for a stop; a second SIGINT ends at once."""

        def ask(number, frame):
            if number == signal.SIGINT and self.stop.is_set():
                raise KeyboardInterrupt
            self.stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask)
        return self

    def check(self):
        """Raise `Interrupted` where a stop was asked for."""
        if self.stop.is_set():
            raise Interrupted

    def say(self, text):
        """Print one line of the stage's log."""
        if not self.quiet:
            print(text, flush=True)

    def progress(self, title, total, unit=""):
        """Return a `Progress` for a piece of work."""
        return Progress(title, total, unit, say=self.say, draw=not self.quiet)


class Progress:
    """A bar on a terminal, a plain line every few seconds in a log.

    Use as a context manager; `at(done, note)` reports the state.
    """

    def __init__(self, title, total, unit="", every_seconds=15.0, say=print, draw=True):
        self.title, self.total, self.unit, self.every = title, total, unit, every_seconds
        self.start = time.monotonic()
        self.first = None
        self.last_line = float("-inf")
        self.bar, self.say, self.draw = None, say, draw

    def __enter__(self):
        if self.draw and sys.stdout.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"),
                TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
            )  # fmt: skip
            self.task = self.bar.add_task(self.title, total=self.total, note="")
            self.bar.start()
        return self

    def at(self, done, note=""):
        """Report that `done` of `total` are done."""
        if self.bar:
            self.bar.update(self.task, completed=done, note=note)
            return
        now = time.monotonic()
        if self.first is None:
            self.first, self.start = done, now
        if now - self.last_line < self.every and done < self.total:
            return
        self.last_line = now
        rate = (done - self.first) / (now - self.start) if now > self.start else 0.0
        left = f", {(self.total - done) / rate:.0f} s left" if rate > 0 and done < self.total else ""
        note = f"  {note}" if note else ""
        self.say(f"{self.title}: {done:,} of {self.total:,} {self.unit}{left}{note}")

    def __exit__(self, *exception):
        if self.bar:
            self.bar.stop()
