"""What a person sees while the work goes on: on a terminal what moves, elsewhere plain lines, in quiet mode
the result alone."""

from __future__ import annotations

import io

import pandas as pd
import pytest
import rich

from latentrun.cli import command
from latentrun.system import terminal
from latentrun.system.door import Guarded
from latentrun.tasks.console import LOGGER, RESULT, log_to, measuring, table_lines, told, written
from latentrun.types import Estimate, Metric, Report


class Tty(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def log(tmp_path):
    handler = log_to(Guarded(tmp_path) / "run.log")
    yield tmp_path / "run.log"
    LOGGER.removeHandler(handler)
    handler.close()


def watched(monkeypatch) -> Tty:
    """A terminal in the place of standard output."""
    monkeypatch.setattr("sys.stdout", screen := Tty())
    monkeypatch.setattr(terminal.Voice, "quiet", False)
    return screen


def test_a_line_passes_on_a_terminal_and_the_next_takes_its_place(monkeypatch):
    tty = watched(monkeypatch)
    terminal.wait_for("loading ...")
    assert tty.getvalue() == "loading ..." and terminal.Voice.passing
    terminal.show("done")
    assert tty.getvalue() == "loading ...\r\x1b[Kdone\n" and not terminal.Voice.passing


def test_nothing_passes_where_nobody_looks(capsys):
    terminal.wait_for("loading ...")
    assert capsys.readouterr().out == ""


def test_the_first_sign_comes_before_anything_is_composed(monkeypatch):
    """Composing takes half a second, torch some more."""
    tty = watched(monkeypatch)
    monkeypatch.setattr("latentrun.cli.compose", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command(["model=vae"])
    assert tty.getvalue() == "latentrun: reading the settings ..."
    terminal.clear()


def test_diagnostics_are_named_and_counted(log, monkeypatch):
    rich.get_console()  # made while standard output is no terminal, it shows nothing on one later
    tty = watched(monkeypatch)
    with measuring("hull", 3, 7):
        assert "hull (3 of 7)" in tty.getvalue()


def test_without_a_terminal_they_get_a_line(capsys, log):
    with measuring("hull", 3, 7):
        assert capsys.readouterr().out == "measuring hull (3 of 7)\n"
    assert "measuring hull (3 of 7)" in log.read_text()


def test_quiet_shows_results_and_what_is_wrong(capsys, log, monkeypatch):
    monkeypatch.setattr(terminal.Voice, "quiet", True)
    LOGGER.info("an epoch")
    LOGGER.log(RESULT, "a report")
    LOGGER.error("a failure")
    assert capsys.readouterr().out == "a report\na failure\n"
    assert log.read_text().count("\n") == 3 and "an epoch" in log.read_text()


@pytest.mark.parametrize(("flags", "quiet"), [(["-q"], True), (["--quiet"], True), ([], False)])
def test_quiet_is_a_flag(flags, quiet, monkeypatch):
    monkeypatch.setattr(terminal.Voice, "quiet", not quiet)
    monkeypatch.setattr("latentrun.cli.perform", lambda *_: 0)
    assert command([*flags, "model=vae"]) == 0 and terminal.Voice.quiet is quiet


def test_numbers_have_units_and_the_chief_ones_come_first():
    declared = {
        "spread": Metric("nats per example, mean over test rows"),
        "active": Metric("latent variables"),
        "share": Metric("1 where the gain fell below the KL while there was noise, else 0"),
        "nothing": Metric("pixels"),
    }
    report = Report(
        {
            "spread": Estimate(1.23456),
            "nothing": Estimate(float("nan")),
            "share": Estimate(1.0),
            "active": Estimate(2.0),
        }
    )
    line = "sparsity: active 2 latent variables, spread 1.235 nats per example, share 1"
    assert told("sparsity", declared, report) == line


@pytest.mark.parametrize(
    ("unit", "value", "said"),
    [
        ("units of x, ||x - xhat|| of an example", 1.602, "1.602 units of x"),
        ("whitened units from path points to the nearest code, mean", 0.2767, "0.2767 whitened units"),
        ("share of samples closer to a training example than 95 % of test rows are", 0.0, "0 %"),
        ("share of samples whose fitted factors lie within", 0.832, "83.2 %"),
        ("latent variables", 3.0, "3 latent variables"),
        ("latent variables with hardly any gain, whatever", 0.0, "0 latent variables"),
        ("nats per example, summed over latent variables", 1.5, "1.5 nats per example"),
        ("1 - SSE / SST over test rows, at most 1", 0.937, "0.937"),
        ("number of differences in versions, commit", 1.0, "1"),
        ("pure number, m3 / m2^1.5", 1.307, "1.307"),
        ("delta_var / mse", 2.202, "2.202"),
        ("var(μ) + mean σ², mean over latent variables", 0.588, "0.588"),
        ("median distance to the nearest training example, samples over test rows", 5.512, "5.512"),
        ("part of the data's mean variance per dimension", 0.1, "0.1"),
        ("", 2.0, "2"),
    ],
)
def test_only_a_unit_stands_behind_a_number(unit, value, said):
    assert written(value, Metric(unit)) == said


def test_the_mean_of_a_quantity_and_other_quantities_come_before_its_spread():
    keys = ("error_mean", "error_median", "error_sd", "error_skewness", "tail_ratio", "mse", "unexplained")
    line = told(
        "reconstruction",
        {key: Metric("units of x") for key in keys},
        Report({key: Estimate(1.0) for key in keys}),
    )
    assert [text.split()[0] for text in line.removeprefix("reconstruction: ").split(", ")] == [
        "error_mean",
        "mse",
        "unexplained",
        "error_median",
    ]


def test_a_report_without_numbers_names_its_tables():
    report = Report({}, {"differences": pd.DataFrame(), "examples": pd.DataFrame()})
    assert told("metrics", {}, report) == "metrics: tables differences, examples"
    assert told("metrics", {}, Report({}, {})) == "metrics: no numbers"


def test_a_table_is_printed_in_columns():
    table = pd.DataFrame({"group": ["one", "another"], "elbo": ["1.5 [1, 2]", ""]})
    assert table_lines(table) == ["group    elbo", "one      1.5 [1, 2]", "another"]
    assert table_lines(None) == []
