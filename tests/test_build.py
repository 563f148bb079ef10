"""Configuration to objects: what may be built, and what a wrong value is told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
import torch

from latentrun.config.bounds import Between, Each, Ge, Gt, Makes, Printable
from latentrun.config.build import Recipe, build, fit, later, resolve
from latentrun.config.fingerprint import fingerprint
from latentrun.errors import InputError, nearest
from latentrun.models.base import Model
from latentrun.nn.base import Network
from latentrun.nn.dense import Dense as DenseNetwork

DENSE = {"_target_": "latentrun.nn.dense.Dense", "widths": [4]}


def test_builds_the_class_with_its_values():
    assert build(DENSE, Network, "network").widths == [4]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"width": [3]}, "network.width: Dense takes no such value (did you mean 'widths'?)"),
        ({"widths": [0]}, "network.widths: must be values at least 1, got [0]"),
        ({"widths": [1.5]}, "network.widths[0]: must be a whole number, got 1.5"),
        ({"widths": 3}, "network.widths: must be a list, got 3"),
        ({"widths": "abc"}, "network.widths: must be a list, got 'abc'"),
        (
            {"_target_": "latentrun.nn.dense.Dens"},
            "network._target_: there is no class 'latentrun.nn.dense.Dens' (did you mean 'Dense'?)",
        ),
        (
            {"_target_": "latentrun.nn.dense.layers"},
            "network._target_: 'latentrun.nn.dense.layers' is not a Network",
        ),
        (
            {"_target_": "latentrun.models.ae.AE"},
            "network._target_: 'latentrun.models.ae.AE' is not a Network",
        ),
    ],
)
def test_wrong_values_get_one_line(change, message):
    with pytest.raises(InputError) as caught:
        build(DENSE | change, Network, "network")
    assert str(caught.value) == message


def test_missing_value_and_missing_target():
    with pytest.raises(InputError, match="network: Dense needs a value for widths"):
        build({"_target_": DENSE["_target_"]}, Network, "network")
    with pytest.raises(InputError, match="must be a mapping with the key _target_"):
        build({"widths": [3]}, Network, "network")


@pytest.mark.parametrize(
    "path",
    [
        "torch.load",
        "torch.hub.load",
        "torch.utils.collect_env.run",
        "torch.serialization.load",
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch.nn.modules.module.Module.load_state_dict",
        "torch.package.PackageImporter",
        "latentrun.store.RunDirectory",
        "latentrun.config.build.importlib.import_module",
        "..",
        "",
    ],
)
def test_nothing_but_allowed_classes_is_made(path):
    for kind in (Model, Network, torch.optim.Optimizer, torch.nn.Module):
        with pytest.raises(InputError):
            resolve(path, kind, "x")


def test_a_class_of_a_stranger_needs_trust(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text(
        "from latentrun.nn.base import Network\n"
        "open('canary', 'w').close()\n"
        "class Mine(Network):\n    def encoder(self, e, o): ...\n    def decoder(self, i, e): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="'stranger', which is not trusted .trusted: latentrun, torch."):
        build({"_target_": "stranger.Mine"}, Network, "network")
    assert not (tmp_path / "canary").exists()  # not even imported
    build({"_target_": "stranger.Mine"}, Network, "network", trust=["stranger"])
    assert (tmp_path / "canary").exists()


def test_given_arguments_go_where_the_signature_names_them_and_cannot_be_overridden():
    spec = {"_target_": "torch.optim.SGD", "lr": 0.5}
    made = later(spec, torch.optim.Optimizer, "o", given=("params",))([torch.zeros(1, requires_grad=True)])
    assert made.param_groups[0]["lr"] == 0.5
    with pytest.raises(InputError, match="takes no such value"):
        later(spec | {"params": []}, torch.optim.Optimizer, "o", given=("params",))
    assert later(None, torch.optim.Optimizer, "o") is None


@pytest.mark.parametrize(
    "value, hint, expected",
    [
        (3, float, 3.0),
        ([1, 2], tuple[float, float], (1.0, 2.0)),
        (None, Annotated[int, Ge(1)] | None, None),
        (5, Annotated[int, Ge(1)] | None, 5),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ([[0, 2], [0, 1]], list[tuple[int, int]], [(0, 2), (0, 1)]),
        ("all", Literal["all"] | list[int], "all"),
        ([1, 2], Literal["all"] | list[int], [1, 2]),
        (True, bool, True),
    ],
)
def test_fitting_values(value, hint, expected):
    assert fit(value, hint, "key") == expected


@pytest.mark.parametrize(
    "value, hint, message",
    [
        (True, int, "key: must be a whole number, got true"),
        (1, bool, "key: must be true or false, got 1"),
        (float("nan"), float, "key: must be a finite number, got nan"),
        (float("inf"), float, "key: must be a finite number, got inf"),
        (2**63, int, "key: must be a whole number below 2^63, got 9223372036854775808"),
        (
            " ",
            Annotated[str, Printable()],
            "key: must be a text that is not empty and can be printed, got ' '",
        ),
        (
            "a\0b",
            Annotated[str, Printable()],
            "key: must be a text that is not empty and can be printed, got 'a\\x00b'",
        ),
        (0, Annotated[float, Gt(0)], "key: must be more than 0, got 0.0"),
        (2, Annotated[float, Between(0, 1)], "key: must be between 0 and 1, got 2.0"),
        (
            1,
            Annotated[float, Between(0, 1, open_=True)],
            "key: must be between 0 and 1 (ends excluded), got 1.0",
        ),
        ([1, 2, 3], tuple[int, int], "key: must have 2 values, got [1, 2, 3]"),
        ([1, -1], Annotated[list[int], Each(Ge(0))], "key: must be values at least 0, got [1, -1]"),
        (
            "mean",
            Literal["sum", "median"],
            "key: 'mean' is not allowed (did you mean 'median'?); allowed: sum, median",
        ),
        (0, Annotated[int, Ge(1)] | None, "key: must be at least 1, got 0 (or null)"),
        (None, int, "key: must be a whole number, got null"),
        ("x", dict[str, int], "key: must be a mapping, got 'x'"),
    ],
)
def test_values_that_do_not_fit(value, hint, message):
    with pytest.raises(InputError) as caught:
        fit(value, hint, "key")
    assert str(caught.value) == message


# ---------------------------------------------------------------- what is described inside a description
class Counted(DenseNetwork):
    """Remembers that one was made."""

    made = 0

    def __init__(self, widths: Annotated[list[int], Each(Ge(1))]):
        super().__init__(widths)
        Counted.made += 1


class Wing(Network):
    """Takes a network, to be built, and others by name that it makes itself."""

    def __init__(
        self,
        size: Annotated[int, Ge(1)],
        inner: Network,
        others: dict[str, Annotated[object, Makes(Network, ("size",))]],
    ):
        if size == 13:
            raise ValueError("no wing has 13")
        self.size, self.inner, self.others = size, inner, others

    encoder = decoder = lambda self, *shape: None


WING = {"_target_": "tests.test_build.Wing", "size": 2, "inner": DENSE, "others": {}}
FEATHER = {"_target_": "tests.test_build.Wing", "inner": DENSE, "others": {}}
MINE = {"_target_": "tests.test_build.Counted", "widths": [4]}


def test_an_object_inside_an_object_is_built_with_what_is_given():
    made = build(WING, Network, "wing", ["tests"])
    assert made.inner.widths == [4] and made.others == {}
    deep = {key: value for key, value in WING.items() if key != "size"} | {"inner": FEATHER}
    assert build(deep, Network, "wing", ["tests"], size=7).inner.size == 7


class Loose(Network):
    """Takes plain values only."""

    def __init__(self, word: str, free: Any, table: dict):
        self.word, self.free, self.table = word, free, table

    encoder = decoder = lambda self, *shape: None


def test_a_plain_value_is_never_made_an_object():
    status = {"_target_": "latentrun.types.Status", "value": "ok"}
    loose = {"_target_": "tests.test_build.Loose", "word": "x", "free": status, "table": status}
    made = build(loose, Network, "network", ["tests"])
    assert made.free == made.table == status
    with pytest.raises(InputError, match="network.word: must be a text"):
        build(loose | {"word": status}, Network, "network", ["tests"])


def test_what_a_class_makes_itself_is_checked_before_and_given_what_it_names():
    made = build(WING | {"others": {"a": FEATHER, "b": FEATHER}}, Network, "wing", ["tests"])
    assert list(made.others) == ["a", "b"] and all(
        isinstance(recipe, Recipe) for recipe in made.others.values()
    )
    one, two = (made.others["a"](size=3, colour="red") for _ in range(2))
    assert one.size == 3 and one is not two and one.inner.widths == [4] and one.inner is not two.inner


@pytest.mark.parametrize(
    "change, message",
    [
        ({"inner": DENSE | {"widths": [0]}}, "wing.inner.widths: must be values at least 1, got [0]"),
        (
            {"inner": {"_target_": "latentrun.models.ae.AE"}},
            "wing.inner._target_: 'latentrun.models.ae.AE' is not a Network",
        ),
        ({"inner": 3}, "wing.inner: must be Network, got 3"),
        (
            {"inner": DENSE | {"width": 3}},
            "wing.inner.width: Dense takes no such value (did you mean 'widths'?)",
        ),
        ({"inner": FEATHER}, "wing.inner: Wing needs a value for size"),
        ({"inner": FEATHER | {"size": 13}}, "wing.inner: Wing cannot be made: ValueError: no wing has 13"),
        ({"others": 3}, "wing.others: must be a mapping, got 3"),
        ({"others": {"a": 3}}, "wing.others.a: must be a mapping with the key _target_, got 3"),
        ({"others": {"a": FEATHER | {"size": 3}}}, "wing.others.a.size: Wing takes no such value"),
        (
            {"others": {"a": FEATHER | {"inner": DENSE | {"widths": 1}}}},
            "wing.others.a.inner.widths: must be a list, got 1",
        ),
        (
            {"others": {"a": {"_target_": "os.system"}}},
            "wing.others.a._target_: 'os.system' is in the standard library",
        ),
        (
            {"others": {"a": {"_target_": "stranger.Mine"}}},
            "wing.others.a._target_: 'stranger.Mine' is in package 'stranger', which is",
        ),
        (
            {"inner": {"_target_": "torch.load", "f": "x"}},
            "wing.inner._target_: 'torch.load' is not a Network",
        ),
    ],
)
def test_what_is_wrong_inside_is_told_with_its_place_before_anything_is_made(change, message):
    before = Counted.made
    with pytest.raises(InputError) as caught:
        build(
            {"_target_": WING["_target_"], "inner": MINE, "size": 2, "others": {}} | change,
            Network,
            "wing",
            ["tests"],
        )
    assert str(caught.value).startswith(message) and Counted.made == before
    build(WING | {"inner": MINE}, Network, "wing", ["tests"])
    assert Counted.made == before + 1


def test_an_error_in_making_a_part_names_its_place():
    made = build(WING | {"others": {"a": FEATHER}}, Network, "wing", ["tests"])
    with pytest.raises(InputError, match="^wing.others.a: Wing cannot be made: ValueError: no wing has 13"):
        made.others["a"](size=13)


def test_parts_count_in_the_fingerprint(tmp_path, monkeypatch):
    (tmp_path / "strange.py").write_text("class Mine: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = WING | {"others": {"a": {"_target_": "strange.Mine"}}}
    before = fingerprint(spec)
    (tmp_path / "strange.py").write_text("class Mine: changed = True\n")
    assert fingerprint(spec) != before


def test_nearest_name():
    assert nearest("vea", ["vae", "ae"]) == " (did you mean 'vae'?)"
    assert nearest("zzz", ["vae", "ae"]) == ""


def test_a_file_that_is_a_program_must_be_trusted_by_its_name(tmp_path):
    """Features of `fid` may come from a TorchScript file; a stranger's configuration may name one too."""
    from latentrun.config.options import option
    from latentrun.diagnostics.base import Diagnostic

    file = tmp_path / "net.pt"
    file.touch()
    spec = option("diagnostic", "fid") | {"features": str(file)}
    for trust in ([], ["latentrun"], [str(tmp_path)]):
        with pytest.raises(
            InputError, match=r"diagnostic.fid.features: '.*net.pt' is a program; if you know it, add 'trust="
        ):
            build(spec, Diagnostic, "diagnostic.fid", trust)
    assert build(spec, Diagnostic, "diagnostic.fid", [str(file)]).features == str(file)
    assert build(spec | {"features": "pca"}, Diagnostic, "diagnostic.fid").features == "pca"
