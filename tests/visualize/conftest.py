import numpy as np
import pytest

from pcsargmax.prediction import Prediction


def make_mug(*, scale: float = 1.0, origin: float = 0.0, points: int = 600, seed: int = 0) -> Prediction:
    """A mug-like cloud, y up, with 4 keypoints (the last absent), peaked maps and a truth nearby."""
    rng = np.random.default_rng(seed)
    turn, height = rng.uniform(0, 2 * np.pi, points), rng.uniform(-0.3, 0.3, points)
    cloud = np.stack([0.25 * np.cos(turn), height, 0.25 * np.sin(turn)], axis=1)
    handle = points // 5
    bow = rng.uniform(-np.pi / 2, np.pi / 2, handle)
    cloud[:handle] = np.stack([0.25 + 0.15 * np.cos(bow), 0.2 * np.sin(bow), np.zeros(handle)], axis=1)
    truth = np.array([[0.4, 0, 0], [-0.25, 0.3, 0], [0, -0.3, 0.25], [np.nan] * 3])
    aim = np.nan_to_num(truth)
    distance = np.linalg.norm(cloud - aim[:, None], axis=-1)
    probability = np.exp(-(distance**2) / (2 * 0.05**2))
    probability /= probability.sum(axis=1, keepdims=True)
    position = aim + rng.normal(0, 0.02, aim.shape)
    return Prediction(
        name="mug <1> & co",
        points=cloud * scale + origin,
        keypoint_names=("handle", "rim <b>", "</script>", "spout"),
        position=position * scale + origin,
        confidence=[0.9, 0.8, 0.7, 0.1],
        covariance=np.tile(np.diag([0.03, 0.02, 0.01]) ** 2, (4, 1, 1)) * scale**2,
        visibility=[0.99, 0.9, 0.8, 0.1],
        point_index=np.linalg.norm(cloud - position[:, None], axis=-1).argmin(axis=1),
        probability=probability,
        truth=truth * scale + origin,
    )


@pytest.fixture
def mug():
    """Make mugs of any scale and place."""
    return make_mug
