"""The command ``convert``: survey files become one store. Knows the order of the work, no rules."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.matching import IMAGE_FATES, ROW_FATES, match
from galaxycgan.catalogs.readers import open_images, read_ids
from galaxycgan.catalogs.schema import describe
from galaxycgan.catalogs.store import NO_SPLIT, SPLITS, GalaxyStore, StoreHeader, StoreWriter, split_of
from galaxycgan.catalogs.tables import numbers, parse_columns, read_csv, require, to_qtable
from galaxycgan.errors import UserError, first_few
from galaxycgan.files import sha256_file
from galaxycgan.images.bands import filter_names, parse_bands
from galaxycgan.images.stretch import PixelScheme
from galaxycgan.provenance import tool_stamp

CHUNK_BYTES = 8 << 20
#: Display units of HSC's asinh stretch end near 1; 3 would be AB 8 in one pixel.
ASINH_LIMIT = 3.0
#: So many ids of each kind go into the report.
LISTED_IDS = 1000
SOURCES = ("ids", "images", "table")
#: Options that say where the result goes, not what is in it.
NOT_CONTENT = ("out", "overwrite", *SOURCES)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The options of `config.Convert`, read and checked."""

    bands: tuple
    filters: tuple
    scheme: PixelScheme
    columns: dict
    labels: tuple
    psf_fwhm: tuple
    fractions: tuple

    @classmethod
    def of(cls, config):
        """Read the options; the first that makes no sense is an error that names it."""
        bands = parse_bands(config.bands)
        labels = tuple(filter(None, (name.strip() for name in config.labels.split(","))))
        psf = _floats(config.psf_fwhm, "--psf-fwhm")
        if psf and (len(psf) != len(bands) or min(psf) <= 0):
            raise UserError(
                f"--psf-fwhm {config.psf_fwhm}: {len(bands)} positive numbers are needed, one for each band"
            )
        filters = tuple(name.strip() for name in config.filters.split(",")) if config.filters else filter_names(bands)
        if len(filters) != len(bands) or not all(filters):
            raise UserError(f"--filters {config.filters}: {len(bands)} names are needed, one for each band")
        fractions = _floats(config.split_fractions, "--split-fractions")
        if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
            raise UserError(f"--split-fractions {config.split_fractions}: three shares that add up to 1 are needed")
        if not config.pixel_scale > 0:
            raise UserError(f"--pixel-scale {config.pixel_scale}: must be positive (arcsec per pixel)")
        if not labels:
            raise UserError(
                "--labels is empty: name the columns that must be present and legal, such as photo_z,log_mass"
            )
        scheme = PixelScheme.parse(config.pixels)
        return cls(bands, filters, scheme, parse_columns(config.columns), labels, psf, fractions)

    def header(self, config, created):
        """Return the header of the store that is to be written."""
        return StoreHeader(
            bands=self.bands,
            filters=self.filters,
            created=created,
            pixel_scale_arcsec=config.pixel_scale,
            pixel_unit=self.scheme.unit,
            psf_fwhm_arcsec=self.psf_fwhm,
            stretch=config.pixels,
            mass_convention=config.mass_convention,
            split_salt=config.split_salt,
            split_fractions=self.fractions,
        )


def _floats(text, option):
    try:
        values = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        values = (float("nan"),)
    if not np.all(np.isfinite(values)):
        raise UserError(f"{option} {text}: must be numbers with commas between")
    return values


def convert(config, context):
    """Turn survey files into one store; DESIGN of the matching in `matching.match`.

    Parameters
    ----------
    config : galaxycgan.config.Convert
    context : galaxycgan.context.Context

    Raises
    ------
    UserError
        For input that can't be right; nothing is written then.
    """
    plan = Plan.of(config)
    out = Path(config.out)
    ids = read_ids(config.ids)
    images = open_images(config.images, plan.bands, len(ids), config.ids)
    if plan.scheme.name == "hsc-asinh" and images.dtype.kind != "f":
        raise UserError(f"{config.images}: {images.dtype} pixels can't be hsc-asinh display units; see --pixels")
    frame = read_csv(config.table, plan.columns)
    require(frame, ("HSC_id", *plan.labels), config.table)
    if _already_there(out, config, context):
        return
    matching = match(
        frame,
        ids,
        duplicates=config.duplicates,
        labels=plan.labels,
        drop_illegal=config.bad_rows == "drop",
        path=config.table,
    )
    for name in plan.labels:
        frame[name] = numbers(frame, name, config.table)
    try:
        report = _write(plan, config, context, ids, images, frame, matching, bad=np.zeros(len(ids), bool))
    except _BadPixels as found:
        _refuse_bad_pixels(config, ids, found.bad)
        report = _write(plan, config, context, ids, images, frame, matching, found.bad)
    context.say(report_in_words(report, config))


class _BadPixels(Exception):
    """Images with pixels that are not numbers turned up; `bad` [n] tells which."""

    def __init__(self, bad):
        self.bad = bad


def _refuse_bad_pixels(config, ids, bad):
    if config.bad_pixels != "drop":
        raise UserError(
            f"{config.images}: {bad.sum()} of {len(ids)} images have pixels that are NaN or infinite: HSC_id"
            f" {first_few(np.sort(ids[bad]))}; --bad-pixels drop leaves these images out"
        )
    if bad.all():
        raise UserError(f"{config.images}: every image has pixels that are NaN or infinite")


def _write(plan, config, context, ids, images, frame, matching, bad):
    """Write the store without the images marked in `bad`; return the report."""
    order = np.argsort(ids)
    order = order[~bad[order]]
    stored = ids[order]
    header = plan.header(config, context.created)
    with ThreadPoolExecutor(1) as background, StoreWriter(config.out, n=len(order), header=header) as writer:
        # Sources are hashed beside the conversion, out of the page cache that it fills.
        sources = {name: background.submit(_source, getattr(config, name)) for name in SOURCES}
        _append_images(writer, plan, config, context, ids, images, order, bad)
        catalog = to_qtable(frame.drop(columns=["selected"], errors="ignore"), matching.row[order], plan.bands)
        labelled = matching.row[order] >= 0
        catalog.add_column(labelled, name="labelled")
        catalog["labelled"].info.description = describe("labelled").description
        catalog["HSC_id"] = stored
        split = split_of(stored, config.split_salt, plan.fractions)
        split[~labelled] = NO_SPLIT
        report = make_report(matching, ids, frame, bad, split)
        writer.finish(
            ids=stored,
            catalog=catalog,
            split=split,
            matches=_matches(frame, matching, bad, plan.bands),
            provenance={
                "command": "convert",
                "config": _content(config),
                "sources": {name: future.result() for name, future in sources.items()},
                "columns": plan.columns,
                "pixels": f"{config.pixels} to {plan.scheme.unit}, float32",
                "tool": tool_stamp(),
                "report": report,
            },
        )
    return report


def _append_images(writer, plan, config, context, ids, images, order, bad):
    """Convert and write the images in `order`; raise `_BadPixels` at the end where some aren't finite."""
    row_bytes = images.dtype.itemsize * int(np.prod(images.shape[1:]))
    step = max(1, CHUNK_BYTES // row_bytes)
    found = bad.copy()
    with context.progress("convert", len(order), "images") as progress:
        for start in range(0, len(order), step):
            context.check()
            rows = order[start : start + step]
            with np.errstate(over="ignore", invalid="ignore"):
                pixels = images.rows(rows).astype(np.float32)
                _check_asinh(plan, config, ids[rows], pixels)
                flux = plan.scheme.convert(pixels)
            found[rows] |= ~np.isfinite(flux).all(axis=(1, 2, 3))
            writer.append(flux)
            progress.at(start + len(rows))
    if np.any(found & ~bad):
        raise _BadPixels(found)


def _check_asinh(plan, config, ids, pixels):
    """Refuse numbers that can't be display units: the wrong --pixels would give fluxes beyond any star."""
    if plan.scheme.name == "hsc-asinh":
        size = np.abs(pixels)
        wrong = ((size > ASINH_LIMIT) & np.isfinite(size)).any(axis=(1, 2, 3))
        if wrong.any():
            raise UserError(
                f"{config.images}: pixels as large as {size[wrong][np.isfinite(size[wrong])].max():.4g} (HSC_id"
                f" {first_few(ids[wrong])}) are not hsc-asinh display units, which lie near 0 to 1; see --pixels"
            )


def _source(path):
    return {"file": Path(path).name, "bytes": Path(path).stat().st_size, "sha256": sha256_file(path)}


def _content(config):
    """Return the options that decide what is in the store."""
    return {key: value for key, value in dataclasses.asdict(config).items() if key not in NOT_CONTENT}


def _matches(frame, matching, bad, bands):
    """Return every row of the table that points at a stored image, by HSC_id, with `kept`."""
    stored = (matching.image >= 0) & ~bad[matching.image]
    rows = np.flatnonzero(stored)
    rows = rows[np.argsort(frame["HSC_id"].to_numpy()[rows], kind="stable")]
    table = to_qtable(frame, rows, bands)
    table["kept"] = matching.row_fate[rows] == ROW_FATES.index("kept")
    table["kept"].info.description = describe("kept").description
    return table


def _already_there(out, config, context):
    """Tell whether `out` is this command's finished result; refuse another file in its place."""
    for name in SOURCES:
        if out.exists() and out.samefile(getattr(config, name)):
            raise UserError(f"{out}: --out is the input file of --{name}")
    if out.is_dir():
        raise UserError(f"{out}: a directory; --out takes a file name")
    if config.overwrite or not out.exists():
        return False
    hint = "give another --out, or --overwrite"
    try:
        made = GalaxyStore(out).provenance
    except UserError as error:
        raise UserError(f"{error}; {hint}") from None
    # Through JSON, as the store's copy went: tuples are lists there.
    if made.get("config") != json.loads(json.dumps(_content(config))):
        raise UserError(f"{out}: is there already and was made with other options; {hint}")
    for name in SOURCES:
        if made["sources"][name]["sha256"] != sha256_file(getattr(config, name)):
            raise UserError(f"{out}: is there already and was made from another {getattr(config, name)}; {hint}")
    context.say(f"{out}: done already, from the same files with the same options")
    return True


def make_report(matching, ids, frame, bad, split):
    """Count where rows and images went.

    Returns
    -------
    dict
        JSON values; the first `LISTED_IDS` ids of images without labels or left out are listed.
    """
    left_out = (matching.image >= 0) & bad[matching.image]
    rows = {fate: int(np.sum((matching.row_fate == k) & ~left_out)) for k, fate in enumerate(ROW_FATES)}
    rows["image left out"] = int(left_out.sum())
    images = {fate: int(np.sum((matching.image_fate == k) & ~bad)) for k, fate in enumerate(IMAGE_FATES)}
    images["bad pixels"] = int(bad.sum())
    lists = {fate: ids[(matching.image_fate == k) & ~bad] for k, fate in enumerate(IMAGE_FATES) if fate != "labelled"}
    lists["bad pixels"] = ids[bad]
    return {
        "images": {"in file": len(ids), "stored": int(np.sum(~bad)), **images},
        "rows": {"in table": len(frame), **rows},
        "images with several selected rows": matching.ambiguous,
        "splits": {name: int(np.sum(split == value)) for name, value in SPLITS.items()},
        "HSC_ids": {fate: np.sort(values)[:LISTED_IDS].tolist() for fate, values in lists.items() if len(values)},
    }


def report_in_words(report, config):
    """Say where rows and images went and why."""
    images, rows = report["images"], report["rows"]
    lines = [
        f"{config.out}: {images['stored']:,} galaxies",
        f"images: {images['in file']:,} in {config.images}",
        f"  {images['labelled']:,} have labels ({config.labels})",
        f"  {images['no row']:,} have no row in the table: stored without labels, in no split",
        f"  {images['only unselected rows']:,} have only rows with selected=False: stored without labels, in no split",
    ]
    if images["illegal labels"]:
        lines.append(f"  {images['illegal labels']:,} have illegal labels (--bad-rows drop): stored without labels")
    if images["bad pixels"]:
        lines.append(f"  {images['bad pixels']:,} have NaN or infinite pixels (--bad-pixels drop): left out")
    lines += [
        f"rows: {rows['in table']:,} in {config.table}",
        f"  {rows['kept']:,} give an image its labels",
        f"  {rows['another match']:,} are further matches of such an image (rule: {config.duplicates};"
        f" {report['images with several selected rows']:,} images had several): kept in matches",
        f"  {rows['not selected']:,} belong to an image and have selected=False: kept in matches",
        f"  {rows['no image']:,} have no image: left out",
    ]
    if rows["illegal labels"]:
        lines.append(f"  {rows['illegal labels']:,} have illegal labels (--bad-rows drop): kept in matches")
    if rows["image left out"]:
        lines.append(f"  {rows['image left out']:,} belong to an image that was left out")
    lines += [f"  HSC_id {first_few(ids)}: {fate}" for fate, ids in report["HSC_ids"].items()]
    lines.append("splits: " + ", ".join(f"{name} {count:,}" for name, count in report["splits"].items()))
    return "\n".join(lines)
