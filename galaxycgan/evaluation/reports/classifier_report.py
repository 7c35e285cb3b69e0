"""The report of a classifier: curves, its most confident mistakes with their pictures, one page. Scores nothing."""

import html
import json
import re
import statistics

import numpy as np

from galaxycgan.catalogs.schema.columns import MISSING_INT
from galaxycgan.evaluation.classifiers.scores import BINS, curves, reliability
from galaxycgan.evaluation.figures import galaxy_pictures
from galaxycgan.evaluation.figures.style import OTHER, REAL, SYNTHETIC, WIDTH_INCH, save_figure, style
from galaxycgan.evaluation.reports import evaluation_report as page
from galaxycgan.files.atomic import write_text

OVERVIEW, OVERVIEW_SURVEY, MISTAKES, REPORT = "classifier.png", "classifier_survey.png", "mistakes.png", "report.html"
#: What a run's report may leave beside it.
PICTURES = (OVERVIEW, OVERVIEW_SURVEY, MISTAKES)
#: Mistakes of each kind that are shown.
SHOWN = 8
#: The sets that a classifier is judged on, what they are called, and the words for them; the last that is there leads.
SETS = {
    "validation": "validation galaxies, which chose the epoch, the temperature and the threshold",
    "test": "test galaxies of the store",
    "survey": "galaxies of another survey",
}
#: Score -> what it means.
ROWS = {
    "roc_auc": ("ROC AUC", "how often a wanted galaxy gets a higher probability than another; 0.5 is guessing"),
    "average_precision": ("average precision", "mean purity over all completenesses; guessing gives the wanted share"),
    "log_loss": ("log loss [nats]", "surprise at the truth; to compare with that of the prior"),
    "brier": ("Brier score", "mean squared error of the probabilities"),
    "calibration_error": (
        "calibration error",
        f"mean distance from the diagonal below, {BINS} bins; so few galaxies of perfect probabilities would show some",
    ),
    "purity": ("purity", "true ones among those called wanted, at the threshold"),
    "completeness": ("completeness", "called ones among those wanted, at the threshold"),
    "f1": ("F1", "harmonic mean of the two"),
}


def write_report(run, metrics, results, stores, sky_rms):
    """Write pictures and report.html into a run directory.

    Parameters
    ----------
    run : Path
    metrics : dict
        What metrics.json will hold.
    results : dict
        Set -> (ids [n], wanted [n], probability [n]).
    stores : dict
        Set -> GalaxyStore.
    sky_rms : array [band]
        nJy; sets the stretch of the pictures.
    """
    for name in PICTURES:  # of an earlier report, which may have had other sets
        (run / name).unlink(missing_ok=True)
    sections = [_heading(metrics, results), _table(metrics, results)]
    for name in reversed(list(results)):
        if name == "validation":
            continue
        picture = run / (OVERVIEW if name == "test" else OVERVIEW_SURVEY)
        _, wanted, probability = results[name]
        prior = metrics["validation"]["log_loss_prior"]
        overview(picture, wanted, probability, metrics[name], metrics["learning"], prior)
        sections.append(_figure(picture, f"Curves: {SETS[name]}", _CURVES))
    leading = list(results)[-1]
    sections.append(_mistakes(run, leading, metrics, results[leading], stores[leading], sky_rms))
    told = {name: metrics[name] for name in ("tool", "created", "request", "store", "test_store", "calibration")}
    text = html.escape(json.dumps(told, indent=1, sort_keys=True))
    sections.append(f'<section id="made"><h2>How it was made</h2><pre>{text}</pre></section>')
    write_text(run / REPORT, page.document(_title(metrics), sections))


_CURVES = (
    "Learning curves in log loss; ROC and purity against completeness, the dot is the threshold; the probabilities of "
    "both kinds; how often galaxies of each probability are wanted (on the diagonal: as often as said)."
)


def _title(metrics):
    return f"Classifier: {metrics['target']}"


def _heading(metrics, results):
    counts = metrics["galaxies"]
    added = metrics["synthetic_per_epoch"]
    learned = f"{counts['training']:,} real galaxies of {metrics['store']}"
    if added:
        alone = metrics["request"]["synthetic_share"] == 1
        learned = f"{added:,} generated galaxies an epoch" + ("" if alone else f" and {learned}")
    leading = list(results)[-1]
    found = metrics[leading]
    enough = "" if min(found["n_wanted"], found["n"] - found["n_wanted"]) >= 100 else (
        "<p><strong>Fewer than 100 test galaxies of a kind: see how wide the intervals are.</strong></p>"
    )  # fmt: skip
    return (
        f"<header><h1>{html.escape(_title(metrics))}</h1><p>Network {metrics['preset']}, augmentation "
        f"{html.escape(metrics['request']['augment'])}, learned from {html.escape(learned)}; best of "
        f"{metrics['epochs']} epochs: {metrics['best_epoch'] + 1}. {metrics['created']}</p>"
        f'<p><span class="badge">ROC AUC {page.number(found["roc_auc"])}</span>'
        f'<span class="badge">log loss {page.number(found["log_loss"])}, prior alone '
        f"{page.number(found['log_loss_prior'])}</span></p>{enough}</header>"
    )


def _table(metrics, results):
    """All scores of all sets with their intervals."""

    def beside(name, key):
        if key in metrics[name]["intervals"]:
            return " to ".join(page.number(edge) for edge in metrics[name]["intervals"][key])
        return f"perfect ones: {page.number(metrics[name][f'{key}_of_perfect'])}"

    head = "".join(
        f'<th scope="col" class="number">{name}<br><small>{metrics[name]["n"]:,}</small></th>' for name in results
    )
    rows = ""
    for key, (title, words) in ROWS.items():
        cells = "".join(
            f'<td class="number" data-label="{name}">{page.number(metrics[name][key])}'
            f"<br><small>{beside(name, key)}</small></td>"
            for name in results
        )
        rows += f'<tr><th scope="row">{title}<br><small>{html.escape(words)}</small></th>{cells}</tr>'
    prior = "".join(
        f'<td class="number" data-label="{name}">{page.number(metrics[name]["log_loss_prior"])}</td>'
        for name in results
    )
    rows += f'<tr><th scope="row">log loss of the prior alone [nats]</th>{prior}</tr>'
    words = "; ".join(f"{name}: {html.escape(SETS[name])}" for name in results)
    chosen = metrics["calibration"]
    return (
        f'<section id="scores"><h2>Scores</h2><p>{words}. With 95% intervals. Called wanted '
        f"from a probability of {page.number(chosen['threshold'])} on ({html.escape(chosen['rule'])}); temperature "
        f'{page.number(chosen["temperature"])}.</p><table class="cards"><thead><tr><th scope="col">score'
        f"</th>{head}</tr></thead><tbody>{rows}</tbody></table></section>"
    )


def _figure(picture, title, caption):
    return (
        f'<section id="{picture.stem}"><h2>{html.escape(title)}</h2><figure><figcaption>{html.escape(caption)}'
        f'</figcaption><div class="wide"><img src="{page.embedded(picture)}" alt="{html.escape(title)}"></div></figure>'
        "</section>"
    )


def overview(path, wanted, probability, found, history, prior):
    """Draw learning curves, ROC, purity against completeness, histogram and reliability diagram into one picture.

    Parameters
    ----------
    path : Path
        PNG to write.
    wanted, probability : array [n]
    found : dict
        Of `galaxycgan.evaluation.classifiers.scores.scores`.
    history : list of dict
        train_loss, val_loss by epoch.
    prior : float
        Log loss [nats] of the prior alone on the validation galaxies.
    """
    plt = style()
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH_INCH, 6.4))
    (learning, roc, recall), (histogram, honest, cut) = axes
    _draw_learning(learning, history, prior)
    line = curves(wanted, probability)
    at = np.searchsorted(-line["threshold"], -found["threshold"], side="right") - 1
    roc.plot(np.append(0, line["false_positive_rate"]), np.append(0, line["completeness"]), color=OTHER)
    roc.plot([0, 1], [0, 1], color="0.5", ls=":")
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, AUC = {found['roc_auc']:.3f}")
    recall.plot(line["completeness"], line["purity"], color=OTHER)
    recall.axhline(np.mean(wanted), color="0.5", ls=":")
    title = f"Average precision = {found['average_precision']:.3f}"
    recall.set(xlabel="completeness", ylabel="purity", xlim=(0, 1.02), ylim=(0, 1.02), title=title)
    if at >= 0:
        roc.plot(line["false_positive_rate"][at], line["completeness"][at], "o", color=SYNTHETIC)
        recall.plot(line["completeness"][at], line["purity"][at], "o", color=SYNTHETIC)
    edges = np.linspace(0, 1, 2 * BINS + 1)
    histogram.hist(probability[wanted == 0], edges, alpha=0.5, color=REAL, label="not wanted")
    histogram.hist(probability[wanted == 1], edges, alpha=0.5, color=SYNTHETIC, label="wanted")
    histogram.set(xlabel="probability", ylabel="galaxies", xlim=(0, 1), title=f"{len(wanted):,} galaxies")
    histogram.legend()
    points = reliability(wanted, probability)
    honest.plot([0, 1], [0, 1], color="0.5", ls=":")
    honest.errorbar(points["probability"], points["share"], points["error"], fmt="o-", color=OTHER, ms=4)
    honest.set(xlabel="probability", ylabel="share of wanted galaxies", xlim=(0, 1), ylim=(0, 1))
    honest.set_title(f"Reliability, error {found['calibration_error']:.3f}")
    cut.plot(line["threshold"], line["purity"], color=OTHER, label="purity")
    cut.plot(line["threshold"], line["completeness"], color=SYNTHETIC, label="completeness")
    cut.axvline(found["threshold"], color="0.5", ls=":", label="threshold")
    cut.set(xlabel="threshold", title="What a threshold gives", xlim=(0, 1), ylim=(0, 1.02))
    cut.legend()
    figure.tight_layout()
    save_figure(figure, path)


def _draw_learning(axis, history, prior):
    axis.plot([entry["train_loss"] for entry in history], color=REAL, label="training")
    axis.plot([entry["val_loss"] for entry in history], color=OTHER, label="validation")
    axis.axhline(prior, color="0.5", ls=":", label="prior alone, validation")
    axis.set(xlabel="epoch", ylabel="log loss [nats]", title="Learning curves")
    axis.legend()


def confident_mistakes(wanted, probability, threshold, shown=SHOWN):
    """Return which galaxies are most confidently wrong: int arrays, at most `shown` each.

    Returns
    -------
    missed, intruders : int array
        Wanted ones of the lowest probability; unwanted ones of the highest.
    """
    missed = np.flatnonzero((wanted == 1) & (probability < threshold))
    intruders = np.flatnonzero((wanted == 0) & (probability >= threshold))
    lowest = missed[np.argsort(probability[missed], kind="stable")][:shown]
    return lowest, intruders[np.argsort(-probability[intruders], kind="stable")][:shown]


def _cell(value):
    """Return a value of a catalog's column as HTML, a dash where it is missing."""
    if np.ma.is_masked(value) or value.dtype.kind in "iU" and value in (MISSING_INT, ""):
        return page.number(None)
    return page.number(value) if value.dtype.kind == "f" else html.escape(str(value))


def _mistakes(run, name, metrics, result, store, sky_rms):
    """Pictures and table of the most confident mistakes."""
    ids, wanted, probability = result
    missed, intruders = confident_mistakes(wanted, probability, metrics["calibration"]["threshold"])
    groups = [("wanted,\nnot called", missed), ("called,\nnot wanted", intruders)]
    groups = [(title, which) for title, which in groups if len(which)]
    if not groups:
        return '<section id="mistakes"><h2>Mistakes</h2><p>None.</p></section>'
    picture, rows = run / MISTAKES, store.rows_of(ids)
    told = [column for column in store.columns if re.search(rf"\b{re.escape(column)}\b", metrics["target"])]
    told += [column for column in ("photo_z", "log_mass") if column in store.columns and column not in told]
    told = {column: store.column(column)[rows] for column in told if column != store.id_column}
    pictures = [galaxy_pictures.colour(store.images(rows[which]), sky_rms) for _, which in groups]
    titles = [f"p = {p:.2f}" for p in probability[groups[0][1]]] if len(groups) == 1 else ()
    # One lone mistake is drawn no larger than a row of them
    width = WIDTH_INCH * (1 + max(map(len, pictures))) / (1 + SHOWN)
    galaxy_pictures.gallery(picture, pictures, [title for title, _ in groups], titles, figure_width=width)
    head = "".join(f'<th scope="col" class="number">{html.escape(text)}</th>' for text in ("probability", *told))
    body = ""
    for title, which in groups:
        for k in which:
            values = (probability[k], *(column[k] for column in told.values()))
            cells = "".join(f'<td class="number">{_cell(value)}</td>' for value in values)
            body += f'<tr><th scope="row">{ids[k]}</th><td>{html.escape(title)}</td>{cells}</tr>'
    share = statistics.fmean((probability >= metrics["calibration"]["threshold"]) != (wanted == 1))
    caption = f"{share:.1%} of the {name} galaxies are on the wrong side of the threshold; these most of all, in order."
    table = (
        f'<div class="scroll"><table><thead><tr><th scope="col">{store.id_column}</th><th scope="col"></th>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )
    return _figure(picture, "The most confident mistakes", caption).replace("</section>", f"{table}</section>")
