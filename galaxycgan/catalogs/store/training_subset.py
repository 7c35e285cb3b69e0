"""Which galaxies of a store a run may learn from: a share of the training split, or one fold of a cross-validation.

The GAN and the classifier both ask here, so that at the same options they learn from exactly the same galaxies. Draws
by id alone: the same galaxies whatever is added to the store.
"""

import numpy as np

from galaxycgan.catalogs.store.store import NO_SPLIT, SPLITS, split_of
from galaxycgan.errors import UserError

TRAIN, VALIDATION, TEST = SPLITS["train"], SPLITS["val"], SPLITS["test"]
#: Salts of the hashes, each independent of the split's own.
FRACTION_SALT, FOLD_SALT, STOP_SALT = "galaxycgan-fraction-1", "galaxycgan-fold-1", "galaxycgan-stop-1"
NO_FOLD = -1
#: Options of the runs that learn from a portion, which are those of `training_subset`.
PORTION = ("fraction", "draw", "fold", "folds")


def check_portion(fraction, fold, folds):
    """Refuse a share outside (0, 1] and a fold that isn't there."""
    if not 0 < fraction <= 1:
        raise UserError(f"--fraction {fraction}: must be above 0 and at most 1")
    if fold != NO_FOLD and folds < 2:
        raise UserError(f"--folds {folds}: must be at least 2")
    if fold != NO_FOLD and not 0 <= fold < folds:
        raise UserError(f"--fold {fold}: of --folds {folds} they are 0 to {folds - 1}")


def training_subset(ids, split, fraction=1.0, fold=NO_FOLD, folds=5, draw=0):
    """Return the split that a run works with.

    Parameters
    ----------
    ids : int64 array [n]
    split : int8 array [n]
        The store's.
    fraction : float
        Share of the training galaxies that is kept. The others get split -1.
    fold, folds : int
        Cross-validation on training and validation split together: galaxies of the fold are the test split, and of the
        others as many as the store has stop the training early. The store's own test galaxies are left out of it all.
        fold -1: none.
    draw : int
        Which galaxies make the share. Smaller shares of one draw lie within larger ones.

    Returns
    -------
    int8 array [n]
        0 train, 1 validation, 2 test, -1 none.

    Raises
    ------
    UserError
        Where the share or the fold can't be.
    """
    check_portion(fraction, fold, folds)
    ids, given = np.asarray(ids), np.asarray(split)
    split = given.astype(np.int8, copy=True)
    if fold != NO_FOLD:
        usable = np.isin(given, (TRAIN, VALIDATION))
        stopping = np.count_nonzero(given == VALIDATION) / max(np.count_nonzero(usable), 1)
        split[:] = NO_SPLIT
        split[usable] = np.where(_below(ids[usable], STOP_SALT, stopping), VALIDATION, TRAIN)
        split[usable & (split_of(ids, FOLD_SALT, (fold / folds, 1 / folds, 0.0)) == 1)] = TEST
    if fraction < 1:
        salt = f"{FRACTION_SALT}-draw-{draw}" if draw else FRACTION_SALT
        split[(split == TRAIN) & ~_below(ids, salt, fraction)] = NO_SPLIT
    return split


def use_portion(store, config):
    """Let a store show the split of a portion in place of its own; return the store. The file is not changed.

    `config` has the options fraction, draw, fold and folds.
    """
    store.split = training_subset(store.ids, store.split, **{name: getattr(config, name) for name in PORTION})
    return store


def _below(ids, salt, share):
    """Return which ids hash below a share."""
    return split_of(ids, salt, (share, 1 - share, 0.0)) == 0
