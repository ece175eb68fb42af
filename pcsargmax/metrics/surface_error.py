"""Error of surfaces in slices: mean absolute distance (MAD) along the columns, its deviation over subjects."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import bootstrap_interval, check_num_bootstrap, flat_rows

#: What is kept of each slice and surface: number of columns, sums of the error, its size and its square.
_SUMS = 4


def surface_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """Signed distance of each predicted row to the annotated one, column by column, NaN where there is none.

    Args:
        prediction: (B, S, W) rows of the surfaces, pixels.
        target: (B, S, W) annotated rows, same unit, NaN where unknown.

    Returns:
        (B, S, W) float64 errors, pixels; positive: too far down.

    Raises:
        ValueError: shapes that do not agree, infinite rows, or predictions that are not finite where the row is known.
    """
    if prediction.ndim != 3 or prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must both be (B, S, W), got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    if target.isinf().any():
        raise ValueError(f"target must not be infinite, got {int(target.isinf().sum())} rows that are")
    known = ~target.isnan()
    broken = int((known & ~prediction.isfinite()).sum())
    if broken:
        raise ValueError(
            "prediction must be finite where target is known, "
            f"got NaN or infinity at {broken} of {int(known.sum())} known rows"
        )
    error = prediction.double() - target.to(prediction.device).double()
    return error.masked_fill(~known.to(error.device), torch.nan)


class SurfaceError(Metric):
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
        num_bootstrap: resamples for the interval; 0 leaves it out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    flat_sums: list[Tensor]
    subjects: list[Tensor]
    num_surfaces: Tensor

    def __init__(self, scale: float = 1.0, num_bootstrap: int = 1000, seed: int = 0) -> None:
        """See the class."""
        super().__init__()
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale must be positive and finite, got {scale}")
        check_num_bootstrap(num_bootstrap)
        self.scale, self.num_bootstrap, self.seed = float(scale), num_bootstrap, seed
        # Flat, with the number of surfaces apart: a process without any slice can then still be gathered.
        self.add_state("flat_sums", default=[], dist_reduce_fx="cat")
        self.add_state("subjects", default=[], dist_reduce_fx="cat")
        self.add_state("num_surfaces", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, prediction: Tensor, target: Tensor, subjects: Tensor | None = None) -> None:
        """Add slices.

        Args:
            prediction: (B, S, W) rows, pixels.
            target: (B, S, W) annotated rows, NaN where unknown. Slices of other batches may be of another width.
            subjects: (B,) whole numbers, not negative, the same for all slices of a subject; None: each slice counts as
                a subject of its own.

        Raises:
            ValueError: shapes that do not agree, rows that are not finite, or subjects that are not such numbers.
        """
        error = surface_errors(prediction.detach().cpu(), target.detach().cpu())
        if self.num_surfaces not in (0, error.shape[1]):
            raise ValueError(f"prediction must have {int(self.num_surfaces)} surfaces as before, got {error.shape[1]}")
        if subjects is None:
            subjects = torch.full((len(error),), -1)
        elif subjects.shape != error.shape[:1] or subjects.is_floating_point() or (subjects < 0).any():
            raise ValueError(f"subjects must be ({len(error)},) whole numbers, not negative, got {subjects}")
        self.num_surfaces.fill_(error.shape[1])
        sums = torch.stack(
            [
                (~error.isnan()).double().sum(dim=2),
                error.nansum(dim=2),
                error.abs().nansum(dim=2),
                error.square().nansum(dim=2),
            ],
            dim=2,
        )
        self.flat_sums.append(sums.flatten().to(self.device, self.dtype))
        self.subjects.append(subjects.detach().long().to(self.device))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no known row was given.
        """
        surfaces = max(int(self.num_surfaces), 1)
        sums = flat_rows(self.flat_sums, surfaces * _SUMS).reshape(-1, surfaces, _SUMS)
        count = sums[..., 0]
        if not count.any():
            raise ValueError(f"SurfaceError needs at least one known row, got none in {len(sums)} slices")
        by_subject = self._by_subject(sums)  # (N, S, 4)
        bias, size, square = (by_subject[..., 1:] / by_subject[..., :1]).unbind(dim=2)  # NaN where nothing is known
        result = {
            "mad": size.nanmean(dim=0).nanmean(),
            "std": _deviation(size.nanmean(dim=1, keepdim=True))[0],
            "mad_per_surface": size.nanmean(dim=0),
            "std_per_surface": _deviation(size),
            "bias_per_surface": bias.nanmean(dim=0),
            "rmse_per_surface": square.sqrt().nanmean(dim=0),
        }
        if self.num_bootstrap:
            known = ~size.isnan()
            low, high = bootstrap_interval(
                size.masked_fill(~known, 0), known.double(), mean_over=0, num=self.num_bootstrap, seed=self.seed
            )
            result |= {"mad/low": low, "mad/high": high}
        result = {key: (self.scale * value).to(self.device, self.dtype) for key, value in result.items()}
        for name, number in (
            ("num_subjects", len(by_subject)),
            ("num_slices", len(sums)),
            ("num_columns", int(count.sum())),
        ):
            result[name] = torch.tensor(number, device=self.device)
        return result

    def _by_subject(self, sums: Tensor) -> Tensor:
        """Sums of slices (M, S, 4) added by subject: (N, S, 4), those without any known row left out."""
        subjects = torch.cat([part.cpu() for part in _parts(self.subjects)])
        alone = subjects < 0
        _, place = subjects[~alone].unique(return_inverse=True)
        num = int(place.max()) + 1 if len(place) else 0
        added = sums.new_zeros(num, *sums.shape[1:]).index_add_(0, place, sums[~alone])
        every = torch.cat([added, sums[alone]])
        return every[every[..., 0].any(dim=1)]


def _parts(state: list[Tensor] | Tensor) -> list[Tensor]:
    """A state of pieces, which torchmetrics joins into one when processes have been gathered."""
    return [state] if isinstance(state, Tensor) else list(state)


def _deviation(values: Tensor) -> Tensor:
    """Standard deviation (n − 1) over the first axis of (N, F), NaN left out: (F,), NaN for fewer than two."""
    known = ~values.isnan()
    number = known.sum(dim=0)
    spread = (values - values.nanmean(dim=0)).square().nansum(dim=0)
    return (spread / (number - 1).clamp_min(1)).sqrt().masked_fill(number < 2, torch.nan)
