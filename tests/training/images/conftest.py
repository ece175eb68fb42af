import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

#: Names of the keypoints of `dot_root`; the two eyes change places in a mirrored image.
DOTS = ("left_eye", "right_eye", "nose")


@pytest.fixture(scope="session")
def dot_root(tmp_path_factory) -> Path:
    """A folder of 15 images of 64 x 64 pixels: a red, a green and a blue dot, the last one hidden in every fifth."""
    from PIL import Image

    root = tmp_path_factory.mktemp("dots")
    rng = np.random.default_rng(0)
    header = ["file", *(f"{name}_{axis}" for name in DOTS for axis in "xy")]
    rows = []
    for number in range(15):
        points = rng.uniform([[10, 10], [38, 10], [22, 38]], [[26, 26], [54, 26], [42, 54]]).round(2)
        image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        y, x = np.mgrid[:64, :64]
        for channel, (px, py) in enumerate(points):
            image[..., channel] = np.maximum(image[..., channel], 250 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8))
        Image.fromarray(image).save(root / f"image{number:02d}.png")
        values = [f"{value:.2f}" for value in points.ravel()]
        rows.append([f"image{number:02d}.png", *(["", ""] if number % 5 == 4 else values[:2]), *values[2:]])
    with (root / "points.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return root


@pytest.fixture(scope="session")
def dot_settings(dot_root):
    """Make settings that train on `dot_root` in about a second; keyword arguments change them."""
    from pcsargmax.settings.images import ImageSettings

    def make(**changes) -> ImageSettings:
        quick = {"epochs": 2, "trunk": "tiny", "size": "64x64", "deconv_channels": 16, "batch_size": 5}
        quick |= {"num_samples": 2, "device": "cpu", "lr_steps": "", "scale": 0.1, "rotate": 10.0, "padding": 1.0}
        return ImageSettings(**({"data": str(dot_root)} | quick | changes))

    return make


@pytest.fixture(scope="session")
def dot_run(dot_settings, tmp_path_factory) -> Path:
    """The folder of a finished run on `dot_root`; take a copy to change it."""
    from pcsargmax.training.images.train import train_images

    folder = tmp_path_factory.mktemp("image-runs") / "dots"
    train_images(dot_settings(), folder)
    return folder


@contextmanager
def _few_slices() -> Iterator[None]:
    from pcsargmax.datasets.images import ProceduralSlices

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProceduralSlices, "default_items", {"train": 8, "val": 4, "test": 4})
        yield


@pytest.fixture
def few_slices():
    """Let the procedural slices be 8, 4 and 4."""
    with _few_slices():
        yield


@pytest.fixture(scope="session")
def slice_run(tmp_path_factory) -> Path:
    """The folder of a finished run on `few_slices`."""
    from pcsargmax.settings.images import ImageSettings
    from pcsargmax.training.images.train import train_images

    folder = tmp_path_factory.mktemp("slice-runs") / "slices"
    quick = {"epochs": 1, "size": "32x64", "channels": "4,8", "batch_size": 4, "num_samples": 2, "lr_steps": ""}
    with _few_slices():
        train_images(ImageSettings(data="slices", device="cpu", **quick), folder)
    return folder
