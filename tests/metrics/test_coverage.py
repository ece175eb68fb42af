import pytest
import torch

from pcsargmax.metrics import Coverage
from pcsargmax.metrics.coverage import box_coverage, box_iou, cloud_radius, inclusivity, surface_distance

NAN = float("nan")


def corners(*extent):
    """The corners (1, 8, 3) of a box at the origin."""
    return torch.cartesian_prod(*(torch.tensor([0.0, side]) for side in extent))[None]


def shapes(num=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    cloud = torch.rand(num, 50, 3, generator=generator, dtype=torch.float64)
    return torch.rand(num, 4, 3, generator=generator, dtype=torch.float64), cloud


def test_coverage_by_hand():
    cloud = corners(2, 3, 6)  # the diagonal is 7
    keypoints = torch.tensor([[[10.0, 0, 0], [10, 2, 0]]])  # its is 2, and where it lies plays no part
    assert box_coverage(keypoints, cloud).tolist() == pytest.approx([2 / 7])
    assert box_coverage(corners(2, 3, 6) * 1.5, cloud).tolist() == pytest.approx([0.5])
    assert box_coverage(corners(2, 3, 6) * 3, cloud).tolist() == [0]
    assert box_coverage(cloud, cloud).tolist() == [1]
    assert box_coverage(keypoints[:, :1], cloud).tolist() == [0]


def test_box_iou_by_hand():
    cloud = corners(2, 2, 2)
    assert box_iou(cloud, cloud).tolist() == [1]
    assert box_iou(cloud + 1, cloud).tolist() == pytest.approx([1 / (8 + 8 - 1)])
    assert box_iou(cloud + 5, cloud).tolist() == [0]
    assert box_iou(cloud / 2, cloud).tolist() == pytest.approx([1 / 8])


def test_box_iou_of_a_flat_cloud_is_that_of_the_rectangles():
    cloud = corners(2, 2, 0)
    keypoints = torch.tensor([[[0.0, 0, 0], [1, 2, 0]]])
    assert box_iou(keypoints, cloud).tolist() == pytest.approx([0.5])


def test_inclusivity_by_hand():
    cloud = torch.tensor([[[-2.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, -1, 0]]])  # mean 0, radius 2
    keypoints = torch.tensor([[[2.0, 0, 0], [2.05, 0, 0], [0, 1.1, 0], [0, 0, 0]]])
    assert surface_distance(keypoints, cloud)[0].tolist() == pytest.approx([0, 0.025, 0.05, 0.5])
    assert inclusivity(keypoints, cloud, thresholds=(0.03, 0.1)).tolist() == [[0.5, 0.75]]


def test_a_distance_equal_to_the_threshold_is_not_within():
    cloud = torch.tensor([[[-2.0, 0, 0], [2, 0, 0]]])
    assert inclusivity(torch.tensor([[[2.5, 0, 0]]]), cloud, thresholds=(0.25, 0.3)).tolist() == [[0, 1]]


def test_random_keypoints_agree_with_plain_loops():
    keypoints, cloud = shapes()
    distance = surface_distance(keypoints, cloud)
    for b in range(6):
        mean = cloud[b].mean(dim=0)
        radius = max((point - mean).norm() for point in cloud[b])
        for k in range(4):
            nearest = min((point - keypoints[b, k]).norm() for point in cloud[b])
            assert distance[b, k].item() == pytest.approx((nearest / radius).item())


def test_padding_counts_for_nothing():
    keypoints, cloud = shapes()
    padded = torch.cat([cloud, torch.full((6, 7, 3), NAN, dtype=torch.float64)], dim=1)
    mask = torch.arange(57).expand(6, 57) < 50
    for function in (box_coverage, box_iou, surface_distance):
        torch.testing.assert_close(function(keypoints, padded, mask), function(keypoints, cloud))
    torch.testing.assert_close(cloud_radius(padded, mask), cloud_radius(cloud, mask[:, :50]))
    assert torch.equal(
        inclusivity(keypoints, padded, thresholds=(0.2,), mask=mask), inclusivity(keypoints, cloud, thresholds=(0.2,))
    )


def test_shift_and_scale_change_nothing():
    keypoints, cloud = shapes()
    near, far = Coverage()(keypoints, cloud), Coverage()(50 * keypoints + 1000, 50 * cloud + 1000)
    for name, value in near.items():
        assert far[name].item() == pytest.approx(value.item(), abs=1e-6)


def test_metric_is_the_mean_over_models_with_intervals():
    keypoints, cloud = shapes(num=20)
    metric = Coverage((0.1, 0.2)).set_dtype(torch.float64)
    metric.update(keypoints[:5], cloud[:5])
    metric.update(keypoints[5:], cloud[5:])
    result = metric.compute()
    assert result["coverage"].item() == pytest.approx(box_coverage(keypoints, cloud).mean().item())
    assert result["box_iou"].item() == pytest.approx(box_iou(keypoints, cloud).mean().item())
    shares = inclusivity(keypoints, cloud, thresholds=(0.1, 0.2)).mean(dim=0).tolist()
    assert [result["inclusivity@0.1"].item(), result["inclusivity@0.2"].item()] == pytest.approx(shares)
    for name in ("coverage", "box_iou", "inclusivity@0.2", "surface_distance", "spacing"):
        assert result[f"{name}/low"] < result[name] < result[f"{name}/high"]
    assert result["num_models"] == 20


def test_collapsed_keypoints_cover_and_space_nothing():
    _, cloud = shapes()
    result = Coverage(num_bootstrap=0)(cloud[:, :1].expand(-1, 4, -1), cloud)
    assert (result["coverage"], result["box_iou"], result["spacing"]) == (0, 0, 0)
    assert result["inclusivity@0.03"] == 1
    assert not any("/" in name for name in result)


def test_one_keypoint_has_no_spacing():
    keypoints, cloud = shapes()
    result = Coverage()(keypoints[:, :1], cloud)
    assert all(result[f"spacing{end}"].isnan() for end in ("", "/low", "/high"))
    assert result["surface_distance/low"].isfinite()


@pytest.mark.parametrize(
    ("keypoints", "cloud", "message"),
    [
        ((2, 3, 3), (1, 4, 3), r"\(B, N, 3\), .* got \(2, 3, 3\) and \(1, 4, 3\)"),
        ((2, 3, 2), (2, 4, 2), r"got \(2, 3, 2\) and \(2, 4, 2\)"),
        ((2, 0, 3), (2, 4, 3), r"K and N at least 1, got \(2, 0, 3\) and \(2, 4, 3\)"),
        ((2, 3, 3), (2, 4, 3), "cloud must have extent, got all points in one place or none in 2 of 2"),
        ((2, 3, 3), (2, 0, 3), r"K and N at least 1, got \(2, 3, 3\) and \(2, 0, 3\)"),
    ],
)
def test_shapes_that_do_not_fit(keypoints, cloud, message):
    with pytest.raises(ValueError, match=message):
        Coverage().update(torch.zeros(keypoints), torch.zeros(cloud))


def test_other_bad_arguments():
    keypoints, cloud = shapes()
    with pytest.raises(ValueError, match=r"mask must be bool of shape \(6, 50\), got torch.float32"):
        box_coverage(keypoints, cloud, torch.ones(6, 50))
    with pytest.raises(ValueError, match="none in 1 of 6"):
        box_iou(keypoints, cloud, (torch.arange(6) > 0)[:, None].expand(6, 50))
    with pytest.raises(ValueError, match="thresholds must be positive"):
        inclusivity(keypoints, cloud, thresholds=(0.0,))
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -1"):
        Coverage(num_bootstrap=-1)
    cloud[0, 0, 0] = NAN
    with pytest.raises(ValueError, match="cloud must be finite, got NaN or infinity at 1 of 300"):
        surface_distance(keypoints, cloud)
    keypoints[1, 0] = NAN
    with pytest.raises(ValueError, match="preds must be finite, got NaN or infinity at 1 of 24"):
        surface_distance(keypoints, cloud)


def test_no_model_is_an_error():
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.raises(ValueError, match="Coverage needs at least one model, got none"),
    ):
        Coverage().compute()
