"""One self-contained HTML file that shows predictions in a browser, without a network."""

from __future__ import annotations

import base64
import html
import io
import json
import string
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.page.shapes import page_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Viewer(NamedTuple):
    """What a page shows its shapes in, by files of this package.

    Attributes:
        section: HTML of the viewer.
        script: that fills it, with the help of choosers.js.
        style: CSS of its own, if any.
        plotly: whether the script draws with Plotly.
    """

    section: str
    script: str
    style: str = ""
    plotly: bool = True


#: Of clouds, in three dimensions.
CLOUDS = Viewer("page/clouds.html", "page/clouds.js")


#: What a reader switches on and off, by the names of clouds.html.
SWITCHES = ("log", "same", "truth", "ellipsoids", "radius", "samples", "names", "skeleton")


def write_page(
    predictions: Prediction | Sequence[Prediction],
    path: str | Path,
    *,
    title: str = "Keypoints",
    metrics: Mapping[str, Any] | None = None,
    figures: Mapping[str, Figure | str | Path] | None = None,
    min_visibility: float = 0.5,
    keypoint: str | int | None = None,
    others: Sequence[Prediction] | None = None,
    titles: tuple[str, str] = ("", ""),
    switches: Mapping[str, bool] | None = None,
) -> Path:
    """Write one HTML file with choosers for shape and probability map, whole or not at all; y is up.

    Points are kept to 1/65534 of the cloud's largest side, probabilities to about 2 %, and those below
    chance (1/N) are shown as such; numbers of keypoints are kept to 7 digits. Clouds of more than
    `shapes.MAX_POINTS` points are thinned evenly, and the page says so.

    Args:
        predictions: one or several.
        path: the .html file.
        title: heading of the page.
        metrics: rows of the table at the top: row name to {column: number or text}, or to one number or text.
        figures: pictures at the bottom: caption to matplotlib figure or PNG file.
        min_visibility: keypoints less likely than this to be on the cloud are listed as absent, not drawn.
        keypoint: name or number of the keypoint whose map is shown first; None: the largest of all.
        others: what a second method found on the same shapes; it is shown beside the first, seen from the same side.
        titles: of the two methods.
        switches: which of `SWITCHES` are on or off at first; of the others the page says it.

    Raises:
        ValueError: no prediction, no such keypoint or switch, or `others` of other shapes.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated_shapes, write_page
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=64)
        >>> shapes = annotated_shapes(KeypointNet("data", "mug", "all"))
        >>> write_page(shapes, "mugs.html", title="Mugs").name
        'mugs.html'
    """
    listed = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    if odd := [name for name in switches or {} if name not in SWITCHES]:
        raise ValueError(f"switches: expected some of {', '.join(SWITCHES)}, got {odd[0]!r}")
    data = page_data(listed, others=others, titles=titles, keypoint=keypoint, min_visibility=min_visibility)
    data["switches"] = dict(switches or {})
    after = "".join(_figure(caption, figure) for caption, figure in (figures or {}).items())
    return save_page(path, title, data, before=_metrics_table(metrics or {}), after=after)


def save_page(
    path: str | Path,
    title: str,
    data: dict[str, Any],
    *,
    head: str = "",
    before: str = "",
    after: str = "",
    charts: Sequence[Mapping[str, Any]] = (),
    viewer: Viewer = CLOUDS,
) -> Path:
    """Write the page around a viewer, whole or not at all. Plotly is in it only where something is drawn with it.

    Args:
        path: the .html file.
        title: heading, plain text.
        data: what the viewer shows, of clouds that of `page_data`.
        head: HTML below the heading.
        before: HTML above the viewer.
        after: HTML below the viewer.
        charts: what report.js draws, see `report.charts`; without any, its script is left out.
        viewer: the viewer.
    """
    from plotly.offline import get_plotlyjs

    from pcsargmax.io.atomic import atomic_path

    scripts = ["page/choosers.js", viewer.script, *(["report/report.js"] if charts else [])]
    page = string.Template(_read("page/page.html")).substitute(
        title=html.escape(title),
        style=_read(viewer.style) if viewer.style else "",
        head=head,
        before=before,
        viewer=_read(viewer.section),
        after=after,
        plotly=get_plotlyjs() if viewer.plotly or charts else "",
        data=_script_json(data),
        charts=f'<script id="charts" type="application/json">{_script_json(list(charts))}</script>\n' if charts else "",
        script="\n".join(_read(name) for name in scripts),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _read(name: str) -> str:
    """A file of this package."""
    return (files("pcsargmax.visualize") / name).read_text(encoding="utf-8")


def _script_json(value: Any) -> str:
    # Inside a script element only "<" could end it early.
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _metrics_table(metrics: Mapping[str, Any]) -> str:
    """An HTML table, or nothing; columns in the order in which they first come."""
    rows = {name: row if isinstance(row, Mapping) else {"": row} for name, row in metrics.items()}
    if not rows:
        return ""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    head = "".join(f'<th scope="col">{html.escape(str(text))}</th>' for text in ["", *columns])
    body = "".join(
        f'<tr><th scope="row">{html.escape(str(name))}</th>'
        + "".join(f"<td>{html.escape(_cell(row.get(column)))}</td>" for column in columns)
        + "</tr>"
        for name, row in rows.items()
    )
    return f'<div class="wide"><table id="metrics"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _figure(caption: str, figure: Figure | str | Path) -> str:
    if isinstance(figure, str | Path):
        png = Path(figure).read_bytes()
    else:
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=110)
        png = stream.getvalue()
    text = html.escape(caption, quote=True)
    image = f'<img alt="{text}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    return f'<figure>{image}<figcaption class="note">{text}</figcaption></figure>\n'
