"""Every YAML file: described, complete, and in step with the class it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentrun.build import build, later, resolve, signature
from latentrun.cli import compose, settings_of
from latentrun.comparisons.base import Comparison
from latentrun.diagnostics.base import DATA_NEEDS, Diagnostic
from latentrun.options import GROUPS, defaults, options, shipped
from latentrun.plan import SETTINGS
from tests.conformance.parts import values_in

CONF = shipped()
FILES = sorted(path for group in GROUPS for path in (CONF / group).glob("*.yaml"))
GIVEN = {"event_shape", "value_range", "columns", "network", "optimizer", "scheduler", "params"}  # come from other parts of the run


def specs(node, where=""):
    """Every mapping with a _target_, with its place."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield where, node
        for key, value in node.items():
            yield from specs(value, f"{where}.{key}" if where else key)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_option_says_in_one_line_what_it_is(path):
    text = options(path.parent.name, [CONF])[path.stem]
    assert 10 < len(text) < 120


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_keys_are_the_arguments_and_hold_every_value(path):
    for where, spec in specs(values_in(path)):
        parameters, _ = signature(resolve(spec["_target_"], object, where))
        keys = spec.keys() - {"_target_"}
        assert keys <= parameters.keys(), where
        if spec["_target_"].startswith("latentrun."):
            assert parameters.keys() - keys <= GIVEN, f"{where}: the YAML must hold every value"
            assert all(p.default is p.empty for p in parameters.values()), f"{where}: defaults belong into the YAML"


@pytest.mark.parametrize("group", ["data", "diagnostic", "comparison"])
def test_values_fit_their_annotations(group):
    for name in options(group, [CONF]):
        spec = values_in(CONF / group / f"{name}.yaml")
        spec = spec[name] if isinstance(defaults()[group], list) else spec
        later(spec, object, f"{group}.{name}")


@pytest.mark.parametrize("name", options("diagnostic", [CONF]))
def test_diagnostics_declare_what_they_need_and_report(name):
    spec = values_in(CONF / "diagnostic" / f"{name}.yaml")
    assert list(spec) == [name]
    diagnostic = build(spec[name], Diagnostic, name)
    assert diagnostic.answers().endswith("?")
    assert diagnostic.metrics
    for need in (*diagnostic.requires, *diagnostic.uses):
        assert isinstance(need, type) or need in DATA_NEEDS
    for metric, meaning in diagnostic.metrics.items():
        assert "." not in metric and meaning.unit


@pytest.mark.parametrize("name", options("comparison", [CONF]))
def test_comparisons_declare_what_they_need_and_report(name):
    spec = values_in(CONF / "comparison" / f"{name}.yaml")
    assert list(spec) == [name]
    comparison = build(spec[name], Comparison, name)
    assert comparison.answers() == options("comparison", [CONF])[name]
    assert comparison.metrics and all("." not in metric and meaning.unit for metric, meaning in comparison.metrics.items())
    assert all(isinstance(need, type) or need in DATA_NEEDS for need in comparison.requires)


def test_the_default_configuration_composes_and_has_no_unknown_key():
    cfg = settings_of(compose([], []))
    assert set(cfg) <= SETTINGS.keys() | set(GROUPS)
    assert list(cfg.diagnostic) == defaults()["diagnostic"]


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_experiments_compose_and_carry_their_command(path):
    assert f"experiment={path.stem}" in path.read_text()
    compose([f"experiment={path.stem}"], [])


def test_every_group_of_the_configuration_is_known():
    assert {path.name for path in Path(CONF).iterdir() if path.is_dir()} <= {*GROUPS, "hydra"}
