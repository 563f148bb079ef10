"""What the command says to wrong input: one line, exit code 2, nothing written, before anything trains.

``wrong/*.txt`` are the table: a command line as it is typed in a shell, and under it the line that it gets;
``...`` at its end stands for whatever follows. {p}: the folder of :mod:`tests.cli.places`.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import latentrun
from latentrun.cli import main
from latentrun.config.options import shipped
from latentrun.errors import InputError
from tests.cli.places import OWN, run

TABLES = sorted((Path(__file__).parent / "wrong").glob("*.txt"))


def rows(path: Path) -> list[tuple[str, str]]:
    """The rows of one file of the table."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[:2] != "# "]
    assert all(line[:4] == "    " for line in lines[1::2]) and len(lines) % 2 == 0
    return [(line, message[4:]) for line, message in zip(lines[::2], lines[1::2], strict=True)]


WRONG = [row for path in TABLES for row in rows(path)]


def placed(text: str, places: Path) -> str:
    """A text of the table with what its names in braces stand for."""
    names = {
        "{p}": places,
        "{own}": OWN / "ellipsoids" / "conf",
        "{conf}": shipped(),
        "{long}": "x" * 300,
        "{many}": f"[{'1,' * 2500}1]",
        "{v}": latentrun.__version__,
    }
    for name, value in names.items():
        text = text.replace(name, str(value))
    return text


def test_the_table_is_long_and_repeats_nothing():
    assert len(WRONG) >= 300 and len({line for line, _ in WRONG}) == len(WRONG)


@pytest.mark.parametrize(("line", "message"), WRONG, ids=[line for line, _ in WRONG])
def test_wrong_input_gets_one_line_and_leaves_nothing(line, message, capsys, places, elsewhere, unmade):
    code, out, err = run([placed(word, places) for word in shlex.split(line)], capsys)
    expected, got = placed(message, places), err.removeprefix("latentrun: ").removesuffix("\n")
    assert got.startswith(expected.removesuffix("...")) if expected.endswith("...") else got == expected
    assert code == 2 and err.startswith("latentrun: ") and err.count("\n") == 1 and out == ""
    assert list(elsewhere.iterdir()) == []


def test_a_traceback_is_there_for_who_asks(elsewhere, monkeypatch):
    monkeypatch.setenv("LATENTRUN_DEBUG", "1")
    with pytest.raises(InputError, match="unknown model"):
        main(["model=vea"])
