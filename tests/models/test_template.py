import json
from itertools import chain

import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.metrics import PCK
from pcsargmax.models.template import Template

UNIT_BOX = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.2, 0.7]])


def item(pos, keypoints, visible=None):
    keypoints = torch.as_tensor(keypoints, dtype=torch.float64)
    visible = torch.ones(len(keypoints), dtype=torch.bool) if visible is None else torch.tensor(visible)
    return Data(pos=pos.double(), keypoint_pos=keypoints[None], keypoint_visible=visible[None])


def test_fit_and_predict_by_hand():
    # In their boxes the keypoint is at (0, 0.5, 1) and at (1, 0.5, 0.5): the mean is (0.5, 0.5, 0.75).
    size = torch.tensor([2.0, 4.0, 8.0])
    items = [item(UNIT_BOX, [[0, 0.5, 1]]), item(UNIT_BOX * size + 10, [[12, 12, 14]])]
    template = Template.fit(items)
    assert template.relative.tolist() == [[0.5, 0.5, 0.75]]
    assert template.num_seen.tolist() == [2]
    predicted = template.predict(UNIT_BOX * torch.tensor([10.0, 20.0, 4.0]) - 1)
    assert predicted.dtype == torch.float64
    torch.testing.assert_close(predicted, torch.tensor([[4.0, 9.0, 2.0]], dtype=torch.float64))


def test_the_mean_error_is_over_visible_keypoints_in_either_unit():
    template = Template(torch.tensor([[0.5, 0.5, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([1, 1]))
    box = UNIT_BOX * torch.tensor([3.0, 4.0, 12.0])  # its diagonal is 13
    items = [item(box, [[1.5, 2, 7.3], [0, 0, 0]]), item(box, [[1.5, 4.6, 6], [9, 9, 9]], [True, False])]
    assert template.mean_error(items, "raw") == pytest.approx((1.3 + 0 + 2.6) / 3)
    assert template.mean_error(items, "diagonal") == pytest.approx((0.1 + 0 + 0.2) / 3)


def test_exact_where_shapes_differ_by_axis_scale_and_place_only():
    generator = torch.Generator().manual_seed(0)
    cloud, keypoints = torch.rand(50, 3, generator=generator), torch.rand(4, 3, generator=generator)
    scales = 0.5 + torch.rand(6, 3, generator=generator, dtype=torch.float64)
    shapes = [item(cloud * s + i, keypoints * s + i) for i, s in enumerate(scales)]
    template = Template.fit(shapes[:4])
    for shape in shapes[4:]:
        torch.testing.assert_close(template.predict(shape.pos), shape.keypoint_pos[0], atol=1e-6, rtol=0)


def test_absent_keypoints_do_not_count_and_never_seen_ones_are_in_the_middle():
    items = [
        item(UNIT_BOX, [[0.2, 0.2, 0.2], [9, 9, 9]], [True, False]),
        item(UNIT_BOX, [[float("nan")] * 3, [9, 9, 9]], [False, False]),
    ]
    template = Template.fit(items)
    assert template.relative.tolist() == [pytest.approx([0.2] * 3), [0.5] * 3]
    assert template.num_seen.tolist() == [1, 0]


def test_a_flat_axis_says_nothing():
    flat = UNIT_BOX * torch.tensor([1.0, 1.0, 0.0]) + 7
    almost_flat = flat.double().clone()
    almost_flat[0, 2] += 1e-9
    items = [item(UNIT_BOX, [[0.1, 0.1, 0.1]])] + [item(f, [[7.3, 7.3, 7.0]]) for f in (flat, almost_flat)]
    relative = Template.fit(items).relative[0]
    assert relative.tolist() == pytest.approx([0.7 / 3, 0.7 / 3, 0.1], abs=1e-6)
    only_flat = Template.fit(items[1:2])
    assert only_flat.relative[0].tolist() == pytest.approx([0.3, 0.3, 0.5], abs=1e-6)
    assert only_flat.predict(flat)[0, 2] == 7


def test_a_single_point_is_where_everything_is():
    template = Template.fit([item(torch.tensor([[1.0, 2.0, 3.0]]), [[1.0, 2.0, 3.0]])])
    assert template.predict(torch.tensor([[4.0, 5.0, 6.0]])).tolist() == [[4.0, 5.0, 6.0]]


def test_far_from_the_origin_and_in_millimetres():
    near = item(UNIT_BOX, [[0.25, 0.5, 0.75]])
    far = item(UNIT_BOX.double() * 1000 + 1e6, [[250 + 1e6, 500 + 1e6, 750 + 1e6]])
    torch.testing.assert_close(Template.fit([far]).relative, Template.fit([near]).relative)


def test_json_gives_the_same_template_back():
    generator = torch.Generator().manual_seed(1)
    template = Template.fit([item(UNIT_BOX, torch.rand(5, 3, generator=generator)) for _ in range(3)])
    again = Template.from_dict(json.loads(json.dumps(template.to_dict(), allow_nan=False)))
    assert torch.equal(again.relative, template.relative)
    assert torch.equal(again.num_seen, template.num_seen)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "at least one cloud"),
        ([item(torch.empty(0, 3), [[0, 0, 0]])], r"pos of item 0 must be \(N, 3\) .* got \(0, 3\)"),
        ([item(UNIT_BOX / 0, [[0, 0, 0]])], "pos of item 0 must be finite, .* in 3 of 3 points"),
        ([item(UNIT_BOX, [[float("nan"), 0, 0]])], "keypoint_pos of item 0 must be finite .* at 1"),
        (
            [item(UNIT_BOX, [[0, 0, 0]]), item(UNIT_BOX, [[0, 0, 0]] * 2)],
            "all have 1 keypoints, got 2 in item 1",
        ),
        ([item(UNIT_BOX, [[0, 0]])], r"must be \(1, K, 3\) and \(1, K\), got \(1, 1, 2\)"),
    ],
)
def test_bad_items_are_named(items, message):
    with pytest.raises(ValueError, match=message):
        Template.fit(items)


def test_bad_stored_values_are_named():
    with pytest.raises(ValueError, match=r"keys relative and num_seen, got \['mean'\]"):
        Template.from_dict({"mean": []})
    with pytest.raises(ValueError, match=r"got \(1, 2\) and \(1,\)"):
        Template.from_dict({"relative": [[0.5, 0.5]], "num_seen": [1]})


@pytest.mark.filterwarnings("ignore:.* are not on disk:UserWarning")
def test_known_figures_of_keypointnet_mugs(shared_data, tmp_path, monkeypatch):
    root = shared_data / "keypointnet"
    from pcsargmax.datasets.keypointnet import KeypointNet

    monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path))
    train, val, test = (KeypointNet(root, "mug", name, ids=range(10)) for name in ("train", "val", "test"))
    template = Template.fit(chain(train, val))
    metric = PCK()
    for cloud in test:
        metric.update(template.predict(cloud.pos)[None], cloud.keypoint_pos, cloud.keypoint_visible)
    result = metric.compute()
    assert result["num_models"] == 34
    assert 100 * result["pck@0.01"].item() == pytest.approx(5.9, abs=0.05)
    assert 100 * result["pck@0.02"].item() == pytest.approx(26.2, abs=0.05)
    assert result["mean_error"].item() == pytest.approx(0.040, abs=0.0005)


def test_usual_keypoints_are_those_that_most_models_have():
    template = Template(torch.zeros(4, 3, dtype=torch.float64), torch.tensor([10, 5, 4, 0]))
    assert template.usual.tolist() == [True, True, False, False]
