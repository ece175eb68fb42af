"""Which part of an image a network sees: an affine map from the image's pixels to the input's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Crop:
    """An affine map from an image to the input of a network.

    Coordinates are pixels (x, y) in both, the centre of the first pixel at (0, 0). The outer edges of a box meet the
    outer edges of the input, so a box of the input's own size is copied pixel by pixel, and mirroring is exactly the
    reversal of each row.

    Args:
        matrix: (2, 3) float64, `input = matrix[:, :2] @ image + matrix[:, 2]`.
        size: (height, width) of the input in pixels.

    Raises:
        ValueError: for a matrix that is not finite or cannot be inverted, or a size that is not two whole numbers
            above 0.
    """

    matrix: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        """Convert and check."""
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (2, 3) or not np.isfinite(matrix).all():
            raise ValueError(f"matrix: expected (2, 3) finite numbers, got {matrix.shape}: {matrix.tolist()}")
        if not abs(np.linalg.det(matrix[:, :2])) > 0:
            raise ValueError(f"matrix: expected one that can be inverted, got {matrix.tolist()}")
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "size", _check_size(self.size))

    @classmethod
    def around(
        cls,
        box: np.ndarray | Sequence[float],
        size: tuple[int, int],
        *,
        scale: float = 1.0,
        rotation: float = 0.0,
        padding: float = 1.25,
        flip: bool = False,
    ) -> Self:
        """Take a box and some room around it, in the input's proportions; nothing is stretched.

        Args:
            box: (4,) x, y, width, height in pixels; `(0, 0, W, H)` is a whole image. It is grown to the proportions of
                `size` about its centre. It may reach beyond the image, which is black there.
            size: (height, width) of the input.
            scale: factor of the region's sides: at 2 the object looks half as large.
            rotation: degrees by which the picture turns about the centre of the box, clockwise as one sees it.
            padding: a further factor of the sides, the room around every box (1.25 in SimplePose).
            flip: mirror the input left to right, after the rotation.

        Raises:
            ValueError: for a box that is not four finite numbers with a width and a height above 0, a scale or padding
                that is not above 0, or a rotation that is not finite.
        """
        box = np.asarray(box, dtype=np.float64)
        check_box(box, None, "box")
        height, width = _check_size(size)
        for name, value in {"scale": scale, "padding": padding}.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: expected a number above 0, got {value}")
        if not math.isfinite(rotation):
            raise ValueError(f"rotation: expected degrees, got {rotation}")
        zoom = min(width / box[2], height / box[3]) / (scale * padding)
        angle = math.radians(rotation)
        turn = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        center = box[:2] + (box[2:] - 1) / 2
        middle = np.array([width - 1, height - 1]) / 2
        crop = cls(np.column_stack([turn, middle - turn @ center]), (height, width))
        return crop.mirrored() if flip else crop

    @property
    def flip(self) -> bool:
        """Whether the input shows the image mirrored."""
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    @property
    def zoom(self) -> float:
        """Input pixels along a side of an image pixel."""
        return math.sqrt(abs(np.linalg.det(self.matrix[:, :2])))

    def mirrored(self) -> Self:
        """The same part with the input mirrored left to right: `image[:, ::-1]`, for the flip test.

        A network's coordinates in the mirrored input come back by this crop's own `to_image`; the rows of the pairs
        change places (`flip_order`).
        """
        matrix = self.matrix * [[-1], [1]]
        matrix[0, 2] += self.size[1] - 1
        return type(self)(matrix, self.size)

    def to_input(self, points: Any) -> np.ndarray:
        """Map points of the image to the input.

        Args:
            points: (..., 2) pixels, or (..., D) with further columns (a depth), which stay as they are; NaN stays NaN.

        Returns:
            float64 of the same shape.
        """
        return _affine(points, self.matrix[:, :2], self.matrix[:, 2])

    def to_image(self, points: Any) -> np.ndarray:
        """Map points of the input to the image: the inverse of `to_input`, with the same arguments."""
        inverse = np.linalg.inv(self.matrix[:, :2])
        return _affine(points, inverse, -inverse @ self.matrix[:, 2])

    def covariance_to_image(self, covariance: Any) -> np.ndarray:
        """Map covariances of points of the input to the image.

        Args:
            covariance: (..., D, D), D = 2 or more, pixels² of the input; the depth stays in its own unit.

        Returns:
            float64 of the same shape, pixels² of the image.
        """
        covariance = np.asarray(covariance, dtype=np.float64)
        if covariance.ndim < 2 or covariance.shape[-1] != covariance.shape[-2] or covariance.shape[-1] < 2:
            raise ValueError(f"covariance: expected (..., D, D) with D of 2 or more, got {covariance.shape}")
        change = np.eye(covariance.shape[-1])
        change[:2, :2] = np.linalg.inv(self.matrix[:, :2])
        return change @ covariance @ change.T

    def image(self, image: np.ndarray) -> np.ndarray:
        """Cut the part out of an image, by bilinear interpolation; black beyond its edges.

        An image that shrinks to less than half is first averaged over blocks of whole pixels, so that fine detail does
        not turn into noise.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (height, width, 3) uint8.

        Raises:
            ValueError: for another type, or where no pixel of the input lies on the image.
        """
        from PIL import Image

        check_image(image, "image")
        height, width = self.size
        self._check_overlap(image.shape[0], image.shape[1])
        source = Image.fromarray(np.ascontiguousarray(image))
        inverse = np.linalg.inv(self.matrix[:, :2])
        shift = -inverse @ self.matrix[:, 2]
        if (block := int(1 / self.zoom + 1e-6)) > 1:
            source = source.reduce(block)
            # the centre of block j is pixel j * block + (block - 1) / 2
            inverse, shift = inverse / block, (shift - (block - 1) / 2) / block
        shift = shift + 0.5 - inverse.sum(1) / 2  # Pillow counts from the pixels' corners
        numbers = np.column_stack([inverse, shift]).ravel().tolist()
        part = source.transform((width, height), Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR)
        return np.array(part)

    def _check_overlap(self, rows: int, columns: int) -> None:
        height, width = self.size
        corners = [(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)]
        around = self.to_image(corners)
        edges = self.to_input([(-0.5, -0.5), (columns - 0.5, -0.5), (columns - 0.5, rows - 0.5), (-0.5, rows - 0.5)])
        apart = (
            (around.max(0) <= -0.5).any()
            or (around.min(0) >= (columns - 0.5, rows - 0.5)).any()
            or (edges.max(0) <= -0.5).any()
            or (edges.min(0) >= (width - 0.5, height - 0.5)).any()
        )
        if apart:
            places = ", ".join(f"({x:.5g}, {y:.5g})" for x, y in around)
            raise ValueError(f"crop: its corners {places} enclose nothing of the image of {columns} x {rows} pixels")


def _affine(points: Any, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    points = np.array(points, dtype=np.float64)
    if points.ndim < 1 or points.shape[-1] < 2:
        raise ValueError(f"points: expected (..., 2) or more columns, got {points.shape}")
    points[..., :2] = points[..., :2] @ matrix.T + shift
    return points


def _check_size(size: Any) -> tuple[int, int]:
    pair = isinstance(size, Sequence) and len(size) == 2
    if not pair or not all(isinstance(n, int | np.integer) and n > 0 for n in size):
        raise ValueError(f"size: expected (height, width), whole numbers above 0, got {size}")
    return int(size[0]), int(size[1])


def check_image(image: object, what: str) -> None:
    """Raise a ValueError that begins with `what` unless it is (H, W, 3) uint8 with pixels."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{what}: expected (H, W, 3) uint8, got a {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"{what}: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")


def check_box(box: np.ndarray, image_size: tuple[int, int] | None, what: str) -> None:
    """Raise a ValueError that begins with `what` unless a box can be cut out.

    Args:
        box: (4,) x, y, width, height in pixels.
        image_size: (height, width) of the image that it must touch, None where it is not known.
        what: the start of the message.
    """
    text = f"({', '.join(f'{number:g}' for number in box)})" if box.ndim == 1 else f"{box.shape}"
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(f"{what}: expected four finite numbers x, y, width, height, got {text}")
    x, y, width, height = box.tolist()
    if not (width > 0 and height > 0):
        raise ValueError(f"{what}: expected a width and a height above 0, got {text} (x, y, width, height)")
    if image_size is None:
        return
    rows, columns = image_size
    if x >= columns or y >= rows or x + width <= 0 or y + height <= 0:
        raise ValueError(f"{what}: {text} (x, y, width, height) lies outside the image of {columns} x {rows} pixels")
