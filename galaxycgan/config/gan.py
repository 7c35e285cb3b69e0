"""Options of the GAN: training it, and making galaxies with it."""

import dataclasses

from galaxycgan.config.option import SEEDS, Options, option


@dataclasses.dataclass(frozen=True)
class TrainGan(Options):
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
        0,
        "real images to show in all; schedules stretch with it; 0: 150,000 (predictor: 835,200, its 13,050 steps)",
        least=1,
    )
    max_minutes: float = option(
        0.0, "stop after this time with what was learned, schedules fitted to it; 0: no limit", above=0
    )
    batch: int = option(0, "images in a batch, of all processes together; 0: 32 (predictor: 64)", least=2)
    lr: float = option(
        0.0, "learning rate of Adam; 0: 0.0006, large 0.0002 (predictor: 0.0004, its critic a quarter)", above=0
    )
    gamma: float = option(1.0, "weight of the gradient penalties R1 and R2", least=0)
    fraction: float = option(
        1.0, "learn from this share of the training split, the same galaxies as a classifier with this --fraction",
        above=0, most=1,
    )  # fmt: skip
    draw: int = option(0, "which galaxies make that share; as the classifier's --draw", least=0)
    fold: int = option(
        -1, "learn from the galaxies of a classifier with this --fold, from 0; -1: no cross-validation", least=0
    )
    folds: int = option(5, "number of folds", least=2)
    seed: int = option(0, "seed of weights, order, latents and noise", **SEEDS)
    threads: int = option(
        0,
        "CPU threads, on which the last bits depend; 0: as many as make it fastest here, tried out before it begins",
        least=1,
    )
    device: str = option("auto", "auto, cpu or cuda")
    precision: str = option("auto", "auto, float32 or bfloat16", choices=("auto", "float32", "bfloat16"))
    deterministic: bool = option(
        False, "on a GPU: only operations that give the same bits each time, slower, so that runs resume to the bit"
    )
    checkpoint_every: float = option(60.0, "seconds between checkpoints", least=0)
    note: str = option("", "free text kept in the generator's card and said whenever it makes a catalog")
    overwrite: bool = option(False, "start again from nothing")


@dataclasses.dataclass(frozen=True)
class Generate(Options):
    """Make a synthetic galaxy catalog, images and table, as HDF5 and FITS."""

    gan: str = option("runs/train_gan", "run directory of a trained GAN, or pretrained: the one of the package")
    recipe: str = option("demo", "recipe: a path, or a name among catalogs/*.toml")
    out: str = option("", "directory to write; empty: catalogs/generated/NAME")
    n: int = option(0, "number of galaxies; 0: as the recipe says", least=1)
    seed: int = option(-1, "seed; -1: as the recipe says", **SEEDS)
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
        0,
        "FITS: so many images in each of several files beside catalog.fits, for millions; 0: all in catalog.fits",
        least=1,
    )
    strict: bool = option(
        False, "make nothing where labels lie outside what the GAN has seen, instead of flagging them"
    )
    shards: int = option(1, "make the catalog in so many parts, which outlive a crash; the result is the same", least=1)
    shard: int = option(
        -1, "make this one of them, from 0, and nothing else: for array jobs; -1: all, then merge them", least=0
    )
    merge: bool = option(False, "make none: only merge the shards that jobs made; a missing one is an error")
    keep_shards: bool = option(False, "keep the shards when they are merged")
    threads: int = option(0, "CPU threads; 0: one per core that the job may use", least=1)
    device: str = option("auto", "auto, cpu or cuda")
    precision: str = option(
        "auto",
        "auto: what is fast here, or as the parts that are there already; float32; bfloat16. Galaxies of one differ"
        " from those of the other by some thousandths of the brightest pixel",
        choices=("auto", "float32", "bfloat16"),
    )
    overwrite: bool = option(False, "replace a catalog of another recipe")


@dataclasses.dataclass(frozen=True)
class Regenerate(Options):
    """Make a galaxy of a catalog again from its row, and compare it with the catalog's image."""

    catalog: str = option("", "synthetic catalog, HDF5 or FITS", positional=True)
    id: int = option(-1, "SYN_id of the galaxy")
    gan: str = option("runs/train_gan", "run directory of the GAN that made the catalog; its SHA-256 is checked")
    out: str = option("", "FITS file to write; empty: galaxy-ID.fits")
    threads: int = option(0, "CPU threads; 0: one per core that the job may use", least=1)
    device: str = option("auto", "auto, cpu or cuda")
    overwrite: bool = option(False, "replace the file")


@dataclasses.dataclass(frozen=True)
class Inject(Options):
    """Add galaxies of a synthetic catalog to a survey image, with a table of what was added."""

    catalog: str = option("", "synthetic catalog with noiseless images, HDF5", positional=True)
    frame: str = option("", "FITS image of one band; it is not changed", positional=True)
    band: str = option("", "band of the frame, one of the catalog's; empty: what the frame's FILTER says")
    out: str = option(
        "", "FITS image to write; empty: NAME-injected.fits; the truth table goes to NAME-injected-truth.fits"
    )
    hdu: str = option("", "HDU of the image, number or name; empty: the first with a 2-D image")
    n: int = option(0, "number of galaxies, at most the catalog's; 0: all, or one for each given position", least=1)
    positions: str = option(
        "",
        "table of positions: ra, dec (deg) or x, y (pixels, the first is 1), and SYN_id to say which galaxy goes there;"
        " empty: random ones; catalog: the catalog's own ra, dec",
    )
    separation: float = option(0.0, "random positions at least so many arcsec apart; 0: as they fall", least=0)
    zeropoint: str = option(
        "", "AB magnitude of one count, such as 27.0; empty: from FLUXMAG0 or MAGZERO of the header"
    )
    poisson: bool = option(False, "add photon noise of the injected light; needs --gain or the header's GAIN")
    gain: float = option(0.0, "electrons per count; 0: GAIN of the header, where --poisson needs it", above=0)
    psf_fwhm: float = option(
        0.0,
        "PSF FWHM of the frame in arcsec; 0: PSFFWHM or SEEING of the header, else not compared",
        above=0,
    )
    aperture: float = option(1.5, "radius in arcsec of the aperture of the truth table's fluxes", least=0.01)
    seed: int = option(0, "seed of positions, of the choice of galaxies and of photon noise", **SEEDS)
    overwrite: bool = option(False, "replace the files")
