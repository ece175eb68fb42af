import math
import re

import pytest
import torch

from pcsargmax.core.bases import Gaussian
from pcsargmax.core.site_sigma import SiteSigma


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("initial", [1e-3, 0.01, 40.0])
def test_it_starts_at_the_initial_value_everywhere(initial):
    features = torch.randn(2, 5, 8, generator=seeded()) * 100
    torch.testing.assert_close(SiteSigma(8, initial)(features), torch.full((2, 5, 1), initial))


def test_by_hand():
    layer = SiteSigma(2, 0.5)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0, -1.0]]))
        layer.linear.bias.zero_()
    found = layer(torch.tensor([[[3.0, 3.0], [5.0, 2.0]]])).flatten().tolist()
    assert found == pytest.approx([0.5 * math.log(2), 0.5 * math.log(1 + math.exp(3))])


def test_it_learns_where_sites_are_uncertain():
    """Sites of feature 0 are 0.1 off in the root mean square, those of feature 1 are 2 off."""
    layer = SiteSigma(1, 0.5)
    feature, squared_offset = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[0.01], [4.0]]])
    optimizer = torch.optim.LBFGS(layer.parameters(), lr=0.5, max_iter=100)

    def negative_log_likelihood():
        optimizer.zero_grad()
        sigma = layer(feature)
        loss = (sigma.log() + squared_offset / sigma.square() / 2).mean()
        loss.backward()
        return loss

    optimizer.step(negative_log_likelihood)
    torch.testing.assert_close(layer(feature), squared_offset.sqrt(), rtol=1e-3, atol=0)


def test_it_is_a_sigma_of_the_basis_and_has_a_gradient_from_samples():
    layer = SiteSigma(3, 0.1)
    features, weights = (
        torch.randn(2, 4, 3, generator=seeded()),
        torch.rand(2, 5, 1, 4, generator=seeded(1)).softmax(-1),
    )
    noise = Gaussian(layer(features)).noise(weights, torch.zeros(2, 4, 3), generator=seeded(2))
    noise.square().sum().backward()
    assert layer.linear.weight.grad.abs().sum() > 0
    assert layer.linear.bias.grad.item() > 0


def test_gradient():
    layer = SiteSigma(3, 0.1).double()
    torch.nn.init.normal_(layer.linear.weight, generator=seeded())
    features = torch.randn(2, 4, 3, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (features, *layer.parameters()))


def test_extremes_and_half_precision():
    layer = SiteSigma(1, 0.1)
    torch.nn.init.ones_(layer.linear.weight)
    sigma = layer(torch.tensor([[[1e4], [-50.0]]]))
    torch.testing.assert_close(sigma[0, 0], torch.tensor([1e3]), rtol=1e-3, atol=0)
    assert sigma[0, 1] > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(torch.ones(1, 1, 1).bfloat16())
    assert torch.equal(mixed, layer(torch.ones(1, 1, 1)))
    assert layer.bfloat16()(torch.ones(1, 1, 1)).dtype == torch.float32


def test_settings_in_print():
    assert "initial=0.1" in str(SiteSigma(3, 0.1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SiteSigma(0), "channels: expected at least 1, got 0"),
        (lambda: SiteSigma(3, 0.0), "initial: expected a standard deviation, positive and finite, got 0.0"),
        (lambda: SiteSigma(3, math.nan), "initial: expected a standard deviation, positive and finite, got nan"),
        (lambda: SiteSigma(3)(torch.zeros(2, 5, 4)), "features: expected shape (B, L, C = 3), got (2, 5, 4)"),
        (lambda: SiteSigma(3)(torch.zeros(5, 3)), "features: expected shape (B, L, C = 3), got (5, 3)"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
