"""Robustness: error, confidence and repeatability as clouds become noisy, cluttered, sparse, partial or turned.

    found = sweep(load_run("runs/mug-sampling-seed0"), "test")
    found["rows"]          # one for the clouds as they are, one for each change and severity

Every shape of a split is changed by each of `CHANGES` at each severity, in a frame where its bounding-box diagonal is
1, and looked at again. Draws depend on the seed, the number of the shape and the change, not on the severity, so a
larger severity is the same change carried further (the same points dropped and more), and curves are smooth for few
shapes.

Lengths are measured by the bounding box of the cloud as it was before the change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.benchmark.robustness_scores import DetectorTally, DiscoveryTally, Sighting, Tally
from pcsargmax.metrics.perturbations import Perturbed, noisy, rotated, seen_from, thinned
from pcsargmax.ops.seeds import mix_seed
from pcsargmax.runs.kinds import CloudRun
from pcsargmax.transforms.augment import Outliers


class Change(NamedTuple):
    """A way to make clouds harder.

    Attributes:
        apply: (pos (N, 3), keypoints (K, 3), severity, generator) to the changed copy; lengths in shares of the
            bounding-box diagonal.
        severities: ascending in difficulty, where none are given.
        axis: what a severity is, as the label of an axis.
        clean: the severity of a cloud as it is, as a label.
    """

    apply: Callable[[Tensor, Tensor, float, torch.Generator], Perturbed]
    severities: tuple[float, ...]
    axis: str
    clean: str = "0"


def with_outliers(
    pos: Tensor, keypoints: Tensor, *, share: float, reach: float = 1.0, generator: torch.Generator | None = None
) -> Perturbed:
    """Move a share of the points to places uniform in the bounding box; the keypoints stay. See `Outliers`.

    Args:
        pos: (N, 3) points, any unit.
        keypoints: (K, 3) keypoints on it, same unit.
        share: the share of the points to move, 0 to 1.
        reach: the box that they go to, in lengths of the bounding box about the same middle.
        generator: the source of randomness, on the CPU.

    Raises:
        ValueError: `pos` not (N, 3), or settings out of range.
    """
    return Perturbed(Outliers(share, reach, generator)(Data(pos=pos)).pos, keypoints)


def seen_from_sides(
    pos: Tensor, keypoints: Tensor, *, views: int, distance: float = 5.0, generator: torch.Generator | None = None
) -> Perturbed:
    """Keep the points that are seen from at least one of some random sides, as `partial_view` does for one.

    The first of several sides is the one of a single view from the same state of the generator.

    Args:
        pos: (N, 3) points, any unit.
        keypoints: (K, 3) keypoints on it, same unit; they stay, also those on sides that nobody saw.
        views: the number of sides, at least 1.
        distance: of the eyes from the middle of the bounding box, in shares of its half diagonal; more than 1.
        generator: the source of randomness, on the CPU.

    Raises:
        ValueError: settings out of range, or `pos` not (N, 3).
    """
    if not (views >= 1 and float(views).is_integer()):
        raise ValueError(f"views must be a whole number, at least 1, got {views}")
    if not 1 < distance < float("inf"):
        raise ValueError(f"distance must be more than 1 and finite, got {distance}")
    low, high = pos.double().amin(dim=0), pos.double().amax(dim=0)
    away = distance * torch.linalg.vector_norm(high - low) / 2
    seen = torch.zeros(len(pos), dtype=torch.bool, device=pos.device)
    for _ in range(int(views)):
        direction = torch.randn(3, generator=generator, dtype=torch.float64).to(pos.device)
        seen |= seen_from(pos, (low + high) / 2 + away * direction / direction.norm())
    return Perturbed(pos[seen], keypoints)


def _by(change: Callable[..., Perturbed], name: str, **fixed: Any) -> Callable[..., Perturbed]:
    """The change as a function of its severity, which is its argument of that name."""

    def apply(pos: Tensor, keypoints: Tensor, severity: float, generator: torch.Generator) -> Perturbed:
        return change(pos, keypoints, generator=generator, **{name: severity}, **fixed)

    return apply


#: What is done to a cloud whose diagonal is 1, by name.
CHANGES: dict[str, Change] = {
    "noise": Change(_by(noisy, "sigma"), (0.005, 0.01, 0.02, 0.04), "σ of the noise (diagonals)"),
    "outliers": Change(_by(with_outliers, "share"), (0.01, 0.05, 0.1, 0.2), "share of outliers in the box"),
    "stray": Change(_by(with_outliers, "reach", share=0.01), (1.25, 1.5, 2.0, 3.0), "reach of 1 % strays (boxes)", "–"),
    "density": Change(_by(thinned, "share"), (0.25, 0.5, 0.75, 0.9), "share of points dropped"),
    "view": Change(_by(seen_from_sides, "views"), (8, 4, 2, 1), "seen from so many sides", "all"),
    "rotation": Change(_by(rotated, "degrees", axis="y"), (15, 45, 90, 180), "turned about y by up to (°)"),
}


@torch.inference_mode()
def sweep(
    run: CloudRun,
    split: str = "test",
    *,
    severities: Mapping[str, Sequence[float]] | None = None,
    thresholds: tuple[float, ...] = (0.01, 0.02, 0.05),
    most: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure a run on a split of its data, as it is and changed in the ways of `CHANGES`.

    Args:
        run: a detector or a discovery.
        split: of the run's data.
        severities: the changes to make, each with its severities, a change with none taking those of `CHANGES`; None:
            all of them.
        thresholds: of PCK, in the run's unit.
        most: only so many shapes, the first ones; None: all.
        seed: of the changes and of the bootstrap.
        progress: called with (done, total) clouds.

    Returns:
        JSON-able: "kind" ("keypoint_detector" or "skeleton_merger"), "run" (name of its folder), "data", "split",
        "unit", "objective", "settings" (of the training), "checkpoint", "seed", "num_shapes", "seen_in_training",
        "radius_nominal" (how often the radius shall hold the true point; None without one), "changes" (name to "axis",
        "clean" and "severities", see `Change`), and "rows": each with "change" ("none", of the clouds as they are, the
        first), "severity" (0 there) and what `DetectorTally.compute` or `DiscoveryTally.compute` gives.

    Raises:
        ValueError: an unknown change, a severity out of range, or a split without shapes or annotations.
    """
    wanted = _checked(severities)
    dataset = run.dataset(split)
    count = min(len(dataset), len(dataset) if most is None else most)
    if count < 1:
        raise ValueError(f"most must be at least 1 and the split must have shapes, got {most} of {len(dataset)}")
    cells = [("none", 0.0), *((name, severity) for name, values in wanted.items() for severity in values)]
    tallies: list[Tally] = [
        DetectorTally(run, thresholds, seed) if run.kind == "keypoint_detector" else DiscoveryTally(seed) for _ in cells
    ]
    seen = 0
    for number in range(count):
        item = dataset[number]
        seen += item.model_id in run.trained_on
        shape = _Shape(run, item, seed, number)
        for place, (cell, tally) in enumerate(zip(cells, tallies, strict=True)):
            tally.update(shape.seen(*cell))
            if progress is not None:
                progress(number * len(cells) + place + 1, count * len(cells))
    return {
        "kind": run.kind,
        "run": run.folder.name,
        "data": run.settings.data,
        "split": split,
        "unit": run.unit,
        "objective": run.settings.objective,
        "settings": run.settings.to_dict(),
        "checkpoint": run.checkpoint.name,
        "seed": seed,
        "num_shapes": count,
        "seen_in_training": seen,
        "radius_nominal": _nominal(run),
        "changes": {
            name: {"axis": CHANGES[name].axis, "clean": CHANGES[name].clean, "severities": list(values)}
            for name, values in wanted.items()
        },
        "rows": [
            {"change": name, "severity": severity, **tally.compute()}
            for (name, severity), tally in zip(cells, tallies, strict=True)
        ],
    }


class _Shape:
    """One shape, and what the run found on it as it is."""

    def __init__(self, run: CloudRun, item: Data, seed: int, number: int) -> None:
        self.run, self.item, self.seed, self.number = run, item, seed, number
        pos = item.pos.double()
        self.low = pos.amin(dim=0)
        self.diagonal = (pos.amax(dim=0) - self.low).norm().clamp_min(torch.finfo(pos.dtype).tiny)
        self.pos = (pos - self.low) / self.diagonal
        self.clean = run.predict(item)
        found = torch.from_numpy(self.clean.position)
        self.visible = item.keypoint_visible[0] if "keypoint_visible" in item else torch.zeros(0, dtype=torch.bool)
        truth = item.keypoint_pos[0].double() if "keypoint_visible" in item else pos.new_empty(0, 3)
        truth = truth.where(self.visible[:, None], self.low)  # absent ones must be finite
        self.keypoints = (torch.cat([found, truth]) - self.low) / self.diagonal

    def seen(self, name: str, severity: float) -> Sighting:
        """What the run finds on a changed copy; "none" is no change."""
        copy, found = Perturbed(self.pos, self.keypoints), self.clean
        if name != "none":
            generator = torch.Generator().manual_seed(mix_seed(self.seed, self.number, list(CHANGES).index(name)))
            copy = CHANGES[name].apply(self.pos, self.keypoints, severity, generator)
            # Back to the units of the file, where a frame that is not centred on the shape has its meaning.
            found = self.run.predict(Data(pos=copy.pos * self.diagonal + self.low))
        position = (torch.from_numpy(found.position) - self.low) / self.diagonal
        expected, truth = copy.keypoints.tensor_split([len(position)])
        return Sighting(found, position, expected, truth, self.visible, float(self.diagonal))


def _nominal(run: CloudRun) -> float | None:
    fitted = run.calibration if run.kind == "keypoint_detector" else None
    return None if fitted is None or fitted.quantile is None else fitted.coverage


def _checked(severities: Mapping[str, Sequence[float]] | None) -> dict[str, tuple[float, ...]]:
    """The changes and their severities, each tried on a small cloud, so that a mistake does not show after minutes."""
    wanted = dict.fromkeys(CHANGES, ()) if severities is None else severities
    if not wanted:
        raise ValueError(f"severities must name at least one of {', '.join(CHANGES)}, got none")
    pos = torch.rand(16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    checked = {}
    for name, values in wanted.items():
        if name not in CHANGES:
            raise ValueError(f"severities must be of {', '.join(CHANGES)}, got {name!r}")
        checked[name] = tuple(float(value) for value in values) or CHANGES[name].severities
        for value in checked[name]:
            try:
                CHANGES[name].apply(pos, pos[:1], value, torch.Generator())
            except ValueError as error:
                raise ValueError(f"{name}: severity {value:g} is out of range: {error}") from error
    return checked
