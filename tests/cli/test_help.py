"""What is shown to who begins, and to who wants to know what can be set."""

from __future__ import annotations

import re
from typing import Annotated

import pytest
import yaml

from latentrun.cli import compose
from latentrun.command.jobs import jobs_of
from latentrun.command.listing import comments_of
from latentrun.command.typed import typed
from latentrun.config.annotations import described, hints_of
from latentrun.config.bounds import Between, Count, Each
from latentrun.config.build import signature
from latentrun.config.options import shipped
from tests.cli.places import OWN, run

UNSET = ("experiment", "variant", "debug", "comparison", "claim")  # groups of which nothing need be chosen


def rows(page: str) -> dict[str, list[str]]:
    """The settings of a page by key: value, type with bounds, comment."""
    lines = [re.split(r"  +", line.strip(), maxsplit=3) for line in page.splitlines() if line[:2] == "  "]
    return {line[0]: [*line[1:], "", "", ""][:3] for line in lines}


def test_without_arguments_it_shows_three_commands_and_starts_nothing(elsewhere, capsys, monkeypatch):
    monkeypatch.setattr("latentrun.cli.perform", lambda *_: pytest.fail("something was begun"))
    code, out, err = run([], capsys)
    commands = [line.split()[1:] for line in out.splitlines() if line.startswith("  latentrun ")]
    assert (code, err, len(commands)) == (0, "", 3) and list(elsewhere.iterdir()) == []
    for words in commands:
        words = words[: next(i for i, word in enumerate(words) if "=" not in word and word != "-m")]
        compose([word for word in words if word != "-m"], [], sweep="-m" in words)


def test_every_setting_of_what_is_chosen_is_listed(capsys):
    """As many as ``--cfg job`` shows, each with its value; types and bounds are those of the signatures."""
    line = ["model=vae", "data=digits", "diagnostic=[knn]", "model.latent_dim=7", "training=latent_noise"]
    _, out, _ = run([*line, "--help"], capsys)
    listed = rows(out)
    _, shown, _ = run([*line, "--cfg", "job", "--resolve"], capsys)
    assert set(listed) == set(leaves(yaml.safe_load(shown)))
    assert listed["model.latent_dim"][:2] == ["7", "whole number, 1 to 100,000"]
    assert listed["model.beta"] == ["1.0", "number, at least 0", "weight of the KL term"]
    assert listed["model.kl"][1] == "full | quadratic | none"
    assert listed["model.likelihood.scale"][1] == "number, more than 0"
    assert listed["training.scheduler.factor"][:2] == ["0.5", "number, between 0 and 1 (ends excluded)"]
    assert listed["training.patience"][2].startswith("epochs without a better validation value")
    assert listed["training.then.increment"][2].endswith("a control of the longest length")
    assert listed["seed"][1] == "whole number, at least 0"
    assert out.index("model=vae") < out.index("training=latent_noise") < out.index("network=conv")


@pytest.mark.parametrize("line", [["diagnostic=[knn,sparsity]"], ["diagnostic=sparsity"], []])
def test_diagnostics_have_their_comments_in_a_list_too(line, capsys):
    """The default list is one."""
    _, out, _ = run([*line, "model=vae", "--help"], capsys)
    comments, listed = comments_of(shipped() / "diagnostic" / "sparsity.yaml"), rows(out)
    assert comments and {key: listed[f"diagnostic.{key}"][2] for key in comments} == comments


def leaves(values, prefix=""):
    """The keys of a nest of mappings, classes and tasks left out."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        elif key != "_target_" and f"{prefix}{key}" not in UNSET:
            yield f"{prefix}{key}"


def test_of_a_task_what_it_takes_is_listed_and_what_must_be_given_said(capsys):
    code, out, _ = run(["task=sample", "--help"], capsys)
    listed = rows(out)
    assert code == 0 and listed["run"] == ["(needed)", "text", "directory of the trained run"]
    assert set(listed) == {"run", "n", "sample_seed", "draw", "files", "output", "device", "threads", "trust"}


def test_a_class_of_ones_own_is_read_not_imported(capsys, elsewhere):
    code, out, _ = run(["--config-dir", str(OWN / "ellipsoids" / "conf"), "data=ellipsoid", "--help"], capsys)
    assert code == 0
    assert rows(out)["data.axes"] == [
        "[4.0,2.0,1.0,0.1,0.1]",
        "list of numbers, each more than 0",
        "half widths",
    ]


@pytest.mark.parametrize(
    "target",
    [
        "latentrun.models.vae.VAE",
        "latentrun.data.heatmaps.Heatmaps",
        "latentrun.training.loop.Training",
        "latentrun.diagnostics.samples.fid.FID",
        "latentrun.diagnostics.decoder.traversal.Traversal",
    ],
)
def test_what_is_read_is_what_python_says(target):
    from latentrun.config.build import resolve

    _, hints = signature(resolve(target, object, "x"))
    read = hints_of(target)
    plain = {key: described(hint) for key, hint in read.items()}
    assert len(plain) >= 5
    for key, text in plain.items():
        if text and key in hints:
            assert text == described(hints[key]), key


def test_annotations_in_words():
    assert described(Annotated[list[int], Each(Count(1, 9))]) == "list of whole numbers, each 1 to 9"
    assert described(tuple[float, float] | None) == "list of 2 or null"
    assert described(Annotated[float, Between(0, 1)]) == "number, between 0 and 1"


def test_nothing_of_an_annotation_is_run(tmp_path, monkeypatch):
    (tmp_path / "sly.py").write_text(
        "class Sly:\n    def __init__(self, a: print('run'), b: ().__class__, c: 'int', d: Count(1)): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert [str(hint) for hint in hints_of("sly.Sly").values()] == ["<class 'int'>", "1 to 1,000,000"]


def test_comments_are_those_behind_the_values(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "# The file\na: 1  # one\nb:\n  c: '#'  # two\n          # lines\n  # none\n  d: [1]\ne: x#y\n"
    )
    assert comments_of(tmp_path / "a.yaml") == {"a": "one", "b.c": "two lines"}


def test_names_of_job_folders_can_be_pasted_into_a_list_of_runs():
    line = ["model.latent_dim=1", "network.widths=[1,2],[3]", "data.label='a, b',c", "data=table", "seed=0"]
    names = [job.name for job in jobs_of([typed(text, sweep=True) for text in [*line, "data.file=x"]], [])]
    assert len(set(names)) == 4 and all(re.fullmatch(r"[\w.=+-]+", name) for name in names)
    assert names[0].startswith("0_data.label=-a-b-_network.widths=-1-2-")
    value = ",".join(f"sweep/{name}" for name in names)
    cfg = compose([typed(f"runs=[{value}]"), "task=report"], [shipped()][:0])
    assert [str(path) for path in cfg.runs] == [f"sweep/{name}" for name in names]
