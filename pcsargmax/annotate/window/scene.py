"""What the annotator's view draws, as coloured meshes in the unit frame; numpy only."""

from __future__ import annotations

import numpy as np

from pcsargmax.annotate.marks import Mark
from pcsargmax.annotate.scan import Scan
from pcsargmax.annotate.session import Session
from pcsargmax.visualize.clouds import geometry
from pcsargmax.visualize.clouds.geometry import Mesh
from pcsargmax.visualize.palette import hex_to_rgb, keypoint_color
from pcsargmax.visualize.window.budget import ball_detail

#: Radius of a landmark's ball as a share of the bounding-box diagonal: small, so that its place is seen.
RADIUS = 0.011
#: Colour of scans that have none of their own.
PLAIN_COLOR = "#c9ccd4"
_SHARP = np.cos(np.radians(30))  # edges sharper than this are drawn as edges
_MOST_NORMALS = 500_000  # larger clouds are not shaded: their normals would take too long


def surface_mesh(scan: Scan, most: int | None = None) -> Mesh | None:
    """The triangles of a scan, in its own colours or a plain one, smooth but for sharp edges; None of a cloud.

    Args:
        scan: what is drawn.
        most: a mesh of more triangles is drawn coarser, with at most so many; it is picked on as it is all the same.
    """
    points, faces, rgb = scan.points, scan.cloud.faces, point_colors(scan)
    if faces is None:
        return None
    if most is not None and len(faces) > most:
        from scipy.spatial import cKDTree

        coarse, faces = geometry.thinned(points, faces, most)
        rgb = rgb[cKDTree(points).query(coarse)[1]]
        points = coarse
    cross = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    smooth = np.zeros_like(points)
    for each in range(3):
        np.add.at(smooth, faces[:, each], cross)
    smooth, flat = _unit(smooth), _unit(cross)
    sharp = np.einsum("fcd,fd->fc", smooth[faces], flat) < _SHARP
    # A vertex is shared by all corners that look smooth there, and doubled only where they do not.
    corner = np.arange(faces.size).reshape(faces.shape)
    key, first, triangles = np.unique(
        np.where(sharp, len(points) + corner, faces), return_index=True, return_inverse=True
    )
    vertex = faces.reshape(-1)[first]
    normals = np.where((key >= len(points))[:, None], flat[first // 3], smooth[vertex])
    return Mesh(points[vertex], normals, rgb[vertex], triangles.reshape(faces.shape))


def cloud_normals(points: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """(N, 3) normals of a cloud (N, 3), towards the lamp (3,); of a very large or a very small one the lamp's way."""
    if not 3 < len(points) <= _MOST_NORMALS:
        return np.broadcast_to(lamp, points.shape)
    normals = geometry.estimated_normals(points)
    return normals * np.where(normals @ lamp < 0, -1.0, 1.0)[:, None]


def point_colors(scan: Scan) -> np.ndarray:
    """(N, 3) sRGB in [0, 1] of the file's points."""
    if scan.cloud.color is not None:
        return scan.cloud.color / 255.0
    return np.broadcast_to(hex_to_rgb(PLAIN_COLOR), scan.cloud.points.shape)


def shaded(colors: np.ndarray, normals: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """(N, 3) colours of a surface, darker where it is turned from the lamp (3,), so that its shape is seen."""
    return colors * (0.55 + 0.45 * np.clip(normals @ lamp, -0.3, 1)[:, None])


def landmark_mesh(session: Session, scan: Scan, moving: tuple[str, Mark] | None = None, *, most: int = 100_000) -> Mesh:
    """The landmarks that are on the scan as balls in their colours; proposals smaller and pale, the current one large.

    Args:
        session: whose landmarks.
        scan: the one that is shown.
        moving: a landmark that is being moved, and where it is meanwhile.
        most: triangles of all balls together, as far as that can be.
    """
    places, parts = landmark_places(session, scan, moving), [geometry.EMPTY]
    detail = ball_detail(len(places), most)
    for name, place, sure in places:
        color = hex_to_rgb(keypoint_color(session.names.index(name)))
        radius = RADIUS * (1.35 if name == session.name else 1.0)
        if not sure:
            color, radius = 1 - 0.45 * (1 - color), 0.7 * radius
        parts.append(geometry.balls(place[None], radius, color, subdivisions=detail))
    return geometry.join(parts)


def landmark_places(
    session: Session, scan: Scan, moving: tuple[str, Mark] | None = None
) -> list[tuple[str, np.ndarray, bool]]:
    """Name, (3,) place in the unit frame, and whether a landmark is confirmed, of all that are on the scan."""
    marks = {name: (mark, True) for name, mark in session.marks.items() if name in session.names}
    marks |= {name: (proposal.mark, False) for name, proposal in session.proposals.items()}
    if moving is not None:
        marks[moving[0]] = moving[1], True
    return [
        (name, scan.to_unit(mark.position), sure) for name, (mark, sure) in marks.items() if mark.position is not None
    ]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30)
