"""The Open3D window behind `scene.show`; importing this file loads Open3D."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import open3d as o3d

from pcsargmax.prediction import Prediction
from pcsargmax.visualize import geometry
from pcsargmax.visualize.drawing import Drawing, build_drawing
from pcsargmax.visualize.geometry import Mesh

# Shading is put into the colours, as in the pictures: Open3D's lamps and tone mapping would change them.
_LAMP = np.array([0.4, 0.8, 0.45])


def open_window(
    predictions: Sequence[Prediction],
    keypoint: int | None,
    *,
    title: str,
    ellipsoids: bool,
    options: dict[str, Any],
    size: tuple[int, int] = (1280, 960),
) -> None:
    """Show the first prediction and wait until the window is closed; `options` are `build_drawing`'s."""
    app = o3d.visualization.gui.Application.instance
    app.initialize()
    window = o3d.visualization.O3DVisualizer(title, *size)
    window.show_settings = False
    window.show_skybox(False)
    window.set_background(np.ones(4, dtype=np.float32), None)  # type: ignore[arg-type]  # None: no picture
    state = {"cloud": 0, "map": -1 if keypoint is None else keypoint, "ellipsoids": int(ellipsoids)}

    def redraw() -> None:
        prediction = predictions[state["cloud"] % len(predictions)]
        turn = state["map"] % (prediction.num_keypoints + 1)  # the last: the largest of all maps
        chosen = turn if turn < prediction.num_keypoints else None
        drawing = build_drawing(prediction, keypoint=chosen, **options)
        _fill(window, prediction, drawing, state["ellipsoids"] % 2 == 1)
        low, high = drawing.colors.ticks[0][1], drawing.colors.ticks[-1][1]
        window.title = f"{title}: {prediction.name}, {drawing.colors.title} (grey {low} to dark {high})"

    def step(field: str, by: int) -> Callable[[Any], None]:
        def act(_: Any) -> None:
            state[field] += by
            redraw()

        return act

    if len(predictions) > 1:
        window.add_action("Next cloud", step("cloud", 1))
        window.add_action("Previous cloud", step("cloud", -1))
    window.add_action("Next keypoint's map", step("map", 1))
    window.add_action("Ellipsoids on or off", step("ellipsoids", 1))

    def begin() -> None:
        redraw()
        window.scene.view.set_post_processing(False)
        extent = build_drawing(predictions[0], **options).extent()
        # 60 degrees is the only angle that the window keeps.
        camera = geometry.fit_camera(extent, azimuth=35.0, elevation=20.0, size=size, field_of_view=60.0, margin=0.0)
        place = [np.asarray(each, dtype=np.float32) for each in (camera.center, camera.eye, (0, 1, 0))]
        window.setup_camera(camera.field_of_view, *place)
        window.post_redraw()

    app.add_window(window)
    # Once the window runs: its first layout would take the camera back.
    app.post_to_main_thread(window, begin)
    app.run()


def _fill(window: Any, prediction: Prediction, drawing: Drawing, ellipsoids: bool) -> None:
    """Replace what the window shows."""
    for name in ("points", "keypoints", "ellipsoids"):
        window.remove_geometry(name)
    window.clear_3d_labels()
    # Points, not balls: software drivers hang on so many triangles, and a window must answer quickly.
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(drawing.points))
    cloud.colors = o3d.utility.Vector3dVector(drawing.colors.rgb)
    window.add_geometry("points", cloud, _material("defaultUnlit"))
    if len(drawing.shown):
        window.add_geometry("keypoints", _mesh(drawing.marks()), _material("defaultUnlit"))
        if ellipsoids:
            clear = _material("defaultUnlitTransparency")
            clear.base_color = [1.0, 1.0, 1.0, 0.35]
            clear.has_alpha = True
            window.add_geometry("ellipsoids", _mesh(drawing.ellipsoids()), clear)
    for number, place in zip(drawing.shown, drawing.position, strict=True):
        window.add_3d_label(place.astype(np.float32), prediction.keypoint_names[number])


def _material(shader: str) -> Any:
    material = o3d.visualization.rendering.MaterialRecord()
    material.shader = shader
    material.point_size = 5.0
    return material


def _mesh(mesh: Mesh) -> Any:
    made = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices), o3d.utility.Vector3iVector(mesh.triangles)
    )
    light = 0.65 + 0.35 * np.clip(mesh.normals @ _LAMP, 0, 1)[:, None]
    made.vertex_colors = o3d.utility.Vector3dVector(mesh.colors * light)
    return made
