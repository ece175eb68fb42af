"""Points sampled from a mesh or cloud, as the items that networks take."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch_geometric.data import Data

from pcsargmax.io.clouds import Cloud, read_cloud
from pcsargmax.ops.seeds import mix_seed

CANDIDATES_PER_POINT = 4  # random surface points drawn for each one that farthest-point thinning keeps
MOST_CANDIDATES = 20_000  # a larger cloud is thinned at random to this many first


class SurfaceSample(NamedTuple):
    """Points of a surface in farthest-point order, and what is known of each.

    points: (n, 3) float64; normal: (n, 3) float64; face: (n,) the triangle that a point lies on; color: (n,
    3) uint8. What the source does not have is None.
    """

    points: np.ndarray
    normal: np.ndarray | None
    face: np.ndarray | None
    color: np.ndarray | None


def sample_surface(cloud: Cloud, n: int, seed: int = 0, *, name: str = "cloud") -> SurfaceSample:
    """Sample `n` points evenly, in farthest-point order; equal input and seed give equal points.

    A mesh: 4 n points drawn in proportion to area, thinned to the n that are farthest from each other. A
    cloud of more than n points: the n farthest from each other (of 20,000 random ones, where it has more);
    of n or fewer: all. Normals of a mesh are those of its triangles, by their winding; colours are mixed
    within a triangle.

    Raises:
        ValueError: naming `name`, if n is less than 1 or a mesh has no area.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.datasets import sample_surface
        >>> from pcsargmax.io import Cloud
        >>> square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float64)
        >>> sample = sample_surface(Cloud(square, faces=np.array([[0, 1, 2], [0, 2, 3]])), n=100)
        >>> sample.points.shape, sample.normal[0]
        ((100, 3), array([0., 0., 1.]))
    """
    from pcsargmax.ops.neighbors import farthest_point_order

    if n < 1:
        raise ValueError(f"n: expected 1 point or more, got {n}")
    generator = torch.Generator().manual_seed(seed)
    if cloud.faces is not None:
        sample = _random_surface(cloud, CANDIDATES_PER_POINT * n, generator, name)
    else:
        sample = SurfaceSample(cloud.points, cloud.normal, None, cloud.color)
        most = max(MOST_CANDIDATES, n)
        if len(cloud.points) > most:
            sample = _take(sample, torch.randperm(len(cloud.points), generator=generator)[:most].sort().values.numpy())
    order = farthest_point_order(torch.from_numpy(sample.points), count=n)
    return _take(sample, order.numpy())


def read_item(
    path: str | Path, num_points: int = 2048, seed: int = 0, *, normals: bool = False, dense_points: int = 0
) -> Data:
    r"""Read a file into a cloud item, ready for a detector.

    Args:
        path: a cloud or mesh, see `read_cloud`.
        num_points: how many points to sample, see `sample_surface`; a cloud with fewer gives all that it has.
        seed: of the sample.
        normals: keep normals, where there are any.
        dense_points: how many points for a second look to sample besides; 0 for none.

    Returns:
        Data with `pos (N, 3)` float64 in farthest-point order, raw units and frame; `color (N, 3)` uint8
        where the file has colours; `normal (N, 3)` float64 where asked for; `dense_pos (D, 3)` float64 where
        asked for, at random, D = `dense_points` for a mesh and at most that for a cloud; `farthest_order` True;
        `model_id` the file's stem; `category` empty.

    Raises:
        ValueError: as `read_cloud` and `sample_surface`.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.datasets import read_item
        >>> _ = Path("scan.xyz").write_text("0 0 0\n2 0 0\n0 2 0\n1 1 0\n")
        >>> item = read_item("scan.xyz", num_points=3)
        >>> item.model_id, item.pos.shape
        ('scan', torch.Size([3, 3]))
    """
    path = Path(path)
    item = cloud_item(read_cloud(path), num_points, seed, name=str(path), normals=normals, dense_points=dense_points)
    item.model_id = path.stem
    return item


def cloud_item(
    cloud: Cloud, num_points: int = 2048, seed: int = 0, *, name: str, normals: bool = False, dense_points: int = 0
) -> Data:
    """What `read_item` returns, of a cloud that has been read already; `name` is for its errors and its `model_id`."""
    sample = sample_surface(cloud, num_points, seed, name=name)
    item = Data(pos=torch.from_numpy(sample.points), farthest_order=True, model_id=name, category="")
    if dense_points:
        item.dense_pos = torch.from_numpy(_dense_points(cloud, dense_points, seed, name))
    if sample.color is not None:
        item.color = torch.from_numpy(sample.color)
    if normals:
        if sample.normal is None:
            raise ValueError(f"{name}: normals were asked for, but the file has neither normals nor faces")
        item.normal = torch.from_numpy(sample.normal)
    return item


def _dense_points(cloud: Cloud, count: int, seed: int, name: str) -> np.ndarray:
    """Random points (D, 3) of a surface, or of a cloud, which gives all its points where it has no more."""
    generator = torch.Generator().manual_seed(mix_seed(seed, count))
    if cloud.faces is not None:
        return _random_surface(cloud, count, generator, name).points
    return cloud.points[torch.randperm(len(cloud.points), generator=generator)[:count].numpy()]


def _take(sample: SurfaceSample, rows: np.ndarray) -> SurfaceSample:
    normal, face, color = (None if part is None else part[rows] for part in (sample.normal, sample.face, sample.color))
    return SurfaceSample(sample.points[rows], normal, face, color)


def _random_surface(cloud: Cloud, count: int, generator: torch.Generator, name: str) -> SurfaceSample:
    assert cloud.faces is not None
    corners = cloud.points[cloud.faces]  # (F, 3 corners, 3)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double_area = np.linalg.norm(cross, axis=1)
    extent = np.ptp(cloud.points, axis=0)
    if not double_area.sum() > 1e-12 * (extent @ extent):
        raise ValueError(f"{name}: the {len(cloud.faces)} triangles of this mesh have no area, so no surface to sample")
    draws = torch.rand(3, count, generator=generator, dtype=torch.float64).numpy()
    edges = np.cumsum(double_area)
    face = np.searchsorted(edges, draws[0] * edges[-1], side="right")
    root = np.sqrt(draws[1])  # uniform on a triangle: Osada et al., Shape Distributions, 2002, eq. 1
    weights = np.stack([1 - root, root * (1 - draws[2]), root * draws[2]], axis=1)
    color = None
    if cloud.color is not None:
        color = np.rint(np.einsum("nc,ncd->nd", weights, cloud.color[cloud.faces[face]])).astype(np.uint8)
    points = np.einsum("nc,ncd->nd", weights, corners[face])
    return SurfaceSample(points, cross[face] / double_area[face, None], face, color)
