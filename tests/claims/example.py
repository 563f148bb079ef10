"""A small claim that tests change."""

from __future__ import annotations

from typing import Any

from latentrun.claims.claim import Claim, Expectation, claims_of
from latentrun.claims.fixed import digest_of
from latentrun.config.boxes import box

TINY = [
    "data=points",
    "network=dense",
    "network.widths=[16]",
    "training.batch_size=16",
    "training.epochs=30",
    "training.optimizer.lr=0.03",
    "rows=64",
]
TOY: dict[str, Any] = {
    "kind": "claim",
    "sentence": "Two latents reconstruct points of the plane better than one.",
    "source": "plane geometry",
    "fixed": {"date": "2026-11-20", "digest": "unknown"},
    "runs": {
        "one": [*TINY, "model=ae", "model.latent_dim=1"],
        "two": [*TINY, "model=ae", "model.latent_dim=2"],
    },
    "expect": [
        {
            "says": "smaller error",
            "metric": "reconstruction/error_mean",
            "of": "two",
            "against": "one",
            "by": "difference",
            "below": 0,
        }
    ],
}


def stated(change: dict[str, Any] | None = None) -> dict[str, Any]:
    """The toy with changes, fixed as it then is."""
    node = TOY | (change or {})
    expect = [box(Expectation, part, "expect") for part in node["expect"]]
    digest = digest_of(node["runs"], expect, node.get("conditions"))
    return node | {"fixed": {"date": "2026-11-20", "digest": digest}}


def toy(change: dict[str, Any] | None = None) -> Claim:
    """The claim ``T`` of it."""
    return claims_of({"T": stated(change)})[0]
