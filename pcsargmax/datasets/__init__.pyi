from .cache import cache_folder
from .keypointnet import KeypointNet
from .landmarks import LandmarkFolder
from .procedural import make_procedural
from .sampling import read_item, sample_surface
from .shapenet import ShapeNetH5

__all__ = [
    "KeypointNet",
    "LandmarkFolder",
    "ShapeNetH5",
    "cache_folder",
    "make_procedural",
    "read_item",
    "sample_surface",
]
