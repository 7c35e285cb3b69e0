"""Every command and its options, as frozen dataclasses. Standard library only, so that --help and --dry-run are quick.

A command is one dataclass: its docstring is its help, its fields are its options. `COMMANDS` maps the command's name to
the dataclass and to the function that does it, which is imported only when it runs and is called as
``function(config, context)``.
"""

import importlib

from galaxycgan.config.catalogs import Convert, Export, Info, Merge, Mock, Select, Verify
from galaxycgan.config.classifier import Classify, Study, TrainClassifier
from galaxycgan.config.cluster import Cancel, Logs, Pipeline, Status, Submit  # noqa: F401 (the other door's)
from galaxycgan.config.evaluation import Bench, Compare, Evaluate
from galaxycgan.config.gan import Generate, Inject, Regenerate, TrainGan
from galaxycgan.config.option import refusal  # noqa: F401 (of values that come one by one: arrays, recipes)

#: name -> (options, "module:function")
COMMANDS = {
    "mock": (Mock, "galaxycgan.mock.survey:make_survey"),
    "convert": (Convert, "galaxycgan.catalogs.convert.convert:convert"),
    "info": (Info, "galaxycgan.catalogs.check.info:info"),
    "verify": (Verify, "galaxycgan.catalogs.check.verify:verify"),
    "merge": (Merge, "galaxycgan.catalogs.derive.merge:merge"),
    "select": (Select, "galaxycgan.catalogs.derive.select:select"),
    "export": (Export, "galaxycgan.catalogs.export.export:export"),
    "train_gan": (TrainGan, "galaxycgan.training.train_gan:train_gan"),
    "generate": (Generate, "galaxycgan.generation.generate:generate"),
    "regenerate": (Regenerate, "galaxycgan.generation.regenerate:regenerate"),
    "inject": (Inject, "galaxycgan.generation.inject:inject"),
    "train_classifier": (TrainClassifier, "galaxycgan.training.train_classifier:train_classifier"),
    "study": (Study, "galaxycgan.training.study:study"),
    "classify": (Classify, "galaxycgan.generation.classify:classify"),
    "evaluate": (Evaluate, "galaxycgan.evaluation.evaluate:evaluate"),
    "compare": (Compare, "galaxycgan.evaluation.compare:compare_runs"),
    "bench": (Bench, "galaxycgan.bench.bench:bench"),
    "status": (Status, "galaxycgan.cluster.status:status"),
    "logs": (Logs, "galaxycgan.cluster.status:logs"),
    "cancel": (Cancel, "galaxycgan.cluster.status:cancel"),
    "pipeline": (Pipeline, "galaxycgan.submit:pipeline"),
}

#: Commands with a command line of their own: name -> ("module:function", summary). The function takes the rest of the
#: command line and the program's name, and returns the exit code.
DOORS = {"submit": ("galaxycgan.submit:main", "Hand a stage, an array or a pipeline to a cluster: submit STAGE --help")}

#: The commands that `galaxycgan.submit` dispatches, with the option that names the directory of each one's result.
STAGES = {
    "convert": "out",
    "train_gan": "run",
    "generate": "out",
    "train_classifier": "run",
    "study": "run",
    "classify": "out",
    "evaluate": "out",
}


def load(name):
    """Import and return the function that does a command."""
    module, _, function = (DOORS[name][0] if name in DOORS else COMMANDS[name][1]).partition(":")
    return getattr(importlib.import_module(module), function)
