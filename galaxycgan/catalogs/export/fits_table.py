"""The CATALOG table of a FITS catalog, streamed from the store: memory stays small however many rows it has."""

import re

import numpy as np

from galaxycgan.catalogs.formats.fits import MOST_COLUMNS, NO_FLAG, column_names, pack_column, table_header
from galaxycgan.catalogs.schema.columns import MASK, MISSING_INT, describe_column
from galaxycgan.catalogs.schema.values import meaning
from galaxycgan.catalogs.store.table_width import TABLE, one_row
from galaxycgan.errors import UserError

#: Of rows that are turned at once.
PIECE_BYTES = 1 << 20
#: Columns that tell where an image is when images are in files of their own.
PLACES = {"image_file": "number of the image file", "image_plane": "plane of it"}


def catalog_hdu(store, stamps=(), images_per_file=0):
    """Return the header of the CATALOG table, and its bytes in pieces.

    Parameters
    ----------
    store : GalaxyStore
    stamps : sequence of str
        Datasets that become vector columns: 'images', 'noiseless'.
    images_per_file : int
        Where positive, two columns tell in which image file and on which plane of it a galaxy is, both from 1.

    Returns
    -------
    astropy.io.fits.Header, iterator of bytes
    """
    packer = _Packer(store, stamps, images_per_file)
    header = table_header("CATALOG", store.n, packer.dtype.itemsize, packer.cards)
    return header, packer.pieces()


def ascii_text(value):
    """Return text as a FITS header can hold it, in one line of printable ASCII; what is no text stays as it is."""
    return re.sub("[^ -~]", "?", " ".join(value.split())) if isinstance(value, str) else value


class _Packer:
    """Turns rows of a store's table into rows of a FITS table."""

    def __init__(self, store, stamps, images_per_file):
        self.store, self.stamps, self.per_file = store, tuple(stamps), images_per_file
        places = PLACES if images_per_file else {}
        count = len(store.columns) + len(places) + len(self.stamps)
        if count > MOST_COLUMNS:
            raise UserError(
                f"{store.path}: {count:,} columns, but a FITS table has {MOST_COLUMNS} at most; galaxycgan export"
                f" {store.path} --to NAME.vot writes them as VOTable; also .ecsv, .parquet and .csv"
            )
        example, self.text, self.cards, fields = one_row(store), {}, [], []
        with store.open() as file:
            types = file[TABLE].dtype
        titles = column_names([*store.columns, *places])
        for name, title in zip(store.columns, titles, strict=False):
            # Text is as wide as its longest value, which takes all of it to tell; numbers pass piece by piece.
            values = store.column(name) if types[name].kind in "SO" else np.zeros(0, types[name])
            values, form = pack_column(values)
            if types[name].kind in "SO":
                self.text[name] = values
            fields.append((name, values.dtype))
            null = {"TNULL": MISSING_INT} if form == "K" else {}
            about = _meaning(example[name], describe_column(name, store.bands))
            self.cards.append({"TTYPE": title, "TFORM": form} | null | about)
        for title, (name, words) in zip(titles[len(store.columns) :], places.items(), strict=True):
            about = {"TNULL": MISSING_INT, "TCOMM": words, "TUCD": "meta.number"}
            self.cards.append({"TTYPE": title, "TFORM": "K"} | about)
            fields.append((f"{name} [place]", ">i8"))
        for name in self.stamps:
            self.cards.append(_stamp_card(store, name))
            fields.append((f"{name} [pixels]", ">f4", (len(store.bands), store.size, store.size)))
        self.dtype = np.dtype(fields)

    def pieces(self):
        """Yield the table's bytes, each piece but the last a whole number of 4-byte words."""
        rest = b""
        with self.store.open() as file:
            for start, stop, stamps in self._ranges():
                piece = rest + self._rows(file[TABLE][start:stop], start, stop, stamps).tobytes()
                whole = len(piece) // 4 * 4
                rest = piece[whole:]
                yield piece[:whole]
        yield rest

    def _ranges(self):
        """Yield first row, one behind the last, and the images of each piece."""
        if self.stamps:
            for rows, images in self.store.pieces("images"):
                noiseless = (self.store.noiseless(rows),) if "noiseless" in self.stamps else ()
                yield rows[0], rows[-1] + 1, (images, *noiseless)
            return
        step = max(1, PIECE_BYTES // self.dtype.itemsize)
        for start in range(0, self.store.n, step):
            yield start, min(start + step, self.store.n), ()

    def _rows(self, source, start, stop, stamps):
        rows = np.empty(len(source), self.dtype)
        for name in self.store.columns:
            if name in self.text:
                rows[name] = self.text[name][start:stop]
                continue
            values, form = pack_column(source[name])
            missing = source[name + MASK] if name + MASK in source.dtype.names else None
            if missing is not None and form in "KL":
                values[missing] = MISSING_INT if form == "K" else NO_FLAG
            rows[name] = values
        if self.per_file:
            places = np.divmod(np.arange(start, stop), self.per_file)
            for name, place in zip(PLACES, places, strict=True):
                rows[f"{name} [place]"] = place + 1
        for name, images in zip(self.stamps, stamps, strict=True):
            rows[f"{name} [pixels]"] = images
        return rows


def _meaning(values, about):
    """Return unit, comment and UCD of a column as FITS keywords."""
    found = meaning(getattr(values, "unit", None), values.info.description, about, "fits")
    words = {"TCOMM": ascii_text(found.description), "TUCD": found.ucd}
    return {"TUNIT": found.unit, **words} if found.unit else words


def _stamp_card(store, name):
    title = {"images": "stamp", "noiseless": "stamp_noiseless"}[name]
    form = {"TFORM": f"{len(store.bands) * store.size**2}E", "TDIM": f"({store.size},{store.size},{len(store.bands)})"}
    about = {"TUNIT": store.pixel_unit, "TCOMM": f"{name} [band, y, x]", "TUCD": "phot.flux.density;obs.image"}
    return {"TTYPE": title} | form | about
