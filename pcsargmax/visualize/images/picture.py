"""What is drawn of an image, of a prediction and of an annotation alike: plain arrays in pixels of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pcsargmax.predictions.parts import chosen_number, mean_known
from pcsargmax.visualize.palette import ProbabilityColors, color_values

if TYPE_CHECKING:
    from pcsargmax.datasets.images.item import ImageItem, SurfaceItem
    from pcsargmax.predictions.image import ImagePrediction, SurfacePrediction

#: What can be drawn.
Drawable: TypeAlias = "ImagePrediction | SurfacePrediction | ImageItem | SurfaceItem | Picture | SlicePicture"

#: How much of a picture's own contrast is left under a map; the rest is white.
CONTRAST = 0.55
#: From this place on the scale on, a map covers the picture as far as it ever does; below it shows through.
COVERS, MOST_COVER = 0.25, 0.85


@dataclass(frozen=True, eq=False)
class Picture:
    """K keypoints on an image, as they are drawn.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.visualize.images import Picture
        >>> image, position, truth = np.zeros((48, 64, 3), np.uint8), np.array([[30.0, 20.0]]), np.array([[33.0, 24.0]])
        >>> picture = Picture("face", image, ("nose",), position, truth=truth)
        >>> picture.error, picture.annotated  # pixels; without confidence it is an annotation
        (array([5.]), True)
    """

    name: str
    image: np.ndarray
    """(H, W, 3) uint8."""
    names: tuple[str, ...]
    """K, of the keypoints."""
    position: np.ndarray
    """(K, 2) float64 (x, y) pixels, the centre of the first pixel at (0, 0); NaN where there is none."""
    confidence: np.ndarray | None = None
    """(K,) float64; None of an annotation."""
    covariance: np.ndarray | None = None
    """(K, 2, 2) float64 squared pixels."""
    maps: np.ndarray | None = None
    """(K, h, w) float32 probability maps."""
    placed: np.ndarray | None = None
    """(2, 3) float64: leads from a cell (column, row) of the maps to pixels of the image."""
    truth: np.ndarray | None = None
    """(K, 2) float64 pixels, NaN where it is not known; None of an annotation and where nothing is known."""

    @property
    def annotated(self) -> bool:
        """Whether this is an annotation and no prediction."""
        return self.confidence is None

    @property
    def shown(self) -> np.ndarray:
        """Numbers of the keypoints that have a place."""
        return np.flatnonzero(np.isfinite(self.position).all(axis=1))

    @property
    def error(self) -> np.ndarray | None:
        """(K,) distance of each keypoint to its truth in pixels of the image, NaN where unknown; None without truth."""
        return None if self.truth is None else np.linalg.norm(self.position - self.truth, axis=1)

    @property
    def mean_error(self) -> float | None:
        """Mean of `error` of the keypoints that have one; None where none has."""
        return mean_known(self.error)

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what is drawn: the image, and the maps where they reach beyond it."""
        height, width = self.image.shape[:2]
        corners = [np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])]
        if self.maps is not None and self.placed is not None:
            rows, columns = self.maps.shape[-2:]
            ends = np.array([[x, y, 1.0] for x in (-0.5, columns - 0.5) for y in (-0.5, rows - 0.5)])
            corners.append(ends @ self.placed.T)
        every = np.concatenate(corners)
        (left, top), (right, bottom) = every.min(axis=0).tolist(), every.max(axis=0).tolist()
        return left, top, right, bottom

    def number(self, keypoint: str | int) -> int:
        """Row of a keypoint given by its name, or by its number as int."""
        return chosen_number(keypoint, self.names, "keypoint")


@dataclass(frozen=True, eq=False)
class SlicePicture:
    """S surfaces through the columns of an image, as they are drawn.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.visualize.images import SlicePicture
        >>> image, rows, truth = np.zeros((32, 2, 3), np.uint8), np.array([[10.0, 11.0]]), np.array([[10.0, 12.0]])
        >>> SlicePicture("slice", image, ("upper",), rows, truth=truth).error  # pixels
        array([0.5])
    """

    name: str
    image: np.ndarray
    """(H, W, 3) uint8."""
    names: tuple[str, ...]
    """S, of the surfaces."""
    rows: np.ndarray
    """(S, W) float64 rows, the centre of the first pixel at 0; NaN where there is none."""
    std: np.ndarray | None = None
    """(S, W) float64 pixels; None of an annotation."""
    truth: np.ndarray | None = None
    """(S, W) float64 rows, NaN where unknown; None of an annotation and where nothing is known."""

    @property
    def annotated(self) -> bool:
        """Whether this is an annotation and no prediction."""
        return self.std is None

    @property
    def shown(self) -> np.ndarray:
        """Numbers of the surfaces that have a place anywhere."""
        return np.flatnonzero(np.isfinite(self.rows).any(axis=1))

    @property
    def error(self) -> np.ndarray | None:
        """(S,) mean absolute distance of each surface to its truth in pixels, NaN where unknown; None without truth."""
        if self.truth is None:
            return None
        away = np.abs(self.rows - self.truth)
        known = np.isfinite(away)
        count = np.maximum(known.sum(axis=1), 1)
        return np.where(known.any(axis=1), np.where(known, away, 0).sum(axis=1) / count, np.nan)

    @property
    def mean_error(self) -> float | None:
        """Mean of `error` of the surfaces that have one; None where none has."""
        return mean_known(self.error)

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the image."""
        height, width = self.image.shape[:2]
        return -0.5, -0.5, width - 0.5, height - 0.5

    def number(self, surface: str | int) -> int:
        """Row of a surface given by its name, or by its number as int."""
        return chosen_number(surface, self.names, "surface")


def picture_of(thing: Drawable, names: Sequence[str] = ()) -> Picture | SlicePicture:
    """What is drawn of a prediction, or of an item of a data set as it is annotated.

    Args:
        thing: either, or what this function made of one.
        names: of the keypoints or surfaces of an item, which does not carry them; empty: their numbers.

    Raises:
        ValueError: another number of names than keypoints or surfaces.
        TypeError: something else.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralFaces
        >>> from pcsargmax.visualize.images import picture_of
        >>> faces = ProceduralFaces("test")
        >>> picture = picture_of(faces[0], faces.keypoint_names)
        >>> picture.annotated, len(picture.names)
        (True, 68)
    """
    from pcsargmax.datasets.images.item import ImageItem, SurfaceItem
    from pcsargmax.predictions.image import ImagePrediction, SurfacePrediction

    if isinstance(thing, Picture | SlicePicture):
        return thing
    if isinstance(thing, ImagePrediction):
        return _predicted(thing)
    if isinstance(thing, SurfacePrediction):
        truth = None if thing.truth is None else np.asarray(thing.truth, dtype=np.float64)
        return SlicePicture(thing.name, _rgb(thing.image), tuple(thing.surface_names), thing.rows, thing.std, truth)
    if isinstance(thing, ImageItem):
        places = np.where(np.asarray(thing.visible, dtype=bool)[:, None], thing.keypoints[:, :2], np.nan)
        return Picture(thing.name, _rgb(thing.image), _named(names, len(places)), places)
    if isinstance(thing, SurfaceItem):
        return SlicePicture(thing.name, _rgb(thing.image), _named(names, len(thing.surfaces)), thing.surfaces)
    raise TypeError(f"expected a prediction on an image or an item of images, got {type(thing).__name__}")


def _predicted(prediction: ImagePrediction) -> Picture:
    """Of a prediction in three dimensions its first two: the depth is not drawn."""
    truth = prediction.truth
    if truth is not None:
        truth = np.array(truth[:, :2], dtype=np.float64)
        if prediction.visible is not None:
            truth[~np.asarray(prediction.visible, dtype=bool)] = np.nan
    return Picture(
        prediction.name,
        _rgb(prediction.image),
        tuple(prediction.keypoint_names),
        np.asarray(prediction.position[:, :2], dtype=np.float64),
        np.asarray(prediction.confidence, dtype=np.float64),
        np.asarray(prediction.covariance[:, :2, :2], dtype=np.float64),
        prediction.probability,
        cells_to_image(prediction.crop, prediction.probability.shape[-2:]),
        truth,
    )


def cells_to_image(crop: Any, shape: Sequence[int]) -> np.ndarray:
    """The (2, 3) affine map from cells (column, row) of a map of a crop to pixels of the image.

    Cell i lies at input pixel i · stride, without a shift by half a pixel (the convention of the training).

    Args:
        crop: a `Crop`: its (2, 3) matrix leads from the image to the network's input, of its size (height, width).
        shape: (h, w) of the map.
    """
    back = np.linalg.inv(np.vstack([crop.matrix, [0.0, 0.0, 1.0]]))
    height, width = crop.size
    return back[:2] @ np.diag([width / shape[1], height / shape[0], 1.0])


def map_values(picture: Picture, keypoint: str | int | None = None) -> np.ndarray | None:
    """(h, w) float64 map of one keypoint, for None the largest of all; None where there are no maps."""
    if picture.maps is None:
        return None
    if keypoint is None:
        return picture.maps.max(axis=0).astype(np.float64)
    return picture.maps[picture.number(keypoint)].astype(np.float64)


def map_colors(
    picture: Picture, keypoint: str | int | None = None, *, log_scale: bool = False, peak: float | None = None
) -> tuple[ProbabilityColors, np.ndarray] | None:
    """The colours of a map by the scale of all pictures, and the map as a layer that lets the image show through.

    Args:
        picture: whose map.
        keypoint: whose map; None: the largest of all.
        log_scale: colour by the logarithm, over three decades.
        peak: the probability at the end of the scale; None: the largest of the map.

    Returns:
        Colours with what a legend needs, and (h, w, 4) float64 RGBA in [0, 1]; None where there are no maps.

    Raises:
        ValueError: no such keypoint, or a peak that is not above 0.
    """
    values = map_values(picture, keypoint)
    if values is None:
        return None
    title = "largest probability" if keypoint is None else f"probability of {picture.names[picture.number(keypoint)]}"
    colors = color_values(values, title + (", log scale" if log_scale else ""), log_scale=log_scale, peak=peak)
    end = (float(values.max()) if peak is None else peak) or 1.0
    place = 1 + np.log10(np.maximum(values / end, 1e-30)) / 3 if log_scale else values / end
    cover = MOST_COVER * np.clip(place / COVERS, 0, 1)
    return colors, np.concatenate([colors.rgb, cover[..., None]], axis=-1)


def pale(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: the image in grey and mixed with white, so that the colours on it are those of a map alone."""
    grey = image.astype(np.float64) @ [0.299, 0.587, 0.114]
    return np.repeat(np.round(255 - CONTRAST * (255 - grey)).astype(np.uint8)[..., None], 3, axis=-1)


def ellipse_axes(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half axes of the 1 σ ellipses: (K, 2) lengths in pixels, the longer last, and (K,) degrees from x towards y.

    Args:
        covariance: (K, 2, 2) squared pixels; one that is not finite gives an ellipse of no size.
    """
    known = np.isfinite(covariance).all(axis=(1, 2))
    values, vectors = np.linalg.eigh(np.where(known[:, None, None], covariance, 0.0))
    angle = np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
    return np.sqrt(np.maximum(values, 0.0)), angle


def _rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) of an image that may be grey."""
    image = np.asarray(image, dtype=np.uint8)
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image


def _named(names: Sequence[str], count: int) -> tuple[str, ...]:
    if not names:
        return tuple(str(k) for k in range(count))
    if len(names) != count:
        raise ValueError(f"names: expected {count}, as the item has, got {len(names)}")
    return tuple(names)
