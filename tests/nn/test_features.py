"""Features whose values are known: components, a classifier of data that are easy to tell, files with a known
program."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.nn.classifier import accuracy, trained
from latentrun.nn.features import Penultimate, Pixels, Principal, Scripted
from tests.conformance import parts

CPU = torch.device("cpu")


def normal(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_pixels_are_x():
    x = normal((5, 1, 3, 4), 0)
    assert torch.equal(Pixels()(x), x.flatten(1))


@pytest.mark.parametrize(
    ("n", "d", "k"), [(300, 6, 4), (20, 50, 7), (300, 6, 99), (5, 50, 99), (30, 2100, 7)]
)
def test_components_are_scikit_learns(n, d, k):
    x = normal((n, d), 0) @ normal((d, d), 1) + 3
    features = Principal(x, k)
    k = min(k, d, n - 1)
    pca = PCA(k, svd_solver="full").fit(x.double().numpy())
    new = normal((30, d), 2)
    found, expected = features(new).numpy(), pca.transform(new.double().numpy())
    assert found.shape == (30, k) and np.abs(found) == pytest.approx(
        np.abs(expected), abs=1e-6
    )  # up to the sign of each axis
    assert features.share == pytest.approx(pca.explained_variance_ratio_.sum())


def test_equal_rows_have_no_components_that_are_not_numbers():
    for d in (3, 30):
        assert Principal(torch.ones(9, d), 5)(normal((4, d), 0)).isfinite().all()


def test_a_classifier_learns_depends_on_its_noise_alone_and_leaves_torchs_generator():
    data = parts.data("digits")
    train, test = data.split("train"), data.split("test")
    rng = torch.get_rng_state()
    first, second, other = (trained(train.x, train.labels, 10, 16, 300, Noise(seed)) for seed in (0, 0, 1))
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)
    assert not any(p.requires_grad for p in first.parameters())
    found = accuracy(first, test.x, test.labels)
    assert found.value > 0.9 and found.low < found.value < found.high
    assert found.value == (first(test.x).argmax(1) == test.labels).double().mean().item()
    features = Penultimate(first, train.x)
    assert features(train.x).var(0, correction=0).mean().item() == pytest.approx(1, rel=1e-5) and features(
        test.x
    ).shape == (
        len(test.x),
        16,
    )
    # labels that say nothing teach nothing
    shuffled = train.labels[Noise(0).permutation("labels", len(train.x))]
    assert accuracy(trained(train.x, shuffled, 10, 16, 300, Noise(0)), test.x, test.labels).value < 0.3


def test_a_classifier_of_vectors():
    x = normal((600, 5), 0)
    model = trained(x, (x[:, 0] > 0).long(), 2, 8, 100, Noise(0))
    new = normal((400, 5), 1)
    assert accuracy(model, new, (new[:, 0] > 0).long()).value > 0.9


def scripted(folder: Path, module: nn.Module) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), folder / "net.pt")
    return str(folder / "net.pt")


class Seen(nn.Module):
    """What a file sees, as its features: height, width, channels, least, most, mean of each channel."""

    def forward(self, x):
        n, c, h, w = x.shape
        size = torch.tensor([float(h), float(w), float(c)]).expand(n, 3)
        return torch.cat([size, x.amin((1, 2, 3))[:, None], x.amax((1, 2, 3))[:, None], x.mean((2, 3))], 1)


class Flat(nn.Module):
    def forward(self, x):
        return x.flatten()


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Broken(nn.Module):
    def forward(self, x):
        return x.flatten(1) / 0.0


def test_a_file_sees_pictures_as_it_is_said(tmp_path):
    device, path = CPU, scripted(tmp_path, Seen())
    grey = torch.tensor([-1.0, 0.0, 3.0, 1.0]).view(1, 1, 2, 2).expand(70, 1, 2, 2)  # 3 lies beyond the range
    found = Scripted(path, (6, 8), 3, (-1.0, 0.5), (-1.0, 1.0), "tf1", device)(grey)
    assert found.shape == (70, 8)  # more than one batch
    below, right = (0 + 1 / 3 + 2 / 3 + 3) / 6, (0 + 0.25 + 0.5 + 0.75 + 4) / 8  # mean weights of the second
    mean = below * 0.5 + (1 - below) * (right * -0.25 + (1 - right) * -1)
    assert found[0].tolist() == pytest.approx([6, 8, 3, -1, 0.5, *[mean] * 3])
    colour = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    found = Scripted(path, None, 1, (0.0, 1.0), (0.0, 1.0), "tf1", device)(colour)
    assert found[0].tolist() == pytest.approx([2, 2, 1, 0.299, 0.299, 0.299])


@pytest.mark.parametrize(("module", "said"), [
    (Flat(), r"must give \(N, d\) numbers for N pictures, and gives \(8,\) for 2"),
    (Pair(), r"gives tuple for 2"),
    (Broken(), "not finite"),
    (nn.Conv2d(3, 1, 1), r"does not take pictures of \(1, 2, 2\): .*channels"),
])  # fmt: skip
def test_files_that_do_not_fit(tmp_path, module, said):
    features = Scripted(
        scripted(tmp_path, module), None, 1, (0.0, 1.0), (0.0, 1.0), "tf1", torch.device("cpu")
    )
    with pytest.raises(InputError, match=said):
        features(torch.rand(2, 1, 2, 2) + 0.1)


def test_a_file_that_is_none(tmp_path):
    for content in (b"", b"no archive"):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(InputError, match="is no TorchScript file that can be read"):
            Scripted(str(tmp_path / "x.pt"), None, 1, (0.0, 1.0), (0.0, 1.0), "tf1", CPU)


def test_the_inception_network():
    root = Path(os.environ.get("LATENTRUN_DATA") or parts.BESIDE)
    file = root / "fid_inception" / "default_1.pt"
    if not file.is_file():
        pytest.skip(f"no {file}")
    features = Scripted(str(file), (299, 299), 3, (-1.0, 127 / 128), (0.0, 1.0), "tf1", CPU)
    found = features(torch.rand(3, 1, 28, 28))
    assert found.shape == (3, 2048) and found.min() >= 0 and found.std(0).max() > 0


def test_of_few_distinct_rows_there_are_no_more_components_than_their_rank():
    train = normal((30, 784), 5).repeat(10, 1)
    found = Principal(train, 64)
    axes = found.components.axes
    assert axes.shape == (29, 784)
    torch.testing.assert_close(axes @ axes.T, torch.eye(29, dtype=torch.float64), atol=1e-6, rtol=0)
