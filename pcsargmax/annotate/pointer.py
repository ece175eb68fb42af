"""What the mouse does: a click puts a landmark, a drag that begins on one moves it, any other drag turns the view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcsargmax.annotate.marks import Mark
from pcsargmax.annotate.scan import Scan
from pcsargmax.annotate.session import Session

#: Pixels that a press may wander and still be a click, and that a click may be off a landmark or a point.
CLICK, REACH = 4.0, 9.0

Kind = Literal["press", "drag", "release"]


@dataclass(frozen=True, eq=False)
class View:
    """How a camera shows the unit frame: OpenGL's matrices, and a picture of (width, height) pixels, y down.

    Attributes:
        view: (4, 4) from the frame to the camera's, which looks along −z.
        projection: (4, 4) from there to the cube [−1, 1]³.
        size: width and height in pixels.
    """

    view: np.ndarray
    projection: np.ndarray
    size: tuple[float, float]

    def project(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (M, 2) and distances along the view (M,) of positions (M, 3)."""
        positions = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
        seen = np.concatenate([positions, np.ones((len(positions), 1))], axis=1) @ np.asarray(self.view).T
        clip = seen @ np.asarray(self.projection).T
        place = clip[:, :2] / np.where(np.abs(clip[:, 3:]) < 1e-12, 1e-12, clip[:, 3:])
        half = np.array(self.size) / 2
        return half + place * half * [1, -1], -seen[:, 2]

    def ray(self, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
        """The eye (3,) and the direction (3,) of what a pixel shows."""
        half = np.array(self.size) / 2
        across = np.array([(x - half[0]) / half[0], (half[1] - y) / half[1]])
        scale = np.diag(self.projection)[:2]
        slope = (across + np.asarray(self.projection)[:2, 2]) / scale
        rotation, shift = np.asarray(self.view)[:3, :3], np.asarray(self.view)[:3, 3]
        return -rotation.T @ shift, rotation.T @ np.array([*slope, -1.0])

    def slope(self, pixels: float) -> float:
        """The width of some pixels at a distance of 1."""
        return pixels / (self.size[1] / 2 * float(np.asarray(self.projection)[1, 1]))


class Pointer:
    """Turns what the mouse does into steps of a session; the window only passes its events on.

    Attributes:
        moving: the landmark that is being moved, and where it is meanwhile; None where none is.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pressed: tuple[float, float] | None = None
        self._grabbed: str | None = None
        self._wandered = False
        self.moving: tuple[str, Mark] | None = None

    def event(self, kind: Kind, x: float, y: float, scan: Scan, view: View) -> bool:
        """Take an event of the left button at a pixel; whether the view must not turn by it."""
        if kind == "press":
            self._pressed, self._wandered, self.moving = (x, y), False, None
            self._grabbed = self.landmark_at(x, y, scan, view)
            return self._grabbed is not None
        if self._pressed is None:
            return False
        if np.hypot(x - self._pressed[0], y - self._pressed[1]) > CLICK:
            self._wandered = True
        grabbed = self._grabbed
        if kind == "drag":
            if grabbed is not None and self._wandered and (mark := self._pick(x, y, scan, view)) is not None:
                self.moving = grabbed, mark
            return grabbed is not None
        self._release(x, y, scan, view)
        return grabbed is not None

    def cancel(self) -> None:
        """Leave a landmark that is being moved where it was."""
        self._pressed = self._grabbed = self.moving = None

    def landmark_at(self, x: float, y: float, scan: Scan, view: View) -> str | None:
        """The landmark of the session that is drawn at a pixel, the nearest to the eye of several; or None."""
        placed = {name: mark.position for name, mark in self._session.marks.items() if mark.position is not None}
        names = [name for name in placed if name in self._session.names]
        if not names:
            return None
        pixels, depth = view.project(scan.to_unit([placed[name] for name in names]))
        near = np.flatnonzero((np.linalg.norm(pixels - [x, y], axis=1) <= REACH) & (depth > 0))
        # One behind the surface cannot be seen, so it cannot be meant.
        seen = [i for i in near if not self._hidden(pixels[i], depth[i], scan, view)]
        return names[min(seen, key=lambda i: depth[i])] if seen else None

    def _release(self, x: float, y: float, scan: Scan, view: View) -> None:
        session, moved = self._session, self.moving
        grabbed, clicked = self._grabbed, not self._wandered
        self.cancel()
        if moved is not None:
            session.place(moved[1], moved[0])
            session.select(moved[0])
        elif clicked and grabbed is not None:
            session.select(grabbed)
        elif clicked:
            self._click(x, y, scan, view)

    def _click(self, x: float, y: float, scan: Scan, view: View) -> None:
        mark = self._pick(x, y, scan, view)
        if mark is None:
            self._session.message = "nothing there: click on the surface"
        elif self._session.name is None:
            self._session.message = "add a landmark's name first"
        else:
            self._session.place(mark)

    def _pick(self, x: float, y: float, scan: Scan, view: View) -> Mark | None:
        return scan.pick(*view.ray(x, y), view.slope(REACH))

    def _hidden(self, pixel: np.ndarray, depth: float, scan: Scan, view: View) -> bool:
        mark = self._pick(pixel[0], pixel[1], scan, view)
        if mark is None or mark.position is None:
            return False
        front = view.project(scan.to_unit([mark.position]))[1][0]
        gap = 0.0 if scan.cloud.faces is not None else 3 * scan.spacing
        return bool(front < depth - max(0.03, gap))
