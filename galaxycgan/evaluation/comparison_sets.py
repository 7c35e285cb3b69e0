"""Which real galaxies a generator is compared with, and which it learned from."""

import contextlib
import dataclasses

import numpy as np

from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.catalogs.store.training_subset import PORTION, TRAIN, training_subset
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import read_json
from galaxycgan.models.conditioning import evenly_spaced
from galaxycgan.models.release import CARD, load_trained_on

SMALLEST = 8
#: So many training galaxies at most teach the regressors.
MOST_TAUGHT = 6000
#: Fewer teach nothing.
LEAST_TAUGHT = 100
#: So many training galaxies at most are searched for copies.
MOST_SEARCHED = 30_000


@dataclasses.dataclass(frozen=True)
class Samples:
    """Real galaxies in the roles that the metrics need.

    Attributes
    ----------
    store : GalaxyStore
        That the generator is judged on.
    rows : int array [n]
        Galaxies of it that the generator never learned from and that it is compared with. Validation galaxies, which
        chose among its checkpoints, are such.
    others : int array [m]
        Another, disjoint set of real galaxies of it: the floor. Unseen ones come first, but between real galaxies it
        does not matter what the generator has seen.
    others_unseen : bool
        Whether the generator saw none of these.
    teachers : tuple (GalaxyStore, int array) or None
        Galaxies in neither set, at most `MOST_TAUGHT`, that regressors learn from; None: too few.
    training : tuple (GalaxyStore, int array) or None
        What the generator learned from, where it is at hand.
    remark : str
        What a reader must know of the choice; '': nothing.
    """

    store: GalaxyStore
    rows: np.ndarray
    others: np.ndarray
    others_unseen: bool
    teachers: tuple | None
    training: tuple | None
    remark: str = ""

    @classmethod
    def of_run(cls, store, usable, run, n, random):
        """Choose at most n galaxies to compare a run's generator with.

        Parameters
        ----------
        store : GalaxyStore
        usable : bool array [store.n]
            Galaxies whose labels say something to the generator.
        run : Path
            Run directory of the GAN.
        n : int
        random : numpy.random.Generator

        Raises
        ------
        UserError
            Where the store has hardly any galaxies that the GAN never saw.
        """
        trained_on = load_trained_on(run)
        known = np.isin(store.ids, trained_on)
        seen = np.flatnonzero(usable & known)
        training = (store, seen) if len(seen) == len(trained_on) else _training_set(run, trained_on)
        return cls._split(store, usable, known, training, n, random, run)

    @classmethod
    def of_catalog(cls, store, usable, card, n, random, path):
        """Choose at most n galaxies to compare a catalog with, whose generator is not at hand.

        Parameters
        ----------
        store, usable, n, random
            As for `of_run`.
        card : dict
            The generator's, as the catalog tells it. Where it learned from this store, its training galaxies are known
            and left out.
        path : Path
            Of the catalog, for messages.
        """
        if card.get("store", {}).get("fingerprint") != store.fingerprint:
            chosen = cls._split(store, usable, np.zeros(store.n, dtype=bool), None, n, random, path)
            unknown = (
                f"which galaxies the generator of {path} learned from is unknown here; --gan names its run directory"
            )
            return dataclasses.replace(chosen, remark="; ".join(filter(None, (unknown, chosen.remark))))
        options = {name: card["training"][name] for name in PORTION if name in card.get("training", {})}
        known = training_subset(store.ids, store.split, **options) == TRAIN
        return cls._split(store, usable, known, (store, np.flatnonzero(known & usable)), n, random, path)

    @classmethod
    def _split(cls, store, usable, known, training, n, random, what):
        seen, unseen = np.flatnonzero(usable & known), random.permutation(np.flatnonzero(usable & ~known))
        # The second set has as many galaxies as the first: what two sets differ by depends on how many they hold.
        most = min(len(unseen), (len(unseen) + len(seen)) // 2)
        if most < SMALLEST:
            raise UserError(
                f"{store.path}: {len(unseen)} labelled galaxies that {what} never saw; need two sets of at least"
                f" {SMALLEST}"
            )
        if training is None and len(unseen) // 3 >= SMALLEST:  # then the teachers come out of the same store
            most = min(most, len(unseen) // 3)
        asked, n = min(n, len(unseen)), min(n, most)
        others = np.concatenate([unseen[n:], random.permutation(seen)])[:n]
        source, rows = training or (store, np.setdiff1d(unseen[n:], others))
        rows = rows[~np.isin(source.ids[rows], store.ids[others])]
        teachers = (source, rows[evenly_spaced(len(rows), MOST_TAUGHT)]) if len(rows) >= LEAST_TAUGHT else None
        remark = _remark(store, usable, asked, n, len(unseen), training is not None)
        return cls(store, np.sort(unseen[:n]), np.sort(others), len(unseen) >= 2 * n, teachers, training, remark)

    def searched(self):
        """Return (store, rows) of the training galaxies that are searched for copies, None where unknown."""
        if self.training is None or len(self.training[1]) == 0:
            return None
        store, rows = self.training
        return store, rows[evenly_spaced(len(rows), MOST_SEARCHED)]


def _remark(store, usable, asked, n, unseen, taught_elsewhere):
    """Say which galaxies are not compared though a reader would expect it; '': all are."""
    useless = int(((store.split >= 0) & ~usable).sum())
    parts = [f"{useless:,} galaxies of {store.path} are left out: labels that are missing or mean nothing to the"
             " generator"] if useless else []  # fmt: skip
    if n < asked and taught_elsewhere:
        parts.append(
            f"{n:,} galaxies are compared, not {asked:,}: the {unseen:,} of {store.path} are shared with the second set"
        )
    elif n < asked:
        parts.append(
            f"{n:,} galaxies are compared, not {asked:,}: what the generator learned from is not at hand, so the"
            f" {unseen:,} of {store.path} are shared with the second set and those that teach the regressors"
        )
    return "; ".join(parts)


def _training_set(run, trained_on):
    """Return (store, rows) that a run learned from, None where the store is gone or another one now."""
    made_from = read_json(run / CARD).get("store", {})
    with contextlib.suppress(UserError):
        store = GalaxyStore(made_from.get("path", ""))
        if store.fingerprint == made_from.get("fingerprint"):
            return store, store.rows_of(trained_on)
    return None
