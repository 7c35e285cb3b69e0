"""The house keeps its order: imports go one way, commands answer at once, every option has a help text."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import galaxycgan
from galaxycgan.config import COMMANDS, STAGES, load

PACKAGE = Path(galaxycgan.__file__).parent
#: All rooms from the ground up: modules and folders of the package, and the folders inside a divided room. A module may
#: import from its own room and from those before it.
ROOMS = [
    "__init__", "errors", "memory", "provenance", "randomness", "resources", "checks", "context", "config", "files",
    "resume", "images", "catalogs.schema", "catalogs.formats", "catalogs.store", "catalogs.inputs", "catalogs.convert",
    "catalogs.export", "catalogs.derive", "catalogs.check", "catalogs", "models", "populations", "mock",
    "evaluation.classifiers", "evaluation.metrics", "evaluation.figures", "evaluation.reports", "evaluation",
    "training", "generation", "bench", "cli", "cluster", "submit", "__main__",
]  # fmt: skip
HEAVY = {"torch", "pandas", "astropy", "h5py", "submitit", "galsim"}
MOST_LINES = 400


def modules(package=PACKAGE):
    """Dotted name of each module of the package, without `galaxycgan.`, and its file."""
    for path in sorted(package.rglob("*.py")):
        yield ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__"), path


def imported(path):
    """Dotted names, without `galaxycgan.`, of what a file imports from the package, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: import by the full name, from galaxycgan"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.removeprefix("galaxycgan.") for name in names if name.startswith("galaxycgan."))


def floor(name):
    """The place of the room that a module, or something in it, is in: of several that fit the innermost."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in ROOMS:
            return ROOMS.index(".".join(parts[:length]))
    # Only names of galaxycgan/__init__.py, such as __version__, have no file.
    return 0 if not (PACKAGE / parts[0]).is_dir() and not (PACKAGE / f"{parts[0]}.py").exists() else None


def wrong_imports(package=PACKAGE):
    """Imports that go up, as "importer -> imported"."""
    return [
        f"{name} -> {target}"
        for name, path in modules(package)
        for target in imported(path)
        if floor(target) is None or floor(target) > floor(name)
    ]


def test_every_module_is_in_a_room_that_has_its_place():
    assert not [name for name, _ in modules() if floor(name) is None]
    folders = {".".join(path.relative_to(PACKAGE).parts) for path in PACKAGE.rglob("*") if any(path.glob("*.py"))}
    assert not {room for room in ROOMS if room not in folders | {name for name, _ in modules()}}, "no such room"


def test_a_lower_room_never_imports_a_higher_one():
    assert not wrong_imports()


@pytest.mark.parametrize(
    "file, line",
    [
        ("files.py", "from galaxycgan.training.checkpoint import save"),
        ("files/atomic.py", "from galaxycgan.training.checkpoint import save"),
        ("catalogs/convert.py", "def f():\n    from galaxycgan.mock import survey"),
        ("catalogs/convert/convert.py", "import galaxycgan.mock.survey"),
        ("images/deeper/than/today.py", "from galaxycgan import catalogs"),
        ("config/option.py", "from galaxycgan.images.bands import NAMES"),
        ("errors.py", "from galaxycgan import config"),
        ("mock/survey.py", "from galaxycgan.submit import main"),
    ],
)
def test_an_import_that_goes_up_is_found_wherever_it_stands(tmp_path, file, line):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n")
    assert len(wrong_imports(tmp_path)) == 1
    path.write_text("from galaxycgan.errors import UserError\nfrom galaxycgan import __version__\nimport numpy\n")
    assert not wrong_imports(tmp_path)


def test_no_module_imports_itself_through_others():
    """Without a circle the modules can be taken away one after the other, each when nothing left imports it."""
    names = {name for name, _ in modules()}
    arrows = {
        name: {target if target in names else target.rpartition(".")[0] for target in imported(path)} & names - {name}
        for name, path in modules()
    }
    while free := [name for name in arrows if not any(name in targets for targets in arrows.values())]:
        for name in free:
            del arrows[name]
    assert not arrows


def test_no_module_is_too_long_to_read():
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules()}
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_function(name):
    assert callable(load(name))
    assert name not in STAGES or STAGES[name] in COMMANDS[name][0].__dataclass_fields__


@pytest.mark.parametrize(
    "words",
    [["--help"], ["submit", "--help"], ["submit", "train_gan", "--help"], *[[name, "--help"] for name in COMMANDS]],
)
def test_help_imports_nothing_heavy(words):
    code = f"import sys; from galaxycgan.cli import main\ntry: main({words!r})\n"
    code += "except SystemExit as e: assert not e.code\n"
    code += f"assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: galaxycgan" in done.stdout


@pytest.mark.parametrize(
    "given, expected", [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_threads_that_wait_give_the_core_away_unless_the_user_wants_otherwise(given, expected):
    code = "import os, sys, galaxycgan; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=kept | given)
    assert done.stdout.split() == [expected, "False"]


def test_every_option_has_a_help_text():
    for config_class, _ in COMMANDS.values():
        for item in config_class.__dataclass_fields__.values():
            assert item.metadata.get("help"), f"{config_class.__name__}.{item.name}"
