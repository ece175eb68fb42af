from .clouds.annotation import annotated
from .clouds.renderer import DrawnByMatplotlib, RendererUnavailable
from .clouds.scene import render, render_all, render_pair
from .clouds.shapes import dataset_shapes, file_shapes, folder_mesh, folder_shapes, keypointnet_mesh
from .clouds.sheet import contact_sheet
from .clouds.sources import (
    Predictions,
    annotated_shapes,
    find_shapes,
    pair,
    predicted_shapes,
    run_shapes,
)
from .clouds.turntable import turntable
from .figures import (
    basis_figure,
    map_figure,
    pck_curve,
    probability_figure,
    reliability_curve,
    robustness_figure,
    sparsification_curve,
    training_curves,
)
from .look import Look
from .page.clouds import write_page
from .page.images import write_image_page
from .report.images.write import measure_image_run, write_image_report
from .window.show import show

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
