"""The stage evaluate: real galaxies and a generator or a catalog in, metrics.json, pictures and report.html out.

metrics.json, schema version 2::

    schema, schema_version   "galaxycgan-evaluation", 2
    tool, created, request   what made it, when it was asked for, and of what: equal requests are done already
    real, synthetic, gan     paths as given; gan is null where no generator was at hand
    bands, columns           bands of the images; labels that galaxies are compared at
    n, n_synthetic, n_floor  galaxies compared, and real ones of the second set
    remark                   what must be known of the galaxies that are compared; '': nothing
    judged                   false below 1,000 galaxies: report, do not judge
    metrics                  name -> {value, interval [16%, 84%], floor, floor_interval [16%, 84%], floor_scatter}
    left_out                 name -> why it was not computed
    morphology               'real', 'synthetic', 'other' -> outcome of the measurement -> galaxies
    goals                    name -> 'met', 'missed', 'undecided'; without a goal 'at the floor', 'off the floor'
    classifier               of train_on_synthetic_test_on_real: target, auc_real, auc_synthetic, n; null: not asked for
    mass_response, redshift_response   lists of one entry for each value of the other label; see `response.responses`
    seconds                  part -> wall seconds

Names of metrics and what they mean: `galaxycgan.evaluation.metrics.goals`. Numbers that are unknown are null.
"""

import functools
import time
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.store.conditions import matches_target
from galaxycgan.catalogs.store.store import GalaxyStore, find_store
from galaxycgan.errors import UserError
from galaxycgan.evaluation.classifiers.scores import NORMAL_95
from galaxycgan.evaluation.comparison_sets import Samples
from galaxycgan.evaluation.figures.style import pixels_in
from galaxycgan.evaluation.metrics import distances, goals
from galaxycgan.evaluation.metrics.judge import Galaxies, Sets, judge
from galaxycgan.evaluation.metrics.label_response import FEW_LATENTS, LATENTS, responses, summary
from galaxycgan.evaluation.metrics.resampling import DRAWS, FEW_DRAWS, record
from galaxycgan.evaluation.metrics.synthetic_training import train_on_synthetic_test_on_real
from galaxycgan.evaluation.reports import evaluation_report, pictures
from galaxycgan.evaluation.subject import CatalogSubject, GeneratorSubject
from galaxycgan.files.atomic import make_directory, read_json, read_records, sha256_file, write_json
from galaxycgan.images.bands import reference_band
from galaxycgan.models.device import choose_device, set_threads
from galaxycgan.models.release import METRICS, WEIGHTS
from galaxycgan.provenance import tool_stamp
from galaxycgan.resources import gan_directory
from galaxycgan.resume import Decision, Found, existing_result

SCHEMA, SCHEMA_VERSION = "galaxycgan-evaluation", 2
METRICS_FILE, REPORT_FILE = "metrics.json", "report.html"
#: Below this many galaxies numbers are reported, not judged.
ENOUGH = 1000
#: Galaxies that tell the sky's noise.
FOR_NOISE = 500
#: Parts of the work, and from and to which percent of it they go.
PARTS = {
    "galaxies": (0, 10), "photometry": (10, 20), "morphology": (20, 60), "features": (60, 75), "responses": (75, 90),
    "classifier": (90, 100),
}  # fmt: skip
#: Of each kind at least, where a classifier is to tell two kinds.
FEWEST_OF_A_KIND = 10
#: Of a response, what is only for the plot.
FOR_PLOTS = ("moved", "mag", "window")


def evaluate(config, context):
    """Compare generated galaxies with real ones that the generator never saw.

    Parameters
    ----------
    config : galaxycgan.config.Evaluate
        Options.
    context : galaxycgan.context.Context
        How it is run.
    """
    threads = set_threads(config.threads)
    subject = _subject(config, context)
    out = Path(config.out) if config.out else _place(config, subject)
    with GalaxyStore(find_store(config.real, "--real")) as store:
        if store.synthetic:
            raise UserError(f"{store.path}: holds synthetic galaxies; --real needs a store of real ones")
        subject.check(store)
        request = subject.identity | {"store": store.fingerprint}
        request |= {"n": config.n, "seed": config.seed, "quick": config.quick}
        if config.classifier:
            request |= {"target": config.target}
            nothing = np.zeros((1, len(subject.columns)))
            matches_target(config.target, subject.columns, nothing, subject.conditioning.flags)
        read = functools.partial(_found, out / METRICS_FILE)
        if existing_result(out, request, read, overwrite=config.overwrite, context=context) is Decision.MADE:
            return
        make_directory(out)
        evaluation = Evaluation(config, context, subject, store, threads)
        report = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "tool": tool_stamp(), "created": context.created}
        report |= {"request": request, "real": str(store.path), "synthetic": config.synthetic or None}
        report |= {"gan": str(subject.painter.run) if subject.painter else None}
        report |= evaluation.report()
        if not config.quick:
            shown = evaluation.draw(out)
            evaluation_report.write(out / REPORT_FILE, report, shown)
    write_json(out / METRICS_FILE, report)
    _say(context, report, out)


def _subject(config, context):
    """Return what is judged; a catalog's generator is at hand where --gan names the one that made it."""
    device = choose_device(config.device)
    if not config.synthetic:
        return GeneratorSubject(config.gan, device)
    catalog = CatalogSubject(config.synthetic)
    if catalog.noiseless:
        context.say(f"warning: {config.synthetic}: its images hold no noise, as real ones do")
    weights = gan_directory(config.gan) / WEIGHTS
    if weights.exists() and sha256_file(weights) == catalog.generator_sha256:
        return catalog.made_by(GeneratorSubject(config.gan, device).painter)
    why = "did not make this catalog" if weights.exists() else "holds no generator"
    context.say(f"{config.gan}: {why}; what needs the generator is left out (--gan names another)")
    return catalog


def _place(config, subject):
    """Return where a result goes that was given no place: into the run, or beside the catalog."""
    return (subject.path.parent if config.synthetic else Path(config.gan)) / "evaluation"


def _found(path):
    """Return the evaluation that is there, with its request."""
    return Found(read_json(path).get("request")) if path.exists() else None


class Evaluation:
    """One comparison: chooses the galaxies, computes the numbers, draws the pictures.

    Parameters
    ----------
    config : galaxycgan.config.Evaluate
    context : galaxycgan.context.Context
    subject : GeneratorSubject or CatalogSubject
    store : GalaxyStore
        Real galaxies.
    threads : int
    """

    def __init__(self, config, context, subject, store, threads):
        self.config, self.context, self.subject, self.store, self.threads = config, context, subject, store, threads
        self.random = np.random.default_rng(config.seed)
        self.seconds, self.started = {}, time.monotonic()
        usable = (store.split >= 0) & subject.conditioning.legal(store.labels(subject.columns))
        n = min(config.n, subject.most)
        if subject.painter:
            self.samples = Samples.of_run(store, usable, subject.painter.run, n, self.random)
        else:
            self.samples = Samples.of_catalog(store, usable, subject.card, n, self.random, subject.path)

    def report(self):
        """Return the JSON values of the metrics."""
        with self.context.progress("evaluating", 100, "percent") as bar:
            self.bar = bar
            self._choose()
            self._step("galaxies")
            self.judgement = judge(
                self.sets, self.store.bands, 2 * self.sky_rms, self.random, quick=self.config.quick,
                draws=FEW_DRAWS if self.config.quick else DRAWS, workers=self.threads,
                check=self.context.check, step=self._step,
            )  # fmt: skip
            self._respond()
            self._step("responses")
            self.taught = self._teach() if self.config.classifier else None
            self._step("classifier")
        found = self.judgement.metrics
        for family in ("mass_response", "redshift_response"):
            found |= summary(family, self.answers[family])
        judged = len(self.sets.real) >= ENOUGH
        return {
            "bands": list(self.store.bands),
            "columns": list(self.subject.columns),
            "n": len(self.sets.real),
            "n_synthetic": len(self.sets.synthetic),
            "n_floor": len(self.sets.other),
            "remark": self.samples.remark,
            "judged": judged,
            "metrics": found,
            "left_out": self.judgement.left_out,
            "morphology": self.judgement.morphology,
            "goals": {name: word for name, each in found.items() if (word := goals.verdict(name, each))},
            "classifier": self.taught,
            **{name: [_without_plots(part) for part in parts] for name, parts in self.answers.items()},
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
        }

    def _step(self, part, share=1.0):
        """Show how far it is; a part that is done is timed."""
        first, last = PARTS[part]
        self.bar.at(round(first + share * (last - first)), part)
        if share == 1.0:
            now = time.monotonic()
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self.started
            self.started = now

    def _choose(self):
        """Read the galaxies of all sets."""
        samples, store, conditioning = self.samples, self.store, self.subject.conditioning
        self.labels = store.labels(self.subject.columns)[samples.rows]
        arguments = len(samples.rows), self.config.seed, self.random
        images, self.asked = self.subject.galaxies(self.labels, *arguments)
        real = Galaxies(store.images(samples.rows), conditioning.standardise(self.labels))
        self.sets = Sets(
            real=real,
            synthetic=Galaxies(images, conditioning.standardise(self.asked)),
            other=self._read(store, samples.others),
            teachers=self._read(*samples.teachers) if samples.teachers else None,
            training=None if self.config.quick or not samples.searched() else self._read(*samples.searched()),
            other_unseen=samples.others_unseen,
            columns=conditioning.names,
            numeric=tuple(conditioning.numeric),
        )
        self.sky_rms = distances.sky_noise(real.images[:FOR_NOISE], store.bands)

    def _read(self, store, rows):
        labels = store.labels(self.subject.columns)[rows]
        return Galaxies(store.images(rows), self.subject.conditioning.standardise(labels))

    def _respond(self):
        """Move one label of a generator while the other stands still."""
        self.answers = {"mass_response": [], "redshift_response": []}
        if self.subject.painter is None:
            self.judgement.left_out["mass_response, redshift_response"] = (
                "need the generator that made the catalog; give its run directory with --gan"
            )
            return
        band = self.store.bands[reference_band(self.store.bands)]
        magnitude = self.judgement.measured["real"]["properties"][band]
        latents = FEW_LATENTS if self.config.quick else LATENTS
        self.answers = responses(
            self.subject.painter, self.labels, magnitude, self.store.bands, self.judgement.softening_njy,
            self.config.seed, latents,
        )  # fmt: skip

    def _teach(self):
        """Compare classifiers taught by real and by generated galaxies on real ones that none of them has seen."""
        name, target = "train_on_synthetic_test_on_real", self.config.target
        if self.sets.teachers is None:
            self.judgement.left_out[name] = "too few other real galaxies to learn from"
            return None
        source, rows = self.samples.teachers
        roles = {
            role: (each.images, matches_target(target, self.subject.columns, labels, self.subject.conditioning.flags))
            for role, each, labels in (
                ("teachers", self.sets.teachers, source.labels(self.subject.columns)[rows]),
                ("generated", self.sets.synthetic, self.asked),
                ("compared", self.sets.real, self.labels),
            )
        }
        for role, (_, kinds) in roles.items():
            rarer = int(min(kinds.sum(), (~kinds).sum()))
            if rarer < FEWEST_OF_A_KIND:
                self.judgement.left_out[name] = (
                    f"'{target}' splits the {len(kinds)} {role} galaxies so that one kind has {rarer}, fewer than"
                    f" {FEWEST_OF_A_KIND}; try another --target"
                )
                return None
        found = train_on_synthetic_test_on_real(*roles.values(), 2 * self.sky_rms, check=self.context.check)
        value = found.pop("value")
        # That function's interval holds 95% of the draws; one standard deviation is given beside all numbers here.
        low, high = (value + (edge - value) / NORMAL_95 for edge in found.pop("interval"))
        self.judgement.metrics[name] = record(value, (), ()) | {"interval": [low, high]}
        return {"target": target} | found

    def draw(self, out):
        """Write the pictures; return them as `evaluation_report.write` takes them."""
        records = None
        if self.subject.painter and (self.subject.painter.run / METRICS).exists():
            records = read_records(self.subject.painter.run / METRICS)
        scene = pictures.Scene(
            subject=self.subject, sets=self.sets, labels=self.labels, judgement=self.judgement, answers=self.answers,
            bands=self.store.bands, pixel_scale=self.store.pixel_scale, sky_rms=self.sky_rms, seed=self.config.seed,
            training_log=records,
        )  # fmt: skip
        with pixels_in(self.store.pixel_unit):
            return pictures.draw(out, scene, self.context.check)


def _without_plots(part):
    return {name: value for name, value in part.items() if name not in FOR_PLOTS}


def _say(context, report, out):
    """Say the main numbers."""
    found = report["metrics"]
    mean, worst = found["w1.mean"], found["w1.worst"]
    note = "" if report["judged"] else f" ({report['n']} galaxies: reported, not judged)"
    floor = "unknown" if mean["floor"] is None else f"{mean['floor']:.3f}"
    context.say(f"mean W1/sigma {mean['value']:.3f}, worst {worst['value']:.3f}, floor {floor}{note}")
    if report["remark"]:
        context.say(report["remark"])
    for part in report["mass_response"]:
        context.say(
            f"z = {part['at']:.2f}: brighter with mass for {part['monotone']:.0%} of latents; slope "
            f"{part['slope_generated']:.2f} mag/dex, real {part['slope_real']:.2f} +- {part['slope_real_error']:.2f}"
        )
    for name, why in report["left_out"].items():
        context.say(f"left out: {name}: {why}")
    missed = [goals.meaning(name).title for name, word in report["goals"].items() if word == "missed"]
    context.say(f"{'goals missed' if report['judged'] else 'beyond goals'}: {'; '.join(missed) or 'none'}")
    context.say(f"{out}: {METRICS_FILE}" + (f", {REPORT_FILE} and pictures" if not report["request"]["quick"] else ""))
