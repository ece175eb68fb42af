"""How predictions on images show themselves in a notebook: one picture and one table, small and static."""

from __future__ import annotations

import base64
import html
import io
import math

import numpy as np

from pcsargmax.visualize.figures.parts import empty_figure
from pcsargmax.visualize.images.drawing import draw_on, proportion
from pcsargmax.visualize.images.marks import MOST_NAMES
from pcsargmax.visualize.images.picture import Drawable, Picture, SlicePicture, picture_of
from pcsargmax.visualize.palette import ABSENT_COLOR, keypoint_color

#: The longest side of the picture in inches, its dots an inch, and rows of the table; more are counted.
_SIDE, _DPI, _MOST = 3.6, 110, 40
_TABLE = "font-size:12px;text-align:right;white-space:nowrap"


def image_html(prediction: Drawable) -> str:
    """A prediction: its image under the largest of its maps, and a row a keypoint or surface."""
    picture = picture_of(prediction)
    what = "surface" if isinstance(picture, SlicePicture) else "keypoint"
    count, (height, width) = len(picture.names), picture.image.shape[:2]
    about = f"{count} {what}{'s' * (count != 1)} on {width} × {height} pixels"
    header, rows = _table(picture)
    head = "".join(f'<th scope="col"{_LEFT * (n == 0)}>{text}</th>' for n, text in enumerate(header))
    body = "".join(
        "<tr>" + "".join(f"<td{_LEFT * (n == 0)}>{text}</td>" for n, text in enumerate(row)) + "</tr>" for row in rows
    )
    more = f"<div>and {count - len(rows)} more</div>" if count > len(rows) else ""
    return (
        f"<div><div><b>{html.escape(picture.name or type(prediction).__name__)}</b>: {about}</div>"
        '<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">'
        f'<img src="{_picture_uri(picture)}" alt="{what}s of {html.escape(picture.name, quote=True)}">'
        f'<div><table cellpadding="2" style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"{more}</div></div></div>"
    )


_LEFT = ' style="text-align:left"'


def _table(picture: Picture | SlicePicture) -> tuple[list[str], list[list[str]]]:
    """Headings, and of each keypoint or surface its cells as HTML."""
    error, shown = picture.error, set(picture.shown.tolist())
    slices = isinstance(picture, SlicePicture)
    header = ["surface", "mean row", "mean σ"] if slices else ["keypoint", "x", "y", "confidence"]
    header += [] if error is None else ["error (px)"]
    rows = []
    for k, name in enumerate(picture.names[:_MOST]):
        color = keypoint_color(k) if k in shown else ABSENT_COLOR
        short = name if len(name) <= 40 else name[:39] + "…"
        row = [f'<span style="color:{color}">●</span> {html.escape(short)}']
        if k not in shown:
            rows.append([*row, "absent", *[""] * (len(header) - 2)])
            continue
        if isinstance(picture, SlicePicture):
            row += [
                _told(np.nanmean(picture.rows[k])),
                "" if picture.std is None else _told(np.nanmean(picture.std[k])),
            ]
        else:
            row += [_told(x) for x in picture.position[k]]
            row.append("annotated" if picture.confidence is None else _told(picture.confidence[k]))
        row += [] if error is None else [_told(error[k])]
        rows.append(row)
    return header, rows


def _told(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else ""


def _picture_uri(picture: Picture | SlicePicture) -> str:
    """The picture as a small JPEG in text."""
    size = np.array([proportion(picture), 1.0])
    size = _SIDE * size / size.max()
    figure = empty_figure(*np.maximum(size, 0.8))
    figure.set_layout_engine("none")
    draw_on(figure.add_axes((0, 0, 1, 1)), picture, labels=False, ellipsoids=int(len(picture.names) <= MOST_NAMES))
    stream = io.BytesIO()
    figure.savefig(stream, format="jpeg", dpi=_DPI, pil_kwargs={"quality": 85})
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
