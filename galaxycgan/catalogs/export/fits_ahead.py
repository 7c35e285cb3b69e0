"""Pixels go to their place in a FITS catalog while its galaxies are made: the disk works beside the processor.

Headers tell the checksums of the data and the fingerprint of the store, so they come last; how long they will be is
seen from a catalog of one galaxy, since their length does not depend on the values in them.
"""

import contextlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from galaxycgan.catalogs.export.export import write_fits
from galaxycgan.catalogs.formats.fits import BLOCK, list_hdus, ones_sum
from galaxycgan.files.atomic import atomic_path
from galaxycgan.files.streaming import Flusher


class FitsPixelWriter:
    """The file of a FITS catalog, whose images are written before its headers and its table.

    Parameters
    ----------
    file : binary file, open for writing
    places : dict
        HDU -> offset of its data in bytes.
    pool : ThreadPoolExecutor
    flusher : Flusher

    Attributes
    ----------
    file
    written : dict
        HDU -> offset, bytes and ones' complement sum of its data so far.
    """

    def __init__(self, file, places, pool, flusher):
        self.file, self._pool, self._flusher = file, pool, flusher
        self.written = {name: (place, 0, 0) for name, place in places.items()}

    def append(self, *datasets):
        """Write the next images of each HDU in a thread.

        Parameters
        ----------
        *datasets : float32 array [k, band, y, x]
            For each HDU, in order; not to be changed before the thread is done.

        Returns
        -------
        concurrent.futures.Future
        """
        return self._pool.submit(self._append, datasets)

    def _append(self, datasets):
        for (name, (place, length, total)), images in zip(self.written.items(), datasets, strict=True):
            data = images.astype(">f4").data.cast("B")
            self.file.seek(place + length)
            self.file.write(data)
            self.written[name] = place, length + len(data), ones_sum(data, total)
            self._flusher.wrote(len(data))


@contextlib.contextmanager
def pixels_ahead(out, make_example, n):
    """Open a FITS catalog whose pixels come first; the file is there when the block ends well, or not at all.

    Within the block the images are appended, and then `write_fits` is called with what this yields.

    Parameters
    ----------
    out : Path
        FITS file to write.
    make_example : callable
        Writes a store of one galaxy of this catalog under the path that it is given.
    n : int
        Number of galaxies.

    Yields
    ------
    FitsPixelWriter
    """
    with tempfile.TemporaryDirectory() as folder:
        store, example = Path(folder) / "one.h5", Path(folder) / "one.fits"
        make_example(store)
        write_fits(store, example)
        places = _places(list_hdus(example), n)
    with (
        atomic_path(out) as temporary,
        open(temporary, "wb") as file,
        ThreadPoolExecutor(1) as pool,
        Flusher(file.fileno()) as flusher,
    ):
        yield FitsPixelWriter(file, places, pool, flusher)


def _places(hdus, n):
    """Return where the data of each image HDU lie in a catalog of n galaxies: dict of offsets."""
    places, at = {}, 0
    for hdu in hdus:
        at += hdu.data_start - hdu.start
        if hdu.header.get("XTENSION", "").strip() == "IMAGE":
            places[hdu.name] = at
        at += -(-hdu.size * n // BLOCK) * BLOCK
    return places
