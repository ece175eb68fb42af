"""Agreement of labels over pairs of models, plain and corrected for chance, from counts.

Every function takes weights, how often each model counts: None for once each, or those of R resamples at a time, so
that a bootstrap costs a few matrix products. A model that is drawn twice is paired with every other model twice, and
each of its two draws with itself where such pairs count. The two draws are not paired with one another: they always
agree and would bias every resample upwards.
"""

import torch
from torch import Tensor


def pair_agreement(labels: Tensor, weights: Tensor | None = None, *, self_pairs: bool = True) -> Tensor:
    """Return the share of the ordered pairs of models with equal labels, column by column.

    From counts: of M models n_l have label l, so n_l² of the M² pairs agree on it, and n_l of those are a model with
    itself. With weights w, models m ≠ m′ are a pair w_m w_m′ times, and m with itself w_m times.

    Args:
        labels: (M, C) long, −1 where the model has none.
        weights: (M,) or (R, M), how often each model counts; None: once.
        self_pairs: count the pairs of a model with itself, which always agree.

    Returns:
        (C,), or (R, C) for weights (R, M), float64 over the models that have a label in the column; NaN where they
        make no pair.

    Raises:
        ValueError: labels not (M, C) long, or weights that do not fit them.
    """
    labels, weights = _checked(labels, weights)
    member = _one_hot(labels)  # (M, C, L)
    has = (labels >= 0).double()
    counts = _weighted(weights, member)  # (..., C, L)
    models = _weighted(weights, has)
    own = _weighted(weights.square(), has)  # a model with itself and with its own copies: these always agree
    alone = models if self_pairs else torch.zeros_like(models)
    return (counts.square().sum(dim=-1) - own + alone) / (models.square() - own + alone)


def chance_agreement(labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the expected agreement of two models if each had its own labels in random order; see `corrected`.

    With q_m the frequencies of the labels within model m, models m and m′ then agree with probability q_m · q_m′, in
    whatever column: Cohen's chance agreement of two raters. The mean over the pairs is again a matter of sums:
    (‖Σ q‖² − Σ ‖q‖²) / (M (M − 1)).

    Args:
        labels: (M, C) long, −1 where the model has none.
        weights: (M,) or (R, M), how often each model counts; None: once.

    Returns:
        (C,) or (R, C) float64 over the pairs of models that both have a label in the column; NaN where there is none.
    """
    labels, weights = _checked(labels, weights)
    has = (labels >= 0).double()
    frequency = _one_hot(labels).sum(dim=1) / has.sum(dim=1, keepdim=True).clamp_min(1)  # (M, L)
    models = _weighted(weights, has)
    total = _weighted(weights, has[:, :, None] * frequency[:, None])  # (..., C, L)
    squared = weights.square()
    own = _weighted(squared, has * frequency.square().sum(dim=1, keepdim=True))
    return (total.square().sum(dim=-1) - own) / (models.square() - _weighted(squared, has))


def corrected(labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the agreement above chance, κ = (A − E) / (1 − E), as Cohen's kappa and the adjusted Rand index.

    A is the mean agreement of two different models, E what it would be on average if every model kept its labels but
    had them in random order (`chance_agreement`), both averaged over the columns. Each model keeps its own
    frequencies, so

    - one label per model, whichever (keypoints in one place): order does not matter, A = E, κ = 0;
    - one label everywhere: A = E = 1, and κ is 0 by definition;
    - labels without order: the mean of A over all orders is E, so κ is 0 in the mean, exactly;
    - the same labels on all models, more than one: A = 1, κ = 1.

    Frequencies pooled over the models, as in Fleiss' kappa, would not give 0 in the first case. A model agrees with
    itself in any order, so such pairs carry no information and are left out. This is Conger's kappa of many raters
    (1980, Psychological Bulletin 88), the models being the raters, for raters with missing labels. It measures
    agreement, not diversity: keypoints in two places, the same two on all models, get 1.

    Args:
        labels: (M, C) long, −1 where the model has none.
        weights: (M,) or (R, M), how often each model counts; None: once.

    Returns:
        (), or (R,) for weights (R, M), float64, at most 1; NaN where no two models share a column.
    """
    observed = pair_agreement(labels, weights, self_pairs=False).nanmean(dim=-1)
    chance = chance_agreement(labels, weights).nanmean(dim=-1)
    room = 1 - chance
    return torch.where(room < 1e-12, torch.zeros_like(room), (observed - chance) / room)


def _checked(labels: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the labels and the weights, ones for None, after checking them."""
    if labels.ndim != 2 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be (M, C) long, got {labels.dtype} of shape {tuple(labels.shape)}")
    if weights is None:
        return labels, torch.ones(len(labels), dtype=torch.float64, device=labels.device)
    if weights.ndim not in (1, 2) or weights.shape[-1] != len(labels):
        raise ValueError(
            f"weights must be ({len(labels)},) or (R, {len(labels)}), one for each model, got {tuple(weights.shape)}"
        )
    if not (weights.isfinite() & (weights >= 0)).all():
        raise ValueError("weights must be finite and not negative")
    return labels, weights.to(labels.device, torch.float64)


def _one_hot(labels: Tensor) -> Tensor:
    """One-hot encoding of labels (M, C): (M, C, L) float64, all 0 at −1."""
    width = int(labels.max()) + 1 if labels.numel() else 0
    return (labels[..., None] == torch.arange(width, device=labels.device)).double()


def _weighted(weights: Tensor, values: Tensor) -> Tensor:
    """Σ over the models of weights (..., M) times values (M, ...)."""
    return torch.tensordot(weights, values, dims=1)
