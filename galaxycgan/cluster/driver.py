"""Runs the jobs of an array or a pipeline on this machine: in their order, at most a given number at once.

``python -m galaxycgan.cluster.driver GROUP ATTEMPT`` is such a driver, detached; Slurm does the same for its own jobs.
"""

import signal
import sys
import threading
import time

from galaxycgan.cluster import local
from galaxycgan.cluster.group import Group
from galaxycgan.cluster.jobs import Job, now
from galaxycgan.cluster.observe import observe
from galaxycgan.errors import EXIT_FAILED, EXIT_STOPPED

#: Seconds between looks at what runs.
LOOK_S = 0.1


class Driver:
    """The jobs of one submission of a group.

    Parameters
    ----------
    group : Group
    attempt : str
        Names the submission: jobs of another one are not this driver's.
    max_jobs : int
        Jobs at once.
    begin : callable
        Takes a `JobDirectory` and its working directory, starts the job, returns something with ``poll()``.
    stop : threading.Event, optional
        Set when all shall save and end.
    """

    def __init__(self, group, attempt, max_jobs, begin=local.start, stop=None):
        self.members = group.members()
        self.waiting = [m for m in self.members if m["job"].submission().get("group_attempt") == attempt]
        self.running, self.max_jobs, self.begin = {}, max_jobs, begin
        self.stop, self.begun = stop or threading.Event(), {}

    def run(self):
        """Run all jobs; return when none is left.

        Returns
        -------
        int
            0 where all are done, 75 where it was asked to stop.
        """
        while self.waiting or self.running:
            if self.stop.is_set():
                return self._stop_all()
            self._let_go()
            self._start_what_can()
            time.sleep(LOOK_S)
        return 0

    def _let_go(self):
        """Take from the list what has ended; tell of a job that could not do so itself, for it died at its start."""
        for name, code in [(name, process.poll()) for name, process in self.running.items()]:
            if code is None:
                continue
            del self.running[name]
            job, attempt = self.begun[name]
            submitted = job.submission()["attempt"]
            if submitted == attempt and job.state().get("attempt") != attempt:
                reason = f"its process ended before the job began (exit code {code}); see the log"
                _end(job, "failed", reason, EXIT_FAILED)

    def _start_what_can(self):
        """Start jobs whose parents are done, and take from the list those that can't run any more."""
        standing = {batch: self._standing(batch) for batch in {name for m in self.waiting for name in m["after"]}}
        for member in list(self.waiting):
            words = [standing[name] for name in member["after"]]
            if trouble := next((word for word in words if word not in ("done", "open")), ""):
                self._give_up(member, trouble)
            elif "open" not in words and len(self.running) + self._others() < self.max_jobs:
                if member["job"].submission().get("cancelled"):
                    self._give_up(member, "cancelled")
                    continue
                self.waiting.remove(member)
                submission = member["job"].submission()
                self.begun[member["name"]] = (member["job"], submission["attempt"])
                self.running[member["name"]] = self.begin(member["job"], submission["cwd"])

    def _others(self):
        """Return how many jobs of an earlier submission's driver have not ended: it may start them at any time."""
        own = self.running.keys() | {member["name"] for member in self.waiting}
        return sum(m["name"] not in own and observe(m["job"]).state in ("pending", "running") for m in self.members)

    def _standing(self, batch):
        """Return done, open, or why what comes after a batch can never start."""
        states = []
        for member in self.members:
            if member["batch"] != batch:
                continue
            seen = observe(member["job"])
            if member["name"] in self.running or member in self.waiting or seen.state in ("pending", "running"):
                states.append("open")
            elif seen.state != "done":
                return f"cancelled, for {member['name']} is {seen.state}{f': {seen.reason}' if seen.reason else ''}"
        return "open" if states else "done"

    def _give_up(self, member, reason):
        self.waiting.remove(member)
        _end(member["job"], "stopped", reason, EXIT_STOPPED)

    def _stop_all(self):
        """Ask what runs to save and stop; let nothing else start."""
        for member in list(self.waiting):
            self._give_up(member, "cancelled")
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + local.KILL_AFTER_S
        while any(process.poll() is None for process in self.running.values()) and time.monotonic() < end:
            time.sleep(LOOK_S)
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
        return EXIT_STOPPED


def _end(job, state, reason, exit_code):
    attempt = job.submission()["attempt"]
    job.update_state(state=state, attempt=attempt, reason=reason, finished=now(), exit_code=exit_code)


class Here:
    """A job that is run in this process: over as soon as it has begun."""

    def __init__(self, directory, cwd, stop=None):
        self.code = Job.of(directory).run(stop)
        if stop and directory.submission().get("cancelled"):
            stop.clear()  # `galaxycgan cancel` meant this one; of others that it means it has made a note, too

    def poll(self):
        """Return the exit code."""
        return self.code

    def send_signal(self, number):
        """Do nothing: it has ended."""


def main(arguments):
    """Drive the group that the first argument names; return the exit code."""
    group = Group(arguments[0])
    with group.directory.hold("submit", wait_s=60.0):  # until the one who submits has written everything
        driver = Driver(group, arguments[1], group.record()["max_jobs"])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: driver.stop.set())
    return driver.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
