from dataclasses import replace
from typing import Annotated

from latentrun.config.bounds import Ge
from latentrun.experiments.base import Experiment


class Settle(Experiment):
    """The model's last phase once more, for a few epochs."""

    def __init__(self, epochs: Annotated[int, Ge(1)]):
        self.epochs = epochs

    def phases(self, model):
        return (replace(model.phases()[-1], name="settle", epochs=self.epochs, callbacks=()),)

    def caveats(self):
        return (f"After training it settled for {self.epochs} epochs.",)
