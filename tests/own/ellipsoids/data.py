from typing import Annotated

import torch

from latentrun.config.bounds import Each, Ge, Gt
from latentrun.data.base import Dataset, divide
from latentrun.functional.noise import Noise
from latentrun.types import Factor, Split


class Ellipsoid(Dataset):
    """Points of a box with the given half widths, turned at random: the widest axes are what PCA must
    find."""

    def __init__(
        self,
        n: Annotated[int, Ge(10)],
        axes: Annotated[list[float], Each(Gt(0))],
        seed: Annotated[int, Ge(0)],
    ):
        self.n, self.axes, self.seed = n, axes, seed
        self.event_shape = (len(axes),)
        self.value_range = (-sum(axes), sum(axes))
        self.factors = tuple(Factor(f"axis_{i}", "real", -width, width) for i, width in enumerate(axes))

    def _load(self) -> dict[str, Split]:
        noise = Noise(self.seed).at("ellipsoid")
        y = (2 * noise.uniform("y", (self.n, len(self.axes))) - 1) * torch.tensor(self.axes)
        turn = torch.linalg.qr(noise.normal("turn", (len(self.axes), len(self.axes)))).Q
        return divide(Split(y @ turn.T, y, None, torch.arange(self.n)), 0.1, 0.2, self.seed)
