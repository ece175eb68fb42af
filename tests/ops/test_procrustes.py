import pytest
import torch
from fixtures.shapes import everywhere, randn, random_covariances, random_similarities

from pcsargmax.ops.procrustes import procrustes


def test_finds_the_similarity_far_from_the_origin():
    source, moves = randn(5, 6, 3) + 1e4, random_similarities(5)
    found = procrustes(source, moves.apply(source), everywhere(source).double()).similarity()
    torch.testing.assert_close(found.scale, moves.scale)
    torch.testing.assert_close(found.rotation, moves.rotation)
    torch.testing.assert_close(found.translation, moves.translation, atol=1e-6, rtol=0)


def test_weights_by_hand():
    # On a line from (0, 1, 2) to (0, 1, 5) with weights 1, 1, 0.5 about 0.8 and 1.4: Σ w x y / Σ w x² = 3.2 / 1.4.
    source = torch.tensor([[[0.0], [1], [2]]]).double()
    target = torch.tensor([[[0.0], [1], [5]]]).double()
    found = procrustes(source, target, torch.tensor([[1, 1, 0.5]]).double())
    assert found.source_center.item() == pytest.approx(0.8)
    assert found.target_center.item() == pytest.approx(1.4)
    assert found.scale.item() == pytest.approx(3.2 / 1.4)
    whole = procrustes(source[:, [0, 0, 1, 1, 2]], target[:, [0, 0, 1, 1, 2]], torch.ones(1, 5).double())
    torch.testing.assert_close(found, whole)
    assert procrustes(source, target, torch.tensor([[1.0, 1, 0]]).double()).scale.item() == pytest.approx(1)


def test_a_mirrored_shape_is_turned_but_not_mirrored():
    source = randn(4, 6, 3)
    mirrored = source * torch.tensor([-1.0, 1, 1])
    weight = everywhere(source).double()
    assert torch.linalg.det(procrustes(source, mirrored, weight).rotation).tolist() == pytest.approx([1] * 4)
    found = procrustes(source, mirrored, weight, reflection=True)
    torch.testing.assert_close(found.apply(source), mirrored)


def test_a_similarity_can_be_undone():
    moves, points, covariance = random_similarities(3), randn(3, 5, 3), random_covariances(3, 5, 3)
    torch.testing.assert_close(moves.undo(moves.apply(points)), points)
    torch.testing.assert_close(moves.undo_on_covariance(moves.apply_to_covariance(covariance)), covariance)
    # The covariance is that of moved samples.
    samples = points - points.mean(dim=1, keepdim=True)
    scatter = (samples.mT @ samples)[:, None]
    moved = moves.apply(samples) - moves.translation[:, None]
    torch.testing.assert_close(moves.apply_to_covariance(scatter), (moved.mT @ moved)[:, None])


def test_no_weight_and_one_place():
    source = randn(1, 4, 3)
    nothing = procrustes(source, source + 1, torch.zeros(1, 4).double())
    assert nothing.scale.item() == 0
    assert nothing.target_center.abs().max() == 0
    assert procrustes(source, torch.ones_like(source), torch.ones(1, 4).double()).scale.item() == 0
