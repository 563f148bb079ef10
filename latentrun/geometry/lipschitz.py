"""How far a map can carry two points apart: bounds of its Lipschitz constant from above and from below."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp
from torch.utils import _pytree as pytree

from latentrun.functional.jacobians import jvp

MARGIN = 1e-3  # added to a norm that power iteration approaches from below
ITERATIONS, CHANGE = 1000, 1e-7  # of that iteration at most, and the relative change that ends it

# Largest slopes of functions of single numbers; of those that take a slope or a scale see `_single`.
SLOPES = {
    **dict.fromkeys(
        ("relu", "tanh", "softplus", "logsigmoid", "softsign", "hardtanh", "celu", "sin", "cos"), 1.0
    ),
    **dict.fromkeys(("abs", "neg", "clamp", "clamp_min", "clamp_max", "relu6", "softmax"), 1.0),
    "sigmoid": 0.25,
    "silu": 1.0999,
    "gelu": 1.1290,
    "mish": 1.0900,
    "selu": 1.7581,
}
ARRANGED = {
    *("flatten", "unflatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "movedim"),
    *("contiguous", "clone", "detach", "to", "double", "float", "narrow", "dropout"),
}
PARTED = {"chunk", "split", "__getitem__", "unbind"}
LINEAR = {
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("avg_pool1d", "avg_pool2d", "adaptive_avg_pool2d", "interpolate", "mean", "sum", "pad"),
}
SUMS = {*("add", "__add__", "__radd__", "sub", "__sub__", "__rsub__", "rsub", "__iadd__")}
PRODUCTS = {*("mul", "__mul__", "__rmul__", "div", "true_divide", "__truediv__")}


class NotBounded(ValueError):
    """A step of a map has no known Lipschitz constant; the text says which."""


class Traced(Tensor):
    """A value that carries a bound of the Lipschitz constant of all that led to it: ``bound``; and of what a
    linear layer has just made its ``layer``: the bound before and the weight, so that of a part of the result
    only that part of the weight counts."""

    bound: float
    layer: tuple[float, Tensor] | None

    @classmethod
    def of(cls, value: Tensor, bound: float, layer: tuple[float, Tensor] | None = None) -> Traced:
        traced = value.as_subclass(cls)
        traced.bound, traced.layer = bound, layer
        return traced

    @classmethod
    def __torch_function__(cls, func, types, args: tuple[Any, ...] = (), kwargs=None):
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            name = getattr(func, "__name__", "")
            traced = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Traced)]
            out = func(*args, **kwargs)
            if not any(
                isinstance(leaf, Tensor) and leaf.is_floating_point() for leaf in pytree.tree_leaves(out)
            ):
                return out  # a shape, a length, a comparison
            if name == "chunk" and traced[0].layer is not None and out[0].dim() == 2:
                return _chunked(out, *traced[0].layer)
            bound = _bound(func, name, args, kwargs, traced)
            layer = (traced[0].bound, args[1]) if name == "linear" else None
            return pytree.tree_map(
                lambda leaf: cls.of(leaf, bound, layer) if isinstance(leaf, Tensor) else leaf, out
            )


def _chunked(parts: Sequence[Tensor], before: float, weight: Tensor) -> tuple[Traced, ...]:
    """The parts of what a linear layer made, by columns."""
    weights = weight.split([part.shape[1] for part in parts])
    return tuple(Traced.of(part, before * norm_of(rows)) for part, rows in zip(parts, weights, strict=True))


def _bound(func: Callable, name: str, args: Sequence, kwargs: dict, traced: list[Traced]) -> float:
    """The bound of what ``func`` makes of its arguments."""
    first = traced[0].bound
    if name in SUMS:
        return sum(part.bound for part in traced)
    if name in ("cat", "stack"):
        return math.sqrt(sum(part.bound**2 for part in traced))
    if len(traced) > 1:
        raise NotBounded(f"{name} of two values that both change")
    if name in SLOPES:
        return first * SLOPES[name]
    if name in ("leaky_relu", "elu"):
        return first * max(1.0, abs(_argument(args, kwargs, 1, ("negative_slope", "alpha"), 1.0)))
    if name in ARRANGED or (name in PARTED and _is_plain(name, args)):
        return first
    if name == "linear":
        return first * norm_of(args[1])
    if name in ("matmul", "__matmul__", "mm") and isinstance(args[0], Traced) and args[1].dim() == 2:
        return first * norm_of(args[1])
    if name in PRODUCTS and isinstance(args[0], Traced):
        return first * _factor(args[1], name)
    if name == "max_pool2d":
        return first * _pooled(args, kwargs)
    if name == "batch_norm" and not _argument(args, kwargs, 5, ("training",), False):
        return first * _normalised(args, kwargs)
    if name in LINEAR:
        return first * operator_norm(lambda x: func(*_unbiased(name, x, args), **_plain(kwargs)), traced[0])
    raise NotBounded(name or "a step without a name")


def _argument(args: Sequence, kwargs: dict, place: int, names: Sequence[str], default: Any) -> Any:
    given = next((kwargs[name] for name in names if name in kwargs), None)
    if given is not None:
        return given
    return args[place] if len(args) > place else default


def _is_plain(name: str, args: Sequence) -> bool:
    """Whether no part is taken twice: slices and numbers do not."""
    if name != "__getitem__":
        return True
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    return all(at is None or at is ... or isinstance(at, slice | int) for at in index)


def _factor(other: Any, name: str) -> float:
    """The largest factor by which a product or quotient with a constant stretches."""
    size = torch.as_tensor(other).abs().double()
    return float(size.max() if name in ("mul", "__mul__", "__rmul__") else 1 / size.min())


def _pooled(args: Sequence, kwargs: dict) -> float:
    """Each value counts in one maximum at most where windows do not overlap."""
    window = _argument(args, kwargs, 1, ("kernel_size",), None)
    step = _argument(args, kwargs, 2, ("stride",), None) or window
    window, step = ((side, side) if isinstance(side, int) else tuple(side) for side in (window, step))
    return math.sqrt(math.prod(math.ceil(w / s) for w, s in zip(window, step, strict=True)))


def _normalised(args: Sequence, kwargs: dict) -> float:
    """By what is remembered, not by the batch."""
    variance, weight = args[2], _argument(args, kwargs, 3, ("weight",), None)
    scale = (variance + _argument(args, kwargs, 7, ("eps",), 1e-5)).rsqrt()
    return float((scale if weight is None else scale * weight).abs().max())


def _plain(kwargs: dict) -> dict:
    return {key: value for key, value in kwargs.items() if key != "bias"}


def _unbiased(name: str, x: Tensor, args: Sequence) -> tuple:
    """The arguments with x as the first, in its dtype, and no bias."""
    if "conv" not in name:
        return (x, *args[1:])
    return (x, args[1].to(x), None, *args[3:])


# ---------------------------------------------------------------- norms
def norm_of(weight: Tensor) -> float:
    """The largest singular value of a matrix, in float64.

    >>> norm_of(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    4.0
    """
    return float(torch.linalg.matrix_norm(weight.detach().double(), 2))


def pulled_back(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Callable]:
    """f(x), and what takes w of its shape to J(x)^T w."""
    made = vjp(function, x)
    return made[0], made[1]


@torch.no_grad()
def operator_norm(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """The largest singular value of a linear map of single examples, at the shape of the rows of ``x``: by
    power iteration in float64, from below, and a thousandth more.

    >>> twice = operator_norm(lambda x: 2 * x, torch.zeros(1, 3))
    >>> 2 <= twice <= 2.01
    True
    """
    start = torch.Generator().manual_seed(0)
    v = torch.randn(1, *x.shape[1:], generator=start, dtype=torch.float64).to(x.device)
    size = 0.0
    for _ in range(ITERATIONS):
        v = v / v.norm().clamp_min(1e-300)
        image, back = pulled_back(function, v)
        before, size = size, float(image.norm())
        if abs(size - before) <= CHANGE * size:
            break
        (v,) = back(image)
    return size * (1 + MARGIN)


def upper_bound(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """A bound of the Lipschitz constant of a map of rows, by Euclidean norms of whole examples: the product
    of the norms of its steps at the shape of ``x``, along branches that meet their sum. Exact for one linear
    step; loose by what consecutive steps do not stretch alike (Szegedy et al. 2014, arXiv 1312.6199, section
    4.3).

    Dense layers by their singular values, convolutions as operators of their padding and size, functions of
    single numbers by their largest slope. Raises :class:`NotBounded` at the first step that has no bound,
    such as a normalisation by the example's own variance.

    >>> upper_bound(lambda x: (-3 * x).tanh(), torch.ones(1, 1))
    3.0
    """
    with torch.no_grad():
        out = function(Traced.of(x[:1].detach().clone(), 1.0))
    return float(out.bound) if isinstance(out, Traced) else 0.0


@torch.no_grad()
def steepest(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    start: Tensor,
    iterations: int,
    onto: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """The largest singular value of the Jacobian of a map of rows at each row of ``x (N, ...)``, ``(N,)``: by
    ``iterations`` steps of power iteration from the directions ``start`` of the shape of ``x``; whatever
    these reach, the value is one that the map attains, a bound from below. ``onto(x, v)`` brings directions
    into the tangent spaces of the points where these are not all directions."""
    rest = [1] * (x.dim() - 1)

    def unit(v: Tensor) -> Tensor:
        v = v if onto is None else onto(x, v)
        return v / v.flatten(1).norm(dim=1).clamp_min(1e-30).view(-1, *rest)

    v = unit(start)
    _, back = pulled_back(function, x)
    for _ in range(iterations):
        (pulled,) = back(jvp(function, (x,), (v,))[1])
        flat = pulled.flatten(1).norm(dim=1).view(-1, *rest) > 0
        v = torch.where(flat, unit(pulled), v)
    return jvp(function, (x,), (v,))[1].flatten(1).norm(dim=1)
