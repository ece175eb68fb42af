"""The settings that all kinds of training share, those that both kinds on clouds share, and their JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from pcsargmax.core.names import BasisName, Relaxation, ScheduleName
from pcsargmax.io.axes import Frame
from pcsargmax.settings.fields import (
    augmentation_setting,
    data_setting,
    machine_setting,
    objective_setting,
    setting_fields,
    training_setting,
)
from pcsargmax.settings.texts import from_json

Objective: TypeAlias = Literal["sampling", "closed_form", "soft", "discrete", "soft_vr", "soft_dr"]
"""What is minimised; `training.objective` holds what the names mean."""

LrSchedule: TypeAlias = Literal["halving", "steps", "onecycle", "constant"]
"""The schedules of the learning rate; each kind of training has some of them."""

DistanceSetting: TypeAlias = Literal["l1", "l2", "squared_l2", "smooth_l1"]
"""The names of distances; `training.objective.map_distance` gives smooth_l1 its parameter."""

RotationAxis: TypeAlias = Literal["x", "y", "z", "any"]
"""The axes of a random rotation."""

#: Names that `objective` can take.
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

#: Objectives whose loss draws samples.
SAMPLED = ("sampling", "closed_form")

#: Objectives that a map with all its mass on one site makes least; see `objective.expectation_weight`.
SINGLE_SITE = (*SAMPLED, "discrete")

#: Densities around a cell of a map; among the methods of images each stands for sampling-argmax with it.
BASES: tuple[BasisName, ...] = get_args(BasisName)

#: What the objectives are called wherever methods stand beside one another, in the order of the paper's rows.
METHODS = {
    "soft": "soft-argmax",
    "soft_vr": "soft-argmax, V.R.",
    "soft_dr": "soft-argmax, D.R.",
    "discrete": "discrete",
    "closed_form": "closed form",
    "sampling": "sampling",
    "uniform": "uniform basis",
    "triangular": "triangular basis",
    "gaussian": "Gaussian basis",
}

#: The help of the mesh frame, also for commands that read a folder of scans without training.
MESH_FRAME_HELP = "Frame of a folder's meshes, LPS (3D Slicer's default) or RAS."

#: The help of settings that the two supervised kinds share.
DISTANCE_HELP = "Error to minimise: {choices}."
EXPECTATION_WEIGHT_HELP = (
    "Weight of the expectation's error beside that of samples or sites (1 lets keypoints lie between sites); 0 is the "
    "paper's."
)
WEIGHT_DECAY_HELP = "Decoupled weight decay."

#: Settings that may differ when a run is resumed: they do not change what is learnt.
_FREE = {"device", "devices", "nodes", "workers", "precision", "patience", "tensorboard", "epochs"}


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of every kind of training.

    Raises:
        ValueError: a setting of another type or out of bounds; it says what was given and what is accepted.
    """

    data: str = data_setting("", "Name of the data, or a folder of your own.")
    root: str = data_setting("", "Folder that holds the data.")
    train_split: str = data_setting("train", "Split to train on: train, trainval or all.")
    val_split: str = data_setting("val", "Split that selects the best checkpoint; 'none' keeps the last one.")
    shares: tuple[float, float, float] = data_setting(
        (0.7, 0.1, 0.2),
        "Shares of train, val and test in a folder without splits; ratios such as 2,0,1 are normalised.",
    )
    split_seed: int = data_setting(0, "Seed of a folder's splits, if it brings none.")

    objective: Objective = objective_setting("sampling", "Objective: {choices}.")
    num_samples: int = objective_setting(10, "Samples per keypoint and step, N_s.", at_least=1)
    relaxation: Relaxation = objective_setting(
        "gumbel_softmax", "Relaxation of the samples: gumbel_softmax (the paper's), published or straight_through."
    )
    temperature_schedule: ScheduleName = objective_setting(
        "linear", "constant, linear, exponential, or published: max(0.5, 2 - 3e/50) in epoch e."
    )
    temperature_start: float = objective_setting(2.0, "Relaxation temperature at the start.", above=0)
    temperature_end: float = objective_setting(0.5, "Relaxation temperature at the end.", above=0)
    temperature_share: float = objective_setting(
        0.5, "Share of the training over which the temperature is annealed.", above=0, at_most=1
    )
    regularizer_weight: float = objective_setting(1.0, "Weight of the regularizer of soft_vr and soft_dr.", at_least=0)
    target_variance: float = objective_setting(
        1.0, "Target variance of soft_vr and soft_dr, in squares of the basis' width.", above=0
    )

    epochs: int = training_setting(100, "Passes over the training split.", at_least=1)
    batch_size: int = training_setting(8, "Batch size.", at_least=1)
    lr: float = training_setting(1e-3, "Adam's learning rate; the peak of a one-cycle schedule.", above=0)
    lr_schedule: LrSchedule = training_setting("constant", "Schedule of the learning rate: {choices}.")
    ema: float = training_setting(
        0.0, "Decay of the moving average of the weights that is evaluated; 0 for none.", at_least=0, below=1
    )
    patience: int = training_setting(
        0, "Stop after this many epochs without a better validation score; 0 never stops early.", at_least=0
    )
    seed: int = training_setting(0, "Seed of weights, order, augmentation and noise.")

    rotate: float = augmentation_setting(0.0, "Largest random rotation, in degrees.", at_least=0)

    device: Literal["auto", "cpu", "cuda", "mps"] = machine_setting("auto", "{choices}.")
    devices: int = machine_setting(1, "Devices per node.", at_least=1)
    nodes: int = machine_setting(1, "Nodes.", at_least=1)
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = machine_setting("32-true", "{choices}.")
    tensorboard: bool = machine_setting(False, "Write TensorBoard logs too (extra `tensorboard`).")

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        for name, one in setting_fields(type(self)).items():
            one.check(getattr(self, name))

    @property
    def length_matters(self) -> bool:
        """Whether something is made for the length of the training: a one-cycle rate, or an annealed temperature."""
        annealed = self.objective in SAMPLED and self.temperature_schedule in ("linear", "exponential")
        return self.lr_schedule == "onecycle" or annealed

    def changed(self, before: Self) -> list[str]:
        """Names of the settings that differ from those of before, and must not when a run is resumed."""
        free = _FREE - {"epochs"} if self.length_matters else _FREE
        return [
            name
            for name in setting_fields(type(self))
            if name not in free and getattr(self, name) != getattr(before, name)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        values = {name: getattr(self, name) for name in setting_fields(type(self))}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the settings of what `to_dict` returned, in this version or an earlier one.

        Raises:
            ValueError: an unknown key, or a value that is not allowed.
        """
        if unknown := sorted(set(values) - set(setting_fields(cls))):
            raise ValueError(f"settings: unknown keys {unknown}")
        return cls(**{name: from_json(name, value) for name, value in values.items()})

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; an error names the file."""
        try:
            values = json.loads(path.read_text())
            if not isinstance(values, dict):
                raise ValueError(f"settings must be an object, got {values!r}")
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class CloudSettings(RunSettings):
    """The settings of both kinds of training on point clouds."""

    root: str = data_setting("datasets/keypointnet")
    split_seed: int = data_setting(0, "Seed of a folder's splits, if it brings none, and of sampling its surfaces.")
    mesh_frame: Frame = data_setting("LPS", MESH_FRAME_HELP)
    num_points: int = data_setting(2048, "Points sampled from a mesh of your own folder.", at_least=1)

    sigma: float | Literal["auto"] = objective_setting(
        "auto", "Width of the Gaussian basis in file units; auto: each cloud's mean neighbour distance."
    )

    rotate: float = augmentation_setting(0.0, at_most=180)
    rotate_axis: RotationAxis = augmentation_setting("any", "Axis of the random rotation: {choices}.")
    jitter: float = augmentation_setting(0.0, "Standard deviation of the noise on each point.", at_least=0)

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        super().__post_init__()
        if self.sigma == 0 and self.objective in ("soft_vr", "soft_dr"):
            raise ValueError(f"sigma {self.sigma!r}: expected a width above 0, the unit of length of {self.objective}")


def method_name(objective: str, num_samples: int) -> str:
    """What a method is called in tables, figures and pages: its objective or basis, and N_s where it has one."""
    name = METHODS.get(objective, objective)
    return f"{name}, N_s = {num_samples}" if objective in (*SAMPLED, *BASES) else name
