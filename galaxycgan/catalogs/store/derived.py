"""Stores made from other stores: what they keep of their origin, and whether one is there already. Selects nothing."""

import dataclasses

import numpy as np

from galaxycgan import __version__
from galaxycgan.catalogs.schema.columns import LEGAL_LABELS
from galaxycgan.catalogs.schema.values import PlainColumn
from galaxycgan.catalogs.store.checksums import damaged
from galaxycgan.catalogs.store.integrity import table_problems
from galaxycgan.catalogs.store.splits import NO_SPLIT, split_report
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.errors import UserError, first_few
from galaxycgan.provenance import tool_stamp

HINT = "give another --out, or --overwrite"


def open_verified(path):
    """Open a store whose ids, table and split are sound: what is made from it gets checksums that look as good as new.

    Images are too many to be read for that alone: `CheckedImages` looks at them where all are read anyway.

    Returns
    -------
    GalaxyStore
    """
    store = GalaxyStore(path)
    with store.open() as file:
        problems = table_problems(store, file)
    if problems:
        raise damaged(path, problems)
    return store


def store_record(store):
    """Return what a derived store's provenance says of a store that it was made from."""
    return {
        "file": store.path.name,
        "n": store.n,
        "fingerprint": store.fingerprint,
        "created": store.created,
        "provenance": store.provenance,
    }


def derived_header(header, context, **changes):
    """Return the header of a store made from one with `header`."""
    return dataclasses.replace(header, created=context.created, tool_version=__version__, **changes)


def derived_provenance(request, table, split):
    """Return the provenance of a derived store: the request, what carried it out, and how alike its splits are.

    Parameters
    ----------
    request : dict
        JSON values that decide the content.
    table : QTable [n]
    split : int8 array [n]
    """
    made = request | {"tool": tool_stamp()}
    if np.all(split == NO_SPLIT):
        return made
    names = [name for name in LEGAL_LABELS if name in table.colnames]
    columns = {name: PlainColumn.of(table[name]).values for name in names}
    labels = {name: values.astype(np.float64) for name, values in columns.items() if values.dtype.kind in "bif"}
    return made | {"report": {"splits": split_report(split, labels)}}


def is_made(out, request, inputs, overwrite):
    """Return whether `out` is this request's finished result; refuse another file in its place.

    Parameters
    ----------
    out : Path
    request : dict
        JSON values that decide the content; part of the result's provenance.
    inputs : iterable of Path
        Files that must not be replaced.
    overwrite : bool
        Replace what is there.
    """
    for path in inputs:
        if out.exists() and out.samefile(path):
            raise UserError(f"{out}: --out is an input file; give another name")
    if out.is_dir():
        raise UserError(f"{out}: a directory; --out takes a file name")
    if overwrite or not out.exists():
        return False
    try:
        made = GalaxyStore(out).provenance
    except UserError as error:
        raise UserError(f"{error}; {HINT}") from None
    other = [key for key, value in request.items() if made.get(key) != value]
    if other:
        raise UserError(f"{out}: is there already and was made by another request ({first_few(other)} differ); {HINT}")
    return True
