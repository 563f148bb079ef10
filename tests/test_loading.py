"""A run directory describes its data: loading reads none, and what needs no rows needs no files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import latentrun
from latentrun.data.base import Dataset, Description, Oracle, divide
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.types import Factor, Split
from tests.conformance import parts
from tests.lines import arrays, run

SHORT = ["network=dense", "network.widths=[8]", "training.epochs=1", "diagnostic=[]", "figures=[]"]


class Counted(Dataset):
    """Rows of two numbers that count how often a set is made and read."""

    event_shape, value_range = (2,), (0.0, 1.0)
    factors = (Factor("place", "real", 0.0, 1.0),)
    made = read = 0

    def __init__(self, n: int):
        self.n = n
        Counted.made += 1

    def _load(self):
        Counted.read += 1
        x = torch.linspace(0, 1, self.n)[:, None].expand(-1, 2)
        return divide(Split(x, x[:, :1], None, torch.arange(self.n)), 0.2, 0.2, 0)


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A finished run on :class:`Counted`."""
    root = tmp_path_factory.mktemp("counted")
    (root / "data").mkdir()
    spec = {"_target_": "tests.test_loading.Counted", "n": 100}
    (root / "data" / "counted.yaml").write_text(yaml.safe_dump(spec))
    line = ["--config-dir", root, "data=counted", "model=ae", "model.latent_dim=2", *SHORT]
    assert run(*line, f"hydra.run.dir={root / 'run'}") == 0
    return root / "run"


@pytest.fixture(scope="module", params=["ae", "vae"])
def table(request, tmp_path_factory):
    """A run on a CSV file, as it was while the file was there; now it is gone. And rows of another file."""
    root = tmp_path_factory.mktemp(f"table_{request.param}")
    draw = np.random.default_rng(0)
    homes = pd.DataFrame(
        {
            "area": draw.normal(90, 20, 200).round(2),
            "rooms": draw.integers(1, 6, 200),
            "heating": draw.choice(["gas", "oil", "wood"], 200),
            "price": draw.normal(300, 50, 200).round(2),
        }
    )
    homes.to_csv(root / "homes.csv", index=False)
    homes[::-1].head(20).to_csv(root / "few.csv", index=False)
    data = ["data=table", f"data.file={root / 'homes.csv'}", "data.factors=[price]"]
    path = root / "run"
    assert run(*data, f"model={request.param}", "model.latent_dim=2", *SHORT, f"hydra.run.dir={path}") == 0
    before = latentrun.load(path)
    before.data.split("train")
    (root / "homes.csv").unlink()
    return before, path, root / "few.csv"


def test_loading_makes_and_reads_nothing(counted):
    before = Counted.made, Counted.read
    loaded = latentrun.load(counted, ["tests"])
    loaded.decode(torch.zeros(3, 2)), loaded.sample_codes(3, Noise(0)), loaded.encode(torch.zeros(4, 2))
    assert (loaded.data.event_shape, loaded.data.factors) == ((2,), Counted.factors)
    assert (Counted.made, Counted.read) == before
    assert len(loaded.data.split("test").x) == 20 and loaded.data.n == 100
    assert (Counted.made, Counted.read) == (before[0] + 1, before[1] + 1)


def test_what_stands_in_for_a_prior_is_fitted_to_the_stored_codes(counted):
    loaded = latentrun.load(counted, ["tests"])
    z = loaded.latents("train").codes.double()
    assert torch.allclose(loaded.stand_in.loc, z.mean(0).float(), atol=1e-6)
    assert torch.allclose(loaded.stand_in.covariance_matrix, torch.cov(z.T).float(), atol=1e-6)


def test_a_table_whose_file_is_gone(table, tmp_path):
    before, path, few = table
    after, z = latentrun.load(path), torch.randn(5, 2)
    assert torch.equal(after.decode(z), before.decode(z))
    assert after.data.frame(after.decode(z)).equals(before.data.source.frame(before.decode(z)))
    assert run("task=sample", f"run={path}", "n=50", f"hydra.run.dir={tmp_path / 'samples'}") == 0
    samples = pd.read_csv(tmp_path / "samples" / "samples.csv")
    assert list(samples) == ["area", "rooms", "heating"] and len(samples) == 50
    assert set(samples["heating"]) <= {"gas", "oil", "wood"}
    line = ["task=encode", f"run={path}", "data=table", f"data.file={few}"]
    assert run(*line, f"hydra.run.dir={tmp_path / 'codes'}") == 0
    codes = pd.read_csv(tmp_path / "codes" / "codes.csv")
    train = before.latents("train")
    row = {int(index): code for index, code in zip(train.index, train.codes, strict=True)}
    known = [(199 - place, place) for place in range(20) if 199 - place in row]
    assert len(known) > 5 and "price" in codes
    for index, place in known:
        assert np.allclose(codes.loc[place, ["z0", "z1"]].astype(float), row[index], atol=1e-5)


def test_rows_of_a_file_that_is_gone_are_refused(table, tmp_path, capsys):
    _, path, _ = table
    with pytest.raises(InputError, match=r"homes\.csv"):
        latentrun.load(path).data.split("train")
    capsys.readouterr()
    assert run("task=encode", f"run={path}", f"hydra.run.dir={tmp_path / 'codes'}") == 2
    error = capsys.readouterr().err
    assert "homes.csv" in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_pictures_whose_file_is_gone(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (120, 6, 5), dtype=np.uint8)
    np.savez(tmp_path / "all.npz", x=pictures, labels=np.arange(120) % 3)
    np.savez(tmp_path / "few.npz", x=pictures[:30])
    path = tmp_path / "run"
    line = ["data=images", f"data.path={tmp_path / 'all.npz'}", "model=ae", "model.latent_dim=2", *SHORT]
    assert run(*line, f"hydra.run.dir={path}") == 0
    before, z = latentrun.load(path), torch.randn(5, 2)
    kept = before.latents("train")
    (tmp_path / "all.npz").unlink()
    after = latentrun.load(path)
    assert torch.equal(after.decode(z), before.decode(z)) and after.data.is_image
    assert after.data.label == "labels" and after.data.factors == before.data.source.factors
    assert run("task=sample", f"run={path}", "n=9", "files=true", f"hydra.run.dir={tmp_path / 's'}") == 0
    assert len(list((tmp_path / "s" / "pictures").iterdir())) == 9
    line = ["task=encode", f"run={path}", "data=images", f"data.path={tmp_path / 'few.npz'}"]
    assert run(*line, f"hydra.run.dir={tmp_path / 'c'}") == 0
    codes = arrays(tmp_path / "c" / "codes.npz")["codes"]
    at = kept.index < 30
    assert at.any() and np.allclose(codes[kept.index[at]], kept.codes[at], atol=1e-5)


# ---------------------------------------------------------------- the description
@pytest.mark.parametrize("option", ["heatmaps", "heatmaps_t", "digits"])
def test_a_description_survives_its_file(option):
    from latentrun.config.build import build

    description = build(parts.spec("data", option), Dataset, "data").describe()
    read = Description.read(json.loads(json.dumps(description.plain())), "data")
    assert read == description and read.kind and read.event_shape


def test_an_oracle_stays_one(tmp_path):
    line = ["data=heatmaps", "data.sampling=random", "data.n=200", "data.size=8", "model=ae"]
    assert run(*line, *SHORT, f"hydra.run.dir={tmp_path / 'run'}") == 0
    data = latentrun.load(tmp_path / "run").data
    assert isinstance(data, Oracle) and (data.intrinsic_dim, data.betti) == (3, (1, 0, 0, 0))
    factors = torch.tensor([[0.2, 1.0, 2.0]], dtype=torch.float64)
    assert torch.allclose(data.project(data.render(factors)).factors, factors, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "data: must be a mapping"),
        ({"event_shape": "wide"}, "data.event_shape: must be a list"),
        ({"factors": [{"name": "x"}]}, "data.factors[0]: kind is missing"),
        ({"colour": "red"}, "unknown key of .*: data 'colour'"),
    ],
)
def test_a_description_that_is_none_is_refused(counted, tmp_path, change, said):
    meta = json.loads((counted / "meta.json").read_text())
    with pytest.raises(InputError, match=said.replace("[", r"\[")):
        Description.read(None if change is None else meta["data"] | change, "meta.json: data")


def test_a_data_set_that_is_another_now_is_refused(counted, monkeypatch):
    monkeypatch.setattr(Counted, "factors", (Factor("height", "real", 0.0, 1.0),))
    with pytest.raises(InputError, match=r"\['height'\] now; the run was trained with \['place'\]"):
        latentrun.load(counted, ["tests"]).data.split("train")


# ---------------------------------------------------------------- other schemas
@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (
            1,
            "latentrun 0.1 (schema 1; this one, {}, reads schema 3): read it with latentrun 0.1",
        ),
        (4, "a newer latentrun (schema 4; this one, {}, reads schema 3)"),
    ],
)
def test_another_schema_is_refused_by_name(counted, tmp_path, schema, said):
    meta = json.loads((counted / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps(meta | {"schema": schema}))
    with pytest.raises(InputError) as error:
        latentrun.load(tmp_path)
    assert str(error.value) == f"{str(tmp_path)!r} was written by {said.format(latentrun.__version__)}"
