"""Everything a training run depends on, as one frozen dataclass; the command line and the run folder are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pcsargmax.settings.common import OBJECTIVES, SupervisedSettings
from pcsargmax.settings.common import setting as _setting

#: What the lengths of an evaluation are in, in words.
UNITS = {"raw": "raw units", "diagonal": "shares of the bounding-box diagonal"}

#: Names that `symmetry` can take; `training.symmetry` holds the kinds that they stand for.
SYMMETRIES = ("none", "reflection", "rotation", "all")


#: Named sets of settings that differ from the defaults; what is given explicitly wins over them.
RECIPES: dict[str, dict[str, Any]] = {
    # The defaults: Adam 1e-3, halved every 10 of 100 epochs, batches of 8.
    "paper": {},
    # One cycle to a higher rate; the moving average of the weights is what is evaluated.
    "onecycle": {"epochs": 120, "lr": 4.5e-3, "lr_schedule": "onecycle", "ema": 0.99},
    # A small network, trained in minutes on one core; for comparing methods on procedural shapes, and for a first look.
    "light": {"backbone": "light", "epochs": 60, "lr": 6e-3, "lr_schedule": "onecycle", "ema": 0.99},
}


@dataclass(frozen=True)
class TrainSettings(SupervisedSettings):
    """Settings of a supervised training run.

    Lengths (`scale`, `jitter`, …) are in the unit frame, where the bounding-box diagonal is 1; `sigma` is in the
    file's units. Defaults are the paper's where it states one, else those of KeypointNet's own benchmark.

    Raises:
        ValueError: naming the setting, what was expected and what came.

    Example:
        >>> from pcsargmax import TrainSettings
        >>> settings = TrainSettings(data="mug", backbone="light", epochs=60)
        >>> settings.objective, settings.num_samples
        ('sampling', 10)
        >>> TrainSettings.from_dict(settings.to_dict()) == settings
        True
    """

    data: str = _setting("", "Category (airplane, mug, …) below --root, or a folder of your own meshes and landmarks.")
    root: str = _setting("datasets/keypointnet", "Folder in KeypointNet's layout that holds the category.")
    train_split: str = _setting("train", "Split to train on: train, trainval, all.")
    val_split: str = _setting("val", "Split that chooses the best checkpoint, or 'none' to keep the last.")
    mesh_frame: str = _setting("LPS")
    shares: str = _setting("0.7,0.1,0.2")
    split_seed: int = _setting(0)
    ids: str = _setting("", "Semantic ids to learn, such as 0-9 or 0,3,5; empty for all.")
    num_points: int = _setting(2048)
    unit: str = _setting(
        "auto",
        "What 0.01 means in PCK: 'raw' units, or 'diagonal' of the bounding box; auto takes raw for KeypointNet.",
    )

    backbone: str = _setting("fine", "PointNet++ variant: fine, light, ssg, msg.")
    objective: str = _setting(
        "sampling",
        "sampling (sampling-argmax), closed_form (the same, basis noise integrated out), soft (soft-argmax), discrete "
        "(mean error of the points), soft_vr or soft_dr (soft-argmax with variance or distribution regularizer).",
    )
    num_samples: int = _setting(10, "Samples a keypoint and step, N_s.")
    sigma: str = _setting("auto")
    relaxation: str = _setting("gumbel_softmax")
    temperature_schedule: str = _setting("linear")
    temperature_start: float = _setting(2.0)
    temperature_end: float = _setting(0.5)
    temperature_share: float = _setting(0.5)
    distance: str = _setting("l1", "Error that is minimised: l1, l2, squared_l2 or smooth_l1.")
    smooth_l1_beta: float = _setting(0.01, "Error per axis below which smooth_l1 is a parabola, in the unit frame.")
    expectation_weight: float = _setting(0.0)
    regularizer_weight: float = _setting(1.0)
    target_variance: float = _setting(1.0)
    symmetry: str = _setting(
        "none",
        "Learn, of each shape, the labelling of least loss among those that its annotated symmetries allow: none, "
        "reflection, rotation (circles too) or all.",
    )
    presence_weight: float = _setting(
        0.1, "Weight of the loss of the presence head; it never touches the localisation."
    )

    epochs: int = _setting(100)
    batch_size: int = _setting(8)
    lr: float = _setting(1e-3, "Adam's learning rate; the peak of a one-cycle schedule.")
    lr_schedule: str = _setting("halving", "halving (every --lr-period epochs), onecycle or constant.")
    lr_period: int = _setting(10, "Epochs after which the learning rate is halved.")
    weight_decay: float = _setting(0.0, "Decoupled weight decay.")
    ema: float = _setting(0.0)
    patience: int = _setting(0, "Stop after so many epochs without a better validation PCK; 0 never stops early.")
    seed: int = _setting(0)

    rotate: float = _setting(10.0, "Random rotation, degrees at most.")
    rotate_axis: str = _setting("any", "Axis of the random rotation: x, y, z or any.")
    scale: float = _setting(0.1, "Random scale of the whole cloud, 1 ± this.")
    stretch: float = _setting(0.1, "Random scale of each axis by itself, 1 ± this.")
    jitter: float = _setting(0.003, "Noise on each point, standard deviation in the unit frame.")
    mirror: str = _setting("none", "Reflect at random: x, y or z, with the keypoints the annotation pairs; none.")
    drop_points: float = _setting(0.0, "Share of the points left out at random.")

    device: str = _setting("auto")
    devices: int = _setting(1)
    nodes: int = _setting(1)
    precision: str = _setting("32-true")
    tensorboard: bool = _setting(False)

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        self.check_choices(
            unit=("auto", "raw", "diagonal"),
            objective=OBJECTIVES,
            distance=("l1", "l2", "squared_l2", "smooth_l1"),
            lr_schedule=("halving", "onecycle", "constant"),
            mirror=("none", "x", "y", "z"),
            symmetry=SYMMETRIES,
        )
        self.check_counts("num_points", "num_samples", "epochs", "batch_size", "lr_period", "devices", "nodes")
        self.check_positive("lr", "temperature_start", "temperature_end", "smooth_l1_beta", "target_variance")
        self.check_shares("scale", "stretch", "drop_points", "ema")
        self.check_not_negative("rotate", "jitter", "patience")
        self.check_not_negative("expectation_weight", "regularizer_weight", "presence_weight", "weight_decay")
        self.check_common()
        parse_ids(self.ids)


def parse_ids(text: str) -> tuple[int, ...] | None:
    """Read "0-3,7" as (0, 1, 2, 3, 7); an empty text is None, for all."""
    if not text.strip():
        return None
    ids: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            found = range(int(first), int(last) + 1) if dash else [int(first)]
        except ValueError:
            found = []
        if not found:
            raise ValueError(f"ids must look like 0-9 or 0,3,5, got {text!r}")
        ids += found
    return tuple(ids)
