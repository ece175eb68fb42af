"""Child process that draws one coloured mesh with Open3D without a screen.

Open3D's off-screen renderer can end its process where no graphics driver is found, so it never runs in the
user's own. This file is run by its path: it reads a pickled job (see `draw`) from standard input, which its
parent writes, and imports nothing of the package.

On software drivers (Mesa's llvmpipe), seen with Open3D 0.20, a renderer that was given new geometry after its
first picture can hang, and so can large pictures. So a process draws one mesh, and that in small tiles.
"""

import pickle
import sys
from typing import Any

import numpy as np

IMPORT_FAILED = 3
_TILE = 480


def draw(o3d: Any, job: dict[str, Any]) -> np.ndarray:
    """Draw a job and return its picture (height, width, 3) uint8 on white.

    A job has vertices (V, 3), colors (V, 3) sRGB in [0, 1] already shaded, triangles (T, 3), and may have
    points: point_positions (P, 3), point_colors (P, 3), point_size in pixels. Its camera has size (width,
    height), focal (pixels), eye (3,) and frame (3, 3), rows right, up and towards the viewer.
    """
    rendering = o3d.visualization.rendering
    renderer = rendering.OffscreenRenderer(_TILE, _TILE)
    view = renderer.scene.view
    view.set_post_processing(False)  # tone mapping would take the colours off the legend's
    view.set_antialiasing(False)
    view.set_shadowing(False, rendering.View.ShadowType.PCF)
    renderer.scene.scene.enable_sun_light(False)
    renderer.scene.scene.enable_indirect_light(False)
    renderer.scene.set_background([1.0, 1.0, 1.0, 1.0])
    _add_geometry(o3d, renderer.scene, job)

    (width, height), focal = job["size"], job["focal"]
    outward = np.eye(4)  # Open3D's camera has y down and looks along +z
    outward[:3, :3] = job["frame"] * np.array([[1.0], [-1.0], [-1.0]])
    outward[:3, 3] = -outward[:3, :3] @ job["eye"]
    picture = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            inward = np.array([[focal, 0, width / 2 - left], [0, focal, height / 2 - top], [0, 0, 1.0]])
            renderer.setup_camera(inward, outward, _TILE, _TILE)
            tile = np.asarray(renderer.render_to_image())
            picture[top : top + _TILE, left : left + _TILE] = tile[: height - top, : width - left]
    return picture


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
    """Draw the job of standard input and save the picture at its path, a .npy."""
    job = pickle.load(sys.stdin.buffer)
    try:
        import open3d
    except (ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return IMPORT_FAILED
    np.save(job["path"], draw(open3d, job))
    return 0


if __name__ == "__main__":
    sys.exit(main())
