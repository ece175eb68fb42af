"""Surfaces in slices, as a LightningModule."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from pcsargmax.models.retina_net import RetinaMaps, RetinaNet, columns, surface_rows
from pcsargmax.runs.networks import channels_last
from pcsargmax.settings.images import ImageSettings
from pcsargmax.training.images.data import SurfaceBatch
from pcsargmax.training.images.objective import make_grid_objective
from pcsargmax.training.images.pose_module import step_schedule
from pcsargmax.training.module import RunModule

#: Keeps the overlap of a layer that is nowhere from being 0 / 0.
_DICE_EPS = 1.0


class SurfaceModule(RunModule):
    """Train a RetinaNet (He et al. 2019): each column of each surface is a 1-D map of the core, in pixels.

    The loss is the objective on the columns, plus `label_weight` times the sum of three: the cross-entropy of the
    annotated row in each column, and cross-entropy and Dice of the layer of each pixel. In training the surfaces are
    each by itself; `surface_rows` puts them in order. Validation logs the mean absolute distance in pixels, which
    chooses the best checkpoint.

    Args:
        network: whose maps are trained.
        settings: of the run.
        metadata: plain values kept in the checkpoint, from which a run is opened again.

    Example:
        >>> from pcsargmax import ImageSettings, RetinaNet, SurfaceModule
        >>> settings = ImageSettings(data="slices", lr=2e-3, lr_schedule="constant")
        >>> module = SurfaceModule(RetinaNet(6, channels=(4, 8)), settings, metadata={})
        >>> module.configure_optimizers().param_groups[0]["lr"]
        0.002
    """

    settings: ImageSettings

    def __init__(self, network: RetinaNet, settings: ImageSettings, metadata: dict[str, Any]) -> None:
        super().__init__(settings, metadata)
        self.network = channels_last(network)
        self.objective = make_grid_objective(settings)
        self.val_total, self.val_count = 0.0, 0

    def forward(self, batch: SurfaceBatch) -> RetinaMaps:
        """The maps of a batch."""
        maps: RetinaMaps = self.network(batch.images.contiguous(memory_format=torch.channels_last))
        return maps

    def training_step(self, batch: SurfaceBatch, batch_idx: int) -> Tensor:
        """Loss of a step."""
        maps = self(batch)
        location = self.location_loss(maps, batch, self.progress, self.step_generator())
        labels = label_loss(maps, batch)
        self.log_mean("train/loss", location, len(batch.images), prog_bar=True)
        self.log_mean("train/labels", labels, len(batch.images))
        return location + self.settings.label_weight * labels

    def location_loss(
        self, maps: RetinaMaps, batch: SurfaceBatch, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        """Mean of the objective over the known rows, () in pixels; 0 where none is."""
        grid, known = RetinaNet.grid(maps.surfaces.shape[2]), _per_column(batch.known)
        target = _per_column(batch.rows).unsqueeze(-1)  # (B·W, S, 1)
        errors = self.objective(columns(maps.surfaces), grid, target, progress, generator)
        return errors.where(known, 0).sum() / known.sum().clamp_min(1)

    def validation_step(self, batch: SurfaceBatch, batch_idx: int) -> None:
        """Collect the errors of a batch."""
        away = (surface_rows(self(batch).surfaces) - batch.rows).abs()[batch.known].detach()
        self.val_total, self.val_count = self.val_total + float(away.sum()), self.val_count + len(away)

    def on_validation_epoch_end(self) -> None:
        """Log what was collected."""
        own = torch.tensor([self.val_total, self.val_count], device=self.device)
        total, count = cast(Tensor, self.all_gather(own)).reshape(-1, 2).sum(dim=0)
        if count == 0:
            raise ValueError("validation needs at least one known row, got none")
        self.log("val/error", (total / count).float(), prog_bar=True, sync_dist=True)
        self.val_total, self.val_count = 0.0, 0

    def epoch_schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler | None:
        """Return the schedule of the settings that lowers the rate after epochs, if they name it."""
        return step_schedule(optimizer, self.settings)


def label_loss(maps: RetinaMaps, batch: SurfaceBatch) -> Tensor:
    """The sum of three, () each: cross-entropy of the known rows, cross-entropy and Dice of the layers of pixels.

    The layer of a pixel is known in columns where all surfaces are; in others it does not count.
    """
    height = maps.surfaces.shape[2]
    row = batch.rows.round().long().clamp(0, height - 1)
    log_rows = functional.log_softmax(maps.surfaces.float(), dim=2).gather(2, row.unsqueeze(2)).squeeze(2)  # (B, S, W)
    rows = -log_rows.where(batch.known, 0).sum() / batch.known.sum().clamp_min(1)
    label, whole = layer_labels(batch, height), batch.known.all(dim=1)  # (B, H, W), (B, W)
    counted = whole.unsqueeze(1).expand_as(label)
    log_layers = functional.log_softmax(maps.layers.float(), dim=1)
    right = log_layers.gather(1, label.unsqueeze(1)).squeeze(1)
    pixels = -right.where(counted, 0).sum() / counted.sum().clamp_min(1)
    share = log_layers.exp() * counted.unsqueeze(1)
    truth = functional.one_hot(label, maps.layers.shape[1]).movedim(-1, 1) * counted.unsqueeze(1)
    both, either = (share * truth).sum(dim=(0, 2, 3)), (share + truth).sum(dim=(0, 2, 3))
    dice = 1 - ((2 * both + _DICE_EPS) / (either + _DICE_EPS)).mean()
    return rows + pixels + dice


def layer_labels(batch: SurfaceBatch, height: int) -> Tensor:
    """(B, H, W) long, the layer of each pixel: how many surfaces lie above its centre, 0 to S."""
    rows = torch.arange(height, device=batch.rows.device).reshape(1, 1, -1, 1)
    return (batch.rows.unsqueeze(2) <= rows).sum(dim=1)


def _per_column(values: Tensor) -> Tensor:
    """(B, S, W) as (B·W, S), the order of `columns`."""
    return values.transpose(1, 2).flatten(0, 1)
