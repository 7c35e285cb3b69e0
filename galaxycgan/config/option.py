"""How an option of a command is declared."""

from dataclasses import field


def option(default, help, *, choices=None, positional=False):
    """Declare an option of a command; a field without it is a mistake."""
    return field(default=default, metadata={"help": help, "choices": choices, "positional": positional})
