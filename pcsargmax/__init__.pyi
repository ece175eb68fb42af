from .argmax import SamplingArgmax, kernel_logits, sampling_argmax, soft_argmax
from .backbones.pointnet2 import Level, PointNet2, Scale
from .bases import Gaussian
from .calibration import Calibration, confidence_measure
from .cells import Triangular, Uniform
from .datasets import KeypointNet, LandmarkFolder, make_procedural
from .distances import SmoothL1, distance, gaussian_expected_distance
from .distribution import KeypointDistribution
from .grid import Grid
from .grid_argmax import GridArgmax
from .losses import (
    discrete_expected_error,
    distribution_regularized_error,
    error_of_expectation,
    expected_error,
    variance_regularized_error,
)
from .metrics import PCK, KeypointIoU
from .models.keypoint_detector import KeypointDetector
from .neighbors import ball_query, farthest_point_order, knn, mean_neighbor_distance
from .prediction import Prediction
from .regularizers import distribution_regularizer, variance_regularizer
from .relaxation import Constant, Exponential, Linear, Published, relaxed_categorical
from .site_sigma import SiteSigma
from .template import Template
from .training.run import Run, load_run
from .training.settings import TrainSettings
from .training.train import train

__all__ = [
    "PCK",
    "Calibration",
    "Constant",
    "Exponential",
    "Gaussian",
    "Grid",
    "GridArgmax",
    "KeypointDetector",
    "KeypointDistribution",
    "KeypointIoU",
    "KeypointNet",
    "LandmarkFolder",
    "Level",
    "Linear",
    "PointNet2",
    "Prediction",
    "Published",
    "Run",
    "SamplingArgmax",
    "Scale",
    "SiteSigma",
    "SmoothL1",
    "Template",
    "TrainSettings",
    "Triangular",
    "Uniform",
    "ball_query",
    "confidence_measure",
    "discrete_expected_error",
    "distance",
    "distribution_regularized_error",
    "distribution_regularizer",
    "error_of_expectation",
    "expected_error",
    "farthest_point_order",
    "gaussian_expected_distance",
    "kernel_logits",
    "knn",
    "load_run",
    "make_procedural",
    "mean_neighbor_distance",
    "relaxed_categorical",
    "sampling_argmax",
    "soft_argmax",
    "train",
    "variance_regularized_error",
    "variance_regularizer",
]
