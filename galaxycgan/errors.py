"""The two ways in which a stage ends early on purpose, and the exit codes of commands and jobs."""

#: A user's mistake; any other failure; stopped on request, to be resumed later (EX_TEMPFAIL of sysexits: try again).
EXIT_MISTAKE = 2
EXIT_FAILED = 1
EXIT_STOPPED = 75


class UserError(Exception):
    """A mistake of the user's.

    The message is one line that names the file, the column or index, the first offending ids, and the fix. The doors
    (`galaxycgan.cli`, `galaxycgan.submit`) print it without a traceback and exit with code 2.
    """


class Interrupted(Exception):
    """The stage was asked to stop, has saved its state, and resumes when the same command is given again."""


def first_few(values, limit=5):
    """Return the first `limit` of `values` as text, with an ellipsis where there are more."""
    values = list(values)
    return ", ".join(str(v) for v in values[:limit]) + (", ..." if len(values) > limit else "")
