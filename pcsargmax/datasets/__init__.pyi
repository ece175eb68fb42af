from ..io.clouds import Cloud, read_cloud, write_cloud
from ..io.landmarks import read_landmark_table, read_landmarks, write_csv, write_markups
from .cache import cache_folder
from .keypointnet import KeypointNet
from .landmarks import LandmarkFolder
from .procedural import make_procedural
from .sampling import read_item, sample_surface
from .shapenet import ShapeNetH5

__all__ = [
    "Cloud",
    "KeypointNet",
    "LandmarkFolder",
    "ShapeNetH5",
    "cache_folder",
    "make_procedural",
    "read_cloud",
    "read_item",
    "read_landmark_table",
    "read_landmarks",
    "sample_surface",
    "write_cloud",
    "write_csv",
    "write_markups",
]
