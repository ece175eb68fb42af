"""How predictions and distributions show themselves in a notebook: one picture and one table, small and static."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.visualize.notebook import thumbnail
from pcsargmax.visualize.palette import ABSENT_COLOR, color_values, keypoint_color, probability_scale, rgb_to_hex

if TYPE_CHECKING:
    from PIL import Image

    from pcsargmax.core.distribution import KeypointDistribution
    from pcsargmax.predictions.cloud import Prediction

#: Rows of a table, and keypoints of a picture; more are counted. Fewer of large maps: values that are looked at.
_MOST, _MOST_VALUES = 40, 4_000_000
#: Few styles, to stay small; the rest is left to the notebook.
_TABLE, _LEFT = "font-size:12px;text-align:right;white-space:nowrap", ' style="text-align:left"'
#: Sites of a cloud up to which the distances of neighbours are looked for, where a basis asks for them.
_MOST_NEIGHBORS = 5000


def prediction_html(prediction: Prediction) -> str:
    """A prediction: its cloud, coloured by the largest probability, and a row a keypoint."""
    from pcsargmax.visualize.clouds.drawing import build_drawing
    from pcsargmax.visualize.look import Look

    drawing = build_drawing(prediction, Look(surface=False, symmetries=False))
    picture = thumbnail.drawing_picture(drawing, prediction.keypoint_names)
    there, error = set(drawing.shown.tolist()), prediction.error
    errors, radii = _alike(error), _alike(prediction.radius)
    decimals = _decimals(float(np.linalg.norm(np.ptp(prediction.points, axis=0))))
    header = ["keypoint", "x", "y", "z", "" if prediction.annotated else "confidence"]
    header += [] if prediction.radius is None else [f"within ({100 * (prediction.radius_coverage or 0):g} %)"]
    header += [] if error is None else ["error"]
    rows = []
    for k, name in enumerate(prediction.keypoint_names[:_MOST]):
        row = [_keypoint(name, keypoint_color(k) if k in there else ABSENT_COLOR)]
        if k not in there:
            rows.append([*row, *["absent"] * (len(header) > 1), *[""] * (len(header) - 2)])
            continue
        row += [f"{x:.{decimals}f}" for x in prediction.position[k]]
        row.append("annotated" if prediction.annotated else _share(prediction.confidence[k]))
        row += radii[k : k + 1] + errors[k : k + 1]
        rows.append(row)
    points, count = len(prediction.points), prediction.num_keypoints
    about = f"{count} keypoint{'s' * (count != 1)} on {points} point{'s' * (points != 1)}"
    caption = "annotated positions" if prediction.annotated else _scale(float(prediction.probability.max()))
    return _page(prediction.name or "Prediction", about, picture, caption, header, rows, count)


def _alike(lengths: np.ndarray | None) -> list[str]:
    """Lengths (K,) as a column that can be compared, or no column."""
    from pcsargmax.visualize.clouds.legend import length_texts

    return [] if lengths is None else length_texts(lengths)


def distribution_html(distribution: KeypointDistribution) -> str:
    """A distribution: the maps of its first cloud or grid, and a row a keypoint."""
    import torch

    count, num_keypoints = distribution.logits.shape[:2]
    if not count or not num_keypoints:
        return f"<div>{html.escape(_about(distribution))}</div>"
    with torch.no_grad():
        maps = _read(distribution)
    picture = _picture(maps)
    size = maps.mean.shape[1]
    axes = list("xyz"[:size]) if size <= 3 else [f"x{d}" for d in range(size)]
    header = ["keypoint", *axes, "spread", "peak", *([] if maps.presence is None else ["presence"])]
    decimals = _decimals(float(np.linalg.norm(np.ptp(maps.positions, axis=0))))
    spreads, rows = _alike(maps.spread), []
    for k, mean in enumerate(maps.mean):
        row = [_keypoint(str(k), keypoint_color(k)), *(f"{x:.{decimals}f}" for x in mean)]
        row += [spreads[k] if spreads else "", f"{maps.probability[k].max():.3g}"]
        row += [] if maps.presence is None else [_share(float(maps.presence[k]))]
        rows.append(row)
    about = _about(distribution) + ("; shown: the first, of distribution[i] any other" if count > 1 else "")
    peak = float(maps.probability.max())
    caption = f"probability, up to {peak:.2g}" if size == 1 else _scale(peak)
    return _page("KeypointDistribution", about, picture, caption, header, rows, num_keypoints)


@dataclass(frozen=True, eq=False)
class _Maps:
    """The maps of one cloud or grid, as arrays, of at most `_MOST` keypoints."""

    probability: np.ndarray
    """(K, L)."""
    positions: np.ndarray
    """(L, D)."""
    mean: np.ndarray
    """(K, D)."""
    spread: np.ndarray | None
    """(K,); None where it would take long."""
    presence: np.ndarray | None
    shape: tuple[int, ...]
    """Of the grid, () of a cloud."""
    index: np.ndarray
    """(K, D) means in cells, in the order of the coordinates; of a grid only."""


def _read(distribution: KeypointDistribution) -> _Maps:
    """The first item, on the CPU and in at least single precision."""
    import torch
    from torch import Tensor

    from pcsargmax.core.bases import Gaussian
    from pcsargmax.core.grid import Grid

    def plain(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        value = value.detach().cpu()
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value

    one = distribution[0]
    most = max(1, min(_MOST, _MOST_VALUES // one.logits[0, 0].numel()))
    presence = None if one.presence is None else plain(one.presence[0, :most]).double().numpy()
    basis = one.basis
    if isinstance(basis, Gaussian) and isinstance(basis.sigma, Tensor):
        basis = Gaussian(plain(basis.sigma))
    cloud = not isinstance(one.sites, Grid)
    slow = cloud and getattr(basis, "sigma", None) == "auto" and one.logits[0, 0].numel() > _MOST_NEIGHBORS
    one = replace(
        one,
        logits=plain(one.logits[:, :most]),
        sites=plain(one.sites),
        mask=plain(one.mask),
        basis=Gaussian(0.0) if slow else basis,
        presence=None,
    )
    mean = one.mean[0].double().numpy()
    grid = one.sites if isinstance(one.sites, Grid) else None
    at = plain(one.sites) if grid is None else grid.positions(torch.float64)
    return _Maps(
        one.probabilities[0].double().numpy(),
        at.double().numpy(),
        mean,
        None if slow else one.spread[0].double().numpy(),
        presence,
        () if grid is None else grid.shape,
        np.zeros_like(mean) if grid is None else (mean - np.array(grid.first)) / np.array(grid.cell),
    )


def _picture(maps: _Maps) -> Image.Image | None:
    """The largest probability at each site, or on a line the probability of each keypoint."""
    size, numbers = maps.mean.shape[1], np.arange(len(maps.mean))
    names = [str(k) for k in numbers]
    if size == 1:
        return thumbnail.line_picture(maps.positions[:, 0], maps.probability, maps.mean[:, 0])
    largest = maps.probability.max(axis=0)
    if maps.shape:
        plane = largest.reshape(maps.shape)
        plane = plane.max(axis=0) if size == 3 else plane
        image, scale, shift = thumbnail.grid_picture(plane)
        thumbnail.draw_marks(image, thumbnail.Marks(numbers, names, maps.index[:, :2] * scale + shift))
        return image
    if size > 3:
        return None
    return thumbnail.sites_picture(maps.positions, color_values(largest, "").rgb, maps.mean)


def _about(distribution: KeypointDistribution) -> str:
    """What there is, in one line: how many of what over which sites, and the basis."""
    from torch import Tensor

    from pcsargmax.core.bases import Gaussian
    from pcsargmax.core.grid import Grid

    logits, sites = distribution.logits, distribution.sites
    count, num_keypoints = logits.shape[:2]
    over = f"a grid {sites.shape}" if isinstance(sites, Grid) else f"{sites.shape[-2]} sites in {sites.shape[-1]}-D"
    what = "item" if isinstance(sites, Grid) else "cloud"
    basis = f"{type(distribution.basis).__name__} basis"
    if isinstance(distribution.basis, Gaussian):
        sigma = distribution.basis.sigma
        tensor = isinstance(sigma, Tensor)
        told = f"tensor {tuple(sigma.shape)}" if isinstance(sigma, Tensor) else str(sigma)
        basis = "no basis" if not tensor and sigma == 0.0 else f"Gaussian basis, σ = {told}"
    place = "" if logits.device.type == "cpu" else f", on {logits.device}"
    kind = str(logits.dtype).removeprefix("torch.")
    many = f"{count} {what}{'s' * (count != 1)} × {num_keypoints} keypoint{'s' * (num_keypoints != 1)}"
    return f"{many} over {over}; {basis}; {kind}{place}"


def _page(
    title: str,
    about: str,
    picture: Image.Image | None,
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    count: int,
) -> str:
    """Picture and table beside each other; the caption and the cells of rows are HTML, the rest is text."""
    head = _cells(map(html.escape, header), 'th scope="col"')
    body = "".join(f"<tr>{_cells(row, 'td')}</tr>" for row in rows)
    more = f"<div>and {count - len(rows)} more</div>" if count > len(rows) else ""
    return (
        f"<div><div><b>{html.escape(title)}</b>: {html.escape(about)}</div>"
        '<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">'
        f"{_figure(picture, title, caption)}"
        f'<div><table cellpadding="2" style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"{more}</div></div></div>"
    )


def _cells(texts: Iterable[str], tag: str) -> str:
    """Cells of HTML, the first at the left of its column."""
    return "".join(f"<{tag}{_LEFT * (n == 0)}>{text}</{tag.split()[0]}>" for n, text in enumerate(texts))


def _figure(picture: Image.Image | None, title: str, caption: str) -> str:
    """The picture with its caption below it."""
    if picture is None:
        return ""
    width, height = picture.width // 2, picture.height // 2
    return (
        f'<div style="width:{width}px"><img src="{thumbnail.data_uri(picture)}" width="{width}" height="{height}" '
        f'alt="Keypoints of {html.escape(title, quote=True)} and where they are probable" style="border-radius:4px">'
        f'<div style="text-align:center">{caption}</div></div>'
    )


def _scale(peak: float) -> str:
    """The colour scale of the probability, up to the peak, as HTML."""
    steps = ",".join(rgb_to_hex(color) for color in probability_scale()[::51])
    look = f"display:inline-block;width:90px;height:9px;background:linear-gradient(to right,{steps})"
    return f'largest probability: 0 <span style="{look}"></span> {peak:.2g}'


def _keypoint(name: str, color: str) -> str:
    """A name with a dot in the keypoint's colour, as HTML."""
    short = name if len(name) <= 40 else name[:39] + "…"
    return f'<span style="color:{color}">●</span> {html.escape(short)}'


def _share(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else ""


def _decimals(extent: float) -> int:
    """How many decimals tell a thousandth of an extent."""
    if not (math.isfinite(extent) and extent > 0):
        return 4
    return min(max(3 - math.floor(math.log10(extent)), 0), 12)
