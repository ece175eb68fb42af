import pytest
import torch

from pcsargmax.metrics import Repeatability
from pcsargmax.metrics.movement import movement, repeatability
from pcsargmax.metrics.perturbations import noisy, partial_view, rotated, seen_from, thinned

NAN = float("nan")


def cloud(num=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pos = torch.rand(num, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2, 3]) + 5
    return pos, pos[:6].clone()


def sphere(num=1000):
    pos = torch.randn(num, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return pos / pos.norm(dim=1, keepdim=True)


def distances(a, b):
    return (a[:, None] - b).norm(dim=-1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def centroid_and_corners(pos):
    """A detector that turns with the cloud: the mean and the five points farthest from it."""
    mean = pos.mean(dim=0)
    far = (pos - mean).norm(dim=1).argsort(descending=True)[:5]
    return torch.cat([mean[None], pos[far]])


class TestCopies:
    def test_a_turn_keeps_distances_and_the_middle(self):
        pos, keypoints = cloud()
        copy = rotated(pos, keypoints, generator=generator())
        torch.testing.assert_close(distances(copy.pos, copy.keypoints), distances(pos, keypoints))
        torch.testing.assert_close(copy.pos[:6], copy.keypoints)
        middle = (pos.amin(dim=0) + pos.amax(dim=0)) / 2
        torch.testing.assert_close((copy.pos - middle).norm(dim=1), (pos - middle).norm(dim=1))
        assert (copy.pos - pos).norm(dim=1).mean() > 0.1

    def test_a_turn_about_y_keeps_the_height(self):
        pos, keypoints = cloud()
        copy = rotated(pos, keypoints, degrees=90, axis="y", generator=generator())
        torch.testing.assert_close(copy.pos[:, 1], pos[:, 1])

    def test_noise_has_the_size_that_was_asked_for(self):
        pos, keypoints = cloud(num=5000)
        copy = noisy(pos, keypoints, sigma=0.02, generator=generator())
        assert (copy.pos - pos).std().item() == pytest.approx(0.02, rel=0.05)
        assert torch.equal(copy.keypoints, keypoints)
        clipped = noisy(pos, keypoints, sigma=0.02, clip=0.01, generator=generator())
        assert (clipped.pos - pos).abs().max().item() == pytest.approx(0.01)

    def test_thinning_keeps_the_share(self):
        pos, keypoints = cloud()
        copy = thinned(pos, keypoints, share=0.75, generator=generator())
        assert copy.pos.shape == (50, 3)
        assert (distances(copy.pos, pos).amin(dim=1) == 0).all()
        assert torch.equal(copy.keypoints, keypoints)

    def test_a_partial_view_of_a_sphere_is_a_cap_towards_the_eye(self):
        pos = sphere()
        copy = partial_view(pos, pos[:4], distance=5.0, generator=generator())
        direction = torch.randn(3, generator=generator(), dtype=torch.float64)
        height = copy.pos @ (direction / direction.norm())
        assert 0.3 < len(copy.pos) / len(pos) < 0.5
        assert height.min() > -0.05
        assert torch.equal(copy.keypoints, pos[:4])

    @pytest.mark.parametrize("change", [rotated, thinned, partial_view])
    def test_a_seed_repeats_and_the_original_stays(self, change):
        pos, keypoints = cloud()
        before = pos.clone()
        one, two, three = (change(pos, keypoints, generator=generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(one.pos, two.pos)
        assert one.pos.shape != three.pos.shape or not torch.equal(one.pos, three.pos)
        assert torch.equal(pos, before)


class TestSeen:
    @pytest.mark.parametrize("distance", [2.0, 5.0])
    def test_of_a_sphere_what_is_before_the_horizon(self, distance):
        pos = sphere(2000)
        seen = seen_from(pos, torch.tensor([distance, 0, 0], dtype=torch.float64))
        horizon = pos[:, 0] - 1 / distance
        assert seen[horizon > 0.02].all()
        assert not seen[horizon < -0.1].any()

    def test_of_two_spheres_the_nearer_hides_the_farther(self):
        pos = sphere()
        both = torch.cat([pos, pos - torch.tensor([4.0, 0, 0], dtype=torch.float64)])
        seen = seen_from(both, torch.tensor([100.0, 0, 0], dtype=torch.float64))
        assert seen[:1000].double().mean() > 0.45
        assert seen[1000:].double().mean() < 0.1

    def test_a_plane_is_seen_whole(self):
        grid = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0), torch.zeros(1))
        assert seen_from(grid, torch.tensor([2.0, 3.0, 9.0])).all()

    def test_too_few_points_hide_nothing(self):
        assert seen_from(torch.zeros(3, 3), torch.ones(3)).all()

    def test_the_eye_must_lie_apart(self):
        pos = sphere(10)
        with pytest.raises(ValueError, match="eye must lie apart from every point"):
            seen_from(pos, pos[3])
        with pytest.raises(ValueError, match=r"must be \(N, 3\) and \(3,\), got \(10, 3\) and \(1, 3\)"):
            seen_from(pos, pos[:1])


def test_repeatability_by_hand():
    expected = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]])
    found = torch.tensor([[[0.05, 0, 0], [1, 0.5, 0], [3, 0, 0], [2, 0, 0]]])
    assert repeatability(found, expected, (0.1, 0.5)).tolist() == [[0.25, 0.5]]
    assert repeatability(found, expected, (0.1, 0.5), ordered=False).tolist() == [[0.75, 1]]
    assert movement(found, expected)[0].tolist() == pytest.approx([0.05, 0.5, 1, 1])
    assert movement(found, expected, ordered=False)[0].tolist() == pytest.approx([0.05, 0.5, 0, 0])
    assert movement(torch.zeros(1, 4, 3), expected, ordered=False).tolist() == [[0, 0, 0, 0]]


def test_a_detector_that_turns_with_the_cloud_repeats_itself():
    pos, _ = cloud()
    copy = rotated(pos, centroid_and_corners(pos), generator=generator())
    assert repeatability(centroid_and_corners(copy.pos)[None], copy.keypoints[None], (1e-6,)).tolist() == [[1]]


def test_a_detector_that_does_not_turn_does_not():
    pos, _ = cloud()
    first = pos[pos[:, 0].argsort()[:6]]
    copy = rotated(pos, first, generator=generator())
    found = copy.pos[copy.pos[:, 0].argsort()[:6]]
    assert repeatability(found[None], copy.keypoints[None], (0.1,)).item() < 0.5


def test_metric_is_the_mean_over_copies_with_intervals():
    draw = generator(4)
    expected = torch.rand(20, 5, 3, generator=draw, dtype=torch.float64)
    found = expected + 0.05 * torch.randn(20, 5, 3, generator=draw, dtype=torch.float64)
    metric = Repeatability((0.05, 0.1)).set_dtype(torch.float64)
    metric.update(found[:8], expected[:8])
    metric.update(found[8:], expected[8:])
    result = metric.compute()
    shares = repeatability(found, expected, (0.05, 0.1)).mean(dim=0).tolist()
    assert [result[f"repeatability@{t}"].item() for t in ("0.05", "0.1")] == pytest.approx(shares)
    loose = repeatability(found, expected, (0.05, 0.1), ordered=False).mean(dim=0).tolist()
    assert [result[f"repeatability_any@{t}"].item() for t in ("0.05", "0.1")] == pytest.approx(loose)
    assert result["movement"].item() == pytest.approx(movement(found, expected).mean().item())
    assert result["movement/low"] < result["movement"] < result["movement/high"]
    assert result["num_models"] == 20


@pytest.mark.parametrize(
    ("pos", "keypoints", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(1, 3), r"pos must be \(N, 3\) with at least one point, got \(0, 3\)"),
        (torch.zeros(2, 2), torch.zeros(1, 3), r"pos must be \(N, 3\) with at least one point, got \(2, 2\)"),
        (torch.zeros(2, 3), torch.zeros(1, 1, 3), r"keypoints must be \(N, 3\) .* got \(1, 1, 3\)"),
        (torch.full((2, 3), NAN), torch.zeros(1, 3), "pos must be finite, got NaN or infinity at 2 of 2 points"),
    ],
)
@pytest.mark.parametrize("change", [rotated, thinned, partial_view, lambda *args: noisy(*args, sigma=0.1)])
def test_bad_clouds(change, pos, keypoints, message):
    with pytest.raises(ValueError, match=message):
        change(pos, keypoints)


def test_other_bad_arguments():
    pos, keypoints = cloud()
    with pytest.raises(ValueError, match=r"distance must be more than 1 and finite, got 1\.0"):
        partial_view(pos, keypoints, distance=1.0)
    with pytest.raises(ValueError, match="share"):
        thinned(pos, keypoints, share=1.0)
    with pytest.raises(ValueError, match=r"both be \(B, K, 3\), K at least 1, got \(1, 6, 3\) and \(1, 5, 3\)"):
        repeatability(keypoints[None], keypoints[None, :5])
    with pytest.raises(ValueError, match="preds must be finite, got NaN or infinity at 6 keypoints"):
        repeatability(keypoints[None] * NAN, keypoints[None])
    with pytest.raises(ValueError, match="thresholds must be positive"):
        repeatability(keypoints[None], keypoints[None], (0.0,))
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -1"):
        Repeatability(num_bootstrap=-1)


def test_no_copy_is_an_error():
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.raises(ValueError, match="Repeatability needs at least one model, got none"),
    ):
        Repeatability().compute()
