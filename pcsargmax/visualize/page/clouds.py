"""One self-contained HTML file that shows predictions in a browser, without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.page.shapes import page_data
from pcsargmax.visualize.templates import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Viewer(NamedTuple):
    """What a page shows its items in: viewer.html.j2, filled by a script with the help of choosers.js.

    Attributes:
        item: what is looked at, "shape" or "image".
        script: that draws it, a file of this package.
        style: CSS of its own, if any.
        plotly: whether the script draws with Plotly.
    """

    item: str
    script: str
    style: str = ""
    plotly: bool = True


#: Of clouds, in three dimensions.
CLOUDS = Viewer("shape", "page/clouds.js")


#: What a reader switches on and off, by the names of viewer.html.j2.
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
    pictures = [(caption, _png(figure)) for caption, figure in (figures or {}).items()]
    return save_page(path, title, data, metrics=_metrics_table(metrics or {}), figures=pictures)


def save_page(
    path: str | Path,
    title: str,
    data: dict[str, Any],
    *,
    template: str = "page/page.html.j2",
    charts: Sequence[Mapping[str, Any]] = (),
    viewer: Viewer = CLOUDS,
    **values: Any,
) -> Path:
    """Write the page around a viewer, whole or not at all. Plotly is in it only where something is drawn with it.

    Args:
        path: the .html file.
        title: heading, plain text.
        data: what the viewer shows, of clouds that of `page_data`.
        template: page.html.j2, or one that extends it.
        charts: what report.js draws, see `report.charts`; without any, its script is left out.
        viewer: the viewer.
        values: what else the template asks for; of page.html.j2 `metrics` and `figures`.
    """
    from plotly.offline import get_plotlyjs

    from pcsargmax.io.atomic import atomic_path

    page = render(
        template,
        title=title,
        data=data,
        charts=charts,
        viewer=viewer,
        plotly=get_plotlyjs() if viewer.plotly or charts else "",
        scripts=["page/choosers.js", viewer.script, *(["report/report.js"] if charts else [])],
        **values,
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page + "\n", encoding="utf-8")
    return Path(path)


def _metrics_table(metrics: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """Columns, in the order in which they first come, and rows of texts; None of no metrics."""
    rows = {name: row if isinstance(row, Mapping) else {"": row} for name, row in metrics.items()}
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    texts = [(name, [_cell(row.get(column)) for column in columns]) for name, row in rows.items()]
    return {"columns": ["", *columns], "rows": texts} if rows else None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _png(figure: Figure | str | Path) -> str:
    """A figure or a PNG file in base64."""
    if isinstance(figure, str | Path):
        return base64.b64encode(Path(figure).read_bytes()).decode()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return base64.b64encode(stream.getvalue()).decode()
