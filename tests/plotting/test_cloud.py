"""Clouds to turn: what the figure holds, and what a reader sees who touches it in a browser."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from latentrun.plotting.cloud import Layer, cloud, drawn_latents
from latentrun.plotting.scatter import caption
from latentrun.plotting.sprite import sprite, thumbnails
from latentrun.plotting.style import paper
from latentrun.report.page import page
from latentrun.store import RunDirectory
from latentrun.types import Factor, Picture, Report
from tests.browser import CHROMIUM, Browser, page_of
from tests.planted_runs import CONFIG
from tests.plotting.test_sprite import grey, tiles

A, B = Factor("a", "real", 0, 1, "px"), Factor("b", "ordinal", 0, 40)
MARKUP = "<b>x</b> & <img src=x onerror=\"document.title='ran'\"> %{x}"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def numbered(numbers, size: int = 6) -> np.ndarray:
    """Pictures ``(N, size, size)`` of numbers: their bits, black and white, in reading order."""
    bits = np.asarray(numbers)[:, None] >> np.arange(size * size) & 1
    return bits.reshape(-1, size, size).astype(float)


# ---------------------------------------------------------------- the figure
def codes(n: int = 40, d: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, d))


def plain(figure) -> dict:
    """The figure as a page gets it."""
    return json.loads(figure.to_json())


def test_the_menu_recolours_the_codes_alone():
    z, values = codes(), np.linspace(0, 1, 40)
    kind = Factor("kind", "categorical", 0, 2, categories=("u", "v", "w"))
    figure = plain(cloud(z, [(A, values), (kind, np.arange(40) % 3)], layers=[Layer("p", "path", z[:4])]))
    buttons = figure["layout"]["updatemenus"][0]["buttons"]
    assert [button["label"] for button in buttons] == ["a", "kind"]
    for button in buttons:
        change, traces = button["args"]
        assert (
            traces == [0]
            and button["method"] == "restyle"
            and all(key.startswith("marker.") for key in change)
        )
    assert buttons[0]["args"][0]["marker.color"][0] == pytest.approx(values, abs=1e-4)
    assert buttons[1]["args"][0]["marker.colorbar.ticktext"] == [["u", "v", "w"]]
    assert figure["data"][0]["marker"]["color"] == buttons[0]["args"][0]["marker.color"][0]
    assert buttons[0]["args"][0]["marker.colorbar.title.text"] == [caption(A)] == ["a (px)"]
    bare = plain(cloud(z, []))
    assert bare["layout"].get("updatemenus", []) == [] and len(bare["data"]) == 1


def test_the_latents_drawn_are_those_of_highest_variance():
    z = codes(d=5) * [1, 5, 0.1, 4, 3]
    assert drawn_latents(z) == [1, 3, 4]
    layers = [Layer("all", "path", z[:4]), Layer("drawn", "path", z[:4, [1, 3, 4]])]
    figure = cloud(z, [], layers=layers)
    assert [figure.layout.scene[f"{side}axis"].title.text for side in "xyz"] == ["z1", "z3", "z4"]
    for trace, place in zip(figure.data, (z, z[:4], z[:4]), strict=True):
        assert np.column_stack([trace.x, trace.y, trace.z]) == pytest.approx(place[:, [1, 3, 4]], abs=1e-4)
    given = cloud(z, [], axes=[0, 1, 2])
    assert np.column_stack([given.data[0].x, given.data[0].y, given.data[0].z]) == pytest.approx(
        z[:, :3], abs=1e-4
    )


def test_layers():
    z, facets = codes(), np.array([[0, 1, 2], [1, 2, 3]])
    layers = [
        Layer("hull", "surface", z[:4], facets=facets),
        Layer("one", "path", z[:5], texts=[f"step {i}" for i in range(5)]),
        Layer("two", "path", z[5:9], shown=False),
        Layer("knots", "points", z[:2]),
        Layer("mistakes", "rings", z[:3]),
    ]
    figure = plain(cloud(z, [], layers=layers))
    traces = {trace["name"]: trace for trace in figure["data"]}
    assert list(traces) == ["codes", "hull", "one", "two", "knots", "mistakes"] and all(
        trace["showlegend"] for trace in traces.values()
    )
    assert traces["hull"]["type"] == "mesh3d" and traces["hull"]["opacity"] < 0.2
    assert np.array_equal(np.stack([traces["hull"][side] for side in "ijk"], 1), facets)
    assert (
        traces["one"]["mode"] == "lines+markers"
        and traces["one"]["line"]["color"] != traces["two"]["line"]["color"]
    )
    assert traces["one"]["marker"]["size"][0] > traces["one"]["marker"]["size"][1]
    assert traces["one"]["text"][2].startswith("one<br>step 2<br>z0 ")
    assert (traces["one"]["visible"], traces["two"]["visible"]) == (True, "legendonly")
    # What lies within these is touched, not they.
    assert [name for name, trace in traces.items() if trace["hoverinfo"] == "skip"] == ["hull", "mistakes"]


def test_many_paths_are_told_apart():
    z = codes()
    figure = cloud(z, [], layers=[Layer(str(i), "path", z[:3]) for i in range(12)])
    assert len({(trace.line.color, trace.line.dash) for trace in figure.data[1:]}) == 12


def test_pictures_of_codes_and_layers_lie_in_one_sheet():
    z = codes()
    layers = [
        Layer("path", "path", z[:5], images=numbered(range(100, 105))),
        Layer("bare", "points", z[:2]),
        Layer("knots", "points", z[:3], images=numbered(range(200, 203))),
    ]
    figure = plain(cloud(z, [(B, np.arange(40))], images=numbered(range(40)), layers=layers))
    firsts = [trace.get("meta", {}).get("tile") for trace in figure["data"]]
    assert firsts == [0, 40, None, 45]
    shown = grey(tiles(figure["layout"]["meta"], 48)).round().reshape(48, -1) @ 2.0 ** np.arange(36)
    assert shown.tolist() == [*range(40), *range(100, 105), *range(200, 203)]
    assert (
        figure["data"][0]["customdata"][7].splitlines()[1] == "b: 7"
        and figure["data"][0]["hoverinfo"] == "none"
    )
    assert figure["data"][2]["hoverinfo"] == "text"
    assert "meta" not in plain(cloud(z, []))["layout"]


def test_numbers_that_differ_are_refused():
    z = codes()
    for wrong, said in (
        (lambda: cloud(z, [], images=numbered(range(39))), "39 pictures of 40 codes"),
        (
            lambda: cloud(z, [], layers=[Layer("p", "path", z[:3], images=numbered(range(2)))]),
            "2 pictures of 3 points of 'p'",
        ),
        (lambda: cloud(z, [], layers=[Layer("p", "path", z[:3], texts=["a", "b"])]), "."),
        (lambda: cloud(z, [(A, np.zeros(39))]), "."),
        (
            lambda: cloud(
                z,
                [],
                images=numbered(range(40)),
                layers=[Layer("p", "path", z[:3], images=numbered([1, 2, 3], 5))],
            ),
            "shapes",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            wrong()


def test_markup_in_names_is_text():
    z, name = codes(), MARKUP
    kind = Factor(name, "categorical", 0, 1, name, categories=(name, "v"))
    figure = plain(
        cloud(
            z,
            [(kind, np.arange(40) % 2), (replace(A, name=name), np.zeros(40))],
            layers=[Layer(name, "path", z[:2])],
        )
    )
    safe = "&lt;b&gt;x&lt;/b&gt; &amp; &lt;img"
    bar = figure["data"][0]["marker"]["colorbar"]
    assert "hovertemplate" not in figure["data"][0]  # names in a template would be filled in
    for text in (
        figure["data"][0]["text"][0],
        figure["data"][1]["text"][0],
        figure["data"][1]["name"],
        bar["title"]["text"],
        bar["ticktext"][0],
        figure["layout"]["updatemenus"][0]["buttons"][0]["label"],
    ):
        assert safe in text and "<b>" not in text and "<img" not in text


# ---------------------------------------------------------------- in a browser
N, STEPS = 24, 6
# Codes on a spiral within a cube whose surface hides them all, a path along its edge.
TURN = np.linspace(0, 5, N)
PLACES = np.column_stack([np.cos(TURN), np.sin(TURN), np.linspace(-1, 1, N)])
CUBE = 1.6 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
FACETS = ConvexHull(CUBE).simplices
PATH = np.column_stack([np.full(STEPS, 2.0), np.linspace(-2, 2, STEPS), np.full(STEPS, 2.0)])
# Where a place is in the window: plotly's own way from data to the screen.
WHERE = """(place) => {
  const figure = document.querySelector(".js-plotly-plot"), scene = figure._fullLayout.scene._scene;
  const { model, view, projection } = scene.glplot.cameraParams;
  let p = [...place.map((value, i) => value * scene.dataScale[i]), 1];
  for (const m of [model, view, projection]) {
    p = [0, 1, 2, 3].map((i) => m[i] * p[0] + m[4 + i] * p[1] + m[8 + i] * p[2] + m[12 + i] * p[3]);
  }
  const { left, top, width, height } = scene.container.getBoundingClientRect();
  return [left + (0.5 + 0.5 * p[0] / p[3]) * width, top + (0.5 - 0.5 * p[1] / p[3]) * height];
}"""
# The picture in the box as a number, from the middles of its pixels and from near their corners; -1 where
# these disagree.
NUMBER = """(size) => {
  const picture = document.querySelector(".touched canvas"), pen = picture.getContext("2d");
  const step = picture.width / size;
  const bit = (x, y) => {
    const [r, g, b] = pen.getImageData(x, y, 1, 1).data;
    return r > 200 && g > 200 && b < 100 ? 1 : 0;
  };
  let number = 0;
  for (let i = 0; i < size * size; i++) {
    const [x, y] = [(i % size) * step, Math.floor(i / size) * step];
    const bits = [[0.5, 0.5], [0.1, 0.1], [0.9, 0.9]]
      .map(([a, b]) => bit(Math.floor(x + a * step), Math.floor(y + b * step)));
    if (new Set(bits).size > 1) return -1;
    number += bits[0] * 2 ** i;
  }
  return number;
}"""
BOX = (
    "document.querySelector('.touched').style.display === 'block' && "
    "document.querySelector('.touched').textContent"
)
TRACES = "document.querySelector('.js-plotly-plot')._fullData"


def figure_to_touch():
    path = Layer(
        MARKUP,
        "path",
        PATH,
        texts=[f"step {i}" for i in range(STEPS)],
        images=numbered(range(1000, 1000 + STEPS)),
    )
    layers = [Layer("hull", "surface", CUBE, facets=FACETS), path, Layer("knots", "points", 1.2 * CUBE[:2])]
    return cloud(
        PLACES,
        [(A, np.linspace(0, 1, N)), (B, np.arange(N)[::-1])],
        images=numbered(range(N)),
        layers=layers,
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser that shows the report page of a run with the figure; its complaints are the page's."""
    folder = tmp_path_factory.mktemp("cloud")
    run = RunDirectory.create(
        folder / "run", CONFIG, {"choices": {}, "argv": [], "versions": {}, "device": {}}
    )
    run.write_report("probe", Report(notes=("a note",)), {}, {})
    with paper():
        run.write_pictures("probe", {"cloud": Picture(figure_to_touch(), "A cloud.")})
    run.write_page(page(run))
    with Browser(folder / "profile", 1200, 1000) as shown:
        shown.open(run.path / "report.html", "document.querySelector('.js-plotly-plot .gl-container canvas')")
        shown.read("document.querySelector('.js-plotly-plot').scrollIntoView()")
        yield shown


def touch(browser: Browser, place) -> str:
    """Put the mouse on a place of the cloud: the text of the box that comes."""
    browser.move(3, 3)
    browser.wait("document.querySelector('.touched').style.display === 'none'")
    x, y = browser.read(f"({WHERE})({json.dumps(list(place))})")
    browser.move(x, y)
    return browser.wait(BOX)


@needs_browser
def test_touching_a_code_within_the_hull_shows_its_picture_and_its_values(browser):
    for i in (0, 9, N - 1):
        said = touch(browser, PLACES[i]).splitlines()
        assert browser.read(f"({NUMBER})(6)") == i
        assert said == [
            f"z0 {PLACES[i, 0]:.3g}, z1 {PLACES[i, 1]:.3g}, z2 {PLACES[i, 2]:.3g}",
            f"a: {i / (N - 1):.3g} px",
            f"b: {N - 1 - i}",
        ]
    assert browser.read("document.querySelector('.touched canvas').width") == 150
    corners = browser.read(
        "(({left, top, right, bottom}) => [left, top, innerWidth - right, innerHeight - bottom])"
        "(document.querySelector('.touched').getBoundingClientRect())"
    )
    assert min(corners) >= 0
    browser.move(3, 3)
    browser.wait("document.querySelector('.touched').style.display === 'none'")
    assert browser.complaints == []


@needs_browser
def test_touching_a_path_shows_what_is_decoded_there_and_markup_is_text(browser):
    for i in (0, 4):
        said = touch(browser, PATH[i])
        assert browser.read(f"({NUMBER})(6)") == 1000 + i
        assert said.splitlines()[:2] == [MARKUP, f"step {i}"]
    assert (
        browser.read("document.querySelectorAll('.touched *').length") == 2
        and browser.read("document.title") == "run"
    )
    legend = browser.read("[...document.querySelectorAll('.legendtext')].map((text) => text.textContent)")
    assert legend == ["codes", "hull", MARKUP, "knots"]


@needs_browser
def test_a_point_without_a_picture_has_plotlys_label_and_no_box(browser):
    touch(browser, PLACES[3])
    x, y = browser.read(f"({WHERE})({json.dumps((1.2 * CUBE[1]).tolist())})")
    browser.move(x, y)
    label = browser.wait("document.querySelector('.gl-container ~ * .hovertext, .hovertext')?.textContent")
    assert "knots" in label and "z0 -1.92" in label
    assert not browser.read(BOX)


@needs_browser
def test_the_menu_recolours_the_codes(browser):
    def colours():
        return browser.read(
            f"[{TRACES}[0].marker.color, {TRACES}[0].marker.colorbar.title.text, {TRACES}[2].marker.color]"
        )

    def choose(name):
        middle = "((box) => [box.x + box.width / 2, box.y + box.height / 2])"
        browser.click(
            *browser.read(f"{middle}(document.querySelector('.updatemenu-header').getBoundingClientRect())")
        )
        found = (
            "[...document.querySelectorAll('.updatemenu-dropdown-button')].find((each) => "
            f"each.textContent === '{name}')"
        )
        browser.click(
            *browser.read(f"{middle}({browser.wait(f'!!{found}') and found}.getBoundingClientRect())")
        )

    before = colours()
    assert before[0] == pytest.approx(np.linspace(0, 1, N), abs=1e-4) and before[1] == "a (px)"
    choose("b")
    browser.wait(f"{TRACES}[0].marker.colorbar.title.text === 'b'")
    after = colours()
    assert after[0] == list(range(N))[::-1] and after[2] == before[2]
    choose("a")
    browser.wait(f"{TRACES}[0].marker.colorbar.title.text === 'a (px)'")
    assert colours() == before


@needs_browser
def test_the_legend_hides_and_shows_layers(browser):
    def shown():
        return browser.read(f"{TRACES}.map((trace) => trace.visible)")

    def click(i):
        box = browser.read(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelectorAll('.legendtoggle')[{i}].getBoundingClientRect())"
        )
        browser.click(*box)

    assert shown() == [True] * 4
    for i in (1, 2):
        click(i)
        browser.wait(f"{TRACES}[{i}].visible === 'legendonly'")
        assert shown() == [True if j != i else "legendonly" for j in range(4)]
        click(i)
        browser.wait(f"{TRACES}[{i}].visible === true")
    # The hull was made anew: it still does not hide the codes within.
    touch(browser, PLACES[5])
    assert browser.read(f"({NUMBER})(6)") == 5


STRANGE = {
    "good": {},
    "elsewhere": {"sprite": "https://example.org/spy.png"},
    "another kind": {"sprite": "data:image/svg+xml;base64,PHN2Zy8+"},
    "no address": {"sprite": "data:image/png;base64,\" onerror=\"document.title='ran'"},
    "no picture": {"sprite": "data:image/png;base64,AAAA"},
    "no columns": {"columns": 0},
    "endless": {"width": 1e9},
    "text": {"height": "6"},
    "nothing": None,
}


@needs_browser
def test_what_is_no_sheet_of_pictures_is_not_shown(tmp_path):
    """A stranger's figure may say anything: nothing of it is loaded or run, and no box comes."""
    sheet = sprite(thumbnails(numbered(range(3))))
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [0, 1, 2],
        "y": [0, 1, 2],
        "meta": {"tile": 0},
        "customdata": [MARKUP] * 3,
    }
    size = {"width": 300, "height": 200}
    figures = [
        {"data": [trace], "layout": size | ({} if change is None else {"meta": sheet | change})}
        for change in STRANGE.values()
    ]
    (tmp_path / "page.html").write_text(page_of(figures, "a title"))
    with Browser(tmp_path / "profile", 1000, 800) as strange:
        strange.open(
            tmp_path / "page.html", f"document.querySelectorAll('.js-plotly-plot').length === {len(figures)}"
        )
        found = {}
        for i, name in enumerate(STRANGE):
            middle = strange.read(f"""(() => {{
              const figure = document.querySelectorAll(".js-plotly-plot")[{i}];
              const {{ xaxis, yaxis }} = figure._fullLayout;
              figure.scrollIntoView();
              figure.on("plotly_hover", () => {{ window.hovered = {i}; }});
              const {{ left, top }} = figure.getBoundingClientRect();
              return [left + xaxis._offset + xaxis.d2p(1), top + yaxis._offset + yaxis.d2p(1)];
            }})()""")
            strange.move(*middle)
            strange.wait(f"window.hovered === {i}")
            strange.read("new Promise((done) => setTimeout(done, 200))")
            found[name] = strange.read(BOX)
        assert found == {name: MARKUP if name == "good" else False for name in STRANGE}
        assert strange.read("document.title") == "a title" and strange.complaints == []
