"""The Open3D window behind `show`; importing this file loads Open3D."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import open3d as o3d

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds.drawing import Drawing, build_drawing
from pcsargmax.visualize.clouds.legend import Side
from pcsargmax.visualize.palette import color_by_probability, probability_map
from pcsargmax.visualize.window.actions import act, press
from pcsargmax.visualize.window.budget import most_triangles
from pcsargmax.visualize.window.controls import Controls
from pcsargmax.visualize.window.scene_view import SceneView
from pcsargmax.visualize.window.snapshot import compose
from pcsargmax.visualize.window.state import Effect, ViewerState

Shapes = tuple[Prediction, ...]  # one a view


def open_window(
    predictions: Sequence[Prediction],
    others: Sequence[Prediction] | None,
    state: ViewerState,
    *,
    titles: tuple[str, str] = ("", ""),
    size: tuple[int, int] = (1280, 820),
    script: Sequence[str | Callable[[Viewer], None]] = (),
) -> None:
    """Open a window and wait until it is closed.

    Args:
        predictions: a shape each; a lazy sequence is asked for one at a time, in a thread of its own.
        others: of the same shapes, shown beside them.
        state: what is shown first; it changes as the user acts.
        titles: of the two.
        size: of the window, in pixels of the screen.
        script: for tests: actions by their names, or functions of the viewer, done one after another, each once what is
            before it is on the screen; then the window closes.
    """
    app = o3d.visualization.gui.Application.instance
    app.initialize()
    _set_font(app)
    viewer = Viewer(app, predictions, others, state, titles, size)
    viewer.script = list(script)
    viewer.scripted = bool(script)
    try:
        app.run()
    finally:
        viewer.end()


class Viewer:
    """The window: it asks for shapes, does what keys and panel say, and keeps two cameras together."""

    def __init__(
        self,
        app: Any,
        predictions: Sequence[Prediction],
        others: Sequence[Prediction] | None,
        state: ViewerState,
        titles: tuple[str, str],
        size: tuple[int, int],
    ) -> None:
        """Open the window; nothing is predicted yet."""
        self.sequences = [predictions] if others is None else [predictions, others]
        self.state, self.titles, self._app = state, titles, app
        self.script: list[str | Callable[[Viewer], None]] = []
        self.scripted = False
        self.sides: list[Side] = []
        self.window = app.create_window(titles[0] or "pcsargmax", *size)
        self.views = [SceneView(self.window, most_triangles(len(self.sequences))) for _ in self.sequences]
        for view in self.views:
            self.window.add_child(view.widget)
        self.controls = Controls(self.window, state, self.carry_out, titles[: len(self.views)])
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._found: dict[int, Future[Shapes]] = {}
        self._waiting = True
        self._fresh = True
        self._stale = False  # the look has changed since the shape was drawn
        self._pictures: dict[int, np.ndarray] | None = None
        self._pictured = state
        self._calm = 0
        self.window.set_on_layout(self._layout)
        self.window.set_on_key(self._key)
        self.window.set_on_tick_event(self._tick)
        self.controls.update(self.sides, waiting=True)

    def do(self, name: str) -> None:
        """Do an action by its name."""
        self.carry_out(act(self.state, name))

    def end(self) -> None:
        """Drop what is still to be predicted."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def carry_out(self, effect: Effect) -> None:
        """Do to the window what an action asks for."""
        if effect is Effect.CLOSE:
            self._app.post_to_main_thread(self.window, self.window.close)  # a window must not end within its own tick
            return
        if effect is Effect.SHAPE:
            self._waiting = True
            self.state.message = ""
        elif effect is Effect.DRAW:
            self._stale = True
        elif effect is Effect.CAMERA:
            for view in self.views:
                view.reset_camera()
        elif effect is Effect.PICTURE and self.sides and not self._waiting and self._pictures is None:
            self._redraw()
            self._pictures, self._pictured = {}, replace(self.state)  # keys go on changing the state meanwhile
            for number, view in enumerate(self.views):
                view.picture(lambda picture, number=number: self._take_picture(number, picture))  # type: ignore[misc]
        self.controls.update(self.sides, waiting=self._waiting)
        self.window.post_redraw()

    def _tick(self) -> bool:
        """Called many times a second: take what was predicted, keep cameras together, go on with the script."""
        changed = False
        if self._pictures is None:  # nothing changes under a screenshot that is being taken
            changed = self._take_shape() if self._waiting else self._redraw()
        changed = self._link() or changed
        self._calm = 0 if changed or self._waiting or self._pictures is not None else self._calm + 1
        if self.scripted and self._calm > 3:
            self._calm = 0
            self._next_of_script()
        return changed

    def _next_of_script(self) -> None:
        if not self.script:
            self.scripted = False
            self.carry_out(Effect.CLOSE)
            return
        step = self.script.pop(0)
        if callable(step):
            step(self)
            self.window.post_redraw()
        else:
            self.do(step)

    def _take_shape(self) -> bool:
        """Show the shape that was asked for, once it is predicted."""
        number = self.state.shape
        future = self._ask(number)
        if not future.done():
            return False
        self._waiting = False
        try:
            found = future.result()
            self.state.meet(*found)
            self._draw(found)
        except Exception as error:  # whatever a model or a file raises: Open3D ends the process over it
            del self._found[number]
            self._show_nothing(error)
        else:
            if len(self.state.names) > 1:
                self._ask((number + 1) % len(self.state.names))  # most will look at the next one next
        self.controls.update(self.sides, waiting=False)
        return True

    def _redraw(self) -> bool:
        """Draw the shape anew where the look has changed; whether it has."""
        stale, self._stale = self._stale and bool(self.sides), False
        if stale:
            try:
                self._draw(tuple(side.prediction for side in self.sides))
            except Exception as error:  # as above
                self._show_nothing(error)
            self.controls.update(self.sides, waiting=False)
        return stale

    def _show_nothing(self, error: Exception) -> None:
        self.state.message = f"{type(error).__name__}: {error}"
        self.sides = []
        for view in self.views:
            view.clear()

    def _ask(self, number: int) -> Future[Shapes]:
        """The future of a shape; what was asked for before and has not begun, and all but a few, are forgotten."""
        if number not in self._found:
            self._found = {old: future for old, future in self._found.items() if not future.cancel()}
            for old in [*self._found][:-8]:
                del self._found[old]
            self._found[number] = self._worker.submit(lambda: tuple(each[number] for each in self.sequences))
        return self._found[number]

    def _draw(self, found: Shapes) -> None:
        """Draw a shape as the state says."""
        self._stale = False
        drawings = self._drawings(found)
        self.sides = [Side(*one) for one in zip(self.titles, found, drawings, strict=False)]
        for view, prediction, drawing in zip(self.views, found, drawings, strict=True):
            view.show(prediction, drawing)
        if self._fresh:
            self._fresh = False
            for view in self.views:
                view.reset_camera()
        self.window.title = " · ".join(filter(None, (*self.titles, self.state.title())))

    def _drawings(self, found: Shapes) -> list[Drawing]:
        looks = [self.state.look_for(one) for one in found]
        drawings = [build_drawing(*one) for one in zip(found, looks, strict=True)]
        if len(found) == 1 or not self.state.same_scale:
            return drawings
        maps = [probability_map(one, look.keypoint) for one, look in zip(found, looks, strict=True)]
        peak = max(float(each.max()) for each in maps)
        return [
            replace(drawing, colors=color_by_probability(one, look.keypoint, log_scale=look.log_scale, peak=peak))
            for one, look, drawing in zip(found, looks, drawings, strict=True)
        ]

    def _link(self) -> bool:
        """Let the view that was not moved follow the one that was."""
        moved = [view.moved() for view in self.views]
        if any(moved) and len(self.views) == 2 and self.state.linked:
            leader = moved.index(True)
            self.views[1 - leader].follow(self.views[leader])
        return any(moved)

    def _take_picture(self, number: int, picture: np.ndarray) -> None:
        """Save a screenshot once all views have come."""
        if self._pictures is None:
            return
        self._pictures[number] = picture
        if len(self._pictures) < len(self.views):
            return
        pictures, self._pictures = [self._pictures[i] for i in range(len(self.views))], None
        try:
            path = self._save(pictures)
        except Exception as error:  # mostly OSError; Open3D ends the process over what is raised here
            self.state.message = f"no screenshot: {error}"
        else:
            self.state.message = f"saved {path.name}"
        self.controls.update(self.sides, waiting=self._waiting)
        self.window.post_redraw()

    def _save(self, pictures: list[np.ndarray]) -> Path:
        from pcsargmax.io.atomic import atomic_path

        cameras = [view.camera() for view in self.views]
        whole = compose(self.sides, pictures, cameras, self._pictured, em=self.controls.em)
        path = self._pictured.picture_path()
        try:
            with atomic_path(path) as temporary:
                whole.save(temporary, format="PNG")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _layout(self, context: Any) -> None:
        self.controls.layout(context, self.window.content_rect, [view.widget for view in self.views])

    def _key(self, event: Any) -> bool:
        gui = o3d.visualization.gui
        if event.type != gui.KeyEvent.Type.DOWN:
            return False
        try:
            key = gui.KeyName(event.key).name
        except ValueError:
            return False
        effect = press(self.state, key, repeated=event.is_repeat)
        if effect is None:
            return False
        self.carry_out(effect)
        return True


def _set_font(app: Any) -> None:
    """DejaVu Sans, as in the pictures.

    Of what is not Latin, Open3D 0.20 reads letters reliably only by language; Thai stands for dashes and dots.
    """
    gui = o3d.visualization.gui
    file = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    font = gui.FontDescription(file)
    for language in ("cyrillic", "th", "vi"):
        font.add_typeface_for_language(file, language)
    app.set_font(gui.Application.DEFAULT_FONT_ID, font)
