"""The colours of every picture: fixed ones for keypoints, one perceptually uniform scale for probability."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from pcsargmax.predictions.cloud import Prediction

#: 32 keypoint colours. The first seven are Okabe and Ito's; each further one was chosen greedily to be farthest
#: in OKLab from all before it, as seen with normal, deuteranope and protanope eyes, and from the points' grey
#: and the truth's black. So a picture of few keypoints gets the most distinct colours.
KEYPOINT_COLORS = [
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#7b4247",
    "#2d19ec",
    "#7075fe",
    "#523891",
    "#73c385",
    "#96f8ac",
    "#ab3f84",
    "#ae390f",
    "#6a91dc",
    "#7a2668",
    "#f34e6a",
    "#394fc1",
    "#74dd6d",
    "#901308",
    "#8cc7ff",
    "#d39aba",
    "#a0555c",
    "#3f55f7",
    "#e17f08",
    "#46fbfb",
    "#add8a9",
    "#9c6f97",
    "#ab50d0",
    "#8d8146",
    "#e9bb1e",
]
TRUTH_COLOR = "#202020"
ABSENT_COLOR = "#9a9aa2"
#: Edges of a skeleton at full strength.
EDGE_COLOR = "#34405c"
#: Links and rings of symmetries.
SYMMETRY_COLOR = "#8a8f9c"
#: The mesh under the points: paler than the scale's palest, so that it is not taken for a probability.
SURFACE_COLOR = "#f0f1f4"

# The scale's path: pale grey-blue for nothing, then amber, red and a dark violet; its lightness only falls.
_SCALE_ANCHORS = ("#cfd4de", "#f2b134", "#e4572e", "#a4133c", "#3d0c3f")

# Björn Ottosson, "A perceptual color space for image processing" (2020): OKLab from linear sRGB.
_TO_CONE = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def hex_to_rgb(color: str) -> np.ndarray:
    """(3,) float64 sRGB in [0, 1] of a "#rrggbb"."""
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def rgb_to_hex(color: np.ndarray) -> str:
    """The "#rrggbb" of (3,) sRGB in [0, 1]."""
    return "#" + "".join(f"{round(float(value) * 255):02x}" for value in color)


def keypoint_color(number: int) -> str:
    """The "#rrggbb" of keypoint `number`; after 32 the colours start again."""
    return KEYPOINT_COLORS[number % len(KEYPOINT_COLORS)]


def rgb_to_oklab(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) sRGB in [0, 1] to OKLab, in which equal steps look equally large."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_CONE.T) @ _TO_LAB.T


def oklab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """(..., 3) OKLab to sRGB, clipped to [0, 1]."""
    linear = ((lab @ np.linalg.inv(_TO_LAB).T) ** 3) @ np.linalg.inv(_TO_CONE).T
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@cache
def probability_scale() -> np.ndarray:
    """(256, 3) sRGB in [0, 1] from no to full probability, in steps of equal OKLab length."""
    anchors = rgb_to_oklab(np.array([hex_to_rgb(color) for color in _SCALE_ANCHORS]))
    fine = np.linspace(0, len(anchors) - 1, 4096)
    path = np.stack([np.interp(fine, np.arange(len(anchors)), axis) for axis in anchors.T], axis=1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    even = np.linspace(0, length[-1], 256)
    scale = oklab_to_rgb(np.stack([np.interp(even, length, axis) for axis in path.T], axis=1))
    scale.setflags(write=False)
    return scale


#: What a legend calls all maps together, and one of them.
_PROBABILITIES = "largest probability", "probability"


@dataclass(frozen=True, eq=False)
class ProbabilityColors:
    """The colours of a cloud by probability, and what a legend needs to explain them."""

    title: str
    """Which map, as "probability of handle" or "largest probability, log scale"; of an annotation what it is."""
    rgb: np.ndarray
    """(N, 3) sRGB in [0, 1], a row a point."""
    ticks: tuple[tuple[float, str], ...]
    """(place on the scale in [0, 1], label); none of an annotation, whose colours are no scale."""


def probability_map(prediction: Prediction, keypoint: str | int | None = None) -> np.ndarray:
    """(N,) probability of one keypoint at each point; for None the largest over the keypoints."""
    if keypoint is None:
        return prediction.probability.max(axis=0).astype(np.float64)
    return prediction.probability[prediction.keypoint_number(keypoint)].astype(np.float64)


def color_by_probability(
    prediction: Prediction,
    keypoint: str | int | None = None,
    *,
    log_scale: bool = False,
    decades: float = 3.0,
    peak: float | None = None,
) -> ProbabilityColors:
    """Colour the points by probability, as `color_values` does; `peak` None is that of the map itself."""
    some, one = ("annotated positions", "annotated position") if prediction.annotated else _PROBABILITIES
    named = some
    if keypoint is not None:
        named = f"{one} of {prediction.keypoint_names[prediction.keypoint_number(keypoint)]}"
    colors = color_values(probability_map(prediction, keypoint), named, log_scale=log_scale, decades=decades, peak=peak)
    if prediction.annotated:
        return replace(colors, ticks=())
    return replace(colors, title=f"{named}, log scale") if log_scale else colors


def color_values(
    values: np.ndarray, title: str, *, log_scale: bool = False, decades: float = 3.0, peak: float | None = None
) -> ProbabilityColors:
    """Colour values by the probability scale, from 0 (or, on a log scale, 10^-decades of the peak) to the peak.

    Args:
        values: (...) float64, not negative; the colours are (..., 3).
        title: what they are, for the legend.
        log_scale: colour by the logarithm.
        decades: how many of them.
        peak: the value at the end of the scale, so that several maps can share one; None: the largest of these.

    Raises:
        ValueError: a peak that is not above 0.
    """
    largest = float(values.max())
    if peak is not None and not 0 < peak < np.inf:
        raise ValueError(f"peak: expected a number above 0, got {peak}")
    peak = (largest if peak is None else peak) or 1.0
    if log_scale:
        place = 1 + np.log10(np.maximum(values / peak, 1e-30)) / decades
        marks = [(1 - step / decades, peak * 10**-step) for step in range(int(decades), -1, -1)]
    else:
        place = values / peak
        marks = [(share, peak * share) for share in (0, 0.5, 1)]
    rows = np.round(np.clip(place, 0, 1) * 255).astype(int)
    more = "≥ " if largest > peak * (1 + 1e-6) else ""  # the last colour then stands for more as well
    ticks = tuple((at, f"{more if at == 1 else ''}{mark:.2g}") for at, mark in marks)
    return ProbabilityColors(title, probability_scale()[rows], ticks)


def faded(rgb: np.ndarray, depth: np.ndarray, *, most: float = 0.6, steps: int = 8) -> np.ndarray:
    """(N, 3) colours: the farther the paler, but as they are where they say that a point is probable.

    Mixed with the white of the page, not transparent, and in few steps: so a vector file stays small.

    Args:
        rgb: (N, 3) sRGB in [0, 1] on the probability scale.
        depth: (N,) distance from the eye.
        most: how much white the farthest get.
        steps: how many kinds of pale there are.
    """
    away = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-12)
    plain = np.abs(rgb - probability_scale()[0]).max(axis=1) < 0.02
    white = np.where(plain, np.round(steps * away) / steps * most, 0.0)[:, None]
    return rgb * (1 - white) + white
