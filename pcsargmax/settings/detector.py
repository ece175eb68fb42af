"""Everything a training run depends on, as one frozen dataclass; the command line and the run folder are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pcsargmax.settings.common import (
    DISTANCE_HELP,
    EXPECTATION_WEIGHT_HELP,
    WEIGHT_DECAY_HELP,
    CloudSettings,
    DistanceSetting,
    Objective,
)
from pcsargmax.settings.fields import (
    augmentation_setting,
    data_setting,
    network_setting,
    objective_setting,
    setting,
    training_setting,
)

Symmetry: TypeAlias = Literal["none", "reflection", "rotation", "all"]
"""The names of sets of symmetries; `runs.symmetry` holds the kinds that they stand for."""

#: What the lengths of an evaluation are in, in words.
UNITS = {"raw": "raw units", "diagonal": "shares of the bounding-box diagonal"}


#: Named sets of settings that differ from the defaults; what is given explicitly wins over them.
RECIPES: dict[str, dict[str, Any]] = {
    # The defaults: Adam 1e-3, halved every 10 of 100 epochs, batches of 8.
    "paper": {},
    # One cycle to a higher rate; the moving average of the weights is what is evaluated.
    "onecycle": {"epochs": 120, "lr": 4.5e-3, "lr_schedule": "onecycle", "ema": 0.99},
    # Two looks and the shape prior. `recommend` adds what depends on the data.
    "accurate": {
        "samples": 4,
        "backbone": "light",
        "looks": 2,
        "epochs": 60,
        "lr": 4.5e-3,
        "lr_schedule": "onecycle",
        "ema": 0.99,
        "expectation_weight": 1.0,
        "shape_prior": "auto",
        "warp": 0.03,
    },
    # A small network, trained in minutes on one core; for comparing methods on procedural shapes, and for a first look.
    "light": {"backbone": "light", "epochs": 60, "lr": 6e-3, "lr_schedule": "onecycle", "ema": 0.99},
}


@dataclass(frozen=True, kw_only=True)
class TrainSettings(CloudSettings):
    """Settings of a supervised training run.

    Lengths (`scale`, `jitter`, …) are in the unit frame, where the bounding-box diagonal is 1; `sigma` is in the
    file's units. Defaults are the paper's where it states one, else those of KeypointNet's own benchmark.

    Raises:
        ValueError: a setting of another type or out of bounds; it says what was given and what is accepted.

    Example:
        >>> from pcsargmax import TrainSettings
        >>> settings = TrainSettings(data="mug", backbone="light", epochs=60)
        >>> settings.objective, settings.num_samples
        ('sampling', 10)
        >>> TrainSettings.from_dict(settings.to_dict()) == settings
        True
    """

    data: str = setting("", "Category (airplane, mug, …) below --root, or a folder of your own meshes and landmarks.")
    root: str = setting("datasets/keypointnet", "Folder in KeypointNet's layout that holds the category.")
    ids: tuple[int, ...] | None = data_setting(None, "Semantic ids to learn, such as 0-9 or 0,3,5; empty for all.")
    unit: Literal["auto", "raw", "diagonal"] = data_setting(
        "auto",
        "Unit of PCK's thresholds: 'raw' units, or 'diagonal' of the bounding box; auto takes raw for KeypointNet.",
    )

    samples: int = data_setting(
        1, "Samples of each training surface or cloud; every epoch takes the next one.", at_least=1
    )
    dense_points: int = data_setting(
        8192,
        "Points of a mesh or cloud that the second look chooses from; in training others in every epoch.",
        at_least=1,
    )

    backbone: Literal["fine", "light", "ssg", "msg"] = network_setting("fine", "PointNet++ variant: {choices}.")
    looks: int = network_setting(
        1,
        "1: maps over the points, as in the paper; 2: then a second look at the points near each keypoint.",
        at_least=1,
        at_most=2,
    )
    look_points: int = network_setting(128, "Points near each keypoint that the second look takes.", at_least=1)
    template_start: bool = network_setting(
        False, "Start the maps at the template, for shapes that share an orientation."
    )

    objective: Objective = setting(
        "sampling",
        "sampling (sampling-argmax), closed_form (the same, basis noise integrated out), soft (soft-argmax), discrete "
        "(mean error of the points), soft_vr or soft_dr (soft-argmax with variance or distribution regularizer).",
    )
    distance: DistanceSetting = objective_setting("l1", DISTANCE_HELP)
    smooth_l1_beta: float = objective_setting(
        0.01, "Error per axis below which smooth_l1 is a parabola, in the unit frame.", above=0
    )
    expectation_weight: float = objective_setting(0.0, EXPECTATION_WEIGHT_HELP, at_least=0)
    look_objective: Literal["same", Objective] = objective_setting(
        "same",
        "Objective of the second look: same (that of the first), sampling, closed_form, soft, discrete, soft_vr or "
        "soft_dr.",
    )
    look_noise: float = objective_setting(
        0.008,
        "Standard deviation of the centers around which the second look is trained, in the unit frame.",
        at_least=0,
    )
    shape_prior: Literal["auto", "none"] = objective_setting(
        "none", "auto: combine the keypoints with the shape prior where cross-validation says that it helps; none."
    )
    symmetry: Symmetry = objective_setting(
        "none",
        "Learn, of each shape, the labelling of least loss among those that its annotated symmetries allow: none, "
        "reflection, rotation (circles too) or all.",
    )
    presence_weight: float = objective_setting(
        0.1, "Weight of the loss of the presence head; it never touches the localisation.", at_least=0
    )

    lr_schedule: Literal["halving", "onecycle", "constant"] = setting(
        "halving", "halving (every --lr-period epochs), onecycle or constant."
    )
    lr_period: int = training_setting(10, "Epochs after which the learning rate is halved.", at_least=1)
    folds: int = training_setting(
        0,
        "Without a validation split: train as many times more, without a part of the shapes each, and fit shape prior, "
        "confidence and radius to these; 0: do not.",
        at_least=0,
    )
    weight_decay: float = training_setting(0.0, WEIGHT_DECAY_HELP, at_least=0)
    patience: int = setting(0, "Stop after this many epochs without a better validation PCK; 0 never stops early.")

    rotate: float = setting(10.0)
    scale: float = augmentation_setting(0.1, "Random scale of the whole cloud, 1 ± this.", at_least=0, below=1)
    stretch: float = augmentation_setting(0.1, "Random scale of each axis by itself, 1 ± this.", at_least=0, below=1)
    warp: float = augmentation_setting(
        0.0, "Random smooth bending: standard deviation of its bumps, in the unit frame.", at_least=0
    )
    jitter: float = setting(0.003, "Standard deviation of the noise on each point, in the unit frame.")
    mirror: Literal["none", "x", "y", "z"] = augmentation_setting(
        "none", "Reflect at random along x, y or z, exchanging the keypoints that the annotation pairs; none."
    )
    drop_points: float = augmentation_setting(0.0, "Share of the points dropped at random.", at_least=0, below=1)

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        super().__post_init__()
        if self.folds == 1:
            raise ValueError("folds 1: expected 0, or at least 2, as one training is made without each fold")
        if self.folds and self.val_split != "none":
            raise ValueError(
                f"folds {self.folds}: expected val_split 'none', got {self.val_split!r}, which serves in their place; "
                "set val_split to 'none', or folds to 0"
            )
        if self.symmetry != "none" and (self.folds or self.shape_prior != "none"):
            name, off = ("folds", 0) if self.folds else ("shape_prior", "none")
            raise ValueError(
                f"{name} {getattr(self, name)!r}: expected symmetry 'none', got {self.symmetry!r}; set {name} to "
                f"{off!r}, or symmetry to 'none'"
            )
