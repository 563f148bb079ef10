"""Two-sample tests: decoded random codes against the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Each, Gt
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_samples
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES
from latentrun.diagnostics.samples.two_sample_plot import PAIRS, two_sample_pictures
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.distances.two_sample import (
    Classifier,
    Discrepancy,
    Verdict,
    median_distance,
    mmd2,
    told_apart,
)
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import interval_columns
from latentrun.models.base import HasEncoder, Model
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

LEAST = 4  # examples a set, for a half to fit and a half to judge of each, and for the variance of the MMD
EACH = "one value for each pair of sets (floor, reconstructions, prior_floor, prior, samples)"


class TwoSample(Diagnostic):
    """Do decoded random codes follow the distribution of the data?

    Five pairs of equally large sets of disjoint examples: ``samples``, codes from the prior (or the Gaussian
    that stands in for it) decoded, against test examples; ``floor``, training against test examples, what the
    tests say where there is no difference; ``reconstructions`` of one half of the test examples against the
    other half, what the decoder loses whatever the codes; ``prior``, samples against reconstructions of test
    examples, both decoded: what is wrong with the codes alone; ``prior_floor``, reconstructions of training
    examples against those of test examples, what the tests say of codes decoded against codes decoded where
    there is no difference. n is cut to the number of test and of training rows; ``reconstructions`` has at
    most half the test rows.

    *Classifier two-sample test*: ``accuracy`` and ``auc`` on held-out halves of a classifier fitted to the
    other halves (the first of ``classifiers``; the table has all), 0.5 where the distributions are equal;
    ``p_accuracy``: chance that guessing is as often right. A good classifier finds the least flaw, were it
    only noise in a background pixel, and says little about its size. *Maximum mean discrepancy*: ``mmd2``,
    unbiased, 0 where the distributions are equal, for the mean of Gaussian kernels on x itself with
    ``widths`` times the median distance between training examples, drawn apart from those compared where
    there are enough: the same kernels for every model. It weighs flaws by their size in x. ``p_mmd2``: share
    of random divisions with at least that value.

    Decoded examples are means of p(x|z): where data are noisy these are told by the noise they lack. Data on
    a grid of factors differ from samples between its points too. Intervals (95 %) over examples, for this
    model: see :mod:`latentrun.functional.distances.two_sample`.
    """

    uses = (GENERATOR, ENCODER, IMAGES)
    metrics: ClassVar = {
        "accuracy": Metric(
            f"share of held-out examples that a classifier tells rightly, 0.5 by chance; {EACH}",
            0,
            1,
            "lower",
        ),
        "auc": Metric(
            f"probability that a held-out example of the first set scores above one of the second; {EACH}",
            0,
            1,
            "lower",
        ),
        "p_accuracy": Metric(f"probability of such an accuracy by guessing, one-sided; {EACH}", 0, 1, "none"),
        "mmd2": Metric(
            f"squared maximum mean discrepancy, unbiased, mean over kernel widths; {EACH}", None, 2, "zero"
        ),
        "p_mmd2": Metric(f"share of random divisions with at least that mmd2; {EACH}", 0, 1, "none"),
    }

    def __init__(
        self,
        n: Annotated[int, Count(LEAST)],
        classifiers: list[Classifier],
        components: Annotated[int, Count(1, 10_000)],
        widths: Annotated[list[float], Each(Gt(0))],
        permutations: Annotated[int, Count(19, 100_000)],
        shown: Annotated[int, Count(1, 10_000)],
    ):
        if not classifiers or not widths:
            raise InputError(
                f"two_sample.{'widths' if classifiers else 'classifiers'}: at least one is needed"
            )
        self.n, self.classifiers, self.components = n, list(dict.fromkeys(classifiers)), components
        self.widths, self.permutations, self.shown = widths, permutations, shown

    def check(self, model: Model, data: Dataset) -> None:
        check_samples(model)

    def check_rows(self, data: Dataset) -> None:
        n = min(self.n, *(len(data.split(name).x) for name in ("test", "train")))
        if n >= LEAST and self.components > n:
            raise InputError(
                f"two_sample.components: {self.components:,} principal components of {n:,} examples"
            )

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        train, test = run.x("train"), run.x("test")
        n = min(self.n, len(test), len(train))
        if n < LEAST:
            raise NothingToMeasure(f"two sets of {n} examples cannot be compared: {LEAST} are needed")
        notes = [run.sampler_note]
        order = noise.permutation("train", len(train)).to(train.device)
        width = self._width(train[order[-n:]], 2 * n > len(train), notes)
        pairs = self._pairs(run, order[:n], noise, n)
        verdicts = {
            pair: told_apart(x, y, self.classifiers, self.components, noise.at(pair))
            for pair, (x, y) in pairs.items()
        }
        widths = [width * factor for factor in self.widths]
        discrepancies = {
            pair: mmd2(x, y, widths, self.permutations, noise.at(pair)) for pair, (x, y) in pairs.items()
        }
        sizes = {pair: len(x) for pair, (x, _) in pairs.items()}
        texts = [f"{size:,} ({PAIRS[pair]})" for pair, size in sizes.items()]
        notes.append(
            f"examples in each of the two sets: {', '.join(texts)}; classifiers learn from half of them and "
            "are judged by the other half"
        )
        tables = {
            "classifiers": classifier_table(verdicts),
            "mmd2": self._discrepancy_table(discrepancies, sizes, width),
        }
        first = {pair: by_classifier[self.classifiers[0]] for pair, by_classifier in verdicts.items()}
        arrays = score_arrays(first)
        if run.data.is_image:
            arrays |= self._shown(*pairs["samples"], first["samples"])
            arrays["value_range"] = np.asarray(run.data.value_range, np.float32)
        return Report(self._metrics(first, discrepancies), tables, arrays, notes=tuple(notes))

    def _width(self, apart: Tensor, shared: bool, notes: list[str]) -> float:
        """The median distance between training examples; ``shared``: whether some of them are compared
        too."""
        width = median_distance(apart)
        if shared:
            notes.append(
                "too few training rows: some of those behind the kernel widths are compared too, p_mmd2 is "
                "approximate"
            )
        if not width > 0:
            width = 1.0
            notes.append("more than half of the training examples are equal: kernel widths are in data units")
        notes.append(
            f"median distance between training examples: {width:.4g} in data units, summed over all "
            "dimensions"
        )
        return width

    def _pairs(self, run: Run, order: Tensor, noise: Noise, n: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Sets of equal size in random order, the made ones first; ``order (n,)``: the rows of training
        examples."""
        rows = noise.permutation("test", len(run.x("test"))).to(order.device)
        test, train = run.x("test")[rows], run.x("train")[order]
        samples = run.decode(run.sample_codes(n, noise))
        pairs = {"floor": (train, test[:n])}
        if isinstance(run.model, HasEncoder):
            made, half = run.reconstructions("test")[rows], min(n, len(test) // 2)
            if half >= LEAST:
                pairs["reconstructions"] = made[:half], test[half : 2 * half]
            pairs["prior_floor"] = run.reconstructions("train")[order], made[:n]
            pairs["prior"] = samples, made[:n]
        return pairs | {"samples": (samples, test[:n])}

    # ---------------------------------------------------------------- numbers
    def _metrics(
        self, verdicts: dict[str, Verdict], discrepancies: Mapping[str, Discrepancy]
    ) -> dict[str, Estimate]:
        """Of every pair, that of the samples first: the verdict of the first classifier, and the discrepancy
        for the mean of the kernels."""
        numbers = {
            pair: {
                "accuracy": verdicts[pair].accuracy,
                "auc": verdicts[pair].auc,
                "p_accuracy": Estimate(verdicts[pair].p),
                "mmd2": discrepancies[pair].estimates[-1],
                "p_mmd2": Estimate(float(discrepancies[pair].p[-1])),
            }
            for pair in reversed(verdicts)
        }
        return {f"{name}.{pair}": numbers[pair][name] for name in self.metrics for pair in numbers}

    def _discrepancy_table(
        self, discrepancies: Mapping[str, Discrepancy], sizes: Mapping[str, int], width: float
    ) -> pd.DataFrame:
        """A row for each pair and kernel; without a factor that for the mean of the kernels."""
        factors = np.array([*self.widths, np.nan])
        tables = []
        for pair, discrepancy in discrepancies.items():
            columns = {"pair": pair, "factor": factors, "width": factors * width, "n": sizes[pair]}
            columns |= interval_columns("mmd2", discrepancy.estimates) | {"p": discrepancy.p}
            tables.append(pd.DataFrame(columns))
        table = pd.concat(tables, ignore_index=True)
        return table.rename(columns={"mmd2_low": "low", "mmd2_high": "high"})

    # ---------------------------------------------------------------- pictures
    def _shown(self, x: Tensor, y: Tensor, verdict: Verdict) -> dict[str, np.ndarray]:
        """The held-out rows of most and least score: samples told and missed, data missed and told."""
        arrays = {}
        for name, rows, score, sign in (
            ("told", x, verdict.score_x, -1),
            ("missed", x, verdict.score_x, 1),
            ("false", y, verdict.score_y, -1),
            ("real", y, verdict.score_y, 1),
        ):
            order = np.argsort(sign * score, kind="stable")[: self.shown]
            held = torch.from_numpy(order + len(rows) - len(score)).to(rows.device)
            arrays |= {f"shown_{name}": rows[held].cpu().float().numpy(), f"shown_{name}_score": score[order]}
        return arrays

    def plot(self, report: Report) -> dict[str, Picture]:
        return two_sample_pictures(report, self.classifiers[0], len(self.widths), self.permutations)


def classifier_table(verdicts: Mapping[str, Mapping[Classifier, Verdict]]) -> pd.DataFrame:
    """A row for each pair and classifier."""
    tables = []
    for pair, by_classifier in verdicts.items():
        judged = list(by_classifier.values())
        columns: dict[str, Any] = {
            "pair": pair,
            "classifier": list(by_classifier),
            "held_out": [2 * len(verdict.score_x) for verdict in judged],
        }
        columns |= interval_columns("accuracy", [verdict.accuracy for verdict in judged])
        columns["p"] = [verdict.p for verdict in judged]
        columns |= interval_columns("auc", [verdict.auc for verdict in judged])
        tables.append(pd.DataFrame(columns))
    table = pd.concat(tables, ignore_index=True)
    return table.rename(columns={"accuracy_low": "low", "accuracy_high": "high"})


def score_arrays(verdicts: Mapping[str, Verdict]) -> dict[str, np.ndarray]:
    """The scores of the held-out examples of both sets of each pair."""
    arrays = {}
    for pair, verdict in verdicts.items():
        arrays |= {f"made_{pair}": verdict.score_x, f"data_{pair}": verdict.score_y}
    return arrays
