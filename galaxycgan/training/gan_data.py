"""What a GAN learns from: labels and images of a store's training split, refused where nothing can be learned."""

import numpy as np

from galaxycgan.catalogs.schema.columns import is_measured
from galaxycgan.catalogs.store.training_subset import TRAIN
from galaxycgan.errors import UserError
from galaxycgan.images.noise_measurement import sky_left
from galaxycgan.models.conditioning import Conditioning, evenly_spaced

SMALLEST_SET, SMALLEST_SIZE, LARGEST_SIZE = 16, 32, 128
#: Training galaxies that noise and scales are measured on, at most.
MOST_MEASURED = 2000


def _names(text):
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _categorical(text, columns, store):
    """Return which label columns hold categories: the ones that are named, and truth values."""
    named = _names(text)
    for name in named:
        if name not in columns:
            raise UserError(f"--categories {name}: is none of the --labels {', '.join(columns)}")
        values = np.asarray(store.column(name), dtype=np.float64)
        odd = values[np.isfinite(values) & (values != np.round(values))]
        if len(odd):
            raise UserError(f"{store.path}: column {name} holds {odd[0]:g}: categories are whole numbers")
    return tuple(name for name in columns if name in named or store.column(name).dtype.kind == "b")


def _label_columns(text, store):
    columns = _names(text)
    for name in columns:
        if name not in store.columns:
            raise UserError(f"{store.path}: no column '{name}' to condition on; there are: {', '.join(store.columns)}")
        if store.column(name).dtype.kind not in "iufb":
            raise UserError(
                f"{store.path}: column {name} holds no numbers; it can't be a label (categories are whole numbers)"
            )
        if is_measured(name, store.bands):
            raise UserError(f"{store.path}: {name} is a column that catalogs measure; rename it to use it as a label")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise UserError(f"--labels {text}: {twice[0]} comes twice")
    if not columns:
        raise UserError("--labels is empty: name at least one column, such as --labels photo_z,log_mass")
    return columns


def training_labels(config, store):
    """Return what a GAN is to learn from; refuse, before anything is trained, what it can't.

    Parameters
    ----------
    config : galaxycgan.config.TrainGan
    store : GalaxyStore
        Its training split is the GAN's.

    Returns
    -------
    rows : int array [n]
        Of the store.
    labels : array [n, label]
    conditioning : Conditioning

    Raises
    ------
    UserError
        Where there are too few galaxies, their images are too small or large, or a column can't be a label.
    """
    columns = _label_columns(config.labels, store)
    rows = np.flatnonzero(store.split == TRAIN)
    if len(rows) < SMALLEST_SET:
        raise UserError(
            f"{store.path}: {len(rows)} galaxies in the training split; a GAN needs at least {SMALLEST_SET}"
        )
    if not SMALLEST_SIZE <= store.size <= LARGEST_SIZE:
        raise UserError(
            f"{store.path}: images of {store.size} px; sizes from {SMALLEST_SIZE} to {LARGEST_SIZE} px are known"
        )
    labels = store.labels(columns)[rows]
    return rows, labels, Conditioning.fit(columns, labels, store.path, _categorical(config.categories, columns, store))


def measured(rows):
    """Return which of the training galaxies noise and scales are measured on: int array."""
    # Rows are sorted by id, and ids by position on the sky: spread the sample over all of it.
    return evenly_spaced(len(rows), MOST_MEASURED)


def check_images(store, rows):
    """Refuse a store whose images at `rows` hold no numbers, or a sky that nobody has taken off."""
    sample = store.images(rows[measured(rows)])
    if not np.isfinite(sample).all():
        raise UserError(f"{store.path}: images with NaN or inf; see galaxycgan verify {store.path}")
    for band, level in zip(store.bands, sky_left(sample), strict=True):
        if level:
            side = "above" if level > 0 else "below"
            raise UserError(
                f"{store.path}: the sky of band {band} lies {abs(level):,.0f} times its noise {side} 0: take it off the"
                " images first"
            )
