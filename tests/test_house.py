"""The house keeps its order: imports go one way, commands answer at once, options are told."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import galaxycgan
from galaxycgan.config import COMMANDS, STAGES, load

PACKAGE = Path(galaxycgan.__file__).parent
#: From the ground up; a room may import from itself and from below.
FLOORS = ["images", "catalogs", "models", "evaluation", "training", "generation", "cluster", "bench"]
HEAVY = {"torch", "pandas", "astropy", "h5py", "submitit", "galsim"}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            parts = name.split(".")
            if parts[0] == "galaxycgan" and len(parts) > 1 and parts[1] in FLOORS:
                yield parts[1]


@pytest.mark.parametrize("room", FLOORS)
def test_a_lower_room_never_imports_a_higher_one(room):
    above = set(FLOORS[FLOORS.index(room) + 1 :])
    for path in (PACKAGE / room).glob("*.py"):
        assert not above & set(imported_rooms(path)), path.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_function(name):
    assert callable(load(name))
    assert name not in STAGES or STAGES[name] in COMMANDS[name][0].__dataclass_fields__


@pytest.mark.parametrize("words", [["--help"], *[[name, "--help"] for name in COMMANDS]])
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
