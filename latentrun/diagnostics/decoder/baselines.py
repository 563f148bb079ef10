"""The model beside the least that anybody could do: the mean example, principal components, the commonest
class."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, IMAGES, LABELS, POSTERIOR
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.components import Components, principal_components
from latentrun.functional.statistics.intervals import (
    bootstrap_means,
    interval_columns,
    mean_interval,
    share_interval,
)
from latentrun.functional.statistics.methods import EQUAL
from latentrun.functional.statistics.probes import (
    Codes,
    accuracy,
    combined,
    estimates,
    knn_predict,
    neighbours,
)
from latentrun.judgement import Again, Condition, Rule, Weight, count, times
from latentrun.models.base import HasPosterior
from latentrun.run import CHUNK, Run
from latentrun.types import Estimate, Metric, Picture, Report

MODEL, MEAN, PCA = "model", "mean", "pca"
UNIT = "squared units of x, mean over examples and data dimensions"
SHARE = "share of the examples"
OTHERS = 20  # examples of other than the commonest class, below which nothing is said of them


class Baselines(Diagnostic):
    """How does the model compare with models that anybody has at once?

    Mean squared errors of reconstructions (decoded mean codes) of the rows of ``split``, in the same units:
    of the ``model``; of always answering the ``mean`` of the training rows; of ``pca``, the plane of as many
    principal components of the training rows as the latent space has dimensions (at least one), which is the
    best that any linear model can do with so many numbers. ``ratio.mean`` and ``ratio.pca`` = error of the
    model / error of that baseline, over the same rows; ``ratio.train`` = error of training rows / error of
    the rows of ``split``: 1 where both are alike, near 0 where the training rows were learnt by heart.

    Of pictures also ``detail`` = sum of squared differences between neighbouring pixels of what is given for
    the examples / the same of the examples: 1 where edges are as sharp as in the data (or invented ones make
    up for those that are missing), near 0 where they are blurred. A decoded mean carries no noise of the data
    either.

    With labels ``accuracy.codes``, by a vote of the ``neighbours`` nearest training codes (draws from q(z|x)
    where there is a posterior, for the mean of a collapsed one knows the class at a scale of 1e-3), beside
    ``accuracy.commonest``, always the commonest class of the training rows, their difference
    ``accuracy_gain``, and ``skill`` = that gain / (1 - ``accuracy.commonest``), what it is of the gain that
    is possible: of a class that is 98 % of the rows nobody gains more than 2 %.

    Intervals (95 %, over examples, for this model): Student's of the errors, corrected for skewness,
    bootstrap with ``resamples`` resamples of ratios and accuracies, the same rows in numerator and
    denominator; for ``ratio.train`` independent ones.
    """

    requires = (ENCODER,)
    uses = (IMAGES, LABELS, POSTERIOR)
    metrics: ClassVar = {
        "mse": Metric(f"{UNIT}: of the `model`, the `mean` example, `pca`", low=0, better="lower"),
        "ratio": Metric(
            "pure number: error of the model / that of the `mean` example, of `pca`; error of `train` rows / "
            "of those of the split",
            low=0,
        ),
        "components": Metric(
            "principal components fitted, as many as the latent space has dimensions", low=0
        ),
        "detail": Metric(
            "squared differences of neighbouring pixels, share of those of the data: of reconstructions by "
            "the `model`, by `pca`",
            low=0,
            better="one",
        ),
        "accuracy": Metric(
            f"{SHARE} whose class is right: by the nearest `codes`, by the `commonest` class", 0, 1, "higher"
        ),
        "accuracy_gain": Metric("accuracy by the codes less that by the commonest class", -1, 1, "higher"),
        "skill": Metric(
            "accuracy gain by the codes, as part of what is right if all classes are", None, 1, "higher"
        ),
    }
    rules = (
        Rule(
            "worse_than_mean",
            Weight.PROBLEM,
            (Condition("ratio.mean", over=1.05),),
            lambda m: (
                f"Worse than the mean example: always answering the mean of the training data would be "
                f"{times(m['ratio.mean'])} as good, in squared error. The model has learnt nothing of use "
                "yet."
            ),
            (Again("training.epochs", 4),),
        ),
        Rule(
            "no_better_than_mean",
            Weight.PROBLEM,
            (Condition("ratio.mean", over=0.95, under=1.05),),
            lambda m: (
                "No better than the mean example: reconstructions tell nothing of the examples that they are "
                "made from."
            ),
            (Again("training.optimizer.lr", 0.3),),
        ),
        Rule(
            "worse_than_pca",
            Weight.PROBLEM,
            (Condition("ratio.mean", under=0.95), Condition("ratio.pca", over=1.1)),
            lambda m: (
                f"Worse than PCA: the squared error is {times(m['ratio.pca'])} that of "
                f"{count(m['components'], 'principal component')}, which a linear model has at once."
            ),
            (Again("training.epochs", 2),),
        ),
        Rule(
            "as_good_as_pca",
            Weight.HINT,
            (Condition("ratio.mean", under=0.95), Condition("ratio.pca", over=0.9, under=1.1)),
            lambda m: (
                f"As good as PCA with {count(m['components'], 'component')}: a linear model would do as well "
                f"({m['ratio.pca']:.2f} of its squared error)."
            ),
            (Again("model.beta", 0.25), Again("training.epochs", 2)),
        ),
        Rule(
            "better_than_pca",
            Weight.GOOD,
            (Condition("ratio.mean", under=0.95), Condition("ratio.pca", under=0.9)),
            lambda m: (
                f"Better than PCA: {m['ratio.pca']:.0%} of the squared error of "
                f"{count(m['components'], 'principal component')}, {m['ratio.mean']:.1%} of that of the mean "
                "example."
            ),
        ),
        Rule(
            "blurred",
            Weight.HINT,
            (Condition("ratio.mean", under=0.95), Condition("detail.model", under=0.5)),
            lambda m: (
                "Reconstructions are blurred, or the data are noisy: squared differences between "
                f"neighbouring pixels are {m['detail.model']:.0%} of those of the data."
            ),
            (Again("model.latent_dim", 2),),
        ),
        Rule(
            "memorised",
            Weight.PROBLEM,
            (Condition("ratio.train", under=0.5),),
            lambda m: (
                "Learnt by heart: the squared error of training rows is "
                f"{m['ratio.train']:.0%} of that of rows that the model has not seen."
            ),
            (Again("model.latent_dim", 0.5),),
        ),
        Rule(
            "knows_no_class",
            Weight.HINT,
            (Condition("skill", under=0.1),),
            lambda m: (
                "The codes tell hardly anything of the class: a vote of the nearest names "
                f"{m['accuracy.codes']:.0%} of the rows rightly, the commonest class alone "
                f"{m['accuracy.commonest']:.0%}."
            ),
            (Again("model.beta", 0.25), Again("model.latent_dim", 2)),
        ),
    )

    def __init__(
        self,
        split: Literal["val", "test"],
        neighbours: Annotated[int, Count(1, 10_000)],
        train_rows: Annotated[int, Count(2)],
        resamples: Annotated[int, Count(1, 100_000)],
    ):
        self.split, self.neighbours = split, neighbours
        self.train_rows, self.resamples = train_rows, resamples

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        x, train = run.x(self.split), run.x("train")
        plane = principal_components(train.flatten(1), max(1, run.model.spaces["z"].dim))
        seen = noise.permutation("train", len(train))[: self.train_rows].to(train.device)
        made = {
            MODEL: run.reconstructions(self.split),
            MEAN: plane.mean.to(x.dtype).view(1, *x.shape[1:]).expand_as(x),
            PCA: on_plane(plane, x),
        }
        errors = {name: squared_errors(x, answer) for name, answer in made.items()}
        remade = squared_errors(train[seen], run.decode(run.encode(train[seen])))
        noise = noise.to("cpu")
        metrics = self._ratios(errors, remade, noise)
        if run.data.is_image:
            metrics |= self._details([detail(rows) for rows in (x, made[MODEL], made[PCA])], noise)
        metrics["components"] = Estimate(float(len(plane.axes)))
        if run.data.label is not None:
            metrics |= self._classes(run, seen, noise)
        notes = [
            f"{len(x)} rows of the {self.split} split; PCA: {len(plane.axes)} components of {plane.rows} "
            f"training rows; {len(seen)} training rows reconstructed."
        ]
        return Report(metrics, {"errors": error_table(metrics)}, notes=tuple(notes))

    def _ratios(self, squares: dict[str, Tensor], trained: Tensor, noise: Noise) -> dict[str, Estimate]:
        """Squared errors ``(N,)`` of what is answered, and those of the model as shares; ``trained``: those
        of training rows."""
        metrics = {f"mse.{name}": mean_interval(values) for name, values in squares.items()}
        columns = torch.stack([squares[name] for name in (MODEL, MEAN, PCA)], 1)
        against = bootstrap_means(
            lambda means: means[:, :1] / means[:, 1:], columns, noise.at("ratio"), self.resamples
        )
        metrics |= {f"ratio.{name}": estimate for name, estimate in zip((MEAN, PCA), against, strict=True)}
        # Two independent sets in random order: their rows may be resampled together.
        rows = min(len(trained), len(squares[MODEL]))
        order = noise.permutation("split", len(squares[MODEL]))[:rows]
        pairs = torch.stack([trained[:rows], squares[MODEL][order]], 1)
        [metrics["ratio.train"]] = bootstrap_means(
            lambda means: means[:, :1] / means[:, 1:], pairs, noise.at("train"), self.resamples
        )
        return metrics

    def _details(self, details: list[Tensor], noise: Noise) -> dict[str, Estimate]:
        """The detail ``(N,)`` of what the model and PCA give, as a share of that of the data, which stands
        first; none of flat pictures."""
        if not details[0].sum():
            return {}
        shares = bootstrap_means(
            lambda means: means[:, 1:] / means[:, :1],
            torch.stack(details, 1),
            noise.at("detail"),
            self.resamples,
        )
        return {f"detail.{name}": estimate for name, estimate in zip((MODEL, PCA), shares, strict=True)}

    def _classes(self, run: Run, seen: Tensor, noise: Noise) -> dict[str, Estimate]:
        """How often the class of a row is named rightly."""
        fitted, scored = (labels_of(run, split) for split in ("train", self.split))
        known = fitted[seen.cpu().numpy()]
        codes = Codes(
            drawn_codes(run, run.x("train")[seen], noise.at("train codes")),
            drawn_codes(run, run.x(self.split), noise.at("codes")),
        )
        vote = accuracy(scored, knn_predict(neighbours(codes, min(self.neighbours, len(known))), known))
        commonest = accuracy(scored, np.full(len(scored), np.bincount(fitted).argmax()))
        gain = combined([vote, commonest], lambda values: values[:, 0] - values[:, 1])
        skill = combined([gain, commonest], lambda values: values[:, 0] / (1 - values[:, 1]))
        values = estimates([vote, commonest, gain, skill], noise.at("classes"), self.resamples)
        names = ("accuracy.codes", "accuracy.commonest", "accuracy_gain", "skill")
        metrics = dict(zip(names, values, strict=True))
        others = len(scored) - int(commonest.columns.sum())
        return metrics | {"skill": skill_estimate(metrics["skill"], others)}

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.decoder.baselines_plot import beside

        text = (
            "Mean squared error of the model's reconstructions, of as many principal components as the "
            "latent space has dimensions, and of always answering the mean training example, each with its "
            "95 % interval over examples."
        )
        return {"errors": Picture(beside(report.tables["errors"]), text)}


# ---------------------------------------------------------------- numbers
def on_plane(plane: Components, x: Tensor) -> Tensor:
    """What the components make of the examples ``(N, *event)``."""
    parts = [plane.reconstruct(part.flatten(1)) for part in x.split(CHUNK)]
    return torch.cat(parts).view_as(x)


def squared_errors(x: Tensor, made: Tensor) -> Tensor:
    """Squared errors ``(N,)`` of what stands for the examples ``(N, *event)``, mean over data dimensions, on
    the CPU."""
    parts = zip(x.split(CHUNK), made.split(CHUNK), strict=True)
    return torch.cat([(rows - answer).flatten(1).double().square().mean(1) for rows, answer in parts]).cpu()


def detail(x: Tensor) -> Tensor:
    """Squared differences of neighbouring pixels of pictures ``(N, channels, height, width)``, summed,
    ``(N,)`` on the CPU."""
    down, across = ([part.double().diff(dim=dim) for part in x.split(CHUNK)] for dim in (2, 3))
    sums = [torch.cat([part.square().flatten(1).sum(1) for part in parts]) for parts in (down, across)]
    return (sums[0] + sums[1]).cpu()


def labels_of(run: Run, split: str) -> np.ndarray:
    """The classes of a split ``(N,)``."""
    labels = run.data.split(split).labels
    assert labels is not None
    return labels.cpu().numpy()


def skill_estimate(skill: Estimate, others: int) -> Estimate:
    """With the interval that so many examples of ``others`` than the commonest class allow: none of few; and
    Wilson's where no resample moves it, for then none of them, or all, are named rightly."""
    if others < OTHERS:
        return Estimate(skill.value, method=f"none: {others} examples of other classes")
    if skill.method.startswith(EQUAL):
        return share_interval(round(max(0.0, skill.value) * others), others, "examples of other classes")
    return skill


def drawn_codes(run: Run, x: Tensor, noise: Noise) -> np.ndarray:
    """Codes ``(N, d)`` float64 of examples, from their posteriors where there are some."""
    model, noise = run.model, noise.to(run.device)
    if isinstance(model, HasPosterior):
        codes = torch.cat([model.draw(part, noise.at(i)) for i, part in enumerate(x.split(CHUNK))])
    else:
        codes = run.encode(x)
    return codes.cpu().double().numpy()


def error_table(metrics: dict[str, Estimate]) -> pd.DataFrame:
    """A row for the model and each baseline."""
    names = [PCA, MEAN]
    shares = [metrics[f"ratio.{name}"] for name in names]
    return pd.DataFrame(
        {
            "what": [MODEL, *names],
            **interval_columns("mse", [metrics[f"mse.{name}"] for name in (MODEL, *names)]),
            **interval_columns("model_share", [Estimate(1.0), *shares]),
            "unit": UNIT,
        }
    )
