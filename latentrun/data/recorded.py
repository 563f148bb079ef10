"""A data set as a run directory remembers it: described at once, made or read when rows are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from latentrun.data.base import Dataset, Description, HasMembers, HasSupport, Oracle
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.types import Projection, Split

if TYPE_CHECKING:
    from latentrun.manifolds import Manifold


class Recorded(Dataset):
    """What ``description`` says, without a row; :attr:`source`, the data set itself, is made by ``make`` when
    rows are first asked for, or anything that only it has. Until then nothing of it is read or made, and its
    files may be gone."""

    def __init__(self, description: Description, make: Callable[[], Dataset]):
        self._description, self._make = description, make
        self.event_shape, self.value_range = description.event_shape, description.value_range
        self.factors, self.label = description.factors, description.label
        self.binary, self.columns, self.notes = description.binary, description.columns, description.notes
        self.cmap = description.cmap

    @cached_property
    def source(self) -> Dataset:
        """The data set itself, encoded as the model was trained; InputError where it cannot be had, or is not
        of this description any more."""
        data = self._make()
        if (data.event_shape, data.columns) != (self.event_shape, self.columns):
            data.align(self)
        now, then = ([factor.name for factor in factors] for factors in (data.factors, self.factors))
        if now != then:
            raise InputError(f"data: their factors are {now} now; the run was trained with {then}")
        return data

    def __getattr__(self, name: str) -> Any:
        """What a data set has beyond the protocol."""
        if name.startswith("_") or name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)

    def describe(self) -> Description:
        return self._description

    def split(self, name: str) -> Split:
        return self.source.split(name)

    def parts(self) -> tuple[Split, ...]:
        return self.source.parts()

    @property
    def digest(self) -> str:
        return self.source.digest

    def align(self, reference: Dataset) -> None:
        self.source.align(reference)

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        return self.source.draw(x, noise)

    def _load(self) -> dict[str, Split]:
        return self.source._load()


class RecordedOracle(Recorded, Oracle):
    """A family whose truth is known, as a run directory remembers it."""

    def __init__(self, description: Description, make: Callable[[], Dataset]):
        super().__init__(description, make)
        self.intrinsic_dim, self.betti = description.intrinsic_dim, description.betti

    @property
    def _oracle(self) -> Any:
        return self.source

    @property
    def manifold(self) -> Manifold | None:  # pyrefly: ignore[bad-override]  made when asked for
        return self._oracle.manifold

    @property
    def local_dims(self) -> tuple[int, ...]:
        return self._oracle.local_dims

    def local_dim(self, factors: Tensor) -> Tensor | None:
        return self._oracle.local_dim(factors)

    def geodesic_distance(self, a: Tensor, b: Tensor) -> Tensor | None:
        return self._oracle.geodesic_distance(a, b)

    def factor_distance(self, a: Tensor, b: Tensor) -> Tensor | None:
        return self._oracle.factor_distance(a, b)

    def outline(self) -> tuple[Tensor, ...]:
        return self._oracle.outline()

    def render(self, factors: Tensor) -> Tensor:
        return self._oracle.render(factors)

    def project(self, x: Tensor, **options: Any) -> Projection:
        return self._oracle.project(x, **options)


class RecordedFamily(RecordedOracle, HasMembers):
    """A family whose law is known too, as a run directory remembers it."""

    @property
    def noise(self) -> float:  # pyrefly: ignore[bad-override]
        return self._oracle.noise

    def members(self, n: int) -> Tensor | None:
        return self._oracle.members(n)


class RecordedSupport(HasSupport):
    """Mixed into a data set as a run directory remembers it, of which it is known what is possible."""

    source: Any

    @property
    def rules(self) -> Mapping[str, str]:  # pyrefly: ignore[bad-override]
        return self.source.rules

    def broken(self, x: Tensor) -> Tensor:
        return self.source.broken(x)


@cache
def recorded_as(kind: type[Dataset]) -> type[Recorded]:
    """What a run directory makes of a data set: with the capabilities that its class has."""
    known = Recorded
    if issubclass(kind, Oracle):
        known = RecordedFamily if issubclass(kind, HasMembers) else RecordedOracle
    return type(known.__name__, (known, RecordedSupport), {}) if issubclass(kind, HasSupport) else known
