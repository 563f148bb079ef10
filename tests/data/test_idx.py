import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from latentrun.data.base import SPLITS
from latentrun.data.idx import Idx
from latentrun.errors import InputError
from latentrun.functional.noise import Noise

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("LATENTRUN_DATA", ROOT.parent / "shared/data"))
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
N, N_TEST = 2500, 400


def arrays():
    g = np.random.default_rng(0)
    shapes = ((N, 5, 4), (N,), (N_TEST, 5, 4), (N_TEST,))
    return {
        name: g.integers(0, 256 if len(shape) == 3 else 3, shape, np.uint8)
        for name, shape in zip(NAMES, shapes, strict=True)
    }


def idx(a: np.ndarray) -> bytes:
    return bytes([0, 0, 8, a.ndim]) + np.array(a.shape, ">i4").tobytes() + a.tobytes()


@pytest.fixture
def tiny(tmp_path):
    """A made-up set: images gzipped in the folder, labels plain in the root."""
    (tmp_path / "tiny").mkdir()
    content = {name: idx(a) for name, a in arrays().items()}
    for name, data in content.items():
        if "images" in name:
            (tmp_path / "tiny" / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (tmp_path / name).write_bytes(data)
    kinds = (hashlib.md5, hashlib.sha256, hashlib.sha256, hashlib.md5)
    sums = {name: kind(content[name]).hexdigest() for name, kind in zip(NAMES, kinds, strict=True)}
    given = {"root": str(tmp_path), "folder": "tiny", "checksums": sums, "classes": ["a", "b", "c"]}
    rest = {"only": None, "binarize": "none", "limit": None, "val_fraction": 0.1, "seed": 0}
    return lambda **changes: Idx(**{**given, **rest, **changes})


def test_rows_are_those_of_the_files(tiny):
    data, source = tiny(), arrays()
    images = np.concatenate([source[NAMES[0]], source[NAMES[2]]])
    labels = np.concatenate([source[NAMES[1]], source[NAMES[3]]])
    for name in SPLITS:
        split = data.split(name)
        np.testing.assert_array_equal((split.x[:, 0] * 255).round().numpy(), images[split.index.numpy()])
        np.testing.assert_array_equal(split.labels.numpy(), labels[split.index.numpy()])
        assert torch.equal(split.y[:, 0], split.labels.float()) and split.x.shape[1:] == data.event_shape == (
            1,
            5,
            4,
        )
    assert [len(data.split(name).x) for name in SPLITS] == [2250, 250, N_TEST]
    assert torch.equal(data.split("test").index, torch.arange(N, N + N_TEST))
    assert (
        torch.cat([data.split("train").index, data.split("val").index]).sort().values.equal(torch.arange(N))
    )
    assert data.factors[0].categories == ("a", "b", "c") and data.label == data.factors[0].name


def test_rows_of_chosen_classes_stay_where_they_are(tiny):
    whole, some = tiny(binarize="static"), tiny(binarize="static", only=["c", "a"])
    assert some.factors[0].categories == ("c", "a") and some.factors[0].high == 1
    for name in SPLITS:
        rows, kept = whole.split(name), some.split(name)
        wanted = rows.labels != 1
        assert torch.equal(kept.x, rows.x[wanted]) and torch.equal(kept.index, rows.index[wanted])
        assert torch.equal(kept.labels, torch.tensor([1, -1, 0])[rows.labels[wanted]])
        assert torch.equal(kept.y[:, 0], kept.labels.float())
    with pytest.raises(InputError, match=r"unknown class of data\.only 'd'.*known: a, b, c"):
        tiny(only=["d"])
    for wrong in ([], ["a", "a"]):
        with pytest.raises(InputError, match="at least one class is needed, and each once"):
            tiny(only=wrong)


def test_limit_keeps_the_first_training_rows(tiny):
    data = tiny(limit=100)
    assert (
        torch.cat([data.split("train").index, data.split("val").index]).sort().values.equal(torch.arange(100))
    )
    assert torch.equal(data.split("test").x, tiny().split("test").x)


def test_static_draws_are_bernoulli_and_fixed_for_a_row(tiny):
    grey, static = tiny(), tiny(binarize="static")
    x, p = static.split("train").x, grey.split("train").x
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert abs((x - p).mean()) < 4 * (p * (1 - p)).mean().sqrt() / p.numel() ** 0.5  # four standard errors
    assert abs(torch.corrcoef(torch.stack([(x - p).flatten(), p.flatten()]))[0, 1]) < 4 / p.numel() ** 0.5
    assert torch.equal(tiny(binarize="static").split("train").x, x)
    other = tiny(binarize="static", val_fraction=0.4)
    drawn = {
        int(k): row
        for name in ("train", "val")
        for k, row in zip(static.split(name).index, static.split(name).x, strict=True)
    }
    assert all(
        torch.equal(row, drawn[int(k)])
        for k, row in zip(other.split("val").index, other.split("val").x, strict=True)
    )
    assert not torch.equal(tiny(binarize="static", seed=1).split("test").x, static.split("test").x)


def test_dynamic_draws_only_training_rows_anew(tiny):
    grey, static, dynamic = tiny(), tiny(binarize="static"), tiny(binarize="dynamic")
    assert (grey.binary, static.binary, dynamic.binary) == (False, True, True)
    assert not grey.notes and "Every row" in static.notes[0] and "at every step" in dynamic.notes[0]
    p = dynamic.split("train").x
    assert torch.equal(p, grey.split("train").x)
    for name in ("val", "test"):
        assert torch.equal(dynamic.split(name).x, static.split(name).x)
    one, two = (dynamic.draw(p, Noise(0).at(step)) for step in (0, 1))
    assert set(one.unique().tolist()) == {0.0, 1.0} and not torch.equal(one, two)
    assert torch.equal(one, dynamic.draw(p, Noise(0).at(0)))
    assert abs((one - p).mean()) < 4 * (p * (1 - p)).mean().sqrt() / p.numel() ** 0.5
    assert static.draw(p, Noise(0)) is p


def test_missing_files_are_named_with_folder_and_checksums(tiny, tmp_path):
    sums = tiny().checksums
    (tmp_path / NAMES[1]).unlink()
    with pytest.raises(InputError) as error:
        tiny()
    text = str(error.value)
    assert f"no {NAMES[1]} in" in text and str(tmp_path / "tiny") in text and "\n" not in text
    assert all(name in text and sums[name] in text for name in NAMES)


def test_a_changed_file_is_found_on_reading(tiny, tmp_path):
    expected = tiny().checksums[NAMES[1]]
    changed = bytearray((tmp_path / NAMES[1]).read_bytes())
    changed[-1] ^= 1
    (tmp_path / NAMES[1]).write_bytes(changed)
    with pytest.raises(InputError) as error:
        tiny().split("train")
    assert all(part in str(error.value) for part in (NAMES[1], expected, hashlib.sha256(changed).hexdigest()))


def test_a_file_cut_short_is_an_input_error(tiny, tmp_path):
    path = tmp_path / "tiny" / f"{NAMES[2]}.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot be read"):
        tiny().split("train")


def test_bad_arguments(tiny, tmp_path):
    with pytest.raises(InputError, match="did you mean 'static'"):
        tiny(binarize="statick")
    with pytest.raises(InputError, match=r"data\.classes: 2 names given, but .* has label 2"):
        tiny(classes=["a", "b"]).split("train")
    with pytest.raises(InputError, match="checksums: train-images-idx3-ubyte is missing"):
        tiny(checksums={name: "0" * 32 for name in NAMES[1:]})
    (tmp_path / NAMES[0]).write_bytes(b"not at all")
    (tmp_path / "tiny" / f"{NAMES[0]}.gz").unlink()
    with pytest.raises(InputError, match="is not an IDX file"):
        tiny()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.skipif(
    not (REAL / "mnist").is_dir(), reason="MNIST and Fashion-MNIST: no files under LATENTRUN_DATA"
)
def test_the_official_files(name):
    arguments = yaml.safe_load((ROOT / f"conf/data/{name}.yaml").read_text())
    assert arguments.pop("_target_") == "latentrun.data.idx.Idx"
    data = Idx(**{**arguments, "root": str(REAL)})
    assert [len(data.split(part).x) for part in SPLITS] == [54000, 6000, 10000]
    assert data.event_shape == (1, 28, 28) and data.value_range == (0.0, 1.0)
    assert data.split("test").index[[0, -1]].tolist() == [60000, 69999]
    assert len(data.factors[0].categories) == 10
    first = {"mnist": [7, 2, 1, 0, 4], "fashion_mnist": [9, 2, 1, 1, 6]}[name]
    assert data.split("test").labels[:5].tolist() == first
    mean = {"mnist": 0.1307, "fashion_mnist": 0.2860}[name]  # the published mean of the training pictures
    n = [len(data.split(part).x) for part in ("train", "val")]
    both = sum(
        k * float(data.split(part).x.mean()) for k, part in zip(n, ("train", "val"), strict=True)
    ) / sum(n)
    assert abs(both - mean) < 1e-4
