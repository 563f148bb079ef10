"""What the neighbourhood of a code says about its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from latentrun.config.bounds import Each, Ge
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.codes.knn_plot import confusion, regions, scores
from latentrun.diagnostics.needs import ENCODER, FACTORS, GAUSSIAN_POSTERIOR, IMAGES, LABELS
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
from latentrun.plotting.cloud import TURNED, Layer, cloud
from latentrun.plotting.scatter import along, category_names
from latentrun.plotting.sprite import thumbnails
from latentrun.run import Run
from latentrun.types import Factor, Latents, Metric, Picture, Report

KEPT = 5000  # codes kept for pictures
SIDE = 160  # points a side of the map of decisions
MARGIN = 0.05  # of the codes' range, around them on that map
READERS = {"codes": "the codes", "factors": "the true factors", "majority": "the commonest class"}


class KNN(Diagnostic):
    """How well do the nearest train codes predict a test code's label?

    Each code of ``split`` gets the commonest label among its k nearest train codes (at most ``train_rows``,
    drawn at random; of classes with equally many votes the first). Codes are the means of q(z|x), in the
    units of the prior; those of a model without a Gaussian posterior have no scale of their own and are
    standardised by the train codes' mean and sd.

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
        "accuracy": Metric(
            "share of rows whose label is predicted rightly; interval: Wilson's, over rows", 0, 1, "higher"
        ),
        "macro_f1": Metric(
            "2 TP / (2 TP + FP + FN) of each class, mean over classes; interval: bootstrap over rows",
            0,
            1,
            "higher",
        ),
    }

    def __init__(
        self,
        split: Literal["val", "test"],
        train_rows: Annotated[int, Ge(1)],
        k: Annotated[int, Ge(1)],
        neighbours: Annotated[list[int], Each(Ge(1))],
        factors: Literal["all"] | list[str],
        resamples: Annotated[int, Ge(1)],
    ):
        self.split, self.train_rows, self.k, self.resamples = split, train_rows, k, resamples
        self.neighbours, self.factors = sorted({*neighbours, k}), factors

    def check(self, model: Model, data: Dataset) -> None:
        self._named(data)

    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to("cpu")
        train, test = run.latents("train"), run.latents(self.split)
        some = noise.permutation("train", len(train.codes))[: self.train_rows].to(train.codes.device)
        y, truth = _array(train.labels[some]).astype(int), _array(test.labels).astype(int)
        label = _label(run, test)
        codes = (standardised if test.posterior.get("scale") is None else Codes)(
            _array(train.codes[some]), _array(test.codes)
        )
        read = {"codes": codes}
        named = self._named(run.data)
        if named:
            read["factors"] = standardised(
                _columns(named, _array(train.y[some])), _columns(named, _array(test.y))
            )
        k, several = min(self.k, len(y)), sorted({min(number, len(y)) for number in self.neighbours})
        nearest = {name: neighbours(rows, several[-1]) for name, rows in read.items()}
        predicted = {
            (name, k): knn_predict(rows[:, :k], y) for name, rows in nearest.items() for k in several
        }
        predicted["majority", 0] = np.full(len(truth), np.bincount(y).argmax())

        over_k, metrics = [], {}
        for (name, among), answer in predicted.items():
            right = share_interval(int((answer == truth).sum()), len(truth))
            (f1,) = estimates([macro_f1(truth, answer)], noise, self.resamples)
            over_k.append((name, among, right.value, right.low, right.high, f1.value, f1.low, f1.high))
            if among in (k, 0):
                part = "" if name == "codes" else f".{name}"
                metrics |= {f"accuracy{part}": right, f"macro_f1{part}": f1}
        answer, names = predicted["codes", k], category_names(label)
        columns = [
            "reader",
            "k",
            *(f"{score}{end}" for score in ("accuracy", "macro_f1") for end in ("", "_low", "_high")),
        ]
        tables = {
            "over_k": pd.DataFrame(over_k, columns=columns),
            "classes": _classes(names, y, truth, answer),
            "confusion": _confusion(truth, answer),
        }
        kept = noise.permutation("kept", len(truth)).numpy()[:KEPT]
        arrays = {
            "codes": _array(test.codes)[kept].astype(np.float32),
            "truth": truth[kept],
            "predicted": answer[kept],
            "index": test.index.cpu().numpy()[kept],
            "rows": np.asarray(len(truth)),
            "k": np.asarray(k),
            "names": np.asarray(names, dtype=str),
        }
        if run.data.is_image and test.codes.shape[1] >= 3:
            arrays["pictures"] = thumbnails(run.data.split(self.split).x, run.data.value_range, kept[:TURNED])
        if test.codes.shape[1] == 2:
            arrays |= self._map(
                _array(train.codes[some]), arrays["codes"], y, k, test.posterior.get("scale") is None
            )
        return Report(metrics, tables, arrays, notes=self._notes(label, named, y, truth, several, test))

    # ---------------------------------------------------------------- what is read
    def _named(self, data: Dataset) -> list[tuple[int, Factor]]:
        """The factors beside the label, with their columns in y; InputError where there is none of a name."""
        beside = [(i, factor) for i, factor in enumerate(data.factors) if factor.name != data.label]
        if self.factors == "all":
            return beside
        names = {factor.name: (i, factor) for i, factor in beside}
        for name in self.factors:
            if name not in names:
                raise InputError(f"diagnostic.knn.factors: {unknown('factor', name, names)}")
        return [names[name] for name in self.factors]

    def _map(
        self, train: np.ndarray, shown: np.ndarray, y: np.ndarray, k: int, scaled: bool
    ) -> dict[str, np.ndarray]:
        """The answers on an even grid around codes ``(N, 2)``: ``grid (SIDE, SIDE)``, first latent along the
        columns, and where it begins and ends."""
        low, high = shown.min(0), shown.max(0)
        room = MARGIN * np.where(high > low, high - low, 1.0)
        extent = np.stack([low - room, high + room], axis=1)
        points = np.stack(np.meshgrid(*np.linspace(*extent.T, SIDE).T), axis=-1).reshape(-1, 2)
        grid = knn_predict(neighbours((standardised if scaled else Codes)(train, points), k), y)
        return {"grid": grid.reshape(SIDE, SIDE), "extent": extent.ravel()}

    def _notes(
        self,
        label: Factor,
        named: list[tuple[int, Factor]],
        y: np.ndarray,
        truth: np.ndarray,
        several: Sequence[int],
        test: Latents,
    ) -> tuple[str, ...]:
        names, sizes = category_names(label), np.bincount(y)
        how = (
            "standardised by their mean and sd"
            if test.posterior.get("scale") is None
            else "in the units of the prior"
        )
        said = [
            f"{label.name} of {len(truth)} codes of the {self.split} split, predicted from the "
            f"nearest of {len(y)} train codes, {how}; "
            f"the metrics are those of k = {min(self.k, len(y))}."
        ]
        if named:
            said.append(
                f"The true factors beside them: {', '.join(factor.name for _, factor in named)}, "
                "standardised."
            )
        if self.neighbours[-1] > several[-1]:
            said.append(f"More than {several[-1]} neighbours are not there: k was cut.")
        unseen = [names[i] for i in np.setdiff1d(truth, y)]
        if unseen:
            said.append(f"Never predicted, for no train row has them: {', '.join(unseen)}.")
        if len(np.union1d(y, truth)) == 1:
            said.append("There is only one class: every answer is right.")
        elif (least := sizes[sizes > 0].min()) < several[-1]:
            said.append(
                f"The smallest class has {least} train rows: among more neighbours than that there "
                "are always others."
            )
        return tuple(said)

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        arrays, over_k = report.arrays, report.tables["over_k"]
        codes, truth, predicted, names = (
            arrays["codes"],
            arrays["truth"],
            arrays["predicted"],
            arrays["names"].tolist(),
        )
        k, rows, d = int(arrays["k"]), int(arrays["rows"]), codes.shape[1]
        label = Factor("class", "categorical", 0.0, len(names) - 1.0, categories=tuple(names))
        colours = [
            (replace(label, name="true class"), truth),
            (replace(label, name="predicted class"), predicted),
        ]
        beside = " and ".join(READERS[name] for name in over_k["reader"].unique() if name != "codes")
        matrix, drawn = confusion(report.tables["confusion"], names)
        which = f" The {drawn} of {len(names)} classes with most mistakes." if drawn < len(names) else ""
        shown = (
            f"{'All' if len(codes) == rows else f'{len(codes)} of'} {rows} codes of the {self.split} split"
        )
        pictures = {
            "over_k": Picture(
                scores(over_k, k, READERS),
                "Accuracy and macro F1 of what k neighbours among the codes predict, beside "
                f"{beside}. Bands: 95 % intervals over rows; "
                f"dotted line: k = {k}, whose scores are the metrics.",
            ),
            "confusion": Picture(
                matrix,
                "The share of each true class (rows) that is predicted as each class (columns) with "
                f"k = {k}.{which}",
            ),
        }
        if d == 1:
            text = (
                f"{shown}: histogram, and a strip for each class, by the true class and by the one "
                f"that {k} neighbours predict."
            )
            pictures["regions"] = Picture(along(codes, colours), text)
            return pictures
        text = (
            f"{shown}, coloured by the true class, by the one that {k} neighbours predict, and the "
            "wrongly predicted alone by the true one"
        )
        text += "; behind them the class that is predicted there." if d == 2 else ", the others grey."
        pictures["regions"] = Picture(
            regions(codes, label, truth, predicted, arrays.get("grid"), arrays.get("extent")), text
        )
        if d >= 3:
            answer = Factor("answer", "categorical", 0.0, 1.0, categories=("right", "wrong"))
            colours.append((answer, (truth != predicted).astype(int)))
            text = (
                f"{min(TURNED, len(codes))} codes in the three latents of highest variance. Drag to "
                "turn; the menu chooses what colours "
                "them: the true class, the predicted one, or whether that is right"
            )
            examples = arrays.get("pictures")
            text += (
                "; a point that is touched shows the picture that was encoded, and all three. "
                if examples is not None
                else ". "
            )
            text += "Rings: the wrongly predicted; a click on their name in the legend hides them."
            wrong = np.flatnonzero(truth[:TURNED] != predicted[:TURNED])
            turned = [(factor, values[:TURNED]) for factor, values in colours]
            layers = [Layer("wrongly predicted", "rings", codes[wrong])] if len(wrong) else []
            pictures["layers"] = Picture(
                cloud(codes[:TURNED], turned, pictures=examples, layers=layers), text
            )
        return pictures


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().double().numpy()


def _label(run: Run, rows: Latents) -> Factor:
    """The label as a factor, with the names of its classes."""
    known = targets(run.data.factors, run.data.label, _array(rows.y), _array(rows.labels))
    return next(factor for factor, _ in known if factor.name == run.data.label)


def _columns(named: Sequence[tuple[int, Factor]], y: np.ndarray) -> np.ndarray:
    """Factors as numbers ``(N, m)``: cosine and sine of angles, one column for each class of categorical
    ones."""
    parts = [(factor, outputs(factor, y[:, i])) for i, factor in named]
    return np.concatenate(
        [
            v if v.ndim == 2 else (v[:, None] == np.arange(factor.high + 1)).astype(float)
            for factor, v in parts
        ],
        1,
    )


def _classes(names: Sequence[str], y: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """One row per class: how many there are, how many of those predicted as it are it (precision) and how
    many of it are predicted as it (recall), and F1; NaN for nothing among nothing."""
    train, rows, said, hits = (
        np.bincount(v, minlength=len(names)) for v in (y, truth, predicted, truth[truth == predicted])
    )

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.full(len(names), np.nan), where=whole > 0)

    return pd.DataFrame(
        {
            "class": names,
            "train_rows": train,
            "rows": rows,
            "precision": share(hits, said),
            "recall": share(hits, rows),
            "f1": share(2 * hits, rows + said),
        }
    )


def _confusion(truth: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """One row per pair of classes that occurs: codes of the true class and of the one predicted, rows, their
    share of the true class."""
    pairs, rows = np.unique(np.stack([truth, predicted], axis=1), axis=0, return_counts=True)
    sizes = np.bincount(truth)[pairs[:, 0]]
    return pd.DataFrame({"truth": pairs[:, 0], "predicted": pairs[:, 1], "rows": rows, "share": rows / sizes})
