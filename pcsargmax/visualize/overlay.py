"""What is written onto a rendered picture: keypoint labels, 1 σ outlines, and a panel that explains the colours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.prediction import Prediction
from pcsargmax.visualize.drawing import Drawing
from pcsargmax.visualize.palette import (
    ABSENT_COLOR,
    ProbabilityColors,
    keypoint_color,
    probability_scale,
)

if TYPE_CHECKING:
    from PIL import Image

_INK = "#1c1c22"
_FAINT = "#70707a"


def panel_width(size: tuple[int, int]) -> int:
    """How many pixels of a picture (width, height) the panel at its right takes."""
    return round(min(0.32 * size[0], 0.36 * size[1]))


def draw_outlines(image: Image.Image, outlines: list[tuple[int, np.ndarray]]) -> Image.Image:
    """Lay translucent polygons over the picture: (keypoint number, (M, 2) pixels) each."""
    from PIL import Image, ImageDraw

    layer = Image.new("RGBA", image.size, (255, 255, 255, 0))
    for number, pixels in outlines:
        one = Image.new("RGBA", image.size, (255, 255, 255, 0))
        corners = [tuple(corner) for corner in pixels]
        color = keypoint_color(number)
        ImageDraw.Draw(one).polygon(corners, fill=color + "48", outline=color + "e0", width=max(1, image.height // 640))
        layer = Image.alpha_composite(layer, one)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def draw_labels(
    image: Image.Image,
    labels: list[tuple[str, str]],
    pixels: np.ndarray,
    radius: np.ndarray,
    hidden: np.ndarray,
) -> None:
    """Write M labels (name, colour) beside their balls, at (M, 2) pixels with (M,) pixel radius.

    A keypoint behind the surface (`hidden`) gets a ring in its colour in place of the ball that cannot be seen.
    """
    from PIL import ImageDraw

    pen, font = ImageDraw.Draw(image), _font(max(11, image.height // 44))
    thin = max(1, image.height // 900)
    discs = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(pixels.tolist(), radius.tolist(), strict=True)]
    for (_, color), disc, behind in zip(labels, discs, hidden, strict=True):
        if behind:
            pen.ellipse(disc, outline="white", width=5 * thin)
            pen.ellipse(disc, outline=color, width=3 * thin)
    taken = list(discs)
    for number in np.argsort(hidden, kind="stable"):
        name, color = labels[number]
        box = _label_place(pen.textbbox((0, 0), name, font=font), discs[number], taken, image.size)
        taken.append(box)
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        _leader(pen, pixels[number], middle, float(radius[number]), color)
        ink, rim = (_FAINT if hidden[number] else _INK), max(2, font.size // 7)
        pen.text(middle, name, font=font, anchor="mm", fill=ink, stroke_width=rim, stroke_fill="white")


def add_panel(
    image: Image.Image, width: int, prediction: Prediction, drawing: Drawing, notes: list[str]
) -> Image.Image:
    """The picture with a panel of `width` pixels at its right: name, colour scale, keypoints, notes."""
    from PIL import Image, ImageDraw

    height = image.height
    joined = Image.new("RGB", (image.width + width, height), "white")
    joined.paste(image, (0, 0))
    pen = ImageDraw.Draw(joined)
    size = max(9, min(height // 50, width // 18))
    left, right, y = image.width + size, joined.width - 1.5 * size, 1.5 * size
    y = _write(pen, (left, y), prediction.name, _font(round(1.25 * size), bold=True), _INK, right - left)
    y = _write(pen, (left, y + 0.5 * size), drawing.colors.title, _font(size), _INK, right - left)
    y = _color_bar(pen, (left, y + 0.3 * size, right, y + 1.3 * size), drawing.colors, _font(round(0.85 * size)))
    bottom = height - (1.2 + 1.4 * len(notes)) * size
    y = _keypoint_rows(pen, prediction, set(drawing.shown.tolist()), (left, y + size, right, bottom), size)
    for number, note in enumerate(notes):
        at = (left, min(y + 0.5 * size, bottom) + 1.4 * number * size)
        _write(pen, at, note, _font(round(0.85 * size)), _FAINT, right - left)
    return joined


def _keypoint_rows(
    pen: Any, prediction: Prediction, shown: set[int], box: tuple[float, float, float, float], size: int
) -> float:
    """One row a keypoint: colour, name, confidence and, where there is a truth, the error; the y below them."""
    left, top, right, bottom = box
    count, error = prediction.num_keypoints, prediction.error
    row = max(min(1.7 * size, (bottom - top) / (count + 1)), 11.0)
    font, small = _font(max(8, min(size, round(row / 1.25)))), _font(max(8, min(round(0.8 * size), round(row / 1.25))))
    middle = right if error is None else right - 4.4 * size
    pen.text((middle, top), "confidence", font=small, fill=_FAINT, anchor="ra")
    if error is not None:
        pen.text((right, top), "error", font=small, fill=_FAINT, anchor="ra")
    rows = int((bottom - top) / row) - 1
    for k, name in enumerate(prediction.keypoint_names):
        y = top + (k + 1.5) * row
        if count > rows and k == rows - 1:
            pen.text((left, y), f"and {count - k} more", font=font, fill=_FAINT, anchor="lm")
            return y + row / 2
        seen, radius = k in shown, 0.36 * font.size
        color = keypoint_color(k) if seen else ABSENT_COLOR
        pen.ellipse((left, y - radius, left + 2 * radius, y + radius), fill=color if seen else None, outline=color)
        ink, start = (_INK if seen else _FAINT), left + 2 * radius + 0.6 * size
        told = f"{prediction.confidence[k]:.2f}" if seen else "absent"
        room = middle - pen.textlength(told, font=font) - 0.5 * size - start
        pen.text((start, y), _shorten(pen, name, font, room), font=font, fill=ink, anchor="lm")
        pen.text((middle, y), told, font=font, fill=ink, anchor="rm")
        if error is not None and np.isfinite(error[k]):
            pen.text((right, y), f"{error[k]:.2g}", font=font, fill=ink, anchor="rm")
    return top + (count + 1) * row


def _color_bar(pen: Any, box: tuple[float, float, float, float], colors: ProbabilityColors, font: Any) -> float:
    left, top, right, bottom = box
    width = round(right - left)
    for column in range(width):
        rgb = np.round(probability_scale()[255 * column // max(width - 1, 1)] * 255).astype(int)
        pen.line((left + column, top, left + column, bottom), fill=tuple(rgb.tolist()))
    written: list[
        tuple[float, float, float, float]
    ] = []  # from the ends inwards: a label that would touch another is left out
    for place, label in sorted(colors.ticks, key=lambda tick: -abs(tick[0] - 0.5)):
        x = left + place * (right - left)
        pen.line((x, bottom, x, bottom + 4), fill=_FAINT)
        anchor = "la" if place < 0.02 else "ra" if place > 0.98 else "ma"
        box = pen.textbbox((x, bottom + 6), label, font=font, anchor=anchor)
        if all(box[2] + 5 < other[0] or other[2] + 5 < box[0] for other in written):
            pen.text((x, bottom + 6), label, font=font, fill=_INK, anchor=anchor)
            written.append(box)
    return bottom + 6 + 1.3 * font.size


def _label_place(
    text_box: tuple[float, float, float, float],
    disc: tuple[float, float, float, float],
    taken: list[tuple[float, float, float, float]],
    size: tuple[int, int],
) -> tuple[float, float, float, float]:
    """The box around the disc that overlaps least of what is taken: right, left, above, below, then farther."""
    half_width, half_height = (text_box[2] - text_box[0]) / 2 + 3, (text_box[3] - text_box[1]) / 2 + 3
    x, y, radius = (disc[0] + disc[2]) / 2, (disc[1] + disc[3]) / 2, (disc[2] - disc[0]) / 2
    best, least = (0.0, 0.0, 0.0, 0.0), np.inf
    for far in (0, 1, 2, 3):
        for turn in np.radians([0, 180, 90, 270, 45, 135, 225, 315]):
            reach = radius + 3 + 1.8 * far * half_height
            cx = x + np.cos(turn) * (reach + half_width)
            cy = y - np.sin(turn) * (reach + half_height)
            box = (cx - half_width, cy - half_height, cx + half_width, cy + half_height)
            outside = box[0] < 0 or box[1] < 0 or box[2] > size[0] or box[3] > size[1]
            cost = sum(_overlap(box, other) for other in taken) + 1e6 * outside + 0.02 * far * half_width
            if cost < least:
                best, least = box, cost
    return best


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _leader(pen: Any, start: np.ndarray, end: tuple[float, float], radius: float, color: str) -> None:
    """A line from the ball's rim towards its label, which the label's white rim then cuts."""
    way = np.asarray(end) - start
    length = float(np.linalg.norm(way))
    if length > 3.5 * radius:
        pen.line([tuple(start + way / length * radius), end], fill=color, width=max(2, round(radius / 5)))


def _write(pen: Any, at: tuple[float, float], text: str, font: Any, ink: str, room: float) -> float:
    pen.text(at, _shorten(pen, text, font, room), font=font, fill=ink)
    return at[1] + 1.45 * font.size


def _shorten(pen: Any, text: str, font: Any, room: float) -> str:
    if pen.textlength(text, font=font) <= room:
        return text
    while text and pen.textlength(text + "…", font=font) > room:
        text = text[:-1]
    return text + "…"


def _font(size: int, *, bold: bool = False) -> Any:
    """DejaVu Sans, which comes with matplotlib and so looks the same everywhere."""
    import matplotlib
    from PIL import ImageFont

    file = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file, size)
