from .clouds import Cloud, read_cloud, write_cloud
from .images import read_image
from .landmarks import read_landmark_table, read_landmarks, read_length_unit, write_markups

__all__ = [
    "Cloud",
    "read_cloud",
    "read_image",
    "read_landmark_table",
    "read_landmarks",
    "read_length_unit",
    "write_cloud",
    "write_markups",
]
