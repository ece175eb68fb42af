"""A finished training run: open it, measure it, use it on new clouds."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.distribution import KeypointDistribution
from pcsargmax.metrics import PCK, KeypointIoU
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.prediction import Prediction
from pcsargmax.template import Template
from pcsargmax.training.data import open_dataset, prepare
from pcsargmax.training.settings import TrainSettings
from pcsargmax.transforms import to_raw

#: Raised when what a checkpoint holds changes.
CHECKPOINT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Run:
    """A trained detector with all that belongs to it.

    Attributes:
        folder: the run folder.
        checkpoint: the file the weights came from.
        settings: of the training.
        keypoint_names: K names.
        unit: "raw" or "diagonal", what PCK thresholds are multiples of.
        template: the mean keypoints of the training set, the baseline of every evaluation.
        detector: the network, in evaluation mode.
    """

    folder: Path
    checkpoint: Path
    settings: TrainSettings
    keypoint_names: tuple[str, ...]
    unit: str
    template: Template
    detector: KeypointDetector

    @torch.inference_mode()
    def distribution(self, item: Data) -> tuple[KeypointDistribution, Data]:
        """The probability maps of one cloud, in the unit frame, and the prepared cloud they are over.

        Args:
            item: a cloud item in raw units.

        Returns:
            distribution over the points of the prepared item, whose `frame_center` and `frame_scale` lead back to raw units.
        """
        prepared, neighborhoods = prepare(item, self.detector.backbone)
        device = next(self.detector.parameters()).device
        pos = prepared.pos.to(device)
        scores = self.detector(pos, None, None, neighborhoods.to(device))
        maps = KeypointDistribution(
            scores.logits, scores.sites, sigma=prepared.sigma.to(device), presence=scores.presence.sigmoid()
        )
        return maps.to("cpu"), prepared

    def predict(self, item: Data, name: str = "") -> Prediction:
        """Find the keypoints of one cloud.

        Args:
            item: a cloud item in raw units; with `keypoint_pos` the prediction carries the truth too.
            name: of the prediction; the item's `model_id` if empty.

        Returns:
            The prediction in raw units: the expectation of each map (the paper's soft-argmax at test time).
        """
        maps, prepared = self.distribution(item)
        center, scale = prepared.frame_center, prepared.frame_scale
        points = to_raw(prepared.pos, center, scale)
        position = to_raw(maps.mean[0], center, scale)
        truth = None
        if "keypoint_pos" in item:
            truth = item.keypoint_pos[0].double().masked_fill(~item.keypoint_visible[0, :, None], torch.nan)
        return Prediction(
            name=name or str(item.get("model_id") or ""),
            points=points.numpy(),
            keypoint_names=self.keypoint_names,
            position=position.numpy(),
            confidence=maps.mass_within(3 * prepared.sigma.item())[0].numpy(),
            covariance=(maps.covariance[0].double() * scale.square()).numpy(),
            visibility=_presence(maps, self.template).numpy(),
            point_index=torch.cdist(position, points).argmin(dim=1).numpy(),
            probability=maps.probabilities[0].float().numpy(),
            truth=None if truth is None else truth.numpy(),
            color=prepared.color.numpy() if "color" in prepared else None,
        )

    def evaluate(
        self,
        split: str = "test",
        *,
        thresholds: tuple[float, ...] = (0.01, 0.02, 0.05),
        iou_threshold: float = 0.1,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Measure the detector and the template baseline on a split of its data.

        Args:
            split: of the data set the run was trained on.
            thresholds: of PCK, in `unit`.
            iou_threshold: of the Hungarian-matched mIoU, in `unit`.
            progress: called with (done, total).

        Returns:
            JSON-able: "detector", "mode" (the most probable point in place of the expectation) and "template", each the
            values of `PCK.compute` and `KeypointIoU.compute`; "keypoint_names", "unit", "split", "presence_accuracy", "seconds_per_cloud".
        """
        dataset = open_dataset(self.settings, split)
        scorers = {name: _Scorer(thresholds, iou_threshold) for name in ("detector", "mode", "template")}
        present: list[Tensor] = []
        seconds = 0.0
        for i in range(len(dataset)):
            item = dataset[i]
            start = time.perf_counter()
            found = self.predict(item)
            seconds += time.perf_counter() - start
            length = 1.0 if self.unit == "raw" else float(_diagonal(item.pos))
            mode = torch.from_numpy(found.points[found.probability.argmax(axis=1)])
            guesses = {
                "detector": torch.from_numpy(found.position),
                "mode": mode,
                "template": self.template.predict(item.pos),
            }
            for name, guess in guesses.items():
                scorers[name].update(guess[None] / length, item.keypoint_pos.double() / length, item.keypoint_visible)
            present.append((torch.from_numpy(found.visibility) >= 0.5) == item.keypoint_visible[0])
            if progress is not None:
                progress(i + 1, len(dataset))
        return {
            "data": self.settings.data,
            "split": split,
            "unit": self.unit,
            "objective": self.settings.objective,
            "checkpoint": self.checkpoint.name,
            "keypoint_names": list(self.keypoint_names),
            **{name: scorer.compute() for name, scorer in scorers.items()},
            "presence_accuracy": torch.stack(present).double().mean().item(),
            "seconds_per_cloud": seconds / len(dataset),
        }


class _Scorer:
    """PCK and mIoU of one way to guess, as JSON-able values."""

    def __init__(self, thresholds: tuple[float, ...], iou_threshold: float) -> None:
        self.pck, self.iou = PCK(thresholds).double(), KeypointIoU((iou_threshold,))

    def update(self, guess: Tensor, target: Tensor, visible: Tensor) -> None:
        self.pck.update(guess, target, visible)
        self.iou.update(guess, target, visible)

    def compute(self) -> dict[str, Any]:
        values = self.pck.compute() | self.iou.compute()
        return {name: value.tolist() for name, value in values.items()}


def _presence(maps: KeypointDistribution, template: Template) -> Tensor:
    """Probability that each keypoint exists; 0 for one that no training model had."""
    assert maps.presence is not None
    return maps.presence[0].where(template.num_seen > 0, 0.0)


def _diagonal(pos: Tensor) -> Tensor:
    return (pos.amax(dim=0) - pos.amin(dim=0)).double().norm()


def load_run(path: str | Path, *, checkpoint: str = "best", device: str = "cpu") -> Run:
    """Open a run folder or a checkpoint file; nothing in the file is executed.

    Args:
        path: a run folder, or a .ckpt file of one.
        checkpoint: "best" or "last"; where there is no best one, the last is taken.
        device: where the network is put.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: not a pcsargmax checkpoint, or one of another version.
    """
    path = Path(path)
    file = path if path.is_file() else path / "checkpoints" / f"{checkpoint}.ckpt"
    if not path.is_file() and checkpoint == "best" and not file.is_file():
        file = path / "checkpoints" / "last.ckpt"
    if not file.is_file():
        raise FileNotFoundError(f"{path}: no run there; looked for {file}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file}: not a checkpoint that can be read safely ({error})") from error
    metadata = content.get("pcsargmax") if isinstance(content, dict) else None
    if not isinstance(metadata, dict) or "state_dict" not in content:
        raise ValueError(f"{file}: not a pcsargmax checkpoint")
    if metadata["version"] != CHECKPOINT_VERSION:
        raise ValueError(
            f"{file}: checkpoint version {metadata['version']}, this pcsargmax reads version {CHECKPOINT_VERSION}"
        )
    settings = TrainSettings.from_dict(metadata["settings"])
    detector = KeypointDetector(len(metadata["keypoint_names"]), settings.backbone)
    prefix = "detector."
    weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
    detector.load_state_dict(weights)
    return Run(
        folder=path if path.is_dir() else path.parent.parent,
        checkpoint=file,
        settings=settings,
        keypoint_names=tuple(metadata["keypoint_names"]),
        unit=metadata["unit"],
        template=Template.from_dict(metadata["template"]),
        detector=detector.to(device).eval(),
    )
