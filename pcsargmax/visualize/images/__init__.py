"""Looking at images: pictures with keypoints, maps and surfaces, sheets of many, a page, a window, a report."""

from pcsargmax.visualize.images.drawing import draw_image, draw_pair
from pcsargmax.visualize.images.picture import Drawable, Picture, SlicePicture, picture_of
from pcsargmax.visualize.images.sheet import image_sheet
from pcsargmax.visualize.images.window import Viewer, show_images
from pcsargmax.visualize.notebook.images import image_html
from pcsargmax.visualize.page.images import write_image_page
from pcsargmax.visualize.report.images.write import ImageReport, measure_image_run, write_image_report

__all__ = [
    "Drawable",
    "ImageReport",
    "Picture",
    "SlicePicture",
    "Viewer",
    "draw_image",
    "draw_pair",
    "image_html",
    "image_sheet",
    "measure_image_run",
    "picture_of",
    "show_images",
    "write_image_page",
    "write_image_report",
]
