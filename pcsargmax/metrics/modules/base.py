"""The base of all metrics here: rows of numbers per item, and bootstrap intervals over the items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from pcsargmax.metrics.bootstrap import (
    basic_interval,
    bootstrap_interval,
    check_num_bootstrap,
    percentile_interval,
    resample_weights,
)


class BootstrapMetric(Metric):
    """Metric that keeps a row of numbers for each item (a model, an image, a pose) and resamples whole items.

    A subclass measures its items in `update` with a pure function, hands the rows to `_append`, and computes its
    results from `_rows` in `compute`. The rows of all items are kept, so results are exact over batches and processes.
    A distributed sampler that repeats items to even out the processes makes them count twice.

    Args:
        num_bootstrap: number of resamples for the 95 % intervals; 0 leaves the intervals out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`, such as `compute_on_cpu` or `sync_on_compute`.

    Raises:
        ValueError: a negative `num_bootstrap`, or an unknown keyword argument.
    """

    full_state_update = False
    is_differentiable = False
    flat_rows: list[Tensor]
    sizes: Tensor

    #: What the length of a row follows from, such as ("keypoints",): it must not change between updates.
    size_names: tuple[str, ...] = ()

    def __init__(self, *, num_bootstrap: int = 1000, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_num_bootstrap(num_bootstrap)
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        # Flat, with the sizes apart: the state of a process without any item can then still be gathered.
        self.add_state("flat_rows", default=[], dist_reduce_fx="cat")
        if self.size_names:
            self.add_state("sizes", torch.zeros(len(self.size_names), dtype=torch.long), dist_reduce_fx="max")

    def _check_sizes(self, *sizes: int, name: str = "preds") -> None:
        """Raise ValueError, naming the argument `name`, where the sizes differ from those of earlier updates."""
        before = [int(size) for size in self.sizes]  # set_dtype makes them floats
        if any(before) and before != [*sizes]:
            expected = " and ".join(f"{size} {of}" for size, of in zip(before, self.size_names, strict=True))
            raise ValueError(f"{name} must have {expected} as before, got {' and '.join(map(str, sizes))}")

    def _append(self, rows: Tensor, *sizes: int, name: str = "preds") -> None:
        """Keep the rows (B, ...) of B items, after checking their sizes."""
        if self.size_names:
            self._check_sizes(*sizes, name=name)
            self.sizes.copy_(torch.tensor(sizes))
        self.flat_rows.append(rows.detach().to(self.device, self.dtype).flatten())

    def _append_cases(self, scores: Tensor, errors: Tensor, name: str = "scores") -> None:
        """Keep a score and an error for each keypoint: both (B, K), the error NaN where the keypoint is absent."""
        if scores.ndim != 2 or scores.shape != errors.shape:
            raise ValueError(
                f"{name} and errors must both be (B, K), got {tuple(scores.shape)} and {tuple(errors.shape)}"
            )
        rows = torch.stack([scores.to(self.dtype), errors.to(scores.device, self.dtype)], dim=-1)
        self._append(rows, errors.shape[1], name="errors")

    def _count_update(self) -> None:
        """Tell torchmetrics of an update by another method than `update`, which it does not see by itself.

        Otherwise `compute` would return its cached result.
        """
        self._computed = None
        self._update_count += 1

    def _rows(self, *shape: int) -> Tensor:
        """The rows of all items so far: (M, *shape) float64 on the CPU."""
        flat = dim_zero_cat(self.flat_rows) if len(self.flat_rows) else torch.empty(0)
        return flat.cpu().double().reshape(-1, *shape)

    def _cases(self) -> tuple[Tensor, Tensor]:
        """The scores and errors of `_append_cases`, each (M, K) float64 on the CPU."""
        scores, errors = self._rows(*self._known_sizes(), 2).unbind(dim=-1)
        return scores, errors

    def _known_sizes(self) -> list[int]:
        """The sizes of the updates so far, 1 before the first, so that rows can be reshaped."""
        return [max(int(size), 1) for size in self.sizes]

    def _weights(self, num_items: int) -> Tensor:
        """How often each item is drawn in each resample: (num_bootstrap, num_items) float64."""
        return resample_weights(num_items, self.num_bootstrap, seed=self.seed)

    def _intervals(
        self,
        names: Sequence[str],
        replicates: Tensor,
        num_items: int,
        *,
        around: Tensor | None = None,
        limits: tuple[float, float] = (0.0, 1.0),
    ) -> dict[str, Tensor]:
        """Interval ends by "name/low" and "name/high", NaN for a single item, which has no spread.

        Args:
            names: F names.
            replicates: (R, F) values of the resamples.
            num_items: number of items that were resampled.
            around: (F,) values of all items, for basic intervals within `limits`; None: percentile intervals.
            limits: range of the values.
        """
        ends = percentile_interval(replicates) if around is None else basic_interval(around, replicates, limits)
        if num_items < 2:
            ends = (torch.full_like(ends[0], torch.nan),) * 2
        return named_ends(names, *ends)

    def _ratio_intervals(
        self,
        names: Sequence[str],
        numerator: Tensor,
        denominator: Tensor | None = None,
        *,
        mean_over: int | None = None,
    ) -> dict[str, Tensor]:
        """Interval ends of F ratios, as of `bootstrap_interval`; none without resamples."""
        if not self.num_bootstrap:
            return {}
        low, high = bootstrap_interval(
            numerator, denominator, mean_over=mean_over, num=self.num_bootstrap, seed=self.seed
        )
        return named_ends(names, low.reshape(len(names)), high.reshape(len(names)))

    def _means(self, names: Sequence[str], values: Tensor) -> dict[str, Tensor]:
        """Mean over items of each column of values (M, F), with its interval, NaN where a value is."""
        result = dict(zip(names, values.mean(dim=0), strict=True))
        for name, column in zip(names, values.T, strict=True) if self.num_bootstrap else ():
            if column.isnan().any():
                result |= named_ends([name], *column.new_full((2, 1), torch.nan))
            else:
                result |= self._ratio_intervals([name], column)
        return result

    def _results(self, values: dict[str, Tensor], **counts: int | Tensor) -> dict[str, Tensor]:
        """Values in the dtype of the metric, then the counts, all on its device."""
        result = {name: value.to(self.device, self.dtype) for name, value in values.items()}
        return result | {name: torch.as_tensor(count, device=self.device) for name, count in counts.items()}


def named_ends(names: Sequence[str], low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """Ends (F,) of F intervals by "name/low", then "name/high"."""
    ends = {f"{name}/low": end for name, end in zip(names, low, strict=True)}
    return ends | {f"{name}/high": end for name, end in zip(names, high, strict=True)}
