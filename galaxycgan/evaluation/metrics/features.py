"""Features of a small network that predicts the labels: how alike two sets of images are beyond photometry. No files.

The network learns (image -> standardised labels) on real training images alone; its last layer before the labels,
whitened, is the space in which neighbours are counted. No weights are downloaded: features of everyday photographs say
little about galaxies.
"""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import nn

from galaxycgan.models.classifier import Standardise
from galaxycgan.models.device import autocast, choose_precision, one_thread
from galaxycgan.models.photometer import Photometer

FEATURES, COMPONENTS = 96, 32
STEPS, BATCH, RATE = 600, 64, 2e-3
NEIGHBOURS = 5
#: Galaxies of each kind that are compared at a time, as neighbours are the nearer the more there are; how many times.
COMPARED, PIECES = 1000, 2
FOLDS = 5
CPU = torch.device("cpu")


class Regressor(nn.Module):
    """Three convolutions on space-to-depth input, then a layer of `FEATURES` that the labels are read from."""

    def __init__(self, n_bands, n_labels):
        super().__init__()
        self.stretch = Standardise(n_bands)
        channels = (4 * n_bands, 32, 64, 64)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, stride=1 if k == 0 else 2)
            for k, (a, b) in enumerate(zip(channels, channels[1:], strict=False))
        )
        self.look = nn.Linear(2 * channels[-1], FEATURES)
        self.read = nn.Linear(FEATURES, n_labels)

    def features(self, flux):
        """Return [n, FEATURES] of images [n, band, y, x] in nJy."""
        x = self.stretch(flux)
        if x.shape[-1] % 2:
            x = F.pad(x, (0, 1, 0, 1))
        x = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = F.silu(layer(x))
        return torch.tanh(self.look(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)))

    def forward(self, flux):
        """Return the standardised labels [n, label]."""
        return self.read(self.features(flux))


class FeatureSpace:
    """Whitened features of images.

    Parameters
    ----------
    images : float32 array [n, band, y, x]
        Real training images, nJy.
    labels : array [n, label]
        Standardised.
    unit_njy : array [band]
        Softening of the stretch.
    check : callable
        Called at every step; raises where the work shall stop.
    seed : int
        Of weights and order.
    """

    def __init__(self, images, labels, unit_njy, check, seed=0):
        images = torch.from_numpy(np.ascontiguousarray(images))
        labels = torch.from_numpy(np.asarray(labels, dtype=np.float32))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Regressor(images.shape[1], labels.shape[1]).to(memory_format=torch.channels_last)
        self.network.stretch.start_at(images, unit_njy)
        with one_thread():
            self._learn(images, labels, check, np.random.default_rng(seed))
        raw = self._raw(images)
        self.mean = raw.mean(0)
        _, scale, axes = np.linalg.svd(raw - self.mean, full_matrices=False)
        keep = min(COMPONENTS, int(np.sum(scale > 1e-4 * scale[0])))
        self.axes = (axes[:keep] / scale[:keep, None] * np.sqrt(len(raw))).T

    def _learn(self, images, labels, check, random):
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=RATE, weight_decay=1e-3)
        precision, _ = choose_precision("auto", CPU)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            check()
            pick = torch.from_numpy(random.integers(len(images), size=BATCH))
            flips = [axis for axis in (-1, -2) if random.random() < 0.5]
            batch = images[pick].flip(flips)
            batch = batch.transpose(-1, -2) if random.random() < 0.5 else batch
            with autocast(CPU, precision):
                predicted = self.network(batch)
            loss = F.mse_loss(predicted.float(), labels[pick])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        self.network.eval()

    @torch.no_grad()
    def _raw(self, images):
        parts = torch.as_tensor(images).split(256)
        return torch.cat([self.network.features(part) for part in parts]).double().numpy()

    def __call__(self, images):
        """Return features [n, component] of unit variance on the training images."""
        return (self._raw(np.ascontiguousarray(images)) - self.mean) @ self.axes


@torch.no_grad()
def measured(images, unit_njy):
    """Return all that `Photometer` measures of images [n, band, y, x] in nJy: float32 [n, measurement].

    Parameters
    ----------
    images : float32 array
    unit_njy : array [band]
        Twice the sky noise.
    """
    photometer = Photometer(images.shape[1], images.shape[-1])
    unit = torch.as_tensor(np.asarray(unit_njy, dtype=np.float32))[:, None, None]
    parts = torch.from_numpy(np.ascontiguousarray(images)).split(256)
    return torch.cat([photometer.raw(part / unit) for part in parts]).numpy()


def density_and_coverage(real, synthetic, k=NEIGHBOURS):
    """Return density and coverage (Naeem et al. 2020, arXiv:2002.09797, eqs. 3 and 4).

    Around each real galaxy lies a ball that reaches its k-th real neighbour. Density: how many balls a synthetic galaxy
    lies in, over k; 1 where the two sets are alike, less where synthetic galaxies lie off the real ones. Coverage: the
    share of balls with a synthetic galaxy inside.

    Parameters
    ----------
    real, synthetic : array [n, component], [m, component]
    k : int

    Returns
    -------
    float, float
    """
    tree = cKDTree(real)
    radius = tree.query(real, k=[k + 1])[0][:, 0]
    distance = np.sqrt(np.maximum(_squared_distances(real, synthetic), 0))
    inside = distance < radius[:, None]
    return float(inside.sum() / (k * len(synthetic))), float(inside.any(1).mean())


def mean_density_and_coverage(real, synthetic):
    """Return density and coverage of `COMPARED` galaxies of each kind, of larger sets the mean over such pieces.

    Which real galaxies make one thousand scatters the density by 0.03.

    Parameters
    ----------
    real, synthetic : array [n, component], [m, component]
    """
    pairs = itertools.product(*(_pieces(each) for each in (real, synthetic)))
    return tuple(np.mean([density_and_coverage(*pair) for pair in pairs], 0).tolist())


def _pieces(rows):
    """Return the rows in as many parts of `COMPARED` as there are, at most `PIECES`; fewer rows as they are."""
    n = min(max(len(rows) // COMPARED, 1), PIECES)
    return np.split(rows[: n * COMPARED], n)


def _squared_distances(a, b):
    return (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T


def nearest(train, features):
    """Find the nearest training galaxy of each galaxy.

    Parameters
    ----------
    train, features : arrays [n, component], [m, component]

    Returns
    -------
    distance : array [m]
    row : int array [m]
        Of the training set.
    """
    return cKDTree(train).query(features)


def memorisation(held_out, synthetic):
    """Compare how near synthetic and held-out real galaxies lie to the training set.

    Parameters
    ----------
    held_out, synthetic : arrays [n], [m]
        Distances of `nearest`.

    Returns
    -------
    dict
        'ratio': median distance of synthetic galaxies over that of held-out ones; 1 is ideal, less means copies.
        'near_share': share of synthetic galaxies nearer than the nearest 1% of the held-out ones.
    """
    return {
        "ratio": float(np.median(synthetic) / np.median(held_out)),
        "near_share": float(np.mean(synthetic < np.quantile(held_out, 0.01))),
    }


def two_sample_accuracy(real, synthetic, seed=0):
    """Return how often a classifier tells synthetic galaxies from real ones, cross-validated: 0.5 is ideal.

    Parameters
    ----------
    real, synthetic : array [n, component]
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from threadpoolctl import threadpool_limits

    model = HistGradientBoostingClassifier(max_iter=80, max_leaf_nodes=8, learning_rate=0.1, random_state=seed)
    x = np.concatenate([real, synthetic])
    y = np.repeat([0, 1], [len(real), len(synthetic)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    # More threads gain nothing here on idle cores, and wait for each other on those that others use, too.
    with threadpool_limits(1, user_api="openmp"):
        return float(cross_val_score(model, x, y, cv=folds).mean())
