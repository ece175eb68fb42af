import math
import re

import pytest
import torch

from pcsargmax.core.bases import Gaussian
from pcsargmax.core.cells import Triangular, Uniform
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.core.grid import Grid
from pcsargmax.core.marginals import marginal_logits
from pcsargmax.core.relaxation import relaxed_categorical

SPACE = Grid((3, 4, 5), (0.5, 2.0, 1.5), (1.0, -1.0, 3.0))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_logits(shape=SPACE.shape, dtype=torch.float64):
    return 2 * torch.randn(2, 3, *shape, dtype=dtype, generator=seeded())


def test_by_hand():
    # Rows y = 0, 1 by columns x = 0, 1, 2 with weights 1, 2, 3 over 4, 5, 5: of 20 in all.
    logits = torch.tensor([[1.0, 2, 3], [4, 5, 5]]).log().reshape(1, 1, 2, 3)
    whole = KeypointDistribution(logits, Grid((2, 3)))
    torch.testing.assert_close(whole.marginal(0).probabilities, torch.tensor([[[5, 7, 8]]]) / 20)
    torch.testing.assert_close(whole.marginal(1).probabilities, torch.tensor([[[6, 14]]]) / 20)
    assert whole.marginal(0).sites == Grid((3,))
    assert whole.marginal(0).mean.item() == pytest.approx(23 / 20)
    assert whole.marginal([1]).mean.item() == pytest.approx(14 / 20)


@pytest.mark.parametrize("basis", [Triangular(), Uniform(), Gaussian("auto"), Gaussian(0.3), Gaussian((0.1, 0.2, 0.3))])
@pytest.mark.parametrize("axes", [0, 1, 2, (0, 1), (2, 0), (1, 2), (0, 1, 2)])
def test_mean_covariance_and_density_are_those_of_the_whole(axes, basis):
    whole = KeypointDistribution(random_logits(), SPACE, basis=basis)
    part = whole.marginal(axes)
    kept = sorted([axes] if isinstance(axes, int) else axes)
    assert part.sites.shape == tuple(SPACE.counts[d] for d in reversed(kept))
    torch.testing.assert_close(part.mean, whole.mean[..., kept])
    torch.testing.assert_close(part.covariance, whole.covariance[..., kept, :][..., kept])


@pytest.mark.parametrize("basis", [Triangular(), Gaussian("auto"), Gaussian((0.4, 1.0))])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_density_is_that_of_the_whole_integrated_over_the_other_coordinate(axis, basis):
    """By the trapezoidal rule with four steps a cell: exact of tents, and to many digits of normal densities."""
    grid, other = Grid((3, 4), (0.5, 2.0), (1.0, -1.0)), 1 - axis
    whole = KeypointDistribution(random_logits((3, 4)), grid, basis=basis)
    at = grid.axes(torch.float64)[axis][1] + torch.tensor([-0.3, 0.0, 0.2], dtype=torch.float64)
    step = grid.cell[other] / 4
    nodes = grid.first[other] + step * torch.arange(-40, 60, dtype=torch.float64)
    y = torch.empty(len(at), len(nodes), 2, dtype=torch.float64)
    y[..., axis], y[..., other] = at.unsqueeze(1), nodes
    integral = whole.density(y.flatten(0, 1).expand(2, -1, -1)).unflatten(-1, y.shape[:2]).sum(dim=-1) * step
    torch.testing.assert_close(whole.marginal(axis).density(at.reshape(1, -1, 1).expand(2, -1, -1)), integral)


def test_a_uniform_density_of_a_cell():
    logits = torch.tensor([[1.0, 2, 3], [4, 5, 5]]).log().reshape(1, 1, 2, 3)
    part = KeypointDistribution(logits, Grid((2, 3), (0.5, 3.0)), basis=Uniform()).marginal(0)
    # Each cell is 0.5 wide, so its density is twice its probability.
    found = part.density(torch.tensor([[[0.1], [0.6], [1.2]]]))
    torch.testing.assert_close(found, torch.tensor([[[0.5, 0.7, 0.8]]]))


def test_a_circular_axis_stays_one():
    grid = Grid((3, 8), (45.0, 1.0), (10.0, 0.0), (True, False))
    whole = KeypointDistribution(random_logits((3, 8)), grid, basis=Gaussian((0.5, 0.2)))
    angle, height = whole.marginal(0), whole.marginal(1)
    assert angle.sites == Grid((8,), 45.0, 10.0, True)
    assert height.sites == Grid((3,))
    torch.testing.assert_close(angle.mean, whole.mean[..., :1])
    torch.testing.assert_close(height.mean, whole.mean[..., 1:])
    torch.testing.assert_close(angle.covariance, whole.covariance[..., :1, :1])


def test_mask_and_presence_go_along():
    mask = torch.rand(2, 3, 4, 5, generator=seeded(1)) > 0.3
    mask[1, :, :, 2] = False  # no cell at x = 2, whatever y and z
    logits, presence = random_logits(), torch.rand(2, 3)
    garbage = torch.where(mask.unsqueeze(1), logits, math.nan).requires_grad_()
    whole = KeypointDistribution(garbage, SPACE, mask.flatten(1), presence=presence)
    part = whole.marginal(0)
    assert part.mask.tolist()[1] == [True, True, False, True, True]
    assert (part.probabilities[1, :, 2] == 0).all()
    assert part.presence is presence
    torch.testing.assert_close(part.mean, whole.mean[..., :1])
    assert part.entropy.isfinite().all()
    gradient = torch.autograd.grad(part.mean.sum(), garbage, retain_graph=True)[0]
    expected = torch.autograd.grad(whole.mean[..., 0].sum(), garbage)[0]
    torch.testing.assert_close(gradient, expected)
    assert gradient.isfinite().all()


def test_logits_are_logarithms_of_sums():
    logits = random_logits((3, 4))
    torch.testing.assert_close(marginal_logits(logits, (0,)), logits.logsumexp(dim=2))
    torch.testing.assert_close(marginal_logits(logits, (1,)), logits.logsumexp(dim=3))
    assert torch.equal(marginal_logits(logits, (0, 1)), logits)
    assert torch.autograd.gradcheck(lambda x: marginal_logits(x, (0,)), logits[:1, :1].requires_grad_())
    huge = marginal_logits(logits + 1e4, (0,))
    torch.testing.assert_close(huge - 1e4, logits.logsumexp(dim=2))
    logits[0, 0, :, 1] = -math.inf
    logits = logits.detach().requires_grad_()
    found = marginal_logits(logits, (0,))
    assert found[0, 0, 1] == -math.inf
    gradient = torch.autograd.grad(found[found.isfinite()].sum(), logits)[0]
    assert gradient.isfinite().all()
    nan = torch.zeros(1, 1, 2, 2)
    nan[..., 0, 0] = math.nan
    assert marginal_logits(nan, (0,)).isnan().tolist() == [[[True, False]]]


def test_draws_of_sampling_argmax_are_not_those_of_the_marginal():
    """Why losses take the whole map: weights that are summed spread less than weights of what is summed."""
    logits = torch.zeros(1, 1, 8, 8)
    weights = relaxed_categorical(logits.flatten(2), num_samples=4000, generator=seeded()).unflatten(-1, (8, 8))
    summed = weights.sum(dim=-2).flatten(0, 2)
    own = relaxed_categorical(marginal_logits(logits, (0,)), num_samples=4000, generator=seeded(1)).flatten(0, 2)
    assert summed.var(dim=0).mean() < 0.75 * own.var(dim=0).mean()
    # In the limit they are: a site drawn from the map has the coordinates of its marginals.
    hard = relaxed_categorical(logits.flatten(2), num_samples=4000, relaxation="straight_through", generator=seeded())
    share = hard.unflatten(-1, (8, 8)).sum(dim=-2).flatten(0, 2).mean(dim=0)
    torch.testing.assert_close(share, torch.full((8,), 1 / 8), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("sigma", "kept"),
    [
        (torch.tensor(0.5), torch.tensor(0.5)),
        (torch.tensor([0.5, 0.7]), torch.tensor([0.5, 0.7])),
        (torch.tensor([0.5, 0.7, 0.9]).reshape(1, 1, 3), torch.tensor([0.5, 0.9]).reshape(1, 1, 2)),
        (torch.tensor([0.5]).reshape(1, 1, 1), torch.tensor([0.5]).reshape(1, 1, 1)),
    ],
)
def test_a_sigma_in_a_tensor_goes_along(sigma, kept):
    whole = KeypointDistribution(random_logits(), SPACE, basis=Gaussian(sigma))
    part = whole.marginal((0, 2))
    assert torch.equal(part.basis.sigma, kept)
    torch.testing.assert_close(part.covariance, whole.covariance[..., [0, 2], :][..., [0, 2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.marginal(3), "axes: expected distinct coordinates out of 0 to 2, got 3"),
        (lambda d: d.marginal(-1), "axes: expected distinct coordinates out of 0 to 2, got -1"),
        (lambda d: d.marginal((0, 0)), "axes: expected distinct coordinates out of 0 to 2, got (0, 0)"),
        (lambda d: d.marginal(()), "axes: expected distinct coordinates out of 0 to 2, got ()"),
        (
            lambda d: KeypointDistribution(d.logits.flatten(2), torch.zeros(60, 3)).marginal(0),
            "axes: a cloud has no axes to sum along, expected the sites to be a Grid",
        ),
        (
            lambda d: KeypointDistribution(d.logits, SPACE, basis=Gaussian(torch.ones(1, 60, 1))).marginal(0),
            "sigma: a marginal needs one for all sites, got one per site, shape (1, 60, 1)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(KeypointDistribution(random_logits(), SPACE))
