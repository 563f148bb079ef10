"""Pictures of a rigid body: against rays cast one by one, closed forms, and the group that turns it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentrun.config.build import build
from latentrun.data.base import Dataset
from latentrun.data.rigid_body import RigidBody
from latentrun.data.rigid_body_render import BODY, Box, Renderer
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import SO3
from latentrun.manifolds.so3 import rotation_of
from tests.conformance import parts

LIGHT, REACH = (-0.5, 0.6, -0.8), 0.364


def body(**changes) -> RigidBody:
    data = build(parts.spec("data", "rigid_body") | {"n": 60} | changes, Dataset, "data")
    assert isinstance(data, RigidBody)
    return data


def renderer(size: int = 32, light=LIGHT, boxes=BODY) -> Renderer:
    return Renderer(boxes, size, REACH, light, ambient=0.2, albedo=0.85)


def poses(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ones in the picture."""
    u = Noise(0).uniform("place", (n, 3)).double()
    place = torch.stack([1.4 * u[:, 0] - 0.7, 1.4 * u[:, 1] - 0.7, 5 + 3 * u[:, 2]], 1)
    return place, SO3().sample(n, Noise(0)).double().unflatten(-1, (3, 3))


def cast(place: np.ndarray, turn: np.ndarray, size: int, rays: int) -> np.ndarray:
    """The picture by ``rays`` x ``rays`` rays a pixel, each cut with every box, slab by slab."""
    light, eye = np.array(LIGHT) / np.linalg.norm(LIGHT), -place @ turn
    within = (np.arange(rays) + 0.5) / rays
    picture = np.empty((size, size))
    for i, j in np.ndindex(size, size):
        y, x = np.meshgrid(1 - 2 * (i + within) / size, 2 * (j + within) / size - 1)
        ray = np.stack([x * REACH, y * REACH, np.ones_like(x)], -1) @ turn
        grey, nearest = np.ones_like(x), np.full_like(x, np.inf)
        for box in BODY:
            ends = (np.array(box.centre) + np.outer([-1, 1], box.half) - eye)[:, None, None] / ray
            enter, leave = ends.min(0), ends.max(0).min(-1)
            axis, first = enter.argmax(-1), enter.max(-1)
            normal = -np.sign(np.take_along_axis(ray, axis[..., None], -1)) * turn.T[axis]
            hit = first < np.minimum(leave, nearest)
            grey = np.where(hit, 0.85 * (0.2 + 0.8 * np.maximum(0, normal @ light)), grey)
            nearest = np.where(hit, first, nearest)
        picture[i, j] = grey.mean()
    return picture


def test_pictures_are_those_of_rays_cast_one_by_one():
    place, turn = poses(4)
    drawn = renderer().render(place, turn).numpy()
    slow = np.stack([cast(p, r, 32, 6) for p, r in zip(place.numpy(), turn.numpy(), strict=True)])
    body = slow < 0.99
    assert 0.02 < body.mean() < 0.3
    assert np.abs(drawn - slow).max() < 0.2  # a pixel with the edges of two boxes in it
    assert np.abs(drawn - slow)[body].mean() < 0.015 and np.abs(drawn - slow)[~body].max() < 0.05
    assert np.quantile(np.abs(drawn - slow)[body], 0.5) < 0.005


def test_a_box_seen_from_the_front_has_the_area_and_the_grey_of_the_formula():
    draw = renderer(64, boxes=(Box((0.0, 0.0, 0.0), (0.5, 0.3, 0.2)),))
    dark = {}
    for depth in (4.0, 7.0):
        picture = draw.render(torch.tensor([[0.1, -0.2, depth]]).double(), torch.eye(3)[None].double())[0]
        grey = 0.85 * (0.2 + 0.8 * 0.8 / math.sqrt(0.25 + 0.36 + 0.64))
        assert picture.min().item() == pytest.approx(grey)
        scale = 64 / (2 * REACH) / (depth - 0.2)  # pixels for a length at the front face
        dark[depth] = (1 - picture).sum().item()
        assert dark[depth] == pytest.approx((1 - grey) * 0.6 * scale**2, rel=1e-9)
        column = ((1 - picture).sum(0) @ (torch.arange(64) - 31.5).double() / (1 - picture).sum()).item()
        row = ((1 - picture).sum(1) @ (31.5 - torch.arange(64)).double() / (1 - picture).sum()).item()
        assert (column, row) == pytest.approx((0.1 * scale, -0.2 * scale), abs=0.01)
    assert dark[4.0] / dark[7.0] == pytest.approx((6.8 / 3.8) ** 2)


def test_a_turn_of_the_body_and_its_place_about_the_line_of_sight_turns_the_picture():
    place, turn = poses(5)
    quarter = rotation_of(torch.tensor([0.0, 0.0, math.pi / 2], dtype=torch.float64))
    draw = renderer(light=(0.0, 0.0, -1.0))  # a light that the turn leaves alone
    turned = draw.render(place @ quarter.T, quarter @ turn)
    assert torch.allclose(turned, draw.render(place, turn).rot90(1, (1, 2)), atol=1e-9)


def test_factors_are_the_chart_of_the_group():
    data = body()
    y = data.split("train").y[:9].double()
    low = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    width = torch.tensor([2 * math.pi, 2.0, 2 * math.pi], dtype=torch.float64)
    found = data.poses(y)
    assert torch.allclose(found.rotation.flatten(-2), SO3().embed((y[:, 3:] - low) / width))
    assert torch.equal(found.position, y[:, :3])
    direct = data.renderer.render(found.position, found.rotation)
    assert torch.allclose(direct, data.render(y)[:, 0], atol=1e-12)


def test_no_two_poses_look_alike():
    turn = SO3().sample(400, Noise(0)).double()
    place = torch.tensor([[0.0, 0.0, 6.0]]).double().expand(400, 3)
    x = renderer(32).generate(place, turn.unflatten(-1, (3, 3))).flatten(1)
    apart = torch.cdist(x, x) / (1 - x).norm(dim=1).median()
    far = SO3().distance(turn[:, None], turn) > math.sqrt(2) * math.radians(30)
    assert apart[far].min() > 0.2 and apart[far].median() > 0.7
    plain = renderer(32, boxes=BODY[:1])  # a box alone: half a turn about an axis of its own is not seen
    half = rotation_of(torch.tensor([0.0, 0.0, math.pi], dtype=torch.float64))
    first = turn.unflatten(-1, (3, 3))[:5]
    gap = plain.render(place[:5], first @ half) - plain.render(place[:5], first)
    assert gap.abs().max() < 0.05 and gap.abs().mean() < 1e-4


@pytest.mark.parametrize("size", [17, 64])
def test_drawing_only_where_the_bodies_are_gives_the_same_pictures(size):
    place, turn = poses(80)
    place[:8] *= torch.tensor([2.5, 2.5, 0.6])  # also bodies that leave the picture
    whole = renderer(size).render(place, turn)
    part = renderer(size).generate(place, turn)
    assert (part - whole).abs().max() < 1e-5 and part.dtype == torch.float32


def test_render_is_differentiable():
    data = body()
    y = data.split("train").y[:6].double().requires_grad_()
    weight, step = (
        Noise(0).normal("weight", (64, 64)).double(),
        1e-6 * Noise(0).normal("step", (6, 6)).double(),
    )
    (slope,) = torch.autograd.grad((data.render(y)[:, 0] * weight).sum(), y)
    ahead, behind = ((data.render(y.detach() + s)[:, 0] * weight).sum((1, 2)) for s in (step, -step))
    exact, across = (slope * step).sum(1), (ahead - behind) / 2
    gap = (exact - across).abs() / across.abs()
    assert gap.median() < 1e-5 and gap.max() < 0.1  # one of six may meet a kink


FIXED = {"x": {"low": 0.1, "high": 0.1}, "y": {"low": 0.0, "high": 0.0}, "depth": {"low": 6.0, "high": 6.0}}


@pytest.mark.parametrize(
    ("changes", "names", "betti"),
    [
        (FIXED | {"orientation": "axis"}, ["angle"], (1, 1)),
        (FIXED, ["alpha", "cos_beta", "gamma"], (1, 1, 1, 1)),
        ({"orientation": "fixed"}, ["x", "y", "depth"], (1,)),
        ({"orientation": "axis", "x": FIXED["x"]}, ["y", "depth", "angle"], (1, 1)),
    ],
)
def test_circles_rotations_and_places_can_be_had_alone(changes, names, betti):
    data = body(**changes)
    assert [factor.name for factor in data.factors] == names
    assert (data.intrinsic_dim, data.betti) == (len(names), betti)
    y = data.split("train").y[:3].double()
    found = data.project(data.render(y))
    assert torch.allclose(found.factors, y, atol=1e-5) and found.inside.all()
    members = data.members(4)
    assert (members is None) == (len(names) > 1)
    if members is not None:
        middle = torch.arange(1, 8, 2).double().unsqueeze(1) * math.pi / 4
        assert torch.allclose(members, data.render(middle).float(), atol=1e-5)


def test_noise_is_on_every_value_and_rendering_has_none():
    clean, noisy = body(), body(noise=0.05)
    apart = noisy.split("train").x - clean.split("train").x
    assert apart.std().item() == pytest.approx(0.05, rel=0.01) and abs(apart.mean().item()) < 1e-3
    assert torch.equal(noisy.render(noisy.split("val").y), clean.render(clean.split("val").y))
    assert noisy.value_range[1] > 1 and clean.value_range == (0.0, 1.0)


def test_what_no_pose_looks_like_is_reported_as_missed():
    data = body(orientation="axis", **FIXED)
    x = torch.cat([data.render(torch.tensor([[1.0]])), torch.zeros(1, 1, 64, 64)]).double()
    broken = x[:1].clone()
    broken[..., 0, 0] = torch.nan
    found = data.project(torch.cat([x, broken]))
    assert found.residual[0] < 1e-5 and found.residual[1] == 1 and found.residual[2] == torch.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": {"low": 1.0, "high": 0.0}}, "data.x: low 1 is above high 0"),
        ({"x": {"low": 0.0, "hihg": 0.0}}, "unknown key of data.x 'hihg'"),
        ({"depth": {"low": 2.0, "high": 3.0}}, "the body leaves the picture at x = 0.7, depth 2"),
        (FIXED | {"orientation": "fixed"}, "data: nothing varies"),
        ({"light": [0.0, 0.0, 0.0]}, "data.light: .* three finite numbers are needed, not all 0"),
        ({"axis": [1.0, 0.0]}, "data.axis: .* three finite numbers"),
    ],
)
def test_wrong_settings_are_said_in_one_line(changes, message):
    with pytest.raises(InputError, match=message):
        body(**changes)
