"""What the browser needs of a prediction, packed small: points, maps, keypoints, samples, edges."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds.drawing import strong_edges
from pcsargmax.visualize.clouds.geometry import covariance_axes
from pcsargmax.visualize.palette import EDGE_COLOR, TRUTH_COLOR, keypoint_color, probability_scale, rgb_to_hex

#: Clouds of more points are thinned on the page (their files are not).
MAX_POINTS = 20_000


class PageScores(NamedTuple):
    """One number a shape, by which a page can put its shapes in order.

    Attributes:
        name: what it is, in words.
        values: as many as there are shapes; None where a shape has none.
        low_is_best: whether the best shapes are those of low score.
        share: whether it is told in per cent.
    """

    name: str
    values: Sequence[float | None]
    low_is_best: bool = True
    share: bool = False


def page_data(
    predictions: Sequence[Prediction],
    *,
    others: Sequence[Prediction] | None = None,
    titles: tuple[str, str] = ("", ""),
    keypoint: str | int | None = None,
    min_visibility: float = 0.5,
    scores: PageScores | None = None,
    truth_name: str = "truth",
) -> dict[str, Any]:
    """Everything that clouds.js draws, JSON-able.

    Args:
        predictions: one a shape.
        others: of a second method on the same shapes, shown beside the first.
        titles: of the two methods.
        keypoint: name or number of the keypoint whose map is shown first; None: the largest of all.
        min_visibility: keypoints less likely than this to be on the cloud are listed as absent, not drawn.
        scores: by which the shapes can be put in order.
        truth_name: what the truth is called.

    Raises:
        ValueError: no prediction, no such keypoint, or sets that do not belong together.
    """
    check_sets(predictions, others, scores)
    scale = probability_scale()[::17]
    return {
        "truth": TRUTH_COLOR,
        "truthName": truth_name,
        "edge": EDGE_COLOR,
        "scale": [[i / (len(scale) - 1), rgb_to_hex(color)] for i, color in enumerate(scale)],
        "titles": list(titles),
        "keypoint": -1 if keypoint is None else predictions[0].keypoint_number(keypoint),
        "shapes": [_shape(one, min_visibility) for one in predictions],
        "others": None
        if others is None
        else [_beside(one, first, min_visibility) for one, first in zip(others, predictions, strict=True)],
        "scores": None if scores is None else scores._asdict(),
    }


def check_sets(
    predictions: Sequence[Any], others: Sequence[Any] | None, scores: PageScores | None, items: str = "shapes"
) -> None:
    """Raise ValueError without predictions, or if others or scores are not those of the same items in their order."""
    if not predictions:
        raise ValueError("predictions: expected at least one, got none")
    for name, found in (("others", others), ("scores", None if scores is None else scores.values)):
        if found is not None and len(found) != len(predictions):
            raise ValueError(f"{name}: expected {len(predictions)}, one for each prediction, got {len(found)}")
    for one, other in zip(predictions, others or [], strict=False):
        if one.name != other.name:
            raise ValueError(
                f"others: expected the {items} of predictions in their order, {one.name}; got {other.name}"
            )


def _shape(prediction: Prediction, min_visibility: float) -> dict[str, Any]:
    """What clouds.js needs of one prediction: positions from the cloud's middle, in the units of the file."""
    keep = _kept_points(prediction)
    points, maps = prediction.points[keep], prediction.probability[:, keep]
    low, high = prediction.points.min(axis=0), prediction.points.max(axis=0)
    center, step = (low + high) / 2, float((high - low).max() / 65534) or 1.0
    # Below chance a map only has noise, and zeros pack well: 200 shapes of 20 maps stay a few megabytes.
    chance = 1.0 / len(prediction.points)
    peaks = np.maximum(maps.max(axis=1), 0.0)
    thinned = len(keep) < len(prediction.points)
    reach = float(np.linalg.norm(np.concatenate([points, prediction.position]) - center, axis=1).max()) or 1.0
    samples = prediction.samples
    return {
        "name": prediction.name,
        "annotated": prediction.annotated,
        "count": len(keep),
        "points": pack(_steps(points - center, step)),
        "step": step,
        "reach": reach,
        "maps": pack(levels(maps, peaks, chance)),
        "peaks": [float(f"{peak:.7g}") for peak in peaks],
        "chance": chance,
        "index": keep.tolist() if thinned else None,
        "keypoints": _keypoints(prediction, center, min_visibility),
        "unit": prediction.unit_text,
        "coverage": None if prediction.radius is None else prediction.radius_coverage,
        "samples": None if samples is None else {"count": len(samples), **_packed(samples - center)},
        "edges": _edges(prediction, center, min_visibility),
        "note": f"{len(keep)} of {len(prediction.points)} points are shown." if thinned else "",
    }


def _beside(prediction: Prediction, first: Prediction, min_visibility: float) -> dict[str, Any]:
    """The same of a second method; "points" is None where they are those of the first, so that none is kept twice."""
    shape = _shape(prediction, min_visibility)
    if len(first.points) <= MAX_POINTS and np.array_equal(prediction.points, first.points):
        shape["points"] = None
    return shape


def _steps(offsets: np.ndarray, step: float) -> np.ndarray:
    """(3, ...) little-endian 16-bit numbers of steps: the last axis of the offsets first."""
    return np.ascontiguousarray(np.moveaxis(np.round(offsets / step).astype("<i2"), -1, 0))


def _kept_points(prediction: Prediction) -> np.ndarray:
    """Rows of the points that the page shows: all, or evenly many with the keypoints' own among them."""
    n = len(prediction.points)
    if n <= MAX_POINTS:
        return np.arange(n)
    even = np.linspace(0, n - 1, MAX_POINTS - prediction.num_keypoints).astype(int)
    return np.unique(np.concatenate([even, prediction.point_index]))


def levels(maps: np.ndarray, peaks: np.ndarray, chance: float) -> np.ndarray:
    """(K, N) uint8: 0 below chance, else 1 to 255 in equal ratios from chance to the map's peak."""
    span = np.log(np.maximum(peaks / chance, 1.0))[:, None]
    place = np.log(np.maximum(maps, 1e-30) / np.maximum(peaks, 1e-30)[:, None]) / np.maximum(span, 1e-9)
    return np.where(maps < chance, 0, np.clip(np.round(255 + 254 * place), 1, 255)).astype(np.uint8)


def _packed(offsets: np.ndarray) -> dict[str, Any]:
    """Offsets (..., 3) in steps of 1/32767 of their own reach."""
    step = float(np.abs(offsets).max(initial=0.0) / 32767) or 1.0
    return {"step": step, "packed": pack(_steps(offsets, step))}


def _keypoints(prediction: Prediction, center: np.ndarray, min_visibility: float) -> list[dict[str, Any]]:
    axes, error, radius = covariance_axes(prediction.covariance), prediction.error, prediction.radius
    truth = np.full_like(prediction.position, np.nan) if prediction.truth is None else prediction.truth
    return [
        {
            "name": name,
            "color": keypoint_color(k),
            "seen": bool(prediction.visibility[k] >= min_visibility),
            "confidence": None if prediction.annotated else short(prediction.confidence[k]) or 0.0,
            "position": prediction.position[k].tolist(),
            "local": short(prediction.position[k] - center),
            "truth": short(truth[k] - center) if np.isfinite(truth[k]).all() else None,
            "error": None if error is None else short(error[k]),
            "radius": None if radius is None else short(radius[k]),
            "axes": short(axes[k]),
        }
        for k, name in enumerate(prediction.keypoint_names)
    ]


def _edges(prediction: Prediction, center: np.ndarray, min_visibility: float) -> dict[str, Any] | None:
    """The edges of a skeleton that are not faint, packed: of each its ends and every second point; None without any."""
    edges = strong_edges(prediction, np.flatnonzero(prediction.visibility >= min_visibility))
    if not edges:
        return None
    points = [np.concatenate([edge.ends, edge.points[::2]]) for edge in edges]
    return {
        "strength": short([edge.strength for edge in edges]),
        "counts": [len(one) for one in points],
        **_packed(np.concatenate(points) - center),
    }


def short(value: Any) -> Any:
    """Nested lists of numbers with 7 digits, None where not finite."""
    if np.ndim(value):
        return [short(each) for each in value]
    return float(f"{value:.7g}") if np.isfinite(value) else None


def pack(array: np.ndarray) -> str:
    """An array's bytes, compressed, as text."""
    return base64.b64encode(zlib.compress(array.tobytes())).decode()
