"""Whether a job may start: its input complete and unchanged, the code the same, its cores not taken away.

Asked by the job itself, on its node, right before the stage: between submission and start may lie days.
"""

from galaxycgan import config
from galaxycgan.cluster import fingerprints, machine, stages
from galaxycgan.cluster.rundir import JobDirectory, result_of
from galaxycgan.errors import UserError, first_few

WAY_OUT = "submit again to take it as it is now, or submit with --changed accept"


def check_start(directory, submission, earlier):
    """Raise `UserError` where a job must not start.

    Parameters
    ----------
    directory : JobDirectory
    submission : dict
        What was asked.
    earlier : dict
        state.json before this start.
    """
    machine.refuse_pinned(submission.get("resources", {}).get("cpus_per_task") if machine.in_slurm() else None)
    for parent in submission.get("after", ()):
        _check_parent(parent)
    if submission.get("changed") == "accept":
        return
    _check_code(submission, earlier)
    _check_input(submission)


def _check_parent(parent):
    """Refuse input that an earlier stage of the pipeline has not finished, or that is another's."""
    job = JobDirectory(parent["job"])
    result, name = result_of(job), parent["name"]
    if not job.exists():
        raise UserError(f"{result}: input not there: {name} was never submitted, or its job directory was removed")
    submission, state = job.submission(), job.state()
    if state.get("state") != "done" or state.get("attempt") != submission["attempt"]:
        reason = f" ({state['reason']})" if state.get("reason") else ""
        raise UserError(f"{result}: input not complete: {name} is {state.get('state', 'pending')}{reason}")
    others = stages.differences(parent["stage"], submission["config"], parent["config"])
    if submission["stage"] != parent["stage"] or others or submission["created"] != parent["created"]:
        what = first_few(others, 2) or f"submitted {submission['created']}, not {parent['created']}"
        raise UserError(f"{result}: is not what {name} of this pipeline makes: {what}; submit the pipeline again")
    if file := fingerprints.changed(result, state.get("result", {})):
        raise UserError(f"{file}: was changed or removed since {name} made it; submit the pipeline again")


def _check_code(submission, earlier):
    """Refuse code that is not what was there at submission.

    Another Python on the node (a container) may hold another copy of the package than the login node: then the first
    start counts.
    """
    elsewhere = any(submission.get("resources", {}).get(key) for key in ("python", "container"))
    if elsewhere:
        known = earlier.get("code") if earlier.get("attempt") == submission["attempt"] else None
    else:
        known = submission.get("code")
    if known and known != fingerprints.code_mark():
        then, now = submission.get("versions", {}), fingerprints.versions()
        words = [
            f"{name} {then.get(name)}, now {now[name]}" for name in ("galaxycgan", "git") if then.get(name) != now[name]
        ]
        raise UserError(f"galaxycgan's code changed since submission ({first_few(words) or 'uncommitted'}); {WAY_OUT}")


def _check_input(submission):
    """Refuse input that is not what was there at submission."""
    stage = submission["stage"]
    options = config.COMMANDS[stage][0](**submission["config"])
    noted = submission.get("inputs") or {}
    paths = stages.inputs(stage, options, promised=submission.get("promised", ()))
    now = fingerprints.stamps({name: path for name, path in paths.items() if name in noted})
    if changed := [f"--{name.replace('_', '-')} {paths[name]}" for name in now if now[name] != noted[name]]:
        raise UserError(f"{first_few(changed)}: changed since submission; {WAY_OUT}")
