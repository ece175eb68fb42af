import dataclasses

import pytest

from pcsargmax.visualize.window.actions import ACTIONS, act, can, help_lines, press
from pcsargmax.visualize.window.state import Effect, ViewerState


@pytest.fixture
def state(mug):
    made = ViewerState(["a", "b", "c"])
    made.meet(mug())
    return made


def test_no_key_and_no_name_stands_for_two_actions():
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)
    assert all(action.keys and action.text for action in ACTIONS)


def test_shapes_go_around(state):
    assert press(state, "RIGHT") is Effect.SHAPE
    assert state.shape == 1
    press(state, "END")
    assert state.shape == 2
    press(state, "PAGE_DOWN")
    assert state.shape == 0
    press(state, "LEFT")
    assert state.shape == 2
    press(state, "HOME")
    assert state.shape == 0


def test_one_shape_has_no_next(mug):
    alone = ViewerState(["a"])
    alone.meet(mug())
    assert press(alone, "RIGHT") is Effect.NOTHING
    assert alone.shape == 0


def test_keypoints_go_around_by_way_of_all(state):
    seen = []
    for _ in range(5):
        assert press(state, "DOWN") is Effect.DRAW
        seen.append(state.chosen)
    assert seen == [0, 1, 2, 3, None]
    press(state, "UP")
    assert state.chosen == 3
    press(state, "A")
    assert state.chosen is None


@pytest.mark.parametrize(("key", "field"), [("L", "log_scale"), ("T", "truth"), ("N", "labels")])
def test_switches_of_the_look(state, key, field):
    before = getattr(state.look, field)
    action = next(action for action in ACTIONS if key in action.keys)
    assert action.on is not None
    assert action.on(state) == before
    assert press(state, key) is Effect.DRAW
    assert getattr(state.look, field) is (not before)
    assert action.on(state) != before


def test_ellipsoids_have_three_states(state):
    assert [(press(state, "E"), state.look.ellipsoids)[1] for _ in range(4)] == [1, 2, 0, 1]


@pytest.mark.parametrize("key", ["D", "K", "M", "Y", "C", "G"])
def test_what_is_not_there_cannot_be_switched(state, key):
    before = dataclasses.replace(state)
    assert press(state, key) is Effect.NOTHING
    assert state == before


@pytest.mark.parametrize("key", ["D", "K", "M", "Y"])
def test_what_is_there_can_be_switched(state, key):
    state.present |= {"samples", "skeleton", "surface", "symmetries"}
    assert press(state, key) is Effect.DRAW


def test_a_pair_has_two_switches_more(mug):
    pair = ViewerState.over([mug()], [mug()])
    pair.meet(mug(), mug())
    assert press(pair, "C") is Effect.PANEL
    assert not pair.linked
    assert press(pair, "G") is Effect.DRAW
    assert pair.same_scale


def test_a_key_held_down_steps_but_does_not_flicker(state):
    assert press(state, "DOWN", repeated=True) is Effect.DRAW
    assert press(state, "L", repeated=True) is Effect.NOTHING
    assert press(state, "S", repeated=True) is Effect.NOTHING


def test_effects_of_the_window(state):
    assert [press(state, key) for key in ("R", "S", "H", "Q", "ESCAPE", "Z")] == [
        Effect.CAMERA,
        Effect.PICTURE,
        Effect.PANEL,
        Effect.CLOSE,
        Effect.CLOSE,
        None,
    ]
    assert state.help


def test_actions_by_name(state):
    assert act(state, "next_shape") is Effect.SHAPE
    with pytest.raises(ValueError, match=r"name: expected one of next_shape, .*, got 'fly'"):
        act(state, "fly")
    assert not can(state, next(action for action in ACTIONS if action.name == "surface"))


def test_help_names_every_key():
    lines = dict(help_lines())
    assert len(lines) == len(ACTIONS)
    assert lines["Right, Page down"] == "Next shape"
    assert lines["S"] == "Screenshot"
