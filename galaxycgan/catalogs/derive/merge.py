"""The command ``merge``: several stores become one store of all their galaxies."""

import contextlib
from pathlib import Path

import numpy as np
from astropy.table import QTable

from galaxycgan.catalogs.derive.merge_order import MergeOrder
from galaxycgan.catalogs.formats.suffixes import check_store_suffix
from galaxycgan.catalogs.schema.columns import free_name
from galaxycgan.catalogs.schema.values import PlainColumn, stack
from galaxycgan.catalogs.store.checksums import CheckedImages
from galaxycgan.catalogs.store.derived import (
    derived_header,
    derived_provenance,
    existing_store,
    open_verified,
    store_record,
)
from galaxycgan.catalogs.store.splits import split_lines
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.catalogs.store.table_width import check_width
from galaxycgan.catalogs.store.writer import StoreWriter
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.streaming import BLOCK_BYTES
from galaxycgan.resume import Decision

#: What has to be the same in all stores, and what to do where it is not.
MUST_AGREE = {
    "synthetic": ("synthetic", "keep real and synthetic galaxies in stores of their own"),
    "id_column": ("id column", "keep them apart"),
    "bands": ("bands", "convert the survey files again with the same bands in the same order"),
    "filters": ("filters", "fluxes through different filters are not the same quantity: keep them apart"),
    "size": ("image size in pixels", "convert the survey files again at one size"),
    "pixel_scale_arcsec": ("pixel scale in arcsec", "keep them apart, or resample the images of one"),
    "pixel_unit": ("pixel unit", "convert the survey files again with --pixels that gives nJy in both"),
    "split_salt": ("split salt", "convert again with the same --split-salt, or test galaxies become training ones"),
    "split_fractions": ("split fractions", "convert again with the same --split-fractions"),
}


def merge(config, context):
    """Write one store of all galaxies of several.

    Parameters
    ----------
    config : galaxycgan.config.Merge
    context : galaxycgan.context.Context

    Raises
    ------
    UserError
        For stores that do not fit together; nothing is written then.
    """
    if not config.out:
        raise UserError("--out is missing: name the store to write")
    check_store_suffix(config.out)
    if len(config.files) < 2:
        raise UserError(f"merge takes two stores or more, {len(config.files)} given")
    paths, out = [Path(path) for path in config.files], Path(config.out)
    options = {"duplicates": config.duplicates, "mass_convention": config.mass_convention}
    sources = {str(k): store_record(GalaxyStore(path)) for k, path in enumerate(paths, start=1)}
    request = {"command": "merge", "config": options, "sources": sources}
    if existing_store(out, request, paths, config.overwrite, context) is Decision.MADE:
        return
    with contextlib.ExitStack() as stack_:
        stores = [stack_.enter_context(open_verified(path)) for path in paths]
        header = common_header(stores, config, context)
        plan = MergeOrder(stores, config.duplicates)
        catalog, matches, remarks = _tables(stores, plan)
        check_width(catalog, out)
        split = plan.take([store.split for store in stores])
        provenance = derived_provenance(request, catalog, split)
        parts = {"ids": plan.ids, "catalog": catalog, "split": split, "matches": matches, "provenance": provenance}
        _write(stores, plan, header, parts, out, context)
    words = [f"{out}: {plan.n:,} galaxies of {len(stores)} stores"]
    words += [f"  {text}" for text in (*plan.remarks, *remarks, *_header_remarks(stores, header))]
    context.say("\n".join([*words, *split_lines(provenance.get("report", {}).get("splits"))]))


def common_header(stores, config, context):
    """Return the header of the merged store, or refuse stores that differ in what has to agree.

    The PSF is the mean over the galaxies, band by band, and unknown where one store's is.

    Parameters
    ----------
    stores : list of GalaxyStore
    config : galaxycgan.config.Merge
    context : galaxycgan.context.Context

    Returns
    -------
    StoreHeader
    """
    first = stores[0]
    for other in stores[1:]:
        for name, (words, way_out) in MUST_AGREE.items():
            one, two = (store.size if name == "size" else getattr(store.header, name) for store in (first, other))
            same = np.isclose(one, two, rtol=1e-6) if name == "pixel_scale_arcsec" else one == two
            if not same:
                raise UserError(f"{other.path}: {words} {_words(two)}, but {first.path} has {_words(one)}; {way_out}")
        one, two = (store.header.mass_convention for store in (first, other))
        if one != two and not config.mass_convention:
            raise UserError(
                f"{other.path}: mass convention '{two}', but {first.path} has '{one}': masses of different IMF or"
                " cosmology are not the same quantity; where they are, --mass-convention TEXT says what holds for all"
            )
    with np.errstate(invalid="ignore"):
        psf = np.average([store.psf_fwhm for store in stores], axis=0, weights=[max(store.n, 1) for store in stores])
    if all(np.array_equal(store.psf_fwhm, first.psf_fwhm, equal_nan=True) for store in stores):
        psf = first.psf_fwhm
    return derived_header(
        first.header,
        context,
        psf_fwhm_arcsec=tuple(psf.tolist()),
        stretch=" | ".join(dict.fromkeys(store.header.stretch for store in stores)),
        mass_convention=config.mass_convention or first.header.mass_convention,
    )


def _words(value):
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _header_remarks(stores, header):
    """Say what of the header is not what each store had."""
    psfs = [store.psf_fwhm for store in stores]
    if all(np.array_equal(psf, psfs[0], equal_nan=True) for psf in psfs):
        return []
    each = "; ".join(", ".join(f"{value:g}" for value in psf) for psf in psfs)
    mean = ", ".join(f"{value:g}" for value in header.psf_fwhm_arcsec)
    return [f"PSF FWHM differs ({each} arcsec): the mean over galaxies is kept: {mean} (nan: unknown)"]


def _tables(stores, plan):
    """Return catalog and matches of the merged store, and remarks.

    A column of the stores with the name of one that is added, of an earlier merge or the user's, gets ``_original``.
    """
    id_column = stores[0].id_column
    parts = _stacked([store.table for store in stores], stores, "catalog")
    own = ("source", f"source_{id_column}") if plan.renumbered else ()
    renamed = {name: free_name(name, {*parts, *own}) for name in own if name in parts}
    catalog = QTable()
    for name, column in parts.items():
        catalog[renamed.get(name, name)] = plan.take(column).to_astropy()
    if plan.renumbered:
        number, row = own
        catalog[number] = plan.source + 1
        catalog[number].info.description = "number of the store among those merged"
        catalog[row] = catalog[id_column]
        catalog[row].info.description = f"{id_column} in that store"
    catalog[id_column] = plan.ids
    remarks = [f"column {name} of the stores is called {new}" for name, new in renamed.items()]
    for name in parts:
        lacking = [str(store.path) for store in stores if name not in store.columns]
        if lacking:
            remarks.append(f"column {renamed.get(name, name)}: missing values for the galaxies of {first_few(lacking)}")
    return catalog, _matches(stores, plan), remarks


def _stacked(tables, stores, what):
    """Put tables under each other: {name: PlainColumn}, in the order in which the names first appear."""
    lengths = [len(table) for table in tables]
    stacked = {}
    for name in dict.fromkeys(name for table in tables for name in table.colnames):
        parts = [PlainColumn.of(table[name]) if name in table.colnames else None for table in tables]
        try:
            stacked[name] = stack(parts, lengths)
        except ValueError as error:
            having = [str(store.path) for store, part in zip(stores, parts, strict=True) if part is not None]
            raise UserError(
                f"{first_few(having)}: column {name} of the {what}: {error} do not go together; convert the survey"
                " files again with one type and unit, or with the column under another name (--columns)"
            ) from None
    return stacked


def _matches(stores, plan):
    """Return the rows of all match tables by id; those of galaxies that another store gave are not `kept`."""
    having = [k for k, store in enumerate(stores) if store.has_matches]
    if not having:
        return None
    tables = []
    for k in having:
        table = QTable(stores[k].matches)
        if "kept" in table.colnames:
            taken = plan.places(k)[stores[k].rows_of(table[stores[k].id_column])] >= 0
            table["kept"] &= taken
        tables.append(table)
    merged = QTable()
    for name, column in _stacked(tables, [stores[k] for k in having], "matches").items():
        merged[name] = column.to_astropy()
    return merged[np.argsort(merged[stores[0].id_column], kind="stable")]


class _Images:
    """One store's images, handed out in the merged order while they are read in the file's."""

    def __init__(self, checked, places):
        self.checked, self.places = checked, places
        self.taken = np.flatnonzero(places >= 0)

    def fill(self, buffer, start):
        """Put this store's images among rows ``start ..`` of the merged store where they belong in `buffer`."""
        end = np.searchsorted(self.places[self.taken], start + len(buffer))
        stop = self.taken[end - 1] + 1 if end else 0
        for rows, images in self.checked.read(stop):
            at = self.places[rows]
            buffer[at[at >= 0] - start] = images[at >= 0]


def _write(stores, plan, header, parts, out, context):
    """Write the merged store; sources are checked against their checksums while they are copied.

    `parts` is what `StoreWriter.finish` takes.
    """
    names = ("images", "noiseless") if all(store.has_noiseless for store in stores) else ("images",)
    if len(names) == 1 and any(store.has_noiseless for store in stores):
        plan.remarks.append("noiseless images are left out: not all stores have them")
    shape = (len(header.bands), stores[0].size, stores[0].size)
    step = max(1, BLOCK_BYTES // max(1, 4 * int(np.prod(shape))))  # 0 pixels: a catalog without images
    with (
        contextlib.ExitStack() as readers,
        StoreWriter(out, n=plan.n, header=header, noiseless=len(names) > 1) as writer,
        context.progress("merge", plan.n, "images") as progress,
    ):
        sources = {
            name: [
                _Images(readers.enter_context(CheckedImages(store, name)), plan.places(k))
                for k, store in enumerate(stores)
            ]
            for name in names
        }
        for start in range(0, plan.n, step):
            context.check()
            piece = []
            for name in names:
                buffer = np.empty((min(step, plan.n - start), *shape), np.float32)
                for source in sources[name]:
                    source.fill(buffer, start)
                piece.append(buffer)
            writer.append(*piece)
            progress.at(start + len(piece[0]))
        for source in (source for name in names for source in sources[name]):
            source.checked.require_intact()
        writer.finish(**parts)
