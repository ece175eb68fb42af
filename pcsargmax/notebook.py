"""Formatters that show predictions and distributions in IPython; what draws them is imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

_CLOUDS, _IMAGES = "pcsargmax.visualize.notebook.clouds", "pcsargmax.visualize.notebook.images"
#: Module and name of each type, and of the function that draws it as HTML.
_DRAWN_BY = {
    ("pcsargmax.core.distribution", "KeypointDistribution"): (_CLOUDS, "distribution_html"),
    ("pcsargmax.predictions.cloud", "Prediction"): (_CLOUDS, "prediction_html"),
    ("pcsargmax.predictions.image", "ImagePrediction"): (_IMAGES, "image_html"),
    ("pcsargmax.predictions.image", "SurfacePrediction"): (_IMAGES, "image_html"),
}


def register() -> bool:
    """Register the formatters with the running IPython shell.

    `import pcsargmax` calls it, so that in a notebook a prediction shows a picture and a table.

    Returns:
        Whether a shell runs that has an HTML formatter.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None:
        return False
    html = shell.display_formatter.formatters["text/html"]
    for (module, name), (drawn_by, function) in _DRAWN_BY.items():
        html.for_type_by_name(module, name, _formatter(drawn_by, function))
    return True


def _formatter(module: str, function: str) -> Callable[[Any], str | None]:
    """A formatter that imports its module when first called; None, for the plain text, where drawing fails."""

    def formatted(value: Any) -> str | None:
        try:
            return getattr(import_module(module), function)(value)
        except Exception:  # whatever is wrong with it, its plain text can still be read
            return None

    return formatted
