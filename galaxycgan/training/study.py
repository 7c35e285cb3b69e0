"""The stage study: do generated galaxies help the classifier? GANs and classifiers over fractions and seeds, one table.

Each element, a fraction of the training galaxies and a seed, trains a GAN on exactly the galaxies that its classifiers
learn from, then the classifiers, each in a directory of its own::

    RUN/study.json, study.png, study.csv, report.html     when all elements are done
    RUN/request.json                                      what all elements share
    RUN/fraction=0.25/seed=0/gan/                         run directory of train_gan
    RUN/fraction=0.25/seed=0/ARM/                         run directories of train_classifier
    RUN/fraction=0.25/seed=0/done.json

Elements are independent: ``--parts K --part k`` does every K-th of them, so that the jobs of an array share the work;
the one that ends last finds all elements done, and writes the table.
"""

import csv
import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.store.store import GalaxyStore, find_store
from galaxycgan.catalogs.store.training_subset import training_subset
from galaxycgan.checks import check_given, check_part
from galaxycgan.config import TrainClassifier, TrainGan
from galaxycgan.config.classifier import AUGMENT, STUDY_TEST
from galaxycgan.errors import UserError
from galaxycgan.evaluation.classifiers.paired_bootstrap import ClassifierPredictions, PairedBootstrap, summarise
from galaxycgan.evaluation.classifiers.scores import scores
from galaxycgan.evaluation.reports.study_report import PLOT, REPORT, TABLE, text_table, write_report
from galaxycgan.files.atomic import make_directory, read_json, write_json, write_text
from galaxycgan.provenance import tool_stamp
from galaxycgan.resume import Decision, Found, existing_result
from galaxycgan.training.classifier_data import check_splits, check_survey, check_target
from galaxycgan.training.gan_data import training_labels
from galaxycgan.training.train_classifier import PREDICTIONS, train_classifier
from galaxycgan.training.train_gan import train_gan

REQUEST, RESULT, DONE = "request.json", "study.json", "done.json"
#: Options that all elements share; seeds, fractions and augmentations may be added later.
SHARED = ("target", "classifier", "preset", "gan_images", "synthetic_share", "epochs", "patience")
ANCESTOR = "cnn2018"


@dataclasses.dataclass(frozen=True)
class Arm:
    """A way of training a classifier."""

    preset: str
    augment: str
    share: float = 0.5

    @property
    def name(self):
        """Names it in tables and as a directory."""
        return f"{self.preset}-{'synthetic-alone' if self.share == 1 else self.augment}"


@dataclasses.dataclass(frozen=True)
class Element:
    """A fraction of the training galaxies and a seed."""

    fraction: float
    seed: int

    def place(self, run):
        """Return its directory."""
        return run / f"fraction={self.fraction:g}" / f"seed={self.seed}"


def study(config, context):
    """Train GANs and classifiers over fractions and seeds, as far as they are not there; then write the table.

    Parameters
    ----------
    config : galaxycgan.config.Study
        Options.
    context : galaxycgan.context.Context
        How it is run.

    Raises
    ------
    UserError
        Where a store or an option can't be used, or the directory holds another study.
    Interrupted
        When asked to stop; all that is done is kept.
    """
    elements, arms = _plan(config)
    run, config = Path(config.run), dataclasses.replace(config, store=str(find_store(config.store)))
    with GalaxyStore(config.store) as store, GalaxyStore(config.test) as test:
        request = {name: getattr(config, name) for name in SHARED}
        request |= {"store": store.fingerprint, "test": test.fingerprint}
        own = elements if config.part < 0 else elements[config.part :: config.parts]
        _check_galaxies(config, store, test, own, arms)
    _open(run, request, own, config)
    for element in own:
        if not _is_made(element, run, arms, request):
            context.check()
            _do(element, run, arms, request, config, context)
    left = [element for element in elements if not _is_made(element, run, arms, request)]
    if left:
        context.say(f"{run}: {len(elements) - len(left)} of {len(elements)} elements done; the table comes last")
        return
    _finish(run, elements, arms, request, config, context)


def _plan(config):
    """Return all elements and arms; refuse options that can't be."""
    check_given(config, "test", STUDY_TEST)
    check_part(config, "part")
    try:
        # As exactly as their directories' names tell them.
        fractions = sorted({float(f"{float(word):g}") for word in config.fractions.split(",")})
    except ValueError:
        raise UserError(f"--fractions {config.fractions}: give numbers such as 0.1,0.25,1") from None
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise UserError(f"--fractions {config.fractions}: must be above 0 and at most 1")
    augment = [word.strip() for word in config.augment.split(",")]
    if unknown := [word for word in augment if word not in AUGMENT]:
        raise UserError(f"--augment {unknown[0]}: must be among {', '.join(AUGMENT)}")
    # Baseline first; the ancestor's own ways of training are always part of the table.
    arms = [
        Arm(config.classifier, "standard"),
        *(Arm(config.classifier, each, config.synthetic_share) for each in augment),
    ]
    arms = [dataclasses.replace(arm, share=arm.share if "gan" in arm.augment else 0.5) for arm in arms]
    if any("gan" in each for each in augment):
        arms.append(Arm(config.classifier, "standard+gan", 1.0))
    arms += [Arm(ANCESTOR, "none"), Arm(ANCESTOR, "standard")]
    elements = [Element(fraction, seed) for fraction in fractions for seed in range(config.seeds)]
    return elements, list(dict.fromkeys(arms))


def _check_galaxies(config, store, test, own, arms):
    """Refuse, before anything is trained, what the GAN or a classifier of an element would refuse."""
    labels = TrainGan.labels.split(",")
    with_gan = any("gan" in arm.augment for arm in arms)
    if with_gan:
        check_target(config.target, labels, f"the GANs, conditioned on {', '.join(labels)}")
    check_survey(test, store, config.target)
    given = store.split
    for element in own:
        store.split = training_subset(store.ids, given, fraction=element.fraction, draw=element.seed)
        check_splits(store, config.target)
        if with_gan:
            training_labels(TrainGan(), store)


def _open(run, request, own, config):
    """Make the directory, or refuse one of another study; a part forgets its own elements alone."""
    path = run / REQUEST
    if config.overwrite:
        # All of it: what an interruption leaves to be done later must not be taken for done.
        for element in own:
            shutil.rmtree(element.place(run), ignore_errors=True)
        for name in (RESULT, PLOT, REPORT, TABLE):
            (run / name).unlink(missing_ok=True)

    def read():
        if not path.exists():
            return None
        earlier = read_json(path)
        return Found({name: earlier.get(name) for name in request}, finished=False)

    existing_result(run, request, read, option="run", overwrite=config.overwrite)
    make_directory(run)
    write_json(path, request)


def _is_made(element, run, arms, request):
    """Return whether all of an element's classifiers are there, and of this study."""
    place, names = element.place(run), {arm.name for arm in arms}
    done, found = read_json(place / DONE) if (place / DONE).exists() else {}, None
    if done and all((place / name / PREDICTIONS).exists() for name in names):
        found = Found({"study": done.get("request"), "arms": sorted(names.intersection(done.get("arms", ())))})
    asked = {"study": request, "arms": sorted(names)}
    return existing_result(place, asked, lambda: found, replace=True) is Decision.MADE


def _do(element, run, arms, request, config, context):
    """Train the GAN of an element and its classifiers."""
    place = element.place(run)
    context.say(
        f"{place}: {len(arms)} classifiers" + (" and a GAN" if any("gan" in arm.augment for arm in arms) else "")
    )
    common = {name: getattr(config, name) for name in ("store", "threads", "device")}
    # Which galaxies make a small share matters as much as all else that a seed decides: each seed has its own.
    common |= {"fraction": element.fraction, "draw": element.seed, "seed": element.seed}
    if any("gan" in arm.augment for arm in arms):
        gan = TrainGan(run=str(place / "gan"), preset=config.preset, images=config.gan_images, **common)
        train_gan(gan, context)
    for arm in arms:
        options = TrainClassifier(
            run=str(place / arm.name), test=config.test, target=config.target, preset=arm.preset, augment=arm.augment,
            synthetic_share=arm.share, gan=str(place / "gan") if "gan" in arm.augment else "", epochs=config.epochs,
            patience=config.patience, **common,
        )  # fmt: skip
        train_classifier(options, context)
    write_json(place / DONE, {"arms": [arm.name for arm in arms], "request": request})


def _finish(run, elements, arms, request, config, context):
    """Write table, plot and page from all classifiers' predictions."""
    wanted, judged, rows = None, [], []
    for element in elements:
        for arm in arms:
            with np.load(element.place(run) / arm.name / PREDICTIONS, allow_pickle=False) as found:
                kinds, probability = found["survey_wanted"], found["survey_probability"]
            wanted = kinds if wanted is None else wanted
            judged.append(ClassifierPredictions(element.fraction, element.seed, arm.name, probability))
            score = scores(kinds, probability, 0.5, draws=1)
            rows.append([element.fraction, element.seed, arm.name, *(f"{score[name]:.5f}" for name in _SCORES)])
    baseline, alone = arms[0].name, next((arm.name for arm in arms if arm.share == 1), "")
    helped = next((arm.name for arm in arms if arm.augment == "standard+gan" and arm.share < 1), "")
    helped = helped or next((arm.name for arm in arms if "gan" in arm.augment and arm.share < 1), "")
    report = {
        "schema": "galaxycgan-study", "schema_version": 1, "tool": tool_stamp(), "created": context.created,
        "request": request, "target": config.target, "store": config.store,
        "test": config.test, "n_test": len(wanted), "n_wanted": int(wanted.sum()), "baseline": baseline,
        "seeds": list(range(config.seeds)),
    }  # fmt: skip
    report |= summarise(PairedBootstrap(wanted, judged), baseline, helped, alone)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["fraction", "seed", "arm", *_SCORES], *rows])
    write_text(run / TABLE, text.getvalue())
    write_report(run, report)
    write_json(run / RESULT, report)
    context.say("\n".join(text_table(report)))
    for name, word in report["goals"].items():
        context.say(f"{word}: {name}")
    context.say(f"{run}: {RESULT}, {TABLE}, {REPORT}")


#: Columns of study.csv.
_SCORES = ("roc_auc", "average_precision", "log_loss", "brier")
