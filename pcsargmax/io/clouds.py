"""Files of point clouds and triangle meshes."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.io.atomic import atomic_path
from pcsargmax.io.pcd import read_pcd, write_pcd


@dataclass(frozen=True)
class Cloud:
    """A point cloud or, with `faces`, a triangle mesh, in the units, frame and order of its file.

    Attributes:
        points: (N, 3) float64, finite, N at least 1.
        color: (N, 3) uint8.
        normal: (N, 3) float64.
        faces: (F, 3) int64 indices of points.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.io import Cloud
        >>> square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float64)
        >>> mesh = Cloud(square, faces=np.array([[0, 1, 2], [0, 2, 3]]))
        >>> mesh.points.shape, mesh.color is None
        ((4, 3), True)
    """

    points: np.ndarray
    color: np.ndarray | None = None
    normal: np.ndarray | None = None
    faces: np.ndarray | None = None


def read_cloud(path: str | Path) -> Cloud:
    r"""Read a cloud or mesh: .ply .obj .stl .off .pcd .xyz .npy .npz.

    Coordinates are float64 and keep what the file has (.stl holds 32-bit numbers by its format); points
    keep their order. A .ply, .obj or .off with vertices and no faces is a cloud. Several objects of one
    file are put together. `.xyz`: a point a line, 3 numbers or more; with 6, the last three are a normal
    where all have length 1, a colour where all are whole numbers of 0 to 255, and are left out otherwise.
    `.npy`: an array (N, 3). `.npz`: the array named `points` or `pos`, or the only one.

    Raises:
        ValueError: naming the file, and the line where there is one, if its kind is unknown, it cannot be
            read, is cut off, holds no points, or coordinates that are NaN or infinite.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.io import read_cloud
        >>> _ = Path("scan.xyz").write_text("0 0 0\n2 0 0\n0 2 0\n")
        >>> read_cloud("scan.xyz").points
        array([[0., 0., 0.],
               [2., 0., 0.],
               [0., 2., 0.]])
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: a folder, expected a file; name the files in it, such as {path / '*.ply'}")
    read = _READERS.get(path.suffix.lower())
    if read is None:
        known = " ".join(_READERS)
        raise ValueError(f"{path}: unknown kind of file {path.suffix!r}, expected one of {known}")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        cloud = read(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(cloud.points) == 0:
        raise ValueError(f"{path}: holds no points")
    bad = int((~np.isfinite(cloud.points)).any(axis=1).sum())
    if bad:
        raise ValueError(f"{path}: {bad} of {len(cloud.points)} points have NaN or infinite coordinates")
    return cloud


def write_cloud(path: str | Path, cloud: Cloud) -> None:
    """Write a cloud or mesh, atomically: .ply (binary, 64-bit coordinates), .pcd (ascii), .xyz or .npy.

    Colours go to .ply and .pcd, faces to .ply; the other kinds hold the points only. Normals are not written.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.io import Cloud, read_cloud, write_cloud
        >>> write_cloud("scan.ply", Cloud(np.array([[0.1, 0.2, 0.3]]), color=np.array([[255, 0, 0]], dtype=np.uint8)))
        >>> scan = read_cloud("scan.ply")
        >>> scan.points, scan.color
        (array([[0.1, 0.2, 0.3]]), array([[255,   0,   0]], dtype=uint8))
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".pcd":
        write_pcd(path, cloud.points, cloud.color, digits=9)
        return
    if suffix not in (".ply", ".xyz", ".npy"):
        raise ValueError(f"{path}: cannot write {suffix!r}, expected one of .ply .pcd .xyz .npy")
    with atomic_path(path) as temporary:
        if suffix == ".ply":
            temporary.write_bytes(_ply_bytes(cloud))
        elif suffix == ".xyz":
            temporary.write_text("".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in cloud.points.tolist()))
        else:
            np.save(temporary, cloud.points)


def _read_pcd(path: Path) -> Cloud:
    points, color, normal = read_pcd(path)
    return Cloud(points, color, normal)


def _read_mesh(path: Path) -> Cloud:
    import trimesh

    suffix = path.suffix.lower()
    try:
        source: Any = path
        if suffix == ".obj":  # a change of material would split the mesh, each part with all vertices
            lines = path.read_bytes().splitlines(keepends=True)
            source = io.BytesIO(b"".join(line for line in lines if not line.startswith((b"usemtl", b"mtllib"))))
        mesh: Any = trimesh.load(source, file_type=suffix[1:], process=False, maintain_order=True)
        if isinstance(mesh, trimesh.Scene):
            mesh = mesh.to_mesh()
    except Exception as error:  # its readers raise what they run into
        raise ValueError(f"{path}: not a readable {suffix} file, it may be cut off: {error}") from error
    points = np.array(getattr(mesh, "vertices", np.zeros((0, 3))), dtype=np.float64)
    faces = np.array(getattr(mesh, "faces", np.zeros((0, 3))), dtype=np.int64)
    if suffix == ".ply":
        _check_ply(path, len(points), len(faces))
    if suffix == ".stl" and len(faces) == 0:
        raise ValueError(f"{path}: a mesh with no faces: the file is empty, cut off or not an .stl file")
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(points)):
        raise ValueError(f"{path}: a face names vertex {faces.max()}, the file has {len(points)}, counted from 0")
    return Cloud(points, _mesh_color(mesh, len(points)), _mesh_normal(mesh, len(points)), faces if len(faces) else None)


def _mesh_color(mesh: Any, count: int) -> np.ndarray | None:
    visual: Any = getattr(mesh, "visual", None)
    if getattr(visual, "kind", None) != "vertex":
        return None
    color = np.asarray(visual.vertex_colors)
    # A cloud without colours is given grey ones of no rows or no ink.
    return color[:, :3].astype(np.uint8) if len(color) == count and color.any() else None


def _mesh_normal(mesh: Any, count: int) -> np.ndarray | None:
    vertex = getattr(mesh, "metadata", {}).get("_ply_raw", {}).get("vertex", {}).get("data")
    if not isinstance(vertex, dict) or not {"nx", "ny", "nz"} <= vertex.keys():
        return None
    normal = np.stack([np.asarray(vertex[key], dtype=np.float64).reshape(-1) for key in ("nx", "ny", "nz")], axis=1)
    return normal if len(normal) == count else None


def _check_ply(path: Path, points: int, faces: int) -> None:
    """Compare what was read with what the header promises: a cut-off ascii file is read without complaint."""
    with open(path, "rb") as file:
        for line in file:
            words = line.split()
            if words[:1] == [b"end_header"]:
                return
            if words[:2] == [b"element", b"vertex"] and int(words[2]) != points:
                raise ValueError(f"{path}: the header promises {int(words[2])} vertices, {points} could be read")
            if words[:2] == [b"element", b"face"] and int(words[2]) > faces:
                raise ValueError(f"{path}: the header promises {int(words[2])} faces, {faces} could be read")


def _read_xyz(path: Path) -> Cloud:
    rows: list[list[float]] = []
    with open(path, encoding="latin-1") as file:
        for number, line in enumerate(file, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            try:
                row = [float(word) for word in words[:6]]
            except ValueError:
                row = []
            if len(row) < 3:
                raise ValueError(f"{path}:{number}: expected 3 numbers or more, got {line.strip()[:60]!r}")
            if rows and len(row) != len(rows[0]):
                raise ValueError(f"{path}:{number}: expected {len(rows[0])} numbers as above, got {len(row)}")
            rows.append(row)
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(rows[0]) if rows else 3)
    points, rest = table[:, :3], table[:, 3:]
    if rest.shape[1] == 3 and (np.abs(np.linalg.norm(rest, axis=1) - 1) < 1e-2).all():
        return Cloud(points, normal=rest)
    if rest.shape[1] == 3 and ((rest >= 0) & (rest <= 255) & (rest == np.rint(rest))).all():
        return Cloud(points, color=rest.astype(np.uint8))
    return Cloud(points)


def _read_numpy(path: Path) -> Cloud:
    try:
        with open(path, "rb") as file:
            array = np.load(file, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                known = [name for name in ("points", "pos") if name in array]
                if not known and len(array.files) != 1:
                    raise ValueError(f"expected an array named points or pos, or only one, got {array.files}")
                array = array[(known or array.files)[0]]
    except Exception as error:  # zip, header and pickle errors have no common class
        raise ValueError(f"{path}: not a readable {path.suffix} file of points: {error}") from error
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected an array of numbers (N, 3), got {array.dtype} {array.shape}")
    return Cloud(array.astype(np.float64))


def _ply_bytes(cloud: Cloud) -> bytes:
    layout: list[tuple[str, str]] = [(axis, "<f8") for axis in "xyz"]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud.points)}"]
    header += [f"property double {axis}" for axis in "xyz"]
    if cloud.color is not None:
        layout += [(channel, "u1") for channel in ("red", "green", "blue")]
        header += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    vertices = np.zeros(len(cloud.points), dtype=layout)
    for column, axis in enumerate("xyz"):
        vertices[axis] = cloud.points[:, column]
    if cloud.color is not None:
        for column, channel in enumerate(("red", "green", "blue")):
            vertices[channel] = cloud.color[:, column]
    body = vertices.tobytes()
    if cloud.faces is not None:
        header += [f"element face {len(cloud.faces)}", "property list uchar int vertex_indices"]
        faces = np.zeros(len(cloud.faces), dtype=[("count", "u1"), ("corner", "<i4", (3,))])
        faces["count"], faces["corner"] = 3, cloud.faces
        body += faces.tobytes()
    return "\n".join([*header, "end_header", ""]).encode() + body


_READERS: dict[str, Callable[[Path], Cloud]] = {
    **dict.fromkeys((".ply", ".obj", ".stl", ".off"), _read_mesh),
    ".pcd": _read_pcd,
    ".xyz": _read_xyz,
    **dict.fromkeys((".npy", ".npz"), _read_numpy),
}
CLOUD_SUFFIXES = tuple(_READERS)
