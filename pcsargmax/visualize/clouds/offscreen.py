"""Child process that draws one coloured mesh with Open3D without a screen, from one side or from many.

Open3D's off-screen renderer can end its process where no graphics driver is found, so it never runs in the
user's own. This file is run by its path: it reads a pickled job (see `draw`) from standard input, which its
parent writes, and imports nothing of the package.

On software drivers (Mesa's llvmpipe), seen with Open3D 0.20, a renderer that was given new geometry after its
first picture can hang, as can one that shows and hides geometry, and so can large pictures. So a process draws
one mesh, and that in small tiles; moving the camera is safe.
"""

import os
import pickle
import sys
from typing import Any

import numpy as np

IMPORT_FAILED = 3
_TILE = 480


def draw(o3d: Any, job: dict[str, Any]) -> None:
    """Draw the views of a job, each (height, width, 3) uint8 on white, to its path, a .npy, in their order.

    A job has vertices (V, 3), colors (V, 3) sRGB in [0, 1] already shaded, triangles (T, 3), and may have
    points: point_positions (P, 3), point_colors (P, 3), point_size in pixels. All views have one size (width,
    height) and one focal length (pixels); a view has path, eye (3,) and frame (3, 3), rows right, up and
    towards the viewer. Where haze is not None it is (near, far, share): what is far grows paler, to `share` of
    white.
    """
    renderer = _renderer(o3d)
    _add_geometry(o3d, renderer.scene, job)
    for view in job["views"]:
        picture = _tiles(renderer, view, job["size"], job["focal"], depth=False)
        if job["haze"] is not None:
            picture = _hazy(renderer, view, job, picture)
        part = view["path"] + ".part.npy"
        np.save(part, picture)
        os.replace(part, view["path"])  # the parent takes what is there as whole


def _renderer(o3d: Any) -> Any:
    rendering = o3d.visualization.rendering
    renderer = rendering.OffscreenRenderer(_TILE, _TILE)
    view = renderer.scene.view
    view.set_post_processing(False)  # tone mapping would take the colours off the legend's
    view.set_antialiasing(False)
    view.set_shadowing(False, rendering.View.ShadowType.PCF)
    renderer.scene.scene.enable_sun_light(False)
    renderer.scene.scene.enable_indirect_light(False)
    renderer.scene.set_background([1.0, 1.0, 1.0, 1.0])
    return renderer


def _tiles(renderer: Any, view: dict[str, Any], size: tuple[int, int], focal: float, *, depth: bool) -> np.ndarray:
    """The picture of a view, or the distances along it (height, width), infinite where there is nothing."""
    width, height = size
    outward = np.eye(4)  # Open3D's camera has y down and looks along +z
    outward[:3, :3] = view["frame"] * np.array([[1.0], [-1.0], [-1.0]])
    outward[:3, 3] = -outward[:3, :3] @ view["eye"]
    picture = np.empty((height, width), np.float32) if depth else np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            inward = np.array([[focal, 0, width / 2 - left], [0, focal, height / 2 - top], [0, 0, 1.0]])
            renderer.setup_camera(inward, outward, _TILE, _TILE)
            tile = np.asarray(renderer.render_to_depth_image(True) if depth else renderer.render_to_image())
            picture[top : top + _TILE, left : left + _TILE] = tile[: height - top, : width - left]
    return picture


def _hazy(renderer: Any, view: dict[str, Any], job: dict[str, Any], picture: np.ndarray) -> np.ndarray:
    """The picture, paler with distance, which is measured at half the resolution, as that is faster."""
    (width, height), (near, far, share) = job["size"], job["haze"]
    half = ((width + 1) // 2, (height + 1) // 2)
    distance = _tiles(renderer, view, half, job["focal"] / 2, depth=True)
    rim = np.pad(distance, 1, mode="edge")  # of the pixels at the edge of a shape, half see nothing behind it
    around = [rim[y : y + half[1], x : x + half[0]] for y in range(3) for x in range(3)]
    distance = np.where(np.isfinite(distance), distance, np.minimum.reduce(around))
    haze = share * np.clip((distance - near) / (far - near), 0, 1)[..., None]
    haze = haze.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.rint(picture * (1 - haze) + 255 * haze).astype(np.uint8)


def _add_geometry(o3d: Any, scene: Any, job: dict[str, Any]) -> None:
    material = o3d.visualization.rendering.MaterialRecord()
    material.shader = "defaultUnlit"
    vector = o3d.utility.Vector3dVector
    if len(job["triangles"]):
        mesh = o3d.geometry.TriangleMesh(vector(job["vertices"]), o3d.utility.Vector3iVector(job["triangles"]))
        mesh.vertex_colors = vector(job["colors"])
        scene.add_geometry("mesh", mesh, material)
    if len(job["point_positions"]):
        material.point_size = job["point_size"]
        cloud = o3d.geometry.PointCloud(vector(job["point_positions"]))
        cloud.colors = vector(job["point_colors"])
        scene.add_geometry("points", cloud, material)


def main() -> int:
    """Draw the job of standard input."""
    job = pickle.load(sys.stdin.buffer)
    try:
        import open3d
    except (ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return IMPORT_FAILED
    draw(open3d, job)
    return 0


if __name__ == "__main__":
    sys.exit(main())
