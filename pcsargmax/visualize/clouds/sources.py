"""Predictions and annotations of many shapes, each made when it is first asked for, and then kept; finding shapes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds.shapes import (
    ItemShape,
    Shape,
    dataset_shapes,
    file_shapes,
    folder_mesh,
    folder_shapes,
    keypointnet_mesh,
)

if TYPE_CHECKING:
    from pcsargmax.runs.kinds import CloudRun
    from pcsargmax.settings.common import RunSettings
    from pcsargmax.settings.discovery import DiscoverSettings


class Predictions(Sequence[Prediction]):
    """Predictions that are made when they are first asked for, from any thread, and then kept.

    Attributes:
        names: what each is called, known without making any.

    Args:
        names: see above.
        make: gives the prediction of a number.
        keep: how many are kept; the one that was asked for longest ago goes first.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import Predictions, annotated
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=64)
        >>> mugs = KeypointNet("data", "mug", "all")
        >>> shapes = Predictions(["a", "b", "c"], lambda number: annotated(mugs[number], mugs.keypoint_names))
        >>> shapes[1].name, shapes  # made when it was asked for
        ('mug00001', Predictions(3 shapes, 1 made))
    """

    def __init__(self, names: Sequence[str], make: Callable[[int], Prediction], *, keep: int = 64) -> None:
        self.names, self._make, self._keep = tuple(names), make, keep
        self._kept: OrderedDict[int, Prediction] = OrderedDict()
        self._making, self._looking = Lock(), Lock()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.names)

    @overload
    def __getitem__(self, number: int) -> Prediction: ...

    @overload
    def __getitem__(self, number: slice) -> Predictions: ...

    def __getitem__(self, number: int | slice) -> Prediction | Predictions:
        """Return a prediction; of a slice the part, which makes and keeps its predictions here."""
        if isinstance(number, slice):
            rows = range(len(self))[number]
            return Predictions(self.names[number], lambda i: self[rows[i]], keep=0)
        row = range(len(self))[number]
        if (known := self._look_up(row)) is not None:
            return known
        with self._making:  # one at a time; another thread may have made it in the meantime
            known = self._look_up(row)
            return self._make_and_keep(row) if known is None else known

    def __repr__(self) -> str:
        """Name the number of shapes, and how many are made."""
        return f"Predictions({len(self)} shapes, {len(self._kept)} made)"

    def _look_up(self, row: int) -> Prediction | None:
        with self._looking:
            if row in self._kept:
                self._kept.move_to_end(row)
            return self._kept.get(row)

    def _make_and_keep(self, row: int) -> Prediction:
        made = self._make(row)
        with self._looking:
            self._kept[row] = made
            while len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        return made


def predicted_shapes(
    run: CloudRun, shapes: Sequence[Shape], *, num_points: int | None = None, seed: int = 0, num_samples: int = 0
) -> Predictions:
    """What a run finds on shapes, each when it is first asked for.

    Args:
        run: of any kind.
        shapes: see `run_shapes` and `find_shapes`.
        num_points: sampled from a file; None takes as many as in the training. Items of data sets have their points.
        seed: of that sampling, and of the draws.
        num_samples: how many draws of each keypoint's distribution a prediction carries.

    Example:
        >>> from pcsargmax import DiscoverSettings, discover, make_procedural
        >>> from pcsargmax.visualize import predicted_shapes, run_shapes
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=128)
        >>> run = discover(DiscoverSettings(data="mug", root="data", keypoints=5, epochs=1), "runs/mug-skeleton")
        >>> shapes = predicted_shapes(run, run_shapes(run, "all"))
        >>> len(shapes), shapes[0].position.shape
        (3, (5, 3))
    """
    options = {"num_points": num_points, "seed": seed, "num_samples": num_samples}
    return Predictions([shape.name for shape in shapes], lambda i: shapes[i].prediction(run, **options))  # type: ignore[arg-type]


def annotated_shapes(shapes: Any) -> Predictions:
    """What is annotated, without a run, each when it is first asked for; see `annotated`.

    Args:
        shapes: a data set of cloud items with `keypoint_names`, or shapes as `predicted_shapes` takes them.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated_shapes
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=64)
        >>> shapes = annotated_shapes(KeypointNet("data", "mug", "all"))
        >>> shapes.names
        ('mug00000', 'mug00001', 'mug00002')
    """
    listed: Sequence[Shape] = dataset_shapes(shapes) if hasattr(shapes, "keypoint_names") else shapes
    return Predictions([shape.name for shape in listed], lambda i: listed[i].annotation())


def pair(first: Sequence[Prediction], second: Sequence[Prediction]) -> tuple[Predictions, Predictions]:
    """Two predictions of each shape, to be looked at side by side; those of the second are held against the first.

    Raises:
        ValueError: they are not over the same shapes: here if their numbers or names differ, and when a shape is
            asked for if its points do.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated_shapes, pair
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=64)
        >>> mugs = KeypointNet("data", "mug", "all")
        >>> first, second = pair(annotated_shapes(mugs), annotated_shapes(mugs))
        >>> first[0].name == second[0].name
        True
    """
    if len(first) != len(second):
        raise ValueError(f"second: expected {len(first)} shapes as in the first, got {len(second)}")
    names, others = (_names(each) for each in (first, second))
    for name, other in zip(names, others, strict=True):
        if name != other:
            raise ValueError(f"second: expected the shape {name!r} where the first has it, got {other!r}")

    def checked(number: int) -> Prediction:
        one, other = first[number], second[number]
        reach = 1e-4 * float(np.linalg.norm(np.ptp(one.points, axis=0)))
        if one.points.shape != other.points.shape or not np.allclose(one.points, other.points, rtol=0, atol=reach):
            raise ValueError(f"second: {other.name}: expected the points that the first has, got other ones")
        return other

    return Predictions(names, lambda i: first[i], keep=0), Predictions(others, checked, keep=0)


def run_shapes(run: CloudRun, split: str = "test") -> list[ItemShape]:
    """The shapes of a split of a run's data, with their meshes where there are some.

    Example:
        >>> from pcsargmax import DiscoverSettings, discover, make_procedural
        >>> from pcsargmax.visualize import run_shapes
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=128)
        >>> run = discover(DiscoverSettings(data="mug", root="data", keypoints=5, epochs=1), "runs/mug-skeleton")
        >>> [(shape.name, shape.mesh.suffix) for shape in run_shapes(run, "test")]
        [('mug00002', '.ply')]
    """
    return dataset_shapes(run.dataset(split), _meshes(run.source, run.settings))


def find_shapes(
    data: Sequence[str],
    settings: DiscoverSettings,
    split: str = "",
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Shape]:
    """The shapes of what is named, in that order.

    Args:
        data: files; folders of meshes or clouds; categories below `settings.root`, in KeypointNet's layout or of
            ShapeNetCore.v2's HDF5 files.
        settings: where categories are, and how a folder is split and read; their `data` does not count.
        split: of data sets; empty takes all, and is all that files have.
        progress: called with (files read, files to read) while a data set is read.

    Raises:
        ValueError: no such data; a split of files; errors of the data sets themselves.

    Example:
        >>> from pcsargmax import DiscoverSettings, make_procedural
        >>> from pcsargmax.visualize import find_shapes
        >>> counts = make_procedural("data", ["mug", "chair"], models=3, num_points=64)
        >>> shapes = find_shapes(["chair", "mug"], DiscoverSettings(root="data"), "test")
        >>> [shape.name for shape in shapes]
        ['chair00002', 'mug00002']
    """
    found: list[Shape | Path] = []
    for text in data:
        found += _find(text, replace(settings, data=text), split, progress)
    files = iter(file_shapes([each for each in found if isinstance(each, Path)], mesh_frame=settings.mesh_frame))
    return [next(files) if isinstance(each, Path) else each for each in found]


def _find(
    text: str, settings: DiscoverSettings, split: str, progress: Callable[[int, int], None] | None
) -> Sequence[Shape | Path]:
    """What a text names: a file, or the shapes of a folder or category."""
    from pcsargmax.datasets.check import is_keypointnet
    from pcsargmax.datasets.shapenet import h5_files
    from pcsargmax.io.clouds import CLOUD_SUFFIXES
    from pcsargmax.runs.sources import is_folder, open_clouds, open_folder, source_of

    path, folder = Path(text), is_folder(settings)
    if (folder and is_keypointnet(path)) or (path.exists() and h5_files(path)):
        raise ValueError(f"{text}: holds categories, name one of them: CATEGORY --root {text}")
    if folder and not split:
        return folder_shapes(path, mesh_frame=settings.mesh_frame)
    if folder:
        return dataset_shapes(open_folder(settings, split, progress), folder_mesh(path))
    if path.is_file() or path.suffix.lower() in CLOUD_SUFFIXES:
        if split:
            raise ValueError(f"split: expected none for the file {text}, got {split!r}")
        return [path]
    if path.name != text:
        raise ValueError(f"{text}: no such file or folder")
    try:
        dataset = open_clouds(settings, split or "all", progress)
    except (ValueError, FileNotFoundError) as error:
        if (Path(settings.root) / "annotations" / f"{text}.json").is_file():
            raise
        cause = str(error).removeprefix(f"{text}: no such folder, and no such category: ")
        raise ValueError(f"{text}: no such file or folder, and no such category: {cause}") from None
    return dataset_shapes(dataset, _meshes(source_of(settings), settings))


def _meshes(source: str, settings: RunSettings) -> Callable[[Any], Path | None]:
    """Where the meshes of a data set are, which is a "folder", "category" or "shapenet_h5"."""
    if source == "folder":
        return folder_mesh(settings.data)
    return keypointnet_mesh(settings.root) if source == "category" else lambda _: None


def _names(listed: Sequence[Prediction]) -> tuple[str, ...]:
    """What each is called, without making any where that is known."""
    return listed.names if isinstance(listed, Predictions) else tuple(one.name for one in listed)
