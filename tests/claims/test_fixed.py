"""What was expected, and when: digests, changes that are listed, runs of one code."""

from __future__ import annotations

import shutil
import subprocess

import pandas as pd
import pytest
import yaml

from latentrun.claims.claim import claims_of
from latentrun.claims.fixed import history
from latentrun.claims.judge import claims_table, judge
from latentrun.claims.page import commits_of, markdown
from latentrun.config.options import shipped
from latentrun.errors import InputError
from latentrun.system.provenance import git_commit
from tests.claims.example import TOY, stated, toy

FIRST = toy().digest
CHANGE = {"date": "2026-11-21", "what": "a wider margin", "why": "it was narrow", "seen": True}
PART = TOY["expect"][0]
A, B = "a" * 40, "b" * 40  # commits
RUNS = pd.DataFrame({"commit": [A, A, A, B + "+"], "measured_by": ["", "", B + "+", ""]})
ABOUT = {
    "created": "2026-11-21T00:00:00",
    "size": "full",
    "seeds": [0],
    "overrides": [],
    "argv": ["task=claims"],
    "git": B,
    "versions": {"python": "3.11", "torch": "2.10"},
    "device": {"kind": "cpu", "name": "x86_64"},
}


# ---------------------------------------------------------------- digests
@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        ({"expect": [PART | {"says": "in other words"}]}, False),
        ({"expect": [PART | {"below": 0.0, "share": False}]}, False),  # another spelling
        ({"sentence": "Two are better.", "source": "elsewhere"}, False),
        ({"expect": [PART | {"below": 0.1}]}, True),
        ({"expect": [PART | {"metric": "reconstruction/error_max"}]}, True),
        ({"expect": [PART, {"says": "beside it", "metric": "reconstruction/mse", "of": "one"}]}, True),
        ({"expect": [{name: value for name, value in PART.items() if name != "below"}]}, True),
        ({"expect": [PART | {"source_value": 1.0}]}, True),
        ({"runs": TOY["runs"] | {"two": [*TOY["runs"]["two"], "training.patience=3"]}}, True),
        ({"conditions": "after 30 epochs"}, True),
    ],
)
def test_the_digest_is_of_what_is_judged_and_not_of_words(change, is_another):
    assert (toy(change).digest != FIRST) == is_another


def test_a_change_must_be_listed_and_is_answered_with_what_to_add():
    edited = stated() | {"expect": [PART | {"below": 0.1}]}
    with pytest.raises(InputError) as error:
        claims_of({"T": edited})
    said, digest = str(error.value), toy({"expect": edited["expect"]}).digest
    assert f"digest: '{digest}'" in said and "add to amended" in said and "\n" not in said
    listed = edited | {"amended": [CHANGE | {"digest": digest}]}
    assert claims_of({"T": listed})[0].amended[0].what == "a wider margin"
    # Only the last entry is held against what is there; a further change is a further entry.
    with pytest.raises(InputError, match="not those of 2026-11-21"):
        claims_of({"T": listed | {"expect": [PART | {"below": 0.2}]}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "ida"}, "did you mean 'idea'"),
        ({"fixed": "2026-11-20"}, "claim.T.fixed: must be a mapping"),
        ({"fixed": {"date": "yesterday", "digest": FIRST}}, "claim.T.fixed.date: must be a day"),
        (
            {"amended": [{**CHANGE, "digest": FIRST, "date": "2026-11-19"}]},
            "amended[0].date: 2026-11-19 is b",
        ),
        ({"amended": [{"date": "2026-11-21", "what": "x", "why": "y", "digest": FIRST}]}, "seen is missing"),
    ],
)
def test_wrong_histories_are_answered(change, said):
    with pytest.raises(InputError) as error:
        claims_of({"T": stated() | change})
    assert said in str(error.value)


@pytest.mark.parametrize("path", sorted((shipped() / "claim").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_expectations_are_those_of_their_last_entry(path):
    """An edited expectation fails here, with the line to add."""
    node = yaml.safe_load(path.read_text())
    if "defaults" not in node:
        claims_of(node)


def test_tables_show_changes_beside_the_verdict():
    change = CHANGE | {"digest": FIRST}
    (claim,) = claims_of({"T": stated() | {"kind": "ours", "amended": [change, change | {"seen": False}]}})
    assert history(claim.amended) == "2 times, 1 with numbers seen" and history(()) == ""
    by_seed = {seed: {"reconstruction/error_mean": 1.0 + seed} for seed in range(3)}
    better = {seed: {"reconstruction/error_mean": 0.4 + seed / 2} for seed in range(3)}
    verdict = judge(claim, {"one": by_seed, "two": better})
    row = claims_table([verdict]).iloc[0]
    assert (row["kind"], row["fixed"], row["digest"]) == ("ours", "2026-11-20", FIRST)
    assert row["amended"].startswith(
        "2026-11-21, numbers seen: a wider margin (it was narrow); 2026-11-21, no"
    )
    text = markdown([verdict], RUNS, ABOUT)
    assert "| T | ours | **undecided** | 2 times, 1 with numbers seen |" in text
    assert f"- 2026-11-21, numbers seen: a wider margin (it was narrow); digest {FIRST}" in text
    assert "Fixed 2026-11-20" in text and "our expectation, not the source's" in text
    assert "Every run has" not in text
    short = markdown([verdict], RUNS, ABOUT | {"overrides": ["training.epochs=4", "rows=200"]})
    assert "Every run has training.epochs=4 rows=200, or less, whatever its claim says" in short


# ---------------------------------------------------------------- of which code
def test_the_commits_of_all_runs_are_named():
    assert commits_of(RUNS) == (
        f"Runs by commit: {A[:12]} (2); {A[:12]}, measured by {B[:12]}+ (1); {B[:12]}+ (1)"
    )


def test_settings_that_were_edited_are_seen(tmp_path):
    """A checkout of a package with its settings beside it."""

    def git(*words: str) -> None:
        identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    for name in ("latentrun/__init__.py", "conf/model/vae.yaml", "tests/test_it.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x: 1\n")
    git("init", "-q")
    git("add", "latentrun", "conf", "tests")
    git("commit", "-qm", "all")
    package = tmp_path / "latentrun"
    clean = git_commit(package)
    assert len(clean) == 40
    (tmp_path / "tests" / "test_it.py").write_text("x: 2\n")
    assert git_commit(package) == clean
    (tmp_path / "conf" / "model" / "vae.yaml").write_text("x: 2\n")
    assert git_commit(package) == clean + "+"
    git("checkout", "-q", "conf")
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("x: 1\n")  # that git does not know yet
    assert git_commit(package) == clean + "+"
    shutil.rmtree(tmp_path / "conf" / "model")
    git("checkout", "-q", "conf")
    assert git_commit(package) == clean
    # A package that only lies in somebody's checkout has not their commit.
    (tmp_path / "site-packages" / "latentrun").mkdir(parents=True)
    (tmp_path / "site-packages" / "latentrun" / "__init__.py").touch()
    assert git_commit(tmp_path / "site-packages" / "latentrun") is None
