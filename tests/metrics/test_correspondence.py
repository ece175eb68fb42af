import json
from itertools import permutations

import pytest
import torch

from pcsargmax.metrics.correspondence import Correspondence, match_keypoints

NAN = float("nan")


def annotated(num_models=12, num_ids=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = torch.rand(num_ids, 3, generator=generator, dtype=torch.float64)
    target = shape + 0.02 * torch.randn(num_models, num_ids, 3, generator=generator, dtype=torch.float64)
    visible = torch.rand(num_models, num_ids, generator=generator) < 0.8
    visible[0] = True
    return target, visible, generator


@pytest.mark.parametrize("by", ["agreement", "distance"])
def test_keypoints_in_another_order_are_named_again(by):
    target, visible, generator = annotated()
    order = [3, 0, 4, 1, 2]
    noise = 0.01 * torch.randn(12, 5, 3, generator=generator, dtype=torch.float64)
    match = match_keypoints(target[:, order] + noise, target, visible, names=list("abcde"), by=by)
    assert match.ids == (3, 0, 4, 1, 2)
    assert match.names == ("d", "a", "e", "b", "c")
    assert min(match.agreement) > 0.9
    assert max(match.distance) < 0.03


def test_agreement_and_distance_by_hand():
    # Keypoint 0 is nearest to id 0 on models 0 and 1 and to id 1 on model 2, keypoint 1 the other way round.
    target = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]]).expand(3, -1, -1)
    predicted = torch.tensor([[[0.1, 0, 0], [1, 0, 0]], [[0.2, 0, 0], [1, 0, 0]], [[0.9, 0, 0], [0, 0, 0]]])
    visible = torch.ones(3, 2, dtype=torch.bool)
    match = match_keypoints(predicted, target, visible)
    assert match.ids == (0, 1)
    assert match.agreement == pytest.approx((2 / 3, 2 / 3))
    assert match.distance == pytest.approx((1.2 / 3, 1 / 3))
    visible[2] = False
    match = match_keypoints(predicted, target, visible)
    assert match.agreement == (1, 1)
    assert match.distance == pytest.approx((0.15, 0))


def test_the_matching_has_the_largest_sum_of_counts():
    generator = torch.Generator().manual_seed(2)
    predicted, target = torch.rand(2, 15, 4, 3, generator=generator, dtype=torch.float64)
    visible = torch.ones(15, 4, dtype=torch.bool)
    match = match_keypoints(predicted, target, visible, min_agreement=0)
    distance = torch.cdist(predicted, target)
    forward, backward = distance.argmin(dim=2), distance.argmin(dim=1)

    def total(ids):
        pairs = [(k, g) for k, g in enumerate(ids) if g is not None]
        return sum(int(((forward[:, k] == g) & (backward[:, g] == k)).sum()) for k, g in pairs)

    assert total(match.ids) == max(total(ids) for ids in permutations(range(4)))


def test_more_keypoints_than_annotations_leaves_some_without_a_name():
    target, visible, _ = annotated()
    predicted = torch.cat([target + 3, target], dim=1)
    match = match_keypoints(predicted, target, visible)
    assert match.ids == (None, None, None, None, None, 0, 1, 2, 3, 4)
    assert match.names[:5] == (None,) * 5
    assert match.names[5:] == ("0", "1", "2", "3", "4")
    assert match.agreement[0] == 0
    assert all(d != d for d in match.distance[:5])


def test_fewer_keypoints_than_annotations():
    target, visible, _ = annotated()
    assert match_keypoints(target[:, [4, 2]], target, visible).ids == (4, 2)


def test_collapsed_keypoints_get_one_name_at_most():
    target, visible, _ = annotated()
    match = match_keypoints(target[:, 1:2].expand(-1, 4, -1), target, visible)
    assert match.ids == (1, None, None, None)
    assert match_keypoints(target[:, 1:2].expand(-1, 4, -1), target, visible, min_agreement=0).ids == match.ids


def test_an_annotation_that_no_model_has_is_never_matched():
    target, visible, _ = annotated()
    target, visible = target.clone(), visible.clone()
    target[:, 2] = NAN
    visible[:, 2] = False
    for by in ("agreement", "distance"):
        ids = match_keypoints(target.nan_to_num(nan=9.0), target, visible, by=by, min_agreement=0).ids
        assert ids == (0, 1, None, 3, 4)


def test_a_weak_pair_is_no_match():
    target = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]]).expand(4, -1, -1)
    predicted = target.clone()
    predicted[1:] = predicted[1:].flip(1) + torch.tensor([0.0, 0.1, 0])
    predicted[1] = target[1]
    visible = torch.ones(4, 2, dtype=torch.bool)
    assert match_keypoints(predicted, target, visible).agreement == (0.5, 0.5)
    assert match_keypoints(predicted, target, visible, min_agreement=0.6).ids == (None, None)


def test_it_goes_through_json():
    target, visible, _ = annotated()
    match = match_keypoints(torch.cat([target, target + 3], dim=1), target, visible)
    again = Correspondence.from_dict(json.loads(json.dumps(match.to_dict(), allow_nan=False)))
    assert again.ids == match.ids
    assert again.names == match.names
    assert again.agreement == match.agreement
    assert again.distance[:5] == match.distance[:5]
    assert again.distance[5] != again.distance[5]


def test_bad_dicts():
    with pytest.raises(ValueError, match=r"must have the keys ids, names, agreement, distance, got \['ids'\]"):
        Correspondence.from_dict({"ids": []})
    with pytest.raises(ValueError, match=r"must be equally long, got \{'ids': 1, 'names': 0"):
        Correspondence.from_dict({"ids": [1], "names": [], "agreement": [], "distance": []})


def test_bad_arguments():
    target, visible, _ = annotated()
    with pytest.raises(ValueError, match=r"names must be 5 distinct names, .* got \['a', 'a', 'b', 'c', 'd'\]"):
        match_keypoints(target, target, visible, names=list("aabcd"))
    with pytest.raises(ValueError, match=r"names must be 5 distinct names, .* got \['a'\]"):
        match_keypoints(target, target, visible, names=["a"])
    with pytest.raises(ValueError, match=r'by must be "agreement" or "distance", got \'angle\''):
        match_keypoints(target, target, visible, by="angle")
    with pytest.raises(ValueError, match="min_agreement must lie between 0 and 1, got 2"):
        match_keypoints(target, target, visible, min_agreement=2)
    with pytest.raises(ValueError, match="visible must mark at least one annotation, got none in 12 models"):
        match_keypoints(target, target, torch.zeros_like(visible))
    with pytest.raises(ValueError, match="preds and target must be"):
        match_keypoints(target[:3], target, visible)
