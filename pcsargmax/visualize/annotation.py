"""A data set's item in the form that every viewer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pcsargmax.prediction import Prediction


def annotated(item: Any, keypoint_names: Sequence[str]) -> Prediction:
    """The annotation of a cloud item as a prediction that is certain of it.

    Args:
        item: a cloud item (`torch_geometric.data.Data`) with pos (N, 3), keypoint_pos (1, K, 3) and
            keypoint_visible (1, K).
        keypoint_names: K names.

    Returns:
        A prediction at the annotated positions: its maps have all mass on the nearest point, absent keypoints
        have visibility 0, and there is no truth beside it.

    Raises:
        ValueError: the number of names is not K.
    """
    points = np.asarray(item.pos, dtype=np.float64)
    visible = np.asarray(item.keypoint_visible)[0].astype(bool)
    position = np.where(visible[:, None], np.asarray(item.keypoint_pos, dtype=np.float64)[0], points.mean(axis=0))
    count = len(position)
    if len(keypoint_names) != count:
        raise ValueError(f"keypoint_names: expected {count}, one for each keypoint, got {len(keypoint_names)}")
    nearest = np.array([np.linalg.norm(points - place, axis=1).argmin() for place in position])
    probability = np.zeros((count, len(points)), dtype=np.float32)
    probability[np.flatnonzero(visible), nearest[visible]] = 1.0
    return Prediction(
        name=str(getattr(item, "model_id", "cloud")),
        points=points,
        keypoint_names=tuple(keypoint_names),
        position=position,
        confidence=visible.astype(np.float64),
        covariance=np.zeros((count, 3, 3)),
        visibility=visible.astype(np.float64),
        point_index=nearest,
        probability=probability,
        color=np.asarray(item.color) if getattr(item, "color", None) is not None else None,
    )
