"""What a submission needs of each stage: where its result goes, which files it reads."""

import dataclasses
from pathlib import Path

from galaxycgan import config, resume
from galaxycgan.checks import check_given, check_part
from galaxycgan.cluster import fingerprints
from galaxycgan.config.classifier import STUDY_TEST
from galaxycgan.errors import UserError
from galaxycgan.generation.names import CATALOG, shard_path
from galaxycgan.resources import find, gan_directory

#: Stages whose result is one file; the others fill a directory.
FILE_RESULTS = {"convert", "classify"}

#: Stages that save as they go. Their --overwrite clears the run directory when the job first starts, and only then; the
#: others replace the old result by the new one at their end.
KEEP_PROGRESS = {"train_gan", "train_classifier", "study"}

#: stage -> options whose values make parts of one result: elements of an array over them share the result's place.
PARTS = {"generate": ("shard",), "study": ("part",)}

#: Stages that run as several processes (ranks), on one node or more.
SEVERAL_RANKS = frozenset({"train_gan"})

#: stage -> patterns of the files below its directory that are its result; others have theirs directly in it.
RESULT_FILES = {"study": ("*", "fraction=*/seed=*/done.json")}

#: Options that say how a stage runs, not what it makes: they may change when it is submitted again.
MANNER = {"threads", "device", "checkpoint_every", "overwrite"}

#: stage -> the options that name what it reads.
INPUTS = {
    "convert": ("ids", "images", "table"),
    "train_gan": ("store",),
    "generate": ("gan", "recipe", "table"),
    "train_classifier": ("store", "gan", "test"),
    "study": ("store", "test"),
    "classify": ("model", "store"),
    "evaluate": ("real", "synthetic", "gan"),
}

#: stage -> what an empty option means, where that is there; elsewhere it means nothing.
DEFAULTS = {"convert": {"ids": "data/HSC_ids.npy", "table": "data/2018_02_23-all_objects.csv"}}

#: Options that name a store, and those that name a run directory, with the stage that makes it.
STORES = {"store", "real"}
RUNS = {"gan": "train_gan", "model": "train_classifier"}


def resolve(stage, options):
    """Fill in the options whose default follows from others.

    Parameters
    ----------
    stage : str
    options : dataclass
        The stage's own.

    Returns
    -------
    dataclass
        With the place of the result and, for a classifier that learns from one, the GAN.
    """
    if stage == "generate" and not options.out:
        name = find("recipe", options.recipe).stem
        return dataclasses.replace(options, out=str(Path("catalogs/generated") / name))
    if stage == "evaluate" and not options.out:
        place = Path(options.synthetic).parent if options.synthetic else Path(options.gan)
        return dataclasses.replace(options, out=str(place / "evaluation"))
    if stage == "train_classifier" and "gan" in options.augment and not options.gan:
        return dataclasses.replace(options, gan=config.TrainGan().run)
    return options


def result_path(stage, options, may_vary=False):
    """Return where a stage's result goes: a directory, or a file for `FILE_RESULTS`.

    With `may_vary` the place is that of an array, below which the results of its elements go.
    """
    name = config.STAGES[stage]
    path = Path(getattr(options, name))
    if str(path) in ("", "."):
        raise UserError(f"--{name}: name a {'file' if stage in FILE_RESULTS else 'directory'} for the result")
    is_file = stage in FILE_RESULTS
    if not may_vary and path.exists() and path.is_dir() == is_file:
        kinds = ("file", "directory") if is_file else ("directory", "file")
        raise UserError(f"--{name} {path}: must be a {kinds[0]}, is a {kinds[1]}")
    return path


def is_there(stage, options):
    """Return whether a stage's result lies where it goes: a shard as itself, or merged into its catalog."""
    path = result_path(stage, options)
    if stage == "generate" and options.shard >= 0:
        shard = shard_path(path, options.shard, options.shards)
        return shard.exists() or (path / CATALOG).exists()
    return path.exists()


def result_marks(stage, options):
    """Return the marks of a stage's result as it lies there, for `fingerprints.changed` to compare.

    Of a result that several jobs make together only this is known: which files there must be. A shard is looked for
    by `is_there`, for it goes when its catalog is merged.
    """
    if stage == "generate" and options.shard >= 0:
        return {}
    return fingerprints.result_marks(
        result_path(stage, options), RESULT_FILES.get(stage, ("*",)), shared=bool(_part(stage, options))
    )


def job_path(stage, options):
    """Return the job directory of a stage: in the run directory, or beside the result file."""
    path = result_path(stage, options)
    place = path.with_name(path.name + ".job") if stage in FILE_RESULTS else path / "job"
    return place / ",".join(part) if (part := _part(stage, options)) else place


def _part(stage, options):
    """Return which part of a result a task makes, as words ``shard=3``; [] for the whole."""
    fields = {item.name: item for item in dataclasses.fields(options)}
    names = [name for name in PARTS.get(stage, ()) if name in fields]
    return [f"{name}={getattr(options, name)}" for name in names if getattr(options, name) != fields[name].default]


def inputs(stage, options, promised=()):
    """Return what a stage reads, by option; fails early where it isn't there.

    Parameters
    ----------
    stage : str
    options : dataclass
        The stage's own.
    promised : container of str
        Options that name what an earlier stage will make: left out.

    Returns
    -------
    dict of str to Path
        Without the store where it is left to be found in catalogs/.

    Raises
    ------
    UserError
        For a file or a run directory that doesn't exist, a recipe that has no such name, or a part that can't be.
    """
    for name in PARTS.get(stage, ()):
        check_part(options, name)
    found = {}
    for name in INPUTS[stage]:
        text = getattr(options, name)
        if name in promised or _needless(stage, name, options):
            continue
        if name == "recipe":
            found[name] = find("recipe", text)
        elif name in STORES and not text:
            found |= _only_store(name)
        elif name in RUNS:
            if text:
                found[name] = _run_directory(name, text)
        elif path := _file(name, text, DEFAULTS.get(stage, {}).get(name)):
            found[name] = path
    if stage == "study":
        check_given(options, "test", STUDY_TEST)
    if stage == "convert" and not options.bands and options.images.endswith(".npy"):
        raise UserError("--bands is required, such as --bands g,r,i: the files don't say the order of the bands")
    return found


def _needless(stage, name, options):
    """Return whether a stage does without an input that isn't there: a catalog may be judged without its GAN."""
    return (stage, name) == ("evaluate", "gan") and bool(options.synthetic) and not gan_directory(options.gan).exists()


def _file(name, text, default):
    """Return a file that is read, None where an empty option means none."""
    if text and not Path(text).exists():
        raise UserError(f"{text}: no such file (--{name})")
    path = Path(text or default or "")
    return path if path.exists() and (text or default) else None


def _only_store(name):
    """Return the one file that can be meant by an empty option; {} where the files must be opened to tell."""
    candidates = sorted(Path("catalogs").glob("*.h5"))
    if not candidates:
        raise UserError(f"no store catalogs/*.h5; make one with: galaxycgan convert, or name one with --{name}")
    return {name: candidates[0]} if len(candidates) == 1 else {}


def _run_directory(name, text):
    path = gan_directory(text) if name == "gan" else Path(text)
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"--{name} {text}: must be a run directory, is a file")
    raise UserError(f"{text}: no such run directory (--{name}); make it with: python -m galaxycgan.submit {RUNS[name]}")


def find_stores(stage, options):
    """Name the store that an empty option means, so that the job reads it whatever is put beside it meanwhile.

    Opens the candidates, and so imports what reads them.
    """
    empty = [name for name in INPUTS[stage] if name in STORES and not getattr(options, name)]
    if not empty:
        return options
    from galaxycgan.catalogs.store.store import find_store

    return dataclasses.replace(options, **{name: str(find_store("", f"--{name}")) for name in empty})


def check_stores(stage, options):
    """Refuse, as `find_stores` does, where an empty option may mean several stores; opens nothing elsewhere."""
    if len(list(Path("catalogs").glob("*.h5"))) > 1:
        find_stores(stage, options)


def keeps_progress(stage, options):
    """Return whether a stage that is stopped goes on where it was; shards that are whole are kept too.

    Parameters
    ----------
    stage : str
    options : dict
        The stage's own.
    """
    if stage == "generate":
        return options["shards"] > 1 and options["shard"] < 0 and not options["merge"]
    return stage in KEEP_PROGRESS


def differences(stage, earlier, wanted):
    """Return the options in which two requests for one result differ, as texts "--name: earlier there, wanted asked".

    A store that is still to be found (an empty option of a dry run) is no difference.
    """
    skipped = MANNER | {config.STAGES[stage]} | {name for name in STORES if wanted.get(name) == ""}
    names = {name: f"--{name.replace('_', '-')}" for name in wanted if name not in skipped}
    return resume.differences(*({words: each.get(name) for name, words in names.items()} for each in (earlier, wanted)))


def refuse_other_stage(stage, result, submission):
    """Raise `UserError` where a result belongs to another stage."""
    if submission["stage"] != stage:
        raise UserError(f"{result}: belongs to the stage {submission['stage']}; name another --{config.STAGES[stage]}")


def refuse_other_options(stage, result, submission, wanted):
    """Raise `UserError` where a result belongs to a request with other options."""
    if different := differences(stage, submission["config"], wanted):
        place = config.STAGES[stage]
        ways = "" if "overwrite" in wanted else f"give another --{place}, or remove {result}"
        raise resume.refusal(resume.other_request(result, different), place, ways)
