"""Keypoints in images, 2-D or 3-D, as a LightningModule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.grid import Grid
from pcsargmax.metrics import PCK
from pcsargmax.models.simple_pose import SimplePose
from pcsargmax.runs.networks import channels_last
from pcsargmax.settings.images import ImageSettings
from pcsargmax.training.images.data import ImageBatch
from pcsargmax.training.images.objective import make_grid_objective
from pcsargmax.training.module import RunModule


class PoseModule(RunModule):
    """Train a SimplePose; all lengths are in cells of its maps.

    Validation logs the mean Euclidean error in cells, which chooses the
    best checkpoint, and the share of keypoints within one cell.

    Args:
        network: whose maps are trained.
        settings: of the run.
        metadata: plain values kept in the checkpoint, from which a run is opened again.

    Example:
        >>> from pcsargmax import ImageSettings, PoseModule, SimplePose
        >>> network = SimplePose(5, "tiny", size=(64, 64), deconv_channels=16)
        >>> module = PoseModule(network, ImageSettings(lr=2e-3, lr_schedule="constant"), metadata={})
        >>> module.configure_optimizers().param_groups[0]["lr"]
        0.002
    """

    settings: ImageSettings

    def __init__(self, network: SimplePose, settings: ImageSettings, metadata: dict[str, Any]) -> None:
        super().__init__(settings, metadata)
        self.network = channels_last(network)
        self.objective = make_grid_objective(settings)
        self.val_errors = PCK((0.5, 1.0, 2.0), num_bootstrap=0)

    def forward(self, batch: ImageBatch) -> Tensor:
        """The maps of a batch, (B, K, *shape) logits."""
        logits: Tensor = self.network(batch.images.contiguous(memory_format=torch.channels_last))
        return logits

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Mean of the objective over the visible keypoints of a batch."""
        loss = self.location_loss(self(batch), batch, self.progress, self.step_generator())
        self.log_mean("train/loss", loss, len(batch.images), prog_bar=True)
        return loss

    def location_loss(
        self, logits: Tensor, batch: ImageBatch, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        """Mean of the objective over visible keypoints, () in cells; 0 where none is.

        Of 3-D maps, a keypoint without depth is compared with the sum of its map over the depth.
        """
        number = batch.visible.sum().clamp_min(1)
        grid, objective = self.network.grid, self.objective
        if grid.dimension == 2:
            errors = objective(logits, grid, batch.target, progress, generator)
            return errors.where(batch.visible, 0).sum() / number
        total = logits.flatten()[0] * 0.0
        flat = batch.visible & ~batch.has_depth
        if batch.has_depth.any():
            maps, target = logits[batch.has_depth].unsqueeze(1), batch.target[batch.has_depth].unsqueeze(1)
            total = total + objective(maps, grid, target, progress, generator).sum()
        if flat.any():
            maps, target = logits[flat].logsumexp(dim=1).unsqueeze(1), batch.target[flat].unsqueeze(1)[..., :2]
            total = total + objective(maps, Grid(grid.shape[1:]), target, progress, generator).sum()
        return total / number

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Collect the errors of a batch."""
        found = soft_argmax(self(batch), self.network.grid)
        target = batch.target.to(found)
        if found.shape[2] == 3:  # of a keypoint without depth, only x and y count
            target = torch.where(batch.has_depth.unsqueeze(2), target, torch.cat([target[..., :2], found[..., 2:]], 2))
        self.val_errors.update(found, target, batch.visible)

    def on_validation_epoch_end(self) -> None:
        """Log what was collected.

        Raises:
            ValueError: no keypoint of the validation split lies on its input.
        """
        try:
            found = self.val_errors.compute()
        except ValueError:
            raise ValueError(
                f"{self.settings.data}: validation needs at least one keypoint within an image, got none"
            ) from None
        self.log("val/error", found["mean_error"].float(), prog_bar=True, sync_dist=True)
        for name in ("0.5", "1", "2"):
            self.log(f"val/pck@{name}", found[f"pck@{name}"].float(), sync_dist=True)
        self.val_errors.reset()

    def epoch_schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler | None:
        """Return the schedule of the settings that lowers the rate after epochs, if they name it."""
        return step_schedule(optimizer, self.settings)


def step_schedule(
    optimizer: torch.optim.Optimizer, settings: ImageSettings
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """Return the schedule that lowers the rate after each of the settings' steps; None without it or without steps."""
    if settings.lr_schedule != "steps" or not settings.lr_steps:
        return None
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, settings.lr_steps, gamma=settings.lr_decay)
