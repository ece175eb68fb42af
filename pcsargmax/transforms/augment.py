"""Augmentation of cloud items; each moves the keypoints with the points.

All are `torch_geometric` transforms: they return a changed copy, and compose with
`torch_geometric.transforms.Compose`. They take one cloud, no batch. Random ones draw from `self.generator`,
which may be set at any time; `None` is torch's default generator. Keypoints that are absent stay zeros.

Rotation and scaling are about the origin of the frame that the points are in: the middle of the bounding box
after `frames.NormalizeFrame`. Lengths (`sigma`, `clip`) are in the units of that frame.
"""

import math

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from pcsargmax.transforms.frames import positions

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_POINT_ATTRIBUTES = ("pos", "color", "normal", "x")


class RandomRotation(BaseTransform):
    """Rotate points, normals and keypoints about an axis through the origin.

    Args:
        degrees: the angle is uniform in [-degrees, degrees]; 0 to 180.
        axis: "x", "y", "z", or "any": an axis uniform on the sphere. `"any"` with 180 degrees is uniform
            over all rotations (a uniform unit quaternion).
        generator: the source of randomness.
    """

    def __init__(self, degrees: float, axis: str = "y", generator: torch.Generator | None = None) -> None:
        """Check and keep the settings; see the class."""
        if not 0 <= degrees <= 180:
            raise ValueError(f"degrees: expected 0 to 180, got {degrees}")
        if axis not in (*_AXES, "any"):
            raise ValueError(f'axis: expected "x", "y", "z" or "any", got {axis!r}')
        self.degrees, self.axis, self.generator = float(degrees), axis, generator

    def forward(self, data: Data) -> Data:
        """Return `data` rotated."""
        matrix = self._draw().to(positions(data).device)
        for key in ("pos", "dense_pos", "normal", "keypoint_pos"):
            if key in data:
                data[key] = (data[key].double() @ matrix.T).to(data[key].dtype)
        return data

    def _draw(self) -> Tensor:
        if self.axis == "any" and self.degrees == 180:
            quaternion = torch.randn(4, generator=self.generator, dtype=torch.float64)
            return _quaternion_matrix(quaternion / quaternion.norm())
        if self.axis == "any":
            axis = torch.randn(3, generator=self.generator, dtype=torch.float64)
            axis = axis / axis.norm()
        else:
            axis = torch.tensor(_AXES[self.axis], dtype=torch.float64)
        turn = torch.rand((), generator=self.generator, dtype=torch.float64) * 2 - 1
        half = turn * math.radians(self.degrees) / 2
        return _quaternion_matrix(torch.cat([half.cos()[None], half.sin() * axis]))

    def __repr__(self) -> str:
        """Return the call that makes an equal transform."""
        return f"RandomRotation({self.degrees:g}, axis={self.axis!r})"


class RandomScale(BaseTransform):
    """Scale points and keypoints about the origin by a factor uniform in [low, high].

    Args:
        low, high: the factor's bounds, 0 < low <= high.
        per_axis: draw a factor for each axis; normals are then tilted to fit and stay of unit length.
        generator: the source of randomness.
    """

    def __init__(
        self, low: float, high: float, per_axis: bool = False, generator: torch.Generator | None = None
    ) -> None:
        """Check and keep the settings; see the class."""
        if not (0 < low <= high < math.inf):
            raise ValueError(f"low, high: expected 0 < low <= high, got {low} and {high}")
        self.low, self.high, self.per_axis, self.generator = float(low), float(high), per_axis, generator

    def forward(self, data: Data) -> Data:
        """Return `data` scaled."""
        draw = torch.rand(3 if self.per_axis else 1, generator=self.generator, dtype=torch.float64)
        factor = (self.low + (self.high - self.low) * draw).to(positions(data).device)
        for key in ("pos", "dense_pos", "keypoint_pos"):
            if key in data:
                data[key] = (data[key].double() * factor).to(data[key].dtype)
        if self.per_axis and "normal" in data:
            tilted = torch.nn.functional.normalize(data.normal.double() / factor, dim=-1)
            data.normal = tilted.to(data.normal.dtype)
        return data

    def __repr__(self) -> str:
        """Return the call that makes an equal transform."""
        return f"RandomScale({self.low:g}, {self.high:g}, per_axis={self.per_axis})"


class RandomJitter(BaseTransform):
    """Add Gaussian noise to each coordinate of the points; keypoints stay.

    Args:
        sigma: standard deviation, units of the frame.
        clip: the largest shift along an axis; `None` for no limit.
        generator: the source of randomness.
    """

    def __init__(self, sigma: float, clip: float | None = None, generator: torch.Generator | None = None) -> None:
        """Check and keep the settings; see the class."""
        if not 0 <= sigma < math.inf:
            raise ValueError(f"sigma: expected a finite number of 0 or more, got {sigma}")
        if clip is not None and not clip > 0:
            raise ValueError(f"clip: expected a number above 0 or None, got {clip}")
        self.sigma, self.clip, self.generator = float(sigma), clip, generator

    def forward(self, data: Data) -> Data:
        """Return `data` with its points jittered."""
        data.pos = self._jittered(positions(data))
        if "dense_pos" in data:
            data.dense_pos = self._jittered(data.dense_pos)
        return data

    def _jittered(self, pos: Tensor) -> Tensor:
        noise = self.sigma * torch.randn(pos.shape, generator=self.generator, dtype=torch.float64)
        if self.clip is not None:
            noise = noise.clamp(-self.clip, self.clip)
        return (pos.double() + noise.to(pos.device)).to(pos.dtype)

    def __repr__(self) -> str:
        """Return the call that makes an equal transform."""
        return f"RandomJitter({self.sigma:g}, clip={self.clip})"


class RandomWarp(BaseTransform):
    """Bend space smoothly: each point moves by a sum of Gaussian bumps, keypoints and dense points with it.

    A few shapes thereby stand for many. The bumps are centred uniformly in the cube of side 1 about the origin, which
    holds the unit frame; normals stay as they are.

    Args:
        amplitude: standard deviation of the height of a bump along each axis, in the unit of the frame.
        width: standard deviation of a bump.
        bumps: how many there are.
        generator: the source of randomness.
    """

    def __init__(
        self, amplitude: float, width: float = 0.25, bumps: int = 8, generator: torch.Generator | None = None
    ) -> None:
        """Check and keep the settings; see the class."""
        if not 0 <= amplitude < math.inf:
            raise ValueError(f"amplitude: expected a finite number of 0 or more, got {amplitude}")
        if not 0 < width < math.inf:
            raise ValueError(f"width: expected a finite number above 0, got {width}")
        if bumps < 1:
            raise ValueError(f"bumps: expected at least 1, got {bumps}")
        self.amplitude, self.width, self.bumps, self.generator = float(amplitude), float(width), bumps, generator

    def forward(self, data: Data) -> Data:
        """Return `data` bent."""
        center = torch.rand(self.bumps, 3, generator=self.generator, dtype=torch.float64) - 0.5
        height = self.amplitude * torch.randn(self.bumps, 3, generator=self.generator, dtype=torch.float64)
        center, height = center.to(positions(data).device), height.to(positions(data).device)
        for key in ("pos", "dense_pos", "keypoint_pos"):
            if key in data:
                place = data[key].double()
                away = torch.cdist(place.reshape(-1, 3), center).square() / (2 * self.width**2)
                moved = place + ((-away).exp() @ height).reshape(place.shape)
                if key == "keypoint_pos" and "keypoint_visible" in data:
                    moved = moved.where(data.keypoint_visible[..., None], place)
                data[key] = moved.to(data[key].dtype)
        return data

    def __repr__(self) -> str:
        """Return the call that makes an equal transform."""
        return f"RandomWarp({self.amplitude:g}, width={self.width:g}, bumps={self.bumps})"


class PointDropout(BaseTransform):
    """Drop a share of the points at random; the others keep their order, and one at least stays.

    `keypoint_site` follows its point, and is -1 where the point went; `keypoint_pos` and
    `keypoint_visible` stay.

    Args:
        share: the share of the points to drop, rounded down to whole points; 0 <= share < 1.
        generator: the source of randomness.
    """

    def __init__(self, share: float, generator: torch.Generator | None = None) -> None:
        """Check and keep the settings; see the class."""
        if not 0 <= share < 1:
            raise ValueError(f"share: expected 0 or more and less than 1, got {share}")
        self.share, self.generator = float(share), generator

    def forward(self, data: Data) -> Data:
        """Return `data` with fewer points."""
        pos = positions(data)
        count = len(pos)
        kept = max(1, count - math.floor(count * self.share))
        keep = torch.randperm(count, generator=self.generator)[:kept].sort().values.to(pos.device)
        for key in _POINT_ATTRIBUTES:
            if isinstance(data.get(key), Tensor):
                data[key] = data[key][keep]
        if "keypoint_site" in data:
            moved = torch.full((count + 1,), -1, device=pos.device)  # the last entry serves site -1
            moved[keep] = torch.arange(kept, device=pos.device)
            data.keypoint_site = moved[data.keypoint_site]
        return data

    def __repr__(self) -> str:
        """Return the call that makes an equal transform."""
        return f"PointDropout({self.share:g})"


class Outliers(BaseTransform):
    """Move a share of the points, chosen at random, to places uniform in the bounding box or around it.

    The number of points stays. `normal` and `color` of a moved point stay too, and `keypoint_site` is -1 where the
    point went; `keypoint_pos` and `keypoint_visible` stay. A farthest-point order is one no longer.

    Args:
        share: the share of the points to move, rounded to whole points; 0 to 1.
        reach: the box that they go to, in lengths of the bounding box about the same middle; 1 leaves the bounding box
            nearly as it is, 2 makes it up to twice as long.
        generator: the source of randomness.
    """

    def __init__(self, share: float, reach: float = 1.0, generator: torch.Generator | None = None) -> None:
        """Check and keep the settings; see the class."""
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected 0 to 1, got {share}")
        if not 0 < reach < math.inf:
            raise ValueError(f"reach: expected a finite number above 0, got {reach}")
        self.share, self.reach, self.generator = float(share), float(reach), generator

    def forward(self, data: Data) -> Data:
        """Return `data` with some of its points elsewhere."""
        pos = positions(data)
        moved = torch.randperm(len(pos), generator=self.generator)[: round(len(pos) * self.share)].to(pos.device)
        # A place for every point, so that the points of a smaller share go where they would go in a larger one.
        place = torch.rand(pos.shape, generator=self.generator, dtype=torch.float64).to(pos.device)[moved] - 0.5
        low, high = pos.double().amin(0), pos.double().amax(0)
        data.pos = pos.clone()
        data.pos[moved] = (low + (high - low) * (0.5 + self.reach * place)).to(pos.dtype)
        if "keypoint_site" in data:
            data.keypoint_site = data.keypoint_site.masked_fill(torch.isin(data.keypoint_site, moved), -1)
        if "farthest_order" in data:
            data.farthest_order = False
        return data

    def __repr__(self) -> str:
        """Return the call that makes an equal transform."""
        return f"Outliers({self.share:g}, reach={self.reach:g})"


class RandomMirror(BaseTransform):
    """Reflect points, normals and keypoints through the plane across an axis, half of the time.

    A reflection turns left keypoints into right ones: `pairs` says which channel becomes which, see
    `find_mirror_pairs`. `keypoint_site` is exchanged with them.

    Args:
        axis: "x", "y" or "z", the axis whose sign changes.
        pairs: (K,) long, the channel whose mirror image channel k is; an involution.
        generator: the source of randomness.
    """

    def __init__(self, axis: str, pairs: Tensor, generator: torch.Generator | None = None) -> None:
        """Check and keep the settings; see the class."""
        if axis not in _AXES:
            raise ValueError(f'axis: expected "x", "y" or "z", got {axis!r}')
        if not torch.equal(pairs[pairs], torch.arange(len(pairs))):
            raise ValueError(f"pairs: expected channels that exchange two by two, got {pairs.tolist()}")
        self.axis, self.pairs, self.generator = axis, pairs, generator

    def forward(self, data: Data) -> Data:
        """Return `data`, reflected or not."""
        if torch.rand((), generator=self.generator) < 0.5:
            return data
        signs = 1 - 2 * torch.tensor(_AXES[self.axis], device=positions(data).device)
        for key in ("pos", "dense_pos", "normal", "keypoint_pos"):
            if key in data:
                data[key] = data[key] * signs.to(data[key].dtype)
        for key in ("keypoint_pos", "keypoint_visible", "keypoint_site"):
            if key in data:
                data[key] = data[key][:, self.pairs]
        return data

    def __repr__(self) -> str:
        """Return the call that makes an equal transform."""
        return f"RandomMirror({self.axis!r}, {self.pairs.tolist()})"


def find_mirror_pairs(keypoints: Tensor, visible: Tensor, axis: str) -> Tensor:
    """Find which keypoints of a category are each other's mirror images across an axis.

    The mean keypoints are reflected and matched to the mean keypoints at the least total distance.

    Args:
        keypoints: (M, K, 3) of M models in the unit frame.
        visible: (M, K) bool.
        axis: "x", "y" or "z".

    Returns:
        (K,) long for `RandomMirror`; a keypoint never visible is its own image.

    Raises:
        ValueError: an image lies farther than a tenth of the bounding-box diagonal from its match, or the
            matches do not go both ways: the category is not symmetric about this plane.
    """
    from scipy.optimize import linear_sum_assignment

    if axis not in _AXES:
        raise ValueError(f'axis: expected "x", "y" or "z", got {axis!r}')
    seen = visible.sum(dim=0)
    mean = torch.where(visible[..., None], keypoints, 0).sum(dim=0) / seen.clamp_min(1)[:, None]
    known = seen.nonzero().squeeze(1)
    image = mean[known] * (1 - 2 * torch.tensor(_AXES[axis], dtype=mean.dtype))
    distance = torch.cdist(image, mean[known])
    match = torch.from_numpy(linear_sum_assignment(distance.numpy())[1])
    worst = distance.gather(1, match[:, None]).max().item() if len(known) else 0.0
    if worst > 0.1 or not torch.equal(match[match], torch.arange(len(match))):
        raise ValueError(
            f"axis {axis!r}: the mean keypoints are not symmetric across it; a mirror image lies up to "
            f"{worst:.2f} of the bounding-box diagonal from the nearest other keypoint"
        )
    pairs = torch.arange(len(seen))
    pairs[known] = known[match]
    return pairs


def _quaternion_matrix(q: Tensor) -> Tensor:
    """(4,) unit quaternion (w, x, y, z) -> (3, 3) rotation matrix."""
    w, x, y, z = q.tolist()
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.tensor(rows, dtype=q.dtype)
