"""What report pages are made of: the numbers people ask for first, stored pictures, numbers as text,
templates."""

from __future__ import annotations

import base64
import math
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from latentrun.errors import InputError
from latentrun.plotting.pages import embedded, read_figure
from latentrun.store.reports import write_figure
from latentrun.system.door import Guarded
from latentrun.system.plain import PICTURE
from latentrun.system.terminal import printable
from latentrun.types import Picture

# How files begin that a page shows as they are.
IMAGES = {"png": (b"\x89PNG\r\n\x1a\n",), "gif": (b"GIF87a", b"GIF89a")}
# Shown on top where they are there: what a reader asks first. A name that ends in a point stands for all its
# parts.
HEADLINES = (
    ("reconstruction/error_mean", "mean ‖x − x̂‖"),
    ("sparsity/active", "active latents"),
    ("latents/knn_r2.", "10-NN probe R²"),
    ("stationarity/mean", "var(μ) + mean σ²"),
    ("variance_loss/ratio.", "Δvar / mse, decoded from code"),
    ("samples/distance_ratio", "sample / test distance to training data"),
)
# Counts that are said with the whole they are of, which is the sum of these.
PARTS_OF = {"sparsity/active": ("sparsity/active", "sparsity/inactive", "sparsity/doubtful")}


def is_headline(key: str) -> bool:
    """Whether ``diagnostic/metric`` is one of the numbers on top.

    >>> is_headline("latents/knn_r2.angle"), is_headline("sparsity/inactive")
    (True, False)
    """
    return any(key.startswith(name) if name.endswith(".") else key == name for name, _ in HEADLINES)


@dataclass(frozen=True)
class Shown:
    """A picture on the page: ``data`` is the data: address of a PNG or GIF, a plotly figure as JSON, or why
    there is neither."""

    name: str
    kind: Literal["image", "figure", "wrong"]
    data: str
    caption: str


def content(file: Guarded) -> tuple[Literal["image", "figure", "wrong"], str]:
    """Kind and data of a stored picture, made anew from what was read: nothing goes from a file into the page
    as it is."""
    form = file.suffix[1:]
    if form in IMAGES:
        data = file.content(PICTURE)
        if not data.startswith(IMAGES[form]):
            return "wrong", f"is no {form.upper()}"
        return "image", f"data:image/{form};base64,{base64.b64encode(data).decode()}"
    try:
        return "figure", embedded(read_figure(file.text(PICTURE)))
    except (InputError, ValueError) as error:
        return "wrong", f"cannot be shown: {error}"


def written_out(plots: Guarded, name: str, picture: Picture, formats: Sequence[str]) -> Shown:
    """Write a still picture as ``<name>.png`` and in other ``formats`` (pdf, svg); what pages show of it."""
    for kind in dict.fromkeys(["png", *formats]):
        write_figure(plots / f"{name}.{kind}", picture.figure)
    return Shown(name, *content(plots / f"{name}.png"), picture.caption)


def number(value: Any) -> str:
    """Four significant digits; whole numbers whole; a dash for what is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    return str(value)


def interval(low: Any, high: Any) -> str:
    """``[low, high]``; of an interval with one end ``≥ low`` or ``≤ high``; nothing where there is none."""
    ends = number(low), number(high)
    if "–" not in ends:
        return f"[{ends[0]}, {ends[1]}]"
    return f"≥ {ends[0]}" if ends[0] != "–" else f"≤ {ends[1]}" if ends[1] != "–" else ""


@cache
def template(name: str) -> jinja2.Template:
    """A page to be filled in; everything that comes into it is escaped, and can be seen: no marks that turn
    the direction of writing, no bytes that are no text."""
    blocks = {"trim_blocks": True, "lstrip_blocks": True}
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    pages = jinja2.Environment(loader=loader, autoescape=True, finalize=_visible, **blocks)
    pages.filters |= {"shell": as_typed, "marked": marked}
    return pages.get_template(name)


def as_typed(words: Iterable[Any]) -> str:
    """The words of a command as a shell takes them.

    >>> as_typed(["diagnostic=[samples]", "seed=1"])
    "'diagnostic=[samples]' seed=1"
    """
    return shlex.join(map(str, words))


def marked(text: Any) -> Markup:
    """A text with what stands between backticks as code.

    >>> marked("error of the `model` < 1")
    Markup('error of the <code>model</code> &lt; 1')
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(_visible(str(text))))))


def _visible(value: Any) -> Any:
    """What a page shows of a text; what is part of the page, such as a script, stays as it is."""
    return printable(value, lines=True) if type(value) is str else value


def address(path: str | Path) -> str:
    """A path as the address of a link, quoted: the name of a folder may look like an address, or be no
    UTF-8."""
    return quote(os.fsencode(path))
