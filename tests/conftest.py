import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest_plugins = [
    "fixtures.clouds",
    "fixtures.image_runs",
    "fixtures.look_runs",
    "fixtures.pictures",
    "fixtures.predictions",
    "fixtures.skipped",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep processed data of the tests out of the user's cache, but shared between the tests."""
    monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def prediction():
    """Two keypoints on three points at coordinates around a million; the second is absent in truth."""
    from pcsargmax.predictions.cloud import Prediction

    points = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0]]) + 1e6
    return Prediction(
        name="scan é",
        points=points,
        keypoint_names=("tip", "base"),
        position=points[[1, 2]] + 0.125,
        confidence=[0.75, 0.5],
        covariance=[np.diag([1.0, 2.0, 3.0]), np.eye(3)],
        visibility=[1, 0.25],
        point_index=[1, 2],
        probability=[[0, 1, 0], [0.25, 0.25, 0.5]],
        truth=[points[1], [np.nan] * 3],
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    root = Path(os.environ.get("PCSARGMAX_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real data are not here ({root}); set PCSARGMAX_SHARED_DATA")
    return root


@pytest.fixture(scope="session")
def box_root(tmp_path_factory) -> Path:
    """A category `box` in KeypointNet's layout: 7 train, 2 val, 3 test cuboids of unequal size.

    Ids 0, 1, 2 and 4 lie on the top, near its corners (id 3 is never used): 0 and 1 mirror each other across x, as do 2
    and 4. Every third model lacks id 4.
    """
    root = tmp_path_factory.mktemp("keypointnet")
    rng = np.random.default_rng(0)
    entries, names = [], [f"m{number:02d}" for number in range(12)]
    corners = {0: (-1, 1, 1), 1: (1, 1, 1), 2: (-1, 1, -1), 4: (1, 1, -1)}
    (root / "pcds" / "00000001").mkdir(parents=True)
    for number, name in enumerate(names):
        half = rng.uniform([0.2, 0.1, 0.15], [0.4, 0.2, 0.25])
        points = _cuboid(rng, half, 100 + 10 * number)
        has = {k: sign for k, sign in corners.items() if k != 4 or number % 3}
        points[: len(has)] = np.array([*has.values()]) * half * [rng.uniform(0.75, 1), 1, 1]
        lines = [f"{x:.6f} {y:.6f} {z:.6f} 8421504" for x, y, z in points]
        header = (
            "VERSION .7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
            f"WIDTH {len(points)}\nHEIGHT 1\nPOINTS {len(points)}\nDATA ascii\n"
        )
        (root / "pcds" / "00000001" / f"{name}.pcd").write_text(header + "\n".join(lines) + "\n")
        keypoints = [
            {"semantic_id": k, "xyz": points[row].round(6).tolist(), "pcd_info": {"point_index": row}}
            for row, k in enumerate(has)
        ]
        entries.append({"class_id": "00000001", "model_id": name, "keypoints": keypoints})
    (root / "annotations").mkdir()
    (root / "annotations" / "box.json").write_text(json.dumps(entries))
    (root / "splits").mkdir()
    for split, its in {"train": names[:7], "val": names[7:9], "test": names[9:]}.items():
        (root / "splits" / f"{split}.txt").write_text("".join(f"00000001-{name}\n" for name in its))
    return root


def _cuboid(rng: np.random.Generator, half: np.ndarray, count: int) -> np.ndarray:
    """Random points (count, 3) on the surface of a cuboid of half extents (3,)."""
    points = rng.uniform(-1, 1, (count, 3))
    axis = rng.integers(0, 3, count)
    points[np.arange(count), axis] = rng.choice([-1.0, 1.0], count)
    return points * half


@pytest.fixture(scope="session")
def landmark_root(tmp_path_factory) -> Path:
    """Ten meshes of boxes in millimetres with three landmarks each, as 3D Slicer writes them."""
    import trimesh

    root = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(1)
    for number in range(10):
        half = rng.uniform([20, 10, 15], [40, 20, 25])
        trimesh.creation.box(extents=2 * half).export(root / f"scan{number}.ply")
        signs = {"left": (-1, 1, 1), "right": (1, 1, 1), "back": (0, 1, -1)}
        points = [{"label": k, "position": (half * sign).tolist()} for k, sign in signs.items()]
        content = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}]}
        (root / f"scan{number}.mrk.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="session")
def box_settings(box_root):
    """Make settings that train on `box_root` in about a second; keyword arguments change them."""
    from pcsargmax.settings.detector import TrainSettings

    def make(**changes) -> TrainSettings:
        quick = {"epochs": 2, "backbone": "light", "num_samples": 2, "batch_size": 4, "device": "cpu"}
        return TrainSettings(**({"data": "box", "root": str(box_root)} | quick | changes))

    return make


@pytest.fixture(scope="session")
def box_run(box_settings, tmp_path_factory) -> Path:
    """The folder of a finished run on `box_root`; take a copy to change it."""
    from pcsargmax.training.detector.train import train

    folder = tmp_path_factory.mktemp("runs") / "box"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCSARGMAX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        train(box_settings(epochs=25, lr=5e-3, lr_schedule="constant"), folder)
    return folder


@pytest.fixture
def box_copy(box_run, tmp_path) -> Path:
    """A copy of the finished run, to write into."""
    return shutil.copytree(box_run, tmp_path / "box-run")


@pytest.fixture
def box_cloud(box_root) -> Path:
    """A cloud file of the test split."""
    return box_root / "pcds" / "00000001" / "m10.pcd"


@pytest.fixture
def cli(monkeypatch):
    """Run the command line: cli("predict", run, file) -> exit_code, stdout and stderr; a traceback fails."""
    from typer.testing import CliRunner

    from pcsargmax.cli import app

    monkeypatch.setenv("COLUMNS", "160")

    def invoke(*arguments: object):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def cli_error(cli):
    """Run a command that must fail with exit code 2 and one line after its progress; returns that line."""

    def invoke(*arguments: object) -> str:
        result = cli(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        *progress, line = result.stderr.strip().splitlines()
        assert all(re.fullmatch(r"[a-z0-9 -]+: \d+/\d+", line) for line in progress), result.stderr
        assert line.startswith("error: ")
        return line

    return invoke
