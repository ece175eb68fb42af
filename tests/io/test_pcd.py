import struct

import numpy as np
import pytest
from reference import lzf

from pcsargmax.io.pcd import read_pcd, write_pcd

HEADER = """# .PCD v.7 - Point Cloud Data file format
VERSION .7
FIELDS x y z rgb
SIZE 4 4 4 4
TYPE F F F U
COUNT 1 1 1 1
WIDTH 3
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 3
DATA ascii
"""
ROWS = "-0.166991 -0.169660 0.113135 10975560\n1 2 3 255\n4 5 6e-3 4294967295\n"
POINTS = [[-0.166991, -0.169660, 0.113135], [1, 2, 3], [4, 5, 0.006]]
COLOR = [[0xA7, 0x79, 0x48], [0, 0, 255], [255, 255, 255]]


@pytest.fixture
def pcd(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "a.pcd"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_ascii_by_hand(pcd):
    points, color, normal = read_pcd(pcd(HEADER + ROWS))
    assert points.dtype == np.float64
    assert points.tolist() == POINTS
    assert color.dtype == np.uint8
    assert color.tolist() == COLOR
    assert normal is None


def test_ascii_takes_blank_lines_carriage_returns_and_lower_case_keys(pcd):
    content = (HEADER + ROWS.replace("\n", "\n\n")).replace("WIDTH", "width").replace("\n", "\r\n")
    assert read_pcd(pcd(content))[0].tolist() == POINTS


def test_ascii_keeps_all_digits_far_from_the_origin(pcd):
    content = HEADER.replace("3\nHEIGHT", "1\nHEIGHT").replace("POINTS 3", "POINTS 1")
    points, _, _ = read_pcd(pcd(content + "1000000.123456 2 3 0\n"))
    assert points[0, 0] == 1000000.123456


def test_colour_packed_as_float_and_normals(pcd):
    bits = struct.unpack("<f", struct.pack("<I", 0x00A77948))[0]
    header = (
        HEADER.replace("x y z rgb", "x y z rgb normal_x normal_y normal_z")
        .replace("SIZE 4 4 4 4", "SIZE 4 4 4 4 4 4 4")
        .replace("TYPE F F F U", "TYPE F F F F F F F")
        .replace("COUNT 1 1 1 1", "COUNT 1 1 1 1 1 1 1")
        .replace("WIDTH 3", "WIDTH 1")
        .replace("POINTS 3", "POINTS 1")
    )
    _, color, normal = read_pcd(pcd(header + f"1 2 3 {bits:.9g} 0 0 1\n"))
    assert color.tolist() == [[0xA7, 0x79, 0x48]]
    assert normal.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_binary_with_padding_and_counts(pcd, kind):
    size = int(kind[1])
    layout = np.dtype(
        [
            ("z", f"<{kind}"),
            ("_", "u1", (3,)),
            ("x", f"<{kind}"),
            ("hist", "<f4", (5,)),
            ("y", f"<{kind}"),
            ("_2", "u1"),
            ("rgba", "<u4"),
        ]
    )
    table = np.zeros(2, layout)
    table["x"], table["y"], table["z"] = [1e6 + 0.123456789, 2], [3, 4], [5, 6]
    table["rgba"] = [0xFF010203, 0x00FF00FF]
    header = (
        f"VERSION 0.7\nFIELDS z _ x hist y _ rgba\nSIZE {size} 1 {size} 4 {size} 1 4\nTYPE F U F F F U U\n"
        "COUNT 1 3 1 5 1 1 1\nWIDTH 2\nHEIGHT 1\nPOINTS 2\nDATA binary\n"
    )
    points, color, _ = read_pcd(pcd(header.encode() + table.tobytes()))
    assert points[0, 0] == (1e6 + 0.123456789 if size == 8 else np.float32(1e6 + 0.123456789))
    assert points[:, 1:].tolist() == [[3, 5], [4, 6]]
    assert color.tolist() == [[1, 2, 3], [255, 0, 255]]


@pytest.mark.parametrize("kind", ["binary", "binary_compressed"])
def test_files_of_another_writer(tmp_path, kind):
    open3d = pytest.importorskip("open3d", exc_type=ImportError)
    generator = np.random.default_rng(0)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(generator.normal(size=(100, 3))))
    cloud.colors = open3d.utility.Vector3dVector(generator.integers(0, 256, (100, 3)) / 255)
    path = tmp_path / "a.pcd"
    open3d.io.write_point_cloud(str(path), cloud, compressed=kind == "binary_compressed")
    assert f"DATA {kind}\n".encode() in path.read_bytes()
    points, color, normal = read_pcd(path)
    np.testing.assert_allclose(points, np.asarray(cloud.points), rtol=1e-6)
    assert color.tolist() == np.rint(np.asarray(cloud.colors) * 255).astype(int).tolist()
    assert normal is None


@pytest.fixture
def compressed(pcd):
    """Write 100 points, with more fields than are read, as PCL compresses them: one field after the other."""

    def write(size: int = 4, damage=lambda content: content):
        table = np.random.default_rng(0).normal(size=(3, 100)).astype(f"<f{size}")
        color = np.arange(100, dtype="<u4") << 8
        fields = [table[2], np.zeros((100, 3), "u1"), table[0], np.ones((100, 2), "<f4"), table[1], color]
        data = b"".join(field.tobytes() for field in fields)
        packed = lzf.compress(data)
        header = (
            f"VERSION .7\nFIELDS z _ x hist y rgba\nSIZE {size} 1 {size} 4 {size} 4\nTYPE F U F F F U\n"
            "COUNT 1 3 1 2 1 1\nWIDTH 100\nHEIGHT 1\nPOINTS 100\nDATA binary_compressed\n"
        )
        content = header.encode() + struct.pack("<II", len(packed), len(data)) + packed
        return pcd(damage(content)), table.T

    return write


@pytest.mark.parametrize("size", [4, 8])
def test_compressed(compressed, size):
    path, expected = compressed(size)
    points, color, normal = read_pcd(path)
    assert points.dtype == np.float64
    np.testing.assert_array_equal(points, expected)
    assert color.tolist() == [[0, number, 0] for number in range(100)]
    assert normal is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-200], r"the header promises 100 points of 27 bytes; \d+ compressed bytes follow it"),
        (lambda content: content + b"\0", "said to be"),
        (
            lambda content: content.partition(b"DATA")[0] + b"DATA binary_compressed\n\0",
            "; 0 compressed bytes follow it",
        ),
        (  # found before memory is taken
            lambda content: content.replace(b"S 100\n", b"S 99999999999\n").replace(b"H 100", b"H 99999999999"),
            "the header promises 99999999999 points",
        ),
        (lambda content: content[:-9] + b"\xff" * 9, "the compressed data are damaged: "),
    ],
)
def test_compressed_and_damaged(compressed, damage, message):
    with pytest.raises(ValueError, match=rf"a\.pcd:9: .*{message}"):
        read_pcd(compressed(damage=damage)[0])


def test_old_headers_without_width_or_points(pcd):
    old = HEADER.replace("WIDTH 3\nHEIGHT 1\n", "").replace("COUNT 1 1 1 1\n", "").replace("VERSION .7", "VERSION .5")
    assert read_pcd(pcd(old + ROWS))[0].tolist() == POINTS
    assert read_pcd(pcd(HEADER.replace("POINTS 3\n", "") + ROWS))[0].tolist() == POINTS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("WIDTH 3", "WIDTH 2", r"a\.pcd:10: POINTS 3, but WIDTH x HEIGHT is 2"),
        ("HEIGHT 1", "HEIGHT 2", r"a\.pcd:10: POINTS 3, but WIDTH x HEIGHT is 6"),
        (
            "FIELDS x y z rgb",
            "FIELDS x y rgb z2",
            r"a\.pcd:3: FIELDS: expected x, y and z once each.*wrong: \['z'\]",
        ),
        ("FIELDS x y z rgb", "FIELDS x x y z", r"a\.pcd:3: FIELDS: .*wrong: \['x'\]"),
        ("FIELDS x y z rgb", "FIELDS x y z", r"a\.pcd:4: SIZE: expected 3 whole number\(s\), got '4 4 4 4'"),
        (
            "SIZE 4 4 4 4",
            "SIZE 4 4 3 4",
            r"a\.pcd:5: expected for each of 4 fields a TYPE F \(4 or 8 bytes\)",
        ),
        ("TYPE F F F U", "TYPE F F U", r"a\.pcd:5: expected for each of 4 fields a TYPE"),
        ("TYPE F F F U", "TYPE F F F C", r"a\.pcd:5: expected for each of 4 fields a TYPE"),
        ("COUNT 1 1 1 1", "COUNT 1 1 2 1", r"a\.pcd:6: COUNT: expected 1 for \['z'\]"),
        ("POINTS 3", "POINTS three", r"a\.pcd:10: POINTS: expected 1 whole number\(s\), got 'three'"),
        ("POINTS 3", "POINTS -3", r"a\.pcd:10: POINTS: expected 1 whole number\(s\), got '-3'"),
        (
            "DATA ascii",
            "DATA ebcdic",
            r"a\.pcd:11: DATA: expected ascii, binary or binary_compressed, got 'ebcdic'",
        ),
        ("TYPE F F F U\n", "", r"a\.pcd: PCD header without a TYPE line"),
        ("WIDTH 3", "WIDTH 3\nWIDTH 3", r"a\.pcd:8: a second WIDTH line"),
        ("VERSION .7", "hello", r"a\.pcd:2: not a PCD header line: 'hello'"),
        ("DATA ascii\n", "", r"a\.pcd:11: not a PCD header line: '-0.166991"),
        ("4 5 6e-3 4294967295\n", "", r"a\.pcd:13: the header promises 3 points, the file has 2 rows"),
        ("4 5 6e-3", "7 7 7 7\n4 5 6e-3", r"a\.pcd:15: the header promises 3 points, the file has 4 rows"),
        ("4 5 6e-3 4294967295\n", "4 5", r"a\.pcd:14: expected 4 numbers, got 2: the row is cut off"),
        ("1 2 3 255", "1 2 3", r"a\.pcd:13: expected 4 numbers, got 3"),
        ("1 2 3 255", "1 two 3 255", r"a\.pcd:13: y: expected a number \(float32\), got 'two'"),
        ("1 2 3 255", "1 2 3 2.5", r"a\.pcd:13: rgb: expected a number \(uint32\), got '2\.5'"),
        ("4294967295", "4294967296", r"a\.pcd:14: rgb: expected a number \(uint32\), got '4294967296'"),
    ],
)
def test_lying_files_are_named_with_their_line(pcd, old, new, message):
    content = HEADER + ROWS
    assert old in content
    with pytest.raises(ValueError, match=message):
        read_pcd(pcd(content.replace(old, new)))


@pytest.mark.parametrize("content", [b"", b"hello", HEADER[:60].encode()])
def test_what_is_no_pcd_is_named(pcd, content):
    with pytest.raises(ValueError, match=r"a\.pcd: not a PCD file or cut off: no DATA line|not a PCD header line"):
        read_pcd(pcd(content))


@pytest.mark.parametrize("change", [-1, 1, -12])
def test_binary_of_another_length(pcd, change):
    header = HEADER.replace("x y z rgb", "x y z").replace(" 4 4 4 4", " 4 4 4").replace("F F F U", "F F F")
    header = header.replace("1 1 1 1", "1 1 1").replace("ascii", "binary")
    body = np.zeros(9, "<f4").tobytes()
    assert len(read_pcd(pcd(header.encode() + body))[0]) == 3
    body = body + b"\0" * change if change > 0 else body[:change]
    with pytest.raises(ValueError, match=rf"a\.pcd:11: .* 3 points of 12 bytes, 36 in all; {36 + change} bytes"):
        read_pcd(pcd(header.encode() + body))


def test_written_files_are_read_back(tmp_path):
    generator = np.random.default_rng(0)
    points, color = (
        generator.normal(size=(20, 3)).round(6),
        generator.integers(0, 256, (20, 3)).astype(np.uint8),
    )
    write_pcd(tmp_path / "a.pcd", points, color)
    again, colors, _ = read_pcd(tmp_path / "a.pcd")
    assert np.array_equal(again, points)
    assert np.array_equal(colors, color)
    write_pcd(tmp_path / "b.pcd", points)
    assert read_pcd(tmp_path / "b.pcd")[1] is None


def test_writing_nonsense_is_named_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"points: expected \(N, 3\) finite numbers, got shape \(2, 2\)"):
        write_pcd(tmp_path / "a.pcd", np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"color: expected shape \(2, 3\) as the points have, got \(1, 3\)"):
        write_pcd(tmp_path / "a.pcd", np.zeros((2, 3)), np.zeros((1, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
