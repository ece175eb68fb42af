"""The Open3D window of `pcsargmax annotate`; Open3D is loaded when it is opened."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.annotate.actions import act
from pcsargmax.annotate.pointer import Kind, Pointer
from pcsargmax.annotate.proposer import Proposer
from pcsargmax.annotate.scan import Scan
from pcsargmax.annotate.session import Session
from pcsargmax.annotate.window.card import Card, draw_card
from pcsargmax.annotate.window.view import AnnotateView
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds.renderer import RendererUnavailable

_PANEL = 21.0  # width of the panel in ems
_PAUSE, _STEP = 0.01, 0.25  # seconds between frames, and between the steps of a script

Script = Callable[["AnnotateWindow"], Iterator[None]]


def annotate(
    session: Session,
    *,
    propose: Callable[[Path], Prediction] | None = None,
    title: str = "pcsargmax annotate",
    size: tuple[int, int] = (1280, 860),
    script: Script | None = None,
) -> None:
    """Open a window on a session and return when it is closed; the session saves every change itself.

    Args:
        session: what is annotated.
        propose: predicts a file, in another thread; its keypoints are proposals until they are confirmed.
        title: of the window.
        size: width and height in pixels.
        script: for tests, in place of hands: given the window, a generator that is taken a step each quarter of a
            second and calls `pointer`, `key`, `click_panel` and `type_name`; at its end the window closes.

    Raises:
        RendererUnavailable: Open3D cannot be loaded, or there is no screen.
    """
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RendererUnavailable("there is no screen to open a window on")
    try:
        import open3d as o3d
    except (ImportError, OSError) as error:
        raise RendererUnavailable(str(error)) from error
    app = o3d.visualization.gui.Application.instance
    app.initialize()
    proposer = Proposer(propose)
    try:
        window = AnnotateWindow(o3d, session, proposer, title, size)
        _run(app, window, None if script is None else script(window))
    finally:
        proposer.close()


def _run(app: Any, window: AnnotateWindow, steps: Iterator[None] | None) -> None:
    """Frame by frame, until the window is closed.

    Not `app.run`: closing the window or raising in what Open3D calls would end the process. And with pauses: a
    software driver that gets frames faster than it draws them runs full and hangs.
    """
    due = time.monotonic() + _STEP
    while app.run_one_tick():
        time.sleep(_PAUSE)
        if window.between_frames() and steps is not None and time.monotonic() >= due:
            try:
                next(steps)
                due = time.monotonic() + _STEP
            except StopIteration:
                window.close()
                steps = None


class AnnotateWindow:
    """The window: draws the session, and passes on what mouse and keys do.

    Args:
        o3d: the module, its application initialised.
        session: see `annotate`, as are the others.
        proposer: asked for each scan that is shown.
        title: of the window.
        size: in pixels.

    Attributes:
        session: what is annotated.
        scene: the view of the scan.
        card: the panel as it was drawn last.
        edit: the field for names.
    """

    def __init__(self, o3d: Any, session: Session, proposer: Proposer, title: str, size: tuple[int, int]) -> None:
        self._o3d, self.session, self._proposer = o3d, session, proposer
        self._gui = o3d.visualization.gui
        self.window = self._gui.Application.instance.create_window(title, *size)
        self.scene = AnnotateView(o3d, self.window)
        self._panel = self._gui.ImageWidget(self._image(np.full((8, 8, 3), 255, np.uint8)))
        self.edit = self._gui.TextEdit()
        self.edit.placeholder_text = "add a landmark: its name, Enter"
        self.edit.visible = session.open_names
        self.card: Card | None = None
        self._em, self._pointer = float(self.window.theme.font_size), Pointer(session)
        self._first: int | None = None
        self._help = True
        self._shown: int | None = None
        self._laid_out = self._begun = False
        self._failure: BaseException | None = None
        self._connect()
        self._open_scan()  # software drivers want something to draw from the first frame on

    def _connect(self) -> None:
        for widget in (self.scene.widget, self._panel, self.edit):
            self.window.add_child(widget)
        ignored = self._gui.Widget.EventCallbackResult.IGNORED
        self.scene.widget.set_on_mouse(self._guarded(self._on_mouse, ignored))
        self.scene.widget.set_on_key(self._guarded(self._on_key, ignored))
        self._panel.set_on_mouse(self._guarded(self._on_panel_mouse, ignored))
        self.edit.set_on_value_changed(self._guarded(self.type_name, None))
        self.window.set_on_layout(self._guarded(self._layout, None))

    # What hands and scripts do

    def pointer(self, kind: Kind, x: float, y: float) -> bool:
        """Take an event of the left button at a pixel of the view; whether the view must not turn by it."""
        if self.scene.scan is None:
            return False
        taken = self._pointer.event(kind, x, y, self.scene.scan, self.scene.view())
        if taken or kind == "release":
            self._first = None
            self.refresh()
        return taken

    def key(self, name: str) -> bool:
        """Take a key by Open3D's name for it; whether it stands for anything."""
        if name == "R":
            self.scene.reset_camera()
        elif name == "H":
            self._help = not self._help
        elif name == "ESCAPE":
            self._pointer.cancel()
        elif not act(self.session, name):
            return False
        self._first = None
        self.refresh()
        return True

    def click_panel(self, x: float, y: float) -> None:
        """Take a click at a pixel of the panel: on a landmark, which becomes the current one, or a button."""
        means = None if self.card is None else self.card.at(x, y)
        if isinstance(means, str):
            self.key(means)
        elif means is not None:
            self.session.select(means)
            self.refresh()

    def type_name(self, name: str) -> None:
        """Add a landmark by its name."""
        if not name.strip():
            return
        try:
            self.session.add_name(name)
            self.edit.text_value = ""
        except ValueError as error:
            self.session.message = str(error)
        self._first = None
        self.refresh()

    @property
    def predicting(self) -> bool:
        """Whether proposals for the scan that is shown are on their way."""
        return self._proposer.waiting(self.session.path)

    def refresh(self, *, focus: bool = True) -> None:
        """Bring view and panel up to the session; keys go to the view then, or with `focus` False where they went."""
        if self._shown != self.session.scan:
            self._open_scan()
        self.scene.show_landmarks(self.session, self._pointer.moving)
        self._draw_panel()
        if focus:
            self.window.set_focus_widget(self.scene.widget)
        self.window.post_redraw()

    def between_frames(self) -> bool:
        """Do what must not be done while Open3D draws; whether the window is up.

        Raises:
            BaseException: what was raised in a call from Open3D.
        """
        if self._failure is not None:
            raise self._failure
        if not self._laid_out:
            return False
        if not self._begun:
            self._begun = True
            self.scene.reset_camera()
            self.refresh()
        self.scene.settle()
        if self._take_proposals():
            self.refresh(focus=False)  # perhaps a name is being typed, whose letters are keys elsewhere
        return True

    def close(self) -> None:
        """Close the window."""
        self.window.close()

    def _open_scan(self) -> None:
        """Read the file that is to be shown; one that cannot be read is said, and the others go on."""
        self._shown, self._first = self.session.scan, None
        self._pointer.cancel()
        fresh = self._begun and self.scene.scan is None
        try:
            self.scene.show(Scan.read(self.session.path))
        except ValueError as error:
            self.scene.show(None)
            self.session.message = str(error)
            return
        if fresh:  # scans are alike: a view that was chosen for one stays for the next
            self.scene.reset_camera()
        self._proposer.ask(self.session.path)

    def _take_proposals(self) -> bool:
        """Give the session what there is for the scan that is shown; whether there was anything new."""
        if self._shown is None or self.scene.scan is None:
            return False
        try:
            proposals = self._proposer.take(self.scene.scan)
        except ValueError as error:
            self.session.message = str(error)
            return True
        if proposals is not None:
            self.session.offer(self._shown, proposals)
        return proposals is not None

    def _draw_panel(self) -> None:
        size = (max(int(self._panel.frame.width), 40), max(int(self._panel.frame.height), 40))
        self.card = draw_card(
            self.session,
            size,
            self._em,
            status=self.session.message or ("predicting …" if self.predicting else ""),
            proposals=bool(self._proposer),
            help=self._help,
            first=self._first,
        )
        self._panel.update_image(self._image(np.asarray(self.card.image)))

    def _image(self, pixels: np.ndarray) -> Any:
        return self._o3d.geometry.Image(np.ascontiguousarray(pixels))

    # What Open3D calls

    def _guarded(self, function: Callable[..., Any], otherwise: Any) -> Callable[..., Any]:
        """A callback for Open3D, which an exception in it would end: it is kept and raised between two frames."""

        def guarded(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:
                self._failure = self._failure or error
                return otherwise

        return guarded

    def _layout(self, context: Any) -> None:
        rect, gui = self.window.content_rect, self._gui
        width = int(min(_PANEL * self._em, rect.width / 2))
        wanted = self.edit.calc_preferred_size(context, gui.Widget.Constraints()).height
        edit = wanted if self.session.open_names else 0
        self.scene.widget.frame = gui.Rect(rect.x, rect.y, rect.width - width, rect.height)
        self._panel.frame = gui.Rect(rect.get_right() - width, rect.y, width, rect.height - edit)
        self.edit.frame = gui.Rect(rect.get_right() - width, rect.get_bottom() - edit, width, edit)
        self._laid_out = True
        if self._begun:
            self._draw_panel()

    def _on_mouse(self, event: Any) -> int:
        types, results = self._gui.MouseEvent.Type, self._gui.Widget.EventCallbackResult
        kinds: dict[Any, Kind] = {types.BUTTON_DOWN: "press", types.DRAG: "drag", types.BUTTON_UP: "release"}
        kind = kinds.get(event.type)
        if kind is None or not event.is_button_down(self._gui.MouseButton.LEFT) or event.modifiers:
            return results.IGNORED
        frame = self.scene.widget.frame
        taken = self.pointer(kind, event.x - frame.x, event.y - frame.y)
        return results.CONSUMED if taken else results.IGNORED

    def _on_panel_mouse(self, event: Any) -> int:
        types, frame = self._gui.MouseEvent.Type, self._panel.frame
        if event.type == types.BUTTON_DOWN:
            self.click_panel(event.x - frame.x, event.y - frame.y)
        elif event.type == types.WHEEL and self.card is not None:
            self._first = max(0, self.card.first - int(np.sign(event.wheel_dy)))
            self._draw_panel()
            self.window.post_redraw()
        return self._gui.Widget.EventCallbackResult.HANDLED

    def _on_key(self, event: Any) -> int:
        results = self._gui.Widget.EventCallbackResult
        if event.type != self._gui.KeyEvent.Type.DOWN:
            return results.IGNORED
        return results.HANDLED if self.key(_key_name(self._gui, event.key)) else results.IGNORED


def _key_name(gui: Any, key: int) -> str:
    """Open3D's name of a key, "" for one that has none."""
    names = {int(getattr(gui.KeyName, name)): name for name in dir(gui.KeyName) if name.isupper()}
    return names.get(int(key), "")
