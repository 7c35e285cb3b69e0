"""Which real galaxy is shown when: a pure function of the seed and of the number of images shown so far."""

import numpy as np

from galaxycgan.randomness import make_rng, shuffled_order


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
    return int(make_rng(seed, "augment", first).integers(8))
