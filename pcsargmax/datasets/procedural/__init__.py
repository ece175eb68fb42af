"""Procedural categories in KeypointNet's own layout: data to train on and test with, without a download."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.datasets.keypointnet_files import (
    CLASS_IDS,
    SPLITS,
    cloud_path,
    mesh_path,
    read_category,
)
from pcsargmax.datasets.procedural.airplane import NAMES as _AIRPLANE
from pcsargmax.datasets.procedural.airplane import airplane
from pcsargmax.datasets.procedural.chair import NAMES as _CHAIR
from pcsargmax.datasets.procedural.chair import chair
from pcsargmax.datasets.procedural.model import Model, finish
from pcsargmax.datasets.procedural.mug import NAMES as _MUG
from pcsargmax.datasets.procedural.mug import mug
from pcsargmax.datasets.procedural.parts import Shape
from pcsargmax.datasets.procedural.table import NAMES as _TABLE
from pcsargmax.datasets.procedural.table import table
from pcsargmax.io.atomic import atomic_path
from pcsargmax.io.clouds import Cloud, write_cloud
from pcsargmax.io.pcd import write_pcd

FAMILIES: dict[str, Callable[[np.random.Generator], Shape]] = {
    "airplane": airplane,
    "chair": chair,
    "table": table,
    "mug": mug,
}
"""The categories that can be made, each by the function that draws one shape."""

KEYPOINTS: dict[str, dict[int, str]] = {"airplane": _AIRPLANE, "chair": _CHAIR, "table": _TABLE, "mug": _MUG}
"""What each semantic id of a category is."""

#: Listed here are the categories of a root that `make_procedural` may replace.
_MARKER = "procedural.json"


def make_procedural(
    root: str | Path,
    categories: Sequence[str] = tuple(FAMILIES),
    *,
    models: int = 200,
    num_points: int = 2048,
    seed: int = 0,
    mesh: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, int]]:
    """Write procedural categories in KeypointNet's own layout, ready for `KeypointNet(root, category)`.

    Model number n of a category depends on the seed and n alone. Of ten models seven go to train, one to val
    and two to test. A category made before is replaced; other categories of the root and their splits stay.

    Args:
        root: folder to write into, made where it is missing.
        categories: some of "airplane", "chair", "table", "mug".
        models: models a category, at least 3, so that each split has one.
        num_points: points a cloud, at least 64.
        seed: of all that is drawn.
        mesh: also write the meshes (binary PLY; surfaces hidden inside others are part of them).
        progress: called with (models written, models to write), over all categories.

    Returns:
        The number of models by category and split.

    Raises:
        ValueError: an unknown category, or a number too small.
        FileExistsError: `root` has annotations of such a category that were not made here.

    Example:
        >>> from pcsargmax import make_procedural
        >>> make_procedural("data", ["mug", "chair"], models=10, num_points=128)
        {'mug': {'train': 7, 'val': 1, 'test': 2}, 'chair': {'train': 7, 'val': 1, 'test': 2}}
    """
    root = Path(root)
    _check(root, categories, models, num_points)
    wanted = list(dict.fromkeys(categories))
    counts = {}
    for place, category in enumerate(wanted):

        def report(number: int, before: int = place * models) -> None:
            if progress is not None:
                progress(before + number, models * len(wanted))

        counts[category] = _make_category(root, category, models, num_points, seed, mesh, report)
    return counts


def draw_model(category: str, number: int = 0, *, num_points: int = 2048, seed: int = 0) -> Model:
    """Draw model `number` of a category without writing it."""
    rng = np.random.default_rng([seed, zlib.crc32(category.encode()), number])
    return finish(FAMILIES[category](rng), num_points, rng)


def _check(root: Path, categories: Sequence[str], models: int, num_points: int) -> None:
    unknown = [category for category in categories if category not in FAMILIES]
    if unknown or not categories or isinstance(categories, str):
        raise ValueError(f"categories must be some of {', '.join(FAMILIES)}; got {categories!r}")
    for name, value, least in (("models", models, 3), ("num_points", num_points, 64)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    made = _made_here(root)
    for category in categories:
        path = root / "annotations" / f"{category}.json"
        if path.exists() and category not in made:
            raise FileExistsError(f"{path} was not made by this command and is not replaced: choose another root")


def _made_here(root: Path) -> dict[str, Any]:
    """Return what the marker file of a root says was made in it, by category."""
    path = root / _MARKER
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from None


def _make_category(
    root: Path,
    category: str,
    models: int,
    num_points: int,
    seed: int,
    mesh: bool,
    report: Callable[[int], None],
) -> dict[str, int]:
    class_id = CLASS_IDS[category]
    annotations = root / "annotations" / f"{category}.json"
    _remove_old(root, category, annotations)
    settings = {"models": models, "num_points": num_points, "seed": seed, "mesh": mesh}
    _write_json(root / _MARKER, {**_made_here(root), category: settings})
    entries = []
    for number in range(models):
        model, model_id = (
            draw_model(category, number, num_points=num_points, seed=seed),
            f"{category}{number:05d}",
        )
        write_pcd(cloud_path(root, class_id, model_id), model.points, model.color)
        if mesh:
            surface = Cloud(model.vertices, color=model.vertex_color, faces=model.faces)
            write_cloud(mesh_path(root, class_id, model_id), surface)
        entries.append(_annotation(model, class_id, model_id))
        report(number + 1)
    counts = _write_splits(root, class_id, [entry["model_id"] for entry in entries])
    _write_json(annotations, entries)  # last: a category is there whole or not at all
    return counts


def _remove_old(root: Path, category: str, annotations: Path) -> None:
    """Remove what was made here before, by the names in its annotations."""
    if not annotations.is_file():
        return
    old = read_category(root, category)
    annotations.unlink()
    for model_id in old.models:
        cloud_path(root, old.class_id, model_id).unlink(missing_ok=True)
        mesh_path(root, old.class_id, model_id).unlink(missing_ok=True)


def _annotation(model: Model, class_id: str, model_id: str) -> dict[str, Any]:
    """Return a model's entry of the annotation file; `kp_indexes` are places in its list of keypoints."""
    place = {k: i for i, k in enumerate(model.keypoints)}
    keypoints = [
        {
            "xyz": model.points[row].tolist(),
            "rgb": model.color[row].tolist(),
            "semantic_id": k,
            "pcd_info": {"point_index": row},
            "mesh_info": {"face_index": face, "face_uv": uv},
        }
        for k, (row, face, uv) in model.keypoints.items()
    ]
    reflection = [{"kp_indexes": [place[k] for k in group]} for group in model.symmetries["reflection"]]
    rotation = [
        {
            "kp_indexes": [place[k] for k in group["ids"]],
            "is_circle": group["is_circle"],
            "circle": group["circle"],
        }
        for group in model.symmetries["rotation"]
    ]
    symmetries = {"reflection": reflection, "rotation": rotation}
    return {"class_id": class_id, "model_id": model_id, "keypoints": keypoints, "symmetries": symmetries}


def _write_splits(root: Path, class_id: str, model_ids: list[str]) -> dict[str, int]:
    """Add a category to the split files, in place of its old lines."""
    test, val = max(1, len(model_ids) // 5), max(1, len(model_ids) // 10)
    train = len(model_ids) - val - test
    parts = model_ids[:train], model_ids[train : train + val], model_ids[train + val :]
    for name, ids in zip(SPLITS, parts, strict=True):
        path = root / "splits" / f"{name}.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        lines = [line for line in lines if not line.startswith(f"{class_id}-")]
        lines += [f"{class_id}-{model_id}" for model_id in ids]
        with atomic_path(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return {name: len(ids) for name, ids in zip(SPLITS, parts, strict=True)}


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
