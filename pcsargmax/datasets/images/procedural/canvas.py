"""A canvas of float colours to draw with soft edges on, and what a camera adds: blur, light, noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float64]


class Canvas:
    """Colours (H, W, 3) 0 to 1, and of each pixel how far away it is and what was drawn there.

    Coordinates are pixels (x, y), the centre of the first pixel at (0, 0). A part that is drawn covers what is farther
    away; its edges are as soft as a pixel is wide.

    Args:
        height: H.
        width: W.
        color: of all pixels, 0 to 1.
    """

    def __init__(self, height: int, width: int, color: ArrayLike = (0.5, 0.5, 0.5)) -> None:
        """See the class."""
        self.color: Floats = np.broadcast_to(np.asarray(color, dtype=np.float64), (height, width, 3)).copy()
        self.depth: Floats = np.full((height, width), np.inf)
        self.owner = np.full((height, width), -1)

    @property
    def shape(self) -> tuple[int, int]:
        """H and W."""
        return self.owner.shape[0], self.owner.shape[1]

    def window(self, low: ArrayLike, high: ArrayLike) -> tuple[slice, slice] | None:
        """Rows and columns of the pixels from (x, y) `low` to `high`, None if none are on the canvas."""
        height, width = self.shape
        left, top = np.maximum(np.floor(np.asarray(low)).astype(int), 0)
        right, bottom = np.minimum(np.ceil(np.asarray(high)).astype(int) + 1, (width, height))
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None

    def paint(
        self, window: tuple[slice, slice], alpha: Floats, color: Floats, depth: Floats | float, owner: int
    ) -> None:
        """Lay colours (h, w, 3) or (3,), of opacity alpha (h, w), over what is farther away in a window."""
        alpha = alpha * (depth < self.depth[window])
        self.color[window] += alpha[..., None] * (color - self.color[window])
        solid = alpha > 0.5
        self.depth[window] = np.where(solid, depth, self.depth[window])
        self.owner[window] = np.where(solid, owner, self.owner[window])

    def limb(
        self,
        ends: ArrayLike,
        radii: Sequence[float],
        color: ArrayLike,
        *,
        light: ArrayLike = (0.0, 0.0, -1.0),
        depths: Sequence[float] = (0.0, 0.0),
        thickness: float = 0.0,
        other: tuple[ArrayLike, ArrayLike] | None = None,
        owner: int = 0,
    ) -> None:
        """Draw a rounded, tapered limb, lit from the side.

        Args:
            ends: (2, 2) x, y of its ends.
            radii: at the two ends, pixels.
            color: (3,) 0 to 1.
            light: (3,) direction to the light, x right, y down, z away from the camera.
            depths: of the two ends, any unit; smaller is nearer.
            thickness: how much nearer than the axis the surface is, same unit.
            other: a direction (3,) and the colour of where the surface faces away from it, as hair on a head.
            owner: what the pixels are to be remembered as.
        """
        ends, reach = np.asarray(ends, dtype=np.float64), max(radii) + 1.0
        window = self.window(ends.min(0) - reach, ends.max(0) + reach)
        if window is None:
            return
        x = np.arange(window[1].start, window[1].stop) - ends[0, 0]
        y = (np.arange(window[0].start, window[0].stop) - ends[0, 1])[:, None]
        run, fall = ends[1] - ends[0]
        along = np.clip((run * x + fall * y) / max(run**2 + fall**2, 1e-9), 0, 1)
        x, y = x - along * run, y - along * fall  # from the axis
        radius = radii[0] + along * (radii[1] - radii[0])
        alpha = np.clip(radius - np.sqrt(x**2 + y**2) + 0.5, 0, 1)
        scale = 1 / np.maximum(radius, 0.5)
        x, y = np.clip(x * scale, -1, 1), np.clip(y * scale, -1, 1)  # the normal of the surface, with -front
        front = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))

        def facing(direction: ArrayLike) -> Floats:
            dx, dy, dz = np.asarray(direction, dtype=np.float64)
            return np.asarray(dx * x + dy * y - dz * front)

        tint = np.asarray(color, dtype=np.float64)
        if other is not None:
            tint = np.where((facing(other[0]) < 0.15)[..., None], other[1], tint)
        shade = 0.45 + 0.6 * np.clip(facing(light), 0, 1)
        depth = depths[0] + along * (depths[1] - depths[0]) - thickness * front
        self.paint(window, alpha, tint * shade[..., None], depth, owner)

    def polygon(self, points: ArrayLike, color: ArrayLike, *, depth: float = 0.0, owner: int = 0) -> None:
        """Fill a polygon (n, 2)."""
        points = np.asarray(points, dtype=np.float64)
        window = self.window(points.min(0) - 1, points.max(0) + 1)
        if window is not None:
            self.paint(window, polygon_cover(points, window), np.asarray(color, dtype=np.float64), depth, owner)


def polygon_cover(points: Floats, window: tuple[slice, slice], fine: int = 4) -> Floats:
    """Which share of each pixel of a window lies in a polygon (n, 2): (h, w), from `fine` × `fine` places a pixel."""
    from PIL import Image, ImageDraw

    # Pillow puts the edge of the first pixel at 0, not its centre.
    rows, columns = window
    size = (fine * (columns.stop - columns.start), fine * (rows.stop - rows.start))
    mask = Image.new("L", size)
    corner = np.array([columns.start, rows.start])
    ImageDraw.Draw(mask).polygon([tuple(p) for p in (points - corner + 0.5) * fine], fill=255)
    return np.asarray(mask.reduce(fine), dtype=np.float64) / 255


def texture(rng: np.random.Generator, shape: tuple[int, int], cells: int = 5) -> Floats:
    """Smooth noise of mean 0 and deviation about 1 whose spots are about 1/`cells` of the canvas wide: (H, W)."""
    from PIL import Image

    grid = Image.fromarray(rng.normal(size=(cells + 1, cells + 1)).astype(np.float32))
    return np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC), dtype=np.float64)


def background(rng: np.random.Generator, shape: tuple[int, int], clutter: int) -> Canvas:
    """A canvas of two blended colours with spots, and `clutter` shapes of which some look like limbs."""
    canvas = Canvas(*shape, color=rng.uniform(0.1, 0.9, 3))
    blend = 1 / (1 + np.exp(-1.5 * texture(rng, shape, 3)))
    canvas.color += blend[..., None] * (rng.uniform(0.1, 0.9, 3) - canvas.color)
    canvas.color += 0.06 * texture(rng, shape, 12)[..., None]
    for _ in range(clutter):
        scatter(canvas, rng, depth=1e9)
    canvas.depth[:], canvas.owner[:] = np.inf, -1
    return canvas


def scatter(canvas: Canvas, rng: np.random.Generator, *, depth: float, largest: float = 0.25, owner: int = -2) -> None:
    """Draw one shape somewhere: a limb, a ball or a box, of up to `largest` of the canvas."""
    height, width = canvas.shape
    size = rng.uniform(0.08, largest) * min(height, width)
    middle = rng.uniform(0, 1, 2) * (width, height)
    angle = rng.uniform(0, np.pi)
    along = size * np.array([np.cos(angle), np.sin(angle)])
    color = rng.uniform(0.05, 0.95, 3)
    kind = rng.integers(3)
    if kind == 0:
        thick = size * rng.uniform(0.12, 0.3, 2)
        light = _unit(rng.normal(size=3) - (0, 0, 1))
        ends = [middle - along, middle + along]
        canvas.limb(ends, (thick[0], thick[1]), color, light=light, depths=(depth, depth), owner=owner)
    elif kind == 1:
        light = _unit(rng.normal(size=3) - (0, 0, 1))
        ball = 0.7 * size
        canvas.limb([middle, middle], (ball, ball), color, light=light, depths=(depth, depth), owner=owner)
    else:
        across = rng.uniform(0.2, 0.8) * np.array([-along[1], along[0]])
        corners = [middle + a * along + b * across for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        canvas.polygon(corners, color, depth=depth, owner=owner)


def photograph(color: Floats, rng: np.random.Generator, *, noise: tuple[float, float] = (0.01, 0.05)) -> np.ndarray:
    """Turn colours (H, W, 3) or grey (H, W), 0 to 1, into a picture: a little blur, other light, noise; uint8."""
    blur = rng.uniform(0, 0.7)
    color = gaussian_filter(color, (blur, blur) + (0,) * (color.ndim - 2))
    color = (color - 0.5) * rng.uniform(0.7, 1.15) + 0.5 + rng.uniform(-0.12, 0.12)
    color = color + rng.uniform(*noise) * rng.normal(size=color.shape)
    return np.clip(np.rint(255 * color), 0, 255).astype(np.uint8)


def _unit(vector: ArrayLike) -> Floats:
    vector = np.asarray(vector, dtype=np.float64)
    return vector / np.linalg.norm(vector)
