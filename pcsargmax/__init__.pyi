from .argmax import SamplingArgmax, sampling_argmax, soft_argmax
from .backbones.pointnet2 import Level, PointNet2, Scale
from .bases import Gaussian
from .datasets import KeypointNet, LandmarkFolder, make_procedural
from .distribution import KeypointDistribution
from .losses import distance, error_of_expectation, expected_error, gaussian_expected_distance
from .metrics import PCK, KeypointIoU
from .models.keypoint_detector import KeypointDetector
from .neighbors import ball_query, farthest_point_order, knn, mean_neighbor_distance
from .prediction import Prediction
from .relaxation import Constant, Exponential, Linear, relaxed_categorical
from .template import Template
from .training.run import Run, load_run
from .training.settings import TrainSettings
from .training.train import train

__all__ = [
    "PCK",
    "Constant",
    "Exponential",
    "Gaussian",
    "KeypointDetector",
    "KeypointDistribution",
    "KeypointIoU",
    "KeypointNet",
    "LandmarkFolder",
    "Level",
    "Linear",
    "PointNet2",
    "Prediction",
    "Run",
    "SamplingArgmax",
    "Scale",
    "Template",
    "TrainSettings",
    "ball_query",
    "distance",
    "error_of_expectation",
    "expected_error",
    "farthest_point_order",
    "gaussian_expected_distance",
    "knn",
    "load_run",
    "make_procedural",
    "mean_neighbor_distance",
    "relaxed_categorical",
    "sampling_argmax",
    "soft_argmax",
    "train",
]
