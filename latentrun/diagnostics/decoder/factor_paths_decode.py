"""Curves through the codes, decoded and held against the data: where they lie, and what they do to the
factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentrun.data.base import Oracle
from latentrun.diagnostics.base import judge
from latentrun.functional.clouds.factor_field import FactorField, factor_field
from latentrun.functional.clouds.whitening import Whitening
from latentrun.functional.paths.cloud import Cloud, Marks, mark, within
from latentrun.functional.paths.curves import along
from latentrun.functional.paths.lines import Course, Reading, read
from latentrun.functional.paths.search import Finder
from latentrun.run import Run
from latentrun.types import Factor, Projection


@dataclass(frozen=True)
class Goal:
    """What a path is looked for: the factor ``name``, the ``factor``-th of those with an order, by a path of
    a ``kind``, which ``finder`` finds."""

    kind: str
    finder: Finder
    factor: int
    name: str


@dataclass(frozen=True)
class Merits:
    """Of P decoded curves for one factor: their ``score``, Spearman correlation ``rho`` and ``within``, each
    ``(P,)``; which of their points are ``inside`` the data, ``(P, T)``."""

    score: Tensor
    rho: Tensor
    within: Tensor
    inside: Tensor

    @property
    def worth(self) -> Tensor:
        """Scores, those of curves that stay in the data above all others."""
        return torch.where(self.within >= 1, 1 + self.score, self.score)

    def join(self, other: Merits) -> Merits:
        """These and other curves."""
        return Merits(
            torch.cat([self.score, other.score]),
            torch.cat([self.rho, other.rho]),
            torch.cat([self.within, other.within]),
            torch.cat([self.inside, other.inside]),
        )


@dataclass(frozen=True)
class Decoded:
    """P curves at T points: codes ``z (P, T, d)``, decoded ``x (P * T, *event_shape)``, whitened ``gap (P,
    T)`` to the nearest train code, and ``miss (P, T)``, how far x lies from the data, in the measure
    ``kind``; what is read off x, with the ``course`` of the factors that have an order; the marks of the
    curves."""

    z: np.ndarray
    x: Tensor
    gap: np.ndarray
    kind: str
    miss: Tensor
    reading: Reading
    course: Course
    marks: Marks


class PathDecoder:
    """Decodes curves, all at once, and reads the factors off what comes out. ``ordered``: the factors with an
    order, which are the ``columns`` of all factors; ``neighbours``: codes to a local plane of the factors,
    where there is no oracle."""

    def __init__(
        self,
        run: Run,
        white: Whitening,
        cloud: Cloud,
        ordered: Sequence[Factor],
        columns: list[int],
        neighbours: int,
    ):
        self.run, self.white, self.cloud, self.ordered, self.columns = run, white, cloud, ordered, columns
        self.field: FactorField | None = None
        if not isinstance(run.data, Oracle):
            test = run.latents("test")
            u = white.to(test.codes.cpu().double().numpy())
            y = test.y[:, columns].cpu().double().numpy()
            self.field = factor_field(u, y, cloud.field.period, neighbours)

    def decode(self, u: np.ndarray, finer: np.ndarray | None = None) -> Decoded:
        """Curves ``(P, T, k)`` in whitened codes; whether they keep near codes is seen at points ``finer (P,
        S, k)``, too."""
        shape = u.shape[:2]
        z = self._codes(u)
        x = self.run.decode(z.flatten(0, 1).to(self.run.device))
        judgement = judge(self.run, x)
        miss = judgement.miss.view(shape)
        reading = self._read(x, judgement.fits, miss)
        gap = self._gap(z)
        widest = gap.max(1)
        if finer is not None:
            widest = np.maximum(widest, self._gap(self._codes(finer)).max(1))
        inside = within(torch.from_numpy(widest), self.cloud.reach) * within(miss.amax(1), self.cloud.limit)
        values = reading.fitted if self.field is not None else reading.fitted[..., self.columns]
        course = reading.course
        assert course is not None  # paths are for factors with an order
        marks = mark(values, self.cloud.ranges, self.cloud.cyclic, course, inside)
        return Decoded(z.numpy(), x, gap, judgement.kind, miss, reading, course, marks)

    def merits(
        self, goals: Sequence[Goal], curves: Sequence[np.ndarray], steps: int, finer: int
    ) -> list[Merits]:
        """What the ``curves (P, K, k)`` for each goal are worth for it, decoded at ``steps`` points."""
        points, more = (np.concatenate([along(part, count) for part in curves]) for count in (steps, finer))
        decoded = self.decode(points, more)
        counts = [len(part) for part in curves]
        place = torch.arange(len(points)), torch.tensor(np.repeat([goal.factor for goal in goals], counts))
        near = torch.from_numpy(decoded.gap) <= self.cloud.reach
        columns = (
            decoded.marks.score[place],
            decoded.course.spearman[place],
            decoded.marks.within,
            near & (decoded.miss <= self.cloud.limit),
        )
        return [Merits(*rows) for rows in zip(*(column.split(counts) for column in columns), strict=True)]

    def _codes(self, u: np.ndarray) -> Tensor:
        """Codes ``(P, T, d)`` of points of curves ``(P, T, k)``."""
        return torch.from_numpy(self.white.back(u)).float()

    def _gap(self, z: Tensor) -> np.ndarray:
        """Whitened distance of codes ``(P, T, d)`` to the nearest train code, ``(P, T)``."""
        u = self.white.to(z.double().numpy()).reshape(-1, len(self.white.sd))
        return self.cloud.field.near.query(u, 1)[0].reshape(z.shape[:2])

    def _read(self, x: Tensor, fits: Projection | None, miss: Tensor) -> Reading:
        """The factors of decoded points: fitted by the oracle, else of test codes near that of the point."""
        n, t = miss.shape
        factors = self.run.data.factors
        if self.field is not None:
            value, _ = self.field.at(self.white.to(self.run.encode(x).cpu().double().numpy()))
            one = torch.ones(n * t, dtype=torch.float64)
            fits, factors = Projection(torch.from_numpy(value), miss.flatten(), one.bool(), one), self.ordered
        assert fits is not None  # an oracle has fitted them, where there is no field
        position = torch.linspace(0, 1, t, dtype=torch.float64).expand(n, t)
        return read(fits, factors, position, torch.zeros(n, dtype=torch.bool), self.cloud.min_change)
