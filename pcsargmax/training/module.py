"""What the LightningModules of every kind of training share."""

from __future__ import annotations

from typing import Any, cast

import lightning
import torch
from torch import Tensor

from pcsargmax.ops.seeds import mix_seed
from pcsargmax.settings.common import RunSettings
from pcsargmax.training.objective import SupervisedSettings


class RunModule(lightning.LightningModule):
    """Seeds, optimizer, schedule, logging and metadata of a training.

    Every random number of a step is drawn from a generator seeded by (seed, step, rank): a resumed run continues as if
    it had never been interrupted, and nothing global is seeded.

    Args:
        settings: of the run.
        metadata: plain values kept in the checkpoint, from which a run is opened.
    """

    settings: RunSettings

    def __init__(self, settings: RunSettings, metadata: dict[str, Any]) -> None:
        super().__init__()
        self.settings, self.metadata = settings, metadata

    @property
    def step_seed(self) -> int:
        """Seed of the noise of this step and process."""
        return mix_seed(self.settings.seed, self.global_step, self.global_rank)

    def step_generator(self) -> torch.Generator:
        """Return a generator for the noise of this step."""
        return torch.Generator(self.device).manual_seed(self.step_seed)

    @property
    def progress(self) -> float:
        """Share of the steps of the training that are done."""
        return self.global_step / max(1, int(self.trainer.estimated_stepping_batches))

    def log_mean(self, name: str, value: Tensor, batch_size: int, *, prog_bar: bool = False) -> None:
        """Log the mean of a value over the items of an epoch."""
        self.log(name, value, on_step=False, on_epoch=True, prog_bar=prog_bar, batch_size=batch_size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return the optimizer with the schedule that the settings name, for Lightning."""
        optimizer = self.make_optimizer()
        if self.settings.lr_schedule == "onecycle":
            steps = int(self.trainer.estimated_stepping_batches)
            cycle = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, self.settings.lr, total_steps=steps, pct_start=0.3, cycle_momentum=False
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}
        schedule = self.epoch_schedule(optimizer)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam with decoupled weight decay; where the settings have no weight decay, this is overridden."""
        settings = cast(SupervisedSettings, self.settings)
        return torch.optim.AdamW(self.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)

    def epoch_schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler | None:
        """Return a schedule that changes the rate after epochs; None keeps it constant."""
        return None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is needed to open the run."""
        checkpoint["pcsargmax"] = self.metadata
