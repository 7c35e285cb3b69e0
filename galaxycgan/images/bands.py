"""Names of photometric bands and filters, and which band shapes are measured in."""

from galaxycgan.errors import UserError

#: HSC-SSP filters: name and effective wavelength in nm (Kawanomoto et al. 2018, PASJ 70, 66, table 2).
HSC_FILTERS = {
    "g": ("HSC-G", 480.9),
    "r": ("HSC-R2", 622.6),
    "i": ("HSC-I2", 774.1),
    "z": ("HSC-Z", 889.9),
    "y": ("HSC-Y", 976.2),
}


def parse_bands(text):
    """Split ``"g,r,i"`` into a tuple of band names.

    Raises
    ------
    UserError
        Where the list is empty or a band comes twice.
    """
    bands = tuple(part.strip() for part in text.split(",") if part.strip())
    if not bands:
        raise UserError("--bands is missing: name the bands of the images in their order, such as --bands g,r,i")
    if len(set(bands)) != len(bands):
        raise UserError(f"--bands {text}: a band comes twice")
    for band in bands:
        if not band.isidentifier():
            raise UserError(f"--bands {text}: '{band}' can't be part of a column name (letters, digits, underscore)")
    return bands


def filter_names(bands):
    """Return the full filter name of each band, the band itself where it is not one of HSC's."""
    return tuple(HSC_FILTERS[band][0] if band in HSC_FILTERS else band for band in bands)


def reference_band(bands):
    """Return the index of the band that shapes are measured in: i where there is one, else the middle band."""
    return bands.index("i") if "i" in bands else len(bands) // 2
