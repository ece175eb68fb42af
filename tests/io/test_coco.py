import json

import pytest

pytest.importorskip("pycocotools")
from pcsargmax.io.coco import read_coco


def content() -> dict:
    """One image with one person of two keypoints."""
    person = {
        "id": 5,
        "image_id": 3,
        "category_id": 1,
        "keypoints": [1, 2, 2, 0, 0, 0],
        "num_keypoints": 1,
        "bbox": [0, 0, 8, 6.5],
        "area": 30.5,
        "iscrowd": 0,
    }
    image = {"id": 3, "file_name": "a.png", "width": 8, "height": 8}
    return {"images": [image], "annotations": [person], "categories": [{"id": 1, "name": "person"}]}


def test_a_file_is_indexed_without_prints(tmp_path, capsys):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content()))
    for source in (path, str(path), content()):
        truth = read_coco(source, num_keypoints=2)
        assert truth.anns[5]["bbox"] == [0, 0, 8, 6.5]
        assert truth.imgToAnns[3] == [truth.anns[5]]
    assert capsys.readouterr().out == ""


def test_what_evaluation_needs_can_be_done_without():
    bare = content()
    for key in ("area", "iscrowd", "num_keypoints"):
        del bare["annotations"][0][key]
    assert read_coco(bare, evaluation=False).anns[5]["image_id"] == 3
    with pytest.raises(ValueError, match=r"annotations\[0\]: expected an object .* it lacks num_keypoints, area, isc"):
        read_coco(bare)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        (None, {"images": None}, "expected COCO annotations, an object with the lists images, annotations, categories"),
        (None, {"categories": [{"id": 1}, {"id": 2}]}, r"expected one category with an id, .* got \[1, 2\]"),
        ("images", {"id": "3"}, r"images\[0\]: expected an object with a whole id and a file_name"),
        ("annotations", {"image_id": 4}, r"annotations\[0\]: no image has the id 4"),
        ("annotations", {"image_id": [3]}, r"annotations\[0\]: id and image_id must be whole, got 5 and \[3\]"),
        ("annotations", {"category_id": 7}, r"annotations\[0\]: no category has the id 7"),
        ("annotations", {"keypoints": [1, 2]}, r"annotations\[0\] \(id 5\): keypoints must be numbers x, y, v of each"),
        ("annotations", {"keypoints": [1, 2, 2]}, r"annotations\[0\] \(id 5\): expected 2 keypoints, got 1"),
        ("annotations", {"keypoints": [1, 2, 3, 0, 0, 0]}, r"annotations\[0\] \(id 5\): v must be 0, 1 or 2, got"),
        ("annotations", {"keypoints": [1, float("nan"), 2, 0, 0, 0]}, r"\(id 5\): keypoints must be numbers"),
        ("annotations", {"bbox": [1, 2, 3]}, r"\(id 5\): bbox must be x, y, width, height, got \[1, 2, 3\]"),
        ("annotations", {"area": "3"}, r"\(id 5\): area must be a number, got '3'"),
    ],
)
def test_what_is_malformed_is_named(part, changes, message, tmp_path):
    broken = content()
    if part is None:
        broken |= changes
    else:
        broken[part][0] |= changes
    path = tmp_path / "a.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match=message) as error:
        read_coco(path, num_keypoints=2)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("part", ["images", "annotations"])
def test_an_id_is_there_once(part):
    twice = content()
    twice[part].append(dict(twice[part][0]))
    with pytest.raises(ValueError, match=rf"{part}\[1\]: id {twice[part][0]['id']} is there twice"):
        read_coco(twice)


def test_files_that_are_not_there_or_not_json_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"annotations: no such file: .*none\.json"):
        read_coco(tmp_path / "none.json")
    (tmp_path / "a.json").write_text('{\n"images": [,]}')
    with pytest.raises(ValueError, match=r"a\.json:2: malformed JSON"):
        read_coco(tmp_path / "a.json")
