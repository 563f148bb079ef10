"""Two-sample tests: decoded random codes against the data."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Each, Ge, Gt
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_samples
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES
from latentrun.diagnostics.samples.two_sample_plot import tests, verdict_scores
from latentrun.errors import InputError
from latentrun.functional.distances.two_sample import Classifier, median_distance, mmd2, told_apart
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, Model
from latentrun.plotting.images import strips
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

LEAST = 4  # examples a set, for a half to fit and a half to judge of each, and for the variance of the MMD
# What is held against what, in words; the order of the pictures.
PAIRS = {
    "floor": "training examples against test examples",
    "reconstructions": "reconstructions against other test examples",
    "prior": "samples against reconstructions",
    "samples": "samples against test examples",
}
EACH = "one value for each pair of sets (floor, reconstructions, prior, samples)"


class TwoSample(Diagnostic):
    """Do decoded random codes follow the distribution of the data?

    Four pairs of equally large sets of disjoint examples: ``samples``, codes from the prior (or the Gaussian
    that stands in for it) decoded, against test examples; ``floor``, training against test examples, what the
    tests say where there is no difference; ``reconstructions`` of one half of the test examples against the
    other half, what the decoder loses whatever the codes; ``prior``, samples against reconstructions of test
    examples, both decoded: what is wrong with the codes alone. n is cut to the number of test and of training
    rows; ``reconstructions`` has at most half the test rows.

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
        n: Annotated[int, Ge(LEAST)],
        classifiers: list[Classifier],
        components: Annotated[int, Ge(1)],
        widths: Annotated[list[float], Each(Gt(0))],
        permutations: Annotated[int, Ge(19)],
        shown: Annotated[int, Ge(1)],
    ):
        if not classifiers or not widths:
            raise InputError(
                f"two_sample.{'widths' if classifiers else 'classifiers'}: at least one is needed"
            )
        self.n, self.classifiers, self.components = n, list(dict.fromkeys(classifiers)), components
        self.widths, self.permutations, self.shown = widths, permutations, shown

    def check(self, model: Model, data: Dataset) -> None:
        check_samples(model)

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        train, test = run.x("train"), run.x("test")
        n = min(self.n, len(test), len(train))
        notes = [run.sampler_note]
        if n < LEAST:
            return Report(notes=(*notes, f"two sets of {n} examples cannot be compared: {LEAST} are needed"))
        order = noise.permutation("train", len(train)).to(train.device)
        width = median_distance(train[order[-n:]])
        if 2 * n > len(train):
            notes.append(
                "too few training rows: some of those behind the kernel widths are compared too, "
                "p_mmd2 is approximate"
            )
        if not width > 0:
            width = 1.0
            notes.append("more than half of the training examples are equal: kernel widths are in data units")
        notes.append(
            f"median distance between training examples: {width:.4g} in data units, summed over all "
            "dimensions"
        )
        pairs = self._pairs(run, train[order[:n]], noise, n)

        told, apart, metrics, scores = [], [], {}, {}
        for pair, (x, y) in pairs.items():
            own = noise.at(pair)
            verdicts = told_apart(x, y, self.classifiers, self.components, own)
            for name, v in verdicts.items():
                told.append((pair, name, 2 * len(v.score_x), *_flat(v.accuracy), v.p, *_flat(v.auc)))
            first = scores[pair] = verdicts[self.classifiers[0]]
            metrics |= {
                f"accuracy.{pair}": first.accuracy,
                f"p_accuracy.{pair}": Estimate(first.p),
                f"auc.{pair}": first.auc,
            }
            found = mmd2(x, y, [width * factor for factor in self.widths], self.permutations, own)
            metrics |= {f"mmd2.{pair}": found.estimates[-1], f"p_mmd2.{pair}": Estimate(float(found.p[-1]))}
            kernels = zip([*self.widths, np.nan], found.estimates, found.p, strict=True)
            apart += [(pair, factor, factor * width, len(x), *_flat(e), p) for factor, e, p in kernels]
        sizes = ", ".join(f"{len(x):,} ({PAIRS[pair]})" for pair, (x, _) in pairs.items())
        notes.append(
            f"examples in each of the two sets: {sizes}; classifiers learn from half of them and are "
            "judged by the other half"
        )
        metrics = {
            f"{name}.{pair}": metrics[f"{name}.{pair}"] for name in self.metrics for pair in reversed(pairs)
        }  # samples first
        tables = {
            "classifiers": pd.DataFrame(
                told,
                columns=[
                    "pair",
                    "classifier",
                    "held_out",
                    "accuracy",
                    "low",
                    "high",
                    "p",
                    "auc",
                    "auc_low",
                    "auc_high",
                ],
            ),
            "mmd2": pd.DataFrame(
                apart, columns=["pair", "factor", "width", "n", "mmd2", "low", "high", "p"]
            ).astype({"p": float}),
        }
        arrays = {
            f"{name}_{pair}": value
            for pair, v in scores.items()
            for name, value in (("made", v.score_x), ("data", v.score_y))
        }
        if run.data.is_image:
            arrays |= self._shown(*pairs["samples"], scores["samples"].score_x, scores["samples"].score_y)
            arrays["value_range"] = np.asarray(run.data.value_range, np.float32)
        return Report(metrics, tables, arrays, notes=tuple(notes))

    def _pairs(self, run: Run, train: Tensor, noise: Noise, n: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Sets of equal size in random order, the made ones first."""
        rows = noise.permutation("test", len(run.x("test"))).to(train.device)
        test = run.x("test")[rows]
        samples = run.decode(run.sample_codes(n, noise))
        found = {"floor": (train, test[:n])}
        if isinstance(run.model, HasEncoder):
            made, half = run.reconstructions("test")[rows], min(n, len(test) // 2)
            if half >= LEAST:
                found["reconstructions"] = made[:half], test[half : 2 * half]
            found["prior"] = samples, made[:n]
        return found | {"samples": (samples, test[:n])}

    def _shown(self, x: Tensor, y: Tensor, made: np.ndarray, data: np.ndarray) -> dict[str, np.ndarray]:
        """The held-out rows of most and least score: samples told and missed, data missed and told."""
        arrays = {}
        for name, rows, score, sign in (
            ("told", x, made, -1),
            ("missed", x, made, 1),
            ("false", y, data, -1),
            ("real", y, data, 1),
        ):
            at = np.argsort(sign * score, kind="stable")[: self.shown]
            held = torch.from_numpy(at + len(rows) - len(score)).to(rows.device)
            arrays |= {f"shown_{name}": rows[held].cpu().float().numpy(), f"shown_{name}_score": score[at]}
        return arrays

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        if "classifiers" not in report.tables:
            return {}
        arrays, told, apart = report.arrays, report.tables["classifiers"], report.tables["mmd2"]
        names, source = (
            {pair: text for pair, text in PAIRS.items() if pair in set(told["pair"])},
            report.notes[0],
        )
        main = self.classifiers[0]
        scores = {names[pair]: (arrays[f"made_{pair}"], arrays[f"data_{pair}"]) for pair in names}
        found = {
            "tests": Picture(
                tests(told, apart, names),
                "Two sets of examples each: can they be told apart? Left: accuracy of classifiers on "
                "held-out examples, with 95 % "
                "intervals; dashed: chance. Right: squared maximum mean discrepancy, mean over "
                f"{len(self.widths)} kernel widths, with "
                f"95 % intervals; dashed: no difference; p by {self.permutations} random divisions. "
                f"Samples: {source}.",
            ),
            "scores": Picture(
                verdict_scores(scores),
                f"What the classifier ({main}) says of the held-out examples of each pair: its "
                "probability that an example belongs to the "
                "first-named set, for both sets. Where nothing can be told the two histograms agree.",
            ),
        }
        if "shown_told" in arrays:
            rows = {
                "told": "samples, told",
                "missed": "samples, missed",
                "false": "data, taken for samples",
                "real": "data, told",
            }
            found["examples"] = Picture(
                strips(
                    [(text, arrays[f"shown_{name}"]) for name, text in rows.items()],
                    tuple(arrays["value_range"].tolist()),
                    under=[[f"{score:.3f}" for score in arrays[f"shown_{name}_score"]] for name in rows],
                ),
                f"Held-out examples by what the classifier ({main}) makes of them; beneath: its "
                "probability that the picture is a sample. "
                "From above: samples that it is surest of, samples that it takes for data, test "
                "examples that it takes for samples, "
                "test examples that it is surest of. The clearest cases stand on the left. Samples: "
                f"{source}.",
            )
        return found


def _flat(estimate: Estimate) -> tuple[float, float, float]:
    low, high = (np.nan if end is None else end for end in (estimate.low, estimate.high))
    return estimate.value, low, high
