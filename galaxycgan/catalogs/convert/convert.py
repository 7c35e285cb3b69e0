"""The command ``convert``: survey files become one store; here is the order of the work."""

import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from galaxycgan.catalogs.convert.choices import ConvertChoices, check_options
from galaxycgan.catalogs.convert.flux_check import FluxSample, check_fluxes
from galaxycgan.catalogs.convert.matching import ROW_FATES, match, nearest_image, with_match
from galaxycgan.catalogs.convert.report import in_words, make_report, sep_report
from galaxycgan.catalogs.inputs.cutouts import Cutouts
from galaxycgan.catalogs.inputs.objects import Objects, find_objects
from galaxycgan.catalogs.inputs.open_cutouts import open_source
from galaxycgan.catalogs.inputs.survey_table import KEYS, SurveyTable
from galaxycgan.catalogs.schema.columns import describe_column, free_name
from galaxycgan.catalogs.store.splits import split_report
from galaxycgan.catalogs.store.store import NO_SPLIT, GalaxyStore, split_of
from galaxycgan.catalogs.store.table_width import check_width
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.atomic import file_record
from galaxycgan.files.streaming import BLOCK_BYTES
from galaxycgan.provenance import tool_stamp
from galaxycgan.resume import Decision, Found, check_output_file, existing_result

#: Display units of HSC's asinh stretch end near 1; 3 would be AB 8 in one pixel.
DEFAULT_TABLE = "data/2018_02_23-all_objects.csv"
#: Options that say where things are, not what is in the result.
NOT_CONTENT = ("out", "overwrite", "ids", "images", "table")


def convert(config, context):
    """Turn survey files into one store; the rules of the matching are `matching.match`'s.

    Parameters
    ----------
    config : galaxycgan.config.Convert
    context : galaxycgan.context.Context

    Raises
    ------
    UserError
        For input that can't be right; nothing is written then.
    """
    check_options(config)
    out = Path(config.out)
    inputs = Inputs.read(config, context)
    if _existing(out, config, inputs, context) is Decision.MADE:
        return
    inputs, matching = _match(config, inputs)
    bad = inputs.images.incomplete
    try:
        report = _write(config, context, inputs, matching, bad)
    except _BadPixels as found:
        _refuse_bad_pixels(config, inputs.objects.ids, found.bad, inputs.images.incomplete)
        report = _write(config, context, inputs, matching, found.bad)
    # What came of it comes last: it is what `status` shows of a finished job.
    context.say(f"{report['text']}\n{out}: {report['images']['stored']:,} galaxies")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a conversion reads.

    Attributes
    ----------
    plan : ConvertChoices
    images : Cutouts
    objects : Objects
    table : SurveyTable
    """

    plan: ConvertChoices
    images: Cutouts
    objects: Objects
    table: SurveyTable

    @classmethod
    def read(cls, config, context):
        """Open the images, and read ids and table."""
        source = open_source(
            config.images, calibrate=not config.pixels, scratch=Path(config.out).parent, context=context
        )
        plan = ConvertChoices.of(config, source)
        plan.scheme.check_type(source.dtype, config.images)
        objects = find_objects(config, source, plan.columns)
        path = config.table or (config.images if source.metadata.has_table else DEFAULT_TABLE)
        keys = [name for name in KEYS if name != "HSC_id" or not config.match_radius]
        table = SurveyTable.read(path, plan.columns, bands=plan.bands, keys=keys, all_matches=True)
        table.require(("ra", "dec") if config.match_radius else ("HSC_id",))
        present = ",".join(name for name in plan.labels if name in table)
        ways_out = f"; --labels {present} does without" if present else ""
        ways_out += "" if config.table else "; --table names another file"
        table.require(plan.labels, ways_out)
        images = Cutouts(source, plan.band_index, plan.size)
        inputs = cls(plan, images, objects, table)
        _refuse_incomplete(config, inputs)
        return inputs

    @property
    def paths(self):
        """Paths of the inputs by option."""
        paths = {"ids": self.objects.path, "images": self.images.source.path, "table": self.table.path}
        return {name: path for name, path in paths.items() if path is not None}

    def provenance(self, name):
        """Return what identifies an input's content."""
        return self.images.source.provenance() if name == "images" else file_record(self.paths[name])

    def sha256(self, name):
        """Return the checksum of an input's content."""
        return self.provenance(name)["sha256"]


def _refuse_incomplete(config, inputs):
    incomplete = inputs.images.incomplete
    if incomplete.all() or (incomplete.any() and config.bad_pixels != "drop"):
        raise UserError(
            f"{config.images}: {incomplete.sum()} of {len(incomplete)} objects lack an image in one of the bands"
            f" {', '.join(inputs.plan.bands)}: HSC_id {first_few(inputs.objects.ids[incomplete])}; --bands picks"
            " others, --bad-pixels drop leaves these objects out"
        )


def _match(config, inputs):
    """Match rows and images, by position or by id; return the inputs with exact labels, and the matching."""
    table, objects, image = inputs.table, inputs.objects, None
    if config.match_radius:
        image, sep = nearest_image(table, objects.ra, objects.dec, config.match_radius)
        table = with_match(table, objects.ids, image, sep)
    labels = inputs.plan.labels
    matching = match(
        table,
        objects.ids,
        duplicates=config.duplicates,
        labels=labels,
        drop_illegal=config.bad_rows == "drop",
        image=image,
    )
    return dataclasses.replace(inputs, table=table.with_numbers(labels)), matching


class _BadPixels(Exception):
    """Images with pixels that are not numbers turned up; `bad` [n] tells which."""

    def __init__(self, bad):
        self.bad = bad


def _refuse_bad_pixels(config, ids, bad, incomplete):
    found = bad & ~incomplete
    if config.bad_pixels != "drop":
        raise UserError(
            f"{config.images}: {found.sum()} of {len(ids)} images have pixels that are NaN or infinite: HSC_id"
            f" {first_few(np.sort(ids[found]))}; --bad-pixels drop leaves these images out"
        )
    if bad.all():
        raise UserError(f"{config.images}: every image has pixels that are NaN or infinite")


def _write(config, context, inputs, matching, bad):
    """Write the store without the images marked in `bad`; return the report."""
    plan, ids = inputs.plan, inputs.objects.ids
    order = np.argsort(ids)
    order = order[~bad[order]]
    header = plan.header(config, context.created)
    catalog, matches = _catalog(inputs, matching, order), _matches(inputs, matching, bad)
    for table in (catalog, matches):
        check_width(table, inputs.table.path)
    with ThreadPoolExecutor(1) as background, StoreWriter(config.out, n=len(order), header=header) as writer:
        # Sources are hashed beside the conversion, out of the page cache that it fills.
        sources = {name: background.submit(inputs.provenance, name) for name in inputs.paths}
        fluxes = _append_images(writer, config, context, inputs, order, bad)
        split = split_of(ids[order], config.split_salt, plan.fractions)
        split[~catalog["labelled"]] = NO_SPLIT
        report = make_report(matching, ids, len(inputs.table), bad, inputs.images.incomplete)
        report["splits"] = split_report(split, _kept_labels(inputs, matching, order))
        report["sep_arcsec"] = sep_report(_kept_sep(inputs, matching, order))
        report["notes"] = [*inputs.images.source.metadata.notes, *inputs.table.notes]
        report["fluxes"] = check_fluxes(fluxes, inputs.table, matching.row[order], plan.bands, plan.pixels)
        report["text"] = in_words(report, config, {name: path.name for name, path in inputs.paths.items()})
        writer.finish(
            ids=ids[order],
            catalog=catalog,
            split=split,
            matches=matches,
            provenance={
                "command": "convert",
                "config": _content(config),
                "decided": plan.decided,
                "sources": {name: future.result() for name, future in sources.items()},
                "columns": inputs.table.columns,
                "pixels": f"{plan.pixels} to {plan.scheme.unit}, float32",
                "tool": tool_stamp(),
                "report": report,
            },
        )
    return report


def _append_images(writer, config, context, inputs, order, bad):
    """Convert and write the images in `order`; raise `_BadPixels` at the end where some aren't finite.

    Returns a `FluxSample`.
    """
    images, scheme, ids = inputs.images, inputs.plan.scheme, inputs.objects.ids
    step = max(1, BLOCK_BYTES // (images.dtype.itemsize * int(np.prod(images.shape))))
    found, fluxes = bad.copy(), FluxSample(len(order))
    with context.progress("convert", len(order), "images") as progress:
        for start in range(0, len(order), step):
            context.check()
            rows = order[start : start + step]
            with np.errstate(over="ignore", invalid="ignore"):
                pixels = images.rows(rows).astype(np.float32, copy=False)
                scheme.check_range(pixels, ids[rows], config.images)
                flux = scheme.convert(pixels)
            if not _within(flux, np.finfo(np.float32).max):
                found[rows] |= ~np.isfinite(flux).all(axis=(1, 2, 3))
            writer.append(flux)
            fluxes.see(start, flux)
            progress.at(start + len(rows))
    if np.any(found & ~bad):
        raise _BadPixels(found)
    return fluxes


def _within(values, limit):
    """Return whether all values are numbers of at most this size, in two quick passes: NaN spoils both."""
    return -limit <= values.min() and values.max() <= limit


def _catalog(inputs, matching, order):
    """Return the catalog of the images in `order`: the kept row of each, and what the images say of themselves.

    A column of both is the table's, and the images' gets ``_image`` appended.
    """
    table, objects = inputs.table, inputs.objects
    rows = matching.row[order]
    catalog = table.take(rows, inputs.plan.bands, leave_out=("selected",))
    own = inputs.images.columns()
    if objects.ra is not None and table.path != inputs.images.source.path:
        own |= {
            name: (getattr(objects, name), describe_column(name).unit, describe_column(name).description)
            for name in ("ra", "dec")
        }
    for name, (values, unit, text) in own.items():
        title = free_name(name, catalog.colnames, "_image")
        catalog[title] = values[order] if unit is None else values[order] * unit
        catalog[title].info.description = f"{text}, of the image" if title != name else text
    catalog["labelled"] = rows >= 0
    catalog["labelled"].info.description = describe_column("labelled").description
    catalog["HSC_id"] = objects.ids[order]
    return catalog


def _kept_labels(inputs, matching, order):
    """Return each label of the images in `order`: {name: float64 [n]}, NaN without a row."""
    rows = matching.row[order]
    return {name: np.where(rows >= 0, inputs.table.numbers(name)[rows], np.nan) for name in inputs.plan.labels}


def _kept_sep(inputs, matching, order):
    """Return the distance of each kept row in arcsec, float64 [k]; empty without such a column."""
    rows = matching.row[order]
    return inputs.table.numbers("sep")[rows[rows >= 0]] if "sep" in inputs.table else np.zeros(0)


def _matches(inputs, matching, bad):
    """Return every row of the table that points at a stored image, by HSC_id, with `kept`."""
    stored = (matching.image >= 0) & ~bad[matching.image]
    rows = np.flatnonzero(stored)
    rows = rows[np.argsort(inputs.table.ids[rows], kind="stable")]
    table = inputs.table.take(rows, inputs.plan.bands)
    table["kept"] = matching.row_fate[rows] == ROW_FATES.index("kept")
    table["kept"].info.description = describe_column("kept").description
    return table


def _content(config):
    """Return the options that decide what is in the store."""
    return {key: value for key, value in dataclasses.asdict(config).items() if key not in NOT_CONTENT}


def _existing(out, config, inputs, context):
    """Decide what happens where the store may be there already; see `galaxycgan.resume`."""
    request = _content(config) | {"input files": _in_words(inputs.paths)}
    keys = {name: f"--{name} {path}" for name, path in inputs.paths.items()}
    request |= {key: functools.partial(inputs.sha256, name) for name, key in keys.items()}

    def read():
        if not out.exists():
            return None
        made = GalaxyStore(out).provenance
        if "config" not in made:
            return Found(None)
        sources = made.get("sources", {})
        sums = {key: sources.get(name, {}).get("sha256") for name, key in keys.items()}
        return Found(made["config"] | {"input files": _in_words(sources)} | sums)

    images = inputs.images.source.path
    if images.is_dir() and images.resolve() == out.resolve().parent:
        raise UserError(f"{out}: --out lies among the images of --images; give another directory")
    check_output_file(out, inputs.paths.values())
    return existing_result(out, request, read, overwrite=config.overwrite, context=context)


def _in_words(sources):
    return ", ".join(f"--{name}" for name in sorted(sources))
