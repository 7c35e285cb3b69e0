"""Which row of the survey table gives an image its labels, and what became of every other row."""

import dataclasses

import numpy as np
import pandas as pd

from galaxycgan.catalogs.schema.columns import free_name, illegal, legal_range
from galaxycgan.errors import UserError, first_few

#: What can become of a row of the table, and of an image.
ROW_FATES = ("kept", "another match", "not selected", "illegal labels", "no image", "no position")
IMAGE_FATES = ("labelled", "no row", "only unselected rows", "illegal labels")
#: Rules that choose among several rows of an image, and the column that each reads.
RULE_COLUMNS = {"nearest": "sep", "massive": "log_mass", "first": None}
#: Instead of an image, for a row without ra and dec.
NO_POSITION = -2


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


def match(table, ids, *, duplicates, labels, drop_illegal, image=None):
    """Give each image at most one row of the table.

    Rows that are not selected are never kept. The kept row's labels have to be legal: where they aren't, no other
    match takes its place, because that would give the image another galaxy's labels.

    Parameters
    ----------
    table : SurveyTable
        With HSC_id, the labels, and what the rule needs.
    ids : int64 array [n]
        Id of each image, unique.
    duplicates : str
        'nearest': smallest sep (blank or negative: last); 'massive': largest log_mass; 'first': first in the table;
        'error': several are refused. Ties go to the smallest COSMOS_id. `RULE_COLUMNS` has what a rule reads.
    labels : iterable of str
    drop_illegal : bool
        Go on without rows whose labels are illegal.
    image : int64 array [m], optional
        The image of each row, -1 for none, -2 where it has no position: of `nearest_image`. Without it, the one with
        the row's HSC_id.

    Returns
    -------
    Matching
    """
    placeless = np.zeros(len(table), bool) if image is None else image == NO_POSITION
    image = image_of_id(table, ids) if image is None else np.maximum(image, -1)
    selected = table.selected
    candidates = np.flatnonzero((image >= 0) & selected)
    if not len(candidates):
        raise UserError(
            f"{table.path}: column selected: every row that belongs to an image is unselected; nothing to label"
        )
    kept, ambiguous = _choose(table, candidates, image, ids, duplicates)
    row_fate = np.full(len(table), ROW_FATES.index("another match"), np.int8)
    row_fate[image < 0] = ROW_FATES.index("no image")
    row_fate[placeless] = ROW_FATES.index("no position")
    row_fate[(image >= 0) & ~selected] = ROW_FATES.index("not selected")
    bad = _illegal_rows(table, kept, labels, drop_illegal)
    row_fate[kept] = ROW_FATES.index("kept")
    row_fate[kept[bad]] = ROW_FATES.index("illegal labels")

    image_fate = np.full(len(ids), IMAGE_FATES.index("no row"), np.int8)
    image_fate[image[image >= 0]] = IMAGE_FATES.index("only unselected rows")
    image_fate[image[kept]] = IMAGE_FATES.index("labelled")
    image_fate[image[kept[bad]]] = IMAGE_FATES.index("illegal labels")
    row = np.full(len(ids), -1)
    row[image[kept[~bad]]] = kept[~bad]
    return Matching(row, image, row_fate, image_fate, ambiguous)


def image_of_id(table, ids):
    """Return for each row the index of the image with its HSC_id, -1 for none."""
    row_ids = table.ids
    order = np.argsort(ids)
    places = np.minimum(np.searchsorted(ids, row_ids, sorter=order), len(ids) - 1)
    image = np.where(ids[order[places]] == row_ids, order[places], -1)
    if not np.any(image >= 0):
        raise UserError(
            f"{table.path}: no HSC_id of the table belongs to an image: it has {first_few(row_ids, 2)}, the images"
            f" {first_few(ids, 2)}; --columns HSC_id=NAME_IN_TABLE maps another column, --match-radius 1.0 matches by"
            " position"
        )
    return image


def nearest_image(table, ra, dec, radius):
    """Find for each row the nearest object on the sky.

    Several rows may have the same object; a row near several objects belongs to the nearest of them.

    Parameters
    ----------
    table : SurveyTable
        With ra and dec; a row where one is blank is near nothing.
    ra, dec : float64 array [n]
        Positions of the images' objects in degrees, ICRS.
    radius : float
        arcsec.

    Returns
    -------
    image : int64 array [m]
        Index of the object within the radius, -1 for none, -2 (`NO_POSITION`) for a row without a position.
    sep : float64 array [m]
        Its distance in arcsec, NaN for none.
    """
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    row_ra, row_dec = table.ra_dec()
    image, sep = np.full(len(table), NO_POSITION), np.full(len(table), np.nan)
    known = np.flatnonzero(np.isfinite(row_ra) & np.isfinite(row_dec))
    if not len(known):
        raise UserError(f"{table.path}: no row has a position (ra, dec) for --match-radius")
    objects = SkyCoord(ra * u.deg, dec * u.deg)
    found, distance, _ = SkyCoord(row_ra[known] * u.deg, row_dec[known] * u.deg).match_to_catalog_sky(objects)
    distance = distance.to_value(u.arcsec)
    near = distance <= radius
    if not near.any():
        raise UserError(
            f"{table.path}: no row lies within {radius:g} arcsec of an image's object; the nearest is"
            f" {distance.min():.4g} arcsec away; see --match-radius and --columns ra=..., dec=..."
        )
    image[known] = np.where(near, found, -1)
    sep[known[near]] = distance[near]
    return image, sep


def with_match(table, ids, image, sep):
    """Return a table with HSC_id and sep as the match on the sky found them; its own columns get ``_original``.

    HSC_id is 0 in rows without an image, which no store keeps.
    """
    frame = table.frame
    own = {name: free_name(name, frame.columns) for name in ("HSC_id", "sep") if name in frame}
    found = pd.DataFrame({"HSC_id": np.where(image >= 0, ids[image], 0), "sep": sep}, index=frame.index)
    return dataclasses.replace(table, frame=pd.concat([found, frame.rename(columns=own)], axis=1))


def _choose(table, candidates, image, ids, duplicates):
    """Return the rows that are kept, one for each image that has candidates, and how many had a choice."""
    counts = np.bincount(image[candidates], minlength=len(ids))
    several = np.flatnonzero(counts > 1)
    rank = np.zeros(len(candidates))
    if len(several):
        if duplicates == "error":
            raise UserError(
                f"{table.path}: {len(several)} HSC_ids have several selected rows: {first_few(ids[several])};"
                f" choose with --duplicates {_other_rules(table, duplicates)}"
            )
        rank = _rank(table, duplicates)[candidates]
    tie = table.frame["COSMOS_id"].to_numpy()[candidates] if "COSMOS_id" in table else candidates
    if duplicates == "first":
        tie = candidates
    order = np.lexsort((candidates, tie, rank, image[candidates]))
    first = np.diff(image[candidates][order], prepend=-1) != 0
    return candidates[order][first], len(several)


def _rank(table, duplicates):
    """Return a number for each row, smallest is best."""
    name = RULE_COLUMNS[duplicates]
    if name is None:
        return np.zeros(len(table))
    if name not in table:
        raise UserError(
            f"{table.path}: several rows have the same HSC_id and --duplicates {duplicates} needs the column {name},"
            f" which is not there; map it (--columns {name}=NAME_IN_TABLE) or use --duplicates"
            f" {_other_rules(table, duplicates)}"
        )
    values = table.numbers(name)
    if duplicates == "massive":
        return np.where(np.isfinite(values), -values, np.inf)
    return np.where(values >= 0, values, np.inf)


def _other_rules(table, duplicates):
    """Name the other rules that choose among several rows and find what they need in this table."""
    rules = [rule for rule, name in RULE_COLUMNS.items() if rule != duplicates and _can_choose(table, name)]
    return " or ".join(filter(None, (", ".join(rules[:-1]), rules[-1])))


def _can_choose(table, name):
    """Return whether a table has the column of a rule, with numbers in it; a rule without a column always works."""
    try:
        return name is None or (name in table and np.isfinite(table.numbers(name)).any())
    except UserError:
        return False


def _illegal_rows(table, kept, labels, drop):
    """Return which kept rows have labels that can't be; refuse them unless they shall be dropped."""
    bad = np.zeros(len(kept), bool)
    for name in labels:
        values = table.numbers(name)[kept]
        wrong = illegal(name, values)
        bad |= wrong
        if wrong.any() and not drop:
            ids = table.ids[kept[wrong]]
            examples = [f"{id} ({value:g})" for id, value in zip(ids, values[wrong], strict=True)]
            raise UserError(
                f"{table.path}: column {name}: {wrong.sum()} of {len(kept)} matched rows are not {legal_range(name)}:"
                f" HSC_id {first_few(examples)}; correct them, or --bad-rows drop leaves their images unlabelled"
            )
    if bad.all():
        ranges = ", ".join(legal_range(name) for name in labels)
        raise UserError(f"{table.path}: no matched row has legal labels ({ranges})")
    return bad
