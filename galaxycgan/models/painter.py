"""Labels to images with a trained generator, in fixed blocks: galaxy i is the same whatever is made beside it."""

import dataclasses

import numpy as np
import torch

from galaxycgan.models.device import autocast, choose_precision, precision_name
from galaxycgan.models.release import load_generator
from galaxycgan.randomness import normals
from galaxycgan.resources import gan_directory

#: Galaxy i is row i mod 64 of block i div 64: a matrix product's rounding depends on its shape, so the shape is fixed.
BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Block:
    """Images of 64 consecutive galaxies.

    Attributes
    ----------
    images, noiseless : float32 array [64, band, y, x]
        nJy per pixel; the same array where no noise was asked for.
    sigma : float32 array [64, band, y, x]
        Standard deviation of the noise per pixel in nJy, 0 where there is none.
    correlation : array [band, 9, 9]
        Autocorrelation of the noise.
    """

    images: np.ndarray
    noiseless: np.ndarray
    sigma: np.ndarray
    correlation: np.ndarray


class Painter:
    """A trained generator, ready to make blocks of galaxies.

    Parameters
    ----------
    run : str or Path
        Run directory of `train_gan`.
    device : torch.device
        Where.
    precision : str
        'auto', 'float32' or 'bfloat16'. One galaxy made in both differs by some thousandths of its brightest pixel.
    """

    def __init__(self, run, device, precision="auto"):
        self.run, self.device = gan_directory(run), device
        self.generator, self.conditioning, self.card = load_generator(self.run, device)
        self.dtype = choose_precision(precision, device)[0]
        self.correlation = self.generator.noise.correlation().cpu().numpy()

    @property
    def precision(self):
        """Name of the type that convolutions compute in."""
        return precision_name(self.dtype)

    @precision.setter
    def precision(self, name):
        self.dtype = choose_precision(name, self.device)[0]

    def paint(self, labels, seed, first, noisy=True):
        """Make the block of galaxies ``first .. first + 63`` of a request.

        Parameters
        ----------
        labels : array [n, column]
            Of all galaxies of the request.
        seed : int
            Key of latent numbers and noise.
        first : int
            A multiple of 64.
        noisy : bool
            Whether to add noise.

        Returns
        -------
        Block
        """
        return self.paint_block(labels[first : first + BLOCK], seed, first, noisy)

    @torch.no_grad()
    def paint_block(self, labels, seed, first, noisy=True, sky_sigma=None):
        """Make one block from its own labels; threads may do so at the same time.

        Parameters
        ----------
        labels : array [k, column]
            Of galaxies ``first .. first + k - 1``, 64 at most; past the end the last one is repeated.
        seed, first, noisy
            As for `paint`.
        sky_sigma : array [band], optional
            Sky noise of another survey in nJy per pixel, without photon noise, instead of the training images' own.

        Returns
        -------
        Block
        """
        rows = np.minimum(np.arange(BLOCK), len(labels) - 1)
        shape = self.generator.shape
        conditions = torch.from_numpy(self.conditioning.standardise(labels[rows])).to(self.device)
        latent = self._normals(seed, "latent", first, (shape.latent_size,))
        with autocast(self.device, self.dtype):
            flux, depth = self.generator(latent, conditions)
        flux = flux.contiguous()
        unit = self.generator.flux_unit_njy[:, None, None]
        noiseless = flux * unit
        if not noisy:
            images, sigma = noiseless, torch.zeros_like(flux)
        elif sky_sigma is None:
            white = self._normals(seed, "noise", first, shape.white_shape)
            images = self.generator.observe(flux, depth, white) * unit
            sigma = self.generator.noise.sigma(flux, depth) * unit
        else:
            white = self._normals(seed, "noise", first, shape.white_shape)
            sigma = torch.tensor(np.asarray(sky_sigma), dtype=torch.float32, device=self.device)[:, None, None]
            empty = self.generator.observe(torch.zeros_like(flux), depth, white)
            # The noise of an empty sky over its own standard deviation: correlated, of unit variance.
            images = noiseless + sigma * empty / self.generator.noise.sky_sigma(depth)[..., None, None]
            sigma = sigma.expand_as(flux)
        return Block(*(tensor.cpu().numpy() for tensor in (images, noiseless, sigma)), self.correlation)

    def _normals(self, seed, stream, first, shape):
        deviates = normals(seed, stream, first, BLOCK, int(np.prod(shape)))
        return torch.from_numpy(np.ascontiguousarray(deviates)).view(BLOCK, *shape).to(self.device)

    def sample(self, labels, seed, noisy=True, check=lambda: None):
        """Make one galaxy for each row of labels: float32 [n, band, y, x] in nJy, noisy or noiseless.

        `check` is called before each block and raises where the work shall stop.
        """
        blocks = []
        for first in range(0, len(labels), BLOCK):
            check()
            blocks.append(self.paint(labels, seed, first, noisy).images)
        return np.concatenate(blocks)[: len(labels)]
