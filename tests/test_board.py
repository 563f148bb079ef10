"""TensorBoard: what a run that goes on leaves, charts by phase, codes for the projector, each read back by
TensorBoard itself."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PagesAccumulator
from tensorboard.plugins.custom_scalar import metadata as charts
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.summary.writer import event_file_writer

from latentrun.plotting.sprite import LEVELS
from latentrun.report.board import Board, tag_of
from latentrun.report.projector import PICTURED, POINTS, _image, sprites, write_projector
from latentrun.system.door import Guarded
from latentrun.types import Factor
from tests.planted import Deterministic, Rows, planted_run


@pytest.fixture(autouse=True)
def _file_names_in_order(monkeypatch):
    """Files of one second and process are told apart by a count, and read in the order of letters: 10 before
    9."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def events(folder):
    found = EventAccumulator(str(folder))
    return found.Reload()


# ---------------------------------------------------------------- event files
def test_a_run_that_goes_on_has_every_step_once(tmp_path):
    with Board(Guarded(tmp_path), purge_step=1) as board:
        for step in range(1, 11):
            board.scalars(step, {"loss": step})
    with Board(Guarded(tmp_path), purge_step=6) as board:
        for step in range(6, 13):
            board.scalars(step, {"loss": -step})
    wanted = [(step, step if step < 6 else -step) for step in range(1, 13)]
    assert [(event.step, event.value) for event in events(tmp_path).Scalars("loss")] == wanted
    # The reader behind TensorBoard's own pages has another rule of what a restart is.
    found = PagesAccumulator(str(tmp_path)).Reload().Tensors("loss")
    assert [(event.step, event.tensor_proto.float_val[0]) for event in found] == wanted


def test_without_a_purge_nothing_that_is_there_is_lost(tmp_path):
    with Board(Guarded(tmp_path), purge_step=1) as board:
        board.scalars(10, {"val/loss": 1.0})
    with Board(Guarded(tmp_path)) as board:  # a diagnostic added later
        board.scalars(10, {"samples/distance_ratio": 2.0})
    found = events(tmp_path)
    assert [event.value for event in found.Scalars("val/loss")] == [1.0]
    assert [event.value for event in found.Scalars("samples/distance_ratio")] == [2.0]


def test_an_error_leaves_a_whole_file(tmp_path):
    with pytest.raises(RuntimeError), Board(Guarded(tmp_path)) as board:
        board.scalars(1, {"loss": 3.0})
        raise RuntimeError
    assert [event.value for event in events(tmp_path).Scalars("loss")] == [3.0]


def test_what_is_written_is_on_disk_at_once(tmp_path):
    with Board(Guarded(tmp_path)) as board:
        board.scalars(1, {"loss": 3.0})
        assert [event.value for event in events(tmp_path).Scalars("loss")] == [
            3.0
        ]  # all that a killed process leaves


def layout_of(folder) -> dict[str, dict[str, list[str]]]:
    """{category: {chart: patterns}} of the last layout."""
    last = events(folder).Tensors(charts.CONFIG_SUMMARY_TAG)[-1]
    layout = Layout.FromString(last.tensor_proto.string_val[0])
    return {
        group.title: {chart.title: list(chart.multiline.tag) for chart in group.chart}
        for group in layout.category
    }


def row(phase: str, step: int, **values: float) -> dict:
    return {"phase": phase, "epoch": step, "step": step} | {
        name.replace("__", "/"): value for name, value in values.items()
    }


def test_training_and_validation_of_a_term_share_a_chart(tmp_path):
    rows = [row("vae", 1, train__loss=2.0, train__kl=1.0, val__monitor=3.0, val__kl=1.5, learning_rate=0.1)]
    with Board(Guarded(tmp_path)) as board:
        board.epoch(rows, phases=1)
    loss, kl = ["^loss/train$", "^loss/validation$"], ["^terms/kl/train$", "^terms/kl/validation$"]
    rate = ["^terms/learning_rate$"]
    assert layout_of(tmp_path) == {"training": {"loss": loss, "kl": kl, "learning rate": rate}}
    assert set(events(tmp_path).Tags()["scalars"]) == {
        "loss/train",
        "terms/kl/train",
        "loss/validation",
        "terms/kl/validation",
        "terms/learning_rate",
    }


def test_the_loss_comes_first_the_chief_metrics_next_and_latent_variables_last(tmp_path):
    """TensorBoard sorts the groups of its cards, and the page HParams the tags it takes for metrics."""
    values = {f"latent__kl.{i}": 1.0 for i in range(32)}
    columns = {
        "train__loss": 2.0,
        "train__kl": 1.0,
        "val__monitor": 3.0,
        "val__loss": 3.0,
        "learning_rate": 0.1,
    }
    with Board(Guarded(tmp_path), purge_step=1) as board:
        board.epoch([row("vae", 1, **columns, **values)], phases=1)
        board.metrics(1, {"knn/accuracy": 0.5, "reconstruction/error_mean": 1.0, "fid/fid": float("nan")})
    tags = sorted(events(tmp_path).Tags()["scalars"])
    groups = list(dict.fromkeys(tag.partition("/")[0] for tag in tags))
    assert groups == ["loss", "main", "metrics", "terms", "variables"]
    assert tags[:4] == [
        "loss/train",
        "loss/validation",
        "main/reconstruction/error_mean",
        "metrics/knn/accuracy",
    ]
    assert len(tags) == 2 + 2 + 3 + 32


@pytest.mark.parametrize(
    ("column", "phase", "tag"),
    [
        ("train/critic/loss", "", "loss/critic/train"),
        ("train/critic/loss", "gan/", "loss/gan/critic/train"),
        ("val/monitor", "first/", "loss/first/validation"),
        ("train/mse", "first/", "terms/first/mse/train"),
        ("gamma", "", "terms/gamma"),
        ("latent/var_mean.3", "first/", "variables/var_mean.3"),
    ],
)
def test_tags_of_columns(column, phase, tag):
    assert tag_of(column, phase) == tag


def test_charts_of_several_phases_also_where_the_run_goes_on_in_the_second(tmp_path):
    rows = [
        row("first", 1, train__loss=2.0),
        row("first", 2, train__loss=1.0),
        row("second", 3, train__mse=5.0),
    ]
    with Board(Guarded(tmp_path), purge_step=1) as board:
        board.epoch(rows[:1], phases=2)
    with Board(Guarded(tmp_path), purge_step=2) as board:
        board.epoch(rows[:2], phases=2)
        board.epoch(rows, phases=2)
    assert layout_of(tmp_path) == {
        "first": {"loss": ["^loss/first/train$"]},
        "second": {"mse": ["^terms/second/mse/train$"]},
    }
    assert [event.value for event in events(tmp_path).Scalars("loss/first/train")] == [2.0, 1.0]
    assert [event.value for event in events(tmp_path).Scalars("terms/second/mse/train")] == [5.0]


def test_latent_variables_share_a_chart_for_each_quantity_and_their_names_in_all_phases(tmp_path):
    first = {f"latent__{name}.{i}": 0.1 * i for name in ("var_mean", "kl") for i in range(12)}
    rows = [
        row("first", 1, train__loss=2.0, **first),
        row("second", 2, train__loss=1.0, **{name: value + 1 for name, value in first.items()}),
    ]
    with Board(Guarded(tmp_path), purge_step=1) as board:
        board.epoch(rows[:1], phases=2)
        board.epoch(rows, phases=2)
    found = layout_of(tmp_path)
    assert list(found) == ["first", "second", "latent variables"] and found["second"] == {
        "loss": ["^loss/second/train$"]
    }
    assert found["latent variables"] == {
        "var mean": [r"^variables/var_mean\.\d+$"],
        "kl": [r"^variables/kl\.\d+$"],
    }
    scalars = events(tmp_path)
    tags = scalars.Tags()["scalars"]
    (pattern,) = found["latent variables"]["kl"]
    assert sorted(tag for tag in tags if re.fullmatch(pattern, tag)) == sorted(
        f"variables/kl.{i}" for i in range(12)
    )
    assert [(event.step, round(event.value, 5)) for event in scalars.Scalars("variables/kl.11")] == [
        (1, 1.1),
        (2, 2.1),
    ]
    assert len(tags) == 2 + 24


# ---------------------------------------------------------------- projector
def run_of(n: int, latent_dim: int = 3, shape=(1, 6, 4), factors=(), y=None, labels=None):
    x = torch.arange(n * int(np.prod(shape)), dtype=torch.float32).reshape(n, *shape) / (
        n * int(np.prod(shape))
    )
    model = Deterministic(lambda x: x.flatten(1)[:, :latent_dim], lambda z: z, latent_dim, shape)
    return planted_run(model, Rows(x, y, factors, labels))


def config_of(folder):
    """The configuration as TensorBoard's own page parses it."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    return text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig()).embeddings[0]


def cells(path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def test_the_projector_gets_codes_factors_and_pictures(tmp_path):
    from tensorboard.plugins.projector.projector_plugin import _read_tensor_tsv_file

    names = ("plain", 'with\ttab, "quotes"', "with\nline\r\nends")
    factors = (Factor("angle", "real", 0, 1), Factor("kind\tof", "categorical", 0, 2, categories=names))
    y = torch.tensor([[i / 10, i % 3] for i in range(10)])
    run = run_of(10, factors=factors, y=y, labels=torch.arange(10) % 2)
    write_projector(Guarded(tmp_path), run)
    info = config_of(tmp_path)
    assert (info.tensor_name, list(info.tensor_shape)) == ("10 test codes", [10, 3])
    assert not any(
        path.startswith("/") for path in (info.tensor_path, info.metadata_path, info.sprite.image_path)
    )
    codes = _read_tensor_tsv_file(str(tmp_path / info.tensor_path))
    assert np.allclose(codes, run.latents("test").codes, rtol=1e-5)
    table = cells(tmp_path / info.metadata_path)
    assert (
        table[0] == ["row", "angle", "kind of", "class"]
        and len(table) == 11
        and {len(line) for line in table} == {4}
    )
    assert [line[2] for line in table[1:4]] == ["plain", 'with tab, "quotes"', "with line  ends"]
    assert [line[0] for line in table[1:]] == [str(i) for i in range(10)] and [
        line[3] for line in table[1:4]
    ] == ["0", "1", "0"]
    # Width, then height, of one picture; 4 x 4 of them hold ten.
    with Image.open(tmp_path / info.sprite.image_path) as sheet:
        assert list(info.sprite.single_image_dim) == [4, 6] and sheet.size == (16, 24)


def test_a_column_of_its_own_has_no_header_and_a_line_gets_three_axes(tmp_path):
    write_projector(Guarded(tmp_path), run_of(5, latent_dim=1, shape=(7,)))
    assert cells(tmp_path / "metadata.tsv") == [[str(i)] for i in range(5)]
    assert list(config_of(tmp_path).tensor_shape) == [5, 3] and {
        tuple(line[1:]) for line in cells(tmp_path / "codes.tsv")
    } == {("0", "0")}
    assert not config_of(tmp_path).HasField("sprite") and not (tmp_path / "sprites.png").exists()


@pytest.mark.parametrize(("shape", "most"), [((3,), POINTS), ((1, 1, 3), PICTURED)])
def test_too_many_codes_are_thinned_evenly_and_it_says_so(tmp_path, shape, most):
    write_projector(Guarded(tmp_path), run_of(2 * most - 1, shape=shape))
    assert config_of(tmp_path).tensor_name == f"{most} of {2 * most - 1} test codes, evenly spaced"
    assert [int(line[0]) for line in cells(tmp_path / "metadata.tsv")] == list(range(0, 2 * most - 1, 2))


def test_sprites_lie_in_rows_and_columns_of_one_number():
    x = torch.arange(5.0)[:, None, None, None].expand(5, 1, 3, 2) / 4
    sheet, size = sprites(x, (0.0, 1.0))
    assert size == (2, 3) and sheet.shape == (9, 6) and sheet.dtype == np.uint8
    assert sheet[::3, ::2].ravel()[:5].tolist() == [0, 64, 128, 191, 255]


def test_a_sheet_of_greys_has_as_many_shades_as_the_pages_show(tmp_path):
    sheet = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    shown = np.asarray(_image(sheet).convert("L"), int)
    assert len(np.unique(shown)) == LEVELS and np.abs(shown - sheet).max() <= 2
    coloured = np.stack([sheet] * 3, axis=2)
    assert np.array_equal(np.asarray(_image(coloured)), coloured)


def test_large_pictures_are_shrunk_so_that_a_sheet_stays_within_the_limit():
    x = torch.zeros(PICTURED, 1, 2, 2).repeat_interleave(50, -1)  # 2 x 100
    x[..., 50:] = 1.0
    sheet, size = sprites(x, (0.0, 1.0))
    assert size == (64, 2) and max(sheet.shape) <= 8192
    assert (sheet[0, :64] == np.repeat([0, 255], 32)).all()
