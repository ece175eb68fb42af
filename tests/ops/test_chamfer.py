import math

import pytest
import torch
from reference import skeleton as reference

from pcsargmax.ops.skeleton import composite_chamfer


def at(rho):
    """The distance whose ρ is given."""
    return math.sqrt(rho**2 - 1e-4)


def slopes(value, leaves):
    return torch.autograd.grad(value.sum(), leaves, retain_graph=True, allow_unused=True)


@pytest.mark.parametrize(
    ("strengths", "coverage", "slope"),
    [
        # nearest first: the edges 1, 2, 0, at ρ = 0.1, 0.2, 0.4
        ((0.9, 0.5, 0.3), 0.5 * 0.1 + 0.3 * 0.2 + 0.2 * 0.4, (0.0, 0.1 - 0.4, 0.2 - 0.4)),
        ((0.1, 0.5, 0.3), 0.5 * 0.1 + 0.3 * 0.2 + 0.1 * 0.4 + 0.1 * 20, (0.4 - 20, 0.1 - 20, 0.2 - 20)),
        ((0.7, 0.8, 0.6), 0.8 * 0.1 + 0.2 * 0.2, (0.0, 0.1 - 0.2, 0.0)),
        # at the kinks: the slopes as the strengths grow
        ((0.0, 0.0, 0.0), 20.0, (0.4 - 20, 0.1 - 20, 0.2 - 20)),
        ((0.3, 1.0, 0.6), 0.1, (0.0, 0.0, 0.0)),
        ((0.5, 0.5, 0.5), 0.5 * 0.1 + 0.5 * 0.2, (0.0, 0.1 - 0.2, 0.0)),
    ],
)
def test_coverage_takes_the_nearest_edges_first_by_hand(strengths, coverage, slope):
    points = torch.tensor([[[at(0.4), 0, 0], [0, at(0.1), 0], [0, 0, at(0.2)]]], dtype=torch.float64)
    strengths = torch.tensor([strengths], dtype=torch.float64, requires_grad=True)
    found = composite_chamfer(points, torch.arange(3), strengths, torch.zeros(1, 1, 3, dtype=torch.float64))
    assert found.coverage.item() == pytest.approx(coverage)
    assert slopes(found.coverage, [strengths])[0][0].tolist() == pytest.approx(slope)
    assert found.fidelity.item() == pytest.approx((strengths.detach() @ torch.tensor([0.4, 0.1, 0.2]).double()) / 3)
    assert slopes(found.fidelity, [strengths])[0][0].tolist() == pytest.approx([0.4 / 3, 0.1 / 3, 0.2 / 3])


def test_slopes_of_the_points_by_hand():
    # one edge of two points and strength ¾; both clouds' points are nearest to the first, at 0.3 along x and along y
    points = torch.tensor([[[0.0, 0, 0], [0, 0, 5]]], dtype=torch.float64, requires_grad=True)
    cloud = torch.tensor([[[0.3, 0, 0], [0, 0.4, 0]]], dtype=torch.float64, requires_grad=True)
    strengths = torch.tensor([[0.75]], dtype=torch.float64)
    found = composite_chamfer(points, torch.zeros(2, dtype=torch.long), strengths, cloud)
    rho = [math.sqrt(1e-4 + d**2) for d in (0.3, 0.4)]
    of_points, of_cloud = slopes(found.coverage, [points, cloud])
    share = 0.75 / 2
    assert of_points[0, 0].tolist() == pytest.approx([-share * 0.3 / rho[0], -share * 0.4 / rho[1], 0])
    assert of_points[0, 1].tolist() == [0, 0, 0]
    assert of_cloud[0].flatten().tolist() == pytest.approx([share * 0.3 / rho[0], 0, 0, 0, share * 0.4 / rho[1], 0])
    # of fidelity: the far one is nearest to the first cloud point, at (0.3, 0, 5)
    far = math.sqrt(1e-4 + 0.09 + 25)
    of_points = slopes(found.fidelity, [points])[0]
    assert of_points[0, 1].tolist() == pytest.approx([-share * 0.3 / far, 0, share * 5 / far])


def test_weights_and_their_slopes_against_the_loop_over_many_strengths():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 12, 3, dtype=torch.float64, generator=generator)
    cloud = torch.randn(40, 5, 3, dtype=torch.float64, generator=generator)
    scale = torch.logspace(-2, 0, 40, dtype=torch.float64).unsqueeze(1)  # from hardly covered to covered by one edge
    strengths = (scale * torch.rand(40, 6, dtype=torch.float64, generator=generator)).requires_grad_()
    ours = composite_chamfer(points, torch.arange(6).repeat_interleave(2), strengths, cloud).coverage
    plain = torch.stack(
        [
            reference.composite_chamfer(points[i : i + 1].split(2, dim=1), strengths[i : i + 1], cloud[i : i + 1])[1]
            for i in range(40)
        ]
    )
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(slopes(ours, [strengths])[0], slopes(plain, [strengths])[0])


@pytest.mark.parametrize("num_points", [1, 2, 31, 32, 33, 64])
def test_every_place_in_the_cloud_is_searched(num_points):
    points = torch.zeros(num_points, 2, 3, dtype=torch.float64)
    cloud = torch.full((num_points, num_points, 3), 5.0, dtype=torch.float64)
    cloud[range(num_points), range(num_points)] = torch.tensor([at(0.25), 0, 0], dtype=torch.float64)
    strengths = torch.ones(num_points, 1, dtype=torch.float64)
    found = composite_chamfer(points, torch.zeros(2, dtype=torch.long), strengths, cloud)
    torch.testing.assert_close(found.fidelity, torch.full_like(found.fidelity, 0.25))


def test_edges_out_of_order_are_an_error():
    points, strengths, cloud = torch.zeros(1, 3, 3), torch.zeros(1, 3), torch.zeros(1, 1, 3)
    for edge in ([0, 2, 1], [0, 0, 2], [1, 1, 2], [0, 1, 1], [2, 1, 0]):
        with pytest.raises(ValueError, match="edge: expected ascending numbers from 0 to 2, none left out"):
            composite_chamfer(points, torch.tensor(edge), strengths, cloud)
