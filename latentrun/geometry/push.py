"""A map and its derivatives at many points at once, in forward mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from latentrun.functional.jacobians import jvp

Map = Callable[[Tensor], "Tensor | tuple[Tensor, ...]"]

# Numbers of the widest layer, derivatives included, that are computed at once: about what a cache holds.
CACHE = 1_000_000
PROBE = 7  # rows that a map's width is found with

# Functions by what they do to derivatives; any other takes the general rule, which is slower. Of a linear
# one derivatives are what it makes of derivatives.
LINEAR = {
    *("flatten", "unflatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "chunk"),
    *("split", "__getitem__", "narrow", "movedim", "contiguous", "sum", "mean", "neg", "avg_pool2d"),
}
LAYERS = {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
SINGLE = {
    *("relu", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "softsign"),
    *("tanh", "sigmoid", "logsigmoid", "hardtanh", "sin", "cos", "exp", "expm1", "log", "log1p", "sqrt"),
    *("rsqrt", "square", "reciprocal", "abs", "erf", "clamp_min", "clamp_max", "clamp", "pow", "__pow__"),
}
# Of sums, products and quotients value and slope by each side, None for a slope of 1; and their names as
# functions and operators, with whether the sides are swapped.
ARITHMETIC: dict[str, Callable[[Any, Any], tuple[Any, Any, Any]]] = {
    "add": lambda p, q: (p + q, None, None),
    "sub": lambda p, q: (p - q, None, -1),
    "mul": lambda p, q: (p * q, q, p),
    "div": lambda p, q: (p / q, 1 / q, -p / q / q),
}
OPERATORS = {
    **{name: ("add", False) for name in ("add", "__add__", "__radd__")},
    **{name: ("sub", False) for name in ("sub", "__sub__")},
    **{name: ("sub", True) for name in ("rsub", "__rsub__")},
    **{name: ("mul", False) for name in ("mul", "__mul__", "__rmul__")},
    **{name: ("div", False) for name in ("div", "true_divide", "__truediv__")},
    **{name: ("div", True) for name in ("__rdiv__", "__rtruediv__")},
}
JOINED = {"cat", "stack"}

# Of the commonest of the functions of single numbers the slope, from argument and value, for less than the
# general rule takes; and of those whose slope torch cannot push forward once more.
SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda x, y: (x > 0).to(x.dtype),
    "tanh": lambda x, y: 1 - y * y,
    "sigmoid": lambda x, y: y * (1 - y),
    "exp": lambda x, y: y,
    "square": lambda x, y: 2 * x,
    "sqrt": lambda x, y: 0.5 / y,
    "reciprocal": lambda x, y: -y * y,
    "silu": lambda x, y: y + x.sigmoid() * (1 - y),
    "mish": lambda x, y: _mish_slope(x),
}


def _mish_slope(x: Tensor) -> Tensor:
    """Of x tanh(softplus(x))."""
    bent = torch.nn.functional.softplus(x).tanh()
    return bent + x * x.sigmoid() * (1 - bent * bent)


class Pushed(Tensor):
    """A value ``(N, ...)`` that carries its derivatives along K directions through whatever is called with
    it: ``rows (1 + K, N, ...)``, the value first.

    A linear or convolutional layer sees value and derivatives as one batch of (1 + K) N rows; a function of
    single numbers multiplies the derivatives by its slope, which is computed once for all K; everything else
    is pushed forward by :func:`torch.func.jvp`, that function alone. A network is called as it is, and no
    layer has to be written anew.
    """

    rows: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Pushed:
        pushed = rows[0].as_subclass(cls)
        pushed.rows = rows
        return pushed

    @property
    def value(self) -> Tensor:
        """The value alone."""
        return self.rows[0]

    @property
    def tangents(self) -> Tensor:
        """The derivatives ``(K, N, ...)``."""
        return self.rows[1:]

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            name, kwargs = getattr(func, "__name__", ""), kwargs or {}
            if name in OPERATORS and len(args) == 2 and not kwargs:
                rule, swapped = OPERATORS[name]
                made = _arithmetic(rule, *(args[::-1] if swapped else args))
                if made is not None:
                    return made
            if name in JOINED and args and all(isinstance(part, Pushed) for part in args[0]):
                return _joined(func, *args, **kwargs)
            first = args[0] if args else None
            others = pytree.tree_leaves((args[1:], kwargs))
            if isinstance(first, Pushed) and not any(isinstance(leaf, Pushed) for leaf in others):
                if name in LINEAR:
                    return _linear(func, first, *args[1:], **kwargs)
                if name in LAYERS:
                    return _layer(func, first, *args[1:], **kwargs)
                if name in SINGLE:
                    return _single(func, name, first, *args[1:], **kwargs)
            return _general(func, args, kwargs)


def _linear(func: Callable, x: Pushed, *rest, **kwargs) -> Any:
    """A linear function, of value and derivatives alike: of one tensor, or of several (the parts of a
    split)."""
    return pytree.tree_map(Pushed.of, vmap(lambda row: func(row, *rest, **kwargs))(x.rows.contiguous()))


def _arithmetic(rule: str, a: Any, b: Any) -> Pushed | None:
    """a + b, a - b, a b or a / b of values with derivatives, or of one and a number or plain tensor; None
    where one that has derivatives lacks a dimension of the result, or something is neither."""
    if not all(isinstance(side, Tensor | int | float) for side in (a, b)):
        return None
    dims = max(side.dim() for side in (a, b) if isinstance(side, Tensor))
    if any(side.dim() < dims for side in (a, b) if isinstance(side, Pushed)):
        return None
    p, q = (side.value if isinstance(side, Pushed) else side for side in (a, b))
    value, *slopes = ARITHMETIC[rule](p, q)
    sides = [
        (side.rows, slope) for side, slope in zip((a, b), slopes, strict=True) if isinstance(side, Pushed)
    ]
    parts = [rows if slope is None else rows * slope for rows, slope in sides]
    rows = parts[0] + parts[1] if len(parts) > 1 else parts[0].expand(-1, *value.shape).clone()
    rows[0] = value
    return Pushed.of(rows)


def _joined(func: Callable, parts: Sequence[Pushed], dim: int = 0) -> Pushed:
    """Several, one behind the other along a dimension of theirs, or a new one."""
    return Pushed.of(func([part.rows for part in parts], dim + 1 if dim >= 0 else dim))


def _layer(func: Callable, x: Pushed, weight: Tensor, bias: Tensor | None = None, *rest, **kwargs) -> Pushed:
    """A layer that is linear but for its bias, of value and derivatives in one go."""
    bias, rows = kwargs.pop("bias", bias), x.rows.flatten(0, 1)
    if rows.dim() == 4 and rows.device.type == "cpu":
        rows = rows.contiguous(memory_format=torch.channels_last)  # halves the time of a convolution
    out = func(rows, weight, None, *rest, **kwargs).unflatten(0, x.rows.shape[:2])
    if bias is not None:
        out[0] += bias if func is torch.nn.functional.linear else bias[:, *[None] * (out.dim() - 3)]
    return Pushed.of(out)


def _single(func: Callable, name: str, x: Pushed, *rest, **kwargs) -> Pushed:
    """A function of single numbers: its slope times the derivatives."""
    kwargs.pop("inplace", None)
    if name in SLOPES and not rest and not kwargs:
        value = func(x.value)
        slope = SLOPES[name](x.value, value)
    else:
        inner = x.value.clone()  # of a part of a larger tensor the tangent would take the room of the whole
        value, slope = jvp(lambda v: func(v, *rest, **kwargs), (inner,), (torch.ones_like(inner),))
    rows = x.rows * slope
    rows[0] = value
    return Pushed.of(rows)


def _general(func: Callable, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Any function, by the derivative that torch has of it."""
    leaves, form = pytree.tree_flatten((args, kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Pushed)]
    plain_copy = torch.contiguous_format  # a convolution leaves its channels last; for the copy see _single
    values = tuple(leaves[place].value.clone(memory_format=plain_copy) for place in places)

    def called(*inner: Tensor) -> Any:
        filled = list(leaves)
        for place, value in zip(places, inner, strict=True):
            filled[place] = value
        inner_args, inner_kwargs = pytree.tree_unflatten(filled, form)
        return func(*inner_args, **inner_kwargs)

    plain = called(*values)
    if not any(isinstance(leaf, Tensor) and leaf.is_floating_point() for leaf in pytree.tree_leaves(plain)):
        return plain  # a shape, a length, a comparison: nothing that has a derivative

    def along(*tangents: Tensor) -> Any:
        return jvp(called, values, tangents)[1]

    tangents = vmap(along)(*(leaves[place].tangents.contiguous() for place in places))
    made, made_form = pytree.tree_flatten(plain)
    slopes = pytree.tree_leaves(tangents)
    pairs = [Pushed.of(torch.cat([value[None], slope])) for value, slope in zip(made, slopes, strict=True)]
    return pytree.tree_unflatten(pairs, made_form)


# ---------------------------------------------------------------- maps
def flat(out: Tensor | tuple[Tensor, ...]) -> Tensor:
    """What a map returns, ``(N, ...)`` or several of them, as rows ``(N, D)``.

    >>> flat((torch.zeros(5, 2, 3), torch.zeros(5, 1))).shape
    torch.Size([5, 7])
    """
    parts = out if isinstance(out, tuple) else (out,)
    return torch.cat([part.flatten(1) for part in parts], dim=1) if len(parts) > 1 else parts[0].flatten(1)


def push(function: Map, z: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """f(z) ``(N, D)`` of a map of rows ``z (N, d)``, and its derivatives ``(K, N, D)`` along ``directions``:
    ``(K, d)`` the same for all rows, or ``(K, N, d)`` each row's own.

    Row n of what the map returns depends on row n of z alone. Exact up to rounding.

    >>> value, slope = push(lambda z: z.square(), torch.tensor([[1.0, 2.0]]), torch.eye(2))
    >>> slope[:, 0]
    tensor([[2., 0.],
            [0., 4.]])
    """
    tangents = directions if directions.dim() == 3 else directions.unsqueeze(1).expand(-1, *z.shape)
    out = flat(function(Pushed.of(torch.cat([z.unsqueeze(0), tangents]))))
    if not isinstance(out, Pushed):  # it does not depend on z
        return out, out.new_zeros(len(tangents), *out.shape)
    return out.value, out.tangents


class Widest(TorchFunctionMode):
    """Sees what is computed for ``count`` rows, and keeps the ``width`` of the widest: numbers a row."""

    def __init__(self, count: int):
        super().__init__()
        self.count, self.width = count, 1

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.dim() and len(leaf) == self.count:  # weights are none of it
                self.width = max(self.width, leaf.numel() // self.count)
        return out


def width_of(function: Map, z: Tensor) -> int:
    """How many numbers a map of rows computes for a row, at its widest layer.

    >>> width_of(torch.nn.Sequential(torch.nn.Linear(2, 9), torch.nn.Linear(9, 3)), torch.zeros(1, 2))
    9
    """
    probe = z[:1].expand(PROBE, -1)
    with torch.no_grad(), Widest(PROBE) as widest:
        function(probe)
    return widest.width


def rows_at_once(width: int, tangents: int) -> int:
    """How many rows of a map that computes ``width`` numbers for each are taken together with so many
    derivatives."""
    return max(1, CACHE // (max(1, width) * (1 + tangents)))
