"""What a network finds in one image, in the image's own pixels, and the files that hold it.

Predictions are written as JSON, CSV, and NumPy's .npz, which holds everything.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from pcsargmax.predictions.files import check_number, json_bytes, npz_bytes, read_npz, write_whole
from pcsargmax.predictions.parts import ArrayShapes, chosen_number, mean_known, plain, take_arrays
from pcsargmax.transforms.crop import Crop

__all__ = [
    "IMAGE_FORMATS",
    "ImageFormat",
    "ImagePrediction",
    "SurfacePrediction",
    "load_image_prediction",
    "write_image_predictions",
]

ImageFormat = Literal["json", "csv", "npz"]
IMAGE_FORMATS: tuple[str, ...] = get_args(ImageFormat)

#: What the columns of positions end in.
_AXES = ("x", "y", "z")


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """K keypoints found in one image; positions are pixels (x, y), the centre of the first pixel at (0, 0).

    D is 2, or 3 with a depth in the unit of the data (millimetres relative to the root joint). Sequences are turned
    into arrays of the type below. Raises ValueError, naming the field, for a wrong shape, or positions that are not
    finite.

    Example:
        >>> import numpy as np
        >>> from pcsargmax import ImagePrediction
        >>> from pcsargmax.transforms.crop import Crop
        >>> prediction = ImagePrediction(
        ...     name="face.png",
        ...     image=np.zeros((64, 64, 3), np.uint8),
        ...     keypoint_names=("nose",),
        ...     position=[[30, 40]],
        ...     confidence=[0.5],
        ...     covariance=[[[4, 0], [0, 4]]],
        ...     probability=np.full((1, 8, 8), 1 / 64),
        ...     crop=Crop.around((0, 0, 64, 64), (32, 32)),
        ...     truth=[[33, 44]],
        ...     visible=[True],
        ... )
        >>> prediction.error  # pixels
        array([5.])
    """

    name: str
    """What the image is called: the name of its file, or its place in a data set."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    keypoint_names: tuple[str, ...]
    """K names."""
    position: np.ndarray
    """(K, D) float64."""
    confidence: np.ndarray
    """(K,) float64, in [0, 1]: the peak of each probability map, as in the paper; no probability of being right."""
    covariance: np.ndarray
    """(K, D, D) float64, pixels², that of the depth in its own unit."""
    probability: np.ndarray
    """(K, h, w) float32: the probability maps over the cells of the crop, the depth summed out."""
    crop: Crop
    """What the network saw of the image: its input is h / w cells of `crop.size` pixels."""
    truth: np.ndarray | None = None
    """(K, D) float64, NaN where a keypoint or its depth is not known; None where nothing is known."""
    visible: np.ndarray | None = None
    """(K,) bool: which keypoints have a truth; None exactly where that is."""
    box: np.ndarray | None = None
    """(4,) float64 x, y, width, height in pixels: what the crop was made around; None is the whole image."""

    def __post_init__(self) -> None:
        """Turn the fields into arrays and check their shapes."""
        names = tuple(str(name) for name in self.keypoint_names)
        object.__setattr__(self, "keypoint_names", names)
        k, shape = len(names), np.shape(self.position)
        if k == 0:
            raise ValueError(f"ImagePrediction {self.name!r}: expected at least one keypoint name")
        if len(shape) != 2 or shape[0] != k or shape[1] not in (2, 3):
            raise ValueError(f"ImagePrediction {self.name!r}: position: expected shape ({k}, 2 or 3), got {shape}")
        if (self.truth is None) != (self.visible is None):
            had = "truth" if self.visible is None else "visible"
            raise ValueError(f"ImagePrediction {self.name!r}: expected truth and visible together, got only {had}")
        maps = np.shape(self.probability)
        if len(maps) != 3 or maps[0] != k:
            raise ValueError(f"ImagePrediction {self.name!r}: probability: expected shape ({k}, h, w), got {maps}")
        _take_image(self)
        arrays: ArrayShapes = {
            "position": (np.float64, shape),
            "confidence": (np.float64, (k,)),
            "covariance": (np.float64, (k, shape[1], shape[1])),
            "probability": (np.float32, maps),
            "truth": (np.float64, shape),
            "visible": (np.bool_, (k,)),
            "box": (np.float64, (4,)),
        }
        take_arrays(self, f"ImagePrediction {self.name!r}", arrays, finite=["position", "box"])

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.keypoint_names)

    @property
    def dimension(self) -> int:
        """D, 2 or 3."""
        return int(self.position.shape[1])

    @property
    def error(self) -> np.ndarray | None:
        """(K,) distance of each position to its truth in the image, pixels, NaN where absent; None without truth."""
        if self.truth is None or self.visible is None:
            return None
        away = np.linalg.norm(self.position[:, :2] - self.truth[:, :2], axis=1)
        return np.where(self.visible, away, np.nan)

    def mean_error(self) -> float | None:
        """Mean of `error` over the keypoints that have a truth; None where there is none."""
        return mean_known(self.error)

    def keypoint_number(self, keypoint: str | int) -> int:
        """Row of a keypoint given by its name, or by its number as int."""
        return chosen_number(keypoint, self.keypoint_names)

    def to_dict(self) -> dict[str, Any]:
        """The keypoints as plain numbers and texts, without image and maps; None for what is not finite."""
        return {
            "name": self.name,
            "units": "pixels, the centre of the first at (0, 0)",
            "keypoints": [
                {
                    "name": name,
                    "position": plain(self.position[k]),
                    "confidence": plain(self.confidence[k]),
                    "covariance": plain(self.covariance[k]),
                }
                for k, name in enumerate(self.keypoint_names)
            ],
        }

    def save(self, path: str | Path, format: ImageFormat = "json") -> Path:
        """Write one file, whole or not at all; see `write_image_predictions` for the formats."""
        return write_image_predictions(self, path, format)


@dataclass(frozen=True, eq=False)
class SurfacePrediction:
    """S surfaces found in each column of one slice; rows are pixels, the centre of the first row at 0.

    Sequences are turned into arrays of the type below. Raises ValueError, naming the field, for a wrong shape, or rows
    that are not finite.

    Example:
        >>> import numpy as np
        >>> from pcsargmax import SurfacePrediction
        >>> image, rows, truth = np.zeros((32, 4), np.uint8), [[10, 11, 11, 10]], [[10, 10, 10, 10]]
        >>> prediction = SurfacePrediction("slice", image, ("upper",), rows, std=np.ones((1, 4)), truth=truth)
        >>> prediction.error, prediction.mean_error()  # pixels
        (array([[0., 1., 1., 0.]]), 0.5)
    """

    name: str
    """What the slice is called: the name of its file, or its place in a data set."""
    image: np.ndarray
    """(H, W) or (H, W, 3) uint8."""
    surface_names: tuple[str, ...]
    """S names, downwards."""
    rows: np.ndarray
    """(S, W) float64: none above the one before it."""
    std: np.ndarray
    """(S, W) float64, pixels: the standard deviation of each surface's map along its column."""
    truth: np.ndarray | None = None
    """(S, W) float64 rows, NaN where unknown; None where nothing is known."""

    def __post_init__(self) -> None:
        """Turn the fields into arrays and check their shapes."""
        names = tuple(str(name) for name in self.surface_names)
        object.__setattr__(self, "surface_names", names)
        if not names:
            raise ValueError(f"SurfacePrediction {self.name!r}: expected at least one surface name")
        _take_image(self)
        shape = (len(names), self.image.shape[1])
        arrays: ArrayShapes = dict.fromkeys(("rows", "std", "truth"), (np.float64, shape))
        take_arrays(self, f"SurfacePrediction {self.name!r}", arrays, finite=["rows"])

    @property
    def num_surfaces(self) -> int:
        """S."""
        return len(self.surface_names)

    @property
    def error(self) -> np.ndarray | None:
        """(S, W) distance of each row to its truth, pixels, NaN where unknown; None without truth."""
        return None if self.truth is None else np.abs(self.rows - self.truth)

    def mean_error(self) -> float | None:
        """Mean of `error` where there is a truth; None where there is none."""
        return mean_known(self.error)

    def to_dict(self) -> dict[str, Any]:
        """The surfaces as plain numbers and texts, without the image; None for what is not finite."""
        return {
            "name": self.name,
            "units": "pixels, the centre of the first row at 0",
            "surfaces": [
                {"name": name, "rows": plain(self.rows[s]), "std": plain(self.std[s])}
                for s, name in enumerate(self.surface_names)
            ],
        }

    def save(self, path: str | Path, format: ImageFormat = "json") -> Path:
        """Write one file, whole or not at all; see `write_image_predictions` for the formats."""
        return write_image_predictions(self, path, format)


def _take_image(owner: Any) -> None:
    image, kind = np.asarray(owner.image), type(owner)
    grey = kind is SurfacePrediction and image.ndim == 2
    if image.dtype != np.uint8 or not (grey or (image.ndim == 3 and image.shape[2] == 3)) or 0 in image.shape:
        form = "(H, W) or (H, W, 3)" if kind is SurfacePrediction else "(H, W, 3)"
        told = f"expected {form} uint8, got {image.shape} {image.dtype}"
        raise ValueError(f"{kind.__name__} {owner.name!r}: image: {told}")
    object.__setattr__(owner, "image", image)


#: A prediction on an image, of either kind.
AnyPrediction: TypeAlias = ImagePrediction | SurfacePrediction


def write_image_predictions(
    predictions: AnyPrediction | Sequence[AnyPrediction], path: str | Path, format: ImageFormat = "json"
) -> Path:
    """Write predictions of one kind to one file, whole or not at all, and return its path.

    Formats:
        "json"  what `to_dict` gives; of a sequence {"predictions": [...]}
        "csv"   of keypoints a row an image, `file, NAME_x, NAME_y, NAME_confidence, ...` (3-D: NAME_z too), which
                `ImageFolder` reads as a table of points; of surfaces a row a column of the slice,
                `file, column, NAME, NAME_std, ...`
        "npz"   everything, image and maps included, for `load_image_prediction`; one image only

    Raises:
        ValueError: an unknown format, no prediction, several where the format holds one, or predictions of unlike
            keypoints or surfaces in one table.
    """
    if format not in IMAGE_FORMATS:
        raise ValueError(f"format: expected one of {', '.join(IMAGE_FORMATS)}, got {format!r}")
    alone = isinstance(predictions, ImagePrediction | SurfacePrediction)
    listed: list[Any] = [predictions] if alone else list(predictions)  # type: ignore[arg-type]
    check_number(len(listed), format, ("npz",))
    if format == "npz":
        return write_whole(path, _npz(listed[0]))
    return write_whole(path, _csv(listed).encode() if format == "csv" else json_bytes(listed, alone=alone))


def load_image_prediction(path: str | Path) -> AnyPrediction:
    """Read a prediction that was saved with format "npz"; nothing in the file is executed.

    Raises:
        ValueError: the file is not such a prediction.
    """

    def make(content: dict[str, Any]) -> AnyPrediction:
        if "surface_names" in content:
            return SurfacePrediction(**content | {"surface_names": tuple(content["surface_names"].tolist())})
        height, width = content.pop("crop_size").tolist()
        crop = Crop(content.pop("crop_matrix"), (height, width))
        return ImagePrediction(**content | {"keypoint_names": tuple(content["keypoint_names"].tolist()), "crop": crop})

    return read_npz(path, "a saved prediction of an image", make)


def _csv(predictions: Sequence[Any]) -> str:
    kinds = {type(one) for one in predictions}
    if len(kinds) > 1:
        raise ValueError("predictions: expected keypoints or surfaces alone in one table, got both")
    rows = _surface_rows(predictions) if kinds == {SurfacePrediction} else _keypoint_rows(predictions)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _keypoint_rows(predictions: Sequence[ImagePrediction]) -> list[list[str]]:
    first = predictions[0]
    endings = (*_AXES[: first.dimension], "confidence")
    rows = [["file", *(f"{name}_{end}" for name in first.keypoint_names for end in endings)]]
    for one in predictions:
        if (one.keypoint_names, one.dimension) != (first.keypoint_names, first.dimension):
            told = f"expected the keypoints of {first.name!r} in all, got others in {one.name!r}"
            raise ValueError(f"predictions: {told}")
        values = np.column_stack([one.position, one.confidence]).ravel().tolist()
        rows.append([one.name, *map(repr, values)])
    return rows


def _surface_rows(predictions: Sequence[SurfacePrediction]) -> list[list[str]]:
    first = predictions[0]
    rows = [["file", "column", *(f"{name}{end}" for name in first.surface_names for end in ("", "_std"))]]
    for one in predictions:
        if one.surface_names != first.surface_names:
            raise ValueError(f"predictions: expected the surfaces of {first.name!r} in all, got others in {one.name!r}")
        values = np.stack([one.rows, one.std], axis=-1).transpose(1, 0, 2).reshape(one.rows.shape[1], -1)
        rows += [[one.name, str(column), *map(repr, row)] for column, row in enumerate(values.tolist())]
    return rows


def _npz(prediction: AnyPrediction) -> bytes:
    content: dict[str, Any] = {field.name: getattr(prediction, field.name) for field in fields(prediction)}
    if (crop := content.pop("crop", None)) is not None:
        content |= {"crop_matrix": crop.matrix, "crop_size": crop.size}
    return npz_bytes(content)
