"""Reads tables of every format that astronomers use, as they are in the file.

The format is recognised by the first bytes, not by the suffix. Nothing is unpickled and nothing of a file is executed.
"""

import gzip
import warnings
import zlib
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from galaxycgan.catalogs.formats.hdf5 import HDF5_MAGIC, datasets, describe_contents, first_line, open_hdf5
from galaxycgan.catalogs.formats.npy import check_file
from galaxycgan.catalogs.inputs.file_table import FileTable
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.streaming import BLOCK_BYTES

GZIP_MAGIC = b"\x1f\x8b"
#: So many bytes are enough to recognise the format.
PEEK_BYTES = 2048
#: What damaged gzip files raise.
GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True, eq=False)
class RawTable(FileTable):
    """A table as it is in its file.

    Attributes
    ----------
    left_out : list of str
        Columns that hold more than one value in a row.
    """

    left_out: list = field(default_factory=list)


def read_raw(path, option, text_columns=(), all_matches=False):
    """Read a table of any known format: CSV, FITS, VOTable, ECSV, Parquet or HDF5.

    Parameters
    ----------
    path : str or Path
    option : str
        The option that names it, for messages.
    text_columns : iterable of str
        Columns that are read as text where the file has no types of its own (CSV): ids.
    all_matches : bool
        Of a galaxycgan store, all rows of the survey's table that point at its galaxies; else its catalog, a row each.

    Returns
    -------
    RawTable
    """
    path = check_file(path, option)
    kind = format_of(path)
    if kind != "CSV" and _is_gzipped(path):
        _check_gzip(path, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = {
            "FITS": lambda: _read_astropy(path, "FITS", "fits"),
            "VOTable": lambda: _read_astropy(path, "VOTable", "votable"),
            "ECSV": lambda: _read_astropy(path, "ECSV", "ascii.ecsv"),
            "Parquet": lambda: _read_parquet(path),
            "HDF5": lambda: _read_hdf5(path, all_matches),
            "CSV": lambda: _read_csv(path, text_columns),
        }[kind]()
    if not len(table.frame):
        raise UserError(f"{path}: a table without rows")
    return table


def _is_gzipped(path):
    with open(path, "rb") as file:
        return file.read(2) == GZIP_MAGIC


def _check_gzip(path, kind):
    """Read a gzipped file to its end, where its checksum is: astropy stops before."""
    if kind in ("Parquet", "HDF5"):
        raise UserError(f"{path}: {kind} in gzip; gunzip it first")
    try:
        with gzip.open(path) as file:
            while file.read(BLOCK_BYTES):
                pass
    except GZIP_ERRORS:
        raise UserError(f"{path}: damaged gzip file") from None


def format_of(path):
    """Recognise a table's format by its first bytes; what is nothing else is CSV."""
    with open(path, "rb") as file:
        start = file.read(PEEK_BYTES)
    if start.startswith(GZIP_MAGIC):
        try:
            with gzip.open(path) as file:
                start = file.read(PEEK_BYTES)
        except GZIP_ERRORS:
            raise UserError(f"{path}: damaged gzip file") from None
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"SIMPLE  ="):
        return "FITS"
    if start.startswith(b"PAR1"):
        return "Parquet"
    if start.startswith(HDF5_MAGIC):
        return "HDF5"
    if text.startswith(b"# %ECSV"):
        return "ECSV"
    if text.startswith((b"<?xml", b"<VOTABLE", b"<!--")):
        return "VOTable"
    return "CSV"


def _read_csv(path, text_columns):
    settings = {"compression": "gzip" if _is_gzipped(path) else None, "encoding": "utf-8-sig", "skipinitialspace": True}
    try:
        header = pd.read_csv(path, nrows=0, index_col=False, **settings)
        names = {column.strip(): column for column in header.columns}
        ids = {names[name]: str for name in text_columns if name in names}
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, dtype=ids, dtype_backend="numpy_nullable", index_col=False, **settings)
    except GZIP_ERRORS:
        raise UserError(f"{path}: damaged gzip file") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV: {first_line(error)}") from None
    frame.columns = [column.strip() for column in frame.columns]
    return RawTable(path, frame)


def _read_astropy(path, name, format, where=None):
    """Read a file with `astropy.table`; `where` names a table in it."""
    from astropy.table import Table

    # The first table of a FITS file or VOTable, as other tools do.
    where = where or {"votable": {"table_id": 0, "use_names_over_ids": True}}.get(format, {})
    try:
        table = Table.read(path, format=format, **where)
        if format == "fits":
            _mask_flags(table, path)
    except MemoryError:
        raise
    except Exception as error:  # astropy's readers raise errors of any kind for damaged files
        raise UserError(f"{path}: not a readable {name} table: {first_line(error)}") from None
    return _from_astropy(path, table)


def _mask_flags(table, path):
    """Mask the flags of a FITS table that are neither true nor false; astropy takes them for false."""
    from astropy.io import fits
    from astropy.table import MaskedColumn

    names = [name for name in table.colnames if table[name].dtype.kind == "b" and table[name].ndim == 1]
    if not names:
        return
    with fits.open(path) as hdus:
        tables = (hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU) and hdu.columns.names == table.colnames)
        data = next(tables).data.view(np.ndarray)
        for name in names:
            if np.any(missing := data[name] == 0):
                table[name] = MaskedColumn(table[name], mask=missing)


def _from_astropy(path, table):
    """Take the columns of an astropy table that have one value in a row."""
    from astropy import units as u
    from astropy.table import Column

    plain = [name for name in table.colnames if isinstance(table[name], Column) or hasattr(table[name], "unit")]
    plain = [name for name in plain if np.shape(table[name])[1:] == () and np.ndim(table[name]) == 1]
    units, descriptions, columns = {}, {}, {}
    for name in plain:
        column = table[name]
        info = column.info
        if info.unit not in (None, u.dimensionless_unscaled) and not isinstance(info.unit, u.UnrecognizedUnit):
            units[name] = info.unit
        if info.description:
            descriptions[name] = str(info.description)
        columns[name] = to_series(np.ma.asarray(getattr(column, "value", column)))
    left_out = [name for name in table.colnames if name not in plain]
    return RawTable(path, pd.DataFrame(columns), units, descriptions, left_out=left_out)


def to_series(values):
    """Return a plain or masked array [n] as a pandas Series of a nullable dtype."""
    mask = np.broadcast_to(np.ma.getmaskarray(values), values.shape)
    data = np.ma.getdata(values)
    if data.dtype.kind in "SO":
        data = np.array([item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in data], object)
    if data.dtype.kind not in "biuf":  # text, dates, complex numbers: what str makes of them
        return pd.Series(pd.array(np.where(mask, None, data.astype(str).astype(object)), dtype="string"))
    data = data.astype(data.dtype.newbyteorder("="))
    if data.dtype.kind == "f":
        return pd.Series(np.where(mask, np.nan, data.astype(np.float64)))
    if data.dtype.kind == "b":
        return pd.Series(pd.arrays.BooleanArray(data, mask.copy()))
    return pd.Series(pd.arrays.IntegerArray(data, mask.copy()))


def _read_parquet(path):
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(f"{path}: Parquet needs pyarrow: pip install 'galaxycgan[parquet]'") from None

    def dtype_of(kind):
        if pa.types.is_integer(kind):
            return pd.Int64Dtype() if pa.types.is_signed_integer(kind) else pd.UInt64Dtype()
        return pd.BooleanDtype() if pa.types.is_boolean(kind) else None

    try:
        with pq.ParquetFile(path) as file:
            fields = list(file.schema_arrow)
            names = [one.name for one in fields]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise UserError(f"{path}: column '{twice[0]}' comes twice")
            plain = [one.name for one in fields if one.name and not pa.types.is_nested(one.type)]
            table = file.read(columns=plain)
        frame = table.to_pandas(types_mapper=dtype_of, ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable Parquet table: {first_line(error)}") from None
    for name in frame:
        if frame[name].dtype.kind == "f":
            frame[name] = frame[name].astype(np.float64)
    units = _parquet_units({one.name: (one.metadata or {}).get(b"unit") for one in fields})
    return RawTable(path, frame, units, left_out=[name or "(no name)" for name in names if name not in plain])


def _parquet_units(texts):
    """Return the units of a Parquet file whose fields have them as metadata."""
    from astropy import units as u

    found = {name: u.Unit(text.decode(), parse_strict="silent") for name, text in texts.items() if text}
    return {name: unit for name, unit in found.items() if not isinstance(unit, u.UnrecognizedUnit)}


def _read_hdf5(path, all_matches):
    """Read an astropy table in an HDF5 file, or its 1-D datasets, which are then the columns."""
    of_store = ("matches", "catalog") if all_matches else ("catalog", "matches")
    with open_hdf5(path) as file:
        tables = [name for name, dataset in datasets(file).items() if dataset.dtype.names]
        if not tables:
            return _read_columns(path, file)
    name = next((name for name in of_store if name in tables), tables[0])
    if len(tables) > 1 and name not in of_store:
        raise UserError(f"{path}: several tables, {first_few(tables)}: write the one to use to a file of its own")
    return _read_astropy(path, "HDF5", "hdf5", {"path": name, "character_as_bytes": False})


def _read_columns(path, file):
    """Read the 1-D datasets of an HDF5 file as columns."""
    found = datasets(file)
    lengths = {name: len(dataset) for name, dataset in found.items() if dataset.ndim == 1}
    if not lengths:
        raise UserError(f"{path}: an HDF5 file without a table: it has {describe_contents(file)}")
    n = lengths.get("object_id", lengths.get("HSC_id", max(lengths.values())))
    names = [name for name, length in lengths.items() if length == n and _is_plain(found[name].dtype)]
    frame = pd.DataFrame({name: to_series(np.ma.asarray(found[name][()])) for name in names})
    implied = {"HSC_id": "object_id", "photo_z": "specz_redshift"}
    implied = {name: source for name, source in implied.items() if source in names and name not in names}
    left_out = [name for name in found if name not in names and not name.startswith("image")]
    return RawTable(path, frame, columns=implied, left_out=left_out)


def _is_plain(dtype):
    """Return whether a dataset holds numbers, flags or text, not references or ragged arrays."""
    import h5py

    return dtype.kind in "iufbS" or h5py.check_string_dtype(dtype) is not None
