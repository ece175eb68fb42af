import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcsargmax.visualize import RendererUnavailable

DOCS = Path(__file__).parents[1] / "docs"
#: Pixels along the side of the squares that are compared: what is where, not how its edges are smoothed.
SQUARE = 10


def squares(path: Path) -> np.ndarray:
    """(rows, columns, 3) mean colours, 0 to 255."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((image.width // SQUARE, image.height // SQUARE), Image.Resampling.BOX)
        return np.asarray(small, dtype=np.float64)


@pytest.mark.parametrize("name", ["scene.png", "pair.png"])
def test_pictures_of_the_readme_show_what_is_drawn_now(name, tmp_path):
    draw = runpy.run_path(str(DOCS / "draw_pictures.py"))["PICTURES"][name]
    try:
        drawn = squares(draw(tmp_path / name))
    except RendererUnavailable as error:
        pytest.skip(str(error))
    kept = squares(DOCS / name)
    assert drawn.shape == kept.shape
    difference = np.abs(drawn - kept).max(axis=2)
    assert difference.mean() < 1
    assert np.quantile(difference, 0.999) < 25


def test_pictures_of_the_readme_are_there():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    shown = {path.name for path in DOCS.glob("*.png")}
    assert shown
    assert all(f"(docs/{name})" in readme for name in shown)
