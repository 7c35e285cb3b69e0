"""Whether Slurm would take a job and ever start it, asked before anything is queued. Queues nothing."""

import re
import subprocess
import tempfile
from pathlib import Path

from galaxycgan.cluster import slurm
from galaxycgan.errors import UserError

#: What ``sbatch --test-only`` says both of a request that no node can meet and of one whose nodes are down or drained.
AMBIGUOUS = "Requested node configuration is not available"

#: Words of sinfo for a node that runs jobs now or will; others are down, drained or reserved.
GOOD_NODES = ("idle", "mix", "alloc", "comp", "resv", "plnd")


def refuse_hopeless(profile, path):
    """Raise `UserError` for a profile that sbatch would refuse, or whose job would wait for ever.

    Parameters
    ----------
    profile : Profile
    path : str
        The profile's file, '' for none.
    """
    where, hopeless, words = path or "no profile", would_wait(profile), would_refuse(profile)
    # sbatch says this of what no node has, and of nodes that are away just now, too
    if words and (hopeless or AMBIGUOUS not in words):
        raise UserError(f"{where}: Slurm would refuse the job: {words}{hopeless and f' ({hopeless})'}")
    if hopeless:
        raise UserError(f"{where}: the job would wait for ever: {hopeless}")


def would_refuse(profile):
    """Return sbatch's words of refusal, '' where it takes the job."""
    script = _script(profile)
    with tempfile.TemporaryDirectory() as folder, slurm.own_environment():
        path = Path(folder) / "job.sh"
        path.write_text(script)
        told = subprocess.run(["sbatch", "--test-only", str(path)], capture_output=True, text=True)
    return slurm.plain_words(told.stderr or told.stdout) if told.returncode else ""


def _script(profile):
    """Return the sbatch script of a job that does nothing, with a profile's resources."""
    import submitit

    executor = submitit.SlurmExecutor(folder="/tmp/%j", python=profile.command())
    executor.update_parameters(**slurm.parameters(profile, "check", Path("/dev/null")))
    return executor._make_submission_file_text("true", "check")


def would_wait(profile):
    """Return why a job that sbatch takes would never start, with the reason that squeue would give; '' where it would.

    Looks at limits that no waiting changes: of the partition's time and nodes, and of what its nodes have.
    """
    partition = _partition(profile)
    if not partition:
        return ""
    name = partition["PartitionName"]
    limit = minutes(partition.get("MaxTime", ""))
    if limit and profile.time_minutes > limit:
        return f"time_minutes = {profile.time_minutes}, partition {name} allows {limit} (PartitionTimeLimit)"
    most = partition.get("MaxNodes", "")
    if most.isdigit() and profile.nodes > int(most):
        return f"nodes = {profile.nodes}, partition {name} allows {most} (PartitionNodeLimit)"
    return _qos_trouble(profile) or _nodes_trouble(profile, name)


def _qos_trouble(profile):
    """Return which limit of the profile's QOS a job is over, '' for none or without accounting."""
    if not profile.qos:
        return ""
    told = slurm.ask(["sacctmgr", "-n", "-P", "show", "qos", profile.qos, "format=MaxWall"]) or ""
    limit = minutes(told.strip())
    if limit and profile.time_minutes > limit:
        reason = "QOSMaxWallDurationPerJobLimit"
        return f"time_minutes = {profile.time_minutes}, QOS {profile.qos} allows {limit} ({reason})"
    return ""


def _partition(profile):
    """Return what scontrol says of a profile's partition (or the default one), as a dict; {} where it says nothing."""
    name, told = profile.partition, slurm.ask(["scontrol", "-o", "show", "partition"], slurm.clusters_of(profile))
    for line in (told or "").splitlines():
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if words.get("PartitionName") == name or (name is None and words.get("Default") == "YES"):
            return words
    return {}


def minutes(text):
    """Return Slurm's time limit (``1-02:00:00``, ``30:00``) in minutes; None for none."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if not found:
        return None
    days, hours, mins, _ = (int(word or 0) for word in found.groups())
    return 1440 * days + 60 * hours + mins


def _nodes_trouble(profile, partition):
    """Return why no node of a partition can run the job, '' where enough can."""
    nodes = fitting = _nodes(profile, partition)
    cpus = (profile.cpus_per_task or 1) * profile.tasks_per_node
    wants = {
        f"cpus_per_task x tasks_per_node = {cpus}": lambda node: int(node[0]) >= cpus,
        f"mem_gb = {profile.mem_gb}": lambda node: int(node[1].rstrip("+")) >= 1024 * (profile.mem_gb or 0),
        f"gpus_per_node = {profile.gpus_per_node}": lambda node: gpus(node[2]) >= (profile.gpus_per_node or 0),
    }
    for what, fits in wants.items():
        fitting = [node for node in fitting if fits(node)]
        if nodes and len(fitting) < profile.nodes:
            return f"{what}: {len(fitting)} of {len(nodes)} nodes of partition {partition} have that"
    return ""


def _nodes(profile, partition):
    """Return cores, memory in MiB, GRES and state of a partition's nodes, as sinfo's words."""
    told = slurm.ask(["sinfo", "-h", "-N", "-p", partition, "-o", "%c|%m|%G|%t"], slurm.clusters_of(profile))
    return [line.split("|") for line in (told or "").splitlines() if line.count("|") == 3]


def remarks(profile):
    """Return what holds a job up until an administrator acts, as text; '' for nothing. It may be queued."""
    partition = _partition(profile)
    name = partition.get("PartitionName", "")
    if partition.get("State", "UP") != "UP":
        return f"partition {name} is {partition['State']}: the job will wait until it is up"
    states = sorted({node[3] for node in _nodes(profile, name)}) if name else []
    if states and not any(state.startswith(GOOD_NODES) for state in states):
        return f"all nodes of partition {name} are {', '.join(states)}: the job will wait until one comes back"
    return ""


def gpus(text):
    """Return how many GPUs a node's GRES text such as ``gpu:a100:4(S:0-1),nvme:1`` names."""
    words = [word.split(":") for word in re.sub(r"\([^)]*\)", "", text).split(",")]
    return sum(int(kind[-1]) if kind and kind[-1].isdigit() else 1 for name, *kind in words if name == "gpu")
