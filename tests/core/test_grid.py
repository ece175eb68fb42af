import json
import math
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from pcsargmax.core.grid import Grid


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_positions_by_hand():
    grid = Grid((2, 3), spacing=(1.0, 10.0), origin=(100.0, -5.0))
    expected = [[100, -5], [101, -5], [102, -5], [100, 5], [101, 5], [102, 5]]
    torch.testing.assert_close(grid.positions(), torch.tensor(expected, dtype=torch.float32))
    x, y = grid.axes(torch.float64)
    assert (x.tolist(), y.tolist()) == ([100, 101, 102], [-5, 5])
    assert (grid.num_sites, grid.dimension, grid.counts) == (6, 2, (3, 2))


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4)])
def test_coordinates_are_the_reverse_of_the_array_axes(shape):
    grid = Grid(shape, spacing=0.5, origin=1.0)
    positions = grid.positions(torch.float64).reshape(*shape, len(shape))
    for index in np.ndindex(*shape):
        assert positions[index].tolist() == [1 + 0.5 * i for i in reversed(index)]
    assert torch.equal(grid.sites(torch.float64), grid.positions(torch.float64))


def test_type_and_device():
    assert Grid((4,)).positions().dtype == torch.float32
    assert Grid((4,), periodic=True).sites(torch.float64, "cpu").dtype == torch.float64
    assert Grid((4,)).positions(device="meta").device.type == "meta"


def test_a_cylinder():
    grid = Grid((2, 4), spacing=(math.pi / 2, 3.0), origin=(-math.pi, 1.0), periodic=(True, False))
    assert grid.periods == (2 * math.pi, None)
    assert grid.embedding == (0, 0, 1)
    assert (grid.dimension, grid.embedded_dimension) == (2, 3)
    expected = [[-1, 0, 1], [0, -1, 1], [1, 0, 1], [0, 1, 1], [-1, 0, 4], [0, -1, 4], [1, 0, 4], [0, 1, 4]]
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(grid.sites(torch.float64), expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(grid.embed(grid.positions(torch.float64)), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "grid",
    [
        Grid((7,), 0.5, 3.0, True),
        Grid((3, 5), (1.0, 2.0), (-4.0, 0.25), (False, True)),
        Grid((2, 3, 4), 0.1, 0.0, (True, False, True)),
        Grid((3, 4), 2.0, 1.0),
    ],
)
def test_recover_undoes_embed_within_the_first_to_the_last_cell(grid):
    positions = grid.positions(torch.float64)
    torch.testing.assert_close(grid.recover(grid.sites(torch.float64)), positions, rtol=1e-14, atol=1e-13)
    noise = (torch.rand(positions.shape, dtype=torch.float64, generator=seeded()) - 0.5) * torch.tensor(grid.cell)
    torch.testing.assert_close(grid.recover(grid.embed(positions + noise)), positions + noise, rtol=1e-14, atol=1e-13)


def test_wrap_and_difference():
    grid = Grid((2, 8), spacing=(45.0, 1.0), periodic=(True, False))  # angles from −22.5 to 337.5
    positions = torch.tensor([[-30.0, -30.0], [337.5, 8.0], [-22.5, 0.0], [400.0, 400.0]])
    expected = torch.tensor([[330.0, -30.0], [-22.5, 8.0], [-22.5, 0.0], [40.0, 400.0]])
    assert torch.equal(grid.wrap(positions), expected)
    assert torch.equal(grid.recover(grid.embed(positions)).round(decimals=3), expected)
    a, b = torch.tensor([[330.0, 5.0]]), torch.tensor([[10.0, 1.0]])
    assert grid.difference(a, b).tolist() == [[-40.0, 4.0]]


@pytest.mark.parametrize(
    ("convention", "ends"),
    [("paper", [-0.5, 0.25, -0.5, 0.0]), ("corners", [-1, 1, -1, 1]), ("centers", [-0.75, 0.75, -0.5, 0.5])],
)
def test_normalized_by_hand(convention, ends):
    grid = Grid.normalized((2, 4), convention)
    x, y = grid.axes(torch.float64)
    assert [x[0].item(), x[-1].item(), y[0].item(), y[-1].item()] == pytest.approx(ends)
    assert grid.shape == (2, 4)


@pytest.mark.parametrize(("convention", "align"), [("corners", True), ("centers", False)])
def test_normalized_coordinates_are_those_of_grid_sample(convention, align):
    grid = Grid.normalized((3, 5), convention)
    image = torch.rand(1, 1, 3, 5, dtype=torch.float64, generator=seeded())
    at = grid.positions(torch.float64).reshape(1, 3, 5, 2)
    sampled = torch.nn.functional.grid_sample(image, at, align_corners=align)
    torch.testing.assert_close(sampled, image)


def test_a_normalized_circle():
    grid = Grid.normalized((4, 8), periodic=(True, False))
    assert grid.periods == (1.0, None)


def test_equal_grids_are_equal_and_survive_json():
    grid = Grid((4, 8), 2.0, periodic=(True, False))
    assert grid == Grid((4, 8), (2.0, 2.0), (0, 0), (True, False))
    assert hash(grid) == hash(Grid([4, 8], [2, 2], periodic=[True, False]))
    assert Grid(**json.loads(json.dumps(asdict(grid)))) == grid
    assert replace(grid, origin=1.0).first == (1.0, 1.0)
    assert Grid(np.zeros((4, 8)).shape, np.float32(2), periodic=(True, False)) == grid
    assert str(Grid((3,))) == "Grid(shape=(3,), spacing=(1.0,), origin=(0.0,), periodic=(False,))"


def test_a_single_cell():
    grid = Grid((1,), origin=5.0)
    assert grid.positions().tolist() == [[5.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grid(()), "shape: expected 1 to 3 positive integers, got ()"),
        (lambda: Grid((1, 2, 3, 4)), "shape: expected 1 to 3 positive integers, got (1, 2, 3, 4)"),
        (lambda: Grid((4, 0)), "shape: expected 1 to 3 positive integers, got (4, 0)"),
        (lambda: Grid((4.0,)), "shape: expected 1 to 3 positive integers, got (4.0,)"),
        (lambda: Grid(4), "shape: expected 1 to 3 positive integers, got 4"),
        (lambda: Grid((4, True)), "shape: expected 1 to 3 positive integers, got (4, True)"),
        (lambda: Grid((4,), 0.0), "spacing: expected positive finite numbers, got 0.0"),
        (lambda: Grid((4, 4), (1.0, -1.0)), "spacing: expected positive finite numbers, got (1.0, -1.0)"),
        (lambda: Grid((4,), math.nan), "spacing: expected positive finite numbers, got nan"),
        (lambda: Grid((4, 4), (1.0,)), "spacing: expected one value or 2, one per axis of the map, got 1: (1.0,)"),
        (lambda: Grid((4,), origin=math.inf), "origin: expected finite numbers, got inf"),
        (lambda: Grid((4,), origin=(0.0, 1.0)), "origin: expected one value or 1, one per axis of the map, got 2"),
        (lambda: Grid((4, 4), periodic=(True,)), "periodic: expected one value or 2, one per axis of the map, got 1"),
        (
            lambda: Grid((4, 1), periodic=True),
            "periodic: expected at least 2 cells along a circular axis, got shape (4, 1)",
        ),
        (
            lambda: Grid.normalized((4, 1), "corners"),
            "shape: 'corners' needs at least 2 cells along each axis, got (4, 1)",
        ),
        (
            lambda: Grid.normalized((4, 1), "edges"),
            "convention: expected 'paper', 'corners' or 'centers', got 'edges'",
        ),
        (lambda: Grid((4, 4)).embed(torch.zeros(3, 3)), "positions: expected a last axis of 2, got shape (3, 3)"),
        (lambda: Grid((4, 4)).wrap(torch.zeros(3)), "positions: expected a last axis of 2, got shape (3,)"),
        (lambda: Grid((4,), periodic=True).recover(torch.zeros(3, 1)), "embedded: expected a last axis of 2"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
