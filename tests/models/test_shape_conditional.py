import numpy as np
import pytest
import torch
from fixtures.shapes import everywhere, randn, random_covariances

from pcsargmax.models.shape_conditional import conditional, pose_tangents


@pytest.mark.parametrize("seen", [[True] * 4, [True, False, True, True], [False, True, False, False]])
def test_equals_the_textbook_conditional_where_the_pose_is_known(seen):
    prior, noise, residual = random_covariances(12, seed=1), random_covariances(2, 4, 3, seed=2), randn(2, 12, seed=3)
    coordinates = torch.tensor(seen).repeat_interleave(3)
    got = conditional(residual, prior, noise, coordinates.expand(2, -1), prior.new_zeros(12, 0))
    o = coordinates.numpy()
    for item in range(2):
        p = prior.numpy()
        r = np.zeros((12, 12))
        for k in range(4):
            r[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = noise[item, k]
        inverse = np.linalg.inv(p[o][:, o] + r[o][:, o])
        y = residual[item].numpy()[o]
        np.testing.assert_allclose(got.deviation[item], p[:, o] @ inverse @ y, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(got.covariance[item], p - p[:, o] @ inverse @ p[o], rtol=1e-9, atol=1e-10)
        assert got.distance[item].item() == pytest.approx(y @ inverse @ y)
    assert got.degrees.tolist() == [3 * sum(seen)] * 2
    assert not got.undetermined.any()


def test_an_unknown_pose_is_the_limit_of_a_prior_that_is_wide_along_it():
    prior, noise = random_covariances(15, seed=1, scale=0.01), random_covariances(1, 5, 3, seed=2, scale=0.01)
    mean = randn(5, 3, seed=4)
    tangents = pose_tangents(mean - mean.mean(dim=0))
    seen = torch.tensor([[True, True, True, True, False]]).repeat_interleave(3, dim=1)
    residual = randn(1, 15, seed=3)
    got = conditional(residual, prior, noise, seen, tangents)
    wide = prior + 1e5 * tangents @ tangents.mT
    limit = conditional(residual, wide, noise, seen, tangents[:, :0])
    torch.testing.assert_close(got.deviation, limit.deviation, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(got.covariance, limit.covariance, atol=1e-5, rtol=1e-3)
    assert got.distance.item() == pytest.approx(limit.distance.item(), rel=1e-4)
    assert got.degrees.tolist() == [12 - 7]


def test_tangents_are_the_derivatives_of_similarities():
    mean = randn(4, 3)
    mean -= mean.mean(dim=0)
    tangents = pose_tangents(mean)
    radius = mean.square().sum(dim=1).mean().sqrt()
    step = 1e-6
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]).double()  # about z
    torch.testing.assert_close(tangents[:, 0], ((1 + step) * mean - mean).flatten() / step, atol=1e-8, rtol=1e-6)
    turned = mean @ torch.linalg.matrix_exp(step * turn).mT
    torch.testing.assert_close(tangents[:, 3], (turned - mean).flatten() / step, atol=1e-5, rtol=0)
    shifted = mean + torch.tensor([0, step, 0]) * radius
    torch.testing.assert_close(tangents[:, 5], (shifted - mean).flatten() / step, atol=1e-8, rtol=1e-6)


def test_one_coordinate_by_hand():
    # Prior variance 3, noise 1: the gain is 3/4, and a measurement at 2 leaves 1.5 with a variance of 0.75.
    eye = torch.eye(3, dtype=torch.float64)
    got = conditional(torch.full((1, 3), 2.0).double(), 3 * eye, eye[None, None], everywhere(eye[None]), eye[:, :0])
    assert got.deviation[0].tolist() == pytest.approx([1.5] * 3)
    torch.testing.assert_close(got.covariance[0], 0.75 * eye)
    assert got.distance.item() == pytest.approx(3 * 4 / 4)
