"""Sparsification: how the mean error falls when the least sure keypoints are left out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import basic_interval, check_num_bootstrap, resample_weights
from pcsargmax.metrics.calibration import checked_pair
from pcsargmax.metrics.cases import add_case_states, add_cases, collected_cases


class Sparsification(NamedTuple):
    """Mean error of the surest, by the share of the cases that is kept.

    Attributes:
        kept: (S,) shares, ascending to 1.
        error: (S,) mean error of the surest share.
        oracle: (S,) mean error of the share of least error: no order of confidence is better.
    """

    kept: Tensor
    error: Tensor
    oracle: Tensor


def sparsification_curve(confidence: Tensor, error: Tensor, *, num_steps: int = 20) -> Sparsification:
    """Mean error of the surest k/num_steps of the cases, k = 1 to num_steps (Ilg et al. 2018, Uncertainty Estimates).

    Cases of equal confidence are taken in random order; what is returned is the mean over the orders.

    Args:
        confidence: (n,) higher is surer; any range.
        error: (n,) in any unit.
        num_steps: of the curve; the number kept is rounded up.

    Returns:
        The curve, float64.

    Raises:
        ValueError: no case, sets of unequal length, values that are not finite, or no step.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    by_confidence, by_error = _kept_means(*checked_pair(confidence, error, ("confidence", "error")))
    step = torch.arange(1, num_steps + 1, device=by_error.device)
    last = (step * len(by_error) + num_steps - 1) // num_steps - 1  # whole numbers, to round up exactly
    return Sparsification(step.double() / num_steps, by_confidence[last], by_error[last])


def sparsification_error(confidence: Tensor, error: Tensor) -> Tensor:
    """Area between the sparsification curve and the oracle's (AUSE), exactly: the mean gap over all n numbers kept.

    Ilg et al. (2018) divide it by the mean error of all. 0: the order of confidence is that of the error.

    Returns:
        () float64, the unit of the error. Arguments and errors as of `sparsification_curve`.
    """
    by_confidence, by_error = _kept_means(*checked_pair(confidence, error, ("confidence", "error")))
    return (by_confidence - by_error).mean()


class SparsificationError(Metric):
    """The sparsification curve of confidence and its distance from the best there could be.

    `compute` returns float64 tensors:

    - "kept", "error", "oracle" (num_steps,): as in `sparsification_curve`;
    - "ause": as in `sparsification_error`, the unit of the errors; "ause_relative": over the mean error, NaN where that
      is 0; "ause_random": what confidence that tells nothing would have in the mean;
    - "ause/low", "ause/high": ends of the 95 % bootstrap interval over models (`basic_interval`); NaN for a single one.

    Args:
        num_steps: of the curve.
        num_bootstrap: resamples for the interval; 0 leaves it out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    def __init__(self, num_steps: int = 20, num_bootstrap: int = 1000, seed: int = 0) -> None:
        """See the class."""
        super().__init__()
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        check_num_bootstrap(num_bootstrap)
        self.num_steps, self.num_bootstrap, self.seed = num_steps, num_bootstrap, seed
        add_case_states(self)

    def update(self, confidence: Tensor, error: Tensor) -> None:
        """Add models: confidence (B, K), higher is surer, and error (B, K), NaN where the keypoint is absent."""
        add_cases(self, confidence, error)

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no keypoint was given, or values that are not finite.
        """
        confidences, errors = collected_cases(self)
        visible = ~errors.isnan()
        confidence, error = confidences[visible], errors[visible]
        curve = sparsification_curve(confidence, error, num_steps=self.num_steps)._asdict()
        area = sparsification_error(confidence, error)
        curve |= {
            "ause": area,
            "ause_relative": area / error.mean() if error.any() else area.new_tensor(torch.nan),
            "ause_random": sparsification_error(torch.zeros_like(error), error),
        }
        if self.num_bootstrap:
            low, high = self._interval(area, confidence, error, visible.nonzero()[:, 0], len(errors))
            curve |= {"ause/low": low, "ause/high": high}
        return {name: value.to(self.device) for name, value in curve.items()}

    def _interval(
        self, area: Tensor, confidence: Tensor, error: Tensor, model: Tensor, num_models: int
    ) -> tuple[Tensor, Tensor]:
        """Ends of the interval of the area, of cases (n,) and the model of each."""
        if num_models < 2:
            return area.new_tensor(torch.nan), area.new_tensor(torch.nan)
        weights = resample_weights(num_models, self.num_bootstrap, seed=self.seed).long()[:, model]
        drawn = [
            sparsification_error(confidence.repeat_interleave(often), error.repeat_interleave(often))
            for often in weights[weights.any(dim=1)]
        ]
        return basic_interval(area, torch.stack(drawn), limits=(0.0, torch.inf))


def _kept_means(confidence: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Mean error of the k surest, and of the k of least error, for k = 1 to n: both (n,)."""
    distinct, place = confidence.unique(return_inverse=True)
    often = torch.bincount(place, minlength=len(distinct)).double()
    alike = torch.zeros_like(distinct).index_add_(0, place, error) / often  # mean over the orders of equal ones
    order = confidence.argsort(descending=True, stable=True)
    number = torch.arange(1, len(error) + 1, dtype=torch.float64, device=error.device)
    return alike[place][order].cumsum(0) / number, error.sort().values.cumsum(0) / number
