"""Everything a training on images depends on, as one frozen dataclass like that of the point clouds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pcsargmax.settings.common import BASES, OBJECTIVES, SupervisedSettings, parse_shares
from pcsargmax.settings.common import setting as _setting

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

#: Names that `trunk` can take; `backbones.resnet` holds what they are.
TRUNK_NAMES = ("resnet18", "resnet50", "tiny")


@dataclass(frozen=True)
class ImageSettings(SupervisedSettings):
    """Settings of a training run on images.

    Losses are in cells of the maps: of a square map with n cells a side they are n times those of the authors' code,
    whose map measures 1, which Adam does not see but by its eps. `target_variance` is in cells², as in the paper;
    `regularizer_weight` is the paper's, of a map whose longest axis measures 1. Cell i stands at pixel 4 i of the
    input (no half-pixel shift, as in the authors' code). Defaults are those of the paper for COCO but for the network
    and the annealing; `presets` has the others.

    Raises:
        ValueError: naming the setting, what was expected and what came.

    Example:
        >>> from pcsargmax import ImageSettings
        >>> settings = ImageSettings(data="faces", trunk="tiny", epochs=20)
        >>> settings.source, settings.surfaces  # drawn faces have keypoints, no surfaces
        ('procedural', False)
    """

    data: str = _setting(
        "",
        "Official files: coco, h36m, mtfl, retina (below --root). Procedural: figures, figures3d, faces, slices. Else "
        "a folder of your own images with a CSV of points (./faces is a folder, faces is not).",
    )
    root: str = _setting("", "Folder of the official files; datasets/DATA if not given.")
    train_split: str = _setting("train", "Split to train on: train, trainval, all.")
    val_split: str = _setting("val", "Split that chooses the best checkpoint, or 'none' to keep the last.")
    shares: str = _setting("0.7,0.1,0.2")
    split_seed: int = _setting(0, "Seed of a folder's splits, if it brings none.")
    boxes: str = _setting("", "COCO: a detector's boxes (JSON) to evaluate with; the annotated ones if not given.")
    mpii: str = _setting("", "h36m: folder of MPII's people, who become half of each epoch; none if not given.")

    trunk: str = _setting("resnet18", "Trunk of the network: resnet18, resnet50, or tiny (for CPUs).")
    weights: str = _setting("", "Weights that the trunk begins with: a folder or a name on the hub; random if empty.")
    size: str = _setting("256x192", "Height and width of the network's input in pixels, multiples of 32.")
    deconv_channels: int = _setting(256, "Channels of each deconvolution.")
    depth_bins: int = _setting(0, "Cells along the depth of 3-D maps; 0 for 2-D maps.")
    depth_range: float = _setting(2000.0, "Depth that these cells span, mm, the root joint in the middle.")
    channels: str = _setting("32,64,128,256,256", "Surfaces: channels of the U-Net, from the full resolution down.")

    objective: str = _setting(
        "sampling",
        "sampling (sampling-argmax), closed_form (the same, noise of the gaussian basis integrated out), soft "
        "(soft-argmax), discrete (mean error of the cells), soft_vr or soft_dr (soft-argmax with variance or "
        "distribution regularizer).",
    )
    basis: str = _setting("triangular", "Density around each cell: uniform, triangular or gaussian.")
    num_samples: int = _setting(30, "Samples a keypoint and step, N_s.")
    relaxation: str = _setting("gumbel_softmax")
    temperature_schedule: str = _setting("linear")
    temperature_start: float = _setting(2.0)
    temperature_end: float = _setting(0.5)
    temperature_share: float = _setting(0.5)
    distance: str = _setting("l1", "Error that is minimised: l1, l2, squared_l2 or smooth_l1.")
    smooth_l1_beta: float = _setting(1.0, "Error per axis below which smooth_l1 is a parabola, in cells.")
    coordinate_gradient: str = _setting(
        "exact", "exact, or sign: the sign trick of the authors' code for COCO (soft and sampling)."
    )
    expectation_weight: float = _setting(0.0)
    regularizer_weight: float = _setting(
        1.0, "Weight of the regularizer of soft_vr and soft_dr, of a map whose longest axis measures 1."
    )
    target_variance: float = _setting(1.0, "Variance that soft_vr and soft_dr aim at, in squares of a cell.")
    label_weight: float = _setting(1.0, "Surfaces: weight of the cross-entropies and Dice beside the objective.")

    epochs: int = _setting(140)
    batch_size: int = _setting(32, "Images a step, of each process.")
    lr: float = _setting(1e-3, "Adam's learning rate; the peak of a one-cycle schedule.")
    lr_schedule: str = _setting("steps", "steps (times --lr-decay after each of --lr-steps), onecycle or constant.")
    lr_steps: str = _setting("90,120", "Epochs after which the rate falls; empty for none.")
    lr_decay: float = _setting(0.1, "What it is multiplied by there.")
    weight_decay: float = _setting(0.0, "Decoupled weight decay.")
    ema: float = _setting(0.0)
    patience: int = _setting(0, "Stop after so many epochs without a smaller validation error; 0 never stops early.")
    seed: int = _setting(0)

    flip: float = _setting(0.5, "Share of mirrored images, where the data say which keypoints change places.")
    scale: float = _setting(0.3, "Random scale, 1 ± this.")
    rotate: float = _setting(40.0, "Random rotation in degrees: at most, or the standard deviation.")
    rotate_probability: float = _setting(0.5, "How often an image is turned at all.")
    rotate_law: str = _setting("uniform", "uniform, or normal (cut off at twice --rotate).")
    shift: float = _setting(0.0, "Random shift, share of the box at most.")
    padding: float = _setting(1.25, "Sides of what the network sees over those of the box.")

    workers: int = _setting(0, "Processes that read and crop images; 0 reads them in the training process.")
    device: str = _setting("auto")
    devices: int = _setting(1)
    nodes: int = _setting(1)
    precision: str = _setting("32-true")
    tensorboard: bool = _setting(False)

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        self.check_choices(
            trunk=TRUNK_NAMES,
            objective=OBJECTIVES,
            basis=BASES,
            distance=("l1", "l2", "squared_l2", "smooth_l1"),
            coordinate_gradient=("exact", "sign"),
            lr_schedule=("steps", "onecycle", "constant"),
            rotate_law=("uniform", "normal"),
        )
        self.check_counts("num_samples", "epochs", "batch_size", "devices", "nodes", "deconv_channels")
        self.check_positive(
            "lr", "temperature_start", "temperature_end", "smooth_l1_beta", "target_variance", "padding", "depth_range"
        )
        self.check_shares("scale", "ema")
        self.check_not_negative("rotate", "shift", "patience", "workers", "depth_bins")
        self.check_not_negative("expectation_weight", "regularizer_weight", "label_weight", "weight_decay")
        for name in ("flip", "rotate_probability", "lr_decay", "temperature_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be at least 0 and at most 1, got {getattr(self, name)}")
        if self.temperature_share == 0:
            raise ValueError("temperature_share must be above 0 and at most 1, got 0")
        parse_shares(self.shares)
        parse_size(self.size)
        parse_steps(self.lr_steps)
        parse_channels(self.channels)
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

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the input in pixels."""
        return parse_size(self.size)


def parse_size(text: str) -> tuple[int, int]:
    """Read "256x192" as (256, 192).

    Raises:
        ValueError: not two positive multiples of 32.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"size must look like 256x192, height x width, got {text!r}")
    height, width = (int(part) for part in parts)
    if height < 32 or width < 32 or height % 32 or width % 32:
        raise ValueError(f"size must be two multiples of 32, got {text!r}")
    return height, width


def parse_steps(text: str) -> tuple[int, ...]:
    """Read "90,120" as (90, 120); an empty text is ().

    Raises:
        ValueError: not whole numbers above 0 that ascend.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    steps = tuple(int(part) if part.isdecimal() else 0 for part in parts)
    if any(b <= a for a, b in zip((0, *steps), steps, strict=False)):
        raise ValueError(f"lr_steps must be ascending epochs such as 90,120, got {text!r}")
    return steps


def parse_channels(text: str) -> tuple[int, ...]:
    """Read "32,64" as (32, 64).

    Raises:
        ValueError: not whole numbers above 0.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"channels must be positive numbers such as 32,64,128, got {text!r}")
    return tuple(int(part) for part in parts)
