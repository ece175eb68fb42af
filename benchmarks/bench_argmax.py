"""Time and peak memory of each objective, forward and backward, beside the formulas written out over whole tensors.

    python benchmarks/bench_argmax.py                       # all cases; about five minutes on two cores
    python benchmarks/bench_argmax.py --cases cloud --samples 30

"plain" is Eq. 10-14 as they stand: one normal draw a site, weights and positions of all samples at once; "plain
collapsed" has one normal draw a sample, as the package does. Both forms of a row are timed in turn in one process, and
the ratio is that of their fastest runs. Memory is the growth of the process's peak (Linux), or of the allocator's
(CUDA).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from measure import peak, seconds
from torch import Tensor

from pcsargmax import (
    Gaussian,
    Grid,
    Triangular,
    discrete_expected_error,
    distribution_regularized_error,
    error_of_expectation,
    expected_error,
    sampling_argmax,
    variance_regularized_error,
)
from pcsargmax.core.distances import distance

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from reference import argmax as reference

SIGMA, TEMPERATURE = 0.01, 0.7


@dataclass
class Case:
    """Maps over sites: a cloud, or the cells of a grid."""

    batch_size: int
    num_keypoints: int
    shape: tuple[int, ...] | None  # of the grid; None for a cloud of 2048 points

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        if self.shape is None:
            self.sites: Tensor | Grid = torch.rand(self.batch_size, 2048, 3, generator=generator)
            self.positions = self.sites
        else:
            self.sites = Grid(self.shape)
            self.positions = self.sites.positions()[None]
        size = (self.batch_size, self.num_keypoints)
        self.logits = torch.randn(*size, self.positions.shape[1], generator=generator)
        self.target = torch.rand(*size, self.positions.shape[2], generator=generator)

    def to(self, device: str) -> Case:
        if isinstance(self.sites, Tensor):
            self.sites = self.sites.to(device)
        self.positions, self.logits, self.target = (x.to(device) for x in (self.positions, self.logits, self.target))
        return self


CASES = {
    "cloud": Case(16, 21, None),  # 2048 points in 3-D
    "64x48": Case(16, 17, (64, 48)),
    "64x64x32": Case(1, 8, (64, 64, 32)),
}


def objectives(
    case: Case, num_samples: int
) -> dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """Name -> our form and the plain one, each from logits to (B, K) losses."""
    sites, positions, target = case.sites, case.positions, case.target
    spread = SIGMA if case.shape is None else 1.0

    def weights(logits: Tensor) -> Tensor:
        g = reference.gumbel((len(logits), num_samples, *logits.shape[1:])).to(logits.device)
        return reference.weights(logits, g, TEMPERATURE)

    def plain(logits: Tensor) -> Tensor:
        w = weights(logits)
        noise = spread * torch.randn(*w.shape, positions.shape[-1], device=w.device)
        return reference.expected_error(reference.samples(w, positions, noise), target)

    def plain_collapsed(logits: Tensor) -> Tensor:
        w = weights(logits)
        std = spread * w.square().sum(-1, keepdim=True).sqrt()
        mean = w @ positions[:, None]
        return reference.expected_error(mean + std * torch.randn_like(mean), target)

    def plain_triangular(logits: Tensor) -> Tensor:
        w = weights(logits)
        noise = torch.rand(2, *w.shape, positions.shape[-1], device=w.device).sum(0) - 1
        return reference.expected_error(reference.samples(w, positions, noise), target)

    def sampling(basis: Gaussian | Triangular, **more: bool) -> Callable[[Tensor], Tensor]:
        return lambda logits: expected_error(
            logits, sites, target, basis=basis, num_samples=num_samples, temperature=TEMPERATURE, **more
        )

    def samples(logits: Tensor) -> Tensor:
        drawn = sampling_argmax(logits, sites, basis=Gaussian(spread), num_samples=num_samples, temperature=TEMPERATURE)
        return distance(drawn, target.unsqueeze(1)).mean(1)

    gaussian = Gaussian(spread)
    found = {
        "sampling": (sampling(gaussian), plain),
        "sampling, plain collapsed": (sampling(gaussian), plain_collapsed),
        "sampling_argmax, own loss": (samples, plain),
        "closed_form": (sampling(gaussian, closed_form=True), plain),
    }
    if case.shape is not None:
        found["sampling, triangular"] = (sampling(Triangular()), plain_triangular)
    return found


def deterministic(case: Case) -> dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """The objectives without samples, as `objectives`."""
    sites, positions, target = case.sites, case.positions, case.target
    spread = SIGMA if case.shape is None else 1.0

    def plain_soft(logits: Tensor) -> Tensor:
        return reference.l1(reference.soft_argmax(logits, positions), target)

    return {
        "soft": (lambda logits: error_of_expectation(logits, sites, target), plain_soft),
        "discrete": (
            lambda logits: discrete_expected_error(logits, sites, target),
            lambda logits: reference.discrete_expected_error(logits, positions, target),
        ),
        "soft_vr": (
            lambda logits: variance_regularized_error(logits, sites, target, target_variance=2.0, spacing=spread),
            lambda logits: plain_soft(logits) + reference.variance_regularizer(logits, positions, 2 * spread**2),
        ),
        "soft_dr": (
            lambda logits: distribution_regularized_error(logits, sites, target, target_variance=2.0, spacing=spread),
            lambda logits: plain_soft(logits) + reference.distribution_regularizer(logits, positions / spread, 2.0),
        ),
    }


def step(form: Callable[[Tensor], Tensor], logits: Tensor) -> None:
    """Forward and backward."""
    torch.autograd.grad(form(logits).sum(), logits)


def compare(
    ours: Callable[[Tensor], Tensor], plain: Callable[[Tensor], Tensor], logits: Tensor, runs: int
) -> list[float]:
    """Return times (s) and peaks (MB): ours, plain."""
    step(ours, logits)
    times: list[list[float]] = [[], []]
    for _ in range(runs):
        for form, list_ in zip((ours, plain), times, strict=True):
            list_.append(seconds(partial(step, form, logits), logits.device.type))
    peaks = [peak(partial(step, form, logits), logits.device.type) for form in (ours, plain)]
    return [min(times[0]), min(times[1]), max(peaks[0], 0.1), peaks[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="of " + ", ".join(CASES))
    parser.add_argument("--samples", default="1,10,30,100", help="N_s to time")
    parser.add_argument("--runs", type=int, default=3, help="of each form; the fastest counts")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads\n")
    print("| sites | B, K, L | objective | N_s | time | plain | times faster | memory | plain | times less |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in arguments.cases.split(","):
        case = CASES[name].to(arguments.device)
        size = ", ".join(map(str, case.logits.shape))
        logits = case.logits.requires_grad_()
        rows = [(what, "", forms) for what, forms in deterministic(case).items()]
        for number in map(int, arguments.samples.split(",")):
            rows += [(what, str(number), forms) for what, forms in objectives(case, number).items()]
        for what, number, (ours, plain) in rows:
            t, t_plain, m, m_plain = compare(ours, plain, logits, arguments.runs)
            print(
                f"| {name} | {size} | {what} | {number} | {t:.3f} s | {t_plain:.3f} s | {t_plain / t:.1f} "
                f"| {m:.0f} MB | {m_plain:.0f} MB | {m_plain / m:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
