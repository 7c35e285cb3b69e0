"""The stage evaluate: real galaxies and a trained generator in, metrics.json and pictures out."""

from pathlib import Path

import numpy as np

from galaxycgan.catalogs.store import GalaxyStore, find_store
from galaxycgan.errors import UserError
from galaxycgan.evaluation import metrics, plots
from galaxycgan.files import read_records, write_json
from galaxycgan.images.bands import reference_band
from galaxycgan.images.photometry import APERTURE_RADIUS, asinh_magnitude, geometry, measure
from galaxycgan.models.device import choose_device, set_threads
from galaxycgan.models.painter import Painter
from galaxycgan.models.release import METRICS, TRAINED_ON
from galaxycgan.provenance import tool_stamp

#: Below this many galaxies numbers are reported, not judged.
ENOUGH = 1000
LATENTS, STEPS = 256, 11
Z_WINDOW_DEX = 0.05
STEEP = -1.0


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
    run = Path(config.gan)
    painter = Painter(run, choose_device(config.device))
    out = Path(config.out) if config.out else run / "evaluation"
    with GalaxyStore(find_store(config.real)) as store:
        _check(store, painter, run)
        unseen, seen = _rows(store, run)
        if len(unseen) < 8:
            raise UserError(f"{store.path}: {len(unseen)} labelled galaxies that {run} never saw; need at least 8")
        columns = painter.conditioning.columns
        labels = np.stack([store.column(name) for name in columns], 1)
        report = {"tool": tool_stamp(), "created": context.created, "gan": str(run), "store": str(store.path)}
        report |= _compare(store, painter, labels, unseen, seen, config, context, out)
    out.mkdir(parents=True, exist_ok=True)
    if (run / METRICS).exists():
        plots.training_curves(out / "training.png", read_records(run / METRICS))
    write_json(out / "metrics.json", report)
    _say(context, report, out)


def _check(store, painter, run):
    shape, card = painter.generator.shape, painter.card
    if store.synthetic:
        raise UserError(f"{store.path}: holds synthetic galaxies; --real wants a store of real ones")
    if (tuple(card["bands"]), shape.size) != (store.bands, store.size):
        raise UserError(
            f"{store.path}: holds {','.join(store.bands)} images of {store.size} px; {run} makes "
            f"{','.join(card['bands'])} of {shape.size} px"
        )
    for name in painter.conditioning.columns:
        if name not in store.columns:
            raise UserError(f"{store.path}: no column '{name}', which {run} is conditioned on")


def _rows(store, run):
    """Rows of labelled galaxies that the GAN never saw, and of those that it did."""
    trained_on = np.load(run / TRAINED_ON, allow_pickle=False) if (run / TRAINED_ON).exists() else np.zeros(0, np.int64)
    labelled = store.split >= 0
    seen = np.isin(store.ids, trained_on)
    return np.flatnonzero(labelled & ~seen), np.flatnonzero(labelled & seen)


def _compare(store, painter, labels, unseen, seen, config, context, out):
    """All metrics, and the pictures that go with them."""
    random = np.random.default_rng(config.seed)
    unseen = random.permutation(unseen)
    n = min(config.n, len(unseen))
    rows = np.sort(unseen[:n])
    others = np.sort(unseen[n : n + config.n])
    bands = store.bands
    with context.progress("evaluating", 4, "parts") as progress:
        real_images = store.images(rows)
        fake_images = painter.sample(labels[rows], config.seed)
        progress.at(1, "images made")
        softening = metrics.flux_softening(measure(real_images[:500], bands), store.size)
        real = metrics.properties(real_images, bands, softening)
        fake = metrics.properties(fake_images, bands, softening)
        floor, floor_n, floor_kind = _floor(store, real, others, softening, random)
        report = {"n": n, "judged": n >= ENOUGH, "w1": metrics.w1_table(real, fake)}
        report["w1_floor"] = {"n": floor_n, "between": floor_kind} | floor
        progress.at(2, "measured")
        if labels.shape[1] >= 2:
            report["w1_conditional"] = metrics.w1_conditional(real, fake, labels[rows])
        report |= _label_rmse(store, painter, labels, rows, seen, real, fake, softening)
        report["power_mean_dex"], report["power_worst_dex"] = metrics.power_difference(real_images, fake_images)
        report["noise_lags"] = {"real": metrics.noise_lags(real_images), "generated": metrics.noise_lags(fake_images)}
        response = _mass_response(painter, labels, unseen, store, softening, config.seed)
        report["mass_response"] = [
            {k: v for k, v in part.items() if k not in ("mass", "mag", "window")} for part in response
        ]
        progress.at(3, "metrics")
        _draw(out, painter, store, labels, rows, real_images, fake_images, real, fake, report, response, config.seed)
        progress.at(4, "pictures")
    return report


def _floor(store, real, others, softening, random):
    """W1 between two independent real sets; where there is no second one, between halves of the one."""
    if len(others) >= len(store.bands) * 8 and len(others) >= len(next(iter(real.values()))) // 2:
        second = metrics.properties(store.images(others), store.bands, softening)
        return metrics.w1_table(real, second), len(others), "two independent real sets"
    n = len(next(iter(real.values())))
    half = random.permutation(n)
    first, second = ({k: v[part] for k, v in real.items()} for part in (half[: n // 2], half[n // 2 :]))
    return metrics.w1_table(first, second), n // 2, "two halves of the real set"


def _label_rmse(store, painter, labels, rows, seen, real, fake, softening):
    """Ratio of label errors; the regressor learns from galaxies that are not compared."""
    if len(seen) < 100:
        return {"label_rmse": None, "label_rmse_why": "fewer than 100 training galaxies of the GAN in this store"}
    teach = seen[: 4 * metrics.CELLS * 500]
    standard = painter.conditioning.standardise
    table = metrics.properties(store.images(teach), store.bands, softening)
    truth = standard(labels[rows])
    ratios = metrics.label_rmse(table, standard(labels[teach]), real, truth, fake, truth)
    return {"label_rmse": dict(zip(painter.conditioning.columns, ratios, strict=True))}


def _mass_response(painter, labels, rows, store, softening, seed):
    """Noiseless magnitude against stellar mass at three redshifts, for the same 256 latents: list of dicts."""
    columns = painter.conditioning.columns
    if not {"photo_z", "log_mass"} <= set(columns):
        return []
    z_at, mass_at = columns.index("photo_z"), columns.index("log_mass")
    z, mass = labels[rows, z_at], labels[rows, mass_at]
    k = reference_band(store.bands)
    magnitudes = asinh_magnitude(measure(store.images(np.sort(rows)), store.bands)["flux"][:, k], softening)
    magnitudes = magnitudes[np.argsort(np.argsort(rows))]
    aperture = geometry(store.size).within(APERTURE_RADIUS)
    parts = []
    for quantile in (0.2, 0.5, 0.8):
        centre = float(np.quantile(z, quantile))
        window = np.abs(np.log10(z / centre)) < Z_WINDOW_DEX
        if window.sum() < 5:
            continue
        steps = np.linspace(*np.quantile(mass[window], (0.05, 0.95)), STEPS)
        request = np.tile(np.median(labels[rows], axis=0), (LATENTS, 1))
        request[:, z_at] = centre
        flux = []
        for value in steps:
            request[:, mass_at] = value
            flux.append(painter.sample(request, seed, noisy=False)[:, k, aperture].sum(1))
        flux = np.array(flux)
        monotone = float((metrics.spearman_with_steps(flux) > 0.9).mean())
        mag = asinh_magnitude(flux, softening)
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


def _draw(out, painter, store, labels, rows, real_images, fake_images, real, fake, report, response, seed):
    """Write the pictures."""
    columns = painter.conditioning.columns
    sky_rms = 0.5 * painter.generator.flux_unit_njy.cpu().numpy()
    show = np.argsort(labels[rows, 0], kind="stable")[np.linspace(0, len(rows) - 1, 12).astype(int)]
    clean = painter.sample(labels[rows[show]], seed, noisy=False)
    more = painter.sample(labels[rows[show]], seed + 1)
    plots.gallery(
        out / "real_and_generated.png",
        [plots.colour(images, sky_rms) for images in (real_images[show], fake_images[show], more, clean)],
        ["real", "generated", "generated,\nanother latent", "generated,\nnoiseless"],
        [
            ", ".join(f"{name} {value:.2f}" for name, value in zip(columns, row, strict=True))
            for row in labels[rows[show]]
        ],
        f"Real galaxies and generated ones with the same {' and '.join(columns)}",
    )
    plots.distributions(out / "distributions.png", real, fake, report["w1"], report["w1_floor"])
    if {"photo_z", "log_mass"} <= set(columns):
        z_at, mass_at = columns.index("photo_z"), columns.index("log_mass")
        _draw_grid(out, painter, labels[rows], z_at, mass_at, sky_rms, seed)
    if response:
        band = store.bands[reference_band(store.bands)]
        near = [np.abs(np.log10(labels[rows, z_at] / part["z"])) < Z_WINDOW_DEX for part in response]
        parts = [part | {"window": window} for part, window in zip(response, near, strict=True)]
        plots.mass_response(out / "mass_response.png", parts, labels[rows, mass_at], real[band], band)


def _draw_grid(out, painter, labels, z_at, mass_at, sky_rms, seed):
    """Galaxies of one latent over redshift and stellar mass, inside and outside what the GAN has seen."""
    redshifts = np.quantile(labels[:, z_at], (0.1, 0.3, 0.5, 0.7, 0.9))
    masses = np.linspace(*np.quantile(labels[:, mass_at], (0.02, 0.98)), 10)
    rows = []
    for z in redshifts:
        request = np.tile(np.median(labels, axis=0), (len(masses), 1))
        request[:, z_at], request[:, mass_at] = z, masses
        # Each in a block of its own rows 0: the same latent numbers for all
        pictures = np.concatenate([painter.paint(request[k : k + 1], seed, 0).images[:1] for k in range(len(masses))])
        rows.append(plots.colour(pictures, sky_rms))
    plots.gallery(
        out / "grid.png",
        rows[::-1],
        [f"z = {z:.2f}" for z in redshifts[::-1]],
        [f"log M* {mass:.1f}" for mass in masses],
        "Generated galaxies, one latent: heavier to the right, farther up",
    )


def _say(context, report, out):
    """Say the main numbers."""
    w1, floor = report["w1"], report["w1_floor"]
    note = "" if report["judged"] else f" ({report['n']} galaxies: reported, not judged)"
    context.say(f"mean W1/sigma {w1['mean']:.3f}, floor {floor['mean']:.3f}{note}")
    for part in report["mass_response"]:
        context.say(
            f"z = {part['z']:.2f}: brighter with mass for {part['monotone']:.0%} of latents; slope "
            f"{part['slope_generated']:.2f} mag/dex, real {part['slope_real']:.2f} +- {part['slope_real_error']:.2f}"
        )
    context.say(f"{out}: metrics.json and pictures")
