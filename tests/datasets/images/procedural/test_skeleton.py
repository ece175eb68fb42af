import numpy as np
import pytest

from pcsargmax.datasets.images.procedural.skeleton import FLIP_PAIRS, JOINTS, pose

BONES = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))


def bone(joints, side, ends):
    a, b = (joints[JOINTS.index(f"{side}_{end}")] for end in ends)
    return np.linalg.norm(a - b)


def test_a_pose_has_equal_limbs_on_both_sides():
    rng = np.random.default_rng(0)
    for _ in range(20):
        joints, gaze = pose(rng)
        assert joints[0].tolist() == [0, 0, 0]
        assert np.linalg.norm(gaze) == pytest.approx(1)
        for ends in BONES:
            assert bone(joints, "right", ends) == pytest.approx(bone(joints, "left", ends))
        assert 380 * 0.75 < bone(joints, "right", ("hip", "knee")) < 440 * 1.3


def test_right_and_left_are_the_figures_own():
    """A figure that looks at the camera (towards smaller z) has its right side on the left of the image."""
    seen = 0
    for number in range(60):
        joints, gaze = pose(np.random.default_rng(number))
        if gaze[2] < -0.9:
            seen += 1
            right, left = (joints[JOINTS.index(f"{side}_shoulder"), 0] for side in ("right", "left"))
            assert right < left
    assert seen > 10


def test_poses_differ():
    joints = np.array([pose(np.random.default_rng(number))[0] for number in range(200)])
    wrist = joints[:, JOINTS.index("right_wrist")]
    assert (wrist.std(axis=0) > 120).all()
    assert (joints[:, JOINTS.index("left_ankle")].std(axis=0) > 80).all()


def test_pairs_are_right_and_left():
    for pair in FLIP_PAIRS:
        right, left = sorted((JOINTS[k] for k in pair), reverse=True)
        assert right == left.replace("left", "right") != left
