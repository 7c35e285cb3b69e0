"""The changes that tests must notice (tests/mutations.py) still fit the code; they are not tried here."""

import ast
from pathlib import Path

import pytest
from mutations import CHANGES, ROOT, Change


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_still_fits_the_code_and_its_test_is_there(change):
    changed = change.changed((ROOT / change.path).read_text())
    ast.parse(changed)
    file, _, name = change.test.partition("::")
    functions = {n.name for n in ast.parse((ROOT / "tests" / file).read_text()).body if isinstance(n, ast.FunctionDef)}
    assert name in functions


def test_names_differ():
    assert len({change.name for change in CHANGES}) == len(CHANGES)


@pytest.mark.parametrize("text", ["b\n", "a\na\n"])
def test_a_text_that_is_not_there_or_comes_twice_is_refused(text):
    change = Change("an example", str(Path("errors.py")), "a", "c", "test_house.py::test_names")
    assert change.changed("a\nb\n") == "c\nb\n"
    with pytest.raises(ValueError, match=f"an example: 'a' occurs {text.count('a')} times in galaxycgan/errors.py"):
        change.changed(text)
