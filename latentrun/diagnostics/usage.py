"""Which latent variables a model uses: measured in one way for all diagnostics that tell them apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from latentrun.diagnostics.base import posterior_training
from latentrun.functional.gains import zeroing_gains
from latentrun.functional.spacing import evenly
from latentrun.functional.usage import Limits, Usage, classify, ignored
from latentrun.run import CHUNK, Run


@dataclass(frozen=True)
class Measured:
    """``usage`` of d variables over a split; of n of its ``rows (n,)`` the squared errors ``error (n,)``,
    summed over data dimensions, and their ``gains (d, n)``; ``data_variance`` of the split, summed over data
    dimensions."""

    rows: Tensor
    usage: Usage
    error: Tensor
    gains: Tensor
    data_variance: float


@dataclass(frozen=True)
class Criteria:
    """A variable is inactive where its mean sigma² is above ``scale2``, its var(mu) below ``variance``, and
    its gain at most ``gain`` of the data's total variance (summed over data dimensions) either way; active
    where none of the three is so; else doubtful."""

    scale2: float
    variance: float
    gain: float

    def limits(self, measured: Measured) -> Limits:
        """In the units of the gain."""
        return Limits(self.scale2, self.variance, self.gain * measured.data_variance)

    def states(self, run: Run, measured: Measured) -> np.ndarray:
        """``(d,)`` active, inactive or doubtful. Where the model was trained without sampling sigma got no
        gradient from the data, and without the full KL nothing fixes the scale of the codes: there the gain
        alone decides."""
        training = posterior_training(run)
        by_moments = training.sampled and training.kl == "full"
        return classify(measured.usage, self.limits(measured), by_moments)

    def ignored(self, measured: Measured) -> Tensor:
        """``(d,)`` whether a variable has hardly any gain, whatever its variances."""
        return ignored(measured.usage, self.limits(measured))

    def words(self, measured: Measured) -> str:
        """For notes."""
        return (
            f"Inactive: mean σ² > {self.scale2:g}, var(μ) < {self.variance:g}, and |gain| at most "
            f"{self.gain:g} of the data's total variance ({self.limits(measured).gain:.3g}). Doubtful: these "
            "disagree."
        )


def usage_of(run: Run, split: str, rows: int) -> Measured:
    """What the latent variables of a model with a Gaussian posterior do: var(mu) and mean sigma² (population
    moments, as numpy's var) over a split, and of at most ``rows`` of its rows, evenly spaced, the gain

        gain_i = ||x - dec(mu with mu_i = 0)||² - ||x - dec(mu)||².

    Measured once: all who ask for the same get the same."""
    return run.once(("usage", split, rows), lambda: measure_usage(run, split, rows_of(run, split, rows)))


def rows_of(run: Run, split: str, rows: int) -> Tensor:
    """At most so many rows of a split, evenly spaced ``(n,)``, on the device."""
    return evenly(len(run.x(split)), rows).to(run.device)


def measure_usage(run: Run, split: str, rows: Tensor, z: Tensor | None = None) -> Measured:
    """:func:`usage_of` with the gains of these ``rows (n,)`` of the split; of the codes ``z (n, d)`` where
    they are given, else of mean codes."""
    x, latents = run.x(split), run.latents(split)
    mean, scale = latents.codes, latents.posterior["scale"]
    z = mean[rows] if z is None else z

    def losses(z: Tensor, x: Tensor) -> Tensor:
        return squared_error(run, z, x)[None]

    error, gains = (values[0] for values in zeroing_gains(losses, z, x[rows], CHUNK))
    usage = Usage(mean.var(0, correction=0), scale.square().mean(0), gains.mean(1))
    return Measured(rows, usage, error, gains, x.var(0, correction=0).sum().item())


def squared_error(run: Run, z: Tensor, x: Tensor) -> Tensor:
    """||x - dec(z)||² ``(N,)``, summed over data dimensions."""
    return (run.decode(z) - x).square().flatten(1).sum(1)
