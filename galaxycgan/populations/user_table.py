"""The user's own table of galaxies: labels to paint, and columns that ride along."""

from pathlib import Path

import numpy as np
from astropy.table import QTable

from galaxycgan.catalogs.inputs.survey_table import SurveyTable
from galaxycgan.catalogs.schema.columns import free_name, illegal, is_measured, legal_range
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.atomic import file_record

OPTION = "--table"


class Lightcone:
    """A table of any format that `SurveyTable.read` takes, each row of which becomes a galaxy.

    Parameters
    ----------
    recipe : Recipe
        Of the kind 'table'.
    columns : tuple of str
        Labels that the generator takes.
    categories : tuple of tuples of float
        For each of them the values that it may have, where these are categories; () where it holds numbers.
    bands : tuple of str
        Of the generator.

    Attributes
    ----------
    labels : float64 array [n, column]
    extra : QTable [n] or None
        All other columns with their units; one that has a measured column's name gets ``_original`` appended. None
        where there are none: a table without columns has no rows either.
    about : dict
        JSON values: the file with its SHA-256, and what was converted.

    Raises
    ------
    UserError
        Where a column is missing or a label is illegal; the message names the first rows.
    """

    def __init__(self, recipe, columns, categories, bands):
        path = Path(recipe.options["file"])
        table = SurveyTable.read(path, recipe.options.get("columns", {}), option=OPTION, bands=bands, keys=())
        table.require(columns)
        self.labels = np.stack([table.numbers(name) for name in columns], -1)
        self._refuse_illegal(path, columns, categories)
        everything = table.take(np.arange(len(table)), bands)
        extra = QTable()
        for name in (name for name in everything.colnames if name not in columns):
            title = free_name(name, everything.colnames) if is_measured(name, bands) else name
            extra[title] = everything[name]
        self.extra = extra if extra.colnames else None
        self.about = {"table": file_record(path), "notes": list(table.notes)}

    def _refuse_illegal(self, path, columns, categories):
        for k, (name, values) in enumerate(zip(columns, categories, strict=True)):
            found = self.labels[:, k]
            rows = np.flatnonzero(~np.isin(found, values) if values else illegal(name, found))
            if len(rows):
                known = ", ".join(f"{value:g}" for value in values)
                may_be = f"the training galaxies' categories are {known}" if values else legal_range(name)
                raise UserError(
                    f"{path}: column {name}: {len(rows):,} rows can't be labels ({may_be}): row"
                    f" {first_few(rows + 1)} of the data; select the others first"
                )
