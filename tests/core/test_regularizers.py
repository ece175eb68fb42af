import math
import re

import pytest
import torch
from reference import argmax as reference

from pcsargmax.core.grid import Grid
from pcsargmax.core.regularizers import distribution_regularizer, variance_regularizer
from pcsargmax.ops.neighbors import mean_neighbor_distance

REGULARIZERS = (variance_regularizer, distribution_regularizer)
TWINS = {
    variance_regularizer: reference.variance_regularizer,
    distribution_regularizer: reference.distribution_regularizer,
}
#: The power of the unit of length in which each comes.
POWER = {variance_regularizer: 4, distribution_regularizer: 0}


def random_map(dimension=3, dtype=torch.float64, num_sites=6):
    """Logits (2, 2, L), sites (2, L, D), and a mask that takes one site out."""
    logits = torch.randn(2, 2, num_sites, dtype=dtype, generator=torch.Generator().manual_seed(0))
    sites = torch.randn(2, num_sites, dimension, dtype=dtype, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, num_sites, dtype=torch.bool)
    mask[1, 3] = False
    return logits, sites, mask


def test_variance_regularizer_by_hand():
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    sites = torch.tensor([[0.0], [4.0]])  # π = ¼, ¾: the expectation is 3, the variance ¼ 9 + ¾ 1 = 3
    assert variance_regularizer(logits, sites, spacing=1.0, target_variance=1.0).item() == pytest.approx(4)
    assert variance_regularizer(logits, sites, spacing=2.0, target_variance=0.5).item() == pytest.approx(1)
    assert variance_regularizer(logits, sites, spacing=1.0, target_variance=3.0).item() == pytest.approx(0, abs=1e-10)


def test_distribution_regularizer_by_hand():
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    sites = torch.tensor([[0.0], [4.0]])  # 3 and 1 away from the expectation
    q = 1 / (1 + math.exp(4 / 2)), 1 / (1 + math.exp(-4 / 2))  # (3² − 1²) / 2σ_t² = 4/σ_t² with σ_t² = 2
    expected = 0.0
    for p_i, q_i in zip((0.25, 0.75), q, strict=True):
        m = (p_i + q_i) / 2
        expected += (p_i * math.log(p_i / m) + q_i * math.log(q_i / m)) / 2
    found = distribution_regularizer(logits, sites, spacing=1.0, target_variance=2.0).item()
    assert found == pytest.approx(expected, rel=1e-5)
    assert distribution_regularizer(logits, sites, spacing=2.0, target_variance=0.5).item() == pytest.approx(found)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_against_the_plain_formula(regularizer, dimension):
    logits, sites, _ = random_map(dimension)
    found = regularizer(logits, sites, target_variance=1.7**2, spacing=0.6)
    torch.testing.assert_close(found, TWINS[regularizer](logits, sites, (1.7 * 0.6) ** 2))
    assert found.shape == (2, 2)


def test_a_discretised_normal_map_has_no_divergence():
    # Symmetric, so that its expectation is the centre exactly.
    grid = Grid((9, 9))
    away = (grid.positions(torch.float64) - 4).square().sum(-1)
    logits = (-away / (2 * 1.5)).expand(1, 1, -1)
    assert distribution_regularizer(logits, grid, target_variance=1.5).item() == pytest.approx(0, abs=1e-15)
    assert distribution_regularizer(logits, grid, target_variance=2.5).item() > 0.01
    # Its variance is σ_t² along each of the two axes, but for the edge.
    assert variance_regularizer(logits, grid, target_variance=3.0).item() == pytest.approx(0, abs=1e-2)


def test_the_divergence_is_between_0_and_log_2():
    logits = 30 * torch.randn(50, 4, 20, generator=torch.Generator().manual_seed(0))
    sites = torch.randn(50, 20, 3, generator=torch.Generator().manual_seed(1))
    for spacing in (1e-3, 0.1, 1.0, 1e3):
        found = distribution_regularizer(logits, sites, spacing=spacing)
        assert (found >= 0).all()
        assert (found <= math.log(2) + 1e-6).all()  # a rounding of sums of 1
    # two sites far apart from one that the expectation is at: no site in common
    apart = torch.tensor([[[0.0, 0.0, -100.0]]]), torch.tensor([[-1.0], [1.0], [0.0]])
    assert distribution_regularizer(*apart, spacing=0.1).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_auto_is_the_mean_neighbour_distance_or_the_cell(regularizer):
    logits, sites, mask = random_map()
    spacing = torch.stack([mean_neighbor_distance(s[m])[0] for s, m in zip(sites, mask, strict=True)])
    auto = regularizer(logits, sites, mask=mask)
    torch.testing.assert_close(auto, regularizer(logits, sites, mask=mask, spacing=spacing))
    alone = regularizer(logits[:1], sites[:1], spacing=spacing[0])
    torch.testing.assert_close(auto[:1], alone)
    torch.testing.assert_close(regularizer(logits, 10 * sites, mask=mask), 10 ** POWER[regularizer] * auto)

    cells = torch.randn(1, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    unit, wide = Grid((2, 3)), Grid((2, 3), spacing=0.2, origin=(5.0, -3.0))
    torch.testing.assert_close(regularizer(cells, wide), 0.2 ** POWER[regularizer] * regularizer(cells, unit))
    torch.testing.assert_close(regularizer(cells, unit), regularizer(cells, unit.positions(), spacing=1.0))
    assert torch.equal(regularizer(cells.unflatten(2, (2, 3)), unit), regularizer(cells, unit))


def test_cells_that_are_not_square():
    logits = torch.randn(1, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    grid = Grid((2, 3), spacing=(0.1, 0.7))
    # The target of the sum over the axes takes the mean of the squares; the normal density is as wide as the cells.
    cells = grid.positions(torch.float64).unsqueeze(0)
    expected = reference.variance_regularizer(logits, cells, 1.5 * (0.01 + 0.49) / 2)
    torch.testing.assert_close(variance_regularizer(logits, grid, target_variance=1.5), expected)
    expected = distribution_regularizer(logits, Grid((2, 3)), target_variance=1.5)
    torch.testing.assert_close(distribution_regularizer(logits, grid, target_variance=1.5), expected)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_a_circle_counts_as_one(regularizer):
    # The same map, turned by two cells.
    logits = torch.tensor([0.0, 1.0, 3.0, -1.0, 0.5, -2.0, -4.0, -3.0], dtype=torch.float64)
    grid = Grid((8,), periodic=True)
    turned = regularizer(logits.roll(5).expand(1, 1, -1), grid)
    torch.testing.assert_close(regularizer(logits.expand(1, 1, -1), grid), turned)
    line = Grid((8,))
    assert not torch.allclose(regularizer(logits.roll(5).expand(1, 1, -1), line), turned, rtol=0.01)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize("spacing", [0.7, torch.tensor([0.7, 1.1], dtype=torch.float64)])
def test_gradients(regularizer, spacing):
    logits, sites, mask = random_map()

    def call(logits, sites):
        return regularizer(logits, sites, target_variance=0.8, spacing=spacing, mask=mask)

    assert torch.autograd.gradcheck(call, (logits.requires_grad_(), sites.requires_grad_()))


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_masked_is_removed_and_order_is_free(regularizer):
    logits, sites, mask = random_map()
    real = mask[1]
    garbage = logits.masked_fill(~mask.unsqueeze(1), math.nan), sites.masked_fill(~mask.unsqueeze(2), math.inf)
    whole = regularizer(*(t.requires_grad_() for t in garbage), mask=mask)
    torch.testing.assert_close(whole[1:], regularizer(logits[1:, :, real], sites[1:, real]))
    slopes = torch.autograd.grad(whole.sum(), garbage)
    assert all(slope.isfinite().all() for slope in slopes)
    assert (slopes[0][1, :, ~real] == 0).all()
    order = torch.randperm(logits.shape[-1], generator=torch.Generator().manual_seed(4))
    permuted = regularizer(logits[..., order], sites[:, order], mask=mask[:, order])
    torch.testing.assert_close(permuted, whole.detach())


@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize("spacing", [0.001, 1.0, 1000.0, "auto"])
def test_large_logits_give_finite_values_and_gradients(regularizer, spacing):
    logits = torch.tensor([[[1e4, -1e4, 0.0, 1e4], [1e4, -1e4, 0.0, -math.inf]]], requires_grad=True)
    sites = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = regularizer(logits, sites, spacing=spacing)
    assert found.isfinite().all()
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(found.sum() * 10, (logits, sites)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_half_precision_logits_are_read_in_float32(regularizer, dtype):
    logits, sites, mask = random_map(dtype=torch.float32)
    half = (100 * logits).to(dtype).requires_grad_()
    found = regularizer(half, sites, mask=mask)
    assert found.dtype == torch.float32
    assert torch.equal(found, regularizer(half.float(), sites, mask=mask))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(regularizer(half, sites, mask=mask), found)
    assert torch.autograd.grad(found.sum(), half)[0].isfinite().all()


def test_one_site_has_no_variance_and_no_divergence():
    logits, site = torch.randn(2, 3, 1, requires_grad=True), torch.randn(1, 3)
    for spacing in ("auto", 0.1):
        spread = variance_regularizer(logits, site, target_variance=1.5, spacing=spacing)
        target = 1.5 * 0.1**2 if spacing == 0.1 else 0  # a single site has no neighbour, so no spread to aim at
        torch.testing.assert_close(spread, torch.full((2, 3), float(target)) ** 2)
        assert (distribution_regularizer(logits, site, spacing=spacing) == 0).all()
        assert (torch.autograd.grad(spread.sum(), logits)[0] == 0).all()


def test_descent_reaches_the_target_variance():
    logits, sites, _ = random_map(num_sites=200)
    logits = logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        variance_regularizer(logits, sites, target_variance=0.5, spacing=1.0).sum().backward()
        optimizer.step()
    probabilities = logits.detach().softmax(-1)
    away = sites.unsqueeze(1) - (probabilities @ sites).unsqueeze(2)
    variance = (probabilities * away.square().sum(-1)).sum(-1)
    torch.testing.assert_close(variance, torch.full_like(variance, 0.5), rtol=0.01, atol=0)


LOGITS, SITES = torch.zeros(2, 3, 4), torch.zeros(2, 4, 3)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_variance": math.nan}, "target_variance: expected a value"),
        ({"target_variance": -1.0}, "target_variance: expected a value"),
        ({"spacing": 0.0}, "spacing: expected a length, positive and finite, got 0.0"),
        ({"spacing": "cell"}, "spacing: expected a length, a tensor of lengths or 'auto', got 'cell'"),
        ({"spacing": torch.ones(3)}, "spacing: expected shape () or (B,) = (2,), got (3,)"),
        ({"spacing": torch.tensor([0.1, -1.0])}, "spacing: expected lengths, positive and finite, got -1.0"),
        ({"sites": SITES[:, :3]}, "sites: expected shape (B, L, D)"),
        ({"logits": LOGITS[0]}, "logits: expected shape (B, K, L), got (3, 4)"),
        ({"mask": torch.zeros(2, 4, dtype=torch.bool)}, "mask: expected at least one real site in every cloud"),
    ],
)
def test_errors(regularizer, change, message):
    arguments = {"logits": LOGITS, "sites": SITES, "spacing": 1.0} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        regularizer(**arguments)


def test_a_divergence_needs_a_width():
    with pytest.raises(ValueError, match=re.escape("target_variance: expected a value, positive and finite, got 0.0")):
        distribution_regularizer(LOGITS, SITES, target_variance=0.0)
    assert variance_regularizer(LOGITS, SITES, target_variance=0.0).tolist() == [[0, 0, 0]] * 2


def test_a_circular_axis_counts_once_in_the_spacing():
    # Cells of 1 by 3, so the mean square is 5, not (1 + 1 + 9) / 3; the map is one cell, without variance.
    grid = Grid((4, 8), (1.0, 3.0), periodic=(True, False))
    logits = torch.full((1, 1, 4, 8), -1e4)
    logits[..., 2, 3] = 0
    assert variance_regularizer(logits, grid, target_variance=2.0).item() == pytest.approx((2.0 * 5) ** 2, rel=1e-5)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_a_mask_of_the_shape_of_the_map(regularizer):
    grid = Grid((3, 4))
    logits = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1)) > 0.3
    found = regularizer(logits, grid, mask=mask)
    assert torch.equal(found, regularizer(logits.flatten(2), grid, mask=mask.flatten(1)))


def test_rounding_takes_no_divergence_below_0():
    # Maps that are their own discretised normals, symmetric so that the expectation is the centre.
    grid = Grid((41,), origin=-20.0)
    widths = torch.linspace(0.3, 40, 500)
    for width in widths.tolist():
        logits = -grid.positions().square().sum(-1) / (2 * width)
        assert 0 <= distribution_regularizer(logits.expand(1, 1, -1), grid, target_variance=width).item() < 1e-6


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_far_from_the_origin_no_digits_are_lost(regularizer):
    logits = torch.randn(1, 2, 2000, generator=torch.Generator().manual_seed(0))
    sites = (torch.rand(1, 2000, 3, generator=torch.Generator().manual_seed(1)) * 64).round() / 64  # exact also far off
    near, far = (regularizer(logits, sites + offset, spacing=0.5) for offset in (0.0, 1024.0))
    torch.testing.assert_close(far, near, rtol=1e-5, atol=1e-6)
