"""Everything a discovery of keypoints depends on, as one frozen dataclass like that of a supervised training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from pcsargmax.core.names import ScheduleName
from pcsargmax.io.axes import parse_axes
from pcsargmax.settings.common import CloudSettings, RotationAxis
from pcsargmax.settings.fields import data_setting, network_setting, objective_setting, setting, training_setting

DiscoverObjective: TypeAlias = Literal["sampling", "soft", "soft_vr", "soft_dr"]
"""How a map becomes keypoints in training."""

#: Names that `objective` can take.
DISCOVER_OBJECTIVES: tuple[DiscoverObjective, ...] = get_args(DiscoverObjective)

#: Named sets of settings that differ from the defaults; what is given explicitly wins over them.
DISCOVER_RECIPES: dict[str, dict[str, Any]] = {
    # A small network and sampling-argmax, with what trains it well in minutes on a CPU.
    "light": {"dropout": 0.0, "epochs": 90, "lr": 4e-3, "lr_schedule": "onecycle", "ema": 0.98},
    # Skeleton Merger as its authors train it; only the last batch of an epoch is not left out.
    "original": {
        "backbone": "original",
        "objective": "soft",
        "dropout": 0.5,
        "edge_spacing": 0.01,
        "separation": 0.0,
        "epochs": 80,
        "batch_size": 8,
        "optimizer": "adadelta",
        "lr": 1.0,
        "lr_schedule": "constant",
        "ema": 0.0,
        "frame": "minmax",
    },
}


@dataclass(frozen=True, kw_only=True)
class DiscoverSettings(CloudSettings):
    """Settings of the unsupervised discovery of keypoints by Skeleton Merger.

    Lengths are in the min-max frame, where the longest side of a cloud is 2; `sigma` is in the file's units.

    Raises:
        ValueError: a setting of another type or out of bounds; it says what was given and what is accepted.

    Example:
        >>> from pcsargmax import DiscoverSettings
        >>> settings = DiscoverSettings(data="airplane", keypoints=40)
        >>> settings.separation_distance  # 1.0 for ten keypoints, half of it for four times as many
        0.5
    """

    data: str = setting("", "Category (airplane, mug, …) below --root, or a folder of your own meshes or clouds.")
    root: str = setting(
        "datasets/keypointnet",
        "Folder in KeypointNet's layout that holds the category, or of ShapeNetCore.v2's HDF5 files.",
    )
    train_split: str = setting(
        "all", "Split to train on: all (the protocol measures on every shape, and no label is used), train or trainval."
    )
    val_split: str = setting(
        "none", "Split whose loss selects the best checkpoint, disjoint from --train-split; 'none' keeps the last one."
    )
    axes: str = data_setting(
        "xyz",
        "Axes of the HDF5 files that become x, y and z, such as -zyx; they face otherwise than KeypointNet's clouds.",
    )
    frame: Literal["auto", "minmax", "centered"] = data_setting(
        "auto",
        "minmax (the paper's: one minimum and maximum over all axes), or centered: the same after the bounding box is "
        "moved to the origin; auto takes centered for folders, whose shapes may lie anywhere.",
    )

    keypoints: int = network_setting(10, "Number of keypoints to discover, k.", at_least=2)
    backbone: Literal["light", "original"] = network_setting(
        "light", "Encoder: light, or original (PointNet++ MSG as in the paper's code)."
    )
    dropout: float = network_setting(0.5, "Share of features dropped before the scores.", at_least=0, below=1)

    objective: DiscoverObjective = setting(
        "sampling",
        "How a map becomes keypoints in training: sampling (sampling-argmax), soft (soft-argmax), soft_vr or soft_dr "
        "(soft-argmax with variance or distribution regularizer).",
    )
    num_samples: int = setting(1, "Samples per keypoint and step, N_s; each is a skeleton of its own.")
    temperature_schedule: ScheduleName = setting("constant")
    temperature_start: float = setting(0.5)
    edge_spacing: float = objective_setting(
        0.03,
        "Distance of neighbouring points of an edge, min-max frame; 0.01 in the paper's code, and slower.",
        above=0,
    )
    separation: float = objective_setting(
        1.0,
        "Keypoints closer to one another than this are pushed apart, min-max frame; scaled by sqrt(10 / k) for k "
        "keypoints; 0 for no penalty, as in the paper.",
        at_least=0,
    )
    separation_weight: float = objective_setting(1.0, "Weight of the separation penalty.", at_least=0)

    epochs: int = setting(40)
    optimizer: Literal["adam", "adadelta"] = training_setting(
        "adam", "adam, or adadelta with eps 0.01 (as in the paper's code, with --lr 1)."
    )
    lr: float = setting(1e-3, "Learning rate; the peak of a one-cycle schedule.")
    lr_schedule: Literal["constant", "onecycle"] = setting("constant")
    patience: int = setting(0, "Stop after this many epochs without a better validation loss; 0 never stops early.")

    rotate: float = setting(0.0, "Largest random rotation, in degrees; 0 for none.")
    rotate_axis: RotationAxis = setting("y", "Axis of the random rotation, up in KeypointNet: {choices}.")
    jitter: float = setting(0.0, "Standard deviation of the noise on each point, in the min-max frame.")

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        super().__post_init__()
        parse_axes(self.axes)

    @property
    def separation_distance(self) -> float:
        """`separation` for this number of keypoints: the more share a surface, the closer they may be."""
        return self.separation * math.sqrt(10 / self.keypoints)
