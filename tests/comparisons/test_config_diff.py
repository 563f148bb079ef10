"""What differs between runs, and nothing else."""

from latentrun.comparisons.config_diff import ConfigDiff
from latentrun.functional.noise import Noise
from tests.comparisons.planted import planted


def test_only_what_differs_is_listed_with_what_each_run_has():
    a, b = (
        planted("a", latent_dim=2, sample=True, likelihood=None),
        planted("b", 1, model="vae", latent_dim=3, sample=False, beta=4.0, likelihood=None),
    )
    a.meta.update(
        {
            "versions": {"torch": "2.1", "numpy": "2.0"},
            "git": None,
            "device": {"kind": "cpu"},
            "argv": ["x"],
        }
    )
    b.meta.update(
        {
            "versions": {"torch": "2.2", "numpy": "2.0"},
            "git": "abc",
            "device": {"kind": "cpu"},
            "argv": ["y"],
        }
    )
    report = ConfigDiff()([a, b], Noise(0))
    assert report.tables["settings"].to_dict("split")["data"] == [
        ["model", "ae", "vae"],
        ["seed", "0", "1"],
        ["model.latent_dim", "2", "3"],
        ["model.sample", "true", "false"],
        ["model.beta", "", "4.0"],
    ]
    assert report.tables["making"].to_dict("split")["data"] == [
        ["versions.torch", "2.1", "2.2"],
        ["git", "null", "abc"],
    ]
    assert {name: value.value for name, value in report.metrics.items()} == {"settings": 5, "making": 2}


def test_equal_runs_have_empty_tables_and_a_note():
    report = ConfigDiff()([planted("a"), planted("b"), planted("c")], Noise(0))
    assert all(table.empty for table in report.tables.values())
    assert report.notes == (
        "The settings of all 3 runs are the same.",
        "The making of all 3 runs are the same.",
    )
