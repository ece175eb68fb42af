from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pcsargmax.predictions.cloud import Surface
from pcsargmax.visualize import annotated
from pcsargmax.visualize.clouds.annotation import NOT_ANNOTATED, symmetry_marks

EVERY = np.ones(4, dtype=bool)
#: Four keypoints at the corners of a square about (5, 1, 0), not in their order around it.
SQUARE = np.array([[6.0, 1, 1], [4, 1, -1], [6, 1, -1], [4, 1, 1]])


def item(**more) -> SimpleNamespace:
    return SimpleNamespace(
        model_id="m1",
        pos=torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]),
        keypoint_pos=torch.tensor([[[0.9, 0, 0], [0, 0, 0], [0, 1, 0]]]),
        keypoint_visible=torch.tensor([[True, False, True]]),
        **more,
    )


def test_an_annotation_is_a_certain_prediction():
    prediction = annotated(item(), ["a", "b", "c"])
    assert prediction.name == "m1"
    np.testing.assert_allclose(prediction.position[[0, 2]], [[0.9, 0, 0], [0, 1, 0]], atol=1e-7)
    assert prediction.visibility.tolist() == [1, 0, 1]
    assert prediction.point_index[[0, 2]].tolist() == [1, 2]
    np.testing.assert_array_equal(prediction.probability, [[0, 1, 0], [0, 0, 0], [0, 0, 1]])
    assert prediction.annotated
    assert prediction.truth is None
    assert prediction.color is None
    assert prediction.surface is None
    assert prediction.symmetries == ()


def test_colour_surface_and_symmetries_are_taken_over():
    color = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]], dtype=torch.uint8)
    surface = Surface(np.eye(3), [[0, 1, 2]])
    symmetries = {"reflection": [[0, 2], [0, 1]], "rotation": []}
    prediction = annotated(item(color=color, symmetries=symmetries), ["0", "1", "2"], surface=surface)
    np.testing.assert_array_equal(prediction.color, color)
    assert prediction.surface is surface
    (mark,) = prediction.symmetries  # id 1 is absent
    assert (mark.kind, mark.keypoints) == ("reflection", (0, 2))


@pytest.mark.parametrize("more", [{}, {"keypoint_pos": torch.zeros(1, 0, 3), "keypoint_visible": torch.zeros(1, 0)}])
def test_a_cloud_without_annotation_is_shown_bare(more):
    prediction = annotated(SimpleNamespace(pos=torch.rand(5, 3), **more), [])
    assert prediction.keypoint_names == (NOT_ANNOTATED,)
    assert prediction.visibility.tolist() == [0]
    assert not prediction.probability.any()
    assert prediction.name == "cloud"


def test_a_rotation_goes_around_its_axis():
    symmetries = {"rotation": [{"ids": [0, 1, 2, 3], "is_circle": False, "circle": {}}]}
    (mark,) = symmetry_marks(symmetries, ["0", "1", "2", "3"], SQUARE, EVERY)
    assert mark.kind == "rotation"
    assert mark.center is None
    steps = np.linalg.norm(np.diff(SQUARE[[*mark.keypoints, mark.keypoints[0]]], axis=0), axis=1)
    np.testing.assert_allclose(steps, 2)  # sides of the square, never its diagonal


def test_a_circle_is_as_annotated_or_through_its_keypoints():
    circle = {"center": [5, 0, 0], "normal": [0, 0, 2], "radius": 3}
    said, found = (
        symmetry_marks({"rotation": [{"ids": [0, 1, 2, 3], "is_circle": True, "circle": each}]}, "0123", SQUARE, EVERY)[
            0
        ]
        for each in (circle, {})
    )
    assert (said.center.tolist(), said.normal.tolist(), said.radius) == ([5, 0, 0], [0, 0, 1], 3)
    assert (found.center.tolist(), found.normal.tolist()) == ([5, 1, 0], [0, 1, 0])
    assert found.radius == pytest.approx(2**0.5)


def test_symmetries_of_what_is_not_there_are_passed_over():
    symmetries = {
        "reflection": [[0, 1], [2, 3], [2], [0, 9]],
        "rotation": [
            {"ids": [0, 1], "is_circle": False, "circle": {}},
            {"ids": [0, 1], "is_circle": True, "circle": {}},
            {"ids": [9], "is_circle": True, "circle": {}},
        ],
    }
    marks = symmetry_marks(symmetries, "0123", SQUARE, np.array([True, False, True, True]))
    assert [(mark.kind, mark.keypoints) for mark in marks] == [("reflection", (2, 3)), ("rotation", (0,))]
    assert symmetry_marks(None, "0123", SQUARE, EVERY) == ()


def test_wrong_names_are_an_error():
    with pytest.raises(ValueError, match="keypoint_names: expected 3, one for each keypoint, got 1"):
        annotated(item(), ["a"])


def test_a_malformed_circle_names_the_model():
    symmetries = {"rotation": [{"ids": [0], "is_circle": True, "circle": {"center": [0, 0], "normal": [0, 1, 0]}}]}
    with pytest.raises(
        ValueError, match=r"m1: symmetries: expected the center of a circle as three finite numbers, got \[0, 0\]"
    ):
        annotated(item(symmetries=symmetries), "012")


def test_a_normal_of_any_length_gives_the_radius():
    circle = {"center": [5.0, 1, 0], "normal": [0, 4.0, 0]}
    raised = np.add(SQUARE, [0, 2.0, 0])
    group = {"ids": [0, 1, 2, 3], "is_circle": True, "circle": circle}
    (mark,) = symmetry_marks({"rotation": [group]}, ["0", "1", "2", "3"], raised, EVERY)
    assert mark.radius == pytest.approx(2**0.5)
    np.testing.assert_allclose(mark.normal, [0, 1, 0])
