"""Predictions on clouds, from the maps of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch_geometric.data import Data

from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.datasets.sampling import CANDIDATES_PER_POINT, cloud_item
from pcsargmax.io.clouds import read_cloud
from pcsargmax.metrics.geodesic import nearest_index
from pcsargmax.ops.neighbors import farthest_point_order
from pcsargmax.ops.seeds import mix_seed
from pcsargmax.predictions.cloud import Prediction, Surface
from pcsargmax.runs.base import BaseRun
from pcsargmax.runs.prepare import reorder
from pcsargmax.runs.sources import dense_pool
from pcsargmax.runs.stages import Stage
from pcsargmax.settings.common import CloudSettings
from pcsargmax.transforms.frames import to_raw


def predict_cloud_file(
    self: BaseRun[Data, Prediction],
    path: str | Path,
    *,
    num_points: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Prediction:
    """Predict the keypoints of a mesh or cloud file, in its own units and frame.

    For a mesh the prediction carries the surface, and so, as `on_surface`, the point on it nearest to each keypoint.
    Its faces and vertices are numbered as `read_cloud` returns them.

    The file names no unit of length: the prediction has that of the scans of the training, if they had one.

    Args:
        path: see `pcsargmax.io.read_cloud`.
        num_points: sampled from the file; None takes as many as in training.
        seed: of the sampling, and of the draws.
        options: of `predict`.
    """
    cloud = read_cloud(path)
    settings = cast(CloudSettings, self.settings)
    dense_points = dense_pool(settings, options.get("copies", 1))
    item = cloud_item(cloud, num_points or settings.num_points, seed, name=str(path), dense_points=dense_points)
    generator = torch.Generator().manual_seed(seed)
    prediction = self.predict(item, Path(path).name, generator=generator, **options)
    nearest = cKDTree(cloud.points).query(prediction.position)[1]
    surface = None if cloud.faces is None else Surface(cloud.points, cloud.faces)
    return dataclasses.replace(prediction, file_index=nearest, surface=surface, length_unit=self.length_unit)


def cloud_prediction(
    maps: KeypointDistribution, prepared: Data, *, stages: Sequence[Stage] = (), **own: Any
) -> Prediction:
    """Return the prediction, in raw units, that the maps of one cloud make.

    Args:
        maps: over the points of the prepared cloud.
        prepared: the cloud in its frame.
        stages: in which the keypoints were placed, the last of which is the result; none: the expectation of each map.
        own: fields of the prediction that depend on the kind of run.
    """
    center, scale = prepared.frame_center, prepared.frame_scale
    stages = stages or [Stage("map", maps.mean, maps.covariance)]
    points = to_raw(prepared.pos, center, scale)
    positions = torch.stack([to_raw(stage.mean[0], center, scale) for stage in stages])
    position = positions[-1]
    return Prediction(
        points=points.numpy(),
        position=position.numpy(),
        covariance=(stages[-1].covariance[0].double() * scale.square()).numpy(),
        stages=tuple(stage.name for stage in stages),
        stage_positions=positions.numpy(),
        point_index=nearest_index(points, position).numpy(),
        probability=maps.probabilities[0].float().numpy(),
        color=prepared.color.numpy() if "color" in prepared else None,
        length_unit=prepared.get("length_unit"),
        **own,
    )


#: What an item knows of each of its points.
_OF_POINTS = ("pos", "color", "normal", "keypoint_site")


def cloud_copies(item: Data, count: int) -> Iterator[Data]:
    """Yield copies of a cloud item that are other samples of the same shape; deterministic.

    Where it has dense points each takes others of them, thinned to as many points as the item has; else the same
    points in the farthest-point order from another start.
    """
    if count < 0:
        raise ValueError(f"copies: expected 1 or more, got {count + 1}")
    for number in range(count):
        generator = torch.Generator().manual_seed(mix_seed(number, item.num_nodes))
        if "dense_pos" not in item:
            start = int(torch.randint(item.num_nodes, (1,), generator=generator))
            yield reorder(item, farthest_point_order(item.pos, start=start))
            continue
        pool = item.dense_pos[torch.randperm(len(item.dense_pos), generator=generator)]
        thin = pool[: CANDIDATES_PER_POINT * item.num_nodes]
        # What belongs to the points of the item does not belong to these.
        other = Data(**{key: value for key, value in item.to_dict().items() if key not in _OF_POINTS})
        # From the first, a random one, so that copies differ where all of a small pool is thinned.
        other.pos = thin[farthest_point_order(thin, start=0, count=min(item.num_nodes, len(thin)))]
        other.dense_pos, other.farthest_order = pool, True
        yield other


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
