"""The classifier's training loop: epochs of a falling learning rate, the best one kept; resumes to the bit.

The rate falls along a line to 0 over all epochs. Where it falls once validation gets no better, a few
hundred validation galaxies make it a matter of luck when that is.
"""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F

from galaxycgan.config.classifier import (
    ALL_IMAGES,
    LEAST_EPOCHS,
    LEAST_FOR_EACH,
    MOST_EPOCHS,
    MOST_FOR_EACH,
    MOST_SYNTHETIC,
    REAL_IMAGES,
    SYNTHETIC,
)
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.models.averaging import move_average
from galaxycgan.models.classifier import Classifier
from galaxycgan.models.classifier_learning import class_weight, learn_epoch, logits
from galaxycgan.models.conditioning import evenly_spaced
from galaxycgan.models.device import choose_precision, precision_name
from galaxycgan.randomness import make_rng
from galaxycgan.resume import Decision, Found, existing_result
from galaxycgan.training.checkpoint import load_checkpoint, save_checkpoint
from galaxycgan.training.dataset import JoinedImages
from galaxycgan.training.names import CHECKPOINT

#: Training images that set the scales of the input.
FOR_SCALES = 2000
#: Number of this way of training: runs of another one are not resumed.
RECIPE = 6
#: The weights that are judged are an average over a tenth of the steps so far, over so many epochs at most.
LONGEST_AVERAGE_EPOCHS = 10


def for_scales(images):
    """Return the training images that set the scales of the input, from all over the sky: rows are sorted by it."""
    return images[evenly_spaced(len(images), FOR_SCALES)]


class ClassifierTrainer:
    """Network, optimiser, history: all that the next epoch depends on.

    Parameters
    ----------
    config : galaxycgan.config.TrainClassifier
    splits : list of Split
        Training and validation.
    synthetic : SyntheticImages or None
    unit_njy : array [band]
        Twice the sky noise of the training images.
    device : torch.device
    identity : dict
        What a checkpoint must share with the run; kept in it.

    Attributes
    ----------
    shift : float
        Taken off the logits: what the class weight has put on.
    history : list of dict
        epoch, train_loss, val_loss [nats], lr.
    best : dict or None
        Averaged weights of the epoch with the least validation loss.
    averaged : torch.nn.Module
        Network of averaged weights: what is judged after each epoch. A learning rate that classifies well soon keeps
        the weights themselves moving so much that the least validation loss is a matter of luck.
    check : callable
        Called at every step; raises where the work shall stop.
    """

    def __init__(self, config, splits, synthetic, unit_njy, device, identity):
        self.config, self.splits, self.synthetic, self.identity = config, splits, synthetic, identity
        real = splits[0]
        torch.manual_seed(config.seed)
        self.network = Classifier(config.preset, real.images.shape[1], real.images.shape[-1])
        self.network.start_at(for_scales(real.images), unit_njy)
        self.network.to(device, memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.dtype = choose_precision("auto", device)[0]
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.lr, fused=True)
        self.weight = class_weight(real.wanted) if config.class_weight == "balanced" else 1.0
        self.shift = float(np.log(self.weight))
        self.history, self.best, self.steps = [], None, 0
        self.check = lambda: None

    @property
    def best_epoch(self):
        """Number of the epoch with the least validation loss, from 0."""
        return int(np.argmin([entry["val_loss"] for entry in self.history]))

    @property
    def epochs(self):
        """Epochs over which the learning rate falls to 0."""
        images = ALL_IMAGES if self.n_synthetic else REAL_IMAGES
        wanted = math.ceil(images / (self.n_real + self.n_synthetic))
        return self.config.epochs or min(MOST_EPOCHS, max(LEAST_EPOCHS, wanted))

    @property
    def patience(self):
        """Epochs without a smaller validation loss after which training ends early."""
        return self.config.patience or self.epochs

    @property
    def finished(self):
        """Whether all epochs are done, or the validation loss has not fallen for too long."""
        done = len(self.history)
        return done >= self.epochs or (done > 0 and done - 1 - self.best_epoch >= self.patience)

    def resume(self, run, context):
        """Resume from the run's checkpoint, if any."""
        state = {}

        def read():
            if not (run / CHECKPOINT).exists():
                return None
            state.update(load_checkpoint(run / CHECKPOINT))
            made = state.get("identity", {})
            made = {name: made.get(name) for name in self.identity}
            return Found(made, finished=False, progress=f"epoch {len(state['history'])}")

        if existing_result(run, self.identity, read, option="run", context=context) is Decision.FRESH:
            return
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.history, self.best = state["history"], state["best"]
        # Of the machine on which the run began; checkpoints of an earlier version don't say.
        self.dtype = getattr(torch, state["precision"]) if "precision" in state else self.dtype

    def save(self, run):
        """Write the checkpoint."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "averaged", "optimiser")}
        kept = {name: getattr(self, name) for name in ("best", "history", "identity")}
        save_checkpoint(run / CHECKPOINT, parts | kept | {"precision": precision_name(self.dtype)})

    def fit(self, run, context):
        """Train all epochs, or until the validation loss has not fallen for `patience`; end with the best network."""
        self.check = context.check
        with context.progress("classifier", self.epochs, "epochs") as progress:
            while not self.finished:
                self._epoch(len(self.history))
                if self.best_epoch == len(self.history) - 1:
                    self.best = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}
                self.save(run)
                progress.at(len(self.history), f"validation log loss {self.history[-1]['val_loss']:.3f}")
                if context.stop.is_set():
                    raise Interrupted
        self.network.load_state_dict(self.best)

    @property
    def n_real(self):
        """Real galaxies that an epoch shows."""
        return 0 if self.synthetic and self.config.synthetic_share == 1 else len(self.splits[0].images)

    @property
    def steps_per_epoch(self):
        """Batches that an epoch shows."""
        return math.ceil((self.n_real + self.n_synthetic) / self.config.batch)

    @property
    def n_synthetic(self):
        """Generated galaxies of an epoch: their share of all that it shows; at a share of 1 as many as real ones."""
        n, share = len(self.splits[0].images), self.config.synthetic_share
        if self.synthetic is None:
            return 0
        if share == 0:
            return min(MOST_SYNTHETIC, max(LEAST_FOR_EACH * n, min(MOST_FOR_EACH * n, SYNTHETIC)))
        return n if share == 1 else max(1, round(n * share / (1 - share)))

    def training_set(self, number):
        """Images and kinds that an epoch shows: real ones and, where asked for, fresh generated ones or only these."""
        real = self.splits[0]
        if self.synthetic is None:
            return real.images, real.wanted
        images, wanted = self.synthetic.epoch(number, self.n_synthetic, self.check)
        if not self.n_real:
            return images, wanted
        return JoinedImages(real.images, images), torch.cat([real.wanted, wanted])

    def _average(self):
        self.check()  # an epoch that is broken off is begun again by the next start
        self.steps += 1
        span = min(self.steps / 10, LONGEST_AVERAGE_EPOCHS * self.steps_per_epoch)
        move_average(self.averaged, self.network, 1 / max(1, span))

    def _epoch(self, number):
        self.steps = number * self.steps_per_epoch
        lr = self.config.lr * (1 - number / self.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        # Order, dropout and shifts are keyed by the epoch: a resumed run takes the same ones.
        random = make_rng(self.config.seed, "order", number)
        train_loss = learn_epoch(
            self.network, self.optimiser, *self.training_set(number), random, self.config.batch,
            "standard" in self.config.augment, self.weight, self.dtype, self._average,
        )  # fmt: skip
        held = self.splits[1]
        scores = logits(self.averaged, held.images, self.shift, self.dtype)
        val_loss = float(F.binary_cross_entropy_with_logits(scores, held.wanted))
        if not np.isfinite(val_loss):
            raise UserError(
                f"{self.config.run}: training diverged in epoch {number}; try a smaller --lr with --overwrite"
            )
        self.history.append({"epoch": number, "train_loss": train_loss, "val_loss": val_loss, "lr": lr})
