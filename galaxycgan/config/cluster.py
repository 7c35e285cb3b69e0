"""Options of jobs: submitting, following and stopping them, pipelines."""

import dataclasses

from galaxycgan.config.option import Options, option


@dataclasses.dataclass(frozen=True)
class Status(Options):
    """Say where submitted jobs stand."""

    runs: tuple[str, ...] = option(
        (), "run directories, arrays or pipelines; none: all in runs/ and catalogs/", positional=True
    )
    watch: bool = option(False, "look again every few seconds until all have ended")
    every: float = option(5.0, "seconds between looks of --watch", least=0.1)


@dataclasses.dataclass(frozen=True)
class Logs(Options):
    """Print what a submitted job wrote."""

    run: str = option("", "run directory, or an array or pipeline: the last lines of each of its jobs", positional=True)
    lines: int = option(0, "only so many last lines of each job; 0: all, of arrays and pipelines 10", least=1)


@dataclasses.dataclass(frozen=True)
class Cancel(Options):
    """Stop submitted jobs; submit them again to resume."""

    runs: tuple[str, ...] = option((), "run directories, arrays or pipelines", positional=True)


@dataclasses.dataclass(frozen=True)
class Pipeline(Options):
    """Run the stages of one recipe, each after those whose results it reads."""

    recipe: str = option("demo", "pipeline: a path, or a name among slurm/pipelines/*.toml")
    run: str = option("", "directory for all results; empty: as the recipe says, else runs/NAME")
    overwrite: bool = option(False, "make everything anew")


@dataclasses.dataclass(frozen=True)
class Submit(Options):
    """Options of ``python -m galaxycgan.submit STAGE`` beside the stage's own."""

    cluster: str = option(
        "auto",
        "where: slurm, local (processes of this machine), debug (in this process); auto: slurm where it answers",
        choices=("auto", "slurm", "local", "debug"),
    )
    profile: str = option("", "cluster profile: a path, or a name among slurm/profiles/*.toml")
    array: tuple[str, ...] = option(
        (), "OPTION=VALUE,VALUE or OPTION=0..9: one job for each value; repeat it for the product, as in"
        " --array seed=0,1,2 --array lr=1e-4,4e-4"
    )  # fmt: skip
    max_jobs: int = option(
        0, "jobs of an array or pipeline at once; 0: the profile's array_parallelism, 1 on local", least=1
    )
    changed: str = option(
        "refuse",
        "code or input that has changed when the job starts: refuse to start, or accept",
        choices=("refuse", "accept"),
    )
    dry_run: bool = option(False, "print what would be submitted and do nothing")
    check: bool = option(False, "ask Slurm whether it would take the job and ever start it; submit nothing")
    wait: bool = option(False, "follow the job and return its exit status")
