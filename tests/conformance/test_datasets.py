"""Every data set of conf/data keeps the protocol."""

from __future__ import annotations

import pytest
import torch

from latentrun.config.build import build
from latentrun.data.base import SPLITS, Dataset, Oracle
from latentrun.functional.noise import Noise
from tests.conformance import parts


@pytest.fixture(params=parts.DATA)
def data(request):
    return parts.data(request.param)


def test_rows_have_the_announced_form(data):
    low, high = data.value_range
    for name in SPLITS:
        rows = data.split(name)
        n = len(rows.x)
        assert rows.x.shape == (n, *data.event_shape) and rows.x.dtype == torch.float32
        assert rows.y.shape == (n, len(data.factors)) and rows.y.dtype == torch.float32
        assert rows.index.shape == (n,) and rows.index.dtype == torch.int64
        assert low <= rows.x.min() and rows.x.max() <= high and torch.isfinite(rows.x).all()
        assert (rows.labels is None) == (data.label is None)
        assert not data.binary or set(rows.x.unique().tolist()) <= {0.0, 1.0}


def test_splits_are_disjoint_and_shuffled(data):
    index = [data.split(name).index for name in SPLITS]
    together = torch.cat(index)
    assert len(together.unique()) == len(together)
    assert len(data.split("train").x) > len(data.split("val").x) > 0 and len(data.split("test").x) > 0


def test_factors_lie_in_their_ranges(data):
    assert len({factor.name for factor in data.factors}) == len(data.factors)
    for name in SPLITS:
        rows = data.split(name)
        for column, factor in zip(rows.y.T, data.factors, strict=True):
            assert factor.low - 1e-5 <= column.min() and column.max() <= factor.high + 1e-5
            if factor.kind == "categorical":
                assert (
                    torch.equal(column, column.round())
                    and len(factor.categories) == factor.high - factor.low + 1
                )
    if data.label is not None:
        assert data.label in {factor.name for factor in data.factors}
        column = [factor.name for factor in data.factors].index(data.label)
        assert torch.equal(data.split("test").y[:, column].long(), data.split("test").labels)


def test_drawing_keeps_the_form_and_depends_on_its_key_alone(data):
    x = data.split("train").x[:8]
    first, second = (data.draw(x, Noise(0).at("draw", 3)) for _ in range(2))
    assert first.shape == x.shape and torch.equal(first, second)


def test_an_oracle_renders_and_finds_its_own_rows(data):
    if not isinstance(data, Oracle):
        return
    rows = data.split("test")
    y, x = rows.y[:24].double(), rows.x[:24]
    assert torch.allclose(data.render(y).float(), x, atol=1e-5)
    found = data.project(data.render(y))
    assert found.residual.max() < 1e-6 and found.inside.dtype == torch.bool
    assert torch.allclose(found.factors, y, atol=1e-5)
    assert (
        data.intrinsic_dim == sum(factor.kind != "categorical" for factor in data.factors)
        and data.betti[0] >= 1
    )


@pytest.mark.parametrize("name", [name for name in parts.DATA if "root" not in parts.spec("data", name)])
def test_the_data_seed_alone_fixes_the_split(name):
    spec = parts.spec("data", name)
    same, other = (build(spec | {"seed": seed}, Dataset, "data") for seed in (spec["seed"], spec["seed"] + 1))
    torch.manual_seed(99)
    assert torch.equal(same.split("test").index, parts.data(name).split("test").index)
    assert not torch.equal(other.split("test").index, same.split("test").index)


@pytest.mark.parametrize("name", [name for name in parts.DATA if "val_fraction" in parts.spec("data", name)])
def test_another_validation_share_moves_no_test_row(name):
    spec = parts.spec("data", name)
    if "root" in spec:
        return  # those sets have official test rows; tests/data says the same of them
    other = build(spec | {"val_fraction": 0.3}, Dataset, "data")
    assert torch.equal(other.split("test").index, parts.data(name).split("test").index)
