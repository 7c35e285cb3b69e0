"""Arrays and pipelines on disk: which jobs belong together, which come after which.

``group.json`` lies in ``array/`` or ``pipeline/`` below the directory of the results; the jobs themselves have their
own job directories, and these say how they stand.
"""

import os
from pathlib import Path

from galaxycgan.cluster.rundir import JobDirectory
from galaxycgan.files.atomic import read_json, write_json

KINDS = ("array", "pipeline")


class Group:
    """The jobs of one array or pipeline.

    Parameters
    ----------
    path : str or Path
        ``RUN/array`` or ``RUN/pipeline``.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.directory = JobDirectory(self.path)  # for its mode and its lock
        self.file = self.path / "group.json"

    def exists(self):
        """Return whether something was ever submitted here."""
        return self.file.is_file()

    def record(self):
        """Return what was submitted, as a dict; {} before the first submission."""
        return read_json(self.file) if self.exists() else {}

    def write(self, record):
        """Replace group.json; {} removes it."""
        if record:
            write_json(self.file, record)
        else:
            self.file.unlink(missing_ok=True)

    def members(self):
        """Return the jobs, as dicts: name, batch, after (names of batches) and job (its `JobDirectory`), in order."""
        members = []
        for batch in self.record().get("batches", ()):
            for task in batch["tasks"]:
                job = JobDirectory(Path(os.path.normpath(self.path / task["job"])))
                members.append({"name": task["name"], "batch": batch["name"], "after": batch["after"], "job": job})
        return members

    @property
    def place(self):
        """The directory that it belongs to."""
        return self.path.parent


def describe_group(plan, group):
    """Return group.json for a plan; paths of jobs are relative, so that the whole may be moved."""
    return {
        "kind": plan.kind,
        "name": plan.name,
        "batches": [
            {
                "name": batch.name,
                "after": list(batch.after),
                "stage": batch.tasks[0].stage,
                "tasks": [
                    {"name": task.name, "job": os.path.relpath(task.job_path, group.path)} for task in batch.tasks
                ],
            }
            for batch in plan.batches
        ],
    }


def find_group(text):
    """Return the `Group` that belongs to a directory or a result file of an array; None where there is none."""
    path = Path(text)
    for place in (path, *(path / kind for kind in KINDS), *(path.with_suffix("") / kind for kind in KINDS)):
        if place.name in KINDS and Group(place).exists():
            return Group(place)
    return None


def find_groups(places=("runs", "catalogs")):
    """Return the `Group` of all arrays and pipelines below some directories."""
    found = set()
    for place in map(Path, places):
        for kind in KINDS:
            for pattern in (kind, f"*/{kind}", f"*/*/{kind}"):
                found.update(path for path in place.glob(pattern) if Group(path).exists())
    return [Group(path) for path in sorted(found)]
