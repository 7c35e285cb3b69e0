"""How an option of a command is declared, and which values it may have."""

import dataclasses
import math
import operator

from galaxycgan.errors import UserError

#: Bounds of a number: how a value is compared with each, and in words.
BOUNDS = {
    "least": (operator.ge, "at least"),
    "above": (operator.gt, "above"),
    "most": (operator.le, "at most"),
    "below": (operator.lt, "below"),
}
#: What seeds are: catalogs keep them as int64.
SEEDS = {"least": 0, "below": 2**63}


def option(default, help, *, choices=None, positional=False, **bounds):
    """Declare an option of a command; a field without it is a mistake.

    Parameters
    ----------
    default : object
        Legal whatever the bounds are: it may stand for what is found out later.
    help : str
    choices : tuple of str, optional
    positional : bool
    **bounds : number
        Of `BOUNDS`.
    """
    if unknown := set(bounds) - set(BOUNDS):
        raise TypeError(f"no bounds are {unknown}")
    return dataclasses.field(
        default=default, metadata={"help": help, "choices": choices, "positional": positional, "bounds": bounds}
    )


class Options:
    """Options of a command: each has a value that it may have, so that no job waits in a queue to be refused.

    Raises
    ------
    UserError
        Where one has not.
    """

    def __post_init__(self):
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if words := refusal(item, value):
                name = item.name if item.metadata["positional"] else f"--{item.name.replace('_', '-')}"
                raise UserError(f"{name} {value}: {words}")


def refusal(item, value):
    """Return in words why an option may not have a value of its type, or nothing.

    Parameters
    ----------
    item : dataclasses.Field
        Of an options class.
    value : object

    Returns
    -------
    str
    """
    choices, bounds = item.metadata["choices"], item.metadata["bounds"]
    if value == item.default:
        return ""
    if choices:
        return "" if value in choices else f"must be one of {', '.join(choices)}"
    if not bounds or (math.isfinite(value) and _within(value, bounds)):
        return ""
    kinds = [f"{BOUNDS[kind][1]} {_plain(limit)}" for kind, limit in bounds.items()]
    words = " and ".join(kinds if math.isfinite(value) else ["finite", *kinds])
    return f"must be {words}" + ("" if _within(item.default, bounds) else f", or {item.default:g}")


def _within(value, bounds):
    return all(BOUNDS[kind][0](value, limit) for kind, limit in bounds.items())


def _plain(limit):
    """Return a bound as a user would write it."""
    return "2^63" if limit == 2**63 else f"{limit:g}"
