import dataclasses

import pytest

from pcsargmax.visualize import Look


def test_by_default_all_but_samples_and_ellipsoids_is_drawn():
    look = Look()
    assert (look.keypoint, look.ellipsoids, look.samples, look.log_scale) == (None, 0, False, False)
    assert look.truth
    assert look.skeleton
    assert look.surface
    assert look.symmetries
    assert look.labels
    assert dataclasses.replace(look, keypoint=3) == Look(keypoint=3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ellipsoids", 3, "ellipsoids: expected 0, 1 or 2, got 3"),
        ("ellipsoids", True, "ellipsoids: expected 0, 1 or 2, got True"),
        ("samples", 100, "samples: expected True or False, got 100"),
        ("labels", None, "labels: expected True or False, got None"),
        ("keypoint", 1.5, "keypoint: expected a name, a number or None, got 1.5"),
        ("keypoint", True, "keypoint: expected a name, a number or None, got True"),
        ("min_visibility", float("nan"), "min_visibility: expected a probability, got nan"),
        ("min_visibility", "all", "min_visibility: expected a probability, got 'all'"),
    ],
)
def test_a_wrong_value_is_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        Look(**{field: value})
