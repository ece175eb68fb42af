"""Look a data set over: what is there, what is missing, and what is wrong with it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pcsargmax.datasets.keypointnet_files import (
    FAR,
    SPLITS,
    Annotation,
    Category,
    categories,
    cloud_path,
    mesh_path,
    read_category,
    read_split,
)
from pcsargmax.io.clouds import read_cloud

if TYPE_CHECKING:
    from pcsargmax.io.markups import Frame


@dataclass
class Report:
    """What a check found.

    `models` have annotations (landmarks), `clouds` and `meshes` of them are on disk; `splits` gives the
    listed and the usable models of each; `keypoints` how many models have each keypoint. `missing` models are
    listed or annotated without the rest that they need; `length_unit` is that of a folder's landmark files, None where
    none is known; `notes` are worth knowing, `defects` to be mended.
    """

    name: str
    class_id: str = ""
    models: int = 0
    clouds: int = 0
    meshes: int = 0
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    keypoints: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    length_unit: str | None = None
    notes: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)


def is_keypointnet(root: str | Path) -> bool:
    """Tell whether a folder is laid out like KeypointNet; else it may be a landmark folder."""
    return (Path(root) / "annotations").is_dir()


def survey(root: str | Path, category: str) -> Report:
    """Count what a category has, without opening a cloud.

    Args:
        root: folder in KeypointNet's layout.
        category: name or class id.
    """
    root = Path(root)
    annotated = read_category(root, category)
    report = Report(annotated.name, annotated.class_id, models=len(annotated.models))
    present = {m for m in annotated.models if cloud_path(root, annotated.class_id, m).is_file()}
    report.clouds = len(present)
    report.meshes = sum(mesh_path(root, annotated.class_id, m).is_file() for m in annotated.models)
    missing = set(annotated.models) - present
    seen: Counter[str] = Counter()
    for split in SPLITS:
        try:
            listed = read_split(root, annotated, split)
        except FileNotFoundError as error:
            report.notes.append(str(error))
            continue
        seen.update(listed)
        missing |= set(listed) - present
        report.splits[split] = {"listed": len(listed), "usable": len(present.intersection(listed))}
    report.missing = sorted(missing)
    twice = sorted(model_id for model_id, count in seen.items() if count > 1)
    if twice:
        report.defects.append(f"{len(twice)} models are in more than one split: {_first(twice)}")
    alone = sorted(set(annotated.models) - set(seen))
    if alone and report.splits:
        report.notes.append(f"{len(alone)} annotated models are in no split: {_first(alone)}")
    ids = Counter(k.semantic_id for m in annotated.models.values() for k in m.keypoints)
    report.keypoints = {str(k): ids[k] for k in range(annotated.num_ids)}
    return report


def check_keypointnet(root: str | Path, category: str, *, progress: Callable[[int, int], None] | None = None) -> Report:
    """Read all files of a category and compare annotations with clouds.

    Args:
        root: folder in KeypointNet's layout.
        category: name or class id.
        progress: called with (models read, models).

    Returns:
        The report; a malformed annotation file is its only defect.

    Raises:
        ValueError: unknown category. FileNotFoundError: no such root.
    """
    root = Path(root)
    if category in categories(root):
        try:
            report, annotated = survey(root, category), read_category(root, category)
        except ValueError as error:
            return Report(category, defects=[str(error)])
    else:
        report, annotated = survey(root, category), read_category(root, category)
    if not report.clouds:
        looked = cloud_path(root, annotated.class_id, "").parent
        report.defects.append(f"none of the {report.models} annotated models has a cloud in {looked}")
    repeated = sum(model.repeated for model in annotated.models.values())
    if repeated:
        report.notes.append(f"{repeated} keypoints repeat a semantic id of their model; the first counts")
    for number, model in enumerate(annotated.models.values(), start=1):
        report.defects += _check_model(root, annotated, model)
        if progress is not None:
            progress(number, len(annotated.models))
    return report


def find_landmarks(root: str | Path) -> Report | None:
    """Count scans and landmark files of a folder by their names; None where there are not both."""
    from pcsargmax.io.clouds import CLOUD_SUFFIXES
    from pcsargmax.io.landmarks import LANDMARK_SUFFIXES

    names = [path.name.lower() for path in Path(root).rglob("*") if path.is_file()]
    clouds = sum(name.endswith(tuple(CLOUD_SUFFIXES)) for name in names)
    landmarks = sum(name.endswith(tuple(LANDMARK_SUFFIXES)) for name in names)
    return Report(Path(root).name, models=landmarks, clouds=clouds) if clouds and landmarks else None


def check_landmarks(
    root: str | Path, *, mesh_frame: Frame = "LPS", progress: Callable[[int, int], None] | None = None
) -> Report:
    """Read a folder of scans with landmarks; what `LandmarkFolder` refuses is a defect, its warnings notes.

    Args:
        root: the folder.
        mesh_frame: frame of its meshes, see `pcsargmax.io.markups`.
        progress: called with (files read, files).
    """
    from pcsargmax.datasets.landmarks import LandmarkFolder

    report = Report(Path(root).resolve().name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            everything = LandmarkFolder(root, "all", mesh_frame=mesh_frame, progress=progress)
        except FileNotFoundError:
            raise
        except ValueError as error:
            report.defects.append(str(error))
            return report
        for split in SPLITS:
            try:
                usable = LandmarkFolder(root, split, mesh_frame=mesh_frame)
            except ValueError as error:
                report.notes.append(str(error))
                continue
            listed = len(usable) + len(usable.missing)
            report.splits[split] = {"listed": listed, "usable": len(usable)}
            report.missing += usable.missing
    report.models = report.clouds = len(everything)
    report.length_unit = everything.length_unit
    visible = sum(item.keypoint_visible[0].int() for item in everything)
    report.keypoints = dict(zip(everything.keypoint_names, visible.tolist(), strict=True))
    report.notes += dict.fromkeys(str(warning.message) for warning in caught)
    return report


def _check_model(root: Path, category: Category, model: Annotation) -> list[str]:
    path = cloud_path(root, category.class_id, model.model_id)
    if not path.is_file():
        return []
    try:
        points = read_cloud(path).points
    except ValueError as error:
        return [str(error)]
    indexed = [k for k in model.keypoints if k.point_index is not None]
    index = np.array([k.point_index for k in indexed], dtype=int)
    outside = (index < 0) | (index >= len(points))
    defects = [
        f"{category.path}, model {model.model_id}, semantic id {k.semantic_id}: point_index must be 0 to "
        f"{len(points) - 1}, the points of its cloud; got {k.point_index}"
        for k, wrong in zip(indexed, outside, strict=True)
        if wrong
    ]
    xyz = np.array([k.xyz for k in indexed]).reshape(-1, 3)[~outside]
    off = np.linalg.norm(points[index[~outside]] - xyz, axis=1)
    far = int((off > FAR * np.linalg.norm(np.ptp(points, axis=0))).sum())
    if far:
        defects.append(
            f"{category.path}, model {model.model_id}: {far} annotations lie farther than {FAR:g} of the "
            f"bounding-box diagonal from the point that they name (largest distance {off.max():.4g})"
        )
    return defects


def _first(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
