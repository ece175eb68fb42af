"""Everything a discovery of keypoints depends on, as one frozen dataclass like that of a supervised training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pcsargmax.io.axes import parse_axes
from pcsargmax.settings.common import RunSettings
from pcsargmax.settings.common import setting as _setting

#: Names that `objective` can take.
DISCOVER_OBJECTIVES = ("sampling", "soft", "soft_vr", "soft_dr")

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


@dataclass(frozen=True)
class DiscoverSettings(RunSettings):
    """Settings of the unsupervised discovery of keypoints by Skeleton Merger.

    Lengths are in the min-max frame, where the longest side of a cloud is 2; `sigma` is in the file's units.

    Raises:
        ValueError: naming the setting, what was expected and what came.

    Example:
        >>> from pcsargmax import DiscoverSettings
        >>> settings = DiscoverSettings(data="airplane", keypoints=40)
        >>> settings.separation_distance  # 1.0 for ten keypoints, half of it for four times as many
        0.5
    """

    data: str = _setting("", "Category (airplane, mug, …) below --root, or a folder of your own meshes or clouds.")
    root: str = _setting(
        "datasets/keypointnet",
        "Folder in KeypointNet's layout that holds the category, or of ShapeNetCore.v2's HDF5 files.",
    )
    train_split: str = _setting(
        "all", "Split to train on: all (the protocol measures on every shape, and no label is used), train, trainval."
    )
    val_split: str = _setting(
        "none", "Split whose loss chooses the best checkpoint, apart from --train-split; 'none' keeps the last."
    )
    mesh_frame: str = _setting("LPS")
    shares: str = _setting("0.7,0.1,0.2")
    split_seed: int = _setting(0)
    num_points: int = _setting(2048)
    axes: str = _setting(
        "xyz",
        "Of the HDF5 files: which of their axes become x, y and z, such as -zyx; they face otherwise than "
        "KeypointNet's clouds.",
    )
    frame: str = _setting(
        "auto",
        "minmax (the paper's: one minimum and maximum over all axes), or centered: the same after the bounding box is "
        "moved to the origin; auto takes centered for folders, whose shapes may lie anywhere.",
    )

    keypoints: int = _setting(10, "Keypoints to discover, k.")
    backbone: str = _setting("light", "Encoder: light, or original (PointNet++ MSG as in the paper's code).")
    dropout: float = _setting(0.5, "Share of features dropped before the scores.")
    objective: str = _setting(
        "sampling",
        "How a map becomes keypoints in training: sampling (sampling-argmax), soft (soft-argmax), soft_vr or soft_dr "
        "(soft-argmax with variance or distribution regularizer).",
    )
    num_samples: int = _setting(1, "Samples a keypoint and step, N_s; each is a skeleton of its own.")
    sigma: str = _setting("auto")
    relaxation: str = _setting("gumbel_softmax")
    temperature_schedule: str = _setting("constant")
    temperature_start: float = _setting(0.5)
    temperature_end: float = _setting(0.5)
    temperature_share: float = _setting(0.5)
    regularizer_weight: float = _setting(1.0)
    target_variance: float = _setting(1.0)

    edge_spacing: float = _setting(
        0.03, "Distance of neighbouring points of an edge, min-max frame; 0.01 in the paper's code, and slower."
    )
    separation: float = _setting(
        1.0,
        "Keypoints nearer to one another than this are pushed apart, min-max frame; of ten keypoints, of k times "
        "sqrt(10 / k); 0 for not, as in the paper.",
    )
    separation_weight: float = _setting(1.0, "Weight of that.")

    epochs: int = _setting(40)
    batch_size: int = _setting(8)
    optimizer: str = _setting("adam", "adam, or adadelta with eps 0.01 (as in the paper's code, with --lr 1).")
    lr: float = _setting(1e-3, "Learning rate; the peak of a one-cycle schedule.")
    lr_schedule: str = _setting("constant", "constant or onecycle.")
    ema: float = _setting(0.0)
    patience: int = _setting(0, "Stop after so many epochs without a better validation loss; 0 never stops early.")
    seed: int = _setting(0)

    rotate: float = _setting(0.0, "Random rotation, degrees at most; 0 for none.")
    rotate_axis: str = _setting("y", "Axis of the random rotation, up in KeypointNet: x, y, z or any.")
    jitter: float = _setting(0.0, "Noise on each point, standard deviation in the min-max frame.")

    device: str = _setting("auto")
    devices: int = _setting(1)
    nodes: int = _setting(1)
    precision: str = _setting("32-true")
    tensorboard: bool = _setting(False)

    @property
    def separation_distance(self) -> float:
        """`separation` for this number of keypoints: the more share a surface, the nearer they may be."""
        return self.separation * math.sqrt(10 / self.keypoints)

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        self.check_choices(
            frame=("auto", "minmax", "centered"),
            backbone=("light", "original"),
            objective=DISCOVER_OBJECTIVES,
            optimizer=("adam", "adadelta"),
            lr_schedule=("constant", "onecycle"),
        )
        self.check_counts("num_points", "num_samples", "epochs", "batch_size", "devices", "nodes")
        if self.keypoints < 2:
            raise ValueError(f"keypoints must be at least 2, the ends of an edge, got {self.keypoints}")
        self.check_positive("lr", "temperature_start", "temperature_end", "target_variance", "edge_spacing")
        self.check_shares("dropout", "ema")
        self.check_not_negative("rotate", "jitter", "patience", "regularizer_weight", "separation", "separation_weight")
        self.check_common()
        parse_axes(self.axes)
