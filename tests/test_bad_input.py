"""Every mistake in the input is one clear line and exit code 2, and leaves nothing half-written."""

import gzip
import os
import resource

import numpy as np
import pytest

from galaxycgan.images.stretch import njy_to_hsc_asinh

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
        ["no column zspec", "it has"],
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
    "a directory at the place": (lambda s: (s.directory / "store.h5").mkdir(), [], ["store.h5: a directory"]),
    "a file where the directory should be": (
        lambda s: None,
        ["--out", "/dev/null/store.h5"],
        ["/dev/null: can't make this directory"],
    ),
}


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


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_leaves_nothing_behind(survey_files, command, mistake):
    spoil, words, fragments = MISTAKES[mistake]
    spoil(survey_files)
    before = contents(survey_files.directory)
    assert_one_clear_line(command(*survey_files.arguments(*words)), fragments)
    assert contents(survey_files.directory) == before


def test_messages_name_the_first_ids_that_are_wrong(survey_files, command):
    pixel(survey_files, range(10, 20), np.nan)
    _, _, err = command(*survey_files.arguments())
    assert ", ".join(str(value) for value in np.sort(survey_files.ids[10:20])[:5]) + ", ..." in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; run as root")
def test_a_file_without_permission_is_said_to_be_so(survey_files, command):
    survey_files.paths["images"].chmod(0o600)
    survey_files.directory.chmod(0o755)
    command("convert", "--bands", "g", "--ids", "/no")  # imports what convert needs, as root
    os.seteuid(NOBODY)
    try:
        result = command(*survey_files.arguments())
    finally:
        os.seteuid(0)
    assert_one_clear_line(result, ["no permission"])


def test_a_disk_that_fills_up_is_one_clear_line_and_leaves_nothing_behind(survey_files, command):
    before = contents(survey_files.directory)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
    try:
        result = command(*survey_files.arguments())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_one_clear_line(result, ["store.h5: can't be written: File too large"])
    assert contents(survey_files.directory) == before


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["info", "missing.h5"], "missing.h5: no such file"),
        (["verify", "missing.h5"], "missing.h5: no such file"),
        (["verify", "--same", "one.h5"], "--same compares two files, 1 are given"),
        (["export", "missing.h5", "--to", "x.fits"], "missing.h5: no such file"),
        (["export", "missing.h5"], "--to is missing"),
        (["export", "missing.h5", "--to", "x.doc"], "x.doc: the suffix tells the format"),
        (["info"], "no store of real galaxies there"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_other_commands_are_as_clear(command, words, fragment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_one_clear_line(command(*words), [fragment])
    assert not list(tmp_path.iterdir())
