"""The command `mock`: an HSC-like survey with known truth, in the files of a real one.

What galaxies there are is in `population`, what they look like in `render`; here are ids, patches of the survey, the
table with its repeated matches, and the files. Galaxies of a real table come from `table`.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import math
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pandas as pd

from galaxycgan.errors import UserError
from galaxycgan.files.atomic import atomic_path, read_json, sha256_file, write_json
from galaxycgan.images.bands import parse_bands
from galaxycgan.mock.population import BANDS, I_LIMIT, Galaxies, I, draw_population
from galaxycgan.mock.render import PATCHES, Renderer, draw_pool, render_in_worker, start_worker
from galaxycgan.mock.table import complete, read_galaxies
from galaxycgan.provenance import tool_stamp
from galaxycgan.randomness import make_rng
from galaxycgan.resume import Decision, Found, existing_result

IDS, IMAGES, TABLE, TRUTH = "HSC_ids.npy", "images.small.npy", "2018_02_23-all_objects.csv", "truth.csv"
#: The options of the command; written last, so that its presence says that the survey is complete.
OPTIONS = "mock.json"
#: Objects with an image where neither --n nor --table tells: as many as in 2018.
OBJECTS = 1866
#: Shares of the objects with an image: no row in the table; only rows that are not selected. Beside them: a row and no
#: image. Of all of these: a second match. Of the rows: no magnitudes.
NO_ROW, NOT_SELECTED, NO_IMAGE, SECOND_MATCH, NO_MAGNITUDES = 0.005, 0.005, 0.10, 0.05, 0.02
#: The survey's field: its corner and the side of a patch, as in the COSMOS field.
RA0_DEG, DEC0_DEG, PATCH_DEG = 149.42, 1.55, 0.2
#: HSC ids carry the tract and patch in front and a counter behind.
FIRST_ID, PATCH_ID_STEP = 43_150_000_000_000_000, 2**38
#: Each seed counts from another number: galaxies of two mocks are not taken for the same.
SEED_ID_STEP = 2**28
CHUNK = 32


def make_survey(config, context):
    """Write a mock survey: ids, images, table, and the truth in a file of its own.

    Parameters
    ----------
    config : galaxycgan.config.Mock
    context : galaxycgan.context.Context

    Raises
    ------
    UserError
        For options that make no survey, and where files of another origin are in the way.
    """
    bands = _check_options(config)
    out = Path(config.out)
    galaxies = _read_galaxies(config) if config.table else None
    options = {k: v for k, v in dataclasses.asdict(config).items() if k not in ("out", "workers", "overwrite")}
    if config.table:
        options["table"] += f" (sha256 {sha256_file(config.table)})"
    read = functools.partial(_found, out)
    if existing_result(out, options, read, overwrite=config.overwrite, context=context) is Decision.MADE:
        return

    objects = draw_objects(config, galaxies)
    table = make_table(objects, bands, config.seed)
    with contextlib.ExitStack() as stack:
        paths = {name: stack.enter_context(atomic_path(out / name)) for name in (TRUTH, TABLE, IDS, IMAGES)}
        facts = _write_images(paths[IMAGES], objects, bands, config, context)
        with open(paths[IDS], "wb") as file:
            np.save(file, objects.hsc_id[: objects.images])
        table.to_csv(paths[TABLE], index=False)
        make_truth(objects, facts).to_csv(paths[TRUTH], index=False)
        (out / OPTIONS).unlink(missing_ok=True)
    write_json(out / OPTIONS, {"options": options, **tool_stamp(), "created": context.created})
    _summarise(out, objects, table, galaxies, config, context)


def _check_options(config):
    """Return the bands; raise `UserError` for options that make no survey."""
    bands = parse_bands(config.bands)
    for band in bands:
        if band not in BANDS:
            raise UserError(f"--bands {config.bands}: the mock has no band '{band}', choose among {','.join(BANDS)}")
    if not config.table and (config.columns or config.bad_rows != "refuse"):
        raise UserError(f"--{'columns' if config.columns else 'bad-rows'}: says how to read a --table; none is named")
    return bands


def _found(out):
    """Return the survey that is there, with the options that it was made by; None where none of its files is."""
    there = [name for name in (IDS, IMAGES, TABLE, TRUTH) if (out / name).exists()]
    if not there:
        return None
    made = read_json(out / OPTIONS).get("options") if (out / OPTIONS).exists() else None
    if made is None:
        raise UserError(f"{out / there[0]}: is there already and not of a finished mock survey")
    if missing := [name for name in (IDS, IMAGES, TABLE, TRUTH) if name not in there]:
        raise UserError(f"{out}: holds a mock survey whose {missing[0]} is missing")
    return Found(made)


@dataclasses.dataclass(frozen=True)
class Objects:
    """The objects of the survey: the first `images` have images, the others are only in the table.

    Attributes
    ----------
    galaxies : Galaxies
    hsc_id : array of int64
    ra_deg, dec_deg : array
    patch : array of int
    images : int
    table_row : array of int
        Row of the real table, from 0; -1: drawn.
    """

    galaxies: Galaxies
    hsc_id: np.ndarray
    ra_deg: np.ndarray
    dec_deg: np.ndarray
    patch: np.ndarray
    images: int
    table_row: np.ndarray


def _read_galaxies(config):
    """Read the rows of the real table that are asked for."""
    galaxies = read_galaxies(config.table, config.columns, config.bad_rows)
    if config.limit:
        galaxies = galaxies.brighter(config.limit)
    return galaxies.draw(config.n, make_rng(config.seed, "mock-population", 1))


def draw_objects(config, table=None):
    """Draw the objects with an image, and a tenth more without, and give them positions and ids like HSC's.

    Parameters
    ----------
    config : galaxycgan.config.Mock
    table : GalaxyTable, optional
        The galaxies with an image, all of them.

    Returns
    -------
    Objects
    """
    n, limit = (len(table) if table is not None else config.n or OBJECTS), config.limit or I_LIMIT
    total = n + _share(NO_IMAGE, n)
    rng = make_rng(config.seed, "mock-population")
    row = np.full(total, -1)
    if table is None:
        galaxies = draw_population(total, config.population, rng, limit)
    else:
        galaxies = complete(table, rng, limit)
        row[:n] = table.row
        if total > n:
            galaxies = Galaxies.join([galaxies, draw_population(total - n, "flux-limited", rng, limit)])
    x, y = PATCHES * rng.random((2, total))
    patch = x.astype(np.int64) * PATCHES + y.astype(np.int64)
    first = FIRST_ID + (config.seed - 1) * SEED_ID_STEP % PATCH_ID_STEP
    hsc_id = first + patch * PATCH_ID_STEP + np.cumsum(rng.integers(1, 200, total))
    ra = RA0_DEG + x * PATCH_DEG / np.cos(np.deg2rad(DEC0_DEG))
    return Objects(galaxies, hsc_id, ra, DEC0_DEG + y * PATCH_DEG, patch, n, row)


def _share(share, n):
    """Return a share of n objects: at least one from 20 on, so that a small survey holds every kind of match too."""
    return math.ceil(share * n) if n >= 20 else round(share * n)


def measured(galaxies, rng):
    """Return photo_z and log_mass [n] as a survey would have measured them.

    The photometric redshift scatters by 0.007 (i = 20) to 0.02 (i = 23.2) times 1 + z. The mass scatters by 0.1 dex and
    moves along with a redshift that is wrong.
    """
    z = galaxies.redshift
    sigma = (1 + z) * np.interp(galaxies.mags[:, I], [20.0, I_LIMIT], [0.007, 0.02])
    photo_z = np.maximum(np.abs(z + sigma * rng.standard_normal(len(z))), 0.003)
    return photo_z, galaxies.log_mass + 0.1 * rng.standard_normal(len(z)) + 0.8 * np.log10(photo_z / z)


def make_table(objects, bands, seed):
    """Return the survey's table: one row per COSMOS galaxy, several of which may point at one HSC object.

    Parameters
    ----------
    objects : Objects
    bands : sequence of str
        Magnitudes of other bands than g, r, i are added.
    seed : int

    Returns
    -------
    pandas.DataFrame
    """
    rng = make_rng(seed, "mock-table")
    n = len(objects.hsc_id)
    no_row, not_selected = _share(NO_ROW, objects.images), _share(NOT_SELECTED, objects.images)
    lot = rng.permutation(objects.images)
    selected = np.ones(n, bool)
    selected[lot[no_row : no_row + not_selected]] = False
    sep = np.minimum(rng.rayleigh(0.13, n), 0.9)
    nearest = _rows(objects, np.arange(n), objects.galaxies, sep, selected, bands, rng)
    # A real table's own labels are measurements: another error on top would make them worse than real ones.
    real = objects.table_row >= 0
    nearest.loc[real, ["photo_z", "log_mass"]] = np.stack(
        [objects.galaxies.redshift[real], objects.galaxies.log_mass[real]], axis=1
    )
    nearest = nearest.drop(index=lot[:no_row])

    twice = rng.permutation(nearest.index)[: _share(SECOND_MATCH, n)]
    others = draw_population(len(twice), "flux-limited", rng) if len(twice) else objects.galaxies.take([])
    chosen = selected[twice] & (rng.random(len(twice)) < 0.6)
    farther = _rows(objects, twice, others, sep[twice] + rng.uniform(0.1, 0.8, len(twice)), chosen, bands, rng)
    table = pd.concat([nearest, farther] if len(twice) else [nearest], ignore_index=True)
    table.insert(0, "COSMOS_id", 200_000 + rng.permutation(max(800_000, 2 * len(table)))[: len(table)])
    return table.iloc[rng.permutation(len(table))]


def _rows(objects, index, galaxies, sep_arcsec, selected, bands, rng):
    """Return table rows of `galaxies`, which point at the objects `index`."""
    photo_z, log_mass = measured(galaxies, rng)
    angle = 2 * np.pi * rng.random(len(index))
    columns = {
        "HSC_id": objects.hsc_id[index],
        "ra": objects.ra_deg[index] + sep_arcsec / 3600 * np.cos(angle) / np.cos(np.deg2rad(DEC0_DEG)),
        "dec": objects.dec_deg[index] + sep_arcsec / 3600 * np.sin(angle),
        "photo_z": photo_z.round(4),
        "log_mass": log_mass.round(4),
    }
    blank = rng.random(len(index)) < NO_MAGNITUDES
    for band in dict.fromkeys(("g", "r", "i", *bands)):
        mag = galaxies.mags[:, BANDS.index(band)]
        mag = mag + 0.02 * (1 + 10.0 ** (0.4 * (mag - 24.0))) * rng.standard_normal(len(index))
        columns[f"{band}cmodel_mag"] = np.where(blank, np.nan, mag.round(3))
    return pd.DataFrame({**columns, "sep": np.round(sep_arcsec, 4), "selected": selected}, index=index)


@contextlib.contextmanager
def _rendered(chunks, workers, arguments, context):
    """Yield an iterator over the rendered chunks, in order, made by `workers` processes."""
    if workers == 1:
        yield map(Renderer(*arguments), chunks)
        return
    # Spawned, not forked: a fork would copy the locks of whatever threads there are.
    spawn = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(workers, spawn, start_worker, arguments)
    try:
        yield executor.map(render_in_worker, chunks)
    except concurrent.futures.process.BrokenProcessPool:
        context.check()
        raise UserError("mock: a worker process was killed, most likely for memory; use fewer --workers") from None
    finally:
        executor.shutdown(cancel_futures=True)


def _write_images(path, objects, bands, config, context):
    """Render all images into an npy file; return the facts of each, a list of dicts."""
    n = objects.images
    chunks = [(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
    # To start a process takes as long as some hundred galaxies.
    workers = config.workers or min(len(os.sched_getaffinity(0)), math.ceil(n / 500))
    galaxies, patch = objects.galaxies.take(slice(0, n)), objects.patch[:n]
    arguments = config.seed, bands, config.size, galaxies, patch, draw_pool(config.seed)
    images = np.lib.format.open_memmap(path, "w+", np.float64, (n, len(bands), config.size, config.size))
    with open(path, "r+b") as file:  # all room is taken first: a full disk under a mapped file kills the process
        os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
    facts = []
    with _rendered(chunks, workers, arguments, context) as results, context.progress("mock", n, "galaxies") as progress:
        for (start, stop), (pixels, chunk_facts) in zip(chunks, results, strict=True):
            images[start:stop] = pixels
            facts.extend(chunk_facts)
            progress.at(stop)
            context.check()
    images.flush()
    return facts


def make_truth(objects, facts):
    """Return the true properties, one row per HSC_id; what is true of an image only is blank without one."""
    galaxies = objects.galaxies
    truth = {"HSC_id": objects.hsc_id, "ra": objects.ra_deg, "dec": objects.dec_deg, "patch": objects.patch}
    for item in dataclasses.fields(Galaxies):
        values = getattr(galaxies, item.name)
        if item.name == "mags":
            truth |= {f"mag_{band}": values[:, b] for b, band in enumerate(BANDS)}
        elif item.name == "knot_fraction":
            truth["knot_fraction_i"] = values[:, I]
        else:
            truth[item.name] = values
    table = pd.concat([pd.DataFrame(truth), pd.DataFrame(facts)], axis=1).round(6)
    if (objects.table_row >= 0).any():
        table.insert(1, "table_row", pd.Series(objects.table_row, dtype="Int64").where(objects.table_row >= 0))
    return table.astype({"neighbours": "Int64"})


def _summarise(out, objects, table, galaxies, config, context):
    """Say what was made, by the rows that a conversion would keep."""
    imaged = table[table.HSC_id.isin(objects.hsc_id[: objects.images])]
    kept = imaged[imaged.selected].sort_values("sep").drop_duplicates("HSC_id")
    dwarf = (kept.log_mass > 8) & (kept.log_mass < 9) & (kept.photo_z < 0.15)
    context.say(
        f"{out}: {objects.images:,} images, {len(kept):,} of them with a selected row; {len(table):,} rows, "
        f"{table.HSC_id.duplicated().sum():,} of them further matches of an object"
    )
    if galaxies is not None:
        limit = config.limit or I_LIMIT
        faint = np.isnan(galaxies.mags).all(axis=1) & (objects.galaxies.mags[: objects.images, I] > limit)
        notes = [f"{faint.sum():,} rows without magnitudes are fainter than i = {limit:g} however drawn"]
        context.say(f"{config.table}: {'; '.join([*galaxies.notes, *(notes if faint.any() else [])])}")
    if len(kept):
        context.say(
            f"{config.table or config.population}: mean photo_z {kept.photo_z.mean():.3f}, mean log_mass"
            f" {kept.log_mass.mean():.2f}, dwarf share {dwarf.mean():.3f}; the truth is in {TRUTH}"
        )
