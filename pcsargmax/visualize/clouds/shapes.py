"""Shapes to look at, of files, folders and data sets, and what is annotated of them; nothing is predicted here."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.predictions.cloud import Prediction, Surface, load_prediction
from pcsargmax.visualize.clouds.annotation import annotated

if TYPE_CHECKING:
    from pcsargmax.io.clouds import Cloud
    from pcsargmax.io.markups import Frame, Landmarks
    from pcsargmax.runs.kinds import CloudRun

#: Points that are taken of a mesh where no run says how many it takes.
MESH_POINTS = 2048
#: Clouds of more points than this are thinned to so many where no run says how many it takes.
CLOUD_POINTS = 20_000
_MESH_SUFFIXES = (".ply", ".obj", ".stl", ".off")


@dataclass(frozen=True, eq=False)
class FileShape:
    """A mesh, a cloud or a saved prediction (.npz), with what is annotated of it.

    Attributes:
        path: the file.
        landmarks: position (3,) by name, units of the file.
        keypoint_names: of all shapes that it is looked at with, in the order of the colours.
    """

    path: Path
    landmarks: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    keypoint_names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.name

    def annotation(self) -> Prediction:
        """What is annotated, or the prediction that was saved."""
        from pcsargmax.io.clouds import read_cloud

        if is_saved_prediction(self.path):
            return load_prediction(self.path)
        cloud = read_cloud(self.path)
        points, color = _some_points(cloud, str(self.path))
        item = SimpleNamespace(model_id=self.name, pos=points, color=color)
        if self.keypoint_names:
            visible = np.array([[name in self.landmarks for name in self.keypoint_names]])
            places = [self.landmarks.get(name, np.zeros(3)) for name in self.keypoint_names]
            item.keypoint_pos, item.keypoint_visible = np.array([places]), visible
        return annotated(item, self.keypoint_names, surface=_surface_of(cloud))

    def prediction(self, run: CloudRun, *, num_points: int | None, seed: int, num_samples: int) -> Prediction:
        """What the run finds on it, with the truth that is annotated by the same names."""
        found = run.predict_file(self.path, num_points=num_points, seed=seed, num_samples=num_samples)
        return with_truth(found, self.landmarks, self.keypoint_names if self.landmarks else ())


@dataclass(frozen=True, eq=False)
class ItemShape:
    """A shape of a data set.

    Attributes:
        dataset: of cloud items.
        number: of the item.
        name: what it is called.
        mesh: file of its surface, in the units and frame of the item; None where there is none.
    """

    dataset: Any
    number: int
    name: str
    mesh: Path | None = None

    def annotation(self) -> Prediction:
        """What is annotated."""
        item = self.dataset[self.number]
        return annotated(item, self.dataset.keypoint_names, surface=self._surface())

    def prediction(self, run: CloudRun, *, num_points: int | None, seed: int, num_samples: int) -> Prediction:
        """What the run finds on it, with the truth that is annotated by the same names; all points are taken."""
        import torch

        item = copy(self.dataset[self.number])
        landmarks, names = self._landmarks(item, run)
        for key in ("keypoint_pos", "keypoint_visible", "keypoint_site"):
            if key in item:
                del item[key]
        generator = torch.Generator().manual_seed(seed)
        found = run.predict(item, self.name, num_samples=num_samples, generator=generator)
        return with_truth(dataclasses.replace(found, surface=self._surface()), landmarks, names)

    def _landmarks(self, item: Any, run: CloudRun) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """What is annotated, by name, and all names; nothing where a number is another keypoint for the run."""
        classes = (getattr(self.dataset, "category", None), getattr(self.dataset, "class_id", None))
        numbered = hasattr(self.dataset, "semantic_ids")
        if "keypoint_pos" not in item or (numbered and run.settings.data not in classes):
            return {}, ()
        places, visible = item.keypoint_pos[0].double().numpy(), item.keypoint_visible[0].tolist()
        names = self.dataset.keypoint_names
        return {n: place for n, place, there in zip(names, places, visible, strict=True) if there}, names

    def _surface(self) -> Surface | None:
        from pcsargmax.io.clouds import read_cloud

        return None if self.mesh is None else _surface_of(read_cloud(self.mesh))


Shape = FileShape | ItemShape


def file_shapes(files: Sequence[str | Path], *, mesh_frame: Frame = "LPS") -> list[FileShape]:
    r"""Files to look at, each with the landmarks of the file of the same stem (.mrk.json .fcsv .csv .json).

    Args:
        files: meshes, clouds, or predictions saved as .npz; only their landmarks are read here, which lie beside them
            or in the folder landmarks/ beside theirs.
        mesh_frame: frame of the meshes, see `pcsargmax.io.markups`.

    Raises:
        ValueError: no such file, or of an unknown kind; malformed landmarks.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.visualize import annotated_shapes, file_shapes
        >>> _ = Path("B03.xyz").write_text("0 0 0\n8 0 0\n0 6 0\n")
        >>> _ = Path("B03.csv").write_text("name,x,y,z\ncusp,8,0,0\n")
        >>> shapes = file_shapes(["B03.xyz"])
        >>> shapes[0].keypoint_names, annotated_shapes(shapes)[0].position
        (('cusp',), array([[8., 0., 0.]]))
    """
    from pcsargmax.io.clouds import CLOUD_SUFFIXES
    from pcsargmax.io.landmarks import LANDMARK_SUFFIXES, stem_of

    paths = [Path(file) for file in files]
    for path in paths:
        if path.suffix.lower() not in CLOUD_SUFFIXES:
            known = " ".join(CLOUD_SUFFIXES)
            raise ValueError(f"{path}: unknown kind of file {path.suffix!r}, expected one of {known}")
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
    landmarks = []
    for path in paths:
        stem, places = stem_of(path.name), (path.parent, path.absolute().parent.parent / "landmarks")
        near = [place / f"{stem}{suffix}" for place in places for suffix in LANDMARK_SUFFIXES]
        landmarks.append(_read_landmarks([each for each in near if each.is_file()], mesh_frame).get(stem, {}))
    return _with_names(paths, landmarks)


def folder_shapes(folder: str | Path, *, mesh_frame: Frame = "LPS") -> list[FileShape]:
    r"""The meshes and clouds of a folder, with the landmarks that are anywhere in it, as `LandmarkFolder` matches them.

    Args:
        folder: its landmark files are read here, its clouds only when one is looked at; landmarks without a cloud are
            counted in a `UserWarning`.
        mesh_frame: frame of the meshes, see `pcsargmax.io.markups`.

    Raises:
        FileNotFoundError: no meshes or clouds in it.
        ValueError: malformed landmarks.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.visualize import folder_shapes
        >>> Path("teeth").mkdir()
        >>> _ = Path("teeth/B03.xyz").write_text("0 0 0\n8 0 0\n0 6 0\n")
        >>> _ = Path("teeth/B03.csv").write_text("name,x,y,z\ncusp,8,0,0\n")
        >>> [(shape.name, sorted(shape.landmarks)) for shape in folder_shapes("teeth")]
        [('B03.xyz', ['cusp'])]
    """
    from pcsargmax.datasets.splits import is_split_file
    from pcsargmax.io.clouds import CLOUD_SUFFIXES
    from pcsargmax.io.landmarks import LANDMARK_SUFFIXES, stem_of

    clouds = _files_under(folder, CLOUD_SUFFIXES)
    if not clouds:
        raise FileNotFoundError(f"no clouds or meshes ({' '.join(CLOUD_SUFFIXES)}) under {Path(folder).absolute()}")
    sources = [path for path in _files_under(folder, LANDMARK_SUFFIXES) if not is_split_file(path)]
    table, stems = _read_landmarks(sources, mesh_frame), [stem_of(path.name) for path in clouds]
    if lone := sorted(set(table) - set(stems), key=_natural):
        first = ", ".join(lone[:3]) + (", ..." if len(lone) > 3 else "")
        warnings.warn(f"{folder}: {len(lone)} ({first}) have landmarks but no cloud", UserWarning, stacklevel=2)
    return _with_names(clouds, [table.get(stem, {}) for stem in stems])


def dataset_shapes(dataset: Any, mesh: Callable[[Any], Path | None] = lambda _: None) -> list[ItemShape]:
    """The shapes of a data set of cloud items.

    Args:
        dataset: with `keypoint_names`, such as `KeypointNet`, `LandmarkFolder` and `ShapeNetH5`.
        mesh: gives the file of an item's surface, or None; see `keypointnet_mesh` and `folder_mesh`.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import dataset_shapes, keypointnet_mesh
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=64)
        >>> shapes = dataset_shapes(KeypointNet("data", "mug", "all"), keypointnet_mesh("data"))
        >>> len(shapes), shapes[0].mesh.name
        (3, 'mug00000.ply')
    """
    items = [dataset[i] for i in range(len(dataset))]
    return [ItemShape(dataset, i, str(item.model_id), mesh(item)) for i, item in enumerate(items)]


def keypointnet_mesh(root: str | Path) -> Callable[[Any], Path | None]:
    """Where the meshes of a folder in KeypointNet's layout are: the file of an item, None where it has none.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import keypointnet_mesh
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=64)
        >>> keypointnet_mesh("data")(KeypointNet("data", "mug", "test")[0]).name
        'mug00002.ply'
    """
    from pcsargmax.datasets.keypointnet_files import mesh_path

    def find(item: Any) -> Path | None:
        path = mesh_path(root, item.class_id, item.model_id)
        return path if path.is_file() else None

    return find


def folder_mesh(folder: str | Path) -> Callable[[Any], Path | None]:
    """Where the meshes of a folder of scans are: the file of an item, None where it is a cloud.

    Example:
        >>> from types import SimpleNamespace
        >>> import numpy as np
        >>> from pcsargmax.io import Cloud, write_cloud
        >>> from pcsargmax.visualize import folder_mesh
        >>> write_cloud("B03.ply", Cloud(np.eye(3), faces=np.array([[0, 1, 2]])))
        >>> folder_mesh(".")(SimpleNamespace(model_id="B03")).name
        'B03.ply'
    """
    from pcsargmax.io.landmarks import stem_of

    files = {stem_of(path.name): path for path in _files_under(folder, _MESH_SUFFIXES)}
    return lambda item: files.get(str(item.model_id))


def is_saved_prediction(path: str | Path) -> bool:
    """Whether a file is a prediction that `pcsargmax predict --format npz` saved; another .npz is a cloud."""
    if Path(path).suffix.lower() != ".npz":
        return False
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {"points", "keypoint_names", "probability"} <= set(stored.files)
    except Exception:  # whoever reads it as a cloud says what is wrong with it
        return False


def with_truth(prediction: Prediction, landmarks: Mapping[str, np.ndarray], names: Sequence[str]) -> Prediction:
    """The prediction with the annotated positions of the same names as its truth.

    Args:
        prediction: of any run.
        landmarks: position (3,) by name, units of the file; what is not in it is absent.
        names: all that can be annotated; where none of them is a keypoint of the prediction, nothing is known.
    """
    if not set(names) & set(prediction.keypoint_names):
        return prediction
    truth = np.array([landmarks.get(name, np.full(3, np.nan)) for name in prediction.keypoint_names])
    return dataclasses.replace(prediction, truth=truth)


def _read_landmarks(sources: Sequence[Path], mesh_frame: Frame) -> dict[str, Landmarks]:
    """Landmarks by the stem of the file that they are of; a stem's first file counts."""
    from pcsargmax.io.landmarks import is_landmark_table, read_landmark_table, read_landmarks, stem_of

    table: dict[str, Landmarks] = {}
    for path in sources:
        several = is_landmark_table(path)
        if several is None:  # some other .json or .csv
            continue
        single = {} if several else {stem_of(path.name): read_landmarks(path, mesh_frame=mesh_frame)}
        table = (read_landmark_table(path) if several else single) | table
    return table


def _with_names(paths: Sequence[Path], landmarks: Sequence[Landmarks]) -> list[FileShape]:
    """The shapes with the names that any of them has, in the order of `LandmarkFolder`, and so of its runs."""
    names = tuple(sorted({name for each in landmarks for name in each}, key=_natural))
    return [FileShape(path, each, names) for path, each in zip(paths, landmarks, strict=True)]


def _files_under(folder: str | Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of some kinds anywhere under a folder, in natural order; hidden ones are left out."""
    place = Path(folder)
    found = [path for path in place.rglob("*") if path.name.lower().endswith(tuple(suffixes)) and path.is_file()]
    shown = [path for path in found if not any(part.startswith(".") for part in path.relative_to(place).parts)]
    return sorted(shown, key=lambda path: _natural(str(path)))


def _some_points(cloud: Cloud, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Points to look at and their colours: a sample of a mesh, all of a cloud unless it is large."""
    from pcsargmax.datasets.sampling import sample_surface

    if cloud.faces is not None:
        sample = sample_surface(cloud, MESH_POINTS, name=name)
        return sample.points, sample.color
    rows = np.arange(len(cloud.points))
    if len(rows) > CLOUD_POINTS:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:CLOUD_POINTS])
    return cloud.points[rows], None if cloud.color is None else cloud.color[rows]


def _surface_of(cloud: Cloud) -> Surface | None:
    return None if cloud.faces is None else Surface(cloud.points, cloud.faces)


def _natural(name: str) -> list[tuple[int, str]]:
    """A sorting key that takes runs of digits as numbers: L2 before L10."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), part) if part.isdecimal() else (-1, part.lower()) for part in parts] + [(-2, name)]
