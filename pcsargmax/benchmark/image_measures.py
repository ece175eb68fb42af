"""What the tables measure of a network for images, and which numbers of the paper stand beside it."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from pcsargmax.benchmark import paper
from pcsargmax.benchmark.groups import Group, Result
from pcsargmax.benchmark.measures import Measure, number_rows
from pcsargmax.metrics.coco_matches import CocoMatches
from pcsargmax.metrics.normalized_error import normalized_errors
from pcsargmax.metrics.paired import Statistic, ratio_statistic
from pcsargmax.metrics.statistics import correlation_statistic

#: The lengths that errors of keypoints are divided by, by the unit of a group of results.
_LENGTHS = {"inter-ocular": "the inter-ocular distance", "box": "the box's side, the root of its area"}

#: Up to which share of that length a keypoint is right, where none is given.
_THRESHOLD = 0.1

#: An error of images, as the paper measures it on a test set.
_ERROR = partial(Measure, kind="images", split="test", lower_is_better=True)


def image_measures(table: str, group: Group, threshold: float | None) -> list[Measure]:
    """What a table shows of a group of networks for images.

    Args:
        table: "images" or "confidence".
        group: of results.
        threshold: of the errors that confidence is held against, in their length; None: 0.1.

    Returns:
        The measures; none of confidence for surfaces, which have none.
    """
    surfaces = group.unit not in _LENGTHS
    if table == "confidence":
        return [] if surfaces else [_peak(group, _THRESHOLD if threshold is None else threshold)]
    if surfaces:
        return [_deviation(group.unit)]
    people = all((result.metrics.get("people") or {}).get("matches") for result in group.results)
    spatial = all("mpjpe" in result.items for result in group.results)
    return [
        *([_precision()] if people else []),
        _normalized(group.unit),
        *([_joints("mpjpe"), _joints("pa_mpjpe")] if spatial else []),
    ]


def _precision() -> Measure:
    def statistic(result: Result) -> Statistic:
        matches = CocoMatches.from_dict(result.metrics["people"]["matches"])
        return lambda weights: matches.average_precision(weights).mean(dim=1)

    return Measure(
        title="COCO's average precision (OKS 0.5 to 0.95), %",
        kind="images",
        statistic=statistic,
        scale=100,
        digits=1,
        split="val",
        definition="Of people of all sizes; intervals are over images.",
        source="Paper: SimplePose with a ResNet-50, 256x192 pixels; Table 2 of the numbers of samples.",
        images=paper.AP,
        models=lambda result: [str(number) for number in result.metrics["people"]["matches"]["image_id"]],
    )


def _normalized(unit: str) -> Measure:
    return _ERROR(
        title=f"NME, % of {_LENGTHS[unit]}",
        statistic=_nme_statistic,
        scale=100,
        digits=2,
        definition="Mean over images of the mean error of their annotated keypoints, in x and y.",
        source="Paper: MTFL, five points, 30 samples, relative to the inter-ocular distance.",
        images=paper.NME if unit == "inter-ocular" else {},
        images_name="MTFL",
    )


def _joints(key: str) -> Measure:
    def statistic(result: Result) -> Statistic:
        each = number_rows([result.items[key]])[0]
        return ratio_statistic(each.nan_to_num(), each.isfinite())

    aligned = "after a similarity has brought them as near as can be" if key == "pa_mpjpe" else "roots in one place"
    return _ERROR(
        title=f"{key.upper().replace('_', '-')}, mm",
        statistic=statistic,
        scale=1,
        digits=1,
        definition=f"Mean over poses of the mean error of their joints in space, {aligned}.",
        source="Paper: Human3.6M, trained with MPII, 10 samples.",
        images=paper.PA_MPJPE if key == "pa_mpjpe" else paper.MPJPE,
        images_name="Human3.6M",
    )


def _deviation(unit: str) -> Measure:
    return _ERROR(
        title=f"Mean absolute distance of surfaces, {unit}",
        statistic=_mad_statistic,
        scale=1,
        digits=3,
        definition="Mean over slices and surfaces.",
        source="Paper: MSHC; its number of soft-argmax looks like another unit than the rest.",
        images=paper.MAD,
        images_name="MSHC",
    )


def _peak(group: Group, threshold: float) -> Measure:
    def statistic(result: Result) -> Statistic:
        images = result.items
        errors = number_rows(images["errors"]) / _lengths(result)[:, None]
        return correlation_statistic(number_rows(images["confidence"]), errors, threshold)

    return Measure(
        title=f"Pearson's r of the map's peak with an error of at most {100 * threshold:g}% of {_LENGTHS[group.unit]}",
        kind="images",
        statistic=statistic,
        scale=1,
        digits=3,
        split=group.split,  # "val" of COCO, as in the paper; beside other data its number is no more than a hint
        source="Paper: Table 3, COCO keypoints, correctness by OKS.",
        images=paper.CONFIDENCE,
    )


def _nme_statistic(result: Result) -> Statistic:
    each = normalized_errors(number_rows(result.items["errors"]), _lengths(result))
    return ratio_statistic(each.nan_to_num(), each.isfinite())


def _mad_statistic(result: Result) -> Statistic:
    errors = number_rows(result.items["errors"])
    return ratio_statistic(errors.nansum(dim=1), errors.isfinite().sum(dim=1))


def _lengths(result: Result) -> Tensor:
    return number_rows([result.items["length"]])[0].to(torch.float64)
