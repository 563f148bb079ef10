"""Command lines that are right, however odd they look."""

from __future__ import annotations

import os
import re
import shlex
from random import Random

import pytest

from latentrun.cli import main
from latentrun.command.jobs import jobs_of
from latentrun.command.typed import typed
from latentrun.config.options import GROUPS, options, shipped
from latentrun.system.door import Guarded
from latentrun.tasks.console import LOGGER, log_to
from tests.cli.places import run

# As typed in a shell, with the key whose value it is and the value that the configuration has.
ODD = [
    ("'output=a b'", "output", "a b"),
    ("'output=größe/été'", "output", "größe/été"),
    ("'output=a[1]'", "output", "a[1]"),
    ("'output=[a] b'", "output", "[a] b"),
    ("'output={a}'", "output", "{a}"),
    ('"output=it\'s"', "output", "it's"),
    ("'output=a \"b\"'", "output", 'a "b"'),
    ("'output=a=1,b=2'", "output", "a=1,b=2"),
    ("'output=a;b&c'", "output", "a;b&c"),
    ("'output=a\\b'", "output", "a\\b"),
    ("'output=a\\'", "output", "a\\"),
    ("output=2026", "output", "2026"),
    ("output=true", "output", "true"),
    ("\"output='a b'\"", "output", "a b"),
    ("'output=\"a, b\"'", "output", "a, b"),
    ("data=table 'data.file=my table, v1.csv'", "data.file", "my table, v1.csv"),
    ("data=table 'data.file=~/größe (1).csv'", "data.file", "~/größe (1).csv"),
    ("data=images 'data.path=pictures [old]/a=b'", "data.path", "pictures [old]/a=b"),
    ("data=images data.path=a 'data.table=x y.csv' data.labels=null", "data.table", "x y.csv"),
    ("data=mnist 'data.root=/data/été'", "data.root", "/data/été"),
    ("data=table data.file=a data.label=größe", "data.label", "größe"),
    ("data=table data.file=a 'data.label=größe in m'", "data.label", "größe in m"),
    ("data=table data.file=a 'data.drop=[größe,b c]'", "data.drop", "- größe\n- b c"),
    ("resume=outputs/0_seed=1,model=vae", "resume", "outputs/0_seed=1,model=vae"),
    ("task=diagnose 'run=ü/0_seed=1 [a]'", "run", "ü/0_seed=1 [a]"),
    ("task=report 'runs=a b,c'", "runs", "a b,c"),
    ("task=report 'runs=[a b,c=d,\"e,f\"]'", "runs", "- a b\n- c=d\n- e,f"),
    ("task=report 'runs=out/[0-9]*/**'", "runs", "out/[0-9]*/**"),
    ("task=report runs=x 'where=seed<3 and model==vae'", "where", "seed<3 and model==vae"),
    ("diagnostic=[fid] 'diagnostic.fid.features=my net.pt'", "diagnostic.fid.features", "my net.pt"),
    ("'trust=[my net.pt,mine]'", "trust", "- my net.pt\n- mine"),
    ("model.likelihood=gaussian model.likelihood.scale=2", "model.likelihood.scale", "2"),
    ("experiment=heatmaps_vae_vs_ae model=vae", "model.latent_dim", "3"),
]


@pytest.mark.parametrize(("line", "key", "value"), ODD, ids=[line for line, *_ in ODD])
def test_odd_lines_are_taken_as_they_are_typed(line, key, value, capsys, elsewhere):
    code, out, err = run(["--cfg", "job", "--package", key, *shlex.split(line)], capsys)
    assert (code, err) == (0, "") and out.rstrip("\n") == str(value)


def test_commas_part_the_paths_of_a_sweep_and_no_others(elsewhere, capsys):
    line = ["data=table", "data.file=a b.csv,größe (1).csv", "seed=0,1"]
    (jobs,) = [jobs_of([typed(text, sweep=True) for text in line], [])]
    assert [(job.config["data"]["file"], job.config["seed"]) for job in jobs] == [
        (file, seed) for file in ("a b.csv", "größe (1).csv") for seed in (0, 1)
    ]
    code, _, err = run(line, capsys)
    assert code == 2 and "several values need a sweep: latentrun -m" in err  # the seed's


def test_what_is_typed_stays_so_however_often_it_is_read():
    for line, *_ in ODD:
        for text in shlex.split(line):
            for sweep in (False, True):
                once = typed(text, sweep)
                assert typed(once, sweep) == typed(once) == once


@pytest.mark.parametrize("line", [["--help"], ["--cfg", "job"], ["--version"]], ids=" ".join)
def test_nobody_need_read_to_the_end(line, elsewhere, monkeypatch, capfd):
    """``latentrun --help | head``: the pipe is closed; no traceback, not even of what Python writes last."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        with pytest.raises(SystemExit) as exit_:
            main(line)
        closed.flush()
    assert exit_.value.code == 141 and capfd.readouterr().err == ""


def test_work_goes_on_where_nobody_looks_on(tmp_path, monkeypatch, capfd):
    read, write = os.pipe()
    os.close(read)
    handler = log_to(Guarded(tmp_path) / "run.log")
    try:
        with os.fdopen(write, "w") as closed:
            monkeypatch.setattr("sys.stdout", closed)
            for number in range(3):
                LOGGER.info("line %d", number)
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
    assert (tmp_path / "run.log").read_text().count("line ") == 3 and capfd.readouterr().err == ""


def test_help_lists_every_option_with_its_line(capsys):
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    for group in GROUPS:
        for name, text in options(group, [shipped()]).items():
            assert re.search(rf"^  {name}  +{re.escape(text)}$", out, re.MULTILINE)


def test_config_is_shown_without_running(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(["--cfg", "job", "--resolve", "model=ae", "model.latent_dim=7"], capsys)
    assert code == 0 and "latent_dim: 7" in out and "hydra:" not in out
    assert list(tmp_path.iterdir()) == []


def test_flags_may_stand_between_overrides(capsys):
    code, out, _ = run(["model=ae", "--cfg", "job", "model.latent_dim=7"], capsys)
    assert code == 0 and "latent_dim: 7" in out


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_options_of_ones_own(way, capsys, tmp_path, monkeypatch):
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "mine.yaml").write_text(
        "# My own network\n_target_: latentrun.nn.dense.Dense\nwidths: [5]\n"
    )
    flags = ["--config-dir", str(tmp_path)] if way == "flag" else []
    if way == "environment":
        monkeypatch.setenv("LATENTRUN_CONFIG_PATH", str(tmp_path))
    code, out, _ = run([*flags, "--cfg", "job", "network=mine"], capsys)
    assert code == 0 and "- 5" in out
    assert "My own network" in run([*flags, "--help"], capsys)[1]
    assert "did you mean 'mine'" in run([*flags, "network=mne"], capsys)[2]


def test_no_mistyped_line_gets_more_than_one_line(capsys, elsewhere, monkeypatch):
    """Good command lines with a slip of the keyboard in them: composed and checked, or answered in one
    line."""
    monkeypatch.setattr("latentrun.tasks.train.train", lambda *_, **__: 0)
    good = [
        "model=ae",
        "model.latent_dim=4",
        "diagnostic=[latents,samples]",
        "data=digits",
        "network=dense",
        "network.widths=[8,4]",
    ]
    good += [
        "training.optimizer.lr=0.01",
        "seed=3",
        "rows=8",
        "training.scheduler=null",
        "output=here",
        "trust=[a]",
        "-m",
        "--cfg=job",
    ]
    random, answers = Random(0), set()
    for _ in range(40):
        word = random.choice(good)
        place, slip = random.randrange(len(word) + 1), random.choice("=.,:[]{}()'\"~+-/@ \\$#*0aX\n\t\u00e9")
        kind = random.randrange(3)
        mistyped = word[:place] + (slip if kind else "") + word[place + (kind != 1) :]
        # Three words of a shell never hold a sweep here, so that nothing but checking is done.
        words = [
            mistyped if each == word else each
            for each in random.sample([g for g in good[:-2] if g != word], 2)
        ] + [mistyped]
        if "--cfg=job" not in words and "-m" in words:
            words.remove("-m")
        code, _, err = run(words, capsys)
        assert (code, err) == (0, "") or (
            code == 2 and err.count("\n") == 1 and err.startswith("latentrun: ")
        ), (words, code, err)
        answers.add(code)
    assert answers == {0, 2} and list(elsewhere.iterdir()) == []
