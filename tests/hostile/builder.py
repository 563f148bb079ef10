"""Bad directories: what may be wrong with a run, a comparison or a sweep."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.hostile.spoil import (
    Spoil,
    diagnostic,
    doubled,
    filled,
    foldered,
    gone,
    hollow,
    in_arrays,
    in_checkpoint,
    in_json,
    in_table,
    in_yaml,
    linked,
    piped,
    renamed,
)

# ---------------------------------------------------------------- the spoilings of a run
FILES = (
    "meta.json",
    "status.json",
    "run.lock",
    "run.log",
    ".hydra/config.yaml",
    "tables/metrics.csv",
    "tables/train.csv",
    "tables/timing.csv",
    "tables/summary.json",
    "tables/reconstruction.errors.csv",
    "arrays/history.npz",
    "arrays/latents_train.npz",
    "arrays/reconstruction.npz",
    "checkpoints/best.pt",
    "checkpoints/last.pt",
    "plots/reconstruction.examples.png",
    "report.html",
)
FOLDERS = (".hydra", "tables", "arrays", "checkpoints", "plots", "tensorboard")
NOT_READ = ("run.lock", "report.html", "plots/reconstruction.examples.png")


def loop_of(state: Any) -> Any:
    """A collection that holds itself."""
    circle: list[Any] = []
    circle.append(circle)
    return circle


def places() -> dict[str, Spoil]:
    """Something else in the place of every file and folder."""
    spoilings: dict[str, Spoil] = {}
    for name in (*FILES, *FOLDERS):
        spoilings[f"link at {name}"] = linked(name)
    for name in FILES:
        spoilings[f"FIFO at {name}"] = piped(name)
        spoilings[f"folder at {name}"] = foldered(name)
        if name not in NOT_READ and not name.endswith(".log"):
            spoilings[f"terabytes at {name}"] = hollow(name)
        if name.endswith((".json", ".yaml", ".csv", ".npz", ".pt")):
            spoilings[f"nonsense at {name}"] = filled(name, b"\xff\xfe\x00nonsense,\n1,2,3\n")
    for name in ("run.lock", "run.log"):
        spoilings[f"hard link at {name}"] = doubled(name)
    for name in FOLDERS:
        spoilings[f"file at {name}"] = lambda root, name=name: (gone(root / name), (root / name).touch())
    return spoilings


META: dict[str, Spoil] = {
    "meta is a list": filled("meta.json", "[]"),
    "meta is deep": filled("meta.json", "[" * 100_000),
    "meta names a long number": in_json("meta.json", "seed", to=10**400),
    "meta without schema": in_json("meta.json", "schema"),
    "meta of another schema": in_json("meta.json", "schema", to=99),
    "meta of another kind": in_json("meta.json", "kind", to="claims"),
    "meta with a strange kind": in_json("meta.json", "kind", to=["run"]),
    "meta without diagnostics": in_json("meta.json", "diagnostics"),
    "meta without data": in_json("meta.json", "data"),
    "meta without choices": in_json("meta.json", "choices"),
    "meta with choices of a list": in_json("meta.json", "choices", to=[1]),
    "meta with data of a text": in_json("meta.json", "data", to="x"),
    "meta with a strange shape of the data": in_json("meta.json", "data", "event_shape", to=["a"]),
    "meta with a negative shape of the data": in_json("meta.json", "data", "event_shape", to=[-1, 8, 8]),
    "meta with caveats of numbers": in_json("meta.json", "caveats", to=[1]),
    "meta with captions of lists": in_json("meta.json", "captions", to={"a.png": []}),
    "meta with a caption elsewhere": in_json("meta.json", "captions", to={"../../OUTSIDE/file.txt": "x"}),
    "meta with a diagnostic elsewhere": renamed("meta.json", "diagnostics", "../../OUTSIDE/x"),
    "meta with tables elsewhere": diagnostic(tables=["../../../OUTSIDE/file"]),
    "meta with a strange status": diagnostic(status="fine"),
    "meta with tables of a text": diagnostic(tables="errors"),
    "meta with notes of numbers": diagnostic(notes=[3]),
    "meta of a diagnostic without status": in_json("meta.json", "diagnostics", "reconstruction", "status"),
    "meta of a diagnostic without tables": in_json("meta.json", "diagnostics", "reconstruction", "tables"),
}
CONFIG: dict[str, Spoil] = {
    "config is a list": filled(".hydra/config.yaml", "[1, 2]"),
    "config with references": filled(".hydra/config.yaml", "a: &a [x]\nb: *a\n"),
    "config that makes objects": filled(".hydra/config.yaml", "!!python/object/apply:os.system ['true']"),
    "config is deep": filled(".hydra/config.yaml", "[" * 5000 + "]" * 5000),
    "config names a function": in_yaml(".hydra/config.yaml", "model", "_target_", to="torch.load"),
    "config names another package": in_yaml(".hydra/config.yaml", "model", "_target_", to="evil.Model"),
    "config with data of a number": in_yaml(".hydra/config.yaml", "data", to=3),
    "config with a seed of text": in_yaml(".hydra/config.yaml", "seed", to="x"),
    "config with a long seed": in_yaml(".hydra/config.yaml", "seed", to=10**400),
    "config with a negative seed": in_yaml(".hydra/config.yaml", "seed", to=-1),
    "config with another dimension": in_yaml(".hydra/config.yaml", "model", "latent_dim", to=3),
    "config with a dimension of text": in_yaml(".hydra/config.yaml", "model", "latent_dim", to="two"),
    "config with a diagnostic elsewhere": renamed(".hydra/config.yaml", "diagnostic", "../../../OUTSIDE/x"),
    "config with an absolute diagnostic": renamed(".hydra/config.yaml", "diagnostic", "/OUTSIDE"),
} | {
    f"config without {key}": in_yaml(".hydra/config.yaml", key)
    for key in ("seed", "rows", "device", "data", "model", "network", "training", "diagnostic")
}
STATUS: dict[str, Spoil] = {
    "status is a list": filled("status.json", "[]"),
    "status without state": in_json("status.json", "state"),
    "status with a state of a list": in_json("status.json", "state", to=[1]),
    "status with a heartbeat of a list": in_json("status.json", "heartbeat", to=[1]),
    "status with a reason of a mapping": in_json("status.json", "reason", to={}),
}
TABLES: dict[str, Spoil] = {
    "metrics without values": in_table("tables/metrics.csv", "value"),
    "metrics without diagnostics": in_table("tables/metrics.csv", "diagnostic"),
    "metrics without metrics": in_table("tables/metrics.csv", "metric"),
    "metrics with values of text": in_table("tables/metrics.csv", "value", to="=1+1"),
    "metrics with ragged lines": filled("tables/metrics.csv", 'a,b\n1,2\n1,2,3,4\n"'),
    "curves without steps": in_table("tables/train.csv", "step"),
    "curves with steps of text": in_table("tables/train.csv", "step", to="x"),
    "curves with losses of text": in_table("tables/train.csv", "val/monitor", to="x"),
    "times without stages": in_table("tables/timing.csv", "stage"),
    "times of text": in_table("tables/timing.csv", "seconds", to="x"),
}
SUMMARY: dict[str, Spoil] = {
    "summary is a list": filled("tables/summary.json", "[]"),
    "summary with a metric of text": in_json("tables/summary.json", "reconstruction/error_mean", to="x"),
    "summary with a setting of a list": in_json("tables/summary.json", "model.latent_dim", to=[1]),
    "summary with a long number": in_json("tables/summary.json", "model.latent_dim", to=10**400),
}
ARRAYS: dict[str, Spoil] = {
    "history without epochs": in_arrays("history", "epochs"),
    "history of another length": in_arrays("history", "epoch_mean", to=np.zeros((1, 2, 2), np.float32)),
    "history of text": in_arrays("history", "epochs", to=np.array(["a", "b"])),
}
CODES: dict[str, Spoil] = {
    "codes missing": in_arrays("latents_train", "codes"),
    "codes of another dimension": in_arrays("latents_train", "codes", to=np.zeros((5, 7), np.float32)),
    "codes of text": in_arrays("latents_train", "codes", to=np.array([["a", "b"]])),
}
BEST: dict[str, Spoil] = {
    "weights that hold themselves": in_checkpoint("best", "loop", to=loop_of),
    "weights missing": in_checkpoint("best", "model"),
    "weights of a list": in_checkpoint("best", "model", to=[1]),
    "weights without one": in_checkpoint("best", "model", "encoder.1.weight"),
    "weights with one of text": in_checkpoint("best", "model", "encoder.1.weight", to="x"),
    "weights of another shape": in_checkpoint("best", "model", "encoder.1.weight", to=torch.zeros(3, 3)),
    "weights with one more": in_checkpoint("best", "model", "other", to=torch.zeros(1)),
    "weights that declare terabytes": in_checkpoint(
        "best", "model", "encoder.1.weight", to=lambda state: torch.zeros(1).expand(2**40)
    ),
    "a checkpoint of a list": lambda root: torch.save([1, 2], root / "checkpoints" / "best.pt"),
}
LAST: dict[str, Spoil] = {
    "state that holds itself": in_checkpoint("last", "progress", to=loop_of),
    "state without progress": in_checkpoint("last", "progress"),
    "state without history": in_checkpoint("last", "history"),
    "state with progress of text": in_checkpoint("last", "progress", to="x"),
    "state with a count of text": in_checkpoint("last", "progress", "at", "epoch", to="x"),
    "state with a negative phase": in_checkpoint("last", "progress", "at", "phase", to=-1),
    "state without counts": in_checkpoint("last", "progress", "at", to={}),
    "state with rows of numbers": in_checkpoint("last", "progress", "rows", to=[1, 2]),
    "state with rows of text": in_checkpoint(
        "last", "progress", "rows", to=[{"phase": "vae", "epoch": "x", "step": 1}]
    ),
    "state with sums of text": in_checkpoint("last", "progress", "sums", to="x"),
    "state with a history of text": in_checkpoint("last", "history", "epochs", to=["a"]),
    "state with weights of another shape": in_checkpoint(
        "last", "model", "encoder.1.weight", to=torch.zeros(3, 3)
    ),
    "state with an optimizer of text": in_checkpoint("last", "within", to={"optimisers": "x"}),
}
PLACES = places()
RUN = PLACES | META | CONFIG | STATUS | TABLES | SUMMARY | ARRAYS | CODES | BEST | LAST


# ---------------------------------------------------------------- the spoilings of a comparison
COMPARISON: dict[str, Spoil] = {
    **{
        f"link at {name}": linked(name)
        for name in ("meta.json", "tables", "tables/metrics.csv", "compare.log")
    },
    **{f"FIFO at {name}": piped(name) for name in ("meta.json", "tables/metrics.csv", "compare.log")},
    **{f"folder at {name}": foldered(name) for name in ("meta.json", "tables/metrics.csv", "report.html")},
    **{f"terabytes at {name}": hollow(name) for name in ("meta.json", "tables/metrics.csv")},
    **{f"nonsense at {name}": filled(name, b"\xff\xfe\x00") for name in ("meta.json", "tables/metrics.csv")},
    "comparison without comparisons": in_json("meta.json", "comparisons"),
    "comparison of another kind": in_json("meta.json", "kind", to="run"),
    "comparison elsewhere": renamed("meta.json", "comparisons", "../../OUTSIDE/x"),
    "comparison of runs of text": in_json("meta.json", "runs", to="x"),
    "comparison of runs of numbers": in_json("meta.json", "runs", to=[1, 2]),
    "comparison of a run without a path": in_json("meta.json", "runs", 0, "path"),
    "comparison of a run with a strange path": in_json("meta.json", "runs", 0, "path", to="a\0b"),
    "comparison of a run with a path of a list": in_json("meta.json", "runs", 0, "path", to=[]),
    "comparison of a run with choices of a list": in_json("meta.json", "runs", 0, "choices", to=[1]),
    "comparison with measures of text": in_json("meta.json", "runs", 0, "measured", to="x"),
    "comparison with values of text": in_table("tables/metrics.csv", "value", to="x"),
    "comparison without a column": in_table("tables/metrics.csv", "comparison"),
}


# ---------------------------------------------------------------- the spoilings of a sweep
JOB = "0_seed=0"


def plan(number: Any = 0, directory: str = JOB, overrides: str = "seed=0") -> Spoil:
    """Another line in the plan."""
    line = f"job,directory,overrides,hash,skipped\n{number},{directory},{overrides},abc,\n"
    return filled("plan.csv", line)


SWEEP: dict[str, Spoil] = {
    **{
        f"link at {name}": linked(name)
        for name in ("plan.csv", "meta.json", "jobs", "jobs/0.yaml", "logs", "logs/0.txt", "plots", JOB)
    },
    **{
        f"link at {name}": linked(name)
        for name in ("sweep.lock", ".tables.lock", "comparisons", "sweep.csv", "report.html")
    },
    **{
        f"FIFO at {name}": piped(name)
        for name in ("plan.csv", "meta.json", "jobs/0.yaml", "logs/0.txt", "sweep.lock", ".tables.lock")
    },
    **{f"folder at {name}": foldered(name) for name in ("plan.csv", "jobs/0.yaml", "logs/0.txt")},
    **{f"terabytes at {name}": hollow(name) for name in ("plan.csv", "meta.json", "jobs/0.yaml")},
    **{f"hard link at {name}": doubled(name) for name in ("logs/0.txt", "sweep.lock")},
    **{
        f"nonsense at {name}": filled(name, b"\xff\xfe\x00nonsense")
        for name in ("plan.csv", "meta.json", "jobs/0.yaml")
    },
    "plan without columns": filled("plan.csv", "number\n0\n"),
    "plan with a number of text": plan(number="x"),
    "plan with a negative number": plan(number=-1),
    "plan with a long number": plan(number="9" * 30),
    "plan with a number of a path": plan(number="../../OUTSIDE/file"),
    "plan with a directory elsewhere": plan(directory="../OUTSIDE"),
    "plan with an open quote": plan(overrides="seed='0"),
    "plan with a job twice": filled(
        "plan.csv", f"job,directory,overrides,hash,skipped\n0,{JOB},seed=0,a,\n0,{JOB},seed=0,a,\n"
    ),
    "plan with a job without settings": plan(number=7),
    "sweep meta is a list": filled("meta.json", "[]"),
    "sweep meta with argv of numbers": in_json("meta.json", "argv", to=[1]),
    "sweep meta with options of a list": in_json("meta.json", "options", to=[1]),
    "sweep meta with a study of text": in_json("meta.json", "study", to="x"),
    "job settings without config": in_yaml("jobs/0.yaml", "config"),
    "job settings without about": in_yaml("jobs/0.yaml", "about"),
    "job settings without choices": in_yaml("jobs/0.yaml", "about", "choices"),
    "job settings without a seed": in_yaml("jobs/0.yaml", "config", "seed"),
    "job settings with a model of text": in_yaml("jobs/0.yaml", "config", "model", to="x"),
    "job settings with a diagnostic elsewhere": in_yaml(
        "jobs/0.yaml", "config", "diagnostic", to={"../../OUTSIDE/x": {"_target_": "x"}}
    ),
}
