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
