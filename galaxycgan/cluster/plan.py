"""What is submitted together: tasks in batches that follow each other; how one stage becomes many. Starts nothing."""

import collections
import dataclasses
import difflib
import functools
import itertools
import re
import typing
from pathlib import Path

from galaxycgan import config
from galaxycgan.cluster import stages
from galaxycgan.cluster.profiles import Profile
from galaxycgan.errors import UserError, first_few

#: Options that say where a result goes or whether to start anew: no array varies them.
FIXED = {"overwrite"}

#: stage -> where the results of an array go whose varied option would name the result's place.
PLACES = {"generate": ("recipe", "catalogs/generated"), "evaluate": ("gan", "runs/evaluate")}


@dataclasses.dataclass(frozen=True)
class Task:
    """One stage with all its options.

    Attributes
    ----------
    name : str
        Unique in its plan: ``train_gan``, ``seed=0,lr=0.0001`` or ``train_gan/seed=0``.
    stage : str
        Key of `config.STAGES`.
    options : dataclass
        The stage's own, resolved.
    promised : frozenset of str
        The options that name results of earlier batches, which need not be there yet.
    """

    name: str
    stage: str
    options: object
    promised: frozenset = frozenset()

    @property
    def result(self):
        """Where the result goes: a directory or a file."""
        return stages.result_path(self.stage, self.options)

    @property
    def job_path(self):
        """The job directory."""
        return stages.job_path(self.stage, self.options)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Tasks of one stage that are submitted as one job array.

    Attributes
    ----------
    name : str
    tasks : tuple of Task
    profile : Profile
    profile_path : str
    after : tuple of str
        Names of the batches that must be done before.
    """

    name: str
    tasks: tuple
    profile: Profile = Profile()
    profile_path: str = ""
    after: tuple = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one command submits.

    Attributes
    ----------
    kind : {'stage', 'array', 'pipeline'}
    name : str
        For the user.
    directory : Path or None
        Where the group's own records go; None for a single stage.
    batches : tuple of Batch
        Each after those that it depends on.
    """

    kind: str
    name: str
    directory: Path | None
    batches: tuple

    @property
    def tasks(self):
        """All tasks, in order."""
        return [task for batch in self.batches for task in batch.tasks]

    def check(self):
        """Refuse tasks that would share a job directory, and stages that can't run as several processes."""
        seen = {}
        for task in self.tasks:
            if (other := seen.setdefault(task.job_path, task)) is not task:
                raise UserError(f"{task.name} and {other.name} would both write {task.result}")
        for batch in self.batches:
            processes = batch.profile.nodes * batch.profile.tasks_per_node
            stage = batch.tasks[0].stage
            if processes > 1 and stage not in stages.SEVERAL_RANKS:
                raise UserError(
                    f"{batch.profile_path}: nodes = {batch.profile.nodes}, tasks_per_node = "
                    f"{batch.profile.tasks_per_node}: {stage} runs as one process; set both to 1"
                )
        return self


def parse_array(stage, texts):
    """Read ``--array k=v1,v2`` options.

    Parameters
    ----------
    stage : str
    texts : sequence of str

    Returns
    -------
    dict of str to tuple
        Option -> its values, in order.

    Raises
    ------
    UserError
        For an option that the stage doesn't have or that can't vary, and for values that are wrong or there twice.
    """
    varied = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not values.strip():
            raise UserError(f"--array {text}: write OPTION=VALUE,VALUE such as --array seed=0,1,2 or --array seed=0..9")
        if name in varied:
            raise UserError(f"--array {text}: {name} is there twice; give all its values at once")
        varied[name] = check_values(stage, name, _split(values), f"--array {text}")
    return varied


def _split(text):
    """Return the values of a list, ranges of whole numbers such as 0..9 spelled out."""
    values = []
    for word in text.split(","):
        if found := re.fullmatch(r"\s*(\d+)\.\.(\d+)\s*", word):
            values += [str(number) for number in range(int(found[1]), int(found[2]) + 1)]
        else:
            values.append(word.strip())
    return values


def check_values(stage, name, values, where):
    """Return the values of a varied option in its own type; refuse what can't be."""
    result = config.STAGES[stage]
    if name == result or name in FIXED:
        raise UserError(f"{where}: --{name} can't vary; every element gets its own {result} by the options that do")
    found = tuple(option_value(stage, name, value, where) for value in values)
    if not found:
        raise UserError(f"{where}: no values for {name}")
    if twice := _twice(found):
        raise UserError(f"{where}: {name} has the value {twice[0]} twice")
    return found


def _twice(values):
    """Return the values that are there several times."""
    return [value for value, times in collections.Counter(values).items() if times > 1]


def option_value(stage, name, value, where):
    """Return one option's value, given as text or as TOML value, in the option's type.

    Raises
    ------
    UserError
        Where the stage has no such option, or the value is of another kind or not one that the option may have.
    """
    fields, kinds = _options_of(stage)
    if name not in fields:
        near = difflib.get_close_matches(name, fields, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{where}: {stage} has no option {name}{hint} It has: {', '.join(fields)}".replace("?;", "?"))
    kind = kinds[name]
    right = _converted(value, kind)
    if right is None:
        raise UserError(f"{where}: {name} = {value!r} must be {_WORDS[kind]}")
    if words := config.refusal(fields[name], right):
        raise UserError(f"{where}: {name} = {right!r} {words}")
    return right


@functools.cache
def _options_of(stage):
    """Return the fields of a stage's options, and their types, by name."""
    config_class = config.COMMANDS[stage][0]
    return {item.name: item for item in dataclasses.fields(config_class)}, typing.get_type_hints(config_class)


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _converted(value, kind):
    """Return a value in a type, None where it has none."""
    if kind is bool:
        return {"true": True, "false": False}.get(str(value).lower())
    if isinstance(value, bool) or (kind is str and not isinstance(value, str)):
        return None
    if kind is int and isinstance(value, float):
        return None
    try:
        return kind(value)
    except (TypeError, ValueError):
        return None


def product(stage, options, varied, promised=()):
    """Return the tasks of an array: the product of the values of the varied options.

    Every element's result is named by what varies: ``RUN/seed=0,lr=0.0001``, or ``STORE/seed=0.h5`` for ``STORE.h5``.
    Elements that make parts of one result (`stages.PARTS`) keep it.

    Returns
    -------
    list of Task, Path
        And the directory that holds the results.
    """
    parts = stages.PARTS.get(stage, ())
    place = _place(stage, options, varied)
    tasks = []
    for values in itertools.product(*varied.values()):
        chosen = dict(zip(varied, values, strict=True))
        naming = {key: value for key, value in chosen.items() if key not in parts}
        element = dataclasses.replace(options, **chosen)
        if naming:
            element = dataclasses.replace(element, **{config.STAGES[stage]: _element(stage, place, label(naming))})
        element = stages.resolve(stage, element)
        tasks.append(Task(label(chosen), stage, element, frozenset(promised)))
    if twice := _twice([task.name for task in tasks]):
        raise UserError(f"--array: two elements would be called {twice[0]}; give their files names that differ more")
    directory = place.with_suffix("") if stage in stages.FILE_RESULTS else place
    return tasks, directory


def _place(stage, options, varied):
    """Return where the result of a stage goes whose options vary."""
    name = config.STAGES[stage]
    naming, instead = PLACES.get(stage, ("", ""))
    if naming in varied and not getattr(options, name):
        return Path(instead)
    return stages.result_path(stage, stages.resolve(stage, options), may_vary=True)


def _element(stage, place, name):
    if stage in stages.FILE_RESULTS:
        return str(place.with_suffix("") / f"{name}{place.suffix}")
    return str(place / name)


def label(chosen):
    """Return a file name that tells options: ``seed=0,lr=0.0001``."""
    words = []
    for key, value in chosen.items():
        text = f"{value:g}" if isinstance(value, float) else str(value)
        words.append(f"{key}={re.sub(r'[^A-Za-z0-9_.+=-]+', '-', text).strip('-.') or 'none'}")
    name = ",".join(words)
    if len(name) > 200:
        raise UserError(
            f"--array: the name {first_few([name[:60]])}... of an element is longer than a file name may be"
        )
    return name
