import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("pycocotools")
from pcsargmax.datasets.images.coco import COCO_NAMES, CocoKeypoints, inside
from pcsargmax.datasets.images.item import flip_order
from pcsargmax.transforms.crop import Crop


def person(number: int, image: int, *, box=(4, 2, 10, 12), visibility=2, crowd: int = 0) -> dict:
    """A person whose keypoint k lies at (k + 1, k + 2)."""
    v = np.broadcast_to(visibility, 17)
    keypoints = np.column_stack([np.arange(1, 18), np.arange(2, 19), v])
    keypoints[v == 0] = 0
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "keypoints": keypoints.flatten().tolist(),
        "num_keypoints": int((v > 0).sum()),
        "bbox": [float(b) for b in box],
        "area": 77.5,
        "iscrowd": crowd,
        "segmentation": [],
    }


@pytest.fixture
def root(tmp_path):
    """COCO's layout: a grey image, a coloured one of three people, and one of nobody who counts."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    images = [{"id": i, "file_name": f"{i:012d}.png", "width": 24, "height": 20} for i in (9, 25, 40)]
    for image in images:
        mode = "L" if image["id"] == 9 else "RGB"
        Image.new(mode, (24, 20), 50 if mode == "L" else (1, 2, 3)).save(tmp_path / "val2017" / image["file_name"])
    people = [
        person(71, 25, visibility=[2] + [0] * 15 + [1]),
        person(70, 25, box=(-3, 15, 30, 10)),
        person(30, 9),
        person(80, 40, visibility=0),
        person(81, 40, crowd=1),
        person(82, 40, box=(24, 0, 5, 5)),
        person(83, 40, box=(3, 3, 0, 5)),
    ]
    write(tmp_path, {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]})
    return tmp_path


def write(root, content: dict) -> None:
    (root / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))


def test_people_are_items(root):
    data = CocoKeypoints(root, "val")
    assert data.names == ("000000000009-30", "000000000025-70", "000000000025-71")
    assert data.image_ids == (9, 25, 25)
    item = data[2]
    assert item.name == data.names[2]
    assert item.image.shape == (20, 24, 3)
    assert item.image[0, 0].tolist() == [1, 2, 3]
    assert data[0].image[0, 0].tolist() == [50, 50, 50]
    assert np.flatnonzero(item.visible).tolist() == [0, 16]  # labelled, hidden or not
    assert item.keypoints[[0, 16]].tolist() == [[1, 2], [17, 18]]
    assert np.isnan(item.keypoints[1:16]).all()
    assert item.box.tolist() == [4, 2, 10, 12]
    assert item.extra == {"image_id": 25, "annotation_id": 71, "score": 1.0, "area": 77.5}


def test_boxes_are_cut_off_at_the_edges(root):
    assert CocoKeypoints(root, "val")[1].box.tolist() == [0, 15, 24, 5]
    assert inside([-1, -1, 1, 9], {"width": 5, "height": 5}) is None
    assert inside([4, 3, 9, 9], {}) == (4, 3, 9, 9)  # the file does not tell the size


def test_what_is_left_out_is_counted(root):
    data = CocoKeypoints(root, "val")
    assert data.dropped == {"no labelled keypoint": 1, "crowd": 1, "box without a size or outside its image": 2}
    assert repr(data).endswith(
        "val, 3 people, 1 left out (no labelled keypoint), 1 left out (crowd), "
        "2 left out (box without a size or outside its image))"
    )
    kept = CocoKeypoints(root, "val", unlabelled=True)
    assert kept.names[3] == "000000000040-80"
    assert not kept[3].visible.any()
    assert "no labelled keypoint" not in kept.dropped


def test_names_and_pairs_fit():
    assert len(COCO_NAMES) == 17
    order = flip_order(17, CocoKeypoints.flip_pairs)
    mirrored = {"left": "right", "right": "left"}
    swapped = [
        mirrored.get(name.split("_")[0], "") + name.removeprefix("left").removeprefix("right") for name in COCO_NAMES
    ]
    assert [COCO_NAMES[k] for k in order] == swapped


def test_a_detectors_boxes_take_the_place_of_the_annotated(root):
    boxes = [
        {"image_id": 40, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.75},
        {"image_id": 9, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.75},
        {"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.1},
        {"image_id": 9, "category_id": 1, "bbox": [30, 2, 3, 4], "score": 0.9},
        {"image_id": 9, "category_id": 1, "bbox": [20, 2, 30, 4], "score": 0.9},
    ]
    (root / "boxes.json").write_text(json.dumps(boxes))
    data = CocoKeypoints(root, "val", boxes=root / "boxes.json", min_score=0.2)
    assert data.names == ("000000000040-0", "000000000009-4")
    item = data[1]
    assert item.box.tolist() == [20, 2, 4, 4]
    assert not item.visible.any()
    assert np.isnan(item.keypoints).all()
    assert (item.extra["score"], item.extra["annotation_id"], item.extra["image_id"]) == (0.9, None, 9)
    assert math.isnan(item.extra["area"])
    reasons = ("another category", "score below min_score", "box without a size or outside its image")
    assert data.dropped == dict.fromkeys(reasons, 1)


def test_keypoints_found_in_crops_score_as_they_should(root):
    from pcsargmax.metrics import CocoKeypointAP

    data = CocoKeypoints(root, "val")
    metric = CocoKeypointAP(data.annotation_file, num_bootstrap=0)
    for item in (data[k] for k in range(len(data))):
        crop = Crop.around(item.box, (64, 48), rotation=20)
        found = crop.to_image(crop.to_input(np.nan_to_num(item.keypoints, nan=5.0)))
        ids = torch.tensor([item.extra["image_id"]])
        metric.update(torch.from_numpy(found)[None], torch.tensor([item.extra["score"]]), ids)
    result = metric.compute()
    # the person whose box lies outside is missed, and so is the one without a size: 3 of 5
    assert int(result["num_objects"]) == 5
    assert float(result["ar"]) == pytest.approx(0.6)


def test_a_missing_image_is_named_when_it_is_taken(root):
    data = CocoKeypoints(root, "val")
    (root / "val2017" / "000000000025.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"000000000025\.png"):
        data[1]
    with pytest.raises(IndexError):
        data[3]


def test_images_may_lie_in_a_folder_of_images(root):
    (root / "images").mkdir()
    (root / "val2017").rename(root / "images" / "val2017")
    assert CocoKeypoints(root, "val")[0].image.shape == (20, 24, 3)


def test_bad_input_is_named(root):
    with pytest.raises(FileNotFoundError, match=r"split: no file .*person_keypoints_test2017\.json; there: person_key"):
        CocoKeypoints(root, "test")
    with pytest.raises(FileNotFoundError, match="root: no such folder"):
        CocoKeypoints(root / "none", "val")
    with pytest.raises(FileNotFoundError, match="boxes: no such file"):
        CocoKeypoints(root, "val", boxes=root / "none.json")
    (root / "boxes.json").write_text('[{"image_id": 9, "category_id": 1, "bbox": [1, 2, 3], "score": 1}]')
    with pytest.raises(
        ValueError, match=r"boxes\.json: \[0\]: expected a whole image_id, category_id, bbox .* and score, got"
    ):
        CocoKeypoints(root, "val", boxes=root / "boxes.json")
    for broken in ("null", '{"bbox": null, "score": 1}', '{"image_id": "9", "category_id": 1, "bbox": [1, 2, 3, 4]}'):
        (root / "boxes.json").write_text(f"[{broken}]")
        with pytest.raises(ValueError, match=r"boxes\.json: \[0\]: expected a whole image_id"):
            CocoKeypoints(root, "val", boxes=root / "boxes.json")
    (root / "boxes.json").write_text('[{"image_id": 8, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]')
    with pytest.raises(ValueError, match=r"boxes\.json: \[0\]: no image_id 8 in .*person_keypoints_val2017\.json"):
        CocoKeypoints(root, "val", boxes=root / "boxes.json")
    (root / "boxes.json").write_text("{}")
    with pytest.raises(ValueError, match=r"boxes\.json: expected a list of detections, got dict"):
        CocoKeypoints(root, "val", boxes=root / "boxes.json")
    content = json.loads((root / "annotations" / "person_keypoints_val2017.json").read_text())
    write(root, content | {"annotations": [person(1, 9, visibility=0)]})
    with pytest.raises(ValueError, match=r"val2017\.json: no people, 1 left out \(no labelled keypoint\)"):
        CocoKeypoints(root, "val")
    (root / "val2017").rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"root: no folder of images, .*val2017 or .*val2017"):
        CocoKeypoints(root, "val")
