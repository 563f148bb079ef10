"""Manifolds by the names that are said of data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from latentrun.config.bounds import Count, Ge, Gt
from latentrun.errors import InputError, nearest
from latentrun.functional.noise import Noise
from latentrun.manifolds import (
    SO3,
    Annulus,
    Curve,
    Diagonal,
    Disc,
    Interval,
    Klein,
    Manifold,
    Moebius,
    Placed,
    Places,
    Torus,
    Union,
    laid_out,
    product,
    space,
    sphere,
)
from latentrun.manifolds.sphere import ChartedSphere

AND = "_x_"  # between the factors of a product; a space beside it may stand for it


class Layout:
    """Where k points stand: see :func:`latentrun.manifolds.laid_out`. ``spread``: standard deviation of a
    normal scatter around them. InputError where they cannot stand so."""

    def __init__(
        self,
        count: Annotated[int, Count(2, 10_000)],
        layout: Literal["ring", "grid", "random"],
        dim: Annotated[int, Count(1, 1000)],
        radius: Annotated[float, Gt(0)],
        spacing: Annotated[float, Gt(0)],
        spread: Annotated[float, Ge(0)],
    ):
        self.count, self.layout, self.dim = count, layout, dim
        self.radius, self.spacing, self.spread = radius, spacing, spread
        if layout == "grid" and round(count ** (1 / dim)) ** dim != count:
            side = int(count ** (1 / dim))
            fits = f"{side**dim} or {(side + 1) ** dim}"
            raise InputError(f"data.points.count: {count} points are no grid in R^{dim}; {fits} are")
        if layout == "ring" and dim < 2:
            raise InputError("data.points.dim: a ring needs 2 dimensions at least, got 1")

    def places(self, seed: int) -> Places:
        """The points; those of a random layout fixed by ``seed``."""
        noise = Noise(seed).at("layout")
        where = laid_out(self.count, self.layout, self.dim, self.radius, self.spacing, noise)
        return Places(where)


def two_circles() -> Union:
    """Of radius 1, side by side in the plane, 1 apart."""
    sides = {"left": (-1.5, 0.0), "right": (1.5, 0.0)}
    return Union([Placed(ChartedSphere(1), at, name=side) for side, at in sides.items()], "two_circles")


def line_and_disc() -> Union:
    """The unit disc with a line of length 2 that begins at its border."""
    disc, line = Placed(Disc(), (0.0, 0.0)), Placed(Interval(1), (1.0, 0.0), [[1.0, 0.0]], 2.0, "line")
    return Union([line, disc], "line_and_disc", joint=(1.0, 0.0))


def circle_and_disc() -> Union:
    """Of radius 1, side by side in the plane, 1 apart."""
    circle = Placed(ChartedSphere(1), (-1.5, 0.0), name="circle")
    return Union([circle, Placed(Disc(), (1.5, 0.0))], "circle_and_disc")


def sphere_and_line() -> Union:
    """The unit sphere with a line of length 2 that begins at its north pole."""
    line = Placed(Interval(1), (0.0, 0.0, 1.0), [[0.0, 0.0, 1.0]], 2.0, "line")
    ball = Placed(ChartedSphere(2), (0.0, 0.0, 0.0), name="sphere")
    return Union([line, ball], "sphere_and_line", joint=(0.0, 0.0, 1.0))


def swiss_roll() -> Manifold:
    """The spiral, of width 1/2, a little more than the distance of its sheets: as flat as paper."""
    return product([Curve("spiral"), Placed(Interval(1), (0.0,), scale=0.5)])


NAMES: dict[str, Callable[[], Manifold]] = {
    "segment": lambda: Interval(1),
    "exponential_line": lambda: Diagonal(2),
    "circle": lambda: sphere(1),
    "two_circles": two_circles,
    "figure_eight": lambda: Curve("figure_eight"),
    "spiral": lambda: Curve("spiral"),
    "helix": lambda: Curve("helix"),
    "trefoil": lambda: Curve("trefoil"),
    "disc": Disc,
    "annulus": Annulus,
    "sphere": lambda: sphere(2),
    "torus": lambda: Torus(2),
    "swiss_roll": swiss_roll,
    "moebius": Moebius,
    "klein": Klein,
    "so3": SO3,
    "line_and_disc": line_and_disc,
    "circle_and_disc": circle_and_disc,
    "sphere_and_line": sphere_and_line,
}
POINTS = "points"


def named(text: str, layout: Layout, seed: int) -> Manifold:
    """The manifold that a name says: one of ``NAMES``, the ``points`` of a layout, a text that
    :func:`latentrun.manifolds.space` reads, or a product of such, ``circle_x_points``. InputError that
    begins with data.name for another."""
    factors = text.replace(" x ", AND).split(AND)
    spaces = [_factor(name, layout, seed, text) for name in factors]
    return spaces[0] if len(spaces) == 1 else product(spaces)


def _factor(name: str, layout: Layout, seed: int, text: str) -> Manifold:
    if name == POINTS:
        return layout.places(seed)
    if name in NAMES:
        return NAMES[name]()
    try:
        return space(name, "data.name")
    except InputError as error:
        names = [*NAMES, POINTS]
        guess = nearest(name, names)
        if not guess and ("did you mean" in str(error) or "least of its kind" in str(error)):
            raise  # a text that nearly names a space
        of = "" if name == text else f"{name!r} in "
        raise InputError(
            f"data.name: {of}{text!r} is no manifold{guess}; known: {', '.join(names)}, a bounded space "
            f"such as s3 or i2, and products: circle{AND}points"
        ) from error
