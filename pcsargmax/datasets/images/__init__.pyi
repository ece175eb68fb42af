from .augment import ImageAugment
from .camera import Camera, to_camera
from .coco import CocoKeypoints
from .folder import ImageFolder
from .human36m import Human36m
from .item import ImageItem, KeypointImages, SurfaceItem, can_flip, flip_order
from .mpii import Human36mMpii, MpiiKeypoints
from .mshc import Mshc
from .mtfl import Mtfl
from .procedural import ProceduralFaces, ProceduralFigures, ProceduralSlices

__all__ = [
    "Camera",
    "CocoKeypoints",
    "Human36m",
    "Human36mMpii",
    "ImageAugment",
    "ImageFolder",
    "ImageItem",
    "KeypointImages",
    "MpiiKeypoints",
    "Mshc",
    "Mtfl",
    "ProceduralFaces",
    "ProceduralFigures",
    "ProceduralSlices",
    "SurfaceItem",
    "can_flip",
    "flip_order",
    "to_camera",
]
