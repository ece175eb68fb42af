"""The cloud with its probability map and keypoints in 3-D: an Open3D window, or a picture without a screen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds import geometry, legend
from pcsargmax.visualize.clouds.drawing import Drawing, build_drawing
from pcsargmax.visualize.clouds.geometry import Camera
from pcsargmax.visualize.clouds.legend import Side
from pcsargmax.visualize.clouds.picture import finish_view, notes
from pcsargmax.visualize.clouds.renderer import RendererUnavailable, draw_views
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.overlay import INK, SMALLEST, font, shorten
from pcsargmax.visualize.palette import probability_map

__all__ = ["RendererUnavailable", "render", "render_all", "render_pair"]


def render(
    prediction: Prediction,
    path: str | Path,
    look: Look | None = None,
    *,
    size: tuple[int, int] = (1280, 960),
    azimuth: float = 35.0,
    elevation: float = 20.0,
) -> Path:
    """Draw one prediction to a PNG without a screen and return its path; see `render_all`.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import Look, annotated_shapes, render
        >>> counts = make_procedural("data", ["mug"], models=3)
        >>> mug = annotated_shapes(KeypointNet("data", "mug", "all"))[0]
        >>> render(mug, "mug.png", Look(labels=False), azimuth=60)  # doctest: +SKIP
        PosixPath('mug.png')
    """
    return render_all([prediction], [path], [look], size=size, azimuth=azimuth, elevation=elevation)[0]


def render_all(
    predictions: Sequence[Prediction],
    paths: Sequence[str | Path],
    looks: Sequence[Look | None] | None = None,
    *,
    size: tuple[int, int] = (1280, 960),
    azimuth: float = 35.0,
    elevation: float = 20.0,
    timeout: float = 90.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw predictions to PNG files, each in a child process of its own; y is up.

    Args:
        predictions: what to draw; a lazy sequence is asked for one at a time.
        paths: a PNG for each.
        looks: what of each, and how; None: `Look()`.
        size: width and height in pixels, at least (320, 240).
        azimuth: degrees about y, from +z (0) towards +x (90).
        elevation: degrees above the horizon.
        timeout: seconds to wait for one picture; a renderer that hangs is tried twice.
        progress: called with (done, total).

    Raises:
        RendererUnavailable: Open3D or a graphics driver is missing.
        ValueError: unequal numbers of predictions, paths and looks, a size too small, or no such keypoint.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated_shapes, render_all
        >>> counts = make_procedural("data", ["mug"], models=3)
        >>> shapes = annotated_shapes(KeypointNet("data", "mug", "all"))
        >>> render_all(shapes, [f"{name}.png" for name in shapes.names])  # doctest: +SKIP
        [PosixPath('mug00000.png'), PosixPath('mug00001.png'), PosixPath('mug00002.png')]
    """
    looks = [None] * len(predictions) if looks is None else looks
    if not len(predictions) == len(paths) == len(looks):
        raise ValueError(
            f"paths, looks: expected one for each of {len(predictions)} predictions, got {len(paths)} and {len(looks)}"
        )
    check_size(size)
    panel = legend.panel_width(size)
    for number in range(len(predictions)):
        prediction = predictions[number]
        one = build_drawing(prediction, looks[number])
        view = (size[0] - panel, size[1])
        camera = geometry.fit_camera(one.extent(), azimuth=azimuth, elevation=elevation, size=view)
        image = draw_view(one, camera, prediction.keypoint_names, timeout)
        save(legend.add_panel(image, panel, [Side("", prediction, one)], notes_of([one])), Path(paths[number]))
        if progress is not None:
            progress(number + 1, len(predictions))
    return [Path(path) for path in paths]


def render_pair(
    first: Prediction,
    second: Prediction,
    path: str | Path,
    look: Look | None = None,
    *,
    names: tuple[str, str] = ("", ""),
    size: tuple[int, int] = (1600, 720),
    azimuth: float = 35.0,
    elevation: float = 20.0,
    same_scale: bool = True,
    timeout: float = 90.0,
) -> Path:
    """Draw two predictions of one cloud side by side, from one camera, to a PNG without a screen.

    Args:
        first: on the left.
        second: on the right.
        path: the PNG.
        look: what of both, and how; its keypoint is one of the first's, and in the second the one of the same name.
        names: of the two, such as "soft-argmax" and "sampling-argmax".
        size: width and height in pixels, at least (640, 300).
        azimuth: see `render_all`.
        elevation: see `render_all`.
        same_scale: the colours mean the same probabilities in both; else each has a scale to its own largest.
        timeout: see `render_all`.

    Raises:
        RendererUnavailable: Open3D or a graphics driver is missing.
        ValueError: two clouds of unlike extent, a size too small, or no such keypoint in one of them.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated_shapes, render_pair
        >>> counts = make_procedural("data", ["mug"], models=3)
        >>> mug = annotated_shapes(KeypointNet("data", "mug", "all"))[0]
        >>> render_pair(mug, mug, "pair.png", names=("annotator A", "annotator B"))  # doctest: +SKIP
        PosixPath('pair.png')
    """
    check_size(size, (640, 300))
    both, drawings = (first, second), pair_drawings(first, second, look, same_scale=same_scale)
    panel = legend.panel_width(size, 2)
    view = ((size[0] - panel) // 2, size[1])
    seen = np.concatenate([one.extent() for one in drawings])
    camera = geometry.fit_camera(seen, azimuth=azimuth, elevation=elevation, size=view, margin=0.09)
    images = [
        draw_view(one, camera, prediction.keypoint_names, timeout)
        for one, prediction in zip(drawings, both, strict=True)
    ]
    sides = [Side(*side) for side in zip(names, both, drawings, strict=True)]
    image = side_by_side(images, names, size[0] - panel)
    return save(legend.add_panel(image, panel, sides, notes_of(drawings)), Path(path))


def pair_drawings(
    first: Prediction, second: Prediction, look: Look | None = None, *, same_scale: bool = True
) -> tuple[Drawing, Drawing]:
    """Drawings of two predictions of one cloud in one frame; see `render_pair`."""
    look = look or Look()
    low, high = first.points.min(axis=0), first.points.max(axis=0)
    away = max(np.abs(second.points.min(axis=0) - low).max(), np.abs(second.points.max(axis=0) - high).max())
    if away > 0.1 * np.linalg.norm(high - low):
        raise ValueError(
            f"second: expected a prediction of the same cloud as the first, {first.name}; the bounding box of "
            f"{second.name} is another"
        )
    named = None if look.keypoint is None else first.keypoint_names[first.keypoint_number(look.keypoint)]
    looks = look, dataclasses.replace(look, keypoint=named)
    peak = None
    if same_scale:
        maps = [probability_map(one, each.keypoint) for one, each in zip((first, second), looks, strict=True)]
        peak = max(float(each.max()) for each in maps) or None
    return (
        build_drawing(first, looks[0], peak=peak),
        build_drawing(second, looks[1], peak=peak, frame=(low, high)),
    )


def draw_view(one: Drawing, camera: Camera, names: Sequence[str], timeout: float) -> Image.Image:
    """A drawing as its camera sees it, keypoints named."""
    (pixels,) = draw_views(one, [camera], timeout=timeout)
    return finish_view(pixels, one, camera, names)


def check_size(size: tuple[int, int], least: tuple[int, int] = (320, 240)) -> None:
    """Raise ValueError for a picture that is too small."""
    if size[0] < least[0] or size[1] < least[1]:
        raise ValueError(f"size: expected at least {least} pixels, got {size}")


def save(image: Image.Image, path: Path) -> Path:
    """Write a PNG, whole or not at all."""
    from pcsargmax.io.atomic import atomic_path

    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
    return path


def side_by_side(images: Sequence[Image.Image], names: Sequence[str], width: int) -> Image.Image:
    """Pictures beside one another, their names on top, on white of a width."""
    joined = Image.new("RGB", (width, images[0].height), "white")
    pen = ImageDraw.Draw(joined)
    letters = font(max(SMALLEST, round(images[0].height / 36)), bold=True)
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        joined.paste(image, (number * image.width, 0))
        at = ((number + 0.5) * image.width, 0.6 * letters.size)
        pen.text(at, shorten(pen, name, letters, 0.95 * image.width), font=letters, fill=INK, anchor="ma")
    return joined


def notes_of(drawings: Sequence[Drawing]) -> list[str]:
    """What the legend says of several drawings, each note once."""
    return list(dict.fromkeys(note for one in drawings for note in notes(one)))
