"""Looking at predictions: Open3D window and pictures, an HTML page, figures. Heavy libraries load on use."""

from pcsargmax.visualize.annotation import annotated
from pcsargmax.visualize.figures import contact_sheet, pck_curve, probability_figure, training_curves
from pcsargmax.visualize.page import write_page
from pcsargmax.visualize.scene import RendererUnavailable, render, render_all, show

__all__ = [
    "RendererUnavailable",
    "annotated",
    "contact_sheet",
    "pck_curve",
    "probability_figure",
    "render",
    "render_all",
    "show",
    "training_curves",
    "write_page",
]
