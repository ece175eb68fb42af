"""The matches of COCO's evaluation, from which the average precision of resamples is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

#: Recalls where COCO reads precision.
RECALLS = torch.from_numpy(np.linspace(0, 1, 101))

#: Number T of OKS thresholds, 0.50 to 0.95.
LEVELS = 10


@dataclass(frozen=True, eq=False)
class CocoMatches:
    """Matches of n poses in M images, objects of all sizes.

    Attributes:
        image_id: (M,) ids of the images.
        objects: (M,) float64, number of objects in each.
        image: (n,) long, place of each pose's image, poses from the highest score down.
        hit, counted: (T, n) bool, whether it is correct at OKS 0.50, 0.55, …, 0.95, and whether it counts at all.
    """

    image_id: tuple[int, ...]
    objects: Tensor
    image: Tensor
    hit: Tensor
    counted: Tensor

    @classmethod
    def of(cls, evaluation: Any) -> Self:
        """Read the matches of a pycocotools' COCOeval that has been run with its default OKS thresholds."""
        images = evaluation.evalImgs[: len(evaluation.params.imgIds)]  # the first range of areas is all
        some = [(number, entry) for number, entry in enumerate(images) if entry is not None]
        objects = torch.zeros(len(images), dtype=torch.float64)
        for number, entry in some:
            objects[number] = float(np.count_nonzero(entry["gtIgnore"] == 0))
        score = np.concatenate([np.zeros(0), *(entry["dtScores"] for _, entry in some)])
        order = np.argsort(-score, kind="mergesort")
        numbers = [np.full(len(entry["dtScores"]), number) for number, entry in some]
        matched = np.concatenate([np.zeros((LEVELS, 0)), *(entry["dtMatches"] for _, entry in some)], axis=1)
        ignored = np.concatenate([np.zeros((LEVELS, 0), bool), *(e["dtIgnore"] for _, e in some)], axis=1)
        return cls(
            image_id=tuple(int(number) for number in evaluation.params.imgIds),
            objects=objects,
            image=torch.from_numpy(np.concatenate([np.zeros(0, int), *numbers])[order]),
            hit=torch.from_numpy(((matched != 0) & ~ignored)[:, order]),
            counted=torch.from_numpy(~ignored[:, order]),
        )

    def average_precision(self, weights: Tensor) -> Tensor:
        """Return COCO's 101-point AP under weights (R, M) of the images: (R, T), NaN without any object."""
        step = max(1, 4_000_000 // max(len(self.image), 1))
        return torch.cat([self._average_precision(part) for part in weights.split(step)])

    def _average_precision(self, weights: Tensor) -> Tensor:
        often = weights[:, self.image]  # (R, n)
        positives = weights @ self.objects
        found = []
        for hit, counted in zip(self.hit, self.counted, strict=True):
            right = (often * hit).cumsum(dim=1)
            precision = right / ((often * counted).cumsum(dim=1) + np.spacing(1))
            envelope = precision.flip(1).cummax(dim=1).values.flip(1)
            recall = right / positives[:, None]
            place = torch.searchsorted(recall.contiguous(), RECALLS.expand(len(recall), -1).contiguous())
            padded = torch.nn.functional.pad(envelope, (0, 1))  # precision is 0 at a recall that is never reached
            found.append(padded.gather(1, place).mean(dim=1).masked_fill(positives == 0, torch.nan))
        return torch.stack(found, dim=1)

    def to_dict(self) -> dict[str, list[int]]:
        """Return JSON values: "image_id", "objects" (M), "image" (n), "hit", "counted" (n), one bit per threshold."""
        return {
            "image_id": list(self.image_id),
            "objects": self.objects.long().tolist(),
            "image": self.image.tolist(),
            "hit": _packed(self.hit),
            "counted": _packed(self.counted),
        }

    @classmethod
    def from_dict(cls, values: dict[str, list[int]]) -> Self:
        """Return the matches that `to_dict` wrote."""
        return cls(
            image_id=tuple(values["image_id"]),
            objects=torch.tensor(values["objects"], dtype=torch.float64),
            image=torch.tensor(values["image"], dtype=torch.long),
            hit=_unpacked(values["hit"]),
            counted=_unpacked(values["counted"]),
        )


def _packed(bits: Tensor) -> list[int]:
    """Pack bits (T, n) into numbers (n)."""
    found: list[int] = (bits.long() << torch.arange(LEVELS)[:, None]).sum(dim=0).tolist()
    return found


def _unpacked(numbers: list[int]) -> Tensor:
    return (torch.tensor(numbers, dtype=torch.long) >> torch.arange(LEVELS)[:, None]) & 1 == 1
