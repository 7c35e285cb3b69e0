"""Blocks of galaxies made in parallel and handed out in order.

Each worker paints, fetches and measures a block of 64 with one CPU thread, so a block's bytes depend neither on how
many workers there are nor on what the others do. The writer of the blocks works beside them.
"""

import collections
import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from galaxycgan.models.device import repeatable
from galaxycgan.models.painter import BLOCK

#: More threads than this don't make a GPU faster.
MOST_GPU_WORKERS = 8
#: Finished blocks that wait for the writer, at most, for each worker: what bounds the memory.
WAITING = 3


@dataclasses.dataclass(frozen=True)
class Made:
    """Consecutive galaxies, ready to be written.

    Attributes
    ----------
    first : int
        Row number of the request.
    rows : structured array [k]
        The catalog's.
    stamps : tuple of float32 array [k, band, y, x]
        For each of the request's datasets.
    """

    first: int
    rows: np.ndarray
    stamps: tuple


def make_blocks(request, first, stop, workers):
    """Yield the blocks of rows ``first .. stop - 1`` of a request as `Made`, in order.

    Parameters
    ----------
    request : Request
    first, stop : int
        `first` is a multiple of 64, and so is `stop` unless it is the end.
    workers : int
        CPU threads.
    """
    if request.painter.device.type == "cuda":
        workers = min(workers, MOST_GPU_WORKERS)
    _prepare(request)
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers, initializer=_start_worker, initargs=(request.painter.device,)) as pool,
    ):
        waiting = collections.deque()
        try:
            for task in _tasks(request, first, stop):
                waiting.append(pool.submit(_make, request, *task))
                if len(waiting) >= WAITING * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _tasks(request, first, stop):
    """Yield row number, labels, score and flag of each block."""
    for start, *values in request.pieces(first, stop):
        for k in range(0, len(values[0]), BLOCK):
            yield start + k, *(one[k : k + BLOCK] for one in values)


def _prepare(request):
    """Compute once, before threads would do so at the same time."""
    assert request.measurement and request.row_format
    repeatable()


def _start_worker(device):
    torch.set_num_threads(1)
    if device.type == "cuda":
        torch.cuda.set_stream(torch.cuda.Stream(device))


def _make(request, first, labels, score, flag):
    """Make one block."""
    seed, count = request.recipe.seed, len(labels)
    block = request.painter.paint_block(labels, seed, first, request.noisy, request.sky_sigma)
    measured = request.measurement.columns(block, request.noisy)
    columns = dict(zip(request.painter.conditioning.columns, labels.T, strict=True))
    columns |= {name: values[:count] for name, values in measured.items()}
    columns |= {"ood": score, "ood_flag": flag, "seed": np.full(count, seed, np.int64)}
    return Made(first, request.row_format.rows(first, columns), request.stamps(block, count))
