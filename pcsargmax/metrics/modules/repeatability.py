"""Repeatability of keypoints on perturbed copies of clouds, with intervals over copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.movement import repeatability_values
from pcsargmax.metrics.pck import checked_thresholds, threshold_name


class Repeatability(BootstrapMetric):
    """Mean repeatability over copies, with 95 % bootstrap intervals: one metric for each kind of perturbation.

    `compute` returns "repeatability@0.05" and so on per threshold, "repeatability_any@0.05" for keypoints without
    order, "movement" (mean distance of equal indices, the unit of the positions), the same with "/low" and "/high",
    and "num_models".

    Args:
        thresholds: the unit of the positions, positive and ascending.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        Two keypoints change places on the copy, so they are repeated as points but not by index:

        >>> import torch
        >>> from pcsargmax.metrics import Repeatability
        >>> target = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
        >>> result = Repeatability((0.1,), num_bootstrap=0)(target.flip(1), target)
        >>> {name: float(value) for name, value in result.items()}
        {'repeatability@0.1': 0.0, 'repeatability_any@0.1': 1.0, 'movement': 1.0, 'num_models': 1.0}
    """

    higher_is_better = True

    def __init__(
        self, thresholds: Sequence[float] = (0.05, 0.1), *, num_bootstrap: int = 1000, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        self.thresholds = checked_thresholds(thresholds)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add copies: preds found on them and target (B, K, 3), see `repeatability`."""
        self._append(repeatability_values(preds.detach().cpu(), target.detach().cpu(), self.thresholds))

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no copy was given.
        """
        limits = [threshold_name(t) for t in self.thresholds]
        names = [f"{kind}@{limit}" for kind in ("repeatability", "repeatability_any") for limit in limits]
        names.append("movement")
        values = self._rows(len(names))
        if not len(values):
            raise ValueError("Repeatability needs at least one model, got none")
        return self._results(self._means(names, values), num_models=len(values))
