"""What a conversion shall do: the options, and what the images say where no option does."""

import dataclasses

import numpy as np

from galaxycgan.catalogs.formats.suffixes import check_store_suffix
from galaxycgan.catalogs.inputs.survey_table import parse_columns
from galaxycgan.catalogs.store.header import StoreHeader
from galaxycgan.errors import UserError
from galaxycgan.images.bands import filter_names, parse_bands
from galaxycgan.images.pixel_units import PixelScheme

DEFAULT_PIXEL_SCALE = 0.168


@dataclasses.dataclass(frozen=True)
class ConvertChoices:
    """The options of `config.Convert`, read, checked and completed.

    Attributes
    ----------
    bands, filters : tuple of str
    band_index : list of int
        Place of each band in the source's images.
    size : int
        Side of the stored images in pixels.
    pixels : str
        As `--pixels` says it; `scheme` is the same, parsed.
    pixel_scale : float
        arcsec.
    psf_fwhm : tuple of float [band]
        arcsec; empty where unknown.
    columns : dict
        {training name: name in the table}.
    labels : tuple of str
    fractions : tuple of float
        Shares of train, validation and test.
    decided : dict
        {option: [value, 'option' | 'files' | 'default']}, for the provenance.
    """

    bands: tuple
    filters: tuple
    band_index: list
    size: int
    pixels: str
    scheme: PixelScheme
    pixel_scale: float
    psf_fwhm: tuple
    columns: dict
    labels: tuple
    fractions: tuple
    decided: dict

    @classmethod
    def of(cls, config, source):
        """Read the options beside what the source tells; the first that makes no sense is an error that names it."""
        columns, labels, fractions = check_options(config)
        found = source.metadata
        bands, band_index = _bands(config, source)
        psf = _floats(config.psf_fwhm, "--psf-fwhm")
        if psf and (len(psf) != len(bands) or min(psf) <= 0):
            raise UserError(
                f"--psf-fwhm {config.psf_fwhm}: {len(bands)} positive numbers are needed, one for each band"
            )
        filters = tuple(name.strip() for name in config.filters.split(",")) if config.filters else ()
        if config.filters and (len(filters) != len(bands) or not all(filters)):
            raise UserError(f"--filters {config.filters}: {len(bands)} names are needed, one for each band")
        source.check_size(config.size)
        scheme = PixelScheme.choose(config.pixels, found.pixels, source.path)
        scale = _floats(config.pixel_scale, "--pixel-scale")
        chosen = {
            "bands": (bands, config.bands, found.bands),
            "filters": (filters or _pick(found.filters, band_index) or filter_names(bands), filters, found.filters),
            "size": (config.size or source.shape[1], config.size, True),
            "pixels": (config.pixels or found.pixels, config.pixels, found.bands and found.pixels),
            "pixel_scale": (
                scale[0] if scale else found.pixel_scale if np.isfinite(found.pixel_scale) else DEFAULT_PIXEL_SCALE,
                scale,
                np.isfinite(found.pixel_scale),
            ),
            "psf_fwhm": (psf or _pick(found.psf_fwhm, band_index), psf, found.psf_fwhm),
        }
        values = {name: value for name, (value, _, _) in chosen.items()}
        decided = {
            name: [_json(value), "option" if given else "files" if known else "default"]
            for name, (value, given, known) in chosen.items()
        }
        return cls(
            band_index=band_index,
            scheme=scheme,
            columns=columns,
            labels=labels,
            fractions=fractions,
            decided=decided,
            **values,
        )

    def header(self, config, created):
        """Return the header of the store that is to be written."""
        return StoreHeader(
            bands=self.bands,
            filters=self.filters,
            created=created,
            pixel_scale_arcsec=self.pixel_scale,
            pixel_unit=self.scheme.unit,
            psf_fwhm_arcsec=self.psf_fwhm,
            stretch=self.pixels,
            mass_convention=config.mass_convention,
            split_salt=config.split_salt,
            split_fractions=self.fractions,
        )


def check_options(config):
    """Check the options that no file influences; return columns, labels and fractions of the splits."""
    check_store_suffix(config.out)
    columns = parse_columns(config.columns)
    labels = tuple(filter(None, (name.strip() for name in config.labels.split(","))))
    fractions = _floats(config.split_fractions, "--split-fractions")
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise UserError(f"--split-fractions {config.split_fractions}: three shares that add up to 1 are needed")
    scale = _floats(config.pixel_scale, "--pixel-scale")
    if scale and (len(scale) != 1 or not scale[0] > 0):
        raise UserError(f"--pixel-scale {config.pixel_scale}: must be one positive number (arcsec per pixel)")
    if not labels:
        raise UserError("--labels is empty: name the columns that must be present and legal, such as photo_z,log_mass")
    if config.pixels:
        PixelScheme.parse(config.pixels)
    if config.bands:
        parse_bands(config.bands)
    return columns, labels, fractions


def _bands(config, source):
    """Return the names of the bands that are stored, and each one's place in the source's images."""
    known = source.metadata.bands
    if not config.bands and known:
        return known, list(range(len(known)))
    bands = parse_bands(config.bands)
    if known:
        missing = [band for band in bands if band not in known]
        if missing:
            raise UserError(
                f"--bands {config.bands}: {source.path} has no band {missing[0]}, it has {', '.join(known)}"
            )
        return bands, [known.index(band) for band in bands]
    shape = [source.n, *source.shape]
    if shape[1] != len(bands):
        raise UserError(
            f"{source.path}: images {shape} [n, band, y, x] have {shape[1]} bands, but --bands {','.join(bands)} names"
            f" {len(bands)}"
        )
    return bands, list(range(len(bands)))


def _pick(values, index):
    return tuple(values[k] for k in index) if values else ()


def _floats(text, option):
    try:
        values = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        values = (float("nan"),)
    if not np.all(np.isfinite(values)):
        raise UserError(f"{option} {text}: must be numbers with commas between")
    return values


def _json(value):
    """Return a value as JSON has it: lists, and None for NaN."""
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
