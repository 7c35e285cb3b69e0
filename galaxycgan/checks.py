"""Refusals that several commands share: options that are missing, or not below another."""

from galaxycgan.errors import UserError


def check_part(config, name):
    """Refuse a number such as ``shard`` that is not below that of all, ``shards``."""
    number, count = getattr(config, name), getattr(config, f"{name}s")
    if number >= count:
        raise UserError(f"--{name} {number}: of --{name}s {count} they are 0 to {count - 1}")


def check_given(config, name, what):
    """Refuse an option that is empty; `what` says what it needs."""
    if not getattr(config, name):
        raise UserError(f"--{name} is missing: name {what}")
