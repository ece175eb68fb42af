"""What a window draws with, and how much: few triangles where a processor draws them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from pcsargmax.visualize.clouds import geometry
from pcsargmax.visualize.clouds.drawing import Drawing
from pcsargmax.visualize.clouds.geometry import Mesh

#: Open3D's shader for what has its own colours. With its "defaultUnlit", which reads a texture too, Mesa 22.3's
#: lavapipe was seen never to end a frame: now and then of few triangles, always of 2 x 25 760; with this one it did.
SHADER = "unlitPolygonOffset"
#: Triangles a frame, all its views together, without a graphics device.
MOST_TRIANGLES = 14_000
_MOST_ON_DEVICE = 400_000
_LEAST_SURFACE = 1_000
_FINEST = 3


def most_triangles(views: int) -> int:
    """How many triangles each of so many views may draw on this computer."""
    return (_MOST_ON_DEVICE if has_graphics_device() else MOST_TRIANGLES) // views


def has_graphics_device() -> bool:
    """Whether something else than the processor may draw; known of Linux only, and taken for granted elsewhere."""
    if not sys.platform.startswith("linux"):
        return True
    return any(Path("/dev/dri").glob("renderD*")) or Path("/dev/nvidia0").exists()


def ball_detail(number: int, most: int) -> int:
    """How often to refine so many balls (`geometry.unit_ball`, 20·4^detail triangles each): 0 to 3, at most `most`."""
    finest = [detail for detail in range(_FINEST + 1) if number * 20 * 4**detail <= most]
    return finest[-1] if finest else 0


def marks(drawing: Drawing, most: int) -> Mesh:
    """What a window draws solid: keypoints, truth, errors, edges and symmetries; dots are points there.

    Args:
        drawing: of the shape.
        most: triangles of the balls, of half of them where there is a surface; rods come on top.
    """
    bare = replace(drawing, edges=tuple(edge._replace(points=np.zeros((0, 3))) for edge in drawing.edges))
    balls_most = most if drawing.surface is None else most // 2
    detail = ball_detail(len(drawing.position) + len(drawing.truth), balls_most)
    balls = bare.keypoints(detail), bare.truths(detail)
    return geometry.join([bare.symmetry_lines(), bare.skeleton(), *balls, bare.errors()])


def surface(drawing: Drawing, most: int) -> Mesh:
    """The mesh under the points, of at most so many triangles, but 1000 where they are fewer."""
    if drawing.surface is None:
        return geometry.EMPTY
    fewer = geometry.thinned(drawing.surface.vertices, drawing.surface.triangles, max(most, _LEAST_SURFACE))
    return replace(drawing, surface=replace(drawing.surface, vertices=fewer[0], triangles=fewer[1])).surface_mesh()
