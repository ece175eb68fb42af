"""One image with keypoints, and what every data set of such images offers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pcsargmax.transforms.crop import check_box, check_image


@dataclass(frozen=True, eq=False)
class ImageItem:
    """An image with the keypoints of one object in it.

    Coordinates are pixels (x, y), the centre of the first pixel at (0, 0). A box covers whole pixels: (0, 0, W, H) is
    all of an image, from -0.5 to W - 0.5.

    Args:
        name: tells the item from all others of its data set.
        image: (H, W, 3) uint8, RGB.
        keypoints: (K, 2) x, y in pixels, or (K, 3) with the depth (millimetres, relative to the root joint); kept as
            float64, NaN where unknown.
        visible: (K,) bool, which keypoints are known, and so trained and measured; by default those whose x and y are
            finite.
        box: (4,) x, y, width, height of the object in pixels; by default the whole image.
        extra: whatever else the data set knows about the item.

    Raises:
        ValueError: naming the item, for shapes and types that do not fit, a visible keypoint without a place, a box
            without a size, not finite, or wholly outside the image.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.datasets.images import ImageItem
        >>> item = ImageItem("face", np.zeros((48, 64, 3), np.uint8), keypoints=[[20, 16], [np.nan, np.nan]])
        >>> item.visible, item.box
        (array([ True, False]), array([ 0.,  0., 64., 48.]))
    """

    name: str
    image: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray = None  # type: ignore[assignment]
    box: np.ndarray = None  # type: ignore[assignment]
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Convert to the types that are promised, and check."""
        image, keypoints = self.image, np.asarray(self.keypoints, dtype=np.float64)
        check_image(image, f"{self.name}: image")
        if keypoints.ndim != 2 or keypoints.shape[1] not in (2, 3):
            raise ValueError(f"{self.name}: keypoints: expected (K, 2) or (K, 3), got {keypoints.shape}")
        known = np.asarray(np.isfinite(keypoints[:, :2]).all(1))
        visible = known if self.visible is None else np.asarray(self.visible)
        if visible.shape != known.shape or visible.dtype != bool:
            raise ValueError(
                f"{self.name}: visible: expected ({len(known)},) bool, got {visible.shape} {visible.dtype}"
            )
        if (lost := np.flatnonzero(visible & ~known)).size:
            raise ValueError(f"{self.name}: visible: keypoint {lost[0]} is visible and has no place")
        height, width = image.shape[:2]
        box = np.array((0, 0, width, height) if self.box is None else self.box, dtype=np.float64)
        check_box(box, (height, width), f"{self.name}: box")
        for key, value in {"keypoints": keypoints, "visible": visible, "box": box}.items():
            object.__setattr__(self, key, value)


class KeypointImages(Protocol):
    """The interface of a data set of images with keypoints, as training, metrics and viewers use it.

    Attributes:
        keypoint_names: K names.
        flip_pairs: pairs of rows that change places when an image is mirrored, as the two eyes do; a row of no pair
            keeps its meaning. A data set that does not know its pairs says so by an attribute `can_flip` that is False
            (see `can_flip`).
        dimension: 2 for (x, y), 3 for (x, y, depth).
        names: of all items, in their order, without reading a file.

    Example:
        >>> from pcsargmax.datasets.images import KeypointImages, ProceduralFaces
        >>> def count(data: KeypointImages) -> tuple[int, int]:
        ...     return len(data), len(data.keypoint_names)
        >>> count(ProceduralFaces("val"))
        (100, 68)
    """

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """K names."""

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Rows that change places when an image is mirrored."""

    @property
    def dimension(self) -> int:
        """2 or 3."""

    @property
    def names(self) -> Sequence[str]:
        """Names of all items, in their order."""

    def __len__(self) -> int:
        """Number of items."""

    def __getitem__(self, index: int, /) -> ImageItem:
        """Read an item from its file."""


def can_flip(data: KeypointImages) -> bool:
    """Return whether a data set knows which keypoints change places when an image is mirrored.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralFaces, can_flip
        >>> can_flip(ProceduralFaces("val"))
        True
    """
    return bool(getattr(data, "can_flip", True))


def flip_order(num_keypoints: int, flip_pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the rows of the keypoints in the order that they have in the mirrored image.

    Args:
        num_keypoints: K.
        flip_pairs: rows that change places, each row at most once.

    Returns:
        (K,) int64: `points[order]` of the mirrored points has each keypoint in its own row again. It is its own
        inverse.

    Raises:
        ValueError: for rows that do not exist or come twice.

    Example:
        >>> from pcsargmax.datasets.images import flip_order
        >>> flip_order(3, [(0, 1)])  # the two eyes change places, the nose stays
        array([1, 0, 2])
    """
    rows = [row for pair in flip_pairs for row in pair]
    bad = any(len(pair) != 2 for pair in flip_pairs) or any(not 0 <= row < num_keypoints for row in rows)
    if bad or len(set(rows)) < len(rows):
        raise ValueError(
            f"flip_pairs: expected pairs of rows of 0 to {num_keypoints - 1}, each row once, got {list(flip_pairs)}"
        )
    order = np.arange(num_keypoints)
    for first, second in flip_pairs:
        order[[first, second]] = second, first
    return order


@dataclass(frozen=True, eq=False)
class SurfaceItem:
    """A slice with the surfaces that cross it from left to right, one row per surface and column.

    Args:
        name: tells the item from all others of its data set.
        image: (H, W) uint8, grey, or (H, W, 3) uint8, RGB.
        surfaces: (S, W) rows in pixels, the centre of the first row at 0; from top to bottom; kept as float64, NaN
            where unknown.
        extra: whatever else the data set knows about the item; "subject", a whole number, tells whose slice it is.

    Raises:
        ValueError: naming the item, for shapes and types that do not fit, and for infinite rows.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.datasets.images import SurfaceItem
        >>> rows = np.array([[10.0, 11.0, np.nan, 12.0]])  # one surface, unknown in the third column
        >>> item = SurfaceItem("slice", np.zeros((32, 4), np.uint8), rows, extra={"subject": 3})
        >>> item.surfaces.shape
        (1, 4)
    """

    name: str
    image: np.ndarray
    surfaces: np.ndarray
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Convert to the types that are promised, and check."""
        image, surfaces = self.image, np.asarray(self.surfaces, dtype=np.float64)
        grey = isinstance(image, np.ndarray) and image.ndim == 2
        check_image(image[..., None].repeat(3, 2) if grey else image, f"{self.name}: image")
        if surfaces.ndim != 2 or surfaces.shape[1] != image.shape[1]:
            raise ValueError(f"{self.name}: surfaces: expected (S, {image.shape[1]}), got {surfaces.shape}")
        if np.isinf(surfaces).any():
            raise ValueError(f"{self.name}: surfaces: expected finite rows, or NaN where unknown, got infinity")
        object.__setattr__(self, "surfaces", surfaces)


class SurfaceImages(Protocol):
    """The interface of a data set of slices with surfaces.

    Attributes:
        surface_names: S names, from top to bottom.
        micrometres: height of a pixel, None where it is not known; results are then in pixels.
        names: of all items, in their order, without reading a file.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralSlices, SurfaceImages
        >>> def count(data: SurfaceImages) -> tuple[int, int]:
        ...     return len(data), len(data.surface_names)
        >>> count(ProceduralSlices("val"))
        (40, 6)
    """

    @property
    def surface_names(self) -> tuple[str, ...]:
        """S names."""

    @property
    def micrometres(self) -> float | None:
        """Height of a pixel."""

    @property
    def names(self) -> Sequence[str]:
        """Names of all items, in their order."""

    def __len__(self) -> int:
        """Number of items."""

    def __getitem__(self, index: int, /) -> SurfaceItem:
        """Read an item from its files."""
