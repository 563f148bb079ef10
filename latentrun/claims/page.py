"""The page, the pictures and the table for a text of what claims came to."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from latentrun.claims.claim import KINDS, Claim
from latentrun.claims.fixed import history, lines
from latentrun.claims.judge import Part, Verdict
from latentrun.claims.plot import Row, expectations
from latentrun.plotting.pages import policy
from latentrun.plotting.style import paper
from latentrun.report.parts import Shown, address, interval, number, template, written_out
from latentrun.store.files import write_text
from latentrun.system.door import Guarded
from latentrun.types import Picture

PLACES = ("output=", "hydra.", "--")  # settings of one machine, which a text does not repeat
HEAD = ("part", "quantity", "source", "expected", "ours (95 % interval over seeds)", "n", "verdict")
CAPTION = (
    "Each axis is one thing that the sentence says. Green: the range expected. "
    "Ticks: the seeds; above them the mean with its 95 % interval over seeds (t; of ratios with the "
    "geometric mean, logarithmic axis; of shares exact; none where all seeds have one value). Square: "
    "reported, without expectation."
)


def write_claims(
    path: Path,
    verdicts: Sequence[Verdict],
    runs: pd.DataFrame,
    about: Mapping[str, Any],
    formats: Sequence[str],
) -> None:
    """``plots/<claim>.png`` and ``report.html`` in ``path``."""
    with paper():
        sections = [section(path, verdict, formats) for verdict in verdicts]
    columns = ["run", "seed", "state", "commit", "measured_by", "directory", "reason"]
    shown = runs.assign(commit=runs["commit"].map(commit), measured_by=runs["measured_by"].map(several))
    directory_of = itemgetter(columns.index("directory"))
    html = template("claims.html.j2").render(
        policy=policy(False),
        name=path.resolve().name,
        meta=about,
        sections=sections,
        kinds=KINDS,
        history=history,
        changes=lines,
        commits=commits_of(runs),
        shortened=shortened,
        runs=[(*line, link(path, directory_of(line))) for line in shown[columns].values.tolist()],
    )
    write_text(Guarded(path) / "report.html", html)


def section(
    path: Path, verdict: Verdict, formats: Sequence[str]
) -> tuple[Verdict, list[dict[str, str]], list[Shown]]:
    """A claim on the page: verdict, the lines of its table, its picture, which is written."""
    picture = Picture(expectations([row(part) for part in verdict.parts]), CAPTION)
    shown = written_out(Guarded(path) / "plots", verdict.claim.name, picture, formats)
    return verdict, [cells(part) for part in verdict.parts], [shown]


def row(part: Part) -> Row:
    """An axis of the picture."""
    expected = part.expectation
    return Row(
        says=expected.says,
        quantity=expected.quantity,
        values=part.values,
        finding=part.finding,
        above=expected.above,
        below=expected.below,
        ratio=expected.kind == "ratio",
    )


def shortened(overrides: Sequence[str]) -> str:
    """What a reader must know of runs that the ``overrides`` of a size changed; empty where there are none.

    >>> shortened(["training.epochs=40"])
    'Every run has training.epochs=40, or less, whatever its claim says: verdicts are of such runs.'
    """
    if not overrides:
        return ""
    return (
        f"Every run has {shlex.join(overrides)}, or less, whatever its claim says: verdicts are of such runs."
    )


def cells(part: Part) -> dict[str, str]:
    """A line of the table, as text."""
    expected, finding = part.expectation, part.finding
    return {
        "says": expected.says,
        "quantity": expected.quantity,
        "source": "–" if expected.source_value is None else number(expected.source_value),
        "expected": expected.expected or "–",
        "verdict": finding.verdict,
        "mean": number(finding.mean),
        "interval": interval(finding.low, finding.high),
        "n": str(finding.n),
    }


def markdown(verdicts: Sequence[Verdict], runs: pd.DataFrame, about: Mapping[str, Any]) -> str:
    """Tables for a text, with what they and the ``runs`` behind them were made with."""
    versions, device = about["versions"], about["device"]
    settings = [text for text in about["argv"] if "=" in text and not text.startswith(PLACES)]
    text = [
        f"{about['created'][:10]}, size `{about['size']}`, seeds {', '.join(map(str, about['seeds']))}; "
        f"{device['kind']} ({device['name']}), "
        f"Python {versions['python']}, torch {versions['torch']}, commit {commit(about['git'])}. "
        f"{commits_of(runs)}. {shortened(about['overrides'])}".rstrip(),
        "",
        f"`latentrun {shlex.join(settings)}`",
        "",
        *_table(
            ["claim", "whose", "verdict", "amended", "sentence"],
            [_summary(verdict) for verdict in verdicts],
        ),
    ]
    for verdict in verdicts:
        text += ["", f"### {verdict.claim.name}: {verdict.verdict}", "", *_statement(verdict.claim), ""]
        text += _table(HEAD, [_line(cells(part)) for part in verdict.parts])
    return "\n".join(text) + "\n"


def _summary(verdict: Verdict) -> list[str]:
    """A claim in the table of all."""
    claim = verdict.claim
    amended = history(claim.amended) or "–"
    return [claim.name, claim.kind, f"**{verdict.verdict}**", amended, claim.sentence]


def _statement(claim: Claim) -> list[str]:
    """Sentence, source and conditions of a claim, when it was fixed and what was changed of it."""
    text = [f"{claim.sentence} ({claim.source}; {KINDS[claim.kind]})"]
    if claim.conditions is not None:
        text += ["", f"Judged {claim.conditions}."]
    text += ["", f"Fixed {claim.fixed.date}, digest {claim.fixed.digest}."]
    if claim.amended:
        text += ["", "Amended:", ""]
        text += [
            f"- {line}; digest {change.digest}"
            for line, change in zip(lines(claim.amended), claim.amended, strict=True)
        ]
    return text


def _line(cell: Mapping[str, str]) -> list[str]:
    """A part under the columns of ``HEAD``."""
    return [
        cell["says"],
        f"`{cell['quantity']}`",
        cell["source"],
        cell["expected"],
        f"{cell['mean']} {cell['interval']}",
        cell["n"],
        cell["verdict"],
    ]


def commit(git: str | None) -> str:
    """The commit, shortened, with the sign of code that was changed since."""
    return "unknown" if not git else git[:12] + "+" * git.endswith("+")


def several(names: str) -> str:
    """Commits, shortened, of which there may be none."""
    return ", ".join(commit(name) for name in names.split(", ")) if names else ""


def commits_of(runs: pd.DataFrame) -> str:
    """By which commits the runs were trained, and measured where it was another, in words."""
    pairs = zip(runs["commit"], runs["measured_by"], strict=True)
    counts = Counter(
        f"{commit(trained)}, measured by {several(measured)}" if measured else commit(trained)
        for trained, measured in pairs
    )
    return "Runs by commit: " + "; ".join(f"{name} ({count})" for name, count in counts.most_common())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; a bar within a cell is no bar of the table."""
    lines = [
        [cell.replace("|", "\\|").strip() for cell in line] for line in (head, ["---"] * len(head), *rows)
    ]
    return [f"| {' | '.join(line)} |" for line in lines]


def link(path: Path, directory: str) -> str | None:
    """The address of a run's page, relative to ``path``; None where it has none."""
    page = Path(directory, "report.html")
    return address(f"./{os.path.relpath(page, path)}") if page.is_file() else None
