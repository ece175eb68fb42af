"""The cells of a 1-D, 2-D or 3-D map as the sites of a keypoint."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Tensor

from pcsargmax.core import circular


@dataclass(frozen=True)
class Grid:
    """Where the cells of a map are, and how wide they are.

    Coordinates are in the order (x, y, z), as in annotations: the reverse of the map's axes, which are (z, y, x). All
    arguments but `shape` are in the order of the coordinates too; they are kept as tuples of D.

    Args:
        shape: of the map, in array order: (W,), (H, W) or (D, H, W).
        spacing: c, the distance of adjacent cells and so the width of a cell, in any unit; one for all axes or
            one per coordinate.
        origin: the coordinate of the centre of the first cell, in the same unit.
        periodic: which coordinates are circular, such as the angle of a cylinder: behind the last cell the first
            follows. Its period is the number of cells times `spacing`.

    Raises:
        ValueError: a shape of other than 1 to 3 positive integers, a spacing that is not positive and finite, an
            origin that is not finite, a tuple of other than D entries, or a circular axis of a single cell.

    Example:
        >>> from pcsargmax import Grid
        >>> grid = Grid((64, 48), spacing=4)  # H, W of a map at a quarter of the image's resolution
        >>> grid.num_sites, grid.positions()[[0, 1, 48]].tolist()  # x, y in pixels of the image
        (3072, [[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
        >>> Grid.normalized((4,), "centers").positions().flatten()
        tensor([-0.7500, -0.2500,  0.2500,  0.7500])
    """

    shape: tuple[int, ...]
    spacing: float | tuple[float, ...] = 1.0
    origin: float | tuple[float, ...] = 0.0
    periodic: bool | tuple[bool, ...] = False

    def __post_init__(self) -> None:
        """Bring all to tuples of D and raise ValueError where one is not valid."""
        shape = _shape(self.shape)
        fields = {name: _tuple(name, getattr(self, name), len(shape)) for name in ("spacing", "origin", "periodic")}
        if not all(0 < c < math.inf for c in fields["spacing"]):
            raise ValueError(f"spacing: expected positive finite numbers, got {self.spacing}")
        if not all(math.isfinite(x) for x in fields["origin"]):
            raise ValueError(f"origin: expected finite numbers, got {self.origin}")
        if any(circle and n < 2 for circle, n in zip(fields["periodic"], reversed(shape), strict=True)):
            raise ValueError(f"periodic: expected at least 2 cells along a circular axis, got shape {shape}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "spacing", tuple(float(c) for c in fields["spacing"]))
        object.__setattr__(self, "origin", tuple(float(x) for x in fields["origin"]))
        object.__setattr__(self, "periodic", tuple(bool(p) for p in fields["periodic"]))

    @classmethod
    def normalized(
        cls,
        shape: Sequence[int],
        convention: Literal["paper", "corners", "centers"] = "paper",
        periodic: bool | tuple[bool, ...] = False,
    ) -> "Grid":
        """Return the grid whose coordinates do not depend on the resolution of the map.

        Args:
            shape: of the map, in array order.
            convention: for cell i of n along an axis "paper", i/n − 0.5, as in the authors' published code;
                "corners", 2i/(n − 1) − 1, as `align_corners=True`; "centers", (2i + 1)/n − 1, as
                `align_corners=False`.
            periodic: as of the grid.

        Raises:
            ValueError: as of the grid, an unknown convention, or "corners" with a single cell along an axis.
        """
        counts = tuple(reversed(_shape(shape)))
        if convention == "paper":
            spacing, origin = tuple(1 / n for n in counts), tuple(-0.5 for _ in counts)
        elif convention == "corners":
            if min(counts) < 2:
                raise ValueError(f"shape: 'corners' needs at least 2 cells along each axis, got {tuple(shape)}")
            spacing, origin = tuple(2 / (n - 1) for n in counts), tuple(-1.0 for _ in counts)
        elif convention == "centers":
            spacing, origin = tuple(2 / n for n in counts), tuple(1 / n - 1 for n in counts)
        else:
            raise ValueError(f"convention: expected 'paper', 'corners' or 'centers', got {convention!r}")
        return cls(tuple(shape), spacing, origin, periodic)

    @property
    def num_sites(self) -> int:
        """L, the number of cells."""
        return math.prod(self.shape)

    @property
    def dimension(self) -> int:
        """D, the number of coordinates."""
        return len(self.shape)

    @property
    def counts(self) -> tuple[int, ...]:
        """(D,) the number of cells along each coordinate: the shape reversed."""
        return self.shape[::-1]

    @property
    def cell(self) -> tuple[float, ...]:
        """(D,) the width c of a cell along each coordinate."""
        return _tuple("spacing", self.spacing, self.dimension)

    @property
    def first(self) -> tuple[float, ...]:
        """(D,) the coordinates of the centre of the first cell."""
        return _tuple("origin", self.origin, self.dimension)

    @property
    def periods(self) -> tuple[float | None, ...]:
        """(D,) the period of each coordinate, None where it is not circular."""
        circles = _tuple("periodic", self.periodic, self.dimension)
        return tuple(n * c if p else None for n, c, p in zip(self.counts, self.cell, circles, strict=True))

    @property
    def embedding(self) -> tuple[int, ...]:
        """(E,) the coordinate that each axis of the embedded positions comes from: twice each circular one."""
        return tuple(d for d, period in enumerate(self.periods) for _ in range(1 if period is None else 2))

    @property
    def embedded_dimension(self) -> int:
        """E, the number of coordinates that are averaged: D plus the number of circular ones."""
        return len(self.embedding)

    def axes(self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> tuple[Tensor, ...]:
        """Return the coordinates of the cells along each axis: D tensors (n,), x first."""
        return tuple(
            torch.arange(n, dtype=dtype, device=device) * c + x
            for n, c, x in zip(self.counts, self.cell, self.first, strict=True)
        )

    def positions(self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Tensor:
        """Return (L, D), the coordinates of all cells, in the order of the flattened map."""
        lattice = torch.meshgrid(*reversed(self.axes(dtype, device)), indexing="ij")
        return torch.stack(lattice[::-1], dim=-1).flatten(0, -2)  # (*shape, D) -> (L, D)

    def sites(self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Tensor:
        """Return (L, E), what is averaged: the positions, embedded."""
        return self.embed(self.positions(dtype, device))

    def embed(self, positions: Tensor) -> Tensor:
        """Replace each circular coordinate of (..., D) by its pair, (..., E), as `circular.embed`."""
        return circular.embed(positions, self.periods)

    def recover(self, embedded: Tensor) -> Tensor:
        """Turn averages (..., E) of embedded positions into coordinates (..., D), as `circular.recover`.

        Circular ones come out within [x − c/2, x − c/2 + P), with x the centre of the first cell and P the period.
        """
        return circular.recover(embedded, self.periods, self._lower)

    def wrap(self, positions: Tensor) -> Tensor:
        """Bring the circular ones of the coordinates (..., D) into the range of `recover`."""
        _check_last_axis("positions", positions, self.dimension)
        columns = zip(positions.unbind(-1), self.periods, self._lower, strict=True)
        return torch.stack([x if p is None else circular.wrap(x, p, least) for x, p, least in columns], dim=-1)

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a − b of coordinates (..., D), the shortest way round where they are circular."""
        return circular.difference(a, b, self.periods)

    @property
    def _lower(self) -> tuple[float, ...]:
        """(D,) the lower end of the first cell."""
        return tuple(x - c / 2 for x, c in zip(self.first, self.cell, strict=True))


def _shape(shape: Iterable[Any]) -> tuple[int, ...]:
    """Return the shape as a tuple, or raise ValueError."""
    sizes = tuple(shape) if isinstance(shape, Iterable) else ()
    valid = all(isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0 for n in sizes)
    if not 1 <= len(sizes) <= 3 or not valid:
        raise ValueError(f"shape: expected 1 to 3 positive integers, got {shape}")
    return tuple(int(n) for n in sizes)


def _tuple(name: str, value: Any, length: int) -> tuple[Any, ...]:
    """Return one value for each of the D coordinates, from one or D."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * length
    if len(values) != length:
        raise ValueError(f"{name}: expected one value or {length}, one per axis of the map, got {len(values)}: {value}")
    return values


def _check_last_axis(name: str, values: Tensor, length: int) -> None:
    if values.ndim == 0 or values.shape[-1] != length:
        raise ValueError(f"{name}: expected a last axis of {length}, got shape {tuple(values.shape)}")
