"""How predictions and distributions show themselves in a notebook: one picture and one table, small and static."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.visualize.notebook import thumbnail
from pcsargmax.visualize.notebook.table import MOST_ROWS, Row, Shown, decimals_text, page
from pcsargmax.visualize.palette import ABSENT_COLOR, color_values, keypoint_color

if TYPE_CHECKING:
    from PIL import Image

    from pcsargmax.core.distribution import KeypointDistribution
    from pcsargmax.predictions.cloud import Prediction

#: Of large maps fewer keypoints than rows are shown: values that are looked at.
_MOST_VALUES = 4_000_000
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
    away = _alike(None if prediction.on_surface is None else prediction.on_surface.distance)
    decimals = _decimals(float(np.linalg.norm(np.ptp(prediction.points, axis=0))))
    header = ["keypoint", "x", "y", "z", "" if prediction.annotated else "confidence"]
    unit, coverage = prediction.unit_text, 100 * (prediction.radius_coverage or 0)
    header += [] if prediction.radius is None else [f"within ({coverage:g} %, {unit})"]
    header += [*[f"to surface ({unit})"] * bool(away), *[f"error ({unit})"] * bool(errors)]
    rows = []
    for k, name in enumerate(prediction.keypoint_names[:MOST_ROWS]):
        if k not in there:
            rows.append(Row(name, ABSENT_COLOR, ["absent", *[""] * (len(header) - 2)]))
            continue
        cells = [f"{x:.{decimals}f}" for x in prediction.position[k]]
        cells.append("annotated" if prediction.annotated else decimals_text(prediction.confidence[k]))
        rows.append(Row(name, keypoint_color(k), [*cells, *radii[k : k + 1], *away[k : k + 1], *errors[k : k + 1]]))
    points, count = len(prediction.points), prediction.num_keypoints
    about = f"{count} keypoint{'s' * (count != 1)} on {points} point{'s' * (points != 1)}"
    title = prediction.name or "Prediction"
    shown = _shown(picture, title, None if prediction.annotated else float(prediction.probability.max()))
    return page(title, about, shown, header, rows, count)


def _alike(lengths: np.ndarray | None) -> list[str]:
    """Lengths (K,) as a column that can be compared, or no column."""
    from pcsargmax.visualize.clouds.legend import length_texts

    return [] if lengths is None else length_texts(lengths)


def distribution_html(distribution: KeypointDistribution) -> str:
    """A distribution: the maps of its first cloud or grid, and a row a keypoint."""
    import torch

    count, num_keypoints = distribution.logits.shape[:2]
    if not count or not num_keypoints:
        return page("KeypointDistribution", _about(distribution), None, [], [], 0)
    with torch.no_grad():
        maps = _read(distribution)
    picture = _picture(maps)
    size = maps.mean.shape[1]
    axes = list("xyz"[:size]) if size <= 3 else [f"x{d}" for d in range(size)]
    header = ["keypoint", *axes, "spread", "peak", *([] if maps.presence is None else ["presence"])]
    decimals = _decimals(float(np.linalg.norm(np.ptp(maps.positions, axis=0))))
    spreads, rows = _alike(maps.spread), []
    for k, mean in enumerate(maps.mean):
        cells = [f"{x:.{decimals}f}" for x in mean]
        cells += [spreads[k] if spreads else "", f"{maps.probability[k].max():.3g}"]
        cells += [] if maps.presence is None else [decimals_text(float(maps.presence[k]))]
        rows.append(Row(str(k), keypoint_color(k), cells))
    about = _about(distribution) + ("; shown: the first, of distribution[i] any other" if count > 1 else "")
    title, peak = "KeypointDistribution", float(maps.probability.max())
    shown = None if picture is None else _shown(picture, title, peak)
    if shown is not None and size == 1:
        shown = shown._replace(caption=f"probability, up to {peak:.2g}", peak=None)
    return page(title, about, shown, header, rows, num_keypoints)


@dataclass(frozen=True, eq=False)
class _Maps:
    """The maps of one cloud or grid, as arrays, of at most `MOST_ROWS` keypoints."""

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
    most = max(1, min(MOST_ROWS, _MOST_VALUES // one.logits[0, 0].numel()))
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


def _shown(picture: Image.Image, title: str, peak: float | None) -> Shown:
    """The picture at half of its size, for screens of high resolution; without a peak, of annotations."""
    caption = "annotated positions" if peak is None else "largest probability:"
    alt = f"Keypoints of {title} and where they are probable"
    return Shown(thumbnail.data_uri(picture), picture.width // 2, picture.height // 2, alt, caption, peak)


def _decimals(extent: float) -> int:
    """How many decimals tell a thousandth of an extent."""
    if not (math.isfinite(extent) and extent > 0):
        return 4
    return min(max(3 - math.floor(math.log10(extent)), 0), 12)
