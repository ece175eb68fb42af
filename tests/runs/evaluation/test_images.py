import math

import numpy as np
import pytest
import torch

from pcsargmax.datasets.images import ImageItem
from pcsargmax.predictions.image import ImagePrediction
from pcsargmax.runs.evaluation.images import ImageEvaluation, length_pair
from pcsargmax.settings.images import ImageSettings
from pcsargmax.transforms.crop import Crop

CROP = Crop.around([0, 0, 32, 32], (32, 32), padding=1.0)
IMAGE = np.zeros((100, 100, 3), dtype=np.uint8)


class Data:
    dimension = 2

    def __init__(self, *names: str) -> None:
        self.keypoint_names = names


def item(name, keypoints, box=(0, 0, 50, 32), **extra) -> ImageItem:
    return ImageItem(name, IMAGE, np.array(keypoints, dtype=float), box=np.array(box, dtype=float), extra=extra)


def found(one: ImageItem, offset, confidence) -> ImagePrediction:
    """A prediction that is `offset` (K, D) away from the truth, or from the origin where there is none."""
    position = np.nan_to_num(one.keypoints) + np.array(offset, dtype=float)
    k, d = position.shape
    return ImagePrediction(
        name=one.name,
        image=one.image,
        keypoint_names=[str(i) for i in range(k)],
        position=position,
        confidence=confidence,
        covariance=np.zeros((k, d, d)),
        probability=np.full((k, 8, 8), 1 / 64),
        crop=CROP,
    )


def test_errors_are_shares_of_the_distance_of_the_eyes():
    counted = ImageEvaluation(Data("left_eye", "right_eye", "nose"), ImageSettings(data="mtfl"))
    first = item("a", [[10, 10], [50, 10], [30, 30]])  # 40 between the eyes
    second = item("b", [[10, 10], [30, 10], [np.nan, np.nan]])  # 20
    counted.update(first, found(first, [[0, 2], [0, 4], [0, 6]], [0.9, 0.5, 0.2]))
    counted.update(second, found(second, [[4, 0], [0, 0], [9, 9]], [0.3, 0.8, 0.5]))
    result = counted.compute()
    assert result["length"] == {"name": "inter-ocular", "keypoints": ["left_eye", "right_eye"]}
    assert result["nme"]["nme"] == pytest.approx(((2 + 4 + 6) / 3 / 40 + (4 + 0) / 2 / 20) / 2)
    # shares .05, .1, .15; .2, 0
    assert result["pck"]["pck@0.1"] == pytest.approx(3 / 5)
    assert result["pck"]["mean_error"] == pytest.approx((0.05 + 0.1 + 0.15 + 0.2) / 5)
    right, sure = np.array([1, 1, 0, 0, 1]), np.array([0.9, 0.5, 0.2, 0.3, 0.8])
    assert result["confidence"]["threshold"] == 0.1
    assert result["confidence"]["pearson"] == pytest.approx(np.corrcoef(right, sure)[0, 1])
    assert result["images"]["name"] == ["a", "b"]
    assert result["images"]["length"] == [40, 20]
    assert result["images"]["errors"] == [[2, 4, 6], [4, 0, None]]
    assert result["images"]["confidence"] == [[0.9, 0.5, 0.2], [0.3, 0.8, 0.5]]
    assert (result["people"], result["joints"]) == (None, None)


def test_an_image_without_an_eye_or_with_both_in_one_place_is_left_out():
    counted = ImageEvaluation(Data("left_eye", "right_eye"), ImageSettings(data="mtfl"))
    for name, eye in (("a", [50, 10]), ("b", [np.nan, np.nan]), ("c", [10, 10])):
        one = item(name, [[10, 10], eye])
        counted.update(one, found(one, [[0, 4], [0, 4]], [0.9, 0.5]))
    result = counted.compute()
    assert result["nme"]["nme"] == pytest.approx(0.1)
    assert (result["nme"]["num_images"], result["nme"]["num_left_out"]) == (1, 2)
    assert result["images"]["length"] == [40, None, None]
    assert result["images"]["errors"][1] == [4, None]


def test_other_keypoints_are_measured_by_the_box():
    counted = ImageEvaluation(Data("hip", "knee"), ImageSettings(data="figures"), thresholds=(0.1,))
    one = item("a", [[10, 10], [20, 20]])  # a box of 50 x 32: 40
    counted.update(one, found(one, [[3, 4], [0, 1]], [0.5, 0.5]))
    result = counted.compute()
    assert result["length"] == {"name": "box", "keypoints": None}
    assert result["nme"]["nme"] == pytest.approx((5 + 1) / 2 / 40)
    assert result["pck"]["pck@0.1"] == 0.5
    assert result["confidence"]["pearson"] is None  # all as sure


def test_only_x_and_y_count_in_pixels():
    counted = ImageEvaluation(Data("hip", "knee"), ImageSettings(data="figures3d"))
    one = item("a", [[10, 10, 100], [20, 20, np.nan]])
    counted.update(one, found(one, [[3, 4, 70], [0, 1, 0]], [0.5, 0.5]))
    assert counted.compute()["images"]["errors"] == [[5, 1]]


def test_which_two_keypoints():
    points = tuple(str(number) for number in range(68))
    assert length_pair(points, "my/faces") == (36, 45)
    assert length_pair(("nose", "left_eye", "right_eye"), "my/faces") == (1, 2)
    assert length_pair(("nose", "left_eye", "right_eye"), "coco") is None
    assert length_pair(("a", "b"), "my/dots") is None


def test_nothing_known_is_nothing_told():
    counted = ImageEvaluation(Data("a", "b"), ImageSettings(data="my/dots"))
    one = item("a", [[np.nan, np.nan]] * 2)
    counted.update(one, found(one, [[1, 1]] * 2, [0.5, 0.25]))
    result = counted.compute()
    assert (result["nme"], result["pck"], result["confidence"]) == (None, None, None)
    assert result["images"]["errors"] == [[None, None]]


@pytest.mark.parametrize("thresholds", [(), (0.1, 0.1), (-1.0,)])
def test_thresholds_that_are_none(thresholds):
    with pytest.raises(ValueError, match="thresholds must be positive, ascending and at least one"):
        ImageEvaluation(Data("a"), ImageSettings(), thresholds=thresholds)


class Space(Data):
    """Depth of the root 1000 mm, a focal length of 500 pixels: a pixel is 2 mm at the root."""

    def to_camera(self, item, keypoints):
        depth = keypoints[:, 2:] + item.extra["root_depth"]
        return np.concatenate([keypoints[:, :2] / 500 * depth, depth], axis=1)


def test_joints_are_measured_in_millimetres():
    settings = ImageSettings(data="figures3d", depth_bins=8)
    counted = ImageEvaluation(Space("pelvis", "knee", "head"), settings)
    one = item("a", [[50, 50, 0], [50, 80, 0], [50, 20, 0]], root_depth=1000.0)
    counted.update(one, found(one, [[0, 0, 0], [3, 0, 0], [0, 0, 0]], [1, 1, 1]))
    lost = item("b", [[50, 50, np.nan], [50, 80, 0], [50, 20, 0]], root_depth=1000.0)
    counted.update(lost, found(lost, [[0, 0, 0]] * 3, [1, 1, 1]))
    result = counted.compute()
    joints = result["joints"]
    assert joints["mpjpe"] == pytest.approx((0 + 6 + 0) / 3)
    assert result["images"]["mpjpe"] == [pytest.approx(2.0), None]
    assert result["images"]["pa_mpjpe"] == [pytest.approx(joints["pa_mpjpe"], rel=1e-5), None]
    assert (joints["num_poses"], joints["num_left_out"]) == (1, 1)
    alone = ImageEvaluation(Space("pelvis", "knee", "head"), settings)
    alone.update(lost, found(lost, [[0, 0, 0]] * 3, [1, 1, 1]))
    assert alone.compute()["joints"] is None
    assert alone.compute()["images"]["mpjpe"] == [None]


def coco_file(path, keypoints, area):
    """One person in one image, 17 keypoints (17, 2)."""
    import json

    from pcsargmax.datasets.images.coco import COCO_NAMES

    flat = [value for x, y in keypoints for value in (x, y, 2)]
    person = {"id": 1, "image_id": 7, "category_id": 1, "keypoints": flat, "num_keypoints": 17, "area": area}
    person |= {"iscrowd": 0, "bbox": [0, 0, 90, 90]}
    content = {
        "images": [{"id": 7, "file_name": "7.jpg", "width": 100, "height": 100}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_NAMES), "skeleton": []}],
    }
    path.write_text(json.dumps(content))
    return path


def test_people_of_coco_have_a_precision_and_an_oks(tmp_path):
    from pcsargmax.datasets.images.coco import COCO_NAMES
    from pcsargmax.metrics.similarity import COCO_SIGMAS, oks

    keypoints = np.stack([np.linspace(10, 80, 17), np.linspace(20, 70, 17)], axis=1)
    data = Data(*COCO_NAMES)
    data.annotation_file = coco_file(tmp_path / "person_keypoints_val2017.json", keypoints, 2500.0)
    counted = ImageEvaluation(data, ImageSettings(data="coco"))
    one = item("p", keypoints, image_id=7, area=2500.0, score=1.0)
    offset = np.stack([np.linspace(0, 6, 17), np.zeros(17)], axis=1)
    counted.update(one, found(one, offset, np.linspace(0.9, 0.1, 17)))
    people = counted.compute()["people"]
    true = torch.from_numpy(keypoints[None])
    seen = torch.ones(1, 17, dtype=torch.bool)
    expected = oks(true + torch.from_numpy(offset[None]), true, seen, torch.tensor([2500.0]))
    share = math.floor((expected.item() - 0.5) / 0.05 + 1)  # thresholds from 0.50 in steps of 0.05
    assert 0 < share < 10
    assert people["ap"]["ap"] == pytest.approx(share / 10)
    assert people["oks"]["mean_oks"] == pytest.approx(expected.item(), rel=1e-5)
    assert people["oks"]["pearson"] > 0.4
    assert len(COCO_SIGMAS) == 17


def test_a_detector_s_boxes_tell_the_precision_alone(tmp_path):
    from pcsargmax.datasets.images.coco import COCO_NAMES

    keypoints = np.stack([np.linspace(10, 80, 17), np.linspace(20, 70, 17)], axis=1)
    data = Data(*COCO_NAMES)
    data.annotation_file = coco_file(tmp_path / "person_keypoints_val2017.json", keypoints, 2500.0)
    counted = ImageEvaluation(data, ImageSettings(data="coco"))
    box = item("p", np.full((17, 2), np.nan), image_id=7, area=math.nan, score=0.7)
    counted.update(box, found(box, keypoints, np.full(17, 0.5)))
    result = counted.compute()
    assert result["people"]["ap"]["ap"] == pytest.approx(1.0)
    assert (result["people"]["oks"], result["nme"]) == (None, None)
