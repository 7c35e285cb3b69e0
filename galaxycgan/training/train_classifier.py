"""The stage train_classifier: a store in, a run directory with a trained classifier and its results out.

metrics.json, schema version 1::

    schema, schema_version     "galaxycgan-classifier", 1
    tool, created, request     what made it, when it was asked for, and of what: equal requests are done already
    store, test_store          paths as given; test_store is null without --test
    target, preset, epochs, best_epoch
    galaxies                   split -> number; synthetic_per_epoch
    calibration                shift, temperature of the logits; threshold and the rule it was chosen by
    validation, test, survey   scores: see `galaxycgan.evaluation.classifiers.scores.scores`; survey with --test alone
    learning                   list of epoch, train_loss, val_loss [nats], lr

predictions.npz holds for each of these sets ``SET_ids``, ``SET_wanted`` and ``SET_probability``.
"""

import contextlib
from pathlib import Path

import numpy as np
import torch

from galaxycgan.catalogs.store.store import GalaxyStore, find_store
from galaxycgan.catalogs.store.training_subset import NO_FOLD, check_portion, use_portion
from galaxycgan.evaluation.classifiers.scores import choose_threshold, scores
from galaxycgan.evaluation.reports.classifier_report import PICTURES, REPORT, write_report
from galaxycgan.files.atomic import atomic_path, hold_directory, read_json, sha256_file, write_json
from galaxycgan.images.noise_measurement import noise_of
from galaxycgan.models.classifier_learning import logits, temperature_of
from galaxycgan.models.device import choose_device, reuse_memory, set_threads
from galaxycgan.models.release import WEIGHTS
from galaxycgan.provenance import tool_stamp
from galaxycgan.resources import gan_directory
from galaxycgan.resume import Decision, Found, differences, existing_result
from galaxycgan.training.classifier_data import NAMES, SyntheticImages, read_splits, read_survey
from galaxycgan.training.classifier_loop import RECIPE, ClassifierTrainer, for_scales
from galaxycgan.training.classifier_model import MODEL, probabilities, save_classifier
from galaxycgan.training.names import CHECKPOINT

SCHEMA, SCHEMA_VERSION = "galaxycgan-classifier", 1
METRICS, PREDICTIONS = "metrics.json", "predictions.npz"
#: Options that change the network: the same in a run and its resumption.
IDENTITY = (
    "augment", "synthetic_share", "synthetic_filter", "target", "preset", "class_weight", "fraction", "draw", "fold",
    "folds", "epochs", "patience", "batch", "lr", "seed",
)  # fmt: skip


def train_classifier(config, context):
    """Train a classifier, calibrate it and report on galaxies that it never saw.

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
    check_portion(config.fraction, config.fold, config.folds)
    threads = set_threads(config.threads)
    reuse_memory()
    device = choose_device(config.device)
    run = Path(config.run)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(GalaxyStore(find_store(config.store)))
        use_portion(store, config)
        survey = stack.enter_context(GalaxyStore(config.test)) if config.test else None
        request = _request(config, store, survey)
        if _existing(run, request, config, context) is Decision.MADE:
            return
        job = _Job(config, context, store, survey, device, request)
        stack.enter_context(hold_directory(run, "trains"))
        if config.overwrite:
            for name in (CHECKPOINT, MODEL, METRICS, PREDICTIONS, REPORT, *PICTURES):
                (run / name).unlink(missing_ok=True)
        job.trainer.resume(run, context)
        if config.gan and "gan" not in config.augment:
            context.say(f"warning: --gan {config.gan}: --augment {config.augment} shows none of its galaxies")
        context.say(f"{job.words()}; {device.type}, {threads} threads")
        job.trainer.fit(run, context)
        metrics = job.judge(run)
    write_json(run / METRICS, metrics)
    _say(run, metrics, context)


def _gan(config):
    """Return the run directory of the GAN, '' where none is needed."""
    return (config.gan or "runs/train_gan") if "gan" in config.augment else ""


def _request(config, store, survey):
    """What decides the result."""
    request = {name: getattr(config, name) for name in (*IDENTITY, "purity")} | {"store": store.fingerprint}
    request |= {"gan": "", "recipe": RECIPE}
    if gan := _gan(config):
        weights = gan_directory(gan) / WEIGHTS
        request["gan"] = sha256_file(weights) if weights.exists() else "missing"
    else:
        # Without a GAN these options mean nothing: runs that differ in them are the same.
        request |= {"synthetic_share": 0.0, "synthetic_filter": 0.0}
    return request | {"test": survey.fingerprint if survey else ""}


def _existing(run, request, config, context):
    """Decide what happens where a classifier may be there already; see `galaxycgan.resume`.

    Where the results are missing or not of this request, the checkpoint decides later (`ClassifierTrainer.resume`).
    """

    def read():
        if not (run / METRICS).exists():
            return None
        found = read_json(run / METRICS)
        if differences(found.get("request") or {}, request):
            left_to_checkpoint = (run / CHECKPOINT).exists()
        else:
            left_to_checkpoint = not all((run / name).exists() for name in (MODEL, PREDICTIONS, REPORT))
        if left_to_checkpoint:
            return None
        return Found(found.get("request"), progress=f"{found['epochs']} epochs")

    return existing_result(run, request, read, option="run", overwrite=config.overwrite, context=context)


class _Job:
    """One run: its galaxies, its trainer, its results."""

    def __init__(self, config, context, store, survey, device, request):
        self.config, self.context, self.store, self.survey, self.request = config, context, store, survey, request
        self.splits = read_splits(store, config.target)
        self.judged = dict(zip(("training", "validation", "test"), self.splits, strict=True))
        if survey:
            self.judged["survey"] = read_survey(survey, store, config.target)
        self.unit_njy = 2 * noise_of(for_scales(self.splits[0].images).numpy())[0]
        self.synthetic = self._synthetic(device)
        identity = {name: value for name, value in request.items() if name not in ("purity", "test")}
        self.trainer = ClassifierTrainer(config, self.splits, self.synthetic, self.unit_njy, device, identity)

    def _synthetic(self, device):
        """Return the generated galaxies, None where none are needed."""
        config, gan = self.config, _gan(self.config)
        if not gan:
            return None
        exactly = config.fraction < 1 or config.fold != NO_FOLD
        synthetic = SyntheticImages(gan, self.store, config.target, config.seed, device, exactly)
        if self.survey:
            synthetic.refuse(self.judged["survey"].ids, f"galaxies of {self.survey.path}")
        if config.synthetic_filter:
            arguments = self.store, self.splits[0], self.unit_njy, config.synthetic_filter, self.context.check
            synthetic.filter_by(*arguments)
        return synthetic

    def words(self):
        """Say what it learns from."""
        kinds = ", ".join(f"{len(split.ids):,} {NAMES[k]}" for k, split in enumerate(self.splits))
        more = f"; judged on {len(self.judged['survey'].ids):,} of {self.survey.path} too" if self.survey else ""
        left_out = sum(split.incomplete for split in self.judged.values())
        less = f"; {left_out:,} more lack a value that the target asks for: left out" if left_out else ""
        return f"{self.store.path}: {kinds} galaxies; {self.splits[0].wanted.mean():.0%} wanted{more}{less}"

    def judge(self, run):
        """Calibrate, choose the threshold, write model, predictions and report; return what metrics.json holds."""
        about = self._calibrate()
        save_classifier(run, self.trainer.best, about)
        prior = float(self.splits[0].wanted.mean())
        results, found = {}, {}
        for name in [name for name in self.judged if name != "training"]:
            split = self.judged[name]
            if name == "survey" and (
                words := self.trainer.network.noise_mismatch_warning(for_scales(split.images), self.store.bands)
            ):
                self.context.say(f"warning: {self.survey.path}: {words}")
            probability = probabilities(self.trainer.network, about, split.images).numpy()
            results[name] = split.ids, split.wanted.numpy(), probability
            found[name] = scores(split.wanted.numpy(), probability, prior, about["threshold"])
        _save_predictions(run, results)
        metrics = self._metrics(about) | found
        stores = dict.fromkeys(results, self.store) | ({"survey": self.survey} if self.survey else {})
        write_report(run, metrics, results, stores, self.unit_njy / 2)
        return metrics

    def _calibrate(self):
        """Return what is kept of the classifier beside its weights."""
        trainer, held = self.trainer, self.splits[1]
        about = {
            "preset": self.config.preset,
            "target": self.config.target,
            "size": held.images.shape[-1],
            "bands": list(self.store.bands),
            "pixel_unit": self.store.pixel_unit,
            "pixel_scale_arcsec": self.store.pixel_scale,
            "shift": trainer.shift,
            "learned_from": torch.from_numpy(self._learned_from()),
            "validated_on": torch.from_numpy(held.ids.copy()),
        }
        raw = logits(trainer.network, held.images, trainer.shift)
        about["temperature"] = temperature_of(raw.numpy(), held.wanted.numpy())
        probability = probabilities(trainer.network, about, held.images).numpy()
        about["threshold"], about["rule"] = choose_threshold(held.wanted.numpy(), probability, self.config.purity)
        return about

    def _learned_from(self):
        """Return the ids of the galaxies that the classifier, or the GAN that taught it, has learned from."""
        own = self.splits[0].ids
        return own.copy() if self.synthetic is None else np.union1d(own, self.synthetic.trained_on)

    def _metrics(self, about):
        trainer = self.trainer
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "tool": tool_stamp(),
            "created": self.context.created,
            "request": self.request,
            "store": str(self.store.path),
            "test_store": str(self.survey.path) if self.survey else None,
            "target": self.config.target,
            "preset": self.config.preset,
            "epochs": len(trainer.history),
            "best_epoch": trainer.best_epoch,
            "galaxies": {name: len(split.ids) for name, split in self.judged.items()},
            "synthetic_per_epoch": trainer.n_synthetic,
            "calibration": {name: about[name] for name in ("shift", "temperature", "threshold", "rule")},
            "learning": trainer.history,
        }


def _save_predictions(run, results):
    """Write ids, kinds and calibrated probabilities of all judged sets."""
    arrays = {
        f"{name}_{what}": values
        for name, found in results.items()
        for what, values in zip(("ids", "wanted", "probability"), found, strict=True)
    }
    with atomic_path(run / PREDICTIONS) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def _say(run, metrics, context):
    name = "survey" if "survey" in metrics else "test"
    found, low_high = metrics[name], metrics[name]["intervals"]["roc_auc"]
    called = f"purity {found['purity']:.2f}, completeness {found['completeness']:.2f}"
    context.say(
        f"{run}: {name} ROC AUC {found['roc_auc']:.3f} ({low_high[0]:.3f} to {low_high[1]:.3f}), log loss "
        f"{found['log_loss']:.3f} (prior alone {found['log_loss_prior']:.3f}); at p >= {found['threshold']:.2f} "
        f"{called if np.isfinite(found['purity']) else 'none is called wanted'}; {run / REPORT}"
    )
