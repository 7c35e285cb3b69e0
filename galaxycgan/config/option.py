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
    """Options of a command: their numbers are within their bounds, so that no job waits in a queue to be refused.

    Raises
    ------
    UserError
        Where one is not.
    """

    def __post_init__(self):
        for item in dataclasses.fields(self):
            value, bounds = getattr(self, item.name), item.metadata["bounds"]
            if not bounds or value == item.default:
                continue
            if math.isfinite(value) and _within(value, bounds):
                continue
            kinds = [f"{BOUNDS[kind][1]} {_plain(limit)}" for kind, limit in bounds.items()]
            words = " and ".join(kinds if math.isfinite(value) else ["finite", *kinds])
            words += "" if _within(item.default, bounds) else f", or {item.default:g}"
            raise UserError(f"--{item.name.replace('_', '-')} {value}: must be {words}")


def _within(value, bounds):
    return all(BOUNDS[kind][0](value, limit) for kind, limit in bounds.items())


def _plain(limit):
    """Return a bound as a user would write it."""
    return "2^63" if limit == 2**63 else f"{limit:g}"
