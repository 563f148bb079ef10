from pathlib import Path

import torch
import yaml
from sklearn.datasets import load_digits

from latentrun.data.base import SPLITS
from latentrun.data.digits import Digits


def make(**changes):
    arguments = yaml.safe_load((Path(__file__).parents[2] / "conf/data/digits.yaml").read_text())
    assert arguments.pop("_target_") == "latentrun.data.digits.Digits"
    return Digits(**{**arguments, **changes})


def test_rows_are_scikit_learns():
    data, (counts, digit) = make(), load_digits(return_X_y=True)
    for name in SPLITS:
        split = data.split(name)
        assert torch.equal(split.x.flatten(1).double() * 16, torch.from_numpy(counts)[split.index])
        assert torch.equal(split.labels, torch.from_numpy(digit)[split.index])
        assert torch.equal(split.y[:, 0], split.labels.float())
        assert split.x.shape[1:] == data.event_shape and split.x.min() == 0 and split.x.max() == 1
    assert data.label == data.factors[0].name and data.factors[0].categories == tuple("0123456789")


def test_splits():
    data = make()
    index = torch.cat([data.split(name).index for name in SPLITS])
    assert torch.equal(index.sort().values, torch.arange(1797))
    assert torch.equal(make(val_fraction=0.4).split("test").index, data.split("test").index)
    assert not torch.equal(make(seed=1).split("test").index, data.split("test").index)


def test_digits_are_chosen_by_name_or_number():
    some = make(only=[7, "0"]).split("test")
    digit = load_digits(return_X_y=True)[1]
    assert torch.equal(some.labels, torch.from_numpy(digit == 0).long()[some.index])
    assert set(digit[some.index]) == {0, 7} and set(make().split("test").index.tolist()) > set(
        some.index.tolist()
    )
