"""What the runs of every kind have in common: a folder with checkpoints, opened again; use on new files."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch_geometric.data import Data

from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.datasets.sampling import cloud_item
from pcsargmax.io.clouds import read_cloud
from pcsargmax.predictions.cloud import Prediction, Surface
from pcsargmax.settings.common import RunSettings
from pcsargmax.transforms.frames import to_raw

#: Raised when what a checkpoint holds changes.
CHECKPOINT_VERSION = 2


class BaseRun:
    """The parent of the kinds of runs, which are frozen dataclasses and bring `predict` and `dataset`."""

    folder: Path
    checkpoint: Path
    settings: Any
    source: str
    #: The split that is measured if none is named.
    default_split: ClassVar[str] = "test"

    def predict(
        self, item: Data, name: str = "", *, num_samples: int = 0, generator: torch.Generator | None = None
    ) -> Prediction:
        """Find the keypoints of one cloud."""
        raise NotImplementedError

    def dataset(self, split: str) -> Any:
        """A split of the run's data."""
        raise NotImplementedError

    def predict_file(
        self, path: str | Path, *, num_points: int | None = None, seed: int = 0, num_samples: int = 0
    ) -> Prediction:
        """Find the keypoints of a mesh or cloud file, in its own units and frame; of a mesh with its surface.

        Args:
            path: see `pcsargmax.io.read_cloud`.
            num_points: sampled from the file; None takes as many as in training.
            seed: of the sampling, and of the draws.
            num_samples: how many draws of each keypoint's distribution the prediction carries.
        """
        cloud = read_cloud(path)
        item = cloud_item(cloud, num_points or self.settings.num_points, seed, name=str(path))
        generator = torch.Generator().manual_seed(seed)
        found = self.predict(item, Path(path).name, num_samples=num_samples, generator=generator)
        nearest = cKDTree(cloud.points).query(found.position)[1]
        surface = None if cloud.faces is None else Surface(cloud.points, cloud.faces)
        return dataclasses.replace(found, file_index=nearest, surface=surface)

    def with_data(self, place: str | Path) -> Self:
        """The same run, its data found elsewhere: the folder itself, or the root of a category."""
        field = "data" if self.source == "folder" else "root"
        settings: RunSettings = type(self.settings).from_dict(self.settings.to_dict() | {field: str(place)})
        return dataclasses.replace(self, settings=settings)  # type: ignore[type-var]

    def predictions(self, split: str = "test", *, most: int | None = None) -> list[Prediction]:
        """Predictions, with their truth, of the shapes of a split, or of the first `most`."""
        dataset = self.dataset(split)
        return [self.predict(dataset[i]) for i in range(min(len(dataset), most or len(dataset)))]


def draw_samples(
    maps: KeypointDistribution, prepared: Data, num_samples: int, generator: torch.Generator | None = None
) -> np.ndarray | None:
    """(S, K, 3) float64 draws of the maps of one prepared cloud, in raw units; None for no samples.

    Raises:
        ValueError: a negative number of samples.
    """
    if num_samples < 0:
        raise ValueError(f"num_samples: expected 0 or more, got {num_samples}")
    if num_samples == 0:
        return None
    drawn = maps.sample(num_samples, generator)[0]  # (S, K, 3)
    return to_raw(drawn, prepared.frame_center, prepared.frame_scale).numpy()


def warn_of_seen(trained_on: Collection[str], names: Sequence[str], split: str, things: str = "shapes") -> int:
    """How many items of a split a run has seen in training, with a warning, if any, to the caller of `evaluate`.

    Args:
        trained_on: names of those that the weights, or the choice of the checkpoint, have seen.
        names: of the items of the split.
        split: that is evaluated.
        things: what the items are.
    """
    seen = sum(name in trained_on for name in names)
    if seen:
        warnings.warn(
            f"{seen} of the {len(names)} {things} of split {split!r} were trained on or chose the checkpoint: "
            "the figures flatter the run",
            stacklevel=3,
        )
    return seen


class Checkpoint(NamedTuple):
    """A checkpoint file, read.

    Attributes:
        folder: of the run.
        file: that was read.
        metadata: plain values, from which a run is opened again.
        weights: of the module, by name.
    """

    folder: Path
    file: Path
    metadata: dict[str, Any]
    weights: dict[str, torch.Tensor]

    def weights_of(self, part: str) -> dict[str, torch.Tensor]:
        """Those of a part of the module, by their names in it."""
        prefix = f"{part}."
        return {name.removeprefix(prefix): w for name, w in self.weights.items() if name.startswith(prefix)}


def open_checkpoint(path: str | Path, checkpoint: str = "best") -> Checkpoint:
    """Read a run folder's checkpoint, or the file itself; nothing in it is executed.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: not a pcsargmax checkpoint, or one of another version.
    """
    if checkpoint not in ("best", "last"):
        raise ValueError(f"checkpoint must be best or last, got {checkpoint!r}")
    path = Path(path)
    file = path if path.is_file() else path / "checkpoints" / f"{checkpoint}.ckpt"
    if not path.is_file() and checkpoint == "best" and not file.is_file():
        file = path / "checkpoints" / "last.ckpt"
    if not file.is_file():
        raise FileNotFoundError(f"{path}: no run there; looked for {file}")
    content = read_checkpoint(file)
    return Checkpoint(_folder_of(path), file, content["pcsargmax"], content["state_dict"])


def read_checkpoint(file: Path) -> dict[str, Any]:
    """What the file holds, found to be a checkpoint of this version."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the reader raises whatever a broken file runs it into
        raise ValueError(
            f"{file}: not a checkpoint, cut off, or one that would run code when it is loaded; nothing in it was run"
        ) from error
    metadata = content.get("pcsargmax") if isinstance(content, dict) else None
    if not isinstance(metadata, dict) or "state_dict" not in content:
        raise ValueError(f"{file}: not a pcsargmax checkpoint")
    version = metadata.get("version")
    if version != CHECKPOINT_VERSION:
        raise ValueError(f"{file}: checkpoint version {version}, this pcsargmax reads version {CHECKPOINT_VERSION}")
    return content


def _folder_of(path: Path) -> Path:
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def usable_device(name: str) -> torch.device:
    """The device of that name; "auto" is the fastest that this machine has.

    Raises:
        ValueError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        cause = str(error).splitlines()[0]
        raise ValueError(f"device must be cpu, cuda or mps where the machine has it, got {name!r}: {cause}") from error
