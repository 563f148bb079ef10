"""Where fixed examples lie in latent space while the model trains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Ge, Gt
from latentrun.data.base import Dataset, places_of
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, FLAT, IMAGES
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.clouds.motion import (
    rigid_estimate,
    rigid_share,
    settles_at,
    step_lengths,
    straightness,
)
from latentrun.functional.clouds.whitening import Whitening, whitening
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_means, interval_columns, mean_interval
from latentrun.functional.ties import ranked
from latentrun.models.base import Model
from latentrun.plotting.sprite import thumbnails
from latentrun.run import Run
from latentrun.types import Estimate, History, Metric, Picture, Report


@dataclass(frozen=True)
class Motion:
    """How N codes moved between E records, in sd of the last ones: ``steps`` the mean length of each of the E
    - 1 steps, ``rigid (E - 1,)`` the share of each that moves all codes alike, ``settled`` the epoch,
    ``straightness`` and ``rigid_last`` freed of its excess."""

    steps: list[Estimate]
    rigid: np.ndarray
    settled: Estimate
    straightness: Estimate
    rigid_last: Estimate


class LatentTrajectory(Diagnostic):
    """How do codes of fixed examples move during training, and when do they settle?

    The examples are training rows whose codes (of a posterior: its mean mu and sd sigma) the run recorded
    while it trained: 512 after every epoch, ten of them at about 100 log-spaced steps. The record ends with
    the last epoch, which need not be that of the best checkpoint.

    Codes are measured in units of the last recorded ones: u = z in their k principal axes, each divided by
    its sd (axes whose sd is at most the share ``flat`` of the largest are left out, for those are noise). A
    step of an example is ||u_e+1 - u_e|| / sqrt(k): 1 where it moves by one sd along every axis.

    ``moved``: mean step over the examples in the first and in the last recorded epoch. ``settled``: the epoch
    after which no epoch's mean step exceeds ``settled`` (NaN where the last one still does; so does an upper
    end of the interval that lies beyond the record: it is then the last epoch). ``straightness``: net
    displacement from the first to the last epoch / length of the path, mean over examples; the more epochs,
    the longer a crooked path. ``rigid``: the share of the last epoch's mean squared step, in latent units,
    that one rotation and shift of all codes explains: the latent space may turn as a whole without anything
    being learned. ``sigma_geometric``: exp of the mean of ln sigma over examples and latent variables at the
    end; ``.pair``: over the two latents drawn.

    Intervals over examples: Student's corrected for skewness for means, bootstrap (``resamples``) for the
    epoch of settling, jackknife for the rigid share, whose excess of about (d + 1) / 2N it takes off (the
    table by epoch has it still); they hold for this training run.

    The pictures show ``shown`` examples, of the ten known at the log-spaced steps (``record: steps``: the
    first of the 512, in the order of the data's source) or, spread evenly, of the 512 known after epochs
    (``record: epochs``). ``pair``: the latents drawn, null for the two whose codes vary most at the end. A
    circle has the radius sqrt(sigma_a sigma_b) of the two latents drawn: the area of the posterior's ellipse
    of one sd. ``milliseconds`` a frame, in which the last ``tail`` records fade.
    """

    animated = True
    requires = (ENCODER, FLAT)
    uses = (IMAGES,)
    metrics = {
        "moved": Metric(
            "sd of the last codes, a step of one epoch, mean over examples (first, last epoch)", low=0
        ),
        "settled": Metric("epochs", low=0),
        "straightness": Metric("net displacement / length of the path, mean over examples", low=0, high=1),
        "rigid": Metric(
            "share of the mean squared step of an epoch", low=0, high=1, source="Schönemann 1966"
        ),
        "sigma_geometric": Metric(
            "latent units, geometric mean over examples and latents (all, those drawn)", low=0
        ),
    }

    def __init__(
        self,
        record: Literal["steps", "epochs"],
        shown: Annotated[int, Count(1, 10_000)],
        pair: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]] | None,
        settled: Annotated[float, Gt(0)],
        flat: Annotated[float, Ge(0)],
        resamples: Annotated[int, Count(100, 100_000)],
        tail: Annotated[int, Count(1, 10_000)],
        milliseconds: Annotated[int, Count(10, 60_000)],
    ):
        self.record, self.shown, self.pair, self.settled, self.flat = record, shown, pair, settled, flat
        self.resamples, self.tail, self.milliseconds = resamples, tail, milliseconds

    def check(self, model: Model, data: Dataset) -> None:
        if self.pair is None:
            return
        a, b = self.pair
        if a == b:
            raise InputError(f"latent_trajectory.pair: [{a}, {b}] names one latent twice")
        if max(a, b) >= model.latent_dim:
            raise InputError(
                f"latent_trajectory.pair: there is no latent {max(a, b)}; the model has {model.latent_dim}, "
                "counted from 0"
            )

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        history = run.history
        if history is None or not len(history.epochs):
            raise NothingToMeasure(
                "nothing was recorded while the model trained: there are no codes to follow"
            )
        z = torch.from_numpy(history.epoch_mean).double()
        white = whitening(z[-1].numpy(), self.flat)
        motion, tables = None, {}
        if len(z) > 1 and white.sd.size:
            motion = self._motion(z, white, history.epochs, noise)
            tables["epochs"] = motion_table(motion, history.epochs, self.settled)
        elif len(z) > 1:
            tables["epochs"] = pd.DataFrame()
        pair = self._pair(z[-1])
        metrics = motion_metrics(motion) if len(z) > 1 else {}
        arrays = self._paths(run, history, pair)
        tables["paths"] = path_table(arrays)
        notes = self._notes(history, white, motion, arrays)
        return Report(metrics | radius_metrics(history, pair), tables, arrays, notes=notes)

    def _pair(self, last: Tensor) -> list[int]:
        """The latents drawn: those named, or the two whose codes vary most; one where there is no other."""
        if self.pair is not None:
            return list(self.pair)
        return sorted(ranked(last.var(0))[:2].tolist())

    def _motion(self, z: Tensor, white: Whitening, epochs: np.ndarray, noise: Noise) -> Motion:
        """Of codes ``z (E, N, d)`` recorded after ``epochs (E,)``."""
        u = torch.from_numpy(white.to(z.numpy()))
        lengths, straight = step_lengths(u), straightness(u)
        order = noise.to("cpu").permutation("rigid", z.shape[1])
        return Motion(
            steps=[mean_interval(step) for step in lengths],
            rigid=rigid_share(z[:-1], z[1:]).numpy(),
            settled=self._settling(lengths, epochs, noise.at("settled")),
            straightness=mean_interval(straight[straight.isfinite()]),
            rigid_last=rigid_estimate(z[-2][order], z[-1][order]),
        )

    def _settling(self, lengths: Tensor, epochs: np.ndarray, noise: Noise) -> Estimate:
        """The epoch after which no mean step is longer than ``settled``, NaN where the last one is; ``lengths
        (E - 1, N)``."""

        def statistic(means: Tensor) -> Tensor:
            return settles_at(means, self.settled)[:, None]

        (place,) = bootstrap_means(statistic, lengths.T, noise, self.resamples)
        if place.value == len(lengths):
            return Estimate(math.nan)
        if place.low is None or place.high is None:
            return Estimate(float(epochs[int(place.value)]), method=place.method)
        low, high = (min(int(end), len(lengths)) for end in (place.low, math.ceil(place.high)))
        return Estimate(
            float(epochs[int(place.value)]), float(epochs[low]), float(epochs[high]), place.method
        )

    # ---------------------------------------------------------------- the report
    def _paths(self, run: Run, history: History, pair: list[int]) -> dict[str, np.ndarray]:
        """What the pictures need: codes ``mean (T, n, 1 or 2)`` and radii ``(T, n)`` of the examples drawn at
        ``times (T,)``."""
        mean, scale, times, index = history.epoch_mean, history.epoch_scale, history.epochs, history.index
        if self.record == "steps":
            mean, scale, times, index = (
                history.step_mean,
                history.step_scale,
                history.steps,
                history.step_index,
            )
        rows = np.linspace(0, len(index) - 1, min(self.shown, len(index))).round().astype(int)
        arrays = {
            "mean": mean[:, rows][..., pair].astype(np.float32),
            "times": np.asarray(times, np.int64),
            "index": np.asarray(index[rows], np.int64),
            "by_step": np.array(self.record == "steps"),
            "pair": np.array(pair),
            "cloud": history.epoch_mean[-1][:, pair].astype(np.float32),
        }
        if scale.shape[2]:
            arrays["radius"] = np.exp(np.log(scale[:, rows][..., pair]).mean(2)).astype(np.float32)
        train = run.data.split("train")
        places = places_of(arrays["index"], train)
        # Where a run is measured on other rows than it was trained on, there are no pictures of these.
        if run.data.is_image and run.data.event_shape[0] in (1, 3) and places is not None:
            arrays["thumbnails"] = thumbnails(train.x.cpu(), run.data.value_range, places)
        return arrays

    def _notes(
        self, history: History, white: Whitening, motion: Motion | None, arrays: dict[str, np.ndarray]
    ) -> tuple[str, ...]:
        epochs, n, _ = history.epoch_mean.shape
        notes = [
            f"{n} training rows after each of {epochs} epochs; the record ends with epoch "
            f"{history.epochs[-1]}, which need not be that of the best checkpoint."
        ]
        if epochs == 1:
            notes.append("Only one epoch was recorded: there are no steps between epochs.")
        elif white.note:
            notes.append(f"{white.note}.")
        if epochs > 1 and motion is None:
            notes.append(
                "All codes of the last epoch are equal: there is no unit in which to measure a step."
            )
        if motion is not None and math.isnan(motion.settled.value):
            notes.append(
                f"Not settled: in the last epoch the mean step is still more than {self.settled:g} sd."
            )
        if not history.epoch_scale.shape[2]:
            notes.append("The model has no posterior: no circles.")
        unit = "step" if arrays["by_step"] else "epoch"
        notes.append(f"Drawn: {arrays['mean'].shape[1]} examples, a record a {unit}.")
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.training.latent_trajectory_plot import film, single_latent, steps

        pictures: dict[str, Picture] = {}
        if len(report.arrays["pair"]) == 1:
            pictures["paths"] = single_latent(report.arrays)
        else:
            pictures["paths"] = film(report.arrays, self.tail, self.milliseconds)
        if len(report.tables.get("epochs", ())):
            pictures["moves"] = steps(report)
        return pictures


# ---------------------------------------------------------------- numbers
def geometric(log_scale: Tensor) -> Estimate:
    """exp of the mean of ``log_scale (N,)`` with the interval of the mean, carried over."""
    mean = mean_interval(log_scale)
    low, high = (None if end is None else math.exp(end) for end in (mean.low, mean.high))
    method = mean.method if mean.low is None else f"{mean.method}, of logarithms"
    return Estimate(math.exp(mean.value), low, high, method)


def motion_metrics(motion: Motion | None) -> dict[str, Estimate]:
    """NaN where the codes have no spread that could be a unit."""
    if motion is None:
        names = ("moved.first", "moved.last", "settled", "straightness", "rigid")
        return dict.fromkeys(names, Estimate(math.nan))
    return {
        "moved.first": motion.steps[0],
        "moved.last": motion.steps[-1],
        "settled": motion.settled,
        "straightness": motion.straightness,
        "rigid": motion.rigid_last,
    }


def radius_metrics(history: History, pair: list[int]) -> dict[str, Estimate]:
    """The geometric mean of sigma at the end, of all latents and of those drawn; none without a posterior."""
    if not history.epoch_scale.shape[2]:
        return {}
    log_scale = torch.from_numpy(history.epoch_scale[-1]).double().log()
    metrics = {"sigma_geometric": geometric(log_scale.mean(1))}
    if log_scale.shape[1] > 1:
        metrics["sigma_geometric.pair"] = geometric(log_scale[:, pair].mean(1))
    return metrics


# ---------------------------------------------------------------- tables
def motion_table(motion: Motion, epochs: np.ndarray, limit: float) -> pd.DataFrame:
    """A row for each step between epochs."""
    moved = interval_columns("moved", motion.steps)
    return pd.DataFrame(
        {
            "epoch": epochs[1:],
            "moved": moved["moved"],
            "low": moved["moved_low"],
            "high": moved["moved_high"],
            "rigid": motion.rigid,
            "limit": limit,
        }
    )


def path_table(arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """A row for each time and example drawn: ``step`` or ``epoch``, ``index`` of the training row, its code,
    its radius."""
    t, n = arrays["mean"].shape[:2]
    table = pd.DataFrame(
        {
            "step" if arrays["by_step"] else "epoch": np.repeat(arrays["times"], n),
            "index": np.tile(arrays["index"], t),
        }
    )
    for axis, latent in enumerate(arrays["pair"]):
        table[f"z{latent}"] = arrays["mean"][..., axis].ravel()
    if "radius" in arrays:
        table["radius"] = arrays["radius"].ravel()
    return table
