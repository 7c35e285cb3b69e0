"""The truth table of an injection: what was added where."""

import numpy as np

from galaxycgan.catalogs.formats.fits import (
    add_cards,
    pack_column,
    primary_header,
    table_bytes,
    table_header,
    write_hdu,
)
from galaxycgan.catalogs.schema.columns import LEGAL_LABELS, describe_column
from galaxycgan.files.atomic import atomic_path
from galaxycgan.images.pixel_units import ab_magnitude

#: name -> unit, comment, UCD
COLUMNS = {
    "SYN_id": ("", "row number in the catalog's request", "meta.id;meta.main"),
    "x": ("pix", "centre, the first pixel is 1", "pos.cartesian.x;instr.det"),
    "y": ("pix", "centre, the first pixel is 1", "pos.cartesian.y;instr.det"),
    "ra": ("deg", "right ascension", "pos.eq.ra"),
    "dec": ("deg", "declination", "pos.eq.dec"),
    "flux_stamp": ("nJy", "all that was added, painted neighbours too", "phot.flux.density"),
    "mag_stamp": ("mag", "AB", "phot.mag"),
    "flux_aper": ("nJy", "of it in the aperture", "phot.flux.density"),
    "mag_aper": ("mag", "AB", "phot.mag"),
    "flux_neighbour": ("nJy", "other added stamps in the aperture", "phot.flux.density"),
    "flux_frame": ("nJy", "the frame itself in the aperture, sky included", "phot.flux.density"),
    "border": ("nJy", "level per pixel subtracted from the stamp", "phot.flux.density"),
}


def write_truth(path, catalog, band, rows, facts, cards, created):
    """Write the table of what was added.

    Parameters
    ----------
    path : Path
    catalog : GalaxyStore
    band : str
    rows : int array [k]
        Of the catalog.
    facts : dict of arrays [k]
        Columns of `COLUMNS`; magnitudes are added, and labels and radius from the catalog.
    cards : list of (keyword, value, comment)
        For the table's header.
    created : str
        ISO time of the request.
    """
    facts = facts | {"SYN_id": catalog.ids[rows]}
    for kind in ("stamp", "aper"):
        facts[f"mag_{kind}"] = ab_magnitude(np.array(facts[f"flux_{kind}"]))
    about = dict(COLUMNS)
    for name in (*LEGAL_LABELS, "r50"):
        if name in catalog.columns:
            meant = describe_column(name, catalog.bands)
            unit = "arcsec" if name == "r50" else ""
            facts[name], about[name] = catalog.column(name)[rows], (unit, meant.description, meant.ucd)
    packed, columns = [], []
    for name, (unit, comment, ucd) in about.items():
        values, form = pack_column(np.asarray(facts[name]))
        packed.append(values)
        column = {"TTYPE": name, "TFORM": form, "TUNIT": unit, "TCOMM": comment, "TUCD": ucd}
        columns.append({key: value for key, value in column.items() if value})
    header = add_cards(table_header("TRUTH", len(rows), sum(one.dtype.itemsize for one in packed), columns), cards)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        write_hdu(file, primary_header([("DATE", created.rstrip("Z"), "UTC of the request")]), [], created)
        write_hdu(file, header, table_bytes(packed, len(rows)), created)
