"""The report of an evaluation: goals, pictures, all numbers, on one HTML page."""

import math

from galaxycgan.evaluation.metrics import goals
from galaxycgan.evaluation.reports.html_page import as_json, embedded, write_page

#: The table on top, in its order; the others follow in a second table.
FIRST = (
    "w1.mean", "w1.worst", "w1_conditional", "label_rmse.", "mass_response.monotone", "mass_response.slope",
    "power.mean", "power.worst", "noise_lag.1", "density", "coverage", "memorisation.ratio",
    "train_on_synthetic_test_on_real",
)  # fmt: skip
MARKS = {
    "met": "✓ met", "missed": "✗ missed", "undecided": "? floor above goal", "at the floor": "at the floor",
    "off the floor": "off the floor",
}  # fmt: skip
SETS = {"real": "real", "synthetic": "generated", "other": "second real set"}


def write(path, report, pictures):
    """Write the report of an evaluation.

    Parameters
    ----------
    path : Path
        HTML file; the pictures lie beside it.
    report : dict
        What metrics.json holds.
    pictures : list of galaxycgan.evaluation.reports.pictures.Picture
    """
    words = list(report["goals"].values())
    first = dict.fromkeys(name for start in FIRST for name in report["metrics"] if name.startswith(start))
    shown = [
        {"name": each.file.rsplit(".", 1)[0], "title": each.title, "caption": each.caption, "wide": each.wide,
         "data": embedded(path.parent / each.file)}
        for each in pictures
    ]  # fmt: skip
    write_page(
        path,
        "evaluation.html",
        title=f"Generated galaxies of {report['synthetic'] or report['gan']} beside real ones",
        report=report,
        met=words.count("met"),
        missed=words.count("missed"),
        undecided=words.count("undecided"),
        first=[_row(report, name) for name in first],
        others=[_row(report, name) for name in report["metrics"] if not name.startswith(FIRST)],
        pictures=shown,
        outcomes=sorted({outcome for counts in report["morphology"].values() for outcome in counts}),
        sets=SETS,
        facts=as_json(
            {name: report[name] for name in ("tool", "created", "request", "real", "synthetic", "gan", "seconds")}
        ),
    )


def _row(report, name):
    """Return what the table shows of a metric."""
    found, about, word = report["metrics"][name], goals.meaning(name), report["goals"].get(name, "")
    return {
        "title": about.title,
        "words": about.words,
        "value": found["value"],
        "interval": _known(found["interval"]),
        "floor": found["floor"],
        "floor_interval": _known(found["floor_interval"]),
        "goal": goal_words(about.goal),
        "mark": MARKS.get(word, ""),
        "css": word.split()[0] if word else "",
    }


def _known(interval):
    """Return an interval, None where an edge is unknown."""
    return None if not interval or any(edge is None or edge != edge for edge in interval) else interval


def goal_words(goal):
    """Return a goal (low, high) as text."""
    if goal is None:
        return "–"
    low, high = goal
    if low == high:
        return f"{low:g}"
    if low == 0:
        return f"≤ {high:g}"
    if high in (1, math.inf):
        return f"≥ {low:g}"
    return f"{low:g} to {high:g}".replace("-", "−")
