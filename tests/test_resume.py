"""A result that is there already: done, to go on with, made again, or refused with the reason and the ways out."""

from pathlib import Path

import pytest

from galaxycgan.context import Context
from galaxycgan.errors import UserError
from galaxycgan.resume import (
    Decision,
    Found,
    check_output_file,
    differences,
    existing_result,
    look,
    refuse_existing,
)

PATH = Path("runs/a")


def decide(found, request, **settings):
    return existing_result(PATH, request, lambda: found, context=Context(), **settings)


def damaged():
    raise UserError("runs/a/metrics.json: not valid JSON")


def refused(found, request, **settings):
    """Return the words of a refusal."""
    with pytest.raises(UserError) as error:
        decide(found, request, **settings)
    return str(error.value)


def test_what_is_not_there_is_made(capsys):
    assert decide(None, {"lr": 1}) is Decision.FRESH
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "found, decision, words",
    [
        (Found({"lr": 1}), Decision.MADE, "runs/a: done already; --overwrite makes it again\n"),
        (
            Found({"lr": 1}, progress="5 epochs"),
            Decision.MADE,
            "runs/a: done already (5 epochs); --overwrite makes it again\n",
        ),
        (Found({"lr": 1}, False, "epoch 3"), Decision.RESUME, "runs/a: going on at epoch 3\n"),
        (Found({"lr": 1}, False), Decision.RESUME, ""),
    ],
)
def test_a_result_of_the_same_request_is_done_or_gone_on_with(found, decision, words, capsys):
    assert decide(found, {"lr": 1}) is decision
    assert capsys.readouterr().out == words
    assert existing_result(PATH, {"lr": 1}, lambda: found) is decision
    assert not capsys.readouterr().out


@pytest.mark.parametrize("finished", [True, False])
def test_a_result_of_another_request_is_refused_with_what_differs_and_the_ways_out(finished):
    words = refused(Found({"lr": 0.1, "seed": 0}, finished), {"lr": 0.2, "seed": 0}, option="run")
    assert words == (
        "runs/a: was made by another request (lr: 0.1 there, 0.2 asked); give another --run, or --overwrite"
    )
    words = refused(Found({"lr": 0.1}, finished), {"lr": 0.2}, ways="remove it")
    assert words == "runs/a: was made by another request (lr: 0.1 there, 0.2 asked); remove it"


def test_a_result_that_does_not_tell_its_request_or_is_damaged_is_refused():
    assert refused(Found(None), {}) == (
        "runs/a: is there already and doesn't say which request made it; give another --out, or --overwrite"
    )
    with pytest.raises(UserError, match="^runs/a/metrics.json: not valid JSON; give another --to, or --overwrite$"):
        existing_result(PATH, {}, damaged, option="to")


def test_overwrite_reads_nothing():
    assert existing_result(PATH, {"lr": 1}, damaged, overwrite=True) is Decision.FRESH


@pytest.mark.parametrize(
    "read, words",
    [
        (lambda: Found({"lr": 2}), "runs/a: was made by another request (lr: 2 there, 1 asked): made again\n"),
        (lambda: Found(None), "runs/a: is there already and doesn't say which request made it: made again\n"),
        (damaged, "runs/a/metrics.json: not valid JSON: made again\n"),
        (lambda: None, ""),
    ],
)
def test_parts_of_another_request_are_made_again_where_the_stage_says_so(read, words, capsys):
    assert existing_result(PATH, {"lr": 1}, read, replace=True, context=Context()) is Decision.FRESH
    assert capsys.readouterr().out == words


def test_a_part_can_be_looked_at_without_a_decision():
    assert look(PATH, {"lr": 1}, lambda: None) == (None, "")
    assert look(PATH, {"lr": 1}, lambda: Found({"lr": 1})) == (Found({"lr": 1}), "")
    assert look(PATH, {"lr": 1}, damaged) == (None, "runs/a/metrics.json: not valid JSON")


def test_what_was_left_to_the_machine_follows_the_result():
    def asked(made):
        return {"lr": 1, "precision": made["precision"]}

    assert decide(Found({"lr": 1, "precision": "bfloat16"}), asked) is Decision.MADE
    assert "(lr: 2 there, 1 asked)" in refused(Found({"lr": 2, "precision": "bfloat16"}), asked)


def test_what_takes_long_to_compute_is_computed_only_where_all_else_agrees():
    def never():
        raise AssertionError

    assert "(lr: 2 there, 1 asked)" in refused(Found({"lr": 2, "file": "a"}), {"file": never, "lr": 1})
    assert decide(Found({"lr": 1, "file": "a"}), {"file": lambda: "a", "lr": 1}) is Decision.MADE
    assert "(file: a there, b asked)" in refused(Found({"lr": 1, "file": "a"}), {"file": lambda: "b", "lr": 1})
    assert "(file: nothing there, b asked)" in refused(Found({"lr": 1}), {"file": lambda: "b", "lr": 1})


@pytest.mark.parametrize(
    "there, asked, expected",
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": [1, [2]]}, {"a": (1, (2,))}, []),
        ({"a": {"b": [1, {"c": (2,)}]}}, {"a": {"b": (1, {"c": [2]})}}, []),
        ({"a": 1}, {"a": 1, "b": 2}, ["b: nothing there, 2 asked"]),
        ({"a": 1, "b": 2}, {"a": 1}, ["b: 2 there, nothing asked"]),
        ({"a": 1, "b": None}, {"a": 1}, ["b: nothing there, nothing asked"]),
        ({"a": ""}, {"a": "x"}, ["a: '' there, x asked"]),
        ({"b": 1, "a": 1}, {"a": 2, "b": 2}, ["a: 1 there, 2 asked", "b: 1 there, 2 asked"]),
        ({"a": {"b": {"c": 1, "d": 0}}}, {"a": {"b": {"c": 2, "d": 0}}}, ["a.b.c: 1 there, 2 asked"]),
        ({"a": [1, 2, 3]}, {"a": [1, 5, 3]}, ["a.1: 2 there, 5 asked"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a: [1, 2] there, [1] asked"]),
        ({"a": {}}, {"a": {"b": 1}}, ["a.b: nothing there, 1 asked"]),
        ({"a": 5}, {"a": {"b": 1}}, ["a: 5 there, {'b': 1} asked"]),
        ({}, {"a": {}}, ["a: nothing there, {} asked"]),
        ({"a": "0" * 64}, {"a": "f" * 64}, ["a: SHA-256 00000000... there, SHA-256 ffffffff... asked"]),
        (
            {"a": f"/scratch/a/long/path/to/some/table.csv (sha256 {'0' * 64})"},
            {"a": f"/scratch/a/long/path/to/some/table.csv (sha256 {'f' * 64})"},
            [
                "a: /scratch/a/long/path/to/some/table.csv (sha256 00000000...) there,"
                " /scratch/a/long/path/to/some/table.csv (sha256 ffffffff...) asked"
            ],
        ),
        ({"a": "x" * 70}, {"a": 1}, [f"a: {'x' * 20}...{'x' * 40} there, 1 asked"]),
    ],
)
def test_differences_are_named_where_they_lie(there, asked, expected):
    assert differences(there, asked) == expected


def test_of_many_differences_the_first_are_named():
    words = refused(Found(dict.fromkeys("abcde", 1)), dict.fromkeys("abcde", 2))
    assert "(a: 1 there, 2 asked, b: 1 there, 2 asked, c: 1 there, 2 asked, ...)" in words


def test_an_input_file_and_a_directory_are_never_a_result(tmp_path):
    (tmp_path / "in").touch()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    check_output_file(tmp_path / "new", [tmp_path / "in"])
    with pytest.raises(UserError, match="link: --out is an input file; give another name"):
        check_output_file(tmp_path / "link", [tmp_path / "in"])
    with pytest.raises(UserError, match="a directory; --to takes a file name"):
        check_output_file(tmp_path, [], "to")


def test_a_file_that_can_not_be_compared_is_replaced_only_on_request(tmp_path):
    refuse_existing(tmp_path / "new", overwrite=False)
    refuse_existing(tmp_path, overwrite=True)
    with pytest.raises(UserError, match="is there already; give another --out, or --overwrite$"):
        refuse_existing(tmp_path, overwrite=False)
