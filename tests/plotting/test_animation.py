"""Moving pictures as GIF files, read back with Pillow, on disk and on the page."""

from __future__ import annotations

import io
import re
from base64 import b64decode

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from latentrun.plotting.animation import gif
from latentrun.plotting.style import paper
from latentrun.report.page import page
from latentrun.store import RunDirectory
from latentrun.types import Animation, Picture, Report
from tests.planted_runs import CONFIG
from tests.test_report import harmless


def square(i: int) -> np.ndarray:
    """A blue square that moves to the right on white."""
    x = np.full((40, 60, 3), 255, np.uint8)
    x[10:20, 3 * i : 3 * i + 10] = (0, 114, 178)
    return x


def frames(data: bytes) -> tuple[np.ndarray, list[int], Image.Image]:
    image = Image.open(io.BytesIO(data))
    pictures, times = [], []
    for i in range(image.n_frames):
        image.seek(i)
        pictures.append(np.asarray(image.convert("RGB")))
        times.append(image.info["duration"])
    return np.stack(pictures), times, image


def test_frames_durations_and_pixels_come_back():
    pictures, times, image = frames(gif(square, [80, 120, 50, 1000]))
    assert (image.format, image.info["loop"], times) == ("GIF", 0, [80, 120, 50, 1000])
    np.testing.assert_array_equal(pictures, [square(i) for i in range(4)])


def test_it_is_the_same_every_time():
    assert gif(square, [80] * 5) == gif(square, [80] * 5)


def test_almost_white_is_white_on_the_page():
    dim = np.random.default_rng(0).integers(252, 256, (30, 30, 3)).astype(np.uint8)
    assert (frames(gif(lambda i: dim, [10]))[0] == 255).all()


def test_too_large_a_file_loses_every_second_frame_and_no_time():
    noise = np.random.default_rng(0).integers(0, 256, (9, 50, 50, 3)).astype(np.uint8)
    whole = gif(lambda i: noise[i], [100] * 9)
    small = gif(lambda i: noise[i], [100] * 9, len(whole) * 2 // 3)
    pictures, times, _ = frames(small)
    assert len(small) <= len(whole) * 2 // 3 and times == [100, 200, 200, 200, 200]
    np.testing.assert_array_equal(pictures, frames(whole)[0][::2])
    pictures, times, _ = frames(gif(lambda i: noise[i], [100] * 8, len(whole) * 2 // 3))
    assert times == [200] * 4 and len(pictures) == 4
    # One frame is what there is at least, and it is the last.
    pictures, _, _ = frames(gif(lambda i: noise[i], [100] * 9, 1))
    assert len(pictures) == 1
    np.testing.assert_allclose(pictures[0], frames(whole)[0][-1])


def test_frames_that_do_not_differ_become_one_as_long_as_both():
    pictures, times, _ = frames(gif(lambda i: square(i // 2), [100] * 4))
    assert times == [200, 200] and len(pictures) == 2


def test_nothing_to_show_is_an_error():
    with pytest.raises(ValueError, match="needs a frame"):
        gif(square, [])


# ---------------------------------------------------------------- in a run's directory
def animation(n: int = 3) -> Animation:
    with paper():
        still = Figure(figsize=(2, 2))
        still.subplots().plot([0, n])
    return Animation(still, "Where it goes.", square, (80,) * n, "It moves.")


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    meta = {
        "choices": {},
        "seed": 0,
        "versions": {},
        "device": {"kind": "cpu", "name": ""},
        "threads": 1,
        "git": None,
        "fit_hash": "",
    }
    made = RunDirectory.create(tmp_path / "run", CONFIG, meta)
    made.write_report("probe", Report(), {}, {"answers": "?"})
    with paper():
        made.write_pictures("probe", {"way": animation()}, ["pdf"])
    return made


def names(run: RunDirectory) -> set[str]:
    return {path.name for path in (run.path / "plots").iterdir()}


def test_a_still_stands_beside_what_moves(run):
    assert names(run) == {"probe.way.png", "probe.way.pdf", "probe.way.gif"}
    assert run.meta["captions"] == {"probe.way.png": "Where it goes.", "probe.way.gif": "It moves."}
    assert [path.name for path, _ in run.pictures("probe")] == ["probe.way.png", "probe.way.gif"]
    assert len(frames((run.path / "plots" / "probe.way.gif").read_bytes())[0]) == 3


def test_it_is_drawn_anew_and_goes_when_it_is_no_longer_drawn(run):
    with paper():
        run.write_pictures("probe", {"way": animation(5)})
        assert len(frames((run.path / "plots" / "probe.way.gif").read_bytes())[0]) == 5
        run.write_pictures("probe", {"way": Picture(animation().figure, "A still alone.")})
    assert names(run) == {"probe.way.png", "probe.way.pdf"} and list(run.meta["captions"]) == [
        "probe.way.png"
    ]


def test_the_page_holds_the_file_itself_under_the_strict_policy(run):
    html = page(run)
    elements = harmless(html, drawing=False)
    (data,) = re.findall(r'src="data:image/gif;base64,([^"]*)"', html)
    assert b64decode(data) == (run.path / "plots" / "probe.way.gif").read_bytes()
    assert len(elements.of("img")) == 2 and "Where it goes." in elements.text and "It moves." in elements.text


@pytest.mark.parametrize(
    "content", [b"<svg onload='alert(1)'></svg>", b"\x89PNG\r\n\x1a\n", b"", b"GIF88a..."]
)
def test_what_is_no_gif_is_said_and_not_shown(run, content):
    (run.path / "plots" / "probe.way.gif").write_bytes(content)
    elements = harmless(page(run), drawing=False)
    assert len(elements.of("img")) == 1 and "probe.way is no GIF" in elements.text
