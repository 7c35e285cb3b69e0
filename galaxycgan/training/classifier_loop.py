"""The classifier's training loop: epochs until validation no longer improves; resumes to the bit. Knows no store."""

import numpy as np
import torch
import torch.nn.functional as F

from galaxycgan.errors import Interrupted, UserError
from galaxycgan.models.classifier import Classifier
from galaxycgan.models.classifier_learning import class_weight, learn_epoch, logits
from galaxycgan.models.device import choose_precision
from galaxycgan.randomness import generator
from galaxycgan.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint

#: Training images that set the scales of the input.
FOR_SCALES = 2000


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
        epoch, train_loss, val_loss [nats].
    best : dict or None
        Weights of the epoch with the least validation loss.
    """

    def __init__(self, config, splits, synthetic, unit_njy, device, identity):
        self.config, self.splits, self.synthetic, self.identity = config, splits, synthetic, identity
        real = splits[0]
        torch.manual_seed(config.seed)
        self.network = Classifier(config.preset, real.images.shape[1], real.images.shape[-1])
        self.network.start_at(real.images[:FOR_SCALES], unit_njy)
        self.network.to(device, memory_format=torch.channels_last)
        self.dtype = choose_precision("auto", device)[0]
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.lr)
        self.weight = class_weight(real.wanted) if config.class_weight == "balanced" else 1.0
        self.shift = float(np.log(self.weight))
        self.history, self.best = [], None

    @property
    def best_epoch(self):
        """Number of the epoch with the least validation loss, from 0."""
        return int(np.argmin([entry["val_loss"] for entry in self.history]))

    @property
    def finished(self):
        """Whether the validation loss has stopped falling, or all epochs are done."""
        done = len(self.history)
        return done > 0 and (done >= self.config.epochs or done - 1 - self.best_epoch >= self.config.patience)

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
        self.optimiser.load_state_dict(state["optimiser"])
        self.history, self.best = state["history"], state["best"]
        return True

    def save(self, run):
        """Write the checkpoint."""
        state = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "best": self.best}
        save_checkpoint(run / CHECKPOINT, state | {"history": self.history, "identity": self.identity})

    def fit(self, run, context):
        """Train until the validation loss has not fallen for `patience` epochs; end with the best network."""
        with context.progress("classifier", self.config.epochs, "epochs") as progress:
            while not self.finished:
                self._epoch(len(self.history))
                if self.best_epoch == len(self.history) - 1:
                    self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
                self.save(run)
                progress.at(len(self.history), f"validation log loss {self.history[-1]['val_loss']:.3f}")
                if context.stop.is_set():
                    raise Interrupted
        self.network.load_state_dict(self.best)

    @property
    def n_synthetic(self):
        """Generated galaxies of an epoch: their share of all that it shows; at a share of 1 as many as real ones."""
        n_real, share = len(self.splits[0].images), self.config.synthetic_share
        if self.synthetic is None:
            return 0
        return n_real if share == 1 else max(1, round(n_real * share / (1 - share)))

    def training_set(self, number):
        """Images and kinds that an epoch shows: real ones and, where asked for, fresh generated ones or only these."""
        real = self.splits[0]
        if self.synthetic is None:
            return real.images, real.wanted
        images, wanted = self.synthetic.epoch(number, self.n_synthetic)
        if self.config.synthetic_share == 1:
            return images, wanted
        return torch.cat([real.images, images]), torch.cat([real.wanted, wanted])

    def _epoch(self, number):
        # Order, dropout and shifts are keyed by the epoch: a resumed run takes the same ones.
        random = generator(self.config.seed, "order", number)
        train_loss = learn_epoch(
            self.network, self.optimiser, *self.training_set(number), random, self.config.batch,
            "standard" in self.config.augment, self.weight, self.dtype,
        )  # fmt: skip
        held = self.splits[1]
        scores = logits(self.network, held.images, self.shift, self.dtype)
        val_loss = float(F.binary_cross_entropy_with_logits(scores, held.wanted))
        if not np.isfinite(val_loss):
            raise UserError(
                f"{self.config.run}: training diverged in epoch {number}; try a smaller --lr with --overwrite"
            )
        self.history.append({"epoch": number, "train_loss": train_loss, "val_loss": val_loss})
