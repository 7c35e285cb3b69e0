"""Train on synthetic, test on real (Esteban et al. 2017, arXiv:1706.02633): is a generated galaxy as good a teacher?"""

import numpy as np
import torch

from galaxycgan.evaluation.classifiers.scores import interval, roc_auc, weights
from galaxycgan.models.classifier import Classifier
from galaxycgan.models.classifier_learning import learn_epoch, logits
from galaxycgan.models.device import choose_precision

EPOCHS, BATCH, RATE = 20, 64, 1e-3
SEEDS, DRAWS = (0, 1, 2), 500
CPU = torch.device("cpu")


def train_on_synthetic_test_on_real(real, synthetic, test, unit_njy, preset="cnn2018", seeds=SEEDS, check=lambda: None):
    """Return the ROC AUC of a classifier taught by generated galaxies over that of one taught by real ones.

    Both learn from as many galaxies for as many epochs, with standard augmentation, and judge the same real galaxies.

    Parameters
    ----------
    real, synthetic, test : tuple (float32 array [n, band, y, x], array [n])
        Images in nJy, and which of them are targets (1 or 0): real training galaxies, generated ones labelled by what
        was asked for, and real galaxies that neither generator nor classifiers have seen. Both kinds in each.
    unit_njy : array [band]
        Softening of the stretch: twice the sky noise.
    preset : str
        Network; see `galaxycgan.models.classifier`.
    seeds : sequence of int
        Of weights, order and augmentation, the same for both teachers.
    check : callable
        Called at every epoch; raises where the work shall stop.

    Returns
    -------
    dict
        value (the ratio of mean AUCs), interval (95%, bootstrapped over test galaxies), auc_real, auc_synthetic, n.
    """
    n = min(len(real[0]), len(synthetic[0]))
    wanted = np.asarray(test[1], dtype=np.float64)
    weight = np.concatenate([np.ones((1, len(wanted))), weights(np.random.default_rng(0), DRAWS, len(wanted))])
    means = []
    for images, kinds in (real, synthetic):
        some = np.random.default_rng(0).permutation(len(images))[:n]  # catalogs may be ordered by their labels
        taught = (
            _judge(_taught(images[some], kinds[some], unit_njy, preset, seed, check), test[0], wanted, weight)
            for seed in seeds
        )
        means.append(np.mean(list(taught), axis=0))
    ratio = means[1] / means[0]
    return {
        "value": float(ratio[0]),
        "interval": interval(ratio[1:]),
        "auc_real": float(means[0][0]),
        "auc_synthetic": float(means[1][0]),
        "n": n,
    }


def _taught(images, wanted, unit_njy, preset, seed, check):
    """Return a network that has learned from these galaxies."""
    images = torch.from_numpy(np.ascontiguousarray(images))
    wanted = torch.from_numpy(np.asarray(wanted, dtype=np.float32))
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(preset, images.shape[1], images.shape[-1])
        network.start_at(images, unit_njy)
        network.to(memory_format=torch.channels_last)
        optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
        for _ in range(EPOCHS):
            check()
            learn_epoch(
                network, optimiser, images, wanted, random, BATCH, augment=True, dtype=choose_precision("auto", CPU)[0]
            )
            schedule.step()
    return network


def _judge(network, images, wanted, weight):
    """Return the AUC of all draws: [draw]."""
    return roc_auc(
        wanted, torch.sigmoid(logits(network, torch.from_numpy(np.ascontiguousarray(images)))).numpy(), weight
    )
