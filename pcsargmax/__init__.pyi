from .backbones.pointnet2 import Level, Neighborhoods, PointNet2, Scale
from .backbones.resnet import ResNetTrunk
from .core import circular
from .core.argmax import SamplingArgmax, kernel_logits, sampling_argmax, soft_argmax
from .core.bases import Basis, Gaussian
from .core.cells import Triangular, Uniform
from .core.distances import Distance, SmoothL1, gaussian_expected_distance
from .core.distribution import KeypointDistribution
from .core.grid import Grid
from .core.grid_argmax import GridArgmax
from .core.losses import (
    discrete_expected_error,
    distribution_regularized_error,
    error_of_expectation,
    expected_error,
    variance_regularized_error,
)
from .core.maps import Sites
from .core.regularizers import distribution_regularizer, variance_regularizer
from .core.relaxation import (
    Constant,
    Exponential,
    Linear,
    Published,
    Relaxation,
    Schedule,
    make_schedule,
    relaxed_categorical,
)
from .datasets import KeypointNet, LandmarkFolder, ShapeNetH5, make_procedural
from .metrics import DAS, PCK, Coverage, KeypointIoU, Repeatability
from .metrics.correspondence import Correspondence, match_keypoints
from .models.keypoint_detector import KeypointDetector, Scores
from .models.retina_net import RetinaMaps, RetinaNet
from .models.second_look import DensePoints, LocalScores, SecondLook
from .models.shape_prior import ShapePrior
from .models.simple_pose import SimplePose
from .models.skeleton_merger import SkeletonMerger, SkeletonScores
from .models.template import Template
from .models.template_start import TemplateStart
from .ops.neighbors import Neighbors, ball_query, farthest_point_order, knn, mean_neighbor_distance
from .ops.skeleton import CompositeChamfer, SkeletonLoss, composite_chamfer, skeleton_loss
from .predictions.calibration import Calibration, confidence_measure
from .predictions.cloud import Prediction, Skeleton, Surface, SurfacePoints
from .predictions.image import ImagePrediction, SurfacePrediction
from .runs.detector import Run
from .runs.discovery import DiscoverRun
from .runs.images import ImageRun
from .runs.kinds import AnyRun
from .runs.load import load_run
from .runs.surfaces import SurfaceRun
from .settings.detector import TrainSettings
from .settings.discovery import DiscoverSettings
from .settings.images import ImageSettings
from .training.detector.module import DetectorModule
from .training.detector.recommend import Recommendation, recommend
from .training.detector.train import train
from .training.discovery.module import DiscoverModule
from .training.discovery.train import discover
from .training.images.pose_module import PoseModule
from .training.images.surface_module import SurfaceModule
from .training.images.train import train_images

__version__: str

__all__ = [
    "DAS",
    "PCK",
    "AnyRun",
    "Basis",
    "Calibration",
    "CompositeChamfer",
    "Constant",
    "Correspondence",
    "Coverage",
    "DensePoints",
    "DetectorModule",
    "DiscoverModule",
    "DiscoverRun",
    "DiscoverSettings",
    "Distance",
    "Exponential",
    "Gaussian",
    "Grid",
    "GridArgmax",
    "ImagePrediction",
    "ImageRun",
    "ImageSettings",
    "KeypointDetector",
    "KeypointDistribution",
    "KeypointIoU",
    "KeypointNet",
    "LandmarkFolder",
    "Level",
    "Linear",
    "LocalScores",
    "Neighborhoods",
    "Neighbors",
    "PointNet2",
    "PoseModule",
    "Prediction",
    "Published",
    "Recommendation",
    "Relaxation",
    "Repeatability",
    "ResNetTrunk",
    "RetinaMaps",
    "RetinaNet",
    "Run",
    "SamplingArgmax",
    "Scale",
    "Schedule",
    "Scores",
    "SecondLook",
    "ShapeNetH5",
    "ShapePrior",
    "SimplePose",
    "Sites",
    "Skeleton",
    "SkeletonLoss",
    "SkeletonMerger",
    "SkeletonScores",
    "SmoothL1",
    "Surface",
    "SurfaceModule",
    "SurfacePoints",
    "SurfacePrediction",
    "SurfaceRun",
    "Template",
    "TemplateStart",
    "TrainSettings",
    "Triangular",
    "Uniform",
    "ball_query",
    "circular",
    "composite_chamfer",
    "confidence_measure",
    "discover",
    "discrete_expected_error",
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
    "make_schedule",
    "match_keypoints",
    "mean_neighbor_distance",
    "recommend",
    "relaxed_categorical",
    "sampling_argmax",
    "skeleton_loss",
    "soft_argmax",
    "train",
    "train_images",
    "variance_regularized_error",
    "variance_regularizer",
]
