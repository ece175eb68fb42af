"""Mean absolute distance of surfaces in slices, with an interval over subjects."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.surface_error import NUM_SUMS, deviation, error_sums, sums_by_subject, surface_errors


class SurfaceError(BootstrapMetric):
    """Mean absolute distance of surfaces and its deviation over subjects, with 95 % bootstrap intervals over subjects.

    As He et al. (MICCAI 2019) report it: the absolute distance in each column, averaged over all columns of all slices
    of a subject, by surface; then over the subjects. Columns whose row is unknown do not count.

    `compute` returns, in pixels times `scale`:

    - "mad": mean over the surfaces and subjects; "mad/low", "mad/high": ends of the interval; NaN for one subject;
    - "std": standard deviation over the subjects of their means over the surfaces (n − 1; NaN for one subject);
    - "mad_per_surface", "std_per_surface" (S,): the same of each surface, NaN for one that is nowhere known;
    - "bias_per_surface" (S,): mean signed distance, positive: too far down; "rmse_per_surface" (S,): root of the mean
      square, both over all columns, subject by subject, then over the subjects;
    - "num_subjects", "num_slices", "num_columns": rows known, over all surfaces.

    Args:
        scale: length of a pixel, e.g. in micrometres; 1 leaves pixels.
        num_bootstrap: number of resamples for the interval; 0 leaves it out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        One column 2 pixels too far down, one exact, one unknown; a pixel is 4 µm:

        >>> import torch
        >>> from pcsargmax.metrics import SurfaceError
        >>> metric = SurfaceError(scale=4.0, num_bootstrap=0)
        >>> result = metric(torch.tensor([[[12.0, 10.0, 10.0]]]), torch.tensor([[[10.0, 10.0, torch.nan]]]))
        >>> {name: float(result[name]) for name in ("mad", "bias_per_surface", "num_columns")}
        {'mad': 4.0, 'bias_per_surface': 4.0, 'num_columns': 2.0}
    """

    higher_is_better = False
    size_names = ("surfaces",)
    subjects: list[Tensor]

    def __init__(self, *, scale: float = 1.0, num_bootstrap: int = 1000, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale must be positive and finite, got {scale}")
        self.scale = float(scale)
        self.add_state("subjects", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor, subjects: Tensor | None = None) -> None:
        """Add slices.

        Args:
            preds: (B, S, W) rows, pixels.
            target: (B, S, W) annotated rows, NaN where unknown. Slices of other batches may be of another width.
            subjects: (B,) whole numbers, not negative, the same for all slices of a subject; None: each slice counts as
                a subject of its own.

        Raises:
            ValueError: shapes that do not agree, rows that are not finite, or subjects that are not such numbers.
        """
        error = surface_errors(preds.detach().cpu(), target.detach().cpu())
        self._check_sizes(error.shape[1])
        if subjects is None:
            subjects = torch.full((len(error),), -1)
        elif subjects.shape != error.shape[:1] or subjects.is_floating_point() or (subjects < 0).any():
            raise ValueError(f"subjects must be ({len(error)},) whole numbers, not negative, got {subjects}")
        self._append(error_sums(error), error.shape[1])
        self.subjects.append(subjects.detach().long().to(self.device))

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no known row was given.
        """
        sums = self._rows(*self._known_sizes(), NUM_SUMS)
        count = sums[..., 0]
        if not count.any():
            raise ValueError(f"SurfaceError needs at least one known row, got none in {len(sums)} slices")
        # torchmetrics joins the pieces of a state into one tensor when processes have been gathered.
        parts = [self.subjects] if isinstance(self.subjects, Tensor) else self.subjects
        by_subject = sums_by_subject(sums, torch.cat([part.cpu() for part in parts]))  # (N, S, 4)
        bias, size, square = (by_subject[..., 1:] / by_subject[..., :1]).unbind(dim=2)  # NaN where nothing is known
        known = ~size.isnan()
        result = {
            "mad": size.nanmean(dim=0).nanmean(),
            "std": deviation(size.nanmean(dim=1, keepdim=True))[0],
            "mad_per_surface": size.nanmean(dim=0),
            "std_per_surface": deviation(size),
            "bias_per_surface": bias.nanmean(dim=0),
            "rmse_per_surface": square.sqrt().nanmean(dim=0),
        }
        result |= self._ratio_intervals(["mad"], size.masked_fill(~known, 0), known.double(), mean_over=0)
        return self._results(
            {name: self.scale * value for name, value in result.items()},
            num_subjects=len(by_subject),
            num_slices=len(sums),
            num_columns=int(count.sum()),
        )
