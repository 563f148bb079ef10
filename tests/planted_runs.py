"""Run directories with known numbers in them, for tests of what is told of many runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from latentrun.types import Meaning

CONFIG = {  # all that a configuration must hold, and nothing in it
    "seed": 0,
    "rows": None,
    "device": "cpu",
    "skip_inapplicable": None,
    "data": {},
    "model": {},
    "network": {},
    "training": {},
    "diagnostic": {},
}
MEANING = {
    "probe/error": Meaning("px", "lower"),
    "probe/score": Meaning("of the points", "higher", share=True),
    "probe/ratio": Meaning("pure number", "one"),
}


def plant(
    path: Path,
    settings: Mapping[str, Any],
    metrics: Mapping[str, float] | None,
    state: str = "done",
    **status: Any,
) -> Path:
    """A run directory with the flat ``settings`` (``model.latent_dim``) and ``metrics`` (``probe/error``);
    without metrics one that has not got so far. ``status``: more entries of status.json."""
    (path / ".hydra").mkdir(parents=True)
    config: dict[str, Any] = {}
    options = {"model": "vae", "data": "digits"} | {
        key: value for key, value in settings.items() if key in ("model", "data")
    }
    for key, value in settings.items() - options.items():
        node = config
        *parents, last = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    choices = {**options, "debug": None}
    (path / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    (path / "meta.json").write_text(json.dumps({"schema": 3, "kind": "run", "choices": choices}))
    (path / "status.json").write_text(json.dumps({"state": state, **status}))
    (path / "run.lock").touch()
    if metrics is not None:
        (path / "tables").mkdir()
        row = {**options, **settings, "parameters": 10, "epochs": 2, **metrics}
        (path / "tables" / "summary.json").write_text(json.dumps(row))
        rows = [
            (*name.split("/"), value, *MEANING[name][:2], "yes" if MEANING[name].share else "no")
            for name, value in metrics.items()
        ]
        pd.DataFrame(rows, columns=["diagnostic", "metric", "value", "unit", "direction", "share"]).to_csv(
            path / "tables" / "metrics.csv"
        )
        (path / "report.html").write_text("the run's page")
    return path
