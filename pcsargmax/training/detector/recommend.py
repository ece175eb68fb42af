"""The settings that serve a data set best as far as is known, by what is measured on it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch_geometric.data import Data

from pcsargmax.models.template import Template, bounding_box
from pcsargmax.runs.sources import open_dataset
from pcsargmax.settings.detector import RECIPES, TrainSettings
from pcsargmax.training.detector.data import mirror_pairs
from pcsargmax.training.loop import Progress
from pcsargmax.transforms.frames import NormalizeFrame

#: Optimizer steps of a training, if they are no more than so many epochs.
STEPS, MOST_EPOCHS = 1000, 400
#: With fewer validation shapes than this nothing is chosen by them: folds are held out instead.
MIN_VALIDATION = 20
#: Into how many folds the shapes are divided then.
FOLDS = 2
#: Shapes share an orientation where the template explains this share of the variance of keypoints in their boxes.
MIN_EXPLAINED = 0.5
#: With a wider random rotation the template says nothing of where to start.
MOST_ROTATION = 45.0


class Recommendation(NamedTuple):
    """Settings, and a line for each choice that says what it rests on.

    Attributes:
        settings: of a training.
        reasons: what was chosen and why.

    Example:
        >>> from pcsargmax import Recommendation, TrainSettings
        >>> chosen = Recommendation(TrainSettings(looks=2), ["two looks, as the meshes are dense"])
        >>> chosen.settings.looks
        2
    """

    settings: TrainSettings
    reasons: list[str]


def recommend(settings: TrainSettings, fixed: Collection[str] = (), progress: Progress | None = None) -> Recommendation:
    """Choose the settings of a training by its data: the recipe "accurate", fitted to the shapes.

    Args:
        settings: name the data; all that is in `fixed` stays as it is.
        fixed: names of settings.
        progress: called with (what, done, total) while data are read.

    Raises:
        ValueError, OSError: errors of the data, as of `train`.

    Example:
        >>> from pcsargmax import TrainSettings, make_procedural, recommend
        >>> counts = make_procedural("data", ["mug"], models=20, num_points=128)
        >>> chosen = recommend(TrainSettings(data="mug", root="data", epochs=50), fixed=["epochs"])
        >>> chosen.settings.looks, chosen.settings.epochs, chosen.settings.template_start
        (2, 50, True)
        >>> chosen.reasons[-1]
        'maps start at the template: the shapes share an orientation'
    """
    values: dict[str, Any] = dict(RECIPES["accurate"])
    reasons: list[str] = []
    if settings.symmetry != "none" and "shape_prior" not in fixed:  # they are not for one another
        values["shape_prior"] = "none"
        reasons.append("no shape prior: training is up to symmetry")
    chosen = replace(settings, **{name: value for name, value in values.items() if name not in fixed})

    def choose(reason: str, **more: Any) -> None:
        nonlocal chosen
        free = {name: value for name, value in more.items() if name not in fixed}
        if free:
            chosen = replace(chosen, **free)
            reasons.append(reason)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training gives them
        raw = _splits(chosen, fixed, choose, lambda i, n: progress("reading", i, n) if progress else None)
    items = [raw[i] for i in range(len(raw))]
    batches = math.ceil(len(items) / chosen.batch_size)
    epochs = min(MOST_EPOCHS, math.ceil(STEPS / batches))
    choose(f"{epochs} epochs: {len(items)} shapes are {batches} steps an epoch", epochs=epochs)
    if chosen.looks == 2 and all("dense_pos" not in item for item in items):
        reason = "each cloud is taken as it is, and the second look takes 64 points: it has no more than are seen first"
        choose(reason, samples=1, look_points=64)
    if chosen.rotate <= MOST_ROTATION and explained_by_template(items) > MIN_EXPLAINED:
        choose("maps start at the template: the shapes share an orientation", template_start=True)
    if chosen.mirror != "none":
        reasons.append(f"reflected copies exchange {_mirrored(items, raw.keypoint_names, chosen.mirror)} (mirror)")
    return Recommendation(chosen, reasons)


def _mirrored(items: list[Data], names: Sequence[str], axis: str) -> str:
    """The names of the keypoints that a reflection exchanges, as text."""
    pairs = mirror_pairs([NormalizeFrame()(item) for item in items], axis).tolist()
    swapped = [f"{names[one]} and {names[other]}" for one, other in enumerate(pairs) if one < other]
    return ", ".join(swapped) if swapped else "no keypoints"


def _splits(
    settings: TrainSettings,
    fixed: Collection[str],
    choose: Callable[..., None],
    progress: Callable[[int, int], None],
) -> Any:
    """Choose what is trained on and what is held out; return the former."""
    training = open_dataset(settings, settings.train_split, progress)
    validation = _validation_size(settings)
    if settings.symmetry != "none" or validation >= MIN_VALIDATION:
        return training
    if {"train_split", "val_split"}.isdisjoint(fixed):
        training = open_dataset(settings, "trainval", progress)
        held = _folds(settings, fixed, len(training))
        choose(
            f"too few validation shapes to choose by ({validation}): all {len(training)} are trained on, and "
            + (f"{held} further trainings hold out a part each" if held else "nothing is held out"),
            train_split="trainval",
            val_split="none",
            folds=held,
        )
    elif settings.val_split == "none" and (held := _folds(settings, fixed, len(training))):
        choose(f"no validation split: {held} further trainings hold out a part of the shapes each", folds=held)
    return training


def _folds(settings: TrainSettings, fixed: Collection[str], count: int) -> int:
    """Into how many folds so many shapes are divided; 0 where nothing can be held out."""
    if "folds" in fixed:
        return settings.folds
    return min(FOLDS, count) if count > 1 else 0


def _validation_size(settings: TrainSettings) -> int:
    if settings.val_split == "none":
        return 0
    try:
        return len(open_dataset(settings, settings.val_split))
    except (ValueError, FileNotFoundError):  # an empty split
        return 0


def explained_by_template(items: list[Any]) -> float:
    """Share of the variance of keypoints within their bounding boxes that the template explains; −∞ without keypoints.

    Args:
        items: cloud items, as `Template.fit` takes them.
    """
    template = Template.fit(items)
    left = total = 0.0
    for item in items:
        low, extent = bounding_box(item.pos)
        visible, scale = item.keypoint_visible[0], extent.norm()
        keypoints = item.keypoint_pos[0].double()[visible]
        left += float(((keypoints - template.predict(item.pos)[visible]) / scale).square().sum())
        total += float(((keypoints - (low + extent / 2)) / scale).square().sum())
    return 1 - left / total if total else -torch.inf
