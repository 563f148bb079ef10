"""What the codes say about the factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import pandas as pd

from latentrun.config.bounds import Ge
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, FACTORS, GAUSSIAN_POSTERIOR, IMAGES, LABELS
from latentrun.functional.factors import factor_table, read_factors, with_difference
from latentrun.functional.statistics.dependence import (
    mutual_information,
    pearson,
    rank_interval,
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
    standardised,
)
from latentrun.plotting.cloud import TURNED, cloud
from latentrun.plotting.matrix import matrices
from latentrun.plotting.scatter import along, axis_pairs, projections
from latentrun.plotting.sprite import thumbnails
from latentrun.types import Estimate, Factor, Metric, Picture, Report

KEPT = 5000  # codes kept for pictures
WIDE = 6  # factors side by side in one picture
FIT = (
    "1 - SSE / SST over test rows, at most 1 (cyclic factors: cosine and sine of the angle "
    "together); interval: bootstrap over test rows"
)
SHARE = "share of test rows classified rightly; interval: bootstrap over test rows"


class Latents(Diagnostic):
    """What do the codes say about each factor?

    Codes of ``split`` against each factor, and against the labels where no factor holds them: latent by
    latent Pearson and Spearman correlation (real and ordinal factors) and mutual information (nats; on at
    most ``information_rows`` rows drawn at random, ``information_neighbours`` neighbours); for all latents
    together two probes, fitted on at most ``train_rows`` codes of the train split and scored on ``split``:
    least squares (logistic regression for classes) and the mean (vote) of the ``neighbours`` nearest train
    codes.

    A Gaussian posterior measures a latent against its prior: there the table by latent uses one draw z ~
    q(z|x) a row, and the probes the mean codes as they are. A collapsed latent, whose mean moves by 1e-3
    while its sd is 1, then counts for the nothing it is; its mean alone, or standardised, would seem to know
    the factors. Codes without a posterior have no scale of their own: their mean stands for them, and the
    probes standardise by the train codes' mean and sd.

    Intervals (95 %, over the scored rows, probes as fitted): bootstrap with ``resamples`` resamples; Fisher's
    z for Spearman. Correlations and information have none where the largest of d latents is reported. Table
    ``codes``: moments over the rows, mean posterior sd and mean KL(N(mu, sigma^2) || N(0, 1)) per latent in
    nats (NaN without a posterior).
    """

    requires = (ENCODER,)
    uses = (FACTORS, LABELS, IMAGES, GAUSSIAN_POSTERIOR)
    metrics = {
        "linear_r2": Metric(FIT, None, 1.0, "higher"),
        "knn_r2": Metric(FIT, None, 1.0, "higher"),
        "linear_spearman": Metric(
            "rank correlation of the linear probe's answer with the factor over test rows: monotony "
            "along the best direction; "
            "interval: Fisher's z",
            -1.0,
            1.0,
            "higher",
            "Bonett & Wright (2000), eq. 3",
        ),
        "linear_accuracy": Metric(SHARE, 0.0, 1.0, "higher"),
        "knn_accuracy": Metric(SHARE, 0.0, 1.0, "higher"),
        "max_spearman": Metric(
            "largest absolute rank correlation of a single latent with the factor; no interval",
            0.0,
            1.0,
            "higher",
        ),
        "max_information": Metric(
            "nats, largest mutual information of a single latent with the factor; no interval",
            0.0,
            None,
            "higher",
            "Kraskov et al. (2004), eq. 8; Ross (2014)",
        ),
    }

    def __init__(
        self,
        split: Literal["val", "test"],
        train_rows: Annotated[int, Ge(1)],
        neighbours: Annotated[int, Ge(1)],
        information_rows: Annotated[int, Ge(10)],
        information_neighbours: Annotated[int, Ge(1)],
        resamples: Annotated[int, Ge(1)],
    ):
        self.split, self.train_rows, self.neighbours, self.resamples = (
            split,
            train_rows,
            neighbours,
            resamples,
        )
        self.information_rows, self.information_neighbours = information_rows, information_neighbours

    def __call__(self, run, noise):
        noise = noise.to("cpu")
        train, test = (_rows(run, split) for split in ("train", self.split))
        z, known = test["z"], test["targets"]
        tables = {"codes": _moments(z, test["scale"])}
        metrics: dict[str, Estimate] = {}
        if known:
            drawn = (
                z if test["scale"] is None else z + test["scale"] * noise.normal("posterior", z.shape).numpy()
            )
            tables["dependence"] = self._dependence(drawn, known, noise)
            tables["probes"] = self._probes(train, test, noise)
            for row in tables["probes"].itertuples(index=False):
                ends = (None, None) if np.isnan(row.low) else (row.low, row.high)
                metrics[f"{row.probe}_{row.score}.{row.factor}"] = Estimate(row.value, *ends)
            for name, part in tables["dependence"].groupby("factor", sort=False):
                if part["spearman"].notna().any():
                    metrics[f"max_spearman.{name}"] = Estimate(float(part["spearman"].abs().max()))
                metrics[f"max_information.{name}"] = Estimate(float(part["mutual_information"].max()))
        tables["factors"] = factor_table([factor for factor, _ in known])
        kept = noise.permutation("kept", len(z)).numpy()[:KEPT]
        arrays = {
            "codes": z[kept].astype(np.float32),
            "targets": np.stack([values[kept] for _, values in known], axis=1).astype(np.float32)
            if known
            else np.zeros((len(kept), 0), np.float32),
            "index": test["index"][kept],
            "rows": np.asarray(len(z)),
        }
        if run.data.is_image and z.shape[1] >= 3:
            arrays["pictures"] = thumbnails(run.data.split(self.split).x, run.data.value_range, kept[:TURNED])
        return Report(metrics=metrics, tables=tables, arrays=arrays, notes=self._notes(train, test))

    # ---------------------------------------------------------------- numbers
    def _dependence(self, z, known, noise) -> pd.DataFrame:
        """One row per latent and factor."""
        y = np.stack([values for _, values in known], axis=1)
        linear, ranked = pearson(z, y), spearman(z, y)
        ordered = np.array([factor.kind in ("real", "ordinal") for factor, _ in known])
        linear[:, ~ordered], ranked[:, ~ordered] = np.nan, np.nan
        some = noise.permutation("information", len(z)).numpy()[: self.information_rows]
        seed = int(noise.integers("jitter", 2**31 - 1, ()))
        shared = [
            mutual_information(z[some], v[some], factor.kind, self.information_neighbours, seed)
            for factor, v in known
        ]
        d, f = linear.shape
        return pd.DataFrame(
            {
                "latent": np.repeat(np.arange(d), f),
                "factor": [factor.name for factor, _ in known] * d,
                "pearson": linear.ravel(),
                "spearman": ranked.ravel(),
                "mutual_information": np.stack(shared, axis=1).ravel(),
            }
        )

    def _probes(self, train, test, noise) -> pd.DataFrame:
        """One row per factor, probe and score."""
        some = noise.permutation("train", len(train["z"])).numpy()[: self.train_rows]
        codes = (standardised if test["scale"] is None else Codes)(train["z"][some], test["z"])
        nearest = neighbours(codes, self.neighbours)
        named, scores, ranks = [], [], []
        for (factor, fitted), (_, scored) in zip(train["targets"], test["targets"], strict=True):
            y, truth = outputs(factor, fitted[some]), outputs(factor, scored)
            score, name = (accuracy, "accuracy") if factor.kind == "categorical" else (r2, "r2")
            linear = linear_predict(codes, y)
            named += [(factor.name, "linear", name), (factor.name, "knn", name)]
            scores += [score(truth, linear), score(truth, knn_predict(nearest, y))]
            if factor.kind in ("real", "ordinal"):
                rho = float(spearman(linear, truth)[0, 0])
                ranks.append((factor.name, "linear", "spearman", rho, *rank_interval(rho, len(truth))))
        found = estimates(scores, noise, self.resamples)
        rows = [(*name, e.value, e.low, e.high) for name, e in zip(named, found, strict=True)]
        table = pd.DataFrame(rows + ranks, columns=["factor", "probe", "score", "value", "low", "high"])
        return table.astype({"value": float, "low": float, "high": float})

    def _notes(self, train, test) -> tuple[str, ...]:
        n, d = test["z"].shape
        said = [
            f"Mean codes of {n} examples of the {self.split} split, {d} latent "
            f"variable{'s' if d > 1 else ''}."
        ]
        if not test["targets"]:
            return (*said, "The data have neither factors nor labels: nothing to compare the codes with.")
        fitted = min(len(train["z"]), self.train_rows)
        how = "standardised by their mean and sd" if test["scale"] is None else "in the units of the prior"
        said.append(
            f"Probes were fitted on {fitted} train codes, {how}; k-NN used {self.neighbours} neighbours."
        )
        if test["scale"] is not None:
            said.append(
                "Correlations and information by latent are those of codes drawn from the posterior, "
                "one a row."
            )
        if n > self.information_rows:
            said.append(
                f"Mutual information was estimated on {self.information_rows} examples drawn at random."
            )
        return tuple(said)

    # ---------------------------------------------------------------- pictures
    def plot(self, report):
        z, y = report.arrays["codes"], report.arrays["targets"]
        factors = read_factors(report.tables["factors"])
        known = [(factor, y[:, i]) for i, factor in enumerate(factors)]
        d, total = z.shape[1], int(report.arrays["rows"])
        what = self._said(len(z), total)
        pictures = self._flat(z, known, what)
        if known:
            pictures["dependence"] = _dependence_picture(report.tables["dependence"], factors, d)
        if d >= 3:
            colours = with_difference([(factor, values[:TURNED]) for factor, values in known])
            examples = report.arrays.get("pictures")
            shown = self._said(min(TURNED, len(z)), total)
            text = (
                f"{shown[0].upper()}{shown[1:]}, a point each, in the three latents of highest "
                "variance. Drag to turn, scroll to approach"
            )
            text += "; the menu chooses what colours the points" if colours else ""
            told = ["the picture that was encoded"] * (examples is not None) + ["its values"] * bool(colours)
            text += f"; a point that is touched shows {' and '.join(told)}." if told else "."
            pictures["cloud"] = Picture(cloud(z[:TURNED], colours, pictures=examples), text)
        return pictures

    def _said(self, n: int, total: int) -> str:
        """How many codes are drawn."""
        codes = f"mean codes of the {self.split} split"
        return f"all {total} {codes}" if n == total else f"{n} of {total} {codes}, drawn at random"

    def _flat(self, z, known, what) -> dict[str, Picture]:
        groups = [known[i : i + WIDE] for i in range(0, len(known), WIDE)] or [[]]
        pictures = {}
        for i, group in enumerate(groups):
            name = "projections" if i == 0 else f"projections_{i + 1}"
            if z.shape[1] == 1:
                text = (
                    f"The only latent: {what}. First panel: histogram; the others: each factor "
                    "against the latent (classes: a strip each)."
                )
                pictures[name] = Picture(along(z, group), text)
                continue
            pairs = axis_pairs(z)
            choice = (
                "all pairs of latents"
                if z.shape[1] <= 4
                else "the pairs of the four latents of highest variance"
            )
            text = f"{what[0].upper()}{what[1:]}, on {choice} ({len(pairs)})"
            text += {0: ".", 1: "; what colours the points stands above."}.get(
                len(group), "; columns: what colours the points, named above."
            )
            pictures[name] = Picture(projections(z, group), text)
        return pictures


def _rows(run, split: str) -> Mapping:
    """Codes and what is known about them, as arrays."""
    codes = run.latents(split)
    labels = None if codes.labels is None else codes.labels.cpu().numpy()
    return {
        "z": codes.codes.cpu().double().numpy(),
        "scale": None
        if codes.posterior.get("scale") is None
        else codes.posterior.get("scale").cpu().double().numpy(),
        "index": codes.index.cpu().numpy(),
        "targets": targets(run.data.factors, run.data.label, codes.y.cpu().numpy(), labels),
    }


def _moments(z: np.ndarray, scale: np.ndarray | None) -> pd.DataFrame:
    """One row per latent; sd with divisor N; KL = (mu^2 + sigma^2 - 1) / 2 - ln sigma, mean over rows,
    nats."""
    none = np.full(z.shape[1], np.nan)
    kl = none if scale is None else ((z**2 + scale**2 - 1) / 2 - np.log(scale)).mean(0)
    return pd.DataFrame(
        {
            "latent": np.arange(z.shape[1]),
            "mean": z.mean(0),
            "sd": z.std(0),
            "min": z.min(0),
            "max": z.max(0),
            "mean_scale": none if scale is None else scale.mean(0),
            "mean_kl": kl,
        }
    )


def _dependence_picture(table: pd.DataFrame, factors: list[Factor], d: int) -> Picture:
    names = [factor.name for factor in factors]
    shape = (d, len(names))
    ranked, shared = (
        table[column].to_numpy(dtype=float).reshape(shape) for column in ("spearman", "mutual_information")
    )
    panels = [("|Spearman|", np.abs(ranked), 1.0)] if np.isfinite(ranked).any() else []
    panels.append(
        ("mutual information (nats)", shared, max(1.0, shared.max()))
    )  # a scale of less than a nat would show chance
    rows = [f"$z_{{{i}}}$" for i in range(d)]
    text = "Each latent (rows) against each factor (columns)"
    text += (
        ": absolute rank correlation, and mutual information in nats"
        if len(panels) == 2
        else ": mutual information in nats"
    )
    hatched = len(panels) == 2 and np.isnan(ranked).any()
    text += (
        ". Hatched: no number, because the factor has no order or one of the two is constant."
        if hatched
        else "."
    )
    return Picture(matrices(panels, rows, [name.replace("_", " ") for name in names]), text)
