"""What the command says to wrong input: one line, exit code 2, nothing written, before anything trains."""

from __future__ import annotations

import pytest

from latentrun.cli import main
from latentrun.options import GROUPS, options, shipped

# (command line, what its one line must say)
WRONG = [
    ("model=vea", "unknown model 'vea' (did you mean 'vae'?); known: ae, vae"),
    ("data=heatmap", "unknown data 'heatmap' (did you mean 'heatmaps'?)"),
    ("network=dnse", "unknown network 'dnse' (did you mean 'dense'?)"),
    ("task=diagnos", "unknown task 'diagnos' (did you mean 'diagnose'?)"),
    ("training=defalt", "unknown training 'defalt' (did you mean 'default'?)"),
    ("debug=quik", "unknown debug 'quik' (did you mean 'quick'?)"),
    ("diagnostic=[reconstruction,latnts]", "unknown diagnostic 'latnts' (did you mean 'latents'?)"),
    ("diagnostic=sparsty", "unknown diagnostic 'sparsty' (did you mean 'sparsity'?)"),
    ("mdel=ae", "unknown key 'mdel' (did you mean 'model'?)"),
    ("sed=1", "unknown key 'sed' (did you mean 'seed'?)"),
    ("trainig.epochs=3", "unknown key 'trainig.epochs' (did you mean 'training'?)"),
    ("model.latnt_dim=3", "unknown key of model 'latnt_dim' (did you mean 'latent_dim'?)"),
    ("training.optimizer.learning_rate=1", "unknown key of training.optimizer 'learning_rate'"),
    ("diagnostic.traversal.step=3", "unknown key of diagnostic.traversal 'step' (did you mean 'steps'?)"),
    ("model.latent_dim=0", "model.latent_dim: must be at least 1, got 0"),
    ("model.latent_dim=-1", "model.latent_dim: must be at least 1, got -1"),
    ("model.latent_dim=abc", "model.latent_dim: must be a whole number, got 'abc'"),
    ("model.latent_dim=2.5", "model.latent_dim: must be a whole number, got 2.5"),
    ("model.latent_dim=null", "model.latent_dim: must be a whole number, got None"),
    ("model.kl=ful", "model.kl: 'ful' is not allowed (did you mean 'full'?); allowed: full, quadratic, none"),
    ("model.sample=3", "model.sample: must be true or false, got 3"),
    ("model.beta=-1", "model.beta: must be at least 0, got -1.0"),
    ("model.scale=0", "model.scale: must be more than 0, got 0.0"),
    ("network.channels=[8,0]", "network.channels: must be values at least 1, got [8, 0]"),
    ("network.channels=[8]", "network.strides: 3 values for 1 blocks of network.channels"),
    ("network.channels=[1,1,1,1,1,1] network.strides=[1,1,1,1,1,1]", "network.channels: 6 blocks leave nothing of 36 x 36 pictures"),
    ("training.batch_size=0", "training.batch_size: must be at least 1, got 0"),
    ("training.epochs=-1", "training.epochs: must be at least 0, got -1"),
    ("training.optimizer.lr=-1", "training.optimizer: Invalid learning rate: -1"),
    ("training.optimizer.lr=nan", "training.optimizer.lr: must be a number, got nan"),
    ("training.scheduler.factor=2", "training.scheduler: Factor should be < 1.0"),
    ("training.clip=0", "training.clip: must be more than 0"),
    ("training.optimizer._target_=torch.load", "'torch.load' is not a Optimizer"),
    ("model._target_=os.system", "package 'os', which is not trusted"),
    ("+model.foo=3", "model.foo: VAE takes no such value"),
    ("+foo=3", "unknown key 'foo'"),
    ("seed=-1", "seed: must be at least 0, got -1"),
    ("seed=1,2", "'seed=1,2': several values need a sweep: latentrun -m seed=1,2"),
    ("rows=1", "rows: must be at least 2"),
    ("device=cuda:99", "device: 'cuda:99' is not on this machine; allowed: auto, cpu"),
    ("device=gpu", "device: 'gpu' is not on this machine"),
    ("foo", "'foo' cannot be read; write key=value"),
    ("model=ae diagnostic=[sparsity]", "diagnostic 'sparsity' needs a Gaussian posterior; model 'ae' has none"),
    ("model=ae diagnostic=[stationarity] skip_inapplicable=false", "diagnostic 'stationarity' needs a Gaussian posterior"),
    ("task=diagnose", "run: a value is needed: run=..."),
    ("task=diagnose run=nowhere", "'nowhere' is not a run of latentrun: there is no such directory"),
    ("run=nowhere", "unknown key 'run'"),
    ("data.test_fraction=1.5", "data.test_fraction"),
    ("data=mnist data.root=nowhere", "data.root: 'nowhere' is not a folder"),
    ("--fo", "unknown flag '--fo'"),
    ("-m model.latnt_dim=1,2", "unknown key of model 'latnt_dim' (did you mean 'latent_dim'?)"),
    ("-m model=vea,ae seed=1,2", "unknown model 'vea' (did you mean 'vae'?)"),
    ("-m seed=1, =", "cannot be read; write key=value"),
    ("--config-dir nowhere", "--config-dir: 'nowhere' is not a folder"),
    ("output=/dev/null/x", "cannot be made"),
]


def run(arguments: list[str], capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    shown = capsys.readouterr()
    return exit_.value.code, shown.out, shown.err


@pytest.mark.parametrize("line, message", WRONG, ids=[line for line, _ in WRONG])
def test_wrong_input_gets_one_line_and_leaves_nothing(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(line.split(), capsys)
    assert code == 2
    assert err.startswith("latentrun: ") and err.count("\n") == 1 and out == ""
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_help_lists_every_option_with_its_line(capsys):
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    for group in GROUPS:
        for name, text in options(group, [shipped()]).items():
            assert f"  {name:<18}{text}" in out


def test_config_is_shown_without_running(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(["--cfg", "job", "--resolve", "model=ae", "model.latent_dim=7"], capsys)
    assert code == 0 and "latent_dim: 7" in out and "hydra:" not in out
    assert list(tmp_path.iterdir()) == []


def test_flags_may_stand_between_overrides(capsys):
    code, out, _ = run(["model=ae", "--cfg", "job", "model.latent_dim=7"], capsys)
    assert code == 0 and "latent_dim: 7" in out


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_options_of_ones_own(way, capsys, tmp_path, monkeypatch):
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "mine.yaml").write_text("# My own network\n_target_: latentrun.nn.dense.Dense\nwidths: [5]\n")
    flags = ["--config-dir", str(tmp_path)] if way == "flag" else []
    if way == "environment":
        monkeypatch.setenv("LATENTRUN_CONFIG_PATH", str(tmp_path))
    code, out, _ = run([*flags, "--cfg", "job", "network=mine"], capsys)
    assert code == 0 and "- 5" in out
    assert "My own network" in run([*flags, "--help"], capsys)[1]
    assert "did you mean 'mine'" in run([*flags, "network=mne"], capsys)[2]
