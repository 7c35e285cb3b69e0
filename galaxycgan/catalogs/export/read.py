"""Read catalogs back, FITS and the table formats that `export` writes, with all their units."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, QTable

from galaxycgan.catalogs.export.tables import read_table
from galaxycgan.catalogs.formats.fits import NO_FLAG
from galaxycgan.catalogs.formats.suffixes import TABLE_SUFFIXES
from galaxycgan.catalogs.schema.values import unit_meant
from galaxycgan.errors import UserError


def read_catalog(path):
    """Read a catalog's table with all its units: AB magnitudes and dex(solMass) too.

    Parameters
    ----------
    path : str or Path
        FITS; also VOTable, ECSV and Parquet that ``export`` wrote.

    Returns
    -------
    QTable [n]
        Missing integers and flags are masked. `meta` has the primary header's keywords.
    """
    if Path(path).suffix.lower() in TABLE_SUFFIXES:
        return read_table(path)
    with _open(path) as hdus:
        hdu = _hdu(hdus, "CATALOG", path)
        table = QTable(
            meta={key: value for key, value in hdus[0].header.items() if key not in ("COMMENT", "HISTORY", "")}
        )
        for k, name in enumerate(hdu.columns.names, start=1):
            values, missing = _values(hdu, name, hdu.header.get(f"TNULL{k}"))
            comment = hdu.header.get(f"TCOMM{k}", "")
            unit = unit_meant(hdu.header.get(f"TUNIT{k}"), comment, "fits")
            if np.any(missing):
                values = MaskedColumn(values, mask=missing)
            table[name] = values if unit is None else values * unit
            table[name].info.description = comment
    return table


def _values(hdu, name, null):
    """Return a column's values, and which of its integers and flags are missing."""
    if hdu.columns[name].format == "L":  # astropy takes a flag that is neither true nor false for false
        letters = hdu.data.view(np.ndarray)[name]
        return letters == ord("T"), letters == ord(NO_FLAG)
    values = np.array(hdu.data[name])
    return values.astype(values.dtype.newbyteorder("=")), False if null is None else values == null


def read_fits_images(path, rows=None, name="IMAGES"):
    """Read images of a FITS catalog.

    Parameters
    ----------
    path : str or Path
    rows : slice, int array, bool mask, optional
    name : str
        'IMAGES' or 'NOISELESS'.

    Returns
    -------
    float32 array [k, band, y, x]
    """
    with _open(path) as hdus:
        data = _hdu(hdus, name, path).data
        return np.array(data if rows is None else data[rows], dtype=np.float32)


def _open(path):
    try:
        return fits.open(path, memmap=True)
    except OSError as error:
        raise UserError(f"{path}: can't be opened as FITS ({error})") from None


def _hdu(hdus, name, path):
    if name not in hdus:
        raise UserError(f"{path}: no HDU {name}; it has {', '.join(hdu.name for hdu in hdus)}")
    return hdus[name]
