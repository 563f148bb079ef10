"""Where fixed examples lie in latent space while the model trains."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Ge, Gt
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, IMAGES
from latentrun.errors import InputError
from latentrun.functional.clouds.motion import (
    rigid_estimate,
    rigid_share,
    settles_at,
    step_lengths,
    straightness,
)
from latentrun.functional.clouds.whitening import whitening
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_means, mean_interval
from latentrun.models.base import Model
from latentrun.plotting.sprite import thumbnails
from latentrun.run import Run
from latentrun.types import Animation, Estimate, History, Metric, Picture, Report


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

    Intervals over examples: normal for means, bootstrap (``resamples``) for the epoch of settling, jackknife
    for the rigid share, whose excess of about (d + 1) / 2N it takes off (the table by epoch has it still);
    they hold for this training run.

    The pictures show ``shown`` examples, of the ten known at the log-spaced steps (``record: steps``: the
    first of the 512, in the order of the data's source) or, spread evenly, of the 512 known after epochs
    (``record: epochs``). ``pair``: the latents drawn, null for the two whose codes vary most at the end. A
    circle has the radius sqrt(sigma_a sigma_b) of the two latents drawn: the area of the posterior's ellipse
    of one sd. ``milliseconds`` a frame, in which the last ``tail`` records fade.
    """

    requires = (ENCODER,)
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
        shown: Annotated[int, Ge(1)],
        pair: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]] | None,
        settled: Annotated[float, Gt(0)],
        flat: Annotated[float, Ge(0)],
        resamples: Annotated[int, Ge(100)],
        tail: Annotated[int, Ge(1)],
        milliseconds: Annotated[int, Ge(10)],
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
                f"latent_trajectory.pair: there is no latent {max(a, b)}; the model has "
                f"{model.latent_dim}, counted from 0"
            )

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        history = run.history
        if history is None or not len(history.epochs):
            return Report(
                notes=("Nothing was recorded while the model trained: there are no codes to follow.",)
            )
        z = torch.from_numpy(history.epoch_mean).double()
        scaled = history.epoch_scale.shape[2] > 0
        d = z.shape[2]
        pair = self._pair(z[-1])
        notes = [
            f"{z.shape[1]} training rows after each of {len(z)} epochs; the record ends with epoch "
            f"{history.epochs[-1]}, which need not "
            "be that of the best checkpoint."
        ]
        metrics, tables = {}, {}
        if len(z) > 1:
            metrics, tables["epochs"] = self._motion(z, history.epochs, noise, notes)
        else:
            notes.append("Only one epoch was recorded: there are no steps between epochs.")
        if scaled:
            log_scale = torch.from_numpy(history.epoch_scale).double().log()
            metrics |= {"sigma_geometric": geometric(log_scale[-1].mean(1))}
            if d > 1:
                metrics |= {"sigma_geometric.pair": geometric(log_scale[-1][:, pair].mean(1))}
        else:
            notes.append("The model has no posterior: no circles.")
        arrays = self._paths(run, history, pair)
        notes.append(
            f"Drawn: {arrays['mean'].shape[1]} examples, a record a "
            f"{'step' if arrays['by_step'] else 'epoch'}."
        )
        tables["paths"] = path_table(arrays)
        return Report(metrics, tables, arrays, notes=tuple(notes))

    def _pair(self, last: Tensor) -> list[int]:
        """The latents drawn: those named, or the two whose codes vary most; one where there is no other."""
        if self.pair is not None:
            return list(self.pair)
        return sorted(torch.argsort(last.var(0), descending=True, stable=True)[:2].tolist())

    def _motion(
        self, z: Tensor, epochs: np.ndarray, noise: Noise, notes: list[str]
    ) -> tuple[dict[str, Estimate], pd.DataFrame]:
        white = whitening(z[-1].numpy(), self.flat)
        if white.note:
            notes.append(f"{white.note}.")
        nothing = Estimate(math.nan)
        if not white.sd.size:
            notes.append(
                "All codes of the last epoch are equal: there is no unit in which to measure a step."
            )
            return dict.fromkeys(
                ("moved.first", "moved.last", "settled", "straightness", "rigid"), nothing
            ), pd.DataFrame()
        u = torch.from_numpy(white.to(z.numpy()))
        lengths = step_lengths(u)
        means = [mean_interval(each) for each in lengths]
        rigid = rigid_share(z[:-1], z[1:])

        (at,) = bootstrap_means(
            lambda rows: settles_at(rows, self.settled)[:, None],
            lengths.T,
            noise.at("settled"),
            self.resamples,
        )
        settled = nothing
        if at.value < len(lengths):
            low, high = (float(epochs[min(int(end), len(lengths))]) for end in (at.low, math.ceil(at.high)))
            settled = Estimate(float(epochs[int(at.value)]), low, high)
        else:
            notes.append(
                f"Not settled: in the last epoch the mean step is still more than {self.settled:g} sd."
            )

        order = noise.to("cpu").permutation("rigid", z.shape[1])
        share = rigid_estimate(z[-2][order], z[-1][order])
        straight = straightness(u)
        metrics = {
            "moved.first": means[0],
            "moved.last": means[-1],
            "settled": settled,
            "straightness": mean_interval(straight[straight.isfinite()]),
            "rigid": share,
        }
        table = pd.DataFrame(
            {
                "epoch": epochs[1:],
                "moved": [each.value for each in means],
                "low": np.array([each.low for each in means], float),
                "high": np.array([each.high for each in means], float),
                "rigid": rigid.numpy(),
            }
        )
        table["limit"] = self.settled
        return metrics, table

    def _paths(self, run: Run, history: History, pair: list[int]) -> dict[str, np.ndarray]:
        """What the pictures need: codes ``mean (T, n, 1 or 2)`` and radii ``(T, n)`` of the examples drawn at
        ``times (T,)``."""
        by_step = self.record == "steps"
        if by_step:
            mean, scale, times, index = (
                history.step_mean,
                history.step_scale,
                history.steps,
                history.step_index,
            )
        else:
            mean, scale, times, index = history.epoch_mean, history.epoch_scale, history.epochs, history.index
        rows = np.linspace(0, len(index) - 1, min(self.shown, len(index))).round().astype(int)
        arrays = {
            "mean": mean[:, rows][..., pair].astype(np.float32),
            "times": np.asarray(times, np.int64),
            "index": np.asarray(index[rows], np.int64),
            "by_step": np.array(by_step),
            "pair": np.array(pair),
            "cloud": history.epoch_mean[-1][:, pair].astype(np.float32),
        }
        if scale.shape[2]:
            arrays["radius"] = np.exp(np.log(scale[:, rows][..., pair]).mean(2)).astype(np.float32)
        train = run.data.split("train")
        place = torch.searchsorted(train.index.sort().values, torch.as_tensor(arrays["index"]))
        found = train.index.argsort()[place.clamp_max(len(train.index) - 1)]
        # Where a run is measured on other rows than it was trained on, there are no pictures of these.
        if (
            run.data.is_image
            and run.data.event_shape[0] in (1, 3)
            and (train.index[found].numpy() == arrays["index"]).all()
        ):
            arrays["thumbnails"] = thumbnails(train.x.cpu(), run.data.value_range, found.numpy())
        return arrays

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.training.latent_trajectory_plot import Scene, lines, moves

        arrays, pictures = report.arrays, {}
        if "mean" not in arrays:
            return pictures
        unit, n, t = "step" if arrays["by_step"] else "epoch", arrays["mean"].shape[1], len(arrays["times"])
        circle = ", a circle with the geometric mean of sigma as radius" if "radius" in arrays else ""
        if len(arrays["pair"]) == 1:
            band = "; the bands are one sigma wide on either side" if "radius" in arrays else ""
            pictures["paths"] = Picture(
                lines(arrays), f"Codes of {n} training examples against the {unit} of training{band}."
            )
        else:
            context = "Grey: codes of all recorded examples at the end."
            pictures["paths"] = Animation(
                Scene(arrays).still(),
                f"Where {n} training examples lie in latent space from {unit} {arrays['times'][0]:,} "
                "(small ring) to "
                f"{arrays['times'][-1]:,} (disc{circle}). {context}",
                Scene(arrays, self.tail).frame,
                (*[self.milliseconds] * (t - 1), 25 * self.milliseconds),
                f"{n} training examples during training{circle}, with a fading tail of {self.tail} "
                "records; a frame each, "
                f"{'at log-spaced steps' if arrays['by_step'] else 'after every epoch'}. {context}",
            )
        if len(report.tables.get("epochs", ())):
            found = report.metrics["settled"]
            when = (
                f"settled after epoch {found.value:.0f}"
                if found.value == found.value
                else "not settled at the end"
            )
            pictures["moves"] = Picture(
                moves(report.tables["epochs"], found),
                "Above: mean step of the codes in each epoch, in sd of the last ones, with its 95 % "
                "interval over examples (with many as "
                f"narrow as the line); dashed: the limit of settling ({when}). Below: the share of "
                "the mean squared step that one rotation "
                "and shift of all codes explains.",
            )
        return pictures


def geometric(log_scale: Tensor) -> Estimate:
    """exp of the mean of ``log_scale (N,)`` with the interval of the mean, carried over."""
    found = mean_interval(log_scale)
    ends = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return Estimate(math.exp(found.value), *ends)


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
    for place, latent in enumerate(arrays["pair"]):
        table[f"z{latent}"] = arrays["mean"][..., place].ravel()
    if "radius" in arrays:
        table["radius"] = arrays["radius"].ravel()
    return table
