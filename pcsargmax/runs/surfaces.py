"""A finished training on slices with surfaces: open it, measure it, use it on new slices."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from pcsargmax.core.bases import BASIS_BY_NAME
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.datasets.images.item import SurfaceItem
from pcsargmax.io.images import read_image
from pcsargmax.metrics import SurfaceError
from pcsargmax.models.retina_net import RetinaNet, columns, from_columns, surface_rows
from pcsargmax.predictions.image import SurfacePrediction
from pcsargmax.runs.base import Checkpoint, warn_of_seen
from pcsargmax.runs.evaluation.plain import computed, rounded
from pcsargmax.runs.image_sources import open_images
from pcsargmax.runs.images import moved
from pcsargmax.runs.networks import build_retina
from pcsargmax.runs.prepare_images import slice_tensor
from pcsargmax.settings.images import ImageSettings


@dataclass(frozen=True, eq=False)
class SurfaceRun:
    """A trained network for surfaces in slices with its settings, surface names and checkpoint.

    Attributes:
        folder: the run folder.
        checkpoint: the file the weights came from.
        settings: of the training.
        surface_names: S names, downwards.
        trained_on: names of the slices that the weights, or the choice of the checkpoint, have seen.
        network: in evaluation mode.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax import ImageSettings, RetinaNet, SurfaceRun
        >>> from pcsargmax.datasets.images import ProceduralSlices
        >>> slices = ProceduralSlices("test", size=(64, 96))
        >>> run = SurfaceRun(  # `train_images` and `load_run` return one; here with random weights
        ...     folder=Path("runs/slices"),
        ...     checkpoint=Path("runs/slices/checkpoints/best.ckpt"),
        ...     settings=ImageSettings(data="slices"),
        ...     surface_names=slices.surface_names,
        ...     trained_on=frozenset(),
        ...     network=RetinaNet(len(slices.surface_names), channels=(4, 8)).eval(),
        ... )
        >>> run.predict(slices[0]).rows.shape  # the row of each surface in each column, pixels
        (6, 96)
    """

    folder: Path
    checkpoint: Path
    settings: ImageSettings
    surface_names: tuple[str, ...]
    trained_on: frozenset[str]
    network: RetinaNet

    @property
    def source(self) -> str:
        """What the data are: "official" or "procedural"."""
        return self.settings.source

    default_split = "test"

    @torch.inference_mode()
    def predict(self, item: SurfaceItem) -> SurfacePrediction:
        """Find the surfaces of one slice: the expectation of each column's map, put in order, with its deviation.

        Raises:
            ValueError: a slice whose sides are not multiples of what the network halves.
        """
        device = next(self.network.parameters()).device
        images = slice_tensor(item.image)[None].to(device, memory_format=torch.channels_last)
        logits = self.network(images).surfaces.float().cpu()  # (1, S, H, W)
        height, width = logits.shape[2:]
        maps = KeypointDistribution(columns(logits), RetinaNet.grid(height), basis=BASIS_BY_NAME[self.settings.basis])
        spread = from_columns(maps.covariance.squeeze(-1).sqrt(), width)[0]  # (S, W)
        return SurfacePrediction(
            name=item.name,
            image=item.image,
            surface_names=self.surface_names,
            rows=surface_rows(logits)[0].double().numpy(),
            std=spread.double().numpy(),
            truth=item.surfaces if np.isfinite(item.surfaces).any() else None,
        )

    def predict_file(self, path: str | Path) -> SurfacePrediction:
        """Find the surfaces in the file of a slice."""
        path, image = Path(path), read_image(path)
        unknown = np.full((len(self.surface_names), image.shape[1]), np.nan)
        return self.predict(SurfaceItem(path.name, image, unknown))

    def with_data(self, place: str | Path) -> Self:
        """The same run, the official files found elsewhere."""
        return dataclasses.replace(self, settings=moved(self.settings, place))

    def dataset(self, split: str) -> Any:
        """A split of the run's data.

        Raises:
            ValueError: the data have other surfaces than the run was trained for.
        """
        dataset = open_images(self.settings, split)
        if tuple(dataset.surface_names) != self.surface_names:
            raise ValueError(
                f"{self.settings.data}: expected the surfaces that {self.folder} was trained for, "
                f"{', '.join(self.surface_names)}; got {', '.join(dataset.surface_names)}"
            )
        return dataset

    def predictions(self, split: str = "", *, most: int | None = None) -> list[SurfacePrediction]:
        """Predictions, with their truth, of the slices of a split, or of the first `most`."""
        dataset = self.dataset(split or self.default_split)
        return [self.predict(dataset[i]) for i in range(min(len(dataset), most or len(dataset)))]

    def evaluate(
        self,
        split: str = "",
        *,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        on_prediction: Callable[[SurfaceItem, SurfacePrediction], None] | None = None,
    ) -> dict[str, Any]:
        """Measure the network on a split of its data.

        Args:
            split: of the data set; empty is "test".
            seed: of the bootstrap.
            progress: called with (done, total).
            on_prediction: called with each slice and what was found in it, so that nothing need be predicted twice.

        Returns:
            JSON-able: "kind", "data", "split", "objective", "settings" (of the training), "checkpoint",
            "surface_names", "unit" ("micrometres" where the data tell the height of a pixel, else "pixels"),
            "seconds_per_image", "seen_in_training" (how many of the slices), "surfaces" (what `SurfaceError` computes,
            in that unit), and "images": "name" (M) and "errors" (M, S), mean absolute distance of each slice and
            surface, in that unit, None where unknown.

        Raises:
            ValueError: other data than those of the training.
        """
        split = split or self.default_split
        dataset = self.dataset(split)
        scale = dataset.micrometres
        metric = SurfaceError(scale=scale or 1.0, seed=seed).set_dtype(torch.float64)
        seen = warn_of_seen(self.trained_on, dataset.names, split, "images")
        seconds, names, errors = 0.0, [], []
        for i in range(len(dataset)):
            item = dataset[i]
            start = time.perf_counter()
            found = self.predict(item)
            seconds += time.perf_counter() - start
            rows, target = (torch.from_numpy(part)[None] for part in (found.rows, item.surfaces))
            subject = item.extra.get("subject")
            metric.update(rows, target, None if subject is None else torch.tensor([int(subject)]))
            names.append(item.name)
            errors.append(rounded((scale or 1.0) * (rows - target)[0].abs().nanmean(dim=1)))
            if on_prediction is not None:
                on_prediction(item, found)
            if progress is not None:
                progress(i + 1, len(dataset))
        return {
            "kind": "image_surfaces",
            "data": self.settings.data,
            "split": split,
            "objective": self.settings.objective,
            "settings": self.settings.to_dict(),
            "checkpoint": self.checkpoint.name,
            "surface_names": list(self.surface_names),
            "unit": "pixels" if scale is None else "micrometres",
            "seconds_per_image": seconds / len(dataset),
            "seen_in_training": seen,
            "surfaces": computed(metric),
            "images": {"name": names, "errors": errors},
        }


def open_surface_run(found: Checkpoint, device: torch.device) -> SurfaceRun:
    """The run of a checkpoint that `train_images` left for surfaces."""
    metadata = found.metadata
    settings = ImageSettings.from_dict(metadata["settings"])
    with torch.random.fork_rng(devices=[]):  # the weights it begins with are drawn, and then replaced
        network = build_retina(settings, len(metadata["surface_names"]))
    network.load_state_dict(found.weights_of("network"))
    return SurfaceRun(
        folder=found.folder,
        checkpoint=found.file,
        settings=settings,
        surface_names=tuple(metadata["surface_names"]),
        trained_on=frozenset(metadata["trained_on"]) | frozenset(metadata["chosen_by"]),
        network=network.to(device, memory_format=torch.channels_last).eval(),  # type: ignore[call-overload]
    )
