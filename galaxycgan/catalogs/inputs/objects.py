"""Whose image is whose: the id of each image, and where its object is on the sky."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.formats.npy import MAGIC, NpyFile, check_file
from galaxycgan.catalogs.inputs.file_table import check_positions, unique_ids
from galaxycgan.catalogs.inputs.survey_table import SurveyTable
from galaxycgan.errors import UserError, first_few

DEFAULT_IDS = "data/HSC_ids.npy"
#: How pickles and npz archives begin: `read_ids` says what is wrong with them.
NUMPY_STARTS = (MAGIC, b"PK", b"\x80")


@dataclass(frozen=True)
class Objects:
    """The objects in the images.

    Attributes
    ----------
    ids : int64 array [n]
        Unique; row i belongs to image i.
    ra, dec : float64 array [n] or None
        Degrees, ICRS.
    path : Path or None
        The file of `--ids`; None where the images tell the ids.
    """

    ids: np.ndarray
    ra: np.ndarray | None = None
    dec: np.ndarray | None = None
    path: Path | None = None


def find_objects(config, source, columns):
    """Read the ids and positions of the images' objects from `--ids` or from the images themselves.

    Parameters
    ----------
    config : galaxycgan.config.Convert
    source : CutoutSource
    columns : dict
        {training name: name in the user's tables}.

    Returns
    -------
    Objects
    """
    metadata = source.metadata
    if metadata.ids is not None and not config.ids:
        found = Objects(metadata.ids, metadata.ra, metadata.dec)
    elif metadata.ids is not None:
        found = _placed(metadata.ids, _from_file(config.ids, columns), source.path)
    else:
        found = _from_file(config.ids or DEFAULT_IDS, columns)
        if source.n != len(found.ids):
            raise UserError(
                f"{source.path}: {source.n} images, but {found.path} has {len(found.ids)} ids; row i must belong to"
                " id i"
            )
    if config.match_radius:
        _require_positions(found, source.path)
    return found


def _from_file(path, columns):
    """Read the file of `--ids`: an npy file, or a table with HSC_id and perhaps ra and dec."""
    with open(check_file(path, "--ids"), "rb") as file:
        start = file.read(len(MAGIC))
    if start.startswith(NUMPY_STARTS):
        return Objects(read_ids(path), path=Path(path))
    # The mapping is of the survey table: this one may have the training names already.
    mapping = {name: columns[name] for name in ("HSC_id", "ra", "dec") if name in columns}
    table = SurveyTable.read(path, mapping, option="--ids", keys=("HSC_id",), where_needed=True)
    table.require(("HSC_id",))
    ids = table.unique_ids("HSC_id")
    return Objects(ids, *(table.ra_dec() if "ra" in table and "dec" in table else (None, None)), table.path)


def _placed(ids, listed, images_path):
    """Return the images' own ids with the positions of a list."""
    if listed.ra is None:
        raise UserError(
            f"{listed.path}: --ids is not needed, {images_path} has the ids; it may be a table of positions"
        )
    order = np.argsort(listed.ids)
    rows = order[np.minimum(np.searchsorted(listed.ids, ids, sorter=order), len(order) - 1)]
    missing = ids[listed.ids[rows] != ids]
    if len(missing):
        raise UserError(f"{listed.path}: {len(missing)} images of {images_path} are not in it: {first_few(missing)}")
    return Objects(ids, listed.ra[rows], listed.dec[rows], listed.path)


def _require_positions(found, images_path):
    """Refuse a match on the sky where objects have no position."""
    if found.ra is None:
        raise UserError(
            f"{found.path or images_path}: --match-radius needs the position of each image's object: give --ids a table"
            " with HSC_id, ra and dec (degrees)"
        )
    check_positions(found.ra, found.dec, found.path or images_path)
    blank = ~(np.isfinite(found.ra) & np.isfinite(found.dec))
    if blank.any():
        raise UserError(
            f"{found.path or images_path}: {blank.sum()} of {len(blank)} objects have no position (ra, dec): HSC_id"
            f" {first_few(found.ids[blank])}"
        )


def read_ids(path):
    """Read the ids of the images from an npy file.

    Returns
    -------
    int64 array [n]
        Unique, in the file's order.
    """
    file = NpyFile(path, "--ids")
    if file.dtype.kind not in "iu":
        why = " (float64 can't hold ids above 2^53: they may be wrong already)" if file.dtype.kind == "f" else ""
        raise UserError(f"{path}: ids must be integers, these are {file.dtype}{why}")
    if len(file.shape) != 1:
        raise UserError(f"{path}: ids must be one-dimensional, these are {list(file.shape)}")
    ids = file.rows(np.arange(file.shape[0]))
    if ids.dtype.kind == "u" and ids.max() > np.iinfo(np.int64).max:
        raise UserError(f"{path}: ids above 2^63 do not fit int64: {first_few(ids[ids > np.iinfo(np.int64).max])}")
    return unique_ids(ids.astype(np.int64), path)
