"""Laws of tables: ordered levels, and rows of real, ordinal and categorical columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, constraints
from torch.nn import functional as F
from torch.types import _size

from latentrun.types import Column

KINDS = ("real", "ordinal", "categorical")  # of columns, in the order in which they are kept
SINGLE = torch.Size()  # the shape of one draw


class OrderedLogistic(Distribution):
    """Levels y = 0 ... K - 1 with P(y <= k) = sigmoid(theta_k - eta) (McCullagh 1980, J. R. Stat. Soc. B 42,
    eq. 2.1): the number of thresholds that eta + logistic noise exceeds.

    ``eta`` any shape; ``thresholds (..., K - 1)`` increasing, the leading axes broadcast with ``eta``. Laws
    of fewer levels end in thresholds of +inf.

    >>> even = OrderedLogistic(torch.tensor(0.0), torch.tensor([0.0]))  # two levels, alike
    >>> even.log_prob(torch.tensor(1)).exp(), even.mean
    (tensor(0.5000), tensor(0.5000))
    """

    arg_constraints = {"eta": constraints.real}  # pyrefly: ignore[bad-override]  as in torch's own

    def __init__(self, eta: Tensor, thresholds: Tensor):
        batch_shape = torch.broadcast_shapes(eta.shape, thresholds.shape[:-1])
        self.eta, self.thresholds = eta.expand(batch_shape), thresholds.expand(*batch_shape, -1)
        super().__init__(batch_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The levels 0 ... K - 1."""
        return constraints.integer_interval(0, self.thresholds.shape[-1])

    def log_prob(self, value: Tensor) -> Tensor:
        """log P(y = value) in nats, of levels ``value`` in a shape that broadcasts with ``eta``.

        sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), whose logarithm keeps its digits in
        both tails.
        """
        value = value.long().unsqueeze(-1)
        ends = F.pad(F.pad(self.thresholds, (1, 0), value=-torch.inf), (0, 1), value=torch.inf)
        ends = ends.expand(*value.shape[:-1], -1)
        low, high = ends.gather(-1, value).squeeze(-1), ends.gather(-1, value + 1).squeeze(-1)
        between = torch.log(-torch.expm1(low - high))
        return F.logsigmoid(high - self.eta) + F.logsigmoid(self.eta - low) + between

    @property
    def _above(self) -> Tensor:
        """P(y > k) for k = 0 ... K - 2."""
        return torch.sigmoid(self.eta.unsqueeze(-1) - self.thresholds)

    @property
    def mean(self) -> Tensor:
        """E[y] = sum_k P(y > k), in levels, in the shape of ``eta``."""
        return self._above.sum(-1)

    @property
    def variance(self) -> Tensor:
        """E[y²] - E[y]², with E[y²] = sum_k (2 k + 1) P(y > k), in the shape of ``eta``."""
        above = self._above
        odd = 2 * torch.arange(above.shape[-1], device=above.device) + 1
        return (odd * above).sum(-1) - above.sum(-1).square()

    @torch.no_grad()
    def sample(self, sample_shape: _size = SINGLE) -> Tensor:
        """Levels ``(*sample_shape, *eta.shape)`` int64: eta + logistic noise, against the thresholds."""
        uniform = torch.rand(self._extended_shape(torch.Size(sample_shape)), device=self.eta.device)
        return (self.eta + torch.logit(uniform)).unsqueeze(-1).gt(self.thresholds).sum(-1)


class Layout(nn.Module):
    """Where the columns of each kind lie in an encoded row, as index tensors that move with a model.

    ``real``, ``ordinal``, ``categorical``: positions in the row, of categorical columns all categories one
    after the other; ``segment``: to which of the ``blocks`` categorical columns each of those belongs;
    ``level_mean``, ``level_scale``: how ordinal levels are encoded; ``levels``: how many each ordinal column
    has; ``order``: from (real, ordinal, categorical) one after the other back to the row.
    """

    real: Tensor
    ordinal: Tensor
    categorical: Tensor
    segment: Tensor
    order: Tensor
    levels: Tensor
    level_mean: Tensor
    level_scale: Tensor

    def __init__(self, columns: Sequence[Column]):
        super().__init__()
        by_kind = {kind: [c for c in columns if c.kind == kind] for kind in KINDS}
        ordinal, categorical = by_kind["ordinal"], by_kind["categorical"]
        self.blocks = len(categorical)
        positions = {
            kind: [i for column in group for i in range(column.start, column.start + column.width)]
            for kind, group in by_kind.items()
        }
        order = torch.tensor(sum(positions.values(), []), dtype=torch.int64).argsort()
        widths = torch.tensor([column.width for column in categorical], dtype=torch.int64)
        buffers = {kind: torch.tensor(places, dtype=torch.int64) for kind, places in positions.items()} | {
            "segment": torch.repeat_interleave(torch.arange(self.blocks), widths),
            "order": order,
            "levels": torch.tensor([len(column.categories) for column in ordinal], dtype=torch.int64),
            "level_mean": torch.tensor([column.mean for column in ordinal], dtype=torch.float32),
            "level_scale": torch.tensor([column.scale for column in ordinal], dtype=torch.float32),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)

    def join(self, real: Tensor, ordinal: Tensor, categorical: Tensor) -> Tensor:
        """Values of the three groups as rows ``(..., D)``."""
        return torch.cat([real, ordinal, categorical], -1).index_select(-1, self.order)


class Mixed(Distribution):
    """Encoded rows x of a table (see :class:`~latentrun.types.Column`) whose columns are independent.

    ``out (N, D)``: at real columns the mean, at ordinal ones eta, at categorical ones logits; ``scale``:
    standard deviation of the real columns, all together or one each; ``thresholds (n_ordinal, K - 1)``,
    ending in +inf where a column has fewer levels. Batch shape ``(N,)``, event shape ``(D,)``. A density in
    real columns, a probability in the others: its logarithm, in nats, is the sum over columns.
    """

    arg_constraints = {}
    support = constraints.independent(constraints.real, 1)

    def __init__(self, layout: Layout, out: Tensor, scale: Tensor, thresholds: Tensor):
        self.layout = layout
        self.real = Normal(out.index_select(-1, layout.real), scale, validate_args=False)
        self.ordinal = OrderedLogistic(out.index_select(-1, layout.ordinal), thresholds)
        self.logits = out.index_select(-1, layout.categorical)
        super().__init__(out.shape[:-1], out.shape[-1:], validate_args=False)

    # ---------------------------------------------------------------- categorical columns, all at once
    def _largest(self, values: Tensor) -> Tensor:
        """The largest value in each categorical column, ``(..., blocks)``."""
        start = values.new_full((*values.shape[:-1], self.layout.blocks), -torch.inf)
        return start.scatter_reduce(-1, self.layout.segment.expand_as(values), values, "amax")

    def _normaliser(self) -> Tensor:
        """log sum exp(logits) of each categorical column, ``(N, blocks)``."""
        top = self._largest(self.logits.detach())
        shifted = (self.logits - top.index_select(-1, self.layout.segment)).exp()
        return torch.zeros_like(top).index_add(-1, self.layout.segment, shifted).log() + top

    def _probabilities(self) -> Tensor:
        """Of all categories, ``(N, categories)``: those of one column add to 1."""
        return (self.logits - self._normaliser().index_select(-1, self.layout.segment)).exp()

    # ---------------------------------------------------------------- the law
    def level(self, x: Tensor) -> Tensor:
        """The ordinal levels, from 0, nearest to encoded rows: ``(..., n_ordinal)`` int64."""
        encoded = x.index_select(-1, self.layout.ordinal)
        level = (encoded * self.layout.level_scale + self.layout.level_mean).round().long()
        return torch.minimum(level.clamp(min=0), self.layout.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) ``(N,)`` in nats, summed over columns."""
        real = self.real.log_prob(value.index_select(-1, self.layout.real)).sum(-1)
        ordinal = self.ordinal.log_prob(self.level(value)).sum(-1)
        categorical = (value.index_select(-1, self.layout.categorical) * self.logits).sum(-1)
        return real + ordinal + categorical - self._normaliser().sum(-1)

    @property
    def mean(self) -> Tensor:
        """E[x] ``(N, D)``: means, expected levels (encoded), probabilities of the categories."""
        level = (self.ordinal.mean - self.layout.level_mean) / self.layout.level_scale
        return self.layout.join(self.real.mean, level, self._probabilities())

    @property
    def variance(self) -> Tensor:
        """Var[x] ``(N, D)`` of every encoded value."""
        p, level = self._probabilities(), self.ordinal.variance / self.layout.level_scale**2
        return self.layout.join(self.real.variance, level, p * (1 - p))

    @torch.no_grad()
    def sample(self, sample_shape: _size = SINGLE) -> Tensor:
        """Encoded rows ``(*sample_shape, N, D)``."""
        shape = torch.Size(sample_shape)
        level = (self.ordinal.sample(shape) - self.layout.level_mean) / self.layout.level_scale
        # The category with the largest logit + Gumbel noise is a draw from the softmax.
        exponential = torch.empty(shape + self.logits.shape, device=self.logits.device).exponential_()
        race = self.logits - exponential.log()
        winner = race == self._largest(race).index_select(-1, self.layout.segment)
        return self.layout.join(self.real.sample(shape), level, winner.to(race.dtype))
