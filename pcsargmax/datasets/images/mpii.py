"""MPII's people in the plane, alone or beside Human3.6M's in training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcsargmax.datasets.images.coco import inside
from pcsargmax.datasets.images.dropped import OUTSIDE, left_out, nothing_left
from pcsargmax.datasets.images.human36m import HUMAN36M_FLIP_PAIRS, HUMAN36M_NAMES, Human36m
from pcsargmax.datasets.images.item import ImageItem
from pcsargmax.io.coco import read_coco
from pcsargmax.io.images import read_image

#: MPII's joints, in its order.
MPII_NAMES = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("pelvis", "thorax", "neck", "head", "right_wrist", "right_elbow", "right_shoulder"),
    *("left_shoulder", "left_elbow", "left_wrist"),
)
#: Each right joint and its left one.
MPII_FLIP_PAIRS = ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13))


class MpiiKeypoints:
    """People of MPII Human Pose (Andriluka et al., CVPR 2014) from annotations in COCO's format, one per item.

    Layout: annotations/annot_mpii.json or annotations/{split}.json, and images/ under `root`.

    An item has the 16 joints of MPII in pixels, or with `human36m` the 18 of `Human36m`, those of the same name in
    (18, 3) with depth NaN, the torso and the nose unknown: a loss has to leave out each coordinate that is NaN. `extra`
    has image_id and annotation_id. Boxes are cut off at the image's edges; crowds, people without a labelled joint and
    boxes of which nothing lies in the image are left out and counted in `dropped`.

    Args:
        root: the folder.
        split: "train", or another that has an annotation file.
        human36m: give the joints of `Human36m`.
        annotations: the file, under any name.

    Raises:
        FileNotFoundError: naming the file that is missing. ValueError: naming file and annotation, for malformed
        content, or where nobody is left; when an item is taken, for its image.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from pcsargmax.datasets.images import MpiiKeypoints
        >>> for folder in ("annotations", "images"):
        ...     Path("mpii", folder).mkdir(parents=True)
        >>> Image.new("RGB", (64, 48)).save("mpii/images/a.jpg")
        >>> person = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [8, 4, 20, 40]}
        >>> person |= {"keypoints": [18, 40, 1] + [0, 0, 0] * 15}
        >>> image = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}
        >>> content = {"images": [image], "annotations": [person], "categories": [{"id": 1, "name": "person"}]}
        >>> _ = Path("mpii/annotations/train.json").write_text(json.dumps(content))
        >>> people = MpiiKeypoints("mpii")
        >>> people.keypoint_names[0], people[0].keypoints[0]
        ('right_ankle', array([18., 40.]))
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        human36m: bool = False,
        annotations: str | Path | None = None,
    ) -> None:
        """Read the annotations; images are read when they are taken."""
        self.root, self.human36m = Path(root).expanduser(), human36m
        self.annotation_file = _annotation_file(self.root, split) if annotations is None else Path(annotations)
        truth = read_coco(self.annotation_file, num_keypoints=len(MPII_NAMES), evaluation=False)
        self.keypoint_names = HUMAN36M_NAMES if human36m else MPII_NAMES
        self.flip_pairs = HUMAN36M_FLIP_PAIRS if human36m else MPII_FLIP_PAIRS
        self.dimension = 3 if human36m else 2
        dropped: Counter[str] = Counter()
        self._people = []
        for annotation in sorted(truth.dataset["annotations"], key=lambda a: (a["image_id"], a["id"])):
            keypoints = np.array(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
            image = truth.imgs[annotation["image_id"]]
            box = inside(annotation["bbox"], image)
            if annotation.get("iscrowd"):
                dropped["crowd"] += 1
            elif not (keypoints[:, 2] > 0).any():
                dropped["no labelled joint"] += 1
            elif box is None:
                dropped[OUTSIDE] += 1
            else:
                extra = {"image_id": annotation["image_id"], "annotation_id": annotation["id"]}
                self._people.append((str(image["file_name"]), box, keypoints, extra))
        self.dropped = dict(dropped)
        if not self._people:
            raise nothing_left(self.annotation_file, "people", dropped)

    @property
    def names(self) -> tuple[str, ...]:
        """The image's stem and the annotation's id."""
        return tuple(self._name(file, extra) for file, _, _, extra in self._people)

    def __len__(self) -> int:
        """Number of people."""
        return len(self._people)

    def __getitem__(self, index: int) -> ImageItem:
        """Read the image of a person."""
        file, box, keypoints, extra = self._people[index]
        known = np.where(keypoints[:, 2:] > 0, keypoints[:, :2], np.nan)
        if self.human36m:
            own, known = known, np.full((len(HUMAN36M_NAMES), 3), np.nan)
            for row, name in enumerate(HUMAN36M_NAMES):
                if name in MPII_NAMES:
                    known[row, :2] = own[MPII_NAMES.index(name)]
        image = read_image(self.root / (file if file.startswith("images/") else f"images/{file}"))
        visible = np.asarray(np.isfinite(known[:, :2]).all(axis=1))
        return ImageItem(self._name(file, extra), image, known, visible, np.array(box), dict(extra))

    @staticmethod
    def _name(file: str, extra: dict[str, Any]) -> str:
        return f"{Path(file).stem}-{extra['annotation_id']}"

    def __repr__(self) -> str:
        """Name the folder and its numbers."""
        return f"MpiiKeypoints({self.root}, {len(self)} people{left_out(self.dropped)})"


class Human36mMpii:
    """Frames of Human3.6M and people of MPII, for joint training in 3-D and 2-D (Sun et al., ECCV 2018).

    Items are all of the first, then all of the second. `epoch` draws the order of an epoch as the paper's published
    code does: each frame of Human3.6M once, and as many people of MPII at random.

    Args:
        frames: of Human3.6M.
        people: of MPII, with `human36m=True`.

    Raises:
        ValueError: the people have not the joints of the frames.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import torch
        >>> from pcsargmax.datasets.images import Human36m, Human36mMpii, MpiiKeypoints
        >>> camera = {"R": np.eye(3).tolist(), "t": [0, 0, 0], "f": [100, 100], "c": [32, 24]}
        >>> frame = {"id": 1, "file_name": "s_01.jpg", "width": 64, "height": 48, "frame_idx": 0, "cam_param": camera}
        >>> pose = {"id": 1, "image_id": 1, "bbox": [20, 4, 24, 40], "keypoints_cam": [[0, 0, 4000]] * 17}
        >>> _ = Path("h36m.json").write_text(json.dumps({"images": [frame], "annotations": [pose]}))
        >>> person = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [8, 4, 20, 40]}
        >>> person |= {"keypoints": [18, 40, 1] + [0, 0, 0] * 15}
        >>> mpii = {"images": [frame], "annotations": [person], "categories": [{"id": 1, "name": "person"}]}
        >>> _ = Path("mpii.json").write_text(json.dumps(mpii))
        >>> frames = Human36m(".", annotations="h36m.json")
        >>> both = Human36mMpii(frames, MpiiKeypoints(".", human36m=True, annotations="mpii.json"))
        >>> len(both), both.epoch(torch.Generator()).sort().values  # one frame, and as many people
        (2, tensor([0, 1]))
    """

    keypoint_names = HUMAN36M_NAMES
    flip_pairs = HUMAN36M_FLIP_PAIRS
    dimension = 3

    def __init__(self, frames: Human36m, people: MpiiKeypoints) -> None:
        """Put the two together."""
        if people.keypoint_names != self.keypoint_names:
            raise ValueError("people: expected MpiiKeypoints with human36m=True, got MPII's own joints")
        self.frames, self.people = frames, people
        self.evaluated = frames.evaluated
        self.dropped = {f"Human3.6M: {reason}": number for reason, number in frames.dropped.items()}
        self.dropped |= {f"MPII: {reason}": number for reason, number in people.dropped.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the frames, then those of the people."""
        return self.frames.names + self.people.names

    def __len__(self) -> int:
        """Number of frames and people."""
        return len(self.frames) + len(self.people)

    def __getitem__(self, index: int) -> ImageItem:
        """Read a frame or a person."""
        index = range(len(self))[index]
        return self.frames[index] if index < len(self.frames) else self.people[index - len(self.frames)]

    def epoch(self, generator: torch.Generator) -> torch.Tensor:
        """Indices (2F,) of an epoch, shuffled: each of the F frames once, and F draws of people with replacement."""
        number = len(self.frames)
        drawn = number + torch.randint(len(self.people), (number,), generator=generator)
        both = torch.cat([torch.arange(number), drawn])
        return both[torch.randperm(len(both), generator=generator)]


def _annotation_file(root: Path, split: str) -> Path:
    places = [root / "annotations" / name for name in ("annot_mpii.json", f"{split}.json")]
    places = places if split == "train" else places[1:]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"annotations: no such file: {' or '.join(str(place.absolute()) for place in places)}")
