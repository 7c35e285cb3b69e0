"""The report as one HTML page that needs nothing else: pictures inside, no script, no network."""

import base64
import html
import json
import math

from galaxycgan.evaluation.metrics import goals
from galaxycgan.files.atomic import write_text

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

CSS = """
:root { --ink: #1b1b1b; --soft: #5a5a5a; --line: #d9d9d9; --good: #006b4f; --bad: #b34700; --back: #fff; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 1rem; color: var(--ink); background: var(--back);
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
p, figcaption { max-width: 46rem; } .soft, figcaption, small { color: var(--soft); } small { font-size: .85rem; }
nav a { display: inline-block; margin-right: 1rem; } a { color: #00548a; }
figure { margin: 0 0 1rem; } img { display: block; max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; color: var(--soft); }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); }
th small { font-weight: 400; } td.word { white-space: nowrap; }
td.number, th.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
.met, .at { color: var(--good); font-weight: 600; } .missed, .off { color: var(--bad); font-weight: 600; }
.badge { display: inline-block; padding: .1rem .6rem; border: 1px solid var(--line); border-radius: 1rem;
  margin-right: .5rem; }
code, pre { font: .85rem/1.4 "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
@media (max-width: 640px) {
  .wide img { min-width: 620px; }
  .wide::before { content: "swipe to see all of it →"; color: var(--soft); font-size: .8rem; }
  table.cards thead { position: absolute; left: -9999px; width: 1px; overflow: hidden; }
  table.cards tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 .8rem; border-bottom: 1px solid var(--line);
    padding: .5rem 0; }
  table.cards td, table.cards th { border: 0; padding: .1rem 0; white-space: normal; }
  table.cards th { grid-column: 1 / -1; }
  table.cards td::before { content: attr(data-label) " "; color: var(--soft); font-size: .8rem; }
}
@media print {
  body { max-width: none; font-size: 10pt; padding: 0; } nav { display: none; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
}
@page { margin: 15mm; }
"""


def write(path, report, pictures):
    """Write the report of an evaluation.

    Parameters
    ----------
    path : Path
        HTML file; the pictures lie beside it.
    report : dict
        What metrics.json holds.
    pictures : list of galaxycgan.evaluation.pictures.Picture
    """
    figures = [_figure(path.parent, picture) for picture in pictures]
    sections = [_heading(report), _goals(report), *figures, _all_numbers(report), _failures(report), _made(report)]
    write_text(path, document(_title(report), sections))


def document(title, sections):
    """Return a whole page.

    Parameters
    ----------
    title : str
    sections : list of str
        HTML.
    """
    body = "\n".join(sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _title(report):
    return f"Generated galaxies of {report['synthetic'] or report['gan']} beside real ones"


def _heading(report):
    """What was compared and how it went, in three lines."""
    words = list(report["goals"].values())
    met, missed, open_ = (words.count(word) for word in ("met", "missed", "undecided"))
    open_ = f'<span class="badge">? {open_} undecided with so few galaxies</span>' if open_ else ""
    judged = "" if report["judged"] else (
        "<p><strong>Fewer than 1,000 galaxies of a kind: the numbers are reported, not judged.</strong></p>"
    )  # fmt: skip
    remark = f"<p>{html.escape(report['remark'])}.</p>" if report["remark"] else ""
    return (
        f"<header><h1>{html.escape(_title(report))}</h1>"
        f"<p>{report['n_synthetic']:,} generated galaxies against {report['n']:,} real ones of "
        f"{html.escape(report['real'])} that the generator never saw, in {', '.join(report['bands'])}; labels "
        f"{html.escape(', '.join(report['columns']))}. {report['created']}</p>"
        f'<p><span class="badge met">✓ {met} {"goals met" if report["judged"] else "within goals"}</span>'
        f'<span class="badge missed">✗ {missed} {"missed" if report["judged"] else "beyond"}</span>{open_}</p>'
        f"{judged}{remark}"
        '<nav><a href="#goals">Goals</a><a href="#real_and_generated">Galaxies</a>'
        '<a href="#distributions">Distributions</a><a href="#relations">Counts and relations</a>'
        '<a href="#numbers">All numbers</a><a href="#made">How made</a></nav>'
        "</header>"
    )


def _goals(report):
    """The table of goals."""
    names = [name for first in FIRST for name in report["metrics"] if name.startswith(first)]
    return (
        '<section id="goals"><h2>Goals met and missed</h2>'
        "<p>Every number stands beside its <em>floor</em>: the same number between two sets of real galaxies of that"
        " size. A generator can't be nearer to real galaxies than these are to each other. W1 is the Wasserstein"
        " distance of two distributions, σ the standard deviation of the real one. Goals are those of a"
        " training of 40 CPU minutes on 1,866 galaxies.</p>"
        f"{metric_table(report, dict.fromkeys(names))}</section>"
    )


def metric_table(report, names):
    """Return a table of metrics with value, floor, goal and verdict."""
    rows = []
    for name in names:
        found, about = report["metrics"][name], goals.meaning(name)
        word = report["goals"].get(name, "")
        rows.append(
            f'<tr><th scope="row">{html.escape(about.title)}<br><small>{html.escape(about.words)}</small></th>'
            f'<td class="number" data-label="value">{number(found["value"])}{_interval(found["interval"])}</td>'
            f'<td class="number" data-label="floor">{number(found["floor"])}{_interval(found["floor_interval"])}</td>'
            f'<td class="number" data-label="goal">{_goal(about.goal)}</td>'
            f'<td class="word {word.split()[0] if word else ""}" data-label="">{MARKS.get(word, "")}</td></tr>'
        )
    head = "".join(
        f'<th scope="col"{css}>{text}</th>'
        for text, css in (
            ("what", ""), ("value (68% interval)", ' class="number"'), ("real-real floor", ' class="number"'),
            ("goal", ' class="number"'), ("", ""),
        )
    )  # fmt: skip
    return f'<table class="cards"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def number(value):
    """Return a number as text, a dash where it is unknown."""
    if value is None or value != value:
        return "–"
    return f"{value:z.3f}".replace("-", "−")  # z: never minus zero


def _interval(interval):
    if not interval or any(edge is None or edge != edge for edge in interval):
        return ""
    return f" <small>({number(interval[0])} to {number(interval[1])})</small>"


def _goal(goal):
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


def _figure(directory, picture):
    """A picture with title and caption, its bytes inside the page."""
    data = embedded(directory / picture.file)
    name = picture.file.rsplit(".", 1)[0]
    css = ' class="wide"' if picture.wide else ""
    title, caption = html.escape(picture.title), html.escape(picture.caption)
    return (
        f'<section id="{name}"><h2>{title}</h2><figure><figcaption>{caption}</figcaption>'
        f'<div{css}><img src="{data}" alt="{title}"></div></figure></section>'
    )


def embedded(path):
    """Return a PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _all_numbers(report):
    """The metrics that are not in the first table, and what was left out."""
    rest = [name for name in report["metrics"] if not name.startswith(FIRST)]
    left = "".join(
        f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in sorted(report["left_out"].items())
    )
    left = f"<h3>Left out</h3><ul>{left}</ul>" if left else ""
    return f'<section id="numbers"><h2>All other numbers</h2>{metric_table(report, rest)}{left}</section>'


def _failures(report):
    """What could not be measured."""
    if not report["morphology"]:
        return ""
    kinds = sorted({kind for counts in report["morphology"].values() for kind in counts})
    head = "".join(f'<th scope="col" class="number">{html.escape(kind)}</th>' for kind in kinds)
    rows = "".join(
        f'<tr><th scope="row">{SETS[name]}</th>'
        + "".join(f'<td class="number" data-label="{kind}">{counts.get(kind, 0):,}</td>' for kind in kinds)
        + "</tr>"
        for name, counts in report["morphology"].items()
    )
    return (
        '<section id="failures"><h2>Measurements that failed</h2><p>Gini, M20, asymmetry and smoothness (statmorph) of '
        "each galaxy. Only good and suspect ones are compared; sets that fail unequally often are unlike.</p>"
        f'<table class="cards"><thead><tr><th scope="col">set</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _made(report):
    """What the report was made by and of."""
    told = {name: report[name] for name in ("tool", "created", "request", "real", "synthetic", "gan", "seconds")}
    text = html.escape(json.dumps(told, indent=1, sort_keys=True))
    return f'<section id="made"><h2>How it was made</h2><pre>{text}</pre></section>'
