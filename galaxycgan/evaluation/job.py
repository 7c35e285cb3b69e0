"""The stage evaluate: real galaxies and a trained generator in, metrics.json and pictures out."""

from pathlib import Path

import numpy as np

from galaxycgan.catalogs.store import GalaxyStore, find_store
from galaxycgan.config import check_at_least
from galaxycgan.errors import UserError
from galaxycgan.evaluation import metrics, plots
from galaxycgan.files import make_directory, read_json, read_records, sha256_file, write_json
from galaxycgan.images.bands import reference_band
from galaxycgan.images.photometry import APERTURE_RADIUS, asinh_magnitude, geometry, measure
from galaxycgan.models.conditioning import spread
from galaxycgan.models.device import choose_device, set_threads
from galaxycgan.models.painter import Painter
from galaxycgan.models.release import METRICS, WEIGHTS, check_images, load_trained_on
from galaxycgan.provenance import tool_stamp

#: Below this many galaxies numbers are reported, not judged.
ENOUGH = 1000
LATENTS, STEPS = 256, 11
Z_WINDOW_DEX = 0.05
STEEP = -1.0
SMALLEST_WINDOW = 10
MOST_TAUGHT = 6000
FLOOR_DRAWS = 20
#: Grey level of cells of the grid that lie outside the training sample.
UNSEEN = 235
#: Names of labels over pictures, where there is little room.
SHORT = {"photo_z": "z", "log_mass": "log M*"}


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
        request |= {"n": config.n, "seed": config.seed}
        if (out / "metrics.json").exists() and not config.overwrite:
            if read_json(out / "metrics.json").get("request") != request:
                raise UserError(f"{out}: holds another evaluation; choose another --out, or --overwrite")
            context.say(f"{out}: is done; --overwrite evaluates again")
            return
        unseen, seen = _rows(store, run)
        if len(unseen) < 8:
            raise UserError(f"{store.path}: {len(unseen)} labelled galaxies that {run} never saw; need at least 8")
        labels = store.labels(painter.conditioning.columns)
        report = {"tool": tool_stamp(), "created": context.created, "gan": str(run), "store": str(store.path)}
        report["request"] = request
        make_directory(out)
        report |= _compare(store, painter, labels, unseen, seen, config, context, out)
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


def _rows(store, run):
    """Rows of labelled galaxies that the GAN never saw, and of those that it did."""
    labelled = store.split >= 0
    seen = np.isin(store.ids, load_trained_on(run))
    return np.flatnonzero(labelled & ~seen), np.flatnonzero(labelled & seen)


def _compare(store, painter, labels, unseen, seen, config, context, out):
    """All metrics, and the pictures that go with them."""
    random = np.random.default_rng(config.seed)
    unseen = random.permutation(unseen)
    n = min(config.n, len(unseen))
    rows = np.sort(unseen[:n])
    # The floor compares real galaxies with real ones: there it does not matter what the GAN has seen.
    others = np.sort(np.concatenate([unseen[n:], random.permutation(seen)])[:n])
    bands = store.bands
    with context.progress("evaluating", 4, "parts") as progress:
        real_images = store.images(rows)
        fake_images = painter.sample(labels[rows], config.seed)
        progress.at(1, "images made")
        softening = metrics.flux_softening(measure(real_images[:500], bands), store.size)
        real = metrics.properties(real_images, bands, softening)
        fake = metrics.properties(fake_images, bands, softening)
        context.check()
        floor = _floor(real, metrics.properties(store.images(others), bands, softening), random)
        report = {"n": n, "judged": n >= ENOUGH, "w1": metrics.w1_table(real, fake)}
        report["w1_floor"] = floor | {"n": len(others)}
        progress.at(2, "measured")
        context.check()
        if labels.shape[1] >= 2:
            report["w1_conditional"] = metrics.w1_conditional(real, fake, labels[rows])
        report |= _label_rmse(store, painter, labels, rows, seen, real, fake, softening)
        report["power_mean_dex"], report["power_worst_dex"] = metrics.power_difference(real_images, fake_images)
        report["noise_lags"] = {"real": metrics.noise_lags(real_images), "generated": metrics.noise_lags(fake_images)}
        response = _mass_response(painter, labels[rows], real_images, store.bands, softening, config.seed)
        context.check()
        report["mass_response"] = [
            {k: v for k, v in part.items() if k not in ("mass", "mag", "window")} for part in response
        ]
        progress.at(3, "metrics")
        _draw(out, painter, store, labels, rows, real_images, real, fake, report, response, config.seed)
        progress.at(4, "pictures")
    return report


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


def _label_rmse(store, painter, labels, rows, seen, real, fake, softening):
    """Ratio of label errors; the regressor learns from galaxies that are not compared."""
    if len(seen) < 100:
        return {"label_rmse": None, "label_rmse_why": "fewer than 100 training galaxies of the GAN in this store"}
    teach = seen[spread(len(seen), MOST_TAUGHT)]
    standard = painter.conditioning.standardise
    table = metrics.properties(store.images(teach), store.bands, softening)
    truth = standard(labels[rows])
    ratios = metrics.label_rmse(table, standard(labels[teach]), real, truth, fake, truth)
    return {"label_rmse": dict(zip(painter.conditioning.columns, ratios, strict=True))}


def _mass_response(painter, labels, images, bands, softening, seed):
    """Noiseless magnitude against stellar mass at three redshifts, for the same 256 latents: list of dicts.

    Parameters
    ----------
    painter : Painter
        The generator.
    labels, images : arrays [n, column], [n, band, y, x]
        Real galaxies.
    bands : sequence of str
        Band names.
    softening : float
        Of the asinh magnitudes, nJy.
    seed : int
        Of the latents.
    """
    columns = painter.conditioning.columns
    if not {"photo_z", "log_mass"} <= set(columns):
        return []
    z_at, mass_at = columns.index("photo_z"), columns.index("log_mass")
    z, mass = labels[:, z_at], labels[:, mass_at]
    k = reference_band(bands)
    magnitudes = asinh_magnitude(measure(images, bands)["flux"][:, k], softening)
    aperture = geometry(images.shape[-1]).within(APERTURE_RADIUS)
    parts = []
    for quantile in (0.2, 0.5, 0.8):
        centre = float(np.quantile(z, quantile))
        window = np.abs(np.log10(z / centre)) < Z_WINDOW_DEX
        if window.sum() < SMALLEST_WINDOW:
            continue
        steps = np.linspace(*np.quantile(mass[window], (0.05, 0.95)), STEPS)
        request = np.tile(np.median(labels, axis=0), (LATENTS, 1))
        request[:, z_at] = centre
        total, seen = [], []
        for value in steps:
            request[:, mass_at] = value
            clean = painter.sample(request, seed, noisy=False)
            total.append(clean[:, k, aperture].sum(1))
            seen.append(measure(clean, bands)["flux"][:, k])
        # Rising: the light itself. Slope: measured as on real galaxies, where the outskirts of large ones count as sky.
        monotone = float((metrics.spearman_with_steps(np.array(total)) > 0.9).mean())
        mag = asinh_magnitude(np.array(seen), softening)
        slope, error = metrics.local_slope(mass[window], magnitudes[window], int(quantile * 10))
        parts.append(
            {
                "z": centre, "n_real": int(window.sum()), "mass_range": [float(steps[0]), float(steps[-1])],
                "monotone": monotone, "required": bool(slope < STEEP),
                "slope_generated": float(np.polyfit(np.repeat(steps, LATENTS), mag.ravel(), 1)[0]),
                "slope_real": slope, "slope_real_error": error, "mass": steps, "mag": mag, "window": window,
            }
        )  # fmt: skip
    return parts


def _draw(out, painter, store, labels, rows, real_images, real, fake, report, response, seed):
    """Write the pictures."""
    columns = painter.conditioning.columns
    sky_rms = 0.5 * painter.generator.flux_unit_njy.cpu().numpy()
    show = np.argsort(labels[rows, 0], kind="stable")[np.linspace(0, len(rows) - 1, 12).astype(int)]
    asked = labels[rows[show]]
    generated, clean = (painter.sample(asked, seed, noisy) for noisy in (True, False))
    more = painter.sample(asked, seed + 1)
    plots.gallery(
        out / "real_and_generated.png",
        [plots.colour(images, sky_rms) for images in (real_images[show], generated, clean, more)],
        ["real", "generated", "the same,\nnoiseless", "generated,\nanother latent"],
        [
            "\n".join(f"{SHORT.get(name, name)} {value:.2f}" for name, value in zip(columns, row, strict=True))
            for row in asked
        ],
        f"Real galaxies and generated ones with the same {' and '.join(columns)}",
    )
    plots.distributions(out / "distributions.png", real, fake, report["w1"], report["w1_floor"])
    if {"photo_z", "log_mass"} <= set(columns):
        z_at, mass_at = columns.index("photo_z"), columns.index("log_mass")
        _draw_grid(out, painter, labels[rows], z_at, mass_at, sky_rms, seed)
    if response:
        band = store.bands[reference_band(store.bands)]
        plots.mass_response(out / "mass_response.png", response, labels[rows, mass_at], real[band], band)


def _draw_grid(out, painter, labels, z_at, mass_at, sky_rms, seed):
    """Galaxies of one latent over redshift and stellar mass, inside and outside what the GAN has seen."""
    redshifts = np.quantile(labels[:, z_at], (0.1, 0.3, 0.5, 0.7, 0.9))
    masses = np.linspace(*np.quantile(labels[:, mass_at], (0.02, 0.98)), 10)
    rows = []
    for z in redshifts:
        request = np.tile(np.median(labels, axis=0), (len(masses), 1))
        request[:, z_at], request[:, mass_at] = z, masses
        # Each in a block of its own, row 0: the same latent numbers for all.
        pictures = np.concatenate([painter.paint(request[k : k + 1], seed, 0).images[:1] for k in range(len(masses))])
        pictures = plots.colour(pictures, sky_rms)
        pictures[painter.conditioning.novelty(request)[1]] = UNSEEN
        rows.append(pictures)
    plots.gallery(
        out / "grid.png",
        rows[::-1],
        [f"z = {z:.2f}" for z in redshifts[::-1]],
        [f"log M* {mass:.1f}" for mass in masses],
        "Generated galaxies, one latent: heavier to the right, farther up; blank where the GAN has seen none such",
    )


def _say(context, report, out):
    """Say the main numbers."""
    w1, floor = report["w1"], report["w1_floor"]
    note = "" if report["judged"] else f" ({report['n']} galaxies: reported, not judged)"
    context.say(f"mean W1/sigma {w1['mean']:.3f}, worst {w1['worst']:.3f}, floor {floor['mean']:.3f}{note}")
    for part in report["mass_response"]:
        context.say(
            f"z = {part['z']:.2f}: brighter with mass for {part['monotone']:.0%} of latents; slope "
            f"{part['slope_generated']:.2f} mag/dex, real {part['slope_real']:.2f} +- {part['slope_real_error']:.2f}"
        )
    context.say(f"{out}: metrics.json and pictures")
