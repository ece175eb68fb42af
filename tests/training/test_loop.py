import pytest
import torch

from pcsargmax.training.loop import moving_average


def test_the_moving_average_forgets_its_start():
    update = moving_average(0.9)
    average = torch.tensor(100.0)
    for n in range(30):
        average = update(average, torch.tensor(1.0), n)
    assert update(torch.tensor(5.0), torch.tensor(1.0), 0).item() == pytest.approx(5 - 0.9 * 4)
    assert update(torch.tensor(5.0), torch.tensor(1.0), 1000).item() == pytest.approx(5 - 0.1 * 4)
    assert average.item() == pytest.approx(1, abs=1e-4)
