"""The boxes that travel between the rooms: frozen dataclasses.

Shapes: N examples, d latent dimension, F factors, ``*event`` the shape of one example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor, nn

    from latentrun.callbacks import Callback
    from latentrun.functional.noise import Noise


# ---------------------------------------------------------------- data
@dataclass(frozen=True)
class Factor:
    """One generating factor (a column of ``y``).

    ``real`` and ``ordinal`` factors lie in [low, high]; ``cyclic`` ones have period high - low;
    ``categorical`` ones are integer codes 0 ... len(categories) - 1.
    """

    name: str
    kind: Literal["real", "ordinal", "categorical", "cyclic"]
    low: float
    high: float
    unit: str = ""
    categories: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the codes 0, 1, ... of a categorical factor: its categories, or where it has none their
        numbers."""
        return self.categories or tuple(str(i) for i in range(int(self.high) + 1))


@dataclass(frozen=True)
class Column:
    """One variable of a table, and where it lies in an encoded row: ``x[:, start : start + width]``.

    ``real``: one number, (value - mean) / scale. ``ordinal``: one number, (level - mean) / scale, where level
    counts the ordered ``categories`` from 0. ``categorical``: one number for each of ``categories``, 1 for
    the one it is, else 0. ``mean`` and ``scale`` are those of the training rows.
    """

    name: str
    kind: Literal["real", "ordinal", "categorical"]
    start: int
    width: int = 1
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Split:
    """Rows of a data set: ``x (N, *event)`` float32, ``y (N, F)`` float32, ``labels (N,)`` int64 or None,
    ``index (N,)`` int64, the permanent row number in the source."""

    x: Tensor
    y: Tensor
    labels: Tensor | None
    index: Tensor


@dataclass(frozen=True)
class Batch:
    """What one training step sees: ``x (B, *event)`` (or codes, or drawn samples), ``y (B, F)``, ``index
    (B,)``. With ``scale``, of the shape of ``x``, each example stands for the normal N(x, scale²)."""

    x: Tensor
    y: Tensor | None = None
    index: Tensor | None = None
    scale: Tensor | None = None


@dataclass(frozen=True)
class Projection:
    """Nearest members of a known family, one per row of x.

    ``factors (N, F)`` float64; ``residual (N,)`` = ||x - render(factors)|| / ||x||, a share of the picture's
    norm (above 1 where a picture is fainter than every member); ``inside (N,)`` whether the factors lie
    within the data set's ranges; ``amplitude (N,)`` (1 where it is not fitted).
    """

    factors: Tensor
    residual: Tensor
    inside: Tensor
    amplitude: Tensor


# ---------------------------------------------------------------- training
@dataclass(frozen=True)
class Clock:
    """Where training stands: ``step`` and ``epoch`` count from 0 within the phase; ``values`` holds the
    phase's schedules at this step."""

    phase: str
    step: int
    epoch: int
    steps_per_epoch: int
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """A value that changes with time: ``value(epoch)`` of the fractional epoch; constant from epoch ``end``
    on. No stopping, decay or selection of a best checkpoint happens before ``end``."""

    value: Callable[[float], float]
    end: float = 0.0


@dataclass(frozen=True)
class Objective:
    """A loss and the parameters it moves.

    ``loss(batch, noise, clock)`` returns named scalar terms, one of them ``loss``. It is pure: it reads
    parameters, buffers, batch, noise and clock and changes nothing. Objectives that share parameters share
    one optimiser. ``every``: steps between two updates.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Callable[[Batch, Noise, Clock], dict[str, Tensor]]
    every: int = 1


@dataclass(frozen=True)
class FromData:
    """Batches of the data set's own rows."""


@dataclass(frozen=True)
class FromCodes:
    """Batches of what an earlier phase's network makes of the rows: ``encode(x, noise) -> (N, ...)``,
    computed once when the phase begins (so the phase must not move the parameters it reads)."""

    encode: Callable[[Tensor, Noise], Tensor]


@dataclass(frozen=True)
class FromStream:
    """Endless batches that the model draws itself: ``draw(n, noise) -> Batch``; an epoch is
    ``steps_per_epoch`` batches."""

    draw: Callable[[int, Noise], Batch]
    steps_per_epoch: int


@dataclass(frozen=True)
class OfSplit:
    """A monitor of the whole validation split at once, such as an MMD: ``measure(batch, noise)`` of all its
    rows returns named scalars ``()``, one of them ``monitor``."""

    measure: Callable[[Batch, Noise], dict[str, Tensor]]


Monitor: TypeAlias = "Callable[[Batch, Noise], dict[str, Tensor]] | OfSplit"


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    ``monitor(batch, noise)`` returns named per-example values ``(B,)``, one of them ``monitor``, whose mean
    over the validation rows steers stopping, learning rate and the best checkpoint (lower is better; for
    likelihood models the full negative ELBO at beta = 1 in nats per example); :class:`OfSplit` is one of the
    whole split. Without a monitor the phase runs its full length. ``epochs``: its length, None for that of
    the training. ``callbacks``: what happens around the steps (see :mod:`latentrun.callbacks`); with 0
    ``epochs`` and no objectives their ``begin`` is the whole phase. ``records``: whether the codes of fixed
    rows move in this phase, so that they are worth recording.
    """

    name: str
    objectives: tuple[Objective, ...]
    source: FromData | FromCodes | FromStream = field(default_factory=FromData)
    monitor: Monitor | None = None
    epochs: int | None = None
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    callbacks: tuple[Callback, ...] = ()
    records: bool = True

    def length(self, epochs: int) -> int:
        """How many epochs it has at most, where the training has ``epochs``."""
        return epochs if self.epochs is None else self.epochs

    @property
    def schedules_end(self) -> float:
        """The epoch from which all its schedules are constant."""
        return max((schedule.end for schedule in self.schedules.values()), default=0.0)


@dataclass(frozen=True)
class History:
    """How the codes of fixed training rows moved.

    ``epochs (E,)``, ``epoch_mean``/``epoch_scale (E, 512, d)`` after every epoch; ``steps (S,)``,
    ``step_mean``/``step_scale (S, 10, d)`` at log-spaced steps; ``index``/``step_index`` the rows.
    Deterministic encoders have empty scale arrays (last axis 0).
    """

    index: np.ndarray
    epochs: np.ndarray
    epoch_mean: np.ndarray
    epoch_scale: np.ndarray
    step_index: np.ndarray
    steps: np.ndarray
    step_mean: np.ndarray
    step_scale: np.ndarray

    @property
    def epoch_kl(self) -> np.ndarray:
        """KL(N(mean, scale²) || N(0, 1)) of every variable in nats, ``(E, 512, d)``; last axis 0 where the
        scale has none. It follows from the two, and is not stored beside them."""
        import numpy as np

        mean, scale = self.epoch_mean[..., : self.epoch_scale.shape[-1]], self.epoch_scale
        return (mean**2 + scale**2 - 1) / 2 - np.log(scale)


# ---------------------------------------------------------------- needs
@dataclass(frozen=True)
class Need:
    """Something that a diagnostic or a comparison needs of the ``side`` it names: ``test(model)``,
    ``test(data)`` or ``test(settings of the training)`` says whether it is there; ``noun`` names it in
    messages: "needs labels; data 'spirals' has none"."""

    side: Literal["model", "data", "training"]
    test: Callable[[Any], bool]
    noun: str


# ---------------------------------------------------------------- results
@dataclass(frozen=True)
class Latents:
    """Codes of a split: ``codes (N, d)``, the points of the latent space that stand for the examples;
    ``posterior``: the named tensors ``(N, ...)`` of q(z|x) (``mean`` and ``scale`` of a Gaussian one), empty
    for deterministic encoders; ``y``, ``labels``, ``index`` as in :class:`Split`."""

    codes: Tensor
    posterior: Mapping[str, Tensor]
    y: Tensor
    labels: Tensor | None
    index: Tensor

    def arrays(self) -> dict[str, np.ndarray]:
        """What is there, by name: ``codes``, ``posterior_<name>``, ``y``, ``labels``, ``index``."""
        posterior = {f"posterior_{name}": values for name, values in self.posterior.items()}
        tensors = {"codes": self.codes, **posterior, "y": self.y, "labels": self.labels, "index": self.index}
        return {name: values.cpu().numpy() for name, values in tensors.items() if values is not None}


class Status(StrEnum):
    """What became of a diagnostic."""

    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Metric:
    """What a number means: ``unit`` (with how it is averaged), ``low``/``high`` its possible range,
    ``better`` direction (``none`` for a description), ``source`` (reference or equation)."""

    unit: str
    low: float | None = None
    high: float | None = None
    better: Literal["higher", "lower", "one", "zero", "none"] = "none"
    source: str = ""

    @property
    def is_share(self) -> bool:
        """Whether it lies in [0, 1] by its meaning, as a share does, or yes (1) and no (0): its mean over
        seeds then lies there too.

        >>> Metric("share of rows", 0, 1).is_share, Metric("rows", 0).is_share
        (True, False)
        """
        return self.low == 0 and self.high == 1


class Meaning(NamedTuple):
    """What tables say of a metric: its ``unit``, its better ``direction``, whether it lies in [0, 1]
    (:attr:`Metric.is_share`)."""

    unit: str = ""
    direction: str = "none"
    share: bool = False


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval. ``low`` or ``high`` is None where that end is not known: an interval
    may have one end, "at least 1.5". ``method``: how the interval was made, "bootstrap over examples", or why
    there is none, "none: equal in all 5 seeds"; set by whoever made it, empty for a value that needs none.

    >>> Estimate(2.0, 1.5, 2.5).columns("mse")
    {'mse': 2.0, 'mse_low': 1.5, 'mse_high': 2.5}
    """

    value: float
    low: float | None = None
    high: float | None = None
    method: str = ""

    @classmethod
    def read(cls, value: float, low: float | None, high: float | None, method: str = "") -> Estimate:
        """From cells of a table, where an end that is not known is NaN or None."""
        low, high = (None if end is None or math.isnan(end) else float(end) for end in (low, high))
        return cls(float(value), low, high, method)

    def columns(self, name: str = "") -> dict[str, float]:
        """As cells of a table, NaN for an end that is not known: ``name``, ``name_low``, ``name_high``;
        without a name ``value``, ``low``, ``high``."""
        names = (name, f"{name}_low", f"{name}_high") if name else ("value", "low", "high")
        ends = (math.nan if end is None else end for end in (self.low, self.high))
        return dict(zip(names, (self.value, *ends), strict=True))

    def cells(self) -> tuple[float, float, float, str]:
        """``value``, ``low``, ``high``, NaN for an end that is not known, and ``method``, as a table has
        them."""
        value, low, high = self.columns().values()
        return value, low, high, self.method


@dataclass(frozen=True)
class Report:
    """What a diagnostic or comparison found. ``metrics`` keys are ``name`` or ``name.part`` with ``name``
    declared in the diagnostic's ``metrics``. Plots are drawn from this alone."""

    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    status: Status = Status.OK
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A figure (matplotlib ``Figure`` or plotly ``Figure``) with the sentence that says what one sees."""

    figure: Any
    caption: str


@dataclass(frozen=True)
class Animation(Picture):
    """A picture that moves. ``figure`` and ``caption`` are its still: what paper shows, and what is there in
    every format.

    ``frame(i)`` draws frame i as RGB ``(H, W, 3)`` uint8, all of one size; it is shown for ``durations[i]``
    milliseconds (a GIF counts hundredths of a second), after the last one the first again. ``moving``: the
    sentence that says what moves.
    """

    frame: Callable[[int], np.ndarray]
    durations: tuple[int, ...]
    moving: str
