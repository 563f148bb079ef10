"""Spaces that codes or data live on."""

from latentrun.manifolds.base import Charted, Compact, Finite, Manifold, Symmetric
from latentrun.manifolds.disc import Annulus, Disc
from latentrun.manifolds.euclidean import Euclidean
from latentrun.manifolds.finite import Points
from latentrun.manifolds.interval import Interval
from latentrun.manifolds.klein import Klein, Moebius
from latentrun.manifolds.parse import register, space
from latentrun.manifolds.product import Product, Torus, product
from latentrun.manifolds.so3 import SO3
from latentrun.manifolds.sphere import Sphere, sphere

__all__ = [
    "SO3",
    "Annulus",
    "Charted",
    "Compact",
    "Disc",
    "Euclidean",
    "Finite",
    "Interval",
    "Klein",
    "Manifold",
    "Moebius",
    "Points",
    "Product",
    "Sphere",
    "Symmetric",
    "Torus",
    "product",
    "register",
    "space",
    "sphere",
]
