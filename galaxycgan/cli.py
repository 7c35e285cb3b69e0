"""The door ``galaxycgan COMMAND``: reads the command line, calls the command, turns mistakes into one line.

Built on argparse: a configuration library that reads dataclasses (tyro) takes 0.4 s before its first word, and --help
and --dry-run have to answer in half a second.
"""

import argparse
import dataclasses
import sys
import typing

from galaxycgan import __version__
from galaxycgan.config import COMMANDS, DOORS, load
from galaxycgan.errors import EXIT_MISTAKE, EXIT_STOPPED, Interrupted, UserError


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message):
        raise UserError(f"{message} (see {self.prog} --help)")


def add_options(parser, config_class):
    """Declare the fields of a command's dataclass as options of a parser."""
    types = typing.get_type_hints(config_class)
    for item in dataclasses.fields(config_class):
        kind, meta = types[item.name], item.metadata
        default = "" if item.default in ("", ()) else f" (default: {item.default})"
        settings = {"help": meta["help"].replace("%", "%%") + default}
        if meta["choices"]:
            settings["choices"] = meta["choices"]
        if meta["positional"]:
            several = typing.get_origin(kind) is tuple
            settings |= {"nargs": "*", "default": ()} if several else {}
            parser.add_argument(item.name, metavar=item.name.upper(), **settings)
            continue
        flags = ["--" + item.name.replace("_", "-")]
        if "_" in item.name:
            flags.append("--" + item.name)
        if kind is bool:
            parser.add_argument(*flags, dest=item.name, action="store_true", help=meta["help"])
        elif typing.get_origin(kind) is tuple:
            parser.add_argument(*flags, dest=item.name, action="append", default=[], metavar="TEXT", help=meta["help"])
        else:
            metavar = None if meta["choices"] else kind.__name__.upper()
            parser.add_argument(*flags, dest=item.name, type=kind, default=item.default, metavar=metavar, **settings)


def collect(config_class, values):
    """Make a command's dataclass from parsed values."""
    chosen = {item.name: getattr(values, item.name) for item in dataclasses.fields(config_class)}
    return config_class(**{k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()})


def build_parser(prog, description, names, extra_options=None, doors=()):
    """Return a parser with one subcommand for each of `names`.

    Parameters
    ----------
    prog, description : str
        For the help.
    names : iterable of str
        Keys of `COMMANDS`.
    extra_options : dataclass type, optional
        Options that every subcommand has beside its own.
    doors : iterable of str
        Keys of `DOORS` that the help lists.
    """
    parser = Parser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"galaxycgan {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names:
        config_class = COMMANDS[name][0]
        summary = config_class.__doc__
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        add_options(command, config_class)
        if extra_options:
            add_options(command.add_argument_group("submission"), extra_options)
    for name in doors:
        commands.add_parser(name, help=DOORS[name][1], add_help=False)
    return parser


def run_command(name, config):
    """Run a command here and now."""
    from galaxycgan.context import Context

    load(name)(config, Context().listen())


def guarded(action, prog):
    """Call `action`, turning mistakes and interruptions into one line and an exit code."""
    try:
        return action() or 0
    except UserError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except Interrupted:
        print(f"{prog}: stopped as asked; give the same command again to resume", file=sys.stderr)
        return EXIT_STOPPED
    except KeyboardInterrupt:
        print(f"{prog}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def main(arguments=None):
    """Run ``galaxycgan COMMAND``; return the exit code."""
    prog = "galaxycgan"
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in DOORS:
        return load(arguments[0])(arguments[1:], f"{prog} {arguments[0]}")

    def action():
        about = "Conditional GANs for galaxy images: survey files to synthetic catalogs."
        values = build_parser(prog, about, COMMANDS, doors=DOORS).parse_args(arguments)
        run_command(values.command, collect(COMMANDS[values.command][0], values))

    return guarded(action, prog)
