import io
import struct

import numpy as np
import pytest
import torch

from pcsargmax.datasets.sampling import read_item, sample_surface
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


@pytest.mark.parametrize("points", [[[1, 2, 3]], [[1, 2, 3]] * 5])
def test_one_point_and_equal_points_are_read(tmp_path, points):
    np.save(tmp_path / "a.npy", np.array(points))
    item = read_item(tmp_path / "a.npy", num_points=3)
    assert item.pos.tolist() == [[1, 2, 3]] * min(3, len(points))


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
    for name in ("a.ply", "b.ply"):
        with pytest.raises(ValueError, match=rf"{name}: no such file"):
            read_cloud(tmp_path / name)


def test_surface_samples_lie_on_their_triangles_with_their_normals():
    mesh = box()
    sample = sample_surface(mesh, 300)
    corners = mesh.points[mesh.faces[sample.face]]
    offset = sample.points - corners[:, 0]
    assert np.abs((offset * sample.normal).sum(1)).max() < 1e-12
    np.testing.assert_allclose(np.linalg.norm(sample.normal, axis=1), 1)
    for point, (a, b, c) in zip(sample.points, corners, strict=True):
        u, v = np.linalg.lstsq(np.stack([b - a, c - a], axis=1), point - a, rcond=None)[0]
        assert min(u, v, 1 - u - v) > -1e-9


def test_surface_samples_are_even():
    mesh = box()
    sample = sample_surface(mesh, 400)
    areas = np.array([6.0, 6, 3, 3, 2])  # x = 0, x = 1, y = 0, y = 1, z = 0; the top is open
    planes = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0)]
    counts = np.array([(np.abs(sample.points[:, axis] - at) < 1e-9).sum() for axis, at in planes])
    np.testing.assert_allclose(counts / 400, areas / areas.sum(), atol=0.03)
    gaps = np.linalg.norm(sample.points[:, None] - sample.points[None], axis=2) + np.eye(400) * 9
    nearest = gaps.min(1)
    assert nearest.min() > 0.6 * nearest.mean()  # random points would have a near-zero smallest gap
    assert nearest.std() < 0.2 * nearest.mean()


def test_samples_are_in_farthest_point_order():
    points = sample_surface(box(), 60).points
    for i in range(1, 60):
        to_prefix = np.linalg.norm(points[i:, None] - points[None, :i], axis=2).min(1)
        assert to_prefix[0] == pytest.approx(to_prefix.max())


def test_samples_repeat_with_the_seed_and_move_with_the_mesh():
    first, again, other = (sample_surface(box(), 50, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)
    state = torch.get_rng_state()
    moved = sample_surface(Cloud(box().points * 1000 + 1e6, faces=box().faces), 50, 3)
    np.testing.assert_allclose((moved.points - 1e6) / 1000, first.points, atol=1e-9)
    assert torch.equal(state, torch.get_rng_state())


def test_colours_are_mixed_within_a_triangle():
    color = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=np.uint8)
    sample = sample_surface(Cloud(TRIANGLES[:3], color, None, FACES[:1]), 40)
    weights = np.stack([1 - sample.points[:, 0] - sample.points[:, 1], *sample.points[:, :2].T], axis=1)
    assert np.abs(sample.color - 255 * weights).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("have", "want", "get"), [(30, 100, 30), (100, 30, 30), (25_000, 50, 50)])
def test_clouds_are_thinned_to_points_they_have(have, want, get):
    generator = np.random.default_rng(0)
    points = generator.normal(size=(have, 3))
    cloud = Cloud(points, normal=points.copy(), color=generator.integers(0, 256, (have, 3)).astype(np.uint8))
    sample = sample_surface(cloud, want)
    assert sample.points.shape == (get, 3)
    assert sample.face is None
    assert np.array_equal(sample.points, sample.normal)
    rows = {tuple(point): i for i, point in enumerate(points)}
    index = [rows[tuple(point)] for point in sample.points]
    assert len(set(index)) == get
    assert np.array_equal(cloud.color[index], sample.color)


def test_read_item(tmp_path):
    write_cloud(tmp_path / "B03.ply", box())
    item = read_item(tmp_path / "B03.ply", num_points=64, seed=1)
    assert item.pos.dtype == torch.float64
    assert item.pos.shape == (64, 3)
    assert (item.model_id, item.category, item.farthest_order) == ("B03", "", True)
    assert "color" not in item
    assert "normal" not in item
    assert np.array_equal(item.pos.numpy(), sample_surface(box(), 64, 1).points)
    assert read_item(tmp_path / "B03.ply", 64, normals=True).normal.shape == (64, 3)


@pytest.mark.parametrize("points", [np.zeros((3, 3)), np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]])])
def test_a_mesh_without_area_is_named(tmp_path, points):
    write_cloud(tmp_path / "a.ply", Cloud(points + 1e3, faces=np.array([[0, 1, 2]])))
    with pytest.raises(ValueError, match=r"a\.ply: the 1 triangles of this mesh have no area"):
        read_item(tmp_path / "a.ply")


def test_bad_sampling_is_named(tmp_path):
    with pytest.raises(ValueError, match="n: expected 1 point or more, got 0"):
        sample_surface(box(), 0)
    np.save(tmp_path / "a.npy", TRIANGLES)
    with pytest.raises(ValueError, match=r"a\.npy: normals were asked for"):
        read_item(tmp_path / "a.npy", normals=True)
