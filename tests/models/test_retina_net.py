import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from pcsargmax.core.argmax import sampling_argmax, soft_argmax
from pcsargmax.core.cells import Triangular
from pcsargmax.core.grid import Grid
from pcsargmax.core.losses import expected_error
from pcsargmax.models.retina_net import RetinaNet, columns, from_columns, ordered


def tiny(num_surfaces=3, channels=(4, 6, 8), **arguments) -> RetinaNet:
    torch.manual_seed(0)
    return RetinaNet(num_surfaces, channels=channels, **arguments)


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("in_channels", [1, 3])
def test_two_maps_at_full_resolution(in_channels):
    model = tiny(in_channels=in_channels)
    assert model.multiple == 4
    maps = model(torch.rand(2, in_channels, 16, 20))
    assert maps.surfaces.shape == (2, 3, 16, 20)
    assert maps.layers.shape == (2, 4, 16, 20)


def test_the_published_size():
    with torch.device("meta"):
        maps = RetinaNet(9)(torch.zeros(1, 1, 128, 1024))
    assert maps.surfaces.shape == (1, 9, 128, 1024)
    assert maps.layers.shape == (1, 10, 128, 1024)


def test_one_level_is_one_residual_block():
    """relu(conv(relu(conv x)) + 1 x 1 conv x), the normalisations as they begin: written out."""
    model = tiny(channels=(4,)).eval()
    assert model.multiple == 1
    image = torch.rand(1, 1, 5, 7)
    block = model.encoder[0]
    one, two = block.layers[0].weight, block.layers[3].weight
    scale = 1 / (1 + block.layers[1].eps) ** 0.5
    inner = functional.relu(functional.conv2d(image, one, padding=1) * scale)
    residual = functional.conv2d(inner, two, padding=1) * scale
    features = functional.relu(residual + functional.conv2d(image, block.shortcut.weight))
    maps = model(image)
    torch.testing.assert_close(maps.surfaces, model.surfaces(features))
    torch.testing.assert_close(maps.layers, model.layers(features))


def test_every_level_is_heard_and_learns():
    model = tiny(channels=(4, 4, 4))
    assert isinstance(model.encoder[1].shortcut, nn.Identity)
    maps = model(torch.rand(2, 1, 16, 16, generator=seeded()))
    (maps.surfaces.square().mean() + maps.layers.square().mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_columns_and_back():
    maps = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    found = columns(maps)
    assert found.shape == (10, 3, 4)
    for b in range(2):
        for w in range(5):
            assert torch.equal(found[5 * b + w], maps[b, :, :, w])
    # the row of the largest score, of each surface and column
    rows = found.argmax(dim=-1, keepdim=True)
    assert torch.equal(from_columns(rows, 5), maps.argmax(dim=2))
    samples = torch.stack([rows, rows + 100], dim=1)  # (B·W, N, S, 1)
    back = from_columns(samples, 5)
    assert back.shape == (2, 2, 3, 5)
    assert torch.equal(back[:, 1], maps.argmax(dim=2) + 100)


def test_the_core_reads_the_rows_of_the_surfaces():
    model, height = tiny(2), 8
    place = torch.tensor([[[1, 3, 2, 0], [5, 4, 7, 6]]])  # (1, S, W)
    maps = functional.one_hot(place, height).movedim(-1, 2) * 1e4  # (1, S, W, H) -> (1, S, H, W)
    grid = model.grid(height)
    assert grid == Grid((8,))
    rows = from_columns(soft_argmax(columns(maps.float()), grid), 4)
    torch.testing.assert_close(rows, place.float())
    drawn = sampling_argmax(
        columns(maps.float()), grid, basis=Triangular(), num_samples=4, temperature=0.5, generator=seeded()
    )
    rows = from_columns(drawn, 4)
    assert rows.shape == (1, 4, 2, 4)
    assert ((rows - place.unsqueeze(1)).abs() <= 4).all()
    assert not torch.equal(rows[:, 0], rows[:, 1])


def test_ordered_by_hand():
    # Three surfaces in four columns: in order; the second above the first; the third above both; all reversed.
    given = torch.tensor([[1.0, 4, 2, 3], [2, 3, 3, 2], [3, 5, 1, 1]], requires_grad=True)
    found = ordered(given)
    assert found.tolist() == [[1, 4, 2, 3], [2, 4, 3, 3], [3, 5, 3, 3]]
    gradient = torch.autograd.grad(found.sum(), given)[0]
    assert gradient.tolist() == [[1, 2, 1, 3], [1, 0, 2, 0], [1, 1, 0, 0]]


def test_ordered_is_the_relu_on_the_gaps():
    given = torch.randn(2, 5, 6, 7, dtype=torch.float64, generator=seeded())
    surfaces = [given[..., 0, :]]
    for number in range(1, 6):
        surfaces.append(surfaces[-1] + functional.relu(given[..., number, :] - surfaces[-1]))
    torch.testing.assert_close(ordered(given), torch.stack(surfaces, dim=-2))
    assert (ordered(given).diff(dim=-2) >= 0).all()
    assert torch.equal(ordered(ordered(given)), ordered(given))
    assert torch.autograd.gradcheck(ordered, given[0, 0].requires_grad_())


def test_it_learns_where_an_edge_is():
    generator = seeded()
    model = tiny(2, (8, 8, 8))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses, rows = [], torch.arange(16.0).reshape(1, 1, 16, 1)
    for _ in range(40):
        first = torch.randint(2, 7, (4, 1), generator=generator)
        target = torch.cat([first, first + torch.randint(3, 7, (4, 1), generator=generator)], dim=1)
        bounds = target.reshape(4, 2, 1, 1)
        image = (rows >= bounds[:, :1]).float() - 0.5 * (rows >= bounds[:, 1:]).float()  # (4, 1, 16, 1)
        maps = model(image.expand(-1, -1, -1, 8))
        wanted = target.repeat_interleave(8, dim=0).unsqueeze(-1).float()  # (B·W, S, 1)
        loss = expected_error(
            columns(maps.surfaces), model.grid(16), wanted, basis=Triangular(), num_samples=3, generator=generator
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RetinaNet(0), "num_surfaces: expected at least 1, got 0"),
        (lambda: RetinaNet(2, channels=()), "channels: expected a positive number for each level, got ()"),
        (lambda: RetinaNet(2, channels=(4, 0)), "channels: expected a positive number for each level, got (4, 0)"),
        (lambda: RetinaNet(2, in_channels=0), "in_channels: expected at least 1, got 0"),
        (
            lambda: tiny()(torch.zeros(1, 1, 16, 18)),
            "images: expected a height and width that are multiples of 4, got (16, 18)",
        ),
        (lambda: tiny()(torch.zeros(1, 1, 0, 16)), "multiples of 4, got (0, 16)"),
        (lambda: tiny()(torch.zeros(1, 3, 16, 16)), "images: expected shape (B, 1, H, W), got (1, 3, 16, 16)"),
        (lambda: columns(torch.zeros(2, 3, 4)), "maps: expected shape (B, S, H, W), got (2, 3, 4)"),
        (lambda: from_columns(torch.zeros(6, 2), 3), "rows: expected shape (B·W, S, 1) or (B·W, N, S, 1), got (6, 2)"),
        (lambda: from_columns(torch.zeros(6, 2, 2), 3), "got (6, 2, 2)"),
        (lambda: from_columns(torch.zeros(6, 2, 1), 4), "rows: expected a multiple of width = 4 columns, got 6"),
        (lambda: from_columns(torch.zeros(6, 2, 1), 0), "rows: expected a multiple of width = 0 columns, got 6"),
        (lambda: ordered(torch.zeros(3)), "positions: expected shape (..., S, W) with S >= 1, got (3,)"),
        (lambda: ordered(torch.zeros(0, 3)), "positions: expected shape (..., S, W) with S >= 1, got (0, 3)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
