import pytest
import torch

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.models.keypoint_detector import BACKBONES, KeypointDetector
from pcsargmax.ops.neighbors import farthest_point_order


def cloud(n: int, seed: int = 0) -> torch.Tensor:
    points = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) / 5
    return points[farthest_point_order(points)]


@pytest.fixture
def detector() -> KeypointDetector:
    torch.manual_seed(0)
    return KeypointDetector(5, "light").eval()


def test_scores_are_padded_to_the_largest_cloud(detector):
    pos = torch.cat([cloud(30), cloud(20, 1)])
    batch = torch.tensor([0] * 30 + [1] * 20)
    scores = detector(pos, batch=batch)
    assert scores.logits.shape == (2, 5, 30)
    assert scores.presence.shape == (2, 5)
    assert scores.mask.sum(dim=1).tolist() == [30, 20]
    assert torch.equal(scores.sites[1, :20], pos[30:])


def test_a_cloud_alone_gives_what_it_gives_in_a_ragged_batch(detector):
    clouds = [cloud(n, seed=n) for n in (700, 1, 40)]
    batch = torch.cat([torch.full((len(c),), i) for i, c in enumerate(clouds)])
    together = detector(torch.cat(clouds), batch=batch)
    keypoints = soft_argmax(together.logits, together.sites, mask=together.mask)
    for i, c in enumerate(clouds):
        alone = detector(c)
        torch.testing.assert_close(soft_argmax(alone.logits, alone.sites)[0], keypoints[i], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone.presence[0], together.presence[i], atol=1e-5, rtol=1e-5)


def test_a_cloud_in_any_order_is_ordered_on_entry(detector):
    pos = cloud(100)
    shuffle = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    given, shuffled = detector(pos), detector(pos[shuffle])
    torch.testing.assert_close(shuffled.logits, given.logits[:, :, shuffle])
    assert torch.equal(shuffled.sites[0], pos[shuffle])
    known = detector(pos, neighborhoods=detector.backbone.neighborhoods(pos))  # in farthest-point order already
    torch.testing.assert_close(known.logits, given.logits)


def test_presence_does_not_reach_the_backbone(detector):
    detector.train()
    detector(torch.cat([cloud(50), cloud(50, 1)]), batch=torch.tensor([0] * 50 + [1] * 50)).presence.sum().backward()
    assert all(p.grad is None for p in detector.backbone.parameters())
    assert all(p.grad is None for p in detector.head.parameters())
    assert all(p.grad is not None for p in detector.presence.parameters())


def test_localisation_is_the_same_with_either_presence_head():
    scores = []
    for presence in ("maps", "pooled"):
        torch.manual_seed(0)
        detector = KeypointDetector(5, "light", presence=presence).train()
        pos = torch.cat([cloud(50), cloud(60, 1)])
        scores.append(detector(pos, batch=torch.tensor([0] * 50 + [1] * 60)))
    assert torch.equal(scores[0].logits, scores[1].logits)
    assert not torch.equal(scores[0].presence, scores[1].presence)


def test_presence_needs_no_more_than_one_cloud_in_training(detector):
    assert detector.train()(cloud(50)).presence.isfinite().all()


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_scores_a_cloud(name):
    torch.manual_seed(0)
    scores = KeypointDetector(2, name, in_channels=3).eval()(cloud(200), torch.zeros(200, 3))
    assert scores.logits.shape == (1, 2, 200)
    assert scores.logits.isfinite().all()


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match="num_keypoints must be at least 1, got 0"):
        KeypointDetector(0)
    with pytest.raises(ValueError, match="presence must be one of maps, pooled, got 'none'"):
        KeypointDetector(2, presence="none")
    with pytest.raises(ValueError, match="backbone must be one of fine, light, ssg, msg, got 'dgcnn'"):
        KeypointDetector(2, "dgcnn")
