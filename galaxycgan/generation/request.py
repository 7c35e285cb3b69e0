"""A request for a synthetic catalog: recipe, generator and population put together and checked."""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.store.header import StoreHeader
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import sha256_file
from galaxycgan.generation.measurement import Measurement
from galaxycgan.generation.row_format import RowFormat
from galaxycgan.models.device import choose_device
from galaxycgan.models.painter import BLOCK, Painter
from galaxycgan.models.release import WEIGHTS
from galaxycgan.populations.populations import population
from galaxycgan.populations.recipes import noise_sigma, read_recipe
from galaxycgan.provenance import tool_stamp
from galaxycgan.resources import find

#: In which a catalog can be made.
PRECISIONS = ("float32", "bfloat16")
#: Labels are drawn and judged for so many galaxies at once.
PIECE = 128 * BLOCK


class Request:
    """What decides a catalog's content.

    Parameters
    ----------
    config : galaxycgan.config.Generate

    Attributes
    ----------
    recipe : Recipe
    painter : Painter
    population : Population
    n : int
        Number of galaxies.
    noisy : bool
    sky_sigma : array [band] or None
        Noise that was asked for in nJy per pixel.
    images : str
        'both', 'noisy', 'noiseless' or 'none'.
    """

    def __init__(self, config):
        self.recipe = read_recipe(
            find("recipe", config.recipe),
            n=config.n,
            seed=config.seed,
            noise=config.noise,
            table=config.table,
            columns=_own_columns(config.columns),
        )
        self.painter = Painter(config.gan, choose_device(config.device), config.precision)
        self.left_to_machine = config.precision == "auto"
        if self.painter.card["pixel_unit"] != "nJy":
            raise UserError(
                f"{config.gan}: was trained on raw pixels: its galaxies have no magnitudes and make no catalog"
            )
        self.bands = tuple(self.painter.card["bands"])
        self.population = population(self.recipe, self.painter.conditioning, self.bands)
        self.n = self.population.n
        self.noisy, self.images = self.recipe.noise != "none", config.images
        self.sky_sigma = self._sky_sigma()

    def _sky_sigma(self):
        sigma = noise_sigma(self.recipe.noise)
        if not self.painter.generator.noise.separate:
            why = f"{self.painter.run} draws its noise with the galaxy"
            if self.recipe.noise != "model":
                raise UserError(f"noise {self.recipe.noise}: {why}; use model")
            if self.images == "noiseless":
                raise UserError(f"--images noiseless: {why}; there are no images without it")
        if sigma is None:
            return None
        if len(sigma) not in (1, len(self.bands)):
            raise UserError(
                f"noise {self.recipe.noise}: {len(sigma)} values for {len(self.bands)} bands"
                f" ({','.join(self.bands)}); give one, or one for each"
            )
        return np.broadcast_to(np.array(sigma), len(self.bands))

    @property
    def name(self):
        """Return what distinguishes requests, whatever machine makes them: hexadecimal digits."""
        return hashlib.sha256(json.dumps(self._asked, sort_keys=True).encode()).hexdigest()[:16]

    def described_like(self, noted):
        """Return `described`, in the precision of one that was noted earlier, perhaps on another machine.

        A precision that was left to the machine becomes the noted one's where all else is the same: all of a catalog is
        of one precision.
        """
        precision = noted.get("precision")
        if self.left_to_machine and precision in PRECISIONS and noted == self.described | {"precision": precision}:
            self.painter.precision = precision
        return self.described

    @property
    def described(self):
        """Return the JSON values by which the request is known."""
        return self._asked | {"precision": self.painter.precision}

    @functools.cached_property
    def _asked(self):
        recipe = self.recipe.to_dict()
        if "file" in recipe["options"]:  # known by its checksum, wherever it lies
            recipe["options"] = recipe["options"] | {"file": Path(recipe["options"]["file"]).name}
        return {
            "recipe": recipe,
            "images": self.images,
            "generator_sha256": sha256_file(self.painter.run / WEIGHTS),
            "population": self.population.about,
        }

    @property
    def provenance(self):
        """Return the JSON values that say where the catalog came from."""
        # What training cost differs between runs that end in the same weights: it is in the run directory.
        card = {name: value for name, value in self.painter.card.items() if name != "cost"}
        return {"request": self.described, "tool": tool_stamp(), "generator": card}

    @property
    def dataset_names(self):
        """Datasets of the store: 'images', and 'noiseless' where both are asked for and the generator can tell them."""
        both = self.noisy and self.images == "both" and self.painter.generator.noise.separate
        return ("images", "noiseless") if both else ("images",)

    def stamps(self, block, count):
        """Return a block's first images for each of `dataset_names`, [count, band, y, x]; none have 0 pixels a side."""
        if self.images == "none":
            return (np.empty((count, len(self.bands), 0, 0), np.float32),)
        if self.images == "noiseless" or not self.noisy:
            return (block.noiseless[:count],)
        return (block.images[:count], block.noiseless[:count])[: len(self.dataset_names)]

    def header(self, created):
        """Return what holds for all galaxies; `created` is the time of the request."""
        return catalog_header(self.painter.card, created)

    @functools.cached_property
    def measurement(self):
        """Return what measures the images."""
        return measure_of(self.painter)

    @functools.cached_property
    def row_format(self):
        """Return how a row of the catalog lies in the store."""
        conditioning = self.painter.conditioning
        labels = dict(zip(conditioning.columns, conditioning.dtypes, strict=True))
        return RowFormat(labels, self.measurement.names, self.bands, self.population.extra)

    def pieces(self, first, stop):
        """Yield row number, labels, novelty score and flag of rows ``first .. stop - 1``, some thousand at a time."""
        for start in range(first, stop, PIECE):
            labels = self.population.labels(start, min(start + PIECE, stop))
            yield start, labels, *self.painter.conditioning.novelty(labels)

    def judge(self, first, stop, strict, context):
        """Warn of galaxies outside what the GAN has seen, or refuse them.

        Parameters
        ----------
        first, stop : int
            Rows of the request.
        strict : bool
            Refuse.
        context : galaxycgan.context.Context
        """
        flagged, example = 0, None
        for start, labels, _, flag in self.pieces(first, stop):
            context.check()
            if flag.any() and example is None:
                row = int(np.argmax(flag))
                values = zip(self.painter.conditioning.columns, labels[row], strict=True)
                example = f"row {start + row}: " + ", ".join(f"{name} {value:.4g}" for name, value in values)
            flagged += int(flag.sum())
        if not flagged:
            return
        text = f"{flagged:,} of {stop - first:,} galaxies lie outside what the GAN has seen"
        if strict:
            raise UserError(
                f"recipe {self.recipe.name}: {text} ({example}); narrow its ranges, or leave out --strict and use"
                " ood_flag"
            )
        context.say(f"warning: {text} (ood_flag)")


def _own_columns(text):
    """Return the names of the user's own table; without them pandas need not be imported."""
    if not text:
        return {}
    from galaxycgan.catalogs.inputs.survey_table import parse_columns

    return parse_columns(text)


def catalog_header(card, created):
    """Return what holds for all galaxies of a generator.

    Parameters
    ----------
    card : dict
        Of the generator.
    created : str
        ISO time of the request.

    Returns
    -------
    StoreHeader
    """
    return StoreHeader(
        id_column="SYN_id",
        bands=tuple(card["bands"]),
        filters=tuple(card["filters"]),
        pixel_scale_arcsec=card["pixel_scale_arcsec"],
        pixel_unit=card["pixel_unit"],
        stretch="none",
        psf_fwhm_arcsec=tuple(float("nan") if v is None else v for v in card["psf_fwhm_arcsec"]),
        mass_convention=card["mass_convention"],
        synthetic=True,
        created=created,
    )


def measure_of(painter):
    """Return what measures the images of a generator: Measurement."""
    card, size = painter.card, painter.generator.shape.size
    truth = painter.generator.noise.separate
    return Measurement(tuple(card["bands"]), card["pixel_scale_arcsec"], size, painter.correlation, truth)
