import dataclasses

import pytest

from pcsargmax.visualize.look import Look
from pcsargmax.visualize.window.state import Effect, ViewerState


class Lazy:
    """Predictions that are made when asked for."""

    def __init__(self, predictions, names=None):
        self.predictions, self.asked = predictions, []
        if names is not None:
            self.names = names

    def __len__(self):
        return len(self.predictions)

    def __getitem__(self, number):
        self.asked.append(number)
        return self.predictions[number]


def test_names_are_known_where_they_cost_nothing(mug):
    assert ViewerState.over([mug(), mug()]).names == ["mug <1> & co"] * 2
    lazy = Lazy([mug(), mug()])
    assert ViewerState.over(lazy).names == ["", ""]
    assert lazy.asked == []
    assert ViewerState.over(Lazy([mug(), mug()], names=["a", "b"])).shape_texts() == ["1  a", "2  b"]


def test_two_sequences_make_a_pair(mug):
    assert ViewerState.over([mug()], [mug()]).pair
    assert not ViewerState.over([mug()]).pair
    with pytest.raises(ValueError, match="others: expected 1 shapes as in predictions, got 2"):
        ViewerState.over([mug()], [mug(), mug()])


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match="names: expected at least one shape, got none"):
        ViewerState([])
    with pytest.raises(ValueError, match="shape: expected 0 to 1, got 2"):
        ViewerState(["a", "b"], shape=2)
    with pytest.raises(ValueError, match="keypoint: expected 0 to -1, got 0"):
        ViewerState(["a"]).choose_keypoint(0)


def test_meeting_a_shape_tells_what_it_has(mug):
    state = ViewerState(["", "b"], Look(keypoint="rim <b>"))
    state.meet(mug())
    assert state.names == ["mug <1> & co", "b"]
    assert state.present == {"truth", "ellipsoids"}
    assert state.chosen == 1
    state.meet(mug(), dataclasses.replace(mug(), truth=None, covariance=0 * mug().covariance))
    assert state.present == {"truth", "ellipsoids"}
    state.meet(dataclasses.replace(mug(), truth=None))
    assert state.present == {"ellipsoids"}


def test_the_chosen_keypoint_is_kept_by_name(mug):
    state = ViewerState(["a", "b"])
    state.meet(mug())
    state.choose_keypoint(2)
    other = dataclasses.replace(mug(), keypoint_names=("x", "y", "z", "</script>"))
    assert state.look_for(other).keypoint == 3
    assert state.look_for(mug()).keypoint == 2
    state.meet(other)
    assert state.chosen == 3
    state.choose_keypoint(0)
    state.meet(mug())  # has no x
    assert state.chosen is None
    assert state.message == "no keypoint x here: all are shown"


def test_the_same_names_keep_the_number_even_where_names_repeat(mug):
    twice = dataclasses.replace(mug(), keypoint_names=("a", "a", "b", "c"))
    state = ViewerState(["one"])
    state.meet(twice)
    state.choose_keypoint(1)
    state.meet(twice)
    assert state.chosen == 1


def test_what_changes_nothing_has_no_effect(mug):
    state = ViewerState(["a", "b"])
    state.meet(mug())
    assert state.choose_shape(0) is Effect.NOTHING
    assert state.choose_shape(1) is Effect.SHAPE
    assert state.choose_keypoint(None) is Effect.NOTHING
    assert state.choose_keypoint(1) is Effect.DRAW
    assert state.change_look(ellipsoids=0) is Effect.NOTHING
    assert state.change_look(ellipsoids=2) is Effect.DRAW
    with pytest.raises(ValueError, match="ellipsoids: expected 0, 1 or 2, got 3"):
        state.change_look(ellipsoids=3)


def test_titles_say_which_of_how_many():
    assert ViewerState(["cup"]).title() == "cup"
    assert ViewerState(["cup", ""], shape=1).title() == "shape 2 (2 of 2)"


def test_screenshots_never_overwrite(mug, tmp_path):
    state = ViewerState([""], folder=tmp_path / "new")
    state.meet(mug())
    assert [state.picture_path().name for _ in range(3)] == ["mug-1-co.png", "mug-1-co-2.png", "mug-1-co-3.png"]
    state.choose_keypoint(2)
    assert state.picture_path().name == "mug-1-co-script.png"
    state.names[0] = "../../etc/passwd: a/b"
    assert state.picture_path().parent == tmp_path / "new"
    state.names[0] = "..."
    assert state.picture_path().name == "shape-script.png"


def test_a_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        ViewerState(["a"], folder=tmp_path / "file").picture_path()
