"""One look for every plot: colours for all kinds of colour vision, fonts, axis labels with units."""

import contextlib
import contextvars

from galaxycgan.files.atomic import atomic_path

#: Okabe & Ito (2008): black-grey for real, vermilion for generated, blue for the second real set.
REAL, SYNTHETIC, OTHER = "#333333", "#d55e00", "#0072b2"
#: For more than three lines.
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442", "#000000")
WIDTH_INCH = 10.0
DPI = 130

LABELS = {
    "photo_z": "redshift",
    "log_mass": "log10 stellar mass [M$_\\odot$]",
    "log r50": "log10 half-light radius [arcsec]",
    "r80/r50": "concentration r80/r50",
    "ellipticity": "ellipticity (1 − q²)/(1 + q²)",
    "Gini": "Gini",
    "M20": "M20",
    "asymmetry": "asymmetry A",
    "smoothness": "smoothness S",
}
#: Names where there is little room.
SHORT = {"photo_z": "z", "log_mass": "log M*"}


#: Unit of the pixels of what is drawn.
_unit = contextvars.ContextVar("unit", default="nJy")


@contextlib.contextmanager
def pixels_in(unit):
    """Name this unit on all axes that are drawn within."""
    token = _unit.set(unit)
    try:
        yield
    finally:
        _unit.reset(token)


def axis_label(name):
    """Return the text of an axis, with its unit; magnitudes and colours are in AB, of raw pixels instrumental."""
    unit = _unit.get()
    own = {"noise": f"log10 sky noise [{unit} per px]", "power": f"log10 power [{unit}$^2$]"}
    magnitude = f"{name} [{'AB' if unit == 'nJy' else 'instrumental'} mag]"
    return (LABELS | own).get(name, magnitude if name.replace("-", "").isalnum() and len(name) <= 5 else name)


def style():
    """Return pyplot on a backend without a screen, in the house style."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.dpi": DPI, "figure.constrained_layout.use": False, "font.size": 9, "font.family": "DejaVu Sans",
            "axes.grid": True, "grid.alpha": 0.25, "grid.linewidth": 0.6, "axes.titlesize": 9, "axes.labelsize": 9,
            "axes.spines.top": False, "axes.spines.right": False, "axes.prop_cycle": plt.cycler(color=SERIES),
            "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.5,
        }
    )  # fmt: skip
    return plt


def save_figure(figure, path):
    """Write a figure as PNG, atomically and without a date."""
    import matplotlib.pyplot as plt

    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
