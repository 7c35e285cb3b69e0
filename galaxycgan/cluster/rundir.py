"""The job directory of a submitted stage: what was asked, its state, what it wrote.

``submission.json`` is written by the one who submits, ``state.json`` by the one who submits until the job has started
and by the job from then on, ``starts.jsonl`` gets a line for each start, ``log.txt`` all that the job prints. The
directory is closed to others (mode 0700), for what a cluster unpickles in it is executed.
"""

import contextlib
import os
from pathlib import Path

from galaxycgan.errors import UserError
from galaxycgan.files.atomic import append_record, hold, read_json, read_records, write_json

#: Bytes at the end of a log for each line that is needed of it.
TAIL_BYTES = 4096

#: Bytes kept aside in a job directory, so that a job can tell how it ended though the disk is full.
RESERVE_BYTES = 32 << 10


class JobDirectory:
    """One job directory.

    Parameters
    ----------
    path : str or Path
    """

    def __init__(self, path):
        self.path = Path(path)
        self.log = self.path / "log.txt"

    def exists(self):
        """Return whether something was ever submitted here."""
        return (self.path / "submission.json").is_file()

    def make(self):
        """Make the directory, closed to others; refuse one that belongs to somebody else."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
            if self.path.stat().st_uid != os.geteuid():
                raise UserError(f"{self.path}: belongs to another user; submit with another result directory")
            self.path.chmod(0o700)
        except OSError as error:
            raise UserError(f"{self.path}: can't make the job directory: {error.strerror}") from None

    def submission(self):
        """Return what was asked, as a dict; {} before the first submission."""
        return self._read("submission.json")

    def state(self):
        """Return how the job stands by its own word, as a dict; {} before the first submission."""
        return self._read("state.json")

    def _read(self, name):
        path = self.path / name
        return read_json(path) if path.exists() else {}

    def write_submission(self, submission):
        """Replace submission.json."""
        write_json(self.path / "submission.json", submission)

    def write_state(self, state):
        """Replace state.json; where the disk is full, at the cost of the reserve."""
        try:
            write_json(self.path / "state.json", state)
        except UserError:
            if not (self.path / "reserve").exists():
                raise
            (self.path / "reserve").unlink()
            write_json(self.path / "state.json", state)

    def keep_reserve(self):
        """Set bytes aside for the last word."""
        if not (self.path / "reserve").exists():
            with contextlib.suppress(OSError):
                (self.path / "reserve").write_bytes(os.urandom(RESERVE_BYTES))

    def starts(self):
        """Return what was noted at each start, as dicts; [] before the first."""
        path = self.path / "starts.jsonl"
        return read_records(path) if path.exists() else []

    def note_start(self, record):
        """Add what one start found."""
        append_record(self.path / "starts.jsonl", record)

    def restore(self, submission, state):
        """Put back what was there before a submission that failed."""
        for name, value in (("submission.json", submission), ("state.json", state)):
            if value:
                write_json(self.path / name, value)
            else:
                (self.path / name).unlink(missing_ok=True)

    def update_state(self, **changes):
        """Change some entries of state.json; return all."""
        state = self.state() | changes
        self.write_state(state)
        return state

    @contextlib.contextmanager
    def hold(self, name, wait_s):
        """Hold a lock of this directory; free when the process ends, however it ends.

        Parameters
        ----------
        name : str
            ``submit`` while a submission is decided and started, ``run`` while the stage runs.
        wait_s : float
            How long to wait for another process to let go.

        Raises
        ------
        UserError
            Where it did not.
        """
        what = {"submit": "another submission is under way", "run": "another process runs it"}[name]
        with hold(self.path / f"{name}.lock", f"{self.path}: {what}", wait_s):
            yield


def find_job(text):
    """Return the `JobDirectory` that belongs to a run directory or a result file; None where there is none."""
    for path in (Path(text), Path(text) / "job", Path(text.rstrip("/") + ".job")):
        directory = JobDirectory(path)
        if directory.exists():
            return directory
    return None


def find_jobs(places=("runs", "catalogs")):
    """Return the `JobDirectory` of all that was submitted below some directories, oldest submission first."""
    found = set()
    for place in map(Path, places):
        for pattern in ("*/job", "*/*/job", "*/*/*/job", "*.job", "*/*.job", "*/*/*.job"):
            found.update(path for path in place.glob(pattern) if JobDirectory(path).exists())
    return sorted(map(JobDirectory, found), key=lambda job: (job.submission().get("submitted", ""), str(job.path)))


def result_of(directory):
    """Return the run directory or the result file that a job directory belongs to."""
    path = directory.path
    if path.parent.name == "job" or path.parent.suffix == ".job":  # a part of a result
        path = path.parent
    return path.parent if path.name == "job" else path.with_name(path.name.removesuffix(".job"))


def last_lines(directory, count):
    """Return the last lines of a job's log that say something."""
    if not directory.log.exists():
        return []
    with open(directory.log, "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - TAIL_BYTES * count, 0))
        lines = file.read().decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()][-count:]
