"""KeypointNet's files, read and checked: annotations, splits and where clouds lie. Needs no torch.

Layout under a root (KeypointNet, CVPR 2020; facts and an example in the card datasets/keypointnet.md):

    annotations/<category>.json    pcds/<class_id>/<model_id>.pcd
    splits/{train,val,test}.txt    ShapeNetCore.v2.ply/<class_id>/<model_id>.ply (optional)
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLASS_IDS = {
    "airplane": "02691156",
    "bathtub": "02808440",
    "bed": "02818832",
    "bottle": "02876657",
    "cap": "02954340",
    "car": "02958343",
    "chair": "03001627",
    "guitar": "03467517",
    "helmet": "03513137",
    "knife": "03624134",
    "laptop": "03642806",
    "motorcycle": "03790512",
    "mug": "03797390",
    "skateboard": "04225987",
    "table": "04379243",
    "vessel": "04530566",
}
"""The 16 official categories and their class ids (WordNet offsets)."""

SPLITS = ("train", "val", "test")
#: An annotation farther than this share of the bounding-box diagonal from its own cloud point is counted.
FAR = 1e-3


@dataclass(frozen=True)
class Keypoint:
    """One annotated keypoint, raw units; `point_index` None and `face_index` −1 where the file has none."""

    semantic_id: int
    xyz: tuple[float, ...]
    point_index: int | None
    face_index: int
    face_uv: tuple[float, ...]


@dataclass(frozen=True)
class Annotation:
    """One annotated model: its keypoints (each semantic id once) and its symmetries in semantic ids.

    `repeated` counts keypoints left out because their semantic id had come before in the same model.
    """

    model_id: str
    keypoints: tuple[Keypoint, ...]
    symmetries: dict[str, list[Any]]
    repeated: int


@dataclass(frozen=True)
class Category:
    """One annotation file: its models by id, in the order of the file."""

    name: str
    class_id: str
    path: Path
    models: dict[str, Annotation]

    @property
    def num_ids(self) -> int:
        """Largest semantic id of the whole file plus one: ids never used are gaps, not left out."""
        return 1 + max((k.semantic_id for m in self.models.values() for k in m.keypoints), default=-1)


def categories(root: str | Path) -> tuple[str, ...]:
    """Return the names of the categories that have an annotation file under `root`, sorted."""
    return tuple(sorted(path.stem for path in (Path(root) / "annotations").glob("*.json")))


def cloud_path(root: str | Path, class_id: str, model_id: str) -> Path:
    """Return where the point cloud of a model lies (whether or not it exists)."""
    return Path(root) / "pcds" / class_id / f"{model_id}.pcd"


def mesh_path(root: str | Path, class_id: str, model_id: str) -> Path:
    """Return where the mesh of a model lies (whether or not it exists)."""
    return Path(root) / "ShapeNetCore.v2.ply" / class_id / f"{model_id}.ply"


def read_category(root: str | Path, category: str) -> Category:
    """Read and check the annotation file of a category.

    Args:
        root: the folder that holds `annotations/`.
        category: name of the annotation file without `.json`, or the class id in it.

    Raises:
        FileNotFoundError: `root` or its folder `annotations` does not exist.
        ValueError: unknown category, malformed JSON (with its line), or a malformed entry (with its model).
    """
    path = find_category(Path(root), str(category))
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: expected a list of annotated models, got {_briefly(entries)}")
    models: dict[str, Annotation] = {}
    class_id = None
    for number, entry in enumerate(entries):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: expected an object, got {_briefly(entry)}")
        model_id = _field(entry, "model_id", str, where)
        where = f"{where}, model {model_id}"
        class_id = class_id or _field(entry, "class_id", str, where)
        if _field(entry, "class_id", str, where) != class_id:
            raise ValueError(f"{where}: class_id {entry['class_id']!r} differs from {class_id!r} before it")
        if model_id in models:
            raise ValueError(f"{where}: annotated a second time")
        models[model_id] = _read_annotation(entry, model_id, where)
    if not any(m.keypoints for m in models.values()):
        raise ValueError(f"{path}: none of its {len(models)} models has a keypoint")
    return Category(path.stem, str(class_id), path, models)


def read_split(root: str | Path, category: Category, split: str | Path | Sequence[str]) -> tuple[str, ...]:
    """List the model ids of a category in a split, in the split's order, each once.

    Args:
        root: the folder that holds `splits/`.
        category: whose models to list; lines of other categories are passed over.
        split: "train", "val", "test", "trainval", "all" (every annotated model, no file needed), the path of
            a .txt file with a line `class_id-model_id` (or a bare model id) a model, or a list of model ids.

    Raises:
        FileNotFoundError: the split's file does not exist.
        ValueError: not a split, or a line that is neither form (with its number).
    """
    if not isinstance(split, (str, Path)):
        return tuple(dict.fromkeys(str(model_id) for model_id in split))
    if split == "all":
        return tuple(category.models)
    names = SPLITS[:2] if split == "trainval" else (split,) if split in SPLITS else ()
    paths = [Path(root) / "splits" / f"{name}.txt" for name in names] or [Path(split)]
    if not names and paths[0].suffix != ".txt":
        choices = ", ".join(repr(name) for name in (*SPLITS, "trainval", "all"))
        raise ValueError(f"split must be {choices}, a .txt file or a list of model ids; got {str(split)!r}")
    return tuple(dict.fromkeys(model_id for path in paths for model_id in _read_split_file(path, category)))


def _read_split_file(path: Path, category: Category) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"split file {path} does not exist; split='all' takes every annotated model")
    prefix = f"{category.class_id}-"
    model_ids = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = line.strip()
        if line.startswith(prefix):
            model_ids.append(line.removeprefix(prefix))
        elif line in category.models:
            model_ids.append(line)
        elif line and "-" not in line:
            raise ValueError(f"{path}, line {number}: expected class_id-model_id or a model id, got {line!r}")
    return model_ids


def find_category(root: Path, category: str) -> Path:
    """Return the annotation file of a category, given by its name or class id; the errors of `read_category`."""
    folder = root / "annotations"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"root {root} is not laid out like KeypointNet: no folder {folder}; "
            "get a category with `pcsargmax data download NAME`, or make one with `pcsargmax data make NAME`"
        )
    known = categories(root)
    if category in known:
        return folder / f"{category}.json"
    for name in known:
        if (CLASS_IDS.get(name) or _own_class_id(root, name)) == category:
            return folder / f"{name}.json"
    has = ", ".join(known) or "none"
    raise ValueError(f"category {category!r} is not annotated in {folder}, which has: {has}")


def _own_class_id(root: Path, name: str) -> str | None:
    try:
        return read_category(root, name).class_id
    except ValueError:  # a broken file is reported when it is asked for by its name
        return None


def _read_annotation(entry: dict[str, Any], model_id: str, where: str) -> Annotation:
    listed = [
        _read_keypoint(keypoint, f"{where}, keypoint {number}")
        for number, keypoint in enumerate(_field(entry, "keypoints", list, where))
    ]
    unique: dict[int, Keypoint] = {}
    for keypoint in listed:
        unique.setdefault(keypoint.semantic_id, keypoint)
    ids = [keypoint.semantic_id for keypoint in listed]
    symmetries = _read_symmetries(entry.get("symmetries") or {}, ids, where)
    return Annotation(model_id, tuple(unique.values()), symmetries, len(listed) - len(unique))


def _read_keypoint(keypoint: Any, where: str) -> Keypoint:
    if not isinstance(keypoint, dict):
        raise ValueError(f"{where}: expected an object, got {_briefly(keypoint)}")
    semantic_id = _field(keypoint, "semantic_id", int, where)
    if semantic_id < 0:
        raise ValueError(f"{where}: semantic_id must not be negative, got {semantic_id}")
    cloud, mesh = keypoint.get("pcd_info") or {}, keypoint.get("mesh_info") or {}
    return Keypoint(
        semantic_id,
        _triple(keypoint, "xyz", where),
        _field(cloud, "point_index", int, where) if cloud else None,
        _field(mesh, "face_index", int, where) if mesh else -1,
        _triple(mesh, "face_uv", where) if mesh else (0.0, 0.0, 0.0),
    )


def _read_symmetries(symmetries: dict[str, Any], ids: list[int], where: str) -> dict[str, list[Any]]:
    """Turn `kp_indexes`, places in the list of keypoints, into the semantic ids that stand there."""

    def to_ids(group: Any) -> list[int]:
        places = _field(group, "kp_indexes", list, f"{where}, symmetries")
        wrong = [p for p in places if not (isinstance(p, int) and 0 <= p < len(ids))]
        if wrong:
            raise ValueError(f"{where}, symmetries: no keypoint {wrong[0]!r} among its {len(ids)}")
        return [ids[place] for place in places]

    return {
        "reflection": [to_ids(group) for group in symmetries.get("reflection") or []],
        "rotation": [
            {
                "ids": to_ids(group),
                "is_circle": bool(group.get("is_circle", False)),
                "circle": group.get("circle") or {},
            }
            for group in symmetries.get("rotation") or []
        ],
    }


def _field(entry: Any, key: str, kind: type, where: str) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{where}: expected {key!r} to be of type {kind.__name__}, got {_briefly(value)}")
    return value


def _triple(entry: dict[str, Any], key: str, where: str) -> tuple[float, ...]:
    value = entry.get(key)
    if isinstance(value, list) and len(value) == 3 and all(isinstance(v, (int, float)) for v in value):
        triple = tuple(float(v) for v in value)
        if all(math.isfinite(v) for v in triple):
            return triple
    raise ValueError(f"{where}: expected {key!r} to be three finite numbers, got {_briefly(value)}")


def _briefly(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
