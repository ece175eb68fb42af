"""Whether the same keypoints are found again on a changed copy of a shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pcsargmax.metrics import Repeatability
from pcsargmax.metrics.perturbations import Perturbed, noisy, partial_view, rotated, thinned
from pcsargmax.ops.seeds import mix_seed

#: Changes of a cloud whose diagonal is 1, by name, each with its description.
CHANGES: dict[str, tuple[Callable[..., Perturbed], str]] = {
    "rotation": (partial(rotated, degrees=180.0, axis="y"), "turned about y by any angle"),
    "noise": (partial(noisy, sigma=0.01), "noise of 1 % of the diagonal on each coordinate"),
    "density": (partial(thinned, share=0.5), "half of the points"),
    "view": (partial_view, "what is seen from one side"),
}


class RepeatabilityScorer:
    """Repeatability under each of `CHANGES`, lengths in shares of the bounding-box diagonal.

    Args:
        detect: (N, 3) points, float64, in any unit to (K, 3) keypoints in the same.
        seed: of the changes and the bootstrap.
    """

    def __init__(self, detect: Callable[[Tensor], Tensor], seed: int = 0) -> None:
        self.detect, self.seed = detect, seed
        self.metrics = {name: Repeatability(seed=seed).set_dtype(torch.float64) for name in CHANGES}
        self.count = 0

    def update(self, pos: Tensor, keypoints: Tensor) -> None:
        """Add a shape: points (N, 3) and the keypoints (K, 3) found on it, in any unit."""
        low, high = pos.amin(dim=0), pos.amax(dim=0)
        diagonal = (high - low).norm().clamp_min(torch.finfo(pos.dtype).tiny)
        unit_pos, unit_keypoints = (pos - low) / diagonal, (keypoints - low) / diagonal
        for number, (name, (change, _)) in enumerate(CHANGES.items()):
            generator = torch.Generator().manual_seed(mix_seed(self.seed, self.count, number))
            copy = change(unit_pos, unit_keypoints, generator=generator)
            # Back to the units of the file, where a frame that is not centred on the shape has its meaning.
            found = (self.detect(copy.pos * diagonal + low) - low) / diagonal
            self.metrics[name].update(found[None], copy.keypoints[None])
        self.count += 1

    def compute(self) -> dict[str, dict[str, float]]:
        """By the name of the change what `Repeatability.compute` gives."""
        return {
            name: {key: value.item() for key, value in metric.compute().items() if not value.isnan()}
            for name, metric in self.metrics.items()
        }
