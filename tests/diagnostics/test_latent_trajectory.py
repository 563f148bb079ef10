"""Codes that move in a known way during training, and what is said and drawn of them."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from latentrun.diagnostics.training.latent_trajectory import LatentTrajectory
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.plotting.animation import gif
from latentrun.plotting.style import paper
from latentrun.store import RunDirectory
from latentrun.types import Animation, History
from tests.planted import Deterministic, Rows, planted_run

N, E = 512, 21
SPREAD = Noise(0).normal("codes", (N, 2)).double()
SPREAD = (
    (SPREAD - SPREAD.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(SPREAD.T))).T
).numpy()  # covariance 1
SETTINGS = {
    "record": "steps",
    "shown": 10,
    "pair": None,
    "settled": 0.1,
    "flat": 0.02,
    "resamples": 200,
    "tail": 5,
    "milliseconds": 80,
}


def history(
    epochs: np.ndarray, scale: np.ndarray | float | None = 0.2, steps: np.ndarray | None = None
) -> History:
    """The record of codes ``(E, N, d)``; ``steps (S, 10, d)`` are those of the epochs unless given."""
    steps = epochs[:, :10] if steps is None else steps
    scales = [
        np.zeros((*z.shape[:2], 0)) if scale is None else np.broadcast_to(scale, z.shape)
        for z in (epochs, steps)
    ]
    times = np.unique(np.geomspace(1, 5000, 4 * len(steps)).round().astype(int))[: len(steps)]
    return History(
        np.arange(N),
        np.arange(1, len(epochs) + 1),
        epochs.astype(np.float32),
        scales[0].astype(np.float32),
        np.arange(10),
        times,
        steps.astype(np.float32),
        scales[1].astype(np.float32),
    )


def line(speed: np.ndarray) -> np.ndarray:
    """Codes of covariance 1 that all move along (1, 1) by ``speed (E - 1,)`` an epoch, in sd along each
    axis."""
    way = np.concatenate([[0], np.cumsum(speed)])
    return SPREAD + way[:, None, None]


def measure(found: History | None, **changes):
    d = 2 if found is None else found.epoch_mean.shape[2]
    x = torch.rand(N, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    model = Deterministic(lambda x: x.flatten(1)[:, :d], lambda z: z, d, (1, 5, 6))
    run = planted_run(model, Rows(x), history=found)
    asked = LatentTrajectory(**SETTINGS | changes)
    asked.check(run.model, run.data)
    return asked, asked(run, Noise(0).at("test"))


def test_known_speed_along_a_line():
    asked, report = measure(history(line(np.full(E - 1, 0.25)), scale=np.array([0.1, 0.4])))
    m = report.metrics
    for name, expected in {
        "moved.first": 0.25,
        "moved.last": 0.25,
        "straightness": 1.0,
        "rigid": 1.0,
    }.items():
        assert m[name].value == pytest.approx(expected, rel=1e-4)
    assert m["sigma_geometric"].value == m["sigma_geometric.pair"].value == pytest.approx(0.2, rel=1e-5)
    assert math.isnan(m["settled"].value) and any("Not settled" in note for note in report.notes)
    assert (report.tables["epochs"]["epoch"] == np.arange(2, E + 1)).all()
    np.testing.assert_allclose(report.tables["epochs"]["moved"], 0.25, rtol=1e-4)


@pytest.mark.parametrize("stop", [1, 8, 15])
def test_settles_at_the_epoch_planted(stop):
    """Epoch ``stop + 1`` is the last that moves the codes by more than the limit; a slow creep goes on."""
    speed = np.where(np.arange(E - 1) < stop, 0.3, 0.05)
    found = measure(history(line(speed)))[1].metrics["settled"]
    assert found.value == stop + 1 and found.method.startswith("none: equal whichever")
    # Another limit, another answer.
    assert math.isnan(measure(history(line(speed)), settled=0.01)[1].metrics["settled"].value)
    assert measure(history(line(speed)), settled=0.5)[1].metrics["settled"].value == 1


def test_the_interval_of_settling_reaches_to_epochs_that_other_examples_would_have_named():
    """One example in eight makes a long step in epoch 10: the mean step is just above the limit, of many
    resamples below."""
    z = line(np.where(np.arange(E - 1) < 4, 0.5, 0.0))
    jump = np.zeros((N, 1))
    jump[::8] = 0.95
    z[9:] = z[9:] + jump
    found = measure(history(z))[1].metrics["settled"]
    assert found.value == 10 and (found.low, found.high) == (5, 10)


def test_still_codes():
    report = measure(history(np.repeat(SPREAD[None], E, 0)))[1]
    m = report.metrics
    assert m["moved.last"].value == 0 and m["settled"].value == 1
    assert math.isnan(m["straightness"].value) and math.isnan(m["rigid"].value)


def test_a_turning_space_is_rigid_and_a_growing_one_is_not():
    angle = 0.05 * np.arange(E)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    turned, grown = SPREAD @ turn, SPREAD * np.linspace(0.5, 1, E)[:, None, None]
    assert measure(history(turned))[1].metrics["rigid"].value == pytest.approx(1, abs=1e-4)
    found = measure(history(grown))[1].metrics
    assert found["rigid"].value == pytest.approx(0, abs=1e-3) and found[
        "straightness"
    ].value == pytest.approx(1, abs=1e-4)


def test_units_are_the_spread_of_the_last_codes_and_flat_axes_do_not_count():
    stretched = line(np.full(E - 1, 0.25)) * np.array([10.0, 0.5])
    assert measure(history(stretched))[1].metrics["moved.last"].value == pytest.approx(0.25, rel=1e-4)
    flat = np.concatenate([line(np.full(E - 1, 0.25)), 1e-3 * Noise(3).normal("flat", (E, N, 1)).numpy()], 2)
    report = measure(history(flat))[1]
    assert report.metrics["moved.last"].value == pytest.approx(0.25, rel=1e-3)
    assert any("1 of 3 principal directions" in note for note in report.notes)
    assert report.arrays["pair"].tolist() == [0, 1] and measure(history(flat), pair=(2, 0))[1].arrays[
        "pair"
    ].tolist() == [2, 0]


def test_intervals_of_moves_are_those_of_a_mean():
    own = 0.2 + 0.05 * Noise(5).uniform("speed", (N, 1)).numpy()
    moved = measure(history(SPREAD + np.arange(E)[:, None, None] * own))[1].metrics["moved.last"]
    sd = 0.05 / math.sqrt(12)
    assert (moved.high - moved.low) / 2 == pytest.approx(1.96 * sd / math.sqrt(N), rel=0.15)


def test_nothing_recorded_is_nothing_to_measure():
    with pytest.raises(NothingToMeasure, match="nothing was recorded while the model trained"):
        measure(None)


def test_equal_codes_and_one_epoch_say_so(tmp_path):
    asked, report = measure(history(np.ones((4, N, 2))))
    assert all(math.isnan(report.metrics[name].value) for name in ("moved.last", "settled", "rigid"))
    assert any("equal" in note for note in report.notes) and set(asked.plot(report)) == {"paths"}
    asked, report = measure(history(SPREAD[None]))
    assert list(report.metrics) == ["sigma_geometric", "sigma_geometric.pair"] and set(
        asked.plot(report)
    ) == {"paths"}
    assert gif(asked.plot(report)["paths"].frame, [80])


@pytest.mark.parametrize(
    ("pair", "said"), [((0, 2), "there is no latent 2; the model has 2"), ((1, 1), "names one latent twice")]
)
def test_a_pair_that_is_none_is_refused(pair, said):
    with pytest.raises(InputError, match=said):
        measure(history(line(np.full(E - 1, 0.2))), pair=pair)


# ---------------------------------------------------------------- pictures
def moving(report, asked) -> tuple[np.ndarray, list[int]]:
    picture = asked.plot(report)["paths"]
    assert isinstance(picture, Animation)
    image = Image.open(io.BytesIO(gif(picture.frame, picture.durations)))
    shown, times = [], []
    for i in range(image.n_frames):
        image.seek(i)
        shown.append(np.asarray(image.convert("RGB")).astype(int))
        times.append(image.info["duration"])
    return np.stack(shown), times


def test_the_film_has_a_frame_a_record_and_moves():
    asked, report = measure(history(line(np.full(E - 1, 0.25))))
    shown, times = moving(report, asked)
    assert times == [80] * (E - 1) + [2000]
    assert (np.abs(np.diff(shown, axis=0)).sum((1, 2, 3)) > 0).all()


def test_discs_are_where_the_codes_are():
    """One example alone, known by its colour, moves from left to right at constant speed."""
    z = np.repeat(SPREAD[None], E, 0)
    z[:, 0] = np.stack([np.linspace(-2, 2, E), np.zeros(E)], 1)
    asked, report = measure(history(z, scale=0.01), shown=1, tail=1)
    shown, _ = moving(report, asked)
    blue = np.abs(shown[:, 60:] - [0, 114, 178]).sum(3) < 60  # below the row of pictures
    column = (blue * np.arange(blue.shape[2])).sum((1, 2)) / blue.sum((1, 2))
    row = (blue * np.arange(blue.shape[1])[:, None]).sum((1, 2)) / blue.sum((1, 2))
    assert np.corrcoef(column, np.arange(E))[0, 1] > 0.999 and np.ptp(row) < 3


def test_circles_have_the_geometric_mean_of_sigma_as_radius():
    asked, report = measure(history(line(np.full(E - 1, 0.25)), scale=np.array([0.1, 0.9])))
    np.testing.assert_allclose(report.arrays["radius"], 0.3, rtol=1e-5)
    from latentrun.diagnostics.training.latent_trajectory_plot import Scene

    scene = Scene(report.arrays)
    scene.still()
    paths = scene.circles.get_paths()
    centre = report.arrays["mean"][-1]
    distance = np.linalg.norm(np.stack([path.vertices[:48] for path in paths]) - centre[:, None], axis=2)
    np.testing.assert_allclose(distance, 0.3, rtol=1e-4)


def test_examples_are_shown_with_their_own_pictures_and_spread_after_epochs():
    asked, report = measure(history(line(np.full(E - 1, 0.25))), record="epochs", shown=3)
    assert report.arrays["index"].tolist() == [0, 256, 511] and len(report.arrays["times"]) == E
    x = torch.rand(N, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(report.arrays["thumbnails"] / 255, x[[0, 256, 511]].numpy(), atol=1 / 255)
    assert {"epoch", "index", "z0", "z1", "radius"} == set(report.tables["paths"].columns)


@pytest.mark.parametrize("scale", [0.2, None])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_pictures_are_drawn_from_disk(tmp_path, d, scale):
    z = np.concatenate([line(np.full(E - 1, 0.25)), *[line(np.full(E - 1, 0.1))] * 2], 2)[..., :d]
    asked, report = measure(history(z, scale))
    assert ("sigma_geometric" in report.metrics) == ("radius" in report.arrays) == (scale is not None)
    directory = RunDirectory.create(tmp_path / "run", {}, {})
    directory.write_report("latent_trajectory", report, asked.metrics, {})
    with paper():
        directory.write_pictures("latent_trajectory", asked.plot(directory.read_report("latent_trajectory")))
    found = {path.name.removeprefix("latent_trajectory.") for path in (tmp_path / "run" / "plots").iterdir()}
    assert found == {"paths.png", "moves.png"} | ({"paths.gif"} if d > 1 else set())
