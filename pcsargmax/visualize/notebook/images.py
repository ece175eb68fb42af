"""How predictions on images show themselves in a notebook: one picture and one table, small and static."""

from __future__ import annotations

import base64
import io

import numpy as np

from pcsargmax.visualize.figures.parts import empty_figure
from pcsargmax.visualize.images.drawing import draw_on, proportion
from pcsargmax.visualize.images.marks import MOST_NAMES
from pcsargmax.visualize.images.picture import Drawable, Picture, SlicePicture, picture_of
from pcsargmax.visualize.notebook.table import MOST_ROWS, Row, Shown, decimals_text, page
from pcsargmax.visualize.palette import ABSENT_COLOR, keypoint_color

#: The longest side of the picture in inches, and its dots an inch.
_SIDE, _DPI = 3.6, 110


def image_html(prediction: Drawable) -> str:
    """A prediction: its image under the largest of its maps, and a row a keypoint or surface."""
    picture = picture_of(prediction)
    what = picture.what
    count, (height, width) = len(picture.names), picture.image.shape[:2]
    about = f"{count} {what}{'s' * (count != 1)} on {width} × {height} pixels"
    shown = _shown(picture, f"{what}s of {picture.name}")
    return page(picture.name or type(prediction).__name__, about, shown, *_table(picture), count)


def _table(picture: Picture | SlicePicture) -> tuple[list[str], list[Row]]:
    """Headings, and a row a keypoint or surface."""
    error, seen = picture.error, set(picture.shown.tolist())
    slices = isinstance(picture, SlicePicture)
    header = ["surface", "mean row", "mean σ"] if slices else ["keypoint", "x", "y", "confidence"]
    header += [] if error is None else ["error (px)"]
    rows = []
    for k, name in enumerate(picture.names[:MOST_ROWS]):
        if k not in seen:
            rows.append(Row(name, ABSENT_COLOR, ["absent", *[""] * (len(header) - 2)]))
            continue
        if isinstance(picture, SlicePicture):
            cells = [decimals_text(np.nanmean(picture.rows[k]))]
            cells.append("" if picture.std is None else decimals_text(np.nanmean(picture.std[k])))
        else:
            cells = [decimals_text(x) for x in picture.position[k]]
            cells.append("annotated" if picture.confidence is None else decimals_text(picture.confidence[k]))
        rows.append(Row(name, keypoint_color(k), cells + ([] if error is None else [decimals_text(error[k])])))
    return header, rows


def _shown(picture: Picture | SlicePicture, alt: str) -> Shown:
    """The picture as a small JPEG in text."""
    size = np.array([proportion(picture), 1.0])
    size = _SIDE * size / size.max()
    figure = empty_figure(*np.maximum(size, 0.8))
    figure.set_layout_engine("none")
    draw_on(figure.add_axes((0, 0, 1, 1)), picture, labels=False, ellipsoids=int(len(picture.names) <= MOST_NAMES))
    stream = io.BytesIO()
    figure.savefig(stream, format="jpeg", dpi=_DPI, pil_kwargs={"quality": 85})
    uri = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
    width, height = np.round(figure.get_size_inches() * _DPI).astype(int).tolist()
    return Shown(uri, width, height, alt)
