"""Run directories as one table: whatever state they are in, and the tables of a sweep."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from latentrun.errors import InputError
from latentrun.store import RunDirectory
from latentrun.store.overview import meanings_of
from latentrun.tables.collect import collect, collect_sweep, failures, runs_in, write_tables
from latentrun.tables.groups import by_seed, grouped, summarise
from latentrun.tables.leaderboard import latex, leaderboard, markdown
from latentrun.tables.settings import common, meanings, mixed, varied
from latentrun.types import Estimate, Metric, Report
from tests.planted_runs import CONFIG, MEANING, plant

HERE = os.uname().nodename


def sweep(path: Path, dims=(1, 2), seeds=(0, 1, 2), error=lambda dim, seed: dim + 0.1 * seed) -> Path:
    """A sweep of ours, all its jobs done."""
    rows = []
    for job, (dim, seed) in enumerate(product(dims, seeds)):
        name = f"{job}_model.latent_dim={dim}_seed={seed}"
        plant(
            path / name,
            {"seed": seed, "rows": None, "model.latent_dim": dim, "model.beta": 1},
            {"probe/error": error(dim, seed)},
        )
        rows.append((job, name, f"model.latent_dim={dim} seed={seed}", "0" * 16, ""))
    pd.DataFrame(rows, columns=["job", "directory", "overrides", "hash", "skipped"]).to_csv(
        path / "plan.csv", index=False
    )
    (path / "meta.json").write_text(
        json.dumps({"kind": "sweep", "argv": ["-m", "model.latent_dim=1,2", "seed=0,1,2"]})
    )
    return path


# ---------------------------------------------------------------- one row a run
def test_a_run_is_a_row(tmp_path):
    path = plant(
        tmp_path / "a", {"seed": 3, "model.latent_dim": 2, "training.patience": None}, {"probe/error": 0.5}
    )
    row = collect([path]).iloc[0]
    assert (row["run"], row["state"], row["reason"]) == (str(path), "done", "")
    assert (row["model"], row["seed"], row["model.latent_dim"], row["parameters"], row["probe/error"]) == (
        "vae",
        3,
        2,
        10,
        0.5,
    )
    assert pd.isna(row["training.patience"])
    assert collect([path], tmp_path)["run"].tolist() == ["a"]


def test_whole_numbers_stay_whole_where_one_is_missing(tmp_path):
    frame = collect(
        [
            plant(tmp_path / "a", {"seed": 0, "rows": 256}, {}),
            plant(tmp_path / "b", {"seed": 1, "rows": None}, {}),
        ]
    )
    assert frame["rows"].tolist() == [256, None] and "256.0" not in frame.to_csv()


def test_states(tmp_path):
    now, old = datetime.now(UTC).isoformat(), (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    settings = {"seed": 0, "model.latent_dim": 2}
    paths = {
        "failed": plant(tmp_path / "failed", settings, None, "failed", reason="NonFiniteLoss: at step 3"),
        "interrupted": plant(tmp_path / "stopped", settings, None, "interrupted", reason="by SIGTERM"),
        "killed": plant(
            tmp_path / "killed", settings, None, "training", host=HERE, pid=os.getpid(), heartbeat=now
        ),
        "training": plant(tmp_path / "held", settings, None, "training", host=HERE, heartbeat=old),
        "diagnosing": plant(
            tmp_path / "elsewhere", settings, None, "diagnosing", host="another", heartbeat=now
        ),
    }
    silent = plant(tmp_path / "silent", settings, None, "training", host="another", heartbeat=old)
    fresh = plant(tmp_path / "fresh", settings, None)
    (fresh / "status.json").unlink()
    with open(paths["training"] / "run.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        frame = collect([*paths.values(), silent, fresh])
    assert frame["state"].tolist() == [*paths, "killed", "unknown"]
    assert frame["reason"].tolist()[:2] == ["NonFiniteLoss: at step 3", "by SIGTERM"]
    assert "process is gone" in frame["reason"][2]
    # What was asked for is known of those too that came to nothing.
    assert frame["model.latent_dim"].tolist() == [2] * 7 and frame["model"].tolist() == ["vae"] * 7


def test_a_killed_process_is_seen_at_once(tmp_path):
    path = plant(
        tmp_path / "run", {"seed": 0}, None, "training", host=HERE, heartbeat=datetime.now(UTC).isoformat()
    )
    hold = (
        "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); "
        "print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", hold, str(path / "run.lock")], stdout=subprocess.PIPE)
    process.stdout.readline()
    assert collect([path])["state"].item() == "training"
    process.kill()
    process.communicate()
    assert collect([path])["state"].item() == "killed"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: (path / "status.json").write_text("{"), "is not JSON"),
        (lambda path: (path / "tables" / "summary.json").write_text("[1]"), "summary.json"),
        (lambda path: (path / "tables" / "summary.json").write_bytes(b"\xff\xfe\x00"), "is no text in UTF-8"),
        (lambda path: (path / "status.json").write_text('{"state": [1, 2]}'), "state: must be a text"),
        (
            lambda path: (
                (path / "tables" / "summary.json").unlink(),
                (path / ".hydra" / "config.yaml").write_text("a: ["),
            ),
            "config.yaml",
        ),
        (
            lambda path: (
                (path / "tables" / "summary.json").unlink(),
                (path / "meta.json").write_text('{"schema": 3, "choices": [1]}'),
            ),
            "choices",
        ),
    ],
)
def test_what_cannot_be_read_is_a_row_that_says_so(tmp_path, spoil, said):
    good, bad = (plant(tmp_path / name, {"seed": 0}, {"probe/error": 1.0}) for name in "ab")
    spoil(bad)
    frame = collect([good, bad])
    assert frame["probe/error"][0] == 1
    assert frame["state"][1] == "unreadable"
    assert said in frame["reason"][1] and "\n" not in frame["reason"][1]


def test_links_that_lead_out_are_not_followed(tmp_path):
    (tmp_path / "secret.json").write_text('{"probe/error": 7.0}')
    path = plant(tmp_path / "run", {"seed": 0}, {"probe/error": 1.0})
    (path / "tables" / "summary.json").unlink()
    (path / "tables" / "summary.json").symlink_to(tmp_path / "secret.json")
    frame = collect([path])
    assert (
        frame["state"].item() == "unreadable"
        and "is a link" in frame["reason"].item()
        and "probe/error" not in frame
    )


def test_a_strangers_summary_cannot_pass_for_the_state(tmp_path):
    path = plant(
        tmp_path / "run",
        {"seed": 0, "state": "done", "run": "elsewhere"},
        {"probe/error": 1e999},
        "failed",
        reason="bad",
    )
    row = collect([path]).iloc[0]
    assert (row["run"], row["state"]) == (str(path), "failed") and np.isnan(row["probe/error"])


# ---------------------------------------------------------------- finding runs
def test_runs_are_found_by_pattern_by_folder_and_in_sweeps_each_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    day = [plant(Path("out/day") / name, {"seed": 0}, {}) for name in ("a", "b")]
    jobs = sorted(path.parent for path in sweep(Path("out/multirun/s")).glob("*/meta.json"))
    plant(Path("out/day/a/arrays/inner"), {"seed": 0}, {})  # nothing within a run is a run
    comparison = plant(Path("out/compared"), {"seed": 0}, {})
    (comparison / "meta.json").write_text('{"kind": "comparison"}')
    assert runs_in(["out"]) == runs_in(["out/**"]) == [*day, *jobs]
    assert runs_in(["out/day/*", "out/day/b"]) == day
    assert runs_in([str(jobs[0])]) == jobs[:1]
    with pytest.raises(InputError, match="nothing is called 'no/where'"):
        runs_in(["no/where"])
    with pytest.raises(InputError, match="there is no run in 'out/compared'"):
        runs_in(["out/compared"])


def test_what_varies_and_what_is_common(tmp_path):
    paths = [
        plant(
            tmp_path / f"{dim}{beta}{seed}",
            {"seed": seed, "model.latent_dim": dim, "model.beta": beta, "data.seed": 0},
            {},
        )
        for dim, beta, seed in product((1, 2), (1, 1.0), (0, 1))
    ]
    frame = collect(paths)
    assert varied(frame) == ["seed", "model.latent_dim"]  # 1 and 1.0 are the same
    assert common(frame) == {"model": "vae", "data": "digits", "model.beta": 1, "data.seed": 0}


def test_what_a_group_mixes(tmp_path):
    paths = [
        plant(
            tmp_path / f"{dim}{beta}{seed}",
            {"seed": seed, "model.latent_dim": dim, "model.beta": beta, "model.twice": 2 * dim},
            {},
        )
        for dim, beta, seed in product((1, 2), (1, 4), (0, 1))
    ]
    frame = collect(paths)
    assert mixed(frame, ["model.latent_dim"]) == ["model.beta"]
    assert mixed(frame, ["model.latent_dim", "model.beta"]) == []
    assert mixed(frame, []) == ["model.latent_dim", "model.beta", "model.twice"]


def test_settings_that_follow_from_an_option_are_not_keys(tmp_path):
    paths = [
        plant(tmp_path / f"vae{s}", {"seed": s, "model.beta": 1.0}, {"probe/error": 1.0}) for s in (0, 1)
    ]
    paths += [
        plant(tmp_path / f"ae{s}", {"seed": s, "model": "ae", "model.squash": False}, {"probe/error": 1.0})
        for s in (0, 1)
    ]
    assert set(varied(collect(paths))) == {"model", "seed"}


# ---------------------------------------------------------------- over seeds
def test_means_and_intervals_are_scipys(tmp_path):
    errors = {1: [3.0, 4.0, 8.0], 2: [1.0, 1.5, 1.2]}
    frame, keys = collect_sweep(sweep(tmp_path / "s", error=lambda dim, seed: errors[dim][seed]))
    table = summarise(frame, ["model.latent_dim"], MEANING)
    assert keys == ["model.latent_dim", "seed"] and len(table) == 2
    for row in table.itertuples(index=False):
        values = errors[row[0]]
        np.testing.assert_allclose(row.mean, np.mean(values))
        np.testing.assert_allclose(row.sd, np.std(values, ddof=1))
        np.testing.assert_allclose(
            [row.low, row.high], stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
        )
        assert (row.metric, row.unit, row.direction, row.n) == ("probe/error", "px", "lower", 3)
        assert row.method == "t over seeds"


def test_an_interval_over_seeds_says_how_it_was_made_whatever_the_runs_had(tmp_path):
    """A share of 1 in all seeds has the exact interval, an error that is the same none, each by its
    method."""
    path = tmp_path / "s"
    for seed in range(3):
        plant(path / f"{seed}_seed={seed}", {"seed": seed}, {"probe/error": 2.0, "probe/score": 1.0})
    frame = collect_sweep(path)[0]
    by_seed = summarise(frame, [], meanings(frame, path)).set_index("metric")
    assert by_seed["method"].to_dict() == {
        "probe/error": "none: equal in all 3 seeds",
        "probe/score": "Clopper-Pearson over seeds",
    }
    assert np.isnan(by_seed.loc["probe/error", "low"])
    assert by_seed.loc["probe/score", "low"] == pytest.approx(0.025 ** (1 / 3))
    board = leaderboard(frame, [], ["probe/error", "probe/score"], meanings(frame, path))
    assert board.set_index("metric")["method"].to_dict() == by_seed["method"].to_dict()
    assert "nan" not in markdown(board, []) + latex(board, [])
    assert "[0.29, 1]" in latex(board, []) and r"\[0.29, 1\]" in markdown(board, [])


def test_whether_a_metric_is_a_share_is_what_it_was_declared_whatever_its_unit_says(tmp_path):
    """``low`` and ``high`` of the metric decide, through metrics.csv; a table without them says no."""
    declared = {
        "score": Metric("the same share for the core", 0, 1),
        "error": Metric("share of the picture's norm", 0),
    }
    values = {name: Estimate(1.0) for name in declared}
    for name, changed in (("new", False), ("old", True)):
        directory = RunDirectory.create(tmp_path / name, {}, {})
        directory.write_report("probe", Report(values), declared, {})
        table = directory.read_table("metrics")
        assert table.set_index("metric")["share"].to_dict() == {"score": "yes", "error": "no"}
        if changed:
            directory.write_table("metrics", table.drop(columns="share"))
        meaning = meanings_of(tmp_path / name)
        assert meaning["probe/score"] == (declared["score"].unit, "none", not changed)
        assert meaning["probe/error"] == (declared["error"].unit, "none", False)


def test_groups_are_in_the_order_of_numbers():
    frame = pd.DataFrame({"model.latent_dim": [16, 2, 8, 2], "model": ["b", "a", "b", "b"]})
    groups, number = grouped(frame, ["model.latent_dim", "model"])
    assert groups["model.latent_dim"].tolist() == [2, 2, 8, 16] and groups["model"].tolist() == [
        "b",
        "a",
        "b",
        "b",
    ]
    assert number.tolist() == [3, 1, 2, 0]
    groups, _ = grouped(pd.DataFrame({"rows": pd.Series([None, 10, 9, 10.0], dtype=object)}), ["rows"])
    assert groups["rows"].tolist() == [9, 10, None]
    groups, number = grouped(frame, [])
    assert len(groups) == 1 and set(number) == {0}


def test_runs_of_one_seed_count_once():
    values = by_seed(pd.Series([1.0, 3.0, 5.0, np.nan]), pd.Series([0, 0, 0, 1]), pd.Series([0, 0, 1, 1]), 3)
    np.testing.assert_array_equal(values, [[2, 5], [np.nan, np.nan], [np.nan, np.nan]])


# ---------------------------------------------------------------- a sweep
def read(path: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(path / f"{name}.csv", keep_default_na=False)


def test_a_sweep_has_a_row_for_every_job(tmp_path):
    path = sweep(tmp_path / "s", seeds=(0, 1, 2, 3))
    names = read(path, "plan")["directory"]
    for name in (names[0], names[1]):
        subprocess.run(["rm", "-r", path / name], check=True)
    (path / "logs").mkdir()
    (path / "logs" / "1.txt").write_text("starts\nInputError: data.path is missing\n\n")
    (path / names[2] / "status.json").write_text(
        json.dumps({"state": "failed", "reason": "RuntimeError: boom"})
    )
    (path / names[3] / "status.json").write_text(
        json.dumps({"state": "training", "host": HERE, "heartbeat": "2026-11-20T00:00:00+00:00"})
    )
    (path / names[4] / "status.json").write_text(
        json.dumps({"state": "done", "reason": "failed diagnostics: probe"})
    )
    plan = read(path, "plan")
    plan.loc[5, "skipped"] = "needs a prior"
    plan.to_csv(path / "plan.csv", index=False)

    write_tables(path)
    table, bad = read(path, "sweep"), read(path, "failures")
    assert table["job"].tolist() == list(range(8))
    assert table["state"].tolist() == [
        "missing",
        "missing",
        "failed",
        "killed",
        "done",
        "skipped",
        "done",
        "done",
    ]
    assert (
        table["model.latent_dim"].tolist() == [1] * 4 + [2] * 4 and table["seed"].tolist() == [0, 1, 2, 3] * 2
    )
    assert table["reason"][5] == "needs a prior"
    assert bad["job"].tolist() == [0, 1, 2, 3, 4]
    assert bad["reason"].tolist()[:3] == [
        "not started",
        "InputError: data.path is missing",
        "RuntimeError: boom",
    ]
    assert bad["log"].tolist() == ["", "logs/1.txt", "", "", ""]
    assert bad["overrides"][2] == "model.latent_dim=1 seed=2" and bad["directory"][2] == names[2]


def test_what_is_said_of_the_runs_is_one_table(tmp_path):
    path = sweep(tmp_path / "s", dims=(1,))
    said = {"finding": "unused", "weight": "hint", "sentence": "1 of 2 unused", "command": "latentrun"}
    for job in (0, 2):
        table = pd.DataFrame([{"diagnostic": "sparsity", **said}])
        table.to_csv(next(path.glob(f"{job}_*")) / "tables" / "findings.csv", index=False)
    next(path.glob("1_*")).joinpath("tables", "findings.csv").write_text("nonsense\n")
    write_tables(path)
    table = read(path, "findings")
    assert table["job"].tolist() == [0, 2] and table["directory"][1].startswith("2_")
    assert table[list(said)].to_dict("records") == [said, said]


def test_without_a_plan_the_runs_are_what_is_there(tmp_path):
    planned, unplanned = sweep(tmp_path / "a"), sweep(tmp_path / "b", seeds=tuple(range(6)))
    (unplanned / "plan.csv").unlink()
    (unplanned / "meta.json").unlink()
    write_tables(planned)
    write_tables(unplanned)
    table = read(unplanned, "sweep")
    assert table["job"].tolist() == list(range(12)) and table["run"][10].startswith("10_")  # not behind 1_
    assert read(unplanned, "sweep_by_seed")["model.latent_dim"].tolist() == [1, 2]
    assert len(read(unplanned, "failures")) == 0


def test_a_sweep_over_seeds_alone_is_one_group(tmp_path):
    path = sweep(tmp_path / "s", dims=(2,))
    plan = read(path, "plan")
    plan["overrides"] = [f"seed={seed}" for seed in range(3)]
    plan.to_csv(path / "plan.csv", index=False)
    write_tables(path)
    table = read(path, "sweep_by_seed")
    assert table.columns[0] == "metric" and table["n"].tolist() == [3]


def test_keys_that_no_run_tells_of_come_from_the_overrides(tmp_path):
    path = sweep(tmp_path / "s", dims=(1, 2), seeds=(0,))
    plan = read(path, "plan")
    plan["overrides"] = ["+threads=1 experiment=one", "+threads=2 experiment=two"]
    plan.to_csv(path / "plan.csv", index=False)
    frame, keys = collect_sweep(path)
    assert keys == ["threads", "experiment"]
    assert frame["threads"].tolist() == [1, 2] and frame["experiment"].tolist() == ["one", "two"]


def test_tables_are_whole_whoever_writes_them_at_once(tmp_path):
    path = sweep(tmp_path / "s")
    write_tables(path)
    before = {name: (path / f"{name}.csv").read_bytes() for name in ("sweep", "sweep_by_seed", "failures")}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write_tables(path), range(8)))
    assert {name: (path / f"{name}.csv").read_bytes() for name in before} == before
    assert not list(path.glob(".*.part"))


def test_a_plan_that_leads_elsewhere_is_refused(tmp_path):
    path = sweep(tmp_path / "s")
    (path / "plan.csv").write_text("job,directory,overrides,hash,skipped\n0,../../etc,seed=0,0,\n")
    with pytest.raises(InputError, match="plain name"):
        collect_sweep(path)
    (path / "plan.csv").write_text("number\n0\n")
    with pytest.raises(InputError, match="the column 'job' is missing"):
        collect_sweep(path)


def test_nothing_failed_where_all_is_done(tmp_path):
    frame, _ = collect_sweep(sweep(tmp_path / "s"))
    assert len(failures(frame, tmp_path / "s")) == 0


def test_a_run_that_is_done_with_a_failed_diagnostic_is_not_finished(tmp_path):
    """So that its sweep takes it up again."""
    path = plant(tmp_path / "run", {}, {"probe/error": 1.0})
    (path / ".hydra" / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"diagnostic": {"probe": {}}}))
    meta = json.loads((path / "meta.json").read_text())
    for status, finished in (("failed", False), ("skipped", True), ("ok", True)):
        entry = {"status": status, "notes": [], "tables": []}
        (path / "meta.json").write_text(json.dumps(meta | {"diagnostics": {"probe": entry}}))
        assert RunDirectory(path).finished is finished
