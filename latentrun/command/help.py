"""The page of ``latentrun --help``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from latentrun.config.options import EVERY, PARTS, options

TITLE = "latentrun: train a latent-variable model on a data set and say what its latent space is like"
EXAMPLES = {
    "model=vae data=heatmaps 'diagnostic=[reconstruction,latents]' model.latent_dim=3": "",
    "-m model.latent_dim=1,2,3,4 seed=0,1,2": "one run for each combination",
    "task=diagnose run=DIR 'diagnostic=[samples]'": "add diagnostics to a finished run",
    "task=encode run=DIR data=digits": "codes of a data set; without data= of the run's own rows",
    "task=sample run=DIR n=1000": "samples of a trained model",
    "task=prune run=DIR": "a trained model without its inactive latent variables",
    "task=compare 'runs=[DIR,DIR]'": "differences between finished runs, with intervals",
    "task=report 'runs=outputs/**'": "one table, pictures and a leaderboard of many runs",
    "task=claims claim=heatmaps": "what a text says, judged by runs that are found or trained",
    "estimate=true": "what training would take: time, memory, disk",
    "debug=quick": "everything in seconds, to try a set-up",
}
START = f"""\
{TITLE}

To begin with:
  latentrun debug=quick                           everything in seconds, to try a set-up
  latentrun model=vae data=heatmaps               train, measure, report: some minutes on two cores
  latentrun -m model.latent_dim=1,2,3 seed=0,1    one run for each combination, and a page of all

latentrun --help lists every option, latentrun model=vae data=heatmaps --help every setting of what is chosen.
Each run gets a directory of its own below outputs/; its report.html shows what came out."""
END = """\
Any value of the configuration can be set: latentrun training.epochs=20 model.beta=4 seed=1 device=cpu
  model=ae --help       every setting of what is chosen, with type, bounds, value and what it means
  --cfg job --resolve   show the configuration and stop       -m   sweep over comma-separated values
  --config-dir DIR      a folder with options of your own      --version
  --quiet, -q           nothing on the terminal but results, warnings and errors
  --info                how the configuration came about       -sc install=bash|zsh|fish   tab completion

Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted. LATENTRUN_DEBUG=1 shows tracebacks."""


def help_text(folders: Sequence[Path]) -> str:
    """The page, with the options in ``folders``."""
    examples = [f"  latentrun {words:<45} {text}".rstrip() for words, text in EXAMPLES.items()]
    groups = [page for group in EVERY if (page := _group(group, folders))]
    return "\n\n".join([TITLE, "\n".join(examples), *groups, END])


def _group(group: str, folders: Sequence[Path]) -> str:
    """The options of a group, a line each; empty where there are none."""
    descriptions = options(group, folders)
    if not descriptions:
        return ""
    width = max(18, *(len(name) + 2 for name in descriptions))
    place = f"model.{group}" if group in PARTS else group
    return "\n".join([f"{place}=", *(f"  {name:<{width}}{text}" for name, text in descriptions.items())])
