"""Tab completion: the words a shell offers, without waiting for torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from latentrun.cli import main
from latentrun.command.completion import suggestions

OWN = Path(__file__).parent / "own" / "ellipsoids" / "conf"
SHIPPED = Path(__file__).parents[1] / "conf"


def models(*folders: Path) -> str:
    """What is offered for a model: a word for each file of the folders, in order."""
    names = sorted(path.stem for folder in folders for path in (folder / "model").glob("*.yaml"))
    return " ".join(f"model={name}" for name in names)


@pytest.mark.parametrize(
    "line, offered",
    [
        ("latentrun mode", "model. model="),
        ("latentrun model=", models(SHIPPED)),
        ("latentrun model=v", "model=vae"),
        ("latentrun --config-dir {own} model=", models(SHIPPED, OWN)),
        ("latentrun hydra.searchpath=[{own}] data=ell", "data=ellipsoid"),
        ("latentrun model=ae model.la", "model.latent_dim="),
        ("latentrun model.latent_dim=", "model.latent_dim=3"),
        ("latentrun -m seed=1,2 training.optimizer.l", "training.optimizer.lr="),
        ("/somewhere/bin/latentrun see", "seed="),
        (
            "latentrun diagnostic=[lat",
            "diagnostic=[latent_map diagnostic=[latent_noise diagnostic=[latent_trajectory "
            "diagnostic=[latents",
        ),
        ("latentrun diagnostic=[latents,st", "diagnostic=[latents,stationarity"),
        ("latentrun --config-dir {own} diagnostic=[ax", "diagnostic=[axes"),
        ("latentrun --mul", "--multirun"),
        ("latentrun --cfg job netw", "network. network="),
        ("latentrun zzz", ""),
        ("latentrun --nonsense mod", ""),
        ("latentrun model='v", ""),
        ("", ""),
    ],
)
def test_what_is_offered(line, offered):
    assert suggestions(line.replace("{own}", str(OWN)), "bash") == offered
    assert suggestions(line.replace("{own}", str(OWN)), "fish").split() == offered.split()


def test_options_of_ones_own_are_offered_where_the_environment_names_them(monkeypatch):
    monkeypatch.setenv("LATENTRUN_CONFIG_PATH", str(OWN))
    assert suggestions("latentrun diagnostic=[latents,ax", "zsh") == "diagnostic=[latents,axes"
    monkeypatch.setenv("LATENTRUN_CONFIG_PATH", "/nowhere")
    assert (
        suggestions("latentrun mod", "zsh") == ""
    )  # no message in the middle of the line that is being typed


def test_a_query_does_not_wait_for_heavy_libraries():
    code = (
        "import sys\nfrom latentrun.cli import main\n"
        "try:\n    main(['-sc', 'query=bash'])\nexcept SystemExit as end: assert end.code == 0\n"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'sklearn', 'numpy', 'scipy') if m in "
        "sys.modules])"
    )
    environment = os.environ | {"COMP_LINE": "latentrun model="}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [models(SHIPPED), "[]"] and done.stderr == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_with_what_install_prints(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["/some/bin/latentrun"])
    with pytest.raises(SystemExit) as exit_:
        main(["-sc", "install=bash"])
    script = capsys.readouterr().out
    assert exit_.value.code == 0 and script.rstrip().endswith("-F hydra_bash_completion latentrun")
    command = tmp_path / "latentrun"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m latentrun "$@"\n')
    command.chmod(0o755)
    (tmp_path / "rc").write_text(script)
    typed = (
        "source rc; COMP_LINE='latentrun diagnostic=[rec' COMP_CWORD=1; hydra_bash_completion; "
        "echo ${COMPREPLY[@]}"
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", typed], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "diagnostic=[reconstruction" and done.stderr == ""


@pytest.mark.parametrize("shell, word", [("zsh", "complete"), ("fish", "commandline")])
def test_other_shells_get_their_own_script(shell, word, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["latentrun"])
    for command, expected in (("install", word), ("uninstall", "hydra")):
        with pytest.raises(SystemExit):
            main(["-sc", f"{command}={shell}"])
        assert expected in capsys.readouterr().out
