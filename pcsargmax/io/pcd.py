"""Exact reading and writing of PCD files: what the header promises must be there, no more and no less.

Format: the Point Cloud Library's "PCD (Point Cloud Data) file format", version .7 (and .5, .6, whose headers
lack lines). Common readers fill missing rows with zeros and drop extra ones silently; here both are errors.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcsargmax.io.atomic import atomic_path
from pcsargmax.io.lzf import decompress_lzf

_KEYS = ("VERSION", "FIELDS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS", "DATA")
_TYPES = {"F": "f", "I": "i", "U": "u"}
_SIZES = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
_NORMAL = ("normal_x", "normal_y", "normal_z")


@dataclass(frozen=True)
class _Header:
    fields: list[str]
    dtypes: list[np.dtype]
    counts: list[int]
    points: int
    data: str
    lines: int  # lines of the header, DATA included
    length: int  # its bytes

    def column(self, field: str) -> int:
        """The first column of `field` in an ascii row."""
        return sum(self.counts[: self.fields.index(field)])


def read_pcd(path: str | Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Read a PCD file (ascii, binary or binary_compressed).

    Returns:
        points: (N, 3) float64, the file's units; color: (N, 3) uint8 or None, from a packed `rgb` or `rgba`;
        normal: (N, 3) float64 or None. Coordinates are returned as they are, NaN included.

    Raises:
        ValueError: naming file and line, for a header that lacks lines or contradicts itself, more or fewer
            rows than it promises, and bad numbers.
    """
    path = Path(path)
    content = path.read_bytes()
    header = _parse_header(path, content)
    if header.data == "ascii":
        columns = _ascii_columns(path, header, content[header.length :])
    elif header.data == "binary":
        columns = _binary_columns(path, header, content[header.length :])
    else:
        columns = _compressed_columns(path, header, content[header.length :])
    points = np.stack([columns[axis].astype(np.float64) for axis in "xyz"], axis=1)
    normal = None
    if all(name in columns for name in _NORMAL):
        normal = np.stack([columns[name].astype(np.float64) for name in _NORMAL], axis=1)
    packed = columns.get("rgb", columns.get("rgba"))
    return points, None if packed is None else _unpack_color(packed), normal


def write_pcd(path: str | Path, points: np.ndarray, color: np.ndarray | None = None, digits: int = 6) -> None:
    """Write an ascii PCD file as KeypointNet has them: x y z and, with `color`, rgb packed in one uint32.

    points: (N, 3); color: (N, 3) uint8; digits: decimals of a coordinate. The write is atomic.
    """
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"points: expected (N, 3) finite numbers, got shape {points.shape}")
    columns, size, kind = ["x", "y", "z"], "4 4 4", "F F F"
    rows = [" ".join(f"{value:.{digits}f}" for value in point) for point in points]
    if color is not None:
        if color.shape != points.shape:
            raise ValueError(f"color: expected shape {points.shape} as the points have, got {color.shape}")
        red, green, blue = np.asarray(color, dtype=np.uint32).T
        packed = (red << 16) | (green << 8) | blue
        rows = [f"{row} {value}" for row, value in zip(rows, packed, strict=True)]
        columns, size, kind = [*columns, "rgb"], size + " 4", kind + " U"
    count = len(points)
    header = (
        f"# .PCD v.7 - Point Cloud Data file format\nVERSION .7\nFIELDS {' '.join(columns)}\n"
        f"SIZE {size}\nTYPE {kind}\nCOUNT {' '.join('1' for _ in columns)}\n"
        f"WIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA ascii\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(header + "".join(row + "\n" for row in rows), encoding="ascii")


def _parse_header(path: Path, content: bytes) -> _Header:
    values: dict[str, tuple[int, list[str]]] = {}
    position = number = 0
    while "DATA" not in values:
        end = content.find(b"\n", position)
        if end < 0 or number > 100:
            raise ValueError(f"{path}: not a PCD file or cut off: no DATA line in its header ({number} lines read)")
        line = content[position:end].decode("latin-1").strip()
        position, number = end + 1, number + 1
        if not line or line.startswith("#"):
            continue
        key, *rest = line.split()
        if key.upper() not in _KEYS:
            raise ValueError(f"{path}:{number}: not a PCD header line: {line[:60]!r}")
        if key.upper() in values:
            raise ValueError(f"{path}:{number}: a second {key} line in the header")
        values[key.upper()] = number, rest
    return _check_header(path, values, number, position)


def _check_header(path: Path, values: dict[str, tuple[int, list[str]]], lines: int, length: int) -> _Header:
    def integers(key: str, count: int | None = None) -> list[int]:
        line, texts = values[key]
        if not all(text.isascii() and text.isdigit() for text in texts) or (count and len(texts) != count):
            wanted = "whole numbers" if count is None else f"{count} whole number(s)"
            raise ValueError(f"{path}:{line}: {key}: expected {wanted}, got {' '.join(texts)!r}")
        return [int(text) for text in texts]

    for key in ("FIELDS", "SIZE", "TYPE"):
        if key not in values:
            raise ValueError(f"{path}: PCD header without a {key} line")
    line, fields = values["FIELDS"]
    if missing := [axis for axis in "xyz" if fields.count(axis) != 1]:
        raise ValueError(f"{path}:{line}: FIELDS: expected x, y and z once each, got {fields}; wrong: {missing}")
    sizes = integers("SIZE", len(fields))
    counts = integers("COUNT", len(fields)) if "COUNT" in values else [1] * len(fields)
    line, kinds = values["TYPE"]
    if len(kinds) != len(fields) or any(s not in _SIZES.get(k, ()) for k, s in zip(kinds, sizes, strict=True)):
        raise ValueError(
            f"{path}:{line}: expected for each of {len(fields)} fields a TYPE F (4 or 8 bytes), I or U "
            f"(1, 2, 4 or 8 bytes), got TYPE {kinds} with SIZE {sizes}"
        )
    used = [*"xyz", *_NORMAL, "rgb", "rgba"]
    if bad := [name for name, count in zip(fields, counts, strict=True) if name in used and count != 1]:
        raise ValueError(f"{path}:{values['COUNT'][0]}: COUNT: expected 1 for {bad}, got {counts} for {fields}")
    line, data = values["DATA"]
    if data not in (["ascii"], ["binary"], ["binary_compressed"]):
        raise ValueError(f"{path}:{line}: DATA: expected ascii, binary or binary_compressed, got {' '.join(data)!r}")

    points = integers("POINTS", 1)[0] if "POINTS" in values else None
    if "WIDTH" in values:
        area = integers("WIDTH", 1)[0] * (integers("HEIGHT", 1)[0] if "HEIGHT" in values else 1)
        if points is not None and area != points:
            raise ValueError(f"{path}:{values['POINTS'][0]}: POINTS {points}, but WIDTH x HEIGHT is {area}")
        points = area
    if points is None:
        raise ValueError(f"{path}: PCD header without a POINTS or WIDTH line")
    dtypes = [np.dtype(f"<{_TYPES[kind]}{size}") for kind, size in zip(kinds, sizes, strict=True)]
    return _Header(fields, dtypes, counts, points, data[0], lines, length)


def _ascii_columns(path: Path, header: _Header, body: bytes) -> dict[str, np.ndarray]:
    rows = [(number, row) for number, line in enumerate(body.split(b"\n"), header.lines + 1) if (row := line.split())]
    width = sum(header.counts)
    for number, row in rows[: header.points]:
        if len(row) != width:
            raise ValueError(
                f"{path}:{number}: expected {width} numbers, got {len(row)}: the row is cut off or too long"
            )
    if len(rows) != header.points:
        where = rows[header.points][0] if len(rows) > header.points else (rows[-1][0] if rows else header.lines)
        raise ValueError(f"{path}:{where}: the header promises {header.points} points, the file has {len(rows)} rows")
    columns = {}
    for field, dtype in zip(header.fields, header.dtypes, strict=True):
        if field not in ("x", "y", "z", "rgb", "rgba", *_NORMAL):
            continue
        at = header.column(field)
        texts = [row[at] for _, row in rows]
        try:
            # Coordinates keep all the digits that the text has; a packed colour needs its own bits.
            exact = np.dtype(np.float64) if field not in ("rgb", "rgba") else dtype
            columns[field] = np.array([_number(text, exact) for text in texts], dtype=exact)
        except (ValueError, OverflowError):
            number, text = next((n, row[at]) for n, row in rows if not _is_number(row[at], exact))
            raise ValueError(
                f"{path}:{number}: {field}: expected a number ({dtype.name}), got {text.decode('latin-1')!r}"
            ) from None
    return columns


def _number(text: bytes, dtype: np.dtype) -> float | int:
    if dtype.kind == "f":
        return float(text)
    value = int(text)
    bounds = np.iinfo(dtype)
    if not bounds.min <= value <= bounds.max:
        raise OverflowError(value)
    return value


def _is_number(text: bytes, dtype: np.dtype) -> bool:
    try:
        _number(text, dtype)
    except (ValueError, OverflowError):
        return False
    return True


def _binary_columns(path: Path, header: _Header, body: bytes) -> dict[str, np.ndarray]:
    # Fields are named by place: padding fields all have the same name, "_".
    layout = [(f"f{i}", d, (c,)) for i, (d, c) in enumerate(zip(header.dtypes, header.counts, strict=True))]
    dtype = np.dtype(layout)
    if len(body) != header.points * dtype.itemsize:
        raise ValueError(
            f"{path}:{header.lines}: the header promises {header.points} points of {dtype.itemsize} bytes, "
            f"{header.points * dtype.itemsize} in all; {len(body)} bytes follow it"
        )
    table = np.frombuffer(body, dtype)
    counts = enumerate(zip(header.fields, header.counts, strict=True))
    return {field: table[f"f{i}"][:, 0] for i, (field, count) in counts if count}


def _compressed_columns(path: Path, header: _Header, body: bytes) -> dict[str, np.ndarray]:
    """The columns of compressed data, which hold all values of the first field, then all of the next one."""
    widths = [d.itemsize * c for d, c in zip(header.dtypes, header.counts, strict=True)]
    compressed, unpacked = struct.unpack("<II", body[:8]) if len(body) >= 8 else (0, 0)
    if compressed != len(body) - 8 or unpacked != header.points * sum(widths):
        raise ValueError(
            f"{path}:{header.lines}: the header promises {header.points} points of {sum(widths)} bytes; "
            f"{max(len(body) - 8, 0)} compressed bytes follow it, said to be {compressed} that unpack to {unpacked}"
        )
    try:
        data = decompress_lzf(body[8:], unpacked)
    except ValueError as error:
        raise ValueError(f"{path}:{header.lines}: the compressed data are damaged: {error}") from None
    columns, start = {}, 0
    for field, dtype, count, width in zip(header.fields, header.dtypes, header.counts, widths, strict=True):
        if count:
            values = np.frombuffer(data, dtype, header.points * count, start)
            columns[field] = values.reshape(header.points, count)[:, 0]
        start += header.points * width
    return columns


def _unpack_color(packed: np.ndarray) -> np.ndarray:
    """(N,) uint32, int32 or the same bits as float32 -> (N, 3) uint8."""
    if packed.dtype.kind == "f":
        bits = packed.astype(np.float32).view(np.uint32)
    else:
        bits = (packed.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32)
    return np.stack([(bits >> shift) & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)
