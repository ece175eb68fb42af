"""Pictures of a drawing without a screen, by a child process whose death is no more than an error."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.visualize.clouds import geometry, offscreen
from pcsargmax.visualize.clouds.drawing import Drawing
from pcsargmax.visualize.clouds.geometry import Camera, Mesh

SUPERSAMPLING = 2  # rendered larger and averaged down: Open3D's own smoothing changes colours
#: How pale the farthest is.
_HAZE = 0.35
#: The surface is moved away from the eye by this share of its distance, which does not move it in the picture: points
#: that lie on it then stand before it.
_BEHIND = 0.006
_HELP = (
    "Open3D needs the system libraries libusb-1.0-0 libgl1 libgomp1; pictures without a screen need "
    "libvulkan1 mesa-vulkan-drivers as well (apt-get install libusb-1.0-0 libgl1 libgomp1 libvulkan1 "
    "mesa-vulkan-drivers). The HTML page needs none of them"
)


class RendererUnavailable(RuntimeError):
    """Open3D cannot be loaded or cannot draw on this machine; the message says what to install.

    Example:
        >>> from pcsargmax.visualize import RendererUnavailable
        >>> str(RendererUnavailable("no graphics driver")).startswith("cannot draw with Open3D: no graphics driver")
        True
    """

    def __init__(self, cause: str) -> None:
        """Say the cause and the cure."""
        super().__init__(f"cannot draw with Open3D: {cause.strip().rstrip('.')}. {_HELP}.")


def draw_views(one: Drawing, cameras: Sequence[Camera], *, timeout: float) -> Iterator[np.ndarray]:
    """Draw from each camera, all of one size and field of view.

    A single view is lit from above the viewer's left shoulder; several, whose light cannot change from one to the next,
    from above.

    Args:
        one: what to draw.
        cameras: one or more.
        timeout: seconds to wait for one picture; a renderer that hangs is tried twice.

    Yields:
        The pictures, `SUPERSAMPLING` times as large as the cameras', (height, width, 3) uint8.

    Raises:
        RendererUnavailable: Open3D or a graphics driver is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        views = [
            {"path": str(Path(folder) / f"{number}.npy"), "eye": camera.eye, "frame": camera.frame()}
            for number, camera in enumerate(cameras)
        ]
        job, done, tries = _job(one, cameras), 0, 0
        while done < len(views):
            before = done
            for path in _child_pictures(job | {"views": views[done:]}, timeout):
                yield np.load(path)
                path.unlink()
                done += 1
            tries = 1 if done > before else tries + 1
            if done < len(views) and tries > 1:
                raise RendererUnavailable(f"the renderer did not finish in {timeout:g} seconds, tried twice")


def _child_pictures(job: dict[str, Any], timeout: float) -> Iterator[Path]:
    """The pictures of a job as `offscreen` finishes them, fewer where one takes too long."""
    # -P: the package's own file names must not shadow anybody's modules in the child.
    command = [sys.executable, "-P", offscreen.__file__]
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        pickle.dump(job, given)
        given.seek(0)
        child = subprocess.Popen(command, stdin=given, stdout=subprocess.DEVNULL, stderr=said)
        try:
            for view in job["views"]:
                path = Path(view["path"])
                if not _appears(path, child, timeout):
                    if child.poll() is None:
                        return
                    said.seek(0)
                    raise RendererUnavailable(_cause(child.returncode, said.read().decode(errors="replace")))
                yield path
        finally:
            child.kill()
            child.wait()


def _appears(path: Path, child: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait for a file until it is there, the child has ended, or the time is over."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ended = child.poll() is not None
        if path.exists():
            return True
        if ended:
            return False
        time.sleep(0.02)
    return False


def _cause(status: int, said: str) -> str:
    """Why a child ended with a status before its time."""
    last = " ".join(said.strip().splitlines()[-3:])
    if status == offscreen.IMPORT_FAILED:
        return last
    told = f"the renderer ended with status {status}, most likely for want of a graphics driver"
    return f"{told}; it said: {last or 'nothing'}"


def _job(one: Drawing, cameras: Sequence[Camera]) -> dict[str, Any]:
    """What `offscreen.draw` needs but the views, colours already shaded."""
    camera, turning = cameras[0], len(cameras) > 1
    solid = geometry.join([one.marks(), one.cloud()]) if one.as_balls else one.marks()
    surface = geometry.EMPTY if turning and not one.as_balls else one.surface_mesh()  # it would cut flat points in half
    if not turning:
        vertices = camera.eye + (1 + _BEHIND) * (surface.vertices - camera.eye)
        surface = replace(surface, vertices=vertices)
    mesh = geometry.join([solid, surface])
    if turning:
        color = _lit_from_above(mesh)
    else:
        light = np.concatenate([_light(solid, camera), _light(surface, camera, faint=True)])
        color = _hazy(mesh.colors * light, camera.project(mesh.vertices)[1])
    depth = float(np.median(camera.project(one.points)[1]))
    point_pixels = float(np.clip(2.4 * one.point_radius * camera.pixels_per_unit(depth), 1.5, 8))
    return {
        "vertices": mesh.vertices,
        "triangles": mesh.triangles,
        "colors": color,
        "point_positions": np.zeros((0, 3)) if one.as_balls else one.points,
        "point_colors": one.colors.rgb if one.as_balls else _point_colors(one, None if turning else camera),
        "point_size": point_pixels * SUPERSAMPLING,
        "size": (camera.size[0] * SUPERSAMPLING, camera.size[1] * SUPERSAMPLING),
        "focal": float(camera.pixels_per_unit(1.0)) * SUPERSAMPLING,
        "haze": _haze(one, cameras) if turning else None,
    }


def _light(mesh: Mesh, camera: Camera, *, faint: bool = False) -> np.ndarray:
    """(V, 1) how bright a lamp above the viewer's left shoulder makes a mesh; faint shadows keep a pale one pale.

    Done here and not by Open3D, whose lamps and tone mapping would take the colours off the legend's. Both sides of a
    triangle are lit alike, as the winding of a file's triangles tells nothing.
    """
    lamp = np.array([-0.35, 0.55, 0.76]) @ camera.frame()
    away = ((mesh.vertices - camera.eye) * mesh.normals).sum(axis=1) > 0
    normals = np.where(away[:, None], -mesh.normals, mesh.normals)
    dark = 0.8 if faint else 0.58
    return dark + (1 - dark) * np.clip(normals @ lamp, 0, 1)[:, None]


def _hazy(colors: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(V, 3) colours, paler with distance (V,)."""
    haze = _HAZE * ((depth - depth.min()) / max(float(np.ptp(depth)), 1e-9))[:, None]
    return colors * (1 - haze) + haze


def _lit_from_above(mesh: Mesh) -> np.ndarray:
    """(V, 3) colours that look right from every side, but for the haze: lit by the sky."""
    return mesh.colors * (0.8 + 0.2 * mesh.normals[:, 1:2])


def _point_colors(one: Drawing, camera: Camera | None) -> np.ndarray:
    """(N, 3) colours of flat points, lit as the surface that they lie on; for no camera from above."""
    normals = geometry.estimated_normals(one.points)
    cloud = Mesh(one.points, normals, one.colors.rgb, geometry.EMPTY.triangles)
    if camera is None:
        return _lit_from_above(replace(cloud, normals=np.abs(normals)))  # which side is out is not known
    return _hazy(cloud.colors * _light(cloud, camera), camera.project(cloud.vertices)[1])


def _haze(one: Drawing, cameras: Sequence[Camera]) -> tuple[float, float, float]:
    """Between which distances haze thickens, the same for all cameras, and to what."""
    depth = np.stack([camera.project(one.points)[1] for camera in cameras[:: max(1, len(cameras) // 12)]])
    return float(depth.min()), float(depth.max() + 1e-6), _HAZE
