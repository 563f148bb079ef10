"""Pages in which a browser runs our own scripts and nothing else.

What others wrote, names, notes, the directory of a stranger, comes into a page as escaped text, as bytes of a
PNG or GIF or as the JSON of a plotly figure, none of which a browser runs. And whatever else came in does not
run either: the page's policy names the scripts that may by their hashes, and lets nothing be loaded from
anywhere.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from functools import cache
from html import escape
from typing import Any
from urllib.parse import quote

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

# Draws every figure of the page where its JSON stands, without plotly's button that sends the data to its
# makers. A figure that carries images (plotting/sprite.py) gets a box: beside a point that is touched it
# shows the picture of the point and what is known of it. Both are data: pixels that are copied, text that is
# set as text.
DRAW = r"""
const CONFIG = { displaylogo: false, showSendToCloud: false, plotlyServerURL: "" };
const SHEET = /^data:image\/png;base64,[A-Za-z0-9+\/]+={0,2}$/;
const SIDE = 150; // pixels of the longer side of an enlarged picture, about
const GAP = 16; // from the cursor to the box

const box = document.createElement("div");
const picture = document.createElement("canvas");
const words = document.createElement("div");
box.className = "touched";
box.style.cssText =
  "position: fixed; display: none; z-index: 1001; pointer-events: none; padding: 6px; background: #fff;" +
  "border: 1px solid #888; border-radius: 4px; box-shadow: 0 2px 8px #0003; color: #1d2733;" +
  "white-space: pre; font: 12px/1.35 system-ui, sans-serif;";
picture.style.cssText = "display: block; image-rendering: pixelated; margin: 0 auto 4px;";
words.style.cssText = "max-width: 260px; overflow: hidden; text-overflow: ellipsis;";
box.append(picture, words);

const whole = (value, least) => Number.isInteger(value) && value >= least;

function enlarge(sheet, { columns, width, height }, tile) {
  const times = Math.max(1, Math.round(SIDE / Math.max(width, height)));
  picture.width = times * width;
  picture.height = times * height;
  const pen = picture.getContext("2d");
  pen.imageSmoothingEnabled = false;
  const [x, y] = [(tile % columns) * width, Math.floor(tile / columns) * height];
  pen.drawImage(sheet, x, y, width, height, 0, 0, picture.width, picture.height);
}

function put({ clientX: x, clientY: y }) {
  const { offsetWidth: w, offsetHeight: h } = box;
  const left = x + GAP + w < innerWidth ? x + GAP : x - GAP - w;
  box.style.left = `${Math.max(0, left)}px`;
  box.style.top = `${Math.max(0, Math.min(y + GAP, innerHeight - h))}px`;
}

function touchable(place, meta) {
  if (typeof meta?.sprite !== "string" || !SHEET.test(meta.sprite)) return;
  if (![meta.columns, meta.width, meta.height].every((value) => whole(value, 1))) return;
  if (meta.width > 256 || meta.height > 256) return;
  const sheet = new Image();
  sheet.src = meta.sprite;
  let cursor = { clientX: 0, clientY: 0 };
  let tile = null;
  const hide = () => {
    tile = null;
    box.style.display = "none";
  };
  place.addEventListener("mousemove", (event) => {
    cursor = event;
    if (event.buttons) hide();
    else if (tile !== null) put(cursor);
  }, true);
  place.addEventListener("mouseleave", hide);
  place.on("plotly_hover", ({ points: [point] }) => {
    const first = point.fullData.meta?.tile;
    if (!whole(first, 0)) return hide();
    const touched = (tile = first + point.pointNumber);
    sheet.decode().then(() => {
      if (tile !== touched) return; // another one was touched since
      enlarge(sheet, meta, tile);
      words.textContent = typeof point.customdata === "string" ? point.customdata : "";
      box.style.display = "block";
      put(cursor);
    }, hide);
  });
  place.on("plotly_unhover", hide);
}

// What is not to be touched does not hide what lies behind it: a hull would from the codes within.
function letThrough(place) {
  for (const name of Object.keys(place._fullLayout ?? {}).filter((key) => /^scene\d*$/.test(key))) {
    const scene = place._fullLayout[name]._scene;
    for (const trace of Object.values(scene?.traces ?? {})) {
      if (trace.data?.hoverinfo !== "skip") continue;
      for (const part of Object.values(trace)) if (typeof part?.drawPick === "function") part.drawPick = null;
    }
    scene?.glplot?.update({});
  }
}

// plotly stands in the page as packed bytes, a third of its size; the page's policy knows it by its hash.
async function library() {
  const text = document.getElementById("plotly").textContent;
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
}

const ready = library();

async function draw(place, text) {
  await ready;
  const { data, layout, frames } = JSON.parse(text);
  const room = place.parentElement.clientWidth; // of a phone: less than the figure was made for
  if (room > 0 && layout?.width > room) layout.width = room;
  await Plotly.newPlot(place, { data, layout, frames, config: CONFIG });
  touchable(place, layout?.meta);
  place.on("plotly_afterplot", () => letThrough(place));
  letThrough(place);
}

document.body.append(box);
for (const figure of document.querySelectorAll("script.figure")) {
  const place = document.createElement("div");
  figure.after(place);
  draw(place, figure.textContent).catch((error) => {
    place.textContent = `The figure cannot be drawn: ${error}`;
  });
}
"""
FIGURE = '<script type="application/json" class="figure">{}</script>'
PARTS = ("data", "layout", "frames")  # what of a figure is drawn; its own configuration is not heeded


PLOTLY = '<script type="text/plain" id="plotly">{}</script>'


@cache
def scripts() -> tuple[Markup, Markup]:
    """plotly.js and what draws with it."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs()), Markup(DRAW)


@cache
def packed() -> Markup:
    """plotly.js as it stands in a page, packed: data that no browser runs before :data:`DRAW` unpacks it."""
    content = gzip.compress(scripts()[0].encode(), mtime=0)
    return Markup(PLOTLY.format(base64.b64encode(content).decode()))


@cache
def policy(drawing: bool) -> str:
    """The Content-Security-Policy of a page; ``drawing``: it holds :func:`scripts`.

    Plotly's styles are inline; its button for a PNG makes a blob: picture.
    """
    digests = [hashlib.sha256(text.encode()).digest() for text in (scripts() if drawing else ())]
    hashes = [base64.b64encode(digest).decode() for digest in digests]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    rules = [
        "default-src 'none'",
        "img-src data: blob:",
        "style-src 'unsafe-inline'",
        f"script-src {allowed}",
    ]
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def embedded(figure: dict[str, Any]) -> Markup:
    """A plotly figure as JSON within a page; ValueError where it is none, or holds numbers that JSON does not
    know."""
    parts = {name: figure[name] for name in PARTS if name in figure}
    return Markup(FIGURE.format(htmlsafe_json_dumps(parts, allow_nan=False)))


def beside_report(figure: Any, name: str) -> str:
    """A plotly figure as a page ``plots/<name>.html`` of a directory: its data, and the way to the report,
    the one page that holds what draws it. It runs no script."""
    link = f"../report.html#plot.{quote(name)}"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy(False)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="1; url={link}"><title>{escape(name)}</title>'
    )
    body = (
        f'<p>The figure {escape(name)} is drawn by <a href="{link}">report.html</a> in the folder above, '
        "which opens in a moment. This file holds its data alone: copy report.html to show it elsewhere.</p>"
    )
    data = embedded(json.loads(figure.to_json()))
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}{data}</body></html>'


def read_figure(page: str) -> dict[str, Any]:
    """The figure of a page made by :func:`beside_report`; ValueError where there is none."""
    start, end = FIGURE.split("{}")
    match = re.search(f"{re.escape(start)}(.*?){end}", page, re.DOTALL)
    try:
        figure = json.loads(match.group(1)) if match else None
    except RecursionError:
        figure = None
    if not isinstance(figure, dict):
        raise ValueError("the page holds no figure")
    return figure
