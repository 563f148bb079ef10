"""Every YAML file: described, complete, and in step with the class it names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest
from omegaconf import read_write

from latentrun.cli import compose, settings_of
from latentrun.command.jobs import jobs_of, swept
from latentrun.command.overrides import all_overrides, params_of
from latentrun.command.values import values_of
from latentrun.comparisons.base import Comparison
from latentrun.config.bounds import Between, Count, Each, Ge, Gt, Makes, Number
from latentrun.config.build import build, fit, later, resolve, signature
from latentrun.config.options import EVERY, GROUPS, defaults, options, shipped, task_keys
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError
from latentrun.tasks.base import SETTINGS, Task
from latentrun.types import Need
from tests.conformance.parts import values_in, with_parts

CONF = shipped()
FILES = sorted(path for group in GROUPS for path in (CONF / group).glob("*.yaml"))
UNCOUNTED = ("event_shape", "columns")  # what the data are, and levels of a column
GIVEN = {
    "event_shape",
    "value_range",
    "columns",
    "network",
    "optimizer",
    "scheduler",
    "params",
}  # come from other parts of the run


def specs(node, where="", given=GIVEN):
    """Every mapping with a _target_, with its place and the arguments that it need not hold, for they come
    from elsewhere."""
    if isinstance(node, dict):
        hints = {}
        if "_target_" in node:
            yield where, node, given
            hints = signature(resolve(node["_target_"], object, where))[1]
        for key, value in node.items():
            hint = hints.get(key)
            hint = get_args(hint)[1] if get_origin(hint) is dict else hint
            made = [mark.given for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Makes)]
            if get_origin(hints.get(key)) is dict and made:
                for name, inner in value.items():
                    yield from specs(inner, f"{where}.{key}.{name}", set(made[0]))
            else:
                own = set(made[0]) if made else set() if isinstance(hint, type) else given
                yield from specs(value, f"{where}.{key}" if where else key, own)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_option_says_in_one_line_what_it_is(path):
    text = options(path.parent.name, [CONF])[path.stem]
    assert 10 < len(text) < 120


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_keys_are_the_arguments_and_hold_every_value(path):
    for where, spec, given in specs(with_parts(path)):
        parameters, _ = signature(resolve(spec["_target_"], object, where))
        keys = spec.keys() - {"_target_"}
        if where == "task":  # the keys of a task stand at the top level
            keys = set(task_keys(path.stem, [CONF]))
        assert keys <= parameters.keys(), where
        if spec["_target_"].startswith("latentrun."):
            assert parameters.keys() - keys <= given, f"{where}: the YAML must hold every value"
            assert all(p.default is p.empty for p in parameters.values()), (
                f"{where}: defaults belong into the YAML"
            )


@pytest.mark.parametrize("group", ["data", "model", "network", "diagnostic", "comparison"])
def test_values_fit_their_annotations(group):
    for name in options(group, [CONF]):
        spec = with_parts(CONF / group / f"{name}.yaml")
        spec = spec[name] if isinstance(defaults()[group], list) else spec
        later(spec, object, f"{group}.{name}", given=GIVEN if group == "model" else ())


def whole_numbers(hint, bounds=()):
    """The bounds of every whole number in an annotation, and of the lists that hold some."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        yield from whole_numbers(inner, marks)
    elif hint is int:
        yield [bound.bound if isinstance(bound, Each) else bound for bound in bounds]
    else:
        for inner in get_args(hint):
            yield from whole_numbers(inner, bounds if get_origin(hint) is list else ())


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_whole_numbers_have_a_largest_value(path):
    """What is counted takes memory or time; what is numbered from 0, a seed or a variable, takes none."""
    for where, spec, _ in specs(with_parts(path)):
        if spec["_target_"].startswith("torch."):
            continue
        for key, hint in signature(resolve(spec["_target_"], object, where))[1].items():
            for bounds in whole_numbers(hint):
                limited = any(isinstance(bound, Count | Between) for bound in bounds)
                assert limited or Ge(0) in bounds or key in UNCOUNTED, f"{where}.{key}"


@pytest.mark.parametrize(
    ("value", "hint", "said"),
    [
        (10**12, Annotated[int, Count(1)], "x: must be at most 1,000,000, got 1000000000000"),
        (
            [1] * 50_000,
            Annotated[list[int], Each(Count(1))],
            "x: must be at most 1,000 values, got 50,000 values",
        ),
        ([1] * 200_000, list[int], "x: must be at most 100,000 values, got 200,000 values"),
        (
            [1, 10**9],
            Annotated[list[int], Each(Count(1))],
            "x: must be values at most 1,000,000, got [1, 1000000000]",
        ),
        (0, Annotated[float | list[float], Number(Gt(0))], "x: must be more than 0, got 0.0"),
    ],
)
def test_what_is_too_much_is_said_at_once(value, hint, said):
    with pytest.raises(InputError) as error:
        fit(value, hint, "x")
    assert str(error.value) == said
    assert fit([1.0], Annotated[float | list[float], Number(Gt(0))], "x") == [1.0]


@pytest.mark.parametrize("name", options("task", [CONF]))
def test_tasks_name_a_class_and_take_what_there_is(name):
    kind = resolve(values_in(CONF / "task" / f"{name}.yaml")["task"]["_target_"], Task, "task")
    assert kind.__name__.lower() == name and kind.__module__ == f"latentrun.tasks.{name}"
    assert set(kind.beside) <= SETTINGS.keys() | set(GROUPS)
    assert not set(task_keys(name, [CONF])) & SETTINGS.keys()


@pytest.mark.parametrize("name", options("diagnostic", [CONF]))
def test_diagnostics_declare_what_they_need_and_report(name):
    spec = values_in(CONF / "diagnostic" / f"{name}.yaml")
    assert list(spec) == [name]
    diagnostic = build(spec[name], Diagnostic, name)
    assert diagnostic.answers().endswith("?")
    assert diagnostic.metrics
    for need in (*diagnostic.requires, *diagnostic.uses):
        assert isinstance(need, Need)
    assert all(rule.name.isidentifier() and rule.name.islower() for rule in diagnostic.rules)
    for metric, meaning in diagnostic.metrics.items():
        assert "." not in metric and meaning.unit


@pytest.mark.parametrize("name", options("comparison", [CONF]))
def test_comparisons_declare_what_they_need_and_report(name):
    spec = values_in(CONF / "comparison" / f"{name}.yaml")
    assert list(spec) == [name]
    comparison = build(spec[name], Comparison, name)
    assert comparison.answers() == options("comparison", [CONF])[name]
    assert comparison.metrics and all(
        "." not in metric and meaning.unit for metric, meaning in comparison.metrics.items()
    )
    assert all(isinstance(need, Need) for need in comparison.requires)


def test_the_default_configuration_composes_and_has_no_unknown_key():
    cfg = settings_of(compose([], []))
    unset = {"comparison", "claim", "experiment", "variant", "debug"}
    assert set(cfg) == SETTINGS.keys() | set(GROUPS) - unset | set(task_keys("train", [CONF]))
    assert list(cfg.diagnostic) == defaults()["diagnostic"]


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_experiments_compose_and_carry_their_command(path):
    assert f"experiment={path.stem}" in path.read_text()
    compose([f"experiment={path.stem}"], [])


def composed(*overrides: str, folders=(), sweep=False) -> dict:
    return values_of(settings_of(compose(list(overrides), list(folders), sweep)))


def test_an_experiment_sets_values_of_what_is_chosen_and_no_others(tmp_path):
    assert composed("experiment=heatmaps_t")["diagnostic"]["knn"]["factors"] == ["variance_x", "variance_y"]
    assert list(composed("experiment=heatmaps_t", "diagnostic=[reconstruction]")["diagnostic"]) == [
        "reconstruction"
    ]
    assert composed("experiment=heatmaps_t", "diagnostic=[]")["diagnostic"] == {}
    assert (
        composed("experiment=heatmaps_t", "diagnostic=[knn]", "diagnostic.knn.factors=all")["diagnostic"][
            "knn"
        ]["factors"]
        == "all"
    )
    # An option without its class is chosen all the same, and told where it is built; a diagnostic may also be
    # written out.
    for name, text in {
        "diagnostic/classless.yaml": "# No class\nclassless: {k: 3}\n",
        "experiment/written.yaml": (
            "# @package _global_\n# Written out\ndiagnostic: {mine: {_target_: "
            "mine.Mine, k: 3}, knn: {k: 3}}\n"
        ),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = composed("diagnostic=[classless,latents]", "experiment=written", folders=[tmp_path])["diagnostic"]
    assert list(found) == ["classless", "latents", "mine"] and found["classless"] == {"k": 3}


def test_comparisons_that_an_experiment_brings_are_of_a_sweeps_runs():
    assert composed("experiment=heatmaps_vae_vs_ae")["comparison"] == {}
    assert list(composed("experiment=heatmaps_vae_vs_ae", sweep=True)["comparison"]) == [
        "metrics",
        "emptiness",
        "variance_loss_survey",
    ]
    kept = composed("task=compare", "runs=[a,b]", "experiment=heatmaps_vae_vs_ae")
    assert list(kept["comparison"]) == ["metrics", "emptiness", "variance_loss_survey"]


@pytest.mark.parametrize("overrides", [
    ["seed=0,1"],
    ["seed=0,1", "model=ae,vae"],  # the place of the option, the values of the command line
    ["seed=0,1", "model=ae"],
    ["+hydra.sweeper.params.seed='0,1'"],
], ids=" ".join)  # fmt: skip
def test_what_an_experiment_sweeps_makes_the_jobs_of_hydras_own_sweeper(overrides):
    overrides = ["experiment=heatmaps_vae_vs_ae", *overrides]
    cfg = compose(overrides, [], sweep=True)
    # After the first composition, in which Hydra imports its plugins anew.
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    sweeper = BasicSweeper(None, dict(cfg.hydra.sweeper.params))
    parsed = OverridesParser.create().parse_overrides([*sweeper._parse_config(), *overrides])
    (expected,) = sweeper.split_arguments(parsed, None)
    every = all_overrides(overrides, cfg.hydra)
    jobs = jobs_of(every, [])
    keys = [
        key
        for key in ("model", "seed")
        if len({tuple(t for t in job if t.startswith(key)) for job in expected}) > 1
    ]
    assert set(swept(every)) == set(keys)
    assert [job.overrides for job in jobs] == [
        tuple(text for text in job if text.partition("=")[0] in keys) for job in expected
    ]
    assert [job.about["choices"]["model"] for job in jobs] == [
        dict(t.split("=", 1) for t in job).get("model") for job in expected
    ]
    assert all(
        all(f"{text}" in job.name for text in job.overrides) and "experiment" not in job.name for job in jobs
    )
    assert all(
        list(job.config["comparison"]) == ["metrics", "emptiness", "variance_loss_survey"] for job in jobs
    )


def test_params_of_another_sweeper_are_its_own_matter():
    cfg = compose(["experiment=heatmaps_vae_vs_ae", "seed=0,1"], [], sweep=True)
    assert params_of(cfg.hydra) == {"model": "vae,ae"}
    with read_write(cfg.hydra):
        cfg.hydra.runtime.choices["hydra/sweeper"] = "optuna"
    assert params_of(cfg.hydra) == {} and all_overrides(["seed=0,1"], cfg.hydra) == ["seed=0,1"]


def test_every_group_of_the_configuration_is_known():
    assert {path.name for path in Path(CONF).iterdir() if path.is_dir()} <= {*EVERY, "hydra"}
