"""The stage evaluate: real galaxies and a trained generator in, metrics.json and pictures out."""

from pathlib import Path

import numpy as np

from galaxycgan.catalogs.store import GalaxyStore, find_store
from galaxycgan.config import check_at_least
from galaxycgan.errors import UserError
from galaxycgan.evaluation import features, metrics, pictures, plots
from galaxycgan.evaluation.response import responses
from galaxycgan.evaluation.samples import Samples
from galaxycgan.files import make_directory, read_json, read_records, sha256_file, write_json
from galaxycgan.images.bands import reference_band
from galaxycgan.images.photometry import measure
from galaxycgan.models.device import choose_device, set_threads
from galaxycgan.models.painter import Painter
from galaxycgan.models.release import METRICS, WEIGHTS, check_images
from galaxycgan.provenance import tool_stamp

#: Below this many galaxies numbers are reported, not judged.
ENOUGH = 1000
FLOOR_DRAWS = 20
#: Of a response, what is only for the plot.
FOR_PLOTS = ("moved", "mag", "window")


def evaluate(config, context):
    """Compare generated galaxies with real ones that the GAN never saw.

    Parameters
    ----------
    config : galaxycgan.config.Evaluate
        Options.
    context : galaxycgan.context.Context
        How it is run.
    """
    set_threads(config.threads)
    check_at_least(config, n=8, seed=0)
    run = Path(config.gan)
    painter = Painter(run, choose_device(config.device))
    out = Path(config.out) if config.out else run / "evaluation"
    with GalaxyStore(find_store(config.real, "--real")) as store:
        _check(store, painter, run)
        request = {"generator_sha256": sha256_file(run / WEIGHTS), "store": store.fingerprint}
        request |= {"n": config.n, "seed": config.seed, "quick": config.quick}
        if (out / "metrics.json").exists() and not config.overwrite:
            if read_json(out / "metrics.json").get("request") != request:
                raise UserError(f"{out}: holds another evaluation; choose another --out, or --overwrite")
            context.say(f"{out}: is done; --overwrite evaluates again")
            return
        random = np.random.default_rng(config.seed)
        samples = Samples.choose(store, run, config.n, random)
        make_directory(out)
        report = {"tool": tool_stamp(), "created": context.created, "gan": str(run), "store": str(store.path)}
        report["request"] = request
        report |= compare(samples, painter, config.seed, random, context, None if config.quick else out)
    if (run / METRICS).exists():
        plots.training_curves(out / "training.png", read_records(run / METRICS))
    write_json(out / "metrics.json", report)
    _say(context, report, out)


def _check(store, painter, run):
    if store.synthetic:
        raise UserError(f"{store.path}: holds synthetic galaxies; --real wants a store of real ones")
    check_images(run, painter.card, painter.generator.shape.size, store)
    for name in painter.conditioning.columns:
        if name not in store.columns:
            raise UserError(f"{store.path}: no column '{name}', which {run} is conditioned on")


def compare(samples, painter, seed, random, context, out):
    """Compute all metrics.

    Parameters
    ----------
    samples : Samples
        Real galaxies.
    painter : Painter
        Makes a galaxy for the labels of each.
    seed : int
        Of the synthetic draws.
    random : numpy.random.Generator
        Of the bootstrap.
    context : galaxycgan.context.Context
    out : Path or None
        Directory for pictures; None: the quick metrics alone, and no pictures.

    Returns
    -------
    dict
        JSON values.
    """
    store, bands = samples.store, samples.store.bands
    labels = store.labels(painter.conditioning.columns)[samples.rows]
    n = len(samples.rows)
    with context.progress("evaluating", 5, "parts") as progress:
        real_images, fake_images = store.images(samples.rows), painter.sample(labels, seed)
        progress.at(1, "images made")
        softening = metrics.flux_softening(measure(real_images[:500], bands), store.size)
        real, fake = (metrics.properties(images, bands, softening) for images in (real_images, fake_images))
        context.check()
        other_images = store.images(samples.others)
        second = metrics.properties(other_images, bands, softening)
        report = {"n": n, "judged": n >= ENOUGH, "w1": metrics.w1_table(real, fake)}
        report["w1_floor"] = _floor(real, second, random) | {"n": len(other_images)}
        progress.at(2, "photometry")
        context.check()
        if labels.shape[1] >= 2:
            report["w1_conditional"] = metrics.w1_conditional(real, fake, labels)
        report |= _label_rmse(samples, painter, labels, real, fake, softening)
        report |= _textures(real_images, fake_images, other_images)
        magnitude = real[bands[reference_band(bands)]]
        answers = responses(painter, labels, magnitude, bands, softening, seed)
        report |= {name: [_without_plots(part) for part in parts] for name, parts in answers.items()}
        progress.at(3, "responses")
        context.check()
        if out:
            report |= _in_features(samples, painter, real_images, fake_images, other_images, context)
            progress.at(4, "features")
            pictures.draw(out, painter, real_images, labels, real, fake, report, answers, seed)
        progress.at(5, "done")
    return report


def _without_plots(part):
    return {name: value for name, value in part.items() if name not in FOR_PLOTS}


def _floor(real, second, random):
    """W1 between two independent real sets: mean over bootstrap draws of both, with the scatter of its mean."""
    draws = []
    for _ in range(FLOOR_DRAWS):
        pair = []
        for table in (real, second):
            n = len(next(iter(table.values())))
            # Drawn without repeats, 80% of each set: repeats would count as a difference of their own
            pick = random.permutation(n)[: max(2, int(0.8 * n))]
            pair.append({name: values[pick] for name, values in table.items()})
        draws.append(metrics.w1_table(*pair))
    mean = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
    return mean | {"mean_scatter": float(np.std([draw["mean"] for draw in draws]))}


def _label_rmse(samples, painter, labels, real, fake, softening):
    """Ratio of label errors; the regressor learns from galaxies that are not compared."""
    teachers = samples.teachers()
    if teachers is None:
        return {"label_rmse": None, "label_rmse_why": "fewer than 100 other real galaxies to learn from"}
    store, rows = teachers
    standard, columns = painter.conditioning.standardise, painter.conditioning.columns
    table = metrics.properties(store.images(rows), store.bands, softening)
    truth = standard(labels)
    ratios = metrics.label_rmse(table, standard(store.labels(columns)[rows]), real, truth, fake, truth)
    return {"label_rmse": dict(zip(columns, ratios, strict=True))}


def _textures(real, fake, other):
    """Power spectra and noise correlation, each beside what two real sets differ by."""
    mean, worst = metrics.power_difference(real, fake)
    floor_mean, floor_worst = metrics.power_difference(real, other) if len(other) else (None, None)
    return {
        "power_mean_dex": mean,
        "power_worst_dex": worst,
        "power_floor_dex": {"mean": floor_mean, "worst": floor_worst},
        "noise_lags": {"real": metrics.noise_lags(real), "generated": metrics.noise_lags(fake)},
    }


def _in_features(samples, painter, real, fake, other, context):
    """Density, coverage, two-sample accuracy and memorisation, in the features of a network of the real labels."""
    teachers = samples.teachers()
    if teachers is None:
        return {"features": None, "features_why": "fewer than 100 other real galaxies to learn from"}
    store, rows = teachers
    images = store.images(rows)
    labels = painter.conditioning.standardise(store.labels(painter.conditioning.columns)[rows])
    space = features.FeatureSpace(images, labels, painter.generator.flux_unit_njy.cpu().numpy(), context.check)
    real, fake, other = (space(each[: features.COMPARED]) for each in (real, fake, other))
    report = {"n": len(real), "taught": len(rows)}
    for name, second in (("generated", fake), ("floor", other)):
        density, coverage = features.density_and_coverage(real, second)
        accuracy = features.two_sample_accuracy(real, second)
        report[name] = {"density": density, "coverage": coverage, "two_sample_accuracy": accuracy}
    if samples.training:
        train = space(images)
        report["generated"]["memorisation"] = features.memorisation(train, real, fake)
        if samples.others_unseen:
            report["floor"]["memorisation"] = features.memorisation(train, real, other)
    return {"features": report}


def _say(context, report, out):
    """Say the main numbers."""
    w1, floor = report["w1"], report["w1_floor"]
    note = "" if report["judged"] else f" ({report['n']} galaxies: reported, not judged)"
    context.say(f"mean W1/sigma {w1['mean']:.3f}, worst {w1['worst']:.3f}, floor {floor['mean']:.3f}{note}")
    for part in report["mass_response"]:
        context.say(
            f"z = {part['at']:.2f}: brighter with mass for {part['monotone']:.0%} of latents; slope "
            f"{part['slope_generated']:.2f} mag/dex, real {part['slope_real']:.2f} +- {part['slope_real_error']:.2f}"
        )
    context.say(f"{out}: metrics.json" + (" and pictures" if not report["request"]["quick"] else ""))
