"""The classifier's training loop: epochs until validation no longer improves; resumes to the bit. Knows no store."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F

from galaxycgan.config import FOR_EACH, LEAST_PATIENCE, MOST_PATIENCE, MOST_SYNTHETIC, PATIENCE_IMAGES
from galaxycgan.errors import Interrupted, UserError
from galaxycgan.models.averaging import move_average
from galaxycgan.models.classifier import Classifier
from galaxycgan.models.classifier_learning import class_weight, learn_epoch, logits
from galaxycgan.models.device import choose_precision
from galaxycgan.randomness import generator
from galaxycgan.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint

#: Training images that set the scales of the input.
FOR_SCALES = 2000
#: Number of this way of training: runs of another one are not gone on with.
RECIPE = 2
#: The weights that are judged are an average over a tenth of the steps so far, over so many epochs at most.
LONGEST_AVERAGE_EPOCHS = 10
#: Where the validation loss falls no more, the learning rate falls by this factor, so many times.
FALL, FALLS = 0.25, 2


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
    """

    def __init__(self, config, splits, synthetic, unit_njy, device, identity):
        self.config, self.splits, self.synthetic, self.identity = config, splits, synthetic, identity
        real = splits[0]
        torch.manual_seed(config.seed)
        self.network = Classifier(config.preset, real.images.shape[1], real.images.shape[-1])
        self.network.start_at(real.images[:FOR_SCALES], unit_njy)
        self.network.to(device, memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.dtype = choose_precision("auto", device)[0]
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.lr)
        self.weight = class_weight(real.wanted) if config.class_weight == "balanced" else 1.0
        self.shift = float(np.log(self.weight))
        self.history, self.best, self.steps = [], None, 0

    @property
    def best_epoch(self):
        """Number of the epoch with the least validation loss, from 0."""
        return int(np.argmin([entry["val_loss"] for entry in self.history]))

    @property
    def patience(self):
        """Epochs without a smaller validation loss until the learning rate falls, and at last training ends."""
        shown = self.n_real + self.n_synthetic
        return self.config.patience or min(MOST_PATIENCE, max(LEAST_PATIENCE, math.ceil(PATIENCE_IMAGES / shown)))

    @property
    def finished(self):
        """Whether the validation loss no longer falls at the lowest learning rate, or all epochs are done."""
        return len(self.history) >= self.config.epochs or self.settled

    @property
    def settled(self):
        """Whether more epochs would change nothing."""
        return self._plateaus()[0] > FALLS

    def _plateaus(self):
        return plateaus([entry["val_loss"] for entry in self.history], self.patience)

    def resume(self, run):
        """Go on from the run's checkpoint, if any; return whether there is one."""
        path = run / CHECKPOINT
        if not path.exists():
            return False
        state = load_checkpoint(path)
        for name, value in self.identity.items():
            if state.get("identity", {}).get(name) != value:
                raise UserError(f"{run}: was trained with another {name}; choose another --run, or --overwrite")
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.history, self.best = state["history"], state["best"]
        return True

    def save(self, run):
        """Write the checkpoint."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "averaged", "optimiser")}
        kept = {name: getattr(self, name) for name in ("best", "history", "identity")}
        save_checkpoint(run / CHECKPOINT, parts | kept)

    def fit(self, run, context):
        """Train until the validation loss has not fallen for `patience` epochs; end with the best network."""
        with context.progress("classifier", self.config.epochs, "epochs") as progress:
            while not self.finished:
                self._epoch(len(self.history))
                if self.best_epoch == len(self.history) - 1:
                    self.best = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}
                self._slow_down()
                self.save(run)
                progress.at(len(self.history), f"validation log loss {self.history[-1]['val_loss']:.3f}")
                if context.stop.is_set():
                    raise Interrupted
        self.network.load_state_dict(self.best)

    def _slow_down(self):
        """Let the learning rate fall and go on from the best weights, where the validation loss falls no more."""
        falls, waited = self._plateaus()
        if waited == 0 and 0 < falls <= FALLS and self.best_epoch < len(self.history) - 1:
            for network in (self.network, self.averaged):
                network.load_state_dict(self.best)
            for group in self.optimiser.param_groups:
                group["lr"] = self.config.lr * FALL**falls

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
            return min(FOR_EACH * n, MOST_SYNTHETIC)
        return n if share == 1 else max(1, round(n * share / (1 - share)))

    def training_set(self, number):
        """Images and kinds that an epoch shows: real ones and, where asked for, fresh generated ones or only these."""
        real = self.splits[0]
        if self.synthetic is None:
            return real.images, real.wanted
        images, wanted = self.synthetic.epoch(number, self.n_synthetic)
        if not self.n_real:
            return images, wanted
        return torch.cat([real.images, images]), torch.cat([real.wanted, wanted])

    def _average(self):
        self.steps += 1
        span = min(self.steps / 10, LONGEST_AVERAGE_EPOCHS * self.steps_per_epoch)
        move_average(self.averaged, self.network, 1 / max(1, span))

    def _epoch(self, number):
        self.steps = number * self.steps_per_epoch
        # Order, dropout and shifts are keyed by the epoch: a resumed run takes the same ones.
        random = generator(self.config.seed, "order", number)
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
        lr = self.optimiser.param_groups[0]["lr"]
        self.history.append({"epoch": number, "train_loss": train_loss, "val_loss": val_loss, "lr": lr})


def plateaus(losses, patience):
    """Count how often a loss has not fallen for `patience` epochs.

    Returns
    -------
    plateaus, waited : int
        How often; epochs since then, or since the least loss.
    """
    least, waited, found = math.inf, 0, 0
    for loss in losses:
        least, waited = (loss, 0) if loss < least else (least, waited + 1)
        if waited == patience:
            found, waited = found + 1, 0
    return found, waited
