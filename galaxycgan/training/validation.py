"""How good a generator is on the validation split while it trains, and pictures to see it by. Changes no network."""

import contextlib
import functools

import numpy as np
import torch

from galaxycgan.evaluation.figures import galaxy_pictures
from galaxycgan.evaluation.figures import plots_of_measurements as curves
from galaxycgan.files.atomic import atomic_path, make_directory, read_records
from galaxycgan.models.conditioning import evenly_spaced
from galaxycgan.models.device import autocast
from galaxycgan.models.release import METRICS
from galaxycgan.randomness import normals
from galaxycgan.training.gan_losses import energy_score

#: Validation galaxies that are looked at, and galaxies drawn for each: noise of a score matters, its bias does not.
MOST, DRAWS = 256, 4
FEWEST = 16
CHUNK = 64
#: Of the grid of samples: a row of real galaxies, then generated ones with their labels.
SAMPLES, COLUMNS, SHOWN_DRAWS, ZOOM = "samples", 12, 4, 2
#: Key of latent numbers and noise, the same at each tick: two ticks differ by their weights alone.
SEED = 271828


class ValidationTicks:
    """What is done at each tick of a run: a score, a grid of samples, the learning curves.

    Parameters
    ----------
    validation : Validation or None
        None where the validation split is too small to tell.
    shown : Validation
        The real galaxies of the grid.
    run : Path
        Run directory; grids go to its ``samples``.
    """

    def __init__(self, validation, shown, run):
        self.validation, self.shown, self.run = validation, shown, run

    @classmethod
    def of(cls, store, conditioning, trainer, run):
        """Look at the validation split of a store, or only show pictures of the training split where that is small."""
        # Labels of validation galaxies may be missing, or of a category that no training galaxy has.
        legal = conditioning.legal(store.labels(conditioning.columns))
        held, train = np.flatnonzero((store.split == 1) & legal), np.flatnonzero(store.split == 0)

        def compared(rows):
            unit = trainer.generator.flux_unit_njy[:, None, None]
            flux = torch.from_numpy(store.images(rows)).to(trainer.device) / unit
            labels = conditioning.standardise(store.labels(conditioning.columns)[rows])
            labels = torch.from_numpy(labels).to(trainer.device)
            return Validation(flux, labels, trainer.photometer, unit, store.bands, trainer.dtype)

        some = held if len(held) >= COLUMNS else train
        shown = compared(some[evenly_spaced(len(some), COLUMNS)])
        return cls(compared(held[evenly_spaced(len(held), MOST)]) if len(held) >= FEWEST else None, shown, run)

    def __call__(self, generator, images_shown):
        """Draw, and return the scores of a generator."""
        with contextlib.suppress(ImportError):  # the extra "plots"
            self._draw(generator, images_shown)
        return self.validation(generator) if self.validation else {}

    def curves(self):
        """Draw the log of the run."""
        with contextlib.suppress(ImportError):
            curves.training_curves(self.run / "training.png", read_records(self.run / METRICS))

    def _draw(self, generator, images_shown):
        from matplotlib.image import imsave

        rows = [self.shown.flux, *(self.shown.draw(generator, k) for k in range(SHOWN_DRAWS))]
        sky_rms = 0.5 * generator.flux_unit_njy.cpu().numpy()
        pictures = [galaxy_pictures.colour((row * self.shown.unit_njy).cpu().numpy(), sky_rms)[:, ::-1] for row in rows]
        # [row, column, y, x, 3] to one picture
        grid = np.concatenate([np.concatenate(list(row), axis=1) for row in pictures])
        with atomic_path(make_directory(self.run / SAMPLES) / f"{images_shown:08d}.png") as temporary:
            imsave(temporary, grid.repeat(ZOOM, 0).repeat(ZOOM, 1), format="png")


class Validation:
    """Compare a generator with galaxies that it does not learn from, again and again.

    Parameters
    ----------
    flux : tensor [n, band, y, x]
        Validation images in flux units.
    conditions : tensor [n, n_conditions]
        Their standardised labels.
    photometer : Photometer
        Standardised on training images.
    unit_njy : tensor [band, 1, 1]
        The flux unit.
    bands : tuple of str
    dtype : torch.dtype
        Of the convolutions.
    """

    def __init__(self, flux, conditions, photometer, unit_njy, bands, dtype):
        self.flux, self.conditions, self.photometer = flux, conditions, photometer
        self.unit_njy, self.bands, self.dtype = unit_njy, bands, dtype
        self.measured = torch.cat([photometer(part) for part in flux.split(CHUNK)])
        #: What a generator would score that made real galaxies of other labels.
        self.blind = float(energy_score(self.measured, self.measured.roll(1, 0), self.measured.roll(2, 0)))

    @functools.cached_property
    def quick(self):
        """The metrics of these galaxies."""
        # With scipy.stats, which takes half as long to import as torch: a run that only draws starts without.
        from galaxycgan.evaluation.metrics.quick import QuickMetrics

        return QuickMetrics((self.flux * self.unit_njy).cpu().numpy(), self.conditions.cpu().numpy(), self.bands)

    @torch.no_grad()
    def __call__(self, generator):
        """Score a generator.

        Returns
        -------
        dict of float
            ``validation``: the energy score of the photometry (`losses.energy_score`), the smaller the better;
            ``validation_blind``: the same of real galaxies of other labels;
            ``validation_w1``: mean W1 over sigma of the eight properties, whose floor is higher the fewer validation
            galaxies there are. Checkpoints are chosen by the sum of the first and the last.
        """
        images = [self.draw(generator, k) for k in range(DRAWS)]
        measured = [torch.cat([self.photometer(part) for part in each.split(CHUNK)]) for each in images]
        pairs = list(zip(measured[::2], measured[1::2], strict=True))
        score = sum(energy_score(self.measured, *pair) for pair in pairs) / len(pairs)
        fake = (torch.cat(images) * self.unit_njy).cpu().numpy()
        found = self.quick(fake, self.conditions.repeat(DRAWS, 1).cpu().numpy())
        # Of images that show nothing, no property tells generators apart.
        w1 = found["w1.mean"] if self.quick.shown else 0.0
        return {"validation": float(score), "validation_blind": self.blind, "validation_w1": w1}

    @torch.no_grad()
    def draw(self, generator, k=0, rows=slice(None)):
        """Return the k-th galaxy with the labels of each: float32 tensor [n, band, y, x] in flux units."""
        conditions, shape, device = self.conditions[rows], generator.shape, self.flux.device
        parts = []
        for first in range(0, len(conditions), CHUNK):
            part = conditions[first : first + CHUNK]
            index = k * MOST + first
            latent = normals(SEED, "latent", index, len(part), shape.latent_size)
            white = normals(SEED, "noise", index, len(part), int(np.prod(shape.white_shape)))
            with autocast(device, self.dtype):
                noiseless, depth = generator(torch.from_numpy(np.ascontiguousarray(latent)).to(device), part)
            white = torch.from_numpy(white).view(len(part), *shape.white_shape).to(device)
            parts.append(generator.observe(noiseless, depth, white))
        return torch.cat(parts)
