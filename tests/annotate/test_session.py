from pathlib import Path

import pytest

from pcsargmax.annotate import ABSENT, Mark, Proposal, Session

SCANS = [Path("a.ply"), Path("b.ply"), Path("c.ply")]
NAMES = ["tip", "left", "right"]


def test_placing_goes_on_to_the_next_unset_and_saves(memory, mark):
    store = memory()
    session = Session(SCANS, NAMES, store)
    assert (session.path, session.name) == (SCANS[0], "tip")
    session.place(mark(1))
    assert session.name == "left"
    session.select("right")
    session.place(mark(3))
    assert session.name == "left"  # round and round
    assert session.message == "right placed"
    session.absent()
    assert session.complete(0)
    assert store.saved[SCANS[0]] == {"tip": mark(1), "right": mark(3), "left": ABSENT}
    assert session.counts() == {"placed": 2, "absent": 1, "proposed": 0, "unset": 0}
    assert session.name == "left"  # nothing left to go on to
    assert session.message == "every landmark of this scan is set"


def test_a_landmark_is_put_anew_by_name_without_moving_on(memory, mark):
    session = Session(SCANS, NAMES, memory())
    session.place(mark(1))
    session.place(mark(2), "tip")
    assert session.marks["tip"] == mark(2)
    assert session.name == "left"
    assert session.message == "tip moved"


def test_undo_and_redo_go_back_over_files(memory, mark):
    store = memory()
    session = Session(SCANS, NAMES, store)
    session.place(mark(1))
    session.step_scan(1)
    session.place(mark(2))
    session.clear_all()
    assert session.marks == {}
    assert session.undo()
    assert session.marks == {"tip": mark(2)}
    assert session.undo()
    assert session.marks == {}
    assert session.undo()
    assert (session.scan, session.name, session.marks) == (0, "tip", {})
    assert store.saved[SCANS[0]] == {}
    assert not session.undo()
    assert session.message == "nothing to undo"
    assert session.redo()
    assert session.marks == {"tip": mark(1)}
    assert session.redo()
    assert (session.scan, session.marks) == (1, {"tip": mark(2)})
    session.place(mark(5), "left")  # a new change: what was taken back is gone
    assert not session.redo()


def test_what_changes_nothing_is_no_step(memory, mark):
    store = memory()
    session = Session(SCANS, NAMES, store)
    session.clear()
    session.clear_all()
    session.place(mark(1), "tip")
    session.place(mark(1), "tip")
    assert len(store.calls) == 1
    assert session.undo()
    assert not session.undo()


def test_it_goes_on_where_it_was_left(memory, mark):
    done = {name: mark(1) for name in NAMES}
    store = memory({SCANS[0]: done, SCANS[1]: {"tip": mark(1), "left": ABSENT}})
    session = Session(SCANS, NAMES, store)
    assert (session.scan, session.name) == (1, "right")
    assert [session.complete(i) for i in range(3)] == [True, False, False]
    assert [session.untouched(i) for i in range(3)] == [False, False, True]
    assert store.calls == []
    session.place(mark(2))
    assert session.next_incomplete()
    assert session.scan == 2
    assert not session.undo() or session.scan == 1


def test_files_are_gone_through_to_the_ends(memory):
    session = Session(SCANS, NAMES, memory())
    session.step_scan(-1)
    assert session.scan == 0
    session.step_scan(5)
    assert session.scan == 2
    session.select("right")
    session.show(1)
    assert session.name == "tip"  # the first that is unset here
    with pytest.raises(ValueError, match="scan: expected 0 to 2, got 3"):
        session.show(3)


def test_nothing_incomplete_is_said(memory, mark):
    session = Session(SCANS[:1], ["tip"], memory())
    session.place(mark(0))
    assert not session.next_incomplete()
    assert session.message == "every file is complete"


def test_proposals_are_no_marks_until_confirmed(memory, mark):
    store = memory()
    session = Session(SCANS, NAMES, store)
    session.offer(0, {"tip": Proposal(mark(1), 0.9), "left": Proposal(ABSENT, 0.8), "other": Proposal(mark(2), 1.0)})
    assert session.state("tip") == "proposed"
    assert set(session.proposals) == {"tip", "left"}
    assert (store.saved, session.complete(0)) == ({}, False)
    session.place(mark(5), "tip")  # one's own wins
    assert set(session.proposals) == {"left"}
    session.select("left")
    session.confirm()
    assert session.marks == {"tip": mark(5), "left": ABSENT}
    assert session.name == "right"
    session.confirm()
    assert session.message == "nothing is proposed for right"
    session.undo()
    assert session.state("left") == "proposed"


def test_all_proposals_are_confirmed_as_one_step(memory, mark):
    session = Session(SCANS, NAMES, memory())
    session.offer(0, {"tip": Proposal(mark(1), 0.9), "right": Proposal(mark(3), 0.4)})
    session.confirm_all()
    assert session.marks == {"tip": mark(1), "right": mark(3)}
    assert (session.message, session.name) == ("2 confirmed", "left")
    session.undo()
    assert session.marks == {}


def test_names_may_be_added_where_they_are_open(memory, mark):
    session = Session(SCANS, [], memory({SCANS[1]: {"spout": mark(1)}}), open_names=True)
    assert session.names == ["spout"]
    session.add_name("  rim ")
    assert (session.names, session.name) == (["spout", "rim"], "rim")
    with pytest.raises(ValueError, match="not yet among"):
        session.add_name("rim")
    with pytest.raises(ValueError, match="got ''"):
        session.add_name(" ")
    fixed = Session(SCANS, NAMES, memory())
    with pytest.raises(ValueError, match=r"the landmarks are fixed \(tip, left, right\), got 'x'"):
        fixed.add_name("x")


def test_without_names_there_is_nothing_to_place(memory, mark):
    session = Session(SCANS, [], memory(), open_names=True)
    assert session.name is None
    session.step(1)
    with pytest.raises(ValueError, match="there is none yet"):
        session.place(mark(1))
    assert not session.complete(0)


def test_a_beginning_is_saved_only_where_nothing_was(memory, mark):
    store = memory({SCANS[0]: {"tip": mark(1)}})
    begin = {SCANS[0]: {"tip": mark(9)}, SCANS[1]: {"left": mark(2)}}
    session = Session(SCANS, NAMES, store, begin=begin)
    assert session.marks == {"tip": mark(1)}
    assert store.saved[SCANS[1]] == {"left": mark(2)}
    assert [scan for scan, _ in store.calls] == [SCANS[1]]


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("not ours")])
def test_work_that_cannot_be_saved_is_kept_and_tried_again(memory, mark, error):
    store = memory({SCANS[0]: {}})
    session = Session(SCANS, NAMES, store)
    store.broken = error
    session.place(mark(1))
    assert (session.failure, session.message) == (str(error), "tip placed")
    assert (session.unsaved, session.marks) == (1, {"tip": mark(1)})
    session.absent()
    session.absent()
    assert (session.failure, session.message) == (str(error), "every landmark of this scan is set")
    session.step_scan(1)
    assert session.failure == str(error)  # said until it is saved
    store.broken = None
    session.place(mark(2))  # a save that can be made takes along what was left over
    assert (session.unsaved, session.failure) == (0, "")
    assert store.saved == {SCANS[0]: {"tip": mark(1), "left": ABSENT, "right": ABSENT}, SCANS[1]: {"tip": mark(2)}}


def test_what_others_write_meanwhile_is_kept(memory, mark):
    store = memory({SCANS[0]: {"tip": mark(1), "left": mark(2)}})
    session = Session(SCANS, NAMES, store)
    store.saved[SCANS[0]] = {"tip": mark(7), "other": mark(8)}  # moved and taken away by another program
    session.place(mark(3), "right")
    assert store.saved[SCANS[0]] == {"tip": mark(7), "other": mark(8), "right": mark(3)}
    assert session.marks == store.saved[SCANS[0]]
    session.undo()
    assert store.saved[SCANS[0]] == {"tip": mark(7), "other": mark(8)}
    del store.saved[SCANS[0]]  # the file is gone: what the session has is all there is
    session.place(mark(4), "right")
    assert store.saved[SCANS[0]] == {"tip": mark(7), "other": mark(8), "right": mark(4)}


def test_landmarks_that_the_names_leave_out_are_told(memory, mark):
    store = memory({SCANS[0]: {"top": mark(1), "tip": mark(2)}})
    session = Session(SCANS, NAMES, store, begin={SCANS[1]: {"rim": mark(3)}})
    assert session.others == ("top", "rim")
    assert Session(SCANS, [], memory(store.saved), open_names=True).others == ()
    session.select("tip")
    session.clear_all()
    assert store.saved[SCANS[0]] == {"top": mark(1)}


def test_a_scan_that_was_cleared_is_not_begun_anew(memory, mark):
    store = memory()
    begin = {SCANS[0]: {"tip": mark(1)}}
    Session(SCANS, NAMES, store, begin=begin).clear_all()
    assert store.saved[SCANS[0]] == {}
    assert Session(SCANS, NAMES, store, begin=begin).marks == {}


def test_mistakes_are_named(memory, mark):
    with pytest.raises(ValueError, match="scans: expected at least one"):
        Session([], NAMES, memory())
    with pytest.raises(ValueError, match="names: expected at least one"):
        Session(SCANS, [], memory())
    with pytest.raises(ValueError, match="not yet among"):
        Session(SCANS, ["tip", "tip"], memory())
    session = Session(SCANS, NAMES, memory())
    with pytest.raises(ValueError, match=r"landmark: expected one of tip, left, right.*got 'top'"):
        session.select("top")
    with pytest.raises(ValueError, match="landmark: expected one of tip, left, right, got 'top'"):
        session.place(mark(1), "top")
    with pytest.raises(ValueError, match="position: expected 3 finite numbers"):
        Mark((0.0, float("nan"), 1.0))
    with pytest.raises(ValueError, match="face_index, face_uv: expected both or neither"):
        Mark((0.0, 0.0, 1.0), face_index=3)
