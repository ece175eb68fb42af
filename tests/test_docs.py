import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
#: Pixels along the side of the squares that are compared: what is where, not how its edges are smoothed.
SQUARE = 10


def squares(path: Path) -> np.ndarray:
    """(rows, columns, 3) mean colours, 0 to 255."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((image.width // SQUARE, image.height // SQUARE), Image.Resampling.BOX)
        return np.asarray(small, dtype=np.float64)


@pytest.mark.parametrize("name", ["scene.png", "pair.png"])
def test_pictures_of_the_readme_show_what_is_drawn_now(name, renderer, tmp_path):
    draw = runpy.run_path(str(DOCS / "draw_pictures.py"))["PICTURES"][name]
    drawn = squares(draw(tmp_path / name))
    kept = squares(DOCS / name)
    assert drawn.shape == kept.shape
    difference = np.abs(drawn - kept).max(axis=2)
    assert difference.mean() < (1 if renderer == "open3d" else 2)  # Open3D drew those that are kept
    assert np.quantile(difference, 0.999) < 25


def test_pictures_of_the_readme_are_there():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    shown = {path.name for path in DOCS.glob("*.png")}
    assert shown
    assert all(f"(docs/{name})" in readme for name in shown)
