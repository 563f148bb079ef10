"""Spaces that codes or data live on."""

from latentrun.manifolds.base import Charted, Compact, Finite, Manifold, Symmetric
from latentrun.manifolds.euclidean import Euclidean
from latentrun.manifolds.parse import register, space
from latentrun.manifolds.product import Product
from latentrun.manifolds.sphere import Sphere

__all__ = [
    "Charted",
    "Compact",
    "Euclidean",
    "Finite",
    "Manifold",
    "Product",
    "Sphere",
    "Symmetric",
    "register",
    "space",
]
