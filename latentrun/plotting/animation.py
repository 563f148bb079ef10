"""Pictures that move, as GIF files."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LARGEST = 2 * 2**20  # bytes of a file: a page holds it too
# Of all frames together: with colours of its own, every frame would flicker against the one before.
COLOURS = 256
SAMPLED = 8  # frames from which these are taken


def gif(frame: Callable[[int], np.ndarray], durations: Sequence[int], largest: int = LARGEST) -> bytes:
    """A GIF without end: ``frame(i)`` is RGB ``(H, W, 3)`` uint8, shown for ``durations[i]`` milliseconds.

    Where the file would be larger than ``largest`` bytes, every second frame is left out, again and again,
    and the one after it is shown for both; the last frame always stays. Frames that equal the one before
    become one with it. Times are kept to a hundredth of a second. ValueError where there is no frame.
    """
    from PIL import Image

    if not durations:
        raise ValueError("an animation needs a frame")
    shown = [Image.fromarray(frame(i)) for i in range(len(durations))]
    sampled = shown[:: max(1, len(shown) // SAMPLED)]
    sheet = Image.new("RGB", (sampled[0].width, sampled[0].height * len(sampled)))
    for place, image in enumerate(sampled):
        sheet.paste(image, (0, place * image.height))
    palette = sheet.quantize(COLOURS, Image.Quantize.MEDIANCUT)
    values = palette.getpalette()
    assert values is not None  # a quantised picture has one
    # The mean of white and almost white would be seen as a box on the page.
    palette.putpalette(bytes(255 if value >= 250 else value for value in values))
    reduced = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in shown]
    times = [max(10, round(time / 10) * 10) for time in durations]
    while True:
        file = io.BytesIO()
        rest = {"save_all": True, "append_images": reduced[1:], "duration": times}
        reduced[0].save(file, "GIF", loop=0, optimize=False, **rest)
        if file.tell() <= largest or len(reduced) == 1:
            return file.getvalue()
        # From the end, which is what one waits for.
        reduced, times = reduced[::-1][::2][::-1], _joined(times)


def _joined(times: list[int]) -> list[int]:
    """Durations when every second frame from the end is left out: each goes to the frame that follows it."""
    padded = [0] * (len(times) % 2) + times
    return [before + after for before, after in zip(padded[::2], padded[1::2], strict=True)]
