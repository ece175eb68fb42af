"""The panel of the Open3D window: chooser, switches and the card; importing this file loads Open3D."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import open3d as o3d

from pcsargmax.visualize.clouds.legend import Side
from pcsargmax.visualize.window.actions import ACTIONS, Action, act, can, help_lines, key_text
from pcsargmax.visualize.window.panel import Card, draw_card
from pcsargmax.visualize.window.state import Effect, ViewerState

_WIDTH = 27  # of the panel, in ems
_LONGEST_STATUS = 36  # letters of a line
_LONGEST_CHOICE = 25
_WHEEL_ROWS = 3
_ELLIPSOIDS = ("No ellipsoids (E)", "Ellipsoids: 1 sigma (E)", "Ellipsoids: 1 and 2 sigma (E)")
#: Switches that are no boxes: one is a button, one has three states.
_NO_BOXES = ("help", "ellipsoids")
_BUTTONS = ("reset_camera", "screenshot", "help")


class Controls:
    """The panel and the titles over the views; what the user does goes to the state and its effect to `carry_out`."""

    def __init__(
        self, window: Any, state: ViewerState, carry_out: Callable[[Effect], None], titles: Sequence[str]
    ) -> None:
        """Add the panel to a window.

        Args:
            window: that it belongs to.
            state: that it shows and changes.
            carry_out: called with what the window has to do then.
            titles: of the views.
        """
        gui = o3d.visualization.gui
        self.state, self._carry_out, self._window = state, carry_out, window
        self.em = 0.8 * window.theme.font_size
        self._first: int | None = None  # row of the list, once it was scrolled
        self._chosen: int | None = None
        self._card: Card | None = None
        self._sides: Sequence[Side] = ()
        self._gap = round(0.5 * self.em)
        self.panel = gui.Vert(self._gap, gui.Margins(self._gap, self._gap, self._gap, self._gap))
        self._add_chooser()
        self._add_switches()
        self._add_buttons()
        self._status = gui.Label(" ")
        self.panel.add_child(self._status)
        self._card_view = gui.ImageWidget(_image(np.full((8, 8, 3), 255, dtype=np.uint8)))
        self._card_view.set_on_mouse(self._mouse)
        self._help = gui.ScrollableVert(0, gui.Margins(self._gap, self._gap, self._gap, self._gap))
        self._help.add_child(self._help_grid())
        self._titles = titles
        self._title_labels = [gui.Label(" ") for _ in titles]
        for label in self._title_labels:
            label.text_color, label.background_color = gui.Color(0.1, 0.1, 0.13), gui.Color(1.0, 1.0, 1.0, 0.8)
        for child in (self.panel, self._card_view, self._help, *self._title_labels):
            window.add_child(child)

    def _add_chooser(self) -> None:
        gui = o3d.visualization.gui
        self._chooser = gui.Combobox()
        for text in self.state.shape_texts():
            self._chooser.add_item(_shortened(text))
        self._chooser.set_on_selection_changed(lambda _, number: self._carry_out(self.state.choose_shape(int(number))))
        row = gui.Horiz(self._gap)
        for text, name in (("<", "previous_shape"), (">", "next_shape")):
            row.add_child(self._button(text, name, enabled=len(self.state.names) > 1))
        row.add_child(self._chooser)
        self.panel.add_child(row)

    def _add_switches(self) -> None:
        """A box for each action that is a switch, and the three states of the ellipsoids."""
        gui = o3d.visualization.gui
        grid = gui.VGrid(2, self._gap)
        self._switches: dict[str, tuple[Action, Any]] = {}
        for action in ACTIONS:
            if action.on is None or action.name in _NO_BOXES or (action.needs == "pair" and not self.state.pair):
                continue
            box = gui.Checkbox(_text_with_key(action))
            box.set_on_checked(self._doing(action.name))
            self._switches[action.name] = action, box
            grid.add_child(box)
        self._ellipsoids = gui.Combobox()
        for text in _ELLIPSOIDS:
            self._ellipsoids.add_item(text)
        self._ellipsoids.set_on_selection_changed(
            lambda _, number: self._carry_out(self.state.change_look(ellipsoids=number))
        )
        self.panel.add_child(grid)
        self.panel.add_child(self._ellipsoids)

    def _add_buttons(self) -> None:
        row = o3d.visualization.gui.Horiz(self._gap)
        for action in ACTIONS:
            if action.name in _BUTTONS:
                row.add_child(self._button(_text_with_key(action), action.name))
        self.panel.add_child(row)

    def _button(self, text: str, name: str, *, enabled: bool = True) -> Any:
        button = o3d.visualization.gui.Button(text)
        button.horizontal_padding_em, button.vertical_padding_em = 0.35, 0.0
        button.enabled = enabled
        button.set_on_clicked(self._doing(name))
        return button

    def _doing(self, name: str) -> Callable[..., None]:
        """What does an action, whatever a widget passes to it."""
        return lambda *_: self._carry_out(act(self.state, name))

    def _help_grid(self) -> Any:
        gui = o3d.visualization.gui
        grid = gui.VGrid(2, round(0.25 * self._gap))
        lines = [
            *help_lines(),
            ("Drag", "Turn"),
            ("Ctrl and drag", "Move"),
            ("Wheel", "Nearer, farther"),
            ("Click on a row", "Its map"),
        ]
        for line in lines:
            for text in line:
                grid.add_child(gui.Label(text))
        return grid

    def layout(self, context: Any, room: Any, views: Sequence[Any]) -> None:
        """Share a rectangle out: views side by side, the panel at their right.

        Args:
            context: of the layout.
            room: what there is.
            views: widgets of the views.
        """
        gui = o3d.visualization.gui
        width = min(round(_WIDTH * self.em), room.width // 2)
        left = room.x + room.width - width
        wanted = self.panel.calc_preferred_size(context, gui.Widget.Constraints()).height + self._gap
        high = min(wanted, room.height)
        self.panel.frame = gui.Rect(left, room.y, width, high)
        # What is not seen takes no room: it would take the clicks of what it lies on.
        rest, none = gui.Rect(left, room.y + high, width, max(room.height - high, 1)), gui.Rect(0, 0, 0, 0)
        self._card_view.frame, self._help.frame = (none, rest) if self.state.help else (rest, none)
        share = (room.width - width) // len(views)
        for number, (view, title) in enumerate(zip(views, self._title_labels, strict=True)):
            view.frame = gui.Rect(room.x + number * share, room.y, share, room.height)
            wide = min(title.calc_preferred_size(context, gui.Widget.Constraints()).width, share)
            x = view.frame.x + (share - wide) // 2
            title.frame = gui.Rect(x, room.y + self._gap, wide, round(1.6 * self.em)) if title.visible else none
        self._draw_card()

    def update(self, sides: Sequence[Side], *, waiting: bool) -> None:
        """Show the state: what the views show, and whether a shape is being predicted."""
        state, self._sides = self.state, sides
        if self._chosen != state.chosen:
            self._chosen, self._first = state.chosen, None
        self._chooser.change_item(state.shape, _shortened(state.shape_texts()[state.shape]))
        self._chooser.selected_index = state.shape
        for action, box in self._switches.values():
            box.enabled, box.checked = can(state, action), action.on is not None and action.on(state)
        self._ellipsoids.enabled = "ellipsoids" in state.present
        self._ellipsoids.selected_index = state.look.ellipsoids
        self._write(waiting)
        if self._help.visible != state.help or self._card_view.visible == state.help:
            self._help.visible, self._card_view.visible = state.help, not state.help
            self._window.set_needs_layout()
        self._draw_card()

    def _write(self, waiting: bool) -> None:
        """The texts: what is going on below the controls, and titles over the views."""
        busy = "predicting …" if waiting else ""
        titles = [" – ".join(filter(None, (title, busy))) for title in self._titles]
        told = busy or self.state.message
        written = [(_status_text(told), told), *zip(titles, titles, strict=True)]
        for label, (text, whole) in zip((self._status, *self._title_labels), written, strict=True):
            if label.text != text or label.tooltip != whole:
                label.text, label.visible, label.tooltip = text, bool(text), whole
                self._window.set_needs_layout()

    def _draw_card(self) -> None:
        frame = self._card_view.frame
        if not self._sides or min(frame.width, frame.height) < 2:
            return
        size = (frame.width, frame.height)
        self._card = draw_card(self._sides, self.state.chosen, size, self.em, first=self._first)
        self._card_view.update_image(_image(np.asarray(self._card.image)))

    def _mouse(self, event: Any) -> Any:
        """A click on a row chooses its keypoint; the wheel scrolls the rows."""
        gui = o3d.visualization.gui
        if self._card is None:
            return gui.Widget.EventCallbackResult.IGNORED
        if event.type == gui.MouseEvent.Type.WHEEL and event.wheel_dy:
            self._first = self._card.first + (-_WHEEL_ROWS if event.wheel_dy > 0 else _WHEEL_ROWS)
            self._carry_out(Effect.PANEL)
        elif event.type == gui.MouseEvent.Type.BUTTON_DOWN:
            row = self._card.row_at(event.y - self._card_view.frame.y)
            if row is not None:  # the list stays where it was: another row must not come under the pointer
                self._first, effect = self._card.first, self.state.choose_keypoint(row.keypoint)
                self._chosen = self.state.chosen
                self._carry_out(effect)
        return gui.Widget.EventCallbackResult.HANDLED


def _status_text(message: str) -> str:
    """Always two lines, so that the panel does not jump."""
    lines = textwrap.wrap(message, _LONGEST_STATUS, max_lines=2, placeholder=" …")
    return "\n".join([*lines, " ", " "][:2])


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_CHOICE else text[: _LONGEST_CHOICE - 1] + "…"


def _text_with_key(action: Action) -> str:
    return f"{action.text} ({key_text(action.keys[0])})"


def _image(pixels: Any) -> Any:
    return o3d.geometry.Image(np.ascontiguousarray(pixels))  # type: ignore[call-overload]  # an array is a buffer
