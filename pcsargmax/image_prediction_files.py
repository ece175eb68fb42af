"""Predictions of images in files: JSON, CSV, and NumPy's .npz, which holds everything."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from pcsargmax.predictions.files import check_number, json_bytes, npz_bytes, read_npz, write_whole

if TYPE_CHECKING:
    from pcsargmax.predictions.image import ImagePrediction, SurfacePrediction

    AnyPrediction: TypeAlias = ImagePrediction | SurfacePrediction

ImageFormat = Literal["json", "csv", "npz"]
IMAGE_FORMATS: tuple[str, ...] = get_args(ImageFormat)

#: What the columns of positions end in.
_AXES = ("x", "y", "z")


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
    from pcsargmax.predictions.image import ImagePrediction, SurfacePrediction

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
    from pcsargmax.predictions.image import ImagePrediction, SurfacePrediction
    from pcsargmax.transforms.crop import Crop

    def make(content: dict[str, Any]) -> AnyPrediction:
        if "surface_names" in content:
            return SurfacePrediction(**content | {"surface_names": tuple(content["surface_names"].tolist())})
        height, width = content.pop("crop_size").tolist()
        crop = Crop(content.pop("crop_matrix"), (height, width))
        return ImagePrediction(**content | {"keypoint_names": tuple(content["keypoint_names"].tolist()), "crop": crop})

    return read_npz(path, "a saved prediction of an image", make)


def _csv(predictions: Sequence[Any]) -> str:
    from pcsargmax.predictions.image import SurfacePrediction

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
