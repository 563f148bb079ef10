"""Scikit-learn's bundled handwritten digits: 1,797 pictures of 8 x 8, on every machine without a download."""

from __future__ import annotations

from typing import Annotated

import torch

from latentrun.config.bounds import Between, Ge
from latentrun.data.base import Dataset, divide
from latentrun.types import Factor, Split


class Digits(Dataset):
    """x = counts / 16 in [0, 1], ``(N, 1, 8, 8)``; one factor, the digit, which is also the label.

    ``index`` is the row of ``sklearn.datasets.load_digits`` (part of UCI "Optical Recognition of Handwritten
    Digits"). ``only``: names of the digits that are kept, None for all.
    """

    event_shape = (1, 8, 8)
    value_range = (0.0, 1.0)
    factors = (Factor("digit", "categorical", 0.0, 9.0, categories=tuple("0123456789")),)
    label = "digit"

    def __init__(
        self,
        only: list[str | Annotated[int, Ge(0)]] | None,
        val_fraction: Annotated[float, Between(0, 1, open_=True)],
        test_fraction: Annotated[float, Between(0, 1, open_=True)],
        seed: Annotated[int, Ge(0)],
    ):
        self.val_fraction, self.test_fraction, self.seed = val_fraction, test_fraction, seed
        self.keep_classes(only)

    def _load(self) -> dict[str, Split]:
        from sklearn.datasets import load_digits

        counts, digit = load_digits(return_X_y=True)
        labels = torch.from_numpy(digit).long()
        x = torch.from_numpy(counts).float().div_(16).unflatten(1, self.event_shape)
        whole = Split(x, labels[:, None].float(), labels, torch.arange(len(x)))
        return divide(whole, self.val_fraction, self.test_fraction, self.seed)
