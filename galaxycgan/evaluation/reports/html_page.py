"""Write HTML pages from the templates beside this module: everything inside, every value escaped."""

import base64
import functools
import json
from pathlib import Path

from galaxycgan.files.atomic import write_text

TEMPLATES = Path(__file__).parent / "templates"


def write_page(path, template, **values):
    """Write a page.

    Parameters
    ----------
    path : Path
        HTML file.
    template : str
        File name among the templates.
    **values
        What the template shows; text is escaped.
    """
    write_text(path, _environment().get_template(template).render(values))


@functools.cache
def _environment():
    # Not at the top: commands that write no page start without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"number": number, "limits": limits}
    return made


def number(value):
    """Return a number as text, a dash where it is unknown."""
    if value is None or value != value:
        return "–"
    return f"{value:z.3f}".replace("-", "−")  # z: never minus zero


def limits(interval):
    """Return an interval [low, high] as text."""
    return " to ".join(number(edge) for edge in interval)


def as_json(facts):
    """Return JSON values as indented text."""
    return json.dumps(facts, indent=1, sort_keys=True)


def embedded(path):
    """Return a PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
