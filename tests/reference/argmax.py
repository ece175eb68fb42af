"""The paper's formulas written out over whole tensors: slow, large and easy to compare with the paper.

Noise is an argument, so that a test can hand the same noise to both forms.
"""

import torch


def gumbel(shape, generator=None, dtype=torch.float32):
    """g ~ Gumbel(0, 1) i.i.d."""
    return -torch.empty(shape, dtype=dtype).exponential_(generator=generator).log()


def weights(logits, g, temperature, relaxation="gumbel_softmax"):
    """Eq. 10-11: w (B, S, K, L) of logits (B, K, L) and g (B, S, K, L)."""
    log_map = torch.log_softmax(logits, dim=-1).unsqueeze(1)
    if relaxation == "published":
        return torch.softmax(logits.unsqueeze(1) + g / temperature, dim=-1)
    relaxed = torch.softmax((log_map + g) / temperature, dim=-1)
    if relaxation == "gumbel_softmax":
        return relaxed
    one_hot = torch.nn.functional.one_hot((log_map + g).argmax(-1), logits.shape[-1]).to(relaxed)
    return one_hot + relaxed - relaxed.detach()


def samples(w, sites, noise):
    """Eq. 12: Σ w_i (x_i + noise_i) (B, S, K, D) of sites (B or 1, L, D) and noise (B, S, K, L, D)."""
    return (w.unsqueeze(-1) * (sites[:, None, None] + noise)).sum(dim=-2)


def collapsed_samples(w, sites, sigma, normal):
    """The same in distribution, for Gaussian noise of sigma (broadcast to (B, L, D)) from normal (B, S, K, D)."""
    mean = (w.unsqueeze(-1) * sites[:, None, None]).sum(dim=-2)
    variance = (w.unsqueeze(-1).square() * (sigma.square() * torch.ones_like(sites))[:, None, None]).sum(dim=-2)
    return mean + variance.sqrt() * normal


def soft_argmax(logits, sites):
    """Eq. 1: Σ π_i x_i (B, K, D)."""
    return (torch.softmax(logits, dim=-1).unsqueeze(-1) * sites[:, None]).sum(dim=-2)


def l1(prediction, target):
    """The sum over the axes of the absolute differences."""
    return (prediction - target).abs().sum(dim=-1)


def expected_error(samples, target):
    """Eq. 14 with L1: (B, K) of samples (B, S, K, D)."""
    return l1(samples, target.unsqueeze(1)).mean(dim=1)


def discrete_expected_error(logits, sites, target):
    """Eq. 4 with L1: Σ π_i d(y_t, x_i) (B, K)."""
    return (torch.softmax(logits, dim=-1) * l1(sites[:, None], target.unsqueeze(2))).sum(dim=-1)


def variance_regularizer(logits, sites, target_variance):
    """Eq. 15: (Var(π) − σ_t²)² (B, K)."""
    away = (sites[:, None] - soft_argmax(logits, sites).unsqueeze(2)).square().sum(dim=-1)
    return ((torch.softmax(logits, dim=-1) * away).sum(dim=-1) - target_variance).square()


def distribution_regularizer(logits, sites, target_variance):
    """Eq. 16: Jensen-Shannon divergence of π and the discretised N(E[x], σ_t²) (B, K)."""
    away = (sites[:, None] - soft_argmax(logits, sites).unsqueeze(2)).square().sum(dim=-1)
    p, q = torch.softmax(logits, dim=-1), torch.softmax(-away / (2 * target_variance), dim=-1)
    middle = (p + q) / 2
    return ((p * (p / middle).log()).sum(dim=-1) + (q * (q / middle).log()).sum(dim=-1)) / 2
