"""One self-contained HTML file that shows predictions in a browser, without a network."""

from __future__ import annotations

import base64
import html
import io
import json
import string
import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.prediction import Prediction
from pcsargmax.visualize.drawing import strong_edges
from pcsargmax.visualize.geometry import covariance_axes
from pcsargmax.visualize.palette import EDGE_COLOR, TRUTH_COLOR, keypoint_color, probability_scale, rgb_to_hex

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Clouds of more points are thinned on the page (their files are not).
MAX_POINTS = 20_000


def write_page(
    predictions: Prediction | Sequence[Prediction],
    path: str | Path,
    *,
    title: str = "Keypoints",
    metrics: Mapping[str, Any] | None = None,
    figures: Mapping[str, Figure | str | Path] | None = None,
    min_visibility: float = 0.5,
) -> Path:
    """Write one HTML file with choosers for shape and probability map, whole or not at all; y is up.

    Points are kept to 1/65534 of the cloud's largest side, probabilities to about 2 %, and those below
    chance (1/N) are shown as such; numbers of keypoints are kept to 7 digits. Clouds of more than
    `MAX_POINTS` points are thinned evenly, and the page says so.

    Args:
        predictions: one or several.
        path: the .html file.
        title: heading of the page.
        metrics: rows of the table at the top: row name to {column: number or text}, or to one number or text.
        figures: pictures at the bottom: caption to matplotlib figure or PNG file.
        min_visibility: keypoints less likely than this to be on the cloud are listed as absent, not drawn.

    Raises:
        ValueError: no prediction.
    """
    from plotly.offline import get_plotlyjs

    from pcsargmax.datasets.cache import atomic_path

    listed = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    if not listed:
        raise ValueError("predictions: expected at least one, got none")
    scale = probability_scale()[::17]
    data = {
        "truth": TRUTH_COLOR,
        "edge": EDGE_COLOR,
        "scale": [[i / (len(scale) - 1), rgb_to_hex(color)] for i, color in enumerate(scale)],
        "shapes": [_shape(one, min_visibility) for one in listed],
    }
    package = files("pcsargmax.visualize")
    page = string.Template((package / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        metrics=_metrics_table(metrics or {}),
        figures="".join(_figure(caption, figure) for caption, figure in (figures or {}).items()),
        plotly=get_plotlyjs(),
        # Inside a script element only "<" could end it early.
        data=json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        script=(package / "page.js").read_text(encoding="utf-8"),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _shape(prediction: Prediction, min_visibility: float) -> dict[str, Any]:
    """What page.js needs of one prediction: positions from the cloud's middle, in the units of the file."""
    keep = _kept_points(prediction)
    points, maps = prediction.points[keep], prediction.probability[:, keep]
    low, high = prediction.points.min(axis=0), prediction.points.max(axis=0)
    center, step = (low + high) / 2, float((high - low).max() / 65534) or 1.0
    steps = np.round((points - center) / step).astype("<i2")
    # Below chance a map only has noise, and zeros pack well: 200 shapes of 20 maps stay a few megabytes.
    chance = 1.0 / len(prediction.points)
    peaks = np.maximum(maps.max(axis=1), 0.0)
    thinned = len(keep) < len(prediction.points)
    reach = float(np.linalg.norm(np.concatenate([points, prediction.position]) - center, axis=1).max()) or 1.0
    return {
        "name": prediction.name,
        "count": len(keep),
        "points": _pack(np.ascontiguousarray(steps.T)),
        "step": step,
        "reach": reach,
        "maps": _pack(_levels(maps, peaks, chance)),
        "peaks": [float(f"{peak:.7g}") for peak in peaks],
        "chance": chance,
        "index": keep.tolist() if thinned else None,
        "keypoints": _keypoints(prediction, center, min_visibility),
        "edges": _edges(prediction, center, min_visibility),
        "note": f"{len(keep)} of {len(prediction.points)} points are shown." if thinned else "",
    }


def _kept_points(prediction: Prediction) -> np.ndarray:
    """Rows of the points that the page shows: all, or evenly many with the keypoints' own among them."""
    n = len(prediction.points)
    if n <= MAX_POINTS:
        return np.arange(n)
    even = np.linspace(0, n - 1, MAX_POINTS - prediction.num_keypoints).astype(int)
    return np.unique(np.concatenate([even, prediction.point_index]))


def _levels(maps: np.ndarray, peaks: np.ndarray, chance: float) -> np.ndarray:
    """(K, N) uint8: 0 below chance, else 1 to 255 in equal ratios from chance to the map's peak."""
    span = np.log(np.maximum(peaks / chance, 1.0))[:, None]
    place = np.log(np.maximum(maps, 1e-30) / np.maximum(peaks, 1e-30)[:, None]) / np.maximum(span, 1e-9)
    return np.where(maps < chance, 0, np.clip(np.round(255 + 254 * place), 1, 255)).astype(np.uint8)


def _keypoints(prediction: Prediction, center: np.ndarray, min_visibility: float) -> list[dict[str, Any]]:
    axes, error = covariance_axes(prediction.covariance), prediction.error
    truth = np.full_like(prediction.position, np.nan) if prediction.truth is None else prediction.truth
    return [
        {
            "name": name,
            "color": keypoint_color(k),
            "seen": bool(prediction.visibility[k] >= min_visibility),
            "confidence": _short(prediction.confidence[k]) or 0.0,
            "position": prediction.position[k].tolist(),
            "local": _short(prediction.position[k] - center),
            "truth": _short(truth[k] - center) if np.isfinite(truth[k]).all() else None,
            "error": None if error is None else _short(error[k]),
            "axes": _short(axes[k]),
        }
        for k, name in enumerate(prediction.keypoint_names)
    ]


def _edges(prediction: Prediction, center: np.ndarray, min_visibility: float) -> list[dict[str, Any]]:
    """The edges of a skeleton that are not faint, with every second point of the reconstruction."""
    shown = np.flatnonzero(prediction.visibility >= min_visibility)
    return [
        {
            "strength": _short(edge.strength),
            "ends": _short((edge.ends - center).T),
            "points": _short((edge.points[::2] - center).T),
        }
        for edge in strong_edges(prediction, shown)
    ]


def _short(value: Any) -> Any:
    """Nested lists of numbers with 7 digits, None where not finite."""
    if np.ndim(value):
        return [_short(each) for each in value]
    return float(f"{value:.7g}") if np.isfinite(value) else None


def _pack(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()


def _metrics_table(metrics: Mapping[str, Any]) -> str:
    """An HTML table, or nothing; columns in the order in which they first come."""
    rows = {name: row if isinstance(row, Mapping) else {"": row} for name, row in metrics.items()}
    if not rows:
        return ""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    head = "".join(f"<th>{html.escape(str(text))}</th>" for text in ["", *columns])
    body = "".join(
        f"<tr><td>{html.escape(str(name))}</td>"
        + "".join(f"<td>{html.escape(_cell(row.get(column)))}</td>" for column in columns)
        + "</tr>"
        for name, row in rows.items()
    )
    return f'<table id="metrics"><tr>{head}</tr>{body}</table>'


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
