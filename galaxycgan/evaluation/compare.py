"""The command compare: several evaluations in one table and one page. Measures nothing."""

import tempfile
from pathlib import Path

from galaxycgan.errors import UserError, first_few
from galaxycgan.evaluation.evaluate import METRICS_FILE, SCHEMA, SCHEMA_VERSION
from galaxycgan.evaluation.figures import plots_of_measurements
from galaxycgan.evaluation.metrics import goals
from galaxycgan.evaluation.reports import html_page
from galaxycgan.evaluation.reports.evaluation_report import MARKS
from galaxycgan.evaluation.reports.html_page import embedded
from galaxycgan.evaluation.reports.pictures import GALLERY, GRID
from galaxycgan.files.atomic import read_json
from galaxycgan.resume import refuse_existing

#: Of each run's record, in the plot.
SHOWN = 12
#: Pictures of an evaluation that stand below each other: file, title, what to look for.
PICTURES = (
    (GALLERY, "Real and generated galaxies", "The rows of each run have the same labels."),
    (GRID, "One galaxy over mass and redshift", "Heavier to the right: it must get brighter."),
)


def compare_runs(config, context):
    """Print the metrics of several runs side by side; write a page where one is asked for.

    Parameters
    ----------
    config : galaxycgan.config.Compare
    context : galaxycgan.context.Context
    """
    if len(config.runs) < 1:
        raise UserError("compare: name the runs, such as galaxycgan compare runs/a runs/b")
    paths = [find_metrics(text) for text in config.runs]
    reports = [read_metrics(path) for path in paths]
    names = short_names(config.runs)
    metrics = chosen(reports, config.all)
    for line in table(names, reports, metrics):
        context.say(line)
    judged_on = {report["request"]["store"] for report in reports}
    if len(judged_on) > 1:
        context.say(f"note: judged on {len(judged_on)} different stores: differences may be those of the real galaxies")
    if config.out:
        out = Path(config.out)
        refuse_existing(out, config.overwrite)
        write_page(out, names, reports, metrics, [path.parent for path in paths])
        context.say(f"{out}: written")


def find_metrics(text):
    """Return the metrics.json that is meant by a run directory, an evaluation directory or the file itself."""
    path = Path(text)
    places = [path] if path.is_file() else [path / METRICS_FILE, path / "evaluation" / METRICS_FILE]
    for place in places:
        if place.is_file():
            return place
    raise UserError(f"{text}: no {METRICS_FILE} there; make it with: galaxycgan evaluate --gan {text}")


def read_metrics(path):
    """Read a metrics.json of this schema version."""
    report = read_json(path)
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise UserError(f"{path}: not the metrics of galaxycgan evaluate")
    if report.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema version {report.get('schema_version')}, this galaxycgan reads {SCHEMA_VERSION}:"
            " evaluate again"
        )
    return report


def short_names(texts):
    """Return a name for each run: the last part of its path in which they differ."""
    parts = [
        [part for part in Path(text).parts if part not in ("evaluation", METRICS_FILE)] or [text] for text in texts
    ]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(text) for text in texts]


def chosen(reports, everything):
    """Return the metrics to compare, in the order of the reports: those with a goal, or all."""
    names = dict.fromkeys(name for report in reports for name in report["metrics"])
    return [name for name in names if everything or goals.meaning(name).goal]


def table(names, reports, metrics):
    """Return the lines of a text table: a row for each metric, a column for each run; the best of each is marked."""
    rows = [["", *names]]
    for name in metrics:
        records = [report["metrics"].get(name) for report in reports]
        best = _best(name, records)
        cells = []
        for k, found in enumerate(records):
            value = found["value"] if found else None
            words = "-" if value is None else f"{value:.3f}"
            met = report_word(reports[k], name)
            cells.append(f"{words}{'*' if k == best else ' '} {met}")
        rows.append([name, *cells])
    rows.append(["galaxies", *(f"{report['n']}{'' if report['judged'] else ' (not judged)'}" for report in reports)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(names) + 1)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows] + [
        "* best"
    ]


def report_word(report, name):
    """Return 'met', 'missed' or 'undecided' where a metric has a goal."""
    word = report["goals"].get(name, "")
    return word if word in ("met", "missed", "undecided") else ""


def _best(name, records):
    """Return which run is best in a metric, None where fewer than two have it."""
    known = {k: found["value"] for k, found in enumerate(records) if found and found["value"] is not None}
    if len(known) < 2 or len(set(known.values())) == 1:
        return None
    return min(known, key=lambda k: goals.badness(name, records[k]))


def write_page(out, names, reports, metrics, folders):
    """Write the page: the table, every metric as a point over its floor, and the galaxies, where pictures were made.

    Parameters
    ----------
    out : Path
    names : list of str
    reports : list of dict
    metrics : list of str
    folders : list of Path
        Where each run's pictures are.
    """
    with tempfile.TemporaryDirectory() as directory:
        picture = Path(directory) / "runs.png"
        shown = metrics[:SHOWN]
        values = [[report["metrics"].get(name) for report in reports] for name in shown]
        plots_of_measurements.bars(picture, names, values, [goals.meaning(name).title for name in shown])
        bars = embedded(picture)
    galaxies = [
        {"title": title, "words": words, "found": [
            (name, embedded(folder / file)) for name, folder in zip(names, folders, strict=True)
            if (folder / file).is_file()
        ]}
        for file, title, words in PICTURES
    ]  # fmt: skip
    html_page.write_page(
        out,
        "compare.html",
        title="Runs compared",
        which=first_few(names, 6),
        names=names,
        rows=[_row(reports, name) for name in metrics],
        bars=bars,
        galaxies=galaxies,
    )


def _row(reports, name):
    """Return what the table shows of a metric."""
    about, cells = goals.meaning(name), []
    for report in reports:
        found, word = report["metrics"].get(name), report_word(report, name)
        cells.append({"value": found["value"] if found else None, "word": word, "mark": MARKS.get(word, "")})
    return {"title": about.title, "words": about.words, "cells": cells}
