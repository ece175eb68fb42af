import io
import struct

import numpy as np
import pytest

from pcsargmax.datasets.sampling import read_item
from pcsargmax.io.clouds import CLOUD_SUFFIXES, Cloud, read_cloud, write_cloud

TRIANGLES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.5]], dtype=np.float64)
FACES = np.array([[0, 1, 2], [2, 1, 3]])
FAR = 1e6 + 0.123456789


def box(size=(1.0, 2.0, 3.0)) -> Cloud:
    """A box without its top, from the origin; the sides are wound outwards."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    quads = [(0, 2, 6, 4), (0, 4, 5, 1), (2, 3, 7, 6), (0, 1, 3, 2), (4, 6, 7, 5)]
    faces = [(a, b, c) for a, b, c, _ in quads] + [(a, c, d) for a, _, c, d in quads]
    return Cloud(corners * np.array(size), faces=np.array(faces))


def ply_text(kind: str, vertices: np.ndarray, faces: int = 0) -> str:
    head = f"ply\nformat ascii 1.0\nelement vertex {len(vertices)}\n"
    head += "".join(f"property {kind} {axis}\n" for axis in "xyz")
    if faces:
        head += f"element face {faces}\nproperty list uchar int vertex_indices\n"
    return head + "end_header\n" + "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in vertices.tolist())


def write_text(path, kind: str) -> None:
    """Write the two triangles, the first point far away, by the format's own rules and not by our writer."""
    points = TRIANGLES + np.array([FAR, 0, 0])
    lines = [f"{x!r} {y!r} {z!r}" for x, y, z in points.tolist()]
    if kind == ".obj":
        text = "# a comment\n" + "".join(f"v {line}\n" for line in lines) + "f 1 2 3\nf 3 2 4\n"
    elif kind == ".off":
        text = "OFF\n4 2 0\n" + "\n".join(lines) + "\n3 0 1 2\n3 2 1 3\n"
    else:
        text = ply_text("double", points, faces=2) + "3 0 1 2\n3 2 1 3\n"
    path.write_text(text)


@pytest.mark.parametrize("kind", [".ply", ".obj", ".off"])
def test_meshes_keep_order_and_all_digits(tmp_path, kind):
    path = tmp_path / f"a{kind}"
    write_text(path, kind)
    mesh = read_cloud(path)
    assert mesh.points.dtype == np.float64
    assert np.array_equal(mesh.points, TRIANGLES + np.array([FAR, 0, 0]))
    assert np.array_equal(mesh.faces, FACES)
    assert mesh.color is None


@pytest.mark.parametrize("kind", [".ply", ".obj", ".off"])
def test_polygons_are_split_in_place_or_after_the_triangles(tmp_path, kind):
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]])
    polygons = [(0, 1, 4), (0, 1, 2, 3), (1, 2, 4), (2, 2, 2)]  # the last has no area
    lines = [f"{x} {y} {z}\n" for x, y, z in points]
    text = "".join(f"v {line}" for line in lines) if kind == ".obj" else ""
    text += "OFF\n5 4 0\n" + "".join(lines) if kind == ".off" else ""
    text += ply_text("double", points, faces=4) if kind == ".ply" else ""
    for polygon in polygons:
        first, one_based = ("f", 1) if kind == ".obj" else (str(len(polygon)), 0)
        text += " ".join([first, *(str(corner + one_based) for corner in polygon)]) + "\n"
    (tmp_path / f"a{kind}").write_text(text)
    mesh, quad = read_cloud(tmp_path / f"a{kind}"), [(0, 1, 2), (2, 3, 0)]
    triangles = [polygons[0], polygons[2], polygons[3]]
    assert np.array_equal(mesh.points, points)
    assert (
        mesh.faces.tolist()
        == np.array([triangles[0], *quad, *triangles[1:]] if kind == ".obj" else [*triangles, *quad]).tolist()
    )


def test_stl_has_the_corners_of_its_triangles(tmp_path):
    corners = TRIANGLES[FACES].astype("<f4")
    body = b"".join(struct.pack("<3f", 0, 0, 1) + triangle.tobytes() + b"\0\0" for triangle in corners)
    (tmp_path / "a.stl").write_bytes(b" " * 80 + struct.pack("<I", 2) + body)
    mesh = read_cloud(tmp_path / "a.stl")
    assert np.array_equal(mesh.points[mesh.faces], corners)


def test_obj_of_several_objects_and_materials_is_one_mesh(tmp_path):
    text = "mtllib none.mtl\no one\nusemtl red\n" + "".join(f"v {x} {y} {z}\n" for x, y, z in TRIANGLES)
    (tmp_path / "a.obj").write_text(text + "f 1 2 3\no two\ng group\nusemtl blue\nf 3 2 4\n")
    mesh = read_cloud(tmp_path / "a.obj")
    assert np.array_equal(mesh.points, TRIANGLES)
    assert np.array_equal(mesh.faces, FACES)


@pytest.mark.parametrize("kind", [".ply", ".obj", ".off"])
def test_vertices_without_faces_are_a_cloud(tmp_path, kind):
    lines = [" ".join(map(str, point)) for point in TRIANGLES]
    text = {
        ".ply": ply_text("double", TRIANGLES),
        ".obj": "".join(f"v {line}\n" for line in lines),
        ".off": "OFF\n4 0 0\n" + "\n".join(lines) + "\n",
    }[kind]
    (tmp_path / f"a{kind}").write_text(text)
    cloud = read_cloud(tmp_path / f"a{kind}")
    assert np.array_equal(cloud.points, TRIANGLES)
    assert cloud.faces is None


def test_ply_colours_and_normals(tmp_path):
    head = ply_text("double", TRIANGLES).split("end_header")[0]
    head += "".join(f"property float n{axis}\n" for axis in "xyz")
    head += "".join(f"property uchar {channel}\n" for channel in ("red", "green", "blue"))
    rows = [" ".join(map(str, point)) + f" 0 0 1 {i} 20 255\n" for i, point in enumerate(TRIANGLES)]
    (tmp_path / "a.ply").write_text(head + "end_header\n" + "".join(rows))
    cloud = read_cloud(tmp_path / "a.ply")
    assert cloud.color.tolist() == [[i, 20, 255] for i in range(4)]
    assert cloud.normal.tolist() == [[0, 0, 1]] * 4
    item = read_item(tmp_path / "a.ply", normals=True)
    assert item.color.shape == (4, 3)
    assert item.normal.tolist() == [[0, 0, 1]] * 4


@pytest.mark.parametrize(
    ("extra", "has"),
    [
        ("", ""),
        (" 7.5", ""),
        (" 0.6 0 0.8", "normal"),
        (" 0 12 255", "color"),
        (" 300 12 255", ""),
        (" 1 0 0", "normal"),
    ],
)
def test_xyz_columns(tmp_path, extra, has):
    (tmp_path / "a.xyz").write_text(f"# made by hand\n{FAR!r} 2 3{extra}\n\n4\t5 6e0{extra}  # last\n")
    cloud = read_cloud(tmp_path / "a.xyz")
    assert cloud.points.tolist() == [[FAR, 2, 3], [4, 5, 6]]
    assert (cloud.normal is not None) == (has == "normal")
    assert (cloud.color is not None) == (has == "color")


@pytest.mark.parametrize("names", [("points", "other"), ("pos", "other"), ("anything",)])
def test_numpy_files(tmp_path, names):
    np.save(tmp_path / "a.npy", TRIANGLES.astype(np.float32))
    assert np.array_equal(read_cloud(tmp_path / "a.npy").points, TRIANGLES)
    arrays = {name: np.zeros(2) if name == "other" else TRIANGLES for name in names}
    np.savez(tmp_path / "a.npz", **arrays)
    assert np.array_equal(read_cloud(tmp_path / "a.npz").points, TRIANGLES)


@pytest.mark.parametrize("kind", [".ply", ".pcd", ".xyz", ".npy"])
def test_written_clouds_are_read_back(tmp_path, kind):
    color = np.arange(12, dtype=np.uint8).reshape(4, 3)
    cloud = Cloud(TRIANGLES + np.array([1e6 + 0.125, 0, 0]), color=color, faces=FACES)
    write_cloud(tmp_path / f"a{kind}", cloud)
    again = read_cloud(tmp_path / f"a{kind}")
    assert np.array_equal(again.points, cloud.points)
    if kind in (".ply", ".pcd"):
        assert np.array_equal(again.color, color)
    assert (again.faces is not None) == (kind == ".ply")
    assert [path.name for path in tmp_path.iterdir()] == [f"a{kind}"]


def test_every_known_kind_is_in_these_tests():
    assert set(CLOUD_SUFFIXES) == {".ply", ".obj", ".stl", ".off", ".pcd", ".xyz", ".npy", ".npz"}
    with pytest.raises(ValueError, match=r"cannot write '\.stl', expected one of \.ply"):
        write_cloud("a.stl", box())


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


NAN = TRIANGLES.copy()
NAN[1, 0], NAN[3, 2] = np.nan, np.inf


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.glb",
            b"x",
            r"a\.glb: unknown kind of file '.glb', expected one of .ply .obj .stl .off .pcd .xyz .npy .npz",
        ),
        ("a", b"x", "unknown kind of file ''"),
        ("a.ply", b"", r"a\.ply: not a readable .ply file"),
        ("a.ply", b"garbage", r"a\.ply: not a readable .ply file"),
        (
            "a.ply",
            ply_text("double", TRIANGLES)[:-12].encode(),
            "the header promises 4 vertices, 3 could be read",
        ),
        (
            "a.ply",
            ply_text("double", TRIANGLES, faces=2).encode() + b"3 0 1 2\n",
            "promises 2 faces, 1 could be read",
        ),
        (
            "a.ply",
            ply_text("double", TRIANGLES, faces=1).encode() + b"3 0 1 9\n",
            "a face names vertex 9, the file has 4",
        ),
        ("a.ply", ply_text("double", TRIANGLES[:0]).encode(), r"a\.ply: holds no points"),
        (
            "a.ply",
            ply_text("double", NAN).encode(),
            r"a\.ply: 2 of 4 points have NaN or infinite coordinates",
        ),
        (
            "a.ply",
            ply_text("double", TRIANGLES).replace("ascii", "binary_little_endian").encode(),
            "not a readable",
        ),
        ("a.obj", b"", r"a\.obj: holds no points"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", r"a\.obj: not a readable .obj file"),
        ("a.off", b"", r"a\.off: not a readable .off file"),
        ("a.off", b"OFF\n4 2 0\n0 0 0\n1 0 0\n", r"a\.off: not a readable .off file"),
        ("a.stl", b"", r"a\.stl: a mesh with no faces"),
        ("a.stl", b" " * 80 + struct.pack("<I", 2) + b"\0" * 50, r"a\.stl: a mesh with no faces: .* cut off"),
        ("a.xyz", b"", r"a\.xyz: holds no points"),
        ("a.xyz", b"1 2 3\n1 2\n", r"a\.xyz:2: expected 3 numbers or more, got '1 2'"),
        ("a.xyz", b"1 2 3\n\n1 b 3\n", r"a\.xyz:3: expected 3 numbers or more, got '1 b 3'"),
        ("a.xyz", b"1 2 3\n1 2 3 4\n", r"a\.xyz:2: expected 3 numbers as above, got 4"),
        ("a.xyz", b"1 2 nan\n", r"a\.xyz: 1 of 1 points have NaN"),
        ("a.npy", b"garbage", r"a\.npy: not a readable .npy file"),
        (
            "a.npy",
            npy(np.zeros((3, 2))),
            r"a\.npy: expected an array of numbers \(N, 3\), got float64 \(3, 2\)",
        ),
        ("a.npy", npy(np.zeros((0, 3))), r"a\.npy: holds no points"),
        (
            "a.npy",
            npy(np.array([{}, None, 1], dtype=object)),
            r"a\.npy: not a readable .npy file.*allow_pickle",
        ),
        (
            "a.npz",
            npz(a=TRIANGLES, b=TRIANGLES),
            r"a\.npz: .*named points or pos, or only one, got \['a', 'b'\]",
        ),
        ("a.npz", npz(), r"a\.npz: .*named points or pos, or only one, got \[\]"),
        ("a.npz", npz(a=TRIANGLES)[:100], r"a\.npz: not a readable .npz file"),
        ("a.pcd", b"hello\n", r"a\.pcd:1: not a PCD header line"),
    ],
)
def test_bad_files_are_named_with_the_cause(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_cloud(tmp_path / name)


def test_missing_files_and_folders_are_named(tmp_path):
    (tmp_path / "b.ply").mkdir()
    for name, what in (("a.ply", "no such file"), ("b.ply", "a folder, expected a file")):
        with pytest.raises(ValueError, match=rf"{name}: {what}"):
            read_cloud(tmp_path / name)
