"""The weights of a model without some of its latent variables, and whether what is left is the same function.

With K the variables that are kept, the smaller model has encode'(x) = encode(x)_K, decode'(z_K) = decode(z
with the others at 0) and the prior of z_K (Asperti 2018, arXiv 1812.07238: inactive variables and their
connections may be removed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import HasGaussianPosterior, HasPrior, Model
from latentrun.run import Run
from latentrun.types import History

ROWS = 512  # test rows on which the two models are held against each other
TOLERANCE = (
    1e-4  # of the largest value: sums of float32 numbers in another order; a wrong slice is far beyond
)


# ---------------------------------------------------------------- weights
def sliced(
    whole: Mapping[str, Tensor], part: Mapping[str, Tensor], d: int, keep: Sequence[int]
) -> dict[str, Tensor]:
    """The weights ``whole`` of a model with d latent variables for one with ``len(keep)``, whose fresh
    weights are ``part``.

    Which tensors follow the latent dimension shows in their shapes; an axis that does is d long, or 2 d
    (means, then log scales), or d and a rest (a recurrent network's input, then its state). InputError where
    shapes differ otherwise.
    """
    if whole.keys() != part.keys():
        raise InputError(
            f"task=prune: the model has other weights with {len(keep)} latent variables than with {d}"
        )
    return {name: sliced_tensor(name, tensor, part[name], d, keep) for name, tensor in whole.items()}


def sliced_tensor(name: str, whole: Tensor, part: Tensor, d: int, keep: Sequence[int]) -> Tensor:
    """What is kept of one tensor, of which one axis at most follows the latent dimension; InputError where it
    is not clear which."""
    if whole.shape == part.shape:
        return whole.clone()
    if whole.ndim == part.ndim:
        sizes = enumerate(zip(whole.shape, part.shape, strict=True))
        axes = [(axis, positions(n, m, d, keep)) for axis, (n, m) in sizes if n != m]
        if len(axes) == 1 and axes[0][1] is not None:
            axis, places = axes[0]
            return whole.index_select(axis, torch.tensor(places, device=whole.device))
    raise InputError(
        f"task=prune: {name!r} is of shape {tuple(whole.shape)} with {d} latent variables and "
        f"{tuple(part.shape)} with {len(keep)}: it is not clear which of it belongs to which variable"
    )


def positions(n: int, m: int, d: int, keep: Sequence[int]) -> list[int] | None:
    """The places kept of an axis that is n long with d latent variables and m without those that are not
    kept; None where that is not one of the layouts of :func:`sliced`."""
    times, rest = divmod(n - m, d - len(keep))
    behind = n - times * d
    if rest or times not in (1, 2) or behind < 0 or (times == 2 and behind):
        return None
    return [block * d + i for block in range(times) for i in keep] + list(range(times * d, n))


# ---------------------------------------------------------------- the same function
@torch.no_grad()
def require_same(whole: Run, part: Run, keep: Sequence[int]) -> tuple[float, float]:
    """InputError unless, to rounding, the smaller model encodes rows of the data as the kept variables,
    decodes these codes, and draws from N(0, 1), as the model does with the others at 0, and has their prior.
    Gives the mean squared error per data dimension of the reconstructions of these rows, before and after."""
    x = whole.data.split("test").x[:ROWS]
    codes, small = encoded(whole, x), encoded(part, x)
    z = torch.zeros(2 * len(x), whole.model.latent_dim)
    z[:, keep] = torch.cat([small[0], Noise(0).at("prune").normal("z", tuple(small[0].shape))])
    decoded = part.decode(z[:, keep])
    pairs = {
        "codes": (codes[0][:, keep], small[0]),
        "scales of codes": (codes[1][:, keep], small[1]),
        "moments of the prior": (prior(whole.model)[:, keep], prior(part.model)),
        "decoded codes": (whole.decode(z), decoded),
    }
    for what, (old, new) in pairs.items():
        same = (new - old).abs().max() <= TOLERANCE * old.abs().max()
        if not same:  # what is no number does not pass either
            raise InputError(
                f"task=prune: {what} of the smaller model are not those of the model; nothing is written"
            )
    before, after = ((y - x).square().mean().item() for y in (whole.decode(codes[0]), decoded[: len(x)]))
    return before, after


def encoded(run: Run, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(z|x), 0 for a code that has none."""
    if isinstance(run.model, HasGaussianPosterior):
        return run.posterior(x)
    mean = run.encode(x)
    return mean, torch.zeros_like(mean)


def prior(model: Model) -> Tensor:
    """Mean and standard deviation of p(z), ``(2, d)``, 0 where there is none."""
    if isinstance(model, HasPrior):
        return torch.stack([model.prior().mean, model.prior().stddev])
    return torch.zeros(2, model.latent_dim)


def history_of(history: History | None, keep: Sequence[int]) -> History | None:
    """What the history says of some latent variables."""
    if history is None:
        return None
    arrays = {field.name: getattr(history, field.name) for field in fields(history)}
    variables = {name: array for name, array in arrays.items() if array.ndim == 3 and array.shape[2]}
    return replace(history, **{name: array[..., keep] for name, array in variables.items()})
