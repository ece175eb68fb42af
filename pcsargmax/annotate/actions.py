"""What an annotator can do by key and by button: one table for window, help and tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pcsargmax.annotate.session import Session


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        key: the name of its key, as Open3D's KeyName has it.
        shown: the key as people call it.
        text: what it does, in a few words.
        effect: does it.
        button: what its button says; "" for none.
    """

    key: str
    shown: str
    text: str
    effect: Callable[[Session], object]
    button: str = ""


ACTIONS = (
    Action("N", "N", "next landmark", lambda session: session.step(1)),
    Action("B", "B", "landmark before", lambda session: session.step(-1)),
    Action("U", "U", "next unset landmark", Session.next_unset, "Next unset"),
    Action("A", "A", "absent: not on this scan", Session.absent, "Absent"),
    Action("C", "C", "clear this landmark", Session.clear, "Clear"),
    Action("X", "X", "clear all of this scan", Session.clear_all, "Clear all"),
    Action("Z", "Z", "undo", Session.undo, "Undo"),
    Action("Y", "Y", "redo", Session.redo, "Redo"),
    Action("ENTER", "Enter", "confirm the proposal", Session.confirm, "Confirm"),
    Action("F", "F", "confirm all proposals", Session.confirm_all, "Confirm all"),
    Action("PAGE_DOWN", "Page ↓", "next file", lambda session: session.step_scan(1)),
    Action("PAGE_UP", "Page ↑", "file before", lambda session: session.step_scan(-1)),
    Action("I", "I", "next incomplete file", Session.next_incomplete),
)

_DIGITS = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")


def act(session: Session, key: str) -> bool:
    """Do what a key stands for, or choose a landmark by a digit; whether the key stands for anything.

    Where the step cannot be taken, the session's message says why.
    """
    try:
        if key in _DIGITS:
            if _DIGITS.index(key) < len(session.names):
                session.select(_DIGITS.index(key))
            return True
        action = next((one for one in ACTIONS if one.key == key), None)
        if action is not None:
            action.effect(session)
    except ValueError as error:
        session.message = str(error)
        return True
    return action is not None
