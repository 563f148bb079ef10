"""The README lists what there is, and its commands are understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from latentrun.cli import compose, parse
from latentrun.command.values import choices_of
from latentrun.config.build import build
from latentrun.config.options import options, shipped
from latentrun.diagnostics.base import Question
from latentrun.errors import InputError
from tests.conformance import parts

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
QUESTIONS = {"diagnostic": parts.DIAGNOSTICS, "comparison": parts.COMPARISONS}


def table(group: str) -> dict[str, list[str]]:
    """The rows of the table whose first column is ``group=``, by name."""
    body = re.search(rf"^\| `{group}=` .*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE).group(1)
    rows = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in body.splitlines()]
    return {row[0].strip("`| "): row for row in rows}


@pytest.mark.parametrize("group", ["data", "model", "diagnostic", "comparison"])
def test_tables_list_exactly_what_there_is(group):
    assert set(table(group)) == set(options(group, [shipped()]))


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, names in QUESTIONS.items() for name in names]
)
def test_diagnostics_and_comparisons_answer_and_need_what_the_table_says(group, name):
    question = build(parts.spec(group, name)[name], Question, name)
    row = table(group)[name]
    assert row[1] == question.answers()
    assert row[2].strip("| ") == ", ".join(need.noun for need in question.requires)


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[1:] for line in lines if line and line[0] in ("latentrun", "scripts/run")]


def of_two_seeds(word: str) -> str:
    """Two seeds where there are more: what composes with one of them does so with all."""
    return re.sub(r"^seed=0,1,.*$", "seed=0,1", re.sub(r"^seed=range\(\d+\)$", "seed=range(2)", word))


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_commands_compose(arguments):
    if "--help" in arguments:
        return
    arguments = parse([of_two_seeds(word) for word in arguments])
    try:
        cfg = compose(arguments.overrides, [], sweep=arguments.multirun)
    except InputError as error:
        if "is not installed: pip install" not in str(error):
            raise
        pytest.skip(str(error))
    assert choices_of(cfg.hydra)["task"] in options("task", [shipped()])


def test_the_two_commands_are_there():
    for name in re.findall(r"scripts/[\w/]*\w(?:\.\w+)?", TEXT):
        assert (ROOT / name).is_file()
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", TEXT):
        assert (ROOT / picture).is_file()
