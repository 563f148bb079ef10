"""The types that the code declares hold: `pyrefly check` (what its settings leave out: pyproject.toml)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MISTAKES = {  # line by line: what is wrong with it
    "gaussian_kl('a text', torch.zeros(2))": "bad-argument-type",
    "gaussian_kl(torch.zeros(2))": "missing-argument",
    "gaussian_kl(torch.zeros(2), torch.zeros(2), nats=True)": "unexpected-keyword",
    "Noise(0).gaussian('z', (3,))": "missing-attribute",
    "Factor('x', 'round', 0.0, 1.0)": "bad-argument-type",
    "Estimate(1.0).low + 1": "unsupported-operation",  # there may be no interval
    "gaussian_kl(torch.zeros(2), torch.zeros(2)).item().mean()": "missing-attribute",
}
IMPORTS = (
    "import torch",
    "from latentrun.functional.distances.divergences import gaussian_kl",
    "from latentrun.functional.noise import Noise",
    "from latentrun.types import Estimate, Factor",
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    path = tmp_path_factory.mktemp("types") / "planted.py"
    path.write_text("\n".join((*IMPORTS, *MISTAKES, "")))
    return path


@pytest.fixture(scope="module")
def complaints(planted):
    """What is wrong in latentrun, and in a file of planted mistakes: ``{file: [(line, rule, text)]}``."""
    options = "--config pyproject.toml --output-format json --python-interpreter-path"
    command = [sys.executable, "-m", "pyrefly", "check", *options.split(), sys.executable]
    files = ["latentrun", str(planted)]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    by_file: dict[Path, list[tuple[int, str, str]]] = {}
    for error in json.loads(done.stdout)["errors"]:
        if error["severity"] == "error":
            complaint = error["line"], error["name"], error["concise_description"]
            by_file.setdefault((ROOT / error["path"]).resolve(), []).append(complaint)
    return by_file


def test_latentrun_keeps_its_types(complaints, planted):
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {text} [{rule}]"
        for path, errors in complaints.items()
        if path != planted.resolve()
        for line, rule, text in errors
    ]
    assert not wrong, "\n".join(wrong)


def test_mistakes_are_seen(complaints, planted):
    rules = {line: rule for line, rule, _ in complaints[planted.resolve()]}
    assert rules == {len(IMPORTS) + 1 + i: rule for i, rule in enumerate(MISTAKES.values())}
