"""One view of the Open3D window: a scene, its camera and its labels; importing this file loads Open3D."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import open3d as o3d

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds import geometry
from pcsargmax.visualize.clouds.drawing import KEYPOINT_RADIUS, Drawing
from pcsargmax.visualize.clouds.geometry import Camera, Mesh
from pcsargmax.visualize.palette import EDGE_COLOR, hex_to_rgb
from pcsargmax.visualize.window import budget as window_budget

_FIELD_OF_VIEW = 30.0
# Shading is put into the colours, as in the pictures: Open3D's lamps and tone mapping would change them.
_LAMP = np.array([0.4, 0.8, 0.45])
# The mesh is moved away from the eye by this share of its distance, which does not move it in the picture: points
# that lie on it then stand before it.
_BEHIND = 0.012
# Size in pixels of the dots that outline the ellipsoids of 1 σ and of 2 σ.
_DOTTED = (2.5, 1.5)
_PARTS = ("points", "samples", "reconstruction", "marks", "surface", "ellipsoids 1", "ellipsoids 2")


@dataclass(frozen=True, eq=False)
class TurnedCamera(Camera):
    """A camera that may be rolled; `turn` (3, 3) is its frame."""

    turn: np.ndarray

    def frame(self) -> np.ndarray:
        """(3, 3): rows are the picture's right, its up, and the direction towards the viewer."""
        return self.turn


class SceneView:
    """A widget that shows one drawing."""

    def __init__(self, window: Any, most_triangles: int) -> None:
        """Make an empty scene for a window, which will draw about so many triangles at most."""
        self.widget = o3d.visualization.gui.SceneWidget()
        self.widget.scene = o3d.visualization.rendering.Open3DScene(window.renderer)
        self.widget.scene.set_background([1.0, 1.0, 1.0, 1.0])
        view = self.widget.scene.view
        view.set_post_processing(False)  # tone mapping would take the colours off the legend's
        view.set_antialiasing(False)
        view.set_shadowing(False, o3d.visualization.rendering.View.ShadowType.PCF)
        self.widget.scene.scene.enable_sun_light(False)
        self.widget.scene.scene.enable_indirect_light(False)
        self.drawing: Drawing | None = None
        self._labels: list[Any] = []
        self._seen: np.ndarray | None = None
        self._scaling = float(window.scaling)
        self._point_size = 5.0
        self._most = most_triangles

    def show(self, prediction: Prediction, drawing: Drawing) -> None:
        """Replace what is shown; the camera stays."""
        scene, self.drawing, self._seen = self.widget.scene, drawing, None
        self._clear_scene()
        # Points, not balls: software drivers are slow with many triangles, see `window_budget`.
        _add(scene, "points", _cloud(drawing.points, drawing.colors.rgb), _material(self._point_size))
        dots = _cloud(*drawing.sample_points()), _cloud(*skeleton_points(drawing))
        for name, cloud in zip(("samples", "reconstruction"), dots, strict=True):
            _add(scene, name, cloud, _material(3.0 * self._scaling))
        marks = window_budget.marks(drawing, self._most)
        surface = window_budget.surface(drawing, self._most - len(marks.triangles))
        for name, mesh in (("marks", marks), ("surface", surface)):
            _add(scene, name, _mesh(mesh), _material())
        for sigmas, pixels in zip(range(1, drawing.look.ellipsoids + 1), _DOTTED, strict=False):
            dots = _cloud(*ellipsoid_points(drawing, float(sigmas)))
            _add(scene, f"ellipsoids {sigmas}", dots, _material(pixels * self._scaling))
        self._show_labels(prediction, drawing)
        self.widget.force_redraw()

    def clear(self) -> None:
        """Show nothing."""
        self.drawing = None
        self._clear_scene()
        self._drop_labels()
        self.widget.force_redraw()

    def _clear_scene(self) -> None:
        for name in _PARTS:
            if self.widget.scene.has_geometry(name):
                self.widget.scene.remove_geometry(name)

    def _show_labels(self, prediction: Prediction, drawing: Drawing) -> None:
        self._drop_labels()
        if not drawing.look.labels:
            return
        for number, place in zip(drawing.shown, drawing.position, strict=True):
            above = (place + 1.9 * KEYPOINT_RADIUS * np.array([0.0, 1.0, 0.0])).astype(np.float32)
            self._labels.append(self.widget.add_3d_label(above, prediction.keypoint_names[number]))

    def _drop_labels(self) -> None:
        for label in self._labels:
            self.widget.remove_3d_label(label)
        self._labels = []

    def reset_camera(self) -> None:
        """Look at all that is drawn, from the side that pictures are taken from."""
        if self.drawing is None:
            return
        frame = self.widget.frame
        camera = geometry.fit_camera(
            self.drawing.extent(),
            azimuth=35.0,
            elevation=20.0,
            size=(max(frame.width, 1), max(frame.height, 1)),
            field_of_view=_FIELD_OF_VIEW,
        )
        center, eye = (np.asarray(place, dtype=np.float32) for place in (camera.center, camera.eye))
        box = o3d.geometry.AxisAlignedBoundingBox([-1.0, -1.0, -1.0], [1.0, 1.0, 1.0])
        self.widget.setup_camera(_FIELD_OF_VIEW, box, center)
        self.widget.look_at(center, eye, np.array([0.0, 1.0, 0.0], dtype=np.float32))
        self.widget.center_of_rotation = center

    def moved(self) -> bool:
        """Whether the camera has moved since this was asked last; what depends on it is then brought up to date."""
        matrix = np.asarray(self.widget.scene.camera.get_model_matrix())
        if self._seen is not None and np.allclose(matrix, self._seen, atol=1e-7):
            return False
        self._seen = matrix.copy()
        self._settle()
        return True

    def follow(self, other: SceneView) -> None:
        """Take the other view's camera."""
        self.widget.scene.camera.copy_from(other.widget.scene.camera)
        self.widget.center_of_rotation = other.widget.center_of_rotation
        self._seen = np.asarray(self.widget.scene.camera.get_model_matrix()).copy()
        self._settle()
        self.widget.force_redraw()

    def _settle(self) -> None:
        """Fit the size of the points and the place of the mesh to the camera."""
        if self.drawing is None:
            return
        camera, scene = self.camera(), self.widget.scene
        depth = float(np.median(camera.project(self.drawing.points)[1]))
        size = float(np.clip(1.9 * self.drawing.point_radius * camera.pixels_per_unit(depth), 2.0, 8.0))
        if scene.has_geometry("points") and abs(size / self._point_size - 1) > 0.08:
            self._point_size = size
            scene.modify_geometry_material("points", _material(size))
        if scene.has_geometry("surface"):
            away = np.diag([1 + _BEHIND] * 3 + [1.0])
            away[:3, 3] = -_BEHIND * camera.eye
            scene.set_geometry_transform("surface", away)

    def camera(self) -> TurnedCamera:
        """The camera as it is, for what is drawn onto pictures."""
        frame, camera = self.widget.frame, self.widget.scene.camera
        matrix = np.asarray(camera.get_model_matrix(), dtype=np.float64)
        slope = 1 / np.asarray(camera.get_projection_matrix())[1, 1]
        eye, turn = matrix[:3, 3], matrix[:3, :3].T
        angle = float(np.degrees(2 * np.arctan(slope)))
        return TurnedCamera(eye, eye - turn[2], angle, (frame.width, frame.height), turn)

    def picture(self, then: Callable[[np.ndarray], None]) -> None:
        """Draw the scene to a picture (height, width, 3) uint8, and call `then` with it once it is there."""
        self.widget.scene.scene.render_to_image(lambda image: then(np.asarray(image)[..., :3].copy()))


def skeleton_points(drawing: Drawing) -> tuple[np.ndarray, np.ndarray]:
    """The points that a skeleton reconstructs, (P, 3), and their sRGB, the paler the weaker their edge."""
    none, ink = np.zeros((0, 3)), hex_to_rgb(EDGE_COLOR)
    colors = [np.broadcast_to(1 - edge.strength * (1 - ink), edge.points.shape) for edge in drawing.edges]
    return np.concatenate([none, *(edge.points for edge in drawing.edges)]), np.concatenate([none, *colors])


def ellipsoid_points(drawing: Drawing, sigmas: float, *, steps: int = 192) -> tuple[np.ndarray, np.ndarray]:
    """The ellipsoids of so many σ of the chosen keypoints, three dotted ellipses each, through their axes.

    Open3D 0.20 ends the process over its transparent unlit material; dots are what every driver draws.

    Returns:
        Positions (P, 3) and their sRGB (P, 3).
    """
    turn = 2 * np.pi * np.arange(steps) / steps
    circle = np.stack([np.cos(turn), np.sin(turn), np.zeros(steps)], axis=1)
    circles = np.concatenate([np.roll(circle, by, axis=1) for by in range(3)])
    axes, center = drawing.axes[drawing.chosen], drawing.position[drawing.chosen]
    positions = center[:, None] + sigmas * circles @ axes.transpose(0, 2, 1)
    return positions.reshape(-1, 3), np.repeat(drawing.keypoint_rgb()[drawing.chosen], 3 * steps, axis=0)


def _add(scene: Any, name: str, geometry_: Any, material: Any) -> None:
    if not geometry_.is_empty():
        scene.add_geometry(name, geometry_, material)


def _material(point_size: float = 5.0) -> Any:
    material = o3d.visualization.rendering.MaterialRecord()
    material.shader, material.point_size = window_budget.SHADER, point_size
    return material


def _cloud(points: np.ndarray, colors: np.ndarray) -> Any:
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    cloud.colors = o3d.utility.Vector3dVector(colors)
    return cloud


def _mesh(mesh: Mesh) -> Any:
    made = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices), o3d.utility.Vector3iVector(mesh.triangles)
    )
    light = 0.65 + 0.35 * np.clip(mesh.normals @ _LAMP, 0, 1)[:, None]
    made.vertex_colors = o3d.utility.Vector3dVector(mesh.colors * light)
    return made
