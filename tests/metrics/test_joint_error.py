import numpy as np
import pytest
import torch
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from pcsargmax.metrics import JointError
from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.metrics.joint_error import aligned_joint_errors, joint_errors, procrustes_aligned


def poses(num: int = 6, joints: int = 17, dimensions: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted and annotated poses, about 1000 across and 100 apart."""
    rng = np.random.default_rng(seed)
    target = rng.normal(0, 500, (num, joints, dimensions)) + 4000
    return torch.from_numpy(target + rng.normal(0, 100, target.shape)), torch.from_numpy(target)


def everywhere(positions: torch.Tensor) -> torch.Tensor:
    return torch.ones(positions.shape[:2], dtype=torch.bool)


def moved(points: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Each pose turned, scaled and shifted."""
    rotation = torch.from_numpy(Rotation.random(len(points), random_state=seed).as_matrix())
    return 0.3 * points @ rotation.mT + torch.tensor([10.0, -2000, 7])


def twin(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """One pose (K, 3) brought onto another by SciPy's rotation and the scale of least squares."""
    x, y = moving - moving.mean(axis=0), fixed - fixed.mean(axis=0)
    rotation = Rotation.align_vectors(y, x)[0]
    turned = rotation.apply(x)
    return (turned * y).sum() / (x * x).sum() * turned + fixed.mean(axis=0)


def test_errors_by_hand_are_counted_from_the_root():
    target = torch.tensor([[[0.0, 0, 0], [10, 0, 0], [0, 10, 0]]])
    prediction = torch.tensor([[[1.0, 1, 1], [14, 4, 1], [1, 11, 1]]])
    visible = everywhere(target)
    assert joint_errors(prediction, target, visible).tolist() == [[0, pytest.approx(18**0.5), 0]]
    assert joint_errors(prediction, target, visible, root=2).tolist() == [[0, pytest.approx(18**0.5), 0]]
    absolute = joint_errors(prediction, target, visible, root=None)
    assert absolute.tolist() == [pytest.approx([3**0.5, 33**0.5, 3**0.5])]


def test_a_shift_of_the_whole_pose_is_no_error():
    prediction, target = poses()
    shifted = prediction + torch.tensor([1e4, -300.0, 5])
    assert torch.allclose(*(joint_errors(p, target, everywhere(p)) for p in (prediction, shifted)))


def test_alignment_undoes_a_similarity():
    _, target = poses()
    assert (joint_errors(moved(target), target, everywhere(target))[:, 1:] > 10).all()
    assert aligned_joint_errors(moved(target), target, everywhere(target)).amax() < 1e-8
    assert torch.allclose(procrustes_aligned(moved(target), target), target)


@pytest.mark.parametrize("mirrored", [False, True])
def test_alignment_agrees_with_scipys_rotation(mirrored):
    prediction, target = poses()
    prediction = moved(prediction) * torch.tensor([-1.0 if mirrored else 1.0, 1, 1])
    found = procrustes_aligned(prediction, target)
    wanted = [twin(p, t) for p, t in zip(prediction.numpy(), target.numpy(), strict=True)]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-6)
    distance = torch.linalg.vector_norm(found - target, dim=-1).mean()
    assert distance > 300 if mirrored else distance < 200  # a mirrored body is no body


@pytest.mark.parametrize("dimensions", [2, 3])
def test_alignment_with_reflection_agrees_with_scipys_procrustes(dimensions):
    prediction, target = poses(dimensions=dimensions)
    prediction[::2, :, 0] *= -1
    found = procrustes_aligned(prediction, target, reflection=True)
    for pose, goal, aligned in zip(prediction, target, found, strict=True):
        size = (goal - goal.mean(dim=0)).square().sum()
        disparity = procrustes(goal.numpy(), pose.numpy())[2]
        assert float((aligned - goal).square().sum() / size) == pytest.approx(disparity, rel=1e-9)


def test_no_other_similarity_is_nearer():
    prediction, target = poses(1)
    best = float((procrustes_aligned(prediction, target) - target).square().sum())
    rigid = procrustes_aligned(prediction, target, scale=False)
    assert float((rigid - target).square().sum()) > best
    lengths = [torch.linalg.vector_norm(pose[:, 1] - pose[:, 0]) for pose in (rigid, prediction)]
    assert torch.allclose(*lengths)
    centre = target.mean(dim=1, keepdim=True)
    for vector in torch.eye(3, dtype=torch.float64) * 0.01:
        turn = torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix())
        other = (procrustes_aligned(prediction, target) - centre) @ turn.mT + centre
        assert float((other - target).square().sum()) > best


def test_absent_joints_do_not_matter():
    prediction, target = poses()
    visible = everywhere(target)
    visible[:, [3, 7]] = False
    target[:, 3], prediction[:, 7], target[:, 7] = torch.nan, 1e9, torch.inf
    present = [k for k in range(17) if k not in (3, 7)]
    for call in (joint_errors, aligned_joint_errors):
        found = call(prediction, target, visible)
        alone = call(prediction[:, present], target[:, present], visible[:, present])
        assert torch.allclose(found[:, present], alone)
        assert found[:, [3, 7]].isnan().all()


def test_joints_in_one_place_stay_together():
    _, target = poses(2)
    prediction = torch.full_like(target, 5.0)
    aligned = procrustes_aligned(prediction, target)
    assert torch.allclose(aligned, target.mean(dim=1, keepdim=True).expand_as(target))
    line = torch.arange(17.0, dtype=torch.float64)[None, :, None] * torch.tensor([1.0, 2, 3])
    assert procrustes_aligned(line.expand(2, -1, -1), target).isfinite().all()
    hidden = torch.zeros(2, 17, dtype=torch.bool)
    assert torch.equal(procrustes_aligned(prediction, target, hidden), prediction)


def test_two_joints_cannot_be_aligned_and_are_counted():
    prediction, target = poses(3)
    visible = everywhere(target)
    visible[1, 2:] = False
    assert aligned_joint_errors(prediction, target, visible)[1].isnan().all()
    metric = JointError(num_bootstrap=0)
    metric.update(prediction, target, visible)
    result = metric.compute()
    assert (int(result["num_poses"]), int(result["num_joints"]), int(result["num_unaligned"])) == (3, 36, 1)
    others = aligned_joint_errors(prediction[[0, 2]], target[[0, 2]], visible[[0, 2]])
    assert float(result["pa_mpjpe"]) == pytest.approx(float(others.mean()))


def test_the_metric_is_the_mean_over_batches_with_its_interval():
    prediction, target = poses(20)
    visible = everywhere(target)
    metric = JointError()
    for rows in (slice(0, 7), slice(7, 7), slice(7, 20)):
        metric.update(prediction[rows], target[rows], visible[rows])
    result = metric.compute()
    errors, aligned = (call(prediction, target, visible) for call in (joint_errors, aligned_joint_errors))
    for name, values in (("mpjpe", errors), ("pa_mpjpe", aligned)):
        assert float(result[name]) == pytest.approx(float(values.mean()))
        ends = bootstrap_interval(values.mean(dim=1))
        assert [float(result[f"{name}/low"]), float(result[f"{name}/high"])] == pytest.approx([float(e) for e in ends])
        assert result[f"{name}_per_joint"].tolist() == pytest.approx(values.mean(dim=0).tolist(), rel=1e-6)
    assert float(result["median_error"]) == pytest.approx(float(np.median(errors)))
    offset = (prediction - prediction[:, :1]) - (target - target[:, :1])
    assert result["error_per_axis"].tolist() == pytest.approx(offset.abs().mean(dim=(0, 1)).tolist())
    assert torch.allclose(metric.errors[0], errors, atol=1e-3)


def test_the_metric_counts_chosen_joints_alone():
    prediction, target = poses()
    visible = everywhere(target)
    metric = JointError(root=16, joints=(2, 5, 9), num_bootstrap=0)
    metric.update(prediction, target, visible)
    result = metric.compute()
    rooted = joint_errors(prediction, target, visible, root=16)[:, [2, 5, 9]]
    assert float(result["mpjpe"]) == pytest.approx(float(rooted.mean()))
    part = [x[:, [2, 5, 9]] for x in (prediction, target, visible)]
    assert float(result["pa_mpjpe"]) == pytest.approx(float(aligned_joint_errors(*part).mean()))
    assert result["mpjpe_per_joint"].shape == (3,)


def test_a_single_pose_has_no_interval():
    prediction, target = poses(1)
    metric = JointError()
    metric.update(prediction, target, everywhere(target))
    assert metric.compute()["mpjpe/low"].isnan()


def test_bad_input_is_named():
    prediction, target = poses()
    visible = everywhere(target)
    rootless = visible.clone()
    rootless[2, 0] = False
    with pytest.raises(ValueError, match=r"root: joint 0 must be visible .* got 1 of 6 poses without it"):
        joint_errors(prediction, target, rootless)
    with pytest.raises(ValueError, match="root must be one of 17 joints, got 17"):
        joint_errors(prediction, target, visible, root=17)
    with pytest.raises(ValueError, match=r"preds and target must both be \(B, K, D\)"):
        joint_errors(prediction[0], target[0], visible)
    with pytest.raises(ValueError, match="preds must be finite where visible"):
        aligned_joint_errors(prediction * torch.nan, target, visible)
    with pytest.raises(ValueError, match="joints must be at least one, each once"):
        JointError(joints=(1, 1))
    with pytest.raises(ValueError, match="joints must be among the 17 given"):
        JointError(joints=(1, 17)).update(prediction, target, visible)
    metric = JointError()
    metric.update(prediction, target, torch.zeros_like(visible))
    with pytest.raises(ValueError, match="needs at least one visible joint, got none in 6 poses"):
        metric.compute()
    metric.update(prediction, target, visible)
    with pytest.raises(ValueError, match="must have 17 joints and 3 dimensions as before, got 16 and 3"):
        metric.update(prediction[:, :16], target[:, :16], visible[:, :16])
