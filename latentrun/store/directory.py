"""One run on disk."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from latentrun.errors import Absent, InputError, one_line
from latentrun.store.activity import SILENCE, WORKING, Activity, silence
from latentrun.store.archives import Damaged
from latentrun.store.files import claim, write_json, write_yaml
from latentrun.store.intake import read_checkpoint
from latentrun.store.reports import ReportDirectory
from latentrun.store.schema import CHECKPOINTS, json_value, read_config, read_history, read_status
from latentrun.store.series import FileSeries
from latentrun.system.disk import require_writable
from latentrun.system.door import Guarded
from latentrun.system.plain import CHECKPOINT
from latentrun.types import History, Latents, Status

# What work on a run changes, beside the directory itself.
CHANGED = ("arrays", "checkpoints", "plots", "tables", "tensorboard", "run.lock", "run.log")


class RunDirectory(ReportDirectory):
    """One run on disk. Open a finished one with ``RunDirectory(path)``, make one with :meth:`create`."""

    kind = "run"
    of = "diagnostic"

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any], meta: Mapping[str, Any]) -> RunDirectory:
        """A new directory, never one that holds another run; InputError where it cannot be made."""
        folder = claim(Path(path), cls.kind)
        write_yaml(folder / ".hydra" / "config.yaml", config)
        return cls.described(folder, meta)

    # ---------------------------------------------------------------- what it is
    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, the authority on what the run is."""
        return read_config(self.folder / ".hydra" / "config.yaml")

    def check(self) -> None:
        super().check()
        (self.folder / "run.log").require_appendable()
        for file in (self.folder / "checkpoints").files():
            file.opened(CHECKPOINT).close()  # a copy of each is kept when the next is written
        self.read_table("train")
        self.read_history()

    @property
    def status(self) -> dict[str, Any]:
        """``state`` (training, diagnosing, done, failed, interrupted), ``heartbeat``, ``step``,
        ``reason``."""
        try:
            return read_status(self.folder / "status.json")
        except Absent:
            return {"state": "unknown"}

    @property
    def finished(self) -> bool:
        """Whether everything the run was asked for is there."""
        measured = self.entries
        whole = all(
            name in measured and measured[name]["status"] != Status.FAILED
            for name in self.config["diagnostic"]
        )
        return self.status["state"] == "done" and whole

    def require_trained(self) -> None:
        """InputError where the training has not come to its end."""
        if "trained" not in self.meta and self.status["state"] != "done":
            status = self.status
            why = f": {one_line(str(status.get('reason')))}" if status["state"] == "failed" else ""
            raise InputError(
                f"{str(self.path)!r}: its training is not finished (state {status['state']!r}{why}); "
                f"latentrun resume={self.path} goes on with it"
            )

    def require_writable(self) -> None:
        """InputError where the directory, or what it holds, must not be written to."""
        require_writable(self.path, CHANGED)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that works on the run; InputError where another one does.

        The lock ends with its process, however that ended. Another machine's lock may not be seen on a shared
        disk: there the signs of life in ``status.json`` count.
        """
        self.require_writable()
        with (self.folder / "run.lock").locked() as mine:
            if not mine:
                who = f"process {self.status.get('pid', '?')} on {self.status.get('host', '?')}"
                raise InputError(f"{str(self.path)!r} is in use by another process ({who})")
            status = self.status
            if status["state"] in WORKING and status.get("host") != platform.node():
                age = silence(status)
                if age < SILENCE:
                    raise InputError(
                        f"{str(self.path)!r} is in use on {status.get('host')}: its last sign of life is "
                        f"{age:.0f} s old (a run counts as dead after {SILENCE:.0f} s)"
                    )
            yield

    @contextmanager
    def activity(self, state: str) -> Iterator[Activity]:
        """Give signs of life."""
        activity = Activity(self.folder / "status.json", state)
        try:
            yield activity
        finally:
            activity.stop()

    def clear_partial(self) -> None:
        """Remove what a killed process left half-written."""
        for folder in (self.folder, *self.folder.folders()):
            for file in folder.files():
                if file.name.startswith(".") and file.suffix == ".part":
                    file.remove()

    # ---------------------------------------------------------------- codes, history, summary
    def write_latents(self, split: str, latents: Latents) -> None:
        """``arrays/latents_<split>.npz``: codes, posterior_<name>, y, labels, index, of those that are
        there."""
        self.write_arrays(f"latents_{split}", latents.arrays())

    def series(self) -> FileSeries:
        """Where a training records the codes of fixed rows until it ends."""
        return FileSeries(self.folder / "arrays")

    def write_history(self, history: History | None) -> None:
        """``arrays/history.npz``."""
        if history is not None:
            self.write_arrays("history", {f.name: getattr(history, f.name) for f in fields(history)})

    def read_history(self) -> History | None:
        """What :meth:`write_history` wrote."""
        try:
            return read_history(self.folder / "arrays" / "history.npz")
        except Absent:
            return None

    def write_summary(self, row: Mapping[str, Any]) -> None:
        """``tables/summary.json``: the run as one flat row."""
        values = {key: json_value(value) for key, value in row.items()}
        write_json(self.folder / "tables" / "summary.json", values)

    # ---------------------------------------------------------------- checkpoints
    def _checkpoint(self, name: str) -> Guarded:
        return self.folder / "checkpoints" / f"{name}.pt"

    def save_checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        """``checkpoints/<name>.pt``; the one before it is kept as ``<name>.previous.pt`` until the training
        ends (:meth:`drop_previous`)."""
        import torch

        checkpoint = self._checkpoint(name)
        with checkpoint.writing("wb") as file:
            try:
                torch.save(dict(state), file)
            except RuntimeError as error:  # torch puts words of its own in front of what the disk said
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
            if checkpoint.exists():
                checkpoint.keep_copy(f"{name}.previous.pt")

    def drop_previous(self) -> None:
        """Remove the checkpoints before the last ones: a training that has come to its end does not go back
        to them, and ``best.pt`` and ``last.pt`` hold its weights twice."""
        for name in ("best", "last"):
            self._checkpoint(f"{name}.previous").remove()

    def adopt(self, other: RunDirectory) -> None:
        """Copy the checkpoints and the history of another run, whose training is the same."""
        self.write_history(other.read_history())
        for name in ("best", "last"):
            with (
                other._checkpoint(name).opened(CHECKPOINT) as source,
                self._checkpoint(name).writing("wb") as file,
            ):
                shutil.copyfileobj(source, file)

    def load_checkpoint(self, name: str, device: Any = "cpu") -> dict[str, Any]:
        """Tensors and plain values of a checkpoint; InputError where it is missing, damaged or not
        readable."""
        checkpoint = self._checkpoint(name)
        try:
            state = read_checkpoint(checkpoint, device)
        except Absent:
            raise InputError(
                f"{str(self.path)!r} has no checkpoint {name}.pt: its training did not get so far"
            ) from None
        CHECKPOINTS[name.partition(".")[0]].require(state, f"checkpoint {str(checkpoint.path)!r}")
        return state

    def best_weights(self, device: Any = "cpu") -> tuple[Any, list[str]]:
        """The best weights so far, by ``best.pt``; where that is damaged by ``last.pt``, which holds them
        too, or by the ``best.pt`` before, and then a note that says so. InputError where there are none."""
        damaged: InputError | None = None
        for name in ("best", "last", "best.previous"):
            try:
                weights = self._weights_in(name, device)
            except InputError as error:
                if damaged is None and not isinstance(error, Damaged):
                    raise
                damaged = damaged or error
                continue
            if weights is not None:
                return weights, [] if damaged is None else [f"{damaged}; the weights of {name}.pt are used"]
        raise InputError(str(damaged))

    def _weights_in(self, name: str, device: Any) -> Any:
        """The best weights that a checkpoint holds, None where it holds none."""
        state = self.load_checkpoint(name, device)
        try:
            if name == "last" and "trained" not in self.meta:
                return state["progress"]["best"]["weights"]
            return state["model"]
        except (KeyError, TypeError):
            raise InputError(f"{str(self.path)!r}: the checkpoint {name}.pt holds no weights") from None

    def newest_checkpoint(self, name: str) -> tuple[dict[str, Any] | None, list[str]]:
        """The last checkpoint that is whole, None where there is none; and why newer ones are not used.
        InputError for one that is whole and yet not what this program writes."""
        damaged: list[str] = []
        for version in (name, f"{name}.previous"):
            if self._checkpoint(version).exists():
                try:
                    state = self.load_checkpoint(version)
                except Damaged as error:
                    damaged.append(str(error))
                else:
                    return state, [f"{text}; the checkpoint before it is used" for text in damaged]
        return None, damaged
