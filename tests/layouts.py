"""The survey of `conftest.make_survey` in every layout of files that convert reads."""

import h5py
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, QTable

from galaxycgan.images.pixel_units import njy_to_hsc_asinh

COUNT_NJY = 57.544  # of zero point 27
FILTERS = {"g": "HSC-G", "r": "HSC-R2", "i": "HSC-I"}


def positions(n):
    """Sky positions of objects 6 arcsec apart, by image: ra, dec in degrees."""
    return 150 + np.arange(n) / 600, np.linspace(2, 2.1, n)


def npy_directory(survey):
    """One npy file for each image, beside files of another kind."""
    path = survey.directory / "cutouts"
    path.mkdir()
    for id, image in zip(survey.ids, njy_to_hsc_asinh(survey.flux), strict=True):
        np.save(path / f"{id}-cutout.npy", image)
    (path / "README.txt").write_text("cutouts")
    (path / ".hidden.npy").write_text("not read")
    return path


def fits_directory(survey, size=61, zero_points=(27.0, 27.0, 30.0), wcs=True, images=None):
    """FITS cutouts as HSC's cutout service writes them, embedded in larger images; each band has its zero point."""
    path = survey.directory / "das"
    path.mkdir(exist_ok=True)
    ra, dec = positions(len(survey.ids))
    for k in range(len(survey.ids)) if images is None else images:
        id = survey.ids[k]
        for j, name in enumerate(FILTERS.values()):
            counts = embed(survey.flux[k, j], size) * 10 ** (0.4 * (zero_points[j] - 31.4))
            primary = fits.PrimaryHDU()
            primary.header["FLUXMAG0"] = 10 ** (0.4 * zero_points[j])
            header = celestial(ra[k], dec[k], size) if wcs else None
            image = fits.ImageHDU(counts.astype(np.float32), header=header)
            mask = fits.ImageHDU(np.zeros((size, size), np.int32))
            fits.HDUList([primary, image, mask]).writeto(path / f"{id}-cutout-{name}-9813-pdr2_dud.fits")
    return path


def embed(image, size):
    """Put an image into the middle of a larger one, pixel N // 2 at pixel M // 2."""
    large = np.full((size, size), -7.0)
    start = size // 2 - len(image) // 2
    large[start : start + len(image), start : start + len(image)] = image
    return large


def celestial(ra, dec, size):
    """Header of an image of 0.168 arcsec per pixel about a position."""
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRPIX1"] = header["CRPIX2"] = (size + 1) / 2
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CD1_1"], header["CD2_2"] = -0.168 / 3600, 0.168 / 3600
    return header


def five_bands(survey, size):
    """The survey's images in counts of zero point 27 in g,r,i,z,y, the last two empty, float32 [n, 5, size, size]."""
    images = np.zeros((len(survey.ids), 5, size, size), np.float32)
    for k, image in enumerate(survey.flux):
        images[k, :3] = [embed(band / COUNT_NJY, size) for band in image]
    return images


def one_row_each(survey):
    """The survey's table with one row for each image, in the order of the images."""
    table = survey.table.drop_duplicates("HSC_id", keep="last").set_index("HSC_id")
    return table.reindex(survey.ids)


def galaxiesml(survey, size=64, mass=True, **storage):
    """Write a GalaxiesML file: images and table in one."""
    path = survey.directory / "galaxiesml.hdf5"
    table = one_row_each(survey)
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=five_bands(survey, size), **storage)
        file["object_id"] = survey.ids
        file["specz_redshift"] = table.photo_z.fillna(0.5).to_numpy()
        file["specz_name"] = np.array([f"zCOSMOS-{k}" for k in range(len(table))], dtype="S")
        if mass:
            file["log_mass"] = table.log_mass.fillna(9.5).to_numpy()
        for k, band in enumerate("grizy"):
            file[f"{band}_cmodel_mag"] = 20.0 + k + np.zeros(len(table), np.float32)
    return path


def multimodal_universe(survey, size=160, ids=None, **storage):
    """Write a MultimodalUniverse HSC file."""
    path = survey.directory / "001-of-001.hdf5"
    n = len(survey.ids)
    images = five_bands(survey, size)
    mask = np.ones(images.shape, bool)
    mask[3, 0, size // 2, size // 2 - 5 : size // 2 + 5] = False  # 10 pixels in the middle
    mask[4, 0, 0, 0] = False  # outside the stamp
    ra, dec = positions(n)
    with h5py.File(path, "w") as file:
        file.create_dataset("image_array", data=images, **storage)
        file.create_dataset("image_mask", data=mask, **storage)
        file.create_dataset("image_ivar", data=np.ones_like(images[:, :, :2, :2]))
        bands = [b"hsc-g", b"hsc-r", b"hsc-i", b"hsc-z", b"hsc-y"]
        file.create_dataset("image_band", data=[bands] * n, dtype=h5py.string_dtype("utf-8", 5))
        psf = np.array([0.8, 0.75, 0.6, 0.7, 0.65]) + np.linspace(-0.05, 0.05, n)[:, None]
        file["image_psf_fwhm"] = psf.astype(np.float32)
        file["image_scale"] = np.full((n, 5), 0.168, np.float32)
        file["object_id"] = survey.ids if ids is None else ids
        file["ra"], file["dec"] = ra, dec
        file["i_cmodel_mag"] = np.full(n, 21.0)
    return path


def as_qtable(survey):
    """The survey's table as a QTable with units; integers stay integers."""
    table = QTable()
    for name in survey.table:
        values = survey.table[name]
        if values.isna().any() and values.dtype.kind == "i":
            table[name] = MaskedColumn(values.fillna(0).to_numpy(np.int64), mask=values.isna())
        else:
            table[name] = values.to_numpy(None if values.dtype.kind in "iufb" else str)
    for name in ("ra", "dec"):
        table[name] = table[name] * u.deg
    return table


def write_table(survey, kind):
    """Write the survey's table in another format; return its path."""
    path = survey.directory / TABLE_NAMES[kind]
    if kind == "CSV":
        survey.table.to_csv(path, index=False)
    elif kind == "Parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow: pip install 'galaxycgan[parquet]'")
        survey.table.to_parquet(path, index=False)
    elif kind == "HDF5":
        as_qtable(survey).write(path, path="objects", serialize_meta=True, overwrite=True)
    else:
        format = {"VOTable": "votable", "ECSV": "ascii.ecsv", "FITS": "fits"}[kind]
        as_qtable(survey).write(path, format=format, overwrite=True)
    return path


TABLE_NAMES = {
    "CSV": "objects.csv",
    "FITS": "objects.fits",
    "VOTable": "objects.vot",
    "ECSV": "objects.ecsv",
    "Parquet": "objects.parquet",
    "HDF5": "objects.hdf5",
}
TABLE_KINDS = tuple(TABLE_NAMES)


def blank(table, row, column):
    """Return a pandas table with one cell blank, integers staying integers."""
    table = table.astype({column: pd.Int64Dtype()})
    table.loc[row, column] = pd.NA
    return table
