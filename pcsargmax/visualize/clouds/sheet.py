"""Many shapes on one picture, with one legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds import geometry
from pcsargmax.visualize.clouds.drawing import Drawing, build_drawing
from pcsargmax.visualize.clouds.picture import notes
from pcsargmax.visualize.clouds.scene import check_size, draw_view, save
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.overlay import FAINT, INK, SMALLEST, color_bar, font, shorten, wrap, write
from pcsargmax.visualize.palette import keypoint_color, probability_map


def contact_sheet(
    predictions: Sequence[Prediction],
    path: str | Path,
    look: Look | None = None,
    *,
    columns: int = 4,
    size: tuple[int, int] = (400, 300),
    azimuth: float = 35.0,
    elevation: float = 20.0,
    captions: Sequence[str] | None = None,
    same_scale: bool = True,
    timeout: float = 90.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw many predictions to one PNG without a screen, each above its caption, with one legend below all.

    Args:
        predictions: what to draw; a lazy sequence is asked for one at a time.
        path: the PNG.
        look: what of each, and how; None: `Look(labels=False)`, as the legend tells the keypoints by their colours.
        columns: shapes in a row, where there are as many.
        size: width and height in pixels of each shape, at least (160, 120).
        azimuth: see `scene.render_all`.
        elevation: see `scene.render_all`.
        captions: one for each; None: its name, and the mean error of its keypoints where they are annotated.
        same_scale: the colours mean the same probabilities in all shapes; else each has a scale to its own largest.
        timeout: see `scene.render_all`.
        progress: called with (done, total).

    Raises:
        ValueError: no prediction, another number of captions, too few columns, a size too small, or no such keypoint.

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated_shapes, contact_sheet
        >>> counts = make_procedural("data", ["mug"], models=3)
        >>> shapes = annotated_shapes(KeypointNet("data", "mug", "all"))
        >>> contact_sheet(shapes, "mugs.png", columns=3)  # doctest: +SKIP
        PosixPath('mugs.png')
    """
    check_sheet(predictions, columns, captions)
    check_size(size, (160, 120))
    look = look or Look(labels=False)
    peak = _common_peak(predictions, look) if same_scale else None
    cells, keypoints, explained, colors = [], _Keypoints(), dict[str, None](), None
    for number in range(len(predictions)):
        prediction = predictions[number]
        one = build_drawing(prediction, look, peak=peak)
        camera = geometry.fit_camera(one.extent(), azimuth=azimuth, elevation=elevation, size=size)
        caption = _caption(prediction, look) if captions is None else captions[number]
        cells.append((draw_view(one, camera, prediction.keypoint_names, timeout), caption))
        keypoints.meet(prediction, one)
        explained |= dict.fromkeys(notes(one))
        colors = colors if colors is not None and colors.ticks else one.colors  # annotations have no scale
        if progress is not None:
            progress(number + 1, len(predictions))
    sheet = _Sheet(size, min(columns, len(cells)), len(cells))
    for number, (image, caption) in enumerate(cells):
        sheet.put(number, image, caption)
    assert colors is not None  # there is at least one
    title, ticks = colors.title, colors.ticks
    if ticks and not same_scale:
        ends = {place: label for place, label in ticks if not 0 < place < 1}
        ticks = ((0.0, ends.get(0.0, "0") if not look.log_scale else "a thousandth"), (1.0, "largest of each shape"))
    return save(sheet.finish(title, ticks, keypoints.listed, list(explained)), Path(path))


class _Keypoints:
    """The keypoints of all shapes: number to name, where all that are drawn have the same one."""

    def __init__(self) -> None:
        self.listed: dict[int, str] = {}

    def meet(self, prediction: Prediction, one: Drawing) -> None:
        """Take in those drawn of a shape; of several names of a number, the number stands for it."""
        for k in one.shown.tolist():
            name = prediction.keypoint_names[k]
            self.listed[k] = name if self.listed.get(k, name) == name else f"#{k}"


class _Sheet:
    """White paper with room for cells in rows, and a legend below them."""

    def __init__(self, size: tuple[int, int], columns: int, count: int) -> None:
        self.size, self.columns = size, columns
        self.em = max(SMALLEST + 1, size[1] // 22)
        self.row = size[1] + round(2.2 * self.em)
        self.width = max(columns * size[0], 320)
        self.bottom = -(-count // columns) * self.row
        self.image = Image.new("RGB", (self.width, self.bottom + 40 * self.em), "white")  # cut to length at the end
        self.pen = ImageDraw.Draw(self.image)

    def put(self, number: int, image: Image.Image, caption: str) -> None:
        """Put a shape in its place, its caption below it."""
        left, top = number % self.columns * self.size[0], number // self.columns * self.row
        self.image.paste(image, (left, top))
        letters = font(self.em)
        text = shorten(self.pen, caption, letters, 0.94 * self.size[0])
        at = (left + self.size[0] / 2, top + self.size[1] + 0.2 * self.em)
        self.pen.text(at, text, font=letters, fill=INK, anchor="ma")

    def finish(
        self, title: str, ticks: Sequence[tuple[float, str]], keypoints: dict[int, str], notes: Sequence[str]
    ) -> Image.Image:
        """Write the legend and cut the paper to length."""
        em, letters = self.em, font(self.em)
        left, right = em, self.width - em
        y: float = self.bottom + 0.6 * em
        self.pen.line((left, y, right, y), fill="#d8dae0")
        y += 0.8 * em
        bar = min(24 * em, right - left)
        below = write(self.pen, (left, y), title, letters, INK, bar)
        below = color_bar(self.pen, (left, below + 0.2 * em, left + bar, below + 1.2 * em), ticks, font(SMALLEST + 1))
        beside = left + bar + 2 * em
        if beside + 12 * em < right:  # the keypoints beside the scale, where there is room
            y = self._keypoints(keypoints, (beside, y, right))
        else:
            y = self._keypoints(keypoints, (left, below + 0.6 * em, right))
        y = max(y, below) + 0.3 * em
        small = font(max(SMALLEST, round(0.85 * em)))
        for line in wrap(self.pen, "; ".join(notes), small, right - left):
            self.pen.text((left, y), line, font=small, fill=FAINT)
            y += 1.4 * small.size
        return self.image.crop((0, 0, self.width, round(y + 0.8 * em)))

    def _keypoints(self, keypoints: dict[int, str], box: tuple[float, float, float]) -> float:
        """Swatches with names, in lines from (left, top, right) down; the y below."""
        (left, y, right), em, letters = box, self.em, font(self.em)
        x = left
        for k in sorted(keypoints):
            text = shorten(self.pen, keypoints[k], letters, right - left - 1.2 * em)
            width = 1.2 * em + self.pen.textlength(text, font=letters)
            if x > left and x + width > right:
                x, y = left, y + 1.6 * em
            self.pen.ellipse((x, y + 0.3 * em, x + 0.8 * em, y + 1.1 * em), fill=keypoint_color(k))
            self.pen.text((x + 1.2 * em, y + 0.7 * em), text, font=letters, fill=INK, anchor="lm")
            x += width + 1.4 * em
        return y + 1.6 * em


def _common_peak(predictions: Sequence[Prediction], look: Look) -> float | None:
    """The largest probability of the maps shown, annotations left out; None where all are 0."""
    peaks = [float(probability_map(one, look.keypoint).max()) for one in predictions if not one.annotated]
    return max(peaks, default=0.0) or None


def _caption(prediction: Prediction, look: Look) -> str:
    """The name of a shape, and its mean error; a name that is too long is cut so that the error stays."""
    error = prediction.mean_error(look.min_visibility) if look.truth else None
    name = prediction.name if len(prediction.name) <= 20 else prediction.name[:19] + "…"
    return name if error is None else f"{name}   mean error {error:.2g} {prediction.unit_text}"


def check_sheet(predictions: Sequence[object], columns: int, captions: Sequence[str] | None) -> None:
    """Raise ValueError, naming the argument, for what no sheet of several pictures can be made of."""
    if not len(predictions):
        raise ValueError("predictions: expected at least one, got none")
    if captions is not None and len(captions) != len(predictions):
        raise ValueError(f"captions: expected {len(predictions)}, one for each prediction, got {len(captions)}")
    if columns < 1:
        raise ValueError(f"columns: expected 1 or more, got {columns}")
