"""Screenshots of the window: its scenes with labels, and the card that explains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pcsargmax.visualize import overlay
from pcsargmax.visualize.clouds.drawing import KEYPOINT_RADIUS
from pcsargmax.visualize.clouds.geometry import Camera
from pcsargmax.visualize.clouds.legend import Side
from pcsargmax.visualize.clouds.picture import hidden
from pcsargmax.visualize.palette import keypoint_color
from pcsargmax.visualize.window.panel import draw_card
from pcsargmax.visualize.window.state import ViewerState

if TYPE_CHECKING:
    from PIL import Image

_CARD = 27  # width in ems


def compose(
    sides: Sequence[Side],
    pictures: Sequence[np.ndarray],
    cameras: Sequence[Camera],
    state: ViewerState,
    *,
    em: float,
) -> Image.Image:
    """Put the pictures of the views side by side, label them, and add what explains them.

    Args:
        sides: what the views show.
        pictures: (height, width, 3) uint8 of each view.
        cameras: that they were taken with; their size need not be the pictures'.
        state: of the window.
        em: height of the letters in pixels.
    """
    from PIL import Image, ImageDraw

    views = [_labelled(*one) for one in zip(sides, pictures, cameras, strict=True)]
    height, width = max(view.height for view in views), sum(view.width for view in views)
    card = draw_card(sides, state.chosen, (round(_CARD * em), height), em, heading=state.title()).image
    whole = Image.new("RGB", (width + card.width, height), "white")
    left, pen = 0, ImageDraw.Draw(whole)
    for view in [*views, card]:
        whole.paste(view, (left, 0))
        left += view.width
    for number, (side, view) in enumerate(zip(sides, views, strict=True)):
        if side.title:
            at = (number * views[0].width + view.width / 2, 0.5 * em)
            font = overlay.font(round(1.2 * em), bold=True)
            pen.text(at, side.title, font=font, anchor="ma", fill="#1c1c22", stroke_width=3, stroke_fill="white")
    return whole


def _labelled(side: Side, pixels: np.ndarray, camera: Camera) -> Image.Image:
    """The picture of a view with the names of its keypoints."""
    from PIL import Image

    image, one = Image.fromarray(np.ascontiguousarray(pixels)), side.drawing
    ratio = image.height / camera.size[1]
    at, depth = camera.project(one.position)
    overlay.draw_labels(
        image,
        [(side.prediction.keypoint_names[k] if one.look.labels else "", keypoint_color(k)) for k in one.shown],
        ratio * at,
        ratio * KEYPOINT_RADIUS * camera.pixels_per_unit(depth),
        hidden(one, camera),
        ringed=np.isin(np.arange(len(one.shown)), one.chosen) & (one.look.keypoint is not None),
    )
    return image
