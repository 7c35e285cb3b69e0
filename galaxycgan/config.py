"""Every command and its options, as frozen dataclasses. Standard library only, so that --help and --dry-run are quick.

A command is one dataclass: its docstring is its help, its fields are its options. `COMMANDS` maps the command's name to
the dataclass and to the function that does it, which is imported only when it runs and is called as
``function(config, context)``.
"""

import dataclasses
import importlib
from dataclasses import field

#: What a classifier looks for unless told otherwise: dwarf galaxies nearby.
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


def option(default, help, *, choices=None, positional=False):
    """Declare an option of a command; a field without it is a mistake."""
    return field(default=default, metadata={"help": help, "choices": choices, "positional": positional})


@dataclasses.dataclass(frozen=True)
class Mock:
    """Make an HSC-like survey with known truth, in the format of real survey files."""

    out: str = option("data", "directory for HSC_ids.npy, images.small.npy, the table and truth.csv")
    n: int = option(0, "number of objects with an image; 0: 1,866, with --table all its rows")
    seed: int = option(1, "seed of everything random")
    bands: str = option("g,r,i", "bands among g,r,i,z,y, in order")
    size: int = option(50, "side of the square images in pixels, 32 to 128")
    population: str = option(
        "dwarf-search",
        "dwarf-search: flux-limited and pre-selected for faint blue galaxies; flux-limited (both without --table)",
        choices=("dwarf-search", "flux-limited"),
    )
    limit: float = option(
        0.0,
        "faint limit, AB i: galaxies are drawn brighter, rows of --table with a fainter i are left out; 0: 23.2, but no"
        " row is left out",
    )
    table: str = option(
        "", "render this table's galaxies: redshift, log_mass and what else it has; the rest is drawn given those"
    )
    columns: str = option("", "names in that table: redshift=zpdf,log_mass=lmass_best,mag_i=i_kron,r50_major_arcsec=re")
    bad_rows: str = option(
        "refuse", "rows of that table that no galaxy can be drawn of: refuse or drop", choices=("refuse", "drop")
    )
    workers: int = option(0, "processes; 0: one per core")
    overwrite: bool = option(False, "replace what is there")


@dataclasses.dataclass(frozen=True)
class Convert:
    """Turn survey files into one HDF5 store keyed by HSC_id."""

    bands: str = option(
        "", "bands in their order, such as g,r,i; npy files don't tell, of others it picks (empty: all bands there)"
    )
    ids: str = option(
        "",
        "npy file of int64 ids, one for each image, or a table with HSC_id (and ra, dec) whose row i is image i;"
        " empty: what the images tell, else data/HSC_ids.npy",
    )
    images: str = option(
        "data/images.small.npy",
        "npy file [n, band, y, x]; directory of <HSC_id>-cutout.npy or <HSC_id>-cutout-HSC-G-*.fits; GalaxiesML or"
        " MultimodalUniverse HDF5 file",
    )
    table: str = option(
        "",
        "table of galaxy properties: CSV, FITS, VOTable, ECSV, Parquet or HDF5; empty: the one in the file of images,"
        " else data/2018_02_23-all_objects.csv",
    )
    out: str = option("catalogs/survey.h5", "store to write")
    size: int = option(0, "side in pixels of the square that is cut about the centre of each image; 0: all of it")
    pixels: str = option(
        "",
        "what the numbers in the images are: hsc-asinh, nJy, counts:ZP or raw; empty: what the images tell, else"
        " hsc-asinh",
    )
    duplicates: str = option(
        "nearest", "which of several rows of one HSC object is kept", choices=("nearest", "massive", "first", "error")
    )
    match_radius: float = option(
        0.0, "match rows to images on the sky within so many arcsec, by ra and dec; 0: match by HSC_id"
    )
    columns: str = option("", "names in your table: photo_z=specz_redshift,HSC_id=object_id")
    labels: str = option("photo_z,log_mass", "columns that must be present and legal")
    bad_rows: str = option("refuse", "rows with illegal labels: refuse or drop", choices=("refuse", "drop"))
    bad_pixels: str = option(
        "refuse", "images with NaN or inf, or that lack a band: refuse or drop", choices=("refuse", "drop")
    )
    pixel_scale: str = option("", "arcsec per pixel; empty: what the images tell, else 0.168")
    psf_fwhm: str = option(
        "", "PSF FWHM in arcsec, one per band, such as 0.79,0.75,0.62 (empty: what the images tell, else unknown)"
    )
    filters: str = option("", "full filter names, one per band, such as DECam-g,DECam-r,DECam-z (empty: HSC's)")
    mass_convention: str = option("", "free text kept in the store: IMF, cosmology and code behind the stellar masses")
    split_salt: str = option("galaxycgan-1", "salt of the hash that splits train, validation and test by id")
    split_fractions: str = option("0.8,0.1,0.1", "share of train, validation and test")
    overwrite: bool = option(False, "replace a store made from other input")


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what is in a store."""

    files: tuple[str, ...] = option((), "stores", positional=True)


@dataclasses.dataclass(frozen=True)
class Verify:
    """Check stores and FITS catalogs for damage."""

    files: tuple[str, ...] = option((), "stores or FITS catalogs", positional=True)
    same: bool = option(False, "two files: check that all datasets (HDUs) hold the same bytes")


@dataclasses.dataclass(frozen=True)
class Merge:
    """Make one store of all galaxies of several."""

    files: tuple[str, ...] = option((), "stores; bands, pixels, splits and mass convention must agree", positional=True)
    out: str = option("", "store to write")
    duplicates: str = option(
        "refuse",
        "galaxies that are in several stores: refuse, or first: keep each from the store named first",
        choices=("refuse", "first"),
    )
    mass_convention: str = option("", "what holds for all stellar masses, where the stores' own texts differ")
    overwrite: bool = option(False, "replace a store made otherwise")


@dataclasses.dataclass(frozen=True)
class Select:
    """Make a store of some galaxies of a store; they keep their order and their splits."""

    store: str = option("", "store to select from", positional=True)
    where: str = option(
        "", "condition over catalog columns and split, such as 'photo_z < 0.3 and labelled' (see info for columns)"
    )
    ids: str = option(
        "", "file of ids: npy, text with one id on a line, or a table (CSV, FITS, VOTable...) with the id column"
    )
    missing_ids: str = option("refuse", "ids that are not in the store: refuse or drop", choices=("refuse", "drop"))
    split: str = option("all", "only galaxies of this split", choices=("all", "train", "val", "test"))
    sample: int = option(0, "so many of them, drawn at random; 0: all")
    seed: int = option(0, "seed of --sample")
    out: str = option("", "store to write")
    overwrite: bool = option(False, "replace a store made otherwise")


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a store as a catalog for other tools: FITS with table and images; VOTable, ECSV, Parquet, CSV the table."""

    store: str = option("", "store to export", positional=True)
    to: str = option(
        "", "file to write; the suffix tells the format: .fits .vot .ecsv .parquet .csv (CSV has no units)"
    )
    table_only: bool = option(False, "FITS: the table without images")
    stamps: bool = option(False, "FITS: images as a column of the table instead of a cube, up to 10,000 galaxies")
    overwrite: bool = option(False, "replace the file")


@dataclasses.dataclass(frozen=True)
class TrainGan:
    """Train a GAN that makes a galaxy's image for asked labels."""

    store: str = option("", "store to train on; empty: the one in catalogs/ that is not synthetic")
    run: str = option("runs/train_gan", "run directory: checkpoints, metrics, samples")
    labels: str = option("photo_z,log_mass", "columns of the store that the image is conditioned on")
    categories: str = option("", "which of --labels hold whole numbers that name a kind; columns of true and false do")
    objective: str = option(
        "relativistic",
        "what the networks learn by: relativistic, or predictor, the label-predicting critic and the networks of 2018",
        choices=("relativistic", "predictor"),
    )
    preset: str = option(
        "base", "size of the networks; tiny learns more in ten minutes of a core", choices=("tiny", "base", "large")
    )
    images: int = option(
        0, "real images to show in all; schedules stretch with it; 0: 150,000 (predictor: 835,200, its 13,050 steps)"
    )
    max_minutes: float = option(0.0, "stop after this time with what was learned, schedules fitted to it; 0: no limit")
    batch: int = option(0, "images in a batch, of all processes together; 0: 32 (predictor: 64)")
    lr: float = option(0.0, "learning rate of Adam; 0: 0.0006, large 0.0002 (predictor: 0.0004, its critic a quarter)")
    gamma: float = option(1.0, "weight of the gradient penalties R1 and R2")
    fraction: float = option(
        1.0, "learn from this share of the training split, the same galaxies as a classifier with this --fraction"
    )  # fmt: skip
    draw: int = option(0, "which galaxies make that share; as the classifier's --draw")
    fold: int = option(-1, "learn from the galaxies of a classifier with this --fold, from 0; -1: no cross-validation")
    folds: int = option(5, "number of folds")
    seed: int = option(0, "seed of weights, order, latents and noise")
    threads: int = option(0, "CPU threads; 0: one per core that the job may use")
    device: str = option("auto", "auto, cpu or cuda")
    precision: str = option("auto", "auto, float32 or bfloat16", choices=("auto", "float32", "bfloat16"))
    deterministic: bool = option(
        False, "on a GPU: only operations that give the same bits each time, slower, so that runs resume to the bit"
    )
    compile: bool = option(
        False, "have torch.compile fuse the networks' operations: minutes before the first step; needs a C++ compiler"
    )
    checkpoint_every: float = option(60.0, "seconds between checkpoints")
    note: str = option("", "free text kept in the generator's card and said whenever it makes a catalog")
    overwrite: bool = option(False, "start again from nothing")


@dataclasses.dataclass(frozen=True)
class Generate:
    """Make a synthetic galaxy catalog, images and table, as HDF5 and FITS."""

    gan: str = option("runs/train_gan", "run directory of a trained GAN, or pretrained: the one of the package")
    recipe: str = option("demo", "recipe: a path, or a name among catalogs/*.toml")
    out: str = option("", "directory to write; empty: catalogs/generated/NAME")
    n: int = option(0, "number of galaxies; 0: as the recipe says")
    seed: int = option(-1, "seed; -1: as the recipe says")
    table: str = option(
        "",
        "recipe lightcone: your table of galaxies (FITS, CSV, ECSV, VOTable, Parquet, HDF5); other columns ride along",
    )
    columns: str = option("", "names in that table: photo_z=z_obs,log_mass=lmstar")
    noise: str = option(
        "",
        "model: as in the training images; none; sigma:S or sigma:S1,S2,...: your own sky noise in nJy per pixel, one"
        " for all bands or one each, with the training images' pixel correlation, without the galaxies' photon noise;"
        " empty: as the recipe says",
    )
    images: str = option(
        "both", "which images are kept; none: the table alone", choices=("both", "noisy", "noiseless", "none")
    )
    images_per_file: int = option(
        0, "FITS: so many images in each of several files beside catalog.fits, for millions; 0: all in catalog.fits"
    )
    strict: bool = option(
        False, "make nothing where labels lie outside what the GAN has seen, instead of flagging them"
    )
    shards: int = option(1, "make the catalog in so many parts, which outlive a crash; the result is the same")
    shard: int = option(-1, "make this one of them, from 0, and nothing else: for array jobs; -1: all, then merge them")
    merge: bool = option(False, "make none: only merge the shards that jobs made; a missing one is an error")
    keep_shards: bool = option(False, "keep the shards when they are merged")
    threads: int = option(0, "CPU threads; 0: one per core that the job may use")
    device: str = option("auto", "auto, cpu or cuda")
    precision: str = option(
        "auto",
        "auto: what is fast here, or as the parts that are there already; float32; bfloat16. Galaxies of one differ"
        " from those of the other by some thousandths of the brightest pixel",
        choices=("auto", "float32", "bfloat16"),
    )
    overwrite: bool = option(False, "replace a catalog of another recipe")


@dataclasses.dataclass(frozen=True)
class Regenerate:
    """Make a galaxy of a catalog again from its row, and compare it with the catalog's image."""

    catalog: str = option("", "synthetic catalog, HDF5 or FITS", positional=True)
    id: int = option(-1, "SYN_id of the galaxy")
    gan: str = option("runs/train_gan", "run directory of the GAN that made the catalog; its SHA-256 is checked")
    out: str = option("", "FITS file to write; empty: galaxy-ID.fits")
    threads: int = option(0, "CPU threads; 0: one per core that the job may use")
    device: str = option("auto", "auto, cpu or cuda")
    overwrite: bool = option(False, "replace the file")


@dataclasses.dataclass(frozen=True)
class Inject:
    """Add galaxies of a synthetic catalog to a survey image, with a table of what was added."""

    catalog: str = option("", "synthetic catalog with noiseless images, HDF5", positional=True)
    frame: str = option("", "FITS image of one band; it is not changed", positional=True)
    band: str = option("", "band of the frame, one of the catalog's; empty: what the frame's FILTER tells")
    out: str = option(
        "", "FITS image to write; empty: NAME-injected.fits; the truth table goes to NAME-injected-truth.fits"
    )
    hdu: str = option("", "HDU of the image, number or name; empty: the first with a 2-D image")
    n: int = option(0, "number of galaxies, at most the catalog's; 0: all, or one for each given position")
    positions: str = option(
        "",
        "table of positions: ra, dec (deg) or x, y (pixels, the first is 1), and SYN_id to say which galaxy goes there;"
        " empty: random ones; catalog: the catalog's own ra, dec",
    )
    separation: float = option(0.0, "random positions at least so many arcsec apart; 0: as they fall")
    zeropoint: str = option(
        "", "AB magnitude of one count, such as 27.0; empty: from FLUXMAG0 or MAGZERO of the header"
    )
    poisson: bool = option(False, "add photon noise of the injected light; needs --gain or the header's GAIN")
    gain: float = option(0.0, "electrons per count; 0: GAIN of the header, where --poisson needs it")
    psf_fwhm: float = option(
        0.0, "PSF FWHM of the frame in arcsec; 0: PSFFWHM or SEEING of the header, else not compared"
    )
    aperture: float = option(1.5, "radius in arcsec of the aperture of the truth table's fluxes")
    seed: int = option(0, "seed of positions, of the choice of galaxies and of photon noise")
    overwrite: bool = option(False, "replace the files")


@dataclasses.dataclass(frozen=True)
class TrainClassifier:
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
    )
    synthetic_filter: float = option(
        0.0,
        "leave out this share of generated galaxies, those whose labels a regressor trained on real ones doubts most",
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
    purity: float = option(0.0, "choose the threshold for this purity on validation galaxies; 0: for the best F1")
    fraction: float = option(
        1.0, "learn from this share of the training split; smaller shares lie within larger ones. A GAN must have"
        " learned from exactly these galaxies"
    )  # fmt: skip
    draw: int = option(0, "which galaxies make that share: another number, other galaxies")
    fold: int = option(-1, "cross-validation: test on this fold of training and validation split, from 0; -1: none")
    folds: int = option(5, "number of folds; a GAN must have been trained with the same --fold and --folds")
    epochs: int = option(
        0, "epochs, over which the learning rate falls to 0; 0: those that show "
        f"{REAL_IMAGES:,} images, {ALL_IMAGES:,} with generated ones, from {LEAST_EPOCHS} to {MOST_EPOCHS}"
    )  # fmt: skip
    patience: int = option(0, "stop after so many epochs without a better validation log loss; 0: never")
    batch: int = option(64, "images in a batch")
    lr: float = option(0.001, "learning rate of Adam")
    seed: int = option(0, "seed of weights, order, augmentation and generated galaxies")
    threads: int = option(0, "CPU threads; 0: one per core that the job may use")
    device: str = option("auto", "auto, cpu or cuda")
    overwrite: bool = option(False, "start again from nothing")


@dataclasses.dataclass(frozen=True)
class Study:
    """Do generated galaxies help the classifier? GANs and classifiers over seeds and shares of the real galaxies."""

    store: str = option("", "store to train on; empty: the one in catalogs/ that is not synthetic")
    test: str = option("", STUDY_TEST)
    run: str = option("runs/study", "directory for all runs, the table, the plot and report.html")
    target: str = option(DWARFS, "what counts as positive, over catalog columns")
    seeds: int = option(5, "GANs and classifiers of each kind at each share")
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
    )
    preset: str = option("tiny", "size of the GANs", choices=("tiny", "base", "large"))
    gan_images: int = option(100_000, "real images to show each GAN in all")
    epochs: int = option(0, "of a classifier, as in train_classifier")
    patience: int = option(0, "of a classifier, as in train_classifier")
    parts: int = option(1, "share the work among so many jobs")
    part: int = option(
        -1, "do this part of it, from 0: for array jobs; -1: all. The job that ends last writes the table"
    )
    threads: int = option(0, "CPU threads; 0: one per core that the job may use")
    device: str = option("auto", "auto, cpu or cuda")
    overwrite: bool = option(False, "start again from nothing")


@dataclasses.dataclass(frozen=True)
class Classify:
    """Give every galaxy of a store the classifier's calibrated probability and class, as a FITS table."""

    model: str = option("runs/train_classifier", "run directory of a trained classifier")
    store: str = option("", "store to classify; empty: the one in catalogs/ that is not synthetic")
    out: str = option("catalogs/classified.fits", "FITS table to write")
    threads: int = option(0, "CPU threads; 0: one per core that the job may use")
    device: str = option("auto", "auto, cpu or cuda")
    overwrite: bool = option(False, "replace the file")


@dataclasses.dataclass(frozen=True)
class Evaluate:
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
    n: int = option(2000, "galaxies of each kind at most")
    seed: int = option(0, "seed of the synthetic draws and of the bootstrap")
    threads: int = option(0, "CPU threads, and processes of the morphology; 0: one per core that the job may use")
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
class Compare:
    """Put several evaluations side by side: a table, and a page with a plot."""

    runs: tuple[str, ...] = option((), "run directories, evaluation directories or metrics.json files", positional=True)
    out: str = option("", "HTML page to write; empty: the table alone")
    all: bool = option(False, "all metrics instead of those with a goal")
    overwrite: bool = option(False, "replace the page")


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure speed, as ratios to a limit of this machine measured in the same run."""

    what: str = option(
        "", "convert, read, train or generate", choices=("convert", "read", "train", "generate"), positional=True
    )
    n: int = option(20_000, "number of galaxies, in the survey files that it makes or to generate")
    bands: str = option("g,r,i", "bands, in order")
    size: int = option(50, "side of the square images in pixels")
    batch: int = option(64, "images in a batch")
    repeat: int = option(5, "rounds; the best of each is reported, as other work only adds")
    seed: int = option(1, "seed of the pixels and of the order of reading")
    gan: str = option("", "generate: run directory of a GAN; empty: an untrained one of --preset, which is as fast")
    preset: str = option("base", "train, generate: size of the networks", choices=("tiny", "base", "large"))
    images: str = option("both", "generate: as its own --images", choices=("both", "noisy", "noiseless", "none"))
    threads: int = option(0, "train, generate: CPU threads; 0: one per core that the job may use")
    device: str = option("auto", "train, generate: auto, cpu or cuda")
    dir: str = option(".", "directory on the disk to measure; all that is written there is removed again")
    out: str = option("", "JSON file for the figures; empty: none")


@dataclasses.dataclass(frozen=True)
class Status:
    """Say where submitted jobs stand."""

    runs: tuple[str, ...] = option(
        (), "run directories, arrays or pipelines; none: all in runs/ and catalogs/", positional=True
    )
    watch: bool = option(False, "look again every few seconds until all have ended")
    every: float = option(5.0, "seconds between looks of --watch")


@dataclasses.dataclass(frozen=True)
class Logs:
    """Print what a submitted job wrote."""

    run: str = option("", "run directory, or an array or pipeline: the last lines of each of its jobs", positional=True)
    lines: int = option(0, "only so many last lines of each job; 0: all, of arrays and pipelines 10")


@dataclasses.dataclass(frozen=True)
class Cancel:
    """Stop submitted jobs; they go on when submitted again."""

    runs: tuple[str, ...] = option((), "run directories, arrays or pipelines", positional=True)


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Run the stages of one recipe, each after those whose results it reads."""

    recipe: str = option("demo", "pipeline: a path, or a name among slurm/pipelines/*.toml")
    run: str = option("", "directory for all results; empty: as the recipe says, else runs/NAME")
    overwrite: bool = option(False, "make everything anew")


@dataclasses.dataclass(frozen=True)
class Submit:
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
    max_jobs: int = option(0, "jobs of an array or pipeline at once; 0: the profile's array_parallelism, 1 on local")
    changed: str = option(
        "refuse",
        "code or input that has changed when the job starts: refuse to start, or accept",
        choices=("refuse", "accept"),
    )
    dry_run: bool = option(False, "print what would be submitted and do nothing")
    check: bool = option(False, "ask Slurm whether it would take the job and ever start it; submit nothing")
    wait: bool = option(False, "follow the job and return its exit status")


#: name -> (options, "module:function")
COMMANDS = {
    "mock": (Mock, "galaxycgan.mock:make_survey"),
    "convert": (Convert, "galaxycgan.catalogs.convert:convert"),
    "info": (Info, "galaxycgan.catalogs.info:info"),
    "verify": (Verify, "galaxycgan.catalogs.verify:verify"),
    "merge": (Merge, "galaxycgan.catalogs.merge:merge"),
    "select": (Select, "galaxycgan.catalogs.select:select"),
    "export": (Export, "galaxycgan.catalogs.export:export"),
    "train_gan": (TrainGan, "galaxycgan.training.gan:train_gan"),
    "generate": (Generate, "galaxycgan.generation.job:generate"),
    "regenerate": (Regenerate, "galaxycgan.generation.regenerate:regenerate"),
    "inject": (Inject, "galaxycgan.generation.inject:inject"),
    "train_classifier": (TrainClassifier, "galaxycgan.training.classifier:train_classifier"),
    "study": (Study, "galaxycgan.training.study:study"),
    "classify": (Classify, "galaxycgan.generation.classify:classify"),
    "evaluate": (Evaluate, "galaxycgan.evaluation.job:evaluate"),
    "compare": (Compare, "galaxycgan.evaluation.compare:compare_runs"),
    "bench": (Bench, "galaxycgan.bench.job:bench"),
    "status": (Status, "galaxycgan.cluster.status:status"),
    "logs": (Logs, "galaxycgan.cluster.status:logs"),
    "cancel": (Cancel, "galaxycgan.cluster.status:cancel"),
    "pipeline": (Pipeline, "galaxycgan.cluster.pipeline:pipeline"),
}

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
    module, _, function = COMMANDS[name][1].partition(":")
    return getattr(importlib.import_module(module), function)
