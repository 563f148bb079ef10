"""Texts of somebody else: seen as they are on a terminal, in logs, tables, pages and pictures, and never more
than text."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from rich.console import Console

from latentrun.plotting.style import figure, paper
from latentrun.report.parts import address, template
from latentrun.store.cells import inert
from latentrun.store.files import write_table
from latentrun.store.intake import read_table
from latentrun.store.reports import write_figure
from latentrun.sweep import live
from latentrun.system.door import Guarded
from latentrun.system.terminal import printable, show
from tests.faults.shared import SMALL, run
from tests.lines import latest
from tests.planted_runs import plant

# A clear screen, a title, a bell, an overwritten line, a C1 command, marks that turn the direction around.
HOSTILE = "\x1b[2J\x1b]0;owned\x07 done\rfine \x9b31m \u202eevil\u2066\u200f"
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


# ---------------------------------------------------------------- one place for all that is shown
@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain, größer – 数 x̂", "plain, größer – 数 x̂"),
        ("a\u00a0b", "a\u00a0b"),
        ("a\x1b[2J\x07\rb", r"a\x1b[2J\x07\rb"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eevil", r"\u202eevil"),
        ("caf\udce9", r"caf\udce9"),
        ("two\nlines\t.", r"two\nlines\t."),
    ],
)
def test_what_steers_a_terminal_is_written_out(text, shown, capsys):
    assert printable(text) == shown and not STEERING.search(shown)
    show(text, "next")
    out = capsys.readouterr().out
    assert out.replace("\n", r"\n").replace("\t", r"\t") == rf"{shown}\nnext\n"


def test_markup_of_rich_is_text_in_a_sweep(monkeypatch, tmp_path):
    """A job's name holds lists in brackets, its log what somebody has written there."""
    (tmp_path / "run.log").write_text(f"{'the time':24}[/bold] {HOSTILE}\n")
    monkeypatch.setattr(live, "is_watched", lambda: True)
    view = live.View(SimpleNamespace(directory=lambda job: tmp_path), 2)
    tables = []
    view.live = SimpleNamespace(update=lambda table, refresh: tables.append(table))
    view.show([SimpleNamespace(job=SimpleNamespace(name="network.widths=[32],[/x]"), since=0.0)], 1)
    drawn = io.StringIO()
    Console(file=drawn, width=200, color_system=None).print(tables[0])
    assert "network.widths=[32],[/x]" in drawn.getvalue() and r"[/bold] \x1b[2J" in drawn.getvalue()
    assert not STEERING.search(drawn.getvalue())


def harmed(bench) -> None:
    """Hostile texts wherever a run holds texts that are shown, and in the category of a data file."""
    assert run("task=diagnose", "run=done", "diagnostic=[stationarity]") == 0  # for pictures with captions
    (bench.folder / "homes.csv").write_text(
        (bench.folder / "homes.csv").read_text().replace("wood", HOSTILE.replace("\r", "") + "<script>")
    )
    for path in (bench.done, bench.stopped):
        meta = json.loads((path / "meta.json").read_text())
        meta["caveats"] = [HOSTILE]
        meta["captions"] = {name: HOSTILE for name in meta.get("captions", {})}
        meta["choices"]["model"] = HOSTILE
        (path / "meta.json").write_text(json.dumps(meta))
        config = yaml.safe_load((path / ".hydra" / "config.yaml").read_text())
        config["output"] = HOSTILE
        (path / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
        status = json.loads((path / "status.json").read_text()) | {"state": "failed", "reason": HOSTILE}
        (path / "status.json").write_text(json.dumps(status))
    (bench.folder / "done").rename(bench.folder / f"done {HOSTILE}")


LINES = {
    "encode": ["task=encode", "run={done}", "data=table", "data.file=homes.csv", "hydra.run.dir=codes"],
    "own rows": ["task=encode", "run={done}", "hydra.run.dir=own"],
    "sample": ["task=sample", "run={done}", "n=2", "hydra.run.dir=samples"],
    "prune": ["task=prune", "run={done}", "keep=[0]", "hydra.run.dir=pruned"],
    "report": ["task=report", "runs=.", "hydra.run.dir=report"],
    "diagnose": ["task=diagnose", "run={done}", "diagnostic=[reconstruction]", "figures=[]"],
    "resume": ["resume=stopped"],
    "untrained": ["task=encode", "run=stopped"],
    "an unknown key": [f"model.{HOSTILE}=1"],
    "an unknown option": [f"model='{HOSTILE}'"],
    "the configuration": ["--cfg", "job", f"+data.root='{HOSTILE}'"],
    "a missing run": ["task=encode", f"run='nowhere {HOSTILE}'"],
}


def test_no_text_of_a_directory_a_file_or_a_command_steers_the_terminal(bench, capsys):
    """Directories are named by patterns, since a command line cannot hold their names."""
    harmed(bench)
    counted = 0
    for name, line in LINES.items():
        (link := bench.folder / "run").unlink(missing_ok=True)
        link.symlink_to(next(bench.folder.glob("done*")).resolve())
        run(*(text.format(done="run") for text in line))
        said = capsys.readouterr()
        for text in (said.out, said.err):
            assert not STEERING.search(text), (name, text)
            counted += len(text.splitlines())
    logs = [path.read_text() for path in bench.folder.rglob("*.log")]
    pages = [path.read_text() for path in bench.folder.rglob("report.html")]
    assert logs and pages and not any(map(STEERING.search, logs)) and not any(map(STEERING.search, pages))
    assert any(r"\x1b[2J" in page for page in pages)
    assert not any(f"{HOSTILE}<script>" in page or "owned<script>" in page for page in pages)
    print(f"{len(LINES)} commands, {counted} lines shown, {len(logs)} logs, {len(pages)} pages: no control")


# ---------------------------------------------------------------- tables
CELLS = [
    "=1+1",
    "+cmd",
    "-cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "'=1",
    "''@x",
    "'quoted",
    "",
    "plain",
]


def test_no_text_of_a_table_is_a_formula_and_all_come_back(tmp_path):
    table = pd.DataFrame(
        {
            "=name": CELLS,
            "number": [-1.5, 2.0, None, *range(8)],
            "mixed": ["=x", 3, None, True, 2.5, -4, *"abcde"],
            "text": [str(number) for number in range(-5, 6)],
            "kind": pd.Categorical(["+a", *["b"] * 10]),
        }
    )
    write_table(Guarded(tmp_path) / "t.csv", table)
    cells = [
        cell
        for cell in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)|\n', (tmp_path / "t.csv").read_bytes().decode())
        if not re.fullmatch(r"[+-]?[\d.]*", cell)
    ]
    assert not [cell for cell in cells if re.match(r'"?[=+\-@\t\r]', cell)]
    back = read_table(Guarded(tmp_path) / "t.csv", keep_default_na=False)
    assert list(back.columns) == list(table.columns)
    assert list(back["=name"]) == [cell.replace("\r", r"\r") for cell in CELLS]
    assert list(back["text"]) == list(range(-5, 6)) and list(back["kind"]) == list(table["kind"])
    assert list(back["mixed"])[:4] == ["=x", "3", "", "True"]
    assert read_table(Guarded(tmp_path) / "t.csv")["number"].tolist()[:2] == [-1.5, 2.0]
    print(f"{len(cells)} texts, none of them a formula")


def test_numbers_and_tables_without_texts_stay_as_they_are(tmp_path):
    table = pd.DataFrame({"a": [1, -2], "b": [0.1, -0.5], "c": ["-1.5", "+2e3"], "d": [True, False]})
    assert inert(table).to_csv() == table.to_csv()
    assert inert(pd.DataFrame()).to_csv() == pd.DataFrame().to_csv()


def test_a_plan_with_added_keys_comes_back(tmp_path):
    from latentrun.store.sweep import Entry, SweepDirectory

    sweep = SweepDirectory.create(tmp_path / "sweep", {})
    sweep.append([Entry(0, "0_x", ("+model.extra=-1", "seed=0"), "abc", None)])
    assert "'+model.extra=-1" in (sweep.path / "plan.csv").read_text()
    assert sweep.entries[0].overrides == ("+model.extra=-1", "seed=0")


def test_codes_and_samples_of_a_table_hold_no_formulas(bench):
    head, *rows = (bench.folder / "homes.csv").read_text().splitlines()
    rows = [row.replace("wood", "=cmd()") for row in rows]
    (bench.folder / "new.csv").write_text("\n".join([head.replace("a", "@a", 1), *rows]) + "\n")
    line = ["data=table", "data.file=new.csv", "data.factors=[heating]", "diagnostic=[latents]"]
    assert run(*line, "network.widths=[4]", "training.epochs=1", "figures=[]", "hydra.run.dir=new") == 0
    assert run("task=encode", "run=new", "hydra.run.dir=codes") == 0
    assert run("task=sample", "run=new", "n=3", "hydra.run.dir=samples") == 0
    tables = [*Path("new/tables").glob("*.csv"), Path("codes/codes.csv"), Path("samples/samples.csv")]
    assert "'=cmd()" in Path("codes/codes.csv").read_text()
    assert Path("samples/samples.csv").read_text().startswith("'@a,")
    assert not [path for path in tables if re.search(r"(^|,)[=@]", path.read_text(), re.MULTILINE)]
    assert "=cmd()" in read_table(Guarded("codes") / "codes.csv")["heating"].tolist()


# ---------------------------------------------------------------- one run does not end the report of all
def number(text):
    def fault(path):
        summary = path / "tables" / "summary.json"
        summary.write_text(re.sub(r'"parameters": \d+', f'"parameters": {text}', summary.read_text()))

    return fault


def setting(value):
    def fault(path):
        summary = json.loads((path / "tables" / "summary.json").read_text()) | {"model.latent_dim": value}
        (path / "tables" / "summary.json").write_text(json.dumps(summary))

    return fault


def not_utf8(path):
    os.rename(path, os.fsencode(path.parent) + b"/caf\xe9 \x1b[2J")


ODD = {
    "a number of 400 digits": (number("1" + "0" * 400), "is not JSON: a whole number of 401 digits"),
    "one of 5000 digits": (number("9" * 5000), "is not JSON"),
    "a setting of 400 digits": (setting(10**400), "is not JSON: a whole number of 401 digits"),
    "an endless setting": (setting(float("inf")), None),
    "a setting that is a text": (setting(HOSTILE), None),
    "a setting that is a formula": (setting("$x_{$"), None),
    "a name that is not UTF-8": (not_utf8, None),
}


@pytest.mark.parametrize("name", ODD)
def test_the_report_on_all_runs_survives_one_that_is_odd(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fault, reason = ODD[name]
    for seed in range(3):
        settings = {"seed": seed, "model.latent_dim": 2 + seed % 2}
        plant(tmp_path / "runs" / f"r{seed}", settings, {"probe/error": 1.0 + seed})
    fault(plant(tmp_path / "runs" / "odd", {"seed": 3, "model.latent_dim": 5}, {"probe/error": 9.0}))
    line = ["task=report", "runs=runs", "metrics=[probe/error]", "hydra.run.dir=all"]
    assert run(*line) == 0, capsys.readouterr()
    table = read_table(Guarded("all") / "runs.csv")
    assert len(table) == 4 and table["probe/error"].notna().sum() == (4 if reason is None else 3)
    texts = [path.read_text("utf-8") for path in Path("all").iterdir() if path.is_file()]
    assert not any(map(STEERING.search, texts))
    if reason is not None:
        row = table[table["state"] == "unreadable"].iloc[0]
        assert (
            row["run"].endswith("odd")
            and reason in row["reason"]
            and reason in texts[0] + texts[1] + texts[2]
        )


@pytest.mark.parametrize("key", ["data.file", "hydra.run.dir"])
def test_names_that_are_not_utf8_are_refused_before_anything_is_made(key, bench, capsys):
    name = os.fsdecode(b"caf\xe9")
    (bench.folder / "homes.csv").rename(bench.folder / name)
    before = bench.files()
    assert run(*latest([*SMALL, "hydra.run.dir=new", f"{key}={name}"])) == 2
    said = f"{key}: must be a text that is not empty and can be printed, got 'caf\\udce9'"
    assert said in capsys.readouterr().err
    assert bench.files() == before


# ---------------------------------------------------------------- pages and pictures
def test_pages_escape_and_show_what_they_are_given():
    page = template("report.html.j2").render(
        policy="",
        name=f"<b>{HOSTILE}",
        meta={"choices": {}, "versions": {}, "device": {}},
        status={},
        sections=[],
    )
    assert r"&lt;b&gt;\x1b[2J" in page and not STEERING.search(page)
    assert address("javascript:x/caf\udce9/report.html") == "javascript%3Ax/caf%E9/report.html"


@pytest.mark.parametrize("text", [r"price ($\x) and tax ($\y)", "$", "$$", r"a $\frac{1}$ b", "cost (US$)"])
def test_a_name_that_looks_like_a_formula_is_drawn(text, tmp_path):
    with paper():
        fig, axes = figure()
        ax = axes[0, 0]
        ax.plot([1, 10], [1, 1000], label=text)
        ax.set(title=text, yscale="log", xlabel="$z_0$")
        ax.set_xticks([1, 10], [text, "b"])
        ax.legend()
        write_figure(Guarded(tmp_path) / "x.svg", fig)
    drawn = re.sub("<!--.*?-->", "", (tmp_path / "x.svg").read_text(), flags=re.DOTALL)
    assert "mathdefault" not in drawn and "$z_0$" not in drawn and drawn.count(f">{text}<") == 3
