"""Everything a training on images depends on, as one frozen dataclass like that of the point clouds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pcsargmax.core.names import BasisName, CoordinateGradient
from pcsargmax.datasets.images.names import Law
from pcsargmax.settings.common import (
    DISTANCE_HELP,
    EXPECTATION_WEIGHT_HELP,
    WEIGHT_DECAY_HELP,
    DistanceSetting,
    Objective,
    RunSettings,
)
from pcsargmax.settings.fields import (
    augmentation_setting,
    data_setting,
    machine_setting,
    network_setting,
    objective_setting,
    setting,
    training_setting,
)

#: Data sets of official files by their name on the command line.
OFFICIAL = ("coco", "h36m", "mtfl", "retina")

#: Procedural data sets by their name on the command line.
PROCEDURAL = ("figures", "figures3d", "faces", "slices")

#: Data whose items are slices with surfaces; all others have keypoints.
SURFACES = ("retina", "slices")

#: Data whose keypoints have a depth.
SPATIAL = ("h36m", "figures3d")

#: Settings that networks for keypoints alone know, and those of networks for surfaces alone.
FOR_KEYPOINTS = (
    *("trunk", "weights", "deconv_channels", "depth_range", "padding"),
    *("scale", "rotate", "rotate_probability", "rotate_law", "shift"),
)
FOR_SURFACES = ("channels", "label_weight")

TrunkName: TypeAlias = Literal["resnet18", "resnet50", "tiny"]
"""The trunks of networks for keypoints; `backbones.resnet` holds what they are."""

#: Names that `trunk` can take.
TRUNK_NAMES: tuple[TrunkName, ...] = get_args(TrunkName)


@dataclass(frozen=True, kw_only=True)
class ImageSettings(RunSettings):
    """Settings of a training run on images.

    Losses are in cells of the maps: of a square map with n cells a side they are n times those of the authors' code,
    whose map measures 1, which Adam does not see but by its eps. `target_variance` is in cells², as in the paper;
    `regularizer_weight` is the paper's, of a map whose longest axis measures 1. Cell i stands at pixel 4 i of the
    input (no half-pixel shift, as in the authors' code). Defaults are those of the paper for COCO but for the network
    and the annealing; `presets` has the others.

    Raises:
        ValueError: a setting of another type or out of bounds; it says what was given and what is accepted.

    Example:
        >>> from pcsargmax import ImageSettings
        >>> settings = ImageSettings(data="faces", trunk="tiny", epochs=20)
        >>> settings.source, settings.surfaces  # drawn faces have keypoints, no surfaces
        ('procedural', False)
    """

    data: str = setting(
        "",
        "Official files: coco, h36m, mtfl, retina (below --root). Procedural: figures, figures3d, faces, slices. "
        "Otherwise a folder of your own images with a CSV of points (./faces is a folder, faces is not).",
    )
    root: str = setting("", "Folder of the official files; datasets/DATA if not given.")
    boxes: str = data_setting("", "COCO: a detector's boxes (JSON) to evaluate with; the annotated ones if not given.")
    mpii: str = data_setting("", "h36m: folder of MPII's people, who become half of each epoch; none if not given.")

    trunk: TrunkName = network_setting("resnet18", "Trunk of the network: resnet18, resnet50, or tiny (for CPUs).")
    weights: str = network_setting("", "Initial weights of the trunk: a folder or a name on the hub; random if empty.")
    size: tuple[int, int] = network_setting(
        (256, 192), "Height and width of the network's input in pixels, multiples of 32."
    )
    deconv_channels: int = network_setting(256, "Channels of each deconvolution.", at_least=1)
    depth_bins: int = network_setting(0, "Cells along the depth of 3-D maps; 0 for 2-D maps.", at_least=0)
    depth_range: float = network_setting(
        2000.0, "Depth that these cells span, mm, the root joint in the middle.", above=0
    )
    channels: tuple[int, ...] = network_setting(
        (32, 64, 128, 256, 256), "Surfaces: channels of the U-Net, from the full resolution down."
    )

    objective: Objective = setting(
        "sampling",
        "sampling (sampling-argmax), closed_form (the same, noise of the gaussian basis integrated out), soft "
        "(soft-argmax), discrete (mean error of the cells), soft_vr or soft_dr (soft-argmax with variance or "
        "distribution regularizer).",
    )
    basis: BasisName = objective_setting("triangular", "Density around each cell: {choices}.")
    num_samples: int = setting(30)
    distance: DistanceSetting = objective_setting("l1", DISTANCE_HELP)
    smooth_l1_beta: float = objective_setting(
        1.0, "Error per axis below which smooth_l1 is a parabola, in cells.", above=0
    )
    coordinate_gradient: CoordinateGradient = objective_setting(
        "exact", "exact, or sign: the sign trick of the authors' code for COCO (soft and sampling)."
    )
    expectation_weight: float = objective_setting(0.0, EXPECTATION_WEIGHT_HELP, at_least=0)
    regularizer_weight: float = setting(
        1.0, "Weight of the regularizer of soft_vr and soft_dr, for a map whose longest axis measures 1."
    )
    target_variance: float = setting(1.0, "Target variance of soft_vr and soft_dr, in squares of a cell.")
    label_weight: float = objective_setting(
        1.0, "Surfaces: weight of the cross-entropies and Dice beside the objective.", at_least=0
    )

    epochs: int = setting(140)
    batch_size: int = setting(32, "Batch size of each process.")
    lr_schedule: Literal["steps", "onecycle", "constant"] = setting(
        "steps", "steps (times --lr-decay after each of --lr-steps), onecycle or constant."
    )
    lr_steps: tuple[int, ...] = training_setting((90, 120), "Epochs after which the rate falls; empty for none.")
    lr_decay: float = training_setting(
        0.1, "Factor of the learning rate after each of --lr-steps.", at_least=0, at_most=1
    )
    weight_decay: float = training_setting(0.0, WEIGHT_DECAY_HELP, at_least=0)
    patience: int = setting(0, "Stop after this many epochs without a smaller validation error; 0 never stops early.")

    flip: float = augmentation_setting(
        0.5, "Share of mirrored images, where the data say which keypoints change places.", at_least=0, at_most=1
    )
    scale: float = augmentation_setting(0.3, "Random scale, 1 ± this.", at_least=0, below=1)
    rotate: float = setting(40.0, "Random rotation in degrees: the largest, or the standard deviation.")
    rotate_probability: float = augmentation_setting(
        0.5, "Probability that an image is rotated.", at_least=0, at_most=1
    )
    rotate_law: Law = augmentation_setting("uniform", "uniform, or normal (cut off at twice --rotate).")
    shift: float = augmentation_setting(0.0, "Largest random shift, as a share of the box.", at_least=0)
    padding: float = augmentation_setting(1.25, "Sides of what the network sees over those of the box.", above=0)

    workers: int = machine_setting(
        0, "Processes that read and crop images; 0 reads them in the training process.", at_least=0
    )

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        super().__post_init__()
        self._check_together()

    def _check_together(self) -> None:
        """Settings that are good alone and not together."""
        if self.objective == "closed_form" and self.basis != "gaussian":
            raise ValueError(f"objective closed_form needs the basis gaussian, got {self.basis!r}")
        if self.coordinate_gradient == "sign" and self.objective not in ("sampling", "soft"):
            raise ValueError(f"coordinate_gradient 'sign' is for sampling and soft, got objective {self.objective!r}")
        if self.coordinate_gradient == "sign" and self.surfaces:
            raise ValueError(f"coordinate_gradient 'sign' is for keypoints, got data {self.data!r}")
        if self.depth_bins and self.data and not self.spatial:
            raise ValueError(f"depth_bins must be 0 for {self.data!r}, which has no depth; got {self.depth_bins}")
        for name, owner in (("boxes", "coco"), ("mpii", "h36m")):
            if getattr(self, name) and self.data and self.data != owner:
                raise ValueError(f"{name} is for {owner} alone, got {getattr(self, name)!r} with data {self.data!r}")

    def check_effect(self, names: Iterable[str]) -> None:
        """Raise ValueError for a setting, of those that somebody chose, that has no effect on these data."""
        idle: tuple[str, ...] = FOR_KEYPOINTS if self.surfaces else FOR_SURFACES
        if self.data == "retina":  # its slices have the size of their files
            idle += ("size",)
        if wrong := [name for name in names if name in idle]:
            what = "slices with surfaces" if self.surfaces else "keypoints"
            raise ValueError(f"{', '.join(wrong)}: no effect on {self.data}, a data set of {what}")

    @property
    def surfaces(self) -> bool:
        """Whether the data are slices with surfaces."""
        return self.data in SURFACES

    @property
    def spatial(self) -> bool:
        """Whether the data have keypoints with a depth."""
        return self.data in SPATIAL

    @property
    def source(self) -> str:
        """What the data are: "official", "procedural" or "folder"."""
        return "official" if self.data in OFFICIAL else "procedural" if self.data in PROCEDURAL else "folder"

    @property
    def place(self) -> Path:
        """The folder of the data: its own, or that of the official files."""
        if self.source == "folder":
            return Path(self.data).expanduser()
        return Path(self.root).expanduser() if self.root else Path("datasets") / self.data
