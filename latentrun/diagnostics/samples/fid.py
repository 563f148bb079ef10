"""Fréchet and kernel distances of features, precision and recall: samples and reconstructions against the
data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Ge, Program
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_samples
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES, LABELS, SAMPLERS
from latentrun.diagnostics.samples.fid_plot import distances, reach
from latentrun.errors import InputError, Misfit, nearest
from latentrun.functional.distances.fidelity import fidelity
from latentrun.functional.distances.frechet import GaussianFit, Jackknife, frechet_jackknife, gaussian_fit
from latentrun.functional.distances.kernel_distance import kid
from latentrun.functional.noise import Noise
from latentrun.models.base import RENORMALISED, HasEncoder, HasSamplers, Model
from latentrun.nn.classifier import accuracy, trained
from latentrun.nn.features import Features, Penultimate, Pixels, Principal, Scripted
from latentrun.run import CHUNK, Run
from latentrun.types import Estimate, Metric, Picture, Report

LEAST = 8  # examples a set: below, no distance says anything
WIDEST = 4096  # features a Gaussian is fitted to: its covariance has their square
SOURCES = ("pixels", "pca", "classifier")
# What is held against the reference, some test examples, in words; the order of the pictures.
SETS = {
    "samples": "samples",
    "reconstructions": "reconstructions of other test examples",
    "floor": "other test examples",
    "floor_train": "training examples",
}
EACH = (
    "against test examples, one value for each set (samples, reconstructions, floor, floor_train, "
    "the model's samplers)"
)
NUMBERS = ("fid", "fid_corrected", "kid", "precision", "recall", "density", "coverage")

_CLASSIFIERS: dict[tuple, tuple[Penultimate, Estimate]] = {}  # of this process: one data set, many runs


class FID(Diagnostic):
    """How far are samples and reconstructions from the data in a space of features, and is any part of the
    data missed?

    Four sets of n examples are held against the same n test examples: ``samples``, codes from the prior (or
    the Gaussian that stands in for it) decoded; ``reconstructions`` of other test examples; ``floor``, these
    other test examples themselves, and ``floor_train``, training examples: what every number is where there
    is no difference, at this n. No row is in two sets. A model that knows several ways to draw codes has one
    more set for each, all of equal noise; ``fid_gain`` is then the fid of such a set less that of the same
    codes renormalised: positive where renormalisation improves it. Its jackknife leaves the same group out of
    both, so that its interval is one for the difference.

    ``fid``: squared Fréchet distance of Gaussian fits. It is too large for finite n, so compare it with the
    floor and with equal n, features and data only; ``fid_corrected`` takes the term in 1/n off by the
    jackknife, its floor is near 0 where n is well above the number of features. ``kid``: unbiased MMD² with a
    cubic kernel, mean over blocks of rows. ``precision`` and ``density``: do made examples lie among real
    ones; ``recall`` and ``coverage``: do they reach all real ones.

    ``features``: ``pixels``, x itself; ``pca``, components of training rows, in data units; ``classifier``,
    the layer before the last of a small net trained on labels of the data, the same whatever model and seed
    are measured, in units of the mean sd of its features (``accuracy`` on test rows); or a TorchScript file
    for pictures. Numbers of different features cannot be compared. Decoded examples are means of p(x|z).

    Moments are gathered a chunk of examples at a time: examples and their features are never all held, but
    for ``kept`` rows. Intervals (95 %), for this model: fid by a jackknife over ``groups``, for the mean at
    this n; kid over blocks; the others over examples. See :mod:`latentrun.functional.distances.frechet`,
    ``kernel_distance`` and ``fidelity``.
    """

    uses = (GENERATOR, SAMPLERS, ENCODER, LABELS, IMAGES)
    metrics: ClassVar = {
        "fid": Metric(
            f"squared feature units, {EACH}", 0, None, "lower", "Heusel et al. 2017, arXiv 1706.08500"
        ),
        "fid_corrected": Metric(
            f"squared feature units, without the bias in 1/n, {EACH}", None, None, "lower", "jackknife"
        ),
        "fid_gain": Metric(
            "fid less that of the same codes renormalised, for each such sampler, squared feature units",
            better="higher"
        ),
        "kid": Metric(
            f"unbiased MMD², kernel (a·b/d + 1)³, {EACH}",
            None,
            None,
            "zero",
            "Bińkowski et al. 2018, arXiv 1801.01401"
        ),
        "precision": Metric(
            f"share of the set's examples in a ball of test examples, {EACH}",
            0,
            1,
            "higher",
            "arXiv 1904.06991, eq. 2"
        ),
        "recall": Metric(
            f"share of test examples in a ball of the set's, {EACH}",
            0,
            1,
            "higher",
            "arXiv 1904.06991, eq. 2"
        ),
        "density": Metric(
            f"balls of test examples around one of the set, over k, mean, {EACH}",
            0,
            None,
            "one",
            "arXiv 2002.09797, eq. 4"
        ),
        "coverage": Metric(
            f"share of test examples with one of the set in their ball, {EACH}",
            0,
            1,
            "higher",
            "arXiv 2002.09797, eq. 5"
        ),
        "accuracy": Metric(
            "share of test rows that the classifier behind the features labels rightly", 0, 1, "none"
        ),
    }

    def __init__(
        self,
        features: Annotated[str, Program(SOURCES)],
        n: Annotated[int, Ge(LEAST)],
        groups: Annotated[int, Ge(2)] | None,
        kept: Annotated[int, Ge(LEAST)],
        k_precision: Annotated[int, Ge(1)],
        k_coverage: Annotated[int, Ge(1)],
        components: Annotated[int, Ge(1)],
        classifier_rows: Annotated[int, Ge(1)],
        classifier_steps: Annotated[int, Ge(1)],
        classifier_width: Annotated[int, Ge(1)],
        size: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] | None,
        channels: Literal[1, 3],
        input_range: tuple[float, float],
    ):
        self.features, self.n, self.groups, self.kept = features, n, groups, kept
        self.k_precision, self.k_coverage, self.components = k_precision, k_coverage, components
        self.classifier_rows, self.classifier_steps, self.classifier_width = (
            classifier_rows,
            classifier_steps,
            classifier_width,
        )
        self.size, self.channels, self.input_range = size, channels, input_range

    def check(self, model: Model, data: Dataset) -> None:
        check_samples(model)
        if isinstance(model, HasSamplers) and (taken := SETS.keys() & model.samplers()):
            raise InputError(
                f"fid: {', '.join(sorted(taken))} cannot be the name of a way to draw codes: it is "
                "the name of a set"
            )
        if self.features == "classifier" and data.label is None:
            raise Misfit("features=classifier needs labels; the data have none: features=pca needs nothing")
        if self.features == "pixels" and prod(data.event_shape) > WIDEST:
            raise InputError(
                f"fid.features: pixels are for at most {WIDEST:,} values an example, these data have "
                f"{prod(data.event_shape):,}"
            )
        if self.features not in SOURCES:
            if not Path(self.features).expanduser().is_file():
                known = ", ".join(SOURCES)
                raise InputError(
                    f"fid.features: {self.features!r} is neither {known} nor a "
                    f"file{nearest(self.features, SOURCES)}"
                )
            if not data.is_image:
                raise Misfit("features from a TorchScript file need pictures; the data are none")

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        test, train = run.x("test"), run.x("train")
        n = min(self.n, len(test) // 2, len(train))
        notes = [run.sampler_note]
        if n < LEAST:
            return Report(
                notes=(
                    *notes,
                    f"two sets of {n} examples are too small: {LEAST} are needed in each, and two of "
                    "test rows",
                )
            )
        features, metrics = self._features(run)
        rows = noise.permutation("test", len(test)).to(test.device)
        first, other = rows[:n], rows[n : 2 * n]
        chosen = noise.permutation("train", len(train))[:n].to(train.device)
        sets: dict[str, Callable[[int, int], Tensor]] = {}

        def generated(sampler: str | None) -> Callable[[int, int], Tensor]:
            return lambda a, b: run.decode(run.sample_codes(b - a, noise.at("samples", a), sampler))

        sets["samples"] = generated(None)
        if isinstance(run.model, HasEncoder):
            codes = run.latents("test").codes[other]
            sets["reconstructions"] = lambda a, b: run.decode(codes[a:b])
        sets["floor"] = lambda a, b: test[other[a:b]]
        sets["floor_train"] = lambda a, b: train[chosen[a:b]]
        if isinstance(run.model, HasSamplers):
            sets |= {name: generated(name) for name in run.model.samplers()}

        groups = min(self.groups or 1, n // 2)
        real, real_rows = self._gather(features, lambda a, b: test[first[a:b]], n, groups)
        kept, d = len(real_rows), real_rows.shape[1]
        blocks, table = min(groups, kept // 2), []
        jackknives: dict[str, Jackknife] = {}
        for name, source in sets.items():
            made, made_rows = self._gather(features, source, n, groups)
            jackknives[name] = frechet_jackknife(real, made)
            found = {"fid": _not_below_zero(jackknives[name].estimate)}
            found |= (
                {} if jackknives[name].corrected is None else {"fid_corrected": jackknives[name].corrected}
            )
            found["kid"] = kid(real_rows, made_rows, blocks)
            found |= vars(fidelity(real_rows, made_rows, self.k_precision, self.k_coverage))
            metrics |= {f"{metric}.{name}": estimate for metric, estimate in found.items()}
            table.append(
                {"set": name, "features": features.name, "d": d, "n": n, "kept": kept} | _flat(found)
            )
        for name in jackknives:
            if (moved := jackknives.get(name + RENORMALISED)) is not None:
                metrics[f"fid_gain.{name}"] = (jackknives[name] - moved).estimate
        metrics = {
            key: metrics[key] for metric in self.metrics for key in metrics if key.partition(".")[0] == metric
        }
        notes.append(f"features: {features.name}, {d} numbers an example{self._about(features, metrics)}")
        notes.append(
            f"{n:,} examples in each set for fid, {kept:,} of them for the others; kid: mean over "
            f"{blocks} blocks of {kept // blocks}"
        )
        if n <= 2 * d:
            notes.append(
                f"{n:,} examples are few for {d} features: fid is mostly bias there, fid_corrected is "
                "not to be trusted"
            )
        return Report(metrics, {"summary": pd.DataFrame(table)}, notes=tuple(notes))

    def _gather(
        self, features: Features, source: Callable[[int, int], Tensor], n: int, groups: int
    ) -> tuple[list[GaussianFit], Tensor]:
        """Moments of the features of examples 0 ... n - 1, a fit for each group; and the features of the
        first ``kept``."""
        held: list[Tensor] = []

        def chunks(start: int, stop: int) -> Iterator[Tensor]:
            for a in range(start, stop, CHUNK):
                found = features(source(a, min(a + CHUNK, stop)))
                if found.shape[1] > WIDEST:
                    raise InputError(
                        f"fid.features: at most {WIDEST:,} features can be used, {features.name} "
                        f"gives {found.shape[1]:,}"
                    )
                if a < self.kept:
                    held.append(found[: self.kept - a])
                yield found

        edges = np.linspace(0, n, groups + 1).round().astype(int).tolist()
        fits = [gaussian_fit(chunks(start, stop)) for start, stop in pairwise(edges)]
        return fits, torch.cat(held)

    def _features(self, run: Run) -> tuple[Features, dict[str, Estimate]]:
        if self.features == "pixels":
            return Pixels(), {}
        if self.features == "pca":
            return Principal(run.x("train"), self.components), {}
        if self.features != "classifier":
            return Scripted(
                self.features, self.size, self.channels, self.input_range, run.data.value_range, run.device
            ), {}
        features, right = self._classifier(run)
        return features, {"accuracy": right}

    def _classifier(self, run: Run) -> tuple[Penultimate, Estimate]:
        """Trained once a process for a data set: from a noise of its own, so that every run is measured in
        the same features."""
        key = (
            run.data.digest,
            run.device,
            self.classifier_rows,
            self.classifier_steps,
            self.classifier_width,
        )
        if key not in _CLASSIFIERS:
            train, test = run.data.split("train"), run.data.split("test")
            rows = torch.linspace(0, len(train.x) - 1, min(self.classifier_rows, len(train.x))).round().long()
            x, labels = train.x[rows].to(run.device), train.labels[rows].to(run.device)
            classes = 1 + max(int(part.labels.max()) for part in run.data.parts())
            model = trained(
                x,
                labels,
                classes,
                self.classifier_width,
                self.classifier_steps,
                Noise(0).at("fid", "classifier"),
            )
            _CLASSIFIERS.clear()  # of one data set at a time
            _CLASSIFIERS[key] = (
                Penultimate(model, x),
                accuracy(model, test.x.to(run.device), test.labels.to(run.device)),
            )
        return _CLASSIFIERS[key]

    def _about(self, features: Features, metrics: dict[str, Estimate]) -> str:
        if isinstance(features, Principal):
            return f", {features.share:.1%} of the variance of training rows"
        if "accuracy" in metrics:
            return f"; the classifier labels {metrics['accuracy'].value:.1%} of test rows rightly"
        return ""

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        if "summary" not in report.tables:
            return {}
        table, (source, named, sizes) = report.tables["summary"], report.notes[:3]
        labels = {name: SETS.get(name) or described(name) for name in table["set"]}
        originals = {name: name.removesuffix(RENORMALISED) for name in labels}
        pale = (
            " Pale: codes as they are drawn, full: renormalised."
            if any(a != b for a, b in originals.items())
            else ""
        )
        about = (
            f"Each set is held against the same test examples. {named[0].upper()}{named[1:]}. "
            f"{sizes[0].upper()}{sizes[1:]}."
        )
        return {
            "distances": Picture(
                distances(table, labels, originals),
                "Left: squared Fréchet distance of Gaussian fits, with the interval for its mean at "
                "this number of examples; it is "
                "positive for equal distributions too: dashed, the floor of other test examples. "
                "Right: kernel distance, 0 on average "
                f"where distributions are equal. Lines: 95 % intervals. {about} Samples: {source}.{pale}",
            ),
            "reach": Picture(
                reach(table, labels, originals),
                "Up: do the examples of a set lie among test examples? To the right: do they reach "
                "all of them? Left: precision and "
                "recall; right: density and coverage, which single far examples move less. Hollow "
                "marks are real examples: as good as "
                f"it gets at this size. Lines: 95 % intervals over examples. {about} Samples: "
                f"{source}.{pale}",
            ),
        }


def described(name: str) -> str:
    """The name of a way to draw codes, in words."""
    words = name.removesuffix(RENORMALISED).replace("_", " ")
    return f"{words}, renormalised" if name.endswith(RENORMALISED) else words


def _not_below_zero(distance: Estimate) -> Estimate:
    return (
        distance if distance.low is None else Estimate(distance.value, max(0.0, distance.low), distance.high)
    )


def _flat(found: dict[str, Estimate]) -> dict[str, float]:
    row = {}
    for name in NUMBERS:
        estimate = found.get(name, Estimate(np.nan))
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {key: np.nan if value is None else value for key, value in row.items()}
