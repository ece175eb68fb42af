"""Looking at predictions: Open3D window and pictures, an HTML page, figures. Heavy libraries load on use."""

from pcsargmax.visualize.clouds.annotation import annotated
from pcsargmax.visualize.clouds.renderer import DrawnByMatplotlib, RendererUnavailable
from pcsargmax.visualize.clouds.scene import render, render_all, render_pair
from pcsargmax.visualize.clouds.shapes import dataset_shapes, file_shapes, folder_mesh, folder_shapes, keypointnet_mesh
from pcsargmax.visualize.clouds.sheet import contact_sheet
from pcsargmax.visualize.clouds.sources import (
    Predictions,
    annotated_shapes,
    find_shapes,
    pair,
    predicted_shapes,
    run_shapes,
)
from pcsargmax.visualize.clouds.turntable import turntable
from pcsargmax.visualize.figures import (
    basis_figure,
    map_figure,
    pck_curve,
    probability_figure,
    reliability_curve,
    robustness_figure,
    sparsification_curve,
    training_curves,
)
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.page.clouds import write_page
from pcsargmax.visualize.page.images import write_image_page
from pcsargmax.visualize.report.images.write import measure_image_run, write_image_report
from pcsargmax.visualize.window.show import show

__all__ = [
    "DrawnByMatplotlib",
    "Look",
    "Predictions",
    "RendererUnavailable",
    "annotated",
    "annotated_shapes",
    "basis_figure",
    "contact_sheet",
    "dataset_shapes",
    "file_shapes",
    "find_shapes",
    "folder_mesh",
    "folder_shapes",
    "keypointnet_mesh",
    "map_figure",
    "measure_image_run",
    "pair",
    "pck_curve",
    "predicted_shapes",
    "probability_figure",
    "reliability_curve",
    "render",
    "render_all",
    "render_pair",
    "robustness_figure",
    "run_shapes",
    "show",
    "sparsification_curve",
    "training_curves",
    "turntable",
    "write_image_page",
    "write_image_report",
    "write_page",
]
