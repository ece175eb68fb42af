"""Small pictures of maps and keypoints for notebooks, by numpy and Pillow alone: no renderer, no screen."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pcsargmax.visualize.clouds.drawing import Drawing
from pcsargmax.visualize.clouds.geometry import fit_camera
from pcsargmax.visualize.palette import (
    EDGE_COLOR,
    KEYPOINT_COLORS,
    TRUTH_COLOR,
    color_values,
    faded,
    hex_to_rgb,
    keypoint_color,
    probability_scale,
    rgb_to_hex,
)

if TYPE_CHECKING:
    from PIL import Image

#: Pixels, twice as many as are shown, for screens of high resolution; and the room left at the border.
SIZE, BORDER = (720, 560), 36
#: Of letters, in pixels; of more keypoints only the colours are shown.
_FONT, _MOST_LABELS = 24, 40
#: Points more than this are thinned out: a small picture shows no more.
_MOST_POINTS = 6000
#: How many kinds of pale there are for points that are farther away.
_PALE = 6
_FAINT = "#999999"
#: Of the bars of a map over a line.
_OPACITY = 0.6


@dataclass(frozen=True, eq=False)
class Marks:
    """Keypoints in a picture.

    Attributes:
        numbers: (M,) of the keypoints, which choose the colours.
        names: M labels.
        at: (M, 2) pixels.
    """

    numbers: np.ndarray
    names: Sequence[str]
    at: np.ndarray


def drawing_picture(drawing: Drawing, names: Sequence[str]) -> Image.Image:
    """A cloud with the colours of its drawing, skeleton, keypoints, and lines to the annotated positions."""
    from PIL import ImageDraw

    camera = fit_camera(drawing.extent(), azimuth=35.0, elevation=20.0, size=SIZE, margin=0.06)
    pixels, depth = camera.project(drawing.points)
    image = cloud_picture(pixels, drawing.colors.rgb, depth)
    pen = ImageDraw.Draw(image)
    for edge in drawing.edges:
        color = 1 - edge.strength * (1 - hex_to_rgb(EDGE_COLOR))
        pen.line([tuple(end) for end in camera.project(edge.ends)[0]], fill=rgb_to_hex(color), width=4)
    at = camera.project(drawing.position)[0]
    for place, truth in zip(at, drawing.truth, strict=True):
        if np.isfinite(truth).all():
            x, y = camera.project(truth[None])[0][0]
            pen.line([tuple(place), (x, y)], fill=TRUTH_COLOR, width=3)
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=TRUTH_COLOR)
    draw_marks(image, Marks(drawing.shown, [names[k] for k in drawing.shown], at))
    return image


def sites_picture(positions: np.ndarray, rgb: np.ndarray, mean: np.ndarray) -> Image.Image:
    """Sites (L, D) of 2 or 3 coordinates in sRGB (L, 3), y up, and the means (K, D) of the keypoints."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    center, extent = (low + high) / 2, float(np.linalg.norm(high - low)) or 1.0
    sites, mean = (positions - center) / extent, (mean - center) / extent
    depth = None
    if positions.shape[1] == 3:
        camera = fit_camera(np.concatenate([sites, mean]), azimuth=35.0, elevation=20.0, size=SIZE, margin=0.06)
        (pixels, depth), at = camera.project(sites), camera.project(mean)[0]
    else:
        room = np.array(SIZE) - 2 * BORDER
        scale = float((room / np.maximum(np.ptp(sites, axis=0), 1e-6)).min())
        pixels, at = (np.array(SIZE) / 2 + place * [scale, -scale] for place in (sites, mean))
    image = cloud_picture(pixels, rgb, depth)
    draw_marks(image, Marks(np.arange(len(mean)), [str(k) for k in range(len(mean))], at))
    return image


def cloud_picture(pixels: np.ndarray, rgb: np.ndarray, depth: np.ndarray | None = None) -> Image.Image:
    """Points as dots at pixels (N, 2) in sRGB (N, 3), the farther the paler, the most coloured last."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    depth = np.zeros(len(pixels)) if depth is None else depth
    radius = float(np.clip(260 / np.sqrt(len(pixels)), 1.5, 9))
    order = np.lexsort((-depth, -rgb.min(axis=1).round(1)))  # the last key counts first
    rgb = faded(rgb, depth, steps=_PALE)
    if len(order) > _MOST_POINTS:  # the most coloured are kept
        plain = order[: len(order) - _MOST_POINTS // 2]
        order = np.concatenate([plain[:: -(-len(plain) * 2 // _MOST_POINTS)], order[len(plain) :]])
    for n in order.tolist():
        (x, y), r = pixels[n], radius
        pen.ellipse((x - r, y - r, x + r, y + r), fill=rgb_to_hex(rgb[n]))
    return image


def grid_picture(values: np.ndarray) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """A map (H, W) in the colours of the probability scale, as large as fits.

    Of a map of more cells than pixels, a pixel shows the largest of its cells, so that no peak is lost.

    Returns:
        The picture, and what leads to its pixels: (2,) scale and (2,) shift, so that (column, row) · scale + shift is
        the middle of a cell.
    """
    from PIL import Image

    image = Image.new("RGB", SIZE, "white")
    room = np.array(SIZE) - BORDER
    cells = np.array(values.shape[::-1])
    each = max(int(np.ceil((cells / room).max())), 1)  # cells a pixel
    wide, high = -(-cells // each)
    padded = np.zeros((high * each, wide * each))
    padded[: values.shape[0], : values.shape[1]] = values
    largest = padded.reshape(high, each, wide, each).max(axis=(1, 3))
    small = Image.fromarray(np.round(color_values(largest, "").rgb * 255).astype(np.uint8))
    scale = (room / [wide, high]).min()
    shape = np.maximum(np.round(scale * np.array([wide, high])).astype(int), 1)
    corner = (np.array(SIZE) - shape) // 2
    image.paste(small.resize(tuple(shape.tolist()), Image.Resampling.NEAREST), tuple(corner.tolist()))
    factor = shape / [wide * each, high * each]
    return image, factor, corner + factor / 2


def line_picture(x: np.ndarray, probability: np.ndarray, mean: np.ndarray) -> Image.Image:
    """Maps (K, L) over positions (L,) on a line: a bar a site in the keypoints' colours, and their means (K,)."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image, "RGBA")
    low, high = float(x.min()), float(x.max())
    step = (high - low) / max(len(x) - 1, 1) or 1.0
    wide, tall = SIZE[0] - 2 * BORDER, SIZE[1] - 3 * BORDER
    scale = wide / (high - low + step)
    ground, peak = SIZE[1] - BORDER, float(probability.max()) or 1.0
    pen.line([(BORDER, ground), (SIZE[0] - BORDER, ground)], fill=_FAINT, width=2)
    half = max(scale * step / 2 - 1, 1.0)
    for k, values in enumerate(probability):
        for place, value in zip(x, values, strict=True):
            middle = BORDER + scale * (place - low + step / 2)
            if value > 1e-3 * peak:
                box = (middle - half, ground - tall * value / peak, middle + half, ground)
                pen.rectangle(box, fill=f"{keypoint_color(k)}{round(255 * _OPACITY):02x}")
    at = BORDER + scale * (mean - low + step / 2)
    for k, middle in enumerate(at):
        pen.line([(middle, ground), (middle, 1.5 * BORDER)], fill=keypoint_color(k), width=3)
    names = [str(k) for k in range(len(mean))]
    draw_marks(image, Marks(np.arange(len(mean)), names, np.stack([at, np.full(len(at), 1.5 * BORDER)], axis=1)))
    return image


def draw_marks(image: Image.Image, marks: Marks) -> None:
    """Discs in the keypoints' colours with their names beside them; of many, the discs alone."""
    from PIL import ImageDraw

    from pcsargmax.visualize.overlay import draw_labels

    pen, radius = ImageDraw.Draw(image), 11.0
    for number, (x, y) in zip(marks.numbers.tolist(), marks.at.tolist(), strict=True):
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=keypoint_color(number), outline="white", width=2)
    if 0 < len(marks.numbers) <= _MOST_LABELS:
        labels = [
            (name if len(name) < 25 else name[:24] + "…", keypoint_color(number))
            for name, number in zip(marks.names, marks.numbers.tolist(), strict=True)
        ]
        count = len(labels)
        draw_labels(image, labels, marks.at, np.full(count, radius), np.zeros(count, dtype=bool), font_size=_FONT)


def data_uri(image: Image.Image) -> str:
    """The picture as text, to stand in a page: a PNG of the colours that these pictures are made of."""
    from PIL import Image

    few = Image.new("P", (1, 1))
    few.putpalette(_colors().tobytes())
    stream = io.BytesIO()
    image.quantize(palette=few, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


@cache
def _colors() -> np.ndarray:
    """(C, 3) uint8: the probability scale, the keypoints' colours full and translucent, greys."""
    keypoints = np.array([hex_to_rgb(color) for color in KEYPOINT_COLORS])
    greys = np.repeat(np.linspace(0, 1, 16)[:, None], 3, axis=1)
    others = np.array([hex_to_rgb(color) for color in (EDGE_COLOR, TRUTH_COLOR)])
    least = np.tile(probability_scale()[:1], (_PALE + 1, 1))
    pale = faded(least, np.arange(_PALE + 1.0), steps=_PALE)
    parts = [probability_scale()[::4], pale, keypoints, 1 - _OPACITY * (1 - keypoints), greys, others]
    return np.round(np.concatenate(parts) * 255).astype(np.uint8)
