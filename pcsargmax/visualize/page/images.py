"""One self-contained HTML file that shows images with what was found in them, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcsargmax.visualize.images.picture import Drawable, Picture, SlicePicture
from pcsargmax.visualize.page.clouds import Viewer, save_page
from pcsargmax.visualize.page.pictures import images_data

#: Of images, which the browser draws by itself.
IMAGES = Viewer("page/images.html", "page/images.js", "page/images.css", plotly=False)


def write_image_page(
    predictions: Drawable | Sequence[Drawable],
    path: str | Path,
    *,
    title: str = "Images",
    keypoint: str | int | None = None,
    others: Sequence[Drawable] | None = None,
    titles: tuple[str, str] = ("", ""),
) -> Path:
    """Write one HTML file with choosers for image and probability map, whole or not at all.

    Images are kept as JPEG, of more than `pictures.MAX_PIXELS` pixels smaller; probabilities to about 2 %, and those
    below chance (1 / cells) are shown as such.

    Args:
        predictions: one or several, or items of a data set.
        path: the .html file.
        title: heading of the page.
        keypoint: name or number of the keypoint or surface that is shown first; None: all.
        others: what a second method found in the same images; it is shown beside the first.
        titles: of the two methods.

    Raises:
        ValueError: no image, no such keypoint, keypoints and surfaces together, or `others` of other images.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralFaces
        >>> from pcsargmax.visualize import write_image_page
        >>> faces = ProceduralFaces("test", num_items=2, size=64)
        >>> write_image_page([faces[0], faces[1]], "faces.html", title="Faces").name
        'faces.html'
    """
    alone = isinstance(predictions, Picture | SlicePicture) or not isinstance(predictions, Sequence)
    listed: list[Any] = [predictions] if alone else list(predictions)  # type: ignore[arg-type]
    data = images_data(listed, others=others, titles=titles, keypoint=keypoint)
    return save_page(path, title, data, viewer=IMAGES)
