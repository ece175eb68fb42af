from pathlib import Path

import numpy as np
import pytest
import torch


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
        quick = {"data": str(image_root), "trunk": "tiny", "size": (32, 32), "deconv_channels": 8, "shares": (2, 0, 3)}
        settings = ImageSettings(**(quick | {"num_samples": 2, "seed": seed} | changes))
        folder = tmp_path / name
        folder.mkdir()
        (folder / "last.ckpt").touch()
        torch.manual_seed(seed)
        network = build_pose(settings, 3).eval()
        names = ("left_eye", "right_eye", "nose")
        return ImageRun(
            folder=folder,
            checkpoint=folder / "last.ckpt",
            settings=settings,
            source="folder",
            trained_on=frozenset(),
            keypoint_names=names,
            flip_pairs=((0, 1),),
            can_flip=True,
            network=network,
        )

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
        settings = ImageSettings(data="slices", size=(32, 64), channels=(4, 8), num_samples=2, seed=seed)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "last.ckpt").touch()
        names = ProceduralSlices("test", size=(32, 64)).surface_names
        torch.manual_seed(seed)
        network = build_retina(settings, len(names)).eval()
        return SurfaceRun(
            folder=folder,
            checkpoint=folder / "last.ckpt",
            settings=settings,
            source="procedural",
            trained_on=frozenset(),
            surface_names=tuple(names),
            network=network,
        )

    return make
