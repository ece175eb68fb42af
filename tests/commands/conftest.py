from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def image_root(tmp_path_factory) -> Path:
    """A folder of six images of 32 x 32 pixels with two eyes and a nose."""
    from PIL import Image

    root = tmp_path_factory.mktemp("command-images") / "dots"
    root.mkdir()
    rng = np.random.default_rng(0)
    lines = ["file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y"]
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / f"f{number}.png")
        lines.append(f"f{number}.png,10,10,22,10,16,{18 + number}")
    (root / "points.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def image_run(image_root, tmp_path_factory) -> Path:
    """The folder of a short run on `image_root`: two images to train on, one to choose, three to test."""
    from pcsargmax.settings.images import ImageSettings
    from pcsargmax.training.images.train import train_images

    folder = tmp_path_factory.mktemp("command-runs") / "dots-run"
    quick = {"epochs": 1, "trunk": "tiny", "size": (32, 32), "deconv_channels": 8, "batch_size": 2, "lr_steps": ()}
    train_images(ImageSettings(data=str(image_root), shares=(2, 1, 3), num_samples=2, device="cpu", **quick), folder)
    return folder
