"""Claims: what is written is checked, runs are found, completed or trained, verdicts are those of planted
truths."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from latentrun.claims.claim import claims_of, size_of
from latentrun.claims.evidence import Evidence, declared_metrics, merged, requests
from latentrun.claims.judge import judge, quantity
from latentrun.command.jobs import composer
from latentrun.config.fingerprint import fit_hash
from latentrun.config.options import options, shipped
from latentrun.errors import InputError
from latentrun.system.provenance import git_commit
from latentrun.tasks.claims import composed, gathered
from tests.claims.example import TINY, TOY, stated, toy
from tests.lines import run

SHIPPED = sorted(options("claim", [shipped()]))


# ---------------------------------------------------------------- judging
def planted(part: dict, one: list[float], two: list[float], shares=()):
    return judge(
        toy({"expect": [{"says": "so", "metric": "d/m", "of": "two", **part}]}),
        {
            name: {seed: {"d/m": v, "d/n": 2 * v} for seed, v in enumerate(values)}
            for name, values in (("one", one), ("two", two))
        },
        shares,
    )


def test_planted_truths():
    one, two = [1.0, 1.1, 0.9, 1.05], [0.5, 0.56, 0.46, 0.5]
    better = {"against": "one", "by": "ratio"}
    assert planted({**better, "below": 1}, one, two).verdict == "reproduced"
    assert planted({**better, "above": 1}, one, two).verdict == "contradicted"
    assert planted({**better, "below": 0.5}, one, two).verdict == "undecided"
    equal = planted(
        {"against": "one", "by": "difference", "above": -0.02, "below": 0.02},
        one,
        [v + d for v, d in zip(one, (0.01, 0.011, 0.009, 0.01), strict=True)],
    )
    assert equal.verdict == "reproduced" and equal.parts[0].finding.mean == pytest.approx(0.01)
    # Paired: what all runs of a seed share is no uncertainty.
    assert equal.parts[0].finding.high - equal.parts[0].finding.low < 0.01
    assert equal.parts[0].finding.method == "t over seeds"
    same = planted({"above": 0.4}, one, [0.5] * 4)
    assert same.verdict == "undecided" and same.parts[0].finding.method == "none: equal in all 4 seeds"
    assert planted({"above": 0.4, "below": 0.7}, one, two).verdict == "reproduced"
    assert (
        planted({}, one, two).verdict == "undecided"
        and planted({}, one, two).parts[0].finding.verdict == "reported"
    )


def test_quantities_of_one_run():
    measured = {"d/m": 3.0, "d/n": 2.0, "d/zero": 0.0}
    for extra, expected in (
        ({}, 3),
        ({"minus": "d/n"}, 1),
        ({"over": "d/n"}, 1.5),
        ({"over": "d/zero"}, math.nan),
        ({"minus": "d/gone"}, math.nan),
    ):
        claim = toy({"expect": [{"says": "so", "metric": "d/m", "of": "one", **extra}]})
        assert quantity(claim.expect[0], measured) == pytest.approx(expected, nan_ok=True)


def test_a_missing_run_lowers_n():
    found = judge(
        toy(),
        {
            "one": {s: {"reconstruction/error_mean": 1.0 + s} for s in range(3)},
            "two": {0: {}, **{s: {"reconstruction/error_mean": 0.5} for s in (1, 2)}},
        },
    )
    assert found.parts[0].finding.n == 2 and math.isnan(found.parts[0].values[0])


def test_a_seed_that_was_measured_and_has_no_number_leaves_it_open():
    """A ratio to 0 is none; the seeds that are left must not decide without it."""
    better = {"against": "one", "by": "ratio", "below": 1}
    found = planted(better, [1.0, 1.0, 1.0, 0.0], [0.5, 0.51, 0.49, 0.1])
    assert found.parts[0].finding.n == 3 and found.parts[0].finding.high < 1 and found.verdict == "undecided"


def test_a_share_of_seeds_is_judged_by_its_exact_interval():
    """Student's interval of equal values has no width; five seeds that all say yes do not show 60 %."""
    always = [1.0] * 5
    assert planted({"above": 0.6}, always, always).verdict == "reproduced"
    found = planted({"share": True, "above": 0.6}, always, always)
    assert found.verdict == "undecided" and found.parts[0].finding.low == pytest.approx(0.025**0.2)
    assert found.parts[0].expectation.quantity == "share of seeds with d/m; two"
    assert planted({"share": True, "above": 0.4}, always, always).verdict == "reproduced"
    assert planted({"share": True, "above": 0.6}, always, [0.0] * 5).verdict == "contradicted"
    # What is neither yes nor no leaves it open.
    assert planted({"share": True, "above": 0.1}, always, [1.0] * 4 + [0.5]).verdict == "undecided"


def test_only_what_is_declared_to_lie_between_0_and_1_is_clipped_there():
    """A share of seeds that ends at 1.006 is none; a difference of two shares may be below 0."""
    one, two = [0.7] * 5, [0.75, 0.91, 0.94, 0.96, 0.94]
    number, share = (planted({"above": 0.5}, one, two, shares).parts[0].finding for shares in ((), ("d/m",)))
    assert share.high == 1 < number.high and share.low == number.low
    for part in ({"minus": "d/n"}, {"over": "d/n"}, {"against": "one", "by": "difference"}):
        found = [planted(part, one, [0.1, 0.9, 0.1, 0.2, 0.1], shares).parts[0] for shares in ((), ("d/m",))]
        assert repr(found[0].finding) == repr(found[1].finding)
    assert planted({"minus": "d/n"}, one, [0.1, 0.9, 0.1, 0.2, 0.1], ("d/m",)).parts[0].finding.low < 0


def test_a_comparison_of_runs_is_judged_seed_by_seed():
    part = {"says": "so", "metric": "c/gap.two", "minus": "c/gap.one", "between": ["one", "two"], "below": 0}
    claim = toy({"expect": [part]})
    assert claim.expect[0].quantity == "c/gap.two − c/gap.one; one with two"
    by_seed = {seed: {"c/gap.one": 1.0 + seed, "c/gap.two": 0.5 + 1.1 * seed} for seed in range(4)}
    found = judge(claim, {("one", "two"): by_seed})
    assert found.verdict == "reproduced"
    assert found.parts[0].values == pytest.approx([-0.5, -0.4, -0.3, -0.2])
    missing = judge(claim, {("one", "two"): {**by_seed, 4: {}}})
    assert missing.parts[0].finding.n == 4 and missing.verdict == "reproduced"


def test_runs_that_are_only_compared_are_asked_for():
    part = {"says": "so", "metric": "emptiness/gap.two", "between": ["one", "two"]}
    asked = requests([toy({"expect": [part]})], size_of({"full": {"seeds": [0, 1], "overrides": []}}, "full"))
    assert [(request.name, request.seed, request.diagnostics) for request in asked] == [
        ("one", 0, ()),
        ("one", 1, ()),
        ("two", 0, ()),
        ("two", 1, ()),
    ]


# ---------------------------------------------------------------- what is written
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sentance": "x"}, "unknown key of claim.T 'sentance'"),
        ({"source": None}, "claim.T.source: must be a text"),
        ({"runs": {"one": "model=ae"}}, "claim.T.runs.one: must be a list"),
        ({"expect": []}, "names nothing to judge"),
        ({"runs": {"a/b": ["model=ae"]}}, "'a/b' is no name"),
        ({"runs": {1: ["model=ae"]}}, "1 is no name"),
        (
            {"runs": TOY["runs"] | {"one": ["seed=3"]}},
            "claim.T.runs.one: 'seed=3': is not a run's to say; what is: data, model, network, ",
        ),
        ({"runs": TOY["runs"] | {"one": ["output=here"]}}, "'output=here': is not a run's to say"),
        ({"runs": TOY["runs"] | {"one": ["estimate=true"]}}, "'estimate=true': is not a run's to say"),
        ({"runs": TOY["runs"] | {"one": ["hydra.job.name=x"]}}, "'hydra.job.name=x': is not a run's to say"),
        ({"runs": TOY["runs"] | {"one": ["comparison=[metrics]"]}}, "is not a run's to say"),
        ({"runs": TOY["runs"] | {"one": ["model=ae", "model=vae"]}}, "'model=ae': model is set twice"),
        (
            {"expect": [{"says": "x", "metric": "reconstruction/error_mean"}]},
            "claim.T.expect[0]: of is missing",
        ),
        (
            {"expect": [{"says": "x", "metric": "error_mean", "of": "one"}]},
            "'error_mean' is no metric; write diagnostic/metric",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "of": "tow"}]},
            "unknown run of claim.T.expect[0] 'tow' (did you mean 'two'?)",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "of": "two", "against": "one"}]},
            "against and by (difference or ratio) go together",
        ),
        (
            {
                "expect": [
                    {"says": "x", "metric": "a/b", "of": "two", "against": "one", "by": "ration", "below": 1}
                ]
            },
            "did you mean 'ratio'",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "of": "two", "above": 1, "below": 1}]},
            "nothing is above 1 and below 1",
        ),
        (
            {
                "expect": [
                    {"says": "x", "metric": "a/b", "of": "two", "against": "one", "by": "ratio", "above": 0}
                ]
            },
            "a ratio is above 0",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "over": "a/c", "minus": "a/d", "of": "two"}]},
            "over and minus exclude each other",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "of": "one", "between": ["one", "two"]}]},
            "of and between exclude each other",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "between": ["one"]}]},
            "between: must name two or more runs that differ, got ['one']",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "between": ["one", "one"]}]},
            "two or more runs that differ",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "over": "c/d", "between": ["one", "two"]}]},
            "a and c are two comparisons",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "minus": "a/c", "of": "one", "share": True}]},
            "a share is of values that are 0 or 1",
        ),
        (
            {"expect": [{"says": "x", "metric": "a/b", "of": "one", "share": True, "above": 1.5}]},
            "a share lies between 0 and 1",
        ),
    ],
)
def test_wrong_claims_are_answered(change, said):
    with pytest.raises(InputError) as error:
        claims_of({"T": TOY | change})
    assert said in str(error.value) and "\n" not in str(error.value)


def test_wrong_sizes_are_answered():
    sizes = {
        "full": {"seeds": [0, 1], "overrides": []},
        "twice": {"seeds": [0, 0], "overrides": []},
        "none": {"seeds": [], "overrides": []},
    }
    for name, said in (("ful", "did you mean 'full'"), ("twice", "none twice"), ("none", "at least one")):
        with pytest.raises(InputError, match=said):
            size_of(sizes, name)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_claims_fit_what_they_speak_of(name):
    """Their runs compose, each named once, and their diagnostics declare what they are judged by."""
    node = yaml.safe_load((shipped() / "claim" / f"{name}.yaml").read_text())
    if "defaults" in node:
        assert set(node["defaults"]) <= set(SHIPPED) and len(node) == 1
        return
    claims = claims_of(node)
    assert [claim.name for claim in claims] == [name]
    size = size_of(yaml.safe_load((shipped() / "task" / "claims.yaml").read_text())["sizes"], "full")
    first = [request for request in requests(claims, size) if request.seed == size.seeds[0]]
    declared_metrics(claims, *merged(composed(first, [], composer([]))), [])
    assert claims[0].runs.keys() == {run for claim in claims for part in claim.expect for run in part.runs}


# ---------------------------------------------------------------- the task
@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Options of one's own: a data set and claims about it."""
    folder = tmp_path_factory.mktemp("options")
    reversed_ = stated({"expect": [TOY["expect"][0] | {"below": None, "above": 0}]})
    more = stated(
        {"expect": [*TOY["expect"], {"says": "both move", "metric": "variance_loss/mse.mean", "of": "two"}]}
    )
    stone = stated(
        {"runs": TOY["runs"] | {"one": [*TINY, "model=stumbling", f"model.stone={folder / 'stone'}"]}}
    )
    files = {
        **{
            "data/points": {"_target_": "toys.Points", "n": 200},
            "claim/T1": {"T1": stated()},
            "claim/T2": {"T2": reversed_},
        },
        **{"claim/T3": {"T3": more}, "claim/T4": {"T4": stone}, "claim/toys": {"defaults": ["T1", "T2"]}},
        **{"model/stumbling": {"_target_": "toys.Stumbling", "stone": "none"}},
        "claim/T5": {"T5": stated({"expect": [TOY["expect"][0] | {"metric": "reconstruction/error_maen"}]})},
    }
    for name, values in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(values))
    return folder


def claim(folder: Path, out: Path, name: str, *more: str, seeds: str = "0,1,2") -> int:
    given = [f"claim={name}", f"output={out}", f"hydra.run.dir={out}/said", f"sizes.full.seeds=[{seeds}]"]
    return run("--config-dir", folder, "task=claims", "figures=[]", *given, *more)


@pytest.fixture(scope="module")
def judged(folder, tmp_path_factory):
    """Two opposite claims about the same runs, which are trained for them."""
    out = tmp_path_factory.mktemp("out")
    assert claim(folder, out, "toys") == 0
    return out


def test_claims_train_what_is_missing_and_come_out_as_planted(judged):
    table = pd.read_csv(judged / "said" / "claims.csv").set_index("claim")
    assert table["verdict"].to_dict() == {"T1": "reproduced", "T2": "contradicted"}
    assert (table["n"] == 3).all() and table["mean"].nunique() == 1
    runs = pd.read_csv(judged / "said" / "runs.csv")
    assert set(runs["commit"]) == {git_commit() or "unknown"} and runs["measured_by"].isna().all()
    assert len(runs) == 6 and set(runs["state"]) == {"trained"} and sorted(runs["seed"]) == [0, 0, 1, 1, 2, 2]
    values = pd.read_csv(judged / "said" / "values.csv")
    measured = {
        row.directory: pd.read_csv(Path(row.directory) / "tables" / "metrics.csv").set_index("metric")[
            "value"
        ]["error_mean"]
        for row in runs.itertuples()
    }
    assert sorted({*values["of"], *values["against"]}) == pytest.approx(sorted(measured.values()))
    (sweep,) = (judged / "multirun").iterdir()
    assert len(pd.read_csv(sweep / "sweep.csv")) == 6 and (sweep / "report.html").is_file()
    page = (judged / "said" / "report.html").read_text()
    assert (
        TOY["sentence"] in page
        and (git_commit() or "unknown")[:12] in page
        and "contradicted" in page
        and 'href="./../multirun/' in page
    )
    meta = json.loads((judged / "said" / "meta.json").read_text())
    assert meta["kind"] == "claims" and meta["claims"]["T1"]["verdict"] == "reproduced"
    text = (judged / "said" / "claims.md").read_text()
    assert "| T1 | claim | **reproduced** | – |" in text and "### T2: contradicted" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {6, 8}  # claims, and their parts


def test_what_is_there_is_found_and_what_is_lacking_measured(folder, judged, capsys):
    before = {path: path.stat().st_mtime_ns for path in judged.glob("multirun/*/*/checkpoints/best.pt")}
    assert claim(folder, judged, "[T1,T3]", f"hydra.run.dir={judged}/again") == 0
    assert "6 runs: 6 found, 3 of them incomplete; 0 to train" in capsys.readouterr().out
    states = pd.read_csv(judged / "again" / "runs.csv")["state"]
    assert sorted(states) == ["found"] * 3 + ["measured"] * 3
    table = pd.read_csv(judged / "again" / "claims.csv")
    assert table.loc[table["quantity"].str.startswith("variance_loss"), "n"].tolist() == [3]
    assert {
        path: path.stat().st_mtime_ns for path in judged.glob("multirun/*/*/checkpoints/best.pt")
    } == before


def test_runs_of_other_code_are_no_evidence(folder, judged, capsys, monkeypatch):
    """Those of another torch are trained again; where code or settings change while runs are gathered, none
    of them is judged by."""

    def looked(evidence: Evidence, *_) -> None:
        raise InputError(f"{len(evidence.missing())} runs are missing")

    with monkeypatch.context() as patch:
        patch.setattr("latentrun.tasks.claims.gathered", looked)
        patch.setattr("latentrun.claims.evidence.version", lambda _: "0.0")
        assert claim(folder, judged, "T1", f"hydra.run.dir={judged}/older") == 2
        assert "6 runs are missing" in capsys.readouterr().err

    def edited(*given):
        monkeypatch.setattr("latentrun.claims.evidence.fit_hash", lambda _: "of edited code")
        return gathered(*given)

    monkeypatch.setattr("latentrun.tasks.claims.gathered", edited)
    assert claim(folder, judged, "T1", f"hydra.run.dir={judged}/edited") == 1
    runs, table = (pd.read_csv(judged / "edited" / f"{name}.csv") for name in ("runs", "claims"))
    assert set(runs["state"]) == {"failed"} and runs["reason"].str.contains("the code was changed").all()
    assert table["verdict"].tolist() == ["undecided"] and table["n"].tolist() == [0]


def test_a_process_with_older_code_trains_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("latentrun.claims.evidence.fit_hash", lambda config: f"older {fit_hash(config)}")
    assert claim(folder, tmp_path, "T1", seeds="0") == 1
    runs = pd.read_csv(tmp_path / "said" / "runs.csv")
    assert len(runs) == 2 and runs["reason"].str.contains("changed since this run was planned").all()
    assert not list(tmp_path.glob("multirun/*/*/checkpoints"))


def test_comparisons_are_made_once_and_found_again(folder, judged, capsys):
    """Their metrics name the runs as the claim does; one made before stands while its runs are the same."""
    gain = {
        "says": "two latents reconstruct the same examples better",
        "metric": "metrics/error_difference.two",
        "between": ["one", "two"],
        "below": 0,
    }
    worse = gain | {"metric": "metrics/error_difference.tow"}
    for name, part in (("T8", gain), ("T9", worse)):
        spec = stated({"expect": [*TOY["expect"], part]})
        (folder / "claim" / f"{name}.yaml").write_text(yaml.safe_dump({name: spec}))
    unknown = folder / "claim" / "T10.yaml"
    unknown.write_text(yaml.safe_dump({"T10": stated({"expect": [gain | {"metric": "metrics/gain"}]})}))
    try:
        assert claim(folder, judged, "T8", f"hydra.run.dir={judged}/day/compared") == 0
        (stale,) = judged.glob("day/compared/comparisons/*_seed=1/meta.json")
        meta = json.loads(stale.read_text())
        meta["runs"][0]["measured"]["reconstruction"] = "of other code"
        stale.write_text(json.dumps(meta))
        assert claim(folder, judged, "T8", f"hydra.run.dir={judged}/day/once_more") == 0
        capsys.readouterr()
        assert claim(folder, judged, "T9", f"hydra.run.dir={judged}/day/misspelt") == 1
        said = capsys.readouterr().out
        assert claim(folder, judged, "T10", f"hydra.run.dir={judged}/day/unknown") == 2
        assert "unknown metric of metrics in claim.T10.expect[0] 'gain'" in capsys.readouterr().err
    finally:
        for name in ("T8", "T9", "T10"):
            (folder / "claim" / f"{name}.yaml").unlink()
    assert "no comparison of 'one', 'two' has 'metrics/error_difference.tow' (did you mean" in said
    made, found = (
        pd.read_csv(judged / "day" / name / "comparisons.csv") for name in ("compared", "once_more")
    )
    assert list(made["state"]) == ["made"] * 3 and list(found["state"]) == ["found", "made", "found"]
    assert list(made["seed"]) == list(found["seed"]) == [0, 1, 2]
    assert list(made["directory"] == found["directory"]) == [True, False, True]
    table = pd.read_csv(judged / "day" / "compared" / "claims.csv").set_index("quantity")
    row = table.loc["metrics/error_difference.two; one with two"]
    assert row["part_verdict"] == "reproduced" and row["n"] == 3
    # Paired example by example, the mean difference is the difference of the means.
    other = table.loc[table.index.str.startswith("reconstruction/error_mean")].iloc[0]
    assert row["mean"] == pytest.approx(other["mean"], rel=1e-4)


def test_a_run_that_fails_lowers_n_and_is_gone_on_with(folder, tmp_path, capsys):
    (folder / "stone").touch()
    try:
        assert claim(folder, tmp_path, "T4") == 1
    finally:
        (folder / "stone").unlink()
    table = pd.read_csv(tmp_path / "said" / "claims.csv")
    assert table["verdict"].tolist() == ["undecided"] and table["n"].tolist() == [0]
    assert "stumbled over stone" in capsys.readouterr().out
    assert claim(folder, tmp_path, "T4", f"hydra.run.dir={tmp_path}/again", "trust=[toys]") == 0
    assert "3 of them incomplete; 0 to train" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "again" / "claims.csv")["n"].tolist() == [3]


def test_a_metric_that_no_run_has_is_said(folder, judged, capsys):
    """Its diagnostic declares `mse`; which parts it has is known only of what was measured."""
    part = TOY["expect"][0] | {"metric": "variance_loss/mse.maen"}
    (folder / "claim" / "T6.yaml").write_text(yaml.safe_dump({"T6": stated({"expect": [part]})}))
    try:
        assert claim(folder, judged, "T6", f"hydra.run.dir={judged}/part") == 1
    finally:
        (folder / "claim" / "T6.yaml").unlink()
    assert (
        "T6: no run 'two' has 'variance_loss/mse.maen' (did you mean 'variance_loss/mse.mean'?)"
        in capsys.readouterr().out
    )


def test_what_others_left_in_the_output_root_is_passed_over(folder, judged, capsys):
    """A run of a newer program, one whose hash is no text, one whose table holds no numbers: none is
    evidence, none is fatal."""
    (good,) = judged.glob("multirun/*/0_*")
    meta = json.loads((good / "meta.json").read_text())
    for name, change in (("newer", {"schema": 99}), ("odd", {"fit_hash": [meta["fit_hash"]]}), ("bad", {})):
        strange = judged / "day" / name
        shutil.copytree(good, strange)
        (strange / "meta.json").write_text(json.dumps(meta | {"created": "2999"} | change))
    table = pd.read_csv(strange / "tables" / "metrics.csv").astype({"value": object})
    table.assign(value="much").to_csv(strange / "tables" / "metrics.csv", index=False)
    try:
        claim(folder, judged, "T1", f"hydra.run.dir={judged}/strange")
    finally:
        shutil.rmtree(judged / "day")
    runs = pd.read_csv(judged / "strange" / "runs.csv")
    assert not runs["directory"].str.contains("newer|odd").any() and set(runs["state"]) == {"found"}


def test_a_program_is_taken_where_the_command_trusts_it(folder, judged):
    """What the command trusts reaches the processes that measure."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.script(torch.nn.Flatten()).save(str(folder / "net.pt"))
    part = {"says": "is measured", "metric": "fid/fid.floor", "of": "two"}
    small = ["data=digits", "network=dense", "rows=64", "training.epochs=1"]
    chosen = [
        f"diagnostic.fid.{text}"
        for text in (f"features={folder / 'net.pt'}", "n=20", "kept=20", "size=null", "channels=1")
    ]
    (folder / "claim" / "T7.yaml").write_text(
        yaml.safe_dump({"T7": stated({"runs": {"two": [*small, *chosen]}, "expect": [part]})})
    )
    try:
        given = ("sizes.full.seeds=[0]", f"hydra.run.dir={judged}/program")
        assert claim(folder, judged, "T7", *given) == 2
        assert claim(folder, judged, "T7", *given, f"trust=['{folder / 'net.pt'}']") == 0
    finally:
        (folder / "claim" / "T7.yaml").unlink()
    assert pd.read_csv(judged / "program" / "runs.csv")["state"].tolist() == ["trained"]


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("T9", [], "unknown claim 'T9'"),
        ("[]", [], "claim: name at least one"),
        ("T1", ["size=fast"], "unknown size 'fast'"),
        (
            "T1",
            ["training.epochs=3"],
            "training.epochs: the claims and sizes.<size>.overrides say what is trained",
        ),
        (
            "T1",
            ["sizes.full.overrides=['training.epoch=3']"],
            "claim.T1, run 'one': unknown key of training 'epoch'",
        ),
        ("T1", ["sizes.full.overrides=['model=vea']"], "unknown model 'vea' (did you mean 'vae'?)"),
        (
            "T5",
            [],
            "unknown metric of reconstruction in claim.T5.expect[0] 'error_maen' (did you mean "
            "'error_mean'?)",
        ),
        ("T1", ["-m"], "leave -m out"),
    ],
)
def test_mistakes_are_answered_before_anything_is_trained(folder, tmp_path, capsys, name, more, said):
    assert claim(folder, tmp_path, name, *more) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
