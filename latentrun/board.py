"""TensorBoard event files of a run: scalars, pictures, hyper-parameters.

Written with TensorBoard's own writer: torch's wrapper takes a second to import and its ``add_hparams`` makes an extra
run folder; here the hyper-parameters lie in the run's own event file.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class Board:
    """Event files in one folder."""

    def __init__(self, folder: Path):
        self._writer = EventFileWriter(str(folder))

    def _add(self, step: int, *values: Summary.Value) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One number per tag."""
        self._add(step, *(Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()))

    def image(self, step: int, tag: str, picture: np.ndarray) -> None:
        """A picture ``(H, W)`` or ``(H, W, 3)`` with values in [0, 1]."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8)).save(buffer, format="png")
        height, width = picture.shape[:2]
        coded = Summary.Image(height=height, width=width, colorspace=3 if picture.ndim == 3 else 1, encoded_image_string=buffer.getvalue())
        self._add(step, Summary.Value(tag=tag, image=coded))

    def hparams(self, values: Mapping[str, Any], metrics: list[str]) -> None:
        """The settings of the run, and the scalar tags by which the HParams page compares runs."""
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        infos = []
        for name, value in values.items():
            field, kind = ("string_value", "STRING")
            if isinstance(value, bool):
                field, kind = ("bool_value", "BOOL")
            elif isinstance(value, int | float):
                field, kind = ("number_value", "FLOAT64")
            setattr(start.hparams[name], field, value if kind != "STRING" else str(value))
            infos.append(api_pb2.HParamInfo(name=name, type=api_pb2.DataType.Value(f"DATA_TYPE_{kind}")))
        shown = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
        experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=shown, time_created_secs=time.time())
        self._plugin(metadata.EXPERIMENT_TAG, experiment=experiment)
        self._plugin(metadata.SESSION_START_INFO_TAG, session_start_info=start)

    def finish(self, success: bool) -> None:
        """Tell the HParams page how the run ended."""
        name = "STATUS_SUCCESS" if success else "STATUS_FAILURE"
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(name), end_time_secs=time.time())
        self._plugin(metadata.SESSION_END_INFO_TAG, session_end_info=end)

    def _plugin(self, tag: str, **content: Any) -> None:
        data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
        plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
        value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR)
        self._add(0, value)

    def close(self) -> None:
        """Flush to disk."""
        self._writer.close()
