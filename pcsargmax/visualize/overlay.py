"""What is written onto a rendered picture: names of keypoints, outlines of ellipsoids, colour scales, texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pcsargmax.visualize.palette import keypoint_color, probability_scale

INK = "#1c1c22"
FAINT = "#70707a"
#: Height of the smallest letters, in pixels.
SMALLEST = 10


def draw_outlines(image: Image.Image, outlines: list[tuple[int, np.ndarray]]) -> Image.Image:
    """Lay translucent polygons over the picture: (keypoint number, (M, 2) pixels) each."""
    layer = Image.new("RGBA", image.size, (255, 255, 255, 0))
    for number, pixels in outlines:
        one = Image.new("RGBA", image.size, (255, 255, 255, 0))
        corners = [tuple(corner) for corner in pixels]
        color = keypoint_color(number)
        ImageDraw.Draw(one).polygon(corners, fill=color + "38", outline=color + "e0", width=max(1, image.height // 640))
        layer = Image.alpha_composite(layer, one)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def draw_labels(
    image: Image.Image,
    labels: list[tuple[str, str]],
    pixels: np.ndarray,
    radius: np.ndarray,
    hidden: np.ndarray,
    *,
    font_size: int | None = None,
    depth: np.ndarray | None = None,
    ringed: np.ndarray | None = None,
) -> None:
    """Write M labels (name, colour) beside their balls, at (M, 2) pixels with (M,) pixel radius.

    A keypoint behind the surface (`hidden`) gets a ring in its colour in place of the ball that cannot be seen, as do
    those that are `ringed` (M,) anyway. An empty name is not written. Each name stands where there is most room; with
    `depth` (M,), the distances from the viewer, to the right of its ball, or to the left at the picture's edge, the
    nearest uppermost.
    """
    pen, letters = ImageDraw.Draw(image), font(font_size or max(11, image.height // 44))
    thin = max(1, image.height // 900)
    discs = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(pixels.tolist(), radius.tolist(), strict=True)]
    for (_, color), disc, around in zip(labels, discs, hidden if ringed is None else hidden | ringed, strict=True):
        if around:
            pen.ellipse(disc, outline="white", width=5 * thin)
            pen.ellipse(disc, outline=color, width=3 * thin)
    taken = list(discs)
    for number in np.argsort(hidden if depth is None else -depth, kind="stable"):
        name, color = labels[number]
        if not name:
            continue
        size = pen.textbbox((0, 0), name, font=letters)
        if depth is None:
            box = label_place(size, discs[number], taken, image.size)
        else:
            half = (size[2] - size[0]) / 2 + 3, (size[3] - size[1]) / 2 + 3
            box = _beside(discs[number], *half)
            if box[2] > image.width:
                box = _beside(discs[number], *half, turn=np.pi)
        taken.append(box)
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        _leader(pen, pixels[number], box, float(radius[number]), color)
        ink, rim = (FAINT if hidden[number] else INK), max(2, letters.size // 7)
        pen.text(middle, name, font=letters, anchor="mm", fill=ink, stroke_width=rim, stroke_fill="white")


def color_bar(
    pen: Any,
    box: tuple[float, float, float, float],
    ticks: Sequence[tuple[float, str]],
    letters: Any,
) -> float:
    """The scale of probability within a box (left, top, right, bottom), its ticks below it; the y below those.

    Without ticks the colours are no scale, and nothing is drawn.
    """
    left, top, right, bottom = box
    if not ticks:
        return top
    width = round(right - left)
    for column in range(width):
        rgb = np.round(probability_scale()[255 * column // max(width - 1, 1)] * 255).astype(int)
        pen.line((left + column, top, left + column, bottom), fill=tuple(rgb.tolist()))
    # From the ends inwards: a label that would touch another is left out.
    written: list[tuple[float, float, float, float]] = []
    for place, label in sorted(ticks, key=lambda tick: -abs(tick[0] - 0.5)):
        x = left + place * (right - left)
        pen.line((x, bottom, x, bottom + 4), fill=FAINT)
        anchor = "la" if place < 0.02 else "ra" if place > 0.98 else "ma"
        box = pen.textbbox((x, bottom + 6), label, font=letters, anchor=anchor)
        if all(box[2] + 5 < other[0] or other[2] + 5 < box[0] for other in written):
            pen.text((x, bottom + 6), label, font=letters, fill=INK, anchor=anchor)
            written.append(box)
    return bottom + 6 + 1.3 * letters.size


def _beside(
    disc: tuple[float, float, float, float], half_width: float, half_height: float, far: int = 0, turn: float = 0.0
) -> tuple[float, float, float, float]:
    """The box of a label in a direction from a disc, `turn` radians counterclockwise from its right."""
    x, y, radius = (disc[0] + disc[2]) / 2, (disc[1] + disc[3]) / 2, (disc[2] - disc[0]) / 2
    reach = radius + 3 + 1.8 * far * half_height
    cx = x + np.cos(turn) * (reach + half_width)
    cy = y - np.sin(turn) * (reach + half_height)
    return cx - half_width, cy - half_height, cx + half_width, cy + half_height


def label_place(
    text_box: tuple[float, float, float, float],
    disc: tuple[float, float, float, float],
    taken: list[tuple[float, float, float, float]],
    size: tuple[int, int],
) -> tuple[float, float, float, float]:
    """The box around the disc that overlaps least of what is taken: right, left, above, below, then farther."""
    half_width, half_height = (text_box[2] - text_box[0]) / 2 + 3, (text_box[3] - text_box[1]) / 2 + 3
    best, least = (0.0, 0.0, 0.0, 0.0), np.inf
    for far in (0, 1, 2, 3):
        for turn in np.radians([0, 180, 90, 270, 45, 135, 225, 315]):
            box = _beside(disc, half_width, half_height, far, turn)
            outside = box[0] < 0 or box[1] < 0 or box[2] > size[0] or box[3] > size[1]
            cost = sum(_overlap(box, other) for other in taken) + 1e6 * outside + 0.02 * far * half_width
            if cost < least:
                best, least = box, cost
    return best


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _leader(pen: Any, start: np.ndarray, box: tuple[float, float, float, float], radius: float, color: str) -> None:
    """A line from the ball's rim to the label's nearest edge, where that is not right beside the ball."""
    end = np.clip(start, box[:2], box[2:])
    way = end - start
    length = float(np.linalg.norm(way))
    if length > 2 * radius:
        pen.line([tuple(start + way / length * radius), tuple(end)], fill=color, width=max(2, round(radius / 5)))


def write(pen: Any, at: tuple[float, float], text: str, letters: Any, ink: str, room: float) -> float:
    """Write one line, cut where the room ends; the y below it."""
    pen.text(at, shorten(pen, text, letters, room), font=letters, fill=ink)
    return at[1] + 1.45 * letters.size


def wrap(pen: Any, text: str, letters: Any, room: float) -> list[str]:
    """The lines of a text that is not to be wider than the room, as long as no word is."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and pen.textlength(longer, font=letters) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def shorten(pen: Any, text: str, letters: Any, room: float) -> str:
    """The text, cut where the room ends."""
    if pen.textlength(text, font=letters) <= room:
        return text
    while text and pen.textlength(text + "…", font=letters) > room:
        text = text[:-1]
    return text + "…"


def font(size: int, *, bold: bool = False) -> Any:
    """DejaVu Sans, which comes with matplotlib and so looks the same everywhere."""
    import matplotlib

    file = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file, size)
