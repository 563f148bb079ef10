"""What growing noise on one latent variable did to it while the model went on training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd

from latentrun.config.bounds import Between, Gt
from latentrun.diagnostics.base import Diagnostic, posterior_training
from latentrun.errors import NothingToMeasure
from latentrun.experiments.latent_noise import HELD, REMOVED, RISING
from latentrun.functional.noise import Noise
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Need, Picture, Report

SOURCE = "Asperti, Sparsity in Variational Autoencoders, 2018, arXiv 1812.07238, section 5"
STAGES = {RISING: "rising", HELD: "held", REMOVED: "removed"}
NEEDED = ("gain", "variable_kl", "noise_scale", "noise_stage", "noise_variable")  # of train.csv, after val/
WHEN = (
    "`before` the noise, at the `crossing`, at the end of the noise (`held`) and at the end of training "
    "(`revived`)"
)

NOISE = Need(
    "training",
    lambda training: str((training.get("then") or {}).get("_target_")).endswith(".LatentNoise"),
    "noise on a latent variable (training=latent_noise)",
)


@dataclass(frozen=True)
class Events:
    """Rows of the curve at which something happened, None where it did not: the gain fell below the KL under
    noise (``crossing``), the variable gave up (``collapse``), the noise stayed for the last time (``held``),
    was ``removed``, a variable that was down came back (``revival``), training ended (``end``, without
    noise). ``down``: whether the noise had brought it down; ``steepest``: the epoch of the largest loss of
    gain."""

    crossing: int | None
    collapse: int | None
    held: int | None
    removed: int | None
    revival: int | None
    end: int | None
    down: bool
    steepest: int | None


class VariableUnderNoise(Diagnostic):
    """What became of a latent variable under growing noise?

    After its training the model was trained on with Gaussian noise on the drawn value of one latent variable
    (training=latent_noise). Its standard deviation in latent units grew epoch by epoch, stayed, and was taken
    away. This reads what training recorded after every epoch, and measures nothing anew:

    - ``gain``: the growth of -ln p(x|z) when the variable is set to 0, in nats, mean over the validation
      rows, with the noise of that epoch; ``kl``: KL(q(z_i|x) || N(0, 1)), or the part of it that ``model.kl``
      charges, nats, mean over the same rows;
    - ``var_mean`` and the mean of sigma²: over the fixed training rows of the history, without noise.

    ``crossing``: the first epoch with noise in which the gain is less than the KL. The source expects a
    sudden collapse there. ``gain_share`` is the gain as a share of that before the noise; below ``collapsed``
    of it and with a KL below ``inactive_kl`` nats the variable counts as collapsed, and as revived once,
    without noise, its gain is above its KL and above ``revived`` of it again. ``epochs.collapse`` counts from
    the crossing and is negative where the collapse came first. A variable can flee the noise: by growing its
    codes, which the KL charges only by half their variance, until they are large beside it
    (``var_mean.greatest``, up to the end of the noise).

    Numbers are NaN where what they speak of did not happen. They are those of one variable in one training:
    no interval follows from them; over trainings with other seeds it does (task=claims, task=report).
    """

    requires = (NOISE,)
    metrics = {
        "crossed": Metric(
            "1 where the gain fell below the KL while there was noise, else 0", low=0, high=1, source=SOURCE
        ),
        "collapsed": Metric(
            "1 where with noise the gain fell under the share `collapsed`, the KL under `inactive_kl`, else "
            "0",
            low=0,
            high=1,
            source=SOURCE,
        ),
        "revived": Metric(
            "1 where a variable that was down at the end of the noise came back, else 0",
            low=0,
            high=1,
            source=SOURCE,
        ),
        "noise": Metric(
            "standard deviation in latent units: at the `crossing`, at the `collapse`, in the `steepest` "
            "epoch, at the `flight` (greatest var(μ)), and the `greatest`",
            low=0,
        ),
        "gain": Metric(f"nats of -ln p(x|z), mean over validation rows: {WHEN}", source=SOURCE),
        "kl": Metric(f"nats, mean over validation rows: {WHEN}", low=0, source=SOURCE),
        "gain_share": Metric(
            "part of the gain before the noise: at the `crossing`, `held`, `revived`", source=SOURCE
        ),
        "steepest": Metric(
            "largest loss of gain in one epoch up to the end of the noise, share of the gain before it",
            source=SOURCE,
        ),
        "margin": Metric(
            "nats, least of gain less KL in an epoch up to the end of the noise: below 0 where it crossed",
            source=SOURCE,
        ),
        "var_mean": Metric(
            f"variance of mu over fixed training rows: {WHEN}; the `greatest` up to the end of the noise",
            low=0,
        ),
        "epochs": Metric(
            "epochs: with noise up to the `crossing`; from there to the `collapse` (negative: before it); "
            "from the removal to the `revival`"
        ),
    }

    def __init__(
        self,
        collapsed: Annotated[float, Between(0, 1)],
        inactive_kl: Annotated[float, Gt(0)],
        revived: Annotated[float, Between(0, 1)],
    ):
        self.collapsed, self.inactive_kl, self.revived = collapsed, inactive_kl, revived

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        rows = recorded(run.curves)
        variable = round(rows["noise_variable"].iloc[0])
        curve = curve_of(rows, variable)
        events = self._events(curve)
        numbers = stage_numbers(curve, events) | event_numbers(curve, events) | spread_numbers(curve, events)
        metrics = {name: Estimate(number) for name, number in numbers.items()}
        return Report(metrics, {"curve": curve}, notes=self._notes(run, curve, variable))

    def _events(self, curve: pd.DataFrame) -> Events:
        gain, kl, share, stage = (curve[name].to_numpy() for name in ("gain", "kl", "gain_share", "stage"))
        under = under_noise(curve)
        noisy = under & (curve["noise_scale"].to_numpy() > 0)
        crossing = crossing_of(curve)
        collapse = first(noisy & (share < self.collapsed) & (kl < self.inactive_kl))
        held, removed = last(stage == STAGES[HELD]), first(~under)
        hit = crossing is not None or collapse is not None
        down = hit and held is not None and bool(gain[held] < kl[held] or share[held] < self.collapsed)
        back = first(~under & (gain > kl) & (share > self.revived))
        lost = losses(curve)
        steepest = int(lost.argmax()) + 1 if under[1:].any() and not np.isnan(share).any() else None
        return Events(
            crossing=crossing,
            collapse=collapse,
            held=held,
            removed=removed,
            revival=back if down else None,
            end=last(~under),
            down=down,
            steepest=steepest,
        )

    def _notes(self, run: Run, curve: pd.DataFrame, variable: int) -> tuple[str, ...]:
        lengths = ", ".join(
            f"{name} {count}" for name, count in curve["stage"].value_counts(sort=False).items()
        )
        notes = [
            f"Latent variable {variable}. Epochs of each stage: {lengths}; the first is without noise.",
            "One variable in one training: the numbers have no interval; task=claims and task=report make "
            "one over seeds.",
            f"Collapsed: a gain under {self.collapsed:.0%} of that before the noise and a KL under "
            f"{self.inactive_kl:g} nats; revived: above {self.revived:.0%} of it and above the KL. Meanwhile "
            "the decoder saw N(0, 1) draws in the place of variables that were inactive before.",
        ]
        training = posterior_training(run)
        if not curve["noise_scale"].any():
            notes.append("There was no noise (increment 0): this is the control.")
        if curve["gain"].iloc[0] <= 0:
            notes.append("The variable gained nothing before the noise: there are no shares of that.")
        if training.beta != 1:
            notes.append(
                f"The model was trained with beta = {training.beta:g}: a variable costs its loss that many "
                "times its KL."
            )
        if training.kl != "full":
            notes.append(
                f"The model was trained with kl={training.kl}: the KL given here is what its loss charges."
            )
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.training.latent_noise_plot import caption, rise_and_fall

        curve = report.tables["curve"]
        numbers = {name: estimate.value for name, estimate in report.metrics.items()}
        return {"curve": Picture(rise_and_fall(curve, crossing_of(curve)), caption(curve, numbers))}


# ---------------------------------------------------------------- what was recorded
def recorded(curves: pd.DataFrame) -> pd.DataFrame:
    """The epochs with the experiment, names without ``val/``; NothingToMeasure where there are none: a pruned
    model has the settings of the training, but is none that was trained."""
    names = {f"val/{name}": name for name in NEEDED}
    rows = curves[curves["val/noise_stage"].notna()] if set(names) <= set(curves.columns) else curves.iloc[:0]
    if not len(rows):
        raise NothingToMeasure("tables/train.csv has no epochs with noise on a latent variable")
    return rows.rename(columns=names).reset_index(drop=True)


def curve_of(rows: pd.DataFrame, variable: int) -> pd.DataFrame:
    """A row per epoch: ``epoch`` (from 1, of this phase), ``step``, ``stage``, ``noise_scale``, ``gain``,
    ``kl``, ``gain_share`` and, where the codes were recorded, ``var_mean``, ``mean_scale2`` of the
    variable."""
    curve = rows[["epoch", "step"]].copy()
    curve["stage"] = rows["noise_stage"].round().astype(int).map(STAGES)
    curve["noise_scale"], curve["gain"], curve["kl"] = rows["noise_scale"], rows["gain"], rows["variable_kl"]
    before = curve["gain"].iloc[0]
    curve["gain_share"] = curve["gain"] / before if before > 0 else math.nan
    for name in ("var_mean", "mean_scale2"):
        if f"latent/{name}.{variable}" in rows:
            curve[name] = rows[f"latent/{name}.{variable}"]
    return curve


def first(where: np.ndarray) -> int | None:
    """The first place at which it holds."""
    places = np.flatnonzero(where)
    return int(places[0]) if len(places) else None


def last(where: np.ndarray) -> int | None:
    """The last place at which it holds."""
    places = np.flatnonzero(where)
    return int(places[-1]) if len(places) else None


def at(values: np.ndarray, place: int | None) -> float:
    """The value at a place, NaN for none."""
    return math.nan if place is None else float(values[place])


def under_noise(curve: pd.DataFrame) -> np.ndarray:
    """In which rows there is noise, or would be in the control ``(E,)``."""
    return (curve["stage"] != STAGES[REMOVED]).to_numpy()


def crossing_of(curve: pd.DataFrame) -> int | None:
    """The first row with noise in which the gain is less than the KL."""
    noisy = under_noise(curve) & (curve["noise_scale"] > 0)
    return first((noisy & (curve["gain"] < curve["kl"])).to_numpy())


def losses(curve: pd.DataFrame) -> np.ndarray:
    """The share of its gain that the variable lost in each epoch with noise but the first ``(E - 1,)``."""
    share = curve["gain_share"].to_numpy()
    return np.where(under_noise(curve)[1:], share[:-1] - share[1:], -math.inf)


# ---------------------------------------------------------------- numbers
def times_of(events: Events) -> dict[str, int | None]:
    """The rows at which everything is reported."""
    return {"before": 0, "crossing": events.crossing, "held": events.held, "revived": events.end}


def stage_numbers(curve: pd.DataFrame, events: Events) -> dict[str, float]:
    """What happened, under which noise, and gain and KL at the times that are reported."""
    scale, times, down = curve["noise_scale"].to_numpy(), times_of(events), events.down
    numbers = {
        "crossed": float(events.crossing is not None),
        "collapsed": float(events.collapse is not None),
        "revived": float(events.revival is not None) if down and events.removed is not None else math.nan,
        "noise.crossing": at(scale, events.crossing),
        "noise.collapse": at(scale, events.collapse),
        "noise.steepest": at(scale, events.steepest),
        "noise.greatest": float(scale.max()),
    }
    for name in ("gain", "kl", "gain_share"):
        numbers |= {f"{name}.{when}": at(curve[name].to_numpy(), place) for when, place in times.items()}
    del numbers["gain_share.before"]  # 1 by its meaning
    return numbers


def event_numbers(curve: pd.DataFrame, events: Events) -> dict[str, float]:
    """How fast it went."""
    noisy = under_noise(curve) & (curve["noise_scale"].to_numpy() > 0)
    crossing, collapse, revival = events.crossing, events.collapse, events.revival
    numbers = dict.fromkeys(("epochs.crossing", "epochs.collapse", "epochs.revival"), math.nan)
    if crossing is not None:
        numbers["epochs.crossing"] = float(noisy[: crossing + 1].sum())
    if crossing is not None and collapse is not None:
        numbers["epochs.collapse"] = float(collapse - crossing)
    if revival is not None and events.removed is not None:
        numbers["epochs.revival"] = float(revival - events.removed + 1)
    margin = float((curve["gain"] - curve["kl"])[under_noise(curve)].min())
    return {
        "margin": margin,
        "steepest": at(losses(curve), events.steepest and events.steepest - 1),
        **numbers,
    }


def spread_numbers(curve: pd.DataFrame, events: Events) -> dict[str, float]:
    """How widely the codes spread, where they were recorded."""
    if "var_mean" not in curve:
        return {}
    variance, scale = curve["var_mean"].to_numpy(), curve["noise_scale"].to_numpy()
    flight = int(np.where(under_noise(curve), variance, -1).argmax())
    numbers = {"noise.flight": at(scale, flight), "var_mean.greatest": at(variance, flight)}
    return numbers | {f"var_mean.{when}": at(variance, place) for when, place in times_of(events).items()}
