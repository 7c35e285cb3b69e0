"""The door ``python -m galaxycgan.submit STAGE``: hands a stage to Slurm or to a process of this machine.

The same command again goes on where the job was stopped, and says so where it runs or is done. Imports nothing heavy
before something is started: --help and --dry-run have to answer in half a second.
"""

import contextlib
import dataclasses
import os
import platform
import shutil
import sys
from pathlib import Path

from galaxycgan import config
from galaxycgan.cli import build_parser, collect, guarded
from galaxycgan.cluster import local, slurm, stages
from galaxycgan.cluster.follow import follow
from galaxycgan.cluster.jobs import Job, now
from galaxycgan.cluster.observe import ENDED, observe
from galaxycgan.cluster.profiles import load_profile
from galaxycgan.cluster.rundir import JobDirectory
from galaxycgan.errors import EXIT_MISTAKE, UserError
from galaxycgan.provenance import created_now, tool_stamp

PROG = "python -m galaxycgan.submit"

#: Packages whose version is noted with a submission.
NOTED_PACKAGES = ("torch", "numpy", "astropy", "h5py", "submitit")


def main(arguments=None):
    """Run ``python -m galaxycgan.submit``; return the exit code."""

    def action():
        parser = build_parser(PROG, "Hand a stage to a cluster.", config.STAGES, extra_options=config.Submit)
        values = parser.parse_args(arguments)
        options = collect(config.COMMANDS[values.command][0], values)
        return submit(values.command, options, collect(config.Submit, values))

    return guarded(action, PROG)


def submit(stage, options, how):
    """Hand a stage to a cluster, unless it runs or is done already.

    Parameters
    ----------
    stage : str
        Key of `config.STAGES`.
    options : dataclass
        The stage's own.
    how : config.Submit

    Returns
    -------
    int
        Exit code: 0, or with ``--wait`` that of the job.

    Raises
    ------
    UserError
        For missing input, a directory that holds another request's result, a bad profile, or a job that Slurm refuses.
    """
    options = stages.resolve(stage, options)
    result = stages.result_path(stage, options)
    stages.inputs(stage, options)
    profile, profile_path = load_profile(how.profile)
    cluster, why = choose_cluster(how.cluster)
    directory = JobDirectory(stages.job_path(stage, options))
    if how.dry_run:
        return _dry_run(stage, options, directory, result, f"{cluster}{why}", profile, profile_path)
    options = stages.find_stores(stage, options)
    marks = stages.stamps(stages.inputs(stage, options))
    with _made(directory), directory.hold("submit", wait_s=60.0):
        seen = _standing(stage, directory, result, dataclasses.asdict(options), marks)
        offset = directory.log.stat().st_size if directory.log.exists() else 0
        if not seen:
            submission = _submission(stage, options, marks, directory, cluster, profile, profile_path)
            offset = _start(directory, submission, profile, getattr(options, "overwrite", False))
            print(f"{stage}: submitted to {cluster}{why}{_number(directory)}, job directory {directory.path}")
    if seen and seen.state == "done":
        print(f"{stage}: done already: {result} (since {seen.since})")
        return 0
    if seen:
        print(f"{stage}: {seen.state} already: {seen.where}")
    elif cluster == "debug":
        return Job.of(directory).run()
    if how.wait:
        return _wait(directory, result, offset)
    print(f"follow it with: galaxycgan status {result}   galaxycgan logs {result}   galaxycgan cancel {result}")
    return 0


def choose_cluster(name):
    """Return the cluster that a name means, and for `auto` why, as words to put behind it."""
    if name in ("local", "debug"):
        return name, ""
    there, trouble = slurm.answers(timeout_s=2.0 if name == "auto" else 20.0)
    if name == "auto":
        return ("slurm", " (sinfo names a partition)") if there else ("local", f" ({trouble})")
    if not there:
        raise UserError(f"--cluster slurm: {trouble}; use --cluster local, or log in where Slurm answers")
    return name, ""


@contextlib.contextmanager
def _made(directory):
    """Make a job directory; take away what was made when the block fails before anything was submitted."""
    missing = [path for path in (directory.path, *directory.path.parents) if not path.exists()]
    directory.make()
    try:
        yield
    except BaseException:
        if not directory.exists() and missing:
            shutil.rmtree(directory.path, ignore_errors=True)
            for path in missing[1:]:
                with contextlib.suppress(OSError):
                    path.rmdir()
        raise


def _standing(stage, directory, result, wanted, marks=None):
    """Decide about a directory that may have been submitted before.

    Returns
    -------
    Observation or None
        How the job stands that makes another submission needless; None where there is something to start.

    Raises
    ------
    UserError
        Where the directory belongs to another request, or to one that still runs and shall be overwritten.
    """
    if not directory.exists():
        return None
    submission, seen = directory.submission(), observe(directory)
    stages.refuse_other_stage(stage, result, submission)
    if wanted.get("overwrite"):
        if seen.state not in ENDED:
            raise UserError(f"{result}: is {seen.state} ({seen.where}); galaxycgan cancel {result} before --overwrite")
        return None
    stages.refuse_other_options(stage, result, submission, wanted)
    if seen.state not in ENDED:
        return seen
    if seen.state == "done" and result.exists() and marks in (None, submission["inputs"]):
        return seen
    return None


def _submission(stage, options, marks, directory, cluster, profile, profile_path):
    """Return what submission.json shall say."""
    overwrite = getattr(options, "overwrite", False)
    earlier = {} if overwrite else directory.submission()
    return {
        "stage": stage,
        "config": dataclasses.asdict(options),
        "inputs": marks,
        "created": earlier.get("created") or created_now(),
        "submitted": now(),
        "attempt": os.urandom(8).hex(),
        "cluster": cluster,
        "profile": profile_path,
        "resources": profile.asked() if cluster == "slurm" else {},
        "cwd": str(Path.cwd()),
        "argv": sys.argv,
        "python": sys.executable,
        "versions": {"python": platform.python_version(), **_versions(), **tool_stamp()},
    }


def _versions():
    """Return the versions of the packages that matter, without importing them."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in NOTED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _start(directory, submission, profile, overwrite):
    """Start a job; leave the directory as it was where the cluster refuses it.

    Returns
    -------
    int
        Size of the log before the start, in bytes.
    """
    earlier = directory.submission(), directory.state()
    starts = 0 if overwrite else earlier[1].get("starts", 0)
    directory.write_submission(submission)
    directory.write_state({"state": "pending", "starts": starts})
    if overwrite:
        directory.log.unlink(missing_ok=True)
    offset = directory.log.stat().st_size if directory.log.exists() else 0
    try:
        found = {}
        if submission["cluster"] == "slurm":
            found = slurm.start(directory, submission, Job.of(directory), profile)
        elif submission["cluster"] == "local":
            found = local.start(directory, submission)
    except BaseException:
        directory.restore(*earlier)
        raise
    directory.write_submission(submission | found)
    return offset


def _number(directory):
    submission = directory.submission()
    if "job_id" in submission:
        return f": job {submission['job_id']}"
    return f": process {submission['pid']}" if "pid" in submission else ""


def _wait(directory, result, offset):
    """Follow a job to its end; return its exit code."""
    try:
        seen = follow(directory, offset)
    except KeyboardInterrupt:
        print(f"\n{PROG}: no longer following; the job goes on (galaxycgan cancel {result} stops it)", file=sys.stderr)
        return 130
    if seen.state == "done":
        print(f"done: {result}")
        return 0
    if seen.exit_code == EXIT_MISTAKE:
        raise UserError(seen.reason)
    print(f"{PROG}: {result}: {seen.state}: {seen.reason} (log: {directory.log})", file=sys.stderr)
    return seen.exit_code


def _dry_run(stage, options, directory, result, cluster, profile, profile_path):
    """Print what would be submitted."""
    seen = _standing(stage, directory, result, dataclasses.asdict(options))
    asked = ", ".join(f"{key} = {value}" for key, value in profile.asked().items())
    lines = {
        "stage": stage,
        "options": "  ".join(f"{key}={value!r}" for key, value in dataclasses.asdict(options).items()),
        "cluster": cluster,
        "profile": f"{profile_path or 'none'}: {asked}" if cluster.startswith("slurm") else "not used",
        "result": result,
        "job": directory.path,
        "state": f"{seen.state}: nothing would be started" if seen else "would be started",
    }
    for key, value in lines.items():
        print(f"{key:<8} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
