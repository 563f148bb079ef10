"""Spaces that codes or data live on."""

from latentrun.manifolds.base import Charted, Compact, Coordinated, Finite, Manifold, Symmetric
from latentrun.manifolds.curve import Curve
from latentrun.manifolds.disc import Annulus, Disc
from latentrun.manifolds.euclidean import Euclidean
from latentrun.manifolds.finite import Points
from latentrun.manifolds.interval import Interval
from latentrun.manifolds.klein import Klein, Moebius
from latentrun.manifolds.parse import register, space
from latentrun.manifolds.places import Places, laid_out
from latentrun.manifolds.product import Product, Torus, is_same, product
from latentrun.manifolds.ray import Diagonal
from latentrun.manifolds.so3 import SO3
from latentrun.manifolds.sphere import Sphere, sphere
from latentrun.manifolds.union import Placed, Union

__all__ = [
    "SO3",
    "Annulus",
    "Charted",
    "Compact",
    "Coordinated",
    "Curve",
    "Diagonal",
    "Disc",
    "Euclidean",
    "Finite",
    "Interval",
    "Klein",
    "Manifold",
    "Moebius",
    "Placed",
    "Places",
    "Points",
    "Product",
    "Sphere",
    "Symmetric",
    "Torus",
    "Union",
    "is_same",
    "laid_out",
    "product",
    "register",
    "space",
    "sphere",
]
