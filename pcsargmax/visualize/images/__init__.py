"""Pictures of images with their keypoints, maps and surfaces, contact sheets, and the window."""

from pcsargmax.visualize.images.drawing import draw_image, draw_pair
from pcsargmax.visualize.images.picture import Drawable, Picture, SlicePicture, picture_of
from pcsargmax.visualize.images.sheet import image_sheet
from pcsargmax.visualize.images.window import Viewer, show_images

__all__ = [
    "Drawable",
    "Picture",
    "SlicePicture",
    "Viewer",
    "draw_image",
    "draw_pair",
    "image_sheet",
    "picture_of",
    "show_images",
]
