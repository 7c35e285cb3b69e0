"""The study's plot and page: AUC and gain against the share of real galaxies."""

import numpy as np

from galaxycgan.config.classifier import SYNTHETIC_BESIDE
from galaxycgan.evaluation.classifiers.paired_bootstrap import SMALL, WIDEST
from galaxycgan.evaluation.figures.style import SERIES, WIDTH_INCH, save_figure, style
from galaxycgan.evaluation.reports.html_page import as_json, embedded, write_page

PLOT, REPORT, TABLE = "study.png", "report.html", "study.csv"


def write_report(run, report):
    """Write plot and page of a study.

    Parameters
    ----------
    run : Path
    report : dict
        What study.json holds.
    """
    draw(run / PLOT, report["arms"], report["baseline"])
    write_page(
        run / REPORT,
        "study.html",
        title="Do generated galaxies help the classifier?",
        report=report,
        beside=_beside(report["request"]["synthetic_share"]),
        small=f"{SMALL:.0%}",
        widest=WIDEST,
        plot=embedded(run / PLOT),
        rows=[_row(row, report["arms"]) for row in report["arms"]],
        facts=as_json({name: report[name] for name in ("tool", "created", "request")}),
    )


def _row(row, rows):
    """Return what the table shows of a way of training at a share."""
    return {
        "share": f"{row['fraction']:.0%}",
        "arm": row["arm"],
        "roc_auc": row["roc_auc"],
        "interval": row["interval"],
        "scatter": row["scatter"],
        "gain": row.get("difference"),
        "gain_interval": row.get("difference_interval"),
        "words": row.get("verdict", "baseline") + _worth(row, rows),
    }


def _beside(share):
    """Say how many generated galaxies a classifier sees beside real ones."""
    if not share:
        return f"an epoch shows {SYNTHETIC_BESIDE}"
    return f"beside real galaxies, generated ones are {share:.0%} of what an epoch shows"


def text_table(report):
    """Return the table as lines of plain text."""
    lines = [f"{'share':>6}  {'arm':<24} {'ROC AUC':>8}  {'seeds':>6}  gain on {report['baseline']} (95% interval)"]
    for row in report["arms"]:
        gain = ""
        if "difference" in row:
            gain = f"{row['difference']:+.3f}{_limits(row['difference_interval'], '+.3f')} {row['verdict']}"
            gain += _worth(row, report["arms"])
        scatter = f"{row['scatter']:.3f}" if np.isfinite(row["scatter"]) else "-"
        lines.append(f"{row['fraction']:>6.0%}  {row['arm']:<24} {row['roc_auc']:>8.3f}  {scatter:>6}  {gain}".rstrip())
    return lines


def _limits(interval, form):
    """Say an interval in brackets; '' where it is unknown, as of a single seed."""
    return f" ({interval[0]:{form}} to {interval[1]:{form}})" if np.isfinite(interval).all() else ""


def _worth(row, rows):
    """Say how many real galaxies the generated ones of an arm are worth; '' where it is unknown."""
    found = row.get("worth")
    if not found or not np.isfinite([found["share"], *found["interval"]]).all():
        return ""
    shares = [each["fraction"] for each in rows]
    point, low, high = (_share(value, shares) for value in (found["share"], *found["interval"]))
    return f"; as good as {point} of the real galaxies ({low} to {high})"


def _share(value, shares):
    """Say a share; the smallest and the largest that were measured stand for all beyond."""
    return f"{value:.0%}" + (" or less" if value <= min(shares) else " or more" if value >= max(shares) else "")


def draw(path, rows, baseline):
    """Draw AUC and gain of each arm against the share of real galaxies.

    Parameters
    ----------
    path : Path
        PNG to write.
    rows : list of dict
        Of `galaxycgan.evaluation.classifiers.paired_bootstrap.summarise`.
    baseline : str
    """
    plt = style()
    figure, (auc, gain) = plt.subplots(1, 2, figsize=(WIDTH_INCH, 4.0))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for k, arm in enumerate(arms):
        own = [row for row in rows if row["arm"] == arm]
        # Side by side, so that intervals can be seen.
        share = np.array([row["fraction"] for row in own]) * 1.03 ** (k - (len(arms) - 1) / 2)
        colour = SERIES[k % len(SERIES)]
        _points(auc, share, [row["roc_auc"] for row in own], [row["interval"] for row in own], colour, arm)
        if arm != baseline:
            values = [row["difference"] for row in own]
            _points(gain, share, values, [row["difference_interval"] for row in own], colour, arm)
    gain.axhline(0, color="0.5", lw=0.8)
    auc.set(ylabel="ROC AUC, mean over seeds", title="Test galaxies of another survey")
    gain.set(ylabel=f"gain on {baseline}", title="Paired differences, 95% intervals")
    shares = sorted({row["fraction"] for row in rows})
    for axis in (auc, gain):
        axis.set_xscale("log")
        axis.set_xticks(shares, [f"{share:.0%}" for share in shares])
        axis.set_xticks([], minor=True)
        axis.set_xlabel("share of the real training galaxies")
    auc.legend()
    figure.tight_layout()
    save_figure(figure, path)


def _points(axis, x, values, intervals, colour, label):
    low, high = np.array(intervals, dtype=float).T
    values = np.array(values)
    axis.errorbar(x, values, [values - low, high - values], fmt="o-", ms=4, color=colour, label=label)
