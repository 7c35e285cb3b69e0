"""What holds for all galaxies of a store: bands, pixels, how ids are split into training, validation and test."""

import dataclasses

from galaxycgan import __version__


@dataclasses.dataclass(frozen=True)
class StoreHeader:
    """What holds for all galaxies of a store; kept as attributes of the file.

    Attributes
    ----------
    bands, filters : tuple of str
        Band names, and the full names of the filters.
    created : str
        ISO time of the request that made the store.
    id_column : str
        'HSC_id' for real galaxies, 'SYN_id' for synthetic ones.
    pixel_scale_arcsec : float
    pixel_unit : str
        'nJy', or 'adu' where the flux scale isn't known.
    psf_fwhm_arcsec : tuple of float [band]
        NaN where unknown.
    stretch : str
        What the input pixels were before they became `pixel_unit`.
    mass_convention : str
        IMF, cosmology and code behind the stellar masses.
    """

    bands: tuple
    filters: tuple
    created: str
    id_column: str = "HSC_id"
    synthetic: bool = False
    pixel_scale_arcsec: float = 0.168
    pixel_unit: str = "nJy"
    psf_fwhm_arcsec: tuple = ()
    stretch: str = ""
    mass_convention: str = ""
    split_salt: str = "galaxycgan-1"
    split_fractions: tuple = (0.8, 0.1, 0.1)
    tool_version: str = __version__

    def __post_init__(self):
        if not self.psf_fwhm_arcsec:
            object.__setattr__(self, "psf_fwhm_arcsec", (float("nan"),) * len(self.bands))
