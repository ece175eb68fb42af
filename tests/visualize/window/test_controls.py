"""The panel is tried with widgets that only take down what is done to them: no screen is needed."""

import dataclasses
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from pcsargmax.visualize.clouds.drawing import build_drawing
from pcsargmax.visualize.clouds.legend import Side
from pcsargmax.visualize.window.state import Effect, ViewerState

try:
    from pcsargmax.visualize.window import controls
except (ImportError, OSError) as error:
    pytest.skip(f"Open3D cannot be loaded: {error}", allow_module_level=True)

DOWN, WHEEL, MOVE = "down", "wheel", "move"


class Rect(NamedTuple):
    x: int
    y: int
    width: int
    height: int


class Widget:
    """Any widget of Open3D: `set_on_clicked(f)` makes f its `on_clicked`."""

    def __init__(self, *arguments):
        self.text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        self.children, self.items, self.frame, self.visible, self.tooltip = [], [], Rect(0, 0, 0, 0), True, ""

    def __getattr__(self, name):
        if name.startswith("set_on_"):
            return lambda function: setattr(self, name.removeprefix("set_"), function)
        raise AttributeError(name)

    def add_child(self, child):
        self.children.append(child)

    def add_item(self, text):
        self.items.append(text)

    def change_item(self, number, text):
        self.items[number] = text

    def update_image(self, image):
        self.image = image

    def calc_preferred_size(self, *_):
        return SimpleNamespace(width=7 * len(self.text), height=200)

    def all(self):
        return [self, *(each for child in self.children for each in child.all())]


@pytest.fixture(autouse=True)
def gui(monkeypatch):
    kinds = ("Label", "Combobox", "Checkbox", "Button", "Vert", "VGrid", "Horiz", "ScrollableVert", "ImageWidget")
    results = SimpleNamespace(IGNORED="ignored", HANDLED="handled")
    made = SimpleNamespace(
        **dict.fromkeys(kinds, Widget),
        Color=lambda *values: values,
        Margins=lambda *values: values,
        Rect=Rect,
        Widget=SimpleNamespace(Constraints=object, EventCallbackResult=results),
        MouseEvent=SimpleNamespace(Type=SimpleNamespace(WHEEL=WHEEL, BUTTON_DOWN=DOWN)),
    )
    geometry = SimpleNamespace(Image=lambda pixels: pixels)
    monkeypatch.setattr(controls, "o3d", SimpleNamespace(visualization=SimpleNamespace(gui=made), geometry=geometry))


class Panel:
    """Controls with what they are told and tell."""

    def __init__(self, *predictions, titles=("a run",), shapes=2, room=(10, 20, 1000, 800)):
        self.state = ViewerState([f"shape {number}" for number in range(shapes)], pair=len(titles) == 2)
        self.state.meet(*predictions)
        self.effects, self.laid_out, self.room = [], 0, Rect(*room)
        window = Widget()
        window.theme, window.set_needs_layout = SimpleNamespace(font_size=20), self.note_layout
        self.controls = controls.Controls(window, self.state, self.carry_out, titles)
        self.views = [Widget() for _ in titles]
        self.sides = [
            Side(title, one, build_drawing(one, self.state.look_for(one)))
            for title, one in zip(titles, predictions, strict=True)
        ]
        self.widgets = window.all()
        self.update()
        self.controls.layout(None, self.room, self.views)

    def note_layout(self):
        self.laid_out += 1

    def carry_out(self, effect):
        self.effects.append(effect)
        self.update()

    def update(self, waiting=False):
        self.controls.update(self.sides, waiting=waiting)

    def find(self, text):
        (found,) = [widget for widget in self.widgets if widget.text == text]
        return found

    def has(self, text):
        return text in [widget.text for widget in self.widgets]

    def mouse(self, kind, y=0.0, wheel_dy=0.0):
        view = self.controls._card_view
        return view.on_mouse(SimpleNamespace(type=kind, y=view.frame.y + y, wheel_dy=wheel_dy))

    @property
    def card(self):
        return self.controls._card


def many(one, count):
    rows = np.arange(count) % 3
    fields = ("position", "confidence", "covariance", "visibility", "point_index", "probability", "truth")
    changed = {name: getattr(one, name)[rows] for name in fields}
    return dataclasses.replace(one, keypoint_names=tuple(f"keypoint {k}" for k in range(count)), **changed)


def test_every_switch_has_a_box_and_only_a_pair_those_of_pairs(mug):
    alone, pair = Panel(mug()), Panel(mug(), mug(), titles=("soft", "sampling"))
    for panel in (alone, pair):
        for text in ("Log colours (L)", "Truth (T)", "Samples (D)", "Skeleton (K)", "Mesh (M)", "Names (N)"):
            assert hasattr(panel.find(text), "on_checked")
        assert not hasattr(panel.find("Keys (H)"), "on_checked")
        assert not panel.has("Ellipsoids (E)")
    for text in ("Link cameras (C)", "Same scale (G)"):
        assert pair.has(text)
        assert not alone.has(text)


def test_boxes_show_and_change_the_state(mug):
    panel = Panel(mug())
    box, absent = panel.find("Log colours (L)"), panel.find("Mesh (M)")
    assert (box.enabled, box.checked) == (True, False)
    assert (absent.enabled, absent.checked) == (False, True)
    box.on_checked(True)
    assert panel.effects == [Effect.DRAW]
    assert panel.state.look.log_scale
    assert box.checked


def test_ellipsoids_have_a_chooser(mug):
    panel = Panel(mug())
    chooser = panel.controls._ellipsoids
    assert chooser.items == ["No ellipsoids (E)", "Ellipsoids: 1 sigma (E)", "Ellipsoids: 1 and 2 sigma (E)"]
    assert (chooser.enabled, chooser.selected_index) == (True, 0)
    chooser.on_selection_changed(chooser.items[2], 2)
    assert (panel.state.look.ellipsoids, chooser.selected_index, panel.effects) == (2, 2, [Effect.DRAW])
    flat = Panel(dataclasses.replace(mug(), covariance=np.zeros((4, 3, 3))))
    assert not flat.controls._ellipsoids.enabled


def test_buttons_do_what_they_say(mug):
    panel = Panel(mug())
    for text in ("Reset view (R)", "Screenshot (S)", "Keys (H)", ">"):
        panel.find(text).on_clicked()
    assert panel.effects == [Effect.CAMERA, Effect.PICTURE, Effect.PANEL, Effect.SHAPE]
    assert (panel.state.help, panel.state.shape) == (True, 1)
    panel.find("<").on_clicked()
    assert panel.state.shape == 0
    assert panel.find("<").enabled
    alone = Panel(mug(), shapes=1)
    assert not alone.find("<").enabled
    assert not alone.find(">").enabled
    assert alone.find("Keys (H)").enabled


def test_the_chooser_of_shapes_follows_the_state(mug):
    panel = Panel(dataclasses.replace(mug(), name="a shape with a name far too long"), shapes=3)
    chooser = panel.controls._chooser
    assert chooser.items == ["1  a shape with a name f…", "2  shape 1", "3  shape 2"]
    assert len(chooser.items[0]) == 25
    chooser.on_selection_changed("3  shape 2", 2)
    assert (panel.state.shape, chooser.selected_index, panel.effects) == (2, 2, [Effect.SHAPE])


def test_views_share_the_room_and_the_panel_stands_at_their_right(mug):
    panel = Panel(mug(), mug(), titles=("soft", "sampling"))
    width = round(27 * 0.8 * 20)
    assert [view.frame for view in panel.views] == [Rect(10, 20, 284, 800), Rect(294, 20, 284, 800)]
    top, card = panel.controls.panel.frame, panel.controls._card_view.frame
    assert top == Rect(10 + 1000 - width, 20, width, 200 + 8)
    assert card == Rect(top.x, 20 + 208, width, 800 - 208)
    for title, view in zip(panel.controls._title_labels, panel.views, strict=True):
        assert title.frame.width == 7 * len(title.text)
        assert abs(2 * title.frame.x + title.frame.width - 2 * view.frame.x - view.frame.width) <= 1
    narrow = Panel(mug(), room=(0, 0, 300, 100))
    assert narrow.views[0].frame.width == 150
    assert narrow.controls.panel.frame == Rect(150, 0, 150, 100)
    long = Panel(mug(), titles=("a" * 200,))
    assert long.controls._title_labels[0].frame.width == long.views[0].frame.width


def test_help_takes_the_place_of_the_card_and_what_is_not_seen_no_room(mug):
    panel = Panel(mug())
    card, help_list = panel.controls._card_view, panel.controls._help
    assert (card.visible, help_list.visible) == (True, False)
    assert help_list.frame == Rect(0, 0, 0, 0)
    place, before = card.frame, panel.laid_out
    panel.find("Keys (H)").on_clicked()
    assert (card.visible, help_list.visible) == (False, True)
    assert panel.laid_out > before
    panel.controls.layout(None, panel.room, panel.views)
    assert (card.frame, help_list.frame) == (Rect(0, 0, 0, 0), place)
    untitled = Panel(mug(), titles=("",))
    assert untitled.controls._title_labels[0].frame == Rect(0, 0, 0, 0)
    for text in ("Right, Page down", "Next shape", "Drag", "Wheel", "Click on a row"):
        assert panel.has(text)


def test_what_goes_on_is_said_in_two_lines_and_whole_in_the_tooltip(mug):
    panel = Panel(mug(), titles=("a run",))
    status, title = panel.controls._status, panel.controls._title_labels[0]
    assert (status.text.count("\n"), status.tooltip, title.text) == (1, "", "a run")
    panel.update(waiting=True)
    assert (status.text, title.text) == ("predicting …\n ", "a run – predicting …")
    panel.state.message = "ValueError: " + "a file that is very bad " * 5
    before = panel.laid_out
    panel.update()
    first, second = status.text.split("\n")
    assert second.endswith(" …")
    assert max(len(first), len(second)) <= 36
    assert (status.tooltip, title.tooltip) == (panel.state.message, "a run")
    assert panel.laid_out > before
    before = panel.laid_out
    panel.update()
    assert panel.laid_out == before  # nothing has changed
    panel.state.message += "to the end"
    panel.update()
    assert (status.text, status.tooltip) == (f"{first}\n{second}", panel.state.message)


def test_a_click_on_a_row_chooses_and_the_list_stays(mug):
    panel = Panel(many(mug(), 60))
    panel.mouse(WHEEL, wheel_dy=-1.0)
    first, (row, *_) = panel.card.first, panel.card.rows
    assert first == 3
    for row in (panel.card.rows[0], panel.card.rows[-1]):
        assert panel.mouse(DOWN, (row.top + row.bottom) / 2) == "handled"
        assert panel.state.chosen == row.keypoint
        assert panel.card.first == first
    assert panel.effects == [Effect.PANEL, Effect.DRAW, Effect.DRAW]
    assert panel.mouse(DOWN, 1.0) == "handled"  # on the scale
    assert panel.mouse(MOVE, (row.top + row.bottom) / 2) == "handled"
    assert len(panel.effects) == 3


def test_a_keypoint_chosen_by_key_is_scrolled_to(mug):
    panel = Panel(many(mug(), 60))
    panel.mouse(WHEEL, wheel_dy=-1.0)
    panel.carry_out(panel.state.choose_keypoint(59))
    assert panel.card.rows[-1].keypoint == 59


def test_the_wheel_scrolls_to_the_ends(mug):
    panel = Panel(many(mug(), 60))
    assert panel.mouse(WHEEL, wheel_dy=2.0) == "handled"
    assert panel.card.first == 0
    for _ in range(40):
        panel.mouse(WHEEL, wheel_dy=-1.0)
    assert panel.card.below == 0
    bottom = panel.card.first
    panel.mouse(WHEEL, wheel_dy=1.0)
    assert panel.card.first == bottom - 3
    effects = len(panel.effects)
    panel.mouse(WHEEL, wheel_dy=0.0)
    assert len(panel.effects) == effects


def test_before_a_shape_is_there_the_mouse_means_nothing(mug):
    panel = Panel(mug())
    panel.controls._card = None
    assert panel.mouse(DOWN, 100.0) == "ignored"
    assert panel.effects == []


def test_the_card_fills_its_place(mug):
    panel = Panel(mug())
    frame = panel.controls._card_view.frame
    assert panel.controls._card_view.image.shape == (frame.height, frame.width, 3)
