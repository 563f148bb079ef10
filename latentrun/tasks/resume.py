"""A run that was interrupted is gone on with, to the result it would have had."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentrun.config.fingerprint import data_key, fit_hash
from latentrun.config.settings import key_of
from latentrun.data.base import Dataset, Oracle
from latentrun.errors import InputError
from latentrun.store import RunDirectory, now
from latentrun.system.machine import settle
from latentrun.system.provenance import environment
from latentrun.system.terminal import show
from latentrun.tasks.assembly import Assembly, assembled, build_data, device_named, measuring
from latentrun.tasks.changed import data_changes
from latentrun.tasks.fit import new_loop, restore, work
from latentrun.tasks.loading import load
from latentrun.tasks.measure import extend
from latentrun.tasks.questions import questions_of
from latentrun.tasks.records import write_codes

BESIDE = ("trust", "device", "threads")  # what may stand beside resume=


def require_only(overrides: Sequence[str]) -> None:
    """InputError where settings stand beside ``resume=`` that cannot change any more."""
    for key in map(key_of, overrides):
        if key not in ("resume", *BESIDE):
            raise InputError(
                f"{key}: resume=DIR goes on with the run's own settings; beside it: {', '.join(BESIDE)}"
            )


def resume(
    path: str | Path, trust: Sequence[str], threads: int | None = None, device: str | None = None
) -> int:
    """Continue an interrupted run to the result it would have had; the exit code.

    ``trust``: packages that the run's configuration may name; ``threads`` and ``device``: None for those the
    run began with, from which results differ in the last bits."""
    directory = RunDirectory(path)
    directory.require("choices", "threads")
    meta = directory.meta
    if directory.finished:
        show(f"{directory.path} is finished: nothing to resume")
        return 0
    if "pruned_from" in meta:
        settle(threads or meta["threads"])
        return complete(directory, trust, device or "auto")
    with directory.locked():
        start = time.perf_counter()
        directory.require("fit_hash", "versions", "device", "caveats")
        directory.check()
        settle(threads or meta["threads"])
        stored = directory.config
        config = stored | {"trust": list(trust), "device": device or stored["device"]}
        data, notes = same_data(directory, config)  # before anything is loaded
        shared = {data_key(config): data}
        assembly = assembled(config, meta["choices"], meta.get("default_list", True), shared)
        loop = new_loop(assembly, directory)
        place, restored = restore(loop, directory)
        notes += [*failure(directory), *restored, *differences(meta, assembly)]
        entry = {"at": now(), "from": place, "notes": notes}
        directory.amend_meta(resumed=[*meta.get("resumed", []), entry])
        directory.clear_partial()
        return work(assembly, directory, loop, time.perf_counter() - start)


def complete(directory: RunDirectory, trust: Sequence[str], device: str) -> int:
    """Measure what a pruned model still lacks of its diagnostics: there is no training to go on with; the
    exit code."""
    meta = directory.meta
    run = load(directory.path, trust, measuring(device_named(device)))
    write_codes(run, directory)
    default_list = meta.get("default_list", True)
    return extend(
        run, directory, questions_of(run.config, run.model, run.data, meta["choices"], default_list)
    )


def same_data(directory: RunDirectory, config: Mapping[str, Any]) -> tuple[Dataset, list[str]]:
    """The data set of the run; InputError where it is not what the run began with.

    What is made and not read (an :class:`Oracle`) may differ, with a note, as code and versions may: another
    machine rounds otherwise."""
    where, meta = repr(str(directory.path)), directory.meta
    try:
        data = build_data(config)
        how = data_changes(meta, data)
    except InputError as error:
        raise InputError(f"{where}: its data cannot be had as they were when it began: {error}") from None
    if how is None:
        return data, []
    if isinstance(data, Oracle):
        return data, [f"the data are not those the run began with: {how}"]
    measures = f"; task=diagnose run={directory.path} measures what is trained" if "trained" in meta else ""
    raise InputError(
        f"{where}: the data have changed since the run began: {how}; a training goes on with the "
        f"rows that it began with, or would be another one{measures}"
    )


def failure(directory: RunDirectory) -> list[str]:
    """That the run had failed, and of what."""
    status = directory.status
    return [f"it had failed: {status.get('reason')}"] if status["state"] == "failed" else []


def differences(meta: Mapping[str, Any], assembly: Assembly) -> list[str]:
    """What is not as it was when the run began, so that its result may differ."""
    here, notes = environment(assembly.device), []
    if meta["fit_hash"] != fit_hash(assembly.config):
        notes.append("the code of data, model, network or training has changed since the run began")
    for package in ("python", "torch", "numpy"):
        before, today = meta["versions"].get(package), here["versions"].get(package)
        if before is not None and before != today:
            notes.append(f"{package} is {today}, the run began with {before}")
    for key in ("device", "threads"):
        if here[key] != meta[key]:
            notes.append(f"{key} is {here[key]}, the run began with {meta[key]}")
    return notes
