import torch
from matplotlib.figure import Figure

from latentrun.diagnostics.base import Diagnostic
from latentrun.types import Estimate, Metric, Picture, Report


class Small(Diagnostic):
    """What do these have in common?"""

    metrics = {"size": Metric("largest |code|, over the test rows", 0)}

    def size(self, run):
        return run.latents("test").codes.abs().max().item()

    def __call__(self, run, noise):
        return Report({"size": Estimate(self.size(run))})

    def plot(self, report):
        return {}


class Undeclared(Small):
    """Is every metric declared?"""

    def __call__(self, run, noise):
        return Report({"sise": Estimate(self.size(run))})  # mistake


class Bare(Small):
    """Is every metric an Estimate?"""

    def __call__(self, run, noise):
        return Report({"size": self.size(run)})  # mistake


class Mapped(Small):
    """Is every table one?"""

    def __call__(self, run, noise):
        report = super().__call__(run, noise)
        return Report(report.metrics, {"sizes": {"size": [1.0]}})  # mistake


class Raising(Small):
    """Does it come to an end?"""

    def __call__(self, run, noise):
        return {}["size"]  # mistake


class Framed(Small):
    """Is every picture one?"""

    def plot(self, report):
        return {"axes": Figure()}  # mistake


class Undrawn(Small):
    """Can it be drawn?"""

    def plot(self, report):
        figure = Figure()
        figure.add_subplot().plot(report.tables["sizes"]["size"])  # mistake
        return {"axes": Picture(figure, "Sizes.")}


class Late(Small):
    """Does it fail only with a trained model?"""

    def __call__(self, run, noise):
        if run.directory is not None:
            raise ValueError("the run is not tried any more")  # late
        return super().__call__(run, noise)


class Hollow(Diagnostic):  # lacking
    """Can a picture be left out?"""

    def __call__(self, run, noise):
        return Report({})


class Meddling(Small):
    """Does it leave the model alone?"""

    def __call__(self, run, noise):
        with torch.no_grad():
            for tensor in run.model.state_dict(keep_vars=True).values():
                tensor.add_(0)
        return super().__call__(run, noise)  # meddled


class Beyond(Small):
    """Does a share lie in its range?"""

    metrics = {"share": Metric("share of rows", 0, 1), "size": Metric("largest |code|", 0)}

    def __call__(self, run, noise):
        return Report(
            {
                "share": Estimate(1.5),  # beyond
                "size": Estimate(5.0, 1.0, 2.0),  # beyond
            }
        )
