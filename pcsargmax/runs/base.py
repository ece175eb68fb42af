"""A finished run: what the four kinds have in common."""

from __future__ import annotations

import dataclasses
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import torch
from torch import nn

from pcsargmax.runs.checkpoint import Checkpoint
from pcsargmax.runs.sources import model_ids
from pcsargmax.settings.common import RunSettings

ItemT = TypeVar("ItemT")
PredictionT = TypeVar("PredictionT")
OutputT = TypeVar("OutputT")

#: The kinds of runs, as checkpoints and results name them.
Kind = Literal["keypoint_detector", "skeleton_merger", "image_keypoints", "image_surfaces"]

#: What the items of a data set are called, by modality.
_ITEMS = {"cloud": "shapes", "image": "images"}


@dataclass(frozen=True, eq=False, kw_only=True)
class BaseRun(ABC, Generic[ItemT, PredictionT]):
    """A finished training run: open it, use it on new data, evaluate it. The parent of the four kinds of runs.

    Attributes:
        kind: the name of the kind in checkpoints and results.
        modality: what the items are.
        target: what is predicted.
        supervised: whether labels took part in the training, so that results on the training data are optimistic.
        folder: the run folder.
        checkpoint: the file the weights came from.
        settings: of the training.
        source: where the data come from: "folder", or "category", "shapenet_h5", "official", "procedural".
        trained_on: names of the items that the weights, or the choice of the checkpoint, depend on.
        length_unit: of the scans of the training, such as "mm", in which new files are taken to be as well; None where
            none is known, of images, and of runs of earlier versions.
    """

    kind: ClassVar[Kind]
    modality: ClassVar[Literal["cloud", "image"]]
    target: ClassVar[Literal["keypoint", "surface"]] = "keypoint"
    supervised: ClassVar[bool] = True
    #: The attribute that holds the network, which is also the prefix of its weights in a checkpoint.
    network_name: ClassVar[str] = "network"
    settings_type: ClassVar[type[RunSettings]]

    folder: Path
    checkpoint: Path
    settings: RunSettings
    source: str
    trained_on: frozenset[str]
    length_unit: str | None = None

    @classmethod
    def from_checkpoint(cls, content: Checkpoint, device: torch.device) -> Self:
        """Open the run that a checkpoint belongs to, with its network in evaluation mode on the device."""
        metadata = content.metadata
        settings = cls.settings_type.from_dict(metadata["settings"])
        with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, and then replaced
            network = cls._build(settings, content)
        network.load_state_dict(content.weights_of(cls.network_name))
        names = f"{cls.target}_names"
        own: dict[str, Any] = cls._fields(settings, metadata) | {
            names: tuple(metadata[names]),
            cls.network_name: network.to(device).eval(),
        }
        return cls(
            folder=content.folder,
            checkpoint=content.file,
            settings=settings,
            trained_on=frozenset(metadata["trained_on"]) | frozenset(metadata["chosen_by"]),
            length_unit=metadata.get("length_unit"),
            **own,
        )

    @classmethod
    @abstractmethod
    def _build(cls, settings: Any, content: Checkpoint) -> nn.Module:
        """Build the network that the weights of a checkpoint fit."""

    @classmethod
    @abstractmethod
    def _fields(cls, settings: Any, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that only this kind of run has, and `source`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the keypoints or surfaces that are predicted."""
        names: tuple[str, ...] = getattr(self, f"{self.target}_names")
        return names

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        network: nn.Module = getattr(self, self.network_name)
        return next(network.parameters()).device

    @property
    def default_split(self) -> str:
        """The split that is evaluated if none is named."""
        return "test"

    @property
    def batch_size(self) -> int:
        """How many items of a split are predicted at once."""
        return 1

    @abstractmethod
    def predict(self, item: ItemT, *args: Any, **options: Any) -> PredictionT:
        """Predict one item."""

    @abstractmethod
    def predict_file(self, path: str | Path, *args: Any, **options: Any) -> PredictionT:
        """Predict the object in a file."""

    def predict_many(self, items: Sequence[ItemT], *args: Any, **options: Any) -> list[PredictionT]:
        """Predict several items; options as of `predict`."""
        return [self.predict(item, *args, **options) for item in items]

    def predictions(self, split: str = "", *, most: int | None = None, **options: Any) -> list[PredictionT]:
        """Predict the items of a split, with their ground truth.

        Args:
            split: of the data set; empty is `default_split`.
            most: only the first so many items.
            options: of `predict`.
        """
        dataset = self.dataset(split or self.default_split)
        batches = self._batches(dataset, min(len(dataset), most or len(dataset)))
        return [prediction for items in batches for prediction in self.predict_many(items, **options)]

    @abstractmethod
    def dataset(self, split: str, *args: Any, **options: Any) -> Any:
        """Open a split of the run's data.

        Raises:
            ValueError: the data have other names than those that the run was trained for.
        """

    @abstractmethod
    def evaluate(self, split: str = "", *args: Any, **options: Any) -> dict[str, Any]:
        """Evaluate the run on a split of its data; an empty name is `default_split`.

        Returns:
            JSON-able: "kind", "data", "split", "objective", "settings" (of the training), "checkpoint",
            "keypoint_names" or "surface_names", "seconds_per_cloud" or "seconds_per_image", "seen_in_training" (how
            many of the items), and the metrics of the kind.
        """

    def with_data(self, place: str | Path) -> Self:
        """Return the same run with its data elsewhere.

        Args:
            place: the folder itself, or the root of a category or of official files; an empty text changes nothing.

        Raises:
            ValueError: the data are procedural.
        """
        if not str(place):
            return self
        if self.source == "procedural":
            raise ValueError(f"data: {self.settings.data} is procedural and has no folder, got {place}")
        field = "data" if self.source == "folder" else "root"
        settings = self.settings_type.from_dict(self.settings.to_dict() | {field: str(place)})
        return dataclasses.replace(self, settings=settings)

    def _check_names(self, dataset: Any) -> Any:
        """Return the data set if its names are those that the run was trained for, else raise ValueError."""
        names = tuple(getattr(dataset, f"{self.target}_names"))
        if names != self.names:
            raise ValueError(
                f"{self.settings.data}: expected the {self.target}s that {self.folder} was trained for, "
                f"{', '.join(self.names)}; got {', '.join(names)}"
            )
        return dataset

    def _batches(self, dataset: Any, count: int) -> Iterator[list[ItemT]]:
        for start in range(0, count, self.batch_size):
            yield [dataset[i] for i in range(start, min(start + self.batch_size, count))]

    def _measure(
        self,
        dataset: Any,
        split: str,
        predict: Callable[[list[ItemT]], Sequence[OutputT]],
        update: Callable[[ItemT, OutputT], None],
        progress: Callable[[int, int], None] | None,
    ) -> dict[str, Any]:
        """Predict every item of a data set, pass it on with its prediction, and return the head of the result.

        Only `predict` is timed.
        """
        names = model_ids(dataset) if self.modality == "cloud" else dataset.names
        seen = sum(name in self.trained_on for name in names)
        if self.supervised:
            warn_train_overlap(seen, len(names), split, _ITEMS[self.modality])
        seconds, finished = 0.0, 0
        for items in self._batches(dataset, len(dataset)):
            start = time.perf_counter()
            outputs = predict(items)
            seconds += time.perf_counter() - start
            for item, output in zip(items, outputs, strict=True):
                update(item, output)
                finished += 1
                if progress is not None:
                    progress(finished, len(dataset))
        return {
            "kind": self.kind,
            "data": self.settings.data,
            "split": split,
            "objective": self.settings.objective,
            "settings": self.settings.to_dict(),
            "checkpoint": self.checkpoint.name,
            f"{self.target}_names": list(self.names),
            f"seconds_per_{self.modality}": seconds / len(dataset),
            "seen_in_training": seen,
        }


def warn_train_overlap(seen: int, count: int, split: str, items: str) -> None:
    """Warn the caller of `evaluate` if some items of a split were used in training.

    Args:
        seen: how many of them.
        count: of the items of the split.
        split: that is evaluated.
        items: what they are called, in the plural.
    """
    if seen:
        warnings.warn(
            f"{seen} of the {count} {items} of split {split!r} were used in training: these results are optimistic",
            stacklevel=4,
        )


def usable_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is the fastest that this machine has.

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
