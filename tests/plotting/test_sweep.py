"""A metric against what was swept: what is written beside the panels can be read."""

from __future__ import annotations

import numpy as np
import pytest

from latentrun.plotting.style import paper
from latentrun.plotting.sweep import Key, Panel, against
from latentrun.types import Meaning

UNIT = "median distance to the nearest training example, samples over test rows"


@pytest.mark.parametrize("panels", [1, 4])
@pytest.mark.parametrize(
    "key", [Key("variant", ("modes_on_a_ring", "modes_on_a_long_grid"), False), Key("n", (1, 2, 3), True)]
)
def test_long_names_below_a_panel_leave_room_for_what_stands_beside_it(key, panels):
    values = np.linspace(0, 1, 5 * len(key.values)).reshape(-1, 1, 5)
    with paper():
        figure = against([Panel("samples/distance_ratio", values, Meaning(UNIT))] * panels, key, None)
        figure.draw_without_rendering()
    whole = figure.bbox
    for ax in figure.axes[:panels]:
        label = ax.yaxis.label.get_window_extent()
        assert whole.y0 <= label.y0 and label.y1 <= whole.y1 and label.height <= 1.15 * ax.bbox.height
