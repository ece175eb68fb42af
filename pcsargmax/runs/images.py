"""A finished training on images with keypoints: open it, measure it, use it on new images."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pcsargmax.core.bases import BASIS_BY_NAME
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.datasets.images.item import ImageItem, flip_order
from pcsargmax.io.images import read_image
from pcsargmax.models.simple_pose import SimplePose
from pcsargmax.predictions.image import ImagePrediction
from pcsargmax.runs.base import Checkpoint, warn_of_seen
from pcsargmax.runs.evaluation.images import ImageEvaluation
from pcsargmax.runs.image_sources import open_images
from pcsargmax.runs.map_frame import MapFrame
from pcsargmax.runs.networks import build_pose
from pcsargmax.runs.prepare_images import to_tensor
from pcsargmax.settings.images import ImageSettings
from pcsargmax.transforms.crop import Crop


@dataclass(frozen=True, eq=False)
class ImageRun:
    """A trained network for keypoints in images with its settings, keypoint names and checkpoint.

    Attributes:
        folder: the run folder.
        checkpoint: the file the weights came from.
        settings: of the training.
        keypoint_names: K names.
        flip_pairs: rows that change places in a mirrored image.
        can_flip: whether they are known, so that there is a flip test.
        trained_on: names of the images that the weights, or the choice of the checkpoint, have seen.
        network: in evaluation mode.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax import ImageRun, ImageSettings, SimplePose
        >>> from pcsargmax.datasets.images import ProceduralFaces
        >>> faces, settings = ProceduralFaces("test", size=64), ImageSettings(data="faces", trunk="tiny")
        >>> run = ImageRun(  # `train_images` and `load_run` return one; here with random weights
        ...     folder=Path("runs/faces"),
        ...     checkpoint=Path("runs/faces/checkpoints/best.ckpt"),
        ...     settings=settings,
        ...     keypoint_names=faces.keypoint_names,
        ...     flip_pairs=faces.flip_pairs,
        ...     can_flip=True,
        ...     trained_on=frozenset(),
        ...     network=SimplePose(len(faces.keypoint_names), "tiny").eval(),
        ... )
        >>> run.predict(faces[0]).position.shape  # x and y of each keypoint, pixels of the image
        (68, 2)
    """

    folder: Path
    checkpoint: Path
    settings: ImageSettings
    keypoint_names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    can_flip: bool
    trained_on: frozenset[str]
    network: SimplePose

    @property
    def source(self) -> str:
        """What the data are: "official", "procedural" or "folder"."""
        return self.settings.source

    @property
    def frame(self) -> MapFrame:
        """From images to the cells of the maps."""
        return MapFrame.of(self.settings)

    @property
    def default_split(self) -> str:
        """The split that is measured if none is named: "test", but "val" of COCO, whose test set has no labels."""
        return "val" if self.settings.data == "coco" else "test"

    def crop(self, item: ImageItem) -> Crop:
        """What the network sees of an item."""
        return Crop.around(item.box, self.frame.size, padding=self.settings.padding)

    @torch.inference_mode()
    def distributions(self, items: Sequence[ImageItem], crops: Sequence[Crop]) -> KeypointDistribution:
        """The probability maps of some items, in cells, on the CPU."""
        device = next(self.network.parameters()).device
        images = torch.stack([to_tensor(crop.image(item.image)) for item, crop in zip(items, crops, strict=True)])
        logits = self.network(images.to(device, memory_format=torch.channels_last)).float().cpu()
        return KeypointDistribution(logits, self.network.grid, basis=BASIS_BY_NAME[self.settings.basis])

    def predict(self, item: ImageItem, *, flip_test: bool = False) -> ImagePrediction:
        """Find the keypoints of one item; see `predict_many`."""
        return self.predict_many([item], flip_test=flip_test)[0]

    def predict_many(self, items: Sequence[ImageItem], *, flip_test: bool = False) -> list[ImagePrediction]:
        """Find the keypoints of some items.

        Args:
            items: of images, with their boxes.
            flip_test: look at each image mirrored too; positions, covariances and peaks are averages of both, the maps
                those of the image as it is.

        Returns:
            Of each the expectation of each map (the paper's soft-argmax at test time), in pixels of the image, with
            the truth as far as the item knows it.

        Raises:
            ValueError: a flip test where the data do not say which keypoints change places.
        """
        if flip_test and not self.can_flip:
            raise ValueError(f"flip_test: {self.settings.data} does not say which keypoints change places")
        crops = [self.crop(item) for item in items]
        maps = self.distributions(items, crops)
        found = [self._found(maps, number, crop) for number, crop in enumerate(crops)]
        if flip_test:
            mirrored = [crop.mirrored() for crop in crops]
            again = self.distributions(items, mirrored)
            order = flip_order(len(self.keypoint_names), self.flip_pairs)
            for number, crop in enumerate(mirrored):
                other = self._found(again, number, crop)
                found[number] = {key: (value + other[key][order]) / 2 for key, value in found[number].items()}
        probability = _plane(maps.probabilities, self.network.grid.shape).numpy()
        return [
            ImagePrediction(
                name=item.name,
                image=item.image,
                keypoint_names=self.keypoint_names,
                **found[number],
                probability=probability[number],
                crop=crops[number],
                **self._truth(item),
                box=item.box,
            )
            for number, item in enumerate(items)
        ]

    def _found(self, maps: KeypointDistribution, number: int, crop: Crop) -> dict[str, Any]:
        """The estimates of one item, in pixels of its image."""
        return {
            "position": self.frame.to_image(crop, maps.mean[number].double().numpy()),
            "confidence": maps.peak[number].double().numpy(),
            "covariance": self.frame.covariance_to_image(crop, maps.covariance[number].double().numpy()),
        }

    def _truth(self, item: ImageItem) -> dict[str, Any]:
        """Truth and visibility of a prediction, (K, D) as the maps have; None of an item that knows nothing."""
        if len(item.keypoints) != len(self.keypoint_names) or not item.visible.any():
            return {"truth": None, "visible": None}
        truth = item.keypoints[:, : self.frame.dimension]
        if truth.shape[1] < self.frame.dimension:
            truth = np.column_stack([truth, np.full(len(truth), np.nan)])
        return {"truth": np.where(item.visible[:, None], truth, np.nan), "visible": item.visible}

    def predict_file(
        self, path: str | Path, *, box: Sequence[float] | None = None, flip_test: bool = False
    ) -> ImagePrediction:
        """Find the keypoints in an image file.

        Args:
            path: of the image.
            box: x, y, width, height of the object in pixels; None is the whole image.
            flip_test: as in `predict_many`.
        """
        path = Path(path)
        unknown = np.full((len(self.keypoint_names), 2), np.nan)
        where = None if box is None else np.array(box, dtype=np.float64)
        item = ImageItem(path.name, read_image(path), unknown, box=where)  # type: ignore[arg-type]
        return self.predict(item, flip_test=flip_test)

    def with_data(self, place: str | Path) -> Self:
        """The same run, its data found elsewhere: the folder itself, or the root of official files."""
        return dataclasses.replace(self, settings=moved(self.settings, place))

    def dataset(self, split: str, *, boxes: str | Path | None = None) -> Any:
        """A split of the run's data; of COCO also with a detector's boxes.

        Raises:
            ValueError: the data have other keypoints than the run was trained for.
        """
        dataset = open_images(self.settings, split, boxes=boxes)
        if tuple(dataset.keypoint_names) != self.keypoint_names:
            raise ValueError(
                f"{self.settings.data}: expected the keypoints that {self.folder} was trained for, "
                f"{', '.join(self.keypoint_names)}; got {', '.join(dataset.keypoint_names)}"
            )
        return dataset

    def predictions(
        self, split: str = "", *, most: int | None = None, flip_test: bool = False
    ) -> list[ImagePrediction]:
        """Predictions, with their truth, of the images of a split, or of the first `most`."""
        dataset = self.dataset(split or self.default_split)
        number = min(len(dataset), most or len(dataset))
        return [found for _, found in self._predicted(dataset, number, flip_test)]

    def _predicted(self, dataset: Any, number: int, flip_test: bool) -> Iterator[tuple[ImageItem, ImagePrediction]]:
        """Items and what was found in them, a batch at a time."""
        step = self.settings.batch_size
        for start in range(0, number, step):
            items = [dataset[i] for i in range(start, min(start + step, number))]
            yield from zip(items, self.predict_many(items, flip_test=flip_test), strict=True)

    def evaluate(
        self,
        split: str = "",
        *,
        thresholds: tuple[float, ...] = (0.05, 0.1, 0.2),
        flip_test: bool = False,
        boxes: str | Path | None = None,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        on_prediction: Callable[[ImageItem, ImagePrediction], None] | None = None,
    ) -> dict[str, Any]:
        """Measure the network on a split of its data.

        Args:
            split: of the data set; empty is "test", of COCO "val".
            thresholds: of PCK, shares of the length that errors are divided by; the middle one is what confidence is
                compared with.
            flip_test: as in `predict_many`.
            boxes: of COCO, a detector's boxes (JSON) in place of the annotated ones.
            seed: of the bootstrap.
            progress: called with (done, total).
            on_prediction: called with each item and what was found in it, so that nothing need be predicted twice.

        Returns:
            JSON-able: "kind", "data", "split", "objective", "settings" (of the training), "checkpoint",
            "keypoint_names", "flip_test", "boxes", "seconds_per_image", "seen_in_training" (how many of the images),
            and what `ImageEvaluation.compute` gives.

        Raises:
            ValueError: arguments that do not fit, or other data than those of the training.
        """
        split = split or self.default_split
        boxes = boxes or self.settings.boxes or None
        dataset = self.dataset(split, boxes=boxes)
        counted = ImageEvaluation(dataset, self.settings, thresholds=thresholds, seed=seed)
        seen = warn_of_seen(self.trained_on, dataset.names, split, "images")
        start, elsewhere = time.perf_counter(), 0.0
        for done, (item, found) in enumerate(self._predicted(dataset, len(dataset), flip_test), start=1):
            pause = time.perf_counter()
            counted.update(item, found)
            if on_prediction is not None:
                on_prediction(item, found)
            if progress is not None:
                progress(done, len(dataset))
            elsewhere += time.perf_counter() - pause
        seconds = time.perf_counter() - start - elsewhere
        return {
            "kind": "image_keypoints",
            "data": self.settings.data,
            "split": split,
            "objective": self.settings.objective,
            "settings": self.settings.to_dict(),
            "checkpoint": self.checkpoint.name,
            "keypoint_names": list(self.keypoint_names),
            "flip_test": flip_test,
            "boxes": "annotated" if boxes is None else str(boxes),
            "seconds_per_image": seconds / len(dataset),
            "seen_in_training": seen,
            **counted.compute(),
        }


def moved(settings: ImageSettings, place: str | Path) -> ImageSettings:
    """Settings whose data lie elsewhere; an empty text leaves them where they are, or would be.

    Raises:
        ValueError: a place of data that are drawn.
    """
    field = {"folder": "data", "official": "root"}.get(settings.source)
    if not str(place):
        return settings
    if field is None:
        raise ValueError(f"data: {settings.data} is drawn by this package and lies nowhere, got {place}")
    return ImageSettings.from_dict(settings.to_dict() | {field: str(place)})


def _plane(probabilities: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(B, K, h, w) maps of (B, K, L) ones over a grid, the depth summed out."""
    maps = probabilities.float().unflatten(2, shape)
    return maps.sum(dim=2) if len(shape) == 3 else maps


def open_image_run(found: Checkpoint, device: torch.device) -> ImageRun:
    """The run of a checkpoint that `train_images` left for keypoints."""
    metadata = found.metadata
    settings = ImageSettings.from_dict(metadata["settings"])
    with torch.random.fork_rng(devices=[]):  # the weights it begins with are drawn, and then replaced
        network = build_pose(settings, len(metadata["keypoint_names"]), weights=False)
    network.load_state_dict(found.weights_of("network"))
    return ImageRun(
        folder=found.folder,
        checkpoint=found.file,
        settings=settings,
        keypoint_names=tuple(metadata["keypoint_names"]),
        flip_pairs=tuple((int(a), int(b)) for a, b in metadata["flip_pairs"]),
        can_flip=bool(metadata["can_flip"]),
        trained_on=frozenset(metadata["trained_on"]) | frozenset(metadata["chosen_by"]),
        network=network.to(device, memory_format=torch.channels_last).eval(),  # type: ignore[call-overload]
    )
