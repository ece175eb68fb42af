"""Figures for papers and reports by matplotlib, made without its global state and without a screen."""

from pcsargmax.visualize.figures.bases import basis_figure
from pcsargmax.visualize.figures.cloud_maps import probability_figure
from pcsargmax.visualize.figures.confidence import reliability_curve, sparsification_curve
from pcsargmax.visualize.figures.curves import pck_curve, training_curves
from pcsargmax.visualize.figures.grid_maps import map_figure
from pcsargmax.visualize.figures.parts import check_figure_path, save_figure
from pcsargmax.visualize.figures.robustness import robustness_figure

__all__ = [
    "basis_figure",
    "check_figure_path",
    "map_figure",
    "pck_curve",
    "probability_figure",
    "reliability_curve",
    "robustness_figure",
    "save_figure",
    "sparsification_curve",
    "training_curves",
]
