"""A small classifier, trained on the labels of a data set: a source of features that its classes shape."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from latentrun.functional.noise import Noise, seeded
from latentrun.functional.statistics.intervals import share_interval
from latentrun.nn.dense import layers
from latentrun.types import Estimate

BATCH, RATE = 128, 2e-3  # of Adam: what brings small nets to a plateau in a few hundred steps
CHANNELS, HIDDEN = (16, 32), 128
ROWS = 512  # a pass


class Classifier(nn.Module):
    """Two 3 x 3 convolutions of stride 2 for pictures, a dense layer for other data, then ``width`` rectified
    units, the features, and one linear layer to the classes. x is first divided by the sd, less the mean, of
    all training values."""

    def __init__(self, event_shape: tuple[int, ...], width: int, classes: int, mean: float, sd: float):
        super().__init__()
        self.mean, self.sd = mean, sd if sd > 0 else 1.0
        if len(event_shape) == 3:
            channels = [event_shape[0], *CHANNELS]
            stack = []
            for a, b in pairwise(channels):
                stack += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
            height, breadth = ((n + 3) // 4 for n in event_shape[1:])
            flat = CHANNELS[-1] * height * breadth
        else:
            stack = [nn.Flatten(), *layers([math.prod(event_shape), HIDDEN]), nn.ReLU()]
            flat = HIDDEN
        self.body = nn.Sequential(*stack, nn.Flatten(), nn.Linear(flat, width), nn.ReLU())
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """The layer before the last, ``(N, width)``."""
        return self.body((x - self.mean) / self.sd)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)``."""
        return self.head(self.features(x))


def trained(x: Tensor, labels: Tensor, classes: int, width: int, steps: int, noise: Noise) -> Classifier:
    """A classifier of ``x (N, *event)`` by ``labels (N,)``, on the device of x: ``steps`` of Adam on 128 rows
    each, drawn with replacement, cross entropy, a rate that falls to 0 evenly. Weights and rows come from
    ``noise`` alone; torch's own generator is left as it was."""
    sd, mean = torch.std_mean(x, correction=0)
    with seeded(noise.to("cpu").generator("weights").initial_seed()):
        model = Classifier(tuple(x.shape[1:]), width, classes, mean.item(), sd.item()).to(x.device)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    with torch.enable_grad():
        for step in range(steps):
            rows = noise.to("cpu").at(step).integers("rows", len(x), (BATCH,)).to(x.device)
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(model(x[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)


@torch.no_grad()
def accuracy(model: Classifier, x: Tensor, labels: Tensor) -> Estimate:
    """Share of rows classified rightly, with Wilson's interval."""
    chunks = zip(x.split(ROWS), labels.split(ROWS), strict=True)
    hits = sum(int((model(rows).argmax(1) == truth).sum()) for rows, truth in chunks)
    return share_interval(hits, len(x))
