"""Annotation files in COCO's format, of whatever keypoints: read by pycocotools, checked first, without its prints."""

from __future__ import annotations

import contextlib
import io
import math
from pathlib import Path
from typing import Any

from pcsargmax.io.markups import read_json

#: The lists that a file must have.
_PARTS = ("images", "annotations", "categories")
#: What an annotation must have, the last three for COCO's evaluation.
_NEEDED = ("id", "image_id", "category_id", "keypoints", "bbox", "num_keypoints", "area", "iscrowd")


def read_coco(source: str | Path | dict[str, Any], *, num_keypoints: int | None = None, evaluation: bool = True) -> Any:
    """A `pycocotools.coco.COCO` of an annotation file, or of what one holds.

    Args:
        source: the file, or its content, which is taken as it is and not copied.
        num_keypoints: what each annotation must have; None: as many as the first.
        evaluation: whether annotations must have what COCO's evaluation needs too, area, iscrowd and num_keypoints.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: pycocotools is not installed, or the content is no annotations of keypoints of one category; naming
            the file and the annotation.
    """
    where = "annotations" if isinstance(source, dict) else str(source)
    if not isinstance(source, dict) and not Path(source).is_file():
        raise FileNotFoundError(f"annotations: no such file: {Path(source).absolute()}")
    content = source if isinstance(source, dict) else read_json(Path(source))
    _check(content, num_keypoints, _NEEDED if evaluation else _NEEDED[:5], where)
    return coco_index(content)


def coco_index(content: dict[str, Any]) -> Any:
    """A `pycocotools.coco.COCO` of content that has been checked."""
    try:
        from pycocotools.coco import COCO
    except ImportError:
        raise ValueError("pycocotools is not installed: pip install 'pcsargmax[image]'") from None
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
    return truth


def _check(content: Any, num_keypoints: int | None, needed: tuple[str, ...], where: str) -> None:
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in _PARTS):
        raise ValueError(f"{where}: expected COCO annotations, an object with the lists {', '.join(_PARTS)}")
    categories = [c.get("id") if isinstance(c, dict) else None for c in content["categories"]]
    if len(categories) != 1 or categories[0] is None:
        raise ValueError(f"{where}: expected one category with an id, such as COCO's person, got {categories}")
    images: set[Any] = set()
    for number, image in enumerate(content["images"]):
        if not isinstance(image, dict) or not isinstance(image.get("id"), int) or "file_name" not in image:
            raise ValueError(f"{where}: images[{number}]: expected an object with a whole id and a file_name")
        if image["id"] in images:
            raise ValueError(f"{where}: images[{number}]: id {image['id']} is there twice")
        images.add(image["id"])
    seen: set[Any] = set()
    for number, annotation in enumerate(content["annotations"]):
        num_keypoints = _check_annotation(annotation, num_keypoints, needed, f"{where}: annotations[{number}]")
        if annotation["id"] in seen:
            raise ValueError(f"{where}: annotations[{number}]: id {annotation['id']} is there twice")
        seen.add(annotation["id"])
        if annotation["image_id"] not in images:
            raise ValueError(f"{where}: annotations[{number}]: no image has the id {annotation['image_id']}")
        if annotation["category_id"] != categories[0]:
            raise ValueError(f"{where}: annotations[{number}]: no category has the id {annotation['category_id']}")


def _check_annotation(annotation: Any, num_keypoints: int | None, needed: tuple[str, ...], where: str) -> int:
    """Number of the annotation's keypoints, all of which is found to be in order."""
    if not isinstance(annotation, dict) or (missing := [key for key in needed if key not in annotation]):
        lacks = ", ".join(missing) if isinstance(annotation, dict) else "all"
        raise ValueError(f"{where}: expected an object with {', '.join(needed)}; it lacks {lacks}")
    if not isinstance(annotation["id"], int) or not isinstance(annotation["image_id"], int):
        raise ValueError(
            f"{where}: id and image_id must be whole, got {annotation['id']!r} and {annotation['image_id']!r}"
        )
    where, keypoints, box = f"{where} (id {annotation['id']})", annotation["keypoints"], annotation["bbox"]
    if not _numbers(keypoints) or len(keypoints) % 3 or not keypoints:
        raise ValueError(f"{where}: keypoints must be numbers x, y, v of each, got {keypoints!r}")
    if num_keypoints is not None and len(keypoints) != 3 * num_keypoints:
        raise ValueError(f"{where}: expected {num_keypoints} keypoints, got {len(keypoints) // 3}")
    if any(v not in (0, 1, 2) for v in keypoints[2::3]):
        raise ValueError(f"{where}: v must be 0, 1 or 2, got {keypoints[2::3]}")
    if not _numbers(box) or len(box) != 4:
        raise ValueError(f"{where}: bbox must be x, y, width, height, got {box!r}")
    if "area" in needed and not _numbers([annotation["area"]]):
        raise ValueError(f"{where}: area must be a number, got {annotation['area']!r}")
    return len(keypoints) // 3


def _numbers(values: Any) -> bool:
    """Whether values is a list of finite numbers."""
    return isinstance(values, list) and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
