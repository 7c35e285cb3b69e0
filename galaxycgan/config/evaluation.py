"""Options of what tells how good and how fast something is."""

import dataclasses

from galaxycgan.config.classifier import DWARFS
from galaxycgan.config.option import SEEDS, Options, option


@dataclasses.dataclass(frozen=True)
class Evaluate(Options):
    """Compare generated galaxies with real ones that the generator never saw: metrics.json and report.html."""

    real: str = option("", "store of real galaxies; empty: the one in catalogs/ that is not synthetic")
    synthetic: str = option(
        "",
        "catalog to judge, store or FITS, at the labels that it has; empty: galaxies that --gan makes for real labels",
    )
    gan: str = option(
        "runs/train_gan", "run directory of a trained GAN; with --synthetic it counts where it made that catalog"
    )
    out: str = option("", "directory to write; empty: evaluation/ in the GAN's run directory, or beside the catalog")
    n: int = option(2000, "galaxies of each kind at most", least=8)
    seed: int = option(0, "seed of the synthetic draws and of the bootstrap", **SEEDS)
    threads: int = option(
        0, "CPU threads, and processes of the morphology; 0: one per core that the job may use", least=1
    )
    device: str = option("auto", "auto, cpu or cuda")
    quick: bool = option(False, "photometry, noise, labels and responses alone: no morphology, features, pictures")
    classifier: bool = option(
        False, "also teach a classifier by real and by generated galaxies and compare them on real ones; takes minutes"
    )
    target: str = option(
        DWARFS,
        "what --classifier looks for, over the columns that galaxies are made for",
    )
    overwrite: bool = option(False, "evaluate again where the directory holds another evaluation")


@dataclasses.dataclass(frozen=True)
class Compare(Options):
    """Put several evaluations side by side: a table, and a page with a plot."""

    runs: tuple[str, ...] = option((), "run directories, evaluation directories or metrics.json files", positional=True)
    out: str = option("", "HTML page to write; empty: the table alone")
    all: bool = option(False, "all metrics instead of those with a goal")
    overwrite: bool = option(False, "replace the page")


@dataclasses.dataclass(frozen=True)
class Bench(Options):
    """Measure speed, as ratios to a limit of this machine measured in the same run."""

    what: str = option(
        "", "convert, read, train or generate", choices=("convert", "read", "train", "generate"), positional=True
    )
    n: int = option(20_000, "number of galaxies, in the survey files that it makes or to generate", least=1)
    bands: str = option("g,r,i", "bands, in order")
    size: int = option(50, "side of the square images in pixels", least=1)
    batch: int = option(64, "images in a batch", least=1)
    repeat: int = option(5, "rounds; the best of each is reported, as other work only adds", least=1)
    seed: int = option(1, "seed of the pixels and of the order of reading", **SEEDS)
    gan: str = option("", "generate: run directory of a GAN; empty: an untrained one of --preset, which is as fast")
    preset: str = option("base", "train, generate: size of the networks", choices=("tiny", "base", "large"))
    images: str = option("both", "generate: as its own --images", choices=("both", "noisy", "noiseless", "none"))
    threads: int = option(0, "train, generate: CPU threads; 0: one per core that the job may use", least=1)
    device: str = option("auto", "train, generate: auto, cpu or cuda")
    dir: str = option(".", "directory on the disk to measure; all that is written there is removed again")
    out: str = option("", "JSON file for the figures; empty: none")
