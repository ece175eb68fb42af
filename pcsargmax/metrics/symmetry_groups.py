"""What an annotation of symmetries allows: relabelings and turns of one model. The rules stand in `symmetry`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Kind = Literal["reflection", "rotation"]

#: The kinds of symmetry that an annotation can hold; circles are rotations.
KINDS: tuple[Kind, ...] = ("reflection", "rotation")

#: The vertical axis of KeypointNet's models.
_UP = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


class Circle(NamedTuple):
    """Channels on a circle, and its axis: a point and a unit vector, (3,) float64."""

    channels: list[int]
    center: Tensor
    normal: Tensor


class Symmetry(NamedTuple):
    """What an annotation allows.

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
    """Check the arguments and find what the annotation allows."""
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
    reflections = _reflections(given.get("reflection") or () if "reflection" in kinds else (), here, len(channels))
    groups = given.get("rotation") or () if "rotation" in kinds else ()
    _check_rotations(groups)
    circles = _circles([group for group in groups if group["is_circle"]], here, keypoints)
    axis = circles[0].normal if circles else _UP
    turning = [group["ids"] for group in groups if not group["is_circle"] and len(group["ids"]) > 1]
    turns = _turns(turning, here, len(channels), keypoints, axis)
    if turning and len(turns) == 1:  # held down by them: the circles cannot turn either
        circles = []
    device = visible.device
    return Symmetry(reflections.to(device), turns.to(device), circles, bool(circles) and not turning)


def _reflections(groups: Sequence[Sequence[int]], here: Mapping[int, int], size: int) -> Tensor:
    """(Q, K) relabelings by the reflections of which all keypoints are there, one plane or several at once."""
    planes: list[list[Sequence[int]]] = []
    for group in groups:
        if len(group) > 2:
            raise ValueError(
                f"symmetries: a reflection group must be two semantic ids, which it exchanges, got {group}"
            )
        if len(set(group)) < 2:
            continue
        free = (plane for plane in planes if not set(group) & {i for other in plane for i in other})
        plane = next(free, None)
        if plane is None:
            planes.append([group])
        else:
            plane.append(group)
    found = torch.arange(size)[None]
    for plane in planes:
        if all(i in here for group in plane for i in group):
            image = torch.arange(size)
            for first, second in plane:
                image[here[first]], image[here[second]] = here[second], here[first]
            found = torch.cat([found, found[:, image]])
    return found


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
        # All to one side, so that one angle turns all circles alike.
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
