"""Submitting a plan: what is left to do of it, what is noted, and starting that on a cluster.

All of a plan is submitted or nothing: where Slurm refuses one job, the others are taken back.

What happens to a job is decided here in two steps. `existing_job` looks at the job directory alone; the first row that
fits counts:

===============================================================  =======================================================
what is observed (`observe`)                                     what is done
===============================================================  =======================================================
nothing was submitted there                                      started: "submitted to CLUSTER"
a job of another stage                                           refused: "belongs to the stage ..."
--overwrite is asked for; the job is pending or running          refused: "is running (...); galaxycgan cancel ..."
--overwrite is asked for; it has ended                           started from nothing
it failed and left no file of a result                           started, whatever its options were
other options than asked for (but for `stages.MANNER`)           refused: "was made by another request (--lr: ...)"
pending or running                                               left alone: "pending already", "running already"
failed, stopped or killed                                        started again; the stage resumes what it has saved
done; input, result and earlier stages' results as they were     left alone: "done already"
done; one of these changed or is gone                            started again; the stage decides (`galaxycgan.resume`)
===============================================================  =======================================================

Then `survey` looks at a stage of a pipeline together with those before it:

===============================================================  =======================================================
what is observed                                                 what is done, in place of the above
===============================================================  =======================================================
an earlier stage is started; this one is running                 refused: "is running (...), but what it reads ..."
an earlier stage is started; this one is pending or has ended    started; a job that waits finds itself replaced
an earlier stage has not ended; this one is done                 started
an earlier stage is, or was since, made again with --overwrite   started with --overwrite; refused where it is running
this one had --overwrite, but ended before it cleared the place  where it is started: with --overwrite again
===============================================================  =======================================================

Right before its stage runs, the job itself asks `guard.check_start` whether what it reads, and the code, are still what
was submitted; the stage then asks `galaxycgan.resume` about its result.
"""

import contextlib
import dataclasses
import functools
import os
import shutil
import sys
from pathlib import Path

from galaxycgan.cluster import driver, fingerprints, group, local, machine, slurm, stages
from galaxycgan.cluster.jobs import Job, now, stopping_signals
from galaxycgan.cluster.observe import ENDED, Observation, observe, worst
from galaxycgan.cluster.rundir import JobDirectory
from galaxycgan.errors import UserError
from galaxycgan.provenance import created_now


@dataclasses.dataclass
class Item:
    """One task of a plan and its state.

    Attributes
    ----------
    task : Task
    batch : Batch
    directory : JobDirectory
    inputs : dict
        Marks of what it reads.
    seen : Observation or None
        How the job stands that makes another submission needless; None where there is something to start.
    offset : int
        Bytes of its log that are old.
    """

    task: object
    batch: object
    directory: JobDirectory
    inputs: dict
    seen: Observation | None = None
    offset: int = 0


def prepare(plan):
    """Name the stores that empty options mean, and mark all input; return the plan's `Item`s.

    Opens stores where there are several to choose from.
    """
    items, stamp = [], functools.cache(fingerprints.stamp)
    for batch in plan.batches:
        for task in batch.tasks:
            task = dataclasses.replace(task, options=stages.find_stores(task.stage, task.options))
            paths = stages.inputs(task.stage, task.options, task.promised)
            inputs = {name: stamp(path) for name, path in paths.items()}
            items.append(Item(task, batch, JobDirectory(task.job_path), inputs))
    return items


def survey(items):
    """Find out what of a plan is left to do: sets each item's `seen`; the second table at the top of this module.

    What comes after something that has to be started, or has not ended, has to be started too. Where the earlier stage
    was overwritten, the later one is: without that it would refuse to replace what it made of the earlier result.
    """
    view, starting, going_on, overwritten = slurm.View(), set(), set(), set()
    for item in items:
        after = set(item.batch.after)
        item.seen = existing_job(item.task, item.directory, dataclasses.asdict(item.task.options), item.inputs, view)
        anew = bool(overwritten & after) or parents_anew(item.directory.submission())
        if anew or starting & after or (going_on & after and item.seen and item.seen.state == "done"):
            _refuse_running(item)
            item.seen = None
        if item.seen is None and (anew or (after and _overwrite_left(item))):
            item.task = dataclasses.replace(item.task, options=dataclasses.replace(item.task.options, overwrite=True))
        if item.task.options.overwrite:
            overwritten.add(item.batch.name)
        if item.seen is None:
            starting.add(item.batch.name)
        elif item.seen.state not in ENDED:
            going_on.add(item.batch.name)


def _refuse_running(item):
    if item.seen and item.seen.state not in ENDED | {"pending"}:
        raise UserError(
            f"{item.task.result}: is {item.seen.state} ({item.seen.where}), but what it reads is to be made "
            f"anew; galaxycgan cancel {item.task.result} first"
        )


def _overwrite_left(item):
    """Return whether a stage that was to overwrite has ended before it did."""
    submission, state = item.directory.submission(), item.directory.state()
    cleared = state.get("state") == "done" or (state.get("called") and item.task.stage in stages.KEEP_PROGRESS)
    return submission.get("config", {}).get("overwrite", False) and not cleared


def parents_anew(submission):
    """Return whether an earlier stage whose result a job reads was overwritten since the job was submitted."""
    return any(
        JobDirectory(parent["job"]).submission().get("request", parent.get("request")) != parent.get("request")
        for parent in submission.get("after", ())
    )


def existing_job(task, directory, wanted, inputs=None, view=None):
    """Decide about a directory that may have been submitted before: the first table at the top of this module.

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
    submission, seen = directory.submission(), observe(directory, view)
    stages.refuse_other_stage(task.stage, task.result, submission)
    if wanted.get("overwrite"):
        if seen.state not in ENDED:
            raise UserError(
                f"{task.result}: is {seen.state} ({seen.where}); galaxycgan cancel {task.result} before --overwrite"
            )
        return None
    if seen.state == "failed" and _left_nothing(task, directory):
        return None
    stages.refuse_other_options(task.stage, task.result, submission, wanted)
    if seen.state not in ENDED:
        return seen
    return seen if seen.state == "done" and _nothing_changed(task, directory, submission, inputs) else None


def _nothing_changed(task, directory, submission, inputs):
    """Return whether input, result and what earlier stages made are as they were when the job was done."""
    same = inputs is None or inputs == {name: submission["inputs"].get(name) for name in inputs}
    there = stages.is_there(task.stage, task.options) and not fingerprints.changed(
        task.result, directory.state().get("result", {})
    )
    return same and there and not parents_anew(submission) and _read_as_it_is(directory, submission)


def _left_nothing(task, directory):
    """Return whether a job left nothing but its directory, as one does whose options its stage refused."""
    result = Path(task.result)
    return not result.exists() or (result.is_dir() and all(path == directory.path for path in result.iterdir()))


def _read_as_it_is(directory, submission):
    """Return whether what earlier stages made lies there as it did when the job that read it last started."""
    read = starts[-1].get("inputs", {}) if (starts := directory.starts()) else {}
    records = [read[name] for name in submission.get("promised", ()) if name in read]
    return not any(fingerprints.changed(Path(record["path"]), record.get("marks", {})) for record in records)


@contextlib.contextmanager
def made(directories):
    """Make job directories; take away what was made when the block fails before anything was submitted."""
    missing = [
        path for directory in directories for path in (directory.path, *directory.path.parents) if not path.exists()
    ]
    try:
        for directory in directories:
            directory.make()
        yield
    except BaseException:
        for directory in directories:
            if directory.path in missing and not directory.exists():
                shutil.rmtree(directory.path, ignore_errors=True)
        for path in sorted(set(missing), key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def start(plan, items, cluster, how, records):
    """Start what is left to do of a plan.

    Parameters
    ----------
    plan : Plan
    items : list of Item
        Those without `seen` are started.
    cluster : {'slurm', 'local', 'debug'}
    how : config.Submit
    records : Group or None
        Where an array or a pipeline keeps its own.

    Raises
    ------
    UserError
        Where the cluster refuses; then all is as it was.
    """
    fresh = [item for item in items if item.seen is None]
    before = [(item.directory, item.directory.submission(), item.directory.state()) for item in fresh]
    attempt = os.urandom(8).hex()
    group_before = records.record() if records else {}
    try:
        if records:
            records.write(group.describe_group(plan, records) | {"max_jobs": how.max_jobs or 1, "cluster": cluster})
        for item in fresh:
            _write_down(item, items, cluster, how, attempt if records else "")
        if cluster == "slurm":
            _start_on_slurm(plan, items, how, records)
        elif cluster == "local":
            _start_here(fresh, records, attempt)
    except BaseException:
        for directory, submission, state in before:
            directory.restore(submission, state)
        if records:
            records.write(group_before)
        raise


def _write_down(item, items, cluster, how, group_attempt):
    """Write submission.json and the first state.json of an item."""
    directory, overwrite = item.directory, getattr(item.task.options, "overwrite", False)
    submission = _submission(item, items, cluster, how, {} if overwrite else directory.submission())
    if group_attempt:
        submission["group_attempt"] = group_attempt
    starts = 0 if overwrite else directory.state().get("starts", 0)
    directory.write_submission(submission)
    directory.write_state({"state": "pending", "starts": starts})
    if overwrite:
        directory.log.unlink(missing_ok=True)
    item.offset = directory.log.stat().st_size if directory.log.exists() else 0


def _submission(item, items, cluster, how, earlier):
    """Return what submission.json shall say."""
    parents = [other for other in items if other.batch.name in item.batch.after]
    return {
        "stage": item.task.stage,
        "config": dataclasses.asdict(item.task.options),
        "inputs": item.inputs,
        "promised": sorted(item.task.promised),
        "after": [
            {
                "name": parent.task.name,
                "job": str(parent.directory.path.absolute()),
                "stage": parent.task.stage,
                "config": dataclasses.asdict(parent.task.options),
                **{name: parent.directory.submission().get(name) for name in ("created", "request")},
            }
            for parent in parents
        ],
        "created": earlier.get("created") or created_now(),
        "request": earlier.get("request") or os.urandom(8).hex(),  # two may be created in the same second
        "submitted": now(),
        "attempt": os.urandom(8).hex(),
        "cluster": cluster,
        "clusters": slurm.clusters_of(item.batch.profile) if cluster == "slurm" else "",
        "profile": item.batch.profile_path,
        "resources": item.batch.profile.asked() if cluster == "slurm" else {},
        "changed": how.changed,
        "cwd": str(Path.cwd()),
        "argv": sys.argv,
        "python": sys.executable,
        "versions": fingerprints.versions(),
        "code": fingerprints.code_mark(),
    }


def _start_on_slurm(plan, items, how, records):
    """Submit batch by batch, each after those that it needs."""
    submitted = []
    try:
        for batch in plan.batches:
            own = [item for item in items if item.batch is batch and item.seen is None]
            if not own:
                continue
            waits = sorted({_awaited(item) for item in items if item.batch.name in batch.after} - {""})
            folder = (records.path if records else own[0].directory.path).absolute() / "slurm"
            jobs = [(item.directory, Job.of(item.directory)) for item in own]
            name = own[0].task.stage if len(own) == 1 else f"{own[0].task.stage}-array"
            throttle, behind = _room(batch, items, how.max_jobs)
            numbers = slurm.start(jobs, folder, name, batch.profile, waits, throttle, behind)
            submitted += numbers
            for item, number in zip(own, numbers, strict=True):
                item.directory.write_submission(item.directory.submission() | {"job_id": number})
    except BaseException as error:
        slurm.cancel(*submitted, clusters=slurm.clusters_of(batch.profile))
        if not isinstance(error, UserError):
            raise
        hint = f" (profile {batch.profile_path})" if batch.profile_path else ""
        raise UserError(f"{error}{hint}") from None


def _room(batch, items, max_jobs):
    """Return how many of a batch's new jobs may run at once beside those of earlier submissions that have not ended.

    Returns
    -------
    int, list of str
        And the numbers of those earlier jobs that must end before, where they leave no room.
    """
    throttle = max_jobs or batch.profile.array_parallelism
    busy = [item for item in items if item.batch is batch and item.seen and item.seen.state not in ENDED]
    if len(busy) < throttle:
        return throttle - len(busy), []
    numbers = (item.directory.submission().get("job_id", "").partition("_")[0] for item in busy)
    return throttle, sorted(set(numbers) - {""})


def _awaited(item):
    """Return the number by which a later job waits for an item; '' where it is done.

    All elements of a new array go by the array's own number: a list of a thousand would be too long for sbatch.
    """
    number = item.directory.submission().get("job_id", "")
    if item.seen is None:
        return number.partition("_")[0]
    return "" if item.seen.state == "done" else number


def _start_here(fresh, records, attempt):
    """Start the one job as a process, or the driver of many."""
    cwd = str(Path.cwd())
    if not records:
        item = fresh[0]
        where = local.address(local.start(item.directory, cwd))
        item.directory.write_submission(item.directory.submission() | where)
        return
    process = local.detached(
        "galaxycgan.cluster.driver", [records.path.absolute(), attempt], records.directory.log, cwd
    )
    where = local.address(process) | {"driver": True}
    records.write(records.record() | {"driver": where})
    for item in fresh:
        item.directory.write_submission(item.directory.submission() | where)


def run_here(fresh, records):
    """Run jobs in this process, one after the other; return their exit code as `worst` does."""
    from galaxycgan.context import Context

    machine.be_alone()
    if not records:
        return Job.of(fresh[0].directory).run()
    context, attempt = Context(), fresh[0].directory.submission()["group_attempt"]
    with stopping_signals(context):  # between jobs, too
        begin = functools.partial(driver.Here, stop=context.stop)
        driver.Driver(records, attempt, 1, begin, context.stop).run()
    return worst([observe(item.directory) for item in fresh])
