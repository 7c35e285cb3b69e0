"""What a job asks of a cluster, read from a TOML file."""

import dataclasses
import difflib
import math
import re
import shlex
import types
import typing
from pathlib import Path

from galaxycgan.errors import UserError
from galaxycgan.resources import find


@dataclasses.dataclass(frozen=True)
class Profile:
    """Resources of one job. What stays None is left to the cluster's defaults.

    Attributes
    ----------
    clusters, partition, account, qos, constraint : str
        As sbatch takes them; `clusters` where several share a login node, and sbatch needs the name.
    nodes, tasks_per_node : int
        Nodes, and processes on each.
    gpus_per_node : int
    gres : str
        Instead of `gpus_per_node` where the cluster needs it, such as ``gpu:a100:1``.
    cpus_per_task : int
    mem_gb : float
        Memory of a node in GiB.
    time_minutes : int
        Limit; a job that reaches it saves, is queued again and goes on.
    signal_delay_s : int
        Seconds before the limit at which the job is signalled to save.
    array_parallelism : int
        Elements of a job array that run at once.
    container : str
        Image in which Python runs, by ``apptainer exec`` (``--nv`` where GPUs are asked for).
    container_args : tuple of str
        Further arguments of ``apptainer exec``, such as ``--bind=/scratch``.
    python : str
        Command that starts Python on the node or in the container, such as ``/path/to/venv/bin/python``.
    modules, setup : tuple of str
        ``module load`` arguments and shell lines, run on the node before Python.
    srun_args : tuple of str
        Further arguments of srun.
    additional : dict
        Further sbatch options: ``mail-type = "END"`` becomes ``--mail-type=END``, ``exclusive = true`` ``--exclusive``.
    """

    clusters: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int | None = None
    gres: str | None = None
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    time_minutes: int = 60
    signal_delay_s: int = 120
    array_parallelism: int = 64
    container: str | None = None
    container_args: tuple[str, ...] = ()
    python: str | None = None
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    srun_args: tuple[str, ...] = ()
    additional: dict[str, str | int | float | bool] = dataclasses.field(default_factory=dict)

    def command(self):
        """Return the command that starts Python on the node; None for the Python that submits."""
        if not self.container:
            return self.python
        gpus = ["--nv"] if self.gpus_per_node or "gpu" in (self.gres or "") else []
        words = ["apptainer", "exec", *gpus, *self.container_args, self.container]
        return f"{shlex.join(words)} {self.python or 'python'}"

    def asked(self):
        """Return what differs from asking nothing, and the time limit."""
        values = dataclasses.asdict(self)
        blank = dataclasses.asdict(Profile())
        return {k: v for k, v in values.items() if v != blank[k] or k == "time_minutes"}


def load_profile(text):
    """Read a profile by path or name; an empty text asks nothing but the time limit.

    Returns
    -------
    Profile, str
        And the path that it was read from, '' for none.

    Raises
    ------
    UserError
        For a file that is not TOML, an unknown key, a value of the wrong kind, or resources that contradict each other.
    """
    if not text:
        return Profile(), ""
    import tomllib  # only here: --help and --dry-run count milliseconds

    path = find("profile", text)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    kinds = typing.get_type_hints(Profile)
    for key, value in values.items():
        _check(path, key, value, kinds)
    profile = Profile(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    _check_together(path, profile)
    return profile, str(path)


def _check(path, key, value, kinds):
    """Refuse a key that is not known or a value of another kind."""
    if key not in kinds:
        near = difflib.get_close_matches(key, kinds, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{path}: unknown key {key!r}{hint} Valid keys: {', '.join(kinds)}".replace("?;", "?"))
    wanted = kinds[key]
    if typing.get_origin(wanted) is tuple:
        right, name = isinstance(value, list) and all(isinstance(v, str) for v in value), "a list of texts"
    elif typing.get_origin(wanted) is dict:
        right = isinstance(value, dict) and all(isinstance(v, (str, int, float)) for v in value.values())
        right = right and all(re.fullmatch(r"[A-Za-z][\w-]*", word) for word in value)
        name = "a table of options' names, without dashes before them, and texts, numbers, true or false"
    else:
        options = typing.get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
        kind = next(option for option in options if option is not type(None))
        right = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        least = 1 / 1024 if kind is float else 0 if key == "gpus_per_node" else 1  # of mem_gb Slurm takes megabytes
        right = right and (bool(value.strip()) if kind is str else least <= value < math.inf)
        name = {str: "a text, and not an empty one", int: "a whole number above 0", float: "a number above 0.001"}[kind]
    if not right:
        raise UserError(f"{path}: {key} = {value!r} must be {name}")


def _check_together(path, profile):
    """Refuse values that contradict each other or that no stage can use."""
    if profile.gres and profile.gpus_per_node:
        raise UserError(f"{path}: gpus_per_node and gres both ask for GPUs; keep one of them")
    if profile.signal_delay_s >= 60 * profile.time_minutes:
        raise UserError(
            f"{path}: signal_delay_s = {profile.signal_delay_s} is no less than time_minutes = {profile.time_minutes}; "
            "the job would be asked to stop before it starts"
        )
    if named := {"clusters", "cluster"} & set(profile.additional):
        raise UserError(f"{path}: additional.{named.pop()}: write clusters above [additional], beside partition")
    if profile.container and not Path(profile.container).exists():
        raise UserError(f"{path}: container = {profile.container!r}: no such file")
    if profile.container_args and not profile.container:
        raise UserError(f"{path}: container_args without container")
