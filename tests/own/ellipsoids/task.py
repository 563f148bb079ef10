from typing import Annotated, Literal

import pandas as pd

from latentrun.config.bounds import Printable
from latentrun.tasks.base import MACHINE, Command, Task
from latentrun.tasks.outputs import fresh, show_written, trained


class Norms(Task):
    """Write how far each code of a trained run lies from the origin."""

    beside = MACHINE

    def __init__(self, run: Annotated[str, Printable()], split: Literal["train", "val", "test"]):
        self.source, self.split = run, split

    def run(self, command: Command) -> int:
        _, run = trained(self.source, command.trust.directory, command.values["device"])
        latents = run.latents(self.split)
        table = pd.DataFrame({"index": latents.index.tolist(), "norm": latents.codes.norm(dim=1).tolist()})
        with fresh(command.path) as folder, (folder / "norms.csv").writing() as file:
            table.to_csv(file, index=False)
        show_written(command.path, f"{len(table):,} norms", [])
        return 0
