"""What the tables measure of a result, and which numbers of the paper stand beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from pcsargmax.benchmark import paper
from pcsargmax.benchmark.groups import Result
from pcsargmax.benchmark.scores import Score, correlation_statistic, das_statistic, pck_statistic
from pcsargmax.calibration import THRESHOLD
from pcsargmax.metrics.paired import Statistic

#: How the errors of PCK are measured, and what of it a table says; `docs/protocols.md` has the formulas.
DISTANCES = {
    "euclidean": "Euclidean",
    "geodesic": "Along the cloud's 20-nearest-neighbour graph",
    "symmetric": "Euclidean, each shape in the best labelling that its annotated symmetries allow",
}


@dataclass(frozen=True)
class Measure:
    """A score of a result.

    Attributes:
        title: what the numbers are, with their unit.
        kind: of the results that have it, "detector" or "discovery".
        statistic: of one result, over the models of its evaluation.
        scale: what it is multiplied with to be in the unit of the title.
        digits: after the point.
        split: that the paper measures on.
        paper: the paper's numbers by method and data; empty where it has none.
        means: its mean over all of KeypointNet by method, as printed.
        definition: what of it the title does not say; may be empty.
        source: where the paper's numbers are from.
        images: its numbers on images, by objective and for sampling by basis; empty where it has none.
    """

    title: str
    kind: str
    statistic: Callable[[Result], Statistic]
    scale: float
    digits: int
    split: str
    paper: dict[str, dict[str, float]]
    means: dict[str, float]
    definition: str
    source: str
    images: dict[str, float] = field(default_factory=dict)

    def number(self, method: str, data: Sequence[str]) -> float | None:
        """The paper's number, the mean over several data; None where any is missing."""
        if method in self.means and set(data) == set(paper.CATEGORIES):
            return self.means[method]
        known = [self.paper[method].get(name) for name in data] if method in self.paper else [None]
        numbers = [number for number in known if number is not None]
        return fmean(numbers) if len(numbers) == len(known) else None

    def score(self, results: list[Result]) -> Score:
        """The score of results that differ in nothing but the seed."""
        by_seed = {result.seed: self.statistic(result) for result in results}
        return Score.of_seeds(by_seed, tuple(results[0].models))


def pck_measure(estimate: str, threshold: float | None = None, distance: str = "euclidean") -> Measure:
    """PCK of an estimate at a threshold, None: that of the paper's Table 6.

    The paper stands beside the Euclidean error of the expectation at its threshold, and beside nothing else.

    Raises:
        ValueError: `distance` is none of `DISTANCES`.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {distance!r}")
    limit = paper.PCK_THRESHOLD if threshold is None else threshold
    same = (estimate, distance) == ("expectation", "euclidean") and math.isclose(limit, paper.PCK_THRESHOLD)
    return Measure(
        title=f"PCK@{limit:g} of the {estimate}{'' if distance == 'euclidean' else f', {distance}'}, %",
        kind="detector",
        statistic=lambda result: pck_statistic(_errors(result, estimate, distance), limit),
        scale=100,
        digits=1,
        split="test",
        paper=paper.PCK if same else {},
        means=paper.PCK_MEAN if same else {},
        definition=f"{DISTANCES[distance]}, over all visible keypoints.",
        source="Paper: Table 6; its distance is not stated.",
    )


def das_measure() -> Measure:
    """The dual alignment score as published, the paper's Table 7 beside it."""
    return Measure(
        title="Dual alignment score, %",
        kind="discovery",
        statistic=lambda result: das_statistic(*_labels(result, "")),
        scale=100,
        digits=1,
        split="all",
        paper=paper.DAS,
        means=paper.DAS_MEAN,
        definition="Pairs of a shape with itself count, as in Skeleton Merger.",
        source="Paper: Table 7.",
    )


def corrected_das_measure() -> Measure:
    """The dual alignment score above chance, which the paper does not have."""
    return Measure(
        title="Dual alignment score above chance, %",
        kind="discovery",
        statistic=lambda result: das_statistic(*_labels(result, "merged_"), corrected=True),
        scale=100,
        digits=1,
        split="all",
        paper={},
        means={},
        definition="0: no more than by chance, as where all keypoints lie in one place. The paper does not have it.",
        source="",
    )


def peak_measure(estimate: str, threshold: float | None = None) -> Measure:
    """Pearson's r of the map's peak with correctness, which the paper has on images; see `confidence_measure`."""
    return Measure(
        title=f"Pearson's r of the map's peak with {_right(estimate, threshold)}",
        kind="detector",
        statistic=_correlation("peak", estimate, threshold),
        scale=1,
        digits=3,
        split="test",
        paper={},
        means={},
        definition="",
        source="Paper: Table 3, COCO keypoints, correctness by OKS.",
        images=paper.CONFIDENCE,
    )


def confidence_measure(estimate: str, threshold: float | None = None) -> Measure:
    """Pearson's r of confidence with correctness at a threshold, None: that which confidence is meant for."""
    return Measure(
        title=f"Pearson's r of confidence with {_right(estimate, threshold)}",
        kind="detector",
        statistic=_correlation("confidence", estimate, threshold),
        scale=1,
        digits=3,
        split="test",
        paper={},
        means={},
        definition="The paper does not have it.",
        source="",
    )


def _right(estimate: str, threshold: float | None) -> str:
    limit = f"{100 * THRESHOLD:g}% of the diagonal" if threshold is None else f"{threshold:g}"
    return f"an error of the {estimate} of at most {limit}"


def _correlation(name: str, estimate: str, threshold: float | None) -> Callable[[Result], Statistic]:
    def statistic(result: Result) -> Statistic:
        sureness, errors = _tensor(_shapes(result, name)), _errors(result, estimate)
        if threshold is None:
            errors = errors / torch.tensor(_shapes(result, "diagonal"), dtype=torch.float64)[:, None]
        return correlation_statistic(sureness, errors, THRESHOLD if threshold is None else threshold)

    return statistic


def _shapes(result: Result, name: str) -> Any:
    shapes = result.metrics["shapes"]
    if name not in shapes:
        raise ValueError(f"{result.path}: no {name} among its shapes: evaluate the run again")
    return shapes[name]


def _tensor(rows: list[list[float | None]]) -> Tensor:
    return torch.tensor([[math.nan if x is None else x for x in row] for row in rows], dtype=torch.float64)


def _errors(result: Result, estimate: str, distance: str = "euclidean") -> Tensor:
    """(M, K) errors, NaN where absent, infinite where no path leads from the guess to the annotation."""
    if distance == "euclidean":
        errors = _shapes(result, "errors")
    elif measured := result.metrics.get(distance):
        errors = measured["errors"]
    else:
        raise ValueError(f"{result.path}: no {distance} errors: evaluate the run again")
    known = [name for name in errors if not name.startswith("template")]  # a baseline, the same for all methods
    if estimate not in known:
        raise ValueError(f"estimate must be one of {', '.join(known)} for {distance} errors, got {estimate!r}")
    visible = torch.tensor(_shapes(result, "visible"))
    return _tensor(errors[estimate]).nan_to_num(nan=torch.inf).where(visible, torch.nan)


def _labels(result: Result, prefix: str) -> tuple[Tensor, Tensor]:
    ids, keypoints = (torch.tensor(_shapes(result, f"{prefix}{name}")) for name in ("ids", "keypoints"))
    return ids, keypoints
