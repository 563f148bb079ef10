"""The points of paths through latent space, decoded: tables of paths and steps, what is drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.data.base import Dataset
from latentrun.data.formats.columns import courses
from latentrun.diagnostics.decoder.traversal_paths import BENT, Frame
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.paths.lines import Paths
from latentrun.plotting.images import halved
from latentrun.run import Run
from latentrun.types import Estimate


@dataclass(frozen=True)
class Walk:
    """P decoded paths of T points: ``names`` and ``kinds`` of the paths; ``parameter (P, T)`` the position
    along each, ``closed (P,)``; codes ``z (P, T, d)`` and what they decode to, ``x (P, T, *event_shape)``."""

    names: list[str]
    kinds: list[str]
    parameter: Tensor
    closed: Tensor
    z: Tensor
    x: Tensor

    @property
    def jump(self) -> Tensor:
        """||x_t+1 - x_t||, ``(P, T - 1)``."""
        return self.x.diff(dim=1).flatten(2).norm(dim=2)

    def gap(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Distance of each point to the nearest of the training ``codes (N, d)``, ``(P, T)``, in whitened
        units ``scale (d,)``."""
        distance, _ = nearest(self.z.flatten(0, 1) / scale, codes / scale, 1)
        return distance.view(self.parameter.shape)

    def distinct(self, rows: Tensor, frame: Frame) -> int:
        """How many of the straight paths ``rows`` have different ends, to a thousandth of a whitened unit."""
        ends = (self.z / frame.scale)[rows.to(self.z.device)][:, [0, -1]].flatten(1)
        return len((ends * 1e3).round().unique(dim=0))


def decoded(run: Run, kinds: Sequence[Paths]) -> Walk:
    """Paths of several kinds, their points projected onto the latent space and decoded."""
    z = run.model.spaces["z"].project(torch.cat([paths.z for paths in kinds]))
    return Walk(
        names=[name for paths in kinds for name in paths.names],
        kinds=[paths.kind for paths in kinds for _ in paths.names],
        parameter=torch.cat([paths.parameter for paths in kinds]),
        closed=torch.tensor([closed for paths in kinds for closed in paths.closed]),
        z=z,
        x=run.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2]),
    )


def path_table(walk: Walk) -> pd.DataFrame:
    """A row for each path."""
    position, jump = walk.parameter.cpu().double().numpy(), walk.jump
    return pd.DataFrame(
        {
            "path": walk.names,
            "kind": walk.kinds,
            "from": position[:, 0],
            "to": position[:, -1],
            "closed": walk.closed.numpy(),
            "speed": jump.mean(1).cpu().numpy(),
            "unevenness": (jump.std(1) / jump.mean(1)).cpu().numpy(),
        }
    )


def step_table(walk: Walk) -> pd.DataFrame:
    """A row for each point; the step from the last point of a path leads nowhere."""
    n, t = walk.parameter.shape
    speed = torch.nn.functional.pad(walk.jump, (0, 1), value=torch.nan)
    steps = pd.DataFrame(
        {
            "path": np.repeat(walk.names, t),
            "kind": np.repeat(walk.kinds, t),
            "step": np.tile(np.arange(t), n),
            "parameter": walk.parameter.cpu().double().flatten().numpy(),
        }
    )
    steps[[f"z{i}" for i in range(walk.z.shape[2])]] = walk.z.flatten(0, 1).cpu().numpy()
    steps["speed"] = speed.flatten().cpu().numpy()
    return steps


def mean_unevenness(paths: pd.DataFrame) -> dict[str, Estimate]:
    """Over the straight paths that move, where there are any."""
    moving = paths.loc[~paths["kind"].isin(BENT) & (paths["speed"] > 0), "unevenness"]
    return {"unevenness": Estimate(float(moving.mean()))} if len(moving) else {}


def pictures_of(walk: Walk, data: Dataset) -> np.ndarray:
    """What is decoded at all points ``(P, T, *event_shape)``; of images as much as is seen."""
    x = walk.x.cpu().float().numpy()
    return halved(x, data.value_range) if data.is_image else x


def decoded_arrays(walk: Walk, data: Dataset, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """What the pictures of the ``drawn`` paths need."""
    return {
        "pictures": pictures_of(walk, data)[drawn],
        "value_range": np.array(data.value_range, np.float64),
    }


def column_changes(walk: Walk, data: Dataset, drawn: np.ndarray) -> tuple[np.ndarray, pd.DataFrame]:
    """The values of a table's columns along the ``drawn`` paths, and a row for each path and column."""
    values, table = courses(walk.x[torch.from_numpy(drawn.copy()).to(walk.x.device)], data.columns)
    for place, (name, words) in enumerate({"path": walk.names, "kind": walk.kinds}.items()):
        table.insert(place, name, np.repeat(np.array(words, dtype=object)[drawn], len(data.columns)))
    return values, table
