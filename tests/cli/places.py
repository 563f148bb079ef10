"""What command lines of these tests find, and how they are run."""

from __future__ import annotations

from pathlib import Path

from tests.lines import code_of

OWN = Path(__file__).parents[1] / "own"  # the worked example of a package of one's own

POINTS = """
from latentrun.data.base import Dataset

class Points(Dataset):
    event_shape, value_range, factors = (4,), (-1.0, 1.0), ()

    def __init__(self): ...
    def _load(self): raise AssertionError("nothing is read before everything fits")
"""


def claim(name: str, runs: str, expect: str) -> str:
    """The file of a claim about one run."""
    return (
        f"# A claim\n{name}:\n  kind: claim\n  sentence: the error is small\n  source: nobody\n"
        f"  fixed: {{date: '2026-01-01', digest: '000000000000'}}\n"
        f"  runs: {{one: [{runs}]}}\n  expect: [{expect}]\n"
    )


SMALL = "{says: small, metric: reconstruction/error_mean, of: one, below: 9}"
NUMBERS = [(i * 37 % 101 / 8, i % 5, "abc"[i % 3]) for i in range(60)]
# What the command lines find, by its place in the folder {p}.
PLACES = {
    "file": "a file\n",
    "empty/nothing": "",
    "sweep/0_seed=1/meta.json": "{}",
    "newer/meta.json": '{"schema": 99}',
    "points/data/points.yaml": "# Points\n_target_: strange_points.Points\n",
    "again/data/points.yaml": "# Points once more\n_target_: strange_points.Points\n",
    "broken/model/broken.yaml": (
        "# Broken\n_target_: latentrun.models.ae.AE\nlatent_dim: 3\n squash: : false\n"
    ),
    "binary/model/binary.yaml": b"# \xff\xfe\n",
    "shadow/model/vae.yaml": "# Mine\n_target_: latentrun.models.ae.AE\n",
    "root/config.yaml": "seed: 3\n",
    "pieces/model/untargeted.yaml": "# No class\nlatent_dim: 3\n",
    "pieces/model/unknown_key.yaml": (
        "# A key too many\n_target_: latentrun.models.ae.AE\nlatent_dim: 3\nsquash: false\nsquish: 3\n"
    ),
    "pieces/model/incomplete.yaml": "# A key too few\n_target_: latentrun.models.ae.AE\nlatent_dim: 3\n",
    "pieces/experiment/dangling.yaml": (
        "# @package _global_\n# Names what is not there\ndefaults:\n  - override /model: vea\n"
    ),
    "sweeps/experiment/key.yaml": (
        "# @package _global_\n# Key\nhydra: {sweeper: {params: {modl: 'vae,ae'}}}\n"
    ),
    "sweeps/experiment/option.yaml": (
        "# @package _global_\n# Option\nhydra: {sweeper: {params: {model: 'vae,vea'}}}\n"
    ),
    "sweeps/experiment/value.yaml": (
        "# @package _global_\n# Value\nhydra: {sweeper: {params: {model.latent_dim: '1,x'}}}\n"
    ),
    "sweeps/experiment/text.yaml": (
        "# @package _global_\n# Text\nhydra: {sweeper: {params: {seed: '1,(2'}}}\n"
    ),
    "sweeps/experiment/listed.yaml": (
        "# @package _global_\n# List\nhydra: {sweeper: {params: {seed: [1, 2]}}}\n"
    ),
    "sweeps/experiment/param.yaml": (
        "# @package _global_\n# Param\nhydra: {sweeper: {param: {seed: '1,2'}}}\n"
    ),
    "values/experiment/knn.yaml": "# @package _global_\n# Some of its values\ndiagnostic: {knn: {k: 3}}\n",
    "values/experiment/misspelt.yaml": "# @package _global_\n# None of it\ndiagnostic: {knm: {k: 3}}\n",
    "packages/strange_points.py": POINTS,
    # files of data, and one that is none
    "prose.txt": "a text\n",
    "numbers.csv": "price,rooms,kind\n" + "".join(f"{a},{b},{c}\n" for a, b, c in NUMBERS),
    "comma.csv": "price;kind\n"
    + "".join(f"{a};{c}\n" for a, _, c in NUMBERS).replace(".", ",")
    + "1.234,50;a\n",
    # options that say nothing, and claims that say what they may not
    "claims/claim/nothing.yaml": "# Nothing is claimed\n",
    "claims/diagnostic/nothing.yaml": "# Nothing is asked\n",
    "claims/claim/ignored.yaml": claim("ignored", "model=ae, output=here", SMALL),
    "claims/claim/ignored_too.yaml": claim("ignored_too", "model=ae, hydra.job.name=x", SMALL),
    "claims/claim/doubled.yaml": claim("doubled", "model=ae, model=vae", SMALL),
    "claims/claim/edited.yaml": claim("edited", "model=ae", SMALL),
    "claims/claim/unjudged.yaml": claim("unjudged", "model=ae", ""),
}


def made(folder: Path) -> Path:
    """The folder, with all places in it."""
    for name, content in PLACES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def run(arguments: list[str], capsys) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    code = code_of(arguments)
    shown = capsys.readouterr()
    return code, shown.out, shown.err
