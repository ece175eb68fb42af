"""Metrics in the units they are given: pure functions under thin `torchmetrics.Metric` classes."""

from pcsargmax.metrics.alignment import DAS
from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.metrics.coverage import Coverage, box_coverage, box_iou, inclusivity
from pcsargmax.metrics.iou import KeypointIoU, hungarian_iou
from pcsargmax.metrics.pck import PCK, average_visible, fraction_correct, keypoint_errors
from pcsargmax.metrics.repeatability import Repeatability, noisy, partial_view, repeatability, rotated, thinned

__all__ = [
    "DAS",
    "PCK",
    "Coverage",
    "KeypointIoU",
    "Repeatability",
    "average_visible",
    "bootstrap_interval",
    "box_coverage",
    "box_iou",
    "fraction_correct",
    "hungarian_iou",
    "inclusivity",
    "keypoint_errors",
    "noisy",
    "partial_view",
    "repeatability",
    "rotated",
    "thinned",
]
