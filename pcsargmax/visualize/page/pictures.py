"""What the browser needs of images and of what was found in them, packed small: pictures, maps, keypoints, surfaces."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from pcsargmax.visualize.images.drawing import stretch
from pcsargmax.visualize.images.picture import (
    CONTRAST,
    COVERS,
    MOST_COVER,
    Drawable,
    Picture,
    SlicePicture,
    ellipse_axes,
    picture_of,
)
from pcsargmax.visualize.page.shapes import PageScores, check_sets, levels, pack, short
from pcsargmax.visualize.palette import TRUTH_COLOR, keypoint_color, probability_scale, rgb_to_hex

#: Images of more pixels are shown smaller on the page (their files are not).
MAX_PIXELS = 500_000
#: Steps a pixel in which the rows of surfaces are kept, at most.
_STEPS = 64
#: Peak over the least probability that is told, at least: below it the colours hardly cover the image.
_WIDE = 20.0


def images_data(
    predictions: Sequence[Drawable],
    *,
    others: Sequence[Drawable] | None = None,
    titles: tuple[str, str] = ("", ""),
    keypoint: str | int | None = None,
    scores: PageScores | None = None,
    truth_name: str = "truth",
) -> dict[str, Any]:
    """Everything that images.js draws, JSON-able; the arguments are those of `shapes.page_data`.

    Raises:
        ValueError: no image, no such keypoint, keypoints and surfaces together, or sets that do not belong together.
    """
    pictures = [picture_of(one) for one in predictions]
    second = None if others is None else [picture_of(one) for one in others]
    check_sets(pictures, second, scores, "images")
    if len({isinstance(one, SlicePicture) for one in [*pictures, *(second or [])]}) > 1:
        raise ValueError("predictions: expected all of keypoints or all of surfaces, got both")
    scale = probability_scale()
    return {
        "what": pictures[0].what,
        "truth": TRUTH_COLOR,
        "truthName": truth_name,
        "scale": [rgb_to_hex(color) for color in scale],
        "cover": {"from": COVERS, "most": MOST_COVER, "contrast": CONTRAST},
        "titles": list(titles),
        "keypoint": -1 if keypoint is None else pictures[0].number(keypoint),
        "shapes": [_shape(one) for one in pictures],
        "others": None if second is None else [_beside(*pair) for pair in zip(second, pictures, strict=True)],
        "scores": None if scores is None else scores._asdict(),
    }


def _shape(picture: Picture | SlicePicture) -> dict[str, Any]:
    """What images.js needs of one image; lengths in its pixels."""
    height, width = picture.image.shape[:2]
    uri, seen = _jpeg(picture.image)
    shape: dict[str, Any] = {
        "name": picture.name,
        "annotated": picture.annotated,
        "size": [width, height],
        "edges": short(picture.edges),
        "stretch": stretch(picture),
        "image": uri,
        "maps": None,
        "surfaces": None,
        "keypoints": _surface_rows(picture) if isinstance(picture, SlicePicture) else _keypoint_rows(picture),
        "note": "" if seen == (width, height) else f"Shown with {seen[0]} × {seen[1]} of {width} × {height} pixels.",
    }
    if isinstance(picture, SlicePicture):
        return shape | {"surfaces": _surfaces(picture)}
    return shape | _maps(picture)


def _beside(picture: Picture | SlicePicture, first: Picture | SlicePicture) -> dict[str, Any]:
    """The same of a second method; "image" is None where it is that of the first, so that none is kept twice."""
    shape = _shape(picture)
    if np.array_equal(picture.image, first.image):
        shape["image"] = None
    return shape


def _maps(picture: Picture) -> dict[str, Any]:
    """Maps as one byte a cell: 0 below the least that is told, else 1 to 255 in equal ratios from it to the map's peak.

    The least is chance, below which a map only has noise; of maps that are wide, less, or they would have holes.
    """
    if picture.maps is None or picture.placed is None:
        return {}
    count, rows, columns = picture.maps.shape
    maps = np.asarray(picture.maps, dtype=np.float64).reshape(count, rows * columns)
    peaks = np.maximum(maps.max(axis=1), 0.0)
    least = float(min(1.0 / (rows * columns), peaks[peaks > 0].min(initial=1.0) / _WIDE))
    return {
        "maps": pack(levels(maps, peaks, least)),
        "peaks": [float(f"{peak:.7g}") for peak in peaks],
        "least": least,
        "cells": [columns, rows],
        "placed": short(picture.placed.T.reshape(-1)),  # a, b, c, d, e, f of an SVG matrix
    }


def _keypoint_rows(picture: Picture) -> list[dict[str, Any]]:
    error, sure = picture.error, picture.confidence
    axes = None if picture.covariance is None else ellipse_axes(picture.covariance)
    truth = np.full_like(picture.position, np.nan) if picture.truth is None else picture.truth
    seen = set(picture.shown.tolist())
    return [
        {
            "name": name,
            "color": keypoint_color(k),
            "seen": k in seen,
            "confidence": None if sure is None else short(sure[k]) or 0.0,
            "position": short(picture.position[k]),
            "truth": short(truth[k]) if np.isfinite(truth[k]).all() else None,
            "error": None if error is None else short(error[k]),
            "ellipse": None if axes is None else [*short(axes[0][k, ::-1]), short(axes[1][k])],
        }
        for k, name in enumerate(picture.names)
    ]


def _surface_rows(picture: SlicePicture) -> list[dict[str, Any]]:
    """Of a surface its deviation takes the place of a confidence."""
    error, seen = picture.error, set(picture.shown.tolist())
    return [
        {
            "name": name,
            "color": keypoint_color(k),
            "seen": k in seen,
            "confidence": None if picture.std is None else short(_mean(picture.std[k])),
            "error": None if error is None else short(error[k]),
        }
        for k, name in enumerate(picture.names)
    ]


def _surfaces(picture: SlicePicture) -> dict[str, Any]:
    """Rows, deviations and true rows of the columns, as 16-bit numbers of steps; the least of these means unknown."""
    parts = [picture.rows, picture.std, picture.truth]
    listed = [part for part in parts if part is not None]
    largest = max(float(np.abs(part[np.isfinite(part)]).max(initial=0.0)) for part in listed)
    step = max(1 / _STEPS, largest / 32767)
    whole = np.concatenate([np.where(np.isfinite(part), np.round(part / step), -32768) for part in listed])
    return {
        "packed": pack(whole.astype("<i2")),
        "step": step,
        "parts": [name for name, part in zip(("rows", "std", "truth"), parts, strict=True) if part is not None],
    }


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _jpeg(image: np.ndarray) -> tuple[str, tuple[int, int]]:
    """An image as text, and its (width, height): that of the image, or less of a large one."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    share = (MAX_PIXELS / (picture.width * picture.height)) ** 0.5
    if share < 1:
        size = max(round(share * picture.width), 1), max(round(share * picture.height), 1)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=88, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode(), picture.size
