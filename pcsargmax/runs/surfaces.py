"""A trained network for surfaces in slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcsargmax.core.bases import BASIS_BY_NAME
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.datasets.images.item import SurfaceItem
from pcsargmax.io.images import read_image
from pcsargmax.models.retina_net import RetinaNet, columns, from_columns, surface_rows
from pcsargmax.predictions.image import SurfacePrediction
from pcsargmax.runs.base import BaseRun
from pcsargmax.runs.checkpoint import Checkpoint
from pcsargmax.runs.image_sources import open_images
from pcsargmax.runs.networks import build_retina, channels_last
from pcsargmax.runs.prepare_images import slice_tensor
from pcsargmax.settings.images import ImageSettings


@dataclass(frozen=True, eq=False, kw_only=True)
class SurfaceRun(BaseRun[SurfaceItem, SurfacePrediction]):
    """A trained network for surfaces in slices with its settings, surface names and checkpoint.

    Attributes:
        surface_names: S names, from top to bottom.
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
        ...     source="procedural",
        ...     trained_on=frozenset(),
        ...     network=RetinaNet(len(slices.surface_names), channels=(4, 8)).eval(),
        ... )
        >>> run.predict(slices[0]).rows.shape  # the row of each surface in each column, pixels
        (6, 96)
    """

    kind = "image_surfaces"
    modality = "image"
    target = "surface"
    settings_type = ImageSettings

    settings: ImageSettings
    surface_names: tuple[str, ...]
    network: RetinaNet

    @classmethod
    def _build(cls, settings: ImageSettings, content: Checkpoint) -> RetinaNet:
        return channels_last(build_retina(settings, len(content.metadata["surface_names"])))

    @classmethod
    def _fields(cls, settings: ImageSettings, metadata: dict[str, Any]) -> dict[str, Any]:
        return {"source": settings.source}

    @torch.inference_mode()
    def predict(self, item: SurfaceItem) -> SurfacePrediction:
        """Find the surfaces of one slice: the expectation of each column's map, put in order, with its deviation.

        Raises:
            ValueError: a slice whose sides are not multiples of what the network halves.
        """
        images = slice_tensor(item.image)[None].to(self.device, memory_format=torch.channels_last)
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

    def dataset(self, split: str) -> Any:
        """Open a split of the run's data.

        Raises:
            ValueError: the data have other surfaces than those that the run was trained for.
        """
        return self._check_names(open_images(self.settings, split))

    def evaluate(
        self,
        split: str = "",
        *,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        on_prediction: Callable[[SurfaceItem, SurfacePrediction], None] | None = None,
    ) -> dict[str, Any]:
        """Evaluate the network on a split of its data.

        Args:
            split: of the data set; empty is "test".
            seed: of the bootstrap.
            progress: called with (done, total).
            on_prediction: called with each slice and its prediction, so that nothing need be predicted twice.

        Returns:
            JSON-able: what `BaseRun.evaluate` says, "unit" ("micrometres" where the data tell the height of a pixel,
            else "pixels"), "surfaces" (what `SurfaceError` computes, in that unit), and "images": "name" (M) and
            "errors" (M, S), mean absolute distance of each slice and surface, in that unit, None where unknown.

        Raises:
            ValueError: other data than those of the training.
        """
        from pcsargmax.metrics import SurfaceError
        from pcsargmax.runs.evaluation.plain import computed, rounded

        split = split or self.default_split
        dataset = self.dataset(split)
        scale = dataset.micrometres
        metric = SurfaceError(scale=scale or 1.0, seed=seed).set_dtype(torch.float64)
        names: list[str] = []
        errors: list[list[float | None]] = []

        def update(item: SurfaceItem, prediction: SurfacePrediction) -> None:
            rows, target = (torch.from_numpy(part)[None] for part in (prediction.rows, item.surfaces))
            subject = item.extra.get("subject")
            metric.update(rows, target, None if subject is None else torch.tensor([int(subject)]))
            names.append(item.name)
            errors.append(rounded((scale or 1.0) * (rows - target)[0].abs().nanmean(dim=1)))
            if on_prediction is not None:
                on_prediction(item, prediction)

        head = self._measure(dataset, split, self.predict_many, update, progress)
        return head | {
            "unit": "pixels" if scale is None else "micrometres",
            "surfaces": computed(metric),
            "images": {"name": names, "errors": errors},
        }
