"""Relabelings and rotations of a model that an annotation of symmetries allows; see `symmetry` for the rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Kind = Literal["reflection", "rotation"]

#: The kinds of symmetry that an annotation can hold; circles are rotations.
KINDS: tuple[Kind, ...] = ("reflection", "rotation")

#: Cosine above which two groups are across the same plane; annotated positions are not exactly mirrored.
_PARALLEL = 0.8

#: The vertical axis of KeypointNet's models.
_UP = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


class Circle(NamedTuple):
    """Channels on a circle, and its axis: a point and a unit vector, (3,) float64."""

    channels: list[int]
    center: Tensor
    normal: Tensor


class Symmetry(NamedTuple):
    """Relabelings and rotations that an annotation allows.

    Attributes:
        reflections: (Q, K) long, the relabelings by reflections, identity first.
        turns: (n, K) long, those by the rotations of the groups that are no circles, the i-th by the angle 2πi/n.
        circles: their keypoints turn by the same angles, or, where no group holds n down, by any.
        free: whether any angle is allowed.
    """

    reflections: Tensor
    turns: Tensor
    circles: list[Circle]
    free: bool


def read_symmetry(
    symmetries: Mapping[str, Any] | None,
    semantic_ids: Sequence[int],
    visible: Tensor,
    kinds: Sequence[Kind],
    keypoints: Tensor | None,
) -> Symmetry:
    """Check the arguments and return what the annotation allows."""
    channels = {semantic_id: channel for channel, semantic_id in enumerate(semantic_ids)}
    if len(channels) < len(semantic_ids):
        raise ValueError(f"semantic_ids must differ, got {list(semantic_ids)}")
    if visible.dtype != torch.bool or visible.shape != (len(channels),):
        raise ValueError(
            f"visible must be bool of shape {(len(channels),)}, got {visible.dtype} of shape {tuple(visible.shape)}"
        )
    if keypoints is not None and keypoints.shape != (len(channels), 3):
        raise ValueError(f"target must be of shape {(len(channels), 3)}, got {tuple(keypoints.shape)}")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"kinds must be among {', '.join(KINDS)}, got {unknown[0]!r}")
    here = {semantic_id: channel for semantic_id, channel in channels.items() if visible[channel]}
    given = symmetries or {}
    pairs = given.get("reflection") or () if "reflection" in kinds else ()
    reflections = _reflections(pairs, here, len(channels), keypoints)
    groups = given.get("rotation") or () if "rotation" in kinds else ()
    _check_rotations(groups)
    circles = _circles([group for group in groups if group["is_circle"]], here, keypoints)
    axis = circles[0].normal if circles else _UP
    turning = [group["ids"] for group in groups if not group["is_circle"] and len(group["ids"]) > 1]
    turns = _turns(turning, here, len(channels), keypoints, axis)
    device = visible.device
    return Symmetry(reflections.to(device), turns.to(device), circles, bool(circles) and not turning)


def _reflections(
    groups: Sequence[Sequence[int]], here: Mapping[int, int], size: int, keypoints: Tensor | None
) -> Tensor:
    """(Q, K) relabelings by the reflections of which all keypoints are there, one plane or several at once."""
    if wrong := [group for group in groups if len(group) > 2]:
        raise ValueError(f"symmetries: a reflection group must be two semantic ids, which it exchanges, got {wrong[0]}")
    found = torch.arange(size)[None]
    different = {frozenset(group): group for group in groups if len(set(group)) == 2}
    for plane in _planes([*different.values()], here, keypoints):
        if all(i in here for group in plane for i in group):
            image = torch.arange(size)
            for first, second in plane:
                image[here[first]], image[here[second]] = here[second], here[first]
            found = torch.cat([found, found[:, image]])
    return found


def _planes(
    groups: Sequence[Sequence[int]], here: Mapping[int, int], keypoints: Tensor | None
) -> list[list[Sequence[int]]]:
    """The groups of each plane: all of one, unless a keypoint is in two; then those that point the same way."""
    ids = [i for group in groups for i in group]
    if len(set(ids)) == len(ids):
        return [list(groups)] if groups else []
    if keypoints is None:
        twice = next(i for i in ids if ids.count(i) > 1)
        raise ValueError(
            "symmetries: reflections through several planes are distinguished by the positions of the keypoints, "
            f"got none, and semantic id {twice} in two groups"
        )
    whole = [group for group in groups if all(i in here for i in group)]
    planes: list[list[Sequence[int]]] = []
    ways: list[Tensor] = []
    for group in whole:
        first, second = (keypoints[here[i]].detach().cpu().double() for i in group)
        way = functional.normalize(first - second, dim=0)
        near = [float(abs(way @ other)) for other in ways]
        # The plane that it points across best; a keypoint has one image in a plane.
        fitting = [p for p, plane in enumerate(planes) if near[p] > _PARALLEL and _apart(group, plane)]
        if fitting:
            planes[max(fitting, key=near.__getitem__)].append(group)
        else:
            planes.append([group])
            ways.append(way)
    # The plane of an incomplete group is unknown: every plane that it could belong to is left out.
    partial = [group for group in groups if group not in whole]
    return [plane for plane in planes if not any(_apart(group, plane) for group in partial)]


def _apart(group: Sequence[int], plane: Sequence[Sequence[int]]) -> bool:
    return not set(group) & {i for other in plane for i in other}


def _check_rotations(groups: Sequence[Mapping[str, Any]]) -> None:
    ids = [i for group in groups for i in group["ids"]]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise ValueError(f"symmetries: a keypoint must be in one rotation group at most, got semantic id {twice} twice")


def _circles(groups: Sequence[Mapping[str, Any]], here: Mapping[int, int], keypoints: Tensor | None) -> list[Circle]:
    """The circles with the keypoints that are there, their normals to one side."""
    found: list[Circle] = []
    if keypoints is None:
        return found
    for group in groups:
        channels = [here[i] for i in group["ids"] if i in here]
        if not channels:
            continue
        if group["circle"]:
            center, normal = (_vector(group["circle"], name) for name in ("center", "normal"))
        else:
            center, normal = keypoints[channels].mean(dim=0).cpu().double(), _UP
        normal = normal / normal.norm()
        # All to one side, so that one angle rotates all circles in the same sense.
        found.append(Circle(channels, center, -normal if found and normal @ found[0].normal < 0 else normal))
    return found


def _vector(circle: Mapping[str, Any], name: str) -> Tensor:
    """The center or normal of a circle, (3,) float64."""
    value = circle.get(name)
    try:
        vector = torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        vector = torch.empty(0, dtype=torch.float64)
    if vector.shape != (3,) or not vector.isfinite().all() or (name == "normal" and not vector.any()):
        raise ValueError(f"symmetries: expected the {name} of a circle to be three finite numbers, got {value!r}")
    return vector


def _turns(
    groups: Sequence[Sequence[int]], here: Mapping[int, int], size: int, keypoints: Tensor | None, axis: Tensor
) -> Tensor:
    """(n, K) relabelings by rotations, the i-th by 2πi/n; n is 1 where a keypoint is not there."""
    if not groups or any(i not in here for group in groups for i in group):
        return torch.arange(size)[None]
    steps = math.gcd(*(len(group) for group in groups))
    turns = torch.arange(size).repeat(steps, 1)
    for group in groups:
        channels = torch.tensor([here[i] for i in group])
        if keypoints is not None:
            channels = channels[_around(keypoints[channels.to(keypoints.device)], axis).argsort()]
        for step in range(steps):
            turns[step, channels] = channels.roll(-step * len(group) // steps)
    return turns


def _around(points: Tensor, axis: Tensor) -> Tensor:
    """Angles (M,) of points (M, 3) around an axis (3,) through their mean, growing as `_rotated` turns."""
    points = points.detach().cpu().double()
    one = torch.linalg.cross(axis, torch.eye(3, dtype=torch.float64)[axis.abs().argmin()])
    other = torch.linalg.cross(axis, one)
    offset = points - points.mean(dim=0)
    return torch.atan2(offset @ other, offset @ one)


def turned_targets(found: Symmetry, target: Tensor, angles: Tensor) -> Tensor:
    """Positions (A, Q, K, 3) at each angle and reflection; the angles are those of the turns, or any if free."""
    turned = target[found.turns].expand(len(angles), -1, -1).clone()
    for circle in found.circles:
        moved = _rotated(target[circle.channels].cpu().double(), circle, angles)
        # The angle 0 gives the annotation back to the bit.
        turned[:, circle.channels] = torch.where(
            (angles == 0)[:, None, None].to(target.device), turned[:, circle.channels], moved.to(target)
        )
    return turned[:, found.reflections]


def _rotated(points: Tensor, circle: Circle, angles: Tensor) -> Tensor:
    """Points (M, 3) turned about the circle's axis by each angle: (A, M, 3) float64 (Rodrigues)."""
    offset = points - circle.center
    along = (offset @ circle.normal)[:, None] * circle.normal
    across = offset - along
    side = torch.linalg.cross(circle.normal.expand_as(across), across)
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    return circle.center + along + cos * across + sin * side
