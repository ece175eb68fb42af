import sys

import numpy as np
import pytest

from pcsargmax.visualize import contact_sheet, pck_curve, probability_figure, training_curves

LOG = """epoch,step,lr-Adam,train/loss,val/error,val/pck@0.01,val/pck@0.02
0,9,0.001,0.5,,,
0,9,,,0.04,0.1,0.3
1,19,0.0005,0.25,,,
1,19,,,0.02,0.2,0.5
"""


def test_curves_hold_the_numbers_of_the_log(tmp_path):
    (tmp_path / "metrics.csv").write_text(LOG)
    figure = training_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    panels = {ax.get_title(): ax for ax in figure.axes}
    assert list(panels) == ["lr-Adam", "loss", "error", "pck"]
    np.testing.assert_array_equal(panels["loss"].lines[0].get_xydata(), [[9, 0.5], [19, 0.25]])
    assert [line.get_label() for line in panels["pck"].lines] == ["val/pck@0.01", "val/pck@0.02"]
    assert panels["pck"].get_xlabel() == "step"
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_train_and_val_share_a_panel(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,train_loss,val_loss\n0,3,4\n1,1,2\n")
    (ax,) = training_curves(tmp_path / "log.csv").axes
    assert ax.get_xlabel() == "epoch"
    assert len(ax.lines) == 2


@pytest.mark.parametrize("text", ["", "epoch,step\n0,1\n"])
def test_a_log_without_numbers_is_an_error(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match=r"log\.csv: expected a CSV log"):
        training_curves(tmp_path / "log.csv")


def test_a_cell_that_is_no_number_is_named_with_its_line(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n0,1\n1,oops\n")
    with pytest.raises(ValueError, match=r"log\.csv:3: expected a number, got 'oops'"):
        training_curves(tmp_path / "log.csv")


def test_pck_counts_errors_strictly_below():
    figure = pck_curve(np.array([0.0, 0.1, 0.2, np.nan]), [0.0, 0.1, 0.15, 0.3])
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [0, 100 / 3, 200 / 3, 100])


def test_pck_of_several_methods_has_a_legend(tmp_path):
    errors = {"soft-argmax": np.array([0.02]), "sampling-argmax": np.array([0.01, 0.03])}
    figure = pck_curve(errors, path=tmp_path / "pck.svg")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "soft-argmax (n = 1)",
        "sampling-argmax (n = 2)",
    ]
    assert (tmp_path / "pck.svg").read_text().lstrip().startswith("<?xml")
    with pytest.raises(ValueError, match="errors 'none': expected at least one number"):
        pck_curve({"none": np.array([np.nan])})


def test_maps_are_compared_from_three_sides(mug, tmp_path):
    figure = probability_figure(
        {"soft": mug(), "sampling": mug(seed=1, origin=1e6)}, keypoint="handle", path=tmp_path / "maps.png"
    )
    views, bars = figure.axes[:6], figure.axes[6:]
    assert [ax.get_ylabel() for ax in views] == ["soft", "", "", "sampling", "", ""]
    assert [bar.get_ylabel() for bar in bars] == ["probability of handle"] * 2
    assert all(len(ax.collections) == 3 for ax in views)  # points, keypoint, truth
    absent = probability_figure({"soft": mug()}, keypoint="spout", log_scale=True)
    assert all(len(ax.collections) == 2 for ax in absent.axes[:3])
    with pytest.raises(ValueError, match="predictions: expected at least one"):
        probability_figure({}, keypoint=0)


def test_pictures_are_laid_out_with_captions(tmp_path):
    from PIL import Image

    for name in "abcd":
        Image.new("RGB", (40, 30), "red").save(tmp_path / f"{name}.png")
    figure = contact_sheet({name: tmp_path / f"{name}.png" for name in "abcd"}, columns=3, path=tmp_path / "sheet.png")
    assert [ax.get_title() for ax in figure.axes] == list("abcd")
    with pytest.raises(ValueError, match="pictures: expected at least one"):
        contact_sheet({})


def test_no_figure_stays_in_global_state(mug):
    probability_figure({"soft": mug()}, keypoint=0)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []
