"""The cloud with its probability map and keypoints in 3-D: an Open3D window, or a picture without a screen."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.prediction import Prediction
from pcsargmax.visualize import drawing, geometry, offscreen, overlay
from pcsargmax.visualize.drawing import Drawing, build_drawing
from pcsargmax.visualize.geometry import Camera, Mesh
from pcsargmax.visualize.palette import keypoint_color

_SUPERSAMPLING = 2  # rendered larger and averaged down: Open3D's own smoothing changes colours
_HELP = (
    "Open3D needs the system libraries libusb-1.0-0 libgl1 libgomp1; pictures without a screen need "
    "libvulkan1 mesa-vulkan-drivers as well (apt-get install libusb-1.0-0 libgl1 libgomp1 libvulkan1 "
    "mesa-vulkan-drivers). The HTML page needs none of them"
)


class RendererUnavailable(RuntimeError):
    """Open3D cannot be loaded or cannot draw on this machine; the message says what to install."""

    def __init__(self, cause: str) -> None:
        """Say the cause and the cure."""
        super().__init__(f"cannot draw with Open3D: {cause.strip().rstrip('.')}. {_HELP}.")


def render(
    prediction: Prediction,
    path: str | Path,
    *,
    keypoint: str | int | None = None,
    size: tuple[int, int] = (1280, 960),
    azimuth: float = 35.0,
    elevation: float = 20.0,
    log_scale: bool = False,
    truth: bool = True,
    ellipsoids: bool = False,
    min_visibility: float = 0.5,
) -> Path:
    """Draw one prediction to a PNG without a screen and return its path; see `render_all`."""
    return render_all(
        [prediction],
        [path],
        keypoints=[keypoint],
        size=size,
        azimuth=azimuth,
        elevation=elevation,
        log_scale=log_scale,
        truth=truth,
        ellipsoids=ellipsoids,
        min_visibility=min_visibility,
    )[0]


def render_all(
    predictions: Sequence[Prediction],
    paths: Sequence[str | Path],
    *,
    keypoints: Sequence[str | int | None] | None = None,
    size: tuple[int, int] = (1280, 960),
    azimuth: float = 35.0,
    elevation: float = 20.0,
    log_scale: bool = False,
    truth: bool = True,
    ellipsoids: bool = False,
    min_visibility: float = 0.5,
    timeout: float = 90.0,
) -> list[Path]:
    """Draw predictions to PNG files, each in a child process of its own; y is up.

    Args:
        predictions: what to draw.
        paths: a PNG for each.
        keypoints: for each, the keypoint whose map colours the points (None: the largest of all maps).
        size: width and height in pixels, at least (320, 240).
        azimuth: degrees about y, from +z (0) towards +x (90).
        elevation: degrees above the horizon.
        log_scale: colour by the logarithm of the probability, over three decades.
        truth: draw the annotated positions, where a prediction has them.
        ellipsoids: draw the outlines of the 1 σ ellipsoids.
        min_visibility: keypoints less likely than this to be on the cloud are not drawn.
        timeout: seconds to wait for one picture; a renderer that hangs is tried twice.

    Raises:
        RendererUnavailable: Open3D or a graphics driver is missing.
        ValueError: unequal numbers of predictions and paths, a size too small, or no such keypoint.
    """
    keypoints = [None] * len(predictions) if keypoints is None else keypoints
    if not len(predictions) == len(paths) == len(keypoints):
        raise ValueError(
            f"paths, keypoints: expected one for each of {len(predictions)} predictions, "
            f"got {len(paths)} and {len(keypoints)}"
        )
    if size[0] < 320 or size[1] < 240:
        raise ValueError(f"size: expected at least (320, 240) pixels, got {size}")
    drawings = [
        build_drawing(p, keypoint=k, log_scale=log_scale, truth=truth, min_visibility=min_visibility)
        for p, k in zip(predictions, keypoints, strict=True)
    ]
    view = (size[0] - overlay.panel_width(size), size[1])
    cameras = [geometry.fit_camera(one.extent(), azimuth=azimuth, elevation=elevation, size=view) for one in drawings]
    for prediction, one, camera, path in zip(predictions, drawings, cameras, paths, strict=True):
        picture = _run_child(_job(one, camera), timeout)
        _finish(picture, prediction, one, camera, Path(path), size[0] - view[0], ellipsoids)
    return [Path(path) for path in paths]


def show(
    predictions: Prediction | Sequence[Prediction],
    *,
    keypoint: str | int | None = None,
    log_scale: bool = False,
    truth: bool = True,
    ellipsoids: bool = False,
    min_visibility: float = 0.5,
    title: str = "pcsargmax",
) -> None:
    """Open a window and return when it is closed; its menu "Actions" goes through clouds and keypoints.

    The arguments are those of `render_all`; `keypoint` is the map that is shown first.

    Raises:
        RendererUnavailable: Open3D cannot be loaded, or there is no screen.
        ValueError: no prediction, or no such keypoint.
    """
    listed = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    if not listed:
        raise ValueError("predictions: expected at least one, got none")
    first = None if keypoint is None else listed[0].keypoint_number(keypoint)
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RendererUnavailable("there is no screen to open a window on; render to a file instead")
    try:
        from pcsargmax.visualize.window import open_window
    except (ImportError, OSError) as error:
        raise RendererUnavailable(str(error)) from error
    options = {"log_scale": log_scale, "truth": truth, "min_visibility": min_visibility}
    open_window(listed, first, title=title, ellipsoids=ellipsoids, options=options)


def _run_child(job: dict[str, Any], timeout: float) -> np.ndarray:
    """Draw a job with `offscreen` in a process of its own, whose death is then no more than an error."""
    # -P: the package's own file names must not shadow anybody's modules in the child.
    command = [sys.executable, "-P", offscreen.__file__]
    with tempfile.TemporaryDirectory() as folder:
        job["path"] = str(Path(folder) / "picture.npy")
        for _ in range(2):
            try:
                child = subprocess.run(command, input=pickle.dumps(job), capture_output=True, timeout=timeout)
            except subprocess.TimeoutExpired:
                continue
            if child.returncode == 0:
                return np.load(job["path"])
            said = " ".join(child.stderr.decode(errors="replace").strip().splitlines()[-3:])
            if child.returncode == offscreen.IMPORT_FAILED:
                raise RendererUnavailable(said)
            raise RendererUnavailable(
                f"the renderer ended with status {child.returncode}, most likely for want of a graphics "
                f"driver; it said: {said or 'nothing'}"
            )
    raise RendererUnavailable(f"the renderer did not finish in {timeout:g} seconds, tried twice")


def _job(one: Drawing, camera: Camera) -> dict[str, Any]:
    """What `offscreen.draw` needs, colours already shaded."""
    mesh = geometry.join([one.cloud(), one.marks()]) if one.as_balls else one.marks()
    depth = float(np.median(camera.project(one.points)[1]))
    point_pixels = float(np.clip(2.4 * one.point_radius * camera.pixels_per_unit(depth), 1.5, 8))
    return {
        "vertices": mesh.vertices,
        "triangles": mesh.triangles,
        "colors": _shade(mesh, camera),
        "point_positions": np.zeros((0, 3)) if one.as_balls else one.points,
        "point_colors": one.colors.rgb,
        "point_size": point_pixels * _SUPERSAMPLING,
        "size": (camera.size[0] * _SUPERSAMPLING, camera.size[1] * _SUPERSAMPLING),
        "focal": float(camera.pixels_per_unit(1.0)) * _SUPERSAMPLING,
        "eye": camera.eye,
        "frame": camera.frame(),
    }


def _shade(mesh: Mesh, camera: Camera) -> np.ndarray:
    """(V, 3) colours lit by a lamp above the viewer's left shoulder, paler with distance.

    Done here and not by Open3D, whose lamps and tone mapping would take the colours off the legend's.
    """
    lamp = np.array([-0.35, 0.55, 0.76]) @ camera.frame()
    light = 0.58 + 0.42 * np.clip(mesh.normals @ lamp, 0, 1)[:, None]
    depth = camera.project(mesh.vertices)[1]
    haze = 0.35 * ((depth - depth.min()) / max(float(np.ptp(depth)), 1e-9))[:, None]
    return mesh.colors * light * (1 - haze) + haze


def _finish(
    picture: np.ndarray,
    prediction: Prediction,
    one: Drawing,
    camera: Camera,
    path: Path,
    panel: int,
    ellipsoids: bool,
) -> None:
    """Average the rendered picture down, write labels and panel, and put it in place."""
    from PIL import Image

    from pcsargmax.datasets.cache import atomic_path

    image, large = Image.fromarray(picture), _SUPERSAMPLING
    if ellipsoids:
        outlines = [large * outline for outline in _outlines(one, camera)]
        image = overlay.draw_outlines(image, list(zip(one.shown.tolist(), outlines, strict=True)))
    pixels, depth = camera.project(one.position)
    overlay.draw_labels(
        image,
        [(prediction.keypoint_names[k], keypoint_color(k)) for k in one.shown],
        large * pixels,
        large * drawing.KEYPOINT_RADIUS * camera.pixels_per_unit(depth),
        _hidden(one, camera),
    )
    notes = []
    if np.isfinite(one.truth).any():
        notes.append("small dark balls: annotated positions")
    if ellipsoids:
        notes.append("outlines: 1 σ of the probability map")
    image = image.resize(camera.size, Image.Resampling.BOX)
    image = overlay.add_panel(image, panel, prediction, one, notes)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _outlines(one: Drawing, camera: Camera) -> list[np.ndarray]:
    """The silhouettes of the ellipsoids, (P, 2) pixels each."""
    from scipy.spatial import ConvexHull, QhullError

    outlines = []
    for ball in camera.project(one.ellipsoids().vertices)[0].reshape(len(one.position), -1, 2):
        try:
            outlines.append(ball[ConvexHull(ball).vertices])
        except QhullError:  # flat: no extent across the view
            outlines.append(ball[[ball[:, 0].argmin(), ball[:, 0].argmax()]])
    return outlines


def _hidden(one: Drawing, camera: Camera) -> np.ndarray:
    """(M,) bool: whether cloud points stand before a keypoint."""
    pixels, depth = camera.project(one.position)
    cloud_pixels, cloud_depth = camera.project(one.points)
    radius = drawing.KEYPOINT_RADIUS * camera.pixels_per_unit(depth)
    near = np.stack(
        [np.linalg.norm(cloud_pixels - place, axis=1) < reach for place, reach in zip(pixels, radius, strict=True)]
        or [np.zeros(len(cloud_depth), dtype=bool)]
    )[: len(pixels)]
    return (near & (cloud_depth < depth[:, None] - 2.5 * drawing.KEYPOINT_RADIUS)).sum(axis=1) > 2
