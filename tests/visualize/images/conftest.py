from pathlib import Path

import numpy as np
import pytest
import torch

from pcsargmax.predictions.image import ImagePrediction, SurfacePrediction
from pcsargmax.transforms.crop import Crop

NAMES = ("left <b>", "right", "nose", "chin")


def make_face(number: int = 0, *, off: float = 1.0, padding: float = 1.0) -> ImagePrediction:
    """A picture of 40 x 32 pixels with four keypoints, the last one not annotated, on maps of 8 x 8 cells."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (40, 32, 3), dtype=np.uint8)
    truth = np.array([[8.0, 10.0], [24.0, 10.0], [16.0, 20.0], [np.nan, np.nan]])
    position = np.nan_to_num(truth, nan=30.0) + off * np.array([[1, 0], [0, 1], [0, 2], [0, 0]])
    crop = Crop.around((0, 0, 32, 40), (32, 32), padding=padding)
    y, x = np.mgrid[:8, :8]
    cells = crop.to_input(position) / 4
    away = (x - cells[:, 0, None, None]) ** 2 + (y - cells[:, 1, None, None]) ** 2
    maps = np.exp(-away)
    maps /= maps.sum(axis=(1, 2), keepdims=True)
    return ImagePrediction(
        name=f"face{number}.png",
        image=image,
        keypoint_names=NAMES,
        position=position,
        confidence=[0.5, 0.25, 0.125, 0.1 + 0.01 * number],
        covariance=np.tile([[4.0, 0.0], [0.0, 1.0]], (4, 1, 1)),
        probability=maps,
        crop=crop,
        truth=truth,
        visible=[True, True, True, False],
    )


def make_slice(number: int = 0, *, off: float = 1.0) -> SurfacePrediction:
    """A slice of 20 x 50 pixels with two surfaces, the second unknown in its first ten columns."""
    rng = np.random.default_rng(number)
    truth = np.tile([[5.0], [12.0]], (1, 50))
    truth[1, :10] = np.nan
    rows = np.nan_to_num(truth, nan=12.0) + np.array([[off], [2 * off]])
    image = rng.integers(0, 256, (20, 50), dtype=np.uint8)
    return SurfacePrediction(f"slice{number}", image, ("top", "bottom"), rows, np.full((2, 50), 1.5), truth)


@pytest.fixture
def face():
    """Make predictions of keypoints; the errors are 1, 1 and 2 times `off` pixels."""
    return make_face


@pytest.fixture
def oct_slice():
    """Make predictions of surfaces; the errors are 1 and 2 times `off` pixels."""
    return make_slice


@pytest.fixture(scope="session")
def image_root(tmp_path_factory) -> Path:
    """A folder of five images of 32 x 32 pixels with two eyes and a nose; the last one has no right eye."""
    from PIL import Image

    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    lines = ["file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y"]
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / f"f{number}.png")
        right = "," if number == 4 else "22,10"
        lines.append(f"f{number}.png,10,10,{right},16,{18 + number}")
    (root / "points.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def untrained(image_root, tmp_path):
    """Make runs on `image_root` whose weights are those they began with; a seed draws them."""
    from pcsargmax.runs.images import ImageRun
    from pcsargmax.runs.networks import build_pose
    from pcsargmax.settings.images import ImageSettings

    def make(name: str = "run", seed: int = 0, **changes) -> ImageRun:
        quick = {"data": str(image_root), "trunk": "tiny", "size": "32x32", "deconv_channels": 8, "shares": "2,0,3"}
        settings = ImageSettings(**(quick | {"num_samples": 2, "seed": seed} | changes))
        folder = tmp_path / name
        folder.mkdir()
        (folder / "last.ckpt").touch()
        torch.manual_seed(seed)
        network = build_pose(settings, 3).eval()
        names = ("left_eye", "right_eye", "nose")
        return ImageRun(folder, folder / "last.ckpt", settings, names, ((0, 1),), True, frozenset(), network)

    return make


@pytest.fixture
def untrained_slices(tmp_path, monkeypatch):
    """Make runs on three procedural slices, their weights those that they began with."""
    from pcsargmax.datasets.images import ProceduralSlices
    from pcsargmax.runs.networks import build_retina
    from pcsargmax.runs.surfaces import SurfaceRun
    from pcsargmax.settings.images import ImageSettings

    monkeypatch.setattr(ProceduralSlices, "default_items", {"train": 3, "val": 3, "test": 3})

    def make(name: str = "slices", seed: int = 0) -> SurfaceRun:
        settings = ImageSettings(data="slices", size="32x64", channels="4,8", num_samples=2, seed=seed)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "last.ckpt").touch()
        names = ProceduralSlices("test", size=(32, 64)).surface_names
        torch.manual_seed(seed)
        network = build_retina(settings, len(names)).eval()
        return SurfaceRun(folder, folder / "last.ckpt", settings, tuple(names), frozenset(), network)

    return make
