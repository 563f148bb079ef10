"""Fréchet and kernel distances of features, precision and recall: samples and reconstructions against the
data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Program
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_samples
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES, LABELS, SAMPLERS
from latentrun.diagnostics.samples.fid_plot import SETS, fid_pictures
from latentrun.errors import InputError, Misfit, NothingToMeasure, nearest
from latentrun.functional.distances.fidelity import fidelity
from latentrun.functional.distances.frechet import GaussianFit, Jackknife, frechet_jackknife, gaussian_fit
from latentrun.functional.distances.kernel_distance import kid
from latentrun.functional.images.resize import Resize
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.models.base import RENORMALISED, HasEncoder, HasSamplers, Model
from latentrun.nn.classifier import accuracy, trained
from latentrun.nn.features import Features, Penultimate, Pixels, Principal, Scripted, is_scripted
from latentrun.run import CHUNK, Run
from latentrun.types import Estimate, Metric, Picture, Report, Split

LEAST = 8  # examples a set: below, no distance says anything
WIDEST = 4096  # features a Gaussian is fitted to: its covariance has their square
SOURCES = ("pixels", "pca", "classifier")
EACH = (
    "against test examples, one value for each set (samples, reconstructions, floor, floor_train, the "
    "model's samplers)"
)
NUMBERS = ("fid", "fid_corrected", "kid", "precision", "recall", "density", "coverage")
Examples = Callable[[int, int], Tensor]  # the examples of a set from one number to before another

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
            better="higher",
        ),
        "kid": Metric(
            f"unbiased MMD², kernel (a·b/d + 1)³, {EACH}",
            None,
            None,
            "zero",
            "Bińkowski et al. 2018, arXiv 1801.01401",
        ),
        "precision": Metric(
            f"share of the set's examples in a ball of test examples, {EACH}",
            0,
            1,
            "higher",
            "arXiv 1904.06991, eq. 2",
        ),
        "recall": Metric(
            f"share of test examples in a ball of the set's, {EACH}",
            0,
            1,
            "higher",
            "arXiv 1904.06991, eq. 2",
        ),
        "density": Metric(
            f"balls of test examples around one of the set, over k, mean, {EACH}",
            0,
            None,
            "one",
            "arXiv 2002.09797, eq. 4",
        ),
        "coverage": Metric(
            f"share of test examples with one of the set in their ball, {EACH}",
            0,
            1,
            "higher",
            "arXiv 2002.09797, eq. 5",
        ),
        "accuracy": Metric(
            "share of test rows that the classifier behind the features labels rightly", 0, 1, "none"
        ),
    }

    def __init__(
        self,
        features: Annotated[str, Program(SOURCES)],
        n: Annotated[int, Count(LEAST)],
        groups: Annotated[int, Count(2, 10_000)] | None,
        kept: Annotated[int, Count(LEAST)],
        k_precision: Annotated[int, Count(1, 10_000)],
        k_coverage: Annotated[int, Count(1, 10_000)],
        components: Annotated[int, Count(1, 10_000)],
        classifier_rows: Annotated[int, Count(1)],
        classifier_steps: Annotated[int, Count(1)],
        classifier_width: Annotated[int, Count(1, 65_536)],
        size: tuple[Annotated[int, Count(1, 8192)], Annotated[int, Count(1, 8192)]] | None,
        channels: Literal[1, 3],
        input_range: tuple[float, float],
        resize: Resize,
    ):
        self.features, self.n, self.groups, self.kept = features, n, groups, kept
        self.k_precision, self.k_coverage, self.components = k_precision, k_coverage, components
        self.classifier_rows, self.classifier_steps = classifier_rows, classifier_steps
        self.classifier_width = classifier_width
        self.size, self.channels, self.input_range, self.resize = size, channels, input_range, resize

    def check(self, model: Model, data: Dataset) -> None:
        check_samples(model)
        taken = SETS.keys() & model.samplers() if isinstance(model, HasSamplers) else ()
        if taken:
            raise InputError(
                f"fid: {', '.join(sorted(taken))} cannot be the name of a way to draw codes: it is the name "
                "of a set"
            )
        if self.features == "classifier" and data.label is None:
            raise Misfit("features=classifier needs labels; the data have none: features=pca needs nothing")
        if self.features == "pixels" and prod(data.event_shape) > WIDEST:
            raise InputError(
                f"fid.features: pixels are for at most {WIDEST:,} values an example, these data have "
                f"{prod(data.event_shape):,}"
            )
        if self.features in SOURCES:
            return
        if not Path(self.features).expanduser().is_file():
            raise InputError(
                f"fid.features: {self.features!r} is neither {', '.join(SOURCES)} nor a "
                f"file{nearest(self.features, SOURCES)}"
            )
        if not is_scripted(Path(self.features).expanduser()):
            raise InputError(f"fid.features: {self.features!r} is no TorchScript file")
        if not data.is_image:
            raise Misfit("features from a TorchScript file need pictures; the data are none")

    def check_rows(self, data: Dataset) -> None:
        test, train = (len(data.split(name).x) for name in ("test", "train"))
        n = min(self.n, test // 2, train)
        if n >= LEAST and (self.groups or 1) > n // 2:
            raise InputError(f"fid.groups: {self.groups:,} groups of {n:,} examples: at most {n // 2:,}")
        if self.features == "pca" and self.components > train:
            raise InputError(
                f"fid.components: {self.components:,} principal components of {train:,} training rows"
            )

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        test, train = run.x("test"), run.x("train")
        n = min(self.n, len(test) // 2, len(train))
        if n < LEAST:
            raise NothingToMeasure(
                f"two sets of {n} examples are too small: {LEAST} are needed in each, and two of test rows"
            )
        features, metrics = self._features(run)
        order = noise.permutation("test", len(test)).to(test.device)
        sets = self._sets(run, order[n : 2 * n], noise)
        groups = min(self.groups or 1, n // 2)
        real = self._gather(features, lambda a, b: test[order[:n][a:b]], n, groups)
        blocks = min(groups, len(real.rows) // 2)
        rows, jackknives = [], {}
        for name, examples in sets.items():
            made = self._gather(features, examples, n, groups)
            jackknives[name] = frechet_jackknife(real.fits, made.fits)
            estimates = self._compare(real, made, jackknives[name], blocks)
            metrics |= {f"{metric}.{name}": estimate for metric, estimate in estimates.items()}
            rows.append(
                {"set": name, "features": features.name, "d": real.width, "n": n, "kept": len(real.rows)}
                | columns(estimates)
            )
        metrics |= renormalisation_gains(jackknives)
        order_of = list(self.metrics).index
        metrics = dict(sorted(metrics.items(), key=lambda entry: order_of(entry[0].partition(".")[0])))
        notes = [run.sampler_note, *self._notes(features, metrics, real, n, blocks)]
        return Report(metrics, {"summary": pd.DataFrame(rows)}, notes=tuple(notes))

    def _sets(self, run: Run, other: Tensor, noise: Noise) -> dict[str, Examples]:
        """What is held against the reference; ``other (n,)``: test rows that are not in it."""
        test, train = run.x("test"), run.x("train")
        train_rows = noise.permutation("train", len(train))[: len(other)].to(train.device)

        def generated(sampler: str | None) -> Examples:
            return lambda a, b: run.decode(run.sample_codes(b - a, noise.at("samples", a), sampler))

        sets = {"samples": generated(None)}
        if isinstance(run.model, HasEncoder):
            codes = run.latents("test").codes[other]
            sets["reconstructions"] = lambda a, b: run.decode(codes[a:b])
        sets["floor"] = lambda a, b: test[other[a:b]]
        sets["floor_train"] = lambda a, b: train[train_rows[a:b]]
        if isinstance(run.model, HasSamplers):
            sets |= {name: generated(name) for name in run.model.samplers()}
        return sets

    def _gather(self, features: Features, examples: Examples, n: int, groups: int) -> FeatureSet:
        """The features of examples 0 ... n - 1, a chunk at a time; InputError where they are too many."""
        kept: list[Tensor] = []

        def chunks(start: int, stop: int) -> Iterator[Tensor]:
            for a in range(start, stop, CHUNK):
                values = features(examples(a, min(a + CHUNK, stop)))
                if values.shape[1] > WIDEST:
                    raise InputError(
                        f"fid.features: at most {WIDEST:,} features can be used, {features.name} gives "
                        f"{values.shape[1]:,}"
                    )
                if a < self.kept:
                    kept.append(values[: self.kept - a])
                yield values

        edges = np.linspace(0, n, groups + 1).round().astype(int).tolist()
        fits = [gaussian_fit(chunks(start, stop)) for start, stop in pairwise(edges)]
        return FeatureSet(fits, torch.cat(kept))

    def _compare(
        self, real: FeatureSet, made: FeatureSet, jackknife: Jackknife, blocks: int
    ) -> dict[str, Estimate]:
        """The numbers of one set."""
        distance = jackknife.estimate
        if distance.low is not None:
            distance = replace(distance, low=max(0.0, distance.low))
        estimates = {"fid": distance}
        if jackknife.corrected is not None:
            estimates["fid_corrected"] = jackknife.corrected
        estimates["kid"] = kid(real.rows, made.rows, blocks)
        return estimates | vars(fidelity(real.rows, made.rows, self.k_precision, self.k_coverage))

    def _notes(
        self, features: Features, metrics: Mapping[str, Estimate], real: FeatureSet, n: int, blocks: int
    ) -> list[str]:
        """What the distances are measured in and how many examples there are; the pictures' captions quote
        both."""
        about, kept = "", len(real.rows)
        if isinstance(features, Principal):
            about = f", {features.share:.1%} of the variance of training rows"
        elif "accuracy" in metrics:
            about = f"; the classifier labels {metrics['accuracy'].value:.1%} of test rows rightly"
        notes = [
            f"features: {features.name}, {real.width} numbers an example{about}",
            f"{n:,} examples in each set for fid, {kept:,} of them for the others; kid: mean over {blocks} "
            f"blocks of {kept // blocks}",
        ]
        if n <= 2 * real.width:
            notes.append(
                f"{n:,} examples are few for {real.width} features: fid is mostly bias there, fid_corrected "
                "is not to be trusted"
            )
        return notes

    # ---------------------------------------------------------------- features
    def _features(self, run: Run) -> tuple[Features, dict[str, Estimate]]:
        """The map that the distances are measured in, and how good its classifier is where it has one."""
        match self.features:
            case "pixels":
                return Pixels(), {}
            case "pca":
                return Principal(run.x("train"), self.components), {}
            case "classifier":
                features, right = self._classifier(run)
                return features, {"accuracy": right}
        scripted = Scripted(
            self.features,
            self.size,
            self.channels,
            self.input_range,
            run.data.value_range,
            self.resize,
            run.device,
            where="fid.features",
        )
        return scripted, {}

    def _classifier(self, run: Run) -> tuple[Penultimate, Estimate]:
        """Trained once a process for a data set: from a noise of its own, so that every run is measured in
        the same features."""
        settings = (self.classifier_rows, self.classifier_steps, self.classifier_width)
        key = (run.data.digest, run.device, *settings)
        if key not in _CLASSIFIERS:
            train, test = run.data.split("train"), run.data.split("test")
            rows = evenly(len(train.x), self.classifier_rows)
            x, labels = train.x[rows].to(run.device), labels_of(train)[rows].to(run.device)
            classes = 1 + max(int(labels_of(split).max()) for split in run.data.parts())
            noise = Noise(0).at("fid", "classifier")
            model = trained(x, labels, classes, self.classifier_width, self.classifier_steps, noise)
            right = accuracy(model, test.x.to(run.device), labels_of(test).to(run.device))
            _CLASSIFIERS.clear()  # of one data set at a time
            _CLASSIFIERS[key] = Penultimate(model, x), right
        return _CLASSIFIERS[key]

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        return fid_pictures(report)


def labels_of(split: Split) -> Tensor:
    """Its labels; features of a classifier are only for data that have them, see :meth:`FID.check`."""
    assert split.labels is not None
    return split.labels


@dataclass(frozen=True)
class FeatureSet:
    """Features of n examples: ``fits``, the moments of each group of them, and ``rows (kept, d)``, those of
    the first."""

    fits: list[GaussianFit]
    rows: Tensor

    @property
    def width(self) -> int:
        """The number d of features."""
        return self.rows.shape[1]


def renormalisation_gains(jackknives: Mapping[str, Jackknife]) -> dict[str, Estimate]:
    """The distance of each set less that of the same codes renormalised, where there are both."""
    return {
        f"fid_gain.{name}": (jackknife - jackknives[name + RENORMALISED]).estimate
        for name, jackknife in jackknives.items()
        if name + RENORMALISED in jackknives
    }


def columns(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Estimates in a row of a table; NaN for what is not there."""
    row: dict[str, float] = {}
    for name in NUMBERS:
        row |= estimates.get(name, Estimate(np.nan)).columns(name)
    return row
