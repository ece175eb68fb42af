"""A finished training run: open it, measure it, use it on new clouds."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.bases import Gaussian
from pcsargmax.calibration import Calibration, confidence_measure
from pcsargmax.datasets.files import cloud_item, read_cloud
from pcsargmax.distribution import KeypointDistribution
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.prediction import Prediction
from pcsargmax.template import Template
from pcsargmax.training.data import model_ids, open_dataset, prepare
from pcsargmax.training.estimates import ESTIMATES, ConfidenceScorer, Scorer, estimates, nearest_point
from pcsargmax.training.settings import TrainSettings
from pcsargmax.transforms import to_raw

#: Raised when what a checkpoint holds changes.
CHECKPOINT_VERSION = 2


@dataclass(frozen=True, eq=False)
class Run:
    """A trained detector with all that belongs to it.

    Attributes:
        folder: the run folder.
        checkpoint: the file the weights came from.
        settings: of the training.
        keypoint_names: K names.
        unit: "raw" or "diagonal", what PCK thresholds are multiples of.
        source: "folder" or "category", what the data are.
        trained_on: names of the shapes that the weights, or the choice of the checkpoint, have seen.
        template: the mean keypoints of the training set, the baseline of every evaluation.
        calibration: of confidence and radius on the validation split; None where the run had none.
        detector: the network, in evaluation mode.
    """

    folder: Path
    checkpoint: Path
    settings: TrainSettings
    keypoint_names: tuple[str, ...]
    unit: str
    source: str
    trained_on: frozenset[str]
    template: Template
    calibration: Calibration | None
    detector: KeypointDetector

    @torch.inference_mode()
    def distribution(self, item: Data) -> tuple[KeypointDistribution, Data]:
        """The probability maps of one cloud, in the unit frame, and the prepared cloud they are over.

        Args:
            item: a cloud item in raw units.

        Returns:
            The distribution over the points of the prepared item, and that item, whose `frame_center` and `frame_scale`
            lead back to raw units.
        """
        prepared, neighborhoods = prepare(item, self.detector.backbone)
        device = next(self.detector.parameters()).device
        pos = prepared.pos.to(device)
        scores = self.detector(pos, None, None, neighborhoods.to(device))
        maps = KeypointDistribution(
            scores.logits,
            scores.sites,
            basis=Gaussian(prepared.sigma.to(device)),
            presence=scores.presence.sigmoid(),
        )
        return maps.to("cpu"), prepared

    def predict(self, item: Data, name: str = "") -> Prediction:
        """Find the keypoints of one cloud.

        Args:
            item: a cloud item in raw units; with `keypoint_pos` the prediction carries the truth too.
            name: of the prediction; the item's `model_id` if empty.

        Returns:
            The prediction in raw units: the expectation of each map (the paper's soft-argmax at test time). Its
            confidence is the probability of an error up to `Calibration.threshold` of the bounding-box diagonal (2 %),
            and a radius comes with it that holds the true point with probability `Calibration.coverage` (0.9). A run
            without calibration gives no radius, and as confidence what each map itself says of that probability.
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
            **self._trust(maps, scale),
            covariance=(maps.covariance[0].double() * scale.square()).numpy(),
            visibility=_presence(maps, self.template).numpy(),
            point_index=nearest_point(position, points).numpy(),
            probability=maps.probabilities[0].float().numpy(),
            truth=None if truth is None else truth.numpy(),
            color=prepared.color.numpy() if "color" in prepared else None,
        )

    def _trust(self, maps: KeypointDistribution, scale: Tensor) -> dict[str, Any]:
        """The fields of a prediction that say how far to trust it, of the maps of one cloud."""
        fitted = self.calibration
        if fitted is None:
            return {"confidence": confidence_measure(maps)[0].numpy()}
        measured = confidence_measure(maps, fitted.measure, fitted.threshold)[0]
        radius = fitted.radius(maps.spread[0])
        return {
            "confidence": fitted.confidence(measured).numpy(),
            "radius": None if radius is None else (radius * scale.squeeze()).numpy(),
            "radius_coverage": None if radius is None else fitted.coverage,
        }

    def predict_file(self, path: str | Path, *, num_points: int | None = None, seed: int = 0) -> Prediction:
        """Find the keypoints of a mesh or cloud file, in its own units and frame.

        Args:
            path: see `pcsargmax.datasets.read_cloud`.
            num_points: sampled from the file; None takes as many as in training.
            seed: of the sampling.
        """
        cloud = read_cloud(path)
        item = cloud_item(cloud, num_points or self.settings.num_points, seed, name=str(path))
        found = self.predict(item, name=Path(path).name)
        nearest = cKDTree(cloud.points).query(found.position)[1]
        return dataclasses.replace(found, file_index=nearest)

    def with_data(self, place: str | Path) -> Run:
        """The same run, its data found elsewhere: the folder itself, or the root of a category."""
        field = {"folder": "data", "category": "root"}[self.source]
        settings = TrainSettings.from_dict(self.settings.to_dict() | {field: str(place)})
        return dataclasses.replace(self, settings=settings)

    def dataset(self, split: str) -> Any:
        """A split of the run's data.

        Raises:
            ValueError: the data have other keypoints than the run was trained for.
        """
        dataset = open_dataset(self.settings, split)
        if dataset.keypoint_names != self.keypoint_names:
            raise ValueError(
                f"{self.settings.data}: expected the keypoints that {self.folder} was trained for, "
                f"{', '.join(self.keypoint_names)}; got {', '.join(dataset.keypoint_names)}"
            )
        return dataset

    def predictions(self, split: str = "test", *, most: int | None = None) -> list[Prediction]:
        """Predictions, with their truth, of the shapes of a split, or of the first `most`."""
        dataset = self.dataset(split)
        return [self.predict(dataset[i]) for i in range(min(len(dataset), most or len(dataset)))]

    def evaluate(
        self,
        split: str = "test",
        *,
        thresholds: tuple[float, ...] = (0.01, 0.02, 0.05),
        iou_threshold: float = 0.1,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Measure the detector and the template baseline on a split of its data.

        Args:
            split: of the data set the run was trained on.
            thresholds: of PCK, in `unit`.
            iou_threshold: of the Hungarian-matched mIoU, in `unit`.
            seed: of the bootstrap.
            progress: called with (done, total).

        Returns:
            JSON-able: "data", "split", "unit", "objective", "settings" (of the training), "checkpoint",
            "keypoint_names", "presence_accuracy", "seconds_per_cloud", "seen_in_training" (how many of the shapes),
            for each of `ESTIMATES` the values of `PCK.compute` and `KeypointIoU.compute`, and as
            `ConfidenceScorer.compute` gives them "confidence" and "radius", the latter None where there is none.
        """
        dataset = self.dataset(split)
        seen = sum(name in self.trained_on for name in model_ids(dataset))
        if seen:
            warnings.warn(
                f"{seen} of the {len(dataset)} shapes of split {split!r} were trained on or chose the checkpoint: "
                "the figures flatter the run",
                stacklevel=2,
            )
        scorers = {name: Scorer(thresholds, iou_threshold, seed) for name in ESTIMATES}
        trust = ConfidenceScorer(self.calibration)
        present: list[Tensor] = []
        seconds = 0.0
        for i in range(len(dataset)):
            item = dataset[i]
            start = time.perf_counter()
            found = self.predict(item)
            seconds += time.perf_counter() - start
            length = 1.0 if self.unit == "raw" else float(_diagonal(item.pos))
            exists = torch.from_numpy(found.visibility) >= 0.5
            for name, guess in estimates(found, self.template).items():
                claimed = self.template.usual if name.startswith("template") else exists
                truth = item.keypoint_pos.double() / length
                scorers[name].update(guess[None] / length, truth, item.keypoint_visible, claimed[None])
            trust.update(found, length)
            present.append(exists == item.keypoint_visible[0])
            if progress is not None:
                progress(i + 1, len(dataset))
        return {
            "data": self.settings.data,
            "split": split,
            "unit": self.unit,
            "objective": self.settings.objective,
            "settings": self.settings.to_dict(),
            "checkpoint": self.checkpoint.name,
            "keypoint_names": list(self.keypoint_names),
            **{name: scorer.compute() for name, scorer in scorers.items()},
            **trust.compute(),
            "presence_accuracy": torch.stack(present).double().mean().item(),
            "seconds_per_cloud": seconds / len(dataset),
            "seen_in_training": seen,
        }


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
    if checkpoint not in ("best", "last"):
        raise ValueError(f"checkpoint must be best or last, got {checkpoint!r}")
    path = Path(path)
    file = path if path.is_file() else path / "checkpoints" / f"{checkpoint}.ckpt"
    if not path.is_file() and checkpoint == "best" and not file.is_file():
        file = path / "checkpoints" / "last.ckpt"
    if not file.is_file():
        raise FileNotFoundError(f"{path}: no run there; looked for {file}")
    place = usable_device(device)
    content = _read_checkpoint(file)
    metadata = content["pcsargmax"]
    try:
        settings = TrainSettings.from_dict(metadata["settings"])
        with torch.random.fork_rng(devices=[]):  # the weights it begins with are drawn, and then replaced
            detector = KeypointDetector(len(metadata["keypoint_names"]), settings.backbone)
        prefix = "detector."
        weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
        detector.load_state_dict(weights)
        return Run(
            folder=_folder_of(path),
            checkpoint=file,
            settings=settings,
            keypoint_names=tuple(metadata["keypoint_names"]),
            unit=metadata["unit"],
            source=metadata["source"],
            trained_on=frozenset(metadata["trained_on"]) | frozenset(metadata["chosen_by"]),
            template=Template.from_dict(metadata["template"]),
            calibration=None if metadata["calibration"] is None else Calibration.from_dict(metadata["calibration"]),
            detector=detector.to(place).eval(),
        )
    except RuntimeError as error:
        raise ValueError(f"{file}: a damaged checkpoint: its weights do not fit its settings") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{file}: a damaged checkpoint: {type(error).__name__}: {error}") from error


def _read_checkpoint(file: Path) -> dict[str, Any]:
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
