"""Layered slices with speckle: a stand-in for optical coherence tomography of the retina."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from pcsargmax.datasets.images.item import SurfaceItem
from pcsargmax.datasets.images.procedural.drawn import Drawn

Floats = NDArray[np.float64]

#: How much a layer sends back, from above the first surface to below the last.
_BRIGHTNESS = np.array([0.05, 0.62, 0.36, 0.5, 0.22, 0.8, 0.33])
#: Thickness of the layers between surfaces, shares of the height.
_THICKNESS = np.array([0.1, 0.13, 0.09, 0.14, 0.06])
#: How much of each is missing at the bottom of the pit.
_PIT = np.array([0.95, 0.85, 0.7, -0.25, 0.0])


class ProceduralSlices(Drawn):
    """Grey slices with six ordered surfaces through every column, speckle, shadows and weak contrast.

    Eight slices in a row are of one subject: same layers, brightness and pit, seen at another place. Speckle is
    multiplied onto the picture; vessels throw shadows in which the surfaces are hard to see. Rows are exact to a
    fraction of a pixel: each pixel holds the share of each layer that lies in it.

    Items are `SurfaceItem`s with images (H, W) and `extra["subject"]`.

    Args:
        split: "train", "val" or "test"; no subject is in two.
        num_items: slices; None: 320, 40 and 160.
        size: height and width, or one number for both.
        seed: of all that is drawn.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralSlices
        >>> slices = ProceduralSlices("test", size=(64, 96))
        >>> slices[0].image.shape, slices[0].surfaces.shape  # six surfaces, a row in each of 96 columns
        ((64, 96), (6, 96))
        >>> slices[0].extra["subject"], slices[8].extra["subject"]  # eight slices of each subject
        (0, 1)
    """

    kind: ClassVar[str] = "slice"
    default_items: ClassVar[dict[str, int]] = {"train": 320, "val": 40, "test": 160}
    slices_per_subject: ClassVar[int] = 8
    surface_names = ("upper", "second", "third", "fourth", "fifth", "lower")
    micrometres = None

    def __init__(
        self,
        split: str = "train",
        *,
        num_items: int | None = None,
        size: int | tuple[int, int] = (64, 96),
        seed: int = 0,
    ) -> None:
        """See the class."""
        super().__init__(split, num_items=num_items, size=size, seed=seed)

    def __getitem__(self, index: int) -> SurfaceItem:
        """Draw an item."""
        number = self._number(index)
        subject = number // self.slices_per_subject
        rng, person = self._rng(number), self._rng(subject, "subject")
        surfaces = _surfaces(rng, person, self.size)
        clean = _picture(rng, person, surfaces, self.size)
        grain = rng.uniform(1.5, 3.5)
        speckle = gaussian_filter(rng.gamma(grain, 1 / grain, self.size), (0.35, 0.6))
        image = (clean * speckle + 0.03 * rng.normal(size=self.size)) * rng.uniform(0.8, 1.2)
        return SurfaceItem(
            name=self._name(number),
            image=np.clip(np.rint(255 * image), 0, 255).astype(np.uint8),
            surfaces=surfaces,
            extra={"subject": subject},
        )


def _surfaces(rng: np.random.Generator, person: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Rows (6, W) from top to bottom, pixels."""
    height, width = size
    x = np.linspace(-1, 1, width)
    thickness = height * _THICKNESS * person.uniform(0.75, 1.3, len(_THICKNESS)) * person.uniform(0.85, 1.1)
    middle, wide, deep = rng.uniform(-0.7, 0.7), person.uniform(0.15, 0.35), rng.uniform(0, 1)
    pit = deep * np.exp(-0.5 * ((x - middle) / wide) ** 2)
    layers = thickness[:, None] * (1 - _PIT[:, None] * pit + 0.15 * _waves(rng, x, len(thickness)))
    layers = np.maximum(layers, 0.01 * height)
    bottom = rng.normal(0, 0.06) * x + rng.normal(0.0, 0.08) * x**2 + 0.012 * _waves(rng, x, 1)[0]
    lower = height * (person.uniform(0.72, 0.8) + rng.uniform(-0.03, 0.03) + bottom)
    rows = np.concatenate([lower - layers[::-1].cumsum(axis=0)[::-1], lower[None]])
    # Slices that are too tall are pressed together, others moved, until all lies in the image.
    low, high = 2.0, height - 3.0
    rows = rows.min() + (rows - rows.min()) * min(1.0, (high - low) / np.ptp(rows))
    return np.asarray(rows + max(low - rows.min(), 0) - max(rows.max() - high, 0))


def _waves(rng: np.random.Generator, x: Floats, count: int) -> Floats:
    """Smooth random curves (count, W) of deviation about 1."""
    frequency = np.arange(1, 6)
    size = rng.normal(size=(count, 5, 1)) / frequency[:, None] ** 0.7
    phase = rng.uniform(0, 2 * np.pi, (count, 5, 1))
    return np.asarray((size * np.cos(np.pi * frequency[:, None] * x + phase)).sum(axis=1))


def _picture(rng: np.random.Generator, person: np.random.Generator, surfaces: Floats, size: tuple[int, int]) -> Floats:
    """The picture (H, W) without speckle, about 0 to 1."""
    height, width = size
    y = np.arange(height)[:, None]
    bright = _BRIGHTNESS * person.uniform(0.8, 1.2, len(_BRIGHTNESS)) * rng.uniform(0.92, 1.08, len(_BRIGHTNESS))
    fading = 1 - person.uniform(0.0, 0.5) * np.clip(y / height - 0.3, 0, None)
    below = np.clip(y + 0.5 - surfaces[:, None, :], 0, 1)  # share of each pixel that lies below each surface
    clean = bright[0] + ((bright[1:] - bright[:-1])[:, None, None] * below).sum(axis=0)
    clean = gaussian_filter1d(clean * fading, person.uniform(0.4, 1.0), axis=0)
    shadow = np.ones(width)
    for _ in range(rng.integers(0, 4)):
        near = np.exp(-0.5 * ((np.arange(width) - rng.uniform(0, width)) / rng.uniform(1, 3)) ** 2)
        shadow *= 1 - rng.uniform(0.3, 0.85) * near
    clean *= 1 + below[1] * (shadow - 1)  # vessels lie in the first layer
    return np.asarray(clean * (1 + 0.15 * _waves(rng, np.linspace(-1, 1, width), 1)[0].clip(-2, 2)))
