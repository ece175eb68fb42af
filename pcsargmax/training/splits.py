"""The two splits that a run is made of, and that they share no shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pcsargmax.runs.sources import model_ids
from pcsargmax.settings.common import RunSettings


class Splits(NamedTuple):
    """The data of a training, before they are prepared.

    Attributes:
        training: the data set that is trained on.
        validation: the one that chooses the checkpoint; None where there is none.
        trained_on: names of the shapes of the former.
        chosen_by: names of those of the latter.
    """

    training: Any
    validation: Any | None
    trained_on: list[str]
    chosen_by: list[str]


def open_splits(
    settings: RunSettings,
    opened: Callable[[str], Any],
    names: Callable[[Any], list[str]] = model_ids,
    what: str = "shapes",
) -> Splits:
    """Open the splits that a run is trained on and chosen by, each with `opened`; `names` gives those of its items.

    Raises:
        ValueError: they share shapes; or as `opened`.
    """
    training = opened(settings.train_split)
    validation = None if settings.val_split == "none" else opened(settings.val_split)
    trained_on, chosen_by = names(training), [] if validation is None else names(validation)
    if shared := set(trained_on) & set(chosen_by):
        raise ValueError(
            f"val_split {settings.val_split!r} and train_split {settings.train_split!r} share {len(shared)} {what}; "
            "train on 'train' to validate on 'val', or take val_split 'none'"
        )
    return Splits(training, validation, trained_on, chosen_by)
