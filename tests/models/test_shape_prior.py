import json
import math

import numpy as np
import pytest
import torch
from fixtures.shapes import (
    everywhere,
    isotropic,
    randn,
    random_covariances,
    random_generator,
    random_similarities,
    truly_similar,
)
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from sklearn.covariance import ledoit_wolf

from pcsargmax.models.shape_fit import TooFewShapes
from pcsargmax.models.shape_prior import ShapePrior
from pcsargmax.ops.procrustes import procrustes


@pytest.fixture(scope="module")
def prior():
    shapes = truly_similar(60)
    return ShapePrior.fit(shapes, everywhere(shapes))


# The posterior


def test_one_keypoint_and_two_are_where_they_were_measured():
    for count in (1, 2):
        shapes = randn(9, count, 3, seed=count)
        prior = ShapePrior.fit(shapes, everywhere(shapes))
        assert prior.covariance.abs().max() < 1e-20
        noise = random_covariances(9, count, 3, seed=3)
        got = prior.posterior(shapes + 5, noise)
        torch.testing.assert_close(got.mean, shapes + 5)
        torch.testing.assert_close(got.covariance, noise, rtol=1e-6, atol=1e-8)
        assert got.degrees_of_freedom.tolist() == [0] * 9
        assert got.squared_distance.max() < 1e-8


def test_a_rigid_rectangle_by_hand():
    # A prior without variance: the rectangle of 4 by 2. Equal noise 1 on each corner, all of one side 1 too high.
    corners = torch.tensor([[-2.0, -1, 0], [2, -1, 0], [2, 1, 0], [-2, 1, 0]]).double()
    prior = ShapePrior(corners, torch.zeros(12, 12, dtype=torch.float64), torch.full((4,), 9))
    measured = corners + torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0]]).double()
    got = prior.posterior(measured[None], isotropic(measured[None], 1), iterations=20)
    # The best similarity scales by Σ x·y / Σ x·x = (4·4 + 2·1 + 2·2) / 20 = 1.1 about the middle (0, 0.5).
    assert got.similarity.scale.item() == pytest.approx(1.1)
    torch.testing.assert_close(got.similarity.rotation[0], torch.eye(3).double())
    torch.testing.assert_close(got.mean[0], 1.1 * corners + torch.tensor([0, 0.5, 0]))
    # Variance of a corner: 1/4 of the shift; of the scale, and of the turns about x, y and z.
    variance = got.covariance[0, 0].diagonal()
    x, y, z = 0.25 + 4 / 20 + 1 / 20, 0.25 + 1 / 20 + 4 / 20, 0.25 + 1 / 4 + 4 / 16
    assert variance.tolist() == pytest.approx([x, y, z])
    assert got.degrees_of_freedom.tolist() == [5]
    assert got.squared_distance.item() == pytest.approx((measured - got.mean[0]).square().sum().item())


def test_the_pose_of_a_rigid_shape_is_the_most_likely_one():
    base = randn(6, 3)
    base -= base.mean(dim=0)
    prior = ShapePrior(base, torch.zeros(18, 18, dtype=torch.float64), torch.full((6,), 9))
    noise = random_covariances(1, 6, 3, scale=0.1)
    error = (torch.linalg.cholesky(noise) @ randn(1, 6, 3, 1, seed=5))[..., 0]
    measured = random_similarities(1).apply(base[None]) + error
    found = prior.posterior(measured, noise, iterations=30)
    root = torch.linalg.cholesky(torch.linalg.inv(noise[0])).mT.numpy()

    def whitened(pose):
        moved = math.exp(pose[0]) * base.numpy() @ Rotation.from_rotvec(pose[1:4]).as_matrix().T + pose[4:]
        return (root @ (measured[0].numpy() - moved)[..., None]).ravel()

    turn = Rotation.from_matrix(found.similarity.rotation[0].numpy()).as_rotvec()
    start = np.concatenate([found.similarity.scale.log().numpy(), turn, found.similarity.translation[0].numpy()])
    best = least_squares(whitened, start + 0.1, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    np.testing.assert_allclose(start, best.x, atol=1e-6)
    assert found.squared_distance.item() == pytest.approx(2 * best.cost)
    step = prior.posterior(measured, noise, iterations=2)
    assert step.squared_distance.item() == pytest.approx(2 * best.cost, rel=0.1)


def test_a_similarity_of_the_measurement_moves_the_posterior_likewise(prior):
    measured, noise = truly_similar(5, seed=7) + 0.1 * randn(5, 7, 3), random_covariances(5, 7, 3, scale=0.01)
    visible = torch.rand(5, 7, generator=random_generator()) < 0.8
    moves = random_similarities(5, seed=9)
    got = prior.posterior(moves.apply(measured), moves.apply_to_covariance(noise), visible)
    plain = prior.posterior(measured, noise, visible)
    torch.testing.assert_close(got.mean, moves.apply(plain.mean))
    torch.testing.assert_close(got.covariance, moves.apply_to_covariance(plain.covariance))
    torch.testing.assert_close(got.squared_distance, plain.squared_distance)
    torch.testing.assert_close(got.similarity.scale, moves.scale * plain.similarity.scale)
    torch.testing.assert_close(got.similarity.rotation, moves.rotation @ plain.similarity.rotation)
    shift = moves.apply(plain.similarity.translation[:, None])[:, 0]
    torch.testing.assert_close(got.similarity.translation, shift)


def test_a_batch_equals_its_items(prior):
    measured, noise = truly_similar(4, seed=7), random_covariances(4, 7, 3, scale=0.01)
    visible = torch.tensor([[True] * 7, [False] + [True] * 6, [True] * 3 + [False] * 4, [True] + [False] * 6])
    whole = prior.posterior(measured, noise, visible)
    for item in range(4):
        alone = prior.posterior(measured[[item]], noise[[item]], visible[[item]])
        known = visible[item] if visible[item].sum() < 3 else slice(None)
        torch.testing.assert_close(alone.mean[0, known], whole.mean[item, known])
        torch.testing.assert_close(alone.covariance[0], whole.covariance[item])
        torch.testing.assert_close(alone.squared_distance[0], whole.squared_distance[item])
    assert whole.degrees_of_freedom.tolist() == [14, 11, 2, 0]


def test_the_order_of_keypoints_and_of_shapes_does_not_matter(prior):
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    shapes = truly_similar(60)
    other = ShapePrior.fit(shapes.flip(0)[:, order], everywhere(shapes))
    torch.testing.assert_close(other.mean, prior.mean[order], atol=1e-6, rtol=0)
    measured, noise = truly_similar(4, seed=7) + 0.1 * randn(4, 7, 3), random_covariances(4, 7, 3, scale=0.01)
    one, two = prior.posterior(measured, noise), other.posterior(measured[:, order], noise[:, order])
    torch.testing.assert_close(two.mean, one.mean[:, order], atol=1e-5, rtol=0)
    torch.testing.assert_close(two.covariance, one.covariance[:, order], atol=1e-6, rtol=1e-4)


def test_infinite_covariance_is_not_visible(prior):
    measured, noise = truly_similar(1, seed=7), isotropic(truly_similar(1), 0.1)
    visible = torch.tensor([[True] * 5 + [False, True]])
    garbage = measured.clone()
    garbage[0, 5] = torch.nan
    hidden = prior.posterior(garbage, noise, visible)
    for value, tolerance in ((torch.inf, 0.0), (1e8, 1e-5)):
        noise[0, 5] = value * torch.eye(3)  # 0 · inf is NaN off the diagonal
        got = prior.posterior(measured, noise)
        torch.testing.assert_close(got.mean, hidden.mean, atol=tolerance, rtol=0)
        torch.testing.assert_close(got.covariance, hidden.covariance, atol=tolerance, rtol=tolerance)
    assert got.degrees_of_freedom.tolist() == [14]
    assert hidden.degrees_of_freedom.tolist() == [11]


def test_exact_measurements_are_kept_and_vague_ones_are_not(prior):
    shape = truly_similar(1, seed=7)
    measured = shape + 0.2 * randn(1, 7, 3)
    torch.testing.assert_close(prior.posterior(measured, isotropic(shape, 0)).mean, measured, atol=1e-4, rtol=0)
    vague = prior.posterior(measured, isotropic(shape, 1e3), iterations=20)
    scale = vague.similarity.scale[:, None, None]
    assert ((vague.mean - vague.similarity.apply(prior.mean[None])).norm(dim=-1) / scale).max() < 1e-3


def test_the_posterior_errs_less_and_says_by_how_much(prior):
    truth = truly_similar(400, seed=7)
    sizes = procrustes(prior.mean.expand_as(truth), truth, everywhere(truth).double()).scale
    covariance = 0.1**2 * sizes.square()[:, None, None, None] * torch.eye(3).double().expand(400, 7, 3, 3)
    measured = truth + 0.1 * sizes[:, None, None] * randn(400, 7, 3, seed=8)
    visible = torch.rand(400, 7, generator=random_generator()) < 0.85
    found = prior.posterior(measured, covariance, visible)
    error = (found.mean - truth)[visible]
    assert error.norm(dim=1).mean() < 0.85 * (measured - truth)[visible].norm(dim=1).mean()
    for part in (visible, ~visible):
        error = (found.mean - truth)[part]
        normalized = (error[:, None] @ torch.linalg.solve(found.covariance[part], error[..., None])).mean()
        assert normalized.item() == pytest.approx(3, rel=0.15)  # chi-square of 3
    ratio = found.squared_distance.sum() / found.degrees_of_freedom.sum()
    assert ratio.item() == pytest.approx(1, abs=0.1)


def test_rounding_below_zero_is_taken_for_zero():
    base = randn(4, 3)
    prior = ShapePrior(base - base.mean(dim=0), torch.zeros(12, 12, dtype=torch.float64), torch.full((4,), 9))
    flat = torch.tensor([1.0, 1.0, -1e-7]).diag().expand(1, 4, 3, 3)
    exact = prior.posterior(base[None], flat.clamp_min(0))
    found = prior.posterior(base[None], flat)
    torch.testing.assert_close(found.covariance, exact.covariance)


def test_a_collapsed_measurement_gives_no_nan(prior):
    for measured in (torch.zeros(1, 7, 3), torch.full((1, 7, 3), 0.1)):
        found = prior.posterior(measured, isotropic(measured, 0.1))
        assert found.mean.isfinite().all()
        assert found.covariance.isfinite().all()
        assert found.squared_distance.isfinite().all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_keypoints_leave_the_others_undetermined(prior, count):
    measured = truly_similar(1, seed=7)
    visible = torch.arange(7)[None] < count
    noise = random_covariances(1, 7, 3, scale=0.01)
    found = prior.posterior(measured, noise, visible)
    torch.testing.assert_close(found.mean[visible], measured[visible], atol=1e-8, rtol=0)
    torch.testing.assert_close(found.covariance[visible], noise[visible], rtol=1e-6, atol=1e-8)
    assert found.covariance[~visible].diagonal(dim1=-2, dim2=-1).isinf().all()
    assert found.mean.isfinite().all()
    assert (found.degrees_of_freedom, found.squared_distance.round(decimals=6)) == (0, 0)
    # What is undetermined counts as not measured when it is measured again.
    again = prior.posterior(found.mean, found.covariance)
    torch.testing.assert_close(again.mean[visible], found.mean[visible], atol=1e-8, rtol=0)


def test_collinear_keypoints_leave_those_off_the_line_undetermined():
    base = torch.tensor([[-1.0, 0, 0], [0, 0, 0], [2, 0, 0], [3, 1, 0]]).double()
    prior = ShapePrior(base, 1e-4 * torch.eye(12).double(), torch.full((4,), 9))
    line = base[None] - 7
    found = prior.posterior(line, isotropic(line, 0.01), torch.tensor([[True, True, True, False]]))
    assert found.mean.isfinite().all()
    assert found.covariance[0, :3].isfinite().all()
    assert found.covariance[0, 3].diagonal().isinf().all()
    assert found.degrees_of_freedom.tolist() == [9 - 6]


def test_shapes_on_a_line():
    place = torch.tensor([0.0, 1, 2, 4]) + 0.1 * randn(20, 4)
    shapes = random_similarities(20).apply(place[..., None] * torch.tensor([1.0, 2, 2]).double() / 3)
    prior = ShapePrior.fit(shapes, everywhere(shapes))
    noise = isotropic(shapes, 0.05)
    found = prior.posterior(shapes, noise)
    assert found.mean.isfinite().all()
    assert found.covariance.isfinite().all()
    assert found.degrees_of_freedom.tolist() == [12 - 6] * 20
    assert (found.mean - shapes).norm(dim=-1).mean() < 0.05


# The fit


def test_equals_ledoit_wolf_of_aligned_shapes_where_nothing_is_missing(prior):
    shapes = truly_similar(60)
    for scale in (1.0, 1000.0):
        other = ShapePrior.fit(scale * shapes + 1e4, everywhere(shapes))
        torch.testing.assert_close(other.mean, scale * prior.mean, rtol=1e-5, atol=1e-6 * scale)
    aligned = procrustes(shapes, prior.mean.expand_as(shapes), everywhere(shapes).double()).apply(shapes)
    torch.testing.assert_close(aligned.mean(dim=0) / prior.mean, torch.ones(7, 3).double(), atol=0.01, rtol=0)
    expected = torch.from_numpy(ledoit_wolf(aligned.flatten(1).numpy())[0])
    size = (prior.mean.norm() / aligned.mean(dim=0).norm()).square()
    torch.testing.assert_close(prior.covariance, size * expected, rtol=1e-4, atol=1e-6 * expected.abs().max().item())


def test_the_mean_is_in_the_common_orientation_and_size():
    base = randn(6, 3)
    shapes = 3 * base + 0.01 * randn(30, 6, 3, seed=1) + 8
    prior = ShapePrior.fit(shapes, everywhere(shapes))
    torch.testing.assert_close(prior.mean, 3 * (base - base.mean(dim=0)), atol=0.02, rtol=0)


def test_shapes_are_never_mirrored():
    base = randn(5, 3)
    mirrored = base * torch.tensor([-1.0, 1, 1])
    prior = ShapePrior.fit(base + 0.01 * randn(20, 5, 3), everywhere(base.expand(20, 5, 3)))
    found = prior.posterior(mirrored[None], isotropic(mirrored[None], 0.01))
    assert torch.linalg.det(found.similarity.rotation).item() == pytest.approx(1)
    assert found.squared_distance.item() > 100 * found.degrees_of_freedom.item()


def test_missing_keypoints_are_estimated_better_than_by_their_mean():
    shapes = truly_similar(200, spread=0.2)
    whole = ShapePrior.fit(shapes, everywhere(shapes))
    visible = torch.rand(200, 7, generator=random_generator(3)) < 0.75
    missing = torch.where(visible[..., None], shapes, torch.nan)
    enough = visible.sum(dim=1) >= 3
    prior = ShapePrior.fit(missing[enough], visible[enough])
    aligned = procrustes(shapes.nan_to_num(), whole.mean.expand_as(shapes), visible.double()).apply(shapes)[enough]
    filled = torch.where(visible[enough][..., None], aligned, whole.mean)
    imputed = ShapePrior.fit(filled, everywhere(filled))

    def distance(one):
        return ((one.covariance - whole.covariance).norm() / whole.covariance.norm()).item()

    assert distance(prior) < 0.5 * distance(imputed)
    assert distance(prior) < 0.15
    assert (prior.mean - whole.mean).norm() < 0.05 * whole.mean.norm()


def test_keypoints_that_never_occur_with_those_of_the_first_shape_join_by_others():
    shapes = truly_similar(30, num_keypoints=8)
    visible = torch.zeros(30, 8, dtype=torch.bool)
    visible[:10, :5], visible[10:20, 2:7], visible[20:, 4:] = True, True, True
    prior = ShapePrior.fit(shapes, visible)
    whole = ShapePrior.fit(shapes, everywhere(shapes))
    assert (prior.mean - whole.mean).norm() < 0.2 * whole.mean.norm()
    visible[10:20] = visible[:10]
    visible[20:, 4] = False
    with pytest.raises(TooFewShapes, match=r"keypoints \[5, 6, 7\] never occur together with 3 of the others"):
        ShapePrior.fit(shapes, visible)


def test_a_keypoint_that_too_few_shapes_have_passes_through():
    shapes = truly_similar(20)
    visible = everywhere(shapes)
    visible[2:, 6] = False
    shapes[:, 6] = torch.nan
    shapes[:2, 6] = 1
    prior = ShapePrior.fit(shapes, visible)
    assert prior.num_seen.tolist() == [20] * 6 + [2]
    assert prior.known.tolist() == [True] * 6 + [False]
    without = ShapePrior.fit(shapes[:, :6], visible[:, :6])
    torch.testing.assert_close(prior.mean[:6], without.mean)
    measured, noise = truly_similar(2, seed=7), random_covariances(2, 7, 3, scale=0.01)
    visible = torch.tensor([[True] * 7, [True] * 6 + [False]])
    found, other = prior.posterior(measured, noise, visible), without.posterior(measured[:, :6], noise[:, :6])
    torch.testing.assert_close(found.mean[:, :6], other.mean)
    assert torch.equal(found.mean[0, 6], measured[0, 6])
    torch.testing.assert_close(found.covariance[0, 6], noise[0, 6])
    assert found.mean[1, 6].isfinite().all()
    assert found.covariance[1, 6].diagonal().isinf().all()
    assert torch.equal(found.squared_distance, other.squared_distance)


def test_shapes_that_are_all_alike():
    shapes = random_similarities(5).apply(randn(6, 3).expand(5, 6, 3))
    visible = everywhere(shapes)
    visible[0, 0] = False
    for seen in (everywhere(shapes), visible):
        prior = ShapePrior.fit(shapes, seen)
        assert prior.covariance.abs().max() < 1e-12
        found = prior.posterior(shapes, isotropic(shapes, 0.1), visible)
        torch.testing.assert_close(found.mean, shapes, atol=1e-6, rtol=0)
        found = prior.posterior(shapes, isotropic(shapes, 0), visible)
        torch.testing.assert_close(found.mean, shapes, atol=1e-5, rtol=0)


def test_shapes_without_a_pose_are_counted():
    shapes = truly_similar(8)
    visible = everywhere(shapes)
    visible[0, 2:] = False
    visible[1] = False
    with pytest.warns(UserWarning, match="2 of 8 shapes have too few visible keypoints"):
        prior = ShapePrior.fit(shapes, visible)
    assert prior.num_seen.tolist() == [6] * 7


def test_too_few_iterations_are_told():
    shapes = truly_similar(20)
    with pytest.warns(UserWarning, match="not converged in 1 iterations .* raise max_iterations"):
        ShapePrior.fit(shapes, everywhere(shapes), max_iterations=1)


def test_json_gives_the_same_prior_back(prior):
    again = ShapePrior.from_dict(json.loads(json.dumps(prior.to_dict(), allow_nan=False)))
    for name in ("mean", "covariance", "num_seen"):
        assert torch.equal(getattr(again, name), getattr(prior, name))


# Bad input


SHAPES = truly_similar(6)
ALL = everywhere(SHAPES)


def changed(tensor, index, value):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


@pytest.mark.parametrize(
    ("keypoints", "visible", "message"),
    [
        (SHAPES[0], ALL[0], r"keypoints: got shape \(7, 3\); pass \(M, K, 3\)"),
        (SHAPES[..., :2], ALL, r"keypoints: got shape \(6, 7, 2\)"),
        (SHAPES[:0], ALL[:0], "keypoints: got shape .* at least one of each"),
        (SHAPES[:1], ALL[:1], "got 1 shape.* needs at least 3: annotate more, or do without"),
        (SHAPES[:2], ALL[:2], "got 2 shape"),
        (SHAPES, ALL[:, :5], r"visible: got torch.bool of shape \(6, 5\); pass torch.bool of shape \(6, 7\)"),
        (SHAPES, ALL.long(), "visible: got torch.int64"),
        (changed(SHAPES, (2, 3), torch.nan), ALL, "keypoints: got NaN or infinity at 1 .* keypoint 3 of shape 2"),
        (SHAPES, changed(ALL, slice(2, None), False), "visible: 0 of 6 shapes have enough keypoints in common"),
        (changed(SHAPES, 4, 1.0), ALL, "keypoints: the 7 of shape 4 lie in one place"),
    ],
)
def test_bad_shapes_are_named(keypoints, visible, message):
    with pytest.raises(ValueError, match=message):
        ShapePrior.fit(keypoints, visible)


NOISE = isotropic(SHAPES, 0.1)


@pytest.mark.parametrize(
    ("measurement", "message"),
    [
        ((SHAPES[:, :5], NOISE[:, :5]), r"mean: got shape \(6, 5, 3\); this shape prior takes \(B, 7, 3\)"),
        ((SHAPES[0], NOISE[0]), r"mean: got shape \(7, 3\)"),
        ((SHAPES, NOISE[..., 0]), r"covariance: got shape \(6, 7, 3\); pass \(6, 7, 3, 3\)"),
        ((SHAPES, NOISE, ALL[:, :2]), "visible: got torch.bool"),
        ((changed(SHAPES, (2, 3), torch.inf), NOISE), "mean: got NaN or infinity at 1 .* keypoint 3 of shape 2"),
        ((SHAPES, changed(NOISE, (2, 3, 0), torch.inf)), "covariance: got NaN or infinity at 1"),
        ((SHAPES, changed(NOISE, (2, 3, 0, 1), 0.001)), "covariance: got matrices that are not symmetric"),
        ((SHAPES, -NOISE), "not symmetric and positive semidefinite; pass the covariance of the map"),
    ],
)
def test_bad_measurements_are_named(prior, measurement, message):
    with pytest.raises(ValueError, match=message):
        prior.posterior(*measurement)
    with pytest.raises(ValueError, match="iterations: got 0"):
        prior.posterior(SHAPES, NOISE, iterations=0)


def test_bad_stored_values_are_named(prior):
    values = prior.to_dict()
    for changes, message in (
        ({"mean": values["mean"][:3]}, r"got \(3, 3\), \(21, 21\) and \(7,\)"),
        ({"num_seen": [9] * 6}, r"must be \(K, 3\), \(3K, 3K\) and \(K,\)"),
        ({"mean": [[math.nan] * 3] * 7}, "finite"),
        ({"covariance": (-prior.covariance).tolist()}, "positive semidefinite; fit the shape prior again"),
        ({"covariance": (prior.covariance + torch.ones(21, 21).double().triu(1)).tolist()}, "symmetric"),
        ({"extra": 1}, "keys mean, covariance and num_seen, got"),
    ):
        with pytest.raises(ValueError, match=message):
            ShapePrior.from_dict(values | changes)
