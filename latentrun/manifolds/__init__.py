"""Spaces that codes or data live on."""

from latentrun.manifolds.base import Manifold
from latentrun.manifolds.euclidean import Euclidean

__all__ = ["Euclidean", "Manifold"]
