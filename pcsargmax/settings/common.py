"""What the settings of every kind of training have in common: JSON and back, checks, the fields that a loop needs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Any, Self, get_type_hints

#: Settings that may differ when a run is resumed: they do not change what is learnt.
_FREE = {"device", "devices", "nodes", "workers", "precision", "patience", "tensorboard", "epochs"}

#: Choices that mean the same in every kind of training.
_CHOICES: dict[str, tuple[str, ...]] = {
    "mesh_frame": ("LPS", "RAS"),
    "relaxation": ("gumbel_softmax", "published", "straight_through"),
    "temperature_schedule": ("constant", "linear", "exponential", "published"),
    "rotate_axis": ("x", "y", "z", "any"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("32-true", "16-mixed", "bf16-mixed"),
}

#: Objectives whose loss draws samples.
SAMPLED = ("sampling", "closed_form")

#: Objectives that a map with all its mass on one site makes least; see `objective.expectation_weight`.
SINGLE_SITE = (*SAMPLED, "discrete")

#: Densities around a cell of a map; among the methods of images each stands for sampling-argmax with it.
BASES = ("uniform", "triangular", "gaussian")

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

#: What the frame of meshes is, said the same by every command that reads a folder of scans.
MESH_FRAME_HELP = "Frame of a folder's meshes, LPS (3D Slicer's default) or RAS."

#: What a setting says on the command line that means the same in every kind of training.
_HELP = {
    "mesh_frame": MESH_FRAME_HELP,
    "shares": "Shares of train, val and test in a folder that brings no splits; 2,0,1 counts too.",
    "split_seed": "Seed of a folder's splits, if it brings none, and of the sampling of its surfaces.",
    "num_points": "Points sampled from a mesh of your own folder.",
    "sigma": "Width of the Gaussian basis in the file's units; auto: each cloud's mean neighbour distance.",
    "relaxation": "How samples are relaxed: gumbel_softmax (the paper's), published or straight_through.",
    "temperature_schedule": "constant, linear, exponential, or published: max(0.5, 2 - 3e/50) in epoch e.",
    "temperature_start": "Relaxation temperature at the start.",
    "temperature_end": "Relaxation temperature at the end.",
    "temperature_share": "Share of the training over which the temperature anneals.",
    "expectation_weight": "Weight of the expectation's error beside that of samples or sites (1 lets keypoints lie "
    "between sites); 0 is the paper's.",
    "regularizer_weight": "Weight of the regularizer of soft_vr and soft_dr.",
    "target_variance": "Variance that soft_vr and soft_dr aim at, in squares of the basis' width.",
    "epochs": "Passes over the training split.",
    "batch_size": "Clouds a step.",
    "ema": "Decay of the moving average of the weights that is evaluated; 0 for none.",
    "seed": "Seed of weights, order, augmentation and noise.",
    "device": "auto, cpu, cuda or mps.",
    "devices": "Devices on each node.",
    "nodes": "Nodes.",
    "precision": "32-true, 16-mixed or bf16-mixed.",
    "tensorboard": "Write TensorBoard logs too (extra `tensorboard`).",
}


def setting(default: Any, help: str = "") -> Any:
    """A field of a settings class: its default, and its text on the command line where that is not a common one."""
    return field(default=default, metadata={"help": help})


class RunSettings:
    """The parent of frozen dataclasses of settings; it brings no field of its own, only says which ones they have."""

    data: str
    root: str
    train_split: str
    val_split: str
    num_points: int
    split_seed: int
    shares: str
    mesh_frame: str
    objective: str
    num_samples: int
    sigma: str
    relaxation: str
    temperature_schedule: str
    temperature_start: float
    temperature_end: float
    temperature_share: float
    regularizer_weight: float
    target_variance: float
    epochs: int
    batch_size: int
    lr: float
    lr_schedule: str
    ema: float
    patience: int
    seed: int
    rotate: float
    rotate_axis: str
    jitter: float
    device: str
    devices: int
    nodes: int
    precision: str
    tensorboard: bool

    @property
    def length_matters(self) -> bool:
        """Whether something is made for the length of the training: a one-cycle rate, or an annealed temperature."""
        annealed = self.objective in SAMPLED and self.temperature_schedule in ("linear", "exponential")
        return self.lr_schedule == "onecycle" or annealed

    def changed(self, before: Self) -> list[str]:
        """Names of the settings that differ from those of before, and must not when a run is resumed."""
        free = _FREE - {"epochs"} if self.length_matters else _FREE
        old, new = before.to_dict(), self.to_dict()
        return [name for name in old if name not in free and old[name] != new[name]]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make settings from what `to_dict` gave.

        Raises:
            ValueError: an unknown key, or a value of the wrong type.
        """
        types = setting_types(cls)
        if unknown := sorted(set(values) - set(types)):
            raise ValueError(f"settings: unknown keys {unknown}")
        for name, value in values.items():
            accepted = (float, int) if types[name] is float else types[name]
            if not isinstance(value, accepted) or (isinstance(value, bool) and types[name] is not bool):
                raise ValueError(f"settings: {name} must be {types[name].__name__}, got {value!r}")
        return cls(**values)

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

    def check_choices(self, **choices: tuple[str, ...]) -> None:
        """Raise ValueError for a setting that is none of its choices, these or the common ones, or is not finite."""
        common = {name: allowed for name, allowed in _CHOICES.items() if hasattr(self, name)}
        for name, allowed in (common | choices).items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name, value in self.to_dict().items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")

    def check_counts(self, *names: str) -> None:
        """Raise ValueError for a count below 1."""
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def check_positive(self, *names: str) -> None:
        """Raise ValueError for a number that is not above 0."""
        for name in names:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def check_shares(self, *names: str) -> None:
        """Raise ValueError for a number outside [0, 1)."""
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")

    def check_not_negative(self, *names: str) -> None:
        """Raise ValueError for a number below 0."""
        for name in names:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def check_common(self) -> None:
        """Check what every kind of training has: annealing, rotation, width of the basis, shares of the splits."""
        if not 0 < self.temperature_share <= 1:
            raise ValueError(f"temperature_share must be above 0 and at most 1, got {self.temperature_share}")
        if self.rotate > 180:
            raise ValueError(f"rotate must be at most 180 degrees, got {self.rotate}")
        _check_sigma(self.sigma, self.objective)
        parse_shares(self.shares)


class SupervisedSettings(RunSettings):
    """Settings of a training on annotated keypoints or surfaces; like its parent it only declares its fields."""

    distance: str
    smooth_l1_beta: float
    expectation_weight: float
    weight_decay: float


def setting_help(settings: type[RunSettings]) -> dict[str, str]:
    """The text of each setting of a class on the command line."""
    return {f.name: f.metadata["help"] or _HELP[f.name] for f in fields(settings)}  # type: ignore[arg-type]


def method_name(objective: str, num_samples: int) -> str:
    """What a method is called in tables, figures and pages: its objective or basis, and N_s where it has one."""
    name = METHODS.get(objective, objective)
    return f"{name}, N_s = {num_samples}" if objective in (*SAMPLED, *BASES) else name


def setting_types(settings: type[RunSettings]) -> dict[str, type]:
    """The type of each setting of a class."""
    types = get_type_hints(settings)
    return {f.name: types[f.name] for f in fields(settings)}  # type: ignore[arg-type]


def parse_shares(text: str) -> tuple[float, float, float]:
    """Read "0.7,0.1,0.2" as three numbers."""
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"shares must be three numbers with commas between, got {text!r}") from None
    return train, val, test


def _check_sigma(sigma: str, objective: str) -> None:
    if sigma == "auto":
        return
    try:
        length = float(sigma)
    except ValueError:
        length = math.nan
    if not 0 <= length < math.inf:
        raise ValueError(f"sigma must be 'auto' or a number of at least 0, got {sigma!r}")
    if length == 0 and objective in ("soft_vr", "soft_dr"):
        raise ValueError(f"sigma must not be 0 for {objective}, whose unit of length it is, got {sigma!r}")


#: Names that `objective` can take; `training.objective` holds what they mean.
OBJECTIVES = ("sampling", "closed_form", "soft", "discrete", "soft_vr", "soft_dr")
