"""One entry of KeypointNet's annotations: what it tells of a keypoint, and how its list of keypoints changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pcsargmax.annotate.marks import Mark
from pcsargmax.io.clouds import Cloud


def make_keypoint(number: int, name: str, mark: Mark, row: int | None, cloud: Cloud, on_mesh: bool) -> dict[str, Any]:
    """An entry of a list of keypoints; what is not known is left out."""
    assert mark.position is not None
    keypoint: dict[str, Any] = {"semantic_id": number, "name": name, "xyz": list(mark.position)}
    color = _color(mark, cloud)
    if color is not None:
        keypoint["rgb"] = [round(float(value)) for value in color]
    if row is not None:
        keypoint["pcd_info"] = {"point_index": row}
    if on_mesh and mark.face_index is not None and mark.face_uv is not None:
        keypoint["mesh_info"] = {"face_index": mark.face_index, "face_uv": list(mark.face_uv)}
    return keypoint


def _color(mark: Mark, cloud: Cloud) -> np.ndarray | None:
    """(3,) the colour of the scan at a mark, 0 to 255; None where that is not known."""
    if cloud.color is None:
        return None
    if mark.point_index is not None:
        return cloud.color[mark.point_index].astype(float)
    if mark.face_index is None or cloud.faces is None:
        return None
    return np.asarray(mark.face_uv) @ cloud.color[cloud.faces[mark.face_index]]


def replace_keypoints(entry: dict[str, Any], ids: set[int], keypoints: list[dict[str, Any]]) -> None:
    """Put keypoints in place of those of the same ids; the symmetries follow."""
    whole = _symmetries_by_id(entry)
    fresh = {keypoint["semantic_id"]: keypoint for keypoint in keypoints}
    after = [
        _merge(old, fresh.pop(old["semantic_id"])) if old["semantic_id"] in fresh else old
        for old in entry["keypoints"]
        if old["semantic_id"] in fresh or old["semantic_id"] not in ids
    ]
    entry["keypoints"] = [*after, *fresh.values()]
    _set_symmetries(entry, whole)


def _symmetries_by_id(entry: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The groups of a model with the semantic ids of their members, also of those that are not there now."""
    if "symmetries_by_id" in entry:
        return entry["symmetries_by_id"]
    ids = [keypoint["semantic_id"] for keypoint in entry["keypoints"]]
    return {
        kind: [{**group, "kp_indexes": [ids[place] for place in group["kp_indexes"]]} for group in groups or []]
        for kind, groups in (entry.get("symmetries") or {}).items()
    }


def _set_symmetries(entry: dict[str, Any], whole: dict[str, list[dict[str, Any]]]) -> None:
    """Write the groups as places in the list of keypoints; keep the whole of them while a member is not there."""
    place = {keypoint["semantic_id"]: number for number, keypoint in enumerate(entry["keypoints"])}
    entry.pop("symmetries_by_id", None)
    if any(number not in place for groups in whole.values() for group in groups for number in group["kp_indexes"]):
        entry["symmetries_by_id"] = whole
    for kind, groups in whole.items():
        there = [{**group, "kp_indexes": [place[n] for n in group["kp_indexes"] if n in place]} for group in groups]
        entry["symmetries"][kind] = [group for group in there if group["kp_indexes"]]


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A keypoint that did not move keeps what was known of it."""
    return {**old, **new} if list(old["xyz"]) == new["xyz"] else new
