import pandas as pd
import torch
from matplotlib.figure import Figure

from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, FACTORS
from latentrun.types import Estimate, Metric, Picture, Report


class Axes(Diagnostic):
    """Does every latent variable follow one factor?"""

    requires = (ENCODER, FACTORS)
    metrics = {
        "weakest": Metric("largest |correlation| with a factor, least over the latent variables", 0, 1, "one")
    }

    def __call__(self, run, noise):
        latents = run.latents("test")
        d = latents.codes.shape[1]
        both = torch.cat([latents.codes, latents.y], dim=1)
        found = torch.corrcoef(both.T)[:d, d:].abs().amax(1).tolist()
        table = pd.DataFrame({"latent": range(d), "correlation": found})
        return Report({"weakest": Estimate(min(found))}, {"latents": table})

    def plot(self, report):
        figure = Figure(figsize=(4, 3), layout="constrained")
        axes = figure.add_subplot(xlabel="latent variable", ylabel="largest |correlation|", ylim=(0, 1))
        axes.bar(report.tables["latents"]["latent"], report.tables["latents"]["correlation"])
        return {"bars": Picture(figure, "Bars at 1: every latent variable is one factor.")}
