"""Pipelines: a recipe of stages that read each other's results becomes a plan. Starts nothing by itself.

A recipe is TOML: ``[pipeline]`` with the directory of the results (``run``) and a default ``profile``, then one table
for each stage, in order. A table's keys are the stage's options; a text ``@NAME`` means the result of the table NAME
before it, ``@NAME/FILE`` a file in that directory.
"""

import dataclasses
from pathlib import Path

from galaxycgan import config
from galaxycgan.cluster import stages
from galaxycgan.cluster.plan import Batch, Plan, Task, check_values, option_value, product
from galaxycgan.cluster.profiles import load_profile
from galaxycgan.errors import UserError
from galaxycgan.resources import find

#: Keys of [pipeline], and those of a stage's table beside the stage's options.
HEAD_KEYS = ("run", "profile")
OWN_KEYS = ("stage", "profile", "after", "array")

#: Suffix of the file that a stage makes.
SUFFIXES = {"convert": ".h5", "classify": ".fits"}


def read_pipeline(options, profile):
    """Read a recipe.

    Parameters
    ----------
    options : config.Pipeline
    profile : str
        Cluster profile of the stages that name none, in place of the recipe's.

    Returns
    -------
    Plan

    Raises
    ------
    UserError
        For a file that is not TOML, unknown keys or values, and references to what is not there.
    """
    import tomllib

    path = find("pipeline", options.recipe)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    head = tables.pop("pipeline", {})
    _refuse_unknown(path, "pipeline", head, HEAD_KEYS)
    run = Path(options.run or head.get("run") or Path("runs") / path.stem)
    reader = _Reader(path, run, profile or head.get("profile", ""), options.overwrite)
    for name, table in tables.items():
        reader.read(name, table)
    if not reader.batches:
        raise UserError(f"{path}: no stage; write a table such as [train_gan]")
    return Plan("pipeline", path.stem, run, tuple(reader.batches))


def _refuse_unknown(path, name, table, known):
    if not isinstance(table, dict):
        raise UserError(f"{path}: {name} must be a table: [{name}]")
    if unknown := [key for key in table if key not in known]:
        raise UserError(f"{path}: [{name}] has no key {unknown[0]!r}; it has: {', '.join(known)}")


class _Reader:
    """Turns one table after the other into a `Batch`."""

    def __init__(self, path, run, profile, overwrite):
        self.path, self.run, self.profile, self.overwrite = path, run, profile, overwrite
        self.batches = []

    def read(self, name, table):
        """Read one stage's table."""
        where = f"{self.path}: [{name}]"
        if not isinstance(table, dict):
            raise UserError(f"{self.path}: {name} stands outside a table; put it under [pipeline] or a stage")
        stage = table.get("stage", name)
        if stage not in config.STAGES:
            raise UserError(f"{where}: no stage {stage!r}; say stage = one of {', '.join(config.STAGES)}")
        used = set(_texts(table.get("after", []), f"{where}: after"))
        given, promised = {}, set()
        for key, value in table.items():
            if key in OWN_KEYS:
                continue
            key = key.replace("-", "_")
            given[key], parents = self._value(stage, key, value, where)
            used |= parents
            promised |= {key} if parents else set()
        try:
            options = self._options(stage, name, given)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        tasks, promised = self._tasks(stage, name, table.get("array", {}), options, promised, used, where)
        known = [batch.name for batch in self.batches]
        if missing := [other for other in sorted(used) if other not in known]:
            raise UserError(f"{where}: there is no [{missing[0]}] before it; there are: {', '.join(known) or 'none'}")
        profile, profile_path = load_profile(table.get("profile", self.profile))
        tasks = [dataclasses.replace(task, promised=frozenset(promised)) for task in tasks]
        after = tuple(other for other in known if other in used)
        self.batches.append(Batch(name, tuple(tasks), profile, profile_path, after))

    def _options(self, stage, name, given):
        """Return the stage's options, its result going to the pipeline's directory unless the recipe says where."""
        place = self.run / f"{name}{SUFFIXES.get(stage, '')}"
        start = {config.STAGES[stage]: str(place), "overwrite": self.overwrite}
        return stages.resolve(stage, config.COMMANDS[stage][0](**start | given))

    def _tasks(self, stage, name, array, options, promised, used, where):
        """Return the tasks of a table, and the options that name earlier results."""
        if not isinstance(array, dict):
            raise UserError(f"{where}: array must be a table, such as array = {{ seed = [0, 1, 2] }}")
        if not array:
            return [Task(name, stage, options)], promised
        varied = {}
        for key, values in array.items():
            key = key.replace("-", "_")
            values = values if isinstance(values, list) else [values]
            found = [self._value(stage, key, value, where, several=True) for value in values]
            texts = [text for value, _ in found for text in (value if isinstance(value, list) else [value])]
            varied[key] = check_values(stage, key, texts, f"{where}: array")
            parents = set().union(*(names for _, names in found))
            used |= parents
            promised = promised | ({key} if parents else set())
        tasks, _ = product(stage, options, varied)
        return [dataclasses.replace(task, name=f"{name}/{task.name}") for task in tasks], promised

    def _value(self, stage, key, value, where, several=False):
        """Return an option's value and the names of the tables whose results it means."""
        if not (isinstance(value, str) and value.startswith("@")):
            return option_value(stage, key, value, where), set()
        name, _, tail = value[1:].partition("/")
        batch = next((batch for batch in self.batches if batch.name == name), None)
        if batch is None:
            known = ", ".join(batch.name for batch in self.batches) or "none"
            raise UserError(f"{where}: {key} = {value!r}: there is no [{name}] before it; there are: {known}")
        results = {task.name.partition("/")[2]: task.result for task in batch.tasks}
        element, _, rest = tail.partition("/")
        if len(set(results.values())) == 1 and element not in {*results, "*"} - {""}:
            return str(batch.tasks[0].result / tail), {name}
        tail = rest
        if several and element == "*":
            return [str(result / tail) for result in results.values()], {name}
        if element not in results:
            names = ", ".join(f"@{name}/{other}" for other in results)
            raise UserError(f"{where}: {key} = {value!r}: [{name}] is an array; name one of its results: {names}")
        return str(results[element] / tail), {name}


def _texts(value, where):
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{where} must be a list of stage names")
    return texts
