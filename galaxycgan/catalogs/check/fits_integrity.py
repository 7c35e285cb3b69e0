"""What can be wrong with a FITS catalog: sums, rows that don't fit together, image files that are missing."""

import numpy as np
from astropy.io import fits

from galaxycgan.catalogs.export.export import image_file
from galaxycgan.catalogs.formats.fits import list_hdus
from galaxycgan.catalogs.store.integrity import not_finite
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.streaming import BLOCK_BYTES

#: Where images are: HDUs of their own, or columns of the table.
IMAGE_HDUS = ("IMAGES", "NOISELESS")
STAMP_COLUMNS = ("stamp", "stamp_noiseless")


def fits_problems(path):
    """Return what is wrong with a FITS file and the image files that belong to it, as a list of short sentences.

    Raises
    ------
    UserError
        Where the file itself can't be read.
    """
    problems = _sum_problems(path)
    if problems:
        return problems
    with fits.open(path, memmap=True) as hdus:
        if "CATALOG" not in hdus:
            return _row_problems(hdus, hdus["IDS"]) if "IDS" in hdus else []
        problems = _row_problems(hdus, hdus["CATALOG"])
        kind, _, per_file = str(hdus[0].header.get("STAMPS", "")).rpartition(" OF ")
        if not problems and kind == "FILES":
            problems = _image_file_problems(path, hdus, int(per_file))
    return problems


def _sum_problems(path):
    """Compare all HDUs with their CHECKSUM and DATASUM."""
    problems, hdus = [], list_hdus(path)
    bare = [hdu for hdu in hdus if "DATASUM" not in hdu.header or "CHECKSUM" not in hdu.header]
    # In a survey's frame that galaxies were injected into, only the image has sums, and that is as it should be.
    needed = len(bare) == len(hdus) or any(hdu.name == "CATALOG" for hdu in hdus)
    for hdu in hdus:
        data, whole = hdu.sums()
        if hdu in bare:
            problems += [f"{hdu.name}: has no CHECKSUM and DATASUM"] if needed else []
        elif data != int(hdu.header["DATASUM"]):
            problems.append(f"{hdu.name}: wrong DATASUM (data changed)")
        elif whole not in (0, 0xFFFFFFFF):
            problems.append(f"{hdu.name}: wrong CHECKSUM (header changed)")
    return problems


def _ids(hdus, table):
    """Return the name of the column with the ids, and these."""
    id_column = hdus[0].header.get("IDCOL", table.columns.names[0])
    return id_column, np.array(table.data[id_column])


def _row_problems(hdus, table):
    """Check that a table and the images beside it, or in it, fit together and that pixels are finite."""
    problems, (id_column, ids) = [], _ids(hdus, table)
    if len(np.unique(ids)) != len(ids):
        problems.append(f"{table.name}: ids in {id_column} come more than once")
    images = {name: hdus[name].data for name in IMAGE_HDUS if name in hdus}
    images |= {name: table.data[name] for name in STAMP_COLUMNS if name in table.columns.names}
    for name, data in images.items():
        if len(data) != len(ids):
            problems.append(f"{name}: {len(data):,} images, but {len(ids):,} rows in {table.name}")
            continue
        step = max(1, BLOCK_BYTES // max(1, data[:1].nbytes))
        bad = [ids[k : k + step][not_finite(data[k : k + step])] for k in range(0, len(data), step)]
        if count := sum(map(len, bad)):
            which = f"{id_column} {first_few(np.concatenate(bad))}"
            problems.append(f"{name}: {count:,} have pixels that are NaN or infinite: {which}")
    return problems


def _image_file_problems(path, hdus, per_file):
    """Check the files that hold the images of a catalog's table: all there, sound, and of the same galaxies."""
    problems, (_, ids), source = [], _ids(hdus, hdus["CATALOG"]), hdus[0].header.get("STOREID")
    for number, start in enumerate(range(0, len(ids), per_file), start=1):
        file = image_file(path, number)
        try:
            found = fits_problems(file)
            if not found:
                with fits.open(file, memmap=True) as images:
                    if images[0].header.get("STOREID") != source:
                        found = ["belongs to another catalog (STOREID)"]
                    elif not np.array_equal(_ids(images, images["IDS"])[1], ids[start : start + per_file]):
                        found = ["its IDS are not those of its rows in CATALOG"]
        except UserError as error:
            found = [str(error).removeprefix(f"{file}: ")]
        problems += [f"{file.name}: {text}" for text in found]
    return problems
