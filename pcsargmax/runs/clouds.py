"""Predictions on clouds, from the maps of a network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch_geometric.data import Data

from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.datasets.sampling import cloud_item
from pcsargmax.io.clouds import read_cloud
from pcsargmax.metrics.geodesic import nearest_index
from pcsargmax.predictions.cloud import Prediction, Surface
from pcsargmax.runs.base import BaseRun
from pcsargmax.settings.common import CloudSettings
from pcsargmax.transforms.frames import to_raw


def predict_cloud_file(
    self: BaseRun[Data, Prediction],
    path: str | Path,
    *,
    num_points: int | None = None,
    seed: int = 0,
    num_samples: int = 0,
) -> Prediction:
    """Predict the keypoints of a mesh or cloud file, in its own units and frame.

    For a mesh the prediction carries the surface, and so, as `on_surface`, the point on it nearest to each keypoint.
    Its faces and vertices are numbered as `read_cloud` returns them.

    Args:
        path: see `pcsargmax.io.read_cloud`.
        num_points: sampled from the file; None takes as many as in training.
        seed: of the sampling, and of the draws.
        num_samples: how many draws of each keypoint's distribution the prediction carries.
    """
    cloud = read_cloud(path)
    settings = cast(CloudSettings, self.settings)
    item = cloud_item(cloud, num_points or settings.num_points, seed, name=str(path))
    generator = torch.Generator().manual_seed(seed)
    prediction = self.predict(item, Path(path).name, num_samples=num_samples, generator=generator)
    nearest = cKDTree(cloud.points).query(prediction.position)[1]
    surface = None if cloud.faces is None else Surface(cloud.points, cloud.faces)
    return dataclasses.replace(prediction, file_index=nearest, surface=surface)


def cloud_prediction(maps: KeypointDistribution, prepared: Data, **own: Any) -> Prediction:
    """Return the prediction, in raw units, that the maps of one cloud make: the expectation of each map.

    Args:
        maps: over the points of the prepared cloud.
        prepared: the cloud in its frame.
        own: fields of the prediction that depend on the kind of run.
    """
    center, scale = prepared.frame_center, prepared.frame_scale
    points, position = to_raw(prepared.pos, center, scale), to_raw(maps.mean[0], center, scale)
    return Prediction(
        points=points.numpy(),
        position=position.numpy(),
        covariance=(maps.covariance[0].double() * scale.square()).numpy(),
        point_index=nearest_index(points, position).numpy(),
        probability=maps.probabilities[0].float().numpy(),
        color=prepared.color.numpy() if "color" in prepared else None,
        **own,
    )


def draw_samples(
    maps: KeypointDistribution, prepared: Data, num_samples: int, generator: torch.Generator | None = None
) -> np.ndarray | None:
    """Return (S, K, 3) float64 draws of the maps of one prepared cloud, in raw units; None for no samples.

    Raises:
        ValueError: a negative number of samples.
    """
    if num_samples < 0:
        raise ValueError(f"num_samples: expected 0 or more, got {num_samples}")
    if num_samples == 0:
        return None
    drawn = maps.sample(num_samples, generator)[0]  # (S, K, 3)
    return to_raw(drawn, prepared.frame_center, prepared.frame_scale).numpy()
