"""Codes of data and samples with a trained model: known answers, nothing overwritten, nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from torch import nn
from torch.distributions import Independent, Normal

import latentrun
from latentrun.data.base import Dataset, divide
from latentrun.manifolds import Euclidean
from latentrun.models.base import (
    HasEncoder,
    HasGaussianPosterior,
    HasLikelihood,
    HasPrior,
    Model,
    PosteriorTraining,
)
from latentrun.system.door import Guarded
from latentrun.tasks import encode, sample
from latentrun.types import Factor, Objective, Phase, Split
from tests.lines import arrays, run

GAMMA = 0.3


class Line(Dataset):
    """x = (k, -k, ...) / 10 for rows k of a known height and colour."""

    value_range = (-10.0, 10.0)
    factors = (
        Factor("height", "real", 0, 100, "cm"),
        Factor("colour", "categorical", 0, 2, categories=("red", "green", "blue")),
    )
    label = "colour"

    def __init__(self, n: int, width: int):
        self.n, self.event_shape = n, (width,)

    def _load(self):
        k = torch.arange(self.n)
        x = k[:, None] / 10 * torch.tensor([1.0, -1.0, 1.0])[: self.event_shape[0]]
        return divide(Split(x, torch.stack([k / 2, k % 3], 1), k % 3, k), 0.2, 0.2, 0)


class Doubling(Model):
    """decode(z) = 2 z + 1."""

    def __init__(self, event_shape):
        super().__init__(event_shape, {"z": Euclidean(event_shape[0])})
        self.weight = nn.Parameter(torch.tensor(2.0))

    def decode(self, z, space="z"):
        return self.weight * z + 1

    def phases(self):
        return (
            Phase(
                "nothing",
                (Objective("nothing", [self.weight], lambda b, n, c: {"loss": 0 * self.weight}),),
                epochs=0,
            ),
        )


class Same(Doubling, HasGaussianPosterior, HasPrior, HasLikelihood):
    """q(z|x) = N(x, 1/4), p(z) = N(0, 1), p(x|z) = N(2 z + 1, GAMMA²)."""

    posterior_training = PosteriorTraining(True, "full", 1.0)

    def encode(self, x, space="z"):
        return x.clone()

    def posterior(self, x):
        return Independent(Normal(x, 0.5), 1)

    def prior(self):
        return Independent(Normal(torch.zeros(self.latent_dim), 1.0), 1)

    def sample_prior(self, n, noise):
        return noise.normal("prior", (n, self.latent_dim))

    def likelihood(self, z):
        return Independent(Normal(self.decode(z), GAMMA), 1)


class Sure(Doubling, HasEncoder):
    """A deterministic code, no prior."""

    def encode(self, x, space="z"):
        return x / 2


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A folder with the data set and the models above as options."""
    folder = tmp_path_factory.mktemp("options")
    specs = {"data/line": {"_target_": "tests.test_use.Line", "n": 60, "width": 2}}
    specs |= {
        f"model/{cls.__name__.lower()}": {"_target_": f"tests.test_use.{cls.__name__}"}
        for cls in (Same, Sure, Doubling)
    }
    for name, spec in specs.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(spec))
    return folder


@pytest.fixture(scope="module")
def runs(options, tmp_path_factory):
    """Finished runs by name."""
    root = tmp_path_factory.mktemp("runs")
    for model in ("same", "sure", "doubling"):
        assert (
            run(
                "--config-dir",
                options,
                f"model={model}",
                "data=line",
                "diagnostic=[]",
                "figures=[]",
                f"hydra.run.dir={root / model}",
            )
            == 0
        )
    tiny = [
        "network=dense",
        "network.widths=[16]",
        "training.epochs=2",
        "diagnostic=[]",
        "figures=[]",
        "rows=64",
    ]
    assert run(*tiny, "data=digits", f"hydra.run.dir={root / 'digits'}") == 0
    rng = np.random.default_rng(0)
    homes = pd.DataFrame(
        {
            "price": rng.normal(3e5, 5e4, 80),
            "rooms": rng.integers(1, 6, 80),
            "heating": rng.choice(["gas", "oil"], 80),
        }
    )
    homes.to_csv(root / "homes.csv", index=False)
    assert run(*tiny, "data=table", f"data.file={root / 'homes.csv'}", f"hydra.run.dir={root / 'homes'}") == 0
    return root


@pytest.fixture
def called(options, runs, tmp_path):
    """Run a task on a run by its name; the directory it wrote into."""

    def call(task: str, name: str, *arguments) -> Path:
        path = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        line = [
            "--config-dir",
            options,
            f"task={task}",
            f"run={runs / name}",
            "trust=[tests]",
            f"hydra.run.dir={path}",
            *arguments,
        ]
        assert run(*line) == 0
        return path

    return call


# ---------------------------------------------------------------- codes
def test_codes_of_the_runs_own_rows(called, runs):
    path = called("encode", "same")
    assert {entry.name for entry in path.iterdir()} == {"codes.npz", "codes.csv", "codes.json"}
    found = arrays(path / "codes.npz")
    k = found["index"]
    assert sorted(k) == list(range(60)) and set(found) == {
        "codes",
        "posterior_mean",
        "posterior_scale",
        "y",
        "labels",
        "index",
        "split",
        "factors",
    }
    assert np.allclose(found["codes"], np.stack([k, -k], 1) / 10) and (found["posterior_scale"] == 0.5).all()
    assert (found["labels"] == k % 3).all() and np.allclose(found["y"], np.stack([k / 2, k % 3], 1))
    assert list(found["factors"]) == ["height", "colour"]
    data = latentrun.load(runs / "same", trust=["tests"]).data
    for name in ("train", "val", "test"):
        assert (k[found["split"] == name] == data.split(name).index.numpy()).all()


def test_the_table_of_codes_names_units_categories_and_splits(called):
    path = called("encode", "same")
    table, found = pd.read_csv(path / "codes.csv"), arrays(path / "codes.npz")
    assert list(table) == ["index", "split", "height", "colour", "z0", "z1", "sigma0", "sigma1"]
    assert (table["colour"] == np.array(["red", "green", "blue"])[table["index"] % 3]).all()
    assert np.allclose(table["height"], table["index"] / 2) and (table["split"] == found["split"]).all()
    assert (table[["z0", "z1"]].to_numpy(np.float32) == found["codes"]).all() and (
        table["sigma1"] == 0.5
    ).all()


def test_a_factor_does_not_hide_another_column():
    arrays = {"index": np.array([7]), "codes": np.array([[1.0]]), "y": np.array([[2.0, 3.0]])}
    found = encode.table(arrays, (Factor("index", "real", 0, 1), Factor("z0", "real", 0, 1)))
    assert found.to_dict("records") == [{"index": 7, "y_index": 2.0, "y_z0": 3.0, "z0": 1.0}]


@pytest.mark.parametrize("n", [60, 7, 1])
def test_codes_of_other_data_come_in_the_order_of_their_rows(called, n):
    path = called("encode", "same", "data=line", f"data.n={n}")
    table = pd.read_csv(path / "codes.csv")
    assert (
        list(table["index"]) == list(range(n))
        and "split" not in table
        and np.allclose(table["z0"], np.arange(n) / 10)
    )
    assert "split" not in arrays(path / "codes.npz")
    about = json.loads((path / "codes.json").read_text())
    assert (
        about["data"]["n"] == n
        and about["rows"] == n
        and about["run"].endswith("/same")
        and len(about["fit_hash"]) == 16
    )


def test_a_deterministic_code_has_no_scale(called):
    found = arrays(called("encode", "sure", "format=[npz]") / "codes.npz")
    assert "posterior_scale" not in found and np.allclose(found["codes"][:, 0], found["index"] / 20)
    path = called("encode", "sure", "format=[csv]")
    assert {entry.name for entry in path.iterdir()} == {"codes.csv", "codes.json"}
    assert list(pd.read_csv(path / "codes.csv")) == ["index", "split", "height", "colour", "z0", "z1"]


def test_codes_are_those_that_training_stored(called, runs):
    found = arrays(called("encode", "digits") / "codes.npz")
    for split in ("train", "test"):
        stored, here = arrays(runs / "digits" / "arrays" / f"latents_{split}.npz"), found["split"] == split
        for name in ("codes", "posterior_scale", "y", "labels", "index"):
            assert np.allclose(found[name][here], stored[name], atol=1e-5), name
    assert (found["split"] == "val").sum() == 64


def test_other_rows_of_a_table_are_encoded_as_the_training_rows(called, runs, tmp_path):
    pd.read_csv(runs / "homes.csv").iloc[[5, 3]].to_csv(tmp_path / "few.csv", index=False)
    few = pd.read_csv(
        called("encode", "homes", "data=table", f"data.file={tmp_path / 'few.csv'}") / "codes.csv"
    )
    stored = {n: arrays(runs / "homes" / "arrays" / f"latents_{n}.npz") for n in ("train", "test")}
    codes = {
        int(i): mean for part in stored.values() for i, mean in zip(part["index"], part["codes"], strict=True)
    }
    known = [(place, row) for place, row in enumerate((5, 3)) if row in codes]
    assert known
    for place, row in known:
        assert np.allclose(few.loc[place, ["z0", "z1", "z2"]].astype(float), codes[row], atol=1e-5)


def test_data_that_have_changed_are_noted(runs, tmp_path, capsys):
    text = (runs / "homes.csv").read_text()
    line = ["task=encode", f"run={runs / 'homes'}", "format=[npz]"]
    assert (
        run(*line, f"hydra.run.dir={tmp_path / 'a'}") == 0
        and "not those it was trained on" not in capsys.readouterr().out
    )
    try:
        (runs / "homes.csv").write_text(text.replace("gas", "oil", 1))
        assert run(*line, f"hydra.run.dir={tmp_path / 'b'}") == 0
    finally:
        (runs / "homes.csv").write_text(text)
    assert "note: the run's data are not those it was trained on" in capsys.readouterr().out


# ---------------------------------------------------------------- samples
def test_samples_are_decoded_codes_of_the_prior(called):
    path = called("sample", "same", "n=5000")
    found = arrays(path / "samples.npz")
    assert found["z"].shape == found["x"].shape == (5000, 2) and found["x"].dtype == np.float32
    assert np.allclose(found["x"], 2 * found["z"] + 1, atol=1e-6)
    assert np.allclose(found["z"].mean(0), 0, atol=4 / 5000**0.5) and np.allclose(
        found["z"].var(0), 1, atol=0.08
    )
    about = json.loads((path / "samples.json").read_text())
    assert (
        about["notes"] == ["codes drawn from the model's prior"]
        and about["n"] == 5000
        and about["draw"] == "mean"
    )
    assert {entry.name for entry in path.iterdir()} == {"samples.npz", "samples.json"}


def test_draws_from_the_likelihood_have_its_variance(called):
    found = arrays(called("sample", "same", "n=5000", "draw=likelihood") / "samples.npz")
    noise = found["x"] - (2 * found["z"] + 1)
    assert np.allclose(noise.var(0), GAMMA**2, rtol=0.08) and np.allclose(
        noise.mean(0), 0, atol=4 * GAMMA / 5000**0.5
    )
    first, second = noise[: sample.CHUNK], noise[sample.CHUNK : 2 * sample.CHUNK]
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.15  # every part has noise of its own


@pytest.mark.parametrize("draw", ["mean", "likelihood"])
def test_the_seed_fixes_the_samples(called, draw):
    line = ["sample", "same", "n=1500", f"draw={draw}"]
    torch.manual_seed(1)
    first = arrays(called(*line) / "samples.npz")["x"]
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert (arrays(called(*line) / "samples.npz")["x"] == first).all()
    assert not np.isclose(arrays(called(*line, "sample_seed=1") / "samples.npz")["x"], first).any(1).all()
    torch.manual_seed(1)
    assert torch.equal(
        torch.get_rng_state(), state
    )  # drawing from the likelihood leaves torch's own generator alone


def test_without_a_prior_a_gaussian_stands_in(called):
    path = called("sample", "sure", "n=5000")
    assert (
        "Gaussian fitted to its training codes" in json.loads((path / "samples.json").read_text())["notes"][0]
    )
    z = arrays(path / "samples.npz")["z"]
    assert abs(np.corrcoef(z.T)[0, 1] + 1) < 1e-3 and np.allclose(
        z.mean(0), [1.45, -1.45], atol=0.2
    )  # x lie on a line


def test_samples_are_decoded_in_parts(called, monkeypatch):
    whole = arrays(called("sample", "same", "n=95") / "samples.npz")
    seen = []
    monkeypatch.setattr(sample, "CHUNK", 10)
    monkeypatch.setattr(sample, "decoded", lambda run, z, *rest: seen.append(len(z)) or run.decode(z))
    parts = arrays(called("sample", "same", "n=95") / "samples.npz")
    assert seen == [10] * 9 + [5]
    assert all((whole[name] == parts[name]).all() for name in ("x", "z"))


def test_pictures_as_files_and_as_a_grid(called):
    path = called("sample", "digits", "n=7", "files=true")
    x = arrays(path / "samples.npz")["x"]
    assert sorted(entry.name for entry in (path / "pictures").iterdir()) == [f"{i:05}.png" for i in range(7)]
    for i in range(7):
        assert (
            np.array(Image.open(path / "pictures" / f"{i:05}.png")) == np.round(255 * x[i, 0].clip(0, 1))
        ).all()
    grid = np.array(Image.open(path / "samples.png").convert("RGB")).astype(float)
    assert grid.shape[1] == 800 and grid.std() > 10


def test_numbered_from_the_first_and_in_colour(tmp_path):
    x = np.zeros((2, 3, 2, 2), np.float32)
    x[1, 0], x[1, 1], x[1, 2] = 1, 0, -1
    sample.write_pictures(Guarded(tmp_path) / "p", x, (-1.0, 1.0), 100_000)
    assert sorted(entry.name for entry in (tmp_path / "p").iterdir()) == ["100000.png", "100001.png"]
    assert (np.array(Image.open(tmp_path / "p" / "100001.png")) == [255, 128, 0]).all()


@pytest.mark.parametrize("draw", ["mean", "likelihood"])
def test_samples_of_a_table_are_in_the_units_of_the_file(called, runs, draw):
    path = called("sample", "homes", "n=1500", f"draw={draw}")
    table, x = pd.read_csv(path / "samples.csv"), arrays(path / "samples.npz")["x"]
    assert list(table) == ["price", "rooms", "heating"] and len(table) == 1500
    assert (
        1e5 < table["price"].mean() < 5e5
        and set(table["rooms"]) <= set(range(1, 6))
        and set(table["heating"]) <= {"gas", "oil"}
    )
    data = latentrun.load(runs / "homes").data
    pd.testing.assert_frame_equal(table, data.frame(torch.from_numpy(x)), check_dtype=False, rtol=1e-5)


# ---------------------------------------------------------------- the directory
def test_directories_are_named_by_day_and_time(runs, options, tmp_path):
    for task in ("encode", "sample"):
        line = [
            "--config-dir",
            options,
            f"task={task}",
            f"run={runs / 'same'}",
            "trust=[tests]",
            f"output={tmp_path}",
        ]
        assert run(*line) == 0 and run(*line) == 0
    found = sorted(path.name.partition("_")[2] for path in tmp_path.glob("????-??-??/??-??-??-??????_*"))
    assert found == ["encode", "encode", "sample", "sample"]


@pytest.mark.parametrize("task", ["encode", "sample"])
def test_nothing_is_overwritten(called, runs, options, capsys, task):
    path = called(task, "same")
    before = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    capsys.readouterr()
    line = ["--config-dir", options, f"task={task}", f"run={runs / 'same'}", "trust=[tests]"]
    assert (
        run(*line, f"hydra.run.dir={path}") == 2
        and "is not empty; nothing is overwritten" in capsys.readouterr().err
    )
    assert (
        run(*line, f"hydra.run.dir={path / next(iter(before))}") == 2
        and "cannot be made" in capsys.readouterr().err
    )
    assert {entry.name: entry.read_bytes() for entry in path.iterdir()} == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("task", ["encode", "sample"])
def test_a_failure_leaves_nothing_behind(runs, options, tmp_path, monkeypatch, capsys, task):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"latentrun.tasks.{task}.describe", fail)
    line = [
        "--config-dir",
        options,
        f"task={task}",
        f"run={runs / 'same'}",
        "trust=[tests]",
        f"hydra.run.dir={tmp_path / 'out'}",
    ]
    assert run(*line) != 0 and "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_run_itself_is_only_read(called, runs):
    before = {path: path.stat().st_mtime_ns for path in (runs / "same").rglob("*")}
    called("encode", "same")
    called("sample", "same")
    assert {path: path.stat().st_mtime_ns for path in (runs / "same").rglob("*")} == before


def test_a_sweep_over_runs_and_seeds(runs, options, tmp_path):
    line = [
        "--config-dir",
        options,
        "-m",
        "task=sample",
        f"run={runs / 'same'},{runs / 'sure'}",
        "sample_seed=0,1",
        "trust=[tests]",
    ]
    assert run(*line, f"hydra.sweep.dir={tmp_path}") == 0
    found = [arrays(path)["z"] for path in sorted(tmp_path.glob("*/samples.npz"))]
    assert len(found) == 4 and len({z.tobytes() for z in found}) == 4


# ---------------------------------------------------------------- wrong input
WRONG = [
    ("task=encode", "run: a value is needed: run=..."),
    ("task=sample", "run: a value is needed: run=..."),
    ("task=encode run=nowhere", "'nowhere' is not a run of latentrun: there is no such directory"),
    ("task=sample run=.", "'.' is not a run of latentrun: it holds no meta.json"),
    ("task=sample run={same} n=0", "n: must be at least 1, got 0"),
    ("task=sample run={same} n=-3", "n: must be at least 1, got -3"),
    ("task=sample run={same} n=abc", "n: must be a whole number, got 'abc'"),
    ("task=sample run={same} n=1.5", "n: must be a whole number, got 1.5"),
    ("task=sample run={same} n=null", "n: must be a whole number, got null"),
    ("task=sample run={same} n=1,2", "several values need a sweep"),
    ("task=sample run={same} n=1000000000000000", "n: must be at most 10,000,000, got 1000000000000000"),
    ("task=sample run={same} sample_seed=-1", "sample_seed: must be at least 0, got -1"),
    (
        "task=sample run={same} draw=likelyhood",
        "draw: 'likelyhood' is not allowed (did you mean 'likelihood'?); allowed: mean, likelihood",
    ),
    ("task=sample run={same} files=maybe", "files: must be true or false, got 'maybe'"),
    ("task=sample run={same} files=true", "are no pictures"),
    ("task=sample run={sure} draw=likelihood", "draw: likelihood needs p(x|z), which the model of"),
    (
        "task=sample run={same} seed=1",
        "seed: the run is used with its own settings; beside run=DIR: output, device, threads, trust, n",
    ),
    ("task=sample run={same} data=digits", "data: the run is used with its own settings"),
    ("task=sample run={same} model.weight=3", "unknown key of model 'weight'"),
    (
        "task=encode run={same} model=ae",
        "model: the run is used with its own settings; beside run=DIR: output, device, threads",
    ),
    ("task=encode run={same} training.epochs=3", "training.epochs: the run is used with its own settings"),
    ("task=encode run={same} rows=5", "rows: the run is used with its own settings"),
    ("task=encode run={same} n=5", "'n=5': n belongs to task=sample"),
    ("task=encode run={same} format=[npz,xls]", "format[1]: 'xls' is not allowed; allowed: npz, csv"),
    ("task=encode run={same} format=npz", "format: must be a list, got 'npz'"),
    ("task=encode run={same} format=[]", "format: must name at least one of npz, csv"),
    (
        "task=encode run={same} data=digits",
        "data: examples have shape (1, 8, 8); the model was trained on (2,)",
    ),
    (
        "task=encode run={same} data=line data.width=3",
        "data: examples have shape (3,); the model was trained on (2,)",
    ),
    ("task=encode run={same} data=line data.n=abc", "data.n: must be a whole number, got 'abc'"),
    ("task=encode run={same} data=lime", "unknown data 'lime' (did you mean 'line'?)"),
    ("task=encode run={same} data.size=12", "data: name the data set too: data=..."),
    ("task=encode run={same} data=mnist data.root=nowhere", "data.root: 'nowhere' is not a folder"),
    ("task=encode run={homes} data=table data.file=nowhere.csv", "there is no file 'nowhere.csv'"),
    ("task=encode run={homes} data=digits", "data: examples have shape (1, 8, 8)"),
    ("task=encode run={same} device=cuda:99", "device: 'cuda:99' is not on this machine"),
    ("task=encode run={doubling}", "task=encode needs an encoder; the model of"),
    ("task=encode run={same} output=/dev/null/x", "cannot be made"),
    ("task=encode run={unfinished}", "its training is not finished (state 'interrupted')"),
    ("task=sample run={unfinished}", "goes on with it"),
    ("task=encode run={codes}", "is not a run of latentrun: it holds no meta.json"),
]


@pytest.fixture(scope="module")
def places(runs, options, tmp_path_factory):
    """The runs above, one that was interrupted, and a directory of codes, by name."""
    import shutil

    unfinished = tmp_path_factory.mktemp("more") / "unfinished"
    shutil.copytree(runs / "same", unfinished)
    meta = json.loads((unfinished / "meta.json").read_text())
    del meta["trained"]
    (unfinished / "meta.json").write_text(json.dumps(meta))
    (unfinished / "status.json").write_text(json.dumps({"state": "interrupted"}))
    codes = unfinished.parent / "codes"
    assert (
        run(
            "--config-dir",
            options,
            "task=encode",
            f"run={runs / 'same'}",
            "trust=[tests]",
            f"hydra.run.dir={codes}",
        )
        == 0
    )
    return {path.name: path for path in runs.iterdir()} | {"unfinished": unfinished, "codes": codes}


@pytest.mark.parametrize("line, message", WRONG, ids=[line for line, _ in WRONG])
def test_wrong_input_gets_one_line_and_leaves_nothing(
    line, message, places, options, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    code = run("--config-dir", options, "trust=[tests]", *line.format(**places).split())
    shown = capsys.readouterr()
    assert code == 2 and shown.out == ""
    assert shown.err.startswith("latentrun: ") and shown.err.count("\n") == 1 and message in shown.err
    assert list(tmp_path.iterdir()) == []


def test_samples_for_which_there_is_no_room_are_not_drawn(runs, options, tmp_path, capsys, monkeypatch):
    full = SimpleNamespace(free=2**20)
    monkeypatch.setattr("latentrun.system.disk.shutil.disk_usage", lambda path: full)
    line = ["trust=[tests]", "task=sample", f"run={runs / 'same'}", "n=1000000"]
    assert run("--config-dir", options, *line, f"hydra.run.dir={tmp_path / 'out'}") == 2
    assert "1 MiB are free, the run needs about" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_runs_own_code_needs_trust(runs, options, tmp_path, capsys):
    assert (
        run(
            "--config-dir",
            options,
            "task=sample",
            f"run={runs / 'same'}",
            f"hydra.run.dir={tmp_path / 'out'}",
        )
        == 2
    )
    assert "package 'tests', which is not trusted" in capsys.readouterr().err
