"""The README lists what there is, and its commands are understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from latentrun.build import build
from latentrun.cli import compose, parse, settings_of
from latentrun.diagnostics.base import Diagnostic, words
from latentrun.options import options, shipped
from tests.conformance import parts

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def table(group: str) -> dict[str, list[str]]:
    """The rows of the table whose first column is ``group=``, by name."""
    body = re.search(rf"^\| `{group}=` .*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE).group(1)
    rows = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in body.splitlines()]
    return {row[0].strip("`| "): row for row in rows}


@pytest.mark.parametrize("group", ["data", "model", "diagnostic"])
def test_tables_list_exactly_what_there_is(group):
    assert set(table(group)) == set(options(group, [shipped()]))


@pytest.mark.parametrize("name", parts.DIAGNOSTICS)
def test_diagnostics_answer_and_need_what_the_table_says(name):
    diagnostic = build(parts.spec("diagnostic", name)[name], Diagnostic, name)
    row = table("diagnostic")[name]
    assert row[1] == diagnostic.answers()
    assert row[2].strip("| ") == ", ".join(words(need) for need in diagnostic.requires)


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[1:] for line in lines if line and line[0] in ("latentrun", "scripts/run")]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_commands_compose(arguments):
    if "--help" in arguments:
        return
    arguments = parse(arguments)
    single = [re.sub(r"=([^\[,]+),.*", r"=\1", text) for text in arguments.overrides] if arguments.multirun else arguments.overrides
    assert settings_of(compose(single, [])).task in options("task", [shipped()])


def test_the_two_commands_are_there():
    for name in re.findall(r"scripts/\w+", TEXT):
        assert (ROOT / name).is_file()
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", TEXT):
        assert (ROOT / picture).is_file()
