"""The command ``info``: what is in a store, on a page of text. Judges nothing."""

import numpy as np

from galaxycgan.catalogs.convert.flux_check import flux_words
from galaxycgan.catalogs.schema.columns import MISSING_INT
from galaxycgan.catalogs.store.splits import split_lines
from galaxycgan.catalogs.store.store import NO_SPLIT, SPLITS, GalaxyStore, find_store


def info(config, context):
    """Print what is in each store.

    Parameters
    ----------
    config : galaxycgan.config.Info
    context : galaxycgan.context.Context
    """
    for path in config.files or [find_store()]:
        context.say(summary(GalaxyStore(path)))


def summary(store):
    """Describe a store in a page of text: images, splits, columns with units and ranges, provenance."""
    made = store.provenance
    kind = "synthetic" if store.synthetic else "real"
    bands = ", ".join(f"{band} ({name})" for band, name in zip(store.bands, store.filters, strict=True))
    psf = ", ".join("unknown" if np.isnan(value) else f"{value:g}" for value in store.psf_fwhm)
    counts = [f"{name} {np.sum(store.split == value):,}" for name, value in SPLITS.items()]
    counts.append(f"none {np.sum(store.split == NO_SPLIT):,}")
    noiseless = ", with noiseless images" if store.has_noiseless else ""
    lines = [
        f"{store.path}: {store.n:,} {kind} galaxies{noiseless}",
        f"  images   {_image_text(store)}",
        f"  bands    {bands}; PSF FWHM in arcsec: {psf}",
        f"  splits   {', '.join(counts)}",
        f"  made     {store.created} by galaxycgan {store.header.tool_version}, git {made.get('tool', {}).get('git')}",
        f"  content  {store.fingerprint}",
    ]
    if store.header.mass_convention:
        lines.append(f"  masses   {store.header.mass_convention}")
    if store.matches is not None:
        lines.append(f"  matches  {len(store.matches):,} rows of the survey table")
    lines += [_source_line(one) for one in made.get("sources", {}).values()]
    report = made.get("report") or {}
    if fluxes := report.get("fluxes"):
        lines += [f"  {line}" for line in flux_words(fluxes)]
    return "\n".join([*lines, *split_lines(report.get("splits")), *_column_lines(store)])


def _image_text(store):
    """Say how large the images are, or that there are none."""
    if not store.size:
        return "none, the table alone"
    return f"{store.size}x{store.size} pixels of {store.pixel_scale:g} arcsec, {store.pixel_unit}"


def _source_line(source):
    """Say what a store was made from: a file, or another store."""
    if "fingerprint" in source:
        return f"  source   {source['file']}, store of {source['n']:,}, content {source['fingerprint']}"
    return f"  source   {source['file']} sha256 {source['sha256']}"


def _column_lines(store):
    """Return one line for each column: name, unit, smallest, median and largest value, number of missing ones."""
    wide = max(16, *(len(name) + 1 for name in store.columns))
    lines = [f"  {'column':<{wide}}{'unit':<14}{'min':>20}{'median':>20}{'max':>20}{'missing':>9}"]
    for name in store.columns:
        values = store.column(name)
        unit = getattr(store.table[name], "unit", None)
        if values.dtype.kind == "b":
            numbers = f"{values.sum():>20,} true of {len(values):,}"
            missing = np.sum(getattr(store.table[name], "mask", False))
            lines.append(f"  {name:<{wide}}{'flag':<14}{numbers:<60}{missing:>9,}")
            continue
        if values.dtype.kind == "U":
            lines.append(f"  {name:<{wide}}{'text':<14}{len(np.unique(values)):>20,} different")
            continue
        good = values[np.isfinite(values) if values.dtype.kind == "f" else values != MISSING_INT]
        style = ".6g" if values.dtype.kind == "f" else "d"
        # Integers have the lower median: a mean of two ids is no id.
        middle = np.sort(good)[(len(good) - 1) // 2] if len(good) else None
        three = (good.min(), middle, good.max()) if len(good) else ()
        numbers = "".join(f"{format(value, style):>20}" for value in three) or f"{'':>60}"
        lines.append(f"  {name:<{wide}}{unit or '':<14}{numbers}{len(values) - len(good):>9,}")
    return lines
