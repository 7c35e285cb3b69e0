"""The command ``select``: some galaxies of a store become a store of their own."""

import gzip
import re
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.formats.npy import NpyFile, check_file
from galaxycgan.catalogs.formats.suffixes import check_store_suffix
from galaxycgan.catalogs.inputs.raw_tables import GZIP_ERRORS, GZIP_MAGIC, read_raw
from galaxycgan.catalogs.store.conditions import evaluate
from galaxycgan.catalogs.store.derived import (
    derived_header,
    derived_provenance,
    existing_store,
    open_verified,
    store_record,
)
from galaxycgan.catalogs.store.splits import split_lines
from galaxycgan.catalogs.store.store import SPLITS, GalaxyStore
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.atomic import file_record
from galaxycgan.randomness import make_rng
from galaxycgan.resume import Decision


def select(config, context):
    """Write a store of the galaxies that fulfil all conditions given, in the order of the source.

    Parameters
    ----------
    config : galaxycgan.config.Select
    context : galaxycgan.context.Context

    Raises
    ------
    UserError
        For a condition that can't be read, ids that are not there, or where nothing is left.
    """
    _check(config)
    path, out = Path(config.store), Path(config.out)
    with GalaxyStore(path) as store:
        request = _request(config, store)
    inputs = [path, *([config.ids] if config.ids else [])]
    if existing_store(out, request, inputs, config.overwrite, context) is Decision.MADE:
        return
    with open_verified(path) as store:
        rows, steps = choose(config, store)
        provenance = derived_provenance(request, store.table[rows], store.split[rows])
        _write(store, rows, out, provenance, context)
    words = [f"{out}: {len(rows):,} of {store.n:,} galaxies of {path}", *(f"  {step}" for step in steps)]
    context.say("\n".join([*words, *split_lines(provenance.get("report", {}).get("splits"))]))


def _check(config):
    if not config.out:
        raise UserError("--out is missing: name the store to write")
    check_store_suffix(config.out)
    if not (config.where or config.ids or config.split != "all" or config.sample):
        raise UserError("no condition: give --where, --ids, --split or --sample")


def _request(config, store):
    """Return what decides the content of the new store."""
    options = {name: getattr(config, name) for name in ("where", "split", "missing_ids", "sample", "seed")}
    sources = {"store": store_record(store)}
    if config.ids:
        sources["ids"] = file_record(check_file(config.ids, "--ids"))
    return {"command": "select", "config": options, "sources": sources}


def choose(config, store):
    """Return the rows that fulfil all conditions, and what each condition left in words.

    Parameters
    ----------
    config : galaxycgan.config.Select
    store : GalaxyStore

    Returns
    -------
    int64 array [k], list of str
        Rows in the store's order.
    """
    kept, steps = np.ones(store.n, bool), []

    def apply(condition, words):
        kept[:] &= condition
        steps.append(f"{words}: {np.sum(condition):,}, with all before {kept.sum():,}")
        if not kept.any():
            raise UserError(f"{store.path}: no galaxy is left ({'; '.join(steps)}); nothing is written")

    if config.where:
        apply(where(config.where, store), f"--where {config.where}")
    if config.split != "all":
        apply(store.split == SPLITS[config.split], f"--split {config.split}")
    if config.ids:
        apply(_with_ids(config, store), f"--ids {config.ids}")
    rows = np.flatnonzero(kept)
    if config.sample:
        if config.sample > len(rows):
            raise UserError(f"{store.path}: --sample {config.sample}: only {len(rows):,} are left to draw from")
        rows = np.sort(make_rng(config.seed, "select").permutation(rows)[: config.sample])
        steps.append(f"--sample {config.sample} --seed {config.seed}: {len(rows):,}")
    return rows, steps


def where(text, store, option="--where"):
    """Return which galaxies of a store fulfil a condition over its columns and `split`: bool [n]."""
    own = {"split": lambda: store.split.astype(np.int64)}
    names = [*store.columns, *(name for name in own if name not in store.columns)]
    return evaluate(text, lambda name: own[name]() if name in own else store.column(name), names, store.n, option)


def _with_ids(config, store):
    """Return which galaxies are named in the file of --ids."""
    wanted = read_id_list(config.ids, store.id_column)
    missing = np.setdiff1d(wanted, store.ids)
    if len(missing) and config.missing_ids == "refuse":
        raise UserError(
            f"{config.ids}: {len(missing):,} of {len(np.unique(wanted)):,} ids are not in {store.path}: "
            f"{first_few(missing)}; --missing-ids drop leaves them out"
        )
    return np.isin(store.ids, wanted)


def read_id_list(path, id_column="HSC_id"):
    """Read a list of ids: an npy file, text with one id on a line (# starts a comment), or a table of any format.

    Parameters
    ----------
    path : str or Path
    id_column : str
        The table's column; one that has a single column may call it as it likes.

    Returns
    -------
    int64 array [k]
        Exact: what is no whole number is refused, with its line.
    """
    path = check_file(path, "--ids")
    if path.suffix.lower() == ".npy":
        return _npy_ids(path)
    lines = _plain_lines(path)
    if lines is not None:
        return np.array([_whole_number(text, k, path) for k, text in lines], dtype=np.int64)
    table = read_raw(path, "--ids", (id_column,))
    names = table.frame.columns
    if id_column not in table and len(names) != 1:
        raise UserError(f"{path}: no column {id_column}; it has {first_few(names, 30)}")
    return table.whole_numbers(id_column if id_column in table else names[0])


def _npy_ids(path):
    file = NpyFile(path, "--ids")
    if file.dtype.kind not in "iu" or len(file.shape) != 1:
        raise UserError(f"{path}: ids must be a list of integers, these are {file.dtype} {list(file.shape)}")
    return file.rows(np.arange(file.shape[0])).astype(np.int64)


def _plain_lines(path):
    """Return [(line number, text)] of a file that starts with a bare number; None for a table."""
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data.startswith(GZIP_MAGIC) else data).decode("utf-8-sig")
    except GZIP_ERRORS:
        raise UserError(f"{path}: damaged gzip file") from None
    except UnicodeDecodeError:
        return None
    lines = [(k, line.partition("#")[0].strip(" \t\"'")) for k, line in enumerate(text.splitlines(), start=1)]
    lines = [(k, line) for k, line in lines if line]
    return lines if lines and re.fullmatch(r"[+-]?[0-9.]+(e[+-]?\d+)?", lines[0][1], re.IGNORECASE) else None


def _whole_number(text, line, path):
    if not re.fullmatch(r"[+-]?\d{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise UserError(f"{path}: line {line}: '{text}' is not a whole number of 64 bits, as ids must be")
    return int(text)


def _write(store, rows, out, provenance, context):
    """Write the galaxies at `rows` with all that belongs to them."""
    header = derived_header(store.header, context)
    matches = store.matches
    if matches is not None:
        matches = matches[np.isin(matches[store.id_column], store.ids[rows])]
    with StoreWriter(out, n=len(rows), header=header, noiseless=store.has_noiseless) as writer:
        with context.progress("select", len(rows), "images") as progress:
            done = 0
            for piece, images in store.pieces("images", rows):
                context.check()
                writer.append(images, *([store.noiseless(piece)] if store.has_noiseless else []))
                done += len(piece)
                progress.at(done)
        writer.finish(
            ids=store.ids[rows],
            catalog=store.table[rows],
            split=store.split[rows],
            matches=matches,
            provenance=provenance,
        )
