"""TensorBoard event files of a run: scalars and charts of them, pictures, hyper-parameters.

Written with TensorBoard's own writer: torch's wrapper takes a second to import and its ``add_hparams`` makes
an extra run folder; here the hyper-parameters lie in the run's own event file.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import metadata as charts
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from latentrun.report.parts import is_headline
from latentrun.system.door import Guarded
from latentrun.system.terminal import printable

LATENT = "latent/"  # how the names of what is known of latent variables begin: latent/kl.0, latent/kl.1, ...


class Board:
    """An event file of its own in a folder. A context manager: the file is whole on disk however the work
    ends.

    ``purge_step``: where training begins or goes on, the first step it will write; what earlier files in the
    folder say of it and of later ones no longer counts. The beginning is told too, for TensorBoard takes only
    a second one as a restart. None adds to what is there.
    """

    def __init__(self, folder: Guarded, purge_step: int | None = None):
        self._writer = EventFileWriter(str(folder.make()))
        self._layout = Layout()
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One number per tag."""
        self._add(step, *(Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()))

    def epoch(self, rows: Sequence[Mapping[str, Any]], phases: int) -> None:
        """The last of the ``rows`` of ``tables/train.csv`` as scalars, and charts of them where it brings new
        names (see :func:`tag_of`)."""
        tags: dict[str, dict[str, str]] = {}  # phase: {name: tag}
        latent: dict[str, str] = {}
        for row in rows:
            phase = f"{row['phase']}/" if phases > 1 else ""
            named = {name: tag_of(name, phase) for name, value in row.items() if isinstance(value, float)}
            latent |= {name: tag for name, tag in named.items() if name.startswith(LATENT)}
            tags.setdefault(phase, {}).update(
                {name: tag for name, tag in named.items() if name not in latent}
            )
        named = tags[phase] | latent
        self.scalars(row["step"], {tag: row[name] for name, tag in named.items() if name in row})
        layout = Layout(category=[_category(prefix, names) for prefix, names in tags.items()])
        if latent:
            layout.category.append(_latent_variables(latent))
        if layout != self._layout:
            self._layout = layout
            text = TensorProto(dtype=DT_STRING, string_val=[layout.SerializeToString()])
            about = {"tag": charts.CONFIG_SUMMARY_TAG, "metadata": charts.create_summary_metadata()}
            self._add(row["step"], Summary.Value(**about, tensor=text))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """What diagnostics measured, by ``diagnostic/metric``, without NaN; the chief numbers stand before
        others."""
        groups = {True: "main", False: "metrics"}
        shown = {key: value for key, value in values.items() if value == value}
        self.scalars(step, {f"{groups[is_headline(key)]}/{key}": value for key, value in shown.items()})

    def image(self, step: int, tag: str, image: np.ndarray) -> None:
        """An image ``(H, W)`` or ``(H, W, 3)`` with values in [0, 1]."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8)).save(buffer, format="png")
        height, width = image.shape[:2]
        coded = Summary.Image(
            height=height,
            width=width,
            colorspace=3 if image.ndim == 3 else 1,
            encoded_image_string=buffer.getvalue(),
        )
        self._add(step, Summary.Value(tag=tag, image=coded))

    def hparams(self, values: Mapping[str, Any]) -> None:
        """The settings of the run.

        The HParams page finds out by itself which settings and scalars the runs have; an experiment described
        in the event file of one of them would hide what only others have.
        """
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        for name, value in values.items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                start.hparams[name].number_value = value
            else:
                start.hparams[name].string_value = printable(str(value))  # TensorBoard takes UTF-8 only
        self._plugin(metadata.SESSION_START_INFO_TAG, session_start_info=start)

    def finish(self, success: bool) -> None:
        """Tell the HParams page how the run ended."""
        name = "STATUS_SUCCESS" if success else "STATUS_FAILURE"
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(name), end_time_secs=time.time())
        self._plugin(metadata.SESSION_END_INFO_TAG, session_end_info=end)

    def _plugin(self, tag: str, **content: Any) -> None:
        data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
        plugin = SummaryMetadata.PluginData(
            plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString()
        )
        about = {"tag": tag, "metadata": SummaryMetadata(plugin_data=plugin)}
        self._add(0, Summary.Value(**about, tensor=metadata.NULL_TENSOR))

    def _add(self, step: int, *values: Summary.Value) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()  # what a checkpoint counts as done must not be lost when the process is killed


def tag_of(name: str, phase: str) -> str:
    """The tag of a column of ``tables/train.csv``.

    TensorBoard groups tags by their first part and sorts them: it is to open on ``loss``, ``main`` holds the
    chief metrics (the page HParams, which takes all scalars, begins with these two), then come ``metrics``,
    ``terms`` of the losses, and ``variables`` last: of d latent variables there are four each. One name for
    all models of one phase, so that runs lie side by side in one chart; where there are several phases, the
    name of the ``phase/`` stands within. A latent variable has one name in all: it goes on from one to the
    next.

    >>> tag_of("train/loss", ""), tag_of("val/monitor", "first/"), tag_of("latent/kl.3", "first/")
    ('loss/train', 'loss/first/validation', 'variables/kl.3')
    """
    if name.startswith(LATENT):
        return f"variables/{name.removeprefix(LATENT)}"
    part, _, term = name.partition("/")
    split = {"train": "train", "val": "validation"}.get(part)
    if split is None:
        return f"terms/{phase}{name}"
    objective, _, last = term.rpartition("/")
    if (part, last) in (("train", "loss"), ("val", "monitor")):
        return "/".join(filter(None, ("loss", phase.rstrip("/"), objective, split)))
    return f"terms/{phase}{term}/{split}"


def _category(prefix: str, tags: Mapping[str, str]) -> Category:
    """Charts of one phase: training and validation of each term in one, the value that steers training with
    the loss."""
    lines: dict[str, list[str]] = {}
    for name, tag in tags.items():
        term = name.partition("/")[2] or name
        lines.setdefault("loss" if term == "monitor" else term, []).append(f"^{re.escape(tag)}$")
    shown = [
        Chart(title=term.replace("_", " "), multiline=MultilineChartContent(tag=patterns))
        for term, patterns in lines.items()
    ]
    return Category(title=prefix.rstrip("/") or "training", chart=shown)


def _latent_variables(names: Iterable[str]) -> Category:
    """A chart for each quantity with all variables in it: of one each there would be too many to look at."""
    quantities = dict.fromkeys(name.removeprefix(LATENT).rpartition(".")[0] for name in names)
    charts = [
        Chart(
            title=quantity.replace("_", " "),
            multiline=MultilineChartContent(tag=[rf"^{re.escape('variables/' + quantity)}\.\d+$"]),
        )
        for quantity in quantities
    ]
    return Category(title="latent variables", chart=charts)
