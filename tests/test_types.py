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
# Complaints in files that are not clean yet: their number only falls, a file without any leaves the list.
PENDING = {
    "latentrun/callbacks.py": 1,
    "latentrun/claims/claim.py": 1,
    "latentrun/claims/compared.py": 1,
    "latentrun/claims/page.py": 1,
    "latentrun/command/compose.py": 4,
    "latentrun/command/flags.py": 1,
    "latentrun/comparisons/emptiness.py": 1,
    "latentrun/comparisons/variance_loss_survey.py": 3,
    "latentrun/config/boxes.py": 2,
    "latentrun/data/recorded.py": 4,
    "latentrun/diagnostics/base.py": 1,
    "latentrun/diagnostics/codes/aggregate_posterior.py": 2,
    "latentrun/diagnostics/codes/density_plot.py": 2,
    "latentrun/diagnostics/codes/hull.py": 9,
    "latentrun/diagnostics/codes/hull_plot.py": 1,
    "latentrun/diagnostics/codes/knn.py": 4,
    "latentrun/diagnostics/codes/knn_plot.py": 1,
    "latentrun/diagnostics/decoder/factor_paths.py": 9,
    "latentrun/diagnostics/decoder/factor_paths_decode.py": 3,
    "latentrun/diagnostics/decoder/factor_paths_plot.py": 3,
    "latentrun/diagnostics/decoder/injectivity_corner.py": 1,
    "latentrun/diagnostics/decoder/injectivity_measure.py": 2,
    "latentrun/diagnostics/decoder/injectivity_plot.py": 1,
    "latentrun/diagnostics/decoder/invariant_error.py": 2,
    "latentrun/diagnostics/decoder/reconstruction.py": 5,
    "latentrun/diagnostics/decoder/traversal.py": 10,
    "latentrun/diagnostics/samples/fid.py": 3,
    "latentrun/diagnostics/samples/fid_plot.py": 1,
    "latentrun/diagnostics/samples/samples.py": 1,
    "latentrun/diagnostics/training/latent_noise.py": 8,
    "latentrun/diagnostics/training/latent_trajectory.py": 4,
    "latentrun/diagnostics/training/latent_trajectory_plot.py": 1,
    "latentrun/diagnostics/variables/information_gain.py": 3,
    "latentrun/diagnostics/variables/sparsity.py": 3,
    "latentrun/diagnostics/variables/sparsity_plot.py": 3,
    "latentrun/diagnostics/variables/stationarity.py": 2,
    "latentrun/diagnostics/variables/variance_loss.py": 1,
    "latentrun/experiments/latent_noise.py": 17,
    "latentrun/functional/usage.py": 1,
    "latentrun/launchers/foreign.py": 1,
    "latentrun/models/two_stage.py": 9,
    "latentrun/models/vae.py": 1,
    "latentrun/plotting/animation.py": 1,
    "latentrun/plotting/bars.py": 3,
    "latentrun/plotting/hull.py": 1,
    "latentrun/plotting/scatter.py": 1,
    "latentrun/plotting/sweep.py": 3,
    "latentrun/report/page.py": 1,
    "latentrun/report/sweep.py": 2,
    "latentrun/run.py": 3,
    "latentrun/store/reports.py": 1,
    "latentrun/sweep/engine.py": 1,
    "latentrun/tables/conditions.py": 5,
    "latentrun/tasks/assembly.py": 2,
    "latentrun/tasks/claims.py": 2,
    "latentrun/tasks/compare.py": 1,
    "latentrun/tasks/console.py": 1,
    "latentrun/tasks/encode.py": 1,
    "latentrun/tasks/estimate.py": 5,
    "latentrun/tasks/fit.py": 2,
    "latentrun/tasks/loading.py": 2,
    "latentrun/tasks/measure.py": 1,
    "latentrun/tasks/sample.py": 1,
    "latentrun/tasks/train.py": 3,
    "latentrun/training/loop.py": 7,
    "latentrun/training/optimisers.py": 1,
    "latentrun/training/recorder.py": 2,
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
    by_name = {
        str(path.relative_to(ROOT)): errors
        for path, errors in complaints.items()
        if path != planted.resolve()
    }
    worse = [
        f"{name}:{line}: {text} [{rule}]"
        for name, errors in by_name.items()
        if len(errors) > PENDING.get(name, 0)
        for line, rule, text in errors
    ]
    assert not worse, "\n".join(worse)
    assert PENDING.keys() <= by_name.keys(), f"clean now: {PENDING.keys() - by_name.keys()}"


def test_mistakes_are_seen(complaints, planted):
    rules = {line: rule for line, rule, _ in complaints[planted.resolve()]}
    assert rules == {len(IMPORTS) + 1 + i: rule for i, rule in enumerate(MISTAKES.values())}
