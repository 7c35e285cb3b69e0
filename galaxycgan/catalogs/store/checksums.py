"""Reads a store's images in file order and hashes them on the way: damage does not pass unseen."""

import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from galaxycgan.errors import UserError


def damaged(path, problems):
    """Return the `UserError` of a store with such problems, a list of short sentences."""
    return UserError(f"{path}: damaged store ({'; '.join(problems)}); make it again or restore a copy")


class CheckedImages:
    """One dataset of images, read once from the first row to the last; a context manager.

    The digest runs in a thread of its own beside the reading and beside what the caller does with the piece before.

    Parameters
    ----------
    store : GalaxyStore
    name : str
        'images' or 'noiseless'.
    """

    def __init__(self, store, name):
        self.store, self.name = store, name
        self._row = 0
        self._digest = hashlib.sha256()
        self._pending = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._hasher = stack.enter_context(ThreadPoolExecutor(1))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def read(self, stop):
        """Go on reading up to a row.

        Parameters
        ----------
        stop : int
            One behind the last row to read.

        Yields
        ------
        int64 array [k], float32 array [k, band, y, x]
            Row numbers and their images, which must not be changed.
        """
        start, self._row = self._row, max(self._row, stop)
        for rows, images in self.store.pieces(self.name, np.arange(start, self._row)):
            self._wait()
            self._pending = self._hasher.submit(self._digest.update, images)
            yield rows, images

    def is_intact(self):
        """Read what is left and tell whether the checksum is the one in the store."""
        for _ in self.read(self.store.n):
            pass
        self._wait()
        return self._digest.hexdigest() == self.store.checksums.get(self.name)

    def require_intact(self):
        """Read what is left; raise `UserError` where images are not those that the store was written with."""
        if not self.is_intact():
            raise damaged(self.store.path, [f"{self.name}: wrong checksum"])

    def _wait(self):
        if self._pending is not None:
            self._pending.result()
