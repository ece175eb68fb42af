"""The three forms in which the annotations of Human3.6M go round, read into one.

All are JSON with COCO's lists `images` and `annotations`, an annotation an image:

    by subject   Human36M_subject{S}_data.json, _camera.json ({camera: {R, t, f, c}}) and _joint_3d.json
                 ({action: {subaction: {frame: 17 x 3}}}, world), which 3DMPPE uses; camera = R · world + t
    in one       Human36M_subject{S}.json, each image with cam_param, each annotation with keypoints_cam
    by protocol  {any name with the split}_protocol_{1 or 2}.json, each image with cam_param, each annotation with
                 keypoints_cam, else keypoints_world; camera = R · (world − t)

Positions are in mm. What is in the camera's frame is taken before what must be turned into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pcsargmax.datasets.images.camera import Camera
from pcsargmax.io.markups import read_json


class Frame(NamedTuple):
    """A frame of the set.

    Attributes:
        file: name of the image under images/.
        where: file and annotation, for messages.
        box: x, y, width, height, pixels, as annotated.
        size: width and height of the image, pixels.
        joints: (17, 3) in the camera's frame, mm.
        camera: of the frame.
        image: its entry among the images.
    """

    file: str
    where: str
    box: list[float]
    size: tuple[float, float]
    joints: np.ndarray
    camera: Camera
    image: dict[str, Any]


def find_files(folder: Path, split: str, subjects: Sequence[int], protocol: int) -> list[Path]:
    """The files of the first form that the folder has, one a subject or one in all.

    Raises:
        FileNotFoundError: no form is there, or not of all subjects, saying what was looked for.
        ValueError: several files by protocol.
    """
    forms = ["Human36M_subject{}_data.json", "Human36M_subject{}.json"]
    for form in forms:
        files = [folder / form.format(subject) for subject in subjects]
        missing = [file.name for file in files if not file.is_file()]
        if len(missing) < len(files):
            if missing:
                raise FileNotFoundError(f"{folder.absolute()}: no {', '.join(missing)}, while other subjects are there")
            return files
    found = sorted(folder.glob(f"*{split}*_protocol_{protocol}.json")) if folder.is_dir() else []
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"{folder}: several files of split {split!r}, say which by `annotations`: {names}")
    if not found:
        looked = ", ".join([form.format(subjects[0]) for form in forms] + [f"*{split}*_protocol_{protocol}.json"])
        raise FileNotFoundError(f"no annotations in {folder.absolute()}: looked for {looked}")
    return found


def read_frames(path: Path, every: int) -> Iterator[Frame]:
    """The frames of a file whose frame_idx is a multiple of `every`; 1: all, and none needs a frame_idx.

    Raises:
        FileNotFoundError: a file beside it is missing. ValueError: naming file and annotation, for what is malformed or
        lies behind its camera.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise ValueError(f"{path}: expected an object with the lists images and annotations")
    images = {image.get("id"): image for image in content["images"] if isinstance(image, dict)}
    joints_of = _by_subject(path) if path.name.endswith("_data.json") else _in_one
    for number, annotation in enumerate(content["annotations"]):
        where = f"{path}: annotations[{number}]"
        image = images.get(annotation.get("image_id")) if isinstance(annotation, dict) else None
        if image is None:
            raise ValueError(
                f"{where}: expected an object whose image_id is the id of an image, got {annotation!r:.200}"
            )
        try:
            if every > 1 and int(image["frame_idx"]) % every:
                continue
            joints, camera = joints_of(image, annotation)
            size = float(image["width"]), float(image["height"])
            box = [float(value) for value in annotation["bbox"]]
            frame = Frame(str(image["file_name"]), where, box, size, joints, camera, image)
        except KeyError as error:
            raise ValueError(f"{where} (image {image.get('id')}): no {error}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where} (image {image.get('id')}): {error}") from None
        _check(frame)
        yield frame


def _by_subject(path: Path) -> Any:
    """What finds the joints and the camera of a frame in the two files beside a subject's images."""
    files = [path.with_name(path.name.replace("_data.json", ending)) for ending in ("_camera.json", "_joint_3d.json")]
    cameras, poses = map(_beside, files)

    def find(image: dict[str, Any], annotation: dict[str, Any]) -> tuple[np.ndarray, Camera]:
        camera = _entry(cameras, files[0], image, "cam_idx")
        pose = _entry(poses, files[1], image, "action_idx", "subaction_idx", "frame_idx")
        joints = _points(pose) @ _rotation(camera).T + _numbers(camera["t"])
        return joints, Camera(camera["f"], camera["c"])

    return find


def _entry(content: Any, path: Path, image: dict[str, Any], *names: str) -> Any:
    """What a file holds of an image, by its numbers of these names, one within the other."""
    numbers = [str(image[name]) for name in names]
    for number in numbers:
        if not isinstance(content, dict) or number not in content:
            told = ", ".join(f"{name} {value}" for name, value in zip(names, numbers, strict=True))
            raise ValueError(f"{path.name} has no entry of {told}")
        content = content[number]
    return content


def _beside(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path.absolute()}")
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object, got {type(content).__name__}")
    return content


def _in_one(image: dict[str, Any], annotation: dict[str, Any]) -> tuple[np.ndarray, Camera]:
    camera = image["cam_param"]
    if "keypoints_cam" in annotation:
        joints = _points(annotation["keypoints_cam"])
    else:
        joints = (_points(annotation["keypoints_world"]) - _numbers(camera["t"])) @ _rotation(camera).T
    return joints, Camera(camera["f"], camera["c"])


def _points(values: Any) -> np.ndarray:
    points = np.array(values, dtype=np.float64)
    if points.size != 51:
        raise ValueError(f"expected 17 joints of 3 numbers, got {points.shape}")
    return points.reshape(17, 3)


def _rotation(camera: dict[str, Any]) -> np.ndarray:
    rotation = np.array(camera["R"], dtype=np.float64).reshape(-1)
    if rotation.size != 9 or not np.allclose(rotation.reshape(3, 3) @ rotation.reshape(3, 3).T, np.eye(3), atol=1e-3):
        raise ValueError(f"R must be a rotation of 3 x 3 numbers, got {camera['R']}")
    return rotation.reshape(3, 3)


def _numbers(values: Any) -> np.ndarray:
    numbers = np.array(values, dtype=np.float64).reshape(-1)
    if numbers.size != 3:
        raise ValueError(f"t must be 3 numbers, got {values}")
    return numbers


def _check(frame: Frame) -> None:
    if not np.isfinite(frame.joints).all():
        raise ValueError(f"{frame.where} ({frame.file}): joints must be finite numbers")
    if (frame.joints[:, 2] <= 0).any():
        raise ValueError(
            f"{frame.where} ({frame.file}): joints must lie before the camera, got a depth of "
            f"{frame.joints[:, 2].min():.6g} mm; are R and t as the form has them?"
        )
    if len(frame.box) != 4 or not np.isfinite(frame.box).all():
        raise ValueError(f"{frame.where} ({frame.file}): bbox must be x, y, width, height, got {frame.box}")
