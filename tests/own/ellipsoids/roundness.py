import torch
from matplotlib.figure import Figure

from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER
from latentrun.types import Estimate, Metric, Need, Picture, Report

VECTORS = Need("data", lambda data: len(data.event_shape) == 1, "vectors")


class Roundness(Diagnostic):
    """Do the codes keep the shape of the data?"""

    requires = (ENCODER, VECTORS)
    metrics = {"ratio": Metric("largest sd of the codes / largest sd of the data", 0, None, "one")}

    def __call__(self, run, noise):
        spreads = [
            torch.linalg.svdvals(rows - rows.mean(0)) for rows in (run.latents("test").codes, run.x("test"))
        ]
        return Report({"ratio": Estimate(float(spreads[0][0] / spreads[1][0]))})

    def plot(self, report):
        figure = Figure(figsize=(3, 2), layout="constrained")
        figure.add_subplot(xlim=(0, 2)).axvline(report.metrics["ratio"].value)
        return {"ratio": Picture(figure, "At 1 the codes are as wide as the data.")}
