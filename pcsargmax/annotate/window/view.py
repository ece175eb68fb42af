"""The annotator's view of one scan with its landmarks: an Open3D scene, its camera and its labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from pcsargmax.annotate.marks import Mark
from pcsargmax.annotate.pointer import View
from pcsargmax.annotate.scan import Scan
from pcsargmax.annotate.session import Session
from pcsargmax.annotate.window import scene as annotate_scene
from pcsargmax.visualize.clouds import geometry
from pcsargmax.visualize.clouds.geometry import Mesh
from pcsargmax.visualize.window.budget import SHADER, most_triangles

_FIELD_OF_VIEW = 30.0
_LAMP = np.array([0.35, 0.75, 0.56])
_POINT = 4.0  # pixels of a point, of a cloud's until the camera is known


class AnnotateView:
    """A widget that shows a scan.

    Args:
        o3d: the module.
        window: of Open3D, that the widget is for.

    Attributes:
        widget: to be added to the window.
        scan: what is shown; None for nothing.
    """

    def __init__(self, o3d: Any, window: Any) -> None:
        self._o3d, self._window = o3d, window
        self.widget = o3d.visualization.gui.SceneWidget()
        self.widget.scene = o3d.visualization.rendering.Open3DScene(window.renderer)
        self.widget.scene.set_background([1.0, 1.0, 1.0, 1.0])
        # Colours are shaded here, so nothing else may be lit: tone mapping would take them off those of the list, and
        # shadows and smoothing, unseen as they are, make software drivers hang.
        rendering, view = o3d.visualization.rendering, self.widget.scene.view
        view.set_post_processing(False)
        view.set_antialiasing(False)
        view.set_shadowing(False, rendering.View.ShadowType.PCF)
        self.widget.scene.scene.enable_sun_light(False)
        self.widget.scene.scene.enable_indirect_light(False)
        self.scan: Scan | None = None
        self._labels: list[Any] = []
        self._point_size = _POINT
        self._spacing: float | None = None
        self._most = most_triangles(1) // 2  # of the scan, and of the balls

    def show(self, scan: Scan | None) -> None:
        """Replace the scan; the camera stays."""
        self.scan = scan
        for name in ("scan", "landmarks"):
            if self.widget.scene.has_geometry(name):
                self.widget.scene.remove_geometry(name)
        self._show_labels([])
        if scan is None:
            return
        surface = annotate_scene.surface_mesh(scan, self._most)
        if surface is not None:
            self.widget.scene.add_geometry("scan", self._triangles(surface), self._material())
            self._spacing = None
            return
        step = 1 + (len(scan.points) - 1) // self._most
        points, colors = scan.points[::step], annotate_scene.point_colors(scan)[::step]
        self._spacing = scan.spacing * float(np.sqrt(step))
        cloud = self._points(points, annotate_scene.shaded(colors, annotate_scene.cloud_normals(points, _LAMP), _LAMP))
        self.widget.scene.add_geometry("scan", cloud, self._material(_POINT))
        self._point_size = _POINT

    def _points(self, points: np.ndarray, colors: np.ndarray) -> Any:
        cloud = self._o3d.geometry.PointCloud(self._o3d.utility.Vector3dVector(points))
        cloud.colors = self._o3d.utility.Vector3dVector(np.clip(colors, 0, 1))
        return cloud

    def show_landmarks(self, session: Session, moving: tuple[str, Mark] | None) -> None:
        """Replace balls and names of the landmarks; `moving` is where one is held meanwhile."""
        scene = self.widget.scene
        if scene.has_geometry("landmarks"):
            scene.remove_geometry("landmarks")
        if self.scan is not None:
            balls = annotate_scene.landmark_mesh(session, self.scan, moving, most=self._most)
            if len(balls.triangles):
                scene.add_geometry("landmarks", self._triangles(balls), self._material())
            self._show_labels(annotate_scene.landmark_places(session, self.scan, moving))
        self.widget.force_redraw()

    def reset_camera(self) -> None:
        """Look at all of the scan from a little above."""
        if self.scan is None:
            return
        frame = self.widget.frame
        camera = geometry.fit_camera(
            self.scan.points[:: max(1, len(self.scan.points) // 20_000)],
            azimuth=35.0,
            elevation=20.0,
            size=(max(frame.width, 1), max(frame.height, 1)),
            field_of_view=_FIELD_OF_VIEW,
        )
        center, eye = (np.asarray(place, dtype=np.float32) for place in (camera.center, camera.eye))
        box = self._o3d.geometry.AxisAlignedBoundingBox([-1.0, -1.0, -1.0], [1.0, 1.0, 1.0])
        self.widget.setup_camera(_FIELD_OF_VIEW, box, center)
        self.widget.look_at(center, eye, np.array([0.0, 1.0, 0.0], dtype=np.float32))
        self.widget.center_of_rotation = center

    def settle(self) -> None:
        """Fit the size of a cloud's points to the distance of the camera, so that they nearly touch."""
        if self.scan is None or self._spacing is None:
            return
        view = self.view()
        distance = float(np.linalg.norm(view.ray(0, 0)[0]))
        size = float(np.clip(1.15 * self._spacing / (view.slope(1.0) * max(distance, 1e-3)), 2.0, 24.0))
        if abs(size / self._point_size - 1) > 0.08:
            self._point_size = size
            self.widget.scene.modify_geometry_material("scan", self._material(size))

    def view(self) -> View:
        """How the camera shows the unit frame now, in pixels of the widget."""
        camera, frame = self.widget.scene.camera, self.widget.frame
        return View(
            np.asarray(camera.get_view_matrix(), dtype=np.float64),
            np.asarray(camera.get_projection_matrix(), dtype=np.float64),
            (frame.width, frame.height),
        )

    def _show_labels(self, places: list[tuple[str, np.ndarray, bool]]) -> None:
        for label in self._labels:
            self.widget.remove_3d_label(label)
        self._labels = []
        for name, place, sure in places:
            above = (place + np.array([0.0, 2.4 * annotate_scene.RADIUS, 0.0])).astype(np.float32)
            label = self.widget.add_3d_label(above, name if sure else f"{name}?")
            label.color = self._o3d.visualization.gui.Color(0.1, 0.1, 0.13)
            self._labels.append(label)

    def _triangles(self, mesh: Mesh) -> Any:
        made = self._o3d.geometry.TriangleMesh(
            self._o3d.utility.Vector3dVector(mesh.vertices), self._o3d.utility.Vector3iVector(mesh.triangles)
        )
        colors = annotate_scene.shaded(mesh.colors, mesh.normals, _LAMP)
        made.vertex_colors = self._o3d.utility.Vector3dVector(colors)
        return made

    def _material(self, point_size: float = _POINT) -> Any:
        material = self._o3d.visualization.rendering.MaterialRecord()
        material.shader, material.point_size = SHADER, point_size
        return material
