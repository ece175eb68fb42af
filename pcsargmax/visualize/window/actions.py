"""What a user of the viewer can do: one table that keys, panel and help are made of, without a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pcsargmax.visualize.window.state import Effect, ViewerState


@dataclass(frozen=True)
class Action:
    """One thing that a user can do.

    Attributes:
        name: how code calls it.
        keys: that do it, as Open3D's KeyName names them.
        text: in panel and help.
        apply: changes the state.
        on: of a switch, whether it is on; None of an action that is no switch.
        needs: what there must be, see `can`; "" for nothing.
        repeats: a key that is held down does it again and again.
    """

    name: str
    keys: tuple[str, ...]
    text: str
    apply: Callable[[ViewerState], Effect]
    on: Callable[[ViewerState], bool] | None = None
    needs: str = ""
    repeats: bool = False


def can(state: ViewerState, action: Action) -> bool:
    """Whether there is what an action needs: several "shapes", a "pair" of views, or a part of the shape shown."""
    there = {"": True, "shapes": len(state.names) > 1, "pair": state.pair}
    return there.get(action.needs, action.needs in state.present)


def act(state: ViewerState, name: str) -> Effect:
    """Do the action of that name, or nothing where it cannot be done.

    Raises:
        ValueError: no such action.
    """
    known = {action.name: action for action in ACTIONS}
    if name not in known:
        raise ValueError(f"name: expected one of {', '.join(known)}, got {name!r}")
    action = known[name]
    return action.apply(state) if can(state, action) else Effect.NOTHING


def press(state: ViewerState, key: str, *, repeated: bool = False) -> Effect | None:
    """Do what a key stands for; None if it stands for nothing.

    Args:
        state: to change.
        key: as Open3D's KeyName names it.
        repeated: the key is held down.
    """
    for action in ACTIONS:
        if key in action.keys:
            return act(state, action.name) if action.repeats or not repeated else Effect.NOTHING
    return None


def help_lines() -> list[tuple[str, str]]:
    """What the help shows: (keys, what they do) of every action."""
    return [(", ".join(key_text(key) for key in action.keys), action.text) for action in ACTIONS]


def key_text(key: str) -> str:
    """How a key is called on screen: "Page down" for "PAGE_DOWN"."""
    return key.replace("_", " ").capitalize()


def _step_shape(by: int) -> Callable[[ViewerState], Effect]:
    return lambda state: state.choose_shape((state.shape + by) % len(state.names))


def _end_shape(place: int) -> Callable[[ViewerState], Effect]:
    return lambda state: state.choose_shape(range(len(state.names))[place])


def _step_keypoint(by: int) -> Callable[[ViewerState], Effect]:
    """Through the keypoints and "all of them", which stands before the first."""

    def apply(state: ViewerState) -> Effect:
        number = state.look.keypoint
        turned = ((number + 1 if isinstance(number, int) else 0) + by) % (len(state.keypoint_names) + 1)
        return state.choose_keypoint(turned - 1 if turned else None)

    return apply


def _toggle(name: str, effect: Effect) -> Callable[[ViewerState], Effect]:
    def apply(state: ViewerState) -> Effect:
        setattr(state, name, not getattr(state, name))
        return effect

    return apply


def _look_switch(field: str, key: str, text: str, needs: str = "") -> Action:
    """A field of the look that is on or off."""

    def apply(state: ViewerState) -> Effect:
        return state.change_look(**{field: not getattr(state.look, field)})

    return Action(field, (key,), text, apply, lambda state: bool(getattr(state.look, field)), needs)


def _state_switch(field: str, key: str, text: str, effect: Effect, needs: str = "") -> Action:
    return Action(field, (key,), text, _toggle(field, effect), lambda state: bool(getattr(state, field)), needs)


def _more_ellipsoids(state: ViewerState) -> Effect:
    return state.change_look(ellipsoids=(state.look.ellipsoids + 1) % 3)


#: Everything that a user can do.
ACTIONS: tuple[Action, ...] = (
    Action("next_shape", ("RIGHT", "PAGE_DOWN"), "Next shape", _step_shape(1), needs="shapes", repeats=True),
    Action("previous_shape", ("LEFT", "PAGE_UP"), "Previous shape", _step_shape(-1), needs="shapes", repeats=True),
    Action("first_shape", ("HOME",), "First shape", _end_shape(0), needs="shapes"),
    Action("last_shape", ("END",), "Last shape", _end_shape(-1), needs="shapes"),
    Action("next_keypoint", ("DOWN",), "Next keypoint", _step_keypoint(1), repeats=True),
    Action("previous_keypoint", ("UP",), "Previous keypoint", _step_keypoint(-1), repeats=True),
    Action("all_keypoints", ("A",), "All keypoints", lambda state: state.choose_keypoint(None)),
    _look_switch("log_scale", "L", "Log colours"),
    _look_switch("truth", "T", "Truth", "truth"),
    Action("ellipsoids", ("E",), "Ellipsoids", _more_ellipsoids, lambda state: state.look.ellipsoids > 0, "ellipsoids"),
    _look_switch("samples", "D", "Samples", "samples"),
    _look_switch("skeleton", "K", "Skeleton", "skeleton"),
    _look_switch("surface", "M", "Mesh", "surface"),
    _look_switch("symmetries", "Y", "Symmetries", "symmetries"),
    _look_switch("labels", "N", "Names"),
    _state_switch("linked", "C", "Link cameras", Effect.PANEL, "pair"),
    _state_switch("same_scale", "G", "Same scale", Effect.DRAW, "pair"),
    Action("reset_camera", ("R",), "Reset view", lambda _: Effect.CAMERA),
    Action("screenshot", ("S",), "Screenshot", lambda _: Effect.PICTURE),
    _state_switch("help", "H", "Keys", Effect.PANEL),
    Action("close", ("Q", "ESCAPE"), "Close", lambda _: Effect.CLOSE),
)
