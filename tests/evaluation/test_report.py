"""The report is one page that a browser shows whole: on a phone, on a desk, on paper, without network and script."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from galaxycgan.evaluation.compare import write_page as write_compared
from galaxycgan.evaluation.figures.galaxy_pictures import colour, gallery
from galaxycgan.evaluation.reports import classifier_report, html_page
from galaxycgan.evaluation.reports import evaluation_report as page
from galaxycgan.evaluation.reports.pictures import Picture
from galaxycgan.evaluation.reports.study_report import write_report as write_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium")
#: Asks the page in a frame of the given width what a reader would see.
PROBE = """<!DOCTYPE html><title>probe</title>
<iframe src="report.html" style="width:{width}px;height:900px;border:0"></iframe>
<pre id="probe"></pre><script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument, images = [...page.images];
  document.getElementById("probe").textContent = JSON.stringify({{
    images: images.length, loaded: images.filter(image => image.naturalWidth > 0).length,
    named: images.filter(image => image.alt).length,
    overflow: page.documentElement.scrollWidth - frame.clientWidth,
    text: page.body.innerText.length, small: [...page.querySelectorAll("td, th, p, figcaption")].filter(
      each => parseFloat(getComputedStyle(each).fontSize) < 12).length,
  }});
}};
</script>"""


def record(value, floor=0.03):
    return {
        "value": value, "interval": [value - 0.01, value + 0.01], "floor": floor,
        "floor_interval": [floor - 0.005, floor + 0.005], "floor_scatter": 0.005,
    }  # fmt: skip


def example():
    """What metrics.json might hold."""
    found = {
        name: record(0.07) for name in ("w1.mean", "w1.worst", "w1_conditional", "w1.log r50", "offset.i", "power.mean")
    }
    found |= {"label_rmse.photo_z": record(1.3, 1.0), "two_sample_accuracy": record(0.6, 0.5)}
    return {
        "synthetic": None, "gan": "runs/<b>train_gan</b>", "real": "catalogs/survey.h5", "n": 356, "n_synthetic": 356,
        "n_floor": 356, "remark": "356 compared, not 500", "judged": False,
        "bands": ["g", "r", "i"], "columns": ["photo_z", "log_mass"], "created": "2026-01-02T03:04:05Z",
        "metrics": found, "left_out": {"memorisation": "unknown training set"},
        "goals": {"w1.mean": "met", "label_rmse.photo_z": "missed", "two_sample_accuracy": "off the floor"},
        "morphology": {"real": {"good": 350, "bad": 6}, "synthetic": {"good": 356}, "other": {"good": 355, "bad": 1}},
        "tool": {"galaxycgan": "0"}, "request": {"n": 2000}, "seconds": {"photometry": 1.0},
    }  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Path of a small report."""
    directory = tmp_path_factory.mktemp("report")
    images = np.random.default_rng(0).normal(0, 1, (4, 3, 20, 20))
    gallery(directory / "real_and_generated.png", [colour(images, np.ones(3))] * 2, ["real", "generated"])
    picture = Picture("real_and_generated.png", "Real & generated", "Top: real <ones>.", wide=True)
    page.write(directory / "report.html", example(), [picture])
    return directory / "report.html"


def test_the_page_needs_nothing_else(report):
    text = report.read_text()
    assert not re.search(r"<script|https?://|src=\"(?!data:)|href=\"(?!#|data:)|@import|url\(", text)
    assert len(re.findall(r'<img src="data:image/png;base64,[\w+/=]+" alt="[^"]+">', text)) == 1


def test_what_users_named_is_text_and_not_markup(report):
    text = report.read_text()
    assert "<b>train_gan" not in text and "runs/&lt;b&gt;train_gan" in text and "real &lt;ones&gt;" in text


def test_every_number_has_its_words_and_its_verdict_is_not_told_by_colour_alone(report):
    text = report.read_text()
    for words in (
        "✓ met",
        "✗ missed",
        "off the floor",
        "Smaller is better",
        "reported, not judged",
        "unknown training set",
        "356 compared, not 500.",
    ):
        assert words in text


def test_a_number_that_rounds_to_zero_has_no_sign_and_an_open_goal_has_one_edge():
    assert (html_page.number(-0.0004), html_page.number(-0.25), html_page.number(None)) == ("0.000", "−0.250", "–")
    assert page.goal_words((0.99, np.inf)) == "≥ 0.99"


def chromium(directory, *words):
    """Run Chromium without a screen; return its output and its complaints."""
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               "--allow-file-access-from-files", f"--user-data-dir={directory / 'profile'}", "--enable-logging=stderr",
               "--virtual-time-budget=10000", *words]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_whole(width, report, tmp_path):
    shutil.copy(report, tmp_path / "report.html")
    (tmp_path / "probe.html").write_text(PROBE.format(width=width))
    done = chromium(tmp_path, "--window-size=1400,1000", "--dump-dom", f"file://{tmp_path}/probe.html")
    seen = json.loads(re.search(r'<pre id="probe">(\{.+?\})</pre>', done.stdout)[1])
    assert seen["images"] == seen["loaded"] == seen["named"] == 1
    assert seen["overflow"] <= 0 and seen["text"] > 500 and seen["small"] == 0
    assert "CONSOLE" not in done.stderr


@needs_chromium
def test_it_prints_to_pdf(report, tmp_path):
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path}/report.pdf", f"file://{report}")
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2


NASTY = """<script>alert("&'")</script>"""


def escaped(path):
    """Check that what a user named stands on the page as text, and nowhere as markup."""
    text = path.read_text()
    assert "<script" not in text and "&lt;script&gt;alert(&#34;&amp;&#39;&#34;)&lt;/script&gt;" in text
    return text


def test_names_that_are_markup_stand_escaped_on_the_page_of_an_evaluation(tmp_path):
    found = example() | {"gan": NASTY, "real": NASTY, "remark": NASTY, "columns": [NASTY], "left_out": {NASTY: NASTY}}
    page.write(tmp_path / "report.html", found | {"morphology": {"real": {NASTY: 3}}}, [])
    assert escaped(tmp_path / "report.html").count("&lt;script&gt;") > 6


def test_names_that_are_markup_stand_escaped_on_the_page_that_compares_runs(tmp_path):
    write_compared(tmp_path / "c.html", [NASTY, "b"], [example(), example()], ["w1.mean"], [tmp_path, tmp_path])
    escaped(tmp_path / "c.html")


def test_names_that_are_markup_stand_escaped_on_the_page_of_a_study(tmp_path):
    arm = {"fraction": 0.1, "arm": NASTY, "roc_auc": 0.8, "interval": [0.7, 0.9], "scatter": 0.01}
    gain = {"difference": 0.1, "difference_interval": [0.05, 0.15], "verdict": "gain"}
    write_study(tmp_path, {
        "target": NASTY, "test": NASTY, "store": NASTY, "n_test": 9, "n_wanted": 3, "seeds": [0], "created": "",
        "request": {"synthetic_share": 0.0}, "goals": {NASTY: "met"}, "baseline": NASTY, "arms": [arm, arm | gain],
        "pooled": None, "synthetic_alone": {"ratio": 0.9, "interval": [0.8, 1.0]}, "tool": NASTY,
    })  # fmt: skip
    assert "0.800 to 1.000" in escaped(tmp_path / "report.html")


def test_names_that_are_markup_stand_escaped_on_the_page_of_a_classifier(tmp_path):
    classifier_report.write_report(tmp_path, *classifier_example(NASTY), {"validation": None}, np.ones(3))
    assert "None." in escaped(tmp_path / "report.html")


def classifier_example(target):
    """What metrics.json might hold of a classifier without mistakes, and its probabilities."""
    scores = dict.fromkeys(classifier_report.ROWS, 0.5) | {"n": 9, "n_wanted": 3, "log_loss_prior": 0.6}
    scores |= {"intervals": {key: [0.4, 0.6] for key in classifier_report.ROWS}, "threshold": 0.5}
    metrics = {
        "target": target, "preset": NASTY, "store": NASTY, "test_store": NASTY, "tool": "", "created": "", "epochs": 2,
        "best_epoch": 1, "request": {"augment": NASTY, "synthetic_share": 0.0}, "galaxies": {"training": 9},
        "synthetic_per_epoch": 0, "calibration": {"threshold": 0.5, "rule": NASTY, "temperature": 1.0}, "learning": [],
        "validation": scores,
    }  # fmt: skip
    results = {"validation": (np.arange(4), np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))}
    return metrics, results


class StoreWithMarkup:
    """A store whose id column, a column that the target names, and that column's text are markup."""

    id_column, columns = f"id {NASTY}", [NASTY]

    def rows_of(self, ids):
        return ids

    def column(self, name):
        return np.array([f"cell {NASTY}"] * 4)

    def images(self, rows):
        return np.zeros((len(rows), 3, 20, 20))


def test_names_and_values_of_a_store_stand_escaped_in_the_table_of_mistakes(tmp_path):
    metrics, results = classifier_example(f"a{NASTY}b")
    results["validation"][2][0] = 0.95  # no target, classified as one
    classifier_report.write_report(tmp_path, metrics, results, {"validation": StoreWithMarkup()}, np.ones(3))
    text = escaped(tmp_path / "report.html")
    markup = "&lt;script&gt;alert(&#34;&amp;&#39;&#34;)&lt;/script&gt;"
    for words in (f">id {markup}</th>", f">{markup}</th>", f">cell {markup}</td>"):
        assert words in text
