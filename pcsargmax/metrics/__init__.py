"""Metrics in the units they are given: pure functions under thin `torchmetrics.Metric` classes."""

from pcsargmax.metrics.alignment import DAS, das_from_labels
from pcsargmax.metrics.average_precision import KeypointAP, keypoint_average_precision
from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.metrics.calibration import (
    ConfidenceCalibration,
    brier_score,
    expected_calibration_error,
    reliability_curve,
)
from pcsargmax.metrics.coco_ap import CocoKeypointAP, coco_results, coco_score
from pcsargmax.metrics.coverage import Coverage, box_coverage, box_iou, inclusivity
from pcsargmax.metrics.geodesic import CloudGraph, geodesic_errors
from pcsargmax.metrics.iou import KeypointIoU, hungarian_iou, keypoint_iou
from pcsargmax.metrics.joint_error import JointError, aligned_joint_errors, joint_errors, procrustes_aligned
from pcsargmax.metrics.normalized_error import NormalizedMeanError, box_length, normalized_errors, pair_length
from pcsargmax.metrics.oks import COCO_SIGMAS, OksCorrelation, keypoint_similarity, oks
from pcsargmax.metrics.paired import paired_bootstrap, paired_permutation, paired_wilcoxon
from pcsargmax.metrics.pck import PCK, average_visible, fraction_correct, keypoint_errors
from pcsargmax.metrics.presence import (
    KeypointPresence,
    chance_precision,
    claimed_counts,
    presence_average_precision,
)
from pcsargmax.metrics.repeatability import Repeatability, noisy, partial_view, repeatability, rotated, thinned
from pcsargmax.metrics.self_alignment import SelfAlignment
from pcsargmax.metrics.sparsification import SparsificationError, sparsification_curve, sparsification_error
from pcsargmax.metrics.surface_error import SurfaceError, surface_errors
from pcsargmax.metrics.symmetry import label_permutations, nearest_target, symmetric_errors, symmetric_targets

__all__ = [
    "COCO_SIGMAS",
    "DAS",
    "PCK",
    "CloudGraph",
    "CocoKeypointAP",
    "ConfidenceCalibration",
    "Coverage",
    "JointError",
    "KeypointAP",
    "KeypointIoU",
    "KeypointPresence",
    "NormalizedMeanError",
    "OksCorrelation",
    "Repeatability",
    "SelfAlignment",
    "SparsificationError",
    "SurfaceError",
    "aligned_joint_errors",
    "average_visible",
    "bootstrap_interval",
    "box_coverage",
    "box_iou",
    "box_length",
    "brier_score",
    "chance_precision",
    "claimed_counts",
    "coco_results",
    "coco_score",
    "das_from_labels",
    "expected_calibration_error",
    "fraction_correct",
    "geodesic_errors",
    "hungarian_iou",
    "inclusivity",
    "joint_errors",
    "keypoint_average_precision",
    "keypoint_errors",
    "keypoint_iou",
    "keypoint_similarity",
    "label_permutations",
    "nearest_target",
    "noisy",
    "normalized_errors",
    "oks",
    "pair_length",
    "paired_bootstrap",
    "paired_permutation",
    "paired_wilcoxon",
    "partial_view",
    "presence_average_precision",
    "procrustes_aligned",
    "reliability_curve",
    "repeatability",
    "rotated",
    "sparsification_curve",
    "sparsification_error",
    "surface_errors",
    "symmetric_errors",
    "symmetric_targets",
    "thinned",
]
