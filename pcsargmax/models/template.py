"""The template baseline: the training set's mean keypoints, scaled into each cloud's bounding box.

It looks at nothing of a cloud but its box, so what a detector scores above it is what learning adds.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Template:
    """Mean keypoints of a category, relative to the bounding box.

    Args:
        relative: (K, 3) float64, 0 at the low and 1 at the high side of the box, per axis.
        num_seen: (K,) long, how many training models have the keypoint. Where none has, `relative` is the
            middle of the box: a finite guess, so that one can still be scored should a test model have it.

    Example:
        >>> import torch
        >>> from pcsargmax import Template
        >>> template = Template(relative=torch.tensor([[0.5, 1.0, 0.5]]).double(), num_seen=torch.tensor([9]))
        >>> template.predict(torch.tensor([[0.0, 0.0, 0.0], [2.0, 4.0, 6.0]]))  # the middle of the box's top (y = 4)
        tensor([[1., 4., 3.]], dtype=torch.float64)
    """

    relative: Tensor
    num_seen: Tensor

    @classmethod
    def fit(cls, items: Iterable[Any]) -> Self:
        """Mean over cloud items of their visible keypoints relative to their clouds' bounding boxes.

        An axis along which a cloud is flat (under a millionth of its diagonal) says nothing and is left out
        for that cloud; where no cloud says anything, the place is 0.5.

        Args:
            items: `Data` with pos (N, 3), keypoint_pos (1, K, 3) and keypoint_visible (1, K), in raw units: a
                data set, or any iterable of them.

        Raises:
            ValueError: no items, items of unequal K, or an empty or non-finite cloud or keypoint.
        """
        relative: list[Tensor] = []
        seen: list[Tensor] = []
        for number, item in enumerate(items):
            low, extent = bounding_box(item.pos, name=f"pos of item {number}")
            keypoints, visible = _keypoints(item, number)
            if relative and len(keypoints) != len(relative[0]):
                raise ValueError(
                    f"items must all have {len(relative[0])} keypoints, got {len(keypoints)} in item {number}"
                )
            # Not "> 0": the last digits of a flat side must not be blown up into a place in the box.
            known = visible[:, None] & (extent > 1e-6 * extent.norm())
            relative.append(torch.where(known, (keypoints - low) / extent, torch.nan))
            seen.append(visible)
        if not relative:
            raise ValueError("items must hold at least one cloud to fit a template, got none")
        mean = torch.stack(relative).nanmean(dim=0).nan_to_num(nan=0.5)
        return cls(mean, torch.stack(seen).sum(dim=0))

    def predict(self, pos: Tensor) -> Tensor:
        """Keypoints (K, 3), float64, for a cloud pos (N, 3), both in raw units."""
        low, extent = bounding_box(pos, name="pos")
        return low + self.relative.to(pos.device) * extent

    def mean_error(self, items: Iterable[Any], unit: str) -> float:
        """Return the mean distance of the template from the visible keypoints of cloud items.

        Args:
            items: as in `fit`.
            unit: "raw", or "diagonal" for shares of each cloud's bounding-box diagonal.

        Returns:
            The mean over all visible keypoints; NaN where there are none.
        """
        errors = []
        for number, item in enumerate(items):
            keypoints, visible = _keypoints(item, number)
            length = 1.0 if unit == "raw" else bounding_box(item.pos)[1].norm()
            errors.append((self.predict(item.pos) - keypoints).norm(dim=-1)[visible] / length)
        return float(torch.cat(errors).mean()) if errors else math.nan

    @property
    def usual(self) -> Tensor:
        """(K,) bool: the keypoints that at least half as many models have as the most common one."""
        return (self.num_seen > 0) & (2 * self.num_seen >= self.num_seen.max())

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for JSON; `from_dict` gives the same template back, bit for bit."""
        return {"relative": self.relative.tolist(), "num_seen": self.num_seen.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The template that `to_dict` wrote.

        Raises:
            ValueError: keys that are missing or unknown, or values of the wrong shape.
        """
        if set(values) != {"relative", "num_seen"}:
            raise ValueError(f"a template must have the keys relative and num_seen, got {sorted(values)}")
        relative = torch.tensor(values["relative"], dtype=torch.float64)
        num_seen = torch.tensor(values["num_seen"], dtype=torch.long)
        if relative.shape != (len(num_seen), 3) or not relative.isfinite().all():
            raise ValueError(
                "relative and num_seen must be finite of shape (K, 3) and (K,), "
                f"got {tuple(relative.shape)} and {tuple(num_seen.shape)}"
            )
        return cls(relative, num_seen)


def bounding_box(pos: Tensor, *, name: str = "pos") -> tuple[Tensor, Tensor]:
    """Low corner (3,) and extent (3,), float64, of the cloud pos (N, 3)."""
    if pos.ndim != 2 or pos.shape[1] != 3 or not len(pos):
        raise ValueError(f"{name} must be (N, 3) with at least one point, got {tuple(pos.shape)}")
    broken = int((~pos.isfinite()).any(dim=1).sum())
    if broken:
        raise ValueError(f"{name} must be finite, got NaN or infinity in {broken} of {len(pos)} points")
    pos = pos.double()
    low = pos.amin(dim=0)
    return low, pos.amax(dim=0) - low


def _keypoints(item: Any, number: int) -> tuple[Tensor, Tensor]:
    """Keypoints (K, 3) float64 and visibility (K,) of one cloud item, checked."""
    positions, visible = item.keypoint_pos, item.keypoint_visible
    if positions.ndim != 3 or positions.shape[::2] != (1, 3) or visible.shape != positions.shape[:2]:
        raise ValueError(
            f"keypoint_pos and keypoint_visible of item {number} must be (1, K, 3) and (1, K), "
            f"got {tuple(positions.shape)} and {tuple(visible.shape)}"
        )
    positions, visible = positions[0].double(), visible[0].bool()
    broken = int((visible & ~positions.isfinite().all(dim=-1)).sum())
    if broken:
        raise ValueError(f"keypoint_pos of item {number} must be finite where visible, got NaN or infinity at {broken}")
    return positions, visible
