"""COCO's people with 17 keypoints, in the data set's own layout."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pcsargmax.datasets.images.dropped import OUTSIDE, left_out, nothing_left
from pcsargmax.datasets.images.item import ImageItem
from pcsargmax.io.coco import read_coco
from pcsargmax.io.images import read_image
from pcsargmax.io.markups import read_json

#: COCO's keypoints, in its order.
COCO_NAMES = (
    "nose",
    *("left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
#: Each left keypoint and its right one.
COCO_FLIP_PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))


class _Person(NamedTuple):
    name: str
    file: Path
    box: tuple[float, float, float, float]
    keypoints: np.ndarray  # (17, 3) x, y, v
    extra: dict[str, Any]


class CocoKeypoints:
    """People of COCO keypoints (Lin et al., ECCV 2014), one per item.

    Layout: annotations/person_keypoints_{split}2017.json and the images in {split}2017/ under `root`, as they are
    downloaded from cocodataset.org (in images/{split}2017/ too).

    An item has 17 keypoints in pixels, those without a label (v = 0) NaN and not visible, hidden ones (v = 1) visible;
    `extra` has image_id, annotation_id (None of a detector's box), score (of the box, 1 of an annotated one), area
    (pixels², of the segment; NaN of a detector's box). Boxes are cut off at the image's edges.

    What is left out is counted in `dropped`: crowds, people without a labelled keypoint (`unlabelled` keeps them), and
    boxes of which nothing lies in the image.

    Args:
        root: the folder.
        split: "train" or "val", or another that has an annotation file.
        boxes: a detector's boxes instead of the annotated ones: JSON of COCO's result format, a list of
            {"image_id", "category_id", "bbox", "score"}. Keypoints are then unknown, and poses measured by
            `CocoKeypointAP` alone; for tests, not for training.
        min_score: boxes of a lower score are left out.
        unlabelled: keep people without a labelled keypoint.

    Attributes:
        annotation_file: what `CocoKeypointAP` takes.
        dropped: why items were left out, and how many.

    Raises:
        FileNotFoundError: naming the file or folder that is missing. ValueError: naming the file, for malformed
        content, or where nothing is left; when an item is taken, for its image.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from pcsargmax.datasets.images import CocoKeypoints
        >>> for folder in ("annotations", "val2017"):
        ...     Path("coco", folder).mkdir(parents=True)
        >>> Image.new("RGB", (64, 48)).save("coco/val2017/000000000139.jpg")
        >>> person = {"id": 7, "image_id": 139, "category_id": 1, "bbox": [8, 4, 20, 40], "area": 500.0, "iscrowd": 0}
        >>> person |= {"num_keypoints": 1, "keypoints": [18, 9, 2] + [0, 0, 0] * 16}
        >>> image = {"id": 139, "file_name": "000000000139.jpg", "width": 64, "height": 48}
        >>> content = {"images": [image], "annotations": [person], "categories": [{"id": 1, "name": "person"}]}
        >>> _ = Path("coco/annotations/person_keypoints_val2017.json").write_text(json.dumps(content))
        >>> people = CocoKeypoints("coco", "val")
        >>> people.names, people[0].keypoints[0], people[0].visible.sum().item()
        (('000000000139-7',), array([18.,  9.]), 1)
    """

    keypoint_names = COCO_NAMES
    flip_pairs = COCO_FLIP_PAIRS
    dimension = 2

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        boxes: str | Path | None = None,
        min_score: float = -math.inf,
        unlabelled: bool = False,
    ) -> None:
        """Read the annotations and, if asked for, the boxes; images are read when they are taken."""
        self.root, self.split = Path(root).expanduser(), split
        self.annotation_file = _annotation_file(self.root, split)
        self.folder = _image_folder(self.root, split)
        truth = read_coco(self.annotation_file, num_keypoints=len(COCO_NAMES))
        dropped: Counter[str] = Counter()
        if boxes is None:
            self._people = self._annotated(truth, unlabelled, dropped)
        else:
            self._people = self._detected(truth, Path(boxes).expanduser(), min_score, dropped)
        self.dropped = dict(dropped)
        if not self._people:
            raise nothing_left(boxes or self.annotation_file, "people", dropped)

    @property
    def names(self) -> tuple[str, ...]:
        """The image's stem and the annotation's id, or the place of the box in its file: 000000000139-1710294."""
        return tuple(person.name for person in self._people)

    @property
    def image_ids(self) -> tuple[int, ...]:
        """The image of each item."""
        return tuple(person.extra["image_id"] for person in self._people)

    def __len__(self) -> int:
        """Number of people."""
        return len(self._people)

    def __getitem__(self, index: int) -> ImageItem:
        """Read the image of a person."""
        person = self._people[index]
        visible = person.keypoints[:, 2] > 0
        keypoints = np.where(visible[:, None], person.keypoints[:, :2], np.nan)
        image = read_image(person.file)
        return ImageItem(person.name, image, keypoints, visible, np.array(person.box), dict(person.extra))

    def __repr__(self) -> str:
        """Name the folder and its numbers."""
        return f"CocoKeypoints({self.root}, {self.split}, {len(self)} people{left_out(self.dropped)})"

    def _annotated(self, truth: Any, unlabelled: bool, dropped: Counter[str]) -> list[_Person]:
        people = []
        for annotation in sorted(truth.dataset["annotations"], key=lambda a: (a["image_id"], a["id"])):
            keypoints = np.array(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
            box = inside(annotation["bbox"], truth.imgs[annotation["image_id"]])
            if annotation["iscrowd"]:
                dropped["crowd"] += 1
            elif not unlabelled and not (keypoints[:, 2] > 0).any():
                dropped["no labelled keypoint"] += 1
            elif box is None:
                dropped[OUTSIDE] += 1
            else:
                extra = {"annotation_id": annotation["id"], "score": 1.0, "area": float(annotation["area"])}
                people.append(self._person(truth, annotation["image_id"], annotation["id"], box, keypoints, extra))
        return people

    def _detected(self, truth: Any, path: Path, min_score: float, dropped: Counter[str]) -> list[_Person]:
        category, people = truth.dataset["categories"][0]["id"], []
        unknown = np.zeros((len(COCO_NAMES), 3))
        for number, found in enumerate(_read_boxes(path)):
            if found["image_id"] not in truth.imgs:
                raise ValueError(f"{path}: [{number}]: no image_id {found['image_id']!r} in {self.annotation_file}")
            box = inside(found["bbox"], truth.imgs[found["image_id"]])
            if found["category_id"] != category:
                dropped["another category"] += 1
            elif found["score"] < min_score:
                dropped["score below min_score"] += 1
            elif box is None:
                dropped[OUTSIDE] += 1
            else:
                extra = {"annotation_id": None, "score": float(found["score"]), "area": math.nan}
                people.append(self._person(truth, found["image_id"], number, box, unknown, extra))
        return people

    def _person(self, truth: Any, image_id: int, number: int, box: Any, keypoints: Any, extra: Any) -> _Person:
        file = self.folder / truth.imgs[image_id]["file_name"]
        return _Person(f"{file.stem}-{number}", file, box, keypoints, {"image_id": image_id} | extra)


def inside(box: list[float], image: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """A box (x, y, width, height) cut off at the edges of its image, where the file tells its size; None if empty."""
    x, y, width, height = (float(number) for number in box)
    left, top = max(x, 0.0), max(y, 0.0)
    right = min(x + width, float(image.get("width", math.inf)))
    bottom = min(y + height, float(image.get("height", math.inf)))
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None


def _annotation_file(root: Path, split: str) -> Path:
    folder = root / "annotations"
    path = folder / f"person_keypoints_{split}2017.json"
    if not root.is_dir():
        raise FileNotFoundError(f"root: no such folder: {root.absolute()}")
    if not path.is_file():
        there = sorted(file.name for file in folder.glob("person_keypoints_*.json")) if folder.is_dir() else []
        raise FileNotFoundError(f"split: no file {path.absolute()}; there: {', '.join(there) or 'none like it'}")
    return path


def _image_folder(root: Path, split: str) -> Path:
    places = [root / f"{split}2017", root / "images" / f"{split}2017"]
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"root: no folder of images, {places[0].absolute()} or {places[1].absolute()}")


def _read_boxes(path: Path) -> list[dict[str, Any]]:
    """A detector's boxes; each is found to have what is needed."""
    if not path.is_file():
        raise FileNotFoundError(f"boxes: no such file: {path.absolute()}")
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of detections, got {type(content).__name__}")
    for number, found in enumerate(content):
        box = found.get("bbox") if isinstance(found, dict) else None
        numbers = [*box, found.get("score")] if isinstance(box, list) else []
        whole = len(numbers) == 5 and all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
        if not whole or not isinstance(found.get("image_id"), int) or "category_id" not in found:
            raise ValueError(
                f"{path}: [{number}]: expected a whole image_id, category_id, bbox (x, y, width, height) and score, "
                f"got {found!r:.200}"
            )
    return content
