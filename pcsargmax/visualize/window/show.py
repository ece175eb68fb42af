"""Show shapes in a window."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds.renderer import RendererUnavailable
from pcsargmax.visualize.look import Look


def show(
    predictions: Prediction | Sequence[Prediction],
    *,
    others: Prediction | Sequence[Prediction] | None = None,
    look: Look | None = None,
    titles: tuple[str, str] = ("", ""),
) -> None:
    """Open a window and return when it is closed; its panel and keys go through shapes, keypoints and switches.

    Args:
        predictions: what to show, one shape at a time; a lazy sequence is asked for a shape when it is shown.
        others: of the same shapes in the same order, shown beside them from the same camera.
        look: how the first shape is drawn.
        titles: of the two, such as the names of their runs.

    Raises:
        RendererUnavailable: Open3D cannot be loaded, or there is no screen.
        ValueError: no prediction, unequal numbers of predictions and others, or no such keypoint.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated_shapes, show
        >>> counts = make_procedural("data", ["mug"], models=3)
        >>> show(annotated_shapes(KeypointNet("data", "mug", "all")))  # doctest: +SKIP
    """
    shapes = [predictions] if isinstance(predictions, Prediction) else predictions
    beside = [others] if isinstance(others, Prediction) else others
    if not len(shapes):
        raise ValueError("predictions: expected at least one, got none")
    if beside is not None and len(beside) != len(shapes):
        raise ValueError(f"others: expected {len(shapes)}, one beside each prediction, got {len(beside)}")
    look = look or Look()
    if look.keypoint is not None:
        shapes[0].keypoint_number(look.keypoint)
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RendererUnavailable("there is no screen to open a window on; render to a file instead")
    try:
        from pcsargmax.visualize.window.window import open_window
    except (ImportError, OSError) as error:
        raise RendererUnavailable(str(error)) from error
    from pcsargmax.visualize.window.state import ViewerState

    open_window(shapes, beside, ViewerState.over(shapes, beside, look), titles=titles)
