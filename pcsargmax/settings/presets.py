"""Named sets of image settings: the paper's for its data sets, and a light one for CPUs."""

from __future__ import annotations

from typing import Any

from pcsargmax.settings.images import OFFICIAL, SPATIAL, SURFACES

#: The paper's hyper-parameters by data set, as far as paper and published code state them. Its batches were spread over
#: four devices: `batch_size` is the part of each, and --devices 4 gives the whole.
PAPER: dict[str, dict[str, Any]] = {
    "coco": {
        "trunk": "resnet50",
        "size": (256, 192),
        "batch_size": 32,
        "epochs": 140,
        "lr_steps": (90, 120),
        "num_samples": 30,
        "temperature_schedule": "published",
        "flip": 0.5,
        "scale": 0.3,
        "rotate": 40.0,
        "rotate_probability": 0.5,
        "val_split": "none",
    },
    "h36m": {
        "trunk": "resnet50",
        "size": (256, 256),
        "depth_bins": 32,
        "batch_size": 16,
        "epochs": 200,
        "lr_steps": (90, 120),
        "num_samples": 10,
        "temperature_schedule": "published",
        "flip": 0.5,
        "scale": 0.3,
        "rotate": 0.0,
        "val_split": "none",
    },
    "mtfl": {
        "trunk": "resnet18",
        "size": (256, 256),
        "batch_size": 32,
        "epochs": 30,
        "lr_steps": (10, 20),
        "num_samples": 30,
        "temperature_schedule": "published",
        "flip": 0.5,
        "scale": 0.3,
        "rotate": 40.0,
        "rotate_probability": 0.6,
        "rotate_law": "normal",
        "padding": 1.0,  # the box is the whole image
        "train_split": "trainval",
        "val_split": "none",
    },
    "retina": {
        "size": (128, 1024),
        "objective": "sampling",
        "distance": "smooth_l1",
        "lr": 1e-4,
        "lr_schedule": "constant",
        "batch_size": 4,
        "epochs": 50,
        "num_samples": 30,
        "temperature_schedule": "published",
        "flip": 0.5,
        "scale": 0.0,
        "rotate": 0.0,
        "train_split": "trainval",
        "val_split": "none",
    },
}

#: Minutes on one core: a small network, one cycle of a high rate, the moving average of the weights.
LIGHT: dict[str, Any] = {
    "trunk": "tiny",
    "size": (96, 96),
    "deconv_channels": 64,
    "basis": "gaussian",
    "num_samples": 5,
    "expectation_weight": 1.0,  # maps of 24x24 cells are coarse
    "batch_size": 16,
    "epochs": 20,
    "lr": 4e-3,
    "lr_schedule": "onecycle",
    "lr_steps": (),
    "ema": 0.98,
    "flip": 0.5,
    "scale": 0.15,
    "rotate": 15.0,
    "rotate_probability": 0.6,
    "padding": 1.125,
}

#: What the light preset has else for 3-D keypoints, and for surfaces, whose maps are as fine as the image.
_LIGHT_SPATIAL: dict[str, Any] = {"depth_bins": 16, "num_samples": 2}
_LIGHT_SURFACES: dict[str, Any] = {
    "expectation_weight": 0.0,
    "channels": (8, 16, 32),
    "distance": "smooth_l1",
    "batch_size": 8,
    "rotate": 0.0,
    "scale": 0.0,
}

#: Names on the command line; "auto" is the paper's of the official data sets, and the light one of all others.
PRESETS = ("auto", *OFFICIAL, "light")


def preset(name: str, data: str) -> dict[str, Any]:
    """The settings of a preset that differ from the defaults.

    Args:
        name: one of `PRESETS`.
        data: as in `ImageSettings`; "auto" goes by it, and the light preset has other numbers for depth and surfaces.

    Raises:
        ValueError: an unknown name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
    if name == "auto":
        name = data if data in PAPER else "light"
    if name in PAPER:
        return dict(PAPER[name])
    more = _LIGHT_SURFACES if data in SURFACES else _LIGHT_SPATIAL if data in SPATIAL else {}
    return LIGHT | more
