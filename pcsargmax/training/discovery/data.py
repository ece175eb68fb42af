"""The clouds that keypoints are discovered on: any data set of the package, landmarks or annotations or not."""

from __future__ import annotations

from torch_geometric.transforms import BaseTransform, Compose

from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.transforms.augment import RandomJitter, RandomRotation


def discover_augmentation(settings: DiscoverSettings) -> Compose | None:
    """The random transforms of the settings; None where there are none."""
    steps: list[BaseTransform] = []
    if settings.rotate:
        steps.append(RandomRotation(settings.rotate, settings.rotate_axis))
    if settings.jitter:
        steps.append(RandomJitter(settings.jitter, clip=3 * settings.jitter))
    return Compose(steps) if steps else None
