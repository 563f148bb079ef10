"""What the neighbourhood of a code says about its label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from latentrun.config.bounds import Count, Each
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, common_units
from latentrun.diagnostics.needs import ENCODER, FACTORS, GAUSSIAN_POSTERIOR, IMAGES, LABELS, is_flat
from latentrun.errors import InputError, unknown
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.dependence import targets
from latentrun.functional.statistics.intervals import share_interval
from latentrun.functional.statistics.probes import (
    Codes,
    estimates,
    knn_predict,
    macro_f1,
    neighbours,
    outputs,
    standardised,
)
from latentrun.models.base import Model
from latentrun.plotting.cloud import TURNED
from latentrun.plotting.sprite import thumbnails
from latentrun.run import Run
from latentrun.types import Estimate, Factor, Latents, Metric, Picture, Report

KEPT = 5000  # codes kept for pictures
SIDE = 160  # points a side of the map of decisions
MARGIN = 0.05  # of the codes' range, around them on that map
ENDS = ("", "_low", "_high", "_method")  # of the columns of a score
CODES, FACTORS_ALONE, MAJORITY = "codes", "factors", "majority"
Answers = Mapping[
    tuple[str, int], np.ndarray
]  # predicted classes (N,) of each reader and k; 0: no neighbours


@dataclass(frozen=True)
class Task:
    """What is to be predicted from what: the ``label``, its classes ``y (M,)`` of the train rows and ``truth
    (N,)`` of the others; by each reader the columns of both, in common units; ``factors``: those beside the
    label, with their columns in y."""

    label: Factor
    y: np.ndarray
    truth: np.ndarray
    columns: dict[str, Codes]
    factors: list[tuple[int, Factor]]


class KNN(Diagnostic):
    """How well do the nearest train codes predict a test code's label?

    Each code of ``split`` gets the commonest label among its k nearest train codes (at most ``train_rows``,
    drawn at random; of classes with equally many votes the first). Codes are the means of q(z|x), in the
    units of the prior, or of a curved latent space; those of other models without a Gaussian posterior have
    no scale of their own and are standardised by the train codes' mean and sd.

    Beside the codes stand two yardsticks: *factors*, the same classifier on the true ``factors`` other than
    the label (all, or those named), standardised, classes among them one-hot: what they alone say of the
    label (codes may say more, where examples show it); and *majority*, the commonest class of the train rows
    as the answer to everything. ``accuracy`` and ``macro_f1`` are those of the codes with ``k`` neighbours,
    ``.factors`` and ``.majority`` those of the yardsticks; table ``over_k`` has every one of ``neighbours``.
    More neighbours than train rows are cut to these.

    With n train rows and n, k, n / k large the accuracy tends to the best that any reader of the codes can
    have (Bayes); with k = 1 the error tends to E[2 p (1 - p)] for two classes of probability p and 1 - p at a
    code: between the best possible error and twice it (Cover & Hart, 1967).

    Intervals (95 %, over the rows of ``split``, train rows as they are): Wilson's for accuracies, bootstrap
    with ``resamples`` resamples for macro F1.
    """

    requires = (ENCODER, LABELS)
    uses = (FACTORS, IMAGES, GAUSSIAN_POSTERIOR)
    metrics: ClassVar = {
        "accuracy": Metric("share of rows whose label is predicted rightly", 0, 1, "higher"),
        "macro_f1": Metric(
            "2 TP / (2 TP + FP + FN) of each class, mean over classes",
            0,
            1,
            "higher",
        ),
    }

    def __init__(
        self,
        split: Literal["val", "test"],
        train_rows: Annotated[int, Count(1)],
        k: Annotated[int, Count(1, 10_000)],
        neighbours: Annotated[list[int], Each(Count(1, 10_000))],
        factors: Literal["all"] | list[str],
        resamples: Annotated[int, Count(1, 100_000)],
    ):
        self.split, self.train_rows, self.k, self.resamples = split, train_rows, k, resamples
        self.neighbours, self.factors = sorted({*neighbours, k}), factors

    def check(self, model: Model, data: Dataset) -> None:
        self._beside(data)

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to("cpu")
        test, task = run.latents(self.split), self._task(run, noise)
        several = sorted({min(number, len(task.y)) for number in self.neighbours})
        k = min(self.k, len(task.y))
        answers = predict(task, several)
        over_k = self._scores(answers, task.truth, noise)
        names, predicted = task.label.classes, answers[CODES, k]
        tables = {
            "over_k": over_k,
            "classes": class_table(names, task.y, task.truth, predicted),
            "confusion": confusion_table(task.truth, predicted),
        }
        rows = noise.permutation("kept", len(task.truth)).numpy()[:KEPT]
        arrays = {
            "codes": array(test.codes)[rows].astype(np.float32),
            "truth": task.truth[rows],
            "predicted": predicted[rows],
            "index": test.index.cpu().numpy()[rows],
            "rows": np.asarray(len(task.truth)),
            "k": np.asarray(k),
            "names": np.asarray(names, dtype=str),
        }
        if run.data.is_image and test.codes.shape[1] >= 3:
            x = run.data.split(self.split).x
            arrays["pictures"] = thumbnails(x, run.data.value_range, rows[:TURNED])
        if test.codes.shape[1] == 2 and is_flat(run.model.spaces["z"]):
            arrays |= self._map(run, noise, arrays["codes"], task.y, k)
        return Report(score_metrics(over_k, k), tables, arrays, notes=self._notes(run, task, several[-1]))

    def _train_rows(self, run: Run, noise: Noise) -> tuple[Latents, Tensor]:
        """Codes of the train split, and the rows of it that are neighbours."""
        train = run.latents("train")
        return train, noise.permutation("train", len(train.codes))[: self.train_rows].to(train.codes.device)

    def _task(self, run: Run, noise: Noise) -> Task:
        (train, rows), test = self._train_rows(run, noise), run.latents(self.split)
        columns = {CODES: common_units(run)[0](array(train.codes[rows]), array(test.codes))}
        factors = self._beside(run.data)
        if factors:
            columns[FACTORS_ALONE] = standardised(
                factor_columns(factors, array(train.y[rows])), factor_columns(factors, array(test.y))
            )
        y, truth = classes_of(train)[rows.cpu().numpy()], classes_of(test)
        return Task(label_of(run, test), y, truth, columns, factors)

    def _beside(self, data: Dataset) -> list[tuple[int, Factor]]:
        """The factors beside the label, with their columns in y; InputError where there is none of a name."""
        beside = [(i, factor) for i, factor in enumerate(data.factors) if factor.name != data.label]
        if self.factors == "all":
            return beside
        names = {factor.name: (i, factor) for i, factor in beside}
        for name in self.factors:
            if name not in names:
                raise InputError(f"diagnostic.knn.factors: {unknown('factor', name, names)}")
        return [names[name] for name in self.factors]

    def _scores(self, answers: Answers, truth: np.ndarray, noise: Noise) -> pd.DataFrame:
        """One row per reader and k."""
        rows = []
        for (reader, k), answer in answers.items():
            right = share_interval(int((answer == truth).sum()), len(truth))
            (f1,) = estimates([macro_f1(truth, answer)], noise, self.resamples)
            rows.append((reader, k, *right.cells(), *f1.cells()))
        scores = [f"{score}{end}" for score in ("accuracy", "macro_f1") for end in ENDS]
        return pd.DataFrame(rows, columns=["reader", "k", *scores])

    def _map(self, run: Run, noise: Noise, shown: np.ndarray, y: np.ndarray, k: int) -> dict[str, np.ndarray]:
        """The answers on an even grid around codes ``shown (n, 2)``: ``grid (SIDE, SIDE)``, first latent
        along the columns, and where it begins and ends."""
        train, rows = self._train_rows(run, noise)
        low, high = shown.min(0), shown.max(0)
        room = MARGIN * np.where(high > low, high - low, 1.0)
        extent = np.stack([low - room, high + room], axis=1)
        points = np.stack(np.meshgrid(*np.linspace(extent[:, 0], extent[:, 1], SIDE).T), axis=-1).reshape(
            -1, 2
        )
        grid = knn_predict(neighbours(common_units(run)[0](array(train.codes[rows]), points), k), y)
        return {"grid": grid.reshape(SIDE, SIDE), "extent": extent.ravel()}

    def _notes(self, run: Run, task: Task, most: int) -> tuple[str, ...]:
        y, truth, names = task.y, task.truth, task.label.classes
        units = common_units(run)[1]
        notes = [
            f"{task.label.name} of {len(truth)} codes of the {self.split} split, predicted from the nearest "
            f"of {len(y)} train codes, {units}; the metrics are those of k = {min(self.k, len(y))}."
        ]
        if task.factors:
            beside = ", ".join(factor.name for _, factor in task.factors)
            notes.append(f"The true factors beside them: {beside}, standardised.")
        if self.neighbours[-1] > most:
            notes.append(f"More than {most} neighbours are not there: k was cut.")
        unseen = [names[i] for i in np.setdiff1d(truth, y)]
        if unseen:
            notes.append(f"Never predicted, for no train row has them: {', '.join(unseen)}.")
        sizes = np.bincount(y)
        least = sizes[sizes > 0].min()
        if len(np.union1d(y, truth)) == 1:
            notes.append("There is only one class: every answer is right.")
        elif least < most:
            notes.append(
                f"The smallest class has {least} train rows: among more neighbours than that there are "
                "always others."
            )
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.codes.knn_plot import decisions, layers, matrix, over_k

        n, total = len(report.arrays["codes"]), int(report.arrays["rows"])
        shown = f"{'All' if n == total else f'{n} of'} {total} codes of the {self.split} split"
        pictures = {
            "over_k": over_k(report),
            "confusion": matrix(report),
            "regions": decisions(report.arrays, shown),
        }
        if report.arrays["codes"].shape[1] >= 3:
            pictures["layers"] = layers(report.arrays)
        return pictures


# ---------------------------------------------------------------- what is read
def array(values: Tensor) -> np.ndarray:
    return values.cpu().double().numpy()


def classes_of(latents: Latents) -> np.ndarray:
    """The labels ``(N,)``; of data that have them."""
    assert latents.labels is not None
    return array(latents.labels).astype(int)


def label_of(run: Run, rows: Latents) -> Factor:
    """The label as a factor, with the names of its classes."""
    columns = targets(run.data.factors, run.data.label, array(rows.y), classes_of(rows))
    return next(factor for factor, _ in columns if factor.name == run.data.label)


def predict(task: Task, several: Sequence[int]) -> Answers:
    """The classes that k neighbours predict for each reader and k, and the commonest class."""
    nearest = {reader: neighbours(codes, several[-1]) for reader, codes in task.columns.items()}
    answers = {
        (reader, k): knn_predict(rows[:, :k], task.y) for reader, rows in nearest.items() for k in several
    }
    answers[MAJORITY, 0] = np.full(len(task.truth), np.bincount(task.y).argmax())
    return answers


def factor_columns(factors: Sequence[tuple[int, Factor]], y: np.ndarray) -> np.ndarray:
    """Factors as numbers ``(N, m)``: cosine and sine of angles, one column for each class of categorical
    ones."""
    parts = [(factor, outputs(factor, y[:, i])) for i, factor in factors]
    columns = [
        v if v.ndim == 2 else (v[:, None] == np.arange(factor.high + 1)).astype(float) for factor, v in parts
    ]
    return np.concatenate(columns, 1)


# ---------------------------------------------------------------- the report
def score_metrics(over_k: pd.DataFrame, k: int) -> dict[str, Estimate]:
    """The scores with k neighbours and of the commonest class."""
    metrics = {}
    for row in over_k[over_k["k"].isin((k, 0))].to_dict("records"):
        part = "" if row["reader"] == CODES else f".{row['reader']}"
        metrics |= {
            f"accuracy{part}": row_estimate(row, "accuracy"),
            f"macro_f1{part}": row_estimate(row, "macro_f1"),
        }
    return metrics


def row_estimate(row: Mapping[Hashable, Any], name: str) -> Estimate:
    """The score ``name`` in a row of the table over k."""
    return Estimate.read(*(row[f"{name}{end}"] for end in ENDS))


def class_table(
    names: Sequence[str], y: np.ndarray, truth: np.ndarray, predicted: np.ndarray
) -> pd.DataFrame:
    """One row per class: how many there are, how many of those predicted as it are it (precision) and how
    many of it are predicted as it (recall), and F1; NaN for nothing among nothing."""
    train, rows, answers, hits = (
        np.bincount(classes, minlength=len(names))
        for classes in (y, truth, predicted, truth[truth == predicted])
    )

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.full(len(names), np.nan), where=whole > 0)

    return pd.DataFrame(
        {
            "class": names,
            "train_rows": train,
            "rows": rows,
            "precision": share(hits, answers),
            "recall": share(hits, rows),
            "f1": share(2 * hits, rows + answers),
        }
    )


def confusion_table(truth: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """One row per pair of classes that occurs: codes of the true class and of the one predicted, rows, their
    share of the true class."""
    pairs, rows = np.unique(np.stack([truth, predicted], axis=1), axis=0, return_counts=True)
    sizes = np.bincount(truth)[pairs[:, 0]]
    return pd.DataFrame({"truth": pairs[:, 0], "predicted": pairs[:, 1], "rows": rows, "share": rows / sizes})
