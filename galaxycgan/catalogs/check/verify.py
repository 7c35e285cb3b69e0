"""The command ``verify``: whether a store or a FITS catalog is sound, and in what two of them differ."""

from pathlib import Path

from galaxycgan.catalogs.check.differences import fits_differences, store_differences
from galaxycgan.catalogs.check.fits_integrity import fits_problems
from galaxycgan.catalogs.formats.hdf5 import is_hdf5
from galaxycgan.catalogs.store.integrity import store_problems
from galaxycgan.catalogs.store.store import find_store
from galaxycgan.errors import UserError


def verify(config, context):
    """Check files for damage, or with ``--same`` two files for equality.

    Parameters
    ----------
    config : galaxycgan.config.Verify
    context : galaxycgan.context.Context

    Raises
    ------
    UserError
        One line for each file with problems.
    """
    paths = [Path(path) for path in config.files or [find_store()]]
    if config.same:
        _verify_same(paths, context)
        return
    damaged = []
    for path in paths:
        context.check()
        try:
            found = store_problems(path) if is_hdf5(path) else fits_problems(path)
        except UserError as error:
            found = [str(error).removeprefix(f"{path}: ")]
        except Exception as error:  # whatever a damaged file makes a library say is a finding
            found = [f"damaged: {type(error).__name__}: {str(error).strip().splitlines()[0]}"]
        if found:
            damaged.append(f"{path}: {'; '.join(found)}")
        else:
            context.say(f"{path}: OK")
    if damaged:
        raise UserError("\n".join(damaged))


def _verify_same(paths, context):
    if len(paths) != 2:
        raise UserError(f"--same compares two files, {len(paths)} are given")
    kinds = [is_hdf5(path) for path in paths]
    if kinds[0] != kinds[1]:
        raise UserError(f"{paths[0]} and {paths[1]}: one is HDF5, the other FITS; nothing to compare byte for byte")
    differences = (store_differences if kinds[0] else fits_differences)(*paths)
    if differences:
        raise UserError(f"{paths[0]} and {paths[1]} differ: {'; '.join(differences)}")
    context.say(f"{paths[0]} and {paths[1]}: the same")
