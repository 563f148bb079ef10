"""``task=sample``: examples drawn from a trained model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Annotated, Literal
from zipfile import ZipFile

import numpy as np
from torch import Tensor

from latentrun.config.bounds import Count, Ge, Printable
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import HasLikelihood
from latentrun.plotting.images import grid
from latentrun.plotting.style import paper
from latentrun.run import Run
from latentrun.store.cells import inert
from latentrun.system.disk import require_room
from latentrun.system.door import Guarded
from latentrun.tasks.base import MACHINE, Command, Task
from latentrun.tasks.outputs import describe, fresh, show_written, trained

CHUNK = 1024  # samples that are decoded and written together
SHOWN = 100  # samples in the grid
Draw = Literal["mean", "likelihood"]


class Sample(Task):
    """Write n samples and their codes.

    ``sample_seed`` fixes the samples; ``draw``: the mean of p(x|z) or a draw from it; ``files``: every
    picture as a file of its own too.
    """

    beside = MACHINE

    def __init__(
        self,
        run: Annotated[str, Printable()],
        n: Annotated[int, Count(1, 10_000_000)],
        sample_seed: Annotated[int, Ge(0)],
        draw: Draw,
        files: bool,
    ):
        self.source, self.n, self.sample_seed, self.draw, self.files = run, n, sample_seed, draw, files

    def run(self, command: Command) -> int:
        directory, run = trained(self.source, command.trust.directory, command.values["device"])
        self.require_drawable(run)
        require_room(command.path, 4 * self.n * math.prod(run.data.event_shape))
        notes = [*run.notes, run.sampler_note]
        noise = Noise(self.sample_seed).at("sample")
        with fresh(command.path) as folder:
            z = run.sample_codes(self.n, noise)
            write_samples(folder, run, z, self.draw, noise, self.files)
            entries = {"n": self.n, "sample_seed": self.sample_seed, "draw": self.draw, "notes": notes}
            describe(folder / "samples.json", directory, run, entries)
        show_written(command.path, f"{self.n:,} samples", notes)
        return 0

    def require_drawable(self, run: Run) -> None:
        """InputError where the run has not what the settings ask for."""
        if self.draw == "likelihood" and not isinstance(run.model, HasLikelihood):
            raise InputError(
                f"draw: likelihood needs p(x|z), which the model of {self.source!r} has not; allowed: mean"
            )
        if self.files and not run.data.is_image:
            raise InputError(f"files: the data of {self.source!r} are no pictures")


# ---------------------------------------------------------------- what is written
def write_samples(folder: Guarded, run: Run, z: Tensor, draw: Draw, noise: Noise, files: bool) -> None:
    """``samples.npz``; of tables ``samples.csv`` in the units of the source; of pictures ``samples.png`` and,
    with ``files``, one file each. Decoded and written part by part: memory does not grow with their
    number."""
    data = run.data
    with ExitStack() as stack:
        content = stack.enter_context((folder / "samples.npz").writing("wb"))
        archive = stack.enter_context(ZipFile(content, "w"))
        lines = stack.enter_context((folder / "samples.csv").writing()) if data.columns else None
        with array(archive, "z", tuple(z.shape)) as file:
            file.write(z.cpu().numpy().tobytes())
        with array(archive, "x", (len(z), *data.event_shape)) as file:
            for number, part in enumerate(z.split(CHUNK)):
                x = decoded(run, part, draw, noise.at(number)).cpu()
                file.write(x.numpy().tobytes())
                if lines is not None:
                    inert(data.frame(x)).to_csv(lines, index=False, header=number == 0)
                if files:
                    write_pictures(folder / "pictures", x.numpy(), data.value_range, number * CHUNK)
                if number == 0 and data.is_image:
                    with paper(data.cmap), (folder / "samples.png").writing("wb") as picture:
                        grid(x[:SHOWN].numpy(), data.value_range).savefig(picture, format="png")


def decoded(run: Run, z: Tensor, draw: Draw, noise: Noise) -> Tensor:
    """The mean of p(x|z), or a draw from it."""
    if draw == "mean":
        return run.decode(z)
    return run.draw(z, noise)  # Sample.require_drawable has seen that it can


@contextmanager
def array(archive: ZipFile, name: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """An array of an .npz file to which float32 values are written piece by piece, in C order."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        yield file


def write_pictures(folder: Guarded, x: np.ndarray, value_range: tuple[float, float], first: int) -> None:
    """Pictures ``(n, c, h, w)`` as PNG files, named by their number from ``first`` on."""
    from PIL import Image

    low, high = value_range
    levels = (np.clip((x - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)
    for number, picture in enumerate(levels.transpose(0, 2, 3, 1), first):
        grey = picture.shape[-1] == 1
        with (folder / f"{number:05}.png").appending() as file:
            Image.fromarray(picture.squeeze(-1) if grey else picture).save(file, format="png")
