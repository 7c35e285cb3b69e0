"""Which real galaxies a GAN is compared with, and which it learned from. Computes no metric."""

import contextlib
import dataclasses

import numpy as np

from galaxycgan.catalogs.store import GalaxyStore
from galaxycgan.errors import UserError
from galaxycgan.files import read_json
from galaxycgan.models.conditioning import spread
from galaxycgan.models.release import CARD, load_trained_on

SMALLEST = 8
#: So many training galaxies at most teach the regressors.
MOST_TAUGHT = 6000
#: Fewer teach nothing.
LEAST_TAUGHT = 100


@dataclasses.dataclass(frozen=True)
class Samples:
    """Real galaxies in the roles that the metrics need.

    Attributes
    ----------
    store : GalaxyStore
        That the GAN is judged on.
    rows : int array [n]
        Galaxies of it that the GAN never saw and that it is compared with.
    others : int array [m]
        Another, disjoint set of real galaxies of it: the floor. Unseen ones come first, but between real galaxies it
        does not matter what the GAN has seen.
    others_unseen : bool
        Whether the GAN saw none of these.
    training : tuple (GalaxyStore, int array) or None
        What the GAN learned from, where it is at hand.
    """

    store: GalaxyStore
    rows: np.ndarray
    others: np.ndarray
    others_unseen: bool
    training: tuple | None

    @classmethod
    def choose(cls, store, run, n, random):
        """Choose at most n galaxies to compare with.

        Parameters
        ----------
        store : GalaxyStore
        run : Path
            Run directory of the GAN.
        n : int
        random : numpy.random.Generator

        Raises
        ------
        UserError
            Where the store has hardly any galaxies that the GAN never saw.
        """
        labelled, trained_on = store.split >= 0, load_trained_on(run)
        known = np.isin(store.ids, trained_on)
        seen, unseen = np.flatnonzero(labelled & known), random.permutation(np.flatnonzero(labelled & ~known))
        if len(unseen) < SMALLEST:
            raise UserError(
                f"{store.path}: {len(unseen)} labelled galaxies that {run} never saw; need at least {SMALLEST}"
            )
        n = min(n, len(unseen))
        others = np.concatenate([unseen[n:], random.permutation(seen)])[:n]
        training = (store, seen) if len(seen) == len(trained_on) else _training_set(run, trained_on)
        return cls(store, np.sort(unseen[:n]), np.sort(others), len(unseen) >= 2 * n, training)

    def teachers(self):
        """Return (store, rows) of at most `MOST_TAUGHT` galaxies that regressors learn from, None where too few.

        They are the GAN's training galaxies; without these, other real ones that are not compared.
        """
        store, rows = self.training or (self.store, self.others)
        return (store, rows[spread(len(rows), MOST_TAUGHT)]) if len(rows) >= LEAST_TAUGHT else None


def _training_set(run, trained_on):
    """Return (store, rows) that a run learned from, None where the store is gone or another one now."""
    made_from = read_json(run / CARD).get("store", {})
    with contextlib.suppress(UserError):
        store = GalaxyStore(made_from.get("path", ""))
        if store.fingerprint == made_from.get("fingerprint"):
            return store, store.rows_of(trained_on)
    return None
