"""What a classifier is trained and judged on: real galaxies by split, and generated ones fresh for every epoch."""

import dataclasses

import numpy as np
import torch

from galaxycgan.catalogs.store.conditions import evaluate, incomplete, matches_target
from galaxycgan.catalogs.store.training_subset import TEST, TRAIN, VALIDATION
from galaxycgan.errors import UserError, first_few
from galaxycgan.evaluation.metrics.features import FeatureSpace
from galaxycgan.models.conditioning import evenly_spaced
from galaxycgan.models.painter import Painter
from galaxycgan.models.release import check_images, load_trained_on
from galaxycgan.populations.populations import Recipe, draw_labels
from galaxycgan.randomness import make_rng
from galaxycgan.training.dataset import images_of, resident_bytes

NAMES = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}
#: Scatter of asked labels around the training galaxies', in standard deviations of these. Scott's bandwidth, 0.4 for
#: 300 galaxies, helps a classifier no more, and asks for some that no survey has.
SMOOTHING = 0.1
#: Training galaxies at most, and at least, that teach the filter's regressor.
MOST_TAUGHT, LEAST_TAUGHT = 6000, 30
#: Sets of images that share the memory: three splits and another survey.
SETS = 4
CPU = torch.device("cpu")
#: Generated galaxies that the filter looks at together.
CHUNK = 256


@dataclasses.dataclass
class Split:
    """Galaxies in one role.

    Attributes
    ----------
    images : tensor [n, band, y, x] or StoredImages
        nJy.
    wanted : tensor [n]
        1 where a galaxy matches the target, else 0.
    ids : int64 array [n]
    rows : int array [n]
        Of the store.
    incomplete : int
        Galaxies that are left out: they lack a value that the target asks for.
    """

    images: torch.Tensor
    wanted: torch.Tensor
    ids: np.ndarray
    rows: np.ndarray
    incomplete: int = 0


def read_split(store, target, rows, name):
    """Read the galaxies at `rows` of a store; both kinds must be among them."""
    known, kinds = _kinds(store, target, rows, name)
    images = images_of(store, known, resident_bytes(CPU) // SETS)
    return Split(images, torch.from_numpy(kinds.astype(np.float32)), store.ids[known], known, len(rows) - len(known))


def _kinds(store, target, rows, name):
    """Return which of `rows` have all values that the target asks for, and whether they fulfil it."""
    kinds = evaluate(target, store.column, store.columns, store.n, f"{store.path}: --target")
    known = rows[~incomplete(target, store.column, store.n)[rows]]
    kinds = kinds[known]
    if kinds.all() or not kinds.any():
        less = f", {len(rows) - len(known)} lack a value that it asks for" if len(known) < len(rows) else ""
        raise UserError(
            f"{store.path}: of the {len(rows)} galaxies in the {name} split {kinds.sum()} fulfil '{target}'{less}; "
            "a classifier needs galaxies of both kinds in each split: try another --target or more data"
        )
    return known, kinds


def read_splits(store, target):
    """Read train, validation and test split of a store: list of three `Split`."""
    return [read_split(store, target, *split) for split in _splits(store)]


def check_splits(store, target):
    """Refuse what `read_splits` would refuse, without reading images."""
    for split in _splits(store):
        _kinds(store, target, *split)


def _splits(store):
    if store.synthetic:
        raise UserError(f"{store.path}: holds synthetic galaxies; a classifier's own are real, see --augment gan")
    return [(np.flatnonzero(store.split == k), name) for k, name in NAMES.items()]


def read_survey(survey, store, target):
    """Read all labelled galaxies of another survey's store to judge on.

    Raises
    ------
    UserError
        Where its images are of another kind, or it holds galaxies that the classifier learns from.
    """
    _check_kind(survey, store)
    return read_split(survey, target, *_labelled(survey))


def _labelled(survey):
    return np.flatnonzero(survey.split >= 0), "--test"


def check_survey(survey, store, target):
    """Refuse what `read_survey` would refuse, without reading images."""
    _check_kind(survey, store)
    _kinds(survey, target, *_labelled(survey))


def _check_kind(survey, store):
    """Refuse a survey of generated galaxies, of other images, or of galaxies that the classifier learns from."""
    if survey.synthetic:
        raise UserError(f"{survey.path}: holds synthetic galaxies; --test needs real ones")
    kind = {"bands": store.bands, "pixel_unit": store.pixel_unit, "pixel_scale_arcsec": store.pixel_scale}
    check_images(store.path, kind, store.size, survey)
    shared = np.intersect1d(survey.ids, store.ids[np.isin(store.split, (TRAIN, VALIDATION))])
    if len(shared):
        raise UserError(
            f"{survey.path}: {len(shared)} of its galaxies are in the training or validation split of {store.path} "
            f"({first_few(shared)}); --test needs galaxies that the classifier never saw (galaxycgan select makes such)"
        )


def check_target(target, columns, who, flags=()):
    """Refuse a target that asks for more than the columns that `who` knows; those in `flags` are true or false."""
    evaluate(target, lambda name: np.ones(1, bool if name in flags else float), columns, 1, f"{who}: --target")


class SyntheticImages:
    """Fresh generated galaxies for each epoch, with labels like the training sample's.

    Parameters
    ----------
    run : Path
        Run directory of the GAN.
    store : GalaxyStore
        What the classifier is trained on; its `split` tells what it may see.
    target : str
        Expression that labels a galaxy by its asked properties.
    seed : int
        Of the draws.
    exactly : bool
        Whether the GAN must have seen the training galaxies and no others.

    Raises
    ------
    UserError
        Where the GAN has seen galaxies that it must not have, or makes other images.
    """

    def __init__(self, run, store, target, seed, device, exactly=False):
        self.painter = Painter(run, device)
        self.target, self.seed, self.filter = target, seed, None
        check_images(run, self.painter.card, self.painter.generator.shape.size, store)
        names = self.painter.conditioning.columns
        check_target(target, names, f"{run}, conditioned on {', '.join(names)}", self.painter.conditioning.flags)
        self.trained_on = load_trained_on(run)
        self.refuse(store.ids[np.isin(store.split, (VALIDATION, TEST))], f"validation or test galaxies of {store.path}")
        if exactly:
            self._refuse_others(store)

    def refuse(self, ids, what):
        """Raise `UserError` where the GAN was trained on one of these ids."""
        leaked = np.intersect1d(self.trained_on, ids)
        if len(leaked):
            raise UserError(
                f"{self.painter.run}: the GAN was trained on {len(leaked)} {what} ({first_few(leaked)}); "
                "train it on the classifier's own training galaxies"
            )

    def _refuse_others(self, store):
        """Raise `UserError` where GAN and classifier learn from different galaxies."""
        different = np.setxor1d(self.trained_on, store.ids[store.split == TRAIN])
        if len(different):
            raise UserError(
                f"{self.painter.run}: with --fraction or --fold the GAN must have learned from the classifier's "
                f"training galaxies exactly; {len(different)} differ ({first_few(different)}); train it on these"
            )

    def filter_by(self, store, training, unit_njy, share, check):
        """Leave out that share of galaxies whose labels a regressor reads most differently from what was asked.

        The regressor learns from the real training images, never from generated ones. A galaxy's deviation is in units
        of the regressor's own error. A large share takes real scatter away as well.

        Parameters
        ----------
        store : GalaxyStore
        training : Split
        unit_njy : array [band]
            Softening of the stretch: twice the sky noise.
        share : float
            0 <= share < 1.
        check : callable
            Raises where the work shall stop.
        """
        conditioning = self.painter.conditioning
        labels = store.labels(conditioning.columns)[training.rows]
        legal = np.flatnonzero(conditioning.legal(labels))
        if len(legal) < LEAST_TAUGHT:
            raise UserError(
                f"--synthetic-filter: {len(legal)} training galaxies have labels of the GAN"
                f" ({', '.join(conditioning.columns)}); a regressor needs {LEAST_TAUGHT} to learn from"
            )
        some = legal[evenly_spaced(len(legal), MOST_TAUGHT)]
        images, labels = training.images[some], conditioning.standardise(labels[some])
        space = FeatureSpace(images.numpy(), labels, unit_njy, check, self.seed)
        error = _read_labels(space.network, images) - torch.from_numpy(labels)
        self.filter = share, space.network, error.square().mean(0)

    def epoch(self, number, n, check=lambda: None):
        """Return images [n, band, y, x] in nJy and kinds [n] of an epoch."""
        seed = int(make_rng(self.seed, "request", number).integers(2**62))
        drawn = n if self.filter is None else int(np.ceil(n / (1 - self.filter[0])))
        recipe = Recipe("augmentation", seed, "model", "training", {"n": drawn, "smoothing": SMOOTHING})
        conditioning = self.painter.conditioning
        labels = draw_labels(recipe, conditioning)
        wanted = matches_target(self.target, conditioning.columns, labels, conditioning.flags)
        images = torch.from_numpy(self.painter.sample(labels, seed, check=check))
        keep = self._keep(images, labels, n)
        return images[keep], torch.from_numpy(wanted.astype(np.float32))[keep]

    def _keep(self, images, labels, n):
        """Return which n galaxies of a draw obey their labels best, in their order."""
        if self.filter is None:
            return slice(None)
        _, network, variance = self.filter
        asked = torch.from_numpy(self.painter.conditioning.standardise(labels))
        deviation = ((_read_labels(network, images) - asked).square() / variance).sum(1)
        return deviation.argsort(stable=True)[:n].sort().values


@torch.no_grad()
def _read_labels(network, images):
    """Labels that a regressor reads from images, standardised: [n, label]."""
    return torch.cat([network(part) for part in images.split(CHUNK)])
