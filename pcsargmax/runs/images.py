"""A trained network for keypoints in images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcsargmax.core.bases import BASIS_BY_NAME
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.datasets.images.item import ImageItem, flip_order
from pcsargmax.io.images import read_image
from pcsargmax.models.simple_pose import SimplePose
from pcsargmax.predictions.image import ImagePrediction
from pcsargmax.runs.base import BaseRun
from pcsargmax.runs.checkpoint import Checkpoint
from pcsargmax.runs.image_sources import open_images
from pcsargmax.runs.map_frame import MapFrame
from pcsargmax.runs.networks import build_pose, channels_last
from pcsargmax.runs.prepare_images import to_tensor
from pcsargmax.settings.images import ImageSettings
from pcsargmax.transforms.crop import Crop


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageRun(BaseRun[ImageItem, ImagePrediction]):
    """A trained network for keypoints in images with its settings, keypoint names and checkpoint.

    Attributes:
        keypoint_names: K names.
        flip_pairs: rows that change places in a mirrored image.
        can_flip: whether they are known, so that there is a flip test.
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
        ...     source="procedural",
        ...     trained_on=frozenset(),
        ...     network=SimplePose(len(faces.keypoint_names), "tiny").eval(),
        ... )
        >>> run.predict(faces[0]).position.shape  # x and y of each keypoint, pixels of the image
        (68, 2)
    """

    kind = "image_keypoints"
    modality = "image"
    settings_type = ImageSettings

    settings: ImageSettings
    keypoint_names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    can_flip: bool
    network: SimplePose

    @classmethod
    def _build(cls, settings: ImageSettings, content: Checkpoint) -> SimplePose:
        return channels_last(build_pose(settings, len(content.metadata["keypoint_names"]), weights=False))

    @classmethod
    def _fields(cls, settings: ImageSettings, metadata: dict[str, Any]) -> dict[str, Any]:
        return {
            "source": settings.source,
            "flip_pairs": tuple((int(a), int(b)) for a, b in metadata["flip_pairs"]),
            "can_flip": bool(metadata["can_flip"]),
        }

    @property
    def frame(self) -> MapFrame:
        """From images to the cells of the maps."""
        return MapFrame.of(self.settings)

    @property
    def default_split(self) -> str:
        """The split that is evaluated if none is named: "test", but "val" for COCO, whose test set has no labels."""
        return "val" if self.settings.data == "coco" else "test"

    @property
    def batch_size(self) -> int:
        """How many images of a split are predicted at once."""
        return self.settings.batch_size

    def crop(self, item: ImageItem) -> Crop:
        """What the network sees of an item."""
        return Crop.around(item.box, self.frame.size, padding=self.settings.padding)

    @torch.inference_mode()
    def distributions(self, items: Sequence[ImageItem], crops: Sequence[Crop]) -> KeypointDistribution:
        """The probability maps of some items, in cells, on the CPU."""
        images = torch.stack([to_tensor(crop.image(item.image)) for item, crop in zip(items, crops, strict=True)])
        logits = self.network(images.to(self.device, memory_format=torch.channels_last)).float().cpu()
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

    def dataset(self, split: str, *, boxes: str | Path | None = None) -> Any:
        """Open a split of the run's data; of COCO also with a detector's boxes.

        Raises:
            ValueError: the data have other keypoints than those that the run was trained for.
        """
        return self._check_names(open_images(self.settings, split, boxes=boxes))

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
        """Evaluate the network on a split of its data.

        Args:
            split: of the data set; empty is "test", of COCO "val".
            thresholds: of PCK, shares of the length that errors are divided by; the middle one is what confidence is
                compared with.
            flip_test: as in `predict_many`.
            boxes: of COCO, a detector's boxes (JSON) in place of the annotated ones.
            seed: of the bootstrap.
            progress: called with (done, total).
            on_prediction: called with each image and its prediction, so that nothing need be predicted twice.

        Returns:
            JSON-able: what `BaseRun.evaluate` says, "flip_test", "boxes", and what `ImageEvaluation.compute` gives.

        Raises:
            ValueError: arguments that do not fit, or other data than those of the training.
        """
        from pcsargmax.runs.evaluation.images import ImageEvaluation

        split = split or self.default_split
        boxes = boxes or self.settings.boxes or None
        dataset = self.dataset(split, boxes=boxes)
        evaluation = ImageEvaluation(dataset, self.settings, thresholds=thresholds, seed=seed)

        def update(item: ImageItem, prediction: ImagePrediction) -> None:
            evaluation.update(item, prediction)
            if on_prediction is not None:
                on_prediction(item, prediction)

        head = self._measure(dataset, split, partial(self.predict_many, flip_test=flip_test), update, progress)
        return head | {
            "flip_test": flip_test,
            "boxes": "annotated" if boxes is None else str(boxes),
            **evaluation.compute(),
        }


def _plane(probabilities: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(B, K, h, w) maps of (B, K, L) ones over a grid, the depth summed out."""
    maps = probabilities.float().unflatten(2, shape)
    return maps.sum(dim=2) if len(shape) == 3 else maps
