import contextlib
import io
import math

import numpy as np
import pytest
import torch
from scipy import stats

from pcsargmax.metrics import OksCorrelation
from pcsargmax.metrics.similarity import COCO_SIGMAS, keypoint_similarity, oks


def people(num: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predicted and annotated keypoints, which are visible, and areas."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 200, (num, 17, 2))
    prediction = target + rng.normal(0, 8, target.shape)
    visible = rng.random((num, 17)) < 0.7
    visible[:, 0] = True
    return tuple(torch.from_numpy(x) for x in (prediction, target, visible, rng.uniform(1000, 9000, num)))


def test_similarity_by_hand():
    target = torch.zeros(1, 3, 2)
    prediction = torch.tensor([[[0.0, 0], [6, 8], [3, 4]]])
    visible = torch.tensor([[True, True, False]])
    found = keypoint_similarity(prediction, target, visible, torch.tensor([2500.0]), (0.1, 0.1, 0.1))
    # 2σ · √area = 10 is the distance of the second keypoint
    assert found[0, :2].tolist() == pytest.approx([1, math.exp(-0.5)])
    assert found[0, 2].isnan()
    mean = oks(prediction, target, visible, torch.tensor([2500.0]), (0.1, 0.1, 0.1))
    assert float(mean) == pytest.approx((1 + math.exp(-0.5)) / 2)


def test_the_widths_are_those_of_cocos_evaluation():
    pytest.importorskip("pycocotools")
    from pycocotools.cocoeval import Params

    assert pytest.approx(Params(iouType="keypoints").kpt_oks_sigmas.tolist()) == COCO_SIGMAS


def test_oks_agrees_with_cocos_evaluation():
    pytest.importorskip("pycocotools")
    from pycocotools.cocoeval import COCOeval

    prediction, target, visible, area = people()
    evaluation = COCOeval(iouType="keypoints")
    with contextlib.redirect_stdout(io.StringIO()):
        for image, (p, t, v, a) in enumerate(zip(prediction, target, visible, area, strict=True)):
            flat = torch.cat([t, v[:, None].to(t)], dim=1).flatten().tolist()
            evaluation._gts[image, 1].append({"keypoints": flat, "area": float(a), "bbox": [0, 0, 9, 9]})
            flat = torch.cat([p, torch.ones(17, 1)], dim=1).flatten().tolist()
            evaluation._dts[image, 1].append({"keypoints": flat, "score": 1})
    wanted = [evaluation.computeOks(image, 1)[0, 0] for image in range(len(target))]
    assert oks(prediction, target, visible, area).tolist() == pytest.approx(wanted, rel=1e-12)


def test_an_item_without_keypoints_has_no_oks():
    prediction, target, visible, area = people(2)
    visible[1] = False
    target[1] = torch.nan
    assert oks(prediction, target, visible, area).isnan().tolist() == [False, True]


def test_correlations_agree_with_scipy():
    prediction, target, visible, area = people(30)
    confidence = torch.rand(30, 17, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    visible[3] = False
    metric = OksCorrelation(num_bootstrap=50).set_dtype(torch.float64)
    for rows in (slice(0, 11), slice(11, 30)):
        metric.update(prediction[rows], target[rows], visible[rows], area[rows], confidence[rows])
    result = metric.compute()
    similar = keypoint_similarity(prediction, target, visible, area)
    items = [k for k in range(30) if k != 3]
    means = (
        confidence.masked_fill(~visible, torch.nan).nanmean(dim=1)[items],
        oks(prediction, target, visible, area)[items],
    )
    for ending, pair in {"": (confidence[visible], similar[visible]), "_item": means}.items():
        for name, call in {"pearson": stats.pearsonr, "spearman": stats.spearmanr}.items():
            wanted = call(*(x.numpy() for x in pair)).statistic
            assert float(result[f"{name}{ending}"]) == pytest.approx(wanted)
            assert result[f"{name}{ending}/low"] < wanted < result[f"{name}{ending}/high"]
    assert float(result["mean_oks"]) == pytest.approx(float(means[1].mean()))
    assert float(result["mean_confidence"]) == pytest.approx(float(means[0].mean()))
    assert (int(result["num_items"]), int(result["num_keypoints"])) == (29, int(visible.sum()))


def test_confidence_that_knows_correlates_wholly():
    prediction, target, visible, area = people()
    metric = OksCorrelation(num_bootstrap=20)
    metric.update(prediction, target, visible, area, keypoint_similarity(prediction, target, visible, area))
    result = metric.compute()
    assert [float(result[name]) for name in ("pearson", "spearman", "pearson_item", "pearson/low")] == pytest.approx(
        [1] * 4
    )


def test_a_single_item_has_no_interval():
    prediction, target, visible, area = people(1)
    metric = OksCorrelation()
    metric.update(prediction, target, visible, area, torch.rand(1, 17, generator=torch.Generator().manual_seed(0)))
    result = metric.compute()
    assert result["pearson/low"].isnan()
    assert result["pearson_item"].isnan()
    assert not result["pearson"].isnan()


def test_bad_input_is_named():
    prediction, target, visible, area = people()
    with pytest.raises(ValueError, match="sigmas must be 17 positive widths, one per keypoint, got 2"):
        oks(prediction, target, visible, area, (0.1, 0.2))
    with pytest.raises(ValueError, match="sigmas must be 2 positive widths"):
        OksCorrelation(sigmas=(0.1, 0.0))
    with pytest.raises(ValueError, match=r"area must be positive, got 0.0 of item 3"):
        oks(prediction, target, visible, area.clone().index_fill(0, torch.tensor([3]), 0))
    with pytest.raises(ValueError, match=r"area must be \(8,\), got \(7,\)"):
        oks(prediction, target, visible, area[:7])
    metric = OksCorrelation()
    metric.update(prediction, target, torch.zeros_like(visible), area, torch.zeros(8, 17))
    with pytest.raises(ValueError, match="needs at least one visible keypoint, got none in 8 items"):
        metric.compute()
    with pytest.raises(ValueError, match=r"confidence must be \(8, 17\), got \(8,\)"):
        metric.update(prediction, target, visible, area, area)
    with pytest.raises(ValueError, match="confidence must be finite"):
        metric.update(prediction, target, visible, area, torch.full((8, 17), torch.nan))
