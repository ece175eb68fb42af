"""What the tables measure of a result, and which numbers of the paper stand beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from pcsargmax.benchmark import paper
from pcsargmax.benchmark.groups import Result
from pcsargmax.benchmark.scores import Score
from pcsargmax.metrics.paired import Statistic
from pcsargmax.metrics.statistics import correlation_statistic, das_statistic, pck_statistic
from pcsargmax.predictions.calibration import THRESHOLD

#: How the errors of PCK are measured, and what of it a table says; `docs/protocols.md` has the formulas.
DISTANCES = {
    "euclidean": "Euclidean",
    "geodesic": "Along the cloud's 20-nearest-neighbour graph",
    "symmetric": "Euclidean, each shape in the best labelling that its annotated symmetries allow",
}

#: What errors are called that are not up to any symmetry.
PLAIN = "plain errors"

#: Which errors they are, by their distance; those of trust are what confidence was fitted to.
_ERRORS = {
    "euclidean": PLAIN,
    "geodesic": PLAIN,
    "symmetric": "errors up to symmetry",
    "trust": "errors up to the symmetry of the training",
}


@dataclass(frozen=True)
class Measure:
    """A score of a result.

    Attributes:
        title: what the numbers are, with their unit.
        kind: of the results that have it.
        statistic: of one result, over the models of its evaluation.
        scale: what it is multiplied with to be in the unit of the title.
        digits: after the point.
        split: that the paper measures on.
        paper: the paper's numbers by method and data; empty where it has none.
        means: its mean over all of KeypointNet by method, as printed.
        definition: what of it the title does not say; may be empty.
        source: where the paper's numbers are from.
        errors: which they are, plain or up to symmetry; empty where it has none.
        images: its numbers on images, by method or by objective, of sampling by basis; empty where it has none.
        images_name: what these images are.
        lower_is_better: whether it is an error.
        models: names of what the statistic resamples.
    """

    title: str
    kind: str
    statistic: Callable[[Result], Statistic]
    scale: float
    digits: int
    split: str
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    means: dict[str, float] = field(default_factory=dict)
    definition: str = ""
    source: str = ""
    errors: str = ""
    images: dict[str, float] = field(default_factory=dict)
    images_name: str = "COCO"
    lower_is_better: bool = False
    models: Callable[[Result], Sequence[str]] = attrgetter("models")

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
        return Score.of_seeds(by_seed, tuple(self.models(results[0])))


def pck_measure(estimate: str, threshold: float | None = None, distance: str = "euclidean") -> Measure:
    """PCK of an estimate at a threshold, None: that of the paper's Table 6.

    The paper stands beside the Euclidean error of the expectation at its threshold, and beside nothing else.

    Raises:
        ValueError: `distance` is none of `DISTANCES`.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {distance!r}")
    along = ", geodesic" if distance == "geodesic" else ""
    limit = paper.PCK_THRESHOLD if threshold is None else threshold
    same = (estimate, distance) == ("expectation", "euclidean") and math.isclose(limit, paper.PCK_THRESHOLD)
    return Measure(
        title=f"PCK@{limit:g} of the {estimate}{along}, %",
        kind="detector",
        statistic=lambda result: pck_statistic(_errors(result, estimate, distance), limit),
        scale=100,
        digits=1,
        split="test",
        paper=paper.PCK if same else {},
        means=paper.PCK_MEAN if same else {},
        definition=f"{DISTANCES[distance]}, over all visible keypoints.",
        source="Paper: Table 6; its distance is not stated.",
        errors=_ERRORS[distance],
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
        definition="0: no more than by chance, as where all keypoints lie in one place. The paper does not have it.",
    )


def peak_measure(estimate: str, threshold: float | None = None, distance: str = "euclidean") -> Measure:
    """Pearson's r of the map's peak with correctness, which the paper has on images; see `confidence_measure`."""
    measure = _correlation_measure("the map's peak", "peak", estimate, threshold, distance)
    return replace(measure, source="Paper: Table 3, COCO keypoints, correctness by OKS.", images=paper.CONFIDENCE)


def confidence_measure(estimate: str, threshold: float | None = None, distance: str = "euclidean") -> Measure:
    """Pearson's r of confidence with correctness.

    Args:
        estimate: whose errors.
        threshold: of the error; None: the share of the diagonal that confidence is meant for.
        distance: "euclidean"; or "trust", of the expectation up to the symmetry of the training, as `evaluate` has it.
    """
    measure = _correlation_measure("confidence", "confidence", estimate, threshold, distance)
    return replace(measure, definition="The paper does not have it.")


def _correlation_measure(what: str, name: str, estimate: str, threshold: float | None, distance: str) -> Measure:
    limit = f"{100 * THRESHOLD:g}% of the diagonal" if threshold is None else f"{threshold:g}"
    return Measure(
        title=f"Pearson's r of {what} with an error of the {estimate} of at most {limit}",
        kind="detector",
        statistic=_correlation(name, estimate, threshold, distance),
        scale=1,
        digits=3,
        split="test",
        errors=_ERRORS[distance],
    )


def _correlation(name: str, estimate: str, threshold: float | None, distance: str) -> Callable[[Result], Statistic]:
    def statistic(result: Result) -> Statistic:
        sureness, errors = number_rows(_shapes(result, name)), _errors(result, estimate, distance)
        if threshold is None:
            errors = errors / torch.tensor(_shapes(result, "diagonal"), dtype=torch.float64)[:, None]
        return correlation_statistic(sureness, errors, THRESHOLD if threshold is None else threshold)

    return statistic


def _shapes(result: Result, name: str) -> Any:
    if result.items.get(name) is None:
        raise ValueError(f"{result.path}: no {name} among its shapes: evaluate the run again")
    return result.items[name]


def number_rows(rows: list[list[float | None]]) -> Tensor:
    """Rows of numbers as float64, NaN for None."""
    return torch.tensor([[math.nan if x is None else x for x in row] for row in rows], dtype=torch.float64)


def _errors(result: Result, estimate: str, distance: str) -> Tensor:
    """(M, K) errors, NaN where absent, infinite where no path leads from the guess to the annotation."""
    if distance == "euclidean":
        errors = _shapes(result, "errors")
    elif distance == "trust":
        errors = {"expectation": _shapes(result, "trust_errors")}
    elif measured := result.metrics.get(distance):
        errors = measured["errors"]
    else:
        without = distance == "symmetric" and distance in result.metrics
        why = "its data annotate no symmetries" if without else "evaluate the run again"
        raise ValueError(f"{result.path}: no {distance} errors: {why}")
    known = [name for name in errors if not name.startswith("template")]  # a baseline, the same for all methods
    if estimate not in known:
        raise ValueError(f"estimate must be one of {', '.join(known)} for {distance} errors, got {estimate!r}")
    visible = torch.tensor(_shapes(result, "visible"))
    return number_rows(errors[estimate]).nan_to_num(nan=torch.inf).where(visible, torch.nan)


def _labels(result: Result, prefix: str) -> tuple[Tensor, Tensor]:
    ids, keypoints = (torch.tensor(_shapes(result, f"{prefix}{name}")) for name in ("ids", "keypoints"))
    return ids, keypoints
