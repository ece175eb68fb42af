"""A rendered picture with what is written onto it: names, the outlines of ellipsoids, and notes for its legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from pcsargmax.ops.triangle_tree import TriangleTree
from pcsargmax.predictions.cloud import Surface
from pcsargmax.visualize import overlay
from pcsargmax.visualize.clouds.drawing import KEYPOINT_RADIUS, Drawing
from pcsargmax.visualize.clouds.geometry import Camera
from pcsargmax.visualize.clouds.renderer import SUPERSAMPLING
from pcsargmax.visualize.palette import keypoint_color


def finish_view(
    pixels: np.ndarray, one: Drawing, camera: Camera, names: Sequence[str], *, steady: bool = False
) -> Image.Image:
    """Lay outlines and names over a rendered view and average it down.

    Args:
        pixels: (height, width, 3) uint8, `SUPERSAMPLING` times as large as the camera's size.
        one: what was rendered.
        camera: that it was rendered by.
        names: of all keypoints.
        steady: names stand at one place beside their keypoints, as in a picture of many that turns, where they would
            jump if each were put where there is most room.

    Returns:
        The view, of the camera's size.
    """
    image = Image.fromarray(pixels)
    for sigmas in range(one.look.ellipsoids, 0, -1):
        outlines = [SUPERSAMPLING * outline for outline in _outlines(one, camera, float(sigmas))]
        image = overlay.draw_outlines(image, list(zip(one.shown[one.chosen].tolist(), outlines, strict=True)))
    at, depth = camera.project(one.position)
    alone = np.isin(np.arange(len(one.shown)), one.chosen) & (one.look.keypoint is not None)
    overlay.draw_labels(
        image,
        [(names[k] if one.look.labels else "", keypoint_color(k)) for k in one.shown],
        SUPERSAMPLING * at,
        SUPERSAMPLING * KEYPOINT_RADIUS * camera.pixels_per_unit(depth),
        hidden(one, camera),
        font_size=max(overlay.SMALLEST * SUPERSAMPLING, image.height // 44),
        depth=depth if steady else None,
        ringed=alone,
    )
    return image.resize(camera.size, Image.Resampling.BOX)


def notes(one: Drawing) -> list[str]:
    """What a legend says of the things drawn that are not keypoints or the colours of the cloud."""
    told = []
    if np.isfinite(one.truth).any():
        told.append("small dark balls: annotated positions")
    if one.look.ellipsoids and len(one.chosen):
        sigmas = "1 σ" if one.look.ellipsoids == 1 else "1 and 2 σ"
        told.append(f"outlines: {sigmas} of the probability map")
    if one.samples.size and len(one.chosen):
        told.append(f"dots: {len(one.samples)} draws from {'the' if one.look.keypoint is not None else 'each'} map")
    if one.edges:
        told.append("rods: the skeleton, darker the stronger")
    if len(one.symmetry_lines().vertices):
        told.append("thin grey lines: symmetries")
    return told


def _outlines(one: Drawing, camera: Camera, sigmas: float) -> list[np.ndarray]:
    """The silhouettes of the ellipsoids, (P, 2) pixels each."""
    from scipy.spatial import ConvexHull, QhullError

    outlines = []
    for ball in camera.project(one.ellipsoids(sigmas).vertices)[0].reshape(len(one.chosen), -1, 2):
        try:
            outlines.append(ball[ConvexHull(ball).vertices])
        except QhullError:  # flat: no extent across the view
            outlines.append(ball[[ball[:, 0].argmin(), ball[:, 0].argmax()]])
    return outlines


def hidden(one: Drawing, camera: Camera) -> np.ndarray:
    """(M,) bool: whether cloud points stand before a keypoint."""
    pixels, depth = camera.project(one.position)
    cloud_pixels, cloud_depth = camera.project(one.points)
    radius = KEYPOINT_RADIUS * camera.pixels_per_unit(depth)
    near = np.stack(
        [np.linalg.norm(cloud_pixels - place, axis=1) < reach for place, reach in zip(pixels, radius, strict=True)]
        or [np.zeros(len(cloud_depth), dtype=bool)]
    )[: len(pixels)]
    before = (near & (cloud_depth < depth[:, None] - 2.5 * KEYPOINT_RADIUS)).sum(axis=1) > 2
    if one.surface is None or not len(one.surface.triangles):
        return before
    return before | _behind_surface(one, one.surface, camera)


def _behind_surface(one: Drawing, surface: Surface, camera: Camera) -> np.ndarray:
    """(M,) bool: whether a triangle stands between a keypoint and the eye."""
    tree, reach = TriangleTree(surface.vertices, surface.triangles), 2.5 * KEYPOINT_RADIUS
    met = np.zeros(len(one.position), dtype=bool)
    for number, place in enumerate(one.position):
        way = camera.eye - place
        length = float(np.linalg.norm(way))
        hit = tree.first_hit(place + reach * way / length, way)
        met[number] = hit is not None and hit.distance < length - reach
    return met
