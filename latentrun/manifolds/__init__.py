"""Spaces that codes or data live on."""

from latentrun.manifolds.base import Manifold
from latentrun.manifolds.euclidean import Euclidean
from latentrun.manifolds.parse import register, space
from latentrun.manifolds.product import Product

__all__ = ["Euclidean", "Manifold", "Product", "register", "space"]
