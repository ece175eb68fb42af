"""Metrics in raw units: pure functions under thin `torchmetrics.Metric` classes, intervals over models."""

from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.metrics.iou import KeypointIoU, hungarian_iou
from pcsargmax.metrics.pck import PCK, average_visible, fraction_correct, keypoint_errors

__all__ = [
    "PCK",
    "KeypointIoU",
    "average_visible",
    "bootstrap_interval",
    "fraction_correct",
    "hungarian_iou",
    "keypoint_errors",
]
