from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pcsargmax.visualize import annotated


def item() -> SimpleNamespace:
    return SimpleNamespace(
        model_id="m1",
        pos=torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]),
        keypoint_pos=torch.tensor([[[0.9, 0, 0], [0, 0, 0], [0, 1, 0]]]),
        keypoint_visible=torch.tensor([[True, False, True]]),
    )


def test_an_annotation_is_a_certain_prediction():
    prediction = annotated(item(), ["a", "b", "c"])
    assert prediction.name == "m1"
    np.testing.assert_allclose(prediction.position[[0, 2]], [[0.9, 0, 0], [0, 1, 0]], atol=1e-7)
    assert prediction.visibility.tolist() == [1, 0, 1]
    assert prediction.point_index[[0, 2]].tolist() == [1, 2]
    np.testing.assert_array_equal(prediction.probability, [[0, 1, 0], [0, 0, 0], [0, 0, 1]])
    assert prediction.truth is None
    assert prediction.color is None


def test_wrong_names_are_an_error():
    with pytest.raises(ValueError, match="keypoint_names: expected 3, one for each keypoint, got 1"):
        annotated(item(), ["a"])
