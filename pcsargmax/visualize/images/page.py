"""One self-contained HTML file that shows images with what was found in them, without a network."""

from __future__ import annotations

import html
import json
import string
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pcsargmax.visualize.images.page_images import images_data
from pcsargmax.visualize.images.picture import Drawable, Picture, SlicePicture


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

    Images are kept as JPEG, of more than `page_images.MAX_PIXELS` pixels smaller; probabilities to about 2 %, and those
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
    """
    alone = isinstance(predictions, Picture | SlicePicture) or not isinstance(predictions, Sequence)
    listed: list[Any] = [predictions] if alone else list(predictions)  # type: ignore[arg-type]
    return save_image_page(path, title, images_data(listed, others=others, titles=titles, keypoint=keypoint))


def save_image_page(
    path: str | Path,
    title: str,
    data: dict[str, Any],
    *,
    head: str = "",
    before: str = "",
    after: str = "",
    charts: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write the page around the viewer of images, whole or not at all.

    It is the page of the clouds with another viewer; the arguments are those of `page.save_page`, `data` of
    `images_data`. Plotly is in it only where there are charts.
    """
    from pcsargmax.datasets.cache import atomic_path

    package = files("pcsargmax.visualize")
    scripts = ["images/page.js", *(["report/report.js"] if charts else [])]
    page = _template().substitute(
        title=html.escape(title),
        head=head,
        before=before,
        after=after,
        plotly=_plotly() if charts else "",
        data=_script_json(data),
        charts=f'<script id="charts" type="application/json">{_script_json(list(charts))}</script>\n' if charts else "",
        script="\n".join((package / name).read_text(encoding="utf-8") for name in scripts),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _template() -> string.Template:
    """The page of the clouds, with the viewer of images in the place of theirs."""
    package = files("pcsargmax.visualize")
    page = (package / "page.html").read_text(encoding="utf-8")
    above, rest = page.split('<section id="shapes"', 1)
    below = rest.split("</section>\n", 1)[1]
    style, viewer = (package / "images" / "viewer.html").read_text(encoding="utf-8").split("</style>\n", 1)
    above = above.replace("</style>", style.removeprefix("<style>\n") + "</style>", 1)
    return string.Template(above + viewer + below)


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _script_json(value: Any) -> str:
    # Inside a script element only "<" could end it early.
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
