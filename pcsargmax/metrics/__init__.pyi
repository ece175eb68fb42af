from .alignment import das_from_labels
from .average_precision import keypoint_average_precision
from .bootstrap import bootstrap_interval
from .calibration import brier_score, expected_calibration_error, reliability_curve
from .coco_ap import coco_results, coco_score
from .coverage import box_coverage, box_iou, inclusivity
from .geodesic import CloudGraph, geodesic_errors
from .iou import hungarian_iou, keypoint_iou
from .joint_error import aligned_joint_errors, joint_errors, procrustes_aligned
from .modules.coco_keypoint_ap import CocoKeypointAP
from .modules.confidence_calibration import ConfidenceCalibration
from .modules.coverage import Coverage
from .modules.das import DAS
from .modules.joint_error import JointError
from .modules.keypoint_ap import KeypointAP
from .modules.keypoint_iou import KeypointIoU
from .modules.keypoint_presence import KeypointPresence
from .modules.normalized_mean_error import NormalizedMeanError
from .modules.oks_correlation import OksCorrelation
from .modules.pck import PCK
from .modules.repeatability import Repeatability
from .modules.self_alignment import SelfAlignment
from .modules.sparsification_error import SparsificationError
from .modules.surface_error import SurfaceError
from .movement import repeatability
from .normalized_error import box_length, normalized_errors, pair_length
from .paired import paired_bootstrap
from .pck import average_visible, keypoint_errors
from .perturbations import noisy, partial_view, rotated, thinned
from .presence import chance_precision, claimed_counts, presence_average_precision
from .similarity import COCO_SIGMAS, keypoint_similarity, oks
from .sparsification import sparsification_curve, sparsification_error
from .surface_error import surface_errors
from .symmetry import label_permutations, nearest_target, symmetric_errors, symmetric_targets

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
