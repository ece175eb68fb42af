import numpy as np
import torch

from pcsargmax.runs.prepare_images import CHANNEL_MEAN, to_tensor


def test_images_are_centred():
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    image[1, 2] = (255, 51, 0)
    found = to_tensor(image)
    assert found.shape == (3, 2, 3)
    torch.testing.assert_close(found[:, 1, 2], torch.tensor([1.0, 0.2, 0.0]) - torch.tensor(CHANNEL_MEAN))
