"""A store's table as VOTable, ECSV, Parquet or CSV, and back with its units.

Every format keeps ids to the last digit and a missing value missing. Units, descriptions, UCDs and where the catalog
came from travel in all but CSV, which has no place for them.
"""

import csv
import functools
import json
import re
from pathlib import Path

import numpy as np
from astropy.table import QTable, Table

from galaxycgan import __version__
from galaxycgan.catalogs.formats.suffixes import TABLE_SUFFIXES
from galaxycgan.catalogs.formats.votable import binary2, votable_text
from galaxycgan.catalogs.schema.columns import describe_column
from galaxycgan.catalogs.schema.values import PlainColumn, meaning, unit_meant
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import atomic_path
from galaxycgan.resume import Decision, Found, check_output_file, existing_result

#: A file of the same store is known by its head, in which the store's id stands.
HEAD_BYTES = 4 << 20
STORE_ID = re.compile(rb"[0-9a-f]{64}@[0-9TZ:.+-]+")
ROWS_AT_ONCE = 4096


def write_table(store_path, out_path, *, overwrite=False, context=None):
    """Write a store's table; the suffix decides the format.

    Parameters
    ----------
    store_path, out_path : str or Path
    overwrite : bool
        Replace a file made from another store, and any CSV, which doesn't say what it was made from.
    context : galaxycgan.context.Context, optional
        Says where the file was there already.

    Returns
    -------
    bool
        False where the file was there already, made from the same store.
    """
    out = Path(out_path)
    kind = TABLE_SUFFIXES[out.suffix.lower()]
    if kind == "Parquet":
        _pyarrow(out)
    with GalaxyStore(store_path) as store:
        request, read = _origin(_store_id(store)), functools.partial(_found, out, kind, _store_id(store))
        decision = existing_result(out, request, read, option="to", overwrite=overwrite, context=context)
        if decision is Decision.MADE:
            return False
        writers = {"VOTable": _write_votable, "ECSV": _write_ecsv, "Parquet": _write_parquet, "CSV": _write_csv}
        with atomic_path(out) as temporary:
            writers[kind](store, temporary)
    return True


def _pyarrow(path):
    """Return pyarrow and its Parquet module, which not everybody needs."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(f"{path}: Parquet needs pyarrow: pip install 'galaxycgan[parquet]'") from None
    return pa, pq


def _found(out, kind, store_id):
    """Return the table that is there, with the store that it was made from where it says so."""
    if not out.exists():
        return None
    check_output_file(out, [], "to")
    head = _head(out, kind)
    if store_id.encode() in head:
        return Found(_origin(store_id))
    other = STORE_ID.search(head)
    return Found(_origin(other[0].decode()) if other else None)


def _origin(store_id):
    """Return what decides the content of a table, from the id of its store."""
    fingerprint, _, created = store_id.partition("@")
    return {"store": fingerprint, "store made": created}


def _head(out, kind):
    """Return the part of a file that may hold a store's id."""
    if kind == "Parquet":
        pa, pq = _pyarrow(out)
        try:
            return (pq.read_schema(out).metadata or {}).get(b"store_id", b"")
        except (pa.ArrowException, OSError):
            return b""
    with open(out, "rb") as file:
        return file.read(HEAD_BYTES)


def _store_id(store):
    """Return what tells a store's content and moment from any other's."""
    return f"{store.fingerprint}@{store.created}"


def metadata(store):
    """Return what holds for all galaxies of a store, and where they came from: dict of JSON values."""
    header = store.header
    values = {
        "store_id": _store_id(store),
        "creator": f"galaxycgan {__version__}",
        "created": store.created,
        "synthetic": store.synthetic,
        "id_column": store.id_column,
        "bands": list(store.bands),
        "filters": list(store.filters),
        "psf_fwhm_arcsec": [None if np.isnan(value) else float(value) for value in store.psf_fwhm],
        "pixel_scale_arcsec": float(store.pixel_scale),
        "pixel_unit": store.pixel_unit,
        "mass_convention": header.mass_convention,
        "split_salt": header.split_salt,
        "split_fractions": list(header.split_fractions),
    }
    return values | {"provenance": json.dumps(without_reports(store.provenance), sort_keys=True)}


def without_reports(made):
    """Return a provenance without the conversion reports, also of the stores that it was made from."""
    if isinstance(made, dict):
        return {key: without_reports(value) for key, value in made.items() if key != "report"}
    return made


def _texts(store):
    """Return `metadata` with every value as text."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in metadata(store).items()
    }


def _columns(store):
    return {name: PlainColumn.of(store.table[name]) for name in store.columns}


def _votable_meanings(store, columns):
    return {
        name: meaning(column.unit, column.description, describe_column(name, store.bands), "vounit")
        for name, column in columns.items()
    }


def _write_votable(store, path):
    columns = _columns(store)
    with open(path, "w", encoding="utf-8") as file:
        meanings = _votable_meanings(store, columns)
        file.writelines(votable_text("CATALOG", columns, meanings, _texts(store), binary2(columns)))


def _write_ecsv(store, path):
    """Write ECSV: astropy writes the header, but takes five times as long as `_text_rows` for the rows."""
    columns, head = _columns(store), Table(meta=metadata(store))
    for name, column in columns.items():
        about = describe_column(name, store.bands)
        head[name] = column.values[:0]
        head[name].unit = column.unit
        head[name].description = column.description or about.description
        head[name].meta["ucd"] = about.ucd
    with open(path, "w", encoding="utf-8", newline="") as file:
        head.write(file, format="ascii.ecsv", delimiter=",")
        csv.writer(file, lineterminator="\n").writerows(_text_rows(columns, nan="nan"))


def _write_csv(store, path):
    columns = _columns(store)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(_text_rows(columns, nan=""))


def _text_rows(columns, nan):
    """Yield rows of text: floats with the digits that give them back exactly, missing integers and flags blank."""
    for start in range(0, len(next(iter(columns.values())).values), ROWS_AT_ONCE):
        parts = [column.take(slice(start, start + ROWS_AT_ONCE)) for column in columns.values()]
        yield from zip(*(_words(part, nan) for part in parts), strict=True)


def _words(column, nan):
    words = column.values.astype(str)
    if column.values.dtype.kind == "f":
        words[np.isnan(column.values)] = nan
    words[column.missing] = ""
    return words.tolist()


def _frame(columns):
    """Return columns as a DataFrame whose integers and flags stay what they are beside missing values."""
    import pandas as pd  # half a second, which `generate` and FITS files don't owe

    nullable = {"i": pd.arrays.IntegerArray, "b": pd.arrays.BooleanArray}
    return pd.DataFrame(
        {
            name: nullable[one.values.dtype.kind](one.values, one.missing) if one.missing.any() else one.values
            for name, one in columns.items()
        }
    )


def _write_parquet(store, path):
    """Write Parquet; units are in each field's metadata and, after the VOParquet convention, in a VOTable header.

    https://www.ivoa.net/documents/Notes/VOParquet/
    """
    pa, pq = _pyarrow(path)
    columns = _columns(store)
    table = pa.Table.from_pandas(_frame(columns), preserve_index=False)
    fields = []
    for field in table.schema:
        column, about = columns[field.name], describe_column(field.name, store.bands)
        facts = {"description": column.description or about.description, "ucd": about.ucd}
        fields.append(field.with_metadata(facts | ({"unit": str(column.unit)} if column.unit is not None else {})))
    header = votable_text("CATALOG", columns, _votable_meanings(store, columns), _texts(store))
    facts = {"IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": "".join(header)}
    known = (table.schema.metadata or {}) | {key.encode(): value.encode() for key, value in _texts(store).items()}
    known |= {key.encode(): value.encode() for key, value in facts.items()}
    pq.write_table(table.cast(pa.schema(fields)).replace_schema_metadata(known), path)


def read_table(path):
    """Read a table that `write_table` wrote, with all its units: AB magnitudes and dex(solMass) too.

    Parameters
    ----------
    path : str or Path
        VOTable, ECSV or Parquet.

    Returns
    -------
    QTable [n]
        Missing integers and flags are masked, missing floats NaN, missing text ''. `meta` has what `metadata` wrote.
    """
    kind = TABLE_SUFFIXES.get(Path(path).suffix.lower())
    readers = {"VOTable": _read_votable, "ECSV": _read_ecsv, "Parquet": _read_parquet}
    if kind not in readers:
        known = ", ".join(suffix for suffix, one in TABLE_SUFFIXES.items() if one in readers)
        raise UserError(f"{path}: tables with units are {known}")
    try:
        columns, meta = readers[kind](path)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path}: can't be read as {kind}: {str(error).splitlines()[0]}") from None
    table = QTable(meta=meta)
    for name, column in columns.items():
        table[name] = column.to_astropy()
    return table


def _read_votable(path):
    from astropy.io import votable

    file = votable.parse(path)
    table = file.get_first_table()
    columns = {}
    for field, array in ((field, table.array[field.ID]) for field in table.fields):
        plain = PlainColumn.of(Table({"column": array})["column"])
        unit = unit_meant("" if field.unit is None else field.unit.to_string(), field.description, "vounit")
        columns[field.name] = PlainColumn(plain.values, plain.missing, unit, field.description or "")
    return columns, {info.name: info.value for info in file.resources[0].infos}


def _read_ecsv(path):
    table = Table.read(path, format="ascii.ecsv")
    return {name: PlainColumn.of(table[name]) for name in table.colnames}, dict(table.meta)


def _read_parquet(path):
    _, pq = _pyarrow(path)
    table = pq.read_table(path)
    columns = {}
    for field, array in zip(table.schema, table.columns, strict=True):
        facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        missing = array.is_null().to_numpy()
        empty = {"int64": 0, "bool": False, "float": np.nan, "double": np.nan}.get(str(field.type), "")
        values = array.fill_null(empty).to_numpy()
        values = values.astype(str) if values.dtype.kind == "O" else values
        missing = missing if values.dtype.kind in "bi" else np.zeros(len(values), bool)
        unit = unit_meant(facts.get("unit"), "", None)
        columns[field.name] = PlainColumn(values, missing, unit, facts.get("description", ""))
    meta = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    return columns, {key: value for key, value in meta.items() if key != "pandas" and not key.startswith("IVOA.")}
