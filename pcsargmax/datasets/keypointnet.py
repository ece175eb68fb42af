"""KeypointNet and every category laid out like it, as a torch-geometric data set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data, InMemoryDataset

from pcsargmax.datasets.cache import cache_folder, cache_key, cached
from pcsargmax.datasets.keypointnet_files import FAR, Annotation, Category, cloud_path, read_category, read_split
from pcsargmax.io.clouds import read_cloud
from pcsargmax.ops.neighbors import farthest_point_order

#: Part of the name of a processed file: raise it when its content changes.
_FORMAT = 2


class KeypointNet(InMemoryDataset):
    """One category of a folder laid out like KeypointNet (You et al., CVPR 2020).

    An item is a `Data` in raw units and frame (y up, bounding-box diagonal about 1), N points, K channels:

        pos               (N, 3) float64      points in farthest-point order (`farthest_order` is True)
        color             (N, 3) uint8        where the files have colours
        keypoint_pos      (1, K, 3) float64   annotated xyz, zeros where absent
        keypoint_visible  (1, K) bool
        keypoint_site     (1, K) long         the annotated (else the nearest) row of pos, −1 where absent
        mesh_face         (1, K) long         face of the mesh file, −1 where absent
        mesh_uv           (1, K, 3) float32   barycentric coordinates on that face
        symmetries        dict                "reflection": lists of semantic ids; "rotation": dicts of ids,
                                              is_circle, circle (center, radius, normal)
        model_id, category, class_id          str

    Channel k is semantic id k, up to the largest of the whole annotation file: an id never used is a channel
    never visible. With `ids`, channel k is `ids[k]`; symmetries stay in semantic ids. Where a model has a
    semantic id twice, the first is kept.

    The category is read once into the cache folder (see `pcsargmax.datasets.cache`), never beside the source;
    any changed source file is noticed by name, size and time. What is left out or odd is said by one warning
    of each sort: models without annotation or cloud (also in `missing`), repeated ids, annotations off their
    cloud, clouds without colour among others with it.

    Args:
        root: folder that holds annotations/, pcds/ and splits/.
        category: name of an annotation file, or its class id.
        split: "train", "val", "test", "trainval", "all", the path of a .txt file (lines `class_id-model_id`),
            or a list of model ids.
        ids: semantic ids to keep, in channel order; None keeps all.
        transform: applied to each item when it is taken.
        download: fetch what `root` lacks of the category first (see `download_keypointnet`).
        progress: called with (models read, models to read) while the category is read.

    Raises:
        FileNotFoundError: root or split file missing, or none of the split's models has annotation and cloud.
        ValueError: unknown category, split or id, malformed file, or a point index outside its cloud.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> counts = make_procedural("data", ["mug"], models=10, num_points=128)  # in the layout of KeypointNet
        >>> mugs = KeypointNet("data", "mug", "train", ids=[0, 3])
        >>> len(mugs), mugs[0].pos.shape, mugs[0].keypoint_pos.shape
        (7, torch.Size([128, 3]), torch.Size([1, 2, 3]))
    """

    def __init__(
        self,
        root: str | Path,
        category: str,
        split: str | Path | Sequence[str] = "train",
        *,
        ids: Iterable[int] | None = None,
        transform: Callable[[Data], Data] | None = None,
        download: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Read the category, or take it from the cache, and select the split."""
        super().__init__(None, transform)
        if download:
            from pcsargmax.datasets.download import download_keypointnet

            download_keypointnet(root, category)
        annotated = read_category(root, category)
        listed = read_split(root, annotated, split)
        self.category = annotated.name
        self.class_id = annotated.class_id
        self.semantic_ids = _select_ids(annotated, ids)
        on_disk = _models_on_disk(Path(root), annotated)
        self.missing = tuple(model_id for model_id in listed if model_id not in on_disk)
        if len(self.missing) == len(listed):
            raise FileNotFoundError(_nothing_found(Path(root), annotated, split, listed))
        stored = _load_or_process(Path(root), annotated, on_disk, progress)
        self._data, self.slices = Data.from_dict(stored["data"]), stored["slices"]
        for name in ("keypoint_pos", "keypoint_visible", "keypoint_site", "mesh_face", "mesh_uv"):
            self._data[name] = self._data[name][:, list(self.semantic_ids)]
        place = {model_id: row for row, model_id in enumerate(on_disk)}
        self._indices = [place[model_id] for model_id in listed if model_id in place]
        self._warn(split, len(listed), stored["oddities"])

    @property
    def num_keypoints(self) -> int:
        """Number of channels K."""
        return len(self.semantic_ids)

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """The semantic id of each channel, as text."""
        return tuple(str(semantic_id) for semantic_id in self.semantic_ids)

    def get(self, idx: int) -> Data:
        """Return the model stored in row `idx`, without transform."""
        item = super().get(idx)
        item.category, item.class_id, item.farthest_order = self.category, self.class_id, True
        return item

    def __repr__(self) -> str:
        """Name the category and its numbers."""
        return f"KeypointNet({self.category}, {len(self)} models, {self.num_keypoints} keypoints)"

    def _warn(self, split: Any, listed: int, oddities: dict[str, int]) -> None:
        label = f"KeypointNet {self.category}"
        if self.missing:
            first = ", ".join(self.missing[:3]) + (", ..." if len(self.missing) > 3 else "")
            which = f"split {str(split)!r}" if isinstance(split, (str, Path)) else "the list given"
            _say(f"{label}: {len(self.missing)} of {listed} models of {which} are not on disk: {first}")
        if oddities["repeated"]:
            _say(f"{label}: {oddities['repeated']} keypoints repeat a semantic id of their model: left out")
        if oddities["far"]:
            _say(
                f"{label}: {oddities['far']} annotations lie farther than {FAR:g} of the bounding-box "
                "diagonal from the cloud point that they name; their own xyz is used"
            )
        if oddities["plain"]:
            _say(f"{label}: {oddities['plain']} clouds have no colour, so all colours are left out")


def _say(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)


def _select_ids(category: Category, ids: Iterable[int] | None) -> tuple[int, ...]:
    if ids is None:
        return tuple(range(category.num_ids))
    chosen = tuple(int(semantic_id) for semantic_id in ids)
    wrong = [semantic_id for semantic_id in chosen if not 0 <= semantic_id < category.num_ids]
    if wrong or not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"ids must be distinct semantic ids of {category.name}, 0 to {category.num_ids - 1}, got {list(chosen)}"
        )
    return chosen


def _models_on_disk(root: Path, category: Category) -> dict[str, os.stat_result]:
    """Return the annotated models that have a cloud, in annotation order."""
    folder = cloud_path(root, category.class_id, "").parent
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        stats = {entry.name: entry.stat() for entry in entries if entry.is_file()}
    return {m: stats[f"{m}.pcd"] for m in category.models if f"{m}.pcd" in stats}


def _nothing_found(root: Path, category: Category, split: Any, listed: Sequence[str]) -> str:
    name = f"split {str(split)!r}" if isinstance(split, (str, Path)) else "the list given"
    if not listed:
        return f"{name} of {root} lists no model of {category.name} (class id {category.class_id})"
    looked = cloud_path(root, category.class_id, listed[0])
    return (
        f"none of the {len(listed)} models of {category.name} in {name} was found: each needs an entry in "
        f"{category.path} and a cloud in {looked.parent} (looked for {looked.name} first)"
    )


def _load_or_process(
    root: Path,
    category: Category,
    sources: dict[str, os.stat_result],
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Return all models of `sources` collated (data, slices, oddities), from the cache if none changed."""

    def make() -> dict[str, Any]:
        items, far = [], 0
        for number, model_id in enumerate(sources, start=1):
            item, far_here = _read_model(root, category, category.models[model_id])
            items.append(item)
            far += far_here
            if progress is not None:
                progress(number, len(sources))
        plain = sum("color" not in item for item in items)
        oddities = {
            "far": far,
            "repeated": sum(category.models[model_id].repeated for model_id in sources),
            "plain": plain if plain < len(items) else 0,
        }
        if oddities["plain"]:  # a stored attribute must be there for every model
            for item in items:
                item.color = None
        data, slices = InMemoryDataset.collate(items)
        return {"data": data.to_dict(), "slices": slices, "oddities": oddities}

    stamps = [[m, stat.st_size, stat.st_mtime_ns] for m, stat in sources.items()]
    annotations = category.path.stat()
    key = cache_key(_FORMAT, category.path.resolve(), annotations.st_size, annotations.st_mtime_ns, stamps)
    return cached(cache_folder() / "keypointnet" / f"{category.name}-{key}.pt", make)


def _read_model(root: Path, category: Category, annotation: Annotation) -> tuple[Data, int]:
    """Read one model: its item, and how many of its annotations lie off the cloud point that they name."""
    cloud = read_cloud(cloud_path(root, category.class_id, annotation.model_id))
    points = torch.from_numpy(cloud.points)
    order = farthest_point_order(points)
    item = Data(pos=points[order], model_id=annotation.model_id, symmetries=annotation.symmetries)
    if cloud.color is not None:
        item.color = torch.from_numpy(cloud.color)[order]
    far = _add_keypoints(item, points, annotation, category)
    item.keypoint_site[item.keypoint_visible] = order.argsort()[item.keypoint_site[item.keypoint_visible]]
    return item, far


def _add_keypoints(item: Data, points: torch.Tensor, annotation: Annotation, category: Category) -> int:
    """Give the item its channels, sites in the order of the file; return how many lie off their point."""
    k = category.num_ids
    item.keypoint_pos = torch.zeros(1, k, 3, dtype=points.dtype)
    item.keypoint_visible = torch.zeros(1, k, dtype=torch.bool)
    item.keypoint_site = torch.full((1, k), -1)
    item.mesh_face = torch.full((1, k), -1)
    item.mesh_uv = torch.zeros(1, k, 3)
    far_limit = FAR * float((points.amax(0) - points.amin(0)).norm())
    far = 0
    for keypoint in annotation.keypoints:
        channel, xyz = keypoint.semantic_id, torch.tensor(keypoint.xyz, dtype=points.dtype)
        site = keypoint.point_index
        if site is None:
            site = int((points - xyz).norm(dim=1).argmin())
        elif not 0 <= site < len(points):
            raise ValueError(
                f"{category.path}, model {annotation.model_id}, semantic id {channel}: point_index must be "
                f"0 to {len(points) - 1}, the points of its cloud; got {site}"
            )
        else:
            far += int((points[site] - xyz).norm() > far_limit)
        item.keypoint_pos[0, channel] = xyz
        item.keypoint_visible[0, channel] = True
        item.keypoint_site[0, channel] = site
        item.mesh_face[0, channel] = keypoint.face_index
        item.mesh_uv[0, channel] = torch.tensor(keypoint.face_uv)
    return far
