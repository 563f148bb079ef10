"""Pages in which a browser runs our own scripts and nothing else.

What others wrote, names, notes, the directory of a stranger, comes into a page as escaped text, as bytes of a PNG or as the
JSON of a plotly figure, none of which a browser runs. And whatever else came in does not run either: the page's policy
names the scripts that may by their hashes, and lets nothing be loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html import escape
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

# Draws every figure of the page where its JSON stands, without plotly's button that sends the data to its makers.
DRAW = """
const CONFIG = { displaylogo: false, showSendToCloud: false, plotlyServerURL: "" };
for (const figure of document.querySelectorAll("script.figure")) {
  const place = document.createElement("div");
  figure.after(place);
  try {
    Plotly.newPlot(place, { ...JSON.parse(figure.textContent), config: CONFIG });
  } catch (error) {
    place.textContent = `The figure cannot be drawn: ${error}`;
  }
}
"""
FIGURE = '<script type="application/json" class="figure">{}</script>'
PARTS = ("data", "layout", "frames")  # what of a figure is drawn; its own configuration is not heeded


@cache
def scripts() -> tuple[Markup, Markup]:
    """plotly.js and what draws with it."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs()), Markup(DRAW)


@cache
def policy(drawing: bool) -> str:
    """The Content-Security-Policy of a page; ``drawing``: it holds :func:`scripts`.

    Plotly's styles are inline; its button for a PNG makes a blob: picture.
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (scripts() if drawing else ())]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    rules = ["default-src 'none'", "img-src data: blob:", "style-src 'unsafe-inline'", f"script-src {allowed}"]
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def embedded(figure: dict[str, Any]) -> Markup:
    """A plotly figure as JSON within a page; ValueError where it is none, or holds numbers that JSON does not know."""
    parts = {name: figure[name] for name in PARTS if name in figure}
    return Markup(FIGURE.format(htmlsafe_json_dumps(parts, allow_nan=False)))


def standalone(figure: Any, title: str) -> str:
    """A plotly figure as a page of its own that needs no network."""
    plotly, draw = scripts()
    guard = f'<meta http-equiv="Content-Security-Policy" content="{policy(True)}">'
    head = f'<meta charset="utf-8">{guard}<title>{escape(title)}</title><script>{plotly}</script>'
    body = f"{embedded(json.loads(figure.to_json()))}<script>{draw}</script>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def read_figure(page: str) -> dict[str, Any]:
    """The figure of a page made by :func:`standalone`; ValueError where there is none."""
    start, end = FIGURE.split("{}")
    found = re.search(f"{re.escape(start)}(.*?){end}", page, re.DOTALL)
    try:
        figure = json.loads(found.group(1)) if found else None
    except RecursionError:
        figure = None
    if not isinstance(figure, dict):
        raise ValueError("the page holds no figure")
    return figure
