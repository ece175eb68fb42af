"""A prediction, or two side by side, turning about the vertical axis, as a looping GIF or an MP4."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds import geometry, legend
from pcsargmax.visualize.clouds.drawing import build_drawing
from pcsargmax.visualize.clouds.geometry import Camera
from pcsargmax.visualize.clouds.legend import Side
from pcsargmax.visualize.clouds.picture import finish_view
from pcsargmax.visualize.clouds.renderer import draw_views
from pcsargmax.visualize.clouds.scene import check_size, notes_of, pair_drawings, side_by_side
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.palette import probability_scale

_KINDS = (".gif", ".mp4")
#: A GIF counts hundredths of a second, and viewers slow down what is faster than two of them.
_TICK = 10


def turntable(
    prediction: Prediction,
    path: str | Path,
    look: Look | None = None,
    *,
    other: Prediction | None = None,
    names: tuple[str, str] = ("", ""),
    same_scale: bool = True,
    frames: int = 60,
    seconds: float = 5.0,
    size: tuple[int, int] | None = None,
    elevation: float = 20.0,
    azimuth: float = 35.0,
    timeout: float = 90.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw a prediction from all around, without a screen, to a GIF that loops or to an MP4 (H.264).

    All frames are drawn by one child process, of two predictions by one each; y is up.

    Args:
        prediction: what to draw.
        path: a .gif, or a .mp4, which needs PyAV, the extra `video`.
        look: what of it, and how; None: `Look()`.
        other: another prediction of the same cloud, at the right of the first and seen by the same camera.
        names: of the two, such as "soft-argmax" and "sampling-argmax".
        same_scale: the colours mean the same probabilities in both; else each has a scale to its own largest.
        frames: of one turn, at least 2.
        seconds: that one turn takes.
        size: width and height in pixels, at least (320, 240), of two (640, 300); of an MP4 even numbers; None: (640,
            480), of two (960, 480).
        elevation: degrees above the horizon.
        azimuth: of the first frame, degrees about y, from +z (0) towards +x (90).
        timeout: seconds to wait for one frame; a renderer that hangs is tried twice.
        progress: called with (done, total).

    Raises:
        RendererUnavailable: Open3D or a graphics driver is missing.
        ValueError: another kind of file, an MP4 without PyAV, too few frames or too fast ones, a wrong size, no such
            keypoint, or two clouds of unlike extent.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated_shapes, turntable
        >>> counts = make_procedural("data", ["mug"], models=3)
        >>> mug = annotated_shapes(KeypointNet("data", "mug", "all"))[0]
        >>> turntable(mug, "mug.gif", frames=30)  # doctest: +SKIP
        PosixPath('mug.gif')
    """
    if other is None:
        path, size, sides = Path(path), size or (640, 480), [Side("", prediction, build_drawing(prediction, look))]
        check_size(size)
    else:
        both = pair_drawings(prediction, other, look, same_scale=same_scale)
        path, size = Path(path), size or (960, 480)
        sides = [Side(*one) for one in zip(names, (prediction, other), both, strict=True)]
        check_size(size, (640, 300))
    _check(path, frames, seconds, size)
    panel = legend.panel_width(size, len(sides))
    view = ((size[0] - panel) // len(sides), size[1])
    seen = np.concatenate([side.drawing.extent() for side in sides])
    first = orbit_camera(seen, azimuth=azimuth, elevation=elevation, size=view)
    cameras = [turned(first, 360 * number / frames) for number in range(frames)]
    pictures = _frames(sides, cameras, size[0], panel, timeout, progress)
    if path.suffix.lower() == ".gif":
        rgb = np.concatenate([side.drawing.keypoint_rgb() for side in sides])
        return _write_gif(pictures, path, frames, seconds, rgb)
    return _write_mp4(pictures, path, frames / seconds)


def orbit_camera(points: np.ndarray, *, azimuth: float, elevation: float, size: tuple[int, int]) -> Camera:
    """The camera that sees the points (M, 3) when it goes all the way round the y axis, see `geometry.fit_camera`."""
    height, reach = points[:, 1], np.linalg.norm(points[:, [0, 2]], axis=1)
    profile = np.stack([reach, height], axis=1)
    profile = profile[_outline(profile)]
    turn = np.radians(np.arange(0, 360, 5))
    around = np.stack([np.sin(turn), np.zeros_like(turn), np.cos(turn)], axis=1)
    swept = profile[:, None, :1] * around + profile[:, None, 1:] * np.array([0.0, 1.0, 0.0])
    return geometry.fit_camera(swept.reshape(-1, 3), azimuth=azimuth, elevation=elevation, size=size)


def turned(camera: Camera, degrees: float) -> Camera:
    """The camera, gone round the y axis from +z towards +x."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return replace(camera, eye=turn @ camera.eye, center=turn @ camera.center)


def _outline(profile: np.ndarray) -> np.ndarray:
    """Rows of (reach, height) that a turn of the others lies within."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return ConvexHull(profile).vertices
    except QhullError:  # flat, or too few
        return np.arange(len(profile))


def _check(path: Path, frames: int, seconds: float, size: tuple[int, int]) -> None:
    kind = path.suffix.lower()
    if kind not in _KINDS:
        raise ValueError(f"path: expected a file {' or '.join(_KINDS)}, got {path}")
    if frames < 2:
        raise ValueError(f"frames: expected 2 or more, got {frames}")
    if not 0.02 * frames <= seconds < np.inf:
        raise ValueError(f"seconds: expected at least {0.02 * frames:g} for {frames} frames, got {seconds}")
    if kind == ".mp4":
        if size[0] % 2 or size[1] % 2:
            raise ValueError(f"size: expected even numbers for an .mp4, got {size}")
        load_av(path)


def _frames(
    sides: Sequence[Side],
    cameras: Sequence[Camera],
    width: int,
    panel: int,
    timeout: float,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Image.Image]:
    """The pictures from each camera, with names and panel, of a width of which the panel takes a part."""
    told = None
    drawn = zip(*(draw_views(side.drawing, cameras, timeout=timeout) for side in sides), strict=True)
    for number, views in enumerate(drawn):
        images = [
            finish_view(pixels, side.drawing, cameras[number], side.prediction.keypoint_names, steady=True)
            for pixels, side in zip(views, sides, strict=True)
        ]
        image = side_by_side(images, [side.title for side in sides], width - panel)
        if told is None:  # the panel stays the same
            told = legend.add_panel(image, panel, sides, notes_of([side.drawing for side in sides]))
        whole = told.copy()
        whole.paste(image, (0, 0))
        yield whole
        if progress is not None:
            progress(number + 1, len(cameras))


def _write_gif(pictures: Iterator[Image.Image], path: Path, frames: int, seconds: float, rgb: np.ndarray) -> Path:
    from pcsargmax.io.atomic import atomic_path

    listed = list(pictures)
    colors = _palette(listed, rgb)
    # No dithering: its pattern would crawl from frame to frame, and does not pack.
    packed = [picture.quantize(palette=colors, dither=Image.Dither.NONE) for picture in listed]
    # Whole ticks that add up to the turn.
    at = np.rint(np.arange(frames + 1) * seconds * 1000 / frames / _TICK).astype(int) * _TICK
    with atomic_path(path) as temporary:
        packed[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=packed[1:],
            duration=np.diff(at).tolist(),
            loop=0,
            optimize=False,
            disposal=1,
        )
    return path


def _palette(pictures: Sequence[Image.Image], rgb: np.ndarray) -> Image.Image:
    """One palette of 256 colours for all frames, in which those of keypoints (M, 3), small but meant, have a place."""
    some = np.stack([np.asarray(each) for each in pictures[:: max(1, len(pictures) // 6)]]).reshape(-1, 3)
    bins, counts = np.unique(some.astype(np.int64) // 4 @ [4096, 64, 1], return_counts=True)
    colors = np.stack([bins // 4096, bins // 64 % 64, bins % 64], axis=1) * 4 + 2
    # By their number alone, the greys of the cloud would take nearly all places.
    weights = np.ceil(counts**0.35).astype(int)
    meant = np.rint(255 * np.concatenate([probability_scale(), rgb])).astype(int)
    training = np.concatenate([np.repeat(colors, weights, axis=0), np.repeat(meant, 8, axis=0)]).astype(np.uint8)
    made = Image.fromarray(training[None]).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=2)
    found = np.array(made.getpalette() or [], dtype=int).reshape(-1, 3)
    near = 255 * 3 - found.sum(axis=1)
    found[near <= max(24, near.min())] = 255  # paper is white; Pillow would take a neighbour of it for it
    made.putpalette(found.flatten().tolist())
    return made


def _write_mp4(pictures: Iterator[Image.Image], path: Path, per_second: float) -> Path:
    from pcsargmax.io.atomic import atomic_path

    av = load_av(path)
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = None
        for picture in pictures:
            if stream is None:
                rate = Fraction(per_second).limit_denominator(1000)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "medium"})
                stream.width, stream.height = picture.size
                stream.pix_fmt = "yuv420p"  # the one that every player reads
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        if stream is not None:
            container.mux(stream.encode())
    return path


def load_av(path: Path) -> Any:
    """PyAV, which writes videos.

    Raises:
        ValueError: it is not installed, so `path` cannot be written.
    """
    try:
        import av
    except ImportError:
        raise ValueError(
            f"{path}: PyAV is not installed: pip install 'pcsargmax[video]'; a .gif needs no more than there is"
        ) from None
    return av
