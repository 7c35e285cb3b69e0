"""Options of what makes and reads stores: survey files, mocks, selections, exports."""

import dataclasses

from galaxycgan.config.option import SEEDS, Options, option


@dataclasses.dataclass(frozen=True)
class Mock(Options):
    """Make an HSC-like survey with known truth, in the format of real survey files."""

    out: str = option("data", "directory for HSC_ids.npy, images.small.npy, the table and truth.csv")
    n: int = option(0, "number of objects with an image; 0: 1,866, with --table all its rows", least=1)
    seed: int = option(1, "seed of everything random", **SEEDS)
    bands: str = option("g,r,i", "bands among g,r,i,z,y, in order")
    size: int = option(50, "side of the square images in pixels, 32 to 128", least=32, most=128)
    population: str = option(
        "dwarf-search",
        "dwarf-search: flux-limited and pre-selected for faint blue galaxies; flux-limited (both without --table)",
        choices=("dwarf-search", "flux-limited"),
    )
    limit: float = option(
        0.0,
        "faint limit, AB i: galaxies are drawn brighter, rows of --table with a fainter i are left out; 0: 23.2, but no"
        " row is left out",
        least=20,
        most=27,
    )
    table: str = option(
        "", "render this table's galaxies: redshift, log_mass and what else it has; the rest is drawn given those"
    )
    columns: str = option("", "names in that table: redshift=zpdf,log_mass=lmass_best,mag_i=i_kron,r50_major_arcsec=re")
    bad_rows: str = option(
        "refuse", "rows of that table that no galaxy can be drawn of: refuse or drop", choices=("refuse", "drop")
    )
    workers: int = option(0, "processes; 0: one per core", least=1)
    overwrite: bool = option(False, "replace what is there")


@dataclasses.dataclass(frozen=True)
class Convert(Options):
    """Turn survey files into one HDF5 store keyed by HSC_id."""

    bands: str = option(
        "", "bands in their order, such as g,r,i; npy files don't say, of others it picks (empty: all bands there)"
    )
    ids: str = option(
        "",
        "npy file of int64 ids, one for each image, or a table with HSC_id (and ra, dec) whose row i is image i;"
        " empty: what the image files say, else data/HSC_ids.npy",
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
    size: int = option(
        0, "side in pixels of the square that is cut about the centre of each image; 0: all of it", least=1
    )
    pixels: str = option(
        "",
        "what the numbers in the images are: hsc-asinh, nJy, counts:ZP or raw; empty: what the image files say;"
        " npy files: hsc-asinh",
    )
    duplicates: str = option(
        "nearest", "which of several rows of one HSC object is kept", choices=("nearest", "massive", "first", "error")
    )
    match_radius: float = option(
        0.0,
        "match rows to images on the sky within so many arcsec, by ra and dec; 0: match by HSC_id",
        above=0,
        most=3600,
    )
    columns: str = option("", "names in your table: photo_z=specz_redshift,HSC_id=object_id")
    labels: str = option("photo_z,log_mass", "columns that must be present and legal")
    bad_rows: str = option("refuse", "rows with illegal labels: refuse or drop", choices=("refuse", "drop"))
    bad_pixels: str = option(
        "refuse", "images with NaN or inf, or that lack a band: refuse or drop", choices=("refuse", "drop")
    )
    pixel_scale: str = option("", "arcsec per pixel; empty: what the image files say, else 0.168")
    psf_fwhm: str = option(
        "", "PSF FWHM in arcsec, one per band, such as 0.79,0.75,0.62 (empty: what the image files say, else unknown)"
    )
    filters: str = option("", "full filter names, one per band, such as DECam-g,DECam-r,DECam-z (empty: HSC's)")
    mass_convention: str = option("", "free text kept in the store: IMF, cosmology and code behind the stellar masses")
    split_salt: str = option("galaxycgan-1", "salt of the hash that splits train, validation and test by id")
    split_fractions: str = option("0.8,0.1,0.1", "share of train, validation and test")
    overwrite: bool = option(False, "replace a store made from other input")


@dataclasses.dataclass(frozen=True)
class Info(Options):
    """Say what is in a store."""

    files: tuple[str, ...] = option((), "stores", positional=True)


@dataclasses.dataclass(frozen=True)
class Verify(Options):
    """Check stores and FITS catalogs for damage."""

    files: tuple[str, ...] = option((), "stores or FITS catalogs", positional=True)
    same: bool = option(False, "two files: check that all datasets (HDUs) hold the same bytes")


@dataclasses.dataclass(frozen=True)
class Merge(Options):
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
class Select(Options):
    """Make a store of some galaxies of a store; they keep their order and their splits."""

    store: str = option("", "store to select from", positional=True)
    where: str = option(
        "",
        "condition over catalog columns (see info) and split (0 train, 1 val, 2 test, -1 none), such as"
        " 'photo_z < 0.3 and labelled and split != 2'",
    )
    ids: str = option(
        "", "file of ids: npy, text with one id on a line, or a table (CSV, FITS, VOTable...) with the id column"
    )
    missing_ids: str = option("refuse", "ids that are not in the store: refuse or drop", choices=("refuse", "drop"))
    split: str = option("all", "only galaxies of this split", choices=("all", "train", "val", "test"))
    sample: int = option(0, "so many of them, drawn at random; 0: all", least=1)
    seed: int = option(0, "seed of --sample", **SEEDS)
    out: str = option("", "store to write")
    overwrite: bool = option(False, "replace a store made otherwise")


@dataclasses.dataclass(frozen=True)
class Export(Options):
    """Write a store as a catalog for other tools: FITS with table and images; VOTable, ECSV, Parquet, CSV the table."""

    store: str = option("", "store to export", positional=True)
    to: str = option(
        "", "file to write; the suffix decides the format: .fits .vot .ecsv .parquet .csv (CSV has no units)"
    )
    table_only: bool = option(False, "FITS: the table without images")
    stamps: bool = option(False, "FITS: images as a column of the table instead of a cube, up to 10,000 galaxies")
    overwrite: bool = option(False, "replace the file")
