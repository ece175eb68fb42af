"""What the viewer shows, without a window; what its keys do is in `actions`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.look import Look


class Effect(Enum):
    """What a window has to do after an action."""

    NOTHING = "nothing"
    PANEL = "panel"
    """Show the panel anew."""
    DRAW = "draw"
    """Draw the shape anew."""
    SHAPE = "shape"
    """Another shape: predict and draw it."""
    CAMERA = "camera"
    """Put the camera back."""
    PICTURE = "picture"
    """Save a screenshot."""
    CLOSE = "close"


@dataclass
class ViewerState:
    """Which shape and keypoint are shown and how; one instance serves one window.

    Attributes:
        names: of the shapes; "" where it is known only once the shape was predicted.
        look: how a shape is drawn; `keypoint` in it is the number of the keypoint in the left view, or None.
        shape: number of the shape that is shown.
        pair: two views side by side.
        linked: two views move together.
        same_scale: the colours of two views mean the same probabilities.
        help: the list of keys is shown.
        folder: where screenshots go.
        keypoint_names: of the left view's shape; empty until `meet`.
        present: what the shape shown has of "truth", "ellipsoids", "samples", "skeleton", "surface" and "symmetries".
        message: of the last screenshot or mishap; "" for none.

    Raises:
        ValueError: no shape, or no shape of that number.
    """

    names: list[str]
    look: Look = field(default_factory=Look)
    shape: int = 0
    pair: bool = False
    linked: bool = True
    same_scale: bool = False
    help: bool = False
    folder: Path = Path()
    keypoint_names: tuple[str, ...] = ()
    present: frozenset[str] = frozenset()
    message: str = ""

    def __post_init__(self) -> None:
        """Check that there is something to show."""
        self.names = [str(name) for name in self.names]
        if not self.names:
            raise ValueError("names: expected at least one shape, got none")
        self.choose_shape(self.shape)

    @classmethod
    def over(
        cls, predictions: Sequence[Prediction], others: Sequence[Prediction] | None = None, look: Look | None = None
    ) -> ViewerState:
        """The state at the start over shapes, which may be lazy: a `names` of theirs is used where there is one.

        Raises:
            ValueError: no shape, or two sequences of unequal length.
        """
        if others is not None and len(others) != len(predictions):
            raise ValueError(f"others: expected {len(predictions)} shapes as in predictions, got {len(others)}")
        known = getattr(predictions, "names", None)
        if known is None and isinstance(predictions, list | tuple):
            known = [one.name for one in predictions]
        if known is None or len(known) != len(predictions):
            known = [""] * len(predictions)
        return cls(list(known), look or Look(), pair=others is not None)

    def meet(self, first: Prediction, second: Prediction | None = None) -> None:
        """Take in what the shape that is now shown is called and has; a keypoint that it lacks is let go of.

        Args:
            first: the left view's prediction of shape `shape`.
            second: the right view's.
        """
        number = self.look_for(first).keypoint
        if number is None and self.look.keypoint is not None:
            self.message = f"no keypoint {self._keypoint_name()} here: all are shown"
        self.look = dataclasses.replace(self.look, keypoint=number)
        self.names[self.shape] = first.name
        self.keypoint_names = first.keypoint_names
        self.present = _present(first) | (frozenset() if second is None else _present(second))

    def look_for(self, prediction: Prediction) -> Look:
        """The look of one of the views: its keypoint is the one of the same name, all if there is none."""
        wanted = self.look.keypoint
        if isinstance(wanted, int) and self.keypoint_names not in ((), prediction.keypoint_names):
            wanted = self.keypoint_names[wanted]
        return dataclasses.replace(self.look, keypoint=_number(prediction, wanted))

    @property
    def chosen(self) -> int | None:
        """Number of the left view's keypoint whose map is shown; None for all."""
        return self.look.keypoint if isinstance(self.look.keypoint, int) else None

    def choose_shape(self, number: int) -> Effect:
        """Show shape `number`.

        Raises:
            ValueError: no such shape.
        """
        if not 0 <= number < len(self.names):
            raise ValueError(f"shape: expected 0 to {len(self.names) - 1}, got {number}")
        same, self.shape = number == self.shape, number
        return Effect.NOTHING if same else Effect.SHAPE

    def choose_keypoint(self, number: int | None) -> Effect:
        """Colour by keypoint `number` of the left view; None: by the largest of all maps.

        Raises:
            ValueError: no such keypoint.
        """
        if number is not None and not 0 <= number < len(self.keypoint_names):
            raise ValueError(f"keypoint: expected 0 to {len(self.keypoint_names) - 1}, got {number}")
        return self.change_look(keypoint=number)

    def title(self) -> str:
        """Which shape of how many, and its name."""
        name = self.names[self.shape] or f"shape {self.shape + 1}"
        return name if len(self.names) == 1 else f"{name} ({self.shape + 1} of {len(self.names)})"

    def shape_texts(self) -> list[str]:
        """A line a shape for a chooser, all different."""
        return [f"{number + 1}  {name}".rstrip() for number, name in enumerate(self.names)]

    def picture_path(self) -> Path:
        """Make an empty file for a screenshot, under a name that no file has yet, and return its path.

        The name is the shape's and the keypoint's; "-2", "-3" … follow where that is taken.

        Raises:
            OSError: the folder cannot be written to.
        """
        parts = (_file_name(self.names[self.shape]) or "shape", _file_name(self._keypoint_name()))
        stem = "-".join(filter(None, parts))
        self.folder.mkdir(parents=True, exist_ok=True)
        for count in range(1, 1_000_000):
            path = self.folder / (f"{stem}.png" if count == 1 else f"{stem}-{count}.png")
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                continue
            return path
        raise FileExistsError(f"{self.folder / stem}.png: a million of that name are there")

    def _keypoint_name(self) -> str:
        """Of the keypoint whose map is shown; "" where all are."""
        wanted = self.look.keypoint
        if isinstance(wanted, int):
            return self.keypoint_names[wanted] if self.keypoint_names else str(wanted)
        return wanted or ""

    def change_look(self, **changes: object) -> Effect:
        """Change fields of `look`; nothing is drawn anew where they were so before."""
        changed = dataclasses.replace(self.look, **changes)  # type: ignore[arg-type]  # Look checks its fields
        same, self.look = changed == self.look, changed
        return Effect.NOTHING if same else Effect.DRAW


def _number(prediction: Prediction, keypoint: str | int | None) -> int | None:
    """The keypoint's number there, None if it has no such keypoint."""
    try:
        return None if keypoint is None else prediction.keypoint_number(keypoint)
    except ValueError:
        return None


def _present(prediction: Prediction) -> frozenset[str]:
    """What there is to switch on and off."""
    has = {
        "truth": prediction.truth is not None,
        "ellipsoids": bool(prediction.covariance.any()),
        "samples": prediction.samples is not None,
        "skeleton": prediction.skeleton is not None,
        "surface": prediction.surface is not None,
        "symmetries": bool(prediction.symmetries),
    }
    return frozenset(name for name, there in has.items() if there)


def _file_name(text: str) -> str:
    """The text as a part of a file name that every system takes."""
    return re.sub(r"[^\w.+-]+", "-", Path(text).name).strip("-.")[:80]
