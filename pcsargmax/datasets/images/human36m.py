"""Human3.6M's people in space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.datasets.images.coco import inside
from pcsargmax.datasets.images.dropped import OUTSIDE, left_out, nothing_left
from pcsargmax.datasets.images.human36m_files import Frame, find_files, read_frames
from pcsargmax.datasets.images.item import ImageItem
from pcsargmax.io.images import read_image

#: The 17 joints of the annotations in their order, and the thorax, the middle of the shoulders, which is added to them.
HUMAN36M_NAMES = (
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("torso", "neck", "nose", "head", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_shoulder", "right_elbow", "right_wrist", "thorax"),
)
#: Each right joint and its left one.
HUMAN36M_FLIP_PAIRS = ((1, 4), (2, 5), (3, 6), (14, 11), (15, 12), (16, 13))
_SHOULDERS = [HUMAN36M_NAMES.index("left_shoulder"), HUMAN36M_NAMES.index("right_shoulder")]
#: The joints that MPJPE is counted over: all but the added one.
HUMAN36M_EVALUATED = tuple(range(17))

#: Subjects of each split by protocol (Martinez et al. 2017; Sun et al. 2018).
_SUBJECTS = {
    1: {"train": (1, 5, 6, 7, 8, 9), "test": (11,)},
    2: {"train": (1, 5, 6, 7, 8), "test": (9, 11)},
}
#: Every which frame is used of the forms that have all of them.
_EVERY = {"train": 5, "test": 64}
#: Sequences of subject 9 whose annotated positions do not fit the images, left out by the paper's published code too.
_FAULTY = ("s_09_act_05_subact_02_ca", "s_09_act_10_subact_02_ca", "s_09_act_13_subact_01_ca")


class Human36m:
    """People of Human3.6M (Ionescu et al., TPAMI 2014), one per frame, with 18 joints in 3-D.

    Layout: images/ and annotations/ under `root`, the annotations in one of the forms of
    `pcsargmax.datasets.images.human36m_files`, the first that is there.

    An item has keypoints (18, 3): x, y in pixels, depth in mm behind the pelvis. `extra` has the camera, root_depth
    (mm), subject and action as far as the file tells them; `to_camera(keypoints, extra)` gives millimetres in the
    camera's frame. MPJPE is counted over `evaluated`, the 17 annotated joints. Boxes are cut off at the image's edges.

    What is left out is counted in `dropped`: the sequences of subject 9 whose positions do not fit the images, unless
    `faulty` keeps them, and frames whose box has nothing in the image. Frames not asked for by `every` are not counted.

    Args:
        root: the folder.
        split: "train" or "test".
        protocol: 2 (the paper's): train on subjects 1, 5, 6, 7, 8, test on 9 and 11; 1: test on 11, train on the rest.
        subjects: those of a form by subject, such as (1, 5, 6, 7) to train and (8,) to choose; None: the protocol's.
        every: use frames whose number is a multiple; None: 5 to train and 64 to test, or 1 of a file by protocol,
            which holds no others.
        faulty: keep the sequences that do not fit.
        annotations: a file by protocol, under any name.

    Attributes:
        dropped: why frames were left out, and how many.

    Raises:
        FileNotFoundError: naming the file or folder that is missing. ValueError: naming file and annotation, for
        malformed content, or where nothing is left; when an item is taken, for its image.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from PIL import Image
        >>> from pcsargmax.datasets.images import Human36m
        >>> for folder in ("annotations", "images"):
        ...     Path("h36m", folder).mkdir(parents=True)
        >>> Image.new("RGB", (64, 48)).save("h36m/images/s_09.jpg")
        >>> camera = {"R": np.eye(3).tolist(), "t": [0, 0, 0], "f": [100, 100], "c": [32, 24]}
        >>> image = {"id": 1, "file_name": "s_09.jpg", "width": 64, "height": 48, "frame_idx": 0, "cam_param": camera}
        >>> pose = {"id": 1, "image_id": 1, "bbox": [20, 4, 24, 40], "keypoints_cam": [[0, 0, 4000]] * 17}  # mm
        >>> content = json.dumps({"images": [image], "annotations": [pose]})
        >>> _ = Path("h36m/annotations/Human36M_test_protocol_2.json").write_text(content)
        >>> frames = Human36m("h36m", "test")
        >>> frames[0].keypoints.shape, frames[0].keypoints[0]  # x, y in pixels, depth behind the pelvis in mm
        ((18, 3), array([32., 24.,  0.]))
    """

    keypoint_names = HUMAN36M_NAMES
    flip_pairs = HUMAN36M_FLIP_PAIRS
    evaluated = HUMAN36M_EVALUATED
    dimension = 3

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        protocol: int = 2,
        subjects: Sequence[int] | None = None,
        every: int | None = None,
        faulty: bool = False,
        annotations: str | Path | None = None,
    ) -> None:
        """Read the annotations; images are read when they are taken."""
        self.root, self.split = Path(root).expanduser(), split
        if protocol not in _SUBJECTS or split not in _EVERY:
            raise ValueError(f"protocol and split must be 1 or 2 and train or test, got {protocol} and {split!r}")
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        chosen = tuple(_SUBJECTS[protocol][split] if subjects is None else subjects)
        if not chosen:
            raise ValueError("subjects must be at least one, got none")
        files = [Path(annotations).expanduser()] if annotations is not None else None
        files = files or find_files(self.root / "annotations", split, chosen, protocol)
        if not files[0].is_file():
            raise FileNotFoundError(f"annotations: no such file: {files[0].absolute()}")
        whole = "_protocol_" in files[0].name or annotations is not None
        step = every or (1 if whole else _EVERY[split])
        dropped: Counter[str] = Counter()
        self._frames: list[tuple[str, tuple[float, ...], dict[str, Any]]] = []
        poses = [self._add(frame, faulty, dropped) for file in files for frame in read_frames(file, step)]
        self._poses = np.array([pose for pose in poses if pose is not None])
        self.dropped = dict(dropped)
        if not self._frames:
            raise nothing_left(files[0], f"frames in steps of {step}", dropped)

    def _add(self, frame: Frame, faulty: bool, dropped: Counter[str]) -> np.ndarray | None:
        """Take up a frame: its keypoints (18, 3), or None for one left out."""
        box = inside(frame.box, {"width": frame.size[0], "height": frame.size[1]})
        if not faulty and any(name in frame.file for name in _FAULTY):
            dropped["positions known not to fit"] += 1
            return None
        if box is None:
            dropped[OUTSIDE] += 1
            return None
        thorax = frame.joints[_SHOULDERS].mean(axis=0)
        depth = float(frame.joints[0, 2])
        extra = {"camera": frame.camera, "root_depth": depth}
        extra |= {key: frame.image[key] for key in ("subject", "action_name", "action_idx") if key in frame.image}
        self._frames.append((frame.file, box, extra))
        return frame.camera.to_pixels(np.vstack([frame.joints, thorax])) - [0.0, 0.0, depth]

    @property
    def names(self) -> tuple[str, ...]:
        """The image files without their folders and suffixes."""
        return tuple(Path(file).stem for file, _, _ in self._frames)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._frames)

    def __getitem__(self, index: int) -> ImageItem:
        """Read the image of a frame."""
        file, box, extra = self._frames[index]
        image = read_image(self.root / "images" / file)
        visible = np.ones(len(HUMAN36M_NAMES), dtype=bool)
        return ImageItem(Path(file).stem, image, self._poses[index], visible, np.array(box), dict(extra))

    def __repr__(self) -> str:
        """Name the folder and its numbers."""
        return f"Human36m({self.root}, {self.split}, {len(self)} frames{left_out(self.dropped)})"
