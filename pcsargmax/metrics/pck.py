"""PCK and error of keypoints: raw units, over visible keypoints only, intervals over models.

Errors are Euclidean (`keypoint_errors`), or any others that `PCK.update_errors` is given: geodesic ones, or those of
the best of several labellings.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from pcsargmax.metrics.bootstrap import bootstrap_interval, check_num_bootstrap, ratio_of_sums

Average = Literal["pooled", "model", "id"]


def keypoint_errors(prediction: Tensor, target: Tensor, visible: Tensor) -> Tensor:
    """Euclidean distance of each predicted keypoint to its annotation, NaN where there is none.

    Args:
        prediction: (B, K, D) positions, raw units.
        target: (B, K, D) annotated positions, same units; what stands at absent keypoints is ignored.
        visible: (B, K) bool, True where the keypoint is annotated.

    Returns:
        (B, K) errors, raw units. Pass float64 positions where coordinates are far from the origin.

    Raises:
        ValueError: shapes that do not agree, `visible` not bool, or a visible position that is not finite.
    """
    if prediction.ndim != 3 or prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must both be (B, K, D), got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    if visible.dtype != torch.bool or visible.shape != prediction.shape[:2]:
        raise ValueError(
            f"visible must be bool of shape {tuple(prediction.shape[:2])}, "
            f"got {visible.dtype} of shape {tuple(visible.shape)}"
        )
    for name, positions in (("prediction", prediction), ("target", target)):
        broken = int((visible & ~positions.isfinite().all(dim=-1)).sum())
        if broken:
            raise ValueError(
                f"{name} must be finite where visible, got NaN or infinity at "
                f"{broken} of {int(visible.sum())} visible keypoints"
            )
    distance = torch.linalg.vector_norm(prediction - target, dim=-1)
    return distance.masked_fill(~visible, torch.nan)


def average_visible(values: Tensor, average: Average = "pooled") -> Tensor:
    """Mean of per-keypoint values, NaN where the keypoint is absent.

    Args:
        values: (M, K, ...) a value per model and keypoint, e.g. its error, or 1.0 where it is correct.
        average: what counts equally.
            "pooled" (default): every visible keypoint of every model;
            "model": every model, by the mean of its visible keypoints (KeypointNet's own benchmark);
            "id": every keypoint id, by the mean of the models that have it.

    Returns:
        (...) means; NaN where nothing is visible.
    """
    numerator, denominator = _grouped(values, average)
    everyone = torch.ones(1, len(values), dtype=values.dtype, device=values.device)
    return ratio_of_sums(everyone, numerator, denominator).nanmean(dim=1).squeeze(0)


def _grouped(values: Tensor, average: str) -> tuple[Tensor, Tensor]:
    """An average as mean over groups G of Σ numerator / Σ denominator over models: both (M, G, ...)."""
    count = (~values.isnan()).to(values.dtype)
    total = values.masked_fill(values.isnan(), 0)  # not nan_to_num, which makes infinity a number
    if average == "id":
        return total, count
    total, count = total.sum(dim=1, keepdim=True), count.sum(dim=1, keepdim=True)
    if average == "pooled":
        return total, count
    if average == "model":
        return total / count.clamp_min(1), count.clamp_max(1)
    raise ValueError(f'average must be "pooled", "model" or "id", got {average!r}')


def correct(errors: Tensor, thresholds: Sequence[float], *, strict: bool = False) -> Tensor:
    """1.0 where an error (M, K) is within a threshold, else 0.0, NaN where the keypoint is absent: (M, K, T).

    Within means ≤, or < where `strict` (KeypointNet's benchmark).
    """
    limits = errors.new_tensor(checked_thresholds(thresholds))
    within = errors[..., None] < limits if strict else errors[..., None] <= limits
    return within.to(errors.dtype).masked_fill(errors.isnan()[..., None], torch.nan)


def fraction_correct(
    errors: Tensor,
    thresholds: Sequence[float],
    *,
    average: Average | None = "pooled",
    strict: bool = False,
) -> Tensor:
    """PCK: the share, 0 to 1, of visible keypoints whose error is within each threshold.

    Args:
        errors: (M, K) as `keypoint_errors` gives them, NaN where absent.
        thresholds: T distances, raw units, positive and ascending.
        average: as in `average_visible`; None: for each keypoint id over the models that have it.
        strict: within means < instead of ≤.

    Returns:
        (T,) or, with `average=None`, (T, K); NaN where nothing is visible.
    """
    hits = correct(errors, thresholds, strict=strict)
    return hits.nanmean(dim=0).T if average is None else average_visible(hits, average)


def threshold_name(threshold: float) -> str:
    """The threshold as it stands in a result's key: 0.1 + 0.2 is "0.3"."""
    return f"{threshold:.6g}"


def checked_thresholds(thresholds: Sequence[float]) -> tuple[float, ...]:
    """The thresholds as numbers; ValueError unless there are some, positive, finite and ascending."""
    values = tuple(float(t) for t in thresholds)
    ascending = all(a < b for a, b in zip((0.0, *values), values, strict=False))
    # The last must be finite, and no two may share a name, or one would overwrite the other in the results.
    distinct = len({threshold_name(t) for t in values}) == len(values)
    if not values or not ascending or not distinct or values[-1] == float("inf"):
        raise ValueError(f"thresholds must be positive, ascending and at least one, got {values}")
    return values


def count_update(metric: Metric) -> None:
    """Tell a metric that a method beside `update` adds to its states, which torchmetrics does not see by itself.

    Else `compute` would return what it has computed before.
    """
    metric._computed = None
    metric._update_count += 1


class PCK(Metric):
    """PCK at several thresholds and the error of keypoints, with 95 % bootstrap intervals over models.

    Positions are in raw units; absent keypoints do not count. `update` takes what `keypoint_errors` takes,
    `update_errors` errors that were measured otherwise. It keeps one error per keypoint, so the result is exact over
    batches and processes; note that a distributed sampler which repeats models to even out the processes makes them
    count twice. The published protocol of KeypointNet is `PCK(average="model", strict=True)` of geodesic errors.

    `compute` returns tensors under these keys; shares run from 0 to 1:

    - "pck@0.01" and so on per threshold, "mean_error": averaged as `average` says (see `average_visible`);
    - the same with "/low" and "/high": ends of the interval; NaN for a single model, which has no spread;
    - "median_error": over all visible keypoints;
    - "num_unreached": visible keypoints of infinite error, which geodesic errors may have. They count as wrong, and
      make the mean error infinite, its interval NaN;
    - "pck_per_keypoint" (T, K), "error_per_keypoint" (K,): NaN for an id that no model has;
    - "num_models", "num_keypoints": models given, visible keypoints among them.

    Args:
        thresholds: raw units, positive and ascending.
        average: "pooled", "model" or "id".
        strict: a keypoint is correct if its error is < instead of ≤ the threshold.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    flat_errors: list[Tensor]
    num_keypoints: Tensor

    def __init__(
        self,
        thresholds: Sequence[float] = (0.01, 0.02, 0.05),
        average: Average = "pooled",
        strict: bool = False,
        num_bootstrap: int = 1000,
        seed: int = 0,
    ) -> None:
        """See the class."""
        super().__init__()
        self.thresholds = checked_thresholds(thresholds)
        if average not in ("pooled", "model", "id"):
            raise ValueError(f'average must be "pooled", "model" or "id", got {average!r}')
        check_num_bootstrap(num_bootstrap)
        self.average: Average = average
        self.strict = strict
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        # Flat, with the number of keypoints apart: a process without any model can then still be gathered.
        self.add_state("flat_errors", default=[], dist_reduce_fx="cat")
        self.add_state("num_keypoints", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, prediction: Tensor, target: Tensor, visible: Tensor) -> None:
        """Add models: prediction and target (B, K, D), raw units, visible (B, K) bool."""
        self._add("prediction", keypoint_errors(prediction, target, visible))

    def update_errors(self, errors: Tensor) -> None:
        """Add models by their errors (B, K), raw units: NaN where absent, infinite where nothing was reached.

        Raises:
            ValueError: errors not (B, K) of a floating type, of another K than before, or negative.
        """
        if errors.ndim != 2 or not errors.is_floating_point():
            raise ValueError(f"errors must be (B, K) floating, got {errors.dtype} of shape {tuple(errors.shape)}")
        if (errors < 0).any():
            raise ValueError(f"errors must not be negative, got {int((errors < 0).sum())} that are")
        count_update(self)
        self._add("errors", errors)

    def _add(self, name: str, errors: Tensor) -> None:
        if self.num_keypoints not in (0, errors.shape[1]):
            raise ValueError(f"{name} must have {int(self.num_keypoints)} keypoints as before, got {errors.shape[1]}")
        self.num_keypoints.fill_(errors.shape[1])
        self.flat_errors.append(errors.detach().to(self.dtype).flatten())

    @property
    def errors(self) -> Tensor:
        """(M, K) errors of the models given so far, raw units, NaN where absent."""
        flat = dim_zero_cat(self.flat_errors) if len(self.flat_errors) else torch.empty(0)
        return flat.reshape(-1, max(int(self.num_keypoints), 1))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no visible keypoint was given.
        """
        errors = self.errors.cpu().double()
        if errors.isnan().all():
            raise ValueError(f"PCK needs at least one visible keypoint, got none in {len(errors)} models")
        # In the dtype of the errors: a float32 0.05 is above a float64 one, yet within a threshold of 0.05.
        hits = correct(self.errors.cpu(), self.thresholds, strict=self.strict).double()
        values = torch.cat([hits, errors[..., None]], dim=-1)  # (M, K, T + 1)
        names = [f"pck@{threshold_name(t)}" for t in self.thresholds] + ["mean_error"]
        result = dict(zip(names, average_visible(values, self.average), strict=True))
        result |= self._intervals(names, values)
        result["median_error"] = _median(errors[~errors.isnan()])
        result["pck_per_keypoint"] = hits.nanmean(dim=0).T
        result["error_per_keypoint"] = errors.nanmean(dim=0)
        result = {key: value.to(self.device, self.dtype) for key, value in result.items()}
        result["num_models"] = torch.tensor(len(errors), device=self.device)
        result["num_keypoints"] = (~errors.isnan()).sum().to(self.device)
        result["num_unreached"] = errors.isinf().sum().to(self.device)
        return result

    def _intervals(self, names: Sequence[str], values: Tensor) -> dict[str, Tensor]:
        """Interval ends of the averages of values (M, K, F), all from the same draw of models."""
        if not self.num_bootstrap:
            return {}
        unbounded = values.isinf().flatten(0, 1).any(dim=0)  # (F,)
        numerator, denominator = _grouped(values.masked_fill(unbounded, torch.nan), self.average)
        low, high = bootstrap_interval(numerator, denominator, mean_over=0, num=self.num_bootstrap, seed=self.seed)
        ends = [(name, "low", v) for name, v in zip(names, low, strict=True)]
        ends += [(name, "high", v) for name, v in zip(names, high, strict=True)]
        return {f"{name}/{end}": value for name, end, value in ends}


def _median(values: Tensor) -> Tensor:
    """Median of values (n,), the mean of the middle two, any of which may be infinite."""
    ordered = values.sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
