from pathlib import Path

import pytest

from pcsargmax.annotate import ABSENT, Proposal, Session
from pcsargmax.annotate.actions import ACTIONS, act


@pytest.fixture
def session(memory):
    return Session([Path("a.ply"), Path("b.ply")], ["one", "two", "three"], memory())


def test_every_key_does_one_thing():
    keys = [action.key for action in ACTIONS]
    assert len(set(keys)) == len(keys)
    assert not {"R", "H", "ESCAPE"} & set(keys)  # the window's own
    assert all(action.text and action.shown for action in ACTIONS)


def test_keys_work_a_session(session, mark):
    session.offer(0, {"two": Proposal(mark(2), 0.5), "three": Proposal(mark(3), 0.5)})
    assert act(session, "A")
    assert (session.marks, session.name) == ({"one": ABSENT}, "two")
    act(session, "ENTER")
    act(session, "F")
    assert session.marks == {"one": ABSENT, "two": mark(2), "three": mark(3)}
    act(session, "Z")
    act(session, "Z")
    assert session.marks == {"one": ABSENT}
    act(session, "Y")
    assert session.marks == {"one": ABSENT, "two": mark(2)}
    act(session, "X")
    assert session.marks == {}
    act(session, "N")
    act(session, "N")
    act(session, "B")
    act(session, "THREE")
    assert session.name == "three"
    act(session, "U")
    assert session.name == "one"
    act(session, "PAGE_DOWN")
    assert session.scan == 1
    act(session, "PAGE_UP")
    act(session, "I")
    assert session.scan == 1
    act(session, "A")
    act(session, "ONE")
    act(session, "C")
    assert session.marks == {}


def test_other_keys_do_nothing(session):
    assert not act(session, "Q")
    assert act(session, "NINE")  # a digit without a landmark
    assert session.name == "one"


def test_what_cannot_be_done_is_said(memory):
    session = Session([Path("a.ply")], [], memory(), open_names=True)
    assert act(session, "A")
    assert session.message == "landmark: there is none yet; add a name first"
