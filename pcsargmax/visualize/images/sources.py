"""Finding images to look at, by names, files and folders; what a run finds in them, made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from pcsargmax.datasets.images.item import ImageItem, SurfaceItem
from pcsargmax.io.clouds import CLOUD_SUFFIXES
from pcsargmax.io.images import IMAGE_SUFFIXES, read_image
from pcsargmax.predictions.image import ImagePrediction, SurfacePrediction, load_image_prediction
from pcsargmax.visualize.clouds.sources import Predictions
from pcsargmax.visualize.images.picture import Drawable, picture_of

if TYPE_CHECKING:
    from pcsargmax.runs.kinds import AnyImageRun
    from pcsargmax.settings.images import ImageSettings

#: What an image is read as.
_Item: TypeAlias = "ImageItem | SurfaceItem | ImagePrediction | SurfacePrediction"


@dataclass(frozen=True, eq=False)
class Source:
    """An image that can be looked at.

    Attributes:
        name: what it is called.
        read: gives its item; of a saved prediction that.
        names: of its keypoints or surfaces, as they are annotated; empty where nothing is.
    """

    name: str
    read: Callable[[], _Item]
    names: tuple[str, ...] = ()


def is_image_data(text: str) -> bool:
    """Whether a name on the command line means images: a data set of them, an image, a saved prediction, a folder.

    A folder with meshes or clouds in it is none, even if there are pictures beside them.
    """
    from pcsargmax.settings.images import OFFICIAL, PROCEDURAL

    path = Path(text).expanduser()
    if text in (*OFFICIAL, *PROCEDURAL):
        return True
    if path.is_dir():
        found = {file.suffix.lower() for place in (path, *_folders(path)) for file in place.iterdir()}
        return bool(found & set(IMAGE_SUFFIXES)) and not found & set(CLOUD_SUFFIXES)
    return path.suffix.lower() in IMAGE_SUFFIXES or (path.suffix.lower() == ".npz" and _is_saved(path))


def find_images(data: Sequence[str], settings: ImageSettings | None = None, split: str = "") -> list[Source]:
    """The images that are named.

    Args:
        data: names of data sets, folders with a table of points (see `ImageFolder`), folders of images, image files,
            and predictions that were saved as .npz.
        settings: how folders are split, and where official files are; None: as they are by default.
        split: of data sets; empty: of a folder all of it, of COCO "val", of others "test".

    Raises:
        FileNotFoundError: no such file. ValueError: what the data sets raise, or no image.
    """
    from pcsargmax.settings.images import OFFICIAL, PROCEDURAL, ImageSettings

    settings = settings or ImageSettings()
    sources: list[Source] = []
    for text in data:
        path = Path(text).expanduser()
        if text in (*OFFICIAL, *PROCEDURAL):
            usual = "val" if text == "coco" else "test"
            sources += _of_dataset(replace(_sized(settings, text), data=text), split or usual)
        elif path.is_dir():
            sources += _of_folder(path, settings, split)
        elif path.is_file():
            sources.append(_of_file(path))
        else:
            raise FileNotFoundError(f"no such image, folder or data set of images: {text}")
    if not sources:
        raise ValueError(f"no image in {', '.join(data)}")
    return sources


def run_images(run: AnyImageRun, split: str = "") -> list[Source]:
    """The images of a split of the run's own data; empty: that which it is measured on."""
    return dataset_sources(run.dataset(split or run.default_split))


def dataset_sources(dataset: Any) -> list[Source]:
    """The items of a data set."""
    names = tuple(getattr(dataset, "surface_names", None) or dataset.keypoint_names)
    return [Source(name, lambda i=i: dataset[i], names) for i, name in enumerate(dataset.names)]  # type: ignore[misc]


def predicted_images(run: AnyImageRun, sources: Sequence[Source], *, flip_test: bool = False) -> Sequence[Drawable]:
    """What a run finds in images, with the truth where they are annotated with its own keypoints or surfaces.

    Args:
        run: of keypoints or surfaces.
        sources: of `find_images` or `run_images`.
        flip_test: of keypoints: look at each image mirrored too.

    Raises:
        ValueError: when one is asked for that is no image of the run's kind.
    """

    def make(number: int) -> Any:
        source = sources[number]
        item = source.read()
        if isinstance(item, ImagePrediction | SurfacePrediction):
            raise ValueError(f"{source.name}: a saved prediction is looked at without a run")
        item = _own_item(item, source.names == run.names, len(run.names), run.target == "surface")
        if run.kind == "image_surfaces":
            return run.predict(cast(SurfaceItem, item))
        return run.predict(cast(ImageItem, item), flip_test=flip_test)

    return cast("Sequence[Drawable]", Predictions([source.name for source in sources], make))


def annotated_images(sources: Sequence[Source]) -> Sequence[Drawable]:
    """Images as they are annotated, and saved predictions as they are.

    Raises:
        ValueError: an image of which nothing is known.
    """
    for source in sources:
        if not source.names:
            told = "nothing is known of it without a run, or a folder with a table of points"
            raise ValueError(f"{source.name}: {told}")

    def make(number: int) -> Any:
        return picture_of(sources[number].read(), sources[number].names)

    return cast("Sequence[Drawable]", Predictions([source.name for source in sources], make))


def _own_item(item: ImageItem | SurfaceItem, known: bool, count: int, surfaces: bool) -> ImageItem | SurfaceItem:
    """An item as a run takes it: with its truth only where that is of the run's own keypoints or surfaces."""
    if known:
        return item
    if surfaces:
        return SurfaceItem(item.name, item.image, np.full((count, item.image.shape[1]), np.nan))
    image = item.image if item.image.ndim == 3 else np.repeat(item.image[..., None], 3, axis=-1)
    box: Any = getattr(item, "box", None)
    return ImageItem(item.name, image, np.full((count, 2), np.nan), box=box)


def _of_dataset(settings: ImageSettings, split: str) -> list[Source]:
    from pcsargmax.runs.image_sources import open_images

    return dataset_sources(open_images(settings, split))


def _of_folder(path: Path, settings: ImageSettings, split: str) -> list[Source]:
    """The items of a folder with a table of points, or the images of one without."""
    from pcsargmax.datasets.images.folder import find_tables

    try:
        find_tables(path)
    except FileNotFoundError:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise
        return [_of_file(file) for file in files]
    return _of_dataset(replace(settings, data=str(path.absolute())), split or "all")


def _of_file(path: Path) -> Source:
    if path.suffix.lower() == ".npz":
        saved = load_image_prediction(path)
        return Source(saved.name, lambda: saved, _names_of(saved))
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"{path}: expected an image ({', '.join(IMAGE_SUFFIXES)}), got {path.suffix or 'no ending'}")
    unknown = np.full((0, 2), np.nan)
    return Source(path.name, lambda: ImageItem(path.name, read_image(path), unknown))


def _names_of(saved: ImagePrediction | SurfacePrediction) -> tuple[str, ...]:
    return saved.surface_names if isinstance(saved, SurfacePrediction) else saved.keypoint_names


def _sized(settings: ImageSettings, data: str) -> ImageSettings:
    """The settings with the size that a procedural data set is usually drawn in, where none was said."""
    from pcsargmax.settings.images import ImageSettings

    if settings.data == data or settings.size != ImageSettings().size:
        return settings
    return replace(settings, size=(128, 128))


def _folders(path: Path) -> list[Path]:
    return [place for place in path.iterdir() if place.is_dir()]


def _is_saved(path: Path) -> bool:
    """Whether an .npz file is the saved prediction of an image."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {"image", "name"} <= set(stored.files)
    except (OSError, ValueError):
        return False
