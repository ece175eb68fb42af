"""Skeleton Merger as a LightningModule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pcsargmax.core.argmax import sampling_argmax, soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.regularizers import distribution_regularizer, variance_regularizer
from pcsargmax.metrics.spacing import smallest_distance
from pcsargmax.models.skeleton_merger import SkeletonMerger, SkeletonScores
from pcsargmax.ops.skeleton import SkeletonLoss, edge_count, edge_pairs, skeleton_loss
from pcsargmax.runs.prepare import basis_sigma
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.training.clouds import DetectorBatch
from pcsargmax.training.module import RunModule
from pcsargmax.training.objective import make_temperature


class DiscoverModule(RunModule):
    """Train a SkeletonMerger; the validation loss is that of the soft-argmax, whatever the objective.

    Args:
        merger: the network.
        settings: of the run.
        metadata: plain values kept in the checkpoint, from which a run is opened again.

    Example:
        >>> from pcsargmax import DiscoverModule, DiscoverSettings, SkeletonMerger
        >>> settings = DiscoverSettings(keypoints=5, temperature_start=0.5)
        >>> DiscoverModule(SkeletonMerger(5), settings, metadata={}).schedule
        Constant(value=0.5)
    """

    settings: DiscoverSettings

    def __init__(self, merger: SkeletonMerger, settings: DiscoverSettings, metadata: dict[str, Any]) -> None:
        super().__init__(settings, metadata)
        self.merger = merger
        self.schedule = make_temperature(settings)

    def forward(self, batch: DetectorBatch) -> SkeletonScores:
        """Score a batch."""
        return self.merger(batch.clouds.pos, batch.clouds.batch, batch.neighborhoods)

    def training_step(self, batch: DetectorBatch, batch_idx: int) -> Tensor:
        """Loss of a step: the mean over clouds and samples, and the regularizer's."""
        with _seeded(self.step_seed, self.device):  # dropout knows no other generator
            scores = self(batch)
        sigma = basis_sigma(self.settings, batch.clouds.sigma, batch.clouds.frame_scale)
        temperature = self.schedule(self.progress)
        with torch.autocast(self.device.type, enabled=False):
            drawn = draw_keypoints(scores, self.settings, sigma, temperature, self.step_generator())
            found = self._loss(drawn, scores)
            loss = found.total.mean() + regularization(scores, self.settings, sigma)
            if self.settings.separation:
                # Of the expectations: samples of two maps that coincide would lie apart by chance.
                expected = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
                crowding = separation_penalty(expected, self.settings.separation_distance).mean()
                loss = loss + self.settings.separation_weight * crowding
        self._log("train", found, scores, loss)
        return loss

    def validation_step(self, batch: DetectorBatch, batch_idx: int) -> None:
        """Log the loss of a batch with the keypoints at the expectation of their maps."""
        scores = self(batch)
        with torch.autocast(self.device.type, enabled=False):
            keypoints = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
            found = self._loss(keypoints, scores)
        self._log("val", found, scores, found.total.mean())

    def _loss(self, keypoints: Tensor, scores: SkeletonScores) -> SkeletonLoss:
        counts = edge_count(keypoints, self.settings.edge_spacing)
        return skeleton_loss(keypoints, scores.strengths, self.merger.offsets, scores.sites, scores.mask, counts=counts)

    def _log(self, stage: str, found: SkeletonLoss, scores: SkeletonScores, loss: Tensor) -> None:
        keypoints = soft_argmax(scores.logits.detach(), scores.sites, mask=scores.mask)
        values = {
            "loss": loss,
            "fidelity": found.fidelity.mean(),
            "coverage": found.coverage.mean(),
            "offset_penalty": found.offset_penalty.mean(),
            "min_distance": smallest_distance(keypoints.cpu()).mean().float(),
        }
        for name, value in values.items():
            self.log_mean(f"{stage}/{name}", value.detach(), len(keypoints), prog_bar=name == "loss")

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam or Adadelta."""
        if self.settings.optimizer == "adadelta":
            return torch.optim.Adadelta(self.parameters(), lr=self.settings.lr, eps=1e-2)
        return torch.optim.Adam(self.parameters(), lr=self.settings.lr)


def draw_keypoints(
    scores: SkeletonScores,
    settings: DiscoverSettings,
    sigma: Tensor,
    temperature: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Keypoints of the maps as the objective has them.

    Args:
        scores: of B clouds.
        settings: `objective`, and of sampling-argmax `num_samples` and `relaxation`.
        sigma: (B,) width of the basis, in the frame of the sites.
        temperature: of the relaxation.
        generator: source of all noise.

    Returns:
        (B · S, K, 3): the S samples of a cloud in a row, as `skeleton_loss` takes them; S is 1 of the soft-argmax.
    """
    if settings.objective != "sampling":
        return soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    samples = sampling_argmax(
        scores.logits,
        scores.sites,
        basis=Gaussian(sigma),
        num_samples=settings.num_samples,
        temperature=temperature,
        relaxation=settings.relaxation,
        mask=scores.mask,
        generator=generator,
    )
    return samples.flatten(0, 1)  # (B, S, K, 3) -> (B S, K, 3)


def regularization(scores: SkeletonScores, settings: DiscoverSettings, sigma: Tensor) -> Tensor:
    """The weighted mean of the regularizer over clouds and keypoints, (); 0 for the objectives that have none."""
    regularizers = {"soft_vr": variance_regularizer, "soft_dr": distribution_regularizer}
    if settings.objective not in regularizers:
        return scores.logits.new_zeros(())
    values = regularizers[settings.objective](
        scores.logits, scores.sites, target_variance=settings.target_variance, spacing=sigma, mask=scores.mask
    )
    return settings.regularizer_weight * values.mean()


def separation_penalty(keypoints: Tensor, distance: float) -> Tensor:
    """Mean over the pairs of keypoints of max(0, 1 − d / distance)², with d = sqrt(1e-6 distance² + |A − B|²).

    Ours, not the paper's: nothing in the loss of Skeleton Merger keeps two keypoints from falling together, which DAS
    rewards.

    Args:
        keypoints: (B, K, 3).
        distance: from which on a pair is free, in the unit of the keypoints.

    Returns:
        (B,) 0 to 1; its slope is finite where two keypoints coincide.
    """
    first, second = edge_pairs(keypoints.shape[1], device=keypoints.device).unbind(dim=1)
    squared = (keypoints[:, first] - keypoints[:, second]).square().sum(dim=-1)
    nearness = (1 - (squared / distance**2 + 1e-6).sqrt()).clamp_min(0)
    return nearness.square().mean(dim=1)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The global generators of CPU and device follow a seed within the block, and are as before after it."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
