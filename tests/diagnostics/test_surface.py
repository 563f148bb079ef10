"""The surface of a decoder: its metric from mean and standard deviation, in the chart of its latent space."""

from __future__ import annotations

import torch
from torch import Tensor

from latentrun.diagnostics.surface import surface_of
from latentrun.manifolds import Manifold, space
from tests.planted import Deterministic, Rows, planted_run


class Ring(Deterministic):
    """Decodes a circle to an ellipse of half axes 1 and 3."""

    def __init__(self):
        super().__init__(lambda x: x, lambda z: z * torch.tensor([1.0, 3.0]), 2, (2,))
        self.spaces: dict[str, Manifold] = {"z": space("s1")}


class Noisy(Deterministic):
    """Mean z, standard deviation exp(z_0) in each of two dimensions."""

    def __init__(self):
        super().__init__(lambda x: x, lambda z: z, 2, (2,))

    def moments_at(self, z: Tensor) -> tuple[Tensor, ...]:
        return self.decode(z), z[:, :1].exp().expand(-1, 2)


def test_the_metric_is_taken_in_the_chart_of_the_space():
    decoded = surface_of(planted_run(Ring(), Rows(torch.randn(8, 2))))
    angle = torch.tensor([[0.0], [0.5], [2.0]])
    speed = (angle.sin().square() + 9 * angle.cos().square())[:, 0]
    torch.testing.assert_close(decoded.surface.metric(angle)[:, 0, 0], speed)
    torch.testing.assert_close(decoded.decode(angle), torch.cat([angle.cos(), 3 * angle.sin()], 1))
    assert decoded.deviation(angle) is None


def test_a_standard_deviation_that_changes_adds_to_the_metric():
    run = planted_run(Noisy(), Rows(torch.randn(8, 2)))
    decoded, z = surface_of(run), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    expected = torch.diag_embed(torch.stack([1 + 2 * (2 * z[:, 0]).exp(), torch.ones(2)], 1))
    torch.testing.assert_close(decoded.surface.metric(z), expected)
    torch.testing.assert_close(decoded.deviation(z), z[:, 0].exp())
    assert surface_of(run) is decoded
