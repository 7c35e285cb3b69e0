"""Which row of the survey table gives an image its labels, and what became of every other row."""

import dataclasses

import numpy as np
import pandas as pd

from galaxycgan.catalogs.inputs.objects import check_positions
from galaxycgan.catalogs.inputs.survey_table import numbers
from galaxycgan.catalogs.schema.columns import free_name, illegal, legal_range
from galaxycgan.errors import UserError, first_few

#: What can become of a row of the table, and of an image.
ROW_FATES = ("kept", "another match", "not selected", "illegal labels", "no image", "no position")
IMAGE_FATES = ("labelled", "no row", "only unselected rows", "illegal labels")
#: Instead of an image, for a row without ra and dec.
NO_POSITION = -2
#: Column by which a rule of `--duplicates` ranks the rows of one image.
RANKED_BY = {"nearest": "sep", "massive": "log_mass"}


@dataclasses.dataclass(frozen=True)
class Matching:
    """The outcome.

    Attributes
    ----------
    row : int64 array [n]
        For each image the row of the table that is kept, -1 for none.
    image : int64 array [m]
        For each row of the table its image, -1 for none.
    row_fate, image_fate : int8 array [m], [n]
        Index into `ROW_FATES`, `IMAGE_FATES`.
    ambiguous : int
        Number of images with several selected rows.
    """

    row: np.ndarray
    image: np.ndarray
    row_fate: np.ndarray
    image_fate: np.ndarray
    ambiguous: int


def match(frame, ids, *, duplicates, labels, drop_illegal, path, image=None):
    """Give each image at most one row of the table.

    Rows that are not selected are never kept. The kept row's labels have to be legal: where they aren't, no other
    match takes its place, because that would give the image another galaxy's labels.

    Parameters
    ----------
    frame : pandas.DataFrame
        With HSC_id, the labels, and what the rule needs.
    ids : int64 array [n]
        Id of each image, unique.
    duplicates : str
        'nearest': smallest sep (blank or negative: last); 'massive': largest log_mass; 'first': first in the table;
        'error': several are refused. Ties go to the smallest COSMOS_id.
    labels : iterable of str
    drop_illegal : bool
        Go on without rows whose labels are illegal.
    path : str
        The table's file, for messages.
    image : int64 array [m], optional
        The image of each row, -1 for none, -2 where it has no position: of `nearest_image`. Without it, the one with
        the row's HSC_id.

    Returns
    -------
    Matching
    """
    placeless = np.zeros(len(frame), bool) if image is None else image == NO_POSITION
    image = image_of_id(frame, ids, path) if image is None else np.maximum(image, -1)
    selected = frame["selected"].to_numpy() if "selected" in frame else np.ones(len(frame), bool)
    candidates = np.flatnonzero((image >= 0) & selected)
    if not len(candidates):
        raise UserError(f"{path}: column selected: every row that belongs to an image is unselected; nothing to label")
    kept, ambiguous = _choose(frame, candidates, image, ids, duplicates, path)
    row_fate = np.full(len(frame), ROW_FATES.index("another match"), np.int8)
    row_fate[image < 0] = ROW_FATES.index("no image")
    row_fate[placeless] = ROW_FATES.index("no position")
    row_fate[(image >= 0) & ~selected] = ROW_FATES.index("not selected")
    bad = _illegal_rows(frame, kept, labels, drop_illegal, path)
    row_fate[kept] = ROW_FATES.index("kept")
    row_fate[kept[bad]] = ROW_FATES.index("illegal labels")

    image_fate = np.full(len(ids), IMAGE_FATES.index("no row"), np.int8)
    image_fate[image[image >= 0]] = IMAGE_FATES.index("only unselected rows")
    image_fate[image[kept]] = IMAGE_FATES.index("labelled")
    image_fate[image[kept[bad]]] = IMAGE_FATES.index("illegal labels")
    row = np.full(len(ids), -1)
    row[image[kept[~bad]]] = kept[~bad]
    return Matching(row, image, row_fate, image_fate, ambiguous)


def image_of_id(frame, ids, path):
    """Return for each row the index of the image with its HSC_id, -1 for none."""
    row_ids = frame["HSC_id"].to_numpy()
    order = np.argsort(ids)
    places = np.minimum(np.searchsorted(ids, row_ids, sorter=order), len(ids) - 1)
    image = np.where(ids[order[places]] == row_ids, order[places], -1)
    if not np.any(image >= 0):
        raise UserError(
            f"{path}: no HSC_id of the table belongs to an image: it has {first_few(frame['HSC_id'], 2)}, the images"
            f" {first_few(ids, 2)}; --columns HSC_id=NAME_IN_TABLE maps another column, --match-radius 1.0 matches by"
            " position"
        )
    return image


def nearest_image(frame, ra, dec, radius, path):
    """Find for each row the nearest object on the sky.

    Several rows may have the same object; a row near several objects belongs to the nearest of them.

    Parameters
    ----------
    frame : pandas.DataFrame
        With ra and dec in degrees, ICRS; a row where one is blank is near nothing.
    ra, dec : float64 array [n]
        Positions of the images' objects in degrees, ICRS.
    radius : float
        arcsec.
    path : str
        The table's file, for messages.

    Returns
    -------
    image : int64 array [m]
        Index of the object within the radius, -1 for none, -2 (`NO_POSITION`) for a row without a position.
    sep : float64 array [m]
        Its distance in arcsec, NaN for none.
    """
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    row_ra, row_dec = (numbers(frame, name, path) for name in ("ra", "dec"))
    check_positions(row_ra, row_dec, path)
    image, sep = np.full(len(frame), NO_POSITION), np.full(len(frame), np.nan)
    known = np.flatnonzero(np.isfinite(row_ra) & np.isfinite(row_dec))
    if not len(known):
        raise UserError(f"{path}: no row has a position (ra, dec) for --match-radius")
    objects = SkyCoord(ra * u.deg, dec * u.deg)
    found, distance, _ = SkyCoord(row_ra[known] * u.deg, row_dec[known] * u.deg).match_to_catalog_sky(objects)
    distance = distance.to_value(u.arcsec)
    near = distance <= radius
    if not near.any():
        raise UserError(
            f"{path}: no row lies within {radius:g} arcsec of an image's object; the nearest is"
            f" {distance.min():.4g} arcsec away; see --match-radius and --columns ra=..., dec=..."
        )
    image[known] = np.where(near, found, -1)
    sep[known[near]] = distance[near]
    return image, sep


def with_match(frame, ids, image, sep):
    """Return a table with HSC_id and sep as the match on the sky found them; its own columns get ``_original``.

    HSC_id is 0 in rows without an image, which no store keeps.
    """
    own = {name: free_name(name, frame.columns) for name in ("HSC_id", "sep") if name in frame}
    found = pd.DataFrame({"HSC_id": np.where(image >= 0, ids[image], 0), "sep": sep}, index=frame.index)
    return pd.concat([found, frame.rename(columns=own)], axis=1)


def _choose(frame, candidates, image, ids, duplicates, path):
    """Return the rows that are kept, one for each image that has candidates, and how many had a choice."""
    counts = np.bincount(image[candidates], minlength=len(ids))
    several = np.flatnonzero(counts > 1)
    rank = np.zeros(len(candidates))
    if len(several):
        if duplicates == "error":
            raise UserError(
                f"{path}: {len(several)} HSC_ids have several selected rows: {first_few(ids[several])};"
                f" choose with --duplicates {_rules(frame)}"
            )
        rank = _rank(frame, duplicates, path)[candidates]
    tie = frame["COSMOS_id"].to_numpy()[candidates] if "COSMOS_id" in frame else candidates
    if duplicates == "first":
        tie = candidates
    order = np.lexsort((candidates, tie, rank, image[candidates]))
    first = np.diff(image[candidates][order], prepend=-1) != 0
    return candidates[order][first], len(several)


def _rank(frame, duplicates, path):
    """Return a number for each row, smallest is best."""
    if duplicates == "first":
        return np.zeros(len(frame))
    name = RANKED_BY[duplicates]
    if name not in frame:
        raise UserError(
            f"{path}: several rows have the same HSC_id and --duplicates {duplicates} needs the column {name}, which is"
            f" not there; map it (--columns {name}=NAME_IN_TABLE) or use --duplicates {_rules(frame)}"
        )
    values = numbers(frame, name, path)
    if duplicates == "massive":
        return np.where(np.isfinite(values), -values, np.inf)
    return np.where(values >= 0, values, np.inf)


def _rules(frame):
    """Return the rules of `--duplicates` that work with the columns of a table, as text."""
    return " or ".join([*(rule for rule, column in RANKED_BY.items() if column in frame), "first"])


def _illegal_rows(frame, kept, labels, drop, path):
    """Return which kept rows have labels that can't be; refuse them unless they shall be dropped."""
    bad = np.zeros(len(kept), bool)
    for name in labels:
        values = numbers(frame, name, path)[kept]
        wrong = illegal(name, values)
        bad |= wrong
        if wrong.any() and not drop:
            ids = frame["HSC_id"].to_numpy()[kept[wrong]]
            examples = [f"{id} ({value:g})" for id, value in zip(ids, values[wrong], strict=True)]
            raise UserError(
                f"{path}: column {name}: {wrong.sum()} of {len(kept)} matched rows are not {legal_range(name)}: HSC_id"
                f" {first_few(examples)}; correct them, or --bad-rows drop leaves their images unlabelled"
            )
    if bad.all():
        raise UserError(f"{path}: no matched row has legal labels ({', '.join(legal_range(name) for name in labels)})")
    return bad
