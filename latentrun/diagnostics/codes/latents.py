"""What the codes say about the factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch

from latentrun.config.bounds import Count
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_factors, common_units
from latentrun.diagnostics.needs import ENCODER, FACTORS, GAUSSIAN_POSTERIOR, IMAGES, LABELS
from latentrun.functional.factors import Target, factor_table, read_factors
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.dependence import (
    mutual_information,
    pearson,
    rank_estimate,
    spearman,
    targets,
)
from latentrun.functional.statistics.probes import (
    Codes,
    accuracy,
    estimates,
    knn_predict,
    linear_predict,
    neighbours,
    outputs,
    r2,
)
from latentrun.manifolds import Manifold
from latentrun.models.base import HasGaussianPosterior, Model
from latentrun.plotting.cloud import TURNED
from latentrun.plotting.sprite import thumbnails
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

KEPT = 5000  # codes kept for pictures
FIT = "1 - SSE / SST over test rows, at most 1 (cyclic factors: cosine and sine of the angle together)"
SHARE = "share of test rows classified rightly"
SPEARMAN = "largest absolute rank correlation of a single latent with the factor"
INFORMATION = "nats, largest mutual information of a single latent with the factor"
DRAWS = ", of codes drawn from q(z|x)"
KRASKOV = "Kraskov et al. (2004), eq. 8; Ross (2014)"
LARGEST = "none: of the latent where it is largest"


@dataclass(frozen=True)
class Rows:
    """Codes of a split ``z (N, d)`` with the posterior's sd ``scale (N, d)``, None where it is no Gaussian
    one, their row numbers ``index (N,)`` and the factors and labels with their values ``targets``;
    float64."""

    z: np.ndarray
    scale: np.ndarray | None
    index: np.ndarray
    targets: list[Target]


class Latents(Diagnostic):
    """What do the codes say about each factor?

    Codes of ``split`` against each factor, and against the labels where no factor holds them: latent by
    latent Pearson and Spearman correlation (real and ordinal factors) and mutual information (nats; on at
    most ``information_rows`` rows drawn at random, ``information_neighbours`` neighbours); for all latents
    together two probes, fitted on at most ``train_rows`` codes of the train split and scored on ``split``:
    least squares (logistic regression for classes) and the mean (vote) of the ``neighbours`` nearest train
    codes.

    Codes are the mean codes, of models with a posterior and without: one metric is of one kind of object.
    A Gaussian posterior measures a latent against its prior: there ``max_spearman_draws``,
    ``max_information_draws`` and the table ``dependence_draws`` are those of one draw z ~ q(z|x) a row. A
    collapsed latent, whose mean moves by 1e-3 while its sd is 1, then counts for the nothing it is; its mean
    alone seems to know the factors. The probes take mean codes in the units of the prior where there is a
    Gaussian posterior, or of a curved latent space; other codes have no scale of their own and are
    standardised by the train codes' mean and sd.

    Intervals (95 %, over the scored rows, probes as fitted): bootstrap with ``resamples`` resamples; Fisher's
    z for Spearman. Correlations and information have none where the largest of d latents is reported. Table
    ``codes``: moments over the rows, mean posterior sd and mean KL(N(mu, sigma^2) || N(0, 1)) per latent in
    nats (NaN without a posterior). ``difference``: two factors whose difference may colour the codes too,
    null for none."""

    requires = (ENCODER,)
    uses = (FACTORS, LABELS, IMAGES, GAUSSIAN_POSTERIOR)
    metrics = {
        "linear_r2": Metric(FIT, None, 1.0, "higher"),
        "knn_r2": Metric(FIT, None, 1.0, "higher"),
        "linear_spearman": Metric(
            "rank correlation of the linear probe's answer with the factor over test rows: monotony along "
            "the best direction",
            -1.0,
            1.0,
            "higher",
            "Bonett & Wright (2000), eq. 3",
        ),
        "linear_accuracy": Metric(SHARE, 0.0, 1.0, "higher"),
        "knn_accuracy": Metric(SHARE, 0.0, 1.0, "higher"),
        "max_spearman": Metric(SPEARMAN, 0.0, 1.0, "higher"),
        "max_information": Metric(INFORMATION, 0.0, None, "higher", KRASKOV),
        "max_spearman_draws": Metric(SPEARMAN + DRAWS, 0.0, 1.0, "higher"),
        "max_information_draws": Metric(INFORMATION + DRAWS, 0.0, None, "higher", KRASKOV),
    }

    def __init__(
        self,
        split: Literal["val", "test"],
        train_rows: Annotated[int, Count(1)],
        neighbours: Annotated[int, Count(1, 10_000)],
        information_rows: Annotated[int, Count(10)],
        information_neighbours: Annotated[int, Count(1, 10_000)],
        resamples: Annotated[int, Count(1, 100_000)],
        difference: tuple[str, str] | None,
    ):
        self.split, self.train_rows, self.neighbours = split, train_rows, neighbours
        self.information_rows, self.information_neighbours = information_rows, information_neighbours
        self.resamples, self.difference = resamples, difference and tuple(difference)

    def check(self, model: Model, data: Dataset) -> None:
        check_factors("diagnostic.latents.difference", self.difference or (), data)

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to("cpu")
        train, test = (rows_of(run, split) for split in ("train", self.split))
        tables, metrics = {"codes": moments(test)}, {}
        if test.targets:
            tables["dependence"] = self._dependence(test.z, test.targets, noise)
            tables["probes"] = self._probes(train, test, common_units(run)[0], noise)
            metrics = probe_metrics(tables["probes"]) | dependence_metrics(tables["dependence"])
            if test.scale is not None:
                draws = test.z + test.scale * noise.normal("posterior", test.z.shape).numpy()
                tables["dependence_draws"] = self._dependence(draws, test.targets, noise)
                metrics |= dependence_metrics(tables["dependence_draws"], "_draws")
        tables["factors"] = factor_table([factor for factor, _ in test.targets])
        return Report(metrics, tables, self._arrays(run, test, noise), notes=self._notes(run, train, test))

    def _dependence(self, z: np.ndarray, targets: Sequence[Target], noise: Noise) -> pd.DataFrame:
        """One row per latent of the codes ``z (N, d)`` and factor."""
        y = np.stack([values for _, values in targets], axis=1)
        linear, ranked = pearson(z, y), spearman(z, y)
        ordered = np.array([factor.kind in ("real", "ordinal") for factor, _ in targets])
        linear[:, ~ordered], ranked[:, ~ordered] = np.nan, np.nan
        part = noise.permutation("information", len(z)).numpy()[: self.information_rows]
        seed = int(noise.integers("jitter", 2**31 - 1, ()))
        information = [
            mutual_information(z[part], values[part], factor.kind, self.information_neighbours, seed)
            for factor, values in targets
        ]
        d, f = linear.shape
        return pd.DataFrame(
            {
                "latent": np.repeat(np.arange(d), f),
                "factor": [factor.name for factor, _ in targets] * d,
                "pearson": linear.ravel(),
                "spearman": ranked.ravel(),
                "mutual_information": np.stack(information, axis=1).ravel(),
            }
        )

    def _probes(
        self, train: Rows, test: Rows, units: Callable[[np.ndarray, np.ndarray], Codes], noise: Noise
    ) -> pd.DataFrame:
        """One row per factor, probe and score."""
        part = noise.permutation("train", len(train.z)).numpy()[: self.train_rows]
        codes = units(train.z[part], test.z)
        nearest = neighbours(codes, self.neighbours)
        names, scores, ranks = [], [], []
        for (factor, fitted), (_, scored) in zip(train.targets, test.targets, strict=True):
            y, truth = outputs(factor, fitted[part]), outputs(factor, scored)
            score, name = (accuracy, "accuracy") if factor.kind == "categorical" else (r2, "r2")
            linear = linear_predict(codes, y)
            names += [(factor.name, "linear", name), (factor.name, "knn", name)]
            scores += [score(truth, linear), score(truth, knn_predict(nearest, y))]
            if factor.kind in ("real", "ordinal"):
                rho = float(spearman(linear, truth)[0, 0])
                ranks.append((factor.name, "linear", "spearman", *rank_estimate(rho, len(truth)).cells()))
        rows = [
            (*name, *estimate.cells())
            for name, estimate in zip(names, estimates(scores, noise, self.resamples), strict=True)
        ]
        columns = ["factor", "probe", "score", "value", "low", "high", "method"]
        table = pd.DataFrame(rows + ranks, columns=columns)
        return table.astype({"value": float, "low": float, "high": float})

    # ---------------------------------------------------------------- the report
    def _arrays(self, run: Run, rows: Rows, noise: Noise) -> dict[str, np.ndarray]:
        """What the pictures show of the codes: some of them, with what is known of each."""
        n, d = rows.z.shape
        shown = noise.permutation("kept", n).numpy()[:KEPT]
        values = [values[shown] for _, values in rows.targets]
        arrays = {
            "codes": rows.z[shown].astype(np.float32),
            "targets": np.array(values, np.float32).reshape(-1, len(shown)).T,
            "index": rows.index[shown],
            "rows": np.asarray(n),
        }
        arrays |= seen(run.model.spaces["z"], arrays["codes"])
        if run.data.is_image and arrays.get("drawn", rows.z).shape[1] >= 3:
            x = run.data.split(self.split).x
            arrays["pictures"] = thumbnails(x, run.data.value_range, shown[:TURNED])
        return arrays

    def _notes(self, run: Run, train: Rows, test: Rows) -> tuple[str, ...]:
        n, d = test.z.shape
        plural = "s" if d > 1 else ""
        notes = [f"Mean codes of {n} examples of the {self.split} split, {d} latent variable{plural}."]
        if not test.targets:
            return (*notes, "The data have neither factors nor labels: nothing to compare the codes with.")
        fitted = min(len(train.z), self.train_rows)
        notes.append(
            f"Probes were fitted on {fitted} train codes, {common_units(run)[1]}; k-NN used "
            f"{self.neighbours} neighbours."
        )
        if test.scale is not None:
            notes.append(
                "Correlations and information by latent are those of mean codes; in those named _draws "
                "of codes drawn from the posterior, one a row."
            )
        if n > self.information_rows:
            notes.append(
                f"Mutual information was estimated on {self.information_rows} examples drawn at random."
            )
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.codes.latents_plot import dependence, flat, on_space, turned

        z, values = report.arrays["codes"], report.arrays["targets"]
        factors = read_factors(report.tables["factors"])
        columns = list(zip(factors, values.T, strict=True))
        codes, total = f"mean codes of the {self.split} split", int(report.arrays["rows"])
        drawn, outline = report.arrays.get("drawn"), report.arrays.get("outline")
        if drawn is None or outline is None:
            pictures = flat(z, columns, total, codes)
        else:
            pictures = on_space(drawn, outline, columns, total, codes)
        if factors:
            table = report.tables.get("dependence_draws", report.tables["dependence"])
            pictures["dependence"] = dependence(table, factors)
        seen_in = z if drawn is None else drawn
        if seen_in.shape[1] >= 3:
            examples = report.arrays.get("pictures")
            pictures["cloud"] = turned(
                seen_in[:TURNED], columns, examples, self.difference, total, codes, outline
            )
        return pictures


# ---------------------------------------------------------------- numbers
def rows_of(run: Run, split: str) -> Rows:
    latents = run.latents(split)
    labels = None if latents.labels is None else latents.labels.cpu().numpy()
    scale = None
    if isinstance(run.model, HasGaussianPosterior):
        scale = latents.posterior["scale"].cpu().double().numpy()
    return Rows(
        latents.codes.cpu().double().numpy(),
        scale,
        latents.index.cpu().numpy(),
        targets(run.data.factors, run.data.label, latents.y.cpu().numpy(), labels),
    )


def seen(space: Manifold, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Codes ``(n, d)`` as points of their space as one sees it, ``drawn (n, 2 | 3)``, and its ``outline (K,
    T, 2 | 3)``, where it can be drawn."""
    drawn, outline = space.drawn(torch.from_numpy(codes)), space.outline()
    if drawn is None or outline is None:
        return {}
    return {"drawn": drawn.numpy().astype(np.float32), "outline": outline.numpy().astype(np.float32)}


def moments(rows: Rows) -> pd.DataFrame:
    """One row per latent; sd with divisor N; KL = (mu^2 + sigma^2 - 1) / 2 - ln sigma, mean over rows,
    nats."""
    z, scale = rows.z, rows.scale
    mean_scale = kl = np.full(z.shape[1], np.nan)
    if scale is not None:
        mean_scale = scale.mean(0)
        kl = ((z**2 + scale**2 - 1) / 2 - np.log(scale)).mean(0)
    return pd.DataFrame(
        {
            "latent": np.arange(z.shape[1]),
            "mean": z.mean(0),
            "sd": z.std(0),
            "min": z.min(0),
            "max": z.max(0),
            "mean_scale": mean_scale,
            "mean_kl": kl,
        }
    )


def probe_metrics(probes: pd.DataFrame) -> dict[str, Estimate]:
    metrics = {}
    for row in probes.itertuples(index=False):
        estimate = Estimate.read(row.value, row.low, row.high, row.method)
        metrics[f"{row.probe}_{row.score}.{row.factor}"] = estimate
    return metrics


def dependence_metrics(dependence: pd.DataFrame, end: str = "") -> dict[str, Estimate]:
    """The strongest of the single latents, for each factor; ``end`` of the names of the metrics."""
    metrics = {}
    for name, rows in dependence.groupby("factor", sort=False):
        if rows["spearman"].notna().any():
            largest = float(rows["spearman"].abs().max())
            metrics[f"max_spearman{end}.{name}"] = Estimate(largest, method=LARGEST)
        most = float(rows["mutual_information"].max())
        metrics[f"max_information{end}.{name}"] = Estimate(most, method=LARGEST)
    return metrics
