"""What the suffix of a file's name says of its format."""

from pathlib import Path

from galaxycgan.errors import UserError

FITS_SUFFIXES = (".fits", ".fit", ".fts")
TABLE_SUFFIXES = {
    ".vot": "VOTable", ".votable": "VOTable", ".xml": "VOTable",
    ".ecsv": "ECSV", ".parquet": "Parquet", ".pq": "Parquet", ".csv": "CSV",
}  # fmt: skip
#: By which other programs would take a store for what it is not.
NO_STORE = (*FITS_SUFFIXES, *TABLE_SUFFIXES, ".npy", ".npz", ".gz", ".fz", ".png")


def check_suffix(path, known=FITS_SUFFIXES, option="--out"):
    """Refuse a name for a file that isn't of a known format.

    Parameters
    ----------
    path : str or Path
        To be written.
    known : iterable of str
        Suffixes, in lower case.
    option : str
        Named in the message.
    """
    if Path(path).suffix.lower() not in known:
        raise UserError(f"{option} {path}: the suffix decides the format; {', '.join(known)} are known")


def check_store_suffix(path):
    """Refuse a name for a store that says that it is of another format."""
    suffix = Path(path).suffix.lower()
    if suffix in NO_STORE:
        raise UserError(f"--out {path}: a store is HDF5: call it .h5; galaxycgan export writes other formats")
