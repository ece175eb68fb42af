"""What `pcsargmax view` makes of predictions: a window, a page, pictures, a sheet, turning views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pcsargmax.predictions.cloud import Prediction
    from pcsargmax.visualize.look import Look

#: The kinds of file that each output can be.
_ENDINGS = {"html": (".html", ".htm"), "save": (".png",), "sheet": (".png",), "turntable": (".gif", ".mp4")}

Update = Callable[[str, int, int], None]


@dataclass(frozen=True)
class View:
    """What is looked at.

    Attributes:
        predictions: of a run, or what is annotated; may be lazy, as the others.
        others: of a second run on the same shapes, or None.
        titles: what the two are called; the second is empty where there is none.
        data: what they are of.
        look: how they are drawn.
        same_scale: the colours of two runs, and of all shapes of a sheet, mean the same probabilities.
        sheet_labels: the names of keypoints are on a sheet too, whose legend has them already.
        step: what the progress calls making the predictions.
    """

    predictions: Sequence[Prediction]
    others: Sequence[Prediction] | None
    titles: tuple[str, str]
    data: str
    look: Look
    same_scale: bool = True
    sheet_labels: bool = False
    step: str = "predicting"

    def made(self, update: Update) -> View:
        """The same with all predictions made."""
        predictions = _made(self.predictions, self.step, update)
        return replace(
            self,
            predictions=predictions,
            others=None if self.others is None else _made(self.others, "predicting again", update),
        )


def check_outputs(**paths: Path | None) -> dict[str, Path]:
    """The files to write by their kind.

    Raises:
        ValueError: a wrong ending, a folder, two of the same name, or an .mp4 without what writes one.
    """
    chosen = {kind: path for kind, path in paths.items() if path is not None}
    for kind, path in chosen.items():
        if path.suffix.lower() not in _ENDINGS[kind] or path.is_dir():
            raise ValueError(f"--{kind} must be a file whose name ends in {' or '.join(_ENDINGS[kind])}, got {path}")
        if path.suffix.lower() == ".mp4":
            from pcsargmax.visualize.clouds.turntable import load_av

            load_av(path)
    if len(set(chosen.values())) < len(chosen):
        raise ValueError(f"outputs must be different files, got {', '.join(map(str, chosen.values()))}")
    return chosen


def show_view(view: View) -> None:
    """Open the window."""
    from pcsargmax.visualize.clouds.renderer import RendererUnavailable
    from pcsargmax.visualize.window.show import show

    try:
        show(view.predictions, others=view.others, look=view.look, titles=view.titles)
    except RendererUnavailable as error:
        raise OSError(f"{error} --save FILE.png and --html FILE.html need no screen.") from error


def write_view(view: View, outputs: dict[str, Path], camera: dict[str, Any], first: int) -> None:
    """Write the page first, as it is ready soonest, then the rest, and print the path of each file.

    Args:
        view: what to write.
        outputs: of `check_outputs`.
        camera: keyword arguments azimuth, elevation, and size where it was said.
        first: number of the first shape, for the names of pictures.
    """
    from pcsargmax.commands.shared.progress import progress_bars

    written: list[Path] = []
    try:
        with progress_bars() as bars:
            if {"html", "sheet"} & set(outputs):  # they want all at once
                view = view.made(bars.update)
            writers: dict[str, Callable[[Path], Iterator[Path]]] = {
                "html": partial(_page, view),
                "save": partial(_pictures, view, camera=camera, first=first, update=bars.update),
                "sheet": partial(_sheet, view, camera=camera, update=bars.update),
                "turntable": partial(_turntables, view, camera=camera, first=first, update=bars.update),
            }
            for kind, write in writers.items():
                if kind in outputs:
                    written.extend(write(outputs[kind]))
    finally:
        for path in written:
            typer.echo(path)


def _page(view: View, path: Path) -> Iterator[Path]:
    from pcsargmax.visualize.page.clouds import write_page

    named = " beside ".join(filter(None, view.titles))
    title = named if view.data in named else f"{view.data}: {named}"
    both: dict[str, Any] = {"others": view.others, "titles": view.titles}
    look = view.look
    switches = {"log": look.log_scale, "same": view.same_scale, "truth": look.truth, "ellipsoids": look.ellipsoids > 0}
    switches |= {"names": look.labels, "skeleton": look.skeleton}
    yield write_page(view.predictions, path, title=title, keypoint=look.keypoint, switches=switches, **both)


def _pictures(view: View, path: Path, camera: dict[str, Any], first: int, update: Update) -> Iterator[Path]:
    from pcsargmax.visualize.clouds.scene import render, render_pair

    for number, place in _numbered(view, path, first, "drawing", update):
        one, look = view.predictions[number], view.look
        if view.others is None:
            yield render(one, place, look, **camera)
        else:
            other, same = view.others[number], view.same_scale
            yield render_pair(one, other, place, look, names=view.titles, same_scale=same, **camera)


def _sheet(view: View, path: Path, camera: dict[str, Any], update: Update) -> Iterator[Path]:
    from pcsargmax.visualize.clouds.sheet import contact_sheet

    options: dict[str, Any] = {"same_scale": view.same_scale, "progress": partial(update, "drawing the sheet")}
    predictions = view.predictions
    if view.others is not None:  # one after the other for each shape
        titled = [zip(view.titles, both, strict=True) for both in zip(predictions, view.others, strict=True)]
        listed = [each for both in titled for each in both]
        options["captions"] = [_caption(title, one, view.look) for title, one in listed]
        predictions = [one for _, one in listed]
    yield contact_sheet(predictions, path, replace(view.look, labels=view.sheet_labels), **options, **camera)


def _caption(title: str, prediction: Prediction, look: Look) -> str:
    """What a shape on a sheet of two runs is; its name comes last, as what is too long is cut."""
    error = prediction.mean_error(look.min_visibility) if look.truth else None
    told = "" if error is None else f", mean error {error:.2g} {prediction.unit_text}"
    return f"{title}{told}: {prediction.name}"


def _turntables(view: View, path: Path, camera: dict[str, Any], first: int, update: Update) -> Iterator[Path]:
    from pcsargmax.visualize.clouds.turntable import turntable

    options: dict[str, Any] = {"progress": partial(update, "drawing frames"), **camera}
    if view.others is not None:
        options |= {"names": view.titles, "same_scale": view.same_scale}
    for number, place in _numbered(view, path, first, "turning", update):
        other = None if view.others is None else view.others[number]
        yield turntable(view.predictions[number], place, view.look, other=other, **options)


def _made(predictions: Sequence[Prediction], what: str, update: Update) -> list[Prediction]:
    """All predictions, with progress where there are several."""
    return [predictions[number] for number in _counted(len(predictions), what, update)]


def _counted(count: int, what: str, update: Update) -> Iterator[int]:
    """0 to `count` − 1, with progress where that is more than one."""
    for number in range(count):
        if count > 1:
            update(what, number, count)
        yield number
    if count > 1:
        update(what, count, count)


def _numbered(view: View, path: Path, first: int, what: str, update: Update) -> Iterator[tuple[int, Path]]:
    """Each shape's place in the view, and its file: the path itself, of several with the number of the shape in it."""
    count = len(view.predictions)
    digits = len(str(first + count - 1))
    for number in _counted(count, what, update):
        name = f"{path.stem}-{first + number:0{digits}d}{path.suffix}" if count > 1 else path.name
        yield number, path.with_name(name)
