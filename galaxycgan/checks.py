"""Refusals that several commands share: options that are missing, too small, or not below another."""

from galaxycgan.errors import UserError


def check_at_least(config, **smallest):
    """Refuse numeric options below their smallest value, and seeds beyond 63 bits (catalogs keep them as int64)."""
    for name, value in smallest.items():
        option_name, given = "--" + name.replace("_", "-"), getattr(config, name)
        if not value <= given < float("inf"):
            raise UserError(f"{option_name} {given}: must be at least {value:g}")
        if name == "seed" and given >= 2**63:
            raise UserError(f"{option_name} {given}: must be below 2^63")


def check_part(config, name):
    """Refuse a number such as ``shard`` that is not below that of all, ``shards``."""
    number, count = getattr(config, name), getattr(config, f"{name}s")
    if number >= count:
        raise UserError(f"--{name} {number}: of --{name}s {count} they are 0 to {count - 1}")


def check_given(config, name, what):
    """Refuse an option that is empty; `what` tells what it wants."""
    if not getattr(config, name):
        raise UserError(f"--{name} is missing: name {what}")
