"""The stage train_classifier: a store in, a run directory with a trained classifier and its results out."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from galaxycgan.catalogs.expression import evaluate
from galaxycgan.catalogs.populations import Recipe, draw_labels
from galaxycgan.catalogs.store import GalaxyStore, find_store
from galaxycgan.config import check_at_least
from galaxycgan.errors import Interrupted, UserError, first_few
from galaxycgan.evaluation.classification import plot_classifier, scores
from galaxycgan.files import make_directory, sha256_file, write_json
from galaxycgan.models.classifier import Classifier
from galaxycgan.models.device import autocast, choose_device, choose_precision, set_threads
from galaxycgan.models.painter import Painter
from galaxycgan.models.release import WEIGHTS, check_images, load_trained_on
from galaxycgan.provenance import tool_stamp
from galaxycgan.randomness import generator
from galaxycgan.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from galaxycgan.training.noise import noise_of
from galaxycgan.training.sampler import dihedral

MODEL = "classifier.pt"
METRICS = "metrics.json"
PLOT = "classifier.png"
IDENTITY = ("augment", "target", "preset", "patience", "batch", "lr", "seed")
LARGEST_SHIFT = 2
CHUNK = 256


@dataclasses.dataclass
class Split:
    """Images [n, band, y, x] in nJy and what they are: 1 wanted, 0 not."""

    images: torch.Tensor
    wanted: torch.Tensor
    ids: np.ndarray


def read_splits(store, target):
    """Read train, validation and test split of a store: list of three `Split`."""
    wanted = evaluate(target, store.column, store.columns, store.n)
    splits = []
    for k, name in enumerate(("training", "validation", "test")):
        rows = np.flatnonzero(store.split == k)
        kinds = wanted[rows]
        if kinds.all() or not kinds.any():
            raise UserError(
                f"{store.path}: of the {len(rows)} galaxies in the {name} split {kinds.sum()} fulfil '{target}'; "
                "a classifier needs galaxies of both kinds in each split: try another --target or more data"
            )
        images = torch.from_numpy(store.images(rows))
        splits.append(Split(images, torch.from_numpy(kinds.astype(np.float32)), store.ids[rows]))
    return splits


class SyntheticImages:
    """Fresh generated galaxies for each epoch, with labels like the training sample's.

    Parameters
    ----------
    run : Path
        Run directory of the GAN.
    store : GalaxyStore
        What the classifier is trained on.
    target : str
        Expression that labels a galaxy by its asked properties.
    seed : int
        Of the draws.

    Raises
    ------
    UserError
        Where the GAN has seen validation or test galaxies of this store, or makes other images.
    """

    def __init__(self, run, store, target, seed, device):
        self.painter = Painter(run, device)
        self.target, self.seed = target, seed
        self._check(run, store)

    def _check(self, run, store):
        check_images(run, self.painter.card, self.painter.generator.shape.size, store)
        names = self.painter.conditioning.columns
        # Fails here, in words, where the target asks for a column that the GAN was not told
        evaluate(self.target, lambda name: np.ones(1), names, 1, f"{run}, conditioned on {', '.join(names)}: --target")
        seen = load_trained_on(Path(run))
        leaked = np.intersect1d(seen, store.ids[np.isin(store.split, (1, 2))])
        if len(leaked):
            raise UserError(
                f"{run}: the GAN was trained on {len(leaked)} validation or test galaxies of {store.path} "
                f"({first_few(leaked)}); train it on this store's own training split"
            )

    def epoch(self, number, n):
        """Return images [n, band, y, x] in nJy and targets [n] of an epoch."""
        seed = int(generator(self.seed, "request", number).integers(2**62))
        recipe = Recipe("augmentation", seed, "model", "training", {"n": n, "smoothing": 0.1})
        labels = draw_labels(recipe, self.painter.conditioning)
        names = self.painter.conditioning.columns
        columns = dict(zip(names, labels.T, strict=True))
        wanted = evaluate(self.target, columns.__getitem__, names, n)
        images = torch.from_numpy(self.painter.sample(labels, seed))
        return images, torch.from_numpy(wanted.astype(np.float32))


def train_classifier(config, context):
    """Train a classifier and report on the test split.

    Parameters
    ----------
    config : galaxycgan.config.TrainClassifier
        Options.
    context : galaxycgan.context.Context
        How it is run.

    Raises
    ------
    UserError
        Where store, target or GAN can't be used.
    Interrupted
        When asked to stop; the state is saved.
    """
    threads = set_threads(config.threads)
    device = choose_device(config.device)
    check_at_least(config, epochs=1, patience=1, batch=2, seed=0, lr=1e-12)
    run = Path(config.run)
    gan = (config.gan or "runs/train_gan") if "gan" in config.augment else ""
    with GalaxyStore(find_store(config.store)) as store:
        splits = read_splits(store, config.target)
        synthetic = SyntheticImages(gan, store, config.target, config.seed, device) if gan else None
        identity = {name: getattr(config, name) for name in IDENTITY} | {"store": store.fingerprint}
        identity["gan"] = sha256_file(Path(gan) / WEIGHTS) if gan else ""
        trainer = _Trainer(config, store, splits, synthetic, device, identity)
        make_directory(run)
        if trainer.resume(run, config.overwrite, context):
            return
        kinds = ", ".join(
            f"{len(s.ids):,} {n}" for s, n in zip(splits, ("training", "validation", "test"), strict=True)
        )
        context.say(
            f"{store.path}: {kinds} galaxies; {splits[0].wanted.mean():.0%} wanted; {device.type}, {threads} threads"
        )
        trainer.fit(run, context)
        results = trainer.results(splits, context.created, store)
    write_json(run / METRICS, results["metrics"])
    plot_classifier(run / PLOT, results, trainer.history)
    metrics = results["metrics"]["test"]
    context.say(
        f"{run}: test ROC AUC {metrics['roc_auc']:.3f}, log loss {metrics['log_loss']:.3f} "
        f"(prior alone {metrics['log_loss_prior']:.3f}); curves in {run / PLOT}"
    )


class _Trainer:
    """Network, optimiser, history: all that the next epoch depends on."""

    def __init__(self, config, store, splits, synthetic, device, identity):
        self.config, self.splits, self.synthetic = config, splits, synthetic
        self.device, self.identity = device, identity
        torch.manual_seed(config.seed)
        self.network = Classifier(config.preset, len(store.bands), store.size)
        sky_rms = noise_of(splits[0].images[:2000].numpy())[0]
        self.network.stretch.start_at(splits[0].images[:2000], 2 * sky_rms)
        self.network.to(device, memory_format=torch.channels_last)
        self.dtype = choose_precision("auto", device)[0]
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.lr)
        self.kind = {
            "bands": list(store.bands),
            "pixel_unit": store.pixel_unit,
            "pixel_scale_arcsec": store.pixel_scale,
        }
        self.history = []
        self.best = None

    @property
    def finished(self):
        """Whether the validation loss has stopped falling, or all epochs are done."""
        if not self.history:
            return False
        losses = [entry["val_loss"] for entry in self.history]
        return len(losses) >= self.config.epochs or len(losses) - 1 - int(np.argmin(losses)) >= self.config.patience

    def resume(self, run, overwrite, context):
        """Go on from the run's checkpoint, if any; return whether the run is finished."""
        path = run / CHECKPOINT
        if overwrite:
            for name in (CHECKPOINT, MODEL, METRICS, PLOT):
                (run / name).unlink(missing_ok=True)
        if not path.exists():
            return False
        state = load_checkpoint(path)
        for name, value in self.identity.items():
            if state.get("identity", {}).get(name) != value:
                raise UserError(f"{run}: was trained with another {name}; choose another --run, or --overwrite")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.history, self.best = state["history"], state["best"]
        if self.finished and (run / METRICS).exists():
            context.say(f"{run}: is finished ({len(self.history)} epochs); --overwrite starts again")
            return True
        context.say(f"{run}: going on at epoch {len(self.history)}")
        return False

    def save(self, run):
        """Write the checkpoint."""
        state = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "best": self.best}
        save_checkpoint(run / CHECKPOINT, state | {"history": self.history, "identity": self.identity})

    def fit(self, run, context):
        """Train until the validation loss has not fallen for `patience` epochs; keep the best network."""
        with context.progress("classifier", self.config.epochs, "epochs") as progress:
            while not self.finished:
                self._epoch(len(self.history))
                last = self.history[-1]
                if last["val_loss"] <= min(entry["val_loss"] for entry in self.history):
                    self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
                self.save(run)
                progress.at(len(self.history), f"validation log loss {last['val_loss']:.3f}")
                if context.stop.is_set():
                    raise Interrupted
        self.network.load_state_dict(self.best)
        save_checkpoint(
            run / MODEL,
            {
                "network": self.best,
                "preset": self.config.preset,
                "target": self.config.target,
                "size": self.splits[0].images.shape[-1],
            }
            | self.kind,
        )

    def _epoch(self, number):
        images, wanted = self._training_set(number)
        # Order, dropout and shifts are keyed by the epoch: a resumed run takes the same ones.
        random = generator(self.config.seed, "order", number)
        torch.manual_seed(int(random.integers(2**62)))
        order = torch.from_numpy(random.permutation(len(images)))
        self.network.train()
        total = 0.0
        for pick in order.split(self.config.batch):
            batch, truth = images[pick].to(self.device), wanted[pick].to(self.device)
            if "standard" in self.config.augment:
                batch = _shift(dihedral(batch, int(random.integers(8))), random)
            with autocast(self.device, self.dtype):
                score = self.network(batch)
            loss = F.binary_cross_entropy_with_logits(score.float(), truth)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            total += float(loss.detach()) * len(pick)
        val = self.splits[1]
        val_loss = F.binary_cross_entropy_with_logits(logits(self.network, val.images, self.device), val.wanted)
        if not np.isfinite(float(val_loss)):
            raise UserError(
                f"{self.config.run}: training diverged in epoch {number}; try a smaller --lr with --overwrite"
            )
        self.history.append({"epoch": number, "train_loss": total / len(images), "val_loss": float(val_loss)})

    def _training_set(self, number):
        """Real images and, where asked for, as many fresh synthetic ones."""
        real = self.splits[0]
        if self.synthetic is None:
            return real.images, real.wanted
        images, wanted = self.synthetic.epoch(number, len(real.images))
        return torch.cat([real.images, images]), torch.cat([real.wanted, wanted])

    def results(self, splits, created, store):
        """Probabilities and scores on validation and test split."""
        out = {"metrics": {"created": created, "tool": tool_stamp(), "epochs": len(self.history)}}
        out["metrics"] |= {"identity": json.loads(json.dumps(self.identity)), "store": str(store.path)}
        prior = float(splits[0].wanted.mean())
        for name, split in (("validation", splits[1]), ("test", splits[2])):
            probability = torch.sigmoid(logits(self.network, split.images, self.device)).numpy()
            out[name] = (split.wanted.numpy(), probability)
            out["metrics"][name] = scores(split.wanted.numpy(), probability, prior)
        return out


def _shift(images, random):
    """Shift a batch by up to two pixels, repeating the edge."""
    x, y = (int(v) for v in random.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, size=2))
    size = images.shape[-1]
    padded = F.pad(images, (LARGEST_SHIFT,) * 4, mode="replicate")
    return padded[..., LARGEST_SHIFT + y : LARGEST_SHIFT + y + size, LARGEST_SHIFT + x : LARGEST_SHIFT + x + size]


@torch.no_grad()
def logits(network, images, device):
    """Logits [n] of images [n, band, y, x] in nJy, on the CPU."""
    network.eval()
    return torch.cat([network(chunk.to(device)).cpu() for chunk in images.split(CHUNK)])


def load_classifier(run, device):
    """Read a trained classifier.

    Returns
    -------
    network : Classifier
        In evaluation mode.
    state : dict
        Its target, stamp size, bands, pixel unit and scale.
    """
    path = Path(run) / MODEL
    if not path.exists():
        raise UserError(
            f"{run}: holds no trained classifier ({MODEL}); train one: galaxycgan train_classifier --run {run}"
        )
    state = load_checkpoint(path)
    try:
        network = Classifier(state["preset"], len(state["bands"]), state["size"])
        network.load_state_dict(state["network"])
    except (KeyError, TypeError, RuntimeError):
        raise UserError(f"{path}: not a classifier of this version of galaxycgan; train again") from None
    return network.to(device).eval(), state
