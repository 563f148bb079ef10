"""Pictures of a rigid body in any place and pose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge
from latentrun.data.base import SPLITS, Dataset, HasMembers, Oracle, partition
from latentrun.data.rigid_body_nearest import Freedom, Poses, Search
from latentrun.data.rigid_body_render import BODY, Renderer
from latentrun.errors import InputError, unknown
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import middles
from latentrun.manifolds import SO3, Compact, Interval, product, sphere
from latentrun.manifolds.so3 import matrix, rotation_of
from latentrun.types import Factor, Projection, Split

Fraction = Annotated[float, Between(0, 1, open_=True)]
MOST = 2**32  # values in all pictures: 16 GiB
TURNS = {"free": 8192, "axis": 128, "fixed": 1}  # poses that a search for the nearest begins with
PROJECTED = 64  # pictures whose nearest poses are sought at once


class RigidBody(Dataset, Oracle, HasMembers):
    """Grey pictures ``(1, size, size)`` in [0, 1] of a body of three boxes before white, which hides parts of
    itself; no turn takes it to itself, so every pose has a picture of its own. Camera, light and shading: see
    :class:`~latentrun.data.rigid_body_render.Renderer`.

    Factors: the place ``x`` (to the right), ``y`` (up) and ``depth`` of the origin of the body's axes, each
    uniform in its {low, high}, in units in which the farthest corner is 0.94 from there; and the orientation:
    ``free``, uniform on SO(3), three factors that are the chart of :class:`~latentrun.manifolds.so3.SO3`;
    ``axis``, a turn by an ``angle`` uniform on the circle about the ``axis`` through the body, in the axes of
    the camera, after the turn by the rotation vector ``turn`` (radians); ``fixed``, that turn alone. A place
    with low = high is no factor. So a circle, SO(3), R³ and their products can be had, with the ``betti`` of
    these.

    ``view``: degrees that the picture spans; the body must lie in it at all places. ``noise``: standard
    deviation of normal noise on every value, drawn once a row and not cut to [0, 1]; ``render`` gives the
    picture without it. ``render`` is differentiable but for kinks: see
    :meth:`~latentrun.data.rigid_body_render.Renderer.render`.

    Raises InputError where ranges are none, nothing varies, or the body leaves the picture.
    """

    cmap = "gray"

    def __init__(
        self,
        size: Annotated[int, Count(16, 1024)],
        view: Annotated[float, Between(1, 150)],
        x: dict[str, float],
        y: dict[str, float],
        depth: dict[str, float],
        orientation: Literal["free", "axis", "fixed"],
        axis: list[float],
        turn: list[float],
        light: list[float],
        ambient: Annotated[float, Between(0, 1)],
        albedo: Annotated[float, Between(0, 1)],
        noise: Annotated[float, Ge(0)],
        n: Annotated[int, Count(1)],
        val_fraction: Fraction,
        test_fraction: Fraction,
        seed: Annotated[int, Ge(0)],
    ):
        if orientation not in TURNS:
            raise unknown("data.orientation", orientation, TURNS)
        if n * size**2 > MOST:
            raise InputError(
                f"data: {n:.4g} pictures of {size} x {size}; at most {MOST // size**2:,} of that size"
            )
        for name, values in (("light", light), ("axis", axis), ("turn", turn)):
            _check_vector(name, values, zero=name == "turn")
        given = {"x": x, "y": y, "depth": depth}
        for name, values in given.items():
            _check_range(name, values)
        self.renderer = Renderer(BODY, size, math.tan(math.radians(view / 2)), light, ambient, albedo)
        _check_frame(self.renderer.radius, math.radians(view / 2), given)
        self.low, self.high = (
            torch.tensor([values[end] for values in given.values()], dtype=torch.float64)
            for end in ("low", "high")
        )
        self.moves, self.orientation = self.low < self.high, orientation
        self.about = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
        self.turn = rotation_of(torch.tensor(turn, dtype=torch.float64))
        places = [
            Factor(name, "real", v["low"], v["high"]) for name, v in given.items() if v["low"] < v["high"]
        ]
        self.factors = (*places, *_turns(orientation))
        if not self.factors:
            raise InputError("data: nothing varies; give a place a range or data.orientation=free | axis")
        self.space = product([*([Interval(len(places))] if places else []), *_spaces(orientation)])
        self.intrinsic_dim, self.betti = self.space.dim, self.space.betti
        self.event_shape, self.noise, self.n = (1, size, size), noise, n
        self.fractions, self.seed = (val_fraction, test_fraction), seed

    # ---------------------------------------------------------------- rows
    @property
    def value_range(self) -> tuple[float, float]:  # pyrefly: ignore[bad-override]
        """[0, 1], widened to what noise makes of it."""
        if self.noise == 0:
            return 0.0, 1.0
        parts = [rows.x for rows in self._whole.values() if len(rows.x)]
        return min(0.0, *(x.min().item() for x in parts)), max(1.0, *(x.max().item() for x in parts))

    @cached_property
    def _whole(self) -> dict[str, Split]:
        noise = Noise(self.seed).at("rigid_body")
        y = self._factors(noise.uniform("factors", (self.n, self.space.dim)).double()).float()
        x = self._generated(y.double())
        if self.noise:
            x += self.noise * noise.normal("noise", tuple(x.shape))
        parts = partition(self.n, self.fractions, self.seed)
        return {name: Split(x[rows], y[rows], None, rows) for name, rows in zip(SPLITS, parts, strict=True)}

    def _load(self) -> dict[str, Split]:
        return self._whole

    def _factors(self, u: Tensor) -> Tensor:
        """Factors ``(N, F)`` of points ``u (N, F)`` of the unit cube, uniform where these are."""
        low, high = ([getattr(factor, end) for factor in self.factors] for end in ("low", "high"))
        return u.new_tensor(low) + (u.new_tensor(high) - u.new_tensor(low)) * u

    def _generated(self, y: Tensor) -> Tensor:
        poses = self.poses(y)
        return self.renderer.generate(poses.position, poses.rotation).unsqueeze(1)

    def members(self, n: int) -> Tensor | None:
        if self.space.dim != 1:
            return None
        u = middles(n)
        return self._generated(self._factors(u.unsqueeze(1)))

    # ---------------------------------------------------------------- the family
    def poses(self, factors: Tensor) -> Poses:
        """Places and turns of factors ``(N, F)``; differentiable."""
        moves = self.moves.to(factors.device)
        onto = torch.eye(3, dtype=factors.dtype, device=factors.device)[moves]
        count = len(onto)
        position = self.low.to(factors) * ~moves + factors[:, :count] @ onto
        turn, rest = self.turn.to(factors), factors[:, count:]
        if self.orientation == "free":
            return Poses(position, matrix(SO3().point(rest)))
        if self.orientation == "axis":
            return Poses(position, rotation_of(rest * self.about.to(factors)) @ turn)
        return Poses(position, turn.expand(len(factors), 3, 3))

    def render(self, factors: Tensor) -> Tensor:
        """Pictures ``(N, 1, size, size)`` without noise."""
        poses = self.poses(factors)
        return self.renderer.render(poses.position, poses.rotation).unsqueeze(1)

    def project(self, x: Tensor) -> Projection:
        """The pose whose picture is nearest to each ``x (N, 1, size, size)``, anywhere before the camera: see
        :class:`~latentrun.data.rigid_body_nearest.Search`. Angles come back in their ranges. ``inside``:
        places within theirs, widened by a thousandth of their width."""
        flat = x.double().squeeze(1)
        broken = ~flat.isfinite().flatten(1).all(1)
        flat = flat.nan_to_num(0.0, 0.0, 0.0)
        parts = [self._search.nearest(part) for part in flat.split(PROJECTED)]
        position = torch.cat([poses.position for poses, _ in parts]) if parts else flat.new_zeros(0, 3)
        rotation = torch.cat([poses.rotation for poses, _ in parts]) if parts else flat.new_zeros(0, 3, 3)
        missed = torch.cat([cost for _, cost in parts]) if parts else flat.new_zeros(0)
        norm = flat.square().sum((1, 2)).sqrt()
        residual = torch.where(norm > 0, (2 * missed).sqrt() / norm.clamp_min(1e-300), 1.0)
        moves = self.moves.to(x.device)
        places, slack = position[:, moves], 1e-3 * (self.high - self.low).to(position)[moves]
        low, high = (end.to(position)[moves] for end in (self.low, self.high))
        inside = ((places >= low - slack) & (places <= high + slack)).all(1)
        factors = torch.cat([places, self._angles(rotation)], 1)
        return Projection(factors, residual.masked_fill(broken, math.inf), inside, torch.ones_like(residual))

    def _angles(self, rotation: Tensor) -> Tensor:
        """The factors ``(N, 3 | 1 | 0)`` of turns ``(N, 3, 3)``."""
        if self.orientation == "fixed":
            return rotation.new_zeros(len(rotation), 0)
        if self.orientation == "free":
            return SO3().read(rotation.flatten(-2))
        about, turned = self.about.to(rotation), rotation @ self.turn.to(rotation).T
        cross = torch.stack(
            [
                turned[:, 2, 1] - turned[:, 1, 2],
                turned[:, 0, 2] - turned[:, 2, 0],
                turned[:, 1, 0] - turned[:, 0, 1],
            ],
            1,
        )
        trace = turned.diagonal(dim1=1, dim2=2).sum(1)
        return torch.atan2(cross @ about, trace - 1).remainder(2 * math.pi).unsqueeze(1)

    @cached_property
    def _search(self) -> Search:
        axes = {
            "free": torch.eye(3, dtype=torch.float64),
            "axis": self.about[None],
            "fixed": self.about[:0, None],
        }
        free = Freedom(self.moves, axes[self.orientation].reshape(-1, 3))
        count = TURNS[self.orientation]
        u = torch.quasirandom.SobolEngine(self.space.dim, seed=0).draw(count).double()
        turns = self.poses(self._factors(u)).rotation
        return Search(self.renderer, free, (self.low + self.high) / 2, turns)


def _turns(orientation: str) -> tuple[Factor, ...]:
    """The factors of an orientation."""
    if orientation == "free":
        return SO3.coordinates
    return (Factor("angle", "cyclic", 0.0, 2 * math.pi, "rad"),) if orientation == "axis" else ()


def _spaces(orientation: str) -> list[Compact]:
    """The space of an orientation."""
    spaces: dict[str, list[Compact]] = {"free": [SO3()], "axis": [sphere(1)], "fixed": []}
    return spaces[orientation]


# ---------------------------------------------------------------- what is refused
def _check_vector(name: str, values: list[float], zero: bool) -> None:
    """InputError unless there are three finite numbers, not all of them 0 unless ``zero`` is allowed."""
    numbers = [
        v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
    ]
    if len(values) != 3 or len(numbers) != 3 or not (zero or any(values)):
        raise InputError(
            f"data.{name}: {values} given; three finite numbers are needed{', not all 0' * (not zero)}"
        )


def _check_range(name: str, values: Mapping[str, float]) -> None:
    """InputError in one line unless ``values`` is {low, high} with low <= high."""
    key = f"data.{name}"
    for extra in set(values) - {"low", "high"}:
        raise unknown(f"key of {key}", extra, ("low", "high"))
    for end in ("low", "high"):
        value = values.get(end)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{key}.{end}: {value!r} given; a finite number is needed")
    if values["low"] > values["high"]:
        raise InputError(f"{key}: low {values['low']:g} is above high {values['high']:g}")


def _check_frame(radius: float, half: float, given: Mapping[str, Mapping[str, float]]) -> None:
    """InputError where a ball of that radius leaves the pyramid that the picture shows, of that half angle in
    radians: the nearest place decides."""
    depth = given["depth"]["low"]
    for name in ("x", "y"):
        room = depth * math.tan(half) - radius / math.cos(half)
        farthest = max(abs(given[name]["low"]), abs(given[name]["high"]))
        if farthest > room or depth <= radius:
            raise InputError(
                f"data.{name}: the body leaves the picture at {name} = {farthest:g}, depth {depth:g}; there "
                f"{name} may be up to {max(room, 0):.3g} to either side (larger data.depth.low or data.view: "
                "more)"
            )
