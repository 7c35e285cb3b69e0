"""Every mistake in the input is one clear line and exit code 2, and leaves nothing half-written."""

import contextlib
import gzip
import os
import resource
import tempfile
from pathlib import Path

import h5py
import layouts
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table
from conftest import make_survey

from galaxycgan.catalogs.store.store import StoreHeader
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.images.pixel_units import njy_to_hsc_asinh

NOBODY = 65534


def images_of(survey, change):
    """Save the survey's images after a change to the array."""
    np.save(survey.paths["images"], change(njy_to_hsc_asinh(survey.flux)))


def ids_of(survey, change):
    """Save the survey's ids after a change to the array."""
    np.save(survey.paths["ids"], change(survey.ids))


def table_of(survey, change):
    """Write the survey's table after a change to it."""
    change(survey.table).to_csv(survey.paths["table"], index=False)


def cell(survey, row, column, value):
    """Write the survey's table with another value in one cell, as text."""
    table = survey.table.astype({column: object})
    table.loc[row, column] = value
    table.to_csv(survey.paths["table"], index=False)


def directory(survey, option):
    """Put a directory where a file should be."""
    survey.paths[option].unlink()
    survey.paths[option].mkdir()


def pixel(survey, images, value):
    """Give some images one bad pixel."""
    survey.flux[images, 1, 3, 4] = value
    survey.write()


def truncate(survey, option, bytes_left):
    """Cut a file."""
    path = survey.paths[option]
    path.write_bytes(path.read_bytes()[:bytes_left])


#: what is wrong -> (how to spoil the files, further words of the command, what the message must say)
MISTAKES = {
    "no file of ids": (lambda s: s.paths["ids"].unlink(), [], ["HSC_ids.npy: no such file", "--ids"]),
    "no file of images": (lambda s: s.paths["images"].unlink(), [], ["images.small.npy: no such file", "--images"]),
    "no table": (lambda s: s.paths["table"].unlink(), [], ["objects.csv: no such file", "--table"]),
    "a directory of ids": (lambda s: directory(s, "ids"), [], ["HSC_ids.npy: a directory"]),
    "a directory as table": (lambda s: directory(s, "table"), [], ["objects.csv: a directory"]),
    "empty ids": (lambda s: s.paths["ids"].write_bytes(b""), [], ["HSC_ids.npy: empty file"]),
    "empty images": (lambda s: s.paths["images"].write_bytes(b""), [], ["images.small.npy: empty file"]),
    "empty table": (lambda s: s.paths["table"].write_bytes(b""), [], ["objects.csv: empty file"]),
    "an array without elements": (lambda s: ids_of(s, lambda a: a[:0]), [], ["HSC_ids.npy: an array without elements"]),
    "a table without rows": (lambda s: table_of(s, lambda t: t[:0]), [], ["objects.csv: a table without rows"]),
    "more ids than images": (lambda s: images_of(s, lambda a: a[:-1]), [], ["59 images", "60 ids"]),
    "two-dimensional images": (lambda s: images_of(s, lambda a: a[0, 0]), [], ["[50, 50]", "[n, band, y, x]"]),
    "images without bands": (lambda s: images_of(s, lambda a: a[:, 0]), [], ["[60, 50, 50]", "[n, band, y, x]"]),
    "one band": (lambda s: images_of(s, lambda a: a[:, :1]), [], ["1 bands", "--bands g,r,i names 3"]),
    "bands last": (lambda s: images_of(s, lambda a: np.moveaxis(a, 1, 3)), [], ["[60, 50, 50, 3]", "50 bands"]),
    "images that are not square": (lambda s: images_of(s, lambda a: a[..., 1:]), [], ["square", "50x49"]),
    "object images": (lambda s: images_of(s, lambda a: a[:3].astype(object)), [], ["Python objects"]),
    "object ids": (lambda s: ids_of(s, lambda a: a.astype(object)), [], ["HSC_ids.npy: holds Python objects"]),
    "a pickle": (lambda s: s.paths["images"].write_bytes(b"\x80\x04K\x01."), [], ["not an npy file", "pickle"]),
    "an npz archive": (lambda s: np.savez(s.paths["ids"].open("wb"), s.ids), [], ["npz archive"]),
    "a truncated npy": (lambda s: truncate(s, "images", 100_000), [], ["images.small.npy: truncated"]),
    "a cut npy header": (lambda s: truncate(s, "ids", 20), [], ["HSC_ids.npy: damaged npy file"]),
    "complex pixels": (lambda s: images_of(s, lambda a: a + 0j), [], ["real numbers", "complex128"]),
    "text as pixels": (lambda s: images_of(s, lambda a: a[:2].astype(str)), [], ["real numbers"]),
    "8-bit pixels as hsc-asinh": (lambda s: images_of(s, lambda a: a.astype("u1")), [], ["uint8", "--pixels"]),
    "nJy taken for hsc-asinh": (lambda s: np.save(s.paths["images"], s.flux), [], ["not hsc-asinh", "--pixels"]),
    "NaN pixels": (lambda s: pixel(s, [4, 9], np.nan), [], ["2 of 60 images", "NaN", "--bad-pixels drop"]),
    "infinite pixels": (lambda s: pixel(s, [5], np.inf), [], ["1 of 60 images", "--bad-pixels drop"]),
    "only NaN pixels": (lambda s: pixel(s, slice(None), np.nan), ["--bad-pixels", "drop"], ["every image"]),
    "duplicate ids": (lambda s: ids_of(s, lambda a: np.r_[a[:-1], a[0]]), [], ["HSC_ids.npy: 1 ids", "more than once"]),
    "ids as floats": (lambda s: ids_of(s, lambda a: a.astype(float)), [], ["float64", "2^53"]),
    "two-dimensional ids": (lambda s: ids_of(s, lambda a: a[:, None]), [], ["one-dimensional", "[60, 1]"]),
    "ids beyond 64 bits": (lambda s: ids_of(s, lambda a: a.astype("u8") + 2**63), [], ["2^63"]),
    "a blank id in the table": (lambda s: cell(s, 12, "HSC_id", None), [], ["HSC_id, row 13", "blank"]),
    "a decimal id": (lambda s: cell(s, 3, "HSC_id", "4.31e16"), [], ["HSC_id, row 4", "'4.31e16'", "whole number"]),
    "all ids as floats": (lambda s: table_of(s, lambda t: t.astype({"HSC_id": float})), [], ["HSC_id, row 1 "]),
    "an id of 20 digits": (lambda s: cell(s, 3, "HSC_id", "9" * 20), [], ["HSC_id, row 4"]),
    "an id of 65 bits": (lambda s: cell(s, 3, "HSC_id", "9" * 19), [], ["HSC_id", "64 bits"]),
    "a blank COSMOS_id": (lambda s: cell(s, 7, "COSMOS_id", ""), [], ["COSMOS_id, row 8", "blank"]),
    "no column HSC_id": (
        lambda s: table_of(s, lambda t: t.drop(columns="HSC_id")),
        [],
        ["no column HSC_id", "it has COSMOS_id, ra", "--columns HSC_id="],
    ),
    "no column for a label": (lambda s: None, ["--labels", "photo_z,sfr"], ["no column sfr", "--columns sfr="]),
    "a mapped column that is not there": (
        lambda s: None,
        ["--columns", "photo_z=zspec"],
        ["no column zspec", "it has", "--columns photo_z=NAME_IN_TABLE"],
    ),
    "a mapping without a name": (lambda s: None, ["--columns", "photo_z"], ["--columns photo_z", "NAME=NAME_IN_TABLE"]),
    "a column that comes twice": (
        lambda s: s.paths["table"].write_text("HSC_id, photo_z,photo_z ,log_mass\n1,2,3,4\n"),
        [],
        ["'photo_z' comes twice"],
    ),
    "text in photo_z": (lambda s: cell(s, 20, "photo_z", "unknown"), [], ["photo_z, row 21", "'unknown'"]),
    "negative redshift": (lambda s: cell(s, 20, "photo_z", -99.0), [], ["photo_z: 1 of 58", "-99", "--bad-rows drop"]),
    "a blank mass": (lambda s: cell(s, 20, "log_mass", None), [], ["log_mass: 1 of 58", "nan", "--bad-rows drop"]),
    "mass not in dex": (
        lambda s: table_of(s, lambda t: t.assign(log_mass=10**t.log_mass)),
        ["--bad-rows", "drop"],
        ["no matched row has legal labels", "3 < log_mass < 14"],
    ),
    "text in selected": (lambda s: cell(s, 2, "selected", "maybe"), [], ["selected, row 3", "'maybe'"]),
    "a blank in selected": (lambda s: cell(s, 2, "selected", None), [], ["selected, row 3"]),
    "no row selected": (lambda s: table_of(s, lambda t: t.assign(selected=False)), [], ["selected", "unselected"]),
    "no overlap": (
        lambda s: table_of(s, lambda t: t.assign(HSC_id=t.HSC_id + 1)),
        [],
        ["no HSC_id of the table belongs to an image", "--columns HSC_id="],
    ),
    "no sep to choose by": (
        lambda s: table_of(s, lambda t: t.drop(columns="sep")),
        [],
        ["--duplicates nearest", "column sep", "--columns sep="],
    ),
    "duplicates refused": (lambda s: None, ["--duplicates", "error"], ["6 HSC_ids have several selected rows"]),
    "a ragged table": (lambda s: s.paths["table"].open("a").write("1,2\n1" + ",2" * 20), [], ["not a readable CSV"]),
    "a table in Latin-1": (
        lambda s: s.paths["table"].write_bytes("HSC_id,nom\n1,\xe9toile\n".encode("latin-1")),
        [],
        ["not a readable CSV", "utf-8"],
    ),
    "a cut gzip": (
        lambda s: s.paths["table"].write_bytes(gzip.compress(s.paths["table"].read_bytes())[:2000]),
        [],
        ["objects.csv: damaged gzip file"],
    ),
    "no bands": (lambda s: None, ["--bands", ""], ["--bands is missing"]),
    "a band twice": (lambda s: None, ["--bands", "g,g,i"], ["--bands g,g,i", "twice"]),
    "unknown pixels": (lambda s: None, ["--pixels", "magic"], ["--pixels magic", "hsc-asinh, nJy, counts:ZP"]),
    "a zero point that is no number": (lambda s: None, ["--pixels", "counts:x"], ["--pixels counts:x"]),
    "one PSF for three bands": (lambda s: None, ["--psf-fwhm", "0.7"], ["--psf-fwhm 0.7", "3 positive numbers"]),
    "two filters for three bands": (lambda s: None, ["--filters", "A,B"], ["--filters A,B", "3 names"]),
    "shares of more than all": (lambda s: None, ["--split-fractions", "0.8,0.1,0.2"], ["add up to 1"]),
    "no pixel scale": (lambda s: None, ["--pixel-scale", "0"], ["--pixel-scale 0"]),
    "an unknown rule": (lambda s: None, ["--duplicates", "best"], ["--duplicates", "'best'", "nearest"]),
    "an unknown option": (lambda s: None, ["--colour", "red"], ["--colour", "galaxycgan", "--help"]),
    "a file that is no store at the place": (
        lambda s: (s.directory / "store.h5").write_text("precious"),
        [],
        ["store.h5: not a store", "--overwrite"],
    ),
    "a store with the suffix of FITS": (
        lambda s: None,
        ["--out", "bad.FITS"],
        ["--out bad.FITS", "a store is HDF5", ".h5", "galaxycgan export"],
    ),
    "a directory at the place": (lambda s: (s.directory / "store.h5").mkdir(), [], ["store.h5: a directory"]),
    "a file where the directory should be": (
        lambda s: None,
        ["--out", "/dev/null/store.h5"],
        ["/dev/null: can't make this directory"],
    ),
}


def damage(path, at=9000, count=40):
    """Overwrite some bytes of a file; return no words."""
    data = bytearray(path.read_bytes())
    data[at : at + count] = b"\xff" * count
    path.write_bytes(bytes(data))
    return []


def halve(path):
    """Cut a file in the middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def npy_files(survey, spoil):
    """Write a directory of npy cutouts and spoil it; return the words of the command."""
    path = layouts.npy_directory(survey)
    spoil(path, sorted(path.glob("[0-9]*.npy")))
    return ["--images", path, "--bands", "g,r,i"]


def fits_files(survey, spoil, *words):
    """Write a directory of FITS cutouts and spoil it; return the words of the command."""
    path = layouts.fits_directory(survey, size=SIZE + 1)
    spoil(path, sorted(path.glob("*HSC-R2*.fits")))
    return ["--images", path, *(words or ("--size", "12"))]


def edit_fits(path, change):
    """Change the HDUs of a FITS file."""
    with fits.open(path, mode="update") as hdus:
        change(hdus)


def hdf5_file(path, change=lambda file: None, *words):
    """Change an HDF5 file; return the words of the command that takes it for images."""
    with h5py.File(path, "r+") as file:
        change(file)
    return ["--images", path, "--bands", "g,r,i", *words]


def put(file, name, values):
    """Replace a dataset."""
    del file[name]
    file[name] = values


def galaxiesml(survey, change=lambda file: None, **settings):
    """Write a GalaxiesML file, with its own table; return the words of the command."""
    return [*hdf5_file(layouts.galaxiesml(survey, SIZE, **settings), change), "--table", ""]


def universe(survey, change):
    """Write a MultimodalUniverse file; return the words of the command."""
    return hdf5_file(layouts.multimodal_universe(survey, SIZE), change)


def table_file(survey, kind, spoil=lambda path: None):
    """Write the table in another format and spoil it; return the words of the command."""
    path = layouts.write_table(survey, kind)
    spoil(path)
    return [*NPY, "--ids", survey.paths["ids"], "--images", survey.paths["images"], "--table", path]


def text_in(survey, column):
    """Put a word into a column of numbers."""
    survey.table = survey.table.astype({column: object})
    survey.table.loc[20, column] = "unknown"
    return survey


def listed(survey, *words, **columns):
    """Write a table of ids and positions; return the words of a command that matches on the sky."""
    ra, dec = layouts.positions(len(survey.ids))
    path = survey.directory / "list.fits"
    Table({"HSC_id": survey.ids, "ra": ra, "dec": dec} | columns).write(path)
    return [*NPY, "--images", survey.paths["images"], "--ids", path, "--match-radius", "1", *words]


def far_away(survey):
    """Put all rows elsewhere on the sky."""
    survey.table["dec"] = -40.0
    survey.table["ra"] = 20.0
    return survey.write()


def with_blank(values):
    """Return an array with NaN in its second place."""
    values = np.array(values, dtype=float)
    values[1] = np.nan
    return values


SIZE = 16
NPY = ["--bands", "g,r,i"]

#: what is wrong -> (how to write the files, as words of the command; what the message must say)
LAYOUT_MISTAKES = {
    "cutouts of differing shapes": (
        lambda s: npy_files(s, lambda d, f: np.save(f[2], np.zeros((3, 9, 9)))),
        ["1 of 16 cutouts are not float64 [3, 16, 16]", "[3, 9, 9]", "move them"],
    ),
    "cutouts of differing types": (
        lambda s: npy_files(s, lambda d, f: np.save(f[2], np.load(f[2]).astype("f4"))),
        ["1 of 16 cutouts", "float32"],
    ),
    "a cutout without bands": (
        lambda s: npy_files(s, lambda d, f: np.save(f[0], np.zeros((16, 16)))),
        ["[band, y, x]", "[16, 16]"],
    ),
    "a pickled cutout": (
        lambda s: npy_files(s, lambda d, f: np.save(f[4], np.array([{}]), allow_pickle=True)),
        ["holds Python objects"],
    ),
    "a cutout cut short": (lambda s: npy_files(s, lambda d, f: halve(f[5])), ["-cutout.npy: truncated"]),
    "complex cutouts": (
        lambda s: npy_files(s, lambda d, f: [np.save(p, np.load(p) + 0j) for p in f]),
        ["real numbers", "complex128"],
    ),
    "a cutout with another name": (
        lambda s: npy_files(s, lambda d, f: f[0].rename(d / "galaxy7-cutout.npy")),
        ["1 files are not named <HSC_id>-cutout.npy", "galaxy7-cutout.npy"],
    ),
    "a cutout's id of 65 bits": (
        lambda s: npy_files(s, lambda d, f: f[0].rename(d / f"{'9' * 19}-cutout.npy")),
        ["not named", "9" * 19],
    ),
    "an id repeated in the directory": (
        lambda s: npy_files(s, lambda d, f: (d / ("0" + f[0].name)).write_bytes(f[0].read_bytes())),
        ["several cutouts of one id", "4315"],
    ),
    "a directory without cutouts": (
        lambda s: npy_files(s, lambda d, f: [p.unlink() for p in f]),
        ["cutouts: a directory without cutouts (2 other files)", "<HSC_id>-cutout.npy"],
    ),
    "npy and FITS cutouts together": (
        lambda s: npy_files(s, lambda d, f: (d / "1-cutout-HSC-G-x.fits").write_text("")),
        ["npy cutouts", "FITS cutouts", "keep one kind"],
    ),
    "a directory of npy without --bands": (
        lambda s: npy_files(s, lambda d, f: None)[:2],
        ["--bands is missing"],
    ),
    "ids beside images that tell theirs": (
        lambda s: [*npy_files(s, lambda d, f: None), "--ids", s.paths["ids"]],
        ["HSC_ids.npy: --ids is not needed"],
    ),
    "the store among the cutouts": (
        lambda s: [*npy_files(s, lambda d, f: None), "--out", s.directory / "cutouts/store.h5"],
        ["--out lies among the images"],
    ),
    "a truncated FITS cutout": (
        lambda s: fits_files(s, lambda d, f: f[3].write_bytes(f[3].read_bytes()[:6000])),
        ["-cutout-HSC-R2-9813-pdr2_dud.fits: not a readable FITS cutout"],
    ),
    "a FITS cutout cut in its header": (
        lambda s: fits_files(s, lambda d, f: f[3].write_bytes(f[3].read_bytes()[:100])),
        ["not a readable FITS cutout"],
    ),
    "text in place of a FITS cutout": (
        lambda s: fits_files(s, lambda d, f: f[3].write_text("<html>login</html>")),
        ["not a readable FITS cutout"],
    ),
    "an empty FITS cutout": (lambda s: fits_files(s, lambda d, f: f[3].write_bytes(b"")), ["empty file"]),
    "a cut gzip of a FITS cutout": (
        lambda s: fits_files(
            s,
            lambda d, f: (
                (d / (f[3].name + ".gz")).write_bytes(gzip.compress(f[3].read_bytes())[:900]) and f[3].unlink()
            ),
        ),
        [".fits.gz: not a readable FITS cutout"],
    ),
    "a FITS cutout without a zero point": (
        lambda s: fits_files(s, lambda d, f: edit_fits(f[1], lambda h: h[0].header.remove("FLUXMAG0"))),
        ["no FLUXMAG0", "--pixels counts:27.0"],
    ),
    "a FITS cutout without an extension": (
        lambda s: fits_files(s, lambda d, f: fits.PrimaryHDU(np.zeros((17, 17))).writeto(f[1], overwrite=True)),
        ["not a readable FITS cutout"],
    ),
    "a FITS cutout with a cube": (
        lambda s: fits_files(s, lambda d, f: edit_fits(f[1], lambda h: setattr(h[1], "data", np.zeros((2, 3, 4))))),
        ["extension 1 must be an image [y, x]"],
    ),
    "an object without one of its bands": (
        lambda s: fits_files(s, lambda d, f: f[7].unlink()),
        ["1 of 16 objects lack", "g, r, i", "HSC_id 4315", "--bad-pixels drop"],
    ),
    "two FITS cutouts of one band": (
        lambda s: fits_files(s, lambda d, f: (d / f[0].name.replace("R2", "R")).write_bytes(f[0].read_bytes())),
        ["1 objects have several cutouts in one band", "keep one"],
    ),
    "a FITS file with another name": (
        lambda s: fits_files(s, lambda d, f: f[0].rename(d / "stacked.fits")),
        ["not named <HSC_id>-cutout-<filter>-*.fits", "stacked.fits"],
    ),
    "NaN in a FITS cutout": (
        lambda s: fits_files(s, lambda d, f: edit_fits(f[1], lambda h: h[1].data.fill(np.nan))),
        ["1 of 16 images", "NaN"],
    ),
    "FITS cutouts of other sizes": (
        lambda s: fits_files(
            s, lambda d, f: edit_fits(f[1], lambda h: setattr(h[1], "data", h[1].data[1:, 1:])), "--bands", "g,r"
        ),
        ["1 of 16 objects have cutouts that are not 17x17", "HSC_id 4315", "--size 16"],
    ),
    "a size larger than the images": (
        lambda s: fits_files(s, lambda d, f: None, "--size", "18"),
        ["--size 18", "17x17"],
    ),
    "a band that is not there": (
        lambda s: fits_files(s, lambda d, f: None, "--bands", "g,u"),
        ["no band u", "g, r, i"],
    ),
    "one FITS file of images": (
        lambda s: ["--images", layouts.write_table(s, "FITS"), *NPY],
        ["one FITS file", "a directory of"],
    ),
    "a truncated HDF5 file": (
        lambda s: ["--images", halve(layouts.galaxiesml(s, SIZE)), "--table", ""],
        ["galaxiesml.hdf5: truncated"],
    ),
    "an HDF5 file of unknown layout": (
        lambda s: universe(s, lambda f: f.move("image_array", "pixels")),
        ["unknown layout", "pixels [16, 5, 16, 16]", "GalaxiesML (image, object_id)", "MultimodalUniverse"],
    ),
    "a damaged HDF5 chunk": (
        lambda s: [*galaxiesml(s, chunks=(4, 5, 16, 16), compression="gzip"), *damage(s.directory / "galaxiesml.hdf5")],
        ["galaxiesml.hdf5: damaged HDF5 file"],
    ),
    "complex HDF5 images": (
        lambda s: galaxiesml(s, lambda f: put(f, "image", f["image"][()] + 0j)),
        ["real numbers", "complex64"],
    ),
    "HDF5 images without bands": (
        lambda s: galaxiesml(s, lambda f: put(f, "image", f["image"][:, 0])),
        ["image must be [n, band, y, x]"],
    ),
    "HDF5 ids as floats": (
        lambda s: galaxiesml(s, lambda f: put(f, "object_id", f["object_id"][()].astype(float))),
        ["object_id, row 1", "float64"],
    ),
    "HDF5 ids that repeat": (
        lambda s: galaxiesml(s, lambda f: f["object_id"].write_direct(np.full(2, 77), dest_sel=np.s_[:2])),
        ["1 ids come more than once: 77"],
    ),
    "fewer HDF5 ids than images": (
        lambda s: galaxiesml(s, lambda f: put(f, "object_id", f["object_id"][:9])),
        ["object_id has 9 values for 16 images"],
    ),
    "an HDF5 file without masses": (
        lambda s: galaxiesml(s, mass=False),
        ["no column log_mass", "it has", "--labels photo_z does without"],
    ),
    "bands in another order": (
        lambda s: universe(s, lambda f: f["image_band"].__setitem__(3, f["image_band"][3][::-1])),
        ["1 images have other bands or another order", "hsc-g", "object_id 4315"],
    ),
    "images of several pixel scales": (
        lambda s: universe(s, lambda f: put(f, "image_scale", np.linspace(0.1, 0.3, 16))),
        ["several pixel scales"],
    ),
    "another survey's HDF5 without --pixels": (
        lambda s: universe(
            s, lambda f: put(f, "image_band", [[b"des-g", b"des-r", b"des-i", b"des-z", b"des-y"]] * 16)
        ),
        ["--pixels", "counts:27.0"],
    ),
    "a truncated FITS table": (lambda s: table_file(s, "FITS", halve), ["objects.fits: not a readable FITS table"]),
    "a truncated VOTable": (lambda s: table_file(s, "VOTable", halve), ["objects.vot: not a readable VOTable"]),
    "a truncated Parquet table": (lambda s: table_file(s, "Parquet", halve), ["not a readable Parquet table"]),
    "a truncated HDF5 table": (lambda s: table_file(s, "HDF5", halve), ["objects.hdf5: truncated"]),
    "a truncated ECSV header": (
        lambda s: table_file(s, "ECSV", lambda p: p.write_text(p.read_text()[:300])),
        ["objects.ecsv: not a readable ECSV table"],
    ),
    "an ECSV table that asks for code": (
        lambda s: table_file(
            s,
            "ECSV",
            lambda p: p.write_text(
                p.read_text().replace("# datatype:", "# x: !!python/object/apply:os.abort []\n# datatype:")
            ),
        ),
        ["objects.ecsv: not a readable ECSV table"],
    ),
    "text in photo_z of a VOTable": (
        lambda s: table_file(text_in(s, "photo_z"), "VOTable"),
        ["objects.vot: column photo_z, row 21", "'unknown'"],
    ),
    "a FITS file without a table": (
        lambda s: table_file(s, "FITS", lambda p: fits.PrimaryHDU(np.zeros((3, 3))).writeto(p, overwrite=True)),
        ["objects.fits: not a readable FITS table"],
    ),
    "right ascension in kilograms": (
        lambda s: table_file(s, "FITS", lambda p: edit_fits(p, lambda h: h[1].columns.change_unit("ra", "kg"))),
        ["column ra has the unit kg"],
    ),
    "an HDF5 table without columns": (
        lambda s: table_file(s, "HDF5", lambda p: h5py.File(p, "w").create_group("empty").file.close()),
        ["an HDF5 file without a table", "empty/"],
    ),
    "a match on the sky without positions": (
        lambda s: [*NPY, "--ids", s.paths["ids"], "--images", s.paths["images"], "--match-radius", "1"],
        ["HSC_ids.npy", "--match-radius needs the position", "ra and dec"],
    ),
    "a negative radius": (lambda s: listed(s, "--match-radius", "-1"), ["--match-radius -1.0"]),
    "a declination of 120 degrees": (
        lambda s: listed(s, dec=np.full(16, 120.0)),
        ["list.fits: columns ra, dec, row 1", "150, 120"],
    ),
    "an object without position": (
        lambda s: listed(s, ra=with_blank(layouts.positions(16)[0])),
        ["list.fits: 1 of 16 objects have no position", "HSC_id 4315"],
    ),
    "text in ra": (
        lambda s: [*listed(text_in(s, "ra").write())],
        ["objects.csv: column ra, row 21", "'unknown' is not a number"],
    ),
    "a table without ra": (lambda s: listed(s, "--columns", "ra=alpha"), ["no column alpha"]),
    "nothing within the radius": (
        lambda s: listed(far_away(s)),
        ["no row lies within 1 arcsec", "the nearest is", "--match-radius"],
    ),
    "a list that lacks images": (
        lambda s: [*listed(s, "--images", layouts.npy_directory(s)), *shorten(s.directory / "list.fits")],
        ["list.fits: 3 images of", "are not in it"],
    ),
    "a list without ids": (
        lambda s: [*NPY, "--images", s.paths["images"], "--ids", nameless(s)],
        ["nameless.csv: no column HSC_id"],
    ),
    "a negative size": (lambda s: npy_files(s, lambda d, f: None) + ["--size", "-3"], ["--size -3"]),
    "two pixel scales": (
        lambda s: npy_files(s, lambda d, f: None) + ["--pixel-scale", "0.1,0.2"],
        ["--pixel-scale 0.1,0.2"],
    ),
}


def shorten(path):
    """Drop the last rows of a table; return no words."""
    Table.read(path)[:-3].write(path, overwrite=True)
    return []


def nameless(survey):
    """Write a list without a column of ids."""
    path = survey.directory / "nameless.csv"
    path.write_text("ra,dec\n1,2\n")
    return path


def contents(directory):
    """Return every file below a directory with its bytes."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def assert_one_clear_line(result, fragments):
    """Check exit code, length and content of a message."""
    code, out, err = result
    assert code == 2, out + err
    assert err.count("\n") == 1 and err.startswith("galaxycgan: error: "), err
    assert "Traceback" not in out + err
    for fragment in fragments:
        assert fragment in err, err
    print(err.removeprefix("galaxycgan: error: "), end="")  # pytest -rP lists all messages


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_leaves_nothing_behind(survey_files, command, mistake):
    spoil, words, fragments = MISTAKES[mistake]
    spoil(survey_files)
    before = contents(survey_files.directory)
    assert_one_clear_line(command(*survey_files.arguments(*words)), fragments)
    assert contents(survey_files.directory) == before


@pytest.fixture
def small_survey(tmp_path):
    """A survey of 16 galaxies in small images."""
    return make_survey(tmp_path, 16, SIZE)


@pytest.mark.parametrize("mistake", LAYOUT_MISTAKES)
def test_a_mistake_in_another_layout_is_as_clear(small_survey, command, mistake):
    prepare, fragments = LAYOUT_MISTAKES[mistake]
    table, store = small_survey.paths["table"], small_survey.directory / "store.h5"
    words = ["convert", "--table", table, "--out", store, *prepare(small_survey)]
    before = contents(small_survey.directory)
    assert_one_clear_line(command(*words), fragments)
    assert contents(small_survey.directory) == before


#: kind of file -> (write it, options that name it)
ANY_FILE = {
    "GalaxiesML": (lambda s: layouts.galaxiesml(s, 12), {"images": "", "table": None}),
    "compressed HDF5": (
        lambda s: layouts.galaxiesml(s, 12, chunks=(4, 5, 12, 12), compression="gzip"),
        {"images": "", "table": None},
    ),
    "MultimodalUniverse": (lambda s: layouts.multimodal_universe(s, 12), {"images": ""}),
    "FITS cutout": (lambda s: next(layouts.fits_directory(s, 13).iterdir()), {"images": "das"}),
    "npy cutout": (lambda s: next(layouts.npy_directory(s).glob("[0-9]*")), {"images": "cutouts"}),
} | {
    kind: (lambda s, kind=kind: layouts.write_table(s, kind), {"table": "", "ids": None})
    for kind in layouts.TABLE_KINDS
}


@pytest.mark.parametrize("kind", ANY_FILE)
def test_random_damage_to_a_file_never_ends_in_a_traceback(tmp_path, command, kind):
    survey = make_survey(tmp_path, 14, 12)
    write, options = ANY_FILE[kind]
    path, rng = write(survey), np.random.default_rng(3)
    words = ["convert", "--bands", "g,r,i", "--size", "12", "--out", tmp_path / "store.h5", "--overwrite"]
    named = {"table": survey.paths["table"]} | ({"ids": survey.paths["ids"]} if "ids" in options else {})
    named |= {"images": survey.paths["images"]} if "images" not in options else {}
    named |= {option: tmp_path / name if name else path for option, name in options.items() if name is not None}
    named |= {"table": ""} if options.get("table", "-") is None else {}
    words += [word for option, value in named.items() for word in (f"--{option}", value)]
    whole = path.read_bytes()
    assert command(*words)[0] == 0
    for _ in range(5):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 6000), 3):
            data[place] = rng.integers(256)
        path.write_bytes(bytes(data))
        code, _, err = command(*words)
        assert code == 0 or (code == 2 and err.count("\n") == 1), err


def test_messages_name_the_first_ids_that_are_wrong(survey_files, command):
    pixel(survey_files, range(10, 20), np.nan)
    _, _, err = command(*survey_files.arguments())
    assert ", ".join(str(value) for value in np.sort(survey_files.ids[10:20])[:5]) + ", ..." in err


def locked(path):
    """Take a file's permissions away."""
    path.chmod(0)


#: what may not be read -> (words of the command that names it)
LOCKED = {
    "images": lambda s: [*s.arguments()[1:], *(locked(s.paths["images"]) or [])],
    "table": lambda s: [*s.arguments()[1:], *(locked(s.paths["table"]) or [])],
    "FITS table": lambda s: table_file(s, "FITS", locked),
    "HDF5 table": lambda s: table_file(s, "HDF5", locked),
    "a cutout": lambda s: npy_files(s, lambda d, f: locked(f[9])),
    "a FITS cutout": lambda s: fits_files(s, lambda d, f: locked(f[9])),
    "the directory": lambda s: npy_files(s, lambda d, f: locked(d)),
    "HDF5 images": lambda s: [
        "--images",
        layouts.galaxiesml(s, SIZE),
        *(locked(s.directory / "galaxiesml.hdf5") or []),
    ],
}


@pytest.fixture
def public_survey():
    """A small survey where other users may read: pytest's own directories are private."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield make_survey(Path(directory), 16, SIZE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; run as root")
@pytest.mark.parametrize("what", LOCKED)
def test_a_file_without_permission_is_said_to_be_so(public_survey, command, what):
    survey = public_survey
    words = ["--table", survey.paths["table"], *LOCKED[what](survey), "--out", survey.directory / "store.h5"]
    command("convert", "--bands", "g", "--ids", "/no")  # imports what convert needs, as root
    os.seteuid(NOBODY)
    try:
        result = command("convert", *words)
    finally:
        os.seteuid(0)
    assert_one_clear_line(result, ["no permission to read"])


@contextlib.contextmanager
def no_more_than(n_bytes):
    """Let no file of this process grow beyond so many bytes: what a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_fills_up_is_one_clear_line_and_leaves_nothing_behind(survey_files, command):
    before = contents(survey_files.directory)
    with no_more_than(400_000):
        result = command(*survey_files.arguments())
    assert_one_clear_line(result, ["store.h5: can't be written: File too large"])
    assert contents(survey_files.directory) == before


def test_a_disk_without_room_to_unpack_images_is_one_clear_line_too(small_survey, command):
    words = galaxiesml(small_survey, chunks=(4, 5, 16, 16), compression="gzip")
    before = contents(small_survey.directory)
    with no_more_than(50_000):
        result = command("convert", "--out", small_survey.directory / "store.h5", *words)
    assert_one_clear_line(result, ["image is stored in chunks", "has no room to unpack it", "File too large"])
    assert contents(small_survey.directory) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here: only Linux has it")
def test_a_device_that_is_full_is_no_place_for_a_store(small_survey, command):
    result = command(*small_survey.arguments("--out", "/dev/full"))
    assert_one_clear_line(result, ["/dev/full"])


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["info", "missing.h5"], "missing.h5: no such file"),
        (["verify", "missing.h5"], "missing.h5: no such file"),
        (["verify", "--same", "one.h5"], "--same compares two files, 1 are given"),
        (["export", "missing.h5", "--to", "x.fits"], "missing.h5: no such file"),
        (["export", "missing.h5"], "--to is missing"),
        (["export", "missing.h5", "--to", "x.doc"], "x.doc: the suffix decides the format"),
        (["select", "missing.h5", "--sample", "3", "--out", "x.csv"], "--out x.csv: a store is HDF5"),
        (["merge", "one.h5", "two.h5", "--out", "x.fits.gz"], "--out x.fits.gz: a store is HDF5"),
        (["classify", "--out", "c.csv"], "--out c.csv: the suffix decides the format; .fits"),
        (["info"], "no store of real galaxies there"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_other_commands_are_as_clear(command, words, fragment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_one_clear_line(command(*words), [fragment])
    assert not list(tmp_path.iterdir())


def test_a_catalog_without_images_is_said_to_have_none(survey_store, command, tmp_path):
    names = {"created": "2026-01-01T00:00:00Z", "id_column": "SYN_id", "synthetic": True}
    header = StoreHeader(**names, bands=("g", "r", "i"), filters=("HSC-G", "HSC-R2", "HSC-I2"))
    with StoreWriter(tmp_path / "table.h5", n=9, header=header) as writer:
        writer.append(np.empty((9, 3, 0, 0), np.float32))
        writer.finish(ids=np.arange(9), catalog=QTable({"photo_z": np.full(9, 0.3), "log_mass": np.full(9, 9.5)}))
    words = ["--real", survey_store, "--synthetic", tmp_path / "table.h5", "--gan", tmp_path, "--out", tmp_path / "e"]
    assert_one_clear_line(command("evaluate", *words), ["table.h5: has no images", "generate with --images both"])
