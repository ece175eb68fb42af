"""Random crops of images in training: scale, rotation, shift and mirroring."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pcsargmax.datasets.images.item import ImageItem, flip_order
from pcsargmax.datasets.images.names import Law
from pcsargmax.transforms.crop import Crop


@dataclass(frozen=True)
class ImageAugment:
    """Random crops around the box of an item.

    The defaults are those of the paper for COCO: mirrored with probability 0.5, scaled by 0.7 to 1.3, and turned by up
    to 40 degrees with probability 0.5. The authors' published code for MTFL faces draws both from normal laws:
    `rotation_law="normal", rotation_probability=0.6, scale_law="normal", padding=1.0`.

    Args:
        flip: probability of a mirrored input.
        scale: the region's sides are multiplied by 1 - scale to 1 + scale.
        rotation: degrees. "uniform": from -rotation to rotation; "normal": standard deviation, cut at twice as much.
        rotation_probability: how often the input is turned at all.
        rotation_law: see `rotation`.
        scale_law: "uniform": all factors are as likely; "normal": of standard deviation `scale`, cut at as much.
        shift: the region moves by up to this share of the box's width and height, to both sides.
        padding: room around every box, as in `Crop.around`; the same number belongs in the crops of the test.

    Raises:
        ValueError: for a probability outside 0 to 1, a scale outside 0 to 1 (exclusive), or another number below 0.

    Example:
        >>> import torch
        >>> from pcsargmax.datasets.images import ImageAugment, ProceduralFaces
        >>> faces = ProceduralFaces("train")
        >>> draw = ImageAugment(flip=1.0, scale=0.0, rotation=0.0)  # mirrors every image, and nothing else
        >>> crop, order = draw(faces[0], (64, 64), torch.Generator(), faces.flip_pairs)
        >>> crop.size, order[36].item()  # row 36, an outer eye corner, takes the place of the other one, row 45
        ((64, 64), 45)
    """

    flip: float = 0.5
    scale: float = 0.3
    rotation: float = 40.0
    rotation_probability: float = 0.5
    rotation_law: Law = "uniform"
    scale_law: Law = "uniform"
    shift: float = 0.0
    padding: float = 1.25

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("flip", "rotation_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a probability from 0 to 1, got {getattr(self, name)}")
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale: expected a share from 0 to below 1, got {self.scale}")
        for name in ("rotation", "shift"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: expected a number of 0 or more, got {getattr(self, name)}")
        if not 0 < self.padding < float("inf"):
            raise ValueError(f"padding: expected a number above 0, got {self.padding}")
        for name in ("rotation_law", "scale_law"):
            if getattr(self, name) not in ("uniform", "normal"):
                raise ValueError(f"{name}: expected 'uniform' or 'normal', got {getattr(self, name)!r}")

    def __call__(
        self,
        item: ImageItem,
        size: tuple[int, int],
        generator: torch.Generator,
        flip_pairs: Sequence[tuple[int, int]] = (),
    ) -> tuple[Crop, np.ndarray]:
        """Draw a crop.

        Each call takes as many numbers from the generator, whatever the settings.

        Args:
            item: the item, for its box.
            size: (height, width) of the input.
            generator: of the random numbers, on the CPU.
            flip_pairs: rows of the keypoints that change places in a mirrored input.

        Returns:
            the crop, and order (K,): `crop.to_input(item.keypoints)[order]` and `item.visible[order]` are the targets.
        """
        flip, turn, *sides = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
        normal = torch.randn(2, generator=generator, dtype=torch.float64).tolist()
        turned, scaled, right, down = (2 * side - 1 for side in sides)
        if self.rotation_law == "normal":
            turned = min(max(normal[0], -2.0), 2.0)
        if self.scale_law == "normal":
            scaled = min(max(normal[1], -1.0), 1.0)
        box = item.box.copy()
        box[:2] += self.shift * np.array([right, down]) * box[2:]
        mirrored = flip < self.flip
        crop = Crop.around(
            box,
            size,
            scale=1 + self.scale * scaled,
            rotation=self.rotation * turned if turn < self.rotation_probability else 0.0,
            padding=self.padding,
            flip=mirrored,
        )
        return crop, flip_order(len(item.keypoints), flip_pairs if mirrored else ())
