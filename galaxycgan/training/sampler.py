"""Which real galaxy is shown when: a pure function of the seed and of the number of images shown so far."""

import numpy as np
import torch

from galaxycgan.randomness import generator, shuffled_order


class Sampler:
    """Endless shuffled passes over `n` objects, addressed by the global index of the image shown.

    Parameters
    ----------
    n : int
        Number of objects.
    seed : int
        Key of the order.
    """

    def __init__(self, n, seed):
        self.n, self.seed = n, seed
        self._epochs = {}

    def rows(self, first, count):
        """Return the rows shown as images ``first .. first + count - 1``: int64 [count]."""
        shown = np.arange(first, first + count)
        epochs = shown // self.n
        rows = np.empty(count, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = self._order(int(epoch))[shown[here] % self.n]
        return rows

    def _order(self, epoch):
        if epoch not in self._epochs:
            # A batch spans few epochs: forget the older ones.
            self._epochs = {k: v for k, v in self._epochs.items() if k == epoch - 1}
            self._epochs[epoch] = shuffled_order(self.seed, epoch, self.n)
        return self._epochs[epoch]


def dihedral(images, which):
    """Apply one of the eight symmetries of the square to images [n, band, y, x]; `which` in 0..7.

    Flips and transposes are the only augmentation: a galaxy has no preferred side on the sky, but its brightness,
    colour and size are what the labels speak of.
    """
    if which & 1:
        images = images.flip(-1)
    if which & 2:
        images = images.flip(-2)
    return images.transpose(-1, -2) if which & 4 else images


def symmetry(seed, first):
    """Return the symmetry for the batch that starts at a global image index: 0..7."""
    return int(generator(seed, "augment", first).integers(8))


class RealImages:
    """The training images in flux units on the device, or read from the store batch by batch where they don't fit.

    Parameters
    ----------
    store : GalaxyStore
        Where they are.
    rows : int array
        Rows of the training split.
    unit_njy : tensor [band]
        Flux unit.
    device : torch.device
        Where batches are wanted.
    budget_bytes : int
        Memory that the whole set may take.
    """

    def __init__(self, store, rows, unit_njy, device, budget_bytes):
        self.store, self.rows, self.device = store, rows, device
        self.unit = unit_njy.to(device)[:, None, None]
        size = len(rows) * len(store.bands) * store.size**2 * 4
        self.resident = self._read(rows) if size <= budget_bytes else None

    def _read(self, rows):
        return torch.from_numpy(self.store.images(rows)).to(self.device) / self.unit

    def batch(self, index):
        """Return images [n, band, y, x] in flux units for positions within the training split."""
        if self.resident is not None:
            return self.resident[torch.from_numpy(index).to(self.device)]
        return self._read(self.rows[index])
