import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("pycocotools")
from pcsargmax.datasets.images.human36m import HUMAN36M_NAMES, Human36m
from pcsargmax.datasets.images.item import flip_order
from pcsargmax.datasets.images.mpii import MPII_NAMES, Human36mMpii, MpiiKeypoints


def annotations(file: str = "a.png") -> dict:
    """Three people of one image, of whom the second has no labelled joint and the third lies outside."""
    people = []
    for number in range(3):
        keypoints = np.column_stack([np.arange(16), np.arange(16) + 1, np.ones(16, dtype=int)])
        keypoints[[0, 9]] = 0
        box = [-1, 2, 10, 9] if number < 2 else [40, 2, 9, 9]
        flat = (keypoints * (number != 1)).flatten().tolist()
        people.append({"id": 10 + number, "image_id": 4, "category_id": 1, "keypoints": flat, "bbox": box})
    image = {"id": 4, "file_name": file, "width": 24, "height": 20}
    return {"images": [image], "annotations": people, "categories": [{"id": 1, "name": "person"}]}


@pytest.fixture
def root(tmp_path):
    for folder in ("annotations", "images"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (24, 20), (4, 5, 6)).save(tmp_path / "images" / "a.png")
    (tmp_path / "annotations" / "annot_mpii.json").write_text(json.dumps(annotations()))
    return tmp_path


def test_people_are_items_in_the_plane(root):
    data = MpiiKeypoints(root)
    assert (len(data), data.dimension, data.keypoint_names) == (1, 2, MPII_NAMES)
    assert data.dropped == {"no labelled joint": 1, "box without a size or outside its image": 1}
    assert "1 people, 1 left out (no labelled joint)" in repr(data)
    item = data[0]
    assert (item.name,) == data.names == ("a-10",)
    assert item.image[0, 0].tolist() == [4, 5, 6]
    assert item.box.tolist() == [0, 2, 9, 9]
    assert np.flatnonzero(~item.visible).tolist() == [0, 9]
    assert item.keypoints[5].tolist() == [5, 6]
    assert item.extra == {"image_id": 4, "annotation_id": 10}


def test_joints_of_human36m_are_those_of_the_same_name(root):
    data = MpiiKeypoints(root, human36m=True)
    assert (data.dimension, data.flip_pairs) == (3, Human36m.flip_pairs)
    keypoints, visible = data[0].keypoints, data[0].visible
    assert keypoints.shape == (18, 3)
    assert np.isnan(keypoints[:, 2]).all()
    for row, name in enumerate(HUMAN36M_NAMES):
        known = name in MPII_NAMES and MPII_NAMES.index(name) not in (0, 9)
        assert visible[row] == known
        if known:
            assert keypoints[row, 0] == MPII_NAMES.index(name)
    lacking = {name for name, seen in zip(HUMAN36M_NAMES, visible, strict=True) if not seen}
    assert lacking == {"torso", "nose", "right_ankle", "head"}


def test_flipped_joints_change_sides():
    sides = {"left": "right", "right": "left"}
    order = flip_order(16, ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)))
    swapped = ["_".join(sides.get(part, part) for part in name.split("_")) for name in MPII_NAMES]
    assert [MPII_NAMES[k] for k in order] == swapped


def test_both_places_and_names_of_files_are_known(root):
    (root / "annotations" / "annot_mpii.json").unlink()
    (root / "annotations" / "train.json").write_text(json.dumps(annotations("images/a.png")))
    assert MpiiKeypoints(root)[0].image.shape == (20, 24, 3)
    assert MpiiKeypoints(root, annotations=root / "annotations" / "train.json").names == ("a-10",)
    with pytest.raises(FileNotFoundError, match=r"annotations: no such file: .*annotations.val\.json"):
        MpiiKeypoints(root, "val")


def test_nobody_left_is_an_error(root):
    content = annotations()
    content["annotations"] = [content["annotations"][1] | {"iscrowd": 1}]
    (root / "annotations" / "annot_mpii.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"annot_mpii\.json: no people, 1 left out \(crowd\)"):
        MpiiKeypoints(root)


class Frames:
    """In place of `Human36m`: three frames."""

    evaluated = tuple(range(17))
    dropped = {"positions known not to fit": 2}  # noqa: RUF012
    names = ("f0", "f1", "f2")

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> str:
        return self.names[index]


def test_frames_and_people_together(root):
    people = MpiiKeypoints(root, human36m=True)
    both = Human36mMpii(Frames(), people)
    assert both.names == ("f0", "f1", "f2", "a-10")
    assert [both[0], both[2], both[-1].name, both[3].name] == ["f0", "f2", "a-10", "a-10"]
    assert (len(both), both.dimension, both.evaluated) == (4, 3, Frames.evaluated)
    assert both.dropped["Human3.6M: positions known not to fit"] == 2
    assert both.dropped["MPII: no labelled joint"] == 1
    with pytest.raises(IndexError):
        both[4]
    with pytest.raises(ValueError, match="expected MpiiKeypoints with human36m=True"):
        Human36mMpii(Frames(), MpiiKeypoints(root))


def test_an_epoch_has_each_frame_once_and_as_many_people(root):
    both = Human36mMpii(Frames(), MpiiKeypoints(root, human36m=True))
    orders = [both.epoch(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    for order in orders:
        assert sorted(order.tolist()) == [0, 1, 2, 3, 3, 3]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
