"""Where the batches of a phase come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch

from latentrun.data.base import Dataset
from latentrun.functional.noise import Noise
from latentrun.types import Batch, FromCodes, FromData, FromStream, Split


class Source(ABC):
    """Batches of one phase; ``rows`` examples and ``steps`` batches an epoch. The order depends on the
    noise's key and the epoch alone, so any epoch can be entered at any batch."""

    rows: int
    steps: int

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """(number, batch) of an epoch from batch ``start`` on."""

    @abstractmethod
    def validation(self) -> Iterator[tuple[int, Batch]]:
        """(number, batch) of the validation rows."""

    @abstractmethod
    def whole_validation(self) -> Batch:
        """All validation rows in one batch."""

    @abstractmethod
    def whole(self) -> Batch:
        """All training rows (of a stream: one epoch's worth, at most 10,000)."""


class Rows(Source):
    """Rows of tensors that lie on the device: no worker processes, a batch is an index selection."""

    def __init__(
        self,
        train: Split,
        val: Split,
        data: Dataset | None,
        noise: Noise,
        device: torch.device,
        batch_size: int,
    ):
        self.train, self.val = resident(train, device), resident(val, device)
        self.data, self.noise, self.device, self.batch_size = data, noise, device, batch_size
        self.rows = len(train.x)
        self.steps = -(-self.rows // batch_size)

    def batches(self, epoch, start=0):
        order = self.noise.at("epoch", epoch).permutation("order", self.rows)
        # What is small is put in order once; of x only one batch at a time, for the copy of all may not fit.
        y, index = self.train.y[order].split(self.batch_size), self.train.index[order].split(self.batch_size)
        batches = order.to(self.train.x.device).split(self.batch_size)
        for number in range(start, self.steps):
            # index_select copies whole rows: four times faster on a CPU than x[rows].
            x = self.train.x.index_select(0, batches[number]).to(self.device, non_blocking=True)
            if self.data is not None:
                x = self.data.draw(x, self.noise.at("draw", epoch, number))
            yield number, Batch(x, y[number], index[number])

    def validation(self):
        size = min(self.batch_size, 128) if self.device.type == "cpu" else max(self.batch_size, 1024)
        for number, start in enumerate(range(0, len(self.val.x), size)):
            part = slice(start, start + size)
            yield number, Batch(self.val.x[part].to(self.device), self.val.y[part], self.val.index[part])

    def whole_validation(self):
        return Batch(self.val.x.to(self.device), self.val.y, self.val.index)

    def whole(self):
        return Batch(self.train.x, self.train.y, self.train.index)


class Stream(Source):
    """Batches the model draws itself, without end; validation rows are drawn once from a key of their own."""

    def __init__(self, stream: FromStream, noise: Noise, batch_size: int):
        self.draw, self.noise, self.batch_size = stream.draw, noise, batch_size
        self.steps = stream.steps_per_epoch
        self.rows = self.steps * batch_size

    def batches(self, epoch, start=0):
        for number in range(start, self.steps):
            yield number, self.draw(self.batch_size, self.noise.at("stream", epoch, number))

    def validation(self):
        for number in range(max(1, 1024 // self.batch_size)):
            yield number, self.draw(self.batch_size, self.noise.at("stream", "validation", number))

    def whole_validation(self):
        return Batch(torch.cat([batch.x for _, batch in self.validation()]))

    def whole(self):
        return self.draw(min(self.rows, 10_000), self.noise.at("stream", "whole"))


def steps_per_epoch(kind: FromData | FromCodes | FromStream, data: Dataset, batch_size: int) -> int:
    """How many batches an epoch has."""
    if isinstance(kind, FromStream):
        return kind.steps_per_epoch
    return -(-len(data.split("train").x) // batch_size)


def source_of(
    kind: FromData | FromCodes | FromStream,
    data: Dataset,
    noise: Noise,
    device: torch.device,
    batch_size: int,
) -> Source:
    """The source a phase asks for."""
    if isinstance(kind, FromStream):
        return Stream(kind, noise, batch_size)
    train, val = data.split("train"), data.split("val")
    if isinstance(kind, FromData):
        return Rows(train, val, data, noise, device, batch_size)
    coded = {
        name: _coded(rows, kind, noise.at("codes", name), device)
        for name, rows in (("train", train), ("val", val))
    }
    return Rows(coded["train"], coded["val"], None, noise, device, batch_size)


@torch.no_grad()
def _coded(rows: Split, kind: FromCodes, noise: Noise, device: torch.device, size: int = 1024) -> Split:
    parts = [kind.encode(x.to(device), noise.at(i)) for i, x in enumerate(rows.x.split(size))]
    return Split(torch.cat(parts), rows.y, rows.labels, rows.index)


def resident(rows: Split, device: torch.device) -> Split:
    """The rows on the device; pictures that would take over 40 % of an accelerator's free memory stay
    behind."""
    x = rows.x
    if device.type != "cuda" or x.nbytes < 0.4 * torch.cuda.mem_get_info(device)[0]:
        x = x.to(device)
    labels = None if rows.labels is None else rows.labels.to(device)
    return Split(x, rows.y.to(device), labels, rows.index.to(device))
