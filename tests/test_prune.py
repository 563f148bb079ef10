"""Models without their inactive latent variables: the same function in a smaller network, or one line that
says why not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

import latentrun
from latentrun.comparisons.base import groups
from latentrun.config.fingerprint import fit_hash
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasGaussianPosterior, HasGenerator, HasPrior, Model, PosteriorTraining
from latentrun.store import RunDirectory, twin
from latentrun.tasks import prune, slicing
from latentrun.types import Objective, Phase, Report
from tests.conformance.parts import SMALL
from tests.lines import arrays, run

D, USED = 6, (0, 2, 5)
OFF = [i for i in range(D) if i not in USED]


def train(path, *arguments):
    line = [
        "data=digits",
        "rows=64",
        "training.epochs=1",
        "diagnostic=[]",
        "figures=[]",
        f"model.latent_dim={D}",
        f"hydra.run.dir={path}",
    ]
    assert run(*line, *arguments) == 0
    return path


def weights(path) -> dict:
    return torch.load(path / "checkpoints" / "best.pt", weights_only=True)


@torch.no_grad()
def plant(path):
    """Change the weights of a run so that encoder and decoder use the variables USED, and only those."""
    model = latentrun.load(path).model
    last = [layer for layer in model.encoder.modules() if isinstance(layer, nn.Linear)][-1]
    cell = getattr(model.decoder, "cell", None)
    first = (
        cell.gates
        if cell
        else next(layer for layer in model.decoder.modules() if isinstance(layer, nn.Linear))
    )
    gaussian = isinstance(model, HasGaussianPosterior)
    for i in range(D):
        used = i in USED
        for place, bias in ((i, 0.0), (D + i, -2.0 if used else 0.0)) if gaussian else ((i, 0.0),):
            last.bias[place] = bias
            last.weight[place] *= (20.0 if place < D else 0.1) if used else 0.0
        first.weight[:, i] *= 20.0 if used else 0.0
    torch.save(weights(path) | {"model": model.state_dict()}, path / "checkpoints" / "best.pt")
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Planted VAEs by the name of their network; ``ae`` is an autoencoder."""
    root = tmp_path_factory.mktemp("runs")
    for network, settings in SMALL.items():
        plant(
            train(
                root / network,
                f"network={network}",
                *(f"network.{key}={value}" for key, value in settings.items()),
            )
        )
    plant(train(root / "ae", "model=ae", "network=dense", "network.widths=[16]"))
    return root


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A planted run measured by three diagnostics, and its pruned model."""
    root = tmp_path_factory.mktemp("measured")
    plant(
        train(
            root / "whole",
            "network=dense",
            "network.widths=[16]",
            "diagnostic=[sparsity,reconstruction,stationarity]",
        )
    )
    assert (
        run(
            "task=diagnose",
            f"run={root / 'whole'}",
            "diagnostic=[sparsity,reconstruction,stationarity]",
            "figures=[]",
            "force=true",
        )
        == 0
    )
    assert run("task=prune", f"run={root / 'whole'}", f"hydra.run.dir={root / 'small'}") == 0
    return root


def same(found, expected) -> bool:
    return torch.allclose(found, expected, rtol=0, atol=1e-6 * expected.abs().max().item())


# ---------------------------------------------------------------- the same function
@pytest.mark.parametrize("network", SMALL)
def test_the_pruned_model_is_the_same_function_of_fewer_variables(network, runs, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in (runs / network).rglob("*")}
    assert run("task=prune", f"run={runs / network}", f"hydra.run.dir={tmp_path / 'small'}") == 0
    assert {path: path.stat().st_mtime_ns for path in (runs / network).rglob("*")} == before
    whole, small = latentrun.load(runs / network), latentrun.load(tmp_path / "small")
    assert (
        small.meta["pruned_from"]["kept"] == list(USED)
        and small.model.latent_dim == small.config["model"]["latent_dim"] == 3
    )
    x = whole.x("test")
    for old, new in zip(whole.posterior(x), small.posterior(x), strict=True):
        assert old.std() > 0 and same(new, old[:, USED])
    z = torch.randn(40, D, generator=torch.Generator().manual_seed(0))
    z[:, OFF] = 0.0
    assert whole.decode(z).std(0).max() > 0.01 and same(small.decode(z[:, USED]), whole.decode(z))
    assert same(
        small.reconstructions("test"), whole.reconstructions("test")
    )  # the decoder ignores the others
    sizes = [sum(p.numel() for p in each.model.parameters()) for each in (whole, small)]
    assert sizes[1] < sizes[0]


def test_named_variables_are_kept_in_their_order_whatever_they_do(runs, tmp_path, capsys):
    assert (
        run("task=prune", f"run={runs / 'dense'}", "keep=[4,0]", f"hydra.run.dir={tmp_path / 'small'}") == 0
    )
    assert (
        "2 of 6 latent variables, those named by keep=; numbered anew, 0 to 1 are 0, 4 there"
        in capsys.readouterr().out
    )
    whole, small = latentrun.load(runs / "dense"), latentrun.load(tmp_path / "small")
    z = whole.latents("test").codes
    assert same(small.latents("test").codes, z[:, [0, 4]])
    assert same(small.reconstructions("test"), whole.decode(z * torch.tensor([1.0, 0, 0, 0, 1, 0])))
    assert not same(small.reconstructions("test"), whole.reconstructions("test"))


def test_an_autoencoder_loses_the_variables_that_are_not_named(runs, tmp_path):
    assert (
        run("task=prune", f"run={runs / 'ae'}", f"keep={list(USED)}", f"hydra.run.dir={tmp_path / 'small'}")
        == 0
    )
    whole, small = latentrun.load(runs / "ae"), latentrun.load(tmp_path / "small")
    assert (
        same(small.latents("test").codes, whole.latents("test").codes[:, USED])
        and small.latents("test").posterior == {}
    )
    assert same(small.reconstructions("test"), whole.reconstructions("test"))


def test_what_is_pruned_can_be_pruned_again(measured, tmp_path):
    assert (
        run(
            "task=prune",
            f"run={measured / 'small'}",
            "keep=[1]",
            "diagnostic=[]",
            f"hydra.run.dir={tmp_path / 'one'}",
        )
        == 0
    )
    one = latentrun.load(tmp_path / "one")
    assert same(one.latents("test").codes, latentrun.load(measured / "whole").latents("test").codes[:, [2]])
    assert [note.split(",")[0] for note in one.meta["caveats"][:2]] == [
        "Pruned from small",
        "Pruned from whole",
    ]


# ---------------------------------------------------------------- an ordinary run, and no trained one
def test_the_pruned_run_is_measured_as_its_source(measured, capsys):
    whole, small = RunDirectory(measured / "whole"), RunDirectory(measured / "small")
    assert list(small.reports) == ["sparsity", "reconstruction", "stationarity"] and small.finished
    a, b = (directory.read_report("reconstruction").metrics["error_mean"] for directory in (whole, small))
    assert b.value == pytest.approx(a.value, rel=1e-5)
    assert small.read_report("sparsity").metrics["inactive"].value == 0
    law = [directory.read_report("sparsity").tables["variables"] for directory in (whole, small)]
    assert np.allclose(law[1][["var_mean", "kl"]], law[0][["var_mean", "kl"]].iloc[list(USED)], rtol=1e-4)
    before = (measured / "small" / "report.html").stat().st_mtime_ns
    assert (
        run(f"resume={measured / 'small'}") == 0
        and "is finished: nothing to resume" in capsys.readouterr().out
    )
    assert (measured / "small" / "report.html").stat().st_mtime_ns == before


def test_page_and_meta_say_what_it_is(measured):
    small, page = RunDirectory(measured / "small"), (measured / "small" / "report.html").read_text()
    assert small.meta["caveats"][0] in page and "Not trained itself" in page and "fit hash" not in page
    source = small.meta["pruned_from"]
    assert (
        source["run"] == str((measured / "whole").resolve())
        and source["latent_dim"] == D
        and source["by"] == "sparsity"
    )
    assert source["settings"] == RunDirectory(measured / "whole").config["diagnostic"]["sparsity"]
    assert (
        "not trained since: 3 of 6 latent variables, without those that sparsity calls inactive"
        in small.meta["caveats"][0]
    )
    assert small.meta["trained"] == RunDirectory(measured / "whole").meta["trained"]
    assert not (measured / "small" / "tables" / "train.csv").exists()
    summary = json.loads((measured / "small" / "tables" / "summary.json").read_text())
    assert summary["task"] == "prune" and summary["epochs"] == 0 and summary["model.latent_dim"] == 3
    assert not list((measured / "small").rglob("*.part"))


def test_the_history_is_that_of_the_variables_kept(measured):
    old, new = (RunDirectory(measured / name).read_history() for name in ("whole", "small"))
    for name in ("epoch_mean", "epoch_scale", "epoch_kl", "step_mean", "step_scale"):
        assert np.array_equal(getattr(new, name), getattr(old, name)[..., list(USED)]), name
    assert np.array_equal(new.index, old.index) and np.array_equal(new.epochs, old.epochs)


def test_nobody_takes_it_for_a_model_trained_with_three_variables(measured, tmp_path, capsys):
    root = tmp_path / "outputs"
    shutil.copytree(measured / "small", root / "day" / "small")
    directory = RunDirectory(root / "day" / "small")
    assert "fit_hash" not in directory.meta
    identity = {"fit_hash": fit_hash(directory.config), "data_hash": directory.meta["data_hash"]}
    assert twin(root, identity) is None
    shutil.copytree(measured / "whole", root / "day" / "whole")  # whose hash stands in the meta.json of both
    assert (
        twin(root, identity | {"fit_hash": RunDirectory(measured / "whole").meta["fit_hash"]})
        == root / "day" / "whole"
    )
    train(
        root / "day" / "fresh",
        "network=dense",
        "network.widths=[16]",
        "model.latent_dim=3",
        f"output={root}",
        "reuse=true",
    )
    assert "its training is that of" not in capsys.readouterr().out
    # Nor are the two repetitions of one another.
    found = groups([latentrun.load(root / "day" / name) for name in ("fresh", "small")])
    assert [group.name for group in found] == ["task=train", "task=prune"]


def test_what_is_left_to_measure_is_measured_on_resume_and_nothing_is_trained(measured, tmp_path):
    shutil.copytree(measured / "small", tmp_path / "small")
    directory = RunDirectory(tmp_path / "small")
    known = directory.entries
    del known["stationarity"]
    directory.amend_meta(diagnostics=known)
    (tmp_path / "small" / "status.json").write_text(json.dumps({"state": "interrupted"}))
    codes = tmp_path / "small" / "arrays" / "latents_test.npz"
    codes.unlink()  # as if it was killed before they were there
    assert not directory.finished
    assert run(f"resume={tmp_path / 'small'}") == 0
    assert directory.finished and "stationarity" in directory.reports and codes.is_file()
    assert list((tmp_path / "small" / "checkpoints").iterdir()) == [
        tmp_path / "small" / "checkpoints" / "best.pt"
    ]
    assert all(
        torch.equal(a, b)
        for a, b in zip(*(weights(p / "small")["model"].values() for p in (measured, tmp_path)), strict=True)
    )


def test_other_tasks_take_it_as_any_run(measured, tmp_path):
    small = f"run={measured / 'small'}"
    assert (
        run(
            "task=compare",
            f"runs=[{measured / 'whole'},{measured / 'small'}]",
            "figures=[]",
            f"hydra.run.dir={tmp_path / 'cmp'}",
        )
        == 0
    )
    differences = pd.read_csv(tmp_path / "cmp" / "tables" / "metrics.differences.csv").set_index("metric")[
        "difference"
    ]
    assert abs(differences["reconstruction/error_mean"]) < 1e-5
    assert run("task=encode", small, "format=[npz]", f"hydra.run.dir={tmp_path / 'codes'}") == 0
    assert arrays(tmp_path / "codes" / "codes.npz")["codes"].shape[1] == 3
    assert run("task=sample", small, "n=5", f"hydra.run.dir={tmp_path / 'samples'}") == 0
    assert arrays(tmp_path / "samples" / "samples.npz")["z"].shape == (5, 3)
    shutil.copytree(measured / "small", tmp_path / "small")
    line = ["task=diagnose", f"run={tmp_path / 'small'}", "diagnostic=[variance_loss]", "figures=[]"]
    assert run(*line) == 0
    assert "variance_loss" in RunDirectory(tmp_path / "small").reports


def test_the_runs_own_report_counts_and_is_not_measured_again(measured, tmp_path, monkeypatch):
    monkeypatch.setattr(prune, "measured_now", None)
    shutil.copytree(measured / "whole", tmp_path / "whole")
    directory = RunDirectory(tmp_path / "whole")
    directory.write_arrays("sparsity", directory.read_arrays("sparsity") | {"kept": np.array([1, 2])})
    assert (
        run("task=prune", f"run={tmp_path / 'whole'}", "diagnostic=[]", f"hydra.run.dir={tmp_path / 'small'}")
        == 0
    )
    assert RunDirectory(tmp_path / "small").meta["pruned_from"]["kept"] == [1, 2]


def test_diagnostics_can_be_chosen_and_their_figures(measured, tmp_path):
    line = [
        "task=prune",
        f"run={measured / 'whole'}",
        "diagnostic=[stationarity]",
        "figures=[pdf]",
        f"hydra.run.dir={tmp_path / 'small'}",
    ]
    assert run(*line) == 0
    directory = RunDirectory(tmp_path / "small")
    assert (
        list(directory.reports) == ["stationarity"]
        and directory.config["figures"] == ["pdf"]
        and directory.finished
    )
    assert (tmp_path / "small" / "plots" / "stationarity.law.pdf").is_file()


def test_several_runs_as_a_sweep(runs, tmp_path):
    assert (
        run("-m", "task=prune", f"run={runs / 'dense'}", "keep=[0],[2,0]", f"hydra.sweep.dir={tmp_path}") == 0
    )
    found = sorted(
        RunDirectory(path.parent).config["model"]["latent_dim"] for path in tmp_path.glob("*/meta.json")
    )
    assert found == [1, 2]


def test_directories_are_named_by_day_and_time(runs, tmp_path):
    assert run("task=prune", f"run={runs / 'dense'}", f"output={tmp_path}") == 0
    assert len(list(tmp_path.glob("????-??-??/??-??-??-??????_prune"))) == 1


# ---------------------------------------------------------------- which weights belong to which variable
@pytest.mark.parametrize(
    "n, m, expected",
    [
        (4, 2, [1, 3]),
        (8, 4, [1, 3, 5, 7]),  # means, then log scales
        (9, 7, [1, 3, 4, 5, 6, 7, 8]),  # codes, then a state
        (2, 4, None),
        (3, 1, None),  # shorter than there are variables
        (9, 5, None),  # twice, and a rest
        (12, 6, None),
        (7, 4, None),
    ],
)
def test_places_kept_of_an_axis(n, m, expected):
    assert slicing.positions(n, m, 4, [1, 3]) == expected


def test_weights_that_do_not_follow_the_latent_dimension_are_kept_whole():
    whole = {"a": torch.randn(4, 4), "b": torch.randn(8, 5), "c": torch.tensor(1.0)}
    part = {"a": torch.zeros(4, 4), "b": torch.zeros(4, 5), "c": torch.tensor(0.0)}
    found = slicing.sliced(whole, part, 4, [0, 2])
    assert torch.equal(found["a"], whole["a"]) and torch.equal(found["c"], whole["c"])
    assert torch.equal(found["b"], whole["b"][[0, 2, 4, 6]])


@pytest.mark.parametrize(
    "part, message",
    [
        ({"a": torch.zeros(2, 2)}, r"'a' is of shape \(4, 4\) with 4 latent variables and \(2, 2\) with 2"),
        ({"a": torch.zeros(4)}, "it is not clear which of it"),
        ({"a": torch.zeros(4, 3)}, "it is not clear which of it"),
        ({"b": torch.zeros(4, 4)}, "other weights with 2 latent variables than with 4"),
    ],
)
def test_weights_of_which_it_is_not_clear_are_refused(part, message):
    with pytest.raises(InputError, match=message):
        slicing.sliced({"a": torch.randn(4, 4)}, part, 4, [0, 2])


# ---------------------------------------------------------------- wrong input
class Straight(Model, HasGaussianPosterior, HasPrior):
    """x of 64 numbers, to 2 d (means, log scales), and back."""

    posterior_training = PosteriorTraining(True, "full", 1.0)

    def __init__(self, event_shape, latent_dim: int):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.into, self.out = nn.Linear(64, 2 * latent_dim), nn.Linear(latent_dim, 64)

    def moments(self, x):
        return self.into(x.flatten(1)).chunk(2, 1)

    def encode(self, x, space="z"):
        return self.moments(x)[0]

    def posterior(self, x):
        mean, log_scale = self.moments(x)
        return Independent(Normal(mean, log_scale.exp()), 1)

    def prior(self):
        return Independent(Normal(torch.zeros(self.latent_dim), torch.ones(self.latent_dim)), 1)

    def sample_prior(self, n, noise):
        return noise.normal("prior", (n, self.latent_dim))

    def decode(self, z, space="z"):
        return self.out(z).view(-1, *self.event_shape)

    def phases(self):
        return (
            Phase(
                "nothing",
                (
                    Objective(
                        "nothing", list(self.parameters()), lambda b, n, c: {"loss": self.out.bias.sum() * 0}
                    ),
                ),
            ),
        )


class Interleaved(Straight):
    """The same with mean and log scale of one variable side by side."""

    def moments(self, x):
        return self.into(x.flatten(1)).unflatten(1, (-1, 2)).unbind(2)


class Tied(Straight):
    """Its latent variables depend on one another in the prior."""

    def prior(self):
        return MultivariateNormal(torch.zeros(self.latent_dim), torch.eye(self.latent_dim))


class Turned(Straight):
    """Its codes are turned by a matrix."""

    def __init__(self, event_shape, latent_dim: int):
        super().__init__(event_shape, latent_dim)
        self.turn = nn.Parameter(torch.eye(latent_dim))


class Fixed(Straight):
    """Its dimension is no setting."""

    def __init__(self, event_shape):
        super().__init__(event_shape, D)


class Drawn(Model, HasGaussianPosterior, HasGenerator):
    """Draws codes by a law of all latent variables together, which has no density."""

    posterior_training = PosteriorTraining(True, "full", 1.0)

    def __init__(self, event_shape, latent_dim: int):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.into, self.out = nn.Linear(64, 2 * latent_dim), nn.Linear(latent_dim, 64)

    moments, encode, posterior = Straight.moments, Straight.encode, Straight.posterior
    decode, phases, sample_prior = Straight.decode, Straight.phases, Straight.sample_prior


class Decoder(Model):
    """Has no encoder."""

    def __init__(self, event_shape, latent_dim: int):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.out = nn.Linear(latent_dim, 64)

    decode, phases = Straight.decode, Straight.phases


class Found(Diagnostic):
    """Which variables does a test want?"""

    def __init__(self, kept: list[int]):
        self.kept = kept

    def __call__(self, run, noise):
        return Report(arrays={"kept": np.array(self.kept, dtype=np.int64)})

    def plot(self, report):
        return {}


@pytest.fixture(scope="module")
def odd(runs, tmp_path_factory):
    """Runs of the models above, and of VAEs in which sparsity finds all or nothing inactive."""
    root = tmp_path_factory.mktemp("odd")
    for cls in (Interleaved, Tied, Drawn, Turned, Fixed, Decoder, Straight):
        name = cls.__name__.lower()
        spec = {"_target_": f"tests.test_prune.{cls.__name__}"} | ({} if cls is Fixed else {"latent_dim": D})
        (root / "conf" / "model").mkdir(parents=True, exist_ok=True)
        (root / "conf" / "model" / f"{name}.yaml").write_text(yaml.safe_dump(spec))
        line = [
            "--config-dir",
            root / "conf",
            f"model={name}",
            "data=digits",
            "rows=64",
            "training.epochs=1",
            "diagnostic=[]",
            "figures=[]",
        ]
        assert run(*line, f"hydra.run.dir={root / name}") == 0
    for name, kept in (("full", range(D)), ("none", ())):
        shutil.copytree(runs / "dense", root / name)
        directory = RunDirectory(root / name)
        directory.write_report("sparsity", Found(list(kept))(None, None), {}, {"config": {}, "hash": ""})
    return {path.name: path for path in (*root.iterdir(), *runs.iterdir())} | {
        "unfinished": unfinished(runs / "dense", root)
    }


def unfinished(path, root):
    shutil.copytree(path, root / "unfinished")
    meta = json.loads((path / "meta.json").read_text())
    del meta["trained"]
    (root / "unfinished" / "meta.json").write_text(json.dumps(meta))
    (root / "unfinished" / "status.json").write_text(json.dumps({"state": "interrupted"}))
    return root / "unfinished"


WRONG = [
    ("", "run: a value is needed: run=..."),
    ("run=nowhere", "'nowhere' is not a run of latentrun: there is no such directory"),
    ("run={unfinished}", "its training is not finished (state 'interrupted')"),
    ("run={dense} keep=[6]", "keep: there is no latent variable 6; the model has 0 to 5"),
    ("run={dense} keep=[-1]", "keep[0]: must be at least 0, got -1"),
    ("run={dense} keep=[1,2,1]", "keep: 1 is named twice"),
    ("run={dense} keep=[]", "keep: names no latent variable; the model has 0 to 5"),
    ("run={dense} keep=3", "keep: must be a list, got 3 (or null)"),
    ("run={dense} keep=[a]", "keep[0]: must be a whole number, got 'a'"),
    (
        "run={dense} model.latent_dim=3",
        "model.latent_dim: the run is used with its own settings; beside run=DIR: output, device",
    ),
    ("run={dense} training.epochs=3", "training.epochs: the run is used with its own settings"),
    ("run={dense} diagnostic=[sparcity]", "unknown diagnostic 'sparcity' (did you mean 'sparsity'?)"),
    ("run={dense} diagnostic=[injectivity]", "diagnostic 'injectivity' needs"),
    ("run={none}", "are inactive; keep=[0] keeps one all the same"),
    ("run={ae}", "which variables are inactive shows in a Gaussian posterior; the model of"),
    ("run={decoder} keep=[0]", "task=prune needs an encoder; the model of"),
    ("run={fixed} keep=[0]", "task=prune needs a model with the setting latent_dim; that of"),
    ("run={turned} keep=[0,2]", "'turn' is of shape (6, 6) with 6 latent variables and (2, 2) with 2"),
    (
        "run={tied} keep=[0,2]",
        "task=prune needs a prior that is a product of normals, one for each latent variable",
    ),
    ("run={drawn} keep=[0,2]", "task=prune needs a prior that is a product of normals"),
    (
        "run={interleaved} keep=[1,2]",
        "codes of the smaller model are not those of the model; nothing is written",
    ),
    ("run={dense} keep=[0] output=/dev/null/x", "cannot be made"),
    ("task=encode run={dense} keep=[0]", "'keep=[0]': keep belongs to task=prune"),
]


@pytest.mark.parametrize("line, message", WRONG, ids=[line for line, _ in WRONG])
def test_wrong_input_gets_one_line_and_leaves_nothing(line, message, odd, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = () if line.startswith("task=") else ("task=prune",)
    code = run("trust=[tests]", *task, *line.format(**odd).split())
    shown = capsys.readouterr()
    assert code == 2 and shown.out == ""
    assert shown.err.startswith("latentrun: ") and shown.err.count("\n") == 1 and message in shown.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line, said",
    [
        ("run={full}", "nothing to prune: all 6 latent variables of {full} are in use"),
        ("run={dense} keep=[5,4,3,2,1,0]", "nothing to prune: all 6 latent variables of {dense} are kept"),
    ],
)
def test_where_nothing_is_to_be_pruned_that_is_said_and_nothing_written(
    line, said, odd, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run("task=prune", *line.format(**odd).split()) == 0
    assert capsys.readouterr().out == said.format(**odd) + "\n" and list(tmp_path.iterdir()) == []


def test_models_of_ones_own_are_pruned_where_their_weights_are_laid_out_as_ours(odd, tmp_path):
    assert (
        run(
            "task=prune",
            f"run={odd['straight']}",
            "keep=[1,4]",
            "trust=[tests]",
            f"hydra.run.dir={tmp_path / 'small'}",
        )
        == 0
    )
    whole, small = (latentrun.load(path, trust=["tests"]) for path in (odd["straight"], tmp_path / "small"))
    assert same(small.latents("test").codes, whole.latents("test").codes[:, [1, 4]])


def test_nothing_is_overwritten(measured, runs, capsys):
    line = ["task=prune", f"run={runs / 'dense'}", "keep=[0]", f"hydra.run.dir={measured / 'small'}"]
    before = {path: path.read_bytes() for path in (measured / "small").rglob("*") if path.is_file()}
    assert run(*line) == 2 and "is not empty; nothing is overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (measured / "small").rglob("*") if path.is_file()} == before


def test_a_smaller_model_that_does_other_things_is_not_written(runs, tmp_path, monkeypatch, capsys):
    """Any slip in the slicing is found by looking at what the two models do."""
    right = slicing.sliced

    def wrong(whole, part, d, keep):
        return right(whole, part, d, [*keep[:-1], keep[-1] - 1])

    monkeypatch.setattr(prune, "sliced", wrong)
    assert run("task=prune", f"run={runs / 'dense'}", f"hydra.run.dir={tmp_path / 'small'}") == 2
    assert (
        "of the smaller model are not those of the model" in capsys.readouterr().err
        and list(tmp_path.iterdir()) == []
    )
