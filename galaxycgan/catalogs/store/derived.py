"""Stores made from other stores: what they keep of their origin, and whether one is there already."""

import dataclasses

import numpy as np

from galaxycgan import __version__
from galaxycgan.catalogs.schema.columns import LEGAL_LABELS
from galaxycgan.catalogs.schema.values import PlainColumn
from galaxycgan.catalogs.store.checksums import damaged
from galaxycgan.catalogs.store.integrity import table_problems
from galaxycgan.catalogs.store.splits import NO_SPLIT, split_report
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.provenance import tool_stamp
from galaxycgan.resume import Found, check_output_file, existing_result


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


def existing_store(out, request, inputs, overwrite, context):
    """Decide what happens where a store made from others may be there already; see `galaxycgan.resume`.

    Parameters
    ----------
    out : Path
    request : dict
        JSON values that decide the content; part of the result's provenance.
    inputs : iterable of Path
        Files that must not be replaced.
    overwrite : bool
        Replace what is there.
    context : galaxycgan.context.Context

    Returns
    -------
    Decision
    """

    def read():
        if not out.exists():
            return None
        made = GalaxyStore(out).provenance
        return Found({name: made.get(name) for name in request})

    check_output_file(out, inputs)
    return existing_result(out, request, read, overwrite=overwrite, context=context)
