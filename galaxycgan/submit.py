"""The door ``python -m galaxycgan.submit STAGE``: hands stages to Slurm or to processes of this machine.

One stage, an array of it (``--array``), or a pipeline of stages. The same command again goes on where jobs were
stopped, and says so where they run or are done. Imports nothing heavy before something is started: --help and --dry-run
have to answer in half a second.
"""

import dataclasses
import sys

from galaxycgan import config
from galaxycgan.cli import build_parser, collect, guarded
from galaxycgan.cluster import launch, precheck, slurm, stages
from galaxycgan.cluster.follow import follow, follow_group
from galaxycgan.cluster.group import Group
from galaxycgan.cluster.pipeline import read_pipeline
from galaxycgan.cluster.plan import Batch, Plan, Task, parse_array, product
from galaxycgan.cluster.profiles import load_profile
from galaxycgan.cluster.rundir import JobDirectory
from galaxycgan.cluster.tree import branches, table
from galaxycgan.errors import EXIT_MISTAKE, UserError

PROG = "python -m galaxycgan.submit"


def main(arguments=None, prog=PROG):
    """Run ``python -m galaxycgan.submit`` or ``galaxycgan submit``; return the exit code."""

    def action():
        names = [*config.STAGES, "pipeline"]
        parser = build_parser(prog, "Hand stages to a cluster.", names, extra_options=config.Submit)
        values = parser.parse_args(arguments)
        options = collect(config.COMMANDS[values.command][0], values)
        return submit(values.command, options, collect(config.Submit, values))

    return guarded(action, prog)


def submit(stage, options, how):
    """Hand a stage, an array of it or a pipeline to a cluster, except what runs or is done already.

    Parameters
    ----------
    stage : str
        Key of `config.STAGES`, or ``pipeline``.
    options : dataclass
        The stage's own.
    how : config.Submit

    Returns
    -------
    int
        Exit code: 0, or with ``--wait`` that of the job; of several jobs that of the first that failed.

    Raises
    ------
    UserError
        For missing input, a directory that holds another request's result, a bad profile, or a job that Slurm refuses.
    """
    return dispatch(_plan(stage, options, how).check(), how)


def _plan(stage, options, how):
    """Return what a command asks for."""
    if stage == "pipeline":
        if how.array:
            raise UserError("--array: a pipeline's arrays stand in its recipe, such as array = { seed = [0, 1, 2] }")
        return read_pipeline(options, how.profile)
    profile = load_profile(how.profile)
    if not how.array:
        task = Task(stage, stage, stages.resolve(stage, options))
        return Plan("stage", stage, None, (Batch(stage, (task,), *profile),))
    tasks, directory = product(stage, options, parse_array(stage, how.array))
    return Plan("array", f"array of {len(tasks)} {stage}", directory, (Batch(stage, tuple(tasks), *profile),))


def dispatch(plan, how):
    """Submit a plan as `config.Submit` says; return the exit code."""
    for task in plan.tasks:
        task.result  # noqa: B018 (refuses a place that can't be)
        stages.inputs(task.stage, task.options, task.promised)
    clusters = sorted({slurm.clusters_of(batch.profile) for batch in plan.batches})
    cluster, why = choose_cluster(how.cluster, clusters[0])
    if cluster == "slurm" and len(clusters) > 1:
        names = " and ".join(name or "(the own)" for name in clusters)
        raise UserError(f"{plan.name}: goes to clusters {names}; Slurm's jobs can't wait for those of another cluster")
    if how.dry_run:
        for task in plan.tasks:
            stages.check_stores(task.stage, task.options)
        return _dry_run(plan, f"{cluster}{why}")
    if cluster == "slurm":
        _ask_slurm_first(plan)
    if how.check:
        return 0 if cluster == "slurm" else print(f"nothing to check: {cluster}{why} refuses nothing") or 0
    items = launch.prepare(plan)
    records = Group(plan.directory / plan.kind) if plan.directory else None
    directories = [item.directory for item in items]
    lock = records.directory if records else directories[0]
    with launch.made([records.directory, *directories] if records else directories), lock.hold("submit", wait_s=60.0):
        launch.survey(items)
        fresh = [item for item in items if item.seen is None]
        if fresh:
            launch.start(plan, items, cluster, how, records)
    _tell(plan, items, f"{cluster}{why}")
    if fresh and cluster == "debug":
        return launch.run_here(fresh, records)
    if all(item.seen and item.seen.state == "done" for item in items):
        return 0
    if how.wait:
        return _wait(plan, items, records)
    place = plan.directory or items[0].task.result
    print(f"follow it with: galaxycgan status {place}   galaxycgan logs {place}   galaxycgan cancel {place}")
    return 0


def pipeline(options, context):
    """Run a pipeline here and now, one stage after the other.

    Parameters
    ----------
    options : config.Pipeline
    context : Context

    Raises
    ------
    UserError
        For a mistake in the recipe, or where a stage fails.
    """
    if code := dispatch(read_pipeline(options, ""), config.Submit(cluster="debug")):
        raise SystemExit(code)


def choose_cluster(name, clusters=""):
    """Return the cluster that a name means, and for `auto` why, as words to put behind it."""
    if name in ("local", "debug"):
        return name, ""
    there, trouble = slurm.answers(2.0 if name == "auto" else 20.0, clusters)
    if name == "auto":
        return ("slurm", " (sinfo names a partition)") if there else ("local", f" ({trouble})")
    if not there:
        raise UserError(f"--cluster slurm: {trouble}; use --cluster local, or log in where Slurm answers")
    return name, ""


def _ask_slurm_first(plan):
    """Refuse profiles that Slurm would refuse or never serve, before anything is queued; tell what may take long."""
    for batch in {batch.profile_path: batch for batch in plan.batches}.values():
        precheck.refuse_hopeless(batch.profile, batch.profile_path)
        remark = precheck.remarks(batch.profile)
        asked = ", ".join(f"{key} = {value}" for key, value in batch.profile.asked().items())
        print(f"{batch.profile_path or 'no profile'}: Slurm takes it ({asked}){': ' + remark if remark else ''}")


def _tell(plan, items, cluster):
    """Say what was started and how the rest stands."""
    if plan.kind == "stage":
        return _tell_one(plan, items[0], cluster)
    counts = {}
    for item in items:
        word = f"{item.seen.state} already" if item.seen else f"submitted to {cluster}"
        counts[word] = counts.get(word, 0) + 1
    print(f"{plan.name}: {', '.join(f'{count} {word}' for word, count in counts.items())}, in {plan.directory}")
    if plan.kind == "pipeline":
        print("\n".join(_picture(plan, lambda batch: _numbers([i for i in items if i.batch is batch]))))
    elif numbers := _numbers(items):
        print(numbers)
    return None


def _tell_one(plan, item, cluster):
    if item.seen is None:
        number = _numbers([item])
        print(f"{plan.name}: submitted to {cluster}{number and ': ' + number}, job directory {item.directory.path}")
    elif item.seen.state == "done":
        print(f"{plan.name}: done already: {item.task.result} (since {item.seen.since})")
    else:
        print(f"{plan.name}: {item.seen.state} already: {item.seen.where}")


def _numbers(items):
    """Return the numbers of the jobs or processes that were started, in words."""
    fresh = [item.directory.submission() for item in items if item.seen is None]
    jobs = list(dict.fromkeys(said["job_id"].partition("_")[0] for said in fresh if "job_id" in said))
    if jobs:
        return f"job {', '.join(jobs)}"
    processes = list(dict.fromkeys(said["pid"] for said in fresh if "pid" in said))
    return f"process {', '.join(map(str, processes))}" if processes else ""


def _picture(plan, words):
    """Return the lines of a pipeline's graph: a batch's name, its result, and some words."""
    lines = branches([(batch.name, batch.after) for batch in plan.batches])
    batches = {batch.name: batch for batch in plan.batches}
    rows = []
    for name, line in lines:
        batch = batches[name]
        many = f"{len(batch.tasks)} x " if len(batch.tasks) > 1 else ""
        place = batch.tasks[0].result if len(batch.tasks) == 1 else batch.tasks[0].result.parent
        rows.append([line, f"{many}{batch.tasks[0].stage}", str(place), words(batch)])
    return table(["pipeline", "stage", "result", ""], rows)


def _wait(plan, items, records):
    """Follow jobs to their end; return the exit code."""
    place = plan.directory or items[0].task.result
    try:
        if records:
            return follow_group([(item.task.name, item.directory) for item in items])
        seen = follow(items[0].directory, items[0].offset)
    except KeyboardInterrupt:
        print(f"\n{PROG}: no longer following; the job continues (galaxycgan cancel {place} stops it)", file=sys.stderr)
        return 130
    if seen.state == "done":
        print(f"done: {place}")
        return 0
    if seen.exit_code == EXIT_MISTAKE:
        raise UserError(seen.reason)
    log = items[0].directory.log
    print(f"{PROG}: {place}: {seen.state}: {seen.reason} (log: {log})", file=sys.stderr)
    return seen.exit_code


def _dry_run(plan, cluster):
    """Print what would be submitted."""
    if plan.kind == "pipeline":
        print(f"pipeline {plan.name} on {cluster}")
        print("\n".join(_picture(plan, lambda batch: _asked(batch, cluster))))
    elif plan.kind == "array":
        print(f"{plan.name} on {cluster}, in {plan.directory}")
    for batch, task in ((each, task) for each in plan.batches for task in each.tasks):
        directory, wanted = JobDirectory(task.job_path), dataclasses.asdict(task.options)
        seen = launch.existing_job(task, directory, wanted)
        state = f"{seen.state}: nothing would be started" if seen else "would be started"
        if plan.kind != "stage":
            print(f"{task.name:<24} {task.result}: {state}")
            continue
        lines = {
            "stage": task.stage,
            "options": "  ".join(f"{key}={value!r}" for key, value in wanted.items()),
            "cluster": cluster,
            "profile": _asked(batch, cluster),
            "result": task.result,
            "job": directory.path,
            "state": state,
        }
        print("\n".join(f"{key:<8} {value}" for key, value in lines.items()))
    return 0


def _asked(batch, cluster):
    """Return what a batch asks of the cluster, in words."""
    if not cluster.startswith("slurm"):
        return "profile not used"
    asked = ", ".join(f"{key} = {value}" for key, value in batch.profile.asked().items())
    return f"{batch.profile_path or 'none'}: {asked}"


if __name__ == "__main__":
    sys.exit(main())
