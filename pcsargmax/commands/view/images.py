"""What `pcsargmax view` does with images: a window, pictures, a sheet, a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pcsargmax.commands.view.selection import (
    check_counts,
    check_keypoint,
    chosen,
    print_seen,
    run_titles,
    whose_names,
)

if TYPE_CHECKING:
    from pcsargmax.runs.kinds import AnyImageRun
    from pcsargmax.visualize.images import Drawable
    from pcsargmax.visualize.images.sources import Source

Update = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ImageView:
    """What is looked at.

    Attributes:
        predictions: of a run, or what is annotated; may be lazy, as the others.
        others: of a second run on the same images, or None.
        titles: what the two are called; the second is empty where there is none.
        data: what they are of.
        options: of `draw_image`: keypoint, truth, ellipsoids, log_scale, labels.
        same_scale: the colours of two runs, and of all images of a sheet, mean the same probabilities.
        size: keyword argument of the pictures, if one was said.
        doing: what is done to have them, for progress.
    """

    predictions: Sequence[Drawable]
    others: Sequence[Drawable] | None
    titles: tuple[str, str]
    data: str
    options: dict[str, Any]
    same_scale: bool
    size: dict[str, Any]
    doing: str


def is_images(runs: Sequence[Any], data: Sequence[str]) -> bool:
    """Whether `view` is to show images: runs of images, or data that are.

    Raises:
        ValueError: images and clouds together.
    """
    from pcsargmax.commands.report.images import are_images
    from pcsargmax.visualize.images.sources import is_image_data

    if runs:
        return are_images(runs)
    kinds = {is_image_data(text) for text in data}
    if len(kinds) > 1:
        raise ValueError(f"expected images or clouds, got both: {', '.join(data)}")
    return kinds == {True}


def refuse(given: dict[str, bool]) -> None:
    """Raise ValueError for an option that was given and means nothing for images."""
    for option, was_given in given.items():
        if was_given:
            raise ValueError(f"{option} is for clouds and meshes, got images")


def view_images(
    runs: Sequence[AnyImageRun],
    data: list[str],
    outputs: dict[str, Path],
    *,
    split: str,
    root: Path | None,
    first: int,
    count: int,
    options: dict[str, Any],
    same_scale: bool,
    size: dict[str, Any],
) -> None:
    """Show images in a window, or write the files that were asked for, and print their paths.

    Args:
        runs: none, one, or two to stand side by side.
        data: names, files and folders; empty: the run's own.
        outputs: of `check_outputs`.
        split: of data sets.
        root: where official files are; of a run alone, its data.
        first: number of the first image, from 1.
        count: how many; 0: all.
        options: of `draw_image`.
        same_scale: see `ImageView`.
        size: see there.
    """
    from pcsargmax.visualize.images.sources import annotated_images, predicted_images

    sources = chosen(_sources(runs, data, split, root), first, count, "images")
    check_counts(outputs, len(sources), "images")
    for run in runs:
        print_seen(run, [source.name for source in sources], "images")
        check_keypoint(options["keypoint"], run.names, whose_names(run, runs))
    if not runs:
        check_keypoint(options["keypoint"], sources[0].names)
    found = [predicted_images(run, sources) for run in runs] or [annotated_images(sources)]
    of = ", ".join(Path(text).name or text for text in data or [runs[0].settings.data])
    others = found[1] if len(found) > 1 else None
    view = ImageView(
        found[0],
        others,
        run_titles(runs, of, _method),
        of,
        options,
        same_scale,
        size,
        "predicting" if runs else "reading",
    )
    if outputs:
        _write(view, outputs, first)
    else:
        _show(view)


def _sources(runs: Sequence[AnyImageRun], data: list[str], split: str, root: Path | None) -> list[Source]:
    from pcsargmax.settings.images import ImageSettings
    from pcsargmax.visualize.images.sources import find_images, run_images

    if runs and not data:
        try:
            return run_images(runs[0] if root is None else runs[0].with_data(root), split)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}; if the run's data have moved, --root says where they are now") from None
    settings = runs[0].settings if runs else ImageSettings()
    return find_images(data, settings if root is None else replace(settings, root=str(root)), split)


def _method(run: AnyImageRun) -> str:
    from pcsargmax.visualize.report.images.run import method_of

    return method_of(run.settings.to_dict())


def _show(view: ImageView) -> None:
    from pcsargmax.visualize.images.window import NoWindow, show_images

    titles = view.titles if view.others is not None else ("", "")
    try:
        show_images(view.predictions, others=view.others, titles=titles, same_scale=view.same_scale, **view.options)
    except NoWindow as error:
        raise OSError(f"{error} --save FILE.png, --sheet FILE.png and --html FILE.html need no screen.") from error


def _write(view: ImageView, outputs: dict[str, Path], first: int) -> None:
    """Write the page, the pictures and the sheet, and print the path of each file."""
    from pcsargmax.commands.shared.progress import progress_bars

    written: list[Path] = []
    try:
        with progress_bars() as bars:
            writers: dict[str, Callable[[Path], Iterator[Path]]] = {
                "html": partial(_page, view, update=bars.update),
                "save": partial(_pictures, view, first=first, update=bars.update),
                "sheet": partial(_sheet, view, update=bars.update),
            }
            for kind, write in writers.items():
                if kind in outputs:
                    written.extend(write(outputs[kind]))
    finally:
        for path in written:
            typer.echo(path)


def _page(view: ImageView, path: Path, update: Update) -> Iterator[Path]:
    from pcsargmax.visualize.page.images import write_image_page

    named = " beside ".join(filter(None, view.titles))
    title = named if view.data in named else f"{view.data}: {named}"
    predictions = _made(view.predictions, view.doing, update)
    others = None if view.others is None else _made(view.others, "predicting again", update)
    keypoint = view.options["keypoint"]
    yield write_image_page(predictions, path, title=title, keypoint=keypoint, others=others, titles=view.titles)


def _pictures(view: ImageView, path: Path, first: int, update: Update) -> Iterator[Path]:
    """A picture an image; of several the number of the image is in the name."""
    from pcsargmax.visualize.images.drawing import draw_image, draw_pair

    count = len(view.predictions)
    digits = len(str(first + count - 1))
    for number in range(count):
        name = f"{path.stem}-{first + number:0{digits}d}{path.suffix}" if count > 1 else path.name
        place, one = path.with_name(name), view.predictions[number]
        if view.others is None:
            draw_image(one, place, **view.options, **view.size)
        else:
            pair: dict[str, Any] = {"names": view.titles, "same_scale": view.same_scale}
            draw_pair(one, view.others[number], place, **pair, **view.options, **view.size)
        if count > 1:
            update("drawing", number + 1, count)
        yield place


def _sheet(view: ImageView, path: Path, update: Update) -> Iterator[Path]:
    from pcsargmax.visualize.images.picture import picture_of
    from pcsargmax.visualize.images.sheet import image_sheet

    options = {**view.options, "labels": view.options["labels"] is True}
    pictures: list[Any] = _made(view.predictions, view.doing, update)
    if view.others is not None:  # one after the other for each image
        others = _made(view.others, "predicting again", update)
        pictures = [picture_of(one) for pair in zip(pictures, others, strict=True) for one in pair]
        titles = view.titles * len(others)
        told = [f"{one.mean_error:.2f} px: " if one.mean_error is not None else "" for one in pictures]
        options["captions"] = [f"{t}, {e}{one.name}" for t, e, one in zip(titles, told, pictures, strict=True)]
        options["columns"] = 4
    same: dict[str, Any] = {"same_scale": view.same_scale, "progress": partial(update, "drawing the sheet")}
    yield image_sheet(pictures, path, **options, **same, **view.size)


def _made(predictions: Sequence[Drawable], what: str, update: Update) -> list[Drawable]:
    """All predictions, with progress where there are several."""
    made = []
    for number in range(len(predictions)):
        made.append(predictions[number])
        if len(predictions) > 1:
            update(what, number + 1, len(predictions))
    return made
