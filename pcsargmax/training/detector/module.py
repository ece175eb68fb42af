"""The supervised detector as a LightningModule."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanMetric

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.metrics import PCK
from pcsargmax.metrics.symmetry import least_loss_labeling, nearest_labeling
from pcsargmax.models.keypoint_detector import KeypointDetector, Scores
from pcsargmax.models.template import Template
from pcsargmax.ops.seeds import seeded_weights
from pcsargmax.predictions.calibration import Calibration
from pcsargmax.predictions.calibration_samples import CalibrationSamples
from pcsargmax.runs.detector import build_detector
from pcsargmax.runs.prepare import basis_sigma, dense_sigma
from pcsargmax.runs.stages import locate, measure_of, view_of
from pcsargmax.runs.symmetry import choose_labeling
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.clouds import DetectorBatch
from pcsargmax.training.detector.objective import make_comparison, make_look_objective, make_objective
from pcsargmax.training.module import RunModule

#: How many keypoints of a batch, drawn at random, a step trains the second look on: its time grows with them.
_LOOKED_AT = 12
#: So early no training has learnt anything, so that nothing can be said of it.
_FEWEST_STEPS = 100


class DetectorModule(RunModule):
    """Train a KeypointDetector; validation PCK is in the unit that `length_unit` names.

    Where `settings.symmetry` is not "none", batches bring `keypoint_labelings`: of each shape the labelling of least
    loss is learnt, which may be the mirrored one of all shapes. Validation logs PCK and error both against the
    annotation ("val/…") and against the nearest labelling ("val/symmetric/…"); the latter chooses the best checkpoint
    and is what the calibration is of.

    Args:
        detector: the network.
        settings: of the run.
        length_unit: "raw" or "diagonal": what the thresholds of the validation PCK are multiples of.
        metadata: plain values kept in the checkpoint, from which a run is opened again.
        template_error: mean error of the template on the validation split, in the unit of `length_unit`; it is kept in
            the checkpoint beside the detector's, which may not beat it. None where they are not compared.
        hopeless_error: mean error on the training shapes, in the unit frame, that must be beaten after a third of the
            epochs and a hundred steps, such as that of the template; else a warning says so. None: nothing is said.

    Attributes:
        calibration: fitted at the end of each validation to the weights that were validated, the averaged ones where
            there are such, and kept in the checkpoint, which is saved right after and holds these weights; None until
            then, and without a validation split.

    Example:
        >>> from pcsargmax import DetectorModule, KeypointDetector, TrainSettings
        >>> settings = TrainSettings(backbone="light", lr=2e-3, lr_schedule="constant")
        >>> module = DetectorModule(KeypointDetector(4, "light"), settings, length_unit="raw", metadata={})
        >>> module.configure_optimizers().param_groups[0]["lr"]
        0.002
    """

    settings: TrainSettings
    calibration: Calibration | None

    def __init__(
        self,
        detector: KeypointDetector,
        settings: TrainSettings,
        length_unit: str,
        metadata: dict[str, Any],
        template_error: float | None = None,
        hopeless_error: float | None = None,
    ) -> None:
        super().__init__(settings, metadata)
        self.detector, self.length_unit, self.template_error = detector, length_unit, template_error
        self.hopeless_error = hopeless_error
        self.train_error = MeanMetric()
        self.validation_error: float | None = None
        self.objective, self.comparison = make_objective(settings), make_comparison(settings)
        self.look_objective = make_look_objective(settings)
        self.val_pck = PCK(num_bootstrap=0)
        self.val_symmetric_pck = PCK(num_bootstrap=0)
        self.val_samples = CalibrationSamples(measure_of(detector))
        self.calibration = None

    def forward(self, batch: DetectorBatch) -> Scores:
        """Score a batch."""
        clouds = batch.clouds
        return self.detector(clouds.pos, None, clouds.batch, batch.neighborhoods)

    def training_step(self, batch: DetectorBatch, batch_idx: int) -> Tensor:
        """Loss of a step: the objective over visible keypoints, and the presence head's."""
        clouds, visible = batch.clouds, batch.clouds.keypoint_visible
        scores = self(batch)
        sigma = basis_sigma(self.settings, clouds.sigma, clouds.frame_scale)
        target = clouds.keypoint_pos
        if self.settings.symmetry != "none":
            labelings = clouds.keypoint_labelings
            losses = self.comparison(scores, labelings, sigma, self.progress, self.step_generator())
            target = choose_labeling(labelings, least_loss_labeling(losses, visible))
        errors = self.objective(scores, target, sigma, self.progress, self.step_generator())
        location = errors.where(visible, 0).sum() / visible.sum().clamp_min(1)
        presence = functional.binary_cross_entropy_with_logits(scores.presence.float(), visible.float())
        estimate = soft_argmax(scores.logits.detach(), scores.sites, mask=scores.mask)
        if self.detector.second_look is not None:
            location = location + self._second_loss(batch, scores, estimate, target, sigma)
        self.train_error.update((estimate - target).norm(dim=-1)[visible])
        self.log_mean("train/loss", location, len(visible), prog_bar=True)
        self.log_mean("train/presence", presence, len(visible))
        return location + self.settings.presence_weight * presence

    def on_train_epoch_end(self) -> None:
        """Log the error of the maps on the training shapes, and say early so if nothing is learnt."""
        error = self.train_error.compute()
        self.train_error.reset()
        self.log("train/mean_error", error, sync_dist=True)
        due = self.current_epoch == self.settings.epochs // 3 and self.global_step >= _FEWEST_STEPS
        if due and self.hopeless_error is not None and error > self.hopeless_error:
            warnings.warn(
                f"this is not learning: after {self.current_epoch + 1} of {self.settings.epochs} epochs the mean error "
                f"on the training shapes is {error:.4f} of the diagonal, that of the template "
                f"{self.hopeless_error:.4f}; look for wrong landmarks (pcsargmax data check), or for shapes in other "
                "orientations (--rotate 180)",
                stacklevel=2,
            )

    def _second_loss(
        self, batch: DetectorBatch, scores: Scores, estimate: Tensor, target: Tensor, sigma: Tensor
    ) -> Tensor:
        """Loss of the second look around the first estimate or the truth, each with noise."""
        visible, generator = batch.clouds.keypoint_visible, self.step_generator()
        use_truth = torch.rand(visible.shape, generator=generator, device=self.device) < 0.5
        center = torch.where((use_truth & visible)[..., None], target, estimate)
        center = center + self.settings.look_noise * torch.randn(center.shape, generator=generator, device=self.device)
        few = torch.randperm(center.shape[1], generator=generator, device=self.device)[:_LOOKED_AT]
        target, visible = target[:, few], visible[:, few]
        look = self.detector.look_again(scores, center[:, few], batch.dense, few)
        errors = self.look_objective(look, target, dense_sigma(sigma, scores, batch.dense), self.progress, generator)
        loss = errors.where(visible, 0).sum() / visible.sum().clamp_min(1)
        self.log_mean("train/look", loss, len(visible))
        return loss

    def validation_step(self, batch: DetectorBatch, batch_idx: int) -> None:
        """Collect the errors of a batch, and how sure its maps are."""
        clouds = batch.clouds
        sigma = basis_sigma(self.settings, clouds.sigma, clouds.frame_scale)
        view = view_of(self(batch), sigma, batch.dense)
        last = locate(self.detector, [view])[-1]
        # Distances do not depend on where the frame lies, only on its scale.
        length = clouds.frame_scale[..., None] if self.length_unit == "raw" else 1.0
        self.val_pck.update(last.mean * length, clouds.keypoint_pos * length, clouds.keypoint_visible)
        target = clouds.keypoint_pos
        if self.settings.symmetry != "none":
            best = nearest_labeling(last.mean, clouds.keypoint_labelings, clouds.keypoint_visible)
            target = choose_labeling(clouds.keypoint_labelings, best)
            self.val_symmetric_pck.update(last.mean * length, target * length, clouds.keypoint_visible)
        self.val_samples.update(view.maps, target, clouds.keypoint_visible, mean=last.mean)

    def on_validation_epoch_end(self) -> None:
        """Log what was collected, and calibrate by it."""
        found = self.val_pck.compute()
        self.validation_error = float(found["mean_error"])
        shares = self._log_pck("val", found)
        if self.settings.symmetry != "none":
            found = self.val_symmetric_pck.compute()
            shares = self._log_pck("val/symmetric", found)
            self.val_symmetric_pck.reset()
        # What the best checkpoint is chosen by; the error decides only where the shares are equal, such as all zero.
        error = found["mean_error"] / (1 + found["mean_error"])
        self.log("val/score", (shares - 1e-6 * error).double(), sync_dist=True)
        self.calibration = self.val_samples.fit()
        self.val_pck.reset()
        self.val_samples.reset()

    def _log_pck(self, prefix: str, found: dict[str, Tensor]) -> Tensor:
        """Log what a PCK computed; return the mean of its shares, float64."""
        for name in ("pck@0.01", "pck@0.02", "pck@0.05", "mean_error"):
            show = (prefix, name) == ("val", "pck@0.02")
            self.log(f"{prefix}/{name}", found[name].float(), prog_bar=show, sync_dist=True)
        # One number to choose by: a single threshold is coarse on a small split.
        shares = torch.stack([found[f"pck@{threshold}"] for threshold in ("0.01", "0.02", "0.05")]).mean()
        self.log(f"{prefix}/pck", shares.float(), sync_dist=True)
        return shares

    def epoch_schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler | None:
        """Return the schedule that halves the rate, if the settings name it."""
        if self.settings.lr_schedule != "halving":
            return None
        return torch.optim.lr_scheduler.StepLR(optimizer, self.settings.lr_period, gamma=0.5)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is needed to open the run, the calibration, and the errors on the validation split."""
        calibration = None if self.calibration is None else self.calibration.to_dict()
        errors = {"mean_error": self.validation_error, "template_mean_error": self.template_error}
        validation = None if None in errors.values() else errors
        checkpoint["pcsargmax"] = self.metadata | {"calibration": calibration, "validation": validation}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what the last validation left, in case the weights are saved again without another validation."""
        if self.settings.folds:
            return  # what was fitted by folds is of the end of the training that was
        kept = checkpoint["pcsargmax"].get("calibration")
        self.calibration = None if kept is None else Calibration.from_dict(kept)
        self.validation_error = (checkpoint["pcsargmax"].get("validation") or {}).get("mean_error")


def new_detector(settings: TrainSettings, template: Template) -> KeypointDetector:
    """Build the network that the settings name; its weights follow their seed."""
    with seeded_weights(settings.seed):
        return build_detector(settings, len(template.relative), template)
