import pytest
import torch
from reference.clouds import cloud

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.models.second_look import DensePoints, LocalScores, SecondLook
from pcsargmax.models.template_start import TemplateStart

K, CHANNELS = 3, 8


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def look() -> SecondLook:
    torch.manual_seed(0)
    made = SecondLook(K, CHANNELS, num_points=12, radius=0.1)
    with torch.no_grad():  # as after some training, with offsets that are not 0
        for weight in made.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    return made.eval()


def random_points(batch: int, count: int, sites: int = 20, seed: int = 0) -> tuple[torch.Tensor, DensePoints]:
    """Features (B, L, C), and dense points in a cube of side 0.5."""
    generator = seeded(seed)
    pos = torch.rand(batch, count, 3, generator=generator) / 2
    nearest = torch.randint(sites, (batch, count), generator=generator)
    return torch.randn(batch, sites, CHANNELS, generator=generator), DensePoints(pos, nearest)


def keypoints(scores: LocalScores) -> torch.Tensor:
    """(B, K, 3) the expectation of each map."""
    logits, sites, mask = scores.maps()
    return soft_argmax(logits, sites, mask=mask).reshape(scores.offset.shape)


def test_the_order_of_the_points_changes_nothing(look):
    features, points = random_points(2, 50)
    center = torch.rand(2, K, 3, generator=seeded(1)) / 2
    order = torch.randperm(50, generator=seeded(2))
    shuffled = DensePoints(points.pos[:, order], points.nearest_site[:, order])
    found = look(center, points, features)
    torch.testing.assert_close(keypoints(look(center, shuffled, features)), keypoints(found), atol=1e-5, rtol=0)
    assert found.offset.abs().max() > 1e-4


def test_a_cloud_alone_gives_what_it_gives_in_a_padded_batch(look):
    counts = (50, 9, 1)  # more than a look takes, fewer, and a single point
    clouds = [random_points(1, count, seed=count) for count in counts]
    center = torch.rand(3, K, 3, generator=seeded(1)) / 2
    pos, nearest = torch.full((3, 50, 3), 0.2), torch.zeros(3, 50, dtype=torch.long)  # the padding lies among the rest
    for row, (_, points) in enumerate(clouds):
        pos[row, : counts[row]], nearest[row, : counts[row]] = points.pos[0], points.nearest_site[0]
    mask = torch.arange(50) < torch.tensor(counts)[:, None]
    together = look(center, DensePoints(pos, nearest, mask), torch.cat([features for features, _ in clouds]))
    for row, (features, points) in enumerate(clouds):
        alone = look(center[row : row + 1], points, features)
        torch.testing.assert_close(keypoints(alone)[0], keypoints(together)[row], atol=1e-5, rtol=0)


def test_the_points_nearest_to_each_center_are_looked_at(look):
    features, points = random_points(1, 50)
    center = torch.rand(1, K, 3, generator=seeded(1)) / 2
    found = look(center, points, features)
    for k in range(K):
        away = (points.pos[0] - center[0, k]).norm(dim=-1)
        expected = points.pos[0][away.argsort()[:12]]
        assert {tuple(row) for row in found.sites[0, k].tolist()} == {tuple(row) for row in expected.tolist()}
    assert found.mask is None


def test_a_cloud_with_fewer_points_gives_all_of_them(look):
    features, points = random_points(2, 5)
    found = look(torch.zeros(2, K, 3), points, features)
    assert found.logits.shape == (2, K, 5)
    assert torch.equal(found.sites[0, 1].sort(dim=0).values, points.pos[0].sort(dim=0).values)


def test_coordinates_are_local(look):
    features, points = random_points(1, 50)
    center, shift = torch.rand(1, K, 3, generator=seeded(1)) / 2, torch.tensor([0.25, -0.5, 1.0])
    moved = look(center + shift, points._replace(pos=points.pos + shift), features)
    torch.testing.assert_close(keypoints(moved), keypoints(look(center, points, features)) + shift, atol=1e-5, rtol=0)


def test_a_point_has_the_feature_of_its_nearest_site(look):
    features, points = random_points(1, 30)
    center = points.pos[:, :1].expand(1, K, 3)
    before = look(center, points, features)
    near = torch.cdist(center[:, :1], points.pos)[0, 0].argsort()[:12]
    used = points.nearest_site[0, near].unique()
    unused = torch.ones(20, dtype=torch.bool).index_fill(0, used, False)
    assert 0 < unused.sum() < 20
    changed = [features + 3 * one[None, :, None] for one in (unused, ~unused)]
    assert torch.equal(look(center, points, changed[0]).logits, before.logits)
    assert not torch.allclose(look(center, points, changed[1]).logits, before.logits, atol=1e-3)


def test_keypoints_are_told_apart(look):
    features, points = random_points(1, 30)
    found = look(torch.full((1, K, 3), 0.25), points, features)
    assert (found.logits[0, 0] - found.logits[0, 1]).abs().max() > 1e-4


def test_some_keypoints_are_looked_at_as_all_are(look):
    features, points = random_points(2, 50)
    center = torch.rand(2, K, 3, generator=seeded(1)) / 2
    whole, which = look(center, points, features), torch.tensor([2, 0])
    part = look(center[:, which], points, features, which)
    torch.testing.assert_close(keypoints(part), keypoints(whole)[:, which], atol=1e-6, rtol=0)
    assert part.logits.shape == (2, 2, 12)
    assert not torch.allclose(keypoints(look(center[:, which], points, features, which.flip(0))), keypoints(part))


def test_gradients_reach_weights_and_features_but_no_center(look):
    features, points = random_points(2, 50)
    features.requires_grad_()
    center = (torch.rand(2, K, 3, generator=seeded(1)) / 2).requires_grad_()
    (keypoints(look(center, points, features)) * torch.randn(2, K, 3, generator=seeded(3))).sum().backward()
    assert center.grad is None
    assert features.grad.abs().sum() > 0
    assert all(weight.grad is not None for weight in look.parameters())
    assert sum(bool(weight.grad.abs().sum() > 0) for weight in look.parameters()) > 1


def local_scores(masked: bool) -> LocalScores:
    generator = seeded(4)
    mask = torch.rand(2, K, 7, generator=generator) < 0.6 if masked else None
    if mask is not None:
        mask[..., 0] = True
    logits = torch.randn(2, K, 7, generator=generator)
    offset = torch.randn(2, K, 3, generator=generator)
    return LocalScores(logits, torch.rand(2, K, 7, 3, generator=generator), offset, mask)


@pytest.mark.parametrize("masked", [False, True])
def test_maps_are_those_of_a_loop_over_keypoints(masked):
    scores = local_scores(masked)
    found = keypoints(scores)
    for b in range(2):
        for k in range(K):
            real = slice(None) if scores.mask is None else scores.mask[b, k]
            plain = soft_argmax(scores.logits[b, k, real][None, None], scores.sites[b, k, real][None])[0, 0]
            torch.testing.assert_close(found[b, k], plain + scores.offset[b, k])


def test_the_offset_moves_the_estimate():
    scores = local_scores(False)
    shift = torch.tensor([0.1, 0.0, -0.2])
    moved = scores._replace(offset=scores.offset + shift)
    torch.testing.assert_close(keypoints(moved), keypoints(scores) + shift)


@pytest.fixture(scope="module")
def detector() -> KeypointDetector:
    torch.manual_seed(0)
    return KeypointDetector(K, "light", look_points=12).eval()


def test_the_sites_are_looked_at_where_there_are_no_dense_points(detector):
    pos = torch.cat([cloud(40).pos, cloud(30, seed=1).pos]).float() / 20
    scores = detector(pos, batch=torch.tensor([0] * 40 + [1] * 30))
    center = torch.rand(2, K, 3, generator=seeded(1))
    rows = torch.arange(40).expand(2, -1)
    given = detector.look_again(scores, center, DensePoints(scores.sites, rows, scores.mask))
    found = detector.look_again(scores, center)
    assert torch.equal(keypoints(found), keypoints(given))
    direct = detector.second_look(center, DensePoints(scores.sites, rows, scores.mask), scores.features)
    assert torch.equal(found.logits, direct.logits)


def test_the_first_look_is_the_same_with_and_without_a_second():
    scores = []
    for own in ({}, {"look_points": 12}):
        torch.manual_seed(0)
        scores.append(KeypointDetector(K, "light", **own).eval()(cloud(40).pos.float() / 20))
    assert torch.equal(scores[0].logits, scores[1].logits)
    assert torch.equal(scores[0].presence, scores[1].presence)


def test_a_detector_has_what_it_was_built_with(detector):
    assert detector.second_look.num_points == 12
    plain = KeypointDetector(K, "light", template_start=torch.rand(K, 3))
    assert isinstance(plain.template_start, TemplateStart)
    assert plain.second_look is None
    with pytest.raises(ValueError, match="this detector has no second look; build it with look_points > 0"):
        plain.look_again(detector(cloud(40).pos.float()), torch.zeros(1, K, 3))


def test_dense_points_go_to_a_device():
    points = DensePoints(torch.rand(1, 4, 3), torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool))
    moved = points.to("meta")
    assert [part.device.type for part in moved] == ["meta"] * 3
    assert points._replace(mask=None).to("meta").mask is None
