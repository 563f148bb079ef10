"""What a trained model is for: codes of data, and samples. Runs are read, never changed."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Literal
from zipfile import ZipFile

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.build import build
from latentrun.config.settings import key_of
from latentrun.data.base import SPLITS, Dataset
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasLikelihood
from latentrun.plotting.images import grid
from latentrun.plotting.style import paper
from latentrun.run import Run
from latentrun.store import RunDirectory, atomic, now
from latentrun.store.files import require_empty
from latentrun.system.disk import require_room
from latentrun.system.provenance import environment
from latentrun.tasks.assembly import device_named
from latentrun.tasks.loading import load
from latentrun.types import Factor, Latents

EVERYWHERE = (
    "task",
    "run",
    "output",
    "device",
    "threads",
    "trust",
)  # settings that a finished run leaves open
ENCODE = (*EVERYWHERE, "data", "format")
SAMPLE = (*EVERYWHERE, "n", "sample_seed", "draw", "files")
CHUNK = 1024  # samples that are decoded and written together
SHOWN = 100  # samples in the grid


# ---------------------------------------------------------------- the tasks
def encode(config: Mapping[str, Any], path: Path, overrides: Sequence[str], own: Sequence[str] = ()) -> int:
    """Write the codes of the run's own rows, or of all rows of another data set; the exit code.

    ``own``: packages trusted for the data set, which comes from the user's own files, but not for what the
    run names.
    """
    keys = require_only(overrides, ENCODE)
    if not config["format"]:
        raise InputError("format: must name at least one of npz, csv")
    directory, run = trained(config)
    if not isinstance(run.model, HasEncoder):
        raise InputError(f"task=encode needs an encoder; the model of {config['run']!r} has none")
    data, spec, names = chosen(config, keys, run, own)
    parts = [data.split(name) for name in names] or data.parts()
    notes = changes(directory, run) if names else []
    with fresh(path) as folder:
        arrays = stacked([run.code(rows) for rows in parts])
        if names:
            arrays["split"] = np.repeat(names, [len(rows.x) for rows in parts])
        else:
            order = np.argsort(arrays["index"], kind="stable")
            arrays = {name: values[order] for name, values in arrays.items()}
        if "npz" in config["format"]:
            with atomic(folder / "codes.npz", "wb") as file:
                np.savez(
                    file, **arrays, factors=np.array([factor.name for factor in data.factors], dtype=str)
                )
        if "csv" in config["format"]:
            with atomic(folder / "codes.csv") as file:
                table(arrays, data.factors).to_csv(file, index=False)
        describe(
            folder / "codes.json",
            directory,
            run,
            {"data": spec, "rows": len(arrays["index"]), "notes": notes},
        )
    tell(path, f"{len(arrays['index']):,} codes", notes)
    return 0


def sample(config: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> int:
    """Write n samples and their codes; the exit code."""
    require_only(overrides, SAMPLE)
    n, how = config["n"], config["draw"]
    directory, run = trained(config)
    if how == "likelihood" and not isinstance(run.model, HasLikelihood):
        raise InputError(
            f"draw: likelihood needs p(x|z), which the model of {config['run']!r} has not; allowed: mean"
        )
    if config["files"] and not run.data.is_image:
        raise InputError(f"files: the data of {config['run']!r} are no pictures")
    require_room(path, 4 * n * math.prod(run.data.event_shape))
    notes = [run.sampler_note]
    noise = Noise(config["sample_seed"]).at("sample")
    with fresh(path) as folder:
        z = run.sample_codes(n, noise)
        write_samples(folder, run, z, how, noise, config["files"])
        about = {"n": n, "sample_seed": config["sample_seed"], "draw": how, "notes": notes}
        describe(folder / "samples.json", directory, run, about)
    tell(path, f"{n:,} samples", notes)
    return 0


# ---------------------------------------------------------------- the run
def require_only(overrides: Sequence[str], allowed: Sequence[str]) -> list[str]:
    """The keys of the overrides; InputError for one that the run has settled."""
    keys = [key_of(text) for text in overrides]
    for key in keys:
        if key.partition(".")[0] not in allowed:
            whose, given = (
                ("the run is used with its", "run=DIR")
                if "run" in allowed
                else ("runs are used with their", "runs=[DIR,...]")
            )
            beside = ", ".join(name for name in allowed if name not in ("task", "run", "runs"))
            raise InputError(f"{key}: {whose} own settings; beside {given}: {beside}")
    return keys


def trained(config: Mapping[str, Any]) -> tuple[RunDirectory, Run]:
    """The run that ``config`` names; InputError where its training is not finished."""
    directory = RunDirectory(config["run"])
    directory.require_trained()
    return directory, load(directory.path, config["trust"], device_named(config["device"]))


def changes(directory: RunDirectory, run: Run) -> list[str]:
    """Whether the data are still those of the training."""
    same = directory.meta.get("data_hash", run.data.digest) == run.data.digest
    return [] if same else ["the run's data are not those it was trained on"]


# ---------------------------------------------------------------- codes
def chosen(
    config: Mapping[str, Any], keys: Sequence[str], run: Run, own: Sequence[str]
) -> tuple[Dataset, Mapping[str, Any], tuple[str, ...]]:
    """The data set to encode, its configuration, and the splits that are told apart: those of the run's own
    rows."""
    if "data" in keys:
        data = build(config["data"], Dataset, "data", [*config["trust"], *own])
        data.align(run.data)
        return data, config["data"], ()
    if any(key.startswith("data.") for key in keys):
        raise InputError("data: name the data set too: data=...; without it the run's own rows are encoded")
    return run.data, run.config["data"], SPLITS


def stacked(parts: Sequence[Latents]) -> dict[str, np.ndarray]:
    """The arrays of all parts, one below the other; those that are None are left out."""
    arrays = [part.arrays() for part in parts]
    return {name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]}


def table(arrays: Mapping[str, np.ndarray], factors: Sequence[Factor]) -> pd.DataFrame:
    """One line a row: ``index``, ``split``, every factor in its unit or by the name of its category, z0 ...,
    sigma0 ...

    A factor that has the name of another column is called ``y_<name>``.
    """
    start = {name: arrays[name] for name in ("index", "split") if name in arrays}
    symbols = {"codes": "z", "posterior_scale": "sigma"}
    end = {
        f"{symbols[name]}{i}": column
        for name in symbols
        if name in arrays
        for i, column in enumerate(arrays[name].T)
    }
    between = {}
    for factor, y in zip(factors, arrays["y"].T, strict=True):
        name = f"y_{factor.name}" if factor.name in start | end else factor.name
        between[name] = pd.Series(y).map(dict(enumerate(factor.categories))) if factor.categories else y
    return pd.DataFrame(start | between | end)


# ---------------------------------------------------------------- samples
def write_samples(
    folder: Path, run: Run, z: Tensor, how: Literal["mean", "likelihood"], noise: Noise, files: bool
) -> None:
    """``samples.npz``; of tables ``samples.csv`` in the units of the source; of pictures ``samples.png`` and,
    with ``files``, one file each. Decoded and written part by part: memory does not grow with their
    number."""
    n, value_range = len(z), run.data.value_range
    with ExitStack() as stack:
        archive = stack.enter_context(ZipFile(stack.enter_context(atomic(folder / "samples.npz", "wb")), "w"))
        lines = stack.enter_context(atomic(folder / "samples.csv")) if run.data.columns else None
        with array(archive, "z", tuple(z.shape)) as file:
            file.write(z.cpu().numpy().tobytes())
        with array(archive, "x", (n, *run.data.event_shape)) as file:
            for number, part in enumerate(z.split(CHUNK)):
                x = decoded(run, part, how, noise.at(number)).cpu()
                file.write(x.numpy().tobytes())
                if lines is not None:
                    run.data.frame(x).to_csv(lines, index=False, header=number == 0)
                if files:
                    write_pictures(folder / "pictures", x.numpy(), value_range, number * CHUNK)
                if number == 0 and run.data.is_image:
                    with paper(), atomic(folder / "samples.png", "wb") as picture:
                        grid(x[:SHOWN].numpy(), value_range).savefig(picture, format="png")


def decoded(run: Run, z: Tensor, how: Literal["mean", "likelihood"], noise: Noise) -> Tensor:
    """The mean of p(x|z), or a draw from it."""
    if how == "mean":
        return run.decode(z)
    with torch.no_grad(), torch.random.fork_rng([run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(noise.generator("x").initial_seed())  # distributions take no generator
        return run.model.likelihood(z).sample()


@contextmanager
def array(archive: ZipFile, name: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """An array of an .npz file to which float32 values are written piece by piece, in C order."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        yield file


def write_pictures(folder: Path, x: np.ndarray, value_range: tuple[float, float], first: int) -> None:
    """Pictures ``(n, c, h, w)`` as PNG files, named by their number from ``first`` on."""
    from PIL import Image

    low, high = value_range
    x = (np.clip((x - low) / (high - low), 0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(x, first):
        Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(
            folder / f"{number:05}.png"
        )


# ---------------------------------------------------------------- the directory
@contextmanager
def fresh(path: Path) -> Iterator[Path]:
    """A folder to fill; its files appear in ``path`` together at the end, and not at all where something
    fails.

    InputError where ``path`` cannot be made or holds files: nothing is overwritten.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        require_empty(path)
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"output directory {str(path)!r} cannot be made: {error.strerror}") from None
    try:
        yield partial
        path.mkdir(exist_ok=True)
        for entry in partial.iterdir():
            entry.rename(path / entry.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def describe(path: Path, directory: RunDirectory, run: Run, entries: Mapping[str, Any]) -> None:
    """Say beside the files what they are, of which run, and with what they were made."""
    source = {
        "created": now(),
        "run": str(directory.path.resolve()),
        "fit_hash": directory.meta.get("fit_hash"),
    }
    with atomic(path) as file:
        json.dump({**source, **entries, **environment(run.device)}, file, indent=1)


def tell(path: Path, what: str, notes: Sequence[str]) -> None:
    """What was written, on the terminal."""
    print(f"{what} in {path}", *(f"note: {note}" for note in notes), sep="\n")
