"""Where a generation's files lie in its output directory. Imports nothing, as a submission asks for it too."""

CATALOG, FITS, SHARDS = "catalog.h5", "catalog.fits", "shards"
#: Pattern of the names that `shard_path` gives.
SHARD_FILES = "shard-*-of-*.h5"


def shard_path(out, k, count):
    """Return the path of shard k of `count` of the catalog in a directory (Path)."""
    return out / SHARDS / f"shard-{k}-of-{count}.h5"
