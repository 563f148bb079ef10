"""What a run will write to the disk, roughly."""

from __future__ import annotations

from latentrun.plotting.animation import LARGEST
from latentrun.tasks.assembly import Assembly

# Bytes beside checkpoints and codes: the page, which draws figures by a script of its own, and TensorBoard;
# tables, arrays and pictures of a diagnostic, those once more in the page; a moving picture, there too.
PAGE, DIAGNOSTIC, MOVING = 4 * 2**20, 3 * 2**19, 3 * LARGEST


def needs(assembly: Assembly) -> dict[str, int]:
    """Bytes that a run writes at most, roughly, by what they are for.

    Checkpoints: ``last`` (weights, the best weights, two moments of the optimizer) and ``best``, each with
    the one before it and, while it is written, with its temporary file. Arrays: codes of all training and
    test rows, and the history of 512 rows (mean and scale), once as it grows and once at the end. All of them
    float32 numbers of 4 bytes.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in assembly.model.state_dict().values())
    phases = assembly.training.phases(assembly.model)
    epochs = sum(phase.length(assembly.training.epochs) for phase in phases)
    d = assembly.model.latent_dim
    history = 4 * 512 * 4 * d * epochs
    rows = sum(len(assembly.data.split(name).x) for name in ("train", "test"))
    codes = 4 * rows * (2 * d + len(assembly.data.factors) + 4)
    diagnostics = assembly.questions.diagnostics.values()
    moving = sum(MOVING for diagnostic in diagnostics if diagnostic.animated)
    return {
        "checkpoints": 3 * 4 * weights + 3 * weights,
        "arrays": history + codes,
        "tables, pictures and report": PAGE + DIAGNOSTIC * len(diagnostics) + moving,
    }


def needed(assembly: Assembly) -> int:
    """Bytes that a run writes at most, roughly."""
    return sum(needs(assembly).values())
