import pytest
import torch
from fixtures.shapes import everywhere, isotropic, randn, truly_similar

from pcsargmax.models.shape_noise import fit_noise, with_noise
from pcsargmax.models.shape_prior import ShapePrior


def test_the_noise_found_is_about_that_simulated():
    truth = torch.stack([shape / shape.std() for shape in truly_similar(40, spread=0.1)])
    deviation = torch.tensor([0.02, 0.02, 0.02, 0.1, 0.1, 0.1, 0.1]).double()
    zero = torch.zeros(*truth.shape, 3)
    common = fit_noise(truth + 0.1 * randn(40, 7, 3, seed=1), zero, truth, everywhere(truth)).noise
    assert common.shape == (7,)
    assert 0.05 < common.mean() < 0.2
    own = fit_noise(truth + deviation[:, None] * randn(40, 7, 3, seed=1), zero, truth, everywhere(truth)).noise
    assert own[:3].mean() < 0.4 * own[3:].mean()
    few = fit_noise(truth[:12] + 0.1 * randn(12, 7, 3, seed=1), zero[:12], truth[:12], everywhere(truth[:12])).noise
    assert few.unique().numel() == 1
    assert 0.05 < few[0] < 0.2


def test_shapes_of_the_training_set_join_the_prior():
    truth = torch.stack([shape / shape.std() for shape in truly_similar(40, spread=0.1)])
    predicted = truth[:4] + 0.1 * randn(4, 7, 3, seed=1)
    found = fit_noise(
        predicted, torch.zeros(4, 7, 3, 3), truth[:4], everywhere(predicted), others=(truth, everywhere(truth))
    )
    assert 0.03 < found.noise[0] < 0.3


def test_no_noise_where_the_prior_does_not_help():
    shapeless = randn(30, 7, 3)
    predicted = shapeless + 0.02 * randn(30, 7, 3, seed=1)
    zero = torch.zeros(30, 7, 3, 3)
    assert fit_noise(predicted, zero, shapeless, everywhere(shapeless)) is None
    assert fit_noise(predicted[:2], zero[:2], shapeless[:2], everywhere(shapeless[:2])) is None
    assert fit_noise(predicted[:3], zero[:3], shapeless[:3], everywhere(shapeless[:3])) is None
    perfect = truly_similar(30)
    assert fit_noise(perfect, zero, perfect, everywhere(perfect)) is None


def test_the_shapes_held_out_are_those_of_a_prior_of_the_other_folds():
    truth = torch.stack([shape / shape.std() for shape in truly_similar(9, spread=0.1)])
    predicted, covariance = truth + 0.1 * randn(9, 7, 3, seed=1), isotropic(truth, 0.05)
    found = fit_noise(predicted, covariance, truth, everywhere(truth), folds=3)
    seen = torch.ones(9, dtype=torch.bool)
    for number in range(3):
        held = torch.arange(9) % 3 == number
        prior = ShapePrior.fit(truth[~held], everywhere(truth[~held]))
        # The level is common, but each fold takes its multiple of the errors of the other ones.
        errors = (predicted - truth)[~held].square().mean().sqrt() / (predicted - truth).square().mean().sqrt()
        direct = prior.posterior(predicted[held], with_noise(covariance[held], errors * found.noise))
        torch.testing.assert_close(found.mean[held], direct.mean)
        torch.testing.assert_close(found.covariance[held], direct.covariance)
        seen &= ~held
    assert not seen.any()
    raw, fitted = (predicted - truth).norm(dim=-1).mean(), (found.mean - truth).norm(dim=-1).mean()
    assert fitted < raw


def test_what_the_priors_of_the_folds_warn_of_is_not_said():
    truth = torch.stack([shape / shape.std() for shape in truly_similar(12, spread=0.1)])
    visible = everywhere(truth)
    visible[0, 1:] = False  # too few keypoints to have a pose: a UserWarning, which is an error here
    predicted = truth + 0.1 * randn(12, 7, 3, seed=1)
    assert fit_noise(predicted, isotropic(truth, 0.05), truth, visible).noise.min() > 0


@pytest.mark.parametrize("which", ["alike", "collinear", "a keypoint that none has"])
def test_odd_shapes_have_a_finite_fit(which):
    truth, visible = randn(1, 5, 3).expand(9, 5, 3).clone(), torch.ones(9, 5, dtype=torch.bool)
    if which == "collinear":
        truth = torch.linspace(0, 1, 5).double()[:, None] * torch.tensor([1.0, 2, 3]) + randn(9, 1, 3)
    elif which == "a keypoint that none has":
        visible[:, 2] = False
    found = fit_noise(truth + 0.05 * randn(9, 5, 3, seed=1), isotropic(truth, 0.01), truth, visible)
    assert found.noise.isfinite().all()
    assert found.mean[visible].isfinite().all()
    assert found.covariance[visible].isfinite().all()
    assert (found.mean - truth)[visible].norm(dim=-1).mean() < 0.07


def test_noise_adds_its_variance():
    got = with_noise(torch.eye(3).expand(1, 2, 3, 3), torch.tensor([1.0, 2.0]))
    assert got.diagonal(dim1=-2, dim2=-1).tolist() == [[[2.0] * 3, [5.0] * 3]]
    with pytest.raises(ValueError, match="folds: got 1; cross-validation takes at least 2"):
        fit_noise(truly_similar(4), torch.zeros(4, 7, 3, 3), truly_similar(4), everywhere(truly_similar(4)), folds=1)
