"""A data set's item in the form that every viewer reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from pcsargmax.predictions.cloud import Prediction, Surface, SymmetryMark

#: The one keypoint, absent, of a cloud that has no annotation at all: a prediction has one at least.
NOT_ANNOTATED = "not annotated"

#: The vertical axis, about which rotations go where nothing else is annotated.
_UP = np.array([0.0, 1.0, 0.0])


def annotated(item: Any, keypoint_names: Sequence[str], *, surface: Surface | None = None) -> Prediction:
    """The annotation of a cloud item as a prediction that is certain of it.

    Args:
        item: a cloud item (`torch_geometric.data.Data`) with pos (N, 3), and where it is annotated keypoint_pos
            (1, K, 3) and keypoint_visible (1, K); `color`, `symmetries` and `length_unit` are taken over where they
            are there.
        keypoint_names: K names; those of KeypointNet are semantic ids, which its symmetries name.
        surface: of the mesh that the cloud was sampled from.

    Returns:
        A prediction at the annotated positions: its maps have all mass on the nearest point, absent keypoints
        have visibility 0, and there is no truth beside it. An item without annotation has one absent keypoint,
        `NOT_ANNOTATED`.

    Raises:
        ValueError: the number of names is not K, or a circle of the symmetries is none.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=64)
        >>> mugs = KeypointNet("data", "mug", "all", ids=[0, 3])
        >>> prediction = annotated(mugs[0], mugs.keypoint_names)
        >>> prediction.annotated, prediction.position.shape
        (True, (2, 3))
    """
    points = np.asarray(item.pos, dtype=np.float64)
    places, visible, names = _annotation(item, tuple(keypoint_names))
    position = np.where(visible[:, None], places, points.mean(axis=0))
    count = len(position)
    if len(names) != count:
        raise ValueError(f"keypoint_names: expected {count}, one for each keypoint, got {len(names)}")
    nearest = np.array([np.linalg.norm(points - place, axis=1).argmin() for place in position])
    probability = np.zeros((count, len(points)), dtype=np.float32)
    probability[np.flatnonzero(visible), nearest[visible]] = 1.0
    color, name = getattr(item, "color", None), str(getattr(item, "model_id", None) or "cloud")
    try:
        marks = symmetry_marks(getattr(item, "symmetries", None), names, position, visible)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return Prediction(
        name=name,
        points=points,
        keypoint_names=names,
        position=position,
        confidence=visible.astype(np.float64),
        covariance=np.zeros((count, 3, 3)),
        visibility=visible.astype(np.float64),
        point_index=nearest,
        probability=probability,
        color=None if color is None else np.asarray(color),
        surface=surface,
        symmetries=marks,
        annotated=True,
        length_unit=getattr(item, "length_unit", None),
    )


def symmetry_marks(
    symmetries: Mapping[str, Any] | None, keypoint_names: Sequence[str], position: np.ndarray, visible: np.ndarray
) -> tuple[SymmetryMark, ...]:
    """What is drawn of a model's annotated symmetries.

    Args:
        symmetries: as an item of `KeypointNet` has them, in semantic ids; None or empty: none.
        keypoint_names: K semantic ids as text; ids that are not among them are passed over.
        position: (K, 3), units of the file.
        visible: (K,) bool; keypoints that are absent are passed over.

    Returns:
        A mark for each pair of a reflection, and for each group of a rotation, whose keypoints are in their order
        around its axis: of two keypoints or more that are there, or of one on a circle. A circle without center and
        normal is about the vertical axis, y, through the mean of its keypoints; without radius it is their mean
        distance from the axis.
    """
    here = {name: k for k, name in enumerate(keypoint_names) if visible[k]}
    given = symmetries or {}
    pairs = [_present(pair, here) for pair in given.get("reflection") or ()]
    marks = [SymmetryMark("reflection", tuple(keypoints)) for keypoints in pairs if len(keypoints) > 1]
    for group in given.get("rotation") or ():
        keypoints = _present(group["ids"], here)
        if len(keypoints) > 1 or (keypoints and group["is_circle"]):
            marks.append(_rotation(group, keypoints, position[keypoints]))
    return tuple(marks)


def _rotation(group: Mapping[str, Any], keypoints: Sequence[int], points: np.ndarray) -> SymmetryMark:
    """The mark of a rotation group whose keypoints lie at points (M, 3)."""
    circle = group["circle"] if group["is_circle"] else {}
    center = _vector(circle, "center", points.mean(axis=0))
    normal = _vector(circle, "normal", _UP)
    normal = normal / np.linalg.norm(normal)
    order = tuple(np.asarray(keypoints)[np.argsort(_angles(points, normal), kind="stable")].tolist())
    if not group["is_circle"]:
        return SymmetryMark("rotation", order)
    offset = points - center
    distance = np.linalg.norm(offset - np.outer(offset @ normal, normal), axis=1)
    return SymmetryMark("rotation", order, center, normal, float(circle.get("radius") or distance.mean()))


def _vector(circle: Mapping[str, Any], field: str, otherwise: np.ndarray) -> np.ndarray:
    """The center or normal of a circle, (3,) float64."""
    vector = np.asarray(circle.get(field, otherwise), dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all() or (field == "normal" and not vector.any()):
        raise ValueError(f"symmetries: expected the {field} of a circle as three finite numbers, got {circle[field]!r}")
    return vector


def _annotation(item: Any, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Positions (K, 3), which of them are there (K,), and their names."""
    places = getattr(item, "keypoint_pos", None)
    if places is None or places.shape[1] == 0:
        return np.zeros((1, 3)), np.zeros(1, dtype=bool), (NOT_ANNOTATED,)
    return np.asarray(places, dtype=np.float64)[0], np.asarray(item.keypoint_visible)[0].astype(bool), names


def _present(ids: Sequence[int], here: Mapping[str, int]) -> list[int]:
    """Numbers of the keypoints that are there, each once."""
    return list(dict.fromkeys(here[str(each)] for each in ids if str(each) in here))


def _angles(points: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Angles (M,) of points (M, 3) around an axis (3,) through their mean."""
    one = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    other = np.cross(axis, one)
    offset = points - points.mean(axis=0)
    return cast(np.ndarray, np.arctan2(offset @ other, offset @ one))
