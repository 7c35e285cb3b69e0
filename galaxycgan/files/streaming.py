"""Reading ahead and flushing behind, so that processor and disk work at the same time."""

import os
from concurrent.futures import ThreadPoolExecutor

#: Bytes that are read, hashed or converted at a time: enough for the speed of the disk, little memory.
BLOCK_BYTES = 8 << 20
#: So much is written before the disk is told to take it: the last flush then has no more than this to wait for.
FLUSH_BYTES = 64 << 20
_END = object()


def ahead(items):
    """Yield what an iterable yields, its next item being made in a thread meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        iterator = iter(items)
        pending = pool.submit(next, iterator, _END)
        while (item := pending.result()) is not _END:
            pending = pool.submit(next, iterator, _END)
            yield item


class Flusher:
    """Flushes a file that grows, piece by piece in a thread; a context manager.

    Parameters
    ----------
    descriptor : int
        Of the open file.
    """

    def __init__(self, descriptor):
        self._descriptor, self._bytes, self._pending = descriptor, 0, None

    def __enter__(self):
        self._pool = ThreadPoolExecutor(1)
        return self

    def __exit__(self, kind, error, trace):
        self._pool.shutdown()
        # The system tells of a failed write once, to the first who asks.
        if kind is None and self._pending is not None:
            self._pending.result()

    def wrote(self, count):
        """Note that so many bytes were added."""
        self._bytes += count
        if self._bytes >= FLUSH_BYTES and (self._pending is None or self._pending.done()):
            if self._pending is not None:
                self._pending.result()
            self._pending, self._bytes = self._pool.submit(os.fdatasync, self._descriptor), 0
