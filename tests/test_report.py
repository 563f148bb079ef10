"""Pictures and the report page: what a reader sees, and that nothing a stranger wrote runs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from latentrun.errors import InputError
from latentrun.judgement import Finding, Weight
from latentrun.plotting.pages import embedded, packed, policy, read_figure, scripts
from latentrun.plotting.style import figure, paper
from latentrun.report.page import page
from latentrun.store import RunDirectory
from latentrun.types import Estimate, Metric, Picture, Report
from tests.browser import CHROMIUM, Browser, page_of
from tests.planted_runs import CONFIG

CANARY = (
    "\"'></script></style><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
)
NAME = CANARY.replace("/", "")  # of a diagnostic, which is one of files too


def cloud(name: str = "codes"):
    import plotly.graph_objects as go

    z = np.random.default_rng(0).normal(size=(50, 3))
    return go.Figure(
        go.Scatter3d(x=z[:, 0], y=z[:, 1], z=z[:, 2], mode="markers", name=name, showlegend=True)
    )


def line(values=(1.0, 2.0)) -> Figure:
    fig, axes = figure()
    axes[0, 0].plot(values)
    axes[0, 0].set(title="a title", xlabel="$z_0$")
    return fig


def directory(path, text: str = "text") -> RunDirectory:
    """A run with one diagnostic, a picture of each kind and ``text`` in every field that holds text."""
    meta = {
        "choices": {"model": text, "data": text, "network": text},
        "seed": text,
        "caveats": [text],
        "argv": [text],
        "versions": {text: text},
        "device": {"kind": text, "name": text},
        "threads": 1,
        "git": text,
        "fit_hash": text,
        "resumed": [{"at": text, "from": text, "notes": [text]}],
    }
    made = RunDirectory.create(path, {**CONFIG, "model": {text: text}}, meta)
    table = pd.DataFrame({text: [text], "value": [1.0]})
    report = Report({f"share.{text}": Estimate(0.5, 0.4, 0.6)}, {"table": table}, notes=(text,))
    made.write_report("probe", report, {"share": Metric(text)}, {"answers": text})
    made.write_report("left_out", Report(status="skipped", notes=(text,)), {}, {})
    with paper():
        made.write_pictures("probe", {"line": Picture(line(), text), "cloud": Picture(cloud(text), text)})
    made.write_table("timing", pd.DataFrame({"stage": [text], "name": [text], "seconds": [1.0]}))
    (path / "status.json").write_text(json.dumps({"state": "failed", "reason": text, "heartbeat": text}))
    return made


class Elements(HTMLParser):
    """Every element of a page with its attributes; the text of scripts; all text that is shown."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.text = self.title = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.lasttag == "title":
            self.title += data
        elif self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    def of(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.found if name == tag]


def in_browser(path, tmp_path) -> str:
    """The document as it is after its scripts ran."""
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ]
    options += [
        "--disable-component-update",
        "--disable-sync",
        "--enable-unsafe-swiftshader",
        "--virtual-time-budget=8000",
    ]
    command = [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def running(elements: Elements) -> list[str]:
    """The scripts that a browser would run: those that are no data, and the one that is packed."""
    texts = []
    for text, attrs in zip(elements.scripts, elements.of("script"), strict=True):
        if attrs.get("id") == "plotly":
            assert attrs["type"] == "text/plain"
            texts.append(gzip.decompress(base64.b64decode(text)).decode())
        elif attrs.get("type") != "application/json":
            texts.append(text)
    return texts


# ---------------------------------------------------------------- the policy
def hashes(html: str) -> list[str]:
    """sha256 of each script of a page that a browser would run, the packed one unpacked, as its policy writes
    it."""
    texts = running(Elements(html))
    return [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]


@pytest.mark.parametrize("kind", ["report", "figure"])
def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else(tmp_path, kind):
    html = page(directory(tmp_path / "run"))
    if kind == "figure":
        html = (tmp_path / "run" / "plots" / "probe.cloud.html").read_text()
    [rule] = [
        attrs["content"]
        for attrs in Elements(html).of("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(part.split(" ", 1) for part in rule.split("; "))
    assert rules.pop("script-src").split() == (hashes(html) or ["'none'"])
    assert len(hashes(html)) == (2 if kind == "report" else 0)
    assert rules == {
        "default-src": "'none'",
        "img-src": "data: blob:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_a_page_without_figures_runs_no_script(tmp_path):
    run = RunDirectory.create(
        tmp_path / "run", CONFIG, {"choices": {}, "argv": [], "versions": {}, "device": {}}
    )
    html = page(run)
    assert Elements(html).of("script") == [] and "script-src 'none'" in policy(False) and len(html) < 100_000


INJECTED = "<body><script>document.title = 'ran'</script><img src=x onerror=\"document.title = 'ran'\">"


@needs_browser
def test_the_cloud_is_drawn_under_the_policy_and_what_is_injected_is_not_run(tmp_path):
    made, path = directory(tmp_path / "run", CANARY), tmp_path / "page.html"
    path.write_text(page(made).replace("<body>", INJECTED))  # it holds even where escaping would not
    shown = Elements(in_browser(path, tmp_path))
    assert {"gl-container"} & {attrs.get("class") for attrs in shown.of("div")} and shown.of("canvas")
    assert shown.title.strip() == "run" and "cannot be drawn" not in shown.text


# ---------------------------------------------------------------- one copy of what draws
def test_the_page_of_a_figure_leads_to_the_report_which_alone_holds_what_draws(tmp_path):
    run = directory(tmp_path / "run")
    run.write_page(page(run))
    holding = [path.name for path in run.path.rglob("*.html") if packed() in path.read_text()]
    assert holding == ["report.html"]
    figure = Elements((run.path / "plots" / "probe.cloud.html").read_text())
    [link] = figure.of("a")
    path, _, place = link["href"].partition("#")
    assert (run.path / "plots" / path).resolve() == run.path / "report.html"
    assert place in [attrs.get("id") for attrs in Elements(page(run)).of("figure")]
    assert f"url={link['href']}" in figure.of("meta")[-1]["content"] and "copy report.html" in figure.text


# ---------------------------------------------------------------- a narrow window
STYLES = Path(__file__).parents[1] / "latentrun" / "report"


def test_nothing_on_a_page_is_wider_than_a_phone():
    """Tables scroll within themselves, pictures shrink, columns may be narrower than what is in them."""
    style = (STYLES / "base.html.j2").read_text()
    narrow = style[style.index("@media (max-width: 900px)") :]
    assert "grid-template-columns: minmax(0, 1fr)" in narrow
    wide = [int(number) for number in re.findall(r"(?<!max-)(?:min-)?width: (\d+)px", style)]
    assert all(number <= 390 for number in wide)
    assert "figure img { max-width: 100%" in style and "figure { margin: 18px 0; overflow-x: auto; }" in style
    for file in STYLES.glob("*.html.j2"):
        text = file.read_text()
        assert text.count("<table") == text.count('<div class="scroll"><table'), file.name


@needs_browser
def test_a_phone_shows_a_report_without_scrolling_sideways(tmp_path):
    run = directory(tmp_path / "run", "word " * 40 + "x" * 200)
    run.write_page(page(run))
    with Browser(tmp_path / "profile") as browser:
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True
        )
        browser.open(run.path / "report.html", "document.querySelector('.js-plotly-plot')")
        assert browser.read("document.documentElement.scrollWidth") <= 390


@needs_browser
def test_without_the_policy_the_injected_script_would_have_run(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        page_of([json.loads(cloud().to_json())], "a cloud")
        .replace("Content-Security-Policy", "no-policy")
        .replace("<body>", INJECTED)
    )
    assert Elements(in_browser(path, tmp_path)).title == "ran"


# ---------------------------------------------------------------- text of strangers
def harmless(html: str, drawing: bool = True) -> Elements:
    """The elements of a page, of which none can run anything but what draws figures, where there are any."""
    elements = Elements(html)
    assert running(elements) == (list(scripts()) if drawing else [])
    assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on")]
    assert all(
        attrs["src"].startswith(("data:image/png;base64,", "data:image/gif;base64,"))
        for attrs in elements.of("img")
    )
    assert all(attrs["href"].startswith("#") for attrs in elements.of("a"))
    return elements


def test_markup_in_any_text_of_a_run_is_text_on_its_page(tmp_path):
    run = directory(tmp_path / "run", CANARY)
    known = run.meta["diagnostics"]
    run.amend_meta(
        created=CANARY,
        diagnostics=known | {NAME: known["left_out"], "other" + NAME: {**known["left_out"], "status": "ok"}},
    )
    metrics = run.read_table("metrics")
    headline = metrics.iloc[0].to_dict() | {"diagnostic": "latents", "metric": f"knn_r2.{CANARY}"}
    run.write_table("metrics", pd.concat([metrics, pd.DataFrame([headline])]))
    elements = harmless(page(run))
    # Notes, captions, options, versions, settings, tables, metrics, units, times: each is there to read.
    assert elements.text.count(CANARY) >= 25


def test_a_page_that_is_read_and_written_again_takes_data_alone(tmp_path):
    run = directory(tmp_path / "run")
    path = tmp_path / "run" / "plots" / "probe.cloud.html"
    figure = read_figure(path.read_text())
    assert figure["data"][0]["name"] == "text" and embedded(figure) in page(run)
    figure["config"] = {"plotlyServerURL": "https://example.org"}
    figure["data"][0]["name"] = CANARY
    path.write_text(
        f"<script>document.title='ran'</script>{embedded(figure)}<script>document.title='ran'</script>"
    )
    html = page(run)
    assert "example.org" not in html
    found = [
        text
        for text, attrs in zip(harmless(html).scripts, Elements(html).of("script"), strict=True)
        if attrs.get("type") == "application/json"
    ]
    assert [json.loads(text)["data"][0]["name"] for text in found] == [CANARY]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<script>alert(1)</script>", "the page holds no figure"),
        (b"<!-- figure --><script>alert(1)</script><!-- /figure -->", "the page holds no figure"),
        (b'<script type="application/json" class="figure">[1]</script>', "the page holds no figure"),
        (
            b'<script type="application/json" class="figure">{"data": <script>alert(1)}</script>',
            "Expecting value",
        ),
        (
            b'<script type="application/json" class="figure">{"data": [{"x": [1e999]}]}</script>',
            "not JSON compliant",
        ),
        (
            b'<script type="application/json" class="figure">' + b"[" * 100_000 + b"</script>",
            "the page holds no figure",
        ),
        (b"\xff\xfe", "is no text in UTF-8"),
    ],
)
def test_what_is_no_figure_is_said_and_not_shown(tmp_path, content, said):
    run = directory(tmp_path / "run")
    (tmp_path / "run" / "plots" / "probe.cloud.html").write_bytes(content)
    elements = harmless(page(run), drawing=False)
    assert "probe.cloud cannot be shown: " in elements.text and said in elements.text


def test_only_a_png_is_shown_as_one(tmp_path):
    run = directory(tmp_path / "run")
    (tmp_path / "run" / "plots" / "probe.line.png").write_bytes(b"<svg onload='alert(1)'></svg>")
    elements = harmless(page(run))
    assert elements.of("img") == [] and "probe.line is no PNG" in elements.text


def test_how_an_interval_was_made_stands_in_the_table_and_on_the_page(tmp_path):
    """Each estimate's own words come back from the disk; an interval with one end is shown as such."""
    metrics = {
        "error": Estimate(2.0, 1.5, 2.5, "bootstrap over examples"),
        "error.tail": Estimate(3.0, 2.5, None, "order statistics over examples"),
        "error.most": Estimate(4.0, method="none: nothing bounds a maximum"),
        "error.bare": Estimate(5.0),
    }
    run = directory(tmp_path / "run")
    run.write_report("probe", Report(metrics), {"error": Metric("px")}, {})
    assert run.read_report("probe").metrics == metrics
    table = run.read_table("metrics").set_index("metric")
    assert table.loc["error", "method"] == "bootstrap over examples" and table.loc["error", "unit"] == "px"
    html = page(run)
    for text in ("≥ 2.5", "[1.5, 2.5]", "order statistics over examples", "nothing bounds a maximum"):
        assert text in html
    assert html.count("for variances 73 %") == 1  # what the bootstrap does not cover


# ---------------------------------------------------------------- names and links of strangers
@pytest.mark.parametrize(
    "name", ["../../secret.png", "/etc/secret.png", "a/b.png", "..", "", "nul\0.png", "back\\slash.png"]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    run = directory(tmp_path / "run")
    run.amend_meta(captions={name: "a caption"})
    with pytest.raises(InputError, match="a plain name was expected"):
        page(run)


@pytest.mark.parametrize("name", ["../../../secret", "/etc/passwd", "a/b"])
def test_a_table_elsewhere_is_refused(tmp_path, name):
    run = directory(tmp_path / "run")
    (tmp_path / "secret.csv").write_text("secret\n1\n")
    run.amend_meta(diagnostics={"x": {"status": "ok", "notes": [], "tables": [f"/{name}"]}})
    with pytest.raises(InputError, match="a plain name was expected"):
        page(run)


@pytest.mark.parametrize("link", ["plots/probe.line.png", "run.lock", "tables", "status.json"])
def test_a_link_in_the_directory_is_refused(tmp_path, link):
    directory(tmp_path / "run")
    outside = tmp_path / "outside"
    outside.write_text("secret")
    path = tmp_path / "run" / link
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to("../../outside" if "/" in link else outside)
    with pytest.raises(InputError, match=f"{link}' is a link; a plain file or folder was expected"):
        RunDirectory(tmp_path / "run")
    assert outside.read_text() == "secret"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("meta.json", '{"schema": 3, "diagnostics": []}', "diagnostics: must be a mapping"),
        (
            "meta.json",
            '{"schema": 3, "diagnostics": {"x": {"status": "fine"}}}',
            "diagnostics.x: status: 'fine' is not allowed",
        ),
        (
            "meta.json",
            '{"schema": 3, "diagnostics": {"x": {"tables": "abc"}}}',
            "diagnostics.x: tables: must be a list",
        ),
        ("meta.json", '{"schema": 3, "captions": {"a.png": {}}}', "captions.a.png: must be a text"),
        ("meta.json", "[]", "must be a mapping"),
        ("meta.json", "{", "is not JSON"),
        ("meta.json", "[" * 100_000, "is not JSON"),
        ("status.json", "[1]", "must be a mapping"),
    ],
)
def test_json_of_another_form_is_refused_in_one_line(tmp_path, file, content, said):
    run = directory(tmp_path / "run")
    (run.path / file).write_text(content)
    with pytest.raises(InputError, match=said) as error:
        RunDirectory(run.path).status  # noqa: B018
    assert "\n" not in str(error.value) and file in str(error.value)


# ---------------------------------------------------------------- what is said on top
def test_commands_can_be_pasted_and_units_show_no_backticks(tmp_path):
    run = directory(tmp_path / "run")
    run.amend_meta(argv=["model=vae", "diagnostic=[samples]"])
    metrics = run.read_table("metrics")
    run.write_table("metrics", metrics.assign(unit="error of the `model` < 1"))
    html = page(run)
    assert "latentrun model=vae &#39;diagnostic=[samples]&#39;</code>" in html
    assert "error of the <code>model</code> &lt; 1" in html and "`model`" not in html


def test_findings_stand_on_top_the_weightiest_first_and_run_nothing(tmp_path):
    run = directory(tmp_path / "run")
    for name, weight in (("probe", Weight.GOOD), ("other", Weight.PROBLEM)):
        run.write_findings(name, [Finding("rule", weight, f"{weight} {CANARY}", CANARY)])
    run.write_findings("other", [Finding("rule", Weight.PROBLEM, "said once", "")])
    assert [row["sentence"] for row in run.read_findings()] == ["said once", f"good {CANARY}"]
    elements = harmless(page(run))
    assert [attrs["class"] for attrs in elements.of("li") if "class" in attrs] == ["problem", "good"]
    assert elements.text.count(CANARY) == 2
    table = run.read_table("findings").assign(weight=1.5)
    run.write_table("findings", table)
    with pytest.raises(InputError, match="weight '1.5' is not allowed; allowed: problem, hint, good"):
        page(run)


def test_active_variables_are_said_with_how_many_there_are(tmp_path):
    run = directory(tmp_path / "run")
    counts = {"active": 6, "inactive": 1, "doubtful": 1}
    report = Report({name: Estimate(float(value)) for name, value in counts.items()})
    run.write_report("sparsity", report, {name: Metric("latent variables") for name in counts}, {})
    assert "6 of 8" in Elements(page(run)).text


# ---------------------------------------------------------------- files of pictures
def files(run: RunDirectory) -> set[str]:
    return {path.name for path in (run.path / "plots").iterdir()}


def test_figures_are_files_of_the_formats_asked_for_and_equal_every_time(tmp_path):
    contents = []
    for name in ("one", "two"):
        run = RunDirectory.create(tmp_path / name, {}, {})
        with paper():
            run.write_pictures("probe", {"line": Picture(line(), "A line.")}, ["pdf", "svg"])
        assert files(run) == {"probe.line.png", "probe.line.pdf", "probe.line.svg"}
        assert list(run.meta["captions"]) == ["probe.line.png"]
        contents.append([(run.path / "plots" / file).read_bytes() for file in sorted(files(run))])
    assert contents[0] == contents[1]
    pdf, png, svg = contents[0]
    assert b"/CIDFontType2" in pdf and b"/Type3" not in pdf and png.startswith(b"\x89PNG")
    assert b"a title</text>" in svg and b"<dc:date>" not in svg


def test_new_pictures_take_the_place_of_all_the_old_ones(tmp_path):
    run = RunDirectory.create(tmp_path / "run", {}, {})
    with paper():
        run.write_pictures(
            "probe", {"line": Picture(line(), "A line."), "cloud": Picture(cloud(), "A cloud.")}, ["svg"]
        )
        run.write_pictures("probe_2", {"": Picture(line(), "Another one's.")})
        before = (run.path / "plots" / "probe.line.svg").read_bytes()
        run.write_pictures("probe", {"line": Picture(line((2.0, 1.0)), "A falling line.")}, ["pdf"])
    # A format that was there is drawn anew although it was not asked for again: it would show the old
    # numbers.
    assert files(run) == {"probe.line.png", "probe.line.pdf", "probe.line.svg", "probe_2.png"}
    assert (run.path / "plots" / "probe.line.svg").read_bytes() != before
    assert run.meta["captions"] == {"probe_2.png": "Another one's.", "probe.line.png": "A falling line."}


def test_pictures_are_drawn_again_without_measuring(tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from tests.test_pipeline import BARE, run

    path = tmp_path / "run"
    assert run(*BARE, "diagnostic=[stationarity]", f"hydra.run.dir={path}") == 0
    assert not (path / "plots").exists() and "<img" not in (path / "report.html").read_text()
    before = {name: (path / "tables" / name).read_bytes() for name in ("metrics.csv", "train.csv")}
    assert run("task=diagnose", f"run={path}", "diagnostic=[stationarity]", "figures=[pdf]") == 0
    assert "already measured" in capsys.readouterr().out
    assert {name: (path / "tables" / name).read_bytes() for name in before} == before
    assert {file.stem for file in (path / "plots").glob("*.pdf")} == {
        file.stem for file in (path / "plots").glob("*.png")
    }
    # What is measured later goes to TensorBoard too, and nothing twice.
    pictures = {file: file.read_bytes() for file in (path / "plots").iterdir()}
    assert run("task=diagnose", f"run={path}", "diagnostic=[variance_loss]", "figures=[]") == 0
    assert {file: file.read_bytes() for file in (path / "plots").iterdir()} == pictures
    found = EventAccumulator(str(path / "tensorboard")).Reload()
    assert (
        len(found.Scalars("metrics/variance_loss/mse.mean"))
        == len(found.Scalars("main/stationarity/mean"))
        == len(found.Scalars("loss/validation")) / 2
        == 1
    )
    assert run("task=diagnose", f"run={path}", "diagnostic=[stationarity]", "figures=[gif]") == 2
    assert "figures[0]: 'gif' is not allowed" in capsys.readouterr().err
