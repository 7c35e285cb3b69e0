"""What became of every row and every image of a conversion, as JSON and in words."""

import numpy as np

from galaxycgan.catalogs.convert.flux_check import flux_words
from galaxycgan.catalogs.convert.matching import IMAGE_FATES, ROW_FATES
from galaxycgan.catalogs.store.splits import split_lines
from galaxycgan.errors import first_few

#: So many ids of each kind go into the report.
LISTED_IDS = 1000


def make_report(matching, ids, n_rows, bad, incomplete):
    """Count where rows and images went.

    Parameters
    ----------
    matching : Matching
    ids : int64 array [n]
    n_rows : int
        Length of the table.
    bad, incomplete : bool array [n]
        Images that are left out, and those among them that lack a band.

    Returns
    -------
    dict
        JSON values; the first `LISTED_IDS` ids of images without labels or left out are listed.
    """
    left_out = (matching.image >= 0) & bad[matching.image]
    rows = {fate: int(np.sum((matching.row_fate == k) & ~left_out)) for k, fate in enumerate(ROW_FATES)}
    rows["image left out"] = int(left_out.sum())
    of_images = {fate: (matching.image_fate == k) & ~bad for k, fate in enumerate(IMAGE_FATES)}
    of_images |= {"bad pixels": bad & ~incomplete, "lacks a band": bad & incomplete}
    lists = {fate: ids[which] for fate, which in of_images.items() if fate != "labelled"}
    counts = {fate: int(which.sum()) for fate, which in of_images.items()}
    return {
        "images": {"in file": len(ids), "stored": int(np.sum(~bad)), **counts},
        "rows": {"in table": n_rows, **rows},
        "images with several selected rows": matching.ambiguous,
        "HSC_ids": {fate: np.sort(values)[:LISTED_IDS].tolist() for fate, values in lists.items() if len(values)},
    }


def sep_report(sep):
    """Return median, 95% quantile and largest of the distances of kept matches in arcsec, or None."""
    good = sep[np.isfinite(sep)]
    return [float(value) for value in np.quantile(good, (0.5, 0.95, 1.0))] if len(good) else None


def in_words(report, config, names):
    """Say where rows and images went and why.

    Parameters
    ----------
    report : dict
        Of `make_report`, with 'splits', 'sep_arcsec', 'notes' and 'fluxes'.
    config : galaxycgan.config.Convert
    names : dict
        Names of the files by option.

    Returns
    -------
    str
        Several lines.
    """
    images, rows = report["images"], report["rows"]
    by = f"position, within {config.match_radius:g} arcsec" if config.match_radius else "HSC_id"
    lines = [f"images: {images['in file']:,} in {names['images']}"]
    lines += _counts(
        images,
        {
            "labelled": f"have labels ({config.labels})",
            "no row": "have no row in the table: stored without labels, in no split",
            "only unselected rows": "have only rows with selected=False: stored without labels, in no split",
            "illegal labels": "have illegal labels (--bad-rows drop): stored without labels, in no split",
            "bad pixels": "have NaN or infinite pixels (--bad-pixels drop): left out",
            "lacks a band": "lack a band (--bad-pixels drop): left out",
        },
        always=3,
    )
    lines.append(f"rows: {rows['in table']:,} in {names['table']}, matched by {by}")
    several = report["images with several selected rows"]
    lines += _counts(
        rows,
        {
            "kept": "give an image its labels",
            "another match": f"are further matches of such an image (rule: {config.duplicates}; {several:,} images had"
            " several): kept in matches",
            "not selected": "belong to an image and have selected=False: kept in matches",
            "no image": "have no image: left out",
            "no position": "have no position: left out",
            "illegal labels": "have illegal labels (--bad-rows drop): kept in matches",
            "image left out": "belong to an image that was left out",
        },
        always=4,
    )
    if report["sep_arcsec"]:
        middle, far, largest = report["sep_arcsec"]
        lines.append(f"  kept matches lie {middle:.3g} arcsec away (median), 95% within {far:.3g}, all {largest:.3g}")
    lines += [f"  HSC_id {first_few(ids)}: {fate}" for fate, ids in report["HSC_ids"].items()]
    lines += ["splits (p: chance of such a difference from train, Kolmogorov-Smirnov):", *split_lines(report["splits"])]
    lines += [f"note: {note}" for note in report["notes"]]
    lines += flux_words(report["fluxes"])
    return "\n".join(lines)


def _counts(counts, texts, always):
    """Return a line for each count; of those after the first `always`, only where there are any."""
    return [f"  {counts[fate]:,} {text}" for k, (fate, text) in enumerate(texts.items()) if counts[fate] or k < always]
