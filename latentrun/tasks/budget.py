"""What a run will write to the disk, roughly."""

from __future__ import annotations

from latentrun.plotting.animation import LARGEST
from latentrun.tasks.assembly import Plan

# Bytes: tables, pictures, the report and its rotatable figures, TensorBoard; a moving picture, and in the
# report once more.
PAGES = 48 * 2**20 + 3 * LARGEST


def needs(plan: Plan) -> dict[str, int]:
    """Bytes that a run writes at most, roughly, by what they are for.

    Checkpoints: ``last`` (weights, the best weights, two moments of the optimizer) and ``best``, each with
    the one before it and, while it is written, with its temporary file. Arrays: codes of all training and
    test rows, and the history of 512 rows, which ``last`` holds too. All of them float32 numbers of 4 bytes.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in plan.model.state_dict().values())
    d, epochs = (
        plan.model.latent_dim,
        sum(phase.length(plan.training.epochs) for phase in plan.training.phases(plan.model)),
    )
    history = 4 * 512 * 3 * d * epochs
    rows = sum(len(plan.data.split(name).x) for name in ("train", "test"))
    codes = 4 * rows * (2 * d + len(plan.data.factors) + 4)
    return {
        "checkpoints": 3 * (4 * weights + history) + 3 * weights,
        "arrays": history + codes,
        "tables, pictures and report": PAGES,
    }


def needed(plan: Plan) -> int:
    """Bytes that a run writes at most, roughly."""
    return sum(needs(plan).values())
