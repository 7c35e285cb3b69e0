"""The metrics that choose a checkpoint: of two sets of images, in seconds, without a generator, a file or a picture."""

import numpy as np

from galaxycgan.evaluation.metrics.distances import shown
from galaxycgan.evaluation.metrics.judge import Galaxies, distances, photometry, softening_of


class QuickMetrics:
    """Real galaxies measured once, that any number of synthetic sets are compared with.

    Parameters
    ----------
    images : array [n, band, y, x]
        Real galaxies in nJy; best such as the generator never saw.
    labels : array [n, label]
        Theirs, standardised (`Conditioning.standardise`).
    bands : sequence of str
    numeric : sequence of bool, optional
        Which labels are amounts, and not what tells a category (`Conditioning.numeric`). Default: all.
    """

    def __init__(self, images, labels, bands, numeric=None):
        self.bands, self.labels, self.numeric = tuple(bands), np.asarray(labels, dtype=np.float64), numeric
        self.softening_njy = softening_of(images, self.bands)
        self.real = self._photometry(images, self.labels)
        #: Names of the properties that these galaxies scatter in.
        self.shown = shown(self.real["properties"])

    def __call__(self, images, labels=None):
        """Compare synthetic galaxies with the real ones.

        Parameters
        ----------
        images : array [m, band, y, x]
            nJy.
        labels : array [m, label], optional
            Standardised. Default: galaxy k was made for the labels of real galaxy k.

        Returns
        -------
        dict of float
            Metrics by the names of metrics.json: w1.* (w1.mean, w1.worst), w1_conditional, offset.*, power.*,
            noise_lag.*; and ``score``, the smaller the better: the mean of w1.mean and w1_conditional.
        """
        labels = self.labels if labels is None else np.asarray(labels, dtype=np.float64)
        found = distances(self.real, self._photometry(images, labels))
        return found | {"score": (found["w1.mean"] + found.get("w1_conditional", found["w1.mean"])) / 2}

    def _photometry(self, images, labels):
        return photometry(Galaxies(images, labels), self.bands, self.softening_njy, self.numeric)


def quick_metrics(real_images, synthetic_images, labels, bands, synthetic_labels=None):
    """Compare two sets of images once; see `QuickMetrics`.

    Parameters
    ----------
    real_images, synthetic_images : arrays [n, band, y, x], [m, band, y, x]
        nJy.
    labels : array [n, label]
        Of the real galaxies, standardised.
    bands : sequence of str
    synthetic_labels : array [m, label], optional
        Default: those of the real galaxies, one by one.

    Returns
    -------
    dict of float
    """
    return QuickMetrics(real_images, labels, bands)(synthetic_images, synthetic_labels)
