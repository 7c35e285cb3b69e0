"""Options of the classifier, and of the study of whether generated galaxies help it."""

import dataclasses

from galaxycgan.config.option import SEEDS, Options, option

#: What a classifier looks for by default: dwarf galaxies nearby.
DWARFS = "8 < log_mass < 9 and photo_z < 0.15"
#: What may be added to a classifier's training images.
AUGMENT = ("none", "standard", "gan", "standard+gan")
#: Generated galaxies of a classifier's epoch where no share is asked for: so many, but from the least to the most for
#: each real one, and never more than the largest number. Few real galaxies are learned by heart where generated ones
#: don't outnumber them; many real ones know more than a GAN has learned of them.
SYNTHETIC, LEAST_FOR_EACH, MOST_FOR_EACH, MOST_SYNTHETIC = 1200, 4, 9, 2000
#: The same in words.
SYNTHETIC_BESIDE = (
    f"{SYNTHETIC:,} generated galaxies, but {LEAST_FOR_EACH} to {MOST_FOR_EACH} for each real one and "
    f"{MOST_SYNTHETIC:,} at most"
)
#: A classifier's epochs where no number is asked for: those that show so many images, real ones alone or with generated
#: ones, which are new each time; but so many epochs at least and at most.
REAL_IMAGES, ALL_IMAGES, LEAST_EPOCHS, MOST_EPOCHS = 180_000, 280_000, 40, 150
#: What a study's classifiers are judged on.
STUDY_TEST = "the store of another survey that all classifiers are judged on, 5,000 galaxies or more"


@dataclasses.dataclass(frozen=True)
class TrainClassifier(Options):
    """Train a classifier: is this cutout a dwarf galaxy?"""

    store: str = option("", "store to train on; empty: the one in catalogs/ that is not synthetic")
    run: str = option("runs/train_classifier", "run directory: model, metrics, report.html")
    test: str = option("", "store of another survey to judge on as well, all its labelled galaxies; empty: none")
    augment: str = option(
        "standard",
        "what is added to the training images: standard: flips, turns and shifts by up to 2 pixels; gan: generated"
        " galaxies, fresh for every epoch",
        choices=AUGMENT,
    )
    gan: str = option(
        "", "run directory of the GAN for --augment gan, or pretrained: the one of the package; empty: runs/train_gan"
    )  # fmt: skip
    synthetic_share: float = option(
        0.0,
        f"share of generated galaxies in an epoch; 0.5: as many as real ones, 1: no real ones; 0: {SYNTHETIC_BESIDE}",
        least=0,
        most=1,
    )
    synthetic_filter: float = option(
        0.0,
        "leave out this share of generated galaxies, those whose labels a regressor trained on real ones doubts most",
        least=0,
        below=1,
    )
    target: str = option(DWARFS, "what counts as positive, over catalog columns")
    preset: str = option(
        "cnn2018",
        "network: cnn2018 (the 2018 architecture) or base (residual blocks beside measured fluxes, colours, sizes)",
        choices=("cnn2018", "base"),
    )
    class_weight: str = option(
        "none", "balanced: both kinds count alike in the loss, for rare targets; probabilities stay honest",
        choices=("none", "balanced"),
    )  # fmt: skip
    purity: float = option(
        0.0, "choose the threshold for this purity on validation galaxies; 0: for the best F1", least=0, most=1
    )
    fraction: float = option(
        1.0, "learn from this share of the training split; smaller shares lie within larger ones. A GAN must have"
        " learned from exactly these galaxies",
        above=0, most=1,
    )  # fmt: skip
    draw: int = option(0, "which galaxies make that share: another number, other galaxies", least=0)
    fold: int = option(
        -1, "cross-validation: test on this fold of training and validation split, from 0; -1: none", least=0
    )
    folds: int = option(5, "number of folds; a GAN must have been trained with the same --fold and --folds", least=2)
    epochs: int = option(
        0, "epochs, over which the learning rate falls to 0; 0: those that show "
        f"{REAL_IMAGES:,} images, {ALL_IMAGES:,} with generated ones, from {LEAST_EPOCHS} to {MOST_EPOCHS}",
        least=1,
    )  # fmt: skip
    patience: int = option(0, "stop after so many epochs without a better validation log loss; 0: never", least=1)
    batch: int = option(64, "images in a batch", least=2)
    lr: float = option(0.001, "learning rate of Adam", above=0)
    seed: int = option(0, "seed of weights, order, augmentation and generated galaxies", **SEEDS)
    threads: int = option(0, "CPU threads; 0: one per core that the job may use", least=1)
    device: str = option("auto", "auto, cpu or cuda")
    overwrite: bool = option(False, "start again from nothing")


@dataclasses.dataclass(frozen=True)
class Study(Options):
    """Do generated galaxies help the classifier? GANs and classifiers over seeds and shares of the real galaxies."""

    store: str = option("", "store to train on; empty: the one in catalogs/ that is not synthetic")
    test: str = option("", STUDY_TEST)
    run: str = option("runs/study", "directory for all runs, the table, the plot and report.html")
    target: str = option(DWARFS, "what counts as positive, over catalog columns")
    seeds: int = option(5, "GANs and classifiers of each kind at each share", least=1)
    fractions: str = option("0.1,0.25,1", "shares of the training galaxies that both GAN and classifier learn from")
    augment: str = option(
        "standard,standard+gan",
        "ways of training to compare, of none, standard, gan, standard+gan; the network of 2018 without and with"
        " standard augmentation, and training on generated galaxies alone, are added",
    )
    classifier: str = option("cnn2018", "network of the classifiers", choices=("cnn2018", "base"))
    synthetic_share: float = option(
        0.0,
        f"share of generated galaxies in an epoch; 0.5: as many as real ones; 0: {SYNTHETIC_BESIDE}",
        least=0,
        below=1,
    )
    preset: str = option("tiny", "size of the GANs", choices=("tiny", "base", "large"))
    gan_images: int = option(100_000, "real images to show each GAN in all", least=1)
    epochs: int = option(0, "of a classifier, as in train_classifier", least=1)
    patience: int = option(0, "of a classifier, as in train_classifier", least=1)
    parts: int = option(1, "share the work among so many jobs", least=1)
    part: int = option(
        -1,
        "do this part of it, from 0: for array jobs; -1: all. The job that ends last writes the table",
        least=0,
    )
    threads: int = option(0, "CPU threads; 0: one per core that the job may use", least=1)
    device: str = option("auto", "auto, cpu or cuda")
    overwrite: bool = option(False, "start again from nothing")


@dataclasses.dataclass(frozen=True)
class Classify(Options):
    """Give every galaxy of a store the classifier's calibrated probability and class, as a FITS table."""

    model: str = option("runs/train_classifier", "run directory of a trained classifier")
    store: str = option("", "store to classify; empty: the one in catalogs/ that is not synthetic")
    out: str = option("catalogs/classified.fits", "FITS table to write")
    threads: int = option(0, "CPU threads; 0: one per core that the job may use", least=1)
    device: str = option("auto", "auto, cpu or cuda")
    overwrite: bool = option(False, "replace the file")
