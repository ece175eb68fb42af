import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from pcsargmax.datasets.images.camera import to_camera
from pcsargmax.datasets.images.human36m import HUMAN36M_NAMES, Human36m
from pcsargmax.datasets.images.item import flip_order
from pcsargmax.metrics import JointError

FOCAL, CENTRE = [1145.0, 1143.0], [512.5, 515.5]
ROTATION = Rotation.from_euler("xyz", [100, 20, -30], degrees=True).as_matrix()
TRANSLATION = np.array([300.0, -200, 5000])


def pose(subject: int, frame: int) -> np.ndarray:
    """Joints (17, 3) in world coordinates, mm."""
    return np.random.default_rng([subject, frame]).uniform(-800, 800, (17, 3))


def in_camera(world: np.ndarray) -> np.ndarray:
    return np.array([ROTATION @ joint + TRANSLATION for joint in world])


def frames(subject: int, numbers: list[int]) -> tuple[list[dict], list[dict]]:
    """Images and annotations that all forms share."""
    images, annotations = [], []
    for number in numbers:
        folder = f"s_{subject:02d}_act_05_subact_02_ca_03"
        entry = {"subject": subject, "action_name": "Discussion", "action_idx": 5, "subaction_idx": 2, "cam_idx": 3}
        image_id = 1000 * subject + number
        name = f"{folder}/{folder}_{number + 1:06d}.png"
        images.append(entry | {"id": image_id, "file_name": name, "width": 24, "height": 20, "frame_idx": number})
        annotations.append({"id": image_id + 7, "image_id": image_id, "bbox": [-2, 3, 10, 8]})
    return images, annotations


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def by_subject(root: Path, subject: int, numbers: list[int]) -> None:
    images, annotations = frames(subject, numbers)
    stem = root / "annotations" / f"Human36M_subject{subject}"
    write(stem.with_name(stem.name + "_data.json"), {"images": images, "annotations": annotations})
    camera = {"R": ROTATION.tolist(), "t": TRANSLATION.tolist(), "f": FOCAL, "c": CENTRE}
    write(stem.with_name(stem.name + "_camera.json"), {"3": camera})
    poses = {"5": {"2": {str(number): pose(subject, number).tolist() for number in numbers}}}
    write(stem.with_name(stem.name + "_joint_3d.json"), poses)


def in_one(root: Path, subject: int, numbers: list[int]) -> None:
    images, annotations = frames(subject, numbers)
    camera = {"R": ROTATION.tolist(), "t": TRANSLATION.tolist(), "f": FOCAL, "c": CENTRE}
    for image, annotation in zip(images, annotations, strict=True):
        image["cam_param"] = camera
        annotation["keypoints_cam"] = in_camera(pose(subject, image["frame_idx"])).tolist()
    write(root / "annotations" / f"Human36M_subject{subject}.json", {"images": images, "annotations": annotations})


def by_protocol(root: Path, subjects: tuple[int, ...], numbers: list[int], name: str) -> None:
    images, annotations = [], []
    position = -ROTATION.T @ TRANSLATION  # here t is where the camera stands
    for subject in subjects:
        own = frames(subject, numbers)
        for image, annotation in zip(*own, strict=True):
            image["cam_param"] = {"R": ROTATION.tolist(), "t": position.tolist(), "f": FOCAL, "c": CENTRE}
            annotation["keypoints_world"] = pose(subject, image["frame_idx"]).tolist()
        images += own[0]
        annotations += own[1]
    write(root / "annotations" / name, {"images": images, "annotations": annotations})


@pytest.fixture
def root(tmp_path):
    """Subjects 9 and 11 by subject, frames 0, 64, 65 and 128, with images of the first of subject 11."""
    for subject in (9, 11):
        by_subject(tmp_path, subject, [0, 64, 65, 128])
    image = tmp_path / "images" / "s_11_act_05_subact_02_ca_03" / "s_11_act_05_subact_02_ca_03_000001.png"
    image.parent.mkdir(parents=True)
    Image.new("RGB", (24, 20), (9, 8, 7)).save(image)
    return tmp_path


def test_a_frame_by_hand(root):
    data = Human36m(root, "test")
    assert data.names[0] == "s_11_act_05_subact_02_ca_03_000001"
    item = data[0]
    assert item.image[3, 4].tolist() == [9, 8, 7]
    assert item.box.tolist() == [0, 3, 8, 8]
    assert item.visible.all()
    joints = in_camera(pose(11, 0))
    joints = np.vstack([joints, (joints[11] + joints[14]) / 2])
    depth = joints[:, 2]
    assert item.keypoints[:, 0] == pytest.approx(joints[:, 0] / depth * FOCAL[0] + CENTRE[0])
    assert item.keypoints[:, 1] == pytest.approx(joints[:, 1] / depth * FOCAL[1] + CENTRE[1])
    assert item.keypoints[:, 2] == pytest.approx(depth - depth[0])
    assert item.keypoints[0, 2] == 0
    assert item.extra["root_depth"] == pytest.approx(depth[0])
    assert {k: item.extra[k] for k in ("subject", "action_name", "action_idx")} == {
        "subject": 11,
        "action_name": "Discussion",
        "action_idx": 5,
    }
    np.testing.assert_allclose(to_camera(item.keypoints, item.extra), joints)


def test_frames_are_taken_in_steps_and_faulty_sequences_left_out(root):
    assert Human36m(root, "test").names == tuple(f"s_11_act_05_subact_02_ca_03_{k:06d}" for k in (1, 65, 129))
    assert Human36m(root, "test").dropped == {"positions known not to fit": 3}
    assert "3 frames, 3 left out (positions known not to fit))" in repr(Human36m(root, "test"))
    assert len(Human36m(root, "test", faulty=True)) == 6
    assert len(Human36m(root, "test", every=1, faulty=True)) == 8
    assert len(Human36m(root, "test", subjects=(11,), every=65)) == 2


def test_all_forms_give_the_same(root, tmp_path_factory):
    wanted = Human36m(root, "test", protocol=1, every=1)
    one, protocol = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("protocol")
    in_one(one, 11, [0, 64, 65, 128])
    by_protocol(protocol, (9, 11), [0, 64, 65, 128], "Sample_64_test_Human36M_protocol_2.json")
    by_protocol(protocol, (1,), [0], "Sample_train_Human36M_protocol_2.json")
    for folder, options in ((one, {"protocol": 1, "every": 1}), (protocol, {})):
        (folder / "images").symlink_to(root / "images")
        data = Human36m(folder, "test", **options)  # by protocol all frames, since the file holds no others
        assert data.names == wanted.names
        np.testing.assert_allclose(data[0].keypoints, wanted[0].keypoints)
        np.testing.assert_allclose(data._poses, wanted._poses, atol=1e-6)
        assert data[0].extra["root_depth"] == pytest.approx(wanted[0].extra["root_depth"])


def test_a_file_by_any_name(root):
    by_protocol(root, (5,), [0, 1], "mine.json")
    assert len(Human36m(root, "train", annotations=root / "annotations" / "mine.json")) == 2


def test_flipped_joints_change_sides():
    order = flip_order(18, Human36m.flip_pairs)
    sides = {"left": "right", "right": "left"}
    swapped = ["_".join(sides.get(part, part) for part in name.split("_")) for name in HUMAN36M_NAMES]
    assert [HUMAN36M_NAMES[k] for k in order] == swapped


def test_errors_are_measured_in_space(root):
    item = Human36m(root, "test")[0]
    found = item.keypoints + np.array([0, 0, 50])  # all 50 mm too deep, the root too
    spaces = [torch.from_numpy(to_camera(points, item.extra))[None] for points in (found, item.keypoints)]
    metric = JointError(joints=Human36m.evaluated, num_bootstrap=0).set_dtype(torch.float64)
    metric.update(*spaces, torch.ones(1, 18, dtype=torch.bool))
    result = metric.compute()
    truth = in_camera(pose(11, 0))
    scaled = truth * (truth[:, 2:] + 50) / truth[:, 2:]
    offsets = (scaled - scaled[0]) - (truth - truth[0])
    assert float(result["mpjpe"]) == pytest.approx(np.linalg.norm(offsets, axis=1).mean())
    assert result["mpjpe_per_joint"].shape == (17,)


def test_a_missing_image_is_named_when_it_is_taken(root):
    with pytest.raises(FileNotFoundError, match=r"s_11_act_05_subact_02_ca_03_000065\.png"):
        Human36m(root, "test")[1]


def test_bad_input_is_named(root, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(
        FileNotFoundError, match=r"no annotations in .*: looked for Human36M_subject1_data\.json, Human36M_"
    ):
        Human36m(empty)
    with pytest.raises(FileNotFoundError, match=r"no Human36M_subject8_data\.json, while other subjects are there"):
        Human36m(root, subjects=(9, 8))
    with pytest.raises(ValueError, match="protocol and split must be 1 or 2 and train or test, got 2 and 'val'"):
        Human36m(root, "val")
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        Human36m(root, every=0)
    with pytest.raises(ValueError, match="subjects must be at least one"):
        Human36m(root, subjects=())
    with pytest.raises(FileNotFoundError, match="annotations: no such file"):
        Human36m(root, annotations=root / "none.json")
    with pytest.raises(ValueError, match=r"no frames in steps of 64, \d+ left out \(positions known not"):
        Human36m(root, "test", subjects=(9,))
    for name in ("a_test_protocol_2.json", "b_test_protocol_2.json"):
        by_protocol(empty, (11,), [0], name)
    with pytest.raises(
        ValueError, match=r"several files of split 'test', say which by `annotations`: a_test_protocol_2"
    ):
        Human36m(empty, "test")


def change(root: Path, name: str, edit) -> None:
    path = root / "annotations" / name
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("data", lambda c: c.pop("images"), r"_data\.json: expected an object with the lists images and annotations"),
        (
            "data",
            lambda c: c["images"].pop(),
            r"annotations\[3\]: expected an object whose image_id is the id of an im",
        ),
        ("data", lambda c: c["images"][1].pop("cam_idx"), r"annotations\[1\] \(image 11064\): no 'cam_idx'"),
        ("data", lambda c: c["annotations"][0].update(bbox=[1, 2]), r"annotations\[0\] .* bbox must be x, y, width"),
        ("data", lambda c: c["annotations"][0].update(bbox=None), r"annotations\[0\] \(image 11000\): "),
        ("camera", lambda c: c["3"].update(R=[[2, 0, 0], [0, 1, 0], [0, 0, 1]]), "R must be a rotation of 3 x 3 numbe"),
        ("camera", lambda c: c["3"].update(t=[1, 2]), r"t must be 3 numbers, got \[1, 2\]"),
        ("camera", lambda c: c["3"].update(f=[1, -2]), "focal: expected two finite numbers"),
        ("camera", lambda c: c["3"].update(t=[0, 0, -5000]), r"joints must lie before the camera, got a depth of -"),
        ("joint_3d", lambda c: c["5"]["2"].pop("64"), "_joint_3d.json has no entry of .*, frame_idx 64"),
        ("camera", lambda c: c.pop("3"), r"\(image 11000\): Human36M_subject11_camera\.json has no entry of cam_idx 3"),
        ("joint_3d", lambda c: c["5"]["2"]["0"].pop(), r"expected 17 joints of 3 numbers, got \(16, 3\)"),
        ("joint_3d", lambda c: c["5"]["2"]["0"][4].__setitem__(0, float("nan")), "joints must be finite numbers"),
    ],
)
def test_what_is_malformed_is_named(root, file, edit, message):
    change(root, f"Human36M_subject11_{file}.json", edit)
    with pytest.raises(ValueError, match=message) as error:
        Human36m(root, "test", protocol=1)
    assert "Human36M_subject11_" in str(error.value)


def test_a_missing_camera_file_is_named(root):
    (root / "annotations" / "Human36M_subject11_camera.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no such file: .*Human36M_subject11_camera\.json"):
        Human36m(root, "test", protocol=1)
