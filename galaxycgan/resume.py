"""The one place that decides what happens where a result is there already: nothing, a resumption, or a refusal.

========================================  ====================================================================
what is there                             what happens
========================================  ====================================================================
nothing, or ``--overwrite`` was given     FRESH: the stage makes its result
finished, of the same request             MADE: "PATH: done already; --overwrite makes it again"
unfinished, of the same request           RESUME: "PATH: going on at ..."
of another request                        `UserError` "PATH: was made by another request (lr: 0.1 there, 0.2 asked);
                                          give another --run, or --overwrite"
damaged, or nothing says what made it     `UserError` that says so, with the same ways out
========================================  ====================================================================

Each stage says what its request is, and how to read from its result the request that made it.
"""

import dataclasses
import enum
import re

from galaxycgan.errors import UserError, first_few

#: Characters of a long value that a message shows, from its start and from its end.
FIRST, LAST = 20, 40
_MISSING = object()
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Decision(enum.Enum):
    """What a stage does about its result; the table above says when."""

    FRESH = "make it"
    RESUME = "resume it"
    MADE = "nothing is left to do"


@dataclasses.dataclass(frozen=True)
class Found:
    """A result that is there.

    Attributes
    ----------
    request : dict or None
        The request that made it; None where the result doesn't say.
    finished : bool
    progress : str
        How far it is, such as "5 epochs" of a finished result and "epoch 3" of another.
    """

    request: dict | None
    finished: bool = True
    progress: str = ""


def existing_result(path, request, read, *, option="out", overwrite=False, replace=False, ways="", context=None):
    """Decide what happens where a result may be there already.

    Parameters
    ----------
    path : Path
        The file or directory of the result, for messages.
    request : dict, or function of a dict
        What decides the content of the result: values that JSON can hold. A value can be a function without arguments
        that returns it: it is called only where all other values agree, for what takes long to compute. In place of the
        dict, a function gets the request of the result that is there and returns the dict: what the user has left to
        the machine can follow the earlier run.
    read : function
        Returns the `Found` result, or None where nothing is there; raises `UserError` where it is damaged.
    option : str
        The option that names the place.
    overwrite : bool
        Make it again, whatever is there: nothing is read.
    replace : bool
        Make it again, in place of refusing it, where it is damaged or of another request.
    ways : str
        The ways out of a refusal, where they are not another place or --overwrite.
    context : galaxycgan.context.Context, optional
        Without one nothing is said.

    Returns
    -------
    Decision

    Raises
    ------
    UserError
        Where the result is damaged or of another request.
    """
    if overwrite:
        return Decision.FRESH
    found, trouble = look(path, request, read)
    say = context.say if context else lambda text: None
    if trouble and replace:
        say(f"{trouble}: made again")
    elif trouble:
        raise refusal(trouble, option, ways)
    if trouble or found is None:
        return Decision.FRESH
    if not found.finished:
        if found.progress:
            say(f"{path}: going on at {found.progress}")
        return Decision.RESUME
    say(f"{path}: done already{found.progress and f' ({found.progress})'}; --overwrite makes it again")
    return Decision.MADE


def look(path, request, read):
    """Return the `Found` result, None where there is none, and the reason why it can't be kept, '' where it can.

    Parameters are those of `existing_result`.
    """
    try:
        found = read()
        if found is None:
            return None, ""
        if found.request is None:
            return found, f"{path}: is there already and doesn't say which request made it"
        asked = request(found.request) if callable(request) else request
    except UserError as error:
        return None, str(error)
    different = differences(found.request, asked)
    return found, other_request(path, different) if different else ""


def other_request(path, different):
    """Return the words for a result of another request; `different` is what `differences` returned."""
    return f"{path}: was made by another request ({first_few(different, 3)})"


def refusal(trouble, option="out", ways=""):
    """Return the `UserError` for a result that can't be kept, with the ways out."""
    return UserError(f"{trouble}; {ways or f'give another --{option}, or --overwrite'}")


def refuse_existing(path, overwrite, option="out"):
    """Raise `UserError` where a file is there, for commands whose files don't say which request made them."""
    if path.exists() and not overwrite:
        raise refusal(f"{path}: is there already", option)


def check_output_file(path, inputs, option="out"):
    """Raise `UserError` where a result can't go: on an input file, or on a directory.

    Parameters
    ----------
    path : Path
        Where the result goes.
    inputs : iterable of Path
        Files that must not be replaced, not even with --overwrite.
    option : str
        The option that names the place.
    """
    for each in inputs:
        if path.exists() and path.samefile(each):
            raise UserError(f"{path}: --{option} is an input file; give another name")
    if path.is_dir():
        raise UserError(f"{path}: a directory; --{option} takes a file name")


def differences(there, asked):
    """Return in which values two requests differ, as texts "lr: 0.1 there, 0.2 asked".

    Parameters
    ----------
    there, asked : dict
        As `existing_result` describes requests. Values in dicts and lists are named like ``recipe.seed``.

    Returns
    -------
    list of str
        In the order of `asked`.
    """
    costly = {name: value for name, value in asked.items() if callable(value)}
    quick = {name: value for name, value in asked.items() if name not in costly}
    found = list(_differ("", {name: value for name, value in there.items() if name not in costly}, quick))
    for name, compute in costly.items() if not found else ():
        found += _differ(name, there.get(name, _MISSING), compute())
    return found


def _differ(name, there, asked):
    """Yield the texts of `differences` for one value."""
    if isinstance(there, dict) and isinstance(asked, dict):
        for key in [*asked, *(key for key in there if key not in asked)]:
            yield from _differ(f"{name}.{key}" if name else key, there.get(key, _MISSING), asked.get(key, _MISSING))
    # JSON and other files return tuples as lists.
    elif isinstance(there, list | tuple) and isinstance(asked, list | tuple) and len(there) == len(asked):
        for k, (one, other) in enumerate(zip(there, asked, strict=True)):
            yield from _differ(f"{name}.{k}", one, other)
    elif _plain(there) != _plain(asked):
        yield f"{name}: {_in_words(there)} there, {_in_words(asked)} asked"


def _plain(value):
    """Return a value with lists for tuples."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _in_words(value):
    """Return a value for a message: short, and visible where it is empty."""
    if value is None or value is _MISSING:
        return "nothing"
    text = str(value) or "''"
    if _SHA256.fullmatch(text):
        return f"SHA-256 {text[:8]}..."
    text = _SHA256.sub(lambda found: f"{found[0][:8]}...", text)
    # Paths differ at their ends.
    return text if len(text) <= FIRST + LAST else f"{text[:FIRST]}...{text[-LAST:]}"
