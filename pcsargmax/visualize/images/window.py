"""Images in a window of matplotlib's, with keys that go through images and keypoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcsargmax.visualize.images.drawing import common_peak, draw_image, draw_on, draw_pair
from pcsargmax.visualize.images.legend import draw_legend
from pcsargmax.visualize.images.picture import Drawable, Picture, SlicePicture, picture_of

#: What the keys do, for the line below the pictures.
KEYS = "← → image   ↑ ↓ keypoint   M map   L log   T truth   E ellipses   N names   S save   Q quit"
#: Keys of matplotlib's own that would do something else.
_TAKEN = (
    "keymap.save",
    "keymap.back",
    "keymap.forward",
    "keymap.xscale",
    "keymap.yscale",
    "keymap.quit",
    "keymap.home",
    "keymap.pan",
)


class NoWindow(RuntimeError):
    """No window can be opened here."""


@dataclass(eq=False)
class Viewer:
    """What a window shows, and what its keys change; it draws into any figure.

    Attributes:
        predictions: or items, see `draw_image`; a lazy sequence is asked for one at a time.
        others: of a second method on the same images, beside the first.
        titles: of the two methods.
        options: of `draw_on`: keypoint, truth, ellipsoids, log_scale, map, labels.
        same_scale: the colours of two methods mean the same probabilities.
        number: of the image that is shown.
        said: what the last key did, if that cannot be seen.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralFaces
        >>> from pcsargmax.visualize.images import Viewer
        >>> viewer = Viewer([face for face in ProceduralFaces("test", num_items=2)])
        >>> [picture.name for picture in viewer.shown()]
        ['face-test-00000']
        >>> viewer.press("right"), viewer.number
        (True, 1)
    """

    predictions: Sequence[Drawable]
    others: Sequence[Drawable] | None = None
    titles: tuple[str, str] = ("", "")
    options: dict[str, Any] = field(default_factory=dict)
    same_scale: bool = True
    number: int = 0
    said: str = ""

    def shown(self) -> list[Picture | SlicePicture]:
        """The image that is shown, as by each method."""
        sides = [self.predictions, *([] if self.others is None else [self.others])]
        return [picture_of(side[self.number]) for side in sides]

    def draw(self, figure: Any) -> None:
        """Draw it anew into a figure."""
        figure.clear()
        pictures = self.shown()
        peak = common_peak(pictures, self.options.get("keypoint")) if self.same_scale else None
        told = {name: self.options[name] for name in ("keypoint", "truth", "ellipsoids") if name in self.options}
        wide = 1 / len(pictures)
        for side, picture in enumerate(pictures):
            ax = figure.add_axes((side * wide + 0.01, 0.06, 0.68 * wide, 0.88), anchor="N")
            colors = draw_on(ax, picture, peak=peak, **self.options)
            if self.titles[side]:
                ax.set_title(self.titles[side], fontsize=11)
            panel = figure.add_axes((side * wide + 0.7 * wide + 0.01, 0.06, 0.28 * wide, 0.88))
            draw_legend(panel, picture, colors, **told)
        figure.text(0.01, 0.985, f"{self.number + 1} of {len(self.predictions)}", fontsize=9, va="top")
        figure.text(0.01, 0.015, self.said or KEYS, fontsize=8.5, color="#70707a")

    def press(self, key: str | None) -> bool:
        """Do what a key means; False for one that means nothing."""
        actions: dict[str, Callable[[], None]] = {
            "right": lambda: self._go(1),
            "left": lambda: self._go(-1),
            "down": lambda: self._choose(1),
            "up": lambda: self._choose(-1),
            "m": lambda: self._turn("map", True),
            "l": lambda: self._turn("log_scale", False),
            "t": lambda: self._turn("truth", True),
            "n": lambda: self._turn("labels", False),
            "e": self._ellipses,
            "s": self._save,
        }
        self.said = ""
        if key is None or key.lower() not in actions:
            return False
        actions[key.lower()]()
        return True

    def _go(self, step: int) -> None:
        self.number = (self.number + step) % len(self.predictions)
        keypoint = self.options.get("keypoint")
        names = picture_of(self.predictions[self.number]).names
        if isinstance(keypoint, int) and keypoint >= len(names):
            self.options["keypoint"] = None

    def _choose(self, step: int) -> None:
        """The next keypoint; after the last one all."""
        picture = picture_of(self.predictions[self.number])
        keypoint = self.options.get("keypoint")
        before = -1 if keypoint is None else picture.number(keypoint)
        after = (before + 1 + step) % (len(picture.names) + 1) - 1
        self.options["keypoint"] = None if after < 0 else after

    def _turn(self, name: str, usual: bool) -> None:
        now = self.options.get(name)
        self.options[name] = not (usual if now is None else now)

    def _ellipses(self) -> None:
        self.options["ellipsoids"] = (self.options.get("ellipsoids", 1) + 1) % 3

    def _save(self) -> None:
        """A picture in the current folder, under a name that is free."""
        number = 1
        while (path := Path(f"image-{number}.png")).exists():
            number += 1
        one, *other = self.shown()
        if other:
            draw_pair(one, other[0], path, names=self.titles, same_scale=self.same_scale, **self.options)
        else:
            draw_image(one, path, **self.options)
        self.said = f"saved {path.absolute()}"


def show_images(
    predictions: Sequence[Drawable],
    *,
    others: Sequence[Drawable] | None = None,
    titles: tuple[str, str] = ("", ""),
    same_scale: bool = True,
    **options: Any,
) -> None:
    """Open a window and wait until it is closed.

    Args:
        predictions: see `Viewer`, as the three that follow.
        others: see there.
        titles: see there.
        same_scale: see there.
        options: see there.

    Raises:
        NoWindow: no screen, or no library that draws windows.
        ValueError: no image, or no such keypoint.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralFaces
        >>> from pcsargmax.visualize.images import show_images
        >>> show_images(ProceduralFaces("test"))  # doctest: +SKIP
    """
    if not len(predictions):
        raise ValueError("predictions: expected at least one, got none")
    viewer = Viewer(predictions, others, titles, options, same_scale)
    pyplot = _pyplot()
    from matplotlib import rc_context

    free: dict[Any, Any] = {key: [] for key in _TAKEN}
    with rc_context(free):
        figure = pyplot.figure(num="pcsargmax", figsize=(11.5, 7) if others is None else (16, 7))
        try:
            viewer.draw(figure)

            def pressed(event: Any) -> None:
                if event.key == "q":
                    pyplot.close(figure)
                elif viewer.press(event.key):
                    viewer.draw(figure)
                    figure.canvas.draw_idle()

            figure.canvas.mpl_connect("key_press_event", pressed)
            pyplot.show(block=True)
        finally:
            pyplot.close(figure)


def _pyplot() -> Any:
    """matplotlib's pyplot with a backend that opens windows.

    Raises:
        NoWindow: there is none.
    """
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.backends.registry import BackendFilter, backend_registry

    backend = matplotlib.get_backend()  # finds one where none was chosen
    if backend.lower() not in {name.lower() for name in backend_registry.list_builtin(BackendFilter.INTERACTIVE)}:
        raise NoWindow(f"no window can be opened here (matplotlib has the backend {backend}).")
    return pyplot
